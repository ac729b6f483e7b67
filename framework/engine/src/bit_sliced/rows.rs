//! The kept weights of a layer as lists of taps, and the counting of the spikes that they reach.
//!
//! A row is an output channel. Its sum over the taps is
//!
//! n = sum over the kept weights of level · spike
//!
//! A weight of level -m is one of level m on a spike that is turned over, less m, because
//! -m s = m (1 - s) - m. So a row counts magnitudes only, and a constant is taken off at the end.
//! Two orders of counting are there, and a layer takes the one with fewer additions:
//!
//! - **by magnitude** m_1 > m_2 > ...: one counter S takes the taps of one magnitude after another.
//!   After magnitude m_k it holds the spikes of all weights of at least m_k, and
//!   n = sum over k of (m_k - m_(k+1)) · S_k, with 0 after the last. A tap is counted once.
//! - **by bit** of the magnitude: a tap is counted once for each bit that is set, in the plane of
//!   that bit, and nothing is joined.
//!
//! Taps are counted 16 at a time by carry-save adders (Harley and Seal): 15 full adders, and a
//! carry that ripples through the planes above.

use alloc::vec::Vec;

use super::lanes::{BYTES, Lanes, add, full_adder, ripple};
use crate::memory::{product, sum};

/// Planes of a sum: it is below 2^24, and what fills up lists makes it four times as large at most.
pub(super) const PLANES: usize = 26;
/// Planes of the number of taps of a row.
const COUNTER: usize = 25;
/// Lists are filled up to a multiple of so many taps.
const FILLED: usize = 4;

/// The rows of a layer.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Addresses of the taps: of the first byte of a plane.
    taps: Vec<u32>,
    segments: Vec<Segment>,
    rows: Vec<Row>,
    by_magnitude: bool,
}

/// An output channel: where its lists begin.
#[derive(Debug, Clone, Copy)]
struct Row {
    taps: u32,
    segments: u32,
    /// What is taken off its count.
    constant: i32,
    /// Planes of its count.
    planes: u8,
}

/// Taps that are counted together.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Taps whose spikes count, and after them taps whose silence counts.
    taps: [u32; 2],
    /// By bit: the plane of the sum in which they are counted. By magnitude: the difference of this
    /// magnitude to the next, by which the counter is added to the sum.
    counts: Counts,
    /// Planes of the counter after them, or of the sum where no counter is.
    planes: u8,
    /// Planes of the sum after them.
    total: u8,
}

#[derive(Debug, Clone, Copy)]
enum Counts {
    Plane(u8),
    Times(u32),
}

/// The full adders that joining a counter costs, about.
const JOIN: usize = 9;

impl Rows {
    /// Rows of weights (level, address), an iterator for each output channel, whose sums are below
    /// 2^24. At `silence` lies a plane without spikes.
    pub(super) fn new<R: Iterator<Item = (i16, u32)>>(rows: impl Iterator<Item = R>, silence: u32) -> Rows {
        let rows: Vec<Vec<(i16, u32)>> = rows.map(Iterator::collect).collect();
        let set = |level: &i16| level.unsigned_abs().count_ones() as usize;
        let (mut by_magnitude, mut by_bit) = (0, 0);
        for row in &rows {
            let magnitudes = magnitudes(row);
            let after = magnitudes.iter().skip(1).chain([&0]);
            let joins: usize = magnitudes.iter().zip(after).map(|(a, b)| (a - b).count_ones() as usize).sum();
            by_magnitude += row.len() + JOIN * joins;
            by_bit += row.iter().map(|(level, _)| set(level)).sum::<usize>();
        }
        let mut all = Rows { by_magnitude: by_magnitude < by_bit, ..Rows::default() };
        for row in &rows {
            all.push(row, silence);
        }
        all
    }

    /// Bytes at most of the lists of so many rows, and of what there is while they are made.
    pub(super) fn most_bytes(levels: impl Iterator<Item = i16>, rows: usize) -> [usize; 2] {
        let (mut kept, mut ones, mut seen) = (0, 0, alloc::vec![false; 1 << 16]);
        for magnitude in levels.map(i16::unsigned_abs).filter(|magnitude| *magnitude != 0) {
            (kept, ones) = (kept + 1, ones + magnitude.count_ones() as usize);
            seen[usize::from(magnitude)] = true;
        }
        // A row has some of the layer's magnitudes. Leaving some out makes no more joins, because a
        // sum has no more bits set than its terms.
        let magnitudes: Vec<usize> = (0..seen.len()).filter(|magnitude| seen[*magnitude]).collect();
        let joins =
            magnitudes.iter().scan(0, |before, one| Some((one - core::mem::replace(before, *one)).count_ones()));
        let joins = joins.sum::<u32>() as usize;
        let bits = usize::from(bits(magnitudes.last().map_or(0, |largest| *largest as u64)));
        let by_magnitude = sum([kept, product(&[JOIN, rows, joins])]) < ones;
        let (taps, lists) = match by_magnitude {
            true => (kept, product(&[rows, magnitudes.len()])),
            // By bit, or by magnitudes whose joins are fewer than the bits.
            false => (ones, product(&[rows, bits]).max((ones / JOIN).min(product(&[rows, magnitudes.len()])))),
        };
        // What grows doubles, and lies in two places while it does.
        let lists = sum([product(&[12, taps + 6 * lists]), product(&[3 * size_of::<Segment>(), lists])]);
        // Weights with their addresses, and the magnitudes of a row.
        let weights = product(&[4 * size_of::<(i16, u32)>(), kept]);
        [sum([lists, product(&[3 * size_of::<Row>(), rows])]), sum([weights, product(&[128, rows])])]
    }

