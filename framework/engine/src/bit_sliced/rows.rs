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
//! Lists are made by counting: a census finds how often each magnitude is in each row, which says
//! how long each list is and where it begins, and then every kept weight goes to its place.
//!
//! Taps are counted 8 or 16 at a time by carry-save adders (Harley and Seal): 7 or 15 full adders,
//! and a carry that ripples through the planes above. Where there are registers for the lowest eight
//! planes (AVX-512), a carry out of 8 taps costs less than a second loop for what 16 leave over.

use alloc::vec;
use alloc::vec::Vec;

use super::lanes::{Lanes, add, full_adder, full_adder_of_turned, ripple};
use super::reads::Reads;
use crate::memory::{product, sum};

/// Planes of a sum, in whole bytes: it is below 2^24, and what fills up lists makes it eight times as
/// large at most.
pub(super) const PLANES: usize = 32;
/// Planes of the number of taps of a row.
const COUNTER: usize = 25;
/// Lists are filled up to a multiple of so many taps.
const FILLED: usize = 8;
/// Planes of a count that are in registers.
const LOW: usize = 8;

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

impl Counts {
    /// How often a counter is added to the sum.
    fn joins(self) -> u32 {
        match self {
            Counts::Plane(_) => 0,
            Counts::Times(times) => times.count_ones(),
        }
    }
}

/// The full adders that joining a counter costs, about.
const JOIN: usize = 9;

impl Rows {
    /// Rows of weights whose sums are below 2^24. At `silence` lies a plane without spikes.
    pub(super) fn new(weights: &Listed, silence: u32) -> Rows {
        let census = Census::new(weights);
        let (mut by_magnitude, mut by_bit) = (0, 0);
        for row in census.rows() {
            let joins: u32 = lists(row, true).map(|list| list.counts.joins()).sum();
            by_magnitude += JOIN * joins as usize;
            for Frequency { magnitude, weights } in row {
                let weights = (weights[0] + weights[1]) as usize;
                by_magnitude += weights;
                by_bit += weights * magnitude.count_ones() as usize;
            }
        }
        Rows::ordered(weights, &census, by_magnitude < by_bit, silence)
    }

    /// Rows that are counted by magnitude or by bit.
    fn ordered(weights: &Listed, census: &Census, by_magnitude: bool, silence: u32) -> Rows {
        let all = || census.rows().flat_map(|row| lists(row, by_magnitude));
        let taps: u32 = all().flat_map(|list| list.taps()).sum();
        let mut rows = Rows {
            taps: vec![silence; taps as usize],
            segments: Vec::with_capacity(all().count()),
            rows: Vec::with_capacity(weights.ends.len()),
            by_magnitude,
        };
        // Where the next tap of each value and sign goes.
        let (mut next, mut begin) = (census.room.clone(), 0);
        for ((places, levels, first), row) in weights.rows().zip(census.rows()) {
            rows.push(lists(row, by_magnitude), begin);
            for list in lists(row, by_magnitude) {
                let [spikes, silences] = list.taps();
                next[usize::from(list.value)] = [begin, begin + spikes];
                begin += spikes + silences;
            }
            for place in places {
                let (level, address) = (levels[*place as usize], first + weights.addresses[*place as usize]);
                let mut rest = level.unsigned_abs();
                while rest != 0 {
                    let value = if by_magnitude { rest } else { rest & rest.wrapping_neg() };
                    let tap = &mut next[usize::from(value)][usize::from(level < 0)];
                    rows.taps[*tap as usize] = address;
                    *tap += 1;
                    rest ^= value;
                }
            }
        }
        rows
    }

    /// Bytes at most of the lists of so many rows, and of what there is while they are made.
    pub(super) fn most_bytes(levels: &[i16], rows: usize) -> [usize; 2] {
        let (mut kept, mut ones, mut seen) = (0, 0, vec![false; 1 << 16]);
        for some in levels.chunks(TOGETHER) {
            kept += sum_of(some, |level| u16::from(level != 0));
            ones += sum_of(some, |level| level.unsigned_abs().count_ones() as u16);
            some.iter().for_each(|level| seen[usize::from(level.unsigned_abs())] = true);
        }
        let largest = largest(levels);
        // A row has some of the layer's magnitudes. Leaving some out makes no more joins, because a
        // sum has no more bits set than its terms.
        let magnitudes: Vec<usize> = (1..=largest).filter(|magnitude| seen[*magnitude]).collect();
        let joins =
            magnitudes.iter().scan(0, |before, one| Some((one - core::mem::replace(before, *one)).count_ones()));
        let joins = joins.sum::<u32>() as usize;
        let bits = usize::from(bits(largest as u64));
        let by_magnitude = sum([kept, product(&[JOIN, rows, joins])]) < ones;
        let (taps, lists) = match by_magnitude {
            true => (kept, product(&[rows, magnitudes.len()])),
            // By bit, or by magnitudes whose joins are fewer than the bits.
            false => (ones, product(&[rows, bits]).max((ones / JOIN).min(product(&[rows, magnitudes.len()])))),
        };
        let listed = sum([product(&[4, kept + 1]), product(&[4 + size_of::<usize>(), rows])]);
        // A census grows, doubles, and lies in two places while it does.
        let entries = kept.min(product(&[rows, magnitudes.len()]));
        let census = sum([product(&[3 * size_of::<Frequency>(), entries + 4]), product(&[size_of::<usize>(), rows])]);
        let room = product(&[2 * size_of::<[u32; 2]>(), largest + 1]);
        let lists = sum([product(&[4, taps + 2 * (FILLED - 1) * lists]), product(&[size_of::<Segment>(), lists])]);
        [sum([lists, product(&[size_of::<Row>(), rows])]), sum([listed, census, room])]
    }

