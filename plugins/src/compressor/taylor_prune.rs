//! Gradual pruning by first-order Taylor importance: the weights that the loss would miss least go,
//! a few at a time, and never come back.
//!
//! Source: Molchanov, Mallya, Tyree, Frosio and Kautz, Importance Estimation for Neural Network
//! Pruning (CVPR 2019).
//!
//! ```text
//! c       = mean of (dL/dW' · W)² over the batches since the last removal      the loss's squared change without a weight
//! I       = c at the first removal, then I <- momentum · I + (1 - momentum) · c
//! k(x)    = floor(r · min(x / until, 1)),  r = floor(rate · n)                 weights gone after a part x of the steps
//! M       ones, without the k(x) weights of least I, every `interval` steps and where x reaches `until`
//! W'      = M · W, dW'/dW = M
//! ```
//!
//! Shapes: W, I and M are `[out, in, kh, kw]` or `[out, in]`; n weights in the layer. dL/dW' is the
//! gradient to the weight as the layer uses it, after all compressors, and W the trained weight after
//! the step. What is removed stays removed; of equal ones the first stay longest. A layer is dense at
//! first, and density is that of M.
//!
//! The authors remove whole channels, ranked over all layers at once, at the same number of them each
//! time. A compressor sees one layer: here single weights go, and each layer has the same rate. Their
//! best importance belongs to a gate behind the normalisation; this is the one that they give for
//! weights. They begin with a trained network and end the removal in the first 2 % of the steps: so does
//! step P of `sequential` with a small `until`. Where training begins at random weights, first
//! gradients say little, and the default leaves half of the steps to the removal. Another stage of the
//! same network keeps M; a network that is trained anew begins dense.
//!
//! Steps up to `until` run one operation at a time on a GPU, and there is no formula for its kernels.

use litesnn_framework::ground::Build;
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, LayerSpec, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::mask::largest_mask;
use super::rate::LayerRate;

const NAME: &str = "taylor-prune";

/// Settings of `taylor-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaylorPrune {
    /// Fraction of each layer's weights that is removed in the end.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: f64,
    /// Steps from one removal to the next (authors' program: 30 on ImageNet).
    #[serde(default = "interval")]
    #[schemars(range(min = 1), extend("x-unit" = "steps"))]
    pub interval: u32,
    /// What a removal keeps of the importance before it (paper: 0.9).
    #[serde(default = "momentum")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub momentum: f64,
    /// The part of the stage in which weights are removed.
    #[serde(default = "until")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0, "x-unit" = "of the steps"))]
    pub until: f64,
}

fn interval() -> u32 {
    30
}

fn momentum() -> f64 {
    0.9
}

fn until() -> f64 {
    0.5
}

register! {
    kind: Compressor,
    name: "taylor-prune",
    settings: TaylorPrune,
    version: 1,
    summary: "removes, a few at a time, the weights of least gradient times weight",
    paper: "Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019",
    examples: [
        "[[compressor]]\ntaylor-prune = { rate = 0.8, interval = 2 }",
        "[[compressor]]\ntaylor-prune = { rate = 0.5, interval = 1, momentum = 0.0, until = 1.0 }",
    ],
    file: "taylor_prune.rs",
}

#[typetag::serde(name = "taylor-prune")]
impl Compressor for TaylorPrune {
    fn technique(&self) -> Technique {
        Technique::Prune
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
        Ok(Box::new(Importance {
            settings: self.clone(),
            weight: weight.shallow_clone(),
            rate,
            mask: own.buffer_like("mask", weight, |_| weight.detach().ones_like()),
            averaged: own.buffer_like("averaged", weight, |_| weight.detach().zeros_like()),
            recent: own.buffer_like("recent", weight, |_| weight.detach().zeros_like()),
            batches: own.buffer("batches", Tensor::from(0f32)),
        }))
    }
}

impl TaylorPrune {
    /// Whether weights are still removed, by this step or a later one.
    fn goes_on(&self, progress: Progress) -> bool {
        let before = Progress { step: progress.step - 1, ..progress };
        before.fraction() < self.until
    }

    /// Whether weights are removed after the step.
    fn removes(&self, progress: Progress) -> bool {
        let ends = progress.fraction() >= self.until;
        self.goes_on(progress) && (ends || progress.step.is_multiple_of(self.interval as usize))
    }
}

