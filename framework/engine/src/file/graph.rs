//! The JSON of a packed file: the network without its weights.
//!
//! Names are short, what is usual is left out, and maps and layers are named by their places, so that
//! the graph of a small network is smaller than its weights.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Provenance, Rest, Unreadable, read_values};
use crate::mask::{Coding, MOST_LOW_BITS};
use crate::network::{
    Current, EarlyExit, Image, Join, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Window,
};

/// A network without its weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Graph {
    producer: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    measured_on: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claimed_bytes: Option<f64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    input: String,
    image: [usize; 3],
    classes: Vec<String>,
    timesteps: usize,
    neurons: Vec<NeuronEntry>,
    maps: Vec<MapEntry>,
    logits: LogitsEntry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit: Option<ExitEntry>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq)]
#[serde(deny_unknown_fields)]
struct NeuronEntry {
    decay: f64,
    threshold: f64,
    #[serde(default, skip_serializing_if = "is_false")]
    soft: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gain: Option<f64>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn one() -> usize {
    1
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapEntry {
    name: String,
    shape: [usize; 3],
    of: MadeEntry,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MadeEntry {
    /// The neuron, and what drives it.
    Spikes(usize, Vec<CurrentEntry>),
    SideBySide(Vec<usize>),
    Resized(usize),
    Largest(usize, [[usize; 2]; 3]),
    Sums(usize, [[usize; 2]; 3]),
    Added([usize; 2]),
    And([usize; 2]),
    Iand([usize; 2]),
    Widened(usize, usize, [usize; 2]),
    Flat(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CurrentEntry {
    Layer(LayerEntry),
    /// Map, divisor, and the bits of scales and biases as f32.
    Scaled(usize, f64, [Vec<u32>; 2]),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerEntry {
    name: String,
    /// The map that it reads; left out for the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reads: Option<usize>,
    shape: [usize; 4],
    #[serde(default = "one", skip_serializing_if = "is_one")]
    groups: usize,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    stride: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    padding: usize,
    bits: u32,
    stored: Layer,
}

/// What `numbers` and `weights` hold of a layer.
#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    /// Scales in `numbers`: none, one for all channels, or one for each.
    pub(super) scales: usize,
    /// Biases, in the same way.
    pub(super) biases: usize,
    pub(super) weights: Weights,
}

/// The weights of a layer.
#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct Weights {
    /// How many are written.
    pub(super) kept: usize,
    /// k of Golomb-Rice, or -1 for a bit mask, or -2 where nothing is removed.
    pub(super) coding: i32,
    /// Bytes of the mask.
    pub(super) mask: usize,
    /// The levels; without it, the kept weights stand in `numbers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grid: Option<Grid>,
}

/// Level = first + step · code.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Grid {
    pub(super) bits: u32,
    first: i32,
    step: i32,
}

impl Grid {
    /// The grid of levels with the fewest bits of 1, 2, 4, 8 and 16.
    pub(super) fn of(levels: impl Iterator<Item = i16> + Clone) -> Grid {
        let (first, last) = (levels.clone().min().unwrap_or(0), levels.clone().max().unwrap_or(0));
        let step = levels.fold(0, |step, level| common_divisor(step, i32::from(level) - i32::from(first)));
        let step = step.max(1);
        let codes = (i32::from(last) - i32::from(first)) / step + 1;
        let bits = [1, 2, 4, 8].into_iter().find(|bits| codes <= 1 << bits).unwrap_or(16);
        Grid { bits, first: first.into(), step }
    }

    /// Whether a file may have it.
    pub(super) fn is_sound(&self) -> bool {
        [1, 2, 4, 8, 16].contains(&self.bits) && self.step >= 1
    }

    pub(super) fn code(&self, level: i16) -> u64 {
        ((i32::from(level) - self.first) / self.step) as u64
    }

    /// The level of a code of 16 bits at most; `None` where no i16 holds it.
    #[inline]
    pub(super) fn level(&self, code: u64) -> Option<i16> {
        (i64::from(self.step) * code as i64 + i64::from(self.first)).try_into().ok()
    }
}

fn common_divisor(a: i32, b: i32) -> i32 {
    match b {
        0 => a,
        _ => common_divisor(b, a % b),
    }
}

/// Where nothing is removed.
pub(super) const NO_MASK: i32 = -2;

pub(super) fn number_of(coding: Coding) -> i32 {
    match coding {
        Coding::None => NO_MASK,
        Coding::BitMask => -1,
        Coding::GolombRice(k) => k as i32,
    }
}

pub(super) fn coding_of(number: i32) -> Option<Coding> {
    match number {
        NO_MASK => Some(Coding::None),
        -1 => Some(Coding::BitMask),
        _ => u32::try_from(number).ok().filter(|k| *k <= MOST_LOW_BITS).map(Coding::GolombRice),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogitsEntry {
    layer: LayerEntry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    neuron: Option<usize>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    votes: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExitEntry {
    /// The bits of a threshold, an f64.
    Entropy(u64),
    Confidence(u64),
}

impl Graph {
    /// `layers` in the order of the maps and their currents, that of the logits last.
    pub(super) fn of(network: &Network, layers: Vec<Layer>, provenance: &Provenance) -> Graph {
        let mut layers = layers.into_iter();
        let mut neurons: Vec<NeuronEntry> = Vec::new();
        let mut named = |neuron: &Neuron| {
            let entry = NeuronEntry {
                decay: neuron.decay.into(),
                threshold: neuron.threshold.into(),
                soft: neuron.reset == Reset::Soft,
                gain: neuron.gain.map(f64::from),
            };
            neurons.iter().position(|one| *one == entry).unwrap_or_else(|| {
                neurons.push(entry);
                neurons.len() - 1
            })
        };
        let mut next = |synapses: &Synapses| {
            LayerEntry::of(synapses, layers.next().expect("each layer was written, in this order"))
        };
        let maps = network.maps.iter().map(|map| {
            let of = match &map.made {
                Made::Spikes { neuron, currents } => {
                    let currents = currents.iter().map(|current| match current {
                        Current::Synapses(synapses) => CurrentEntry::Layer(next(synapses)),
                        Current::Scaled { of, divisor, scale, bias } => {
                            let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect();
                            CurrentEntry::Scaled(*of, (*divisor).into(), [bits(scale), bits(bias)])
                        }
                    });
                    MadeEntry::Spikes(named(neuron), currents.collect())
                }
                Made::SideBySide(all) => MadeEntry::SideBySide(all.clone()),
                Made::Resized(of) => MadeEntry::Resized(*of),
                Made::Largest { of, window } => MadeEntry::Largest(*of, sizes(window)),
                Made::Sums { of, window } => MadeEntry::Sums(*of, sizes(window)),
                Made::Joined { of, by: Join::Add } => MadeEntry::Added(*of),
                Made::Joined { of, by: Join::And } => MadeEntry::And(*of),
                Made::Joined { of, by: Join::Iand } => MadeEntry::Iand(*of),
                Made::Widened { of, stride, zeros } => MadeEntry::Widened(*of, *stride, *zeros),
                Made::Flat(of) => MadeEntry::Flat(*of),
            };
            MapEntry { name: map.name.clone(), shape: map.shape, of }
        });
        let maps = maps.collect();
        let logits = LogitsEntry {
            layer: next(&network.logits.synapses),
            neuron: network.logits.neuron.as_ref().map(named),
            votes: network.logits.votes,
        };
        Graph {
            producer: provenance.producer.clone(),
            name: provenance.name.clone(),
            accuracy: Some(provenance.accuracy).filter(|accuracy| accuracy.is_finite()),
            measured_on: provenance.measured_on.clone(),
            claimed_bytes: Some(provenance.claimed_bytes).filter(|bytes| bytes.is_finite()),
            input: provenance.input.clone(),
            image: network.image.shape,
            classes: network.classes.clone(),
            timesteps: network.timesteps,
            neurons,
            maps,
            logits,
            exit: network.exit.map(|exit| match exit {
                EarlyExit::Entropy(threshold) => ExitEntry::Entropy(threshold.to_bits()),
                EarlyExit::Confidence(threshold) => ExitEntry::Confidence(threshold.to_bits()),
            }),
        }
    }

    /// Bytes that all weights need in memory; `None` where no number holds it.
    pub(super) fn bytes(&self) -> Option<usize> {
        let of_maps = self.maps.iter().flat_map(|map| match &map.of {
            MadeEntry::Spikes(_, currents) => currents.as_slice(),
            _ => &[],
        });
        let layers = of_maps.filter_map(|current| match current {
            CurrentEntry::Layer(layer) => Some(layer),
            CurrentEntry::Scaled(..) => None,
        });
        layers.chain([&self.logits.layer]).try_fold(0usize, |all, layer| {
            // A level, or a number and the kept one; and a scale and a bias for each channel.
            let each = if layer.stored.weights.grid.is_some() { 2 } else { 8 };
            let weights = layer.weights()?.checked_mul(each)?;
            all.checked_add(weights)?.checked_add(layer.shape[0].checked_mul(8)?)
        })
    }

    /// The network with the weights of `rest`.
    pub(super) fn network(self, rest: &mut Rest) -> Result<(Network, Provenance), Unreadable> {
        let damaged = |what: &str| Unreadable::Damaged(what.into());
        let short = || damaged("the file ends within its numbers");
        let mean = rest.numbers(self.image[0]).ok_or_else(short)?;
        let std = rest.numbers(self.image[0]).ok_or_else(short)?;
        let neurons: Vec<Neuron> = self.neurons.iter().map(NeuronEntry::neuron).collect();
        let neuron =
            |index: usize| neurons.get(index).copied().ok_or_else(|| damaged("it names neurons that are not there"));
        let mut maps = Vec::new();
        for MapEntry { name, shape, of } in self.maps {
            let made = match of {
                MadeEntry::Spikes(index, entries) => {
                    let mut currents = Vec::new();
                    for entry in entries {
                        currents.push(match entry {
                            CurrentEntry::Layer(layer) => Current::Synapses(layer.synapses(rest)?),
                            CurrentEntry::Scaled(of, divisor, numbers) => {
                                let [scale, bias] = numbers.map(|bits| bits.into_iter().map(f32::from_bits).collect());
                                Current::Scaled { of, divisor: divisor as f32, scale, bias }
                            }
                        });
                    }
                    Made::Spikes { neuron: neuron(index)?, currents }
                }
                MadeEntry::SideBySide(all) => Made::SideBySide(all),
                MadeEntry::Resized(of) => Made::Resized(of),
                MadeEntry::Largest(of, sizes) => Made::Largest { of, window: window(sizes) },
                MadeEntry::Sums(of, sizes) => Made::Sums { of, window: window(sizes) },
                MadeEntry::Added(of) => Made::Joined { of, by: Join::Add },
                MadeEntry::And(of) => Made::Joined { of, by: Join::And },
                MadeEntry::Iand(of) => Made::Joined { of, by: Join::Iand },
                MadeEntry::Widened(of, stride, zeros) => Made::Widened { of, stride, zeros },
                MadeEntry::Flat(of) => Made::Flat(of),
            };
            maps.push(Map { name, shape, made });
        }
        let logits = Logits {
            synapses: self.logits.layer.synapses(rest)?,
            neuron: self.logits.neuron.map(neuron).transpose()?,
            votes: self.logits.votes,
        };
        let provenance = Provenance {
            producer: self.producer,
            name: self.name,
            accuracy: self.accuracy.unwrap_or(f64::NAN),
            measured_on: self.measured_on,
            claimed_bytes: self.claimed_bytes.unwrap_or(f64::NAN),
            input: self.input,
        };
        let network = Network {
            image: Image { shape: self.image, mean, std },
            classes: self.classes,
            timesteps: self.timesteps,
            maps,
            logits,
            exit: self.exit.map(|exit| match exit {
                ExitEntry::Entropy(bits) => EarlyExit::Entropy(f64::from_bits(bits)),
                ExitEntry::Confidence(bits) => EarlyExit::Confidence(f64::from_bits(bits)),
            }),
        };
        Ok((network, provenance))
    }
}

impl NeuronEntry {
    fn neuron(&self) -> Neuron {
        Neuron {
            decay: self.decay as f32,
            threshold: self.threshold as f32,
            reset: if self.soft { Reset::Soft } else { Reset::Hard },
            gain: self.gain.map(|gain| gain as f32),
        }
    }
}

impl LayerEntry {
    fn of(synapses: &Synapses, stored: Layer) -> LayerEntry {
        LayerEntry {
            name: synapses.name.clone(),
            reads: match synapses.of {
                Source::Image => None,
                Source::Map(map) => Some(map),
            },
            shape: synapses.shape,
            groups: synapses.groups,
            stride: synapses.stride,
            padding: synapses.padding,
            bits: synapses.bits,
            stored,
        }
    }

    /// Number of weights; `None` where no number holds it.
    fn weights(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |all, side| all.checked_mul(*side))
    }

    fn synapses(self, rest: &mut Rest) -> Result<Synapses, Unreadable> {
        let wrong = |what: &str| Unreadable::Layer { name: self.name.clone(), what: what.into() };
        let channels = self.shape[0];
        let mut numbers = |count: usize| match count {
            0 => Ok(Vec::new()),
            _ if count != 1 && count != channels => {
                Err(wrong("it has another number of scales or biases than channels"))
            }
            _ => {
                let numbers = rest.numbers(count).ok_or_else(|| wrong("the file ends within its numbers"))?;
                Ok(if count == 1 { vec![numbers[0]; channels] } else { numbers })
            }
        };
        let (scale, bias) = (numbers(self.stored.scales)?, numbers(self.stored.biases)?);
        let count = self.weights().ok_or_else(|| wrong("it has too many weights"))?;
        let values = read_values(&self.stored, count, rest).map_err(wrong)?;
        Ok(Synapses {
            of: self.reads.map_or(Source::Image, Source::Map),
            shape: self.shape,
            groups: self.groups,
            stride: self.stride,
            padding: self.padding,
            values,
            bits: self.bits,
            scale,
            bias,
            name: self.name,
        })
    }
}

fn sizes(window: &Window) -> [[usize; 2]; 3] {
    [window.size, window.stride, window.padding]
}

fn window([size, stride, padding]: [[usize; 2]; 3]) -> Window {
    Window { size, stride, padding }
}
