//! The network that is timed: the final network of `lite-snn-medium` (Liu et al., LitE-SNN, IJCAI
//! 2024) on CIFAR-10, with random masks and levels.
//!
//! Eight cells of three nodes between a stem and a classifier, which have 4 bits. A node is driven
//! by two convolutions of 3x3. Of a layer's weights the same fraction is kept in expectation.
//! Neither the counts of kept weights nor the time depends on which they are.
//!
//! Pixels are multiples of 1/64, so that sums of the first layer are exact in f32, and every program
//! that rounds scale, bias and potential as the network is defined has the same spikes.

#![allow(dead_code)] // Each program uses its part.

use litesnn_engine::{Current, Image, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window};

/// Level of each cell: a level halves the map and doubles the channels.
const CELLS: [usize; 8] = [0, 0, 1, 1, 1, 2, 2, 2];
/// Bits of each cell's weights.
const BITS: [u32; 8] = [4, 4, 4, 4, 2, 4, 1, 4];
/// Bits of stem and classifier.
const OUTSIDE_BITS: u32 = 4;
/// The two predecessors of each node: 0 and 1 are the cells before, 2 the first node.
const EDGES: [[usize; 2]; 3] = [[0, 1], [1, 2], [1, 2]];
/// The neurons of the design.
pub const NEURON: Neuron = Neuron { decay: 0.2, threshold: 0.5, reset: Reset::Hard, gain: None };

/// What a network is made with.
#[derive(Clone, Copy)]
pub struct Shape {
    pub timesteps: usize,
    /// Channels of a node at level 0.
    pub channels: usize,
    /// Fraction of weights that are kept.
    pub kept: f64,
}

pub const MEDIUM: Shape = Shape { timesteps: 5, channels: 48, kept: 0.2 };

/// Numbers that look drawn (splitmix64), from 0 to 1.
pub struct Draw(pub u64);

impl Draw {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A level in half steps, an odd number of a bell curve over four sigma.
    fn level(&mut self, bits: u32) -> i16 {
        let normal = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        let most = (1 << bits) - 1;
        let step = (normal / 2.0 * f64::from(1 << (bits - 1))).floor();
        (2 * step as i32 + 1).clamp(-most, most) as i16
    }

    /// A convolution, 1x1 or 3x3. Scale and bias are such that 20 to 5 % of neurons spike at a
    /// timestep, fewer from cell to cell.
    pub fn convolution(&mut self, name: String, of: Source, shape: [usize; 4], bits: u32, kept: f64) -> Synapses {
        let [outputs, _, kernel, _] = shape;
        let mut draw = || if self.unit() < kept { self.level(bits) } else { 0 };
        let levels: Vec<i16> = (0..shape.iter().product()).map(|_| draw()).collect();
        let square = levels.iter().map(|level| f64::from(*level).powi(2)).sum::<f64>() / outputs as f64;
        let (spread, bias) = match of {
            Source::Image => (square.sqrt() / 0.55, -0.055),
            Source::Map(_) => ((square * 0.13).sqrt() / 0.49, -0.14),
        };
        Synapses {
            name,
            of,
            shape,
            groups: 1,
            stride: 1,
            padding: kernel / 2,
            values: Values::Levels(levels),
            bits,
            scale: vec![(1.0 / spread) as f32; outputs],
            bias: vec![bias; outputs],
        }
    }
}

/// The final network of the published design.
pub fn network(Shape { timesteps, channels, kept }: Shape) -> Network {
    let mut draw = Draw(1);
    let mut maps: Vec<Map> = Vec::new();
    let push = |maps: &mut Vec<Map>, name: String, shape: [usize; 3], made: Made| {
        maps.push(Map { name, shape, made });
        maps.len() - 1
    };
    let spikes = |currents: Vec<Current>| Made::Spikes { neuron: NEURON, currents };
    let shape = [3 * channels, 3, 3, 3];
    let stem = draw.convolution("stem.conv3x3".into(), Source::Image, shape, OUTSIDE_BITS, kept);
    let stem = push(&mut maps, "stem".into(), [shape[0], 32, 32], spikes(vec![Current::Synapses(stem)]));
    let mut before = [stem, stem];
    for (cell, (level, bits)) in CELLS.into_iter().zip(BITS).enumerate() {
        let (width, side) = (channels << level, 32 >> level);
        let mut sized = |place: usize| {
            let (of, name) = (before[place], format!("cell{cell}.s{place}"));
            let [channels, height, _] = maps[of].shape;
            if height == side { of } else { push(&mut maps, name, [channels, side, side], Made::Resized(of)) }
        };
        let first = sized(0);
        let read = if before[0] == before[1] { [first; 2] } else { [first, sized(1)] };
        let mut nodes: Vec<usize> = Vec::new();
        for (node, edges) in EDGES.into_iter().enumerate() {
            let mut current = |from: usize| {
                let of = if from < 2 { read[from] } else { nodes[from - 2] };
                let name = format!("cell{cell}.n{node}.{}.conv3x3", ["s0", "s1", "n0"][from]);
                let shape = [width, maps[of].shape[0], 3, 3];
                Current::Synapses(draw.convolution(name, Source::Map(of), shape, bits, kept))
            };
            let currents = vec![current(edges[0]), current(edges[1])];
            nodes.push(push(&mut maps, format!("cell{cell}.n{node}"), [width, side, side], spikes(currents)));
        }
        let all = push(&mut maps, format!("cell{cell}"), [3 * width, side, side], Made::SideBySide(nodes));
        before = [before[1], all];
    }
    let [features, side, _] = maps[before[1]].shape;
    let window = Window { size: [side; 2], stride: [1; 2], padding: [0; 2] };
    let sums = push(&mut maps, "sums".into(), [features, 1, 1], Made::Sums { of: before[1], window });
    // Few pixels spike: four times a mean is near the threshold.
    let mean = Current::Scaled { of: sums, divisor: (side * side) as f32, scale: vec![4.0; features], bias: vec![] };
    let pooled = push(&mut maps, "pooled".into(), [features, 1, 1], spikes(vec![mean]));
    let shape = [10, features, 1, 1];
    let classifier = draw.convolution("classifier".into(), Source::Map(pooled), shape, OUTSIDE_BITS, kept);
    Network {
        image: Image { shape: [3, 32, 32], mean: vec![0.5; 3], std: vec![0.25; 3] },
        classes: (0..10).map(|class| format!("{class}")).collect(),
        timesteps,
        maps,
        logits: Logits { synapses: classifier, neuron: None, votes: 1 },
        exit: None,
    }
}

/// An image of 32x32, of multiples of 1/64.
pub fn image(seed: u64) -> Vec<f32> {
    let mut draw = Draw(seed);
    (0..3 * 32 * 32).map(|_| (draw.unit() * 64.0).round() as f32 / 64.0).collect()
}
