//! An image through a prepared network.

use alloc::vec;
use alloc::vec::Vec;

use super::neurons::{Drive, Kept, Layer, lay_out};
use super::planes::{Taps, halves, pick, row_bytes};
use super::processor::Work;
use super::times::{Clock, Times};
use super::{Arena, Prepared, Way};
use crate::network::{Current, Join, Made, Map, Network, Neuron, Source, Synapses};
use crate::outcome::{Operations, Outcome, counted, largest, mean, stops};
use crate::reference::{currents, fire, inside, join, scale_and_shift, scale_and_shift_all, size};

/// Timesteps that are computed together.
struct Group {
    timesteps: usize,
    /// Additions of the layers so far that loops compute, at each timestep; empty for others.
    by_loops: Vec<Vec<u64>>,
}

impl Prepared<'_> {
    /// Runs an input of the right size.
    pub(super) fn run_by(&self, arena: &mut Arena, input: &[f32], now: Option<fn() -> u64>) -> Outcome {
        let network = self.network;
        let mut clock = Clock::new(now);
        let mut layers = self.multiplications();
        arena.times = Times::of_layers(layers.len());
        arena.kept.iter_mut().flatten().for_each(|kept| *kept = Kept::default());
        self.constants(arena, input, &mut clock);
        let mut by_timestep: Vec<Vec<f32>> = Vec::new();
        let mut kept = vec![0.0; network.logits.synapses.shape[0]];
        let mut spikes = vec![0; network.maps.len()];
        for first in (0..network.timesteps).step_by(self.group) {
            let timesteps = self.group.min(network.timesteps - first);
            let mut group = Group { timesteps, by_loops: Vec::new() };
            for index in 0..network.maps.len() {
                self.map(arena, index, &mut group, &mut clock);
            }
            let stops = self.logits(arena, &mut group, &mut by_timestep, &mut kept);
            clock.passed(&mut arena.times.layers[layers.len() - 1].sums);
            let ran = by_timestep.len() - first;
            for (index, spikes) in spikes.iter_mut().enumerate() {
                *spikes += self.count_spikes(arena, index, ran);
            }
            self.count_additions(arena, &group.by_loops, ran, &mut layers);
            clock.passed(&mut arena.times.counts);
            if stops {
                break;
            }
        }
        let logits = mean(&by_timestep);
        Outcome {
            class: largest(&logits),
            logits,
            timesteps: by_timestep.len(),
            logits_by_timestep: by_timestep,
            spikes,
            layers,
        }
    }

    /// The currents of the image, of each layer that reads it.
    fn constants(&self, arena: &mut Arena, input: &[f32], clock: &mut Clock) {
        let Arena { constants, times, .. } = arena;
        for ((synapses, output), (constant, time)) in
            self.network.layers().zip(constants.iter_mut().zip(&mut times.layers))
        {
            if synapses.of == Source::Image {
                of_image(self.network, synapses, input, output, constant);
                clock.passed(&mut time.sums);
            }
        }
    }

    /// A map at the timesteps of a group, and what is read of it.
    fn map(&self, arena: &mut Arena, index: usize, group: &mut Group, clock: &mut Clock) {
        let (network, map) = (self.network, &self.network.maps[index]);
        match &map.made {
            Made::Spikes { neuron, currents } => self.spikes(arena, index, (*neuron, currents), group, clock),
            _ if self.maps[index].bits => self.bits(arena, index, map),
            _ => {
                let (before, rest) = arena.numbers.split_at_mut(index);
                let numbers = rest[0].chunks_exact_mut(size(map.shape)).take(group.timesteps);
                for (timestep, numbers) in numbers.enumerate() {
                    let read = |of: usize| at(&before[of], network.maps[of].shape, timestep);
                    join(network, map, read, numbers);
                }
            }
        }
        if self.maps[index].numbers && self.maps[index].bits {
            unpack(&arena.bits[index], map.shape, self.group, &mut arena.numbers[index]);
        }
        for (taps, base) in self.taps.iter().filter(|(taps, _)| taps.of == index) {
            let copies = &mut arena.copies[*base..][..taps.bytes()];
            self.processor.does(Work::Copies(taps, &arena.bits[index], copies));
        }
        clock.passed(&mut arena.times.maps);
    }

    /// The spikes of a map with neurons.
    fn spikes(
        &self,
        arena: &mut Arena,
        index: usize,
        (neuron, currents): (Neuron, &[Current]),
        group: &mut Group,
        clock: &mut Clock,
    ) {
        let (map, ready) = (&self.network.maps[index], &self.maps[index]);
        let tiles = ready.tiles.as_ref().expect("neurons have tiles");
        // The layer of each current, and currents that loops compute, in the order of rows and
        // bytes.
        let (mut layers, mut varying) = (Vec::new(), Vec::new());
        for (current, way) in currents.iter().zip(&ready.currents) {
            let mut additions = Vec::new();
            let layer = matches!(current, Current::Synapses(_)).then_some(group.by_loops.len());
            varying.push(match way {
                Way::Counted { .. } | Way::Constant => Vec::new(),
                Way::Plain => {
                    let current = self.plain(arena, current, map, group.timesteps, &mut additions);
                    clock.passed(match layer {
                        Some(layer) => &mut arena.times.layers[layer].sums,
                        None => &mut arena.times.scaled,
                    });
                    current
                }
            });
            layers.push(layer);
            if layer.is_some() {
                group.by_loops.push(additions);
            }
        }
        let mut drives: Vec<Drive> = Vec::new();
        for (place, (current, way)) in currents.iter().zip(&ready.currents).enumerate() {
            drives.push(match (way, current) {
                (Way::Counted { rows, divisor, .. }, Current::Synapses(Synapses { scale, bias, .. }))
                | (Way::Counted { rows, divisor, .. }, Current::Scaled { scale, bias, .. }) => {
                    Drive::Counted { rows, divisor: *divisor, scale, bias }
                }
                (Way::Constant, _) => {
                    Drive::Constant(&arena.constants[layers[place].expect("synapses read the image")])
                }
                (Way::Plain, _) => Drive::Varying(&varying[place]),
            });
        }
        let row = row_bytes(map.shape[2]);
        let last = 0xff >> (8 * row - map.shape[2]);
        let (timesteps, copies) = (group.timesteps, &arena.copies);
        let layer = Layer { neuron, drives, tiles, timesteps, copies, row, last, clock: clock.now };
        let together = map.shape[0].div_ceil(arena.scratch.len());
        let spikes = arena.bits[index].chunks_mut(together * tiles.timesteps * tiles.outputs);
        let mut kept = arena.kept[index].chunks_mut(together * tiles.blocks());
        let parts = spikes.zip((0..).step_by(together)).zip(&mut arena.scratch);
        let parts = parts.map(|((spikes, first), scratch)| {
            Work::Channels(&layer, first, spikes, kept.next().unwrap_or_default(), scratch)
        });
        self.all(parts);
        for scratch in &mut arena.scratch {
            for ([sums, turned], layer) in scratch.drives.drain(..).zip(&layers) {
                match layer.map(|layer| &mut arena.times.layers[layer]) {
                    Some(time) => (time.sums, time.currents) = (time.sums + sums, time.currents + turned),
                    None => arena.times.scaled += sums + turned,
                }
            }
            arena.times.neurons += core::mem::take(&mut scratch.neurons);
        }
        clock.forget();
    }

    /// Does the parts of a layer, each on a thread of its own where there are several.
    fn all<'b>(&self, parts: impl Iterator<Item = Work<'b>>) {
        #[cfg(feature = "std")]
        if self.threads > 1 {
            return std::thread::scope(|scope| {
                parts.for_each(|part| drop(scope.spawn(move || self.processor.does(part))));
            });
        }
        parts.for_each(|part| self.processor.does(part));
    }

    /// A current by loops, of each timestep, in the order of rows and bytes, and its additions.
    fn plain(
        &self,
        arena: &Arena,
        current: &Current,
        map: &Map,
        timesteps: usize,
        additions: &mut Vec<u64>,
    ) -> Vec<f32> {
        let shape = |of: usize| self.network.maps[of].shape;
        let mut of_timestep = |timestep: usize| match current {
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
                scale_and_shift_all(&mut current, map.shape[0], scale, bias);
                current
            }
        };
        let [channels, height, width] = map.shape;
        let laid_out = 8 * height * row_bytes(width);
        let mut all = vec![0.0; channels * timesteps * laid_out];
        for timestep in 0..timesteps {
            let current = of_timestep(timestep);
            let to = all.chunks_exact_mut(laid_out).skip(timestep).step_by(timesteps);
            for (channel, to) in current.chunks_exact(height * width).zip(to) {
                lay_out(channel, width, to);
            }
        }
        all
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
            Made::Resized(of) if halves(shape(*of), map.shape) => {
                self.processor.does(Work::Halved(&before[*of], to, width));
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
                let of_channel = self.group * height * row;
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

    /// The logits of the timesteps of a group that an image runs, and whether it stops there.
    fn logits(&self, arena: &Arena, group: &mut Group, by_timestep: &mut Vec<Vec<f32>>, kept: &mut [f32]) -> bool {
        let logits = &self.network.logits;
        let Source::Map(of) = logits.synapses.of else { unreachable!("the logits read a map") };
        let (shape, outputs) = (self.network.maps[of].shape, logits.synapses.shape[0]);
        let (mut additions, mut stopped) = (Vec::new(), false);
        for timestep in 0..group.timesteps {
            let numbers = at(&arena.numbers[of], shape, timestep);
            let (mut current, count) = currents(&logits.synapses, numbers, shape, [outputs, 1, 1]);
            additions.push(count);
            if let Some(neuron) = &logits.neuron {
                current = fire(neuron, &current, kept).into_iter().map(|spike| spike as f32).collect();
            }
            by_timestep.push(counted(&current, logits.votes));
            stopped = self.network.exit.is_some_and(|exit| stops(exit, by_timestep));
            if stopped {
                break;
            }
        }
        group.by_loops.push(additions);
        stopped
    }

    /// The sum of the numbers of a map over the first timesteps of a group.
    fn count_spikes(&self, arena: &Arena, index: usize, timesteps: usize) -> u64 {
        let shape = self.network.maps[index].shape;
        if !self.maps[index].bits {
            let numbers = &arena.numbers[index][..timesteps * size(shape)];
            return numbers.iter().map(|number| u64::from(number.unsigned_abs())).sum();
        }
        let of_timestep = shape[1] * row_bytes(shape[2]);
        let mut count = 0;
        let of_channel = self.group * of_timestep;
        self.processor.does(Work::Spikes(&arena.bits[index], of_channel, timesteps * of_timestep, &mut count));
        count
    }

    /// The operations of every layer that the image alone decides.
    fn multiplications(&self) -> Vec<Operations> {
        let of_layer = |(synapses, output): (&Synapses, [usize; 3])| match synapses.of {
            Source::Image => {
                Operations { additions: 0, multiplications: pixels_reached(self.network, synapses, output) }
            }
            Source::Map(_) => Operations::default(),
        };
        self.network.layers().map(of_layer).collect()
    }

    /// Adds the additions of every layer over the first timesteps of a group.
    fn count_additions(&self, arena: &Arena, by_loops: &[Vec<u64>], timesteps: usize, layers: &mut [Operations]) {
        let reached: Vec<Vec<u64>> = self.taps.iter().map(|tap| self.reached(arena, tap, timesteps)).collect();
        let ways = self.ways().map(Some).chain([None]);
        for ((layer, way), by_loops) in layers.iter_mut().zip(ways).zip(by_loops) {
            layer.additions += match way {
                Some(Way::Counted { taps, kept, .. }) => {
                    kept.iter().zip(&reached[*taps]).map(|(kept, reached)| u64::from(*kept) * reached).sum::<u64>()
                }
                _ => by_loops.iter().take(timesteps).sum(),
            };
        }
    }

    fn reached(&self, arena: &Arena, (taps, base): &(Taps, usize), timesteps: usize) -> Vec<u64> {
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

/// Writes the current of synapses on the image in the order of rows and bytes: for each channel the
/// weights in the order in which the reference adds them.
fn of_image(network: &Network, synapses: &Synapses, input: &[f32], [_, down, across]: [usize; 3], to: &mut [f32]) {
    let Synapses { stride, padding, .. } = *synapses;
    let [_, height, width] = network.image.shape;
    let mut current = vec![0.0; down * across];
    for (channel, to) in to.chunks_exact_mut(8 * down * row_bytes(across)).enumerate() {
        current.fill(0.0);
        for_kept(synapses, channel, |weight, from, row, column| {
            let columns = inside(column, width, across, stride, padding);
            if columns.is_empty() {
                return;
            }
            for y in inside(row, height, down, stride, padding) {
                let to = &mut current[y * across..][..across][columns.clone()];
                let pixels = &input[(from * height + y * stride + row - padding) * width..][..width];
                let from = &pixels[columns.start * stride + column - padding..];
                match stride {
                    1 => to.iter_mut().zip(from).for_each(|(to, pixel)| *to += weight * pixel),
                    _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, pixel)| *to += weight * pixel),
                }
            }
        });
        scale_and_shift(&mut current, synapses.scale.get(channel), synapses.bias.get(channel));
        lay_out(&current, across, to);
    }
}

/// Pixels that the kept weights of synapses reach, all taken together.
fn pixels_reached(network: &Network, synapses: &Synapses, output: [usize; 3]) -> u64 {
    let Synapses { stride, padding, .. } = *synapses;
    let [_, height, width] = network.image.shape;
    let mut count = 0;
    for channel in 0..output[0] {
        for_kept(synapses, channel, |_, _, row, column| {
            let rows = inside(row, height, output[1], stride, padding);
            count += (rows.len() * inside(column, width, output[2], stride, padding).len()) as u64;
        });
    }
    count
}

/// Calls `visit` with every kept weight of an output channel, its input channel, row and column.
fn for_kept(synapses: &Synapses, channel: usize, mut visit: impl FnMut(f32, usize, usize, usize)) {
    let Synapses { shape: [outputs, within, height, width], groups, .. } = *synapses;
    let first = channel / (outputs / groups) * within;
    for place in 0..within * height * width {
        let weight = synapses.values.get(channel * within * height * width + place);
        if weight != 0.0 {
            visit(weight, first + place / (height * width), place / width % height, place % width);
        }
    }
}