    /// Whether taps are counted by magnitude, and not by bit.
    pub(super) fn by_magnitude(&self) -> bool {
        self.by_magnitude
    }

    /// Adds a row, whose taps begin at one of all taps.
    fn push(&mut self, lists: impl Iterator<Item = List>, taps: u32) {
        let mut head = Row { taps, segments: self.segments.len() as u32, constant: 0, planes: 0 };
        let (mut counted, mut total) = (0u64, 0u64);
        for list in lists {
            let taps = list.taps();
            let here = u64::from(taps[0] + taps[1]);
            head.constant += (taps[1] * u32::from(list.value)) as i32;
            counted += here;
            total += here * u64::from(list.value);
            let planes = match list.counts {
                Counts::Plane(plane) => bits(total).saturating_sub(plane),
                Counts::Times(_) => bits(counted),
            };
            self.segments.push(Segment { taps, counts: list.counts, planes, total: bits(total) });
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

    /// Counts the lanes of a row that begin `offset` bytes into each plane; the planes of the count
    /// are written to the head of `total`, and the constant is still to be taken off.
    #[inline(always)]
    pub(super) fn count<L: Lanes>(&self, row: usize, planes: &[u8], offset: usize, total: &mut [L; PLANES]) {
        let Row { taps, segments, planes: used, .. } = self.rows[row];
        let end = self.rows.get(row + 1).map_or(self.segments.len(), |next| next.segments as usize);
        let planes = &planes[offset..];
        let mut taps = &self.taps[taps as usize..];
        // The lowest ones are counted in whether or not the sum is as large.
        total[..usize::from(used).next_multiple_of(LOW)].fill(L::zero());
        let (mut low, mut high) = ([L::zero(); LOW], [L::zero(); COUNTER - LOW]);
        for segment in &self.segments[segments as usize..end] {
            let (spikes, rest) = taps.split_at(segment.taps[0] as usize);
            let (silences, rest) = rest.split_at(segment.taps[1] as usize);
            taps = rest;
            let above = usize::from(segment.planes).saturating_sub(LOW);
            match segment.counts {
                Counts::Plane(plane) => {
                    let sum = total[usize::from(plane)..].split_first_chunk_mut::<LOW>();
                    let (low, high) = sum.expect("a sum has more planes than a level");
                    *low = count_taps::<L, false>(*low, &mut high[..above], planes, spikes);
                    *low = count_taps::<L, true>(*low, &mut high[..above], planes, silences);
                }
                Counts::Times(mut times) => {
                    let high = &mut high[..above];
                    low = count_taps::<L, false>(low, high, planes, spikes);
                    low = count_taps::<L, true>(low, high, planes, silences);
                    while times != 0 {
                        let shift = times.trailing_zeros() as usize;
                        times &= times - 1;
                        let sum = total[shift..].split_first_chunk_mut::<LOW>();
                        let (to, rest) = sum.expect("a sum has more planes than a level");
                        let rest = &mut rest[..usize::from(segment.total).saturating_sub(shift + LOW)];
                        let carry = add(to, &low, L::zero());
                        let (to, rest) = rest.split_at_mut(above.min(rest.len()));
                        let carry = add(to, high, carry);
                        ripple(rest, carry);
                    }
                }
            }
        }
    }
}

/// Levels of which numbers from 0 to 15 are summed side by side, in 16 bits.
const TOGETHER: usize = 1 << 12;

/// The sum of such a number over [`TOGETHER`] levels or fewer.
fn sum_of(levels: &[i16], number: impl Fn(i16) -> u16) -> usize {
    levels.iter().map(|level| number(*level)).sum::<u16>().into()
}

/// The largest magnitude.
fn largest(levels: &[i16]) -> usize {
    levels.iter().map(|level| level.unsigned_abs()).max().unwrap_or(0).into()
}

/// The kept weights of a layer.
pub(super) struct Listed<'a> {
    /// `[rows, taps of a row]`
    levels: &'a [i16],
    /// Of the taps of a row.
    addresses: &'a [u32],
    /// How much further the taps of each row lie.
    first: Vec<u32>,
    /// The place of each kept weight in its row, row by row.
    places: Vec<u32>,
    /// Where each row ends in them.
    ends: Vec<usize>,
}

impl<'a> Listed<'a> {
    /// Of `levels` `[rows, addresses]`. A row's tap lies at its address and `first` further.
    pub(super) fn new(levels: &'a [i16], addresses: &'a [u32], first: impl Iterator<Item = u32>) -> Listed<'a> {
        let kept = levels.chunks(TOGETHER).map(|some| sum_of(some, |level| u16::from(level != 0))).sum::<usize>();
        // Every place is written, and that of a kept weight stays: no branch is guessed wrong.
        // The last one takes what is removed after the last kept weight.
        let (mut places, mut at) = (vec![0; kept + 1], 0);
        let rows = levels.len() / addresses.len();
        let (mut all, mut ends) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for (row, first) in levels.chunks_exact(addresses.len()).zip(first) {
            for (level, place) in row.iter().zip(0..) {
                places[at] = place;
                at += usize::from(*level != 0);
            }
            ends.push(at);
            all.push(first);
        }
        places.truncate(kept);
        Listed { levels, addresses, first: all, places, ends }
    }

