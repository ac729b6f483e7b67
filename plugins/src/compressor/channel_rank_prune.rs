//! SVS: whole channels of neurons are removed once, those whose maps of spikes have the lowest rank.
//!
//! Source: Wei et al., QP-SNN: Quantized and Pruned Spiking Neural Networks (ICLR 2025), singular
//! value-based spike scores.
//!
//! ```text
//! A[b, c]  = mean over t of S[t, b, c]                          S [T, B, C, H, W] the spikes of a layer's neurons
//! score_c  = mean over b of #{singular values of A[b, c] > tolerance}
//! kept     = int(C · (1 - rate)), at least one: the channels with the highest scores, of equal ones the first
//! ```
//!
//! Scores are summed over the `batches` steps up to the one in which `when` of the stage is done, and
//! after that step the channels are removed, once. The rest of the stage is the fine-tuning. The
//! singular values are those of f64 numbers. The authors take five batches of 128 images of the
//! trained network, train 300 epochs before and 150 after (`when` is 2/3), and start the second
//! descent anew with Adam. Here the batches are those of training, the weights move between them, and
//! the descent goes on as the manifest says.
//!
//! # What is removed
//!
//! A neuron of a removed channel is driven by nothing. Its weights in every layer that drives it, its
//! normalisation and bias, and the weights that read it are zero, and are neither stored nor counted:
//! size, density and operations are those of the narrower network. A file needs no mask for it.
//!
//! # Populations
//!
//! Channels belong to a population of neurons, and all layers that drive one lose the same channels:
//!
//! | neurons | population |
//! |---|---|
//! | a `conv`; the first convolution of a block | its own, with the layer's name: `stem`, `block1.conv`, `block2.conv1` |
//! | of a block whose shortcut is the identity | that of the map that the block reads |
//! | of any other block | its own, with the name of the second convolution: `block2.conv2`; a projection drives it, too |
//! | of a node of a cell | its own: `cell0.n1`; all edges drive it |
//!
//! So the blocks of a stage decide together, as their maps are added. The score of a channel is summed
//! over the layers of neurons of its population. A zero-padded shortcut is an edge between two
//! populations. What it hands to a removed neuron is lost. A `sew` block hands on a sum or product of
//! two maps: a channel of a sum is gone where both have lost it.
//!
//! The last convolution's population is never pruned, as in the paper, nor are linear layers. In a
//! network of cells these are the nodes of the last cell. In a space that says nothing of its neurons
//! the plugin does nothing.
//!
//! # Rates
//!
//! `rates` names populations, or what their names begin with before the dot, in place of `rate`. The
//! rates of the paper for CIFAR-10, as its program has them:
//!
//! ```toml
//! # resnet20
//! channel-rank-prune = { rate = 0.6, rates = { stem = 0.1, block1 = 0.3, "block4.conv2" = 0.3 } }
//! # vgg16
//! channel-rank-prune = { rate = 0.45, rates = { block7 = 0.51, block8 = 0.51, block9 = 0.51, block10 = 0.51, block11 = 0.51 } }
//! ```
//!
//! The steps whose spikes are looked at run one operation at a time on a GPU, the singular values are
//! computed on the CPU, and there is no formula for the kernels.

use std::collections::BTreeMap;

use litesnn_framework::ground::Build;
use litesnn_framework::network::{
    Compressor, Decisions, LayerSpec, Population, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::mask::largest_mask;

const NAME: &str = "channel-rank-prune";

/// Settings of `channel-rank-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelRankPrune {
    /// Fraction of the channels of each population that is removed (paper: 0.45 to 0.8).
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the channels"))]
    pub rate: f64,
    /// The same of some populations, by name, or by what names begin with before the dot; 0 keeps all
    /// channels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, f64>,
    /// The part of the stage after which channels are removed (paper: 300 of 450 epochs).
    #[serde(default = "two_thirds")]
    #[schemars(range(min = 0.0, max = 1.0), extend("x-unit" = "of the steps"))]
    pub when: f64,
    /// Steps up to then whose spikes are looked at (paper: 5).
    #[serde(default = "five")]
    #[schemars(range(min = 1), extend("x-unit" = "batches"))]
    pub batches: u32,
    /// Singular values above it count.
    #[serde(default = "tolerance")]
    #[schemars(range(min = 0.0))]
    pub tolerance: f64,
}

fn two_thirds() -> f64 {
    2.0 / 3.0
}

fn five() -> u32 {
    5
}

fn tolerance() -> f64 {
    1e-6
}

