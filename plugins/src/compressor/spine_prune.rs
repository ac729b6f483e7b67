//! STDS: weights are a soft threshold of what is trained, and the threshold grows. Synapses pass
//! between filopodia (removed) and mature spines (kept) in both directions, and a kept weight shrinks
//! smoothly before it goes.
//!
//! Source: Chen, Yu, Fang, Ma, Huang and Tian, State Transition of Dendritic Spines Improves Learning
//! of Sparse Spiking Neural Networks (ICML 2022).
//!
//! ```text
//! w = sign(theta) · max(|theta| - d, 0)          dL/dtheta = dL/dw, for removed weights, too: that is how they come back
//! d(n) = D · s(n / N)                            after n of the N steps of a stage
//! s(x) = (1 + sin(pi (x - 1/2))) / 2             sine
//! s(x) = x                                       linear
//! ```
//!
//! theta is the trained weight, `[out, in, kh, kw]` or `[out, in]`, of every layer, the stem and the
//! classifier included. The first step is dense. How much is removed is what training makes of D:
//! density is counted, never promised. D is a length of weights, and so depends on how they are
//! trained: the authors train by Adam at a rate of 1e-4 without weight decay, and reach densities of
//! 4.64, 2.23, 1.40, 0.99 and 0.75 % with D = 1, 2, 3, 4 and 5 (CIFAR-10, 6Conv2FC). With SGD and
//! weight decay weights are smaller: choose D from their standard deviation.
//!
//! After another compressor the plugin only removes weights: what reaches it then are values of that
//! compressor, and not lengths. The mask is made from theta in every order. A stage that follows
//! the first one in which the plugin acts keeps the threshold that was reached; a network that is
//! trained anew begins at 0. There is no formula for the kernels of a GPU.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decisions, Factor, LayerSpec, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::spiking::straight_through;
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

const NAME: &str = "spine-prune";

/// Settings of `spine-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpinePrune {
    /// D: the threshold at the end (paper: 1 to 5 on CIFAR-10, 0.1 to 5 on ImageNet).
    #[schemars(range(min = 0.0))]
    pub threshold: f64,
    /// How the threshold grows (paper: `sine` on CIFAR-10).
    #[serde(default)]
    pub schedule: Growth,
}

/// How the threshold grows from 0 to D.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// Slowly, fast, slowly: half a period of a sine.
    #[default]
    Sine,
    /// Evenly.
    Linear,
}

impl Growth {
    /// s(x)
    fn at(self, x: f64) -> f64 {
        match self {
            Growth::Sine => (1.0 + (std::f64::consts::PI * (x - 0.5)).sin()) / 2.0,
            Growth::Linear => x,
        }
    }
}

register! {
    kind: Compressor,
    name: "spine-prune",
    settings: SpinePrune,
    version: 1,
    summary: "weights are a soft threshold of what is trained, and the threshold grows",
    paper: "Chen et al., State Transition of Dendritic Spines Improves Learning of Sparse SNNs, ICML 2022",
    examples: [
        "[[compressor]]\nspine-prune = { threshold = 0.2 }",
        "[[compressor]]\nspine-prune = { threshold = 2.0, schedule = \"linear\" }",
    ],
    file: "spine_prune.rs",
}

#[typetag::serde(name = "spine-prune")]
impl Compressor for SpinePrune {
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
        _decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let threshold = build.at(NAME).buffer("threshold", Tensor::from(0f32));
        Ok(Box::new(Spines { settings: self.clone(), theta: weight.shallow_clone(), threshold }))
    }
}

struct Spines {
    settings: SpinePrune,
    /// The trained tensor: it shares its memory with the layer's weight.
    theta: Tensor,
    /// d, a scalar.
    threshold: Tensor,
}

impl Spines {
    fn mature(&self) -> Tensor {
        self.theta.detach().abs().gt_tensor(&self.threshold).to_kind(Kind::Float)
    }
}

impl WeightTransform for Spines {
    fn transform(&self, weight: &Tensor) -> Tensor {
        if weight.data_ptr() != self.theta.data_ptr() {
            return weight.shallow_clone();
        }
        straight_through(weight, || (weight.abs() - &self.threshold).clamp_min(0.0) * weight.sign())
    }

    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        Some(self.mature())
    }

    fn trains_removed(&self) -> bool {
        true
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        Some(self)
    }

    fn density(&self) -> Option<Factor> {
        Some(Factor::Scalar(self.mature().mean(Kind::Float)))
    }
}

impl Schedule for Spines {
    fn advance(&self, progress: Progress, _gradient: Option<&Tensor>) -> Option<Tensor> {
        let SpinePrune { threshold, schedule } = self.settings;
        let _ = self.threshold.shallow_clone().fill_(threshold * schedule.at(progress.fraction()));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::network::Techniques;
    use litesnn_framework::network::cost::model_size_bytes;

    #[test]
    fn half_way_to_a_threshold_of_two_weights_are_shrunk_by_one() {
        let theta = Tensor::from_slice(&[0.3f32, -1.2, 2.0]).view([1, 3]);
        let weight = compressed(NAME, &SpinePrune { threshold: 2.0, schedule: Growth::Sine }, theta);
        assert_eq!(values(&weight.value(Techniques::ALL)), [0.3, -1.2, 2.0]);
        assert!(weight.advance(Techniques::ALL, Progress::after(2, 4, 0, 1)).is_none());
        let value = weight.value(Techniques::ALL);
        for (found, wanted) in values(&value).into_iter().zip([0.0, -0.2, 1.0]) {
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
        assert!((weight.density(Techniques::ALL).number() - 2.0 / 3.0).abs() < 1e-6);
        (value * Tensor::from_slice(&[1f32, 2., 3.])).sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [1., 2., 3.]);
    }

    #[test]
    fn the_schedules_have_their_closed_values() {
        for (x, sine) in [(0.0, 0.0), (0.25, 0.146_447), (0.5, 0.5), (0.75, 0.853_553), (1.0, 1.0)] {
            assert!((Growth::Sine.at(x) - sine).abs() < 1e-6);
            assert_eq!(Growth::Linear.at(x), x);
        }
    }

    /// 6Conv2FC with 256 channels, FC 16384-2048-100, without biases: 36,715,264 weights, and the
    /// sparsities of the authors' logs at D = 1 to 5.
    #[test]
    fn published_sparsities_give_the_published_sizes() {
        let weights = 9 * 3 * 256 + 5 * 9 * 256 * 256 + 16_384 * 2048 + 2048 * 100;
        assert_eq!(weights, 36_715_264);
        for (removed, megabytes) in
            [(95.359, 6.816), (97.770, 3.276), (98.600, 2.056), (99.007, 1.459), (99.254, 1.096)]
        {
            let bytes = model_size_bytes(f64::from(weights) * (1.0 - removed / 100.0) * 32.0, 0);
            // Half a unit of the last digit of each: 0.0005 % of all weights are 0.0007 MB.
            assert!((bytes / 1e6 - megabytes).abs() < 1.3e-3, "{} {megabytes}", bytes / 1e6);
        }
    }
}
