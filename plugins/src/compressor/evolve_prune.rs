//! Evolution of a sparse structure: a layer is sparse from its first step on, and every so many
//! steps its weakest synapses go and as many new ones grow.
//!
//! Source: Shen, Xu, Liu, Wang, Pan and Tang, ESL-SNNs: An Evolutionary Structure Learning Strategy
//! for Spiking Neural Networks (NeurIPS 2023).
//!
//! ```text
//! M_0       ones in random places, floor(rate · n) zeros             W' = M · W, dW'/dW = M
//! f(t)    = alpha / 2 · (1 + cos(pi · t / t_end))                    part of the synapses that changes at t
//! M      <- M without the f · kept smallest |W|, and with as many others: of largest |dL/dW'|, or at random
//! W       = 0 where a synapse is new                                 without momentum
//! ```
//!
//! The number of ones never changes. t is the part of the stage's steps that is done, and t_end the
//! setting `until`, after which the structure stays. Shapes: W is `[out, in, kh, kw]` or `[out, in]`.
//! dL/dW' is the gradient to the weight as the layer uses it, after all compressors. A synapse that
//! has just gone may grow again by its gradient, and then keeps its weight.
//!
//! Two known methods are settings of the plugin:
//!
//! | method | settings |
//! |---|---|
//! | SET (Mocanu et al., Nature Communications 2018) | `grow = "random"`, `decay = "constant"`, `until = 1.0`, `epsilon` in place of `rate`, `kernel = false` |
//! | RigL (Evci et al., ICML 2020) | `grow = "gradient"`, `decay = "cosine"`, the defaults |
//!
//! With `epsilon` a layer's density is that of an Erdos-Renyi graph, 1 at most:
//!
//! ```text
//! density = epsilon · (n_in + n_out) / (n_in · n_out)
//! density = epsilon · (n_in + n_out + kh + kw) / (n_in · n_out · kh · kw)         with `kernel`, of convolutions
//! ```
//!
//! The interval, alpha and the part of gradients in the growth are not published of ESL-SNN: the
//! defaults are RigL's. By the sizes of its tables ESL-SNN trains at rate 0.5. SET draws new weights
//! at random; here they are 0. A step whose gradient is needed runs one operation at a time on a
//! GPU, and there is no formula for its kernels.

use litesnn_framework::ground::{Build, Stream};
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, LayerSpec, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::rate::LayerRate;

const NAME: &str = "evolve-prune";

/// Settings of `evolve-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvolvePrune {
    /// Fraction of each layer's weights that is removed (paper: 0.5). Absent with `epsilon`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: Option<f64>,
    /// Scale of the densities of Erdos-Renyi graphs, in place of `rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub epsilon: Option<f64>,
    /// Whether the density by `epsilon` depends on the size of a convolution's kernel.
    #[serde(default = "yes")]
    pub kernel: bool,
    /// Steps from one change of the structure to the next.
    #[serde(default = "interval")]
    #[schemars(range(min = 1), extend("x-unit" = "steps"))]
    pub interval: u32,
    /// alpha: the part of a layer's synapses that the first change replaces.
    #[serde(default = "fraction")]
    #[schemars(range(min = 0.0, max = 1.0), extend("x-unit" = "of the synapses"))]
    pub fraction: f64,
    /// What becomes of that part.
    #[serde(default)]
    pub decay: Decay,
    /// The part of the stage in which the structure changes.
    #[serde(default = "until")]
    #[schemars(range(min = 0.0, max = 1.0), extend("x-unit" = "of the steps"))]
    pub until: f64,
    /// Where synapses grow.
    #[serde(default)]
    pub grow: Growth,
}

fn yes() -> bool {
    true
}

fn interval() -> u32 {
    100
}

fn fraction() -> f64 {
    0.3
}

fn until() -> f64 {
    0.75
}

/// How the part that changes goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// It falls to zero by a cosine.
    #[default]
    Cosine,
    /// It stays.
    Constant,
}

