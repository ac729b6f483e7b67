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
//! size, density and operations are those of the narrower network. A file needs no mask for it. The
//! trained tensors stay as large as they were, and a quantiser that takes its scale from a layer's
//! weights takes it from all of them.
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
//! | between the halves of a separable convolution | none: one goes with the channel that it reads |
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
    #[schemars(extend("default" = {}))]
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

#[cfg(test)]
mod tests {
    use super::super::one_layer::values;
    use super::*;
    use litesnn_framework::ground::{Parameters, Stream};
    use litesnn_framework::network::{CompressedWeight, Place, Techniques};

    fn settings(rate: f64) -> ChannelRankPrune {
        ChannelRankPrune { rate, rates: BTreeMap::new(), when: 0.5, batches: 2, tolerance: tolerance() }
    }

    fn population(name: &str, last: bool) -> Population {
        Population { name: name.into(), last }
    }

    /// A layer of this name under the plugin.
    fn layer(
        plugin: &ChannelRankPrune,
        name: &str,
        drives: Population,
        shape: &[i64],
        build: &mut Build,
    ) -> CompressedWeight {
        let spec = LayerSpec { name: name.into(), place: Place::Block(1), population: Some(drives) };
        let init = |stream: &mut Stream| stream.normal(shape);
        let stack: [(&str, &dyn Compressor); 1] = [(NAME, plugin)];
        CompressedWeight::new(spec, init, stack, &Default::default(), true, &mut build.at(name)).unwrap()
    }

    /// `[1, 1, ranks, side, side + 1]`: of each channel as many entries of the diagonal as its rank,
    /// the last of them repeated in all rows that are left.
    fn of_ranks(ranks: &[i64], side: i64) -> Tensor {
        let map = |&rank: &i64| {
            let map = Tensor::eye_m(side, side + 1, (Kind::Float, Device::Cpu));
            for row in rank..side {
                let like = if rank == 0 { map.get(row).zeros_like() } else { map.get(rank - 1) };
                map.get(row).copy_(&like);
            }
            map
        };
        Tensor::stack(&ranks.iter().map(map).collect::<Vec<_>>(), 0).unsqueeze(0).unsqueeze(0)
    }

    #[test]
    fn the_rank_of_a_map_is_what_it_was_made_of() {
        let spikes = of_ranks(&[0, 1, 3, 6], 6);
        assert_eq!(values(&summed_ranks(&spikes, 1e-6)), [0., 1., 3., 6.]);
        // Of two images it is the sum.
        let two = Tensor::cat(&[&spikes, &of_ranks(&[6, 5, 0, 2], 6)], 1);
        assert_eq!(values(&summed_ranks(&two, 1e-6)), [6., 6., 3., 8.]);
        // Of two timesteps the rank of their mean: rows e1 and then e2 everywhere are (e1 + e2) / 2.
        let column = |at: i64| {
            let map = Tensor::zeros([32, 32], (Kind::Float, Device::Cpu));
            let _ = map.select(1, at).fill_(1.0);
            map
        };
        let both = Tensor::stack(&[column(0), column(1), column(1)], 0).view([3, 1, 1, 32, 32]);
        assert_eq!(values(&summed_ranks(&both, 1e-6)), [1.]);
        assert_eq!(values(&summed_ranks(&both, 10.0)), [0.], "its one singular value is sqrt(32 · 5) / 3");
    }

