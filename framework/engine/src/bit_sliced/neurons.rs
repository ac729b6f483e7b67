//! From counts to spikes: currents in f32, membrane potentials, and bits again.
//!
//! A tile is 512 outputs, 64 bytes of a copy. Its count n, upright in planes, is turned over to
//! bytes eight planes at a time. So lane 8 i + j of a tile is number i of row j, and a row's
//! current is scale · n + bias for 64 numbers side by side. Neurons run over rows as they lie: a
//! row and a byte are a pixel, in whatever order, and the spikes of row j are bit j of the bytes.

use alloc::vec::Vec;

use super::lanes::{BYTES, Lanes, transposed};
use super::planes::{Taps, row_bytes};
use super::rows::{PLANES, Rows};
use crate::memory::{product, sum};
use crate::network::{Neuron, Reset};

/// Bytes of neurons that are worked on together.
const ABREAST: usize = 16;
/// What a timestep leaves of the potentials of 16 bytes of neurons, `[8 bits, 16 bytes]`.
pub(super) type Kept = [[f32; ABREAST]; 8];

/// Where the outputs of a map lie in tiles.
#[derive(Debug)]
pub(super) struct Tiles {
    /// Tiles that lie side by side: of a timestep, or of all of them.
    together: usize,
    /// Whether each timestep begins a tile.
    apart: bool,
    /// Bytes from a timestep of a copy to the next.
    step: usize,
    /// Bytes from a timestep to the next, and bytes of the outputs of a timestep.
    timestep: usize,
    pub(super) outputs: usize,
    /// Timesteps of a group.
    pub(super) timesteps: usize,
    /// Bytes of all tiles, and room to read on.
    row: usize,
}

impl Tiles {
    /// Of copies that all have the form of `taps`. Timesteps follow one another without a gap, or
    /// each begins a tile: what takes fewer tiles.
    pub(super) fn new(taps: &Taps) -> Tiles {
        let (timesteps, outputs) = (taps.timesteps, taps.outputs());
        let joined = product(&[timesteps - 1, taps.timestep()]).saturating_add(outputs).div_ceil(BYTES);
        let apart = outputs.div_ceil(BYTES);
        let is_apart = joined >= product(&[timesteps, apart]);
        let (count, timestep) = if is_apart { (timesteps * apart, apart * BYTES) } else { (joined, taps.timestep()) };
        let last = sum([product(&[timesteps - 1, timestep]), outputs.next_multiple_of(ABREAST)]);
        let row = product(&[count, BYTES]).max(last);
        let together = if is_apart { apart } else { joined };
        Tiles { together, apart: is_apart, step: taps.timestep(), timestep, outputs, timesteps, row }
    }

    /// Where the tiles of the first timesteps begin in a copy.
    fn offsets(&self, timesteps: usize) -> impl Iterator<Item = usize> {
        let (groups, together) = match self.apart {
            true => (timesteps, self.together),
            false => (1, ((timesteps - 1) * self.timestep + self.outputs).div_ceil(BYTES)),
        };
        (0..groups).flat_map(move |t| (0..together).map(move |tile| t * self.step + tile * BYTES))
    }

    /// [`Kept`] of a channel.
    pub(super) fn blocks(&self) -> usize {
        self.outputs.div_ceil(ABREAST)
    }

    /// Bytes of a [`Scratch`].
    pub(super) fn scratch(&self) -> usize {
        sum([product(&[32, self.row]), product(&[self.timesteps, self.outputs.next_multiple_of(ABREAST)])])
    }

    /// The first byte after the last tile of a copy.
    pub(super) fn end(&self) -> usize {
        let last = if self.apart { product(&[self.timesteps - 1, self.step]) } else { 0 };
        sum([last, product(&[self.together, BYTES])])
    }
}

