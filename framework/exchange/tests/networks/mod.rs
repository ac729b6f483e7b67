//! Networks with random weights that have every kind of map, current and neuron.
//!
//! Pixels are multiples of 1/64, and so are means and deviations: sums of the image are then exact in
//! f32, whatever their order. Scale and bias of every third output are short binary fractions, so
//! that potentials are the threshold itself now and then; those of all others fill an f32, so that
//! each operation rounds.

#![allow(dead_code)] // Each test uses its part.

use litesnn_engine::{
    Current, EarlyExit, Image, Join, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window,
};

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Pixels from 0 to 1, multiples of 1/64.
    pub fn pixels(&mut self, numbers: usize) -> Vec<f32> {
        (0..numbers).map(|_| self.below(65) as f32 / 64.0).collect()
    }

    /// Bytes divided by 255, as a photograph has them: sums of them are rounded.
    pub fn photograph(&mut self, numbers: usize) -> Vec<f32> {
        (0..numbers).map(|_| self.below(256) as f32 / 255.0).collect()
    }

    /// Levels of a mid-rise quantiser in half steps, of which a fraction is kept.
    fn levels(&mut self, numbers: usize, bits: u32, kept: u64) -> Values {
        let level = |random: &mut Random| match random.below(100) < kept {
            true => 2 * random.below(1 << bits) as i16 - ((1 << bits) - 1),
            false => 0,
        };
        Values::Levels((0..numbers).map(|_| level(self)).collect())
    }
}

/// A network under construction.
struct Growing {
    random: Random,
    kept: u64,
    neuron: Neuron,
    network: Network,
}

impl Growing {
    fn new(seed: u64, shape: [usize; 3], timesteps: usize, neuron: Neuron) -> Growing {
        let channels = shape[0];
        let image = Image { shape, mean: vec![0.5; channels], std: vec![0.25; channels] };
        let none = Synapses {
            name: String::new(),
            of: Source::Image,
            shape: [0; 4],
            groups: 1,
            stride: 1,
            padding: 0,
            values: Values::Levels(vec![]),
            bits: 0,
            scale: vec![],
            bias: vec![],
        };
        let logits = Logits { synapses: none, neuron: None, votes: 1 };
        let network = Network { image, classes: vec![], timesteps, maps: vec![], logits, exit: None };
        Growing { random: Random(seed), kept: 40, neuron, network }
    }

    fn map(&mut self, name: &str, shape: [usize; 3], made: Made) -> usize {
        self.network.maps.push(Map { name: name.to_owned(), shape, made });
        self.network.maps.len() - 1
    }

    fn shape(&self, of: Source) -> [usize; 3] {
        match of {
            Source::Image => self.network.image.shape,
            Source::Map(of) => self.network.maps[of].shape,
        }
    }

    /// Synapses to `out` channels whose currents have a deviation near the threshold.
    fn synapses(&mut self, name: &str, of: Source, out: usize, kernel: usize, stride: usize, bits: u32) -> Synapses {
        self.grouped(name, of, out, kernel, stride, bits, 1)
    }

    /// Synapses of f32 that are multiples of 1/64, so that their sums are exact.
    fn full(&mut self, name: &str, of: Source, out: usize, kernel: usize, stride: usize) -> Synapses {
        let synapses = self.synapses(name, of, out, kernel, stride, 5);
        let Values::Levels(levels) = &synapses.values else { unreachable!("they have levels") };
        let values = Values::Full(levels.iter().map(|level| f32::from(*level) / 64.0).collect());
        let scale = synapses.scale.iter().map(|scale| scale * 64.0).collect();
        Synapses { values, scale, bits: 32, ..synapses }
    }