struct Importance {
    settings: TaylorPrune,
    /// The trained tensor: it shares its memory with the layer's weight.
    weight: Tensor,
    rate: LayerRate,
    /// M
    mask: Tensor,
    /// I
    averaged: Tensor,
    /// The sum of (dL/dW' · W)² since the last removal, and over how many batches: a scalar.
    recent: Tensor,
    batches: Tensor,
}

impl Importance {
    /// I and M after a removal.
    fn remove(&self, progress: Progress) {
        let TaylorPrune { interval, momentum, until, .. } = self.settings;
        let mean = &self.recent / self.batches.clamp_min(1.0);
        let first = progress.step <= interval as usize;
        let averaged = if first { mean } else { &self.averaged * momentum + mean * (1.0 - momentum) };
        self.averaged.shallow_clone().copy_(&averaged);
        let _ = (self.recent.shallow_clone().zero_(), self.batches.shallow_clone().zero_());

        let count = self.weight.numel() as i64;
        let part = (progress.fraction() / until).min(1.0);
        let removed = ((count - self.rate.kept) as f64 * part).floor() as i64;
        // What is there ranks above what is gone, even where its importance is zero.
        let ranks = (averaged + f64::from(f32::MIN_POSITIVE)) * &self.mask;
        self.mask.shallow_clone().copy_(&largest_mask(&ranks, count - removed));
    }
}

impl WeightTransform for Importance {
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        Some(self.mask.shallow_clone())
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        Some(self)
    }

    fn density(&self) -> Option<Factor> {
        Some(Factor::Scalar(self.mask.mean(Kind::Float)))
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.rate.decide()
    }
}

impl Schedule for Importance {
    fn needs_gradient(&self, progress: Progress) -> bool {
        self.settings.goes_on(progress)
    }

