//! Gradient rewiring (Grad R): weights and connections learn together, by one gradient; a pruned
//! synapse may grow again.
//!
//! Source: Chen, Yu, Fang, Huang and Tian, Pruning of Deep Spiking Neural Networks through Gradient
//! Rewiring (IJCAI 2021).
//!
//! A synapse has a sign s, that of its first weight, and a strength theta. It is there while theta
//! is positive:
//!
//! ```text
//! w = s · theta where theta > 0, else 0
//! dL/dtheta = s · dL/dw + alpha · sign(theta - mu)          for pruned synapses, too: that is the rewiring
//! mu = ln(2 (1 - rate)) / alpha                             centre of the Laplacian prior alpha/2 · exp(-alpha |theta - mu|)
//! ```
//!
//! A draw of that prior is positive with probability 1 - rate, so that training is drawn towards
//! removing `rate` of the weights. How many are removed is what training makes of it: a larger
//! alpha prunes sooner. Density is counted, never promised.
//!
//! The trained tensor is W = s · theta, so that dL/dW = dL/dw + alpha · s · sign(s W - mu), and a
//! weight is removed while its sign is not the first one. Shapes: W is `[out, in, kh, kw]` or
//! `[out, in]`. The authors train by Adam and leave its scaling out of the prior's part; here both
//! parts go through the stage's optimizer. A network that is trained anew begins with all its
//! synapses.

use super::mask::straight_through_mask;
use super::rate::LayerRate;
use super::signs::signs;
use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{Compressor, Decision, Decisions, Factor, LayerSpec, Technique, WeightTransform};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

const NAME: &str = "gradient-rewire";

/// Settings of `gradient-rewire`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GradientRewire {
    /// Fraction of the weights that the prior removes.
    #[schemars(range(min = 0.5), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: f64,
    /// Strength of the prior, added to the gradient of a weight: a larger one prunes sooner.
    #[serde(default = "alpha")]
    #[schemars(range(min = 1e-9, max = 1.0))]
    pub alpha: f64,
}

fn alpha() -> f64 {
    1e-4
}

register! {
    kind: Compressor,
    name: "gradient-rewire",
    settings: GradientRewire,
    version: 1,
    summary: "weights that change their sign are removed, and grow again by their gradient",
    paper: "Chen et al., Pruning of Deep Spiking Neural Networks through Gradient Rewiring, IJCAI 2021",
    examples: [
        "[[compressor]]\ngradient-rewire = { rate = 0.8 }",
        "[[compressor]]\ngradient-rewire = { rate = 0.95, alpha = 1e-3 }",
    ],
    file: "gradient_rewire.rs",
}

#[typetag::serde(name = "gradient-rewire")]
impl Compressor for GradientRewire {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn straight_through(&self) -> &'static [Role] {
        &[Role::Weight]
    }

    fn attach(
        &self,
        _layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let rate = LayerRate::attach(NAME, self.rate, weight, decided)?;
        let signs = build.at(NAME).buffer_like("signs", weight, |_| signs(weight));
        Ok(Box::new(Synapses { rate, alpha: self.alpha, weight: weight.shallow_clone(), signs }))
    }
}

struct Synapses {
    rate: LayerRate,
    alpha: f64,
    /// The trained tensor: it shares its memory with the layer's weight.
    weight: Tensor,
    signs: Tensor,
}

impl Synapses {
    /// theta
    fn strength(&self) -> Tensor {
        self.weight.detach() * &self.signs
    }

    fn there(&self) -> Tensor {
        self.strength().gt(0.0).to_kind(Kind::Float)
    }
}

impl WeightTransform for Synapses {
    fn mask(&self, transformed: &Tensor) -> Option<Tensor> {
        let centre = (2.0 * (1.0 - self.rate.rate)).ln() / self.alpha;
        let prior = (self.strength() - centre).sign() * &self.signs * self.alpha;
        Some(straight_through_mask(&self.weight, transformed, &self.there(), prior))
    }

    fn density(&self) -> Option<Factor> {
        Some(Factor::Scalar(self.there().mean(Kind::Float)))
    }

    /// The weights that were trained without it are all there.
    fn switch_on(&self, weight: &Tensor) {
        tch::no_grad(|| self.signs.shallow_clone().copy_(&signs(weight)));
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.rate.decide()
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::network::{CompressedWeight, Techniques};

    fn rewired(rate: f64, alpha: f64) -> CompressedWeight {
        let weight = Tensor::from_slice(&[0.5f32, -1.0, 2.0, -0.25]).view([1, 4]);
        compressed(NAME, &GradientRewire { rate, alpha }, weight)
    }

    #[test]
    fn a_weight_that_changes_its_sign_is_removed_and_comes_back() {
        let weight = rewired(0.8, 1e-4);
        let train =
            |to: [f32; 4]| tch::no_grad(|| weight.raw().shallow_clone().copy_(&Tensor::from_slice(&to).view([1, 4])));
        assert_eq!(values(&weight.value(Techniques::ALL)), [0.5, -1.0, 2.0, -0.25]);
        train([-0.1, -1.0, 2.0, 0.3]);
        assert_eq!(values(&weight.value(Techniques::ALL)), [0.0, -1.0, 2.0, 0.0]);
        assert_eq!(weight.density(Techniques::ALL).number(), 0.5);
        train([0.1, -1.0, 2.0, 0.3]);
        assert_eq!(values(&weight.value(Techniques::ALL)), [0.1, -1.0, 2.0, 0.0]);
    }

    #[test]
    fn removed_weights_have_the_gradient_of_kept_ones_and_the_prior_is_added() {
        // mu = ln(0.4) / 0.5 = -1.83.
        let weight = rewired(0.8, 0.5);
        tch::no_grad(|| {
            weight.raw().shallow_clone().copy_(&Tensor::from_slice(&[-1.0f32, -1.0, -3.0, -0.25]).view([1, 4]))
        });
        // theta = -1, 1, -3, 0.25: the third lies below the prior's centre.
        let upstream = Tensor::from_slice(&[1f32, 2., 3., 4.]).view([1, 4]);
        (weight.value(Techniques::ALL) * upstream).sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [1.5, 1.5, 2.5, 3.5]);
    }

    #[test]
    fn the_prior_draws_weights_towards_its_rate() {
        // Weights from the prior's own descent: theta falls by alpha a step until it crosses mu.
        let weight = rewired(0.5, 0.25);
        for _ in 0..12 {
            weight.raw().shallow_clone().zero_grad();
            (weight.value(Techniques::ALL) * 0.0).sum(Kind::Float).backward();
            tch::no_grad(|| {
                let gradient = weight.raw().grad();
                let _ = weight.raw().shallow_clone().g_sub_(&gradient);
            });
        }
        // rate 0.5: mu = 0, where every strength ends.
        let strengths = values(&(weight.raw() * Tensor::from_slice(&[1f32, -1., 1., -1.])));
        assert!(strengths.iter().all(|strength| strength.abs() <= 0.25), "{strengths:?}");
    }
}
