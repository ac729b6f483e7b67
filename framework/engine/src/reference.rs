//! The definition of a network, executed: plain loops, one timestep after another.
//!
//! It computes what [`network`](crate::network) says, and nothing else: whole numbers are added as
//! i32, and everything after a sum is f32 with one rounding for each operation, in the order of the
//! text. So its logits are to the bit those of libtorch's evaluation wherever weights have levels.
//! Sums of f32 (an image, or weights that nothing quantises) are added in the order of the weights,
//! input channel, row, column, from 0; libtorch adds them in an order of its own, and agrees within
//! rounding.
//!
//! Of a neuron, with k(t) what the last timestep left and k(1) = 0:
//!
//! ```text
//! u = k + I                 or k + gain · I; I = I_1 + I_2 + ..., added in their order
//! s = 1 where u > threshold, else 0
//! k = decay · u · (1 - s)   hard reset
//! k = decay · (u - threshold · s)   soft reset
//! ```
//!
//! It keeps of every map the numbers of one timestep, and of every neuron its potential: four bytes
//! each. The time is that of kept weights times places of the map, for each timestep. The
//! [bit-sliced](crate::Prepared) kernel gives the same bits in a fraction of it.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::memory::{product, sum};
use crate::network::{Current, Join, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window};
use crate::outcome::{BadImage, Operations, Outcome, counted, fits, largest, mean, normalised, stops};

/// Runs a network by plain loops. The network has to be sound.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    network: &'a Network,
}

impl<'a> Reference<'a> {
    /// Of a sound network.
    pub fn new(network: &'a Network) -> Reference<'a> {
        Reference { network }
    }

    /// Bytes that a run of a sound network allocates at most.
    pub fn memory(network: &Network) -> usize {
        let four = |numbers: usize| product(&[4, numbers]);
        let of_map = |map: &Map| match map.made {
            Made::Spikes { .. } => product(&[8, size(map.shape)]),
            _ => four(size(map.shape)),
        };
        // The sum of currents, a current, its sums before they are f32, the spikes.
        let largest = network.maps.iter().map(|map| product(&[16, size(map.shape)])).max().unwrap_or(0);
        let of_image = network.layers().filter(|(synapses, _)| synapses.of == Source::Image);
        let constant = of_image.map(|(_, output)| four(size(output)));
        // The outputs that each row and column of a kernel reaches.
        let taps = network.layers().map(|(synapses, _)| 16 * (synapses.shape[2] + synapses.shape[3])).max();
        let all = network.maps.iter().map(of_map).chain(constant);
        sum(all.chain([largest, taps.unwrap_or(0), four(size(network.image.shape)), network.outcome_memory()]))
    }

    /// What it answers for pixels from 0 to 1, `[C, H, W]`.
    ///
    /// # Errors
    ///
    /// An image of another size, or with a number that is not finite.
    pub fn run(&self, pixels: &[f32]) -> Result<Outcome, BadImage> {
        self.run_normalised(&self.normalised(pixels)?)
    }

    /// The input that pixels from 0 to 1 become, `[C, H, W]`: (pixel - mean) / std.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn normalised(&self, pixels: &[f32]) -> Result<Vec<f32>, BadImage> {
        normalised(self.network, pixels)
    }

    /// What it answers for an input that is normalised already, `[C, H, W]`.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_normalised(&self, input: &[f32]) -> Result<Outcome, BadImage> {
        self.watch(input, |_, _| {})
    }

    /// As [`run_normalised`](Self::run_normalised), and `seen` gets each timestep, from 0, and the
    /// numbers of every map at it, `[C, H, W]` each.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn watch(&self, input: &[f32], mut seen: impl FnMut(usize, &[Vec<i32>])) -> Result<Outcome, BadImage> {
        fits(self.network, input)?;
        let mut state = State::new(self.network, input);
        let mut by_timestep: Vec<Vec<f32>> = Vec::new();
        for timestep in 0..self.network.timesteps {
            by_timestep.push(state.step());
            seen(timestep, &state.numbers);
            if self.network.exit.is_some_and(|exit| stops(exit, &by_timestep)) {
                break;
            }
        }
        let logits = mean(&by_timestep);
        Ok(Outcome {
            class: largest(&logits),
            logits,
            timesteps: by_timestep.len(),
            logits_by_timestep: by_timestep,
            spikes: state.spikes,
            layers: state.layers,
        })
    }
}