    #[allow(clippy::too_many_arguments)]
    fn grouped(
        &mut self,
        name: &str,
        of: Source,
        out: usize,
        kernel: usize,
        stride: usize,
        bits: u32,
        groups: usize,
    ) -> Synapses {
        let within = self.shape(of)[0] / groups;
        let taps = within * kernel * kernel;
        let values = self.random.levels(out * taps, bits, self.kept);
        // A level has a variance near 4^bits / 3; about a quarter of the inputs is 1.
        let deviation = (taps as f64 * self.kept as f64 / 400.0 * f64::powi(4.0, bits as i32) / 3.0).sqrt();
        let unit = (0.5 / deviation).log2().ceil().exp2() as f32;
        let mut multiple = |of: usize, first: f32, parts: u64, steps: f32| match of % 3 {
            0 => first + self.random.below(parts + 1) as f32 / steps,
            _ => first + self.random.below(1 << 24) as f32 / (1 << 24) as f32 * (parts as f32 / steps),
        };
        let scale = (0..out).map(|of| unit * multiple(of, 1.0, 2, 1.0)).collect();
        let bias = (0..out).map(|of| multiple(of, -0.25, 32, 64.0)).collect();
        let shape = [out, within, kernel, kernel];
        Synapses { name: name.to_owned(), of, shape, groups, stride, padding: kernel / 2, values, bits, scale, bias }
    }

    fn spikes(&mut self, name: &str, currents: Vec<Current>) -> usize {
        let shape = match &currents[0] {
            Current::Synapses(synapses) => {
                let [_, height, width] = self.shape(synapses.of);
                let places = |places: usize| (places + 2 * synapses.padding - synapses.shape[2]) / synapses.stride + 1;
                [synapses.shape[0], places(height), places(width)]
            }
            Current::Scaled { of, .. } => self.network.maps[*of].shape,
        };
        let neuron = self.neuron;
        self.map(name, shape, Made::Spikes { neuron, currents })
    }

    fn layer(&mut self, name: &str, of: Source, out: usize, kernel: usize, stride: usize, bits: u32) -> usize {
        let synapses = self.synapses(&format!("{name}.conv"), of, out, kernel, stride, bits);
        self.spikes(name, vec![Current::Synapses(synapses)])
    }

    fn finished(mut self, of: usize, classes: usize, votes: usize, neuron: Option<Neuron>) -> Network {
        let synapses = self.synapses("classifier", Source::Map(of), classes * votes, 1, 1, 4);
        self.network.classes = (0..classes).map(|class| format!("class {class}")).collect();
        self.network.logits = Logits { synapses, neuron, votes };
        self.network
    }
}

const LITE: Neuron = Neuron { decay: 0.2, threshold: 0.5, reset: Reset::Hard, gain: None };

/// Cells of three nodes, as LitE-SNN's design of medium scale joins them, with a mean over the map.
/// Where `identity`, the edges between nodes are the spikes themselves.
fn cells(
    seed: u64,
    size: usize,
    channels: usize,
    cells: &[(u32, u32)],
    kept: u64,
    timesteps: usize,
    identity: bool,
) -> Network {
    let mut growing = Growing::new(seed, [3, size, size], timesteps, LITE);
    growing.kept = kept;
    let stem = growing.layer("stem", Source::Image, 3 * channels, 3, 1, 4);
    let (mut before, mut last) = (stem, stem);
    for (number, (level, bits)) in cells.iter().enumerate() {
        let (out, side) = (channels << level, size >> level);
        let mut sized = |of: usize, source: &str| {
            let [depth, height, _] = growing.network.maps[of].shape;
            let name = format!("cell{number}.{source}");
            if height == side { of } else { growing.map(&name, [depth, side, side], Made::Resized(of)) }
        };
        let sources = [sized(before, "s0"), sized(last, "s1")];
        let mut nodes: Vec<usize> = Vec::new();
        for (node, from) in [[0, 1], [1, 2], [1, 2]].into_iter().enumerate() {
            let mut currents = Vec::new();
            for from in from {
                let of = if from < 2 { sources[from] } else { nodes[0] };
                let name = format!("cell{number}.n{node}.{}", ["s0", "s1", "n0"][from]);
                currents.push(match from == 2 && identity {
                    true => Current::Scaled { of, divisor: 1.0, scale: vec![], bias: vec![] },
                    false => Current::Synapses(growing.synapses(&name, Source::Map(of), out, 3, 1, *bits)),
                });
            }
            nodes.push(growing.spikes(&format!("cell{number}.n{node}"), currents));
        }
        let shape = [3 * out, side, side];
        (before, last) = (last, growing.map(&format!("cell{number}"), shape, Made::SideBySide(nodes)));
    }
    let shape @ [depth, height, width] = growing.network.maps[last].shape;
    let window = Window { size: [height, width], stride: [1, 1], padding: [0, 0] };
    let sums = growing.map("sums", [depth, 1, 1], Made::Sums { of: last, window });
    let divisor = (shape[1] * shape[2]) as f32;
    let (scale, bias) = (vec![1.3; depth], vec![0.07; depth]);
    let means = growing.spikes("means", vec![Current::Scaled { of: sums, divisor, scale, bias }]);
    growing.finished(means, 10, 1, None)
}