    #[test]
    fn the_lowest_ranks_go_once_and_no_earlier_than_said() {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let weight = layer(&settings(0.5), "a", population("a", false), &[5, 2, 3, 3], &mut build);
        let kept = || values(&weight.channels().mask(Techniques::ALL).unwrap());
        let told = [[6, 6, 6, 0, 0], [1, 4, 2, 6, 2], [2, 2, 3, 0, 5]];
        for (step, ranks) in (1..).zip(told) {
            let progress = Progress::after(step, 6, 0, 1);
            let tapped = weight.watch(Techniques::ALL, progress);
            assert_eq!(tapped, [2, 3].contains(&step), "step {step}");
            assert_eq!(kept(), [1.0; 5], "before step {step}");
            weight.see(&of_ranks(&ranks, 6).squeeze_dim(0), 1);
            weight.advance(Techniques::ALL, progress);
        }
        // 3, 6, 5, 6 and 7 in steps 2 and 3: int(5 · 0.5) = 2 stay, of equal ones the first.
        assert_eq!(kept(), [0., 1., 0., 0., 1.]);
        let value = weight.value(Techniques::ALL);
        assert_eq!(values(&value.abs().amax([1i64, 2, 3].as_slice(), false).gt(0.0).to_kind(Kind::Float)), kept());
        assert_eq!(weight.density(Techniques::ALL).number(), 0.4);
        for step in 4..=6 {
            let progress = Progress::after(step, 6, 0, 1);
            assert!(!weight.watch(Techniques::ALL, progress));
            weight.see(&of_ranks(&[0, 0, 0, 6, 6], 6).squeeze_dim(0), 1);
            weight.advance(Techniques::ALL, progress);
        }
        assert_eq!(kept(), [0., 1., 0., 0., 1.]);
    }

    #[test]
    fn layers_of_one_population_decide_together() {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let plugin = ChannelRankPrune { batches: 1, when: 1.0, ..settings(0.5) };
        let of = |name: &str, build: &mut Build| layer(&plugin, name, population("a", false), &[2, 1, 3, 3], build);
        let layers = [of("a", &mut build), of("b", &mut build)];
        let progress = Progress::after(1, 1, 0, 1);
        for (layer, ranks) in layers.iter().zip([[3, 2], [1, 5]]) {
            layer.watch(Techniques::ALL, progress);
            layer.see(&of_ranks(&ranks, 6).squeeze_dim(0), 1);
        }
        layers.iter().for_each(|layer| drop(layer.advance(Techniques::ALL, progress)));
        for layer in &layers {
            assert_eq!(values(&layer.channels().mask(Techniques::ALL).unwrap()), [0., 1.]);
        }
        assert_eq!(parameters.buffers().len(), 2, "one mask and one sum of ranks");
    }

    /// Table 1 of the paper; 64, 128, 256 and 512 channels.
    #[test]
    fn the_kept_channels_are_those_of_the_paper() {
        let kept = |rate, channels| settings(rate).kept("a", &population("a", false), channels).unwrap();
        assert_eq!([64, 128, 256, 512].map(|channels| kept(0.3, channels)), [44, 89, 179, 358]);
        assert_eq!([64, 128, 256, 512].map(|channels| kept(0.45, channels)), [35, 70, 140, 281]);
        assert_eq!(kept(0.1, 64), 57);
        assert_eq!((kept(0.0, 7), kept(0.999, 7)), (7, 1), "one stays at least");
    }

    #[test]
    fn rates_are_of_populations_by_name_or_place_and_mistakes_are_named() {
        let rates = |pairs: &[(&str, f64)]| ChannelRankPrune {
            rates: pairs.iter().map(|(name, rate)| ((*name).to_owned(), *rate)).collect(),
            ..settings(0.6)
        };
        let plugin = rates(&[("block1", 0.3), ("block1.conv2", 0.1)]);
        let kept = |layer: &str, name: &str| plugin.kept(layer, &population(name, false), 100).unwrap();
        assert_eq!((kept("block1.conv1", "block1.conv1"), kept("block2.conv2", "block1.conv2")), (70, 90));
        assert_eq!(kept("block12.conv1", "block12.conv1"), 40);
        assert_eq!(plugin.kept("block9.conv2", &population("block9.conv2", true), 100).unwrap(), 100);
        let error = |plugin: &ChannelRankPrune, layer: &str, of: Population| {
            plugin.kept(layer, &of, 100).unwrap_err().to_string()
        };
        let wide = error(&rates(&[("stem", 1.0)]), "stem", population("stem", false));
        assert!(wide.contains("`rates.stem` is 1, and has to be 0 or more and below 1"), "{wide}");
        let member = error(&rates(&[("block2.conv2", 0.1)]), "block2.conv2", population("block1.conv2", false));
        assert!(member.contains("belong to `block1.conv2`"), "{member}");
        let last = error(&rates(&[("block9.conv2", 0.1)]), "block9.conv2", population("block9.conv2", true));
        assert!(last.contains("keeps all of its channels"), "{last}");
    }
}