/// A part of what drives the neurons of a map.
#[derive(Debug)]
pub(super) enum Drive<'a> {
    /// scale · (n / divisor) + bias, with n a row's count.
    Counted { rows: &'a Rows, divisor: f32, scale: &'a [f32], bias: &'a [f32] },
    /// Currents `[C, 8, outputs]`, the same at every timestep: of channel, bit and byte.
    Constant(&'a [f32]),
    /// Currents `[C, T, 8, outputs]`, of the timesteps to be computed.
    Varying(&'a [f32]),
}

/// Memory for a channel.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// `[8, row]`
    currents: Vec<f32>,
    /// Bytes of spikes, `[T, outputs]`, filled up.
    spikes: Vec<u8>,
    /// Ticks in sums and currents of each part of the drive.
    pub(super) drives: Vec<[u64; 2]>,
    /// Ticks in neurons.
    pub(super) neurons: u64,
}

impl Scratch {
    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        4 * self.currents.len() + self.spikes.len()
    }
}

/// The neurons of a map.
#[derive(Debug)]
pub(super) struct Layer<'a> {
    pub(super) neuron: Neuron,
    pub(super) drives: Vec<Drive<'a>>,
    pub(super) tiles: &'a Tiles,
    /// Timesteps to be computed: those of a group, or fewer in the last one.
    pub(super) timesteps: usize,
    /// The copies of all maps.
    pub(super) copies: &'a [u8],
    /// Bytes of a row of the map, and the pixels in its last byte.
    pub(super) row: usize,
    pub(super) last: u8,
    /// What tells the time, where it is measured.
    pub(super) clock: Option<fn() -> u64>,
}

