//! Pruning by ADMM: weights are drawn towards a sparse target while they are trained, are then
//! pruned for good, and trained on.
//!
//! Source: Deng, Wu, Hu, Liang, Li, Hu, Ding, Li and Xie, Comprehensive SNN Compression Using ADMM
//! Optimization and Activity Regularization (IEEE TNNLS 2021).
//!
//! ```text
//! P(V)    = V on its largest |V|, 0 on the floor(rate · n) smallest
//! until a fraction `admm` of the epochs of a stage:
//! dL/dW   = dL/dW' + rho · (W - Z + U)                    W' = W
//! Z       = P(W + U), U <- W + U - Z                      at the end of an epoch; Z = P(W), U = 0 at first
//! from then on:
//! W'      = M · W, dW'/dW = M                             M: ones on the largest |W| at that time
//! ```
//!
//! W is the trained weight, `[out, in, kh, kw]` or `[out, in]`, wherever the plugin stands among the
//! compressors. Until it is pruned a layer is dense: density is that of M, which holds ones. rho is
//! not published for the CIFAR networks, and 1e-3 is usual in the field. The authors' program has
//! norms that are not squared, and projects W itself at first, both taken for faults here. It prunes
//! layers of an MNIST network at rates of their own; here one rate holds for all layers. The
//! paper prunes first and quantises what is left: `sequential` in the order P, Q. The regularisation
//! of activity is no part of a compressor. There is no formula for the kernels of a GPU.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, LayerSpec, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::admm::{Admm, Moment, half_of_the_epochs, usual_penalty};
use super::mask::{largest_mask, pulled_mask};
use super::rate::LayerRate;

const NAME: &str = "admm-prune";

/// Settings of `admm-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmmPrune {
    /// Fraction of each layer's weights that is removed (paper: 0.5, 0.75, 0.9).
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: f64,
    /// Strength of the penalty.
    #[serde(default = "usual_penalty")]
    #[schemars(range(min = 0.0))]
    pub rho: f64,
    /// Fraction of the epochs after which the weights are pruned for good (authors' program: 0.5).
    #[serde(default = "half_of_the_epochs")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0, "x-unit" = "of the epochs"))]
    pub admm: f64,
}

register! {
    kind: Compressor,
    name: "admm-prune",
    settings: AdmmPrune,
    version: 1,
    summary: "draws weights towards a sparse target by ADMM, then prunes them for good",
    paper: "Deng et al., Comprehensive SNN Compression Using ADMM Optimization and Activity Regularization, TNNLS 2021",
    examples: ["[[compressor]]\nadmm-prune = { rate = 0.75 }"],
    file: "admm_prune.rs",
}

#[typetag::serde(name = "admm-prune")]
impl Compressor for AdmmPrune {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    /// The pull towards the target is no derivative of the value.
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
        let mut own = build.at(NAME);
        let admm = Admm::new(weight, (self.rho, self.admm), |weight| largest(weight, rate.kept), &mut own);
        let mask = own.buffer_like("mask", weight, |_| weight.detach().ones_like());
        Ok(Box::new(Sparse { admm, rate, mask }))
    }
}

/// P(V)
fn largest(values: &Tensor, kept: i64) -> Tensor {
    values * largest_mask(values, kept)
}

struct Sparse {
    admm: Admm,
    rate: LayerRate,
    mask: Tensor,
}

impl WeightTransform for Sparse {
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        Some(pulled_mask(&self.admm.weight, &self.mask, self.admm.pull()))
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        Some(self)
    }

    fn density(&self) -> Option<Factor> {
        Some(Factor::Scalar(self.mask.mean(Kind::Float)))
    }

    fn switch_on(&self, _weight: &Tensor) {
        tch::no_grad(|| self.admm.restart(|weight| largest(weight, self.rate.kept)));
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.rate.decide()
    }
}

impl Schedule for Sparse {
    fn advance(&self, progress: Progress, _gradient: Option<&Tensor>) -> Option<Tensor> {
        match self.admm.moment(progress) {
            Moment::None => {}
            Moment::Project => self.admm.project(|sum| largest(sum, self.rate.kept)),
            Moment::Harden => {
                self.mask.shallow_clone().copy_(&largest_mask(&self.admm.weight, self.rate.kept));
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
    fn weights_are_pulled_to_their_projection_and_pruned_once() {
        let weights = Tensor::from_slice(&[0.1f32, -0.9, 0.5, -0.2]).view([1, 4]);
        let weight = compressed(NAME, &AdmmPrune { rate: 0.5, rho: 0.5, admm: 0.5 }, weights);
        let gradient = || {
            weight.raw().shallow_clone().zero_grad();
            weight.value(Techniques::ALL).sum(Kind::Float).backward();
            values(&weight.raw().grad())
        };
        let close = |found: Vec<f32>, wanted: [f32; 4]| {
            let near = found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6);
            assert!(near, "{found:?} {wanted:?}");
        };
        assert_eq!(values(&weight.value(Techniques::ALL)), [0.1, -0.9, 0.5, -0.2]);
        assert_eq!(weight.density(Techniques::ALL).number(), 1.0);
        // Z = (0, -0.9, 0.5, 0), U = 0.
        close(gradient(), [1.05, 1.0, 1.0, 0.9]);
        // Four epochs of two steps: nothing at a step within, then U = W - Z.
        weight.advance(Techniques::ALL, Progress::after(1, 2, 0, 4));
        close(gradient(), [1.05, 1.0, 1.0, 0.9]);
        weight.advance(Techniques::ALL, Progress::after(2, 2, 0, 4));
        close(gradient(), [1.1, 1.0, 1.0, 0.8]);
        weight.advance(Techniques::ALL, Progress::after(2, 2, 1, 4));
        assert_eq!(values(&weight.value(Techniques::ALL)), [0.0, -0.9, 0.5, 0.0]);
        assert_eq!(weight.density(Techniques::ALL).number(), 0.5);
        close(gradient(), [0.0, 1.0, 1.0, 0.0]);
        // The mask stays where it is.
        tch::no_grad(|| weight.raw().shallow_clone().copy_(&Tensor::from_slice(&[4f32, 3., 2., 1.]).view([1, 4])));
        weight.advance(Techniques::ALL, Progress::after(2, 2, 3, 4));
        assert_eq!(values(&weight.value(Techniques::ALL)), [0.0, 3.0, 2.0, 0.0]);
    }
}
