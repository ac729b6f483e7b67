//! BinaryConnect: every weight is one of two values, by the sign of what is trained.
//!
//! Source: Courbariaux, Bengio and David, BinaryConnect: Training Deep Neural Networks with Binary
//! Weights during Propagations (NeurIPS 2015); of spiking networks, the weights of Rueckauer, Lungu,
//! Hu, Pfeiffer and Liu (Frontiers in Neuroscience 2017).
//!
//! ```text
//! W' = H · sign(W), sign(0) = 1          dW'/dW = 1          W <- clip(W, -H, H) after each step
//! ```
//!
//! W is the trained weight of every layer, the stem and the classifier included. The clipping keeps
//! W where a few steps can change its sign. The stochastic form, which draws the sign, is not here: a
//! value has to be the same whenever it is asked for. Conversion of a network of ReLUs, as Rueckauer
//! does it, is not here either. There is no formula for the kernels of a GPU.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decisions, Factor, LayerSpec, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::spiking::straight_through;
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::signs::signs;

/// Settings of `binary-connect`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BinaryConnect {
    /// H: the magnitude of all weights, and the bound of what is trained (paper: 1).
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub magnitude: f64,
}

fn one() -> f64 {
    1.0
}

register! {
    kind: Compressor,
    name: "binary-connect",
    settings: BinaryConnect,
    version: 1,
    summary: "weights of one magnitude, by the sign of what is trained",
    paper: "Courbariaux et al., BinaryConnect: Training DNNs with Binary Weights during Propagations, NeurIPS 2015",
    examples: ["[[compressor]]\nbinary-connect = {}", "[[compressor]]\nbinary-connect = { magnitude = 0.1 }"],
    file: "binary_connect.rs",
}

#[typetag::serde(name = "binary-connect")]
impl Compressor for BinaryConnect {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn straight_through(&self) -> &'static [Role] {
        &[Role::Weight]
    }

    fn attach(
        &self,
        _layer: &LayerSpec,
        weight: &Tensor,
        _decided: Option<&Decisions>,
        _build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        Ok(Box::new(Signs { magnitude: self.magnitude, weight: weight.shallow_clone() }))
    }
}

struct Signs {
    magnitude: f64,
    /// The trained tensor: it shares its memory with the layer's weight.
    weight: Tensor,
}

impl Signs {
    fn clip(&self) {
        tch::no_grad(|| {
            let _ = self.weight.shallow_clone().clamp_(-self.magnitude, self.magnitude);
        });
    }
}

impl WeightTransform for Signs {
    fn transform(&self, weight: &Tensor) -> Tensor {
        straight_through(weight, || signs(weight) * self.magnitude)
    }

    fn step(&self, weight: &Tensor) -> Option<Tensor> {
        Some(Tensor::full([] as [i64; 0], self.magnitude, (Kind::Float, weight.device())))
    }

    fn bits(&self) -> Option<Factor> {
        Some(Factor::Constant(1.0))
    }

    /// Weights that were trained without it may lie outside.
    fn switch_on(&self, _weight: &Tensor) {
        self.clip();
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        Some(self)
    }
}

impl Schedule for Signs {
    fn advance(&self, _progress: Progress, _gradient: Option<&Tensor>) -> Option<Tensor> {
        self.clip();
        None
    }

    fn maintain(&self) {
        self.clip();
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::network::Techniques;
    use litesnn_framework::network::cost::model_size_bytes;

    #[test]
    fn weights_are_signs_and_what_is_trained_stays_within_the_magnitude() {
        let weight = compressed(
            "binary-connect",
            &BinaryConnect { magnitude: 0.5 },
            Tensor::from_slice(&[0.1f32, -2.0, 0.0, 3.0]).view([1, 4]),
        );
        let value = weight.value(Techniques::ALL);
        assert_eq!(values(&value), [0.5, -0.5, 0.5, 0.5]);
        (value * Tensor::from_slice(&[1f32, 2., 3., 4.])).sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [1., 2., 3., 4.]);
        assert!(weight.advance(Techniques::ALL, Progress::after(1, 4, 0, 1)).is_none());
        assert_eq!(values(weight.raw()), [0.1, -0.5, 0.0, 0.5]);
        assert_eq!(weight.bits(Techniques::ALL).number(), 1.0);
    }

    /// BinaryConnect's network for CIFAR-10 has 14,022,016 weights.
    #[test]
    fn one_bit_for_each_weight_of_the_authors_network() {
        let convolutions = 9 * (3 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 512);
        let weights = convolutions + 8192 * 1024 + 1024 * 1024 + 1024 * 10;
        assert_eq!(weights, 14_022_016);
        assert_eq!(model_size_bytes(f64::from(weights), 0), 1_752_752.0);
    }
}