/// Cells whose maps fall and grow by factors that are no powers of 2, too.
pub fn small_cells() -> Network {
    let mut network = cells(1, 12, 4, &[(0, 4), (1, 2), (2, 1)], 40, 4, true);
    network.classes[9] = "the last".to_owned();
    network
}

/// As many weights, operations and neurons as LitE-SNN's design of medium scale, with random masks.
pub fn medium() -> Network {
    cells(2, 32, 48, &[(0, 4), (0, 4), (1, 4), (1, 4), (1, 2), (2, 4), (2, 1), (2, 4)], 20, 5, false)
}

/// Pools with padding, linear layers, a soft reset, a gain, 17 timesteps, and spikes that vote.
pub fn pools() -> Network {
    let neuron = Neuron { decay: 0.75, threshold: 0.5, reset: Reset::Soft, gain: Some(0.25) };
    let mut growing = Growing::new(3, [2, 9, 7], 17, neuron);
    growing.kept = 100;
    let first = growing.layer("first", Source::Image, 6, 3, 1, 2);
    let window = Window { size: [3, 2], stride: [2, 2], padding: [1, 1] };
    let largest = growing.map("largest", [6, 5, 4], Made::Largest { of: first, window });
    let second = growing.layer("second", Source::Map(largest), 5, 3, 1, 1);
    let window = Window { size: [3, 3], stride: [2, 1], padding: [1, 0] };
    let sums = growing.map("window", [5, 3, 2], Made::Sums { of: second, window });
    let grown = growing.map("grown", [5, 5, 3], Made::Resized(sums));
    let flat = growing.map("flat", [75, 1, 1], Made::Flat(grown));
    let hidden = growing.layer("logits", Source::Map(flat), 16, 1, 1, 4);
    growing.finished(hidden, 3, 4, Some(LITE))
}

