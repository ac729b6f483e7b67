//! Maps of spikes as bits, and copies of them that are moved, so that a tap of a kernel is an
//! address.
//!
//! A map `[C, H, W]` of T timesteps is bits `[C][T][H][W]`, each row filled up with zeros to whole
//! bytes; pixel x is bit x mod 8 of byte x / 8.
//!
//! A convolution reads its map through [`Taps`]: for each channel, column of the kernel and phase
//! of its rows a copy `[T][R][W']` in the form of the output, W' pixels wide,
//!
//! copy(t, r, x) = map(t, r · stride + phase - padding, x · stride + column - padding)
//!
//! with zeros outside of the map. With r = y + row div stride and phase = row mod stride, output
//! (y, x) finds its tap (row, column) in row y + row div stride: as many bytes further for every
//! output, so that 512 neighbouring outputs read 64 bytes at one address. R = H' + (rows of the
//! kernel - 1) div stride. Outputs in rows from H' on are computed along with the others, and left.

use alloc::vec::Vec;

use crate::memory::product;

/// Bytes of a row.
pub(super) fn row_bytes(width: usize) -> usize {
    width.div_ceil(8)
}

/// How a layer reads a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taps {
    /// The map.
    pub(super) of: usize,
    /// Channels, height and width of the map.
    pub(super) input: [usize; 3],
    /// Rows and columns of the kernel.
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
    /// Height and width of the output.
    pub(super) output: [usize; 2],
    /// Of a group.
    pub(super) timesteps: usize,
    /// R: [`rows_read`](Self::rows_read), or more where another layer of the neurons reads more.
    pub(super) rows: usize,
}

impl Taps {
    fn phases(&self) -> usize {
        self.stride[0].min(self.kernel[0])
    }

    /// Rows of a copy that the taps of a timestep reach.
    pub(super) fn rows_read(&self) -> usize {
        self.output[0] + (self.kernel[0] - 1) / self.stride[0]
    }

    /// Bytes of a timestep.
    pub(super) fn timestep(&self) -> usize {
        self.rows * row_bytes(self.output[1])
    }

    /// Bytes of the outputs of a timestep.
    pub(super) fn outputs(&self) -> usize {
        self.output[0] * row_bytes(self.output[1])
    }

    /// Bytes of a copy.
    fn plane(&self) -> usize {
        self.timesteps * self.timestep()
    }

    /// Bytes of all copies, or the largest number.
    pub(super) fn bytes(&self) -> usize {
        product(&[self.input[0], self.kernel[1], self.phases(), self.timesteps, self.timestep()])
    }

    /// Where the tap for the first output lies.
    pub(super) fn address(&self, channel: usize, row: usize, column: usize) -> usize {
        let copy = (channel * self.kernel[1] + column) * self.phases() + row % self.stride[0];
        copy * self.plane() + row / self.stride[0] * row_bytes(self.output[1])
    }

    /// Writes the copies of `map` to `copies`, which held copies of these taps or zeros before.
    #[inline(always)]
    pub(super) fn fill(&self, map: &[u8], copies: &mut [u8]) {
        let [channels, height, width] = self.input;
        let of_map = self.timesteps * height * row_bytes(width);
        let of_channel = self.kernel[1] * self.phases() * self.plane();
        for (map, copies) in map.chunks_exact(of_map).zip(copies.chunks_exact_mut(of_channel)).take(channels) {
            for (copy, place) in copies.chunks_exact_mut(self.plane()).zip(0..) {
                let (column, phase) = (place / self.phases(), place % self.phases());
                self.copy(map, copy, column, phase);
            }
        }
    }

    #[inline(always)]
    fn copy(&self, map: &[u8], copy: &mut [u8], column: usize, phase: usize) {
        let [_, height, width] = self.input;
        let (row, out_row) = (row_bytes(width), row_bytes(self.output[1]));
        let shift = column as isize - self.padding[1] as isize;
        // Rows that are a word each, or a part of one, are moved as they stand.
        let whole = self.stride == [1, 1] && width == self.output[1] && matches!(width, 8 | 16 | 32 | 64);
        let words = whole && height * row % 8 == 0 && shift.unsigned_abs() < width;
        for (map, copy) in map.chunks_exact(height * row).zip(copy.chunks_exact_mut(self.timestep())) {
            if words {
                let begin = (self.padding[0] * row).min(copy.len());
                moved(map, &mut copy[begin..], shift, width);
                continue;
            }
            for (copy, y) in copy.chunks_exact_mut(out_row).zip(0..) {
                let from = (y * self.stride[0] + phase).checked_sub(self.padding[0]).filter(|from| *from < height);
                if let Some(from) = from {
                    pick(&map[from * row..][..row], shift, self.stride[1], self.output[1], copy);
                }
            }
        }
    }
}