/// Where synapses grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// Where the loss has the largest gradient.
    #[default]
    Gradient,
    /// Anywhere.
    Random,
}

register! {
    kind: Compressor,
    name: "evolve-prune",
    settings: EvolvePrune,
    version: 1,
    summary: "sparse from the first step on; the weakest synapses go and as many new ones grow",
    paper: "Shen et al., ESL-SNNs: An Evolutionary Structure Learning Strategy for SNNs, NeurIPS 2023",
    examples: [
        "[[compressor]]\nevolve-prune = { rate = 0.5, interval = 2 }",
        "[[compressor]]\nevolve-prune = { epsilon = 2.0, interval = 2, grow = \"random\", decay = \"constant\", until = 1.0, kernel = false }",
    ],
    file: "evolve_prune.rs",
}

#[typetag::serde(name = "evolve-prune")]
impl Compressor for EvolvePrune {
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
        let rate = match (self.rate, self.epsilon) {
            (Some(rate), None) => rate,
            (None, Some(epsilon)) => 1.0 - erdos_renyi(epsilon, &weight.size(), self.kernel),
            _ => {
                let message = "`rate` says how many weights are removed, or `epsilon` does: name one of the two";
                return Err(Error::Plugin { kind: "compressor", name: NAME.into(), message: message.into() });
            }
        };
        let rate = LayerRate::attach(NAME, rate, weight, decided)?;
        let mut own = build.at(NAME);
        let mask = own.buffer_like("mask", weight, |stream| {
            let order = stream.permutation(weight.numel());
            let kept = Tensor::from_slice(&order[..rate.kept as usize]);
            let mask = Tensor::zeros([weight.numel() as i64], (Kind::Float, tch::Device::Cpu));
            mask.index_fill(0, &kept, 1.0).view_as(weight)
        });
        let one = Tensor::zeros([1], (Kind::Float, weight.device()));
        let key = own.buffer_like("key", &one, |stream| Tensor::from_slice(&stream.integers(1, i64::MAX)));
        Ok(Box::new(Structure { settings: self.clone(), weight: weight.shallow_clone(), rate, mask, key }))
    }
}

/// Density of an Erdos-Renyi graph between the inputs and the outputs of a layer of this shape.
fn erdos_renyi(epsilon: f64, shape: &[i64], kernel: bool) -> f64 {
    let sides = &shape[..if kernel { shape.len() } else { 2 }];
    let (sum, product) = (sides.iter().sum::<i64>() as f64, sides.iter().product::<i64>() as f64);
    (epsilon * sum / product).min(1.0)
}

/// The part of the synapses that changes at `x` of the time in which the structure does.
fn changed_fraction(fraction: f64, decay: Decay, x: f64) -> f64 {
    match decay {
        Decay::Cosine => fraction / 2.0 * (1.0 + (std::f64::consts::PI * x).cos()),
        Decay::Constant => fraction,
    }
}

struct Structure {
    settings: EvolvePrune,
    /// The trained tensor: it shares its memory with the layer's weight.
    weight: Tensor,
    rate: LayerRate,
    /// Of the weight's shape.
    mask: Tensor,
    /// What opens the random streams of growth.
    key: Tensor,
}

impl Structure {
    /// Whether the structure changes after the step.
    fn changes(&self, progress: Progress) -> bool {
        progress.step.is_multiple_of(self.settings.interval as usize) && progress.fraction() < self.settings.until
    }

    /// How many synapses are replaced then.
    fn replaced(&self, progress: Progress) -> i64 {
        let EvolvePrune { fraction, decay, until, .. } = self.settings;
        let fraction = changed_fraction(fraction, decay, progress.fraction() / until);
        let (kept, absent) = (self.rate.kept, self.weight.numel() as i64 - self.rate.kept);
        // A layer keeps one synapse at least.
        ((fraction * kept as f64).floor() as i64).min(absent).min(kept - 1)
    }
}

