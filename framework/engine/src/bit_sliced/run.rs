//! An image through a prepared network.

use alloc::vec;
use alloc::vec::Vec;

use super::neurons::{Drive, Layer, laid_out};
use super::planes::{Taps, pick, row_bytes};
use super::processor::Work;
use super::{Arena, Prepared, Way};
use crate::network::{Current, Join, Made, Map, Network, Neuron, Source, Synapses};
use crate::outcome::{Operations, Outcome, counted, largest, mean, stops};
use crate::reference::{currents, fire, inside, join, scale_and_shift, size};

/// Tells a [`Times`](super::Times) where the time goes.
struct Clock {
    now: Option<fn() -> u64>,
    since: u64,
}

impl Clock {
    /// Adds what has passed since it was last asked.
    fn passed(&mut self, to: &mut u64) {
        if let Some(now) = self.now {
            let now = now();
            *to += now - self.since;
            self.since = now;
        }
    }
}

impl Prepared<'_> {
    /// Runs an input of the right size.
    pub(super) fn run_by(&self, arena: &mut Arena, input: &[f32], now: Option<fn() -> u64>) -> Outcome {
        let network = self.network;
        let mut clock = Clock { now, since: now.map_or(0, |now| now()) };
        // Additions of the layers that loops compute, at each timestep.
        let mut by_loops: Vec<Vec<u64>> = Vec::new();
        for (index, map) in network.maps.iter().enumerate() {
            match &map.made {
                Made::Spikes { neuron, currents } => {
                    self.spikes(arena, index, *neuron, currents, input, &mut by_loops, &mut clock);
                }
                _ if self.maps[index].bits => self.bits(arena, index, map),
                _ => {
                    let (before, rest) = arena.numbers.split_at_mut(index);
                    for (timestep, numbers) in rest[0].chunks_exact_mut(size(map.shape)).enumerate() {
                        let read = |of: usize| at(&before[of], network.maps[of].shape, timestep);
                        join(network, map, read, numbers);
                    }
                }
            }
            if self.maps[index].numbers && self.maps[index].bits {
                unpack(&arena.bits[index], map.shape, network.timesteps, &mut arena.numbers[index]);
            }
            for (taps, base) in self.taps.iter().filter(|(taps, _)| taps.of == index) {
                let copies = &mut arena.copies[*base..][..taps.bytes()];
                self.processor.does(Work::Copies(taps, &arena.bits[index], copies));
            }
            clock.passed(&mut arena.times.maps);
        }
        let by_timestep = self.logits(arena, input, &mut by_loops);
        clock.passed(&mut arena.times.plain);
        let logits = mean(&by_timestep);
        let outcome = Outcome {
            class: largest(&logits),
            logits,
            timesteps: by_timestep.len(),
            spikes: (0..network.maps.len()).map(|index| self.count_spikes(arena, index, by_timestep.len())).collect(),
            layers: self.count_operations(arena, &by_loops, by_timestep.len()),
            logits_by_timestep: by_timestep,
        };
        clock.passed(&mut arena.times.counts);
        outcome
    }

    /// The spikes of a map with neurons.
    #[allow(clippy::too_many_arguments)]
    fn spikes(
        &self,
        arena: &mut Arena,
        index: usize,
        neuron: Neuron,
        currents: &[Current],
        input: &[f32],
        by_loops: &mut Vec<Vec<u64>>,
        clock: &mut Clock,
    ) {
        let (map, ready) = (&self.network.maps[index], &self.maps[index]);
        let tiles = ready.tiles.as_ref().expect("neurons have tiles");
        let row = row_bytes(map.shape[2]);
        let in_rows = |current: &[f32]| -> Vec<f32> {
            let channels = current.chunks_exact(map.shape[1] * map.shape[2]);
            channels.flat_map(|channel| laid_out(channel, map.shape[2], row, tiles.outputs)).collect()
        };
        // Currents that are not counted, in the order of rows and bytes.
        let mut others: Vec<Vec<f32>> = Vec::new();
        for (current, way) in currents.iter().zip(&ready.currents) {
            let mut additions = Vec::new();
            others.push(match way {
                Way::Counted { .. } => Vec::new(),
                Way::Constant => {
                    let Current::Synapses(synapses) = current else { unreachable!("synapses read the image") };
                    let current = in_rows(&of_image(self.network, synapses, input, map.shape));
                    clock.passed(&mut arena.times.image);
                    current
                }
                Way::Plain => {
                    let varying = self.plain(arena, current, map, &mut additions);
                    let of_channel = |channel: usize| varying.iter().map(move |all| (channel, all));
                    let places = map.shape[1] * map.shape[2];
                    let all = (0..map.shape[0]).flat_map(of_channel);
                    let current = all.flat_map(|(channel, all)| in_rows(&all[channel * places..][..places])).collect();
                    clock.passed(&mut arena.times.plain);
                    current
                }
            });
            if let Current::Synapses(_) = current {
                by_loops.push(additions);
            }
        }
        let mut drives: Vec<Drive> = Vec::new();
        for ((current, way), other) in currents.iter().zip(&ready.currents).zip(&others) {
            drives.push(match (way, current) {
                (Way::Counted { rows, divisor, .. }, Current::Synapses(Synapses { scale, bias, .. }))
                | (Way::Counted { rows, divisor, .. }, Current::Scaled { scale, bias, .. }) => {
                    Drive::Counted { rows, divisor: *divisor, scale, bias }
                }
                (Way::Constant, _) => Drive::Constant(other),
                (Way::Plain, _) => Drive::Varying(other),
            });
        }
        let last = 0xff >> (8 * row - map.shape[2]);
        let layer = Layer { neuron, drives, tiles, copies: &arena.copies, row, last, clock: clock.now };
        let of_channel = tiles.timesteps * tiles.outputs;
        let spikes = &mut arena.bits[index];
        let together = map.shape[0].div_ceil(arena.scratch.len());
        let parts = spikes.chunks_mut(together * of_channel).zip((0..).step_by(together)).zip(&mut arena.scratch);
        #[cfg(feature = "std")]
        if self.threads > 1 {
            std::thread::scope(|scope| {
                for ((spikes, first), scratch) in parts {
                    let layer = &layer;
                    scope.spawn(move || self.processor.does(Work::Channels(layer, first, spikes, scratch)));
                }
            });
            clock.passed(&mut arena.times.counting);
            return;
        }
        for ((spikes, first), scratch) in parts {
            self.processor.does(Work::Channels(&layer, first, spikes, scratch));
        }
        if let Some(now) = clock.now {
            clock.since = now();
            let times = &mut arena.times;
            for scratch in &mut arena.scratch {
                let [counting, currents, neurons] = core::mem::take(&mut scratch.ticks);
                times.counting += counting;
                times.currents += currents;
                times.neurons += neurons;
            }
        }
    }

    /// A current by loops, of each timestep, and its additions.
    fn plain(&self, arena: &Arena, current: &Current, map: &Map, additions: &mut Vec<u64>) -> Vec<Vec<f32>> {
        let shape = |of: usize| self.network.maps[of].shape;
        let of_timestep = |timestep: usize| match current {
            Current::Synapses(synapses @ Synapses { of: Source::Map(of), .. }) => {
                let numbers = at(&arena.numbers[*of], shape(*of), timestep);
                let (current, count) = currents(synapses, numbers, shape(*of), map.shape);
                additions.push(count);
                current
            }
            Current::Synapses(_) => unreachable!("the image is convolved once"),
            Current::Scaled { of, divisor, scale, bias } => {
                let numbers = at(&arena.numbers[*of], shape(*of), timestep);
                let mut current: Vec<f32> = numbers.iter().map(|number| *number as f32 / divisor).collect();
                scale_and_shift(&mut current, map.shape[0], scale, bias);
                current
            }
        };
        (0..self.network.timesteps).map(of_timestep).collect()
    }

    /// The bits of a map that is made of maps of bits.
    fn bits(&self, arena: &mut Arena, index: usize, map: &Map) {
        let (before, rest) = arena.bits.split_at_mut(index);
        let to = &mut rest[0];
        let [_, height, width] = map.shape;
        let row = row_bytes(width);
        let shape = |of: usize| self.network.maps[of].shape;
        // Rows of a map of another size, which are those of all channels and timesteps.
        let rows = |of: usize| {
            let [_, height, width] = shape(of);
            before[of].chunks_exact(height * row_bytes(width))
        };
        match &map.made {
            Made::SideBySide(maps) => {
                let mut begin = 0;
                for of in maps {
                    to[begin..][..before[*of].len()].copy_from_slice(&before[*of]);
                    begin += before[*of].len();
                }
            }
            Made::Joined { of: [a, s], by } => {
                for ((to, a), s) in to.iter_mut().zip(&before[*a]).zip(&before[*s]) {
                    *to = if *by == Join::And { a & s } else { !a & s };
                }
            }
            Made::Resized(of) => {
                let [_, from_height, from_width] = shape(*of);
                for (to, from) in to.chunks_exact_mut(height * row).zip(rows(*of)) {
                    for (to, y) in to.chunks_exact_mut(row).zip(0..) {
                        let from = &from[y * from_height / height * row_bytes(from_width)..][..row_bytes(from_width)];
                        match from_width % width {
                            0 => pick(from, 0, from_width / width, width, to),
                            _ => (0..width).for_each(|x| {
                                let at = x * from_width / width;
                                let bit = from[at / 8] >> (at % 8) & 1;
                                to[x / 8] = to[x / 8] & !(1 << (x % 8)) | bit << (x % 8);
                            }),
                        }
                    }
                }
            }
            Made::Largest { of, window } => {
                let [_, from_height, from_width] = shape(*of);
                let from_row = row_bytes(from_width);
                let mut picked = vec![0; row];
                for (to, from) in to.chunks_exact_mut(height * row).zip(rows(*of)) {
                    for (to, y) in to.chunks_exact_mut(row).zip(0..) {
                        to.fill(0);
                        for down in 0..window.size[0] {
                            let from_y = (y * window.stride[0] + down).checked_sub(window.padding[0]);
                            let Some(from_y) = from_y.filter(|y| *y < from_height) else { continue };
                            for right in 0..window.size[1] {
                                let first = right as isize - window.padding[1] as isize;
                                let from = &from[from_y * from_row..][..from_row];
                                pick(from, first, window.stride[1], width, &mut picked);
                                to.iter_mut().zip(&picked).for_each(|(to, picked)| *to |= picked);
                            }
                        }
                    }
                }
            }
            Made::Widened { of, stride, zeros: [front, _] } => {
                let from_row = row_bytes(shape(*of)[2]);
                let of_channel = self.network.timesteps * height * row;
                to.fill(0);
                for (to, from) in to[front * of_channel..].chunks_exact_mut(height * row).zip(rows(*of)) {
                    for (to, y) in to.chunks_exact_mut(row).zip(0..) {
                        pick(&from[y * stride * from_row..][..from_row], 0, *stride, width, to);
                    }
                }
            }
            Made::Spikes { .. } | Made::Sums { .. } | Made::Flat(_) => unreachable!("these are no maps of bits"),
        }
    }

    /// The logits of the timesteps that an image runs.
    fn logits(&self, arena: &Arena, input: &[f32], by_loops: &mut Vec<Vec<u64>>) -> Vec<Vec<f32>> {
        let logits = &self.network.logits;
        let outputs = logits.synapses.shape[0];
        let (mut by_timestep, mut additions) = (Vec::new(), Vec::new());
        let mut kept = vec![0.0; outputs];
        for timestep in 0..self.network.timesteps {
            let mut current = match logits.synapses.of {
                Source::Image => of_image(self.network, &logits.synapses, input, [outputs, 1, 1]),
                Source::Map(of) => {
                    let shape = self.network.maps[of].shape;
                    let numbers = at(&arena.numbers[of], shape, timestep);
                    let (current, count) = currents(&logits.synapses, numbers, shape, [outputs, 1, 1]);
                    additions.push(count);
                    current
                }
            };
            if let Some(neuron) = &logits.neuron {
                current = fire(neuron, &current, &mut kept).into_iter().map(|spike| spike as f32).collect();
            }
            by_timestep.push(counted(&current, logits.votes));
            if self.network.exit.is_some_and(|exit| stops(exit, &by_timestep)) {
                break;
            }
        }
        by_loops.push(additions);
        by_timestep
    }

    /// The sum of the numbers of a map over the first timesteps.
    fn count_spikes(&self, arena: &Arena, index: usize, timesteps: usize) -> u64 {
        let shape = self.network.maps[index].shape;
        if !self.maps[index].bits {
            let numbers = &arena.numbers[index][..timesteps * size(shape)];
            return numbers.iter().map(|number| u64::from(number.unsigned_abs())).sum();
        }
        let of_timestep = shape[1] * row_bytes(shape[2]);
        let mut count = 0;
        let of_channel = self.network.timesteps * of_timestep;
        self.processor.does(Work::Spikes(&arena.bits[index], of_channel, timesteps * of_timestep, &mut count));
        count
    }

    /// The operations of every layer over the first timesteps.
    fn count_operations(&self, arena: &Arena, by_loops: &[Vec<u64>], timesteps: usize) -> Vec<Operations> {
        let reached: Vec<Vec<u32>> = self.taps.iter().map(|tap| self.reached(arena, tap, timesteps)).collect();
        let ways = self.maps.iter().zip(&self.network.maps).flat_map(|(ready, map)| match &map.made {
            Made::Spikes { currents, .. } => currents.iter().zip(&ready.currents).collect(),
            _ => Vec::new(),
        });
        let ways = ways.filter(|(current, _)| matches!(current, Current::Synapses(_))).map(|(_, way)| Some(way));
        let all = self.network.layers().zip(ways.chain([None])).zip(by_loops);
        let count = |(((synapses, output), way), by_loops): (((&Synapses, _), Option<&Way>), &Vec<u64>)| match way {
            _ if synapses.of == Source::Image => {
                Operations { additions: 0, multiplications: pixels_reached(self.network, synapses, output) }
            }
            Some(Way::Counted { taps, kept, .. }) => {
                let products =
                    kept.iter().zip(&reached[*taps]).map(|(kept, reached)| u64::from(*kept) * u64::from(*reached));
                Operations { additions: products.sum(), multiplications: 0 }
            }
            _ => Operations { additions: by_loops.iter().take(timesteps).sum(), multiplications: 0 },
        };
        all.map(count).collect()
    }

    fn reached(&self, arena: &Arena, (taps, base): &(Taps, usize), timesteps: usize) -> Vec<u32> {
        let mut reached = Vec::new();
        self.processor.does(Work::Reached(taps, &arena.copies[*base..][..taps.bytes()], timesteps, &mut reached));
        reached
    }
}