/// Blocks with joins of spikes, a widened shortcut, a convolution of each channel alone, weights of
/// f32, a node with three currents of which one is the image's, and votes of outputs without neurons.
pub fn joins() -> Network {
    let mut growing = Growing::new(4, [3, 8, 8], 3, LITE);
    growing.kept = 70;
    let stem = growing.layer("pixels", Source::Image, 4, 3, 1, 2);
    let each = growing.grouped("each", Source::Map(stem), 4, 3, 1, 2, 4);
    let again = growing.full("again", Source::Image, 4, 3, 1);
    let means = Current::Scaled { of: stem, divisor: 3.0, scale: vec![0.7, 0.3, -0.4, 0.1], bias: vec![0.03; 4] };
    let block = growing.spikes("block", vec![Current::Synapses(again), Current::Synapses(each), means]);
    // Beside 2^24 a current of 1 is lost, unless what is added before it takes 2^24 away.
    let much = 16_777_216.0;
    let order = [[much, much, -much, 1.0], [1.0, -much, much, -much], [-much, 1.0, 1.0, much]];
    let order = order.map(|bias| Current::Scaled { of: stem, divisor: 1.0, scale: vec![0.0; 4], bias: bias.to_vec() });
    growing.spikes("order", order.to_vec());
    let sum = growing.map("sum", [4, 8, 8], Made::Joined { of: [block, stem], by: Join::Add });
    let both = growing.map("both", [4, 8, 8], Made::Joined { of: [sum, stem], by: Join::And });
    let iand = growing.map("iand", [4, 8, 8], Made::Joined { of: [both, sum], by: Join::Iand });
    let window = Window { size: [2, 2], stride: [1, 1], padding: [1, 1] };
    let largest = growing.map("largest", [4, 9, 9], Made::Largest { of: iand, window });
    let strided = growing.full("strided.conv", Source::Map(largest), 6, 3, 2);
    let strided = growing.spikes("strided", vec![Current::Synapses(strided)]);
    let widened = growing.map("widened", [6, 5, 5], Made::Widened { of: largest, stride: 2, zeros: [1, 1] });
    let last = growing.map("last", [6, 5, 5], Made::Joined { of: [strided, widened], by: Join::Add });
    let plain = growing.map("plain", [7, 5, 5], Made::Widened { of: last, stride: 1, zeros: [0, 1] });
    let window = Window { size: [5, 5], stride: [5, 5], padding: [0, 0] };
    let sums = growing.map("sums", [7, 1, 1], Made::Sums { of: plain, window });
    growing.finished(sums, 4, 3, None)
}

/// The smallest: one timestep, and levels beyond eight bits.
pub fn wide() -> Network {
    let mut growing = Growing::new(5, [1, 4, 4], 1, LITE);
    growing.kept = 100;
    let stem = growing.layer("stem", Source::Image, 4, 1, 1, 9);
    let flat = growing.map("flat", [64, 1, 1], Made::Flat(stem));
    growing.finished(flat, 2, 1, None)
}

/// More timesteps than two of libtorch's blocks of 16, and neurons with two currents of the image.
pub fn long() -> Network {
    let mut growing = Growing::new(6, [1, 4, 4], 35, Neuron { decay: 0.9, ..LITE });
    let currents = [3, 5].map(|size| growing.synapses(&format!("stem.conv{size}"), Source::Image, 4, size, 1, 4));
    let stem = growing.spikes("stem", currents.map(Current::Synapses).to_vec());
    let next = growing.layer("next", Source::Map(stem), 4, 3, 1, 4);
    let flat = growing.map("flat", [64, 1, 1], Made::Flat(next));
    growing.finished(flat, 5, 1, None)
}

/// A network that stops early.
pub fn early() -> Network {
    Network { exit: Some(EarlyExit::Confidence(0.9)), ..wide() }
}