/// Ones on the `count` largest of the `scores` that `among` allows, of equal ones on the first.
fn largest_among(scores: &Tensor, among: &Tensor, count: i64) -> Tensor {
    let allowed = scores.masked_fill(&among.eq(0.0), f64::NEG_INFINITY).flatten(0, -1);
    let (_, order) = allowed.sort_stable(true, 0, true);
    allowed.zeros_like().index_fill(0, &order.narrow(0, 0, count), 1.0).view_as(scores)
}

impl WeightTransform for Structure {
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        Some(self.mask.shallow_clone())
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        Some(self)
    }

    fn density(&self) -> Option<Factor> {
        Some(self.rate.density())
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.settings.rate.and_then(|_| self.rate.decide())
    }
}

impl Schedule for Structure {
    fn needs_gradient(&self, progress: Progress) -> bool {
        self.settings.grow == Growth::Gradient && self.changes(progress)
    }

    fn advance(&self, progress: Progress, gradient: Option<&Tensor>) -> Option<Tensor> {
        if !self.changes(progress) {
            return None;
        }
        let replaced = self.replaced(progress);
        if replaced == 0 {
            return None;
        }
        let scores = match self.settings.grow {
            // A step that did not train the weight says nothing of where to grow.
            Growth::Gradient => gradient?.abs(),
            Growth::Random => {
                let mut stream = Stream::open(self.key.int64_value(&[0]) as u64, NAME, progress.step as u64);
                stream.uniform(&self.weight.size(), 0.0, 1.0).to_device(self.weight.device())
            }
        };
        let kept = largest_among(&self.weight.abs(), &self.mask, self.rate.kept - replaced);
        let after = &kept + largest_among(&scores, &(kept.ones_like() - &kept), replaced);
        let grown = &after * (after.ones_like() - &self.mask);
        let _ = self.weight.shallow_clone().masked_fill_(&grown.ne(0.0), 0.0);
        self.mask.shallow_clone().copy_(&after);
        Some(grown)
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::network::cost::model_size_bytes;
    use litesnn_framework::network::{CompressedWeight, Techniques};

    fn settings(growth: Growth) -> EvolvePrune {
        EvolvePrune {
            rate: Some(0.5),
            epsilon: None,
            kernel: true,
            interval: 2,
            fraction: 0.5,
            decay: Decay::Constant,
            until: 1.0,
            grow: growth,
        }
    }

    #[test]
    fn the_changed_fraction_falls_by_a_cosine() {
        for (x, wanted) in [(0.0, 0.5), (0.25, 0.426_777), (0.5, 0.25), (0.75, 0.073_223), (1.0, 0.0)] {
            assert!((changed_fraction(0.5, Decay::Cosine, x) - wanted).abs() < 1e-6);
            assert_eq!(changed_fraction(0.5, Decay::Constant, x), 0.5);
        }
    }

    #[test]
    fn densities_of_random_graphs_have_their_closed_values() {
        assert_eq!(erdos_renyi(2.0, &[10, 20], false), 2.0 * 30.0 / 200.0);
        assert_eq!(erdos_renyi(2.0, &[10, 20, 3, 3], false), 2.0 * 30.0 / 200.0);
        assert_eq!(erdos_renyi(2.0, &[10, 20, 3, 3], true), 2.0 * 36.0 / 1800.0);
        assert_eq!(erdos_renyi(20.0, &[2, 3], true), 1.0);
    }

    /// The gradient of this loss to W' is `upstream`.
    fn step(weight: &CompressedWeight, upstream: &[f32], progress: Progress) -> Option<Tensor> {
        assert_eq!(weight.watch(Techniques::ALL, progress), progress.step.is_multiple_of(2));
        weight.raw().shallow_clone().zero_grad();
        let upstream = Tensor::from_slice(upstream).view_as(weight.raw());
        (weight.value(Techniques::ALL) * upstream).sum(Kind::Float).backward();
        weight.advance(Techniques::ALL, progress)
    }

    #[test]
    fn the_weakest_goes_and_the_largest_gradient_grows_from_zero() {
        let weights = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6., 7., 8.]).view([2, 4]);
        let weight = compressed(NAME, &settings(Growth::Gradient), weights);
        let before = values(&weight.value(Techniques::ALL));
        let there: Vec<usize> = (0..8).filter(|at| before[*at] != 0.0).collect();
        assert_eq!(there.len(), 4);
        let absent: Vec<usize> = (0..8).filter(|at| before[*at] == 0.0).collect();
        // The gradient is largest at the first two that are not there.
        let mut upstream = [0.25f32; 8];
        (upstream[absent[0]], upstream[absent[1]]) = (-3.0, 2.0);
        assert!(step(&weight, &upstream, Progress::after(1, 4, 0, 1)).is_none());
        let masked: Vec<f32> = (0..8).map(|at| if before[at] == 0.0 { 0.0 } else { upstream[at] }).collect();
        assert_eq!(values(&weight.raw().grad()), masked, "removed weights are not trained");
        let grown = values(&step(&weight, &upstream, Progress::after(2, 4, 0, 1)).unwrap());
        assert_eq!((0..8).filter(|at| grown[*at] == 1.0).collect::<Vec<_>>(), absent[..2]);
        let after = values(&weight.value(Techniques::ALL));
        for at in 0..8 {
            // Weights ascend: the two weakest of four go, and what grows is zero.
            let stays = there[2..].contains(&at);
            assert_eq!(after[at], if stays { before[at] } else { 0.0 });
        }
        assert!(absent[..2].iter().all(|at| weight.raw().view(-1).double_value(&[*at as i64]) == 0.0));
    }

    #[test]
    fn the_number_of_synapses_never_changes() {
        for growth in [Growth::Gradient, Growth::Random] {
            let plugin = EvolvePrune { decay: Decay::Cosine, ..settings(growth) };
            let weight = compressed(NAME, &plugin, Stream::open(0, "weight", 0).normal(&[6, 5, 3, 3]));
            let ones = || weight.value(Techniques::ALL).ne(0.0).sum(Kind::Int64).int64_value(&[]);
            assert_eq!(ones(), 135);
            let mut changes = 0;
            for batch in 1..=20 {
                let progress = Progress::after(batch, 20, 0, 1);
                weight.watch(Techniques::ALL, progress);
                let upstream = Stream::open(1, "gradient", batch as u64).normal(&[6, 5, 3, 3]);
                (weight.value(Techniques::ALL) * upstream).sum(Kind::Float).backward();
                if let Some(grown) = weight.advance(Techniques::ALL, progress) {
                    changes += 1;
                    // What has grown is zero: one step later it is not.
                    let _ = tch::no_grad(|| weight.raw().shallow_clone().g_add_(&(&grown * 1e-3)));
                }
                assert_eq!(ones(), 135, "{growth:?}");
            }
            assert_eq!(changes, 9, "{growth:?}: the cosine ends in a change of nothing");
        }
    }

    #[test]
    fn one_of_rate_and_epsilon_is_named() {
        for (rate, epsilon) in [(None, None), (Some(0.5), Some(1.0))] {
            let plugin = EvolvePrune { rate, epsilon, ..settings(Growth::Random) };
            let mut parameters = litesnn_framework::ground::Parameters::default();
            let mut build = Build::new(&mut parameters, 0, tch::Device::Cpu);
            let layer =
                LayerSpec { name: "a".into(), place: litesnn_framework::network::Place::Cell(0), population: None };
            let weight = Tensor::ones([2, 3], (Kind::Float, tch::Device::Cpu));
            let error = plugin.attach(&layer, &weight, None, &mut build).err().unwrap().to_string();
            assert!(error.contains("name one of the two"), "{error}");
        }
    }

    /// ResNet-19 without a hidden linear layer has 12,558,720 weights for 10 classes.
    #[test]
    fn half_of_resnet_19_has_the_published_size() {
        assert_eq!(model_size_bytes(12_558_720.0 * 0.5 * 32.0, 0) / 1e6, 25.117_44);
    }
}