register! {
    kind: Compressor,
    name: "channel-rank-prune",
    settings: ChannelRankPrune,
    version: 1,
    summary: "removes whole channels once, those whose maps of spikes have the lowest rank",
    paper: "Wei et al., QP-SNN: Quantized and Pruned Spiking Neural Networks, ICLR 2025",
    examples: [
        "[[compressor]]\nchannel-rank-prune = { rate = 0.5, batches = 2, when = 0.5 }",
        "[[compressor]]\nchannel-rank-prune = { rate = 0.6, rates = { stem = 0.1, \"block1.conv2\" = 0.3 } }",
    ],
    file: "channel_rank_prune.rs",
}

impl ChannelRankPrune {
    /// How many channels are kept of this population, of which `layer` drives `channels`.
    fn kept(&self, layer: &str, population: &Population, channels: i64) -> Result<i64> {
        let refused = |message: String| Error::Plugin { kind: "compressor", name: NAME.into(), message };
        if let Some((name, rate)) = self.rates.iter().find(|(_, rate)| !(0.0..1.0).contains(*rate)) {
            return Err(refused(format!("`rates.{name}` is {rate}, and has to be 0 or more and below 1")));
        }
        let Population { name, last } = population;
        if layer != name && self.rates.contains_key(layer) {
            let message = format!("`rates.{layer}` names a layer whose neurons belong to `{name}`; name that one");
            return Err(refused(message));
        }
        if *last {
            return match self.rates.get(name) {
                Some(rate) if *rate > 0.0 => Err(refused(format!(
                    "`rates.{name}` is {rate}, and the last convolution keeps all of its channels; leave it out"
                ))),
                _ => Ok(channels),
            };
        }
        let place = name.split('.').next().unwrap_or(name);
        let rate = self.rates.get(name).or_else(|| self.rates.get(place)).unwrap_or(&self.rate);
        Ok(((channels as f64 * (1.0 - rate)) as i64).max(1))
    }
}

#[typetag::serde(name = "channel-rank-prune")]
impl Compressor for ChannelRankPrune {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        weight: &Tensor,
        _decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let Some(population) = &layer.population else { return Ok(Box::new(Untouched)) };
        let channels = weight.size()[0];
        let count = self.kept(&layer.name, population, channels)?;
        if count == channels {
            return Ok(Box::new(Untouched));
        }
        let mut root = build.root();
        let mut shared = root.at(NAME);
        let mut shared = shared.at(&population.name);
        let options = (Kind::Float, weight.device());
        Ok(Box::new(Ranked {
            settings: self.clone(),
            count,
            kept: shared.shared_buffer("kept", || Tensor::ones([channels], options)),
            ranks: shared.shared_buffer("ranks", || Tensor::zeros([channels], options)),
        }))
    }
}

/// Of a layer that keeps all of its channels.
struct Untouched;

impl WeightTransform for Untouched {}

struct Ranked {
    settings: ChannelRankPrune,
    /// Channels that are kept.
    count: i64,
    /// Ones where a channel is there, `[C]`, of all layers that drive the population.
    kept: Tensor,
    /// Ranks summed over images and layers, `[C]`, likewise.
    ranks: Tensor,
}

impl Ranked {
    /// The step after which channels are removed.
    fn last_step(&self, progress: Progress) -> usize {
        let step = (self.settings.when * progress.steps as f64).round() as usize;
        step.max(self.settings.batches as usize).min(progress.steps)
    }
}

/// The sum over images of the rank of each channel's map, `[C]`, of spikes `[T, B, C, H, W]`.
fn summed_ranks(spikes: &Tensor, tolerance: f64) -> Tensor {
    let maps = spikes.to_device(Device::Cpu).to_kind(Kind::Double).mean_dim(0, false, Kind::Double);
    maps.linalg_matrix_rank_atol_rtol_float(tolerance, 0.0, false).sum_dim_intlist(0, false, Kind::Float)
}

impl WeightTransform for Ranked {
    fn channels(&self) -> Option<Tensor> {
        Some(self.kept.shallow_clone())
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        Some(self)
    }
}

impl Schedule for Ranked {
    fn needs_spikes(&self, progress: Progress) -> bool {
        let last = self.last_step(progress);
        (last.saturating_sub(self.settings.batches as usize) + 1..=last).contains(&progress.step)
    }

    fn observe(&self, _progress: Progress, spikes: &Tensor) {
        let ranks = summed_ranks(spikes, self.settings.tolerance).to_device(self.ranks.device());
        let _ = self.ranks.shallow_clone().g_add_(&ranks);
    }

    /// Each layer of a population decides anew, so that the last one has the ranks of all.
    fn advance(&self, progress: Progress, _gradient: Option<&Tensor>) -> Option<Tensor> {
        if progress.step == self.last_step(progress) {
            self.kept.shallow_clone().copy_(&largest_mask(&self.ranks, self.count));
        }
        None
    }
}
