//! A network with weights by chance, for tests and examples.
//!
//! It has what the quick start's has: a stem on 28x28 pixels, three cells of three nodes side by side,
//! means over the map, and a classifier.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use crate::file::Provenance;
use crate::network::{Current, Image, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window};

/// The packed file of [`network`].
///
/// # Panics
///
/// Never: the network is sound.
pub fn file() -> Vec<u8> {
    crate::file::write(&network(), &Provenance::default()).expect("the sample is sound")
}

const CHANNELS: usize = 24;
const NEURON: Neuron = Neuron { decay: 0.2, threshold: 0.5, reset: Reset::Hard, gain: None };

/// The network, the same at every call.
pub fn network() -> Network {
    let mut chance = Chance(7);
    let weights = Values::Full((0..CHANNELS * 9).map(|_| chance.below(1000) as f32 / 500.0 - 1.0).collect());
    let stem = Synapses { stride: 2, ..chance.synapses("stem.conv".into(), Source::Image, [CHANNELS, 1, 3, 3], 0.27) };
    let stem = Synapses { values: weights, bits: 32, ..stem };
    let mut maps = vec![spikes("stem".into(), [CHANNELS, 14, 14], vec![Current::Synapses(stem)])];
    let add = |maps: &mut Vec<Map>, map: Map| {
        maps.push(map);
        maps.len() - 1
    };
    let mut last = 0;
    for (cell, side) in [14, 7, 4].into_iter().enumerate() {
        if maps[last].shape[1] != side {
            let (name, shape) = (format!("cell{cell}.resized"), [CHANNELS, side, side]);
            last = add(&mut maps, Map { name, shape, made: Made::Resized(last) });
        }
        let mut nodes: Vec<usize> = Vec::new();
        for node in 0..3 {
            let name = format!("cell{cell}.n{node}");
            let mut current = |from: usize, channels: usize, scale: f32| {
                let (name, shape) = (format!("{name}.s{from}.conv3x3"), [8, channels, 3, 3]);
                Current::Synapses(chance.synapses(name, Source::Map(from), shape, scale))
            };
            let mut currents = vec![current(last, CHANNELS, 0.06)];
            currents.extend(nodes.last().map(|before| current(*before, 8, 0.1)));
            nodes.push(add(&mut maps, spikes(name, [8, side, side], currents)));
        }
        let (name, shape) = (format!("cell{cell}"), [CHANNELS, side, side]);
        last = add(&mut maps, Map { name, shape, made: Made::SideBySide(nodes) });
    }
    let window = Window { size: [4, 4], stride: [4, 4], padding: [0, 0] };
    let sums = Map { name: "sums".into(), shape: [CHANNELS, 1, 1], made: Made::Sums { of: last, window } };
    let of = add(&mut maps, sums);
    let means = Current::Scaled { of, divisor: 16.0, scale: vec![], bias: vec![] };
    let means = add(&mut maps, spikes("means".into(), [CHANNELS, 1, 1], vec![means]));
    let classifier =
        Synapses { padding: 0, ..chance.synapses("classifier".into(), Source::Map(means), [10, CHANNELS, 1, 1], 0.3) };
    Network {
        image: Image { shape: [1, 28, 28], mean: vec![0.286], std: vec![0.353] },
        classes: (0..10).map(|class| class.to_string()).collect(),
        timesteps: 4,
        maps,
        logits: Logits { synapses: classifier, neuron: None, votes: 1 },
        exit: None,
    }
}

fn spikes(name: String, shape: [usize; 3], currents: Vec<Current>) -> Map {
    Map { name, shape, made: Made::Spikes { neuron: NEURON, currents } }
}

/// Knuth's linear congruential generator.
struct Chance(u64);

impl Chance {
    /// A number from 0 to below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Two of five weights are kept, of levels -3, -1, 1 and 3.
    fn synapses(&mut self, name: String, of: Source, shape: [usize; 4], scale: f32) -> Synapses {
        let mut level = || if self.below(5) < 2 { [-3, -1, 1, 3][self.below(4) as usize] } else { 0 };
        Synapses {
            name,
            of,
            shape,
            groups: 1,
            stride: 1,
            padding: 1,
            values: Values::Levels((0..shape.iter().product()).map(|_| level()).collect()),
            bits: 2,
            scale: vec![scale; shape[0]],
            bias: (0..shape[0]).map(|_| self.below(100) as f32 / 250.0).collect(),
        }
    }
}
