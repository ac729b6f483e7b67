//! Runs a network by counting spikes bit-sliced: 512 outputs, of several pixels and timesteps, to
//! each operation.
//!
//! A map of spikes is bits ([`planes`]). A kept weight adds one bit to each of 512 counts, which
//! stand upright in planes ([`lanes`]), and costs one full adder for all of them ([`rows`]). The
//! counts are turned over to numbers, become currents in f32, drive the neurons of all timesteps,
//! and their spikes are bits again ([`neurons`]). So the time of an image depends on the kept
//! weights, the places of the maps and the timesteps, and not on the firing rate.
//!
//! Results are to the bit those of the [`Reference`](crate::Reference): sums of whole numbers are
//! the same in any order, and f32 goes the same steps. A layer that reads sums, weights that
//! nothing quantises, or a map of a few pixels takes the reference's loops. The image is convolved
//! once, in the reference's order.
//!
//! Timesteps are computed in groups, and between two groups the arena holds the potentials. Without
//! early exit there is one group of all timesteps. With early exit, an image that stops is
//! answered, and charged, as if the timesteps after it had not run; those of later groups do not.

mod lanes;
mod memory;
mod neurons;
mod planes;
mod processor;
mod reads;
mod rows;
mod run;
mod times;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod vectors;

use alloc::vec;
use alloc::vec::Vec;

use crate::memory::{product, sum};
use crate::network::{Current, Join, Made, Map, Network, Source, Synapses, Values, Window};
use crate::outcome::{BadImage, Outcome, fits, normalised};
use lanes::BYTES;
use neurons::{Kept, Scratch, Tiles};
use planes::{Taps, row_bytes};
pub use processor::Processor;
use rows::{Listed, Rows};
pub use times::{Form, LayerTime, Times};

/// Pixels from which on a map is worth a tile.
const PIXELS: usize = 16;
/// Addresses of taps end here: with the room behind them, 32 bits hold them.
const ADDRESSES: usize = 1 << 31;

/// A network, made ready to run.
#[derive(Debug)]
pub struct Prepared<'a> {
    network: &'a Network,
    /// Timesteps that are computed together.
    group: usize,
    maps: Vec<Ready>,
    /// What is read of maps of bits, and where the copies lie.
    taps: Vec<(Taps, usize)>,
    copies: usize,
    processor: Processor,
    threads: usize,
}

/// How a map is made.
#[derive(Debug, Default)]
struct Ready {
    /// Whether its spikes are bits.
    bits: bool,
    /// Whether its numbers are read as numbers.
    numbers: bool,
    /// Of a map with neurons.
    currents: Vec<Way>,
    tiles: Option<Tiles>,
}

/// How a current is computed.
#[derive(Debug)]
enum Way {
    /// By counting, from the copies of these taps.
    Counted {
        rows: Rows,
        /// Their place in [`Prepared::taps`].
        taps: usize,
        divisor: f32,
        /// Kept weights of each input channel and tap, `[C, kh, kw]`.
        kept: Vec<u32>,
    },
    /// Of the image, once.
    Constant,
    /// By the reference's loops.
    Plain,
}

/// The memory of a run. One serves any number of images.
#[derive(Debug)]
pub struct Arena {
    /// Spikes of each map in a group of T timesteps, `[C, T, H, W]` bits; empty where a map is none
    /// of bits.
    bits: Vec<Vec<u8>>,
    /// Numbers of each map in a group, `[T, C, H, W]`; empty where nobody reads them.
    numbers: Vec<Vec<i32>>,
    /// What the last group left of the potentials of each map; empty where one group is all.
    kept: Vec<Vec<Kept>>,
    /// Currents of each layer that reads the image, in the order of rows and bytes; empty for others.
    constants: Vec<Vec<f32>>,
    copies: Vec<u8>,
    scratch: Vec<Scratch>,
    times: Times,
}

impl Arena {
    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        let bits: usize = self.bits.iter().map(Vec::len).sum();
        let numbers: usize = self.numbers.iter().map(|all| 4 * all.len()).sum();
        let kept: usize = self.kept.iter().map(|all| size_of::<Kept>() * all.len()).sum();
        let constants: usize = self.constants.iter().map(|all| 4 * all.len()).sum();
        bits + numbers + kept + constants + self.copies.len() + self.scratch.iter().map(Scratch::bytes).sum::<usize>()
    }
}