/// The numbers of a map at a timestep.
fn at(numbers: &[i32], shape: [usize; 3], timestep: usize) -> &[i32] {
    &numbers[timestep * size(shape)..][..size(shape)]
}

/// The bits `[C, T, H, W]` of a map as numbers `[T, C, H, W]`.
fn unpack(bits: &[u8], [channels, height, width]: [usize; 3], timesteps: usize, numbers: &mut [i32]) {
    let row = row_bytes(width);
    for (t, numbers) in numbers.chunks_exact_mut(channels * height * width).enumerate() {
        for (place, numbers) in numbers.chunks_exact_mut(width).enumerate() {
            let (channel, y) = (place / height, place % height);
            let bits = &bits[((channel * timesteps + t) * height + y) * row..][..row];
            numbers.iter_mut().enumerate().for_each(|(x, number)| *number = i32::from(bits[x / 8] >> (x % 8) & 1));
        }
    }
}

/// The current of synapses on the image `[O, H, W]`: row by row, in the order of the weights as the
/// reference adds them.
fn of_image(network: &Network, synapses: &Synapses, input: &[f32], output: [usize; 3]) -> Vec<f32> {
    let Synapses { stride, padding, .. } = *synapses;
    let [_, height, width] = network.image.shape;
    let mut current = vec![0.0; size(output)];
    for_kept(synapses, |weight, channel, from, row, column| {
        let columns = inside(column, width, output[2], stride, padding);
        if columns.is_empty() {
            return;
        }
        for y in inside(row, height, output[1], stride, padding) {
            let to = &mut current[(channel * output[1] + y) * output[2]..][..output[2]][columns.clone()];
            let pixels = &input[(from * height + y * stride + row - padding) * width..][..width];
            let from = &pixels[columns.start * stride + column - padding..];
            match stride {
                1 => to.iter_mut().zip(from).for_each(|(to, pixel)| *to += weight * pixel),
                _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, pixel)| *to += weight * pixel),
            }
        }
    });
    scale_and_shift(&mut current, output[0], &synapses.scale, &synapses.bias);
    current
}

/// Pixels that the kept weights of synapses reach, all taken together.
fn pixels_reached(network: &Network, synapses: &Synapses, output: [usize; 3]) -> u64 {
    let Synapses { stride, padding, .. } = *synapses;
    let [_, height, width] = network.image.shape;
    let mut count = 0;
    for_kept(synapses, |_, _, _, row, column| {
        let rows = inside(row, height, output[1], stride, padding);
        count += (rows.len() * inside(column, width, output[2], stride, padding).len()) as u64;
    });
    count
}

/// Calls `visit` with every kept weight, its output and input channel, and its row and column.
fn for_kept(synapses: &Synapses, mut visit: impl FnMut(f32, usize, usize, usize, usize)) {
    let Synapses { shape: [outputs, within, height, width], groups, .. } = *synapses;
    for place in 0..outputs * within * height * width {
        let weight = synapses.values.get(place);
        if weight != 0.0 {
            let channel = place / (within * height * width);
            let from = channel / (outputs / groups) * within + place / (height * width) % within;
            visit(weight, channel, from, place / width % height, place % width);
        }
    }
}