    /// Of each row the places of its kept weights, its levels, and how much further its taps lie.
    fn rows(&self) -> impl Iterator<Item = (&[u32], &[i16], u32)> {
        let levels = self.levels.chunks_exact(self.addresses.len());
        let all = rows(&self.places, &self.ends).zip(levels).zip(&self.first);
        all.map(|((places, levels), first)| (places, levels, *first))
    }
}

/// How often each magnitude is in each row.
struct Census {
    /// Row by row, the largest magnitude first.
    all: Vec<Frequency>,
    /// Where each row ends.
    ends: Vec<usize>,
    /// Zeros: two numbers for each magnitude up to the layer's largest.
    room: Vec<[u32; 2]>,
}

/// How often a magnitude is in a row.
#[derive(Clone, Copy)]
struct Frequency {
    magnitude: u16,
    /// Weights above 0, and below.
    weights: [u32; 2],
}

impl Census {
    fn new(weights: &Listed) -> Census {
        let mut room = vec![[0; 2]; largest(weights.levels) + 1];
        let (mut all, mut ends) = (Vec::new(), Vec::with_capacity(weights.ends.len()));
        for (places, levels, _) in weights.rows() {
            let begin = all.len();
            for place in places {
                let level = levels[*place as usize];
                let magnitude = level.unsigned_abs();
                let (seen, sign) = (&mut room[usize::from(magnitude)], usize::from(level < 0));
                if seen[sign] == 0 && seen[1 - sign] == 0 {
                    all.push(Frequency { magnitude, weights: [0; 2] });
                }
                seen[sign] += 1;
            }
            let row = &mut all[begin..];
            row.sort_unstable_by_key(|one| core::cmp::Reverse(one.magnitude));
            row.iter_mut().for_each(|one| one.weights = core::mem::take(&mut room[usize::from(one.magnitude)]));
            ends.push(all.len());
        }
        Census { all, ends, room }
    }

    fn rows(&self) -> impl Iterator<Item = &[Frequency]> {
        rows(&self.all, &self.ends)
    }
}

/// Rows that lie one after another.
fn rows<'a, T>(all: &'a [T], ends: &'a [usize]) -> impl Iterator<Item = &'a [T]> {
    core::iter::once(&0).chain(ends).zip(ends).map(|(begin, end)| &all[*begin..*end])
}

/// The weights of a row that are counted together.
struct List {
    /// What each of them counts.
    value: u16,
    /// Weights above 0, and below.
    weights: [u32; 2],
    counts: Counts,
}

impl List {
    /// Taps with what fills them up: whose spikes count, and whose silence does.
    fn taps(&self) -> [u32; 2] {
        self.weights.map(|count| count.next_multiple_of(FILLED as u32))
    }
}

