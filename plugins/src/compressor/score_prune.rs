//! Pruning by trained importance scores: the mask of CompConv.
//!
//! Source: Sehwag et al. (HYDRA, NeurIPS 2020), as LitE-SNN (Liu et al., IJCAI 2024), Eq. 10, uses
//! it: one score and one mask for all bit-widths of a layer, weights and scores trained together.
//!
//! ```text
//! S_0 = sqrt(6 / fan_in) · W / max|W|                               scores start proportional to the weights
//! M   = 1 on the largest |S| of the layer, 0 on the floor(rate · n) smallest
//! dL/dS = dL/dM · sign(S)                                           straight-through
//! ```
//!
//! W is the weight that is trained. In the search of the authors' program the scores start from
//! another draw; this and all else that differs: docs/authors-program.md.
//!
//! # Rates of layers
//!
//! With `rates = "per-layer"`, which the paper does not have, a search gives every layer of the body a
//! rate of its own, by a logit that moves with the scores; all these layers together lose the fraction
//! `rate` of their weights. `searched_rates.rs` has the formulas. Layers outside of the body, which a
//! supernet may leave uncompressed, have the rate.

use std::cell::RefCell;

use super::mask::largest_mask;
use super::rate::LayerRate;
use super::scores::{initial_scores, straight_through};
use super::searched_rates::Share;
use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, Formula, LayerSpec, Technique, WeightTransform,
};
use litesnn_framework::spiking::version;
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

const NAME: &str = "score-prune";

/// Settings of `score-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScorePrune {
    /// Fraction of each layer's weights that is removed (paper: 0.5, 0.8, 0.9).
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: f64,
    /// Whether every layer has the rate, or a search finds a rate for each.
    #[serde(default, skip_serializing_if = "Rates::is_default")]
    #[schemars(extend("default" = "uniform"))]
    pub rates: Rates,
}

/// What the layers of the body have of the rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rates {
    /// The rate, each (paper).
    #[default]
    Uniform,
    /// Rates of their own, which a search finds; together they lose the fraction `rate` of their weights.
    PerLayer,
}

impl Rates {
    /// Whether a manifest need not name it.
    pub fn is_default(&self) -> bool {
        *self == Rates::default()
    }
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
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn straight_through(&self) -> &'static [Role] {
        &[Role::Score]
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let keeps = match self.rates {
            Rates::Uniform => Keeps::Rate(LayerRate::attach(NAME, self.rate, weight, decided)?),
            Rates::PerLayer if layer.place.is_body() => {
                Keeps::Share(Share::attach(NAME, &layer.name, self.rate, weight.numel() as i64, decided, build))
            }
            // Nothing is decided about these.
            Rates::PerLayer => Keeps::Rate(LayerRate::attach(NAME, self.rate, weight, Some(&Decisions::new()))?),
        };
        let scores = build.parameter_like("scores", Role::Score, weight, || initial_scores(weight));
        Ok(Box::new(ScoreMask { scores, keeps, last: RefCell::default() }))
    }
}

/// How many weights of a layer stay.
enum Keeps {
    /// Those that the rate leaves.
    Rate(LayerRate),
    /// Those that the layer has of the total.
    Share(Share),
}

impl Keeps {
    fn count(&self) -> i64 {
        match self {
            Keeps::Rate(rate) => rate.kept,
            Keeps::Share(share) => share.kept(),
        }
    }
}

struct ScoreMask {
    scores: Tensor,
    keeps: Keeps,
    /// The last mask, the version of the scores that it was made from and how many it keeps: scores
    /// rest while the weights move.
    last: RefCell<Option<((i64, i64), Tensor)>>,
}

impl WeightTransform for ScoreMask {
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        let kept = self.keeps.count();
        let now = (version(&self.scores), kept);
        let mut last = self.last.borrow_mut();
        let (_, mask) = match last.take() {
            Some(made) if made.0 == now => last.insert(made),
            _ => last.insert((now, largest_mask(&self.scores, kept))),
        };
        Some(match &self.keeps {
            Keeps::Rate(_) => straight_through(&self.scores, mask),
            Keeps::Share(share) => share.straight_through(&self.scores, mask),
        })
    }

    fn formula(&self) -> Option<Formula> {
        match &self.keeps {
            Keeps::Rate(rate) => {
                Some(Formula::Largest { scores: self.scores.shallow_clone(), kept: rate.kept, learned: true })
            }
            // No kernel gives a gradient to the share.
            Keeps::Share(_) => None,
        }
    }

    fn density(&self) -> Option<Factor> {
        Some(match &self.keeps {
            Keeps::Rate(rate) => rate.density(),
            Keeps::Share(share) => share.density(),
        })
    }

    /// Weights that were trained without it are what their scores start from.
    fn switch_on(&self, weight: &Tensor) {
        tch::no_grad(|| self.scores.shallow_clone().copy_(&initial_scores(weight)));
    }

    fn decide(&self) -> Option<(String, Decision)> {
        match &self.keeps {
            Keeps::Rate(rate) => rate.decide(),
            Keeps::Share(share) => share.decide(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::Parameters;
    use litesnn_framework::network::Place;
    use tch::Device;

    #[test]
    fn scores_start_as_published_and_the_density_is_exact() {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let weight = Tensor::from_slice(&[0.5f32, -1.0, 0.25, 0.1, 0.2, 0.3]).view([1, 6, 1, 1]);
        let layer = LayerSpec { name: "a".into(), place: Place::Cell(0), population: None };
        let transform =
            ScorePrune { rate: 0.5, rates: Rates::Uniform }.attach(&layer, &weight, None, &mut build).unwrap();
        assert_eq!(transform.density().unwrap().number(), 0.5);
        let scores = Vec::<f32>::try_from(parameters.trainable()[0].tensor.flatten(0, -1)).unwrap();
        // fan_in = 6, so the factor is 1 / max|W| = 1.
        assert_eq!(scores, [0.5, -1.0, 0.25, 0.1, 0.2, 0.3]);
    }
}