impl<'a> Prepared<'a> {
    /// Sorts the weights of a sound network into lists. Where images exit early, timesteps are
    /// computed two by two (one by one where T is 2), and otherwise all at once.
    pub fn new(network: &'a Network) -> Prepared<'a> {
        Prepared::in_groups(network, Prepared::usual_group(network))
    }

    /// Timesteps of a group where nobody says how many.
    fn usual_group(network: &Network) -> usize {
        match network.exit {
            Some(_) => network.timesteps.div_ceil(2).min(2),
            None => network.timesteps,
        }
    }

    /// As [`new`](Self::new), with so many timesteps in a group: 1 or more. An image that exits
    /// early takes the time of all groups up to its last. Small maps fill the lanes better, the
    /// more timesteps are in a group.
    pub fn in_groups(network: &'a Network, timesteps: usize) -> Prepared<'a> {
        let mut prepared = Prepared::plan(network, timesteps);
        prepared.list_weights();
        prepared
    }

    /// Uses so many threads over the output channels of a layer: 1 or more.
    #[cfg(feature = "std")]
    pub fn with_threads(self, threads: usize) -> Prepared<'a> {
        Prepared { threads: threads.max(1), ..self }
    }

    /// Uses the instructions of a processor that this one has.
    pub fn with_processor(self, processor: Processor) -> Prepared<'a> {
        match processor.is_here() {
            true => Prepared { processor, ..self },
            false => self,
        }
    }

    /// Memory for its runs.
    pub fn arena(&self) -> Arena {
        let constants = |(synapses, [channels, height, width]): (&Synapses, [usize; 3])| match synapses.of {
            Source::Image => vec![0.0; product(&[8, channels, height, row_bytes(width)])],
            Source::Map(_) => Vec::new(),
        };
        let lengths: Vec<[usize; 3]> = (0..self.maps.len()).map(|index| self.lengths(index)).collect();
        Arena {
            bits: lengths.iter().map(|[bits, ..]| vec![0; *bits]).collect(),
            numbers: lengths.iter().map(|[_, numbers, _]| vec![0; *numbers]).collect(),
            kept: lengths.iter().map(|[.., kept]| vec![Kept::default(); *kept]).collect(),
            constants: self.network.layers().map(constants).collect(),
            copies: vec![0; self.copies],
            scratch: (0..self.threads).map(|_| Scratch::default()).collect(),
            times: Times::default(),
        }
    }

    /// Bytes of bits, numbers and [`Kept`] that an arena has for a map.
    fn lengths(&self, index: usize) -> [usize; 3] {
        let (ready, [channels, height, width]) = (&self.maps[index], self.network.maps[index].shape);
        let only = |is: bool, length: &[usize]| if is { product(length) } else { 0 };
        let later = self.group < self.network.timesteps;
        [
            only(ready.bits, &[channels, self.group, height, row_bytes(width)]),
            only(ready.numbers, &[self.group, channels, height, width]),
            ready.tiles.as_ref().map_or(0, |tiles| only(later, &[channels, tiles.blocks()])),
        ]
    }

    /// Bytes of the lists of weights.
    pub fn bytes(&self) -> usize {
        let ways = self.maps.iter().flat_map(|map| &map.currents);
        ways.map(|way| if let Way::Counted { rows, .. } = way { rows.bytes() } else { 0 }).sum()
    }

    /// What the network answers for pixels from 0 to 1, `[C, H, W]`.
    ///
    /// # Errors
    ///
    /// An image of another size, or with a number that is not finite.
    pub fn run(&self, arena: &mut Arena, pixels: &[f32]) -> Result<Outcome, BadImage> {
        self.run_normalised(arena, &normalised(self.network, pixels)?)
    }

    /// What it answers for each of the images `[N, C, H, W]`, whose pixels are from 0 to 1, one after
    /// another: an image fills the lanes, so that a batch shares the arena alone.
    ///
    /// # Errors
    ///
    /// Numbers that are no whole images, or one that is not finite, at its place among all of them.
    pub fn run_batch(&self, arena: &mut Arena, pixels: &[f32]) -> Result<Vec<Outcome>, BadImage> {
        let shape = self.network.image.shape;
        let of_one = shape.iter().product::<usize>().max(1);
        let last = pixels.len() % of_one;
        if last != 0 {
            return Err(BadImage::Size { shape, numbers: last });
        }
        let answer = |(number, image)| {
            self.run(arena, image).map_err(|bad| match bad {
                BadImage::NotFinite { place } => BadImage::NotFinite { place: number * of_one + place },
                size => size,
            })
        };
        pixels.chunks_exact(of_one).enumerate().map(answer).collect()
    }