/// Moves rows of so many pixels by `by` towards their beginning. A word has one of them or several:
/// pixels that come from another row are 0.
#[inline(always)]
fn moved(rows: &[u8], to: &mut [u8], by: isize, width: usize) {
    let (left, right) = (by.max(0) as u32, (-by).max(0) as u32);
    let row = u64::MAX >> (64 - width);
    let mut mask = 0;
    for first in (0..64).step_by(width) {
        mask |= (row >> left << right & row) << first;
    }
    for (row, to) in rows.chunks_exact(8).zip(to.chunks_exact_mut(8)) {
        to.copy_from_slice(&(word(row) >> left << right & mask).to_le_bytes());
    }
}

/// Whether [`halve`] takes a map of this size to one of another.
pub(super) fn halves([_, from_height, from_width]: [usize; 3], [_, height, width]: [usize; 3]) -> bool {
    [from_height, from_width] == [2 * height, 2 * width] && matches!(width, 8 | 16) && height % 4 == 0
}

/// Writes every other pixel of every other row, of 8 or 16 pixels.
#[inline(always)]
pub(super) fn halve(map: &[u8], to: &mut [u8], width: usize) {
    for (from, to) in map.chunks_exact(8).zip(to.chunks_exact_mut(2)) {
        let pixels = evens(word(from));
        // A word has two rows of 32 pixels, or four of 16.
        let rows = if width == 16 { [pixels, pixels >> 8] } else { [pixels, pixels >> 16] };
        to.copy_from_slice(&rows.map(|row| row as u8));
    }
}

/// Eight bytes as a word.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes"))
}

/// Writes `count` pixels of a row, from pixel `from` on and `stride` apart, to the head of `to`;
/// what lies outside of the row is 0.
#[inline(always)]
pub(super) fn pick(row: &[u8], from: isize, stride: usize, count: usize, to: &mut [u8]) {
    for (to, place) in to.chunks_mut(8).zip((0..count).step_by(64)) {
        let (from, there) = (from + (place * stride) as isize, count - place);
        let word = match stride {
            1 => window(row, from),
            2 if there <= 32 => evens(window(row, from)),
            2 => evens(window(row, from)) | evens(window(row, from + 64)) << 32,
            _ => (0..there.min(64)).map(|pixel| (window(row, from + (pixel * stride) as isize) & 1) << pixel).sum(),
        };
        let word = if there < 64 { word & ((1 << there) - 1) } else { word };
        let bytes = to.len();
        to.copy_from_slice(&word.to_le_bytes()[..bytes]);
    }
}

/// 64 pixels from pixel `from` on; 0 outside of the row.
#[inline(always)]
fn window(row: &[u8], from: isize) -> u64 {
    let byte = |at: isize| usize::try_from(at).ok().and_then(|at| row.get(at)).copied().unwrap_or(0);
    let (first, bit) = (from.div_euclid(8), from.rem_euclid(8) as u32);
    if row.len() <= 8 {
        let mut bytes = [0; 8];
        bytes[..row.len()].copy_from_slice(row);
        let word = u64::from_le_bytes(bytes);
        return match from {
            0..64 => word >> from,
            -63..0 => word << -from,
            _ => 0,
        };
    }
    let low = u64::from_le_bytes(core::array::from_fn(|at| byte(first + at as isize)));
    let high = u64::from(byte(first + 8));
    low >> bit | high.checked_shl(64 - bit).unwrap_or(0)
}

/// The bits at even places, side by side.
#[inline(always)]
fn evens(word: u64) -> u64 {
    let mut word = word & 0x5555_5555_5555_5555;
    for (by, mask) in [
        (1, 0x3333_3333_3333_3333u64),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        word = (word | word >> by) & mask;
    }
    word
}

/// The spikes in some bytes.
#[inline(always)]
pub(super) fn spikes(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    let rest: u64 = words.remainder().iter().map(|byte| u64::from(byte.count_ones())).sum();
    rest + words.map(|bytes| u64::from(word(bytes).count_ones())).sum::<u64>()
}