/// A network between two timesteps.
struct State<'a> {
    network: &'a Network,
    /// Of every map at the last timestep, `[C, H, W]`.
    numbers: Vec<Vec<i32>>,
    /// What the last timestep left of the potentials of every map's neurons, and of those of the
    /// logits after them.
    kept: Vec<Vec<f32>>,
    /// The currents of layers that read the image, in the order of the layers; empty for others.
    constant: Vec<Vec<f32>>,
    spikes: Vec<u64>,
    layers: Vec<Operations>,
}

impl<'a> State<'a> {
    /// Before the first timestep. The image is convolved.
    fn new(network: &'a Network, input: &[f32]) -> State<'a> {
        let mut state = State {
            network,
            numbers: network.maps.iter().map(|map| vec![0; size(map.shape)]).collect(),
            kept: network
                .maps
                .iter()
                .map(|map| vec![0.0; if let Made::Spikes { .. } = map.made { size(map.shape) } else { 0 }])
                .collect(),
            constant: Vec::new(),
            spikes: vec![0; network.maps.len()],
            layers: Vec::new(),
        };
        state.kept.push(vec![0.0; network.logits.synapses.shape[0]]);
        for (synapses, output) in network.layers() {
            let (mut current, mut operations) = (Vec::new(), Operations::default());
            if synapses.of == Source::Image {
                current = vec![0.0; size(output)];
                for_taps(synapses, network.image.shape, output, |weight, to, from| {
                    current[to] += synapses.values.get(weight) * input[from];
                    operations.multiplications += 1;
                });
                scale_and_shift_all(&mut current, synapses.shape[0], &synapses.scale, &synapses.bias);
            }
            state.constant.push(current);
            state.layers.push(operations);
        }
        state
    }

    /// Runs a timestep; its logits `[K]`.
    fn step(&mut self) -> Vec<f32> {
        let network = self.network;
        let mut layer = 0;
        for (index, map) in network.maps.iter().enumerate() {
            let (before, rest) = self.numbers.split_at_mut(index);
            let numbers = &mut rest[0];
            match &map.made {
                Made::Spikes { neuron, currents } => {
                    let mut sum = vec![0.0; numbers.len()];
                    for (place, current) in currents.iter().enumerate() {
                        let current = self.current(current, map.shape, &mut layer);
                        match place {
                            0 => sum = current,
                            _ => sum.iter_mut().zip(current).for_each(|(sum, current)| *sum += current),
                        }
                    }
                    let fired = fire(neuron, &sum, &mut self.kept[index]);
                    self.numbers[index] = fired;
                }
                _ => join(network, map, |of| &before[of], numbers),
            }
            self.spikes[index] +=
                self.numbers[index].iter().map(|number| u64::from(number.unsigned_abs())).sum::<u64>();
        }
        let logits = &network.logits;
        let outputs = logits.synapses.shape[0];
        let mut current = self.synapses(&logits.synapses, [outputs, 1, 1], layer);
        if let Some(neuron) = &logits.neuron {
            let last = network.maps.len();
            current = fire(neuron, &current, &mut self.kept[last]).into_iter().map(|spike| spike as f32).collect();
        }
        counted(&current, logits.votes)
    }

    /// A current of a map; `layer` is the next layer's place, and moves on.
    fn current(&mut self, current: &Current, shape: [usize; 3], layer: &mut usize) -> Vec<f32> {
        match current {
            Current::Synapses(synapses) => {
                *layer += 1;
                self.synapses(synapses, shape, *layer - 1)
            }
            Current::Scaled { of, divisor, scale, bias } => {
                let mut current: Vec<f32> = self.numbers[*of].iter().map(|number| *number as f32 / divisor).collect();
                scale_and_shift_all(&mut current, shape[0], scale, bias);
                current
            }
        }
    }

    fn synapses(&mut self, synapses: &Synapses, output: [usize; 3], layer: usize) -> Vec<f32> {
        let of = match synapses.of {
            Source::Image => return self.constant[layer].clone(),
            Source::Map(of) => of,
        };
        let (current, additions) = currents(synapses, &self.numbers[of], self.network.maps[of].shape, output);
        self.layers[layer].additions += additions;
        current
    }
}

/// The currents of synapses on the numbers of a map at one timestep, and the additions that they
/// take.
pub(crate) fn currents(synapses: &Synapses, numbers: &[i32], input: [usize; 3], output: [usize; 3]) -> (Vec<f32>, u64) {
    let mut additions = 0;
    let mut current = match &synapses.values {
        Values::Levels(levels) => {
            let mut sums = vec![0i32; size(output)];
            for_taps(synapses, input, output, |weight, to, from| {
                sums[to] += i32::from(levels[weight]) * numbers[from];
                additions += u64::from(numbers[from].unsigned_abs());
            });
            sums.into_iter().map(|sum| sum as f32).collect()
        }
        Values::Full(weights) => {
            let mut sums = vec![0f32; size(output)];
            for_taps(synapses, input, output, |weight, to, from| {
                sums[to] += weights[weight] * numbers[from] as f32;
                additions += u64::from(numbers[from].unsigned_abs());
            });
            sums
        }
    };
    scale_and_shift_all(&mut current, synapses.shape[0], &synapses.scale, &synapses.bias);
    (current, additions)
}

pub(crate) fn size(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

impl Values {
    /// The weight at a place.
    pub(crate) fn get(&self, place: usize) -> f32 {
        match self {
            Values::Levels(levels) => f32::from(levels[place]),
            Values::Full(weights) => weights[place],
        }
    }

    /// Whether the weight at a place is none.
    pub(crate) fn is_zero(&self, place: usize) -> bool {
        match self {
            Values::Levels(levels) => levels[place] == 0,
            Values::Full(weights) => weights[place] == 0.0,
        }
    }
}

/// Calls `visit` with the place of a weight, of an output and of an input for every tap of a kept
/// weight that lies inside the map: weight after weight, and for each the rows and columns of the
/// output.
pub(crate) fn for_taps(
    synapses: &Synapses,
    input: [usize; 3],
    output: [usize; 3],
    mut visit: impl FnMut(usize, usize, usize),
) {
    let Synapses { shape: [outputs, within, height, width], groups, stride, padding, .. } = *synapses;
    let taps = |axis: usize, taps: usize| -> Vec<Range<usize>> {
        (0..taps).map(|tap| inside(tap, input[axis], output[axis], stride, padding)).collect()
    };
    let (rows, columns) = (taps(1, height), taps(2, width));
    let mut weight = 0;
    for channel in 0..outputs {
        let first = channel / (outputs / groups) * within;
        for from in first..first + within {
            for (row, rows) in rows.iter().enumerate() {
                for (column, columns) in columns.iter().enumerate() {
                    if !synapses.values.is_zero(weight) {
                        for y in rows.clone() {
                            let to = (channel * output[1] + y) * output[2];
                            let from = (from * input[1] + y * stride + row - padding) * input[2];
                            columns.clone().for_each(|x| visit(weight, to + x, from + x * stride + column - padding));
                        }
                    }
                    weight += 1;
                }
            }
        }
    }
}

/// The outputs whose tap lies inside: those y with 0 <= y · stride + tap - padding < inputs.
pub(crate) fn inside(tap: usize, inputs: usize, outputs: usize, stride: usize, padding: usize) -> Range<usize> {
    let first = padding.saturating_sub(tap).div_ceil(stride);
    let end = (inputs + padding).saturating_sub(tap).div_ceil(stride).min(outputs);
    first.min(end)..end
}

/// scale · n + bias of sums n `[O, ...]`.
pub(crate) fn scale_and_shift_all(sums: &mut [f32], channels: usize, scale: &[f32], bias: &[f32]) {
    let places = sums.len() / channels;
    for (channel, sums) in sums.chunks_mut(places).enumerate() {
        scale_and_shift(sums, scale.get(channel), bias.get(channel));
    }
}

/// scale · n + bias of the sums n of a channel.
pub(crate) fn scale_and_shift(sums: &mut [f32], scale: Option<&f32>, bias: Option<&f32>) {
    if let Some(scale) = scale {
        sums.iter_mut().for_each(|sum| *sum *= scale);
    }
    if let Some(bias) = bias {
        sums.iter_mut().for_each(|sum| *sum += bias);
    }
}

/// Spikes of neurons on currents; `kept` is what is left of their potentials.
pub(crate) fn fire(neuron: &Neuron, currents: &[f32], kept: &mut [f32]) -> Vec<i32> {
    let fire = |(current, kept): (&f32, &mut f32)| {
        let u = *kept + neuron.gain.map_or(*current, |gain| gain * current);
        let spike = u > neuron.threshold;
        *kept = match (neuron.reset, spike) {
            (Reset::Hard, true) => 0.0,
            (Reset::Soft, true) => neuron.decay * (u - neuron.threshold),
            (_, false) => neuron.decay * u,
        };
        i32::from(spike)
    };
    currents.iter().zip(kept).map(fire).collect()
}

/// The numbers of a map without neurons from those of the maps before it.
pub(crate) fn join<'a>(network: &Network, map: &Map, before: impl Fn(usize) -> &'a [i32], numbers: &mut [i32]) {
    let [_, height, width] = map.shape;
    let shape = |of: usize| network.maps[of].shape;
    let places = height * width;
    match &map.made {
        Made::Spikes { .. } => unreachable!("neurons are driven by currents"),
        Made::SideBySide(maps) => {
            let all = maps.iter().flat_map(|of| before(*of));
            numbers.iter_mut().zip(all).for_each(|(number, from)| *number = *from);
        }
        Made::Flat(of) => numbers.copy_from_slice(before(*of)),
        Made::Resized(of) => {
            let [_, rows, columns] = shape(*of);
            for (place, number) in numbers.iter_mut().enumerate() {
                let (channel, y, x) = (place / places, place / width % height, place % width);
                *number = before(*of)[(channel * rows + y * rows / height) * columns + x * columns / width];
            }
        }
        Made::Largest { of, window } => {
            over_windows(before(*of), shape(*of), map.shape, window, numbers, i32::MIN, i32::max);
        }
        Made::Sums { of, window } => {
            over_windows(before(*of), shape(*of), map.shape, window, numbers, 0, |a, b| a + b);
        }
        Made::Joined { of: [a, s], by } => {
            for ((number, a), s) in numbers.iter_mut().zip(before(*a)).zip(before(*s)) {
                *number = match by {
                    Join::Add => a + s,
                    Join::And => a * s,
                    Join::Iand => (1 - a) * s,
                };
            }
        }
        Made::Widened { of, stride, zeros: [front, _] } => {
            let [channels, rows, columns] = shape(*of);
            numbers.fill(0);
            for (place, number) in numbers[front * places..][..channels * places].iter_mut().enumerate() {
                let (channel, y, x) = (place / places, place / width % height, place % width);
                *number = before(*of)[(channel * rows + y * stride) * columns + x * stride];
            }
        }
    }
}

/// The numbers of each window, joined two by two from `start` on; where a window reaches outside of
/// the map, a 0 is among them.
fn over_windows(
    from: &[i32],
    [_, rows, columns]: [usize; 3],
    [_, height, width]: [usize; 3],
    window: &Window,
    numbers: &mut [i32],
    start: i32,
    join: impl Fn(i32, i32) -> i32,
) {
    let part = |axis: usize, place: usize, inputs: usize| {
        let first = place * window.stride[axis];
        let end = first + window.size[axis];
        first.saturating_sub(window.padding[axis])..end.saturating_sub(window.padding[axis]).min(inputs)
    };
    for (place, number) in numbers.iter_mut().enumerate() {
        let (channel, y, x) = (place / (height * width), place / width % height, place % width);
        let (down, right) = (part(0, y, rows), part(1, x, columns));
        let whole = down.len() == window.size[0] && right.len() == window.size[1];
        *number = if whole { start } else { join(start, 0) };
        for row in down {
            let row = &from[(channel * rows + row) * columns..][..columns];
            *number = row.get(right.clone()).unwrap_or(&[]).iter().copied().fold(*number, &join);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{EarlyExit, Image, Logits};
    use alloc::borrow::ToOwned;

    fn synapses(of: Source, shape: [usize; 4], padding: usize, values: Values) -> Synapses {
        let (name, scale, bias) = ("layer".to_owned(), vec![], vec![]);
        Synapses { name, of, shape, groups: 1, stride: 1, padding, values, bits: 2, scale, bias }
    }

    /// A row of three pixels drives three neurons by a kernel (1, 0, -1); two outputs count them.
    fn network(neuron: Neuron) -> Network {
        let kernel = Synapses {
            scale: vec![0.5],
            bias: vec![0.25],
            ..synapses(Source::Image, [1, 1, 1, 3], 1, Values::Full(vec![1.0, 0.0, -1.0]))
        };
        // Padding is on every side: the rows above and below the image hold no neurons.
        let stem = Map {
            name: "stem".to_owned(),
            shape: [1, 3, 3],
            made: Made::Spikes { neuron, currents: vec![Current::Synapses(kernel)] },
        };
        let flat = Map { name: "flat".to_owned(), shape: [9, 1, 1], made: Made::Flat(0) };
        let levels = Values::Levels([[1i16, 1, 1, 3, 0, 0, 1, 1, 1], [0, 0, 0, -1, 2, -1, 0, 0, 0]].concat());
        Network {
            image: Image { shape: [1, 1, 3], mean: vec![1.0], std: vec![0.5] },
            classes: vec!["a".to_owned(), "b".to_owned()],
            timesteps: 3,
            maps: vec![stem, flat],
            logits: Logits { synapses: synapses(Source::Map(1), [2, 9, 1, 1], 0, levels), neuron: None, votes: 1 },
            exit: None,
        }
    }

    /// The input is (x - 1) / 0.5 = (2, 0, 1). The kernel gives (0 - 0, 2 - 1, 0 - 0), so that the
    /// currents are 0.25 around 0.75 in the middle row, and 0.25 in the rows of padding. With decay
    /// 0.5 and threshold 0.5 a current of 0.25 gives u = 0.25, 0.375, 0.4375 and no spike, and 0.75
    /// gives u = 0.75, then again 0.75 after a hard reset: three spikes.
    #[test]
    fn a_small_network_agrees_with_numbers_by_hand() {
        let neuron = Neuron { decay: 0.5, threshold: 0.5, reset: Reset::Hard, gain: None };
        let network = network(neuron);
        let mut fired = Vec::new();
        let outcome = Reference::new(&network).watch(&[2.0, 0.0, 1.0], |_, maps| fired.push(maps[0].clone())).unwrap();
        assert_eq!(fired, vec![vec![0, 0, 0, 0, 1, 0, 0, 0, 0]; 3]);
        assert_eq!(outcome.logits_by_timestep, vec![vec![0.0, 2.0]; 3]);
        assert_eq!((outcome.logits, outcome.class, outcome.timesteps), (vec![0.0, 2.0], 1, 3));
        assert_eq!(outcome.spikes, [3, 3]);
        // Two kept weights: the tap to the left is inside for two outputs, and so is that to the
        // right.
        assert_eq!(outcome.layers[0], Operations { additions: 0, multiplications: 4 });
        // One kept weight reads the neuron that fires, at three timesteps.
        assert_eq!(outcome.layers[1], Operations { additions: 3, multiplications: 0 });
        assert_eq!(Reference::new(&network).run(&[2.0, 1.0, 1.5]).unwrap().spikes, [3, 3]);
    }

    /// u = 0.75; then 0.5 · (0.75 - 0.5) + 0.75 = 0.875, 0.5 · 0.375 + 0.75 = 0.9375. With a gain
    /// of a half the current is 0.375: u = 0.375, then 0.5625 with a spike, then 0.5 · 0.0625 +
    /// 0.375.
    #[test]
    fn a_soft_reset_keeps_what_exceeds_and_a_gain_scales_the_current() {
        let soft = Neuron { decay: 0.5, threshold: 0.5, reset: Reset::Soft, gain: None };
        let mut kept = [0.0];
        let mut run = |neuron: Neuron| -> Vec<(i32, f32)> {
            kept = [0.0];
            (0..3).map(|_| (fire(&neuron, &[0.75], &mut kept)[0], kept[0])).collect()
        };
        assert_eq!(run(soft), [(1, 0.125), (1, 0.1875), (1, 0.21875)]);
        let halved = [(0, 0.1875), (1, 0.03125), (0, 0.203125)];
        assert_eq!(run(Neuron { gain: Some(0.5), ..soft }), halved);
    }

    #[test]
    fn a_spike_needs_more_than_the_threshold() {
        let neuron = Neuron { decay: 0.2, threshold: 0.5, reset: Reset::Hard, gain: None };
        let mut kept = [0.0];
        // u = 0.5 (no spike), 0.1 + 0.45 = 0.55 (spike), 0 + 0.4 (no spike)
        assert_eq!([0.5, 0.45, 0.4].map(|current| fire(&neuron, &[current], &mut kept)[0]), [0, 1, 0]);
    }

    #[test]
    fn an_image_that_is_sure_enough_stops_and_is_charged_no_further() {
        let neuron = Neuron { decay: 0.5, threshold: 0.5, reset: Reset::Hard, gain: None };
        // Of logits (0, 2) the larger probability is e^2 / (1 + e^2) = 0.8808.
        let run = |threshold| {
            let network = Network { exit: Some(EarlyExit::Confidence(threshold)), ..network(neuron) };
            Reference::new(&network).run_normalised(&[2.0, 0.0, 1.0]).unwrap()
        };
        let (early, late) = (run(0.88), run(0.881));
        assert_eq!((early.timesteps, early.spikes.clone(), early.operations().additions), (1, vec![1, 1], 1));
        assert_eq!((late.timesteps, late.spikes.clone(), late.operations().additions), (3, vec![3, 3], 3));
    }

    /// Four rows of 4: each number says its row and column.
    #[test]
    fn maps_of_maps_read_the_numbers_that_their_words_say() {
        let network = network(Neuron { decay: 0.5, threshold: 0.5, reset: Reset::Hard, gain: None });
        let from = Map { name: "from".to_owned(), shape: [1, 4, 4], made: Made::Flat(0) };
        let network = Network { maps: vec![from], ..network };
        let numbers: Vec<i32> = (0..16).map(|place| 10 * (place / 4) + place % 4).collect();
        let made = |shape: [usize; 3], made: Made| {
            let map = Map { name: "to".to_owned(), shape, made };
            let mut out = vec![-1; size(shape)];
            let before = [numbers.clone(), vec![1; 16]];
            join(&network, &map, |of| &before[of], &mut out);
            out
        };
        let window = Window { size: [2, 2], stride: [2, 2], padding: [1, 1] };
        assert_eq!(made([1, 3, 3], Made::Largest { of: 0, window }), [0, 2, 3, 20, 22, 23, 30, 32, 33]);
        assert_eq!(made([1, 3, 3], Made::Sums { of: 0, window }), [0, 3, 3, 30, 66, 36, 30, 63, 33]);
        assert_eq!(made([1, 2, 2], Made::Resized(0)), [0, 2, 20, 22]);
        assert_eq!(made([1, 3, 3], Made::Resized(0)), [0, 1, 2, 10, 11, 12, 20, 21, 22]);
        assert_eq!(made([3, 2, 2], Made::Widened { of: 0, stride: 2, zeros: [1, 1] })[3..9], [0, 0, 2, 20, 22, 0]);
        assert_eq!(made([1, 4, 4], Made::Joined { of: [0, 1], by: Join::Add })[5], 12);
        assert_eq!(made([1, 4, 4], Made::Joined { of: [0, 1], by: Join::Iand })[5], -10);
    }
}