    /// What it answers for an input that is normalised already, `[C, H, W]`.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_normalised(&self, arena: &mut Arena, input: &[f32]) -> Result<Outcome, BadImage> {
        fits(self.network, input)?;
        Ok(self.run_by(arena, input, None))
    }

    /// As [`run_normalised`](Self::run_normalised), and where the time went, by a clock whose
    /// numbers never fall. Another run asks no clock.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_timed(
        &self,
        arena: &mut Arena,
        input: &[f32],
        clock: fn() -> u64,
    ) -> Result<(Outcome, Times), BadImage> {
        fits(self.network, input)?;
        let outcome = self.run_by(arena, input, Some(clock));
        Ok((outcome, core::mem::take(&mut arena.times)))
    }

    /// How the currents of each layer are computed, in the order of [`Network::layers`].
    pub fn forms(&self) -> Vec<Form> {
        let form = |way: &Way| match way {
            Way::Counted { rows, .. } if rows.by_magnitude() => Form::ByMagnitude,
            Way::Counted { .. } => Form::ByBit,
            Way::Constant => Form::Image,
            Way::Plain => Form::Loops,
        };
        self.ways().map(form).chain([Form::Loops]).collect()
    }

    /// The way of each layer but that of the logits.
    fn ways(&self) -> impl Iterator<Item = &Way> {
        let maps = self.maps.iter().zip(&self.network.maps);
        let all = maps.flat_map(|(ready, map)| map.made.currents().iter().zip(&ready.currents));
        all.filter(|(current, _)| matches!(current, Current::Synapses(_))).map(|(_, way)| way)
    }
}