impl Taps {
    /// The inputs inside of the map that spike, for each channel and tap of the kernel, over the
    /// first `timesteps`.
    #[inline(always)]
    pub(super) fn reached(&self, copies: &[u8], timesteps: usize) -> Vec<u64> {
        let [rows, columns] = self.kernel;
        let mut reached = alloc::vec![0; self.input[0] * rows * columns];
        for (channel, reached) in reached.chunks_exact_mut(rows * columns).enumerate() {
            for (tap, reached) in reached.iter_mut().enumerate() {
                let at = self.address(channel, tap / columns, tap % columns);
                for timestep in 0..timesteps {
                    *reached += spikes(&copies[at + timestep * self.timestep()..][..self.outputs()]);
                }
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn bit(row: &[u8], x: isize) -> bool {
        usize::try_from(x).ok().and_then(|x| row.get(x / 8).map(|byte| byte >> (x % 8) & 1 == 1)).unwrap_or(false)
    }

    #[test]
    fn pixels_are_picked_at_any_place_and_stride() {
        for length in [1usize, 3, 8, 9, 21] {
            let row: Vec<u8> = (0..length).map(|byte| (byte * 89 + 57) as u8).collect();
            for (from, stride) in [(0, 1), (-1, 1), (5, 1), (-70, 1), (-3, 2), (1, 2), (2, 3), (-9, 5)] {
                let count = 8 * length + 3;
                let mut to = vec![0xff; row_bytes(count)];
                pick(&row, from, stride, count, &mut to);
                for x in 0..8 * to.len() {
                    let want = x < count && bit(&row, from + (x * stride) as isize);
                    assert_eq!(bit(&to, x as isize), want, "{length} bytes, from {from} by {stride}, pixel {x}");
                }
            }
        }
    }

    /// Two channels of a map, against what is picked of every other row.
    #[test]
    fn a_map_is_halved_as_rows_of_any_size_are() {
        for (height, width) in [(4, 8), (8, 8), (4, 16), (16, 16)] {
            let (row, from_row) = (row_bytes(width), row_bytes(2 * width));
            assert!(halves([2, 2 * height, 2 * width], [2, height, width]));
            let map: Vec<u8> = (0..2 * 2 * height * from_row).map(|at| (at * at * 31 + at * 7 + 90) as u8).collect();
            let mut halved = vec![0; 2 * height * row];
            halve(&map, &mut halved, width);
            let mut picked = vec![0; row];
            for (halved, y) in halved.chunks(row).zip(0..) {
                pick(&map[2 * y * from_row..][..from_row], 0, 2, width, &mut picked);
                assert_eq!(halved, picked, "{height}x{width}, row {y}");
            }
        }
        assert!(!halves([1, 12, 16], [1, 6, 8]) && !halves([1, 8, 8], [1, 4, 4]) && !halves([1, 16, 16], [1, 4, 8]));
    }

    /// Whole words are moved another way than rows of any width: both do what the text says.
    #[test]
    fn every_tap_is_where_its_address_says() {
        for (input, kernel, stride, padding, output) in [
            ([2, 5, 16], [3, 3], [1, 1], [1, 1], [5, 16]),
            ([2, 6, 7], [3, 3], [2, 2], [1, 1], [3, 4]),
            ([1, 4, 8], [1, 1], [1, 1], [0, 0], [4, 8]),
            ([2, 8, 8], [3, 3], [1, 1], [1, 1], [8, 8]),
            ([1, 4, 16], [3, 5], [1, 1], [1, 2], [4, 16]),
            ([2, 6, 32], [5, 3], [1, 1], [2, 1], [6, 32]),
            ([1, 3, 64], [3, 3], [1, 1], [1, 1], [3, 64]),
            ([1, 4, 40], [5, 3], [3, 1], [2, 0], [2, 38]),
            ([1, 5, 5], [1, 1], [2, 2], [0, 0], [3, 3]),
        ] {
            let [channels, height, width] = input;
            let taps = Taps { of: 0, input, kernel, stride, padding, output, timesteps: 2, rows: 0 };
            let taps = Taps { rows: taps.rows_read() + kernel[0] % 2, ..taps };
            let row = row_bytes(width);
            let mut map: Vec<u8> =
                (0..channels * 2 * height * row).map(|at| (at * at * 31 + at * 7 + 90) as u8).collect();
            if width % 8 != 0 {
                map.chunks_mut(row).for_each(|row| row[width / 8] &= (1 << (width % 8)) - 1);
            }
            let mut copies = vec![0; taps.bytes()];
            taps.fill(&map, &mut copies);
            let places =
                (0..channels).flat_map(|c| (0..kernel[0]).flat_map(move |r| (0..kernel[1]).map(move |k| (c, r, k))));
            let reached = taps.reached(&copies, 2);
            for ((channel, down, right), reached) in places.zip(reached) {
                let mut count = 0;
                for (t, y, x) in
                    (0..2).flat_map(|t| (0..output[0]).flat_map(move |y| (0..output[1]).map(move |x| (t, y, x))))
                {
                    let at = taps.address(channel, down, right) + t * taps.timestep() + y * row_bytes(output[1]);
                    let from = (y * stride[0] + down).checked_sub(padding[0]).filter(|from| *from < height);
                    let column = (x * stride[1] + right) as isize - padding[1] as isize;
                    let want =
                        from.is_some_and(|from| bit(&map[((channel * 2 + t) * height + from) * row..][..row], column));
                    assert_eq!(bit(&copies[at..], x as isize), want, "{taps:?}: {channel} {down} {right}, {t} {y} {x}");
                    count += u64::from(want);
                }
                assert_eq!(reached, count);
            }
        }
    }
}
