//! Pruning by magnitude: the largest weights of a layer stay.
//!
//! Source: Han et al. (NeurIPS 2015), layer by layer, with the mask made anew in every forward
//! pass.
//!
//! ```text
//! M = 1 on the largest |W| of the layer, 0 on the floor(rate · n) smallest          W' = M · W, dW'/dW = M
//! ```
//!
//! W is the trained weight itself, wherever the plugin stands among the compressors: a quantised
//! weight has too few values to rank. Nothing is trained beside it. A removed weight gets no
//! gradient from the loss, and comes back when a kept one falls below it. Of equal ones the first
//! stay.

use super::mask::largest_mask;
use super::rate::LayerRate;
use litesnn_framework::ground::Build;
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, Formula, LayerSpec, Technique, WeightTransform,
};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

const NAME: &str = "magnitude-prune";

/// Settings of `magnitude-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MagnitudePrune {
    /// Fraction of each layer's weights that is removed.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: f64,
}

register! {
    kind: Compressor,
    name: "magnitude-prune",
    settings: MagnitudePrune,
    version: 2,
    summary: "removes the smallest weights, layer by layer",
    paper: "Han et al., Learning both Weights and Connections, NeurIPS 2015",
    examples: ["[[compressor]]\nmagnitude-prune = { rate = 0.8 }"],
    file: "magnitude_prune.rs",
}

#[typetag::serde(name = "magnitude-prune")]
impl Compressor for MagnitudePrune {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn attach(
        &self,
        _layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        _build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let rate = LayerRate::attach(NAME, self.rate, weight, decided)?;
        Ok(Box::new(MagnitudeMask { weight: weight.shallow_clone(), rate }))
    }
}

struct MagnitudeMask {
    /// The trained tensor: it shares its memory with the layer's weight.
    weight: Tensor,
    rate: LayerRate,
}

impl WeightTransform for MagnitudeMask {
    fn mask(&self, _transformed: &Tensor) -> Option<Tensor> {
        Some(largest_mask(&self.weight, self.rate.kept))
    }

    fn formula(&self) -> Option<Formula> {
        Some(Formula::Largest { scores: self.weight.detach(), kept: self.rate.kept, learned: false })
    }

    fn density(&self) -> Option<Factor> {
        Some(self.rate.density())
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
    use tch::Kind;

    /// A layer of these weights, half of which are removed.
    fn halved(weights: &[f32]) -> CompressedWeight {
        compressed(NAME, &MagnitudePrune { rate: 0.5 }, Tensor::from_slice(weights).view([1, -1]))
    }

    #[test]
    fn the_largest_weights_stay_and_the_mask_follows_the_trained_weight() {
        let weight = halved(&[0.1, -0.9, 0.5, -0.2]);
        assert_eq!(values(&weight.value(Techniques::ALL)), [0., -0.9, 0.5, 0.]);
        assert_eq!(weight.density(Techniques::ALL).number(), 0.5);
        let trained = Tensor::from_slice(&[1f32, 0., 2., 3.]).view([1, 4]);
        tch::no_grad(|| weight.raw().shallow_clone().copy_(&trained));
        assert_eq!(values(&weight.value(Techniques::ALL)), [0., 0., 2., 3.]);
    }

    #[test]
    fn as_many_weights_as_the_rate_says_are_removed_with_ties() {
        let weight = halved(&[1.0; 7]);
        assert_eq!(values(&weight.value(Techniques::ALL)), [1., 1., 1., 1., 0., 0., 0.]);
    }

    #[test]
    fn only_kept_weights_have_a_gradient() {
        let weight = halved(&[0.1, -0.9, 0.5, -0.2]);
        weight.value(Techniques::ALL).sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [0., 1., 1., 0.]);
    }
}
