//! Pruning by trained importance scores: the mask of CompConv.
//!
//! Source: Sehwag et al. (HYDRA, NeurIPS 2020), as LitE-SNN (Liu et al., IJCAI 2024), Eq. 10, uses it: one score and one mask for
//! all bit-widths of a layer, weights and scores trained together.
//!
//! ```text
//! S_0 = sqrt(6 / fan_in) · W / max|W|                               scores start proportional to the weights
//! M   = 1 on the largest |S| of the layer, 0 on the floor(rate · n) smallest
//! dL/dS = dL/dM · sign(S)                                           straight-through
//! ```

use std::cell::RefCell;

use litesnn_framework::design::{Decision, Decisions};
use litesnn_framework::plugin::{
    Build, Compressor, LayerSpec, Role, Stage, WeightTransform, checked, largest_mask, same_rate,
};
use litesnn_framework::spiking::{custom_function, version};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use tch::Tensor;

const NAME: &str = "score-prune";

/// Settings of `score-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScorePrune {
    /// Fraction of each layer's weights that is removed, 0 <= rate < 1 (paper: 0.5, 0.8, 0.9).
    #[serde(deserialize_with = "rate")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: f64,
}

pub(crate) fn rate<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    checked(input, |rate| (0.0..1.0).contains(rate), "the fraction of weights removed, 0 <= rate < 1")
}

register! {
    kind: Compressor,
    name: "score-prune",
    settings: ScorePrune,
    version: 2,
    summary: "removes the weights of least trained score, layer by layer",
    paper: "Sehwag et al., HYDRA, NeurIPS 2020; Liu et al., LitE-SNN, IJCAI 2024",
    examples: ["[[compressor]]\nscore-prune = { rate = 0.8 }"],
    file: "score_prune.rs",
}

#[typetag::serde(name = "score-prune")]
impl Compressor for ScorePrune {
    fn stage(&self) -> Stage {
        Stage::Prune
    }

    fn straight_through(&self) -> &'static [Role] {
        &[Role::Score]
    }

    fn attach(
        &self,
        _layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        same_rate(NAME, decided, self.rate)?;
        let count = weight.numel();
        let removed = (self.rate * count as f64).floor() as i64;
        let scores = build.parameter_like("scores", Role::Score, weight, || initial_scores(weight));
        let kept = count as i64 - removed;
        Ok(Box::new(ScoreMask { scores, kept, rate: self.rate, searched: decided.is_none(), last: RefCell::default() }))
    }
}

struct ScoreMask {
    scores: Tensor,
    kept: i64,
    rate: f64,
    searched: bool,
    /// The last mask, and the version of the scores that it was made from: scores rest while the weights move.
    last: RefCell<Option<(i64, Tensor)>>,
}

impl WeightTransform for ScoreMask {
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        let now = version(&self.scores);
        let mut last = self.last.borrow_mut();
        let (_, mask) = match last.take() {
            Some(made) if made.0 == now => last.insert(made),
            _ => last.insert((now, largest_mask(&self.scores, self.kept))),
        };
        Some(straight_through(&self.scores, mask))
    }

    fn density(&self) -> Option<Tensor> {
        let density = self.kept as f64 / self.scores.numel() as f64;
        Some(Tensor::from(density).to_device(self.scores.device()))
    }

    /// Weights that were trained without it are what their scores start from.
    fn switch_on(&self, weight: &Tensor) {
        tch::no_grad(|| self.scores.shallow_clone().copy_(&initial_scores(weight)));
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.searched.then(|| ("all".to_owned(), Decision { bits: None, rate: Some(self.rate) }))
    }
}

/// sqrt(6 / fan_in) · W / max|W|.
pub(crate) fn initial_scores(weight: &Tensor) -> Tensor {
    let fan_in = weight.size()[1..].iter().product::<i64>().max(1) as f64;
    let largest = weight.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
    weight.detach() * ((6.0 / fan_in).sqrt() / largest)
}

/// Ones on the `kept` scores of largest magnitude, as one autograd node with the straight-through gradient.
pub(crate) fn top_mask(scores: &Tensor, kept: i64) -> Tensor {
    straight_through(scores, &largest_mask(scores, kept))
}

/// `mask` with the gradient to the scores that it was made from.
fn straight_through(scores: &Tensor, mask: &Tensor) -> Tensor {
    let forward = || (vec![mask.shallow_clone()], vec![scores.detach()]);
    let backward = |gradients: &[Tensor], saved: &[Tensor]| vec![Some(&gradients[0] * saved[0].sign())];
    custom_function(&[scores], forward, backward).pop().expect("one output was given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::plugin::{Parameters, Place};
    use tch::{Device, Kind};

    #[test]
    fn the_mask_keeps_the_largest_magnitudes_and_exactly_as_many_with_ties() {
        let scores = Tensor::from_slice(&[0.1f32, -0.9, 0.5, -0.2]);
        assert_eq!(Vec::<f32>::try_from(top_mask(&scores, 2)).unwrap(), [0., 1., 1., 0.]);
        let ties = Tensor::ones([7], (Kind::Float, Device::Cpu));
        assert_eq!(top_mask(&ties, 3).sum(Kind::Float).double_value(&[]), 3.0);
    }

    #[test]
    fn the_gradient_passes_straight_through_with_the_sign_of_the_score() {
        let scores = Tensor::from_slice(&[0.1f32, -0.9, 0.5, -0.2]).set_requires_grad(true);
        let upstream = Tensor::from_slice(&[1f32, 2., 3., 4.]);
        (top_mask(&scores, 2) * upstream).sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(scores.grad()).unwrap(), [1., -2., 3., -4.]);
    }

    #[test]
    fn scores_start_as_published_and_the_density_is_exact() {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let weight = Tensor::from_slice(&[0.5f32, -1.0, 0.25, 0.1, 0.2, 0.3]).view([1, 6, 1, 1]);
        let layer = LayerSpec { name: "a".into(), place: Place::Cell(0) };
        let transform = ScorePrune { rate: 0.5 }.attach(&layer, &weight, None, &mut build).unwrap();
        assert_eq!(transform.density().unwrap().double_value(&[]), 0.5);
        let scores = Vec::<f32>::try_from(parameters.trainable()[0].tensor.flatten(0, -1)).unwrap();
        // fan_in = 6, so the factor is 1 / max|W| = 1.
        assert_eq!(scores, [0.5, -1.0, 0.25, 0.1, 0.2, 0.3]);
    }

    #[test]
    fn a_rate_of_one_is_refused() {
        let error = serde_json::from_str::<ScorePrune>(r#"{ "rate": 1.0 }"#).unwrap_err().to_string();
        assert!(error.starts_with("1 is not the fraction of weights removed, 0 <= rate < 1"), "{error}");
    }
}