/// Preparation.
impl<'a> Prepared<'a> {
    /// Everything but the lists of weights.
    fn plan(network: &'a Network, timesteps: usize) -> Prepared<'a> {
        let mut plan = Prepared {
            network,
            group: timesteps.clamp(1, network.timesteps),
            maps: network.maps.iter().map(|_| Ready::default()).collect(),
            taps: Vec::new(),
            copies: 0,
            processor: Processor::best(),
            threads: 1,
        };
        for index in 0..network.maps.len() {
            plan.maps[index].bits = plan.is_of_bits(index);
            plan.prepare(index);
        }
        if let Source::Map(of) = network.logits.synapses.of {
            plan.maps[of].numbers = true;
        }
        // Copies end with zeros that as many tiles read as the largest map has, and with room.
        let reach = plan.maps.iter().filter_map(|map| map.tiles.as_ref()).map(Tiles::end).max().unwrap_or(0);
        plan.copies = sum([plan.end(), reach, BYTES]);
        plan
    }

    /// Sorts the weights into lists.
    fn list_weights(&mut self) {
        let silence = self.end() as u32;
        for (ready, map) in self.maps.iter_mut().zip(&self.network.maps) {
            for (way, current) in ready.currents.iter_mut().zip(map.made.currents()) {
                if let Way::Counted { rows, taps, kept, .. } = way {
                    let (taps, base) = &self.taps[*taps];
                    *rows = listed(current, taps, *base, silence);
                    *kept = kept_weights(current, taps);
                }
            }
        }
    }

    /// Whether a map's numbers are spikes, and it is large enough to be kept as bits.
    fn is_of_bits(&self, index: usize) -> bool {
        let map = &self.network.maps[index];
        let bits = |of: &usize| self.maps[*of].bits;
        match &map.made {
            Made::Spikes { .. } => true,
            Made::SideBySide(maps) => maps.iter().all(bits),
            Made::Resized(of) | Made::Largest { of, .. } | Made::Widened { of, .. } => bits(of),
            Made::Joined { of, by: Join::And | Join::Iand } => of.iter().all(bits),
            Made::Joined { by: Join::Add, .. } | Made::Sums { .. } | Made::Flat(_) => false,
        }
    }

    fn prepare(&mut self, index: usize) {
        let network: &'a Network = self.network;
        let map = &network.maps[index];
        let Made::Spikes { currents, .. } = &map.made else {
            if !self.maps[index].bits {
                self.maps[index].numbers = true;
                map.made.read().iter().for_each(|of| self.maps[*of].numbers = true);
            }
            return;
        };
        let mut wanted: Vec<Option<Taps>> = currents.iter().map(|current| self.taps(map, current)).collect();
        let rows = wanted.iter().flatten().map(Taps::rows_read).max().unwrap_or(map.shape[1]);
        wanted.iter_mut().flatten().for_each(|taps| taps.rows = rows);
        let form = Taps {
            of: index,
            input: map.shape,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
            output: [map.shape[1], map.shape[2]],
            timesteps: self.group,
            rows,
        };
        self.maps[index].tiles = Some(Tiles::new(&form));
        for (current, taps) in currents.iter().zip(&wanted) {
            let way = self.way(current, taps);
            if let (Way::Plain, Current::Synapses(Synapses { of: Source::Map(of), .. }) | Current::Scaled { of, .. }) =
                (&way, current)
            {
                self.maps[*of].numbers = true;
            }
            self.maps[index].currents.push(way);
        }
    }

    /// How a current reads bits, where it can be counted.
    fn taps(&self, map: &Map, current: &Current) -> Option<Taps> {
        let output = [map.shape[1], map.shape[2]];
        let form = |of: usize, window: Window| Taps {
            of,
            input: self.network.maps[of].shape,
            kernel: window.size,
            stride: window.stride,
            padding: window.padding,
            output,
            timesteps: self.group,
            rows: 0,
        };
        if output[0] * output[1] < PIXELS {
            return None;
        }
        let taps = match current {
            Current::Synapses(Synapses { of: Source::Map(of), shape, stride, padding, values, .. }) => {
                let window = Window { size: [shape[2], shape[3]], stride: [*stride; 2], padding: [*padding; 2] };
                matches!(values, Values::Levels(_)).then_some(form(*of, window))
            }
            Current::Synapses(_) => None,
            Current::Scaled { of, .. } => Some(match &self.network.maps[*of].made {
                Made::Sums { of, window } => form(*of, *window),
                _ => form(*of, Window { size: [1; 2], stride: [1; 2], padding: [0; 2] }),
            }),
        };
        taps.filter(|taps| self.maps[taps.of].bits)
    }

    fn way(&mut self, current: &Current, taps: &Option<Taps>) -> Way {
        if let Current::Synapses(Synapses { of: Source::Image, .. }) = current {
            return Way::Constant;
        }
        let Some(taps) = taps else { return Way::Plain };
        let (place, base) = match self.taps.iter().position(|(other, _)| other == taps) {
            Some(place) => (place, self.taps[place].1),
            None => (self.taps.len(), self.end()),
        };
        let end = base.saturating_add(taps.bytes());
        if end > ADDRESSES {
            return Way::Plain;
        }
        if place == self.taps.len() {
            self.taps.push((*taps, base));
        }
        let divisor = if let Current::Scaled { divisor, .. } = current { *divisor } else { 1.0 };
        Way::Counted { rows: Rows::default(), taps: place, divisor, kept: Vec::new() }
    }

    /// Where the copies end.
    fn end(&self) -> usize {
        self.taps.last().map_or(0, |(taps, base)| base + taps.bytes())
    }
}

/// The kept weights of a current as lists of taps, which lie from `base` on.
fn listed(current: &Current, taps: &Taps, base: usize, silence: u32) -> Rows {
    let [height, width] = taps.kernel;
    let ones;
    let ([outputs, within], groups, levels) = match current {
        Current::Synapses(synapses) => ([synapses.shape[0], synapses.shape[1]], synapses.groups, levels(synapses)),
        // A group of its own for each channel.
        Current::Scaled { .. } => {
            ones = vec![1; taps.input[0] * height * width];
            ([taps.input[0], 1], taps.input[0], &ones[..])
        }
    };
    let mut addresses = Vec::with_capacity(within * height * width);
    for (channel, row) in (0..within).flat_map(|channel| (0..height).map(move |row| (channel, row))) {
        addresses.extend((0..width).map(|column| (base + taps.address(channel, row, column)) as u32));
    }
    let group = |output| taps.address(output / (outputs / groups) * within, 0, 0) as u32;
    Rows::new(&Listed::new(levels, &addresses, (0..outputs).map(group)), silence)
}

/// The levels of synapses that are counted.
fn levels(synapses: &Synapses) -> &[i16] {
    let Values::Levels(levels) = &synapses.values else { unreachable!("levels are counted") };
    levels
}

/// Kept weights of each input channel and tap; none where no weight is.
fn kept_weights(current: &Current, taps: &Taps) -> Vec<u32> {
    let Current::Synapses(synapses) = current else { return Vec::new() };
    let mut kept = vec![0; taps.input[0] * taps.kernel[0] * taps.kernel[1]];
    let [outputs, within, ..] = synapses.shape;
    let of_output = within * taps.kernel[0] * taps.kernel[1];
    for (output, levels) in levels(synapses).chunks_exact(of_output).enumerate() {
        let of_group = &mut kept[output / (outputs / synapses.groups) * of_output..][..of_output];
        of_group.iter_mut().zip(levels).for_each(|(kept, level)| *kept += u32::from(*level != 0));
    }
    kept
}

impl Made {
    /// What drives the neurons of a map; nothing where it has none.
    fn currents(&self) -> &[Current] {
        match self {
            Made::Spikes { currents, .. } => currents,
            _ => &[],
        }
    }

    /// The maps that a map without neurons reads.
    fn read(&self) -> &[usize] {
        match self {
            Made::Spikes { .. } => &[],
            Made::SideBySide(maps) => maps,
            Made::Joined { of, .. } => of,
            Made::Resized(of) | Made::Largest { of, .. } | Made::Sums { of, .. } => core::slice::from_ref(of),
            Made::Widened { of, .. } | Made::Flat(of) => core::slice::from_ref(of),
        }
    }
}