    fn advance(&self, progress: Progress, gradient: Option<&Tensor>) -> Option<Tensor> {
        // A step that did not train the weight says nothing of it.
        if let Some(gradient) = gradient {
            let _ = self.recent.shallow_clone().g_add_(&(gradient * &self.weight).square());
            let _ = self.batches.shallow_clone().g_add_scalar_(1.0);
        }
        if self.settings.removes(progress) {
            self.remove(progress);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::ground::Stream;
    use litesnn_framework::network::{CompressedWeight, Techniques};

    /// A layer of the weights 1, 2, 3, 4, of which half are removed by two steps out of two.
    fn settings(momentum: f64) -> TaylorPrune {
        TaylorPrune { rate: 0.5, interval: 2, momentum, until: 1.0 }
    }

    /// A step of a loss whose gradient to W' is `upstream`.
    fn step(weight: &CompressedWeight, upstream: &Tensor, progress: Progress) -> bool {
        let asked = weight.watch(Techniques::ALL, progress);
        weight.raw().shallow_clone().zero_grad();
        (weight.value(Techniques::ALL) * upstream.view_as(weight.raw())).sum(Kind::Float).backward();
        assert!(weight.advance(Techniques::ALL, progress).is_none(), "nothing grows again");
        asked
    }

    /// What is left of 1, 2, 3, 4 after steps of these gradients.
    fn left(momentum: f64, upstream: &[[f32; 4]]) -> Vec<f32> {
        let weight = compressed(NAME, &settings(momentum), Tensor::from_slice(&[1f32, 2., 3., 4.]).view([1, 4]));
        for (upstream, number) in upstream.iter().zip(1..) {
            assert!(step(&weight, &Tensor::from_slice(upstream), Progress::after(number, 4, 0, 1)));
        }
        values(&weight.value(Techniques::ALL))
    }

    const FIRST: [[f32; 4]; 2] = [[4., 1., 1., 1.], [0., 3., 0.1, 1.]];

    #[test]
    fn importance_is_a_mean_over_the_batches_between_two_removals() {
        assert_eq!(left(0.9, &FIRST[..1]), [1., 2., 3., 4.], "nothing goes between the removals");
        // (16, 4, 9, 16) and (0, 36, 0.09, 16): means of 8, 20, 4.545 and 16. By the first batch alone
        // it would be the second weight's turn, and by the last one or by magnitude the first's.
        assert_eq!(left(0.9, &FIRST), [1., 2., 0., 4.]);
    }

    #[test]
    fn removals_remember_the_importance_before_them() {
        // Means of 1, 0.01, 90000 and 0: with a momentum of 0.9 I is 7.3, 18.001 and 14.4, and the
        // third is gone.
        let all = [FIRST[0], FIRST[1], [1., 0.05, 100., 0.], [1., 0.05, 100., 0.]];
        assert_eq!(left(0.9, &all), [0., 2., 0., 4.]);
        assert_eq!(left(0.0, &all), [1., 2., 0., 0.]);
    }

    #[test]
    fn weights_go_evenly_until_the_removal_ends_and_stay_away() {
        let plugin = TaylorPrune { rate: 0.8, interval: 2, momentum: 0.9, until: 0.45 };
        let weight = compressed(NAME, &plugin, Stream::open(0, "weight", 0).normal(&[2, 5]));
        let mut there = vec![weight.density(Techniques::ALL).number() * 10.0];
        let mut mask = weight.value(Techniques::ALL).ne(0.0);
        for number in 1..=20 {
            let upstream = Stream::open(1, "gradient", number).normal(&[2, 5]);
            let asked = step(&weight, &upstream, Progress::after(number as usize, 20, 0, 1));
            assert_eq!(asked, number <= 9, "the gradient of step {number}");
            let next = weight.value(Techniques::ALL).ne(0.0);
            assert!(next.logical_and(&mask).equal(&next), "what is gone stays away");
            there.push((weight.density(Techniques::ALL).number() * 10.0).round());
            assert_eq!(next.sum(Kind::Int64).int64_value(&[]) as f64, there[number as usize]);
            mask = next;
        }
        // 8 of 10 go: floor(8 · x / 0.45) after steps 2, 4, 6, 8 and 9.
        assert_eq!(there[..11], [10., 10., 9., 9., 7., 7., 5., 5., 3., 2., 2.]);
        assert!(there[11..].iter().all(|count| *count == 2.0));
    }

    #[test]
    fn where_no_gradient_arrives_as_many_weights_go_and_none_comes_back() {
        let all = [[0f32; 4]; 4];
        assert_eq!(left(0.9, &all[..2]), [1., 2., 3., 0.]);
        assert_eq!(left(0.9, &all), [1., 2., 0., 0.]);
        let late = [[0f32; 4], [0.; 4], [0., 0., 0., 9.], [0., 0., 0., 9.]];
        assert_eq!(left(0.0, &late), [1., 2., 0., 0.]);
    }

    #[test]
    fn only_what_is_left_is_trained() {
        let weight = compressed(NAME, &settings(0.9), Tensor::from_slice(&[1f32, 2., 3., 4.]).view([1, 4]));
        for (upstream, number) in FIRST.iter().zip(1..) {
            step(&weight, &Tensor::from_slice(upstream), Progress::after(number, 2, 0, 1));
        }
        step(&weight, &Tensor::from_slice(&[5f32, 6., 7., 8.]), Progress::after(3, 4, 0, 1));
        // Of two steps the second is the last: half of the weights went then.
        assert_eq!(values(&weight.raw().grad()), [0., 6., 0., 8.]);
    }

    /// A loss that is linear in the weights changes by (dL/dW' · W) where one is gone: the plugin
    /// removes those whose removal, tried one by one, changes the loss least.
    #[test]
    fn what_goes_changes_a_linear_loss_least() {
        let weights = Stream::open(0, "weight", 0).normal(&[8, 8]);
        let upstream = Stream::open(1, "gradient", 0).normal(&[8, 8]);
        let loss = |weights: &Tensor| (weights * &upstream).sum(Kind::Double).double_value(&[]);
        let mut changes: Vec<(f64, i64)> = (0..64)
            .map(|at| {
                let without = weights.copy();
                let _ = without.view(-1).get(at).fill_(0.0);
                ((loss(&without) - loss(&weights)).abs(), at)
            })
            .collect();
        changes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let plugin = TaylorPrune { interval: 1, ..settings(0.9) };
        let weight = compressed(NAME, &plugin, weights.copy());
        step(&weight, &upstream, Progress::after(1, 1, 0, 1));
        let left = values(&weight.value(Techniques::ALL));
        assert!(changes[..32].iter().all(|(_, at)| left[*at as usize] == 0.0));
        assert!(changes[32..].iter().all(|(_, at)| left[*at as usize] != 0.0));
    }
}