    /// Whether taps are counted by magnitude, and not by bit.
    pub(super) fn by_magnitude(&self) -> bool {
        self.by_magnitude
    }

    fn push(&mut self, row: &[(i16, u32)], silence: u32) {
        let by_magnitude = self.by_magnitude;
        let mut head =
            Row { taps: self.taps.len() as u32, segments: self.segments.len() as u32, constant: 0, planes: 0 };
        let (mut counted, mut total) = (0u64, 0u64);
        let magnitudes = magnitudes(row);
        let lists = match by_magnitude {
            true => magnitudes.len(),
            false => magnitudes.first().map_or(0, |largest| 16 - largest.leading_zeros() as usize),
        };
        for list in 0..lists {
            let (value, counts) = match by_magnitude {
                true => {
                    let difference = magnitudes[list] - magnitudes.get(list + 1).unwrap_or(&0);
                    (magnitudes[list], Counts::Times(u32::from(difference)))
                }
                false => (1 << list, Counts::Plane(list as u8)),
            };
            let belongs = |level: i16| match by_magnitude {
                true => level.unsigned_abs() == value,
                false => level.unsigned_abs() & value != 0,
            };
            let taps = [true, false].map(|positive| {
                let before = self.taps.len();
                let here = row.iter().filter(|(level, _)| (*level > 0) == positive && belongs(*level));
                self.taps.extend(here.map(|(_, address)| address));
                self.taps.resize(before + (self.taps.len() - before).next_multiple_of(FILLED), silence);
                (self.taps.len() - before) as u32
            });
            let here = u64::from(taps[0] + taps[1]);
            head.constant += (taps[1] * u32::from(value)) as i32;
            counted += here;
            total += here * u64::from(value);
            let planes = match counts {
                Counts::Plane(plane) => bits(total).saturating_sub(plane),
                Counts::Times(_) => bits(counted),
            };
            self.segments.push(Segment { taps, counts, planes, total: bits(total) });
            head.planes = bits(total);
        }
        self.rows.push(head);
        assert!(usize::from(bits(total)) <= PLANES && usize::from(bits(counted)) <= COUNTER, "sums of 2^24 and more");
    }

    /// What is taken off the count of a row, and the planes of the count.
    pub(super) fn of(&self, row: usize) -> (i32, usize) {
        (self.rows[row].constant, usize::from(self.rows[row].planes))
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        4 * self.taps.len() + size_of::<Segment>() * self.segments.len() + size_of::<Row>() * self.rows.len()
    }

    /// Counts the 512 lanes of a row that begin `offset` bytes into each plane; the planes of the
    /// count are written to the head of `total`, and the constant is still to be taken off.
    #[inline(always)]
    pub(super) fn count<L: Lanes>(&self, row: usize, planes: &[u8], offset: usize, total: &mut [L; PLANES]) {
        let Row { taps, segments, planes: used, .. } = self.rows[row];
        let end = self.rows.get(row + 1).map_or(self.segments.len(), |next| next.segments as usize);
        let planes = &planes[offset..];
        let mut taps = &self.taps[taps as usize..];
        // The first four are counted in whether or not the sum is as large.
        total[..usize::from(used).next_multiple_of(8).max(8)].fill(L::zero());
        let mut counter = [L::zero(); COUNTER];
        for segment in &self.segments[segments as usize..end] {
            let (spikes, rest) = taps.split_at(segment.taps[0] as usize);
            let (silences, rest) = rest.split_at(segment.taps[1] as usize);
            taps = rest;
            let limit = usize::from(segment.planes);
            match segment.counts {
                Counts::Plane(plane) => {
                    let sum = &mut total[usize::from(plane)..];
                    count_taps::<L, false>(sum, limit, planes, spikes);
                    count_taps::<L, true>(sum, limit, planes, silences);
                }
                Counts::Times(mut times) => {
                    count_taps::<L, false>(&mut counter, limit, planes, spikes);
                    count_taps::<L, true>(&mut counter, limit, planes, silences);
                    while times != 0 {
                        let shift = times.trailing_zeros() as usize;
                        times &= times - 1;
                        let end = usize::from(segment.total).min(PLANES);
                        if shift < end {
                            add(&mut total[shift..end], &counter[..limit]);
                        }
                    }
                }
            }
        }
    }
}

/// The magnitudes of a row's levels, the largest first.
fn magnitudes(row: &[(i16, u32)]) -> Vec<u16> {
    let mut all: Vec<u16> = row.iter().map(|(level, _)| level.unsigned_abs()).filter(|level| *level != 0).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.dedup();
    all
}

