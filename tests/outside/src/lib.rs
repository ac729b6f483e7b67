//! Ternary weights: zero, and one magnitude with a sign.
//!
//! Source: Li et al., Ternary Weight Networks (arXiv:1605.04711), one threshold and one magnitude
//! for each layer.
//!
//! ```text
//! delta = threshold · mean |W|          W' = a · sign(W) where |W| > delta, 0 elsewhere          a = mean of |W| where |W| > delta
//! ```
//!
//! Straight-through: dW'/dW = 1. Shapes are kept. A value is stored in two bits.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{Compressor, Decisions, Factor, LayerSpec, Technique, WeightTransform};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Settings of `ternary`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ternary {
    /// Threshold, as a multiple of the layer's mean magnitude (paper: 0.7).
    #[schemars(range(min = 0.0))]
    pub threshold: f64,
}

impl Default for Ternary {
    fn default() -> Self {
        Ternary { threshold: 0.7 }
    }
}

register! {
    kind: Compressor,
    name: "ternary",
    settings: Ternary,
    version: 1,
    summary: "weights of three values, in two bits",
    paper: "Li et al., Ternary Weight Networks, arXiv:1605.04711, 2016",
    examples: ["[[compressor]]\nternary = { threshold = 0.7 }"],
    file: "lib.rs",
}

#[typetag::serde(name = "ternary")]
impl Compressor for Ternary {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn straight_through(&self) -> &'static [Role] {
        &[Role::Weight]
    }

    fn attach(
        &self,
        _layer: &LayerSpec,
        _weight: &Tensor,
        _decided: Option<&Decisions>,
        _build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        Ok(Box::new(ThreeValues { threshold: self.threshold }))
    }
}

struct ThreeValues {
    threshold: f64,
}

impl WeightTransform for ThreeValues {
    fn transform(&self, weight: &Tensor) -> Tensor {
        let plain = weight.detach();
        let magnitude = plain.abs();
        let large = magnitude.gt_tensor(&(magnitude.mean(Kind::Float) * self.threshold)).to_kind(Kind::Float);
        // With a threshold that nothing exceeds, all is zero.
        let count = large.sum(Kind::Float).clamp_min(1.0);
        let value = plain.sign() * &large * ((magnitude * &large).sum(Kind::Float) / count);
        weight + (value - &plain)
    }

    fn bits(&self) -> Option<Factor> {
        Some(Factor::Constant(2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_weights_share_a_magnitude_and_small_ones_are_zero() {
        let weight = Tensor::from_slice(&[0.1f32, -1.0, 2.0, -0.1]);
        // mean 0.8, delta 0.56, a = 1.5
        let transform = ThreeValues { threshold: 0.7 };
        let value = Vec::<f32>::try_from(transform.transform(&weight)).unwrap();
        for (got, want) in value.iter().zip([0.0, -1.5, 1.5, 0.0]) {
            assert!((got - want).abs() < 1e-6, "{value:?}");
        }
    }
}
