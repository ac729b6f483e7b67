//! Quantisation by ADMM: weights are drawn towards a target of few values while they are trained,
//! and are then those values.
//!
//! Source: Deng, Wu, Hu, Liang, Li, Hu, Ding, Li and Xie, Comprehensive SNN Compression Using ADMM
//! Optimization and Activity Regularization (IEEE TNNLS 2021).
//!
//! P projects on few values of one scale, by turns of five, from Q = 1 on:
//!
//! ```text
//! alpha = V·Q / Q·Q,  Q = clip(round(V / alpha), -m, m)         m = 2^(b-1) - 1: {-1, 0, 1} at 2 bits
//! Q     = sign(V / alpha)                                        at 1 bit
//! P(V)  = alpha · Q
//! ```
//!
//! ```text
//! until a fraction `admm` of the epochs of a stage:
//! dL/dW = dL/dW' + rho · (W - Z + U)                             W' = W
//! Z     = P(W + U), U <- W + U - Z                               at the end of an epoch; Z = P(W), U = 0 at first
//! from then on:
//! W'    = P(W), dW'/dW = 1
//! ```
//!
//! W is the trained weight, `[out, in, kh, kw]` or `[out, in]`, of every layer. Until W itself is
//! projected a weight has 32 bits, and `bits` say so. The penalty acts on the trained weight, and the
//! projection at last on what reaches the plugin. A trained network leaves with the levels Q and the
//! step |alpha| of each layer; before W itself is projected there are no levels. Only a program for pruning was released, and no
//! rho: the projection of `b` bits above 2, and the training of W through it after ADMM, are the
//! usual forms. In the order of the paper, pruning comes first: `sequential` in the order P, Q.
//! There is no formula for the kernels of a GPU.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decisions, FULL_PRECISION, Factor, LayerSpec, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::spiking::custom_function;
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::admm::{Admm, Moment, half_of_the_epochs, usual_penalty};
use super::signs::signs;

const NAME: &str = "admm-quantize";
/// Turns of a projection.
const TURNS: usize = 5;

/// Settings of `admm-quantize`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmmQuantize {
    /// Bits of a weight (paper: 3, 2, 1).
    #[schemars(range(min = 1, max = 8), extend("x-unit" = "bits"))]
    pub bits: u32,
    /// Strength of the penalty.
    #[serde(default = "usual_penalty")]
    #[schemars(range(min = 0.0))]
    pub rho: f64,
    /// Fraction of the epochs after which the weights are few values for good.
    #[serde(default = "half_of_the_epochs")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0, "x-unit" = "of the epochs"))]
    pub admm: f64,
}

register! {
    kind: Compressor,
    name: "admm-quantize",
    settings: AdmmQuantize,
    version: 2,
    summary: "draws weights towards few values by ADMM, then makes them those values",
    paper: "Deng et al., Comprehensive SNN Compression Using ADMM Optimization and Activity Regularization, TNNLS 2021",
    examples: ["[[compressor]]\nadmm-quantize = { bits = 3 }", "[[compressor]]\nadmm-quantize = { bits = 1, admm = 0.25 }"],
    file: "admm_quantize.rs",
}

#[typetag::serde(name = "admm-quantize")]
impl Compressor for AdmmQuantize {
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
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let mut own = build.at(NAME);
        let admm = Admm::new(weight, (self.rho, self.admm), |weight| project(weight, self.bits), &mut own);
        let width = own.buffer("bits", Tensor::from(FULL_PRECISION as f32));
        Ok(Box::new(Few { admm, bits: self.bits, width }))
    }
}

/// P(V)
fn project(values: &Tensor, bits: u32) -> Tensor {
    let (levels, scale) = turned(values, bits);
    levels * scale
}

/// Q and alpha after all turns.
fn turned(values: &Tensor, bits: u32) -> (Tensor, Tensor) {
    let mut levels = values.ones_like();
    let mut scale = scale_of(values, &levels);
    for _ in 0..TURNS {
        levels = levels_of(values, &scale, bits);
        scale = scale_of(values, &levels);
    }
    (levels, scale)
}

/// alpha, never zero.
fn scale_of(values: &Tensor, levels: &Tensor) -> Tensor {
    let product = (values * levels).sum(Kind::Float);
    let scale = product / levels.square().sum(Kind::Float).clamp_min(1.0);
    scale.masked_fill(&scale.eq(0.0), 1.0)
}

/// Q
fn levels_of(values: &Tensor, scale: &Tensor, bits: u32) -> Tensor {
    let ratio = values / scale;
    match bits {
        1 => signs(&ratio),
        _ => {
            let most = f64::from(bits - 1).exp2() - 1.0;
            ratio.round().clamp(-most, most)
        }
    }
}

struct Few {
    admm: Admm,
    bits: u32,
    /// Bits of a weight now: 32 until W itself is projected.
    width: Tensor,
}