/// What NIR holds and cells do not have: windows of spikes, their largest and their sums; a
/// convolution of each channel alone; a kernel of 3x1; a shortcut with zeros, which is added;
/// vectors of maps that are not square; a gain of 1 - decay; the same spikes twice; and spikes that
/// vote.
pub fn shortcuts() -> Network {
    let mut growing = Growing::new(7, [2, 9, 8], 5, LITE);
    growing.kept = 70;
    let stem = growing.layer("stem", Source::Image, 4, 3, 1, 2);
    let window = Window { size: [3, 2], stride: [2, 2], padding: [1, 0] };
    let largest = growing.map("largest", [4, 5, 4], Made::Largest { of: stem, window });
    let each = growing.grouped("each", Source::Map(largest), 4, 3, 1, 2, 4);
    let again = Current::Scaled { of: largest, divisor: 1.0, scale: vec![], bias: vec![] };
    growing.neuron.gain = Some(1.0 - LITE.decay);
    let block = growing.spikes("block", vec![Current::Synapses(each), again.clone(), again]);
    growing.neuron.gain = None;
    let sum = growing.map("sum", [4, 5, 4], Made::Joined { of: [block, largest], by: Join::Add });
    let strided = growing.layer("strided", Source::Map(sum), 6, 3, 2, 4);
    let widened = growing.map("widened", [6, 3, 2], Made::Widened { of: sum, stride: 2, zeros: [1, 1] });
    let last = growing.map("last", [6, 3, 2], Made::Joined { of: [strided, widened], by: Join::Add });
    let twin = growing.layer("twin", Source::Map(sum), 6, 3, 1, 2);
    let beside = growing.map("beside", [10, 5, 4], Made::SideBySide(vec![block, twin]));
    let window = Window { size: [2, 3], stride: [1, 1], padding: [0, 1] };
    let sums = growing.map("sums", [10, 4, 4], Made::Sums { of: beside, window });
    let (scale, bias) = (vec![0.9; 10], vec![0.11; 10]);
    let means = growing.spikes("means", vec![Current::Scaled { of: sums, divisor: 6.0, scale, bias }]);
    let small = growing.map("small", [10, 2, 1], Made::Resized(means));
    let mut tall = growing.synapses("tall.conv", Source::Map(sum), 6, 3, 1, 2);
    let Values::Levels(levels) = &mut tall.values else { unreachable!("they have levels") };
    levels.truncate(6 * 4 * 3);
    (tall.shape, tall.padding) = ([6, 4, 3, 1], 0);
    let tall = growing.map("tall", [6, 3, 4], Made::Spikes { neuron: LITE, currents: vec![Current::Synapses(tall)] });
    let vectors = [last, small, tall].map(|of| {
        let numbers = growing.network.maps[of].shape.iter().product();
        growing.map(&format!("flat{of}"), [numbers, 1, 1], Made::Flat(of))
    });
    let all = growing.map("all", [36 + 20 + 72, 1, 1], Made::SideBySide(vectors.to_vec()));
    growing.finished(all, 4, 3, Some(LITE))
}

/// Windows over maps side by side, over strided maps, and over sums; and means with a bias alone.
pub fn windows() -> Network {
    let mut growing = Growing::new(8, [1, 8, 8], 4, LITE);
    growing.kept = 80;
    let stem = growing.layer("stem", Source::Image, 3, 3, 1, 2);
    let other = growing.layer("other", Source::Map(stem), 2, 3, 1, 2);
    let beside = growing.map("beside", [5, 8, 8], Made::SideBySide(vec![stem, other]));
    let window = |size, stride| Window { size: [size; 2], stride: [stride; 2], padding: [0; 2] };
    let largest = growing.map("largest", [5, 4, 4], Made::Largest { of: beside, window: window(2, 2) });
    let last = growing.layer("last", Source::Map(largest), 4, 3, 4, 2);
    let strided = growing.map("strided", [6, 4, 4], Made::Widened { of: beside, stride: 2, zeros: [0, 1] });
    let sums = growing.map("sums", [6, 2, 2], Made::Sums { of: strided, window: window(2, 2) });
    let again = growing.map("again", [6, 1, 1], Made::Sums { of: sums, window: window(2, 1) });
    let means = Current::Scaled { of: again, divisor: 16.0, scale: vec![1.2; 6], bias: vec![0.1; 6] };
    let means = growing.spikes("means", vec![means]);
    let all = growing.map("pooled", [2, 1, 1], Made::Sums { of: other, window: window(8, 8) });
    let own = Current::Scaled { of: all, divisor: 64.0, scale: vec![], bias: vec![0.125, -0.125] };
    let own = growing.spikes("own", vec![own]);
    let read = growing.map("read", [12, 1, 1], Made::SideBySide(vec![means, own, last]));
    growing.finished(read, 3, 1, None)
}

/// What NIR holds, but the large one.
pub fn nir_samples() -> Vec<(&'static str, Network)> {
    vec![
        ("cells", small_cells()),
        ("shortcuts", shortcuts()),
        ("windows", windows()),
        ("long", long()),
        ("wide", wide()),
    ]
}

/// All but the large one.
pub fn samples() -> Vec<(&'static str, Network)> {
    vec![("cells", small_cells()), ("pools", pools()), ("joins", joins()), ("long", long()), ("wide", wide())]
}