/// Bits of a number.
fn bits(number: u64) -> u8 {
    (u64::BITS - number.leading_zeros()) as u8
}

/// Adds the spikes at `taps`, or with `TURNED` what is none, to the number in the first `limit`
/// planes of `sum`. There are as many taps as a multiple of [`FILLED`], and at least four planes.
#[inline(always)]
fn count_taps<L: Lanes, const TURNED: bool>(sum: &mut [L], limit: usize, planes: &[u8], taps: &[u32]) {
    let (low, high) = sum.split_at_mut(4);
    let high = &mut high[..limit.saturating_sub(4)];
    let [mut ones, mut twos, mut fours, mut eights] = *low else { unreachable!("four planes") };
    // Four taps: their number over four, and what is left of it in `ones` and `twos`.
    macro_rules! four {
        ($taps:expr) => {{
            let (sum, first) =
                full_adder(ones, read::<L, TURNED>(planes, $taps[0]), read::<L, TURNED>(planes, $taps[1]));
            let (sum, second) =
                full_adder(sum, read::<L, TURNED>(planes, $taps[2]), read::<L, TURNED>(planes, $taps[3]));
            ones = sum;
            let (sum, carry) = full_adder(twos, first, second);
            twos = sum;
            carry
        }};
    }
    let mut sixteens = taps.chunks_exact(16);
    for taps in &mut sixteens {
        let (first, second) = (four!(taps[..4]), four!(taps[4..8]));
        let (sum, eight) = full_adder(fours, first, second);
        let (first, second) = (four!(taps[8..12]), four!(taps[12..]));
        let (sum, another) = full_adder(sum, first, second);
        fours = sum;
        let (sum, carry) = full_adder(eights, eight, another);
        eights = sum;
        ripple(high, carry);
    }
    for taps in sixteens.remainder().chunks_exact(FILLED) {
        let carry = four!(taps);
        let (both, sum) = (fours.and(carry), fours.xor(carry));
        fours = sum;
        let (carry, sum) = (eights.and(both), eights.xor(both));
        eights = sum;
        ripple(high, carry);
    }
    low.copy_from_slice(&[ones, twos, fours, eights]);
}

/// The spikes of a tap, or what is none.
#[inline(always)]
fn read<L: Lanes, const TURNED: bool>(planes: &[u8], tap: u32) -> L {
    const NONE: [u8; BYTES] = [0; BYTES];
    // One comparison: the sum of an u32 and 64 does not overflow.
    let bytes = planes.get(tap as usize..tap as usize + BYTES).and_then(|bytes| bytes.first_chunk());
    let bytes = match L::CHOOSES {
        true => bytes.unwrap_or(&NONE),
        false => bytes.expect("planes end with room for a tile"),
    };
    if TURNED { L::load(bytes).not() } else { L::load(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bit_sliced::lanes::Words;

    /// 40 planes of bytes that repeat after 251, and silence after them; rows of levels of one size
    /// and sign, of all half steps, and so many large ones that a sum takes 17 bits.
    #[test]
    fn both_orders_count_what_a_plain_sum_counts() {
        let noise = (0..40 * BYTES).map(|at| ((at * at * 31 + at * 7) % 251) as u8);
        let planes: Vec<u8> = noise.chain([0; 2 * BYTES]).collect();
        let silence = 40 * BYTES as u32;
        let levels: [fn(usize) -> i16; 5] = [
            |_| 1,
            |_| -1,
            |tap| 2 * (tap % 16) as i16 - 15,
            |tap| (tap * 37 % 255) as i16 - 127,
            |tap| if tap % 3 == 0 { -2047 } else { 1023 },
        ];
        for (case, level) in levels.iter().enumerate() {
            for (taps, by_magnitude) in
                [0, 1, 15, 16, 75, 200].into_iter().flat_map(|taps| [(taps, true), (taps, false)])
            {
                let row = (0..taps).map(|tap| (level(tap), (tap % 40 * BYTES) as u32));
                let row: Vec<(i16, u32)> = row.filter(|(level, _)| *level != 0).collect();
                let mut rows = Rows { by_magnitude, ..Rows::default() };
                rows.push(&row, silence);
                // What a count finds in the planes is not what it leaves there.
                let mut total = [Words::splat(u64::MAX); PLANES];
                rows.count(0, &planes, 0, &mut total);
                let (constant, used) = rows.of(0);
                for lane in 0..512 {
                    let bit = |bytes: &[u8]| i32::from(bytes[lane / 8] >> (lane % 8) & 1);
                    let used = total[..used.next_multiple_of(8)].iter().enumerate();
                    let counted = used.map(|(place, plane)| bit(&plane.bytes()) << place).sum::<i32>() - constant;
                    let wanted: i32 =
                        row.iter().map(|(level, at)| i32::from(*level) * bit(&planes[*at as usize..])).sum();
                    assert_eq!(
                        counted, wanted,
                        "levels {case}, {taps} taps, by magnitude: {by_magnitude}, lane {lane}"
                    );
                }
            }
        }
    }
}