impl WeightTransform for Few {
    fn transform(&self, weight: &Tensor) -> Tensor {
        let pull = self.admm.pull();
        let forward = || {
            let free = self.width.eq(FULL_PRECISION);
            (vec![weight.where_self(&free, &project(weight, self.bits))], vec![pull])
        };
        let backward = |gradients: &[Tensor], saved: &[Tensor]| {
            vec![Some(gradients[0].shallow_clone()), Some(saved[0].shallow_clone())]
        };
        custom_function(&[weight, &self.admm.weight], forward, backward).pop().expect("one output was given")
    }

    fn packed_step(&self, weight: &Tensor) -> Option<Tensor> {
        let free = self.width.double_value(&[]) == FULL_PRECISION;
        // alpha is below zero where the weights' mean is, and the levels have its sign then.
        (!free).then(|| turned(weight, self.bits).1.abs())
    }

    fn bits(&self) -> Option<Factor> {
        Some(Factor::Scalar(self.width.shallow_clone()))
    }

    fn switch_on(&self, _weight: &Tensor) {
        tch::no_grad(|| self.admm.restart(|weight| project(weight, self.bits)));
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        Some(self)
    }
}

impl Schedule for Few {
    fn advance(&self, progress: Progress, _gradient: Option<&Tensor>) -> Option<Tensor> {
        match self.admm.moment(progress) {
            Moment::None => {}
            Moment::Project => self.admm.project(|sum| project(sum, self.bits)),
            Moment::Harden => {
                let _ = self.width.shallow_clone().fill_(f64::from(self.bits));
                self.admm.release();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::network::Techniques;

    #[test]
    fn the_projection_alternates_between_scale_and_levels() {
        let v = Tensor::from_slice(&[0.9f32, -1.1, 0.2, -0.05, 0.6, 1.4]);
        let mut levels = v.ones_like();
        for wanted in [0.325, 0.84, 1.0, 1.0] {
            let scale = scale_of(&v, &levels);
            assert!((scale.double_value(&[]) - wanted).abs() < 1e-6, "{scale} {wanted}");
            levels = levels_of(&v, &scale, 2);
        }
        assert_eq!(values(&levels), [1., -1., 0., 0., 1., 1.]);
        assert_eq!(values(&project(&v, 2)), [1., -1., 0., 0., 1., 1.]);
        // One bit: the mean magnitude with the signs.
        let mean = (0.9 + 1.1 + 0.2 + 0.05 + 0.6 + 1.4) / 6.0;
        for (found, sign) in values(&project(&v, 1)).into_iter().zip([1., -1., 1., -1., 1., 1.]) {
            assert!((found - mean * sign).abs() < 1e-6);
        }
    }

    #[test]
    fn weights_that_sum_to_zero_have_a_projection() {
        let v = Tensor::from_slice(&[1f32, -1., 3., -3.]);
        assert_eq!(values(&project(&v, 1)), [2., -2., 2., -2.]);
        assert_eq!(values(&project(&v.zeros_like(), 2)), [0.0; 4]);
    }

    #[test]
    fn a_trained_weight_leaves_with_the_scale_of_its_levels_as_step() {
        // The mean is below zero, and so is alpha from the first turn on: Q = (-1, 1, 1), alpha = -2.
        let weight = compressed(
            NAME,
            &AdmmQuantize { bits: 2, rho: 0.5, admm: 0.5 },
            Tensor::from_slice(&[2f32, -1.5, -2.5]).view([1, 3]),
        );
        assert!(weight.packed_step(Techniques::ALL).is_none(), "weights of 32 bits have no levels");
        weight.advance(Techniques::ALL, Progress::after(2, 2, 0, 2));
        assert_eq!(weight.packed_step(Techniques::ALL).unwrap().double_value(&[]), 2.0);
        assert_eq!(values(&weight.value(Techniques::ALL)), [2., -2., -2.]);
        assert!(weight.step(Techniques::ALL).is_none(), "a step for bf16 would be read from a buffer");
    }

    #[test]
    fn weights_are_free_then_few() {
        let weights = Tensor::from_slice(&[0.9f32, -1.1, 0.2, -0.05, 0.6, 1.4]).view([1, 6]);
        let weight = compressed(NAME, &AdmmQuantize { bits: 2, rho: 0.5, admm: 0.5 }, weights.copy());
        assert_eq!(weight.bits(Techniques::ALL).number(), 32.0);
        let value = weight.value(Techniques::ALL);
        assert_eq!(values(&value), values(&weights));
        value.sum(Kind::Float).backward();
        // 1 + (W - Z) / 2
        for (found, wanted) in values(&weight.raw().grad()).into_iter().zip([0.95, 0.95, 1.1, 0.975, 0.8, 1.2]) {
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
        weight.advance(Techniques::ALL, Progress::after(2, 2, 0, 2));
        assert_eq!(weight.bits(Techniques::ALL).number(), 2.0);
        assert_eq!(values(&weight.value(Techniques::ALL)), [1., -1., 0., 0., 1., 1.]);
        weight.raw().shallow_clone().zero_grad();
        weight.value(Techniques::ALL).sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [1.0; 6]);
    }
}