impl Layer<'_> {
    /// Writes the spikes of the channels from `first` on, `[C, T, H, W]` bits. `kept` is what the
    /// group before left of their potentials, or empty where there is none, and none comes after.
    #[inline(always)]
    pub(super) fn run<L: Lanes>(&self, first: usize, spikes: &mut [u8], kept: &mut [Kept], scratch: &mut Scratch) {
        let tiles = self.tiles;
        let length = tiles.timesteps * tiles.outputs;
        scratch.currents.resize(8 * tiles.row, 0.0);
        scratch.spikes.resize(tiles.timesteps * tiles.outputs.next_multiple_of(ABREAST), 0);
        scratch.drives.resize(self.drives.len(), [0; 2]);
        let mut kept = kept.chunks_exact_mut(tiles.blocks());
        for (spikes, channel) in spikes.chunks_exact_mut(length).zip(first..) {
            self.accumulate::<L>(channel, scratch);
            let begin = self.clock.map(|clock| clock());
            let kept = kept.next().unwrap_or_default();
            match self.neuron.reset {
                Reset::Hard => self.fire::<false>(kept, scratch),
                Reset::Soft => self.fire::<true>(kept, scratch),
            }
            let padded = tiles.outputs.next_multiple_of(ABREAST);
            let fired = scratch.spikes.chunks_exact(padded).take(self.timesteps);
            for (spikes, fired) in spikes.chunks_exact_mut(tiles.outputs).zip(fired) {
                spikes.copy_from_slice(&fired[..tiles.outputs]);
            }
            if self.last != 0xff {
                spikes.chunks_exact_mut(self.row).for_each(|row| row[self.row - 1] &= self.last);
            }
            if let Some((clock, begin)) = self.clock.zip(begin) {
                scratch.neurons += clock() - begin;
            }
        }
    }

    /// The sum of all currents of a channel.
    #[inline(always)]
    fn accumulate<L: Lanes>(&self, channel: usize, scratch: &mut Scratch) {
        let Tiles { timestep, outputs, row, .. } = self.tiles;
        for (place, drive) in self.drives.iter().enumerate() {
            match drive {
                Drive::Counted { rows, divisor, scale, bias } => {
                    let (constant, planes) = rows.of(channel);
                    let of = |all: &[f32], none| all.get(channel).copied().unwrap_or(none);
                    let (scale, bias) = (of(scale, 1.0), of(bias, 0.0));
                    let current = Current { constant, planes, divisor: *divisor, scale, bias };
                    let mut total = [L::zero(); PLANES];
                    for (tile, offset) in self.tiles.offsets(self.timesteps).enumerate() {
                        let begin = self.clock.map(|clock| clock());
                        rows.count(channel, self.copies, offset, &mut total);
                        let counted = self.clock.map(|clock| clock());
                        let to = &mut scratch.currents[tile * BYTES..];
                        match place {
                            0 => current.write::<L, true>(&total, to, *row),
                            _ => current.write::<L, false>(&total, to, *row),
                        }
                        if let (Some(clock), Some(begin), Some(counted)) = (self.clock, begin, counted) {
                            scratch.drives[place][0] += counted - begin;
                            scratch.drives[place][1] += clock() - counted;
                        }
                    }
                }
                Drive::Constant(all) | Drive::Varying(all) => {
                    let begin = self.clock.map(|clock| clock());
                    let of_timestep = 8 * outputs;
                    let varies = usize::from(matches!(drive, Drive::Varying(_)));
                    let steps = if varies == 1 { self.timesteps } else { 1 };
                    let all = &all[channel * steps * of_timestep..][..steps * of_timestep];
                    for t in 0..self.timesteps {
                        let currents = all[varies * t * of_timestep..][..of_timestep].chunks_exact(*outputs);
                        for (from, to) in currents.zip(scratch.currents.chunks_exact_mut(*row)) {
                            let to = &mut to[t * timestep..][..*outputs];
                            match place {
                                0 => to.copy_from_slice(from),
                                _ => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
                            }
                        }
                    }
                    if let Some((clock, begin)) = self.clock.zip(begin) {
                        scratch.drives[place][1] += clock() - begin;
                    }
                }
            }
        }
    }

    /// Potentials and spikes of all timesteps: 16 bytes of each row at a time.
    #[inline(always)]
    fn fire<const SOFT: bool>(&self, before: &mut [Kept], scratch: &mut Scratch) {
        let Tiles { timestep, outputs, row, .. } = *self.tiles;
        let Neuron { decay, threshold, gain, .. } = self.neuron;
        let gain = gain.unwrap_or(1.0);
        let padded = outputs.next_multiple_of(ABREAST);
        for byte in (0..outputs).step_by(ABREAST) {
            let mut before = before.get_mut(byte / ABREAST);
            let mut kept = match &before {
                Some(before) => **before,
                None => Kept::default(),
            };
            for t in 0..self.timesteps {
                let mut bytes = [0u8; ABREAST];
                for (bit, kept) in kept.iter_mut().enumerate() {
                    let currents = &scratch.currents[bit * row + t * timestep + byte..];
                    let currents = currents.first_chunk::<ABREAST>().expect("rows have room to read on");
                    for lane in 0..ABREAST {
                        let u = kept[lane] + gain * currents[lane];
                        let fired = u > threshold;
                        let left = if SOFT { u - threshold } else { 0.0 };
                        kept[lane] = if fired { decay * left } else { decay * u };
                        bytes[lane] |= if fired { 1 << bit } else { 0 };
                    }
                }
                scratch.spikes[t * padded + byte..][..ABREAST].copy_from_slice(&bytes);
            }
            if let Some(before) = &mut before {
                **before = kept;
            }
        }
    }
}

/// How a count becomes a current.
struct Current {
    constant: i32,
    planes: usize,
    divisor: f32,
    scale: f32,
    bias: f32,
}