/// The lists of a row, in the order in which they are counted.
fn lists(row: &[Frequency], by_magnitude: bool) -> impl Iterator<Item = List> {
    let count = match by_magnitude {
        true => row.len(),
        false => row.first().map_or(0, |largest| bits(largest.magnitude.into()).into()),
    };
    (0..count).map(move |list| match by_magnitude {
        true => {
            let Frequency { magnitude, weights } = row[list];
            let next = row.get(list + 1).map_or(0, |next| next.magnitude);
            List { value: magnitude, weights, counts: Counts::Times(u32::from(magnitude - next)) }
        }
        false => {
            let value = 1 << list;
            let having = row.iter().filter(|one| one.magnitude & value != 0);
            let weights = having.fold([0; 2], |sum, one| [sum[0] + one.weights[0], sum[1] + one.weights[1]]);
            List { value, weights, counts: Counts::Plane(list as u8) }
        }
    })
}

/// Bits of a number.
fn bits(number: u64) -> u8 {
    (u64::BITS - number.leading_zeros()) as u8
}

/// Adds the spikes at `taps`, or with `TURNED` what is none, to the number in `low`, and above it
/// in `high`. There are as many taps as a multiple of [`FILLED`].
#[inline(always)]
fn count_taps<L: Lanes, const TURNED: bool>(low: [L; LOW], high: &mut [L], planes: &[u8], taps: &[u32]) -> [L; LOW] {
    let [mut ones, mut twos, mut fours, mut eights, mut b, mut c, mut d, mut e] = low;
    macro_rules! two {
        ($sum:expr, $reads:expr, $from:expr) => {{
            let (first, second) = ($reads.tile::<L>($from), $reads.tile::<L>($from + 1));
            if TURNED { full_adder_of_turned($sum, first, second) } else { full_adder($sum, first, second) }
        }};
    }
    // Four taps: their number over four, and what is left of it in `ones` and `twos`.
    macro_rules! four {
        ($reads:expr, $from:expr) => {{
            let (sum, first) = two!(ones, $reads, $from);
            let (sum, second) = two!(sum, $reads, $from + 2);
            ones = sum;
            let (sum, carry) = full_adder(twos, first, second);
            twos = sum;
            carry
        }};
    }
    macro_rules! eight {
        ($reads:expr, $from:expr) => {{
            let (first, second) = (four!($reads, $from), four!($reads, $from + 4));
            let (sum, carry) = full_adder(fours, first, second);
            fours = sum;
            carry
        }};
    }
    // A carry of eight, in registers.
    macro_rules! carry {
        ($carry:expr, $($plane:ident)*) => {{
            let mut carry = $carry;
            $(
                let both = $plane.and(carry);
                $plane = $plane.xor(carry);
                carry = both;
            )*
            carry
        }};
    }
    let rest = if L::MANY {
        taps
    } else {
        let sixteens = taps.chunks_exact(2 * FILLED);
        let rest = sixteens.remainder();
        for taps in sixteens {
            let reads: Reads<{ 2 * FILLED }> = Reads::new(planes, taps);
            let (first, second) = (eight!(reads, 0), eight!(reads, FILLED));
            let (sum, carry) = full_adder(eights, first, second);
            eights = sum;
            let carry = carry!(carry, b c d e);
            ripple(high, carry);
        }
        rest
    };
    for taps in rest.chunks_exact(FILLED) {
        let reads: Reads<FILLED> = Reads::new(planes, taps);
        let carry = carry!(eight!(reads, 0), eights b c d e);
        ripple(high, carry);
    }
    [ones, twos, fours, eights, b, c, d, e]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bit_sliced::lanes::{BYTES, Words};

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
                // After them comes a weight that was removed.
                let row = (0..taps).map(|tap| (level(tap), (tap % 40 * BYTES) as u32)).chain([(0, 0)]);
                let (levels, addresses): (Vec<i16>, Vec<u32>) = row.clone().unzip();
                let listed = Listed::new(&levels, &addresses, core::iter::once(0));
                let rows = Rows::ordered(&listed, &Census::new(&listed), by_magnitude, silence);
                // What a count finds in the planes is not what it leaves there.
                let mut total = [Words::splat(u64::MAX); PLANES];
                rows.count(0, &planes, 0, &mut total);
                let (constant, used) = rows.of(0);
                for lane in 0..512 {
                    let bit = |bytes: &[u8]| i32::from(bytes[lane / 8] >> (lane % 8) & 1);
                    let used = total[..used.next_multiple_of(8)].iter().enumerate();
                    let counted = used.map(|(place, plane)| bit(&plane.bytes()) << place).sum::<i32>() - constant;
                    let wanted: i32 =
                        row.clone().map(|(level, at)| i32::from(level) * bit(&planes[at as usize..])).sum();
                    assert_eq!(
                        counted, wanted,
                        "levels {case}, {taps} taps, by magnitude: {by_magnitude}, lane {lane}"
                    );
                }
            }
        }
    }
}