impl Current {
    /// Writes the currents of a tile to eight rows, `row` numbers apart, or adds them.
    #[inline(always)]
    fn write<L: Lanes, const FIRST: bool>(&self, total: &[L; PLANES], to: &mut [f32], row: usize) {
        let low = eight(total, 0);
        match self.planes {
            0..=8 => self.rows::<FIRST>(to, row, |j, i| u32::from(low[j][i])),
            9..=16 => {
                let high = eight(total, 8);
                self.rows::<FIRST>(to, row, |j, i| u32::from(low[j][i]) | u32::from(high[j][i]) << 8);
            }
            _ => {
                let all = [low, eight(total, 8), eight(total, 16), eight(total, 24)];
                let number =
                    |j: usize, i: usize| u32::from_le_bytes([all[0][j][i], all[1][j][i], all[2][j][i], all[3][j][i]]);
                self.rows::<FIRST>(to, row, number);
            }
        }
    }

    #[inline(always)]
    fn rows<const FIRST: bool>(&self, to: &mut [f32], row: usize, count: impl Fn(usize, usize) -> u32) {
        for j in 0..8 {
            let to = to[j * row..].first_chunk_mut::<BYTES>().expect("rows have room for a tile");
            for (i, to) in to.iter_mut().enumerate() {
                let mut number = (count(j, i) as i32 - self.constant) as f32;
                if self.divisor != 1.0 {
                    number /= self.divisor;
                }
                let current = number * self.scale + self.bias;
                *to = if FIRST { current } else { *to + current };
            }
        }
    }
}

/// Eight planes of a count turned over; zeros where it has none.
// No closure: one would be compiled without the instructions of the function around it.
#[inline(always)]
fn eight<L: Lanes>(total: &[L; PLANES], first: usize) -> [[u8; BYTES]; 8] {
    let mut planes = [L::zero(); 8];
    for (plane, from) in planes.iter_mut().zip(&total[first..]) {
        *plane = *from;
    }
    let mut bytes = [[0; BYTES]; 8];
    let turned = transposed(&planes);
    for (bytes, row) in bytes.iter_mut().zip(turned) {
        *bytes = row.bytes();
    }
    bytes
}

/// Writes numbers of pixels `[H, W]` in the order of rows and bytes, `[8, outputs]`; where no pixel
/// is, nothing is written.
pub(super) fn lay_out(pixels: &[f32], width: usize, to: &mut [f32]) {
    let (row, outputs) = (row_bytes(width), to.len() / 8);
    for (pixels, y) in pixels.chunks_exact(width).zip(0..) {
        for (bytes, byte) in pixels.chunks(8).zip(y * row..) {
            for (pixel, bit) in bytes.iter().zip(0..) {
                to[bit * outputs + byte] = *pixel;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bit_sliced::lanes::Words;
    use crate::bit_sliced::rows::Listed;

    /// Levels of -1 to -5,792, whose sum is nearly -2^24: each has a list of its own, and what fills up
    /// the lists makes the count eight times as large.
    #[test]
    fn a_sum_of_nearly_2_to_the_24_becomes_its_current() {
        // A byte whose lanes spike by turns, and silence behind it.
        let planes: Vec<u8> = [0b0101_0101; BYTES].into_iter().chain([0; BYTES]).collect();
        let levels: Vec<i16> = (1..=5792).map(|level: i16| -level).collect();
        let addresses = alloc::vec![0; levels.len()];
        let listed = Listed::new(&levels, &addresses, core::iter::once(0));
        let rows = Rows::new(&listed, BYTES as u32);
        let mut total = [Words::zero(); PLANES];
        rows.count(0, &planes, 0, &mut total);
        let (constant, planes) = rows.of(0);
        let mut currents = [0.0; 8 * BYTES];
        let current = Current { constant, planes, divisor: 1.0, scale: 1.0, bias: 0.0 };
        current.write::<Words, true>(&total, &mut currents, BYTES);
        for (row, currents) in currents.chunks(BYTES).enumerate() {
            let sum = if row % 2 == 0 { -16_776_528.0 } else { 0.0 };
            assert!(currents.iter().all(|current| *current == sum), "row {row}: {}, not {sum}", currents[0]);
        }
    }
}
