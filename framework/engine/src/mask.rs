//! The mask of a layer in a file: which of its weights are kept.
//!
//! | coding | what it writes | bits |
//! |---|---|---|
//! | none | nothing: all are kept | 0 |
//! | bit mask | a bit for each weight, 1 where it is kept | n |
//! | Golomb-Rice | each gap g, the removed weights before a kept one | sum of (floor(g / 2^k) + 1 + k) |
//!
//! Golomb-Rice (Golomb, 1966; Rice and Plaunt, 1971) writes floor(g / 2^k) ones and a zero, then the
//! k low bits of g, the highest first. Of the codings the shortest is taken, and of equal ones the bit
//! mask, then the smaller k. Weights are in row-major order of `[out, in / groups, kh, kw]`. A file
//! fills bytes from their lowest bit on, and the bits that are left in the last byte are 0.

use alloc::vec::Vec;
use core::fmt;

/// How a file says which weights of a layer are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all: all of them are.
    None,
    /// A bit for each weight.
    BitMask,
    /// Gaps between kept weights, in Golomb-Rice code with so many low bits k.
    GolombRice(u32),
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Coding::None => f.write_str("none"),
            Coding::BitMask => f.write_str("bit-mask"),
            Coding::GolombRice(k) => write!(f, "golomb-rice-{k}"),
        }
    }
}

/// The largest k: a gap is shorter than 2^32.
pub(crate) const MOST_LOW_BITS: u32 = 31;

/// The shortest coding of a mask, and its length in bits.
pub fn coding(kept: &[bool]) -> (Coding, u64) {
    let gaps = gaps(kept);
    if gaps.len() == kept.len() {
        return (Coding::None, 0);
    }
    let length = |k: u32| gaps.iter().map(|gap| (gap >> k) + 1 + u64::from(k)).sum::<u64>();
    let mut best = (0, length(0));
    // From k to k + 1, a gap saves ceil(floor(g / 2^k) / 2) bits and costs one. It saves less and
    // less, so that the first k that does not help is the last to try.
    for k in 1..=MOST_LOW_BITS {
        let bits = length(k);
        if bits >= best.1 {
            break;
        }
        best = (k, bits);
    }
    match best {
        (k, bits) if bits < kept.len() as u64 => (Coding::GolombRice(k), bits),
        _ => (Coding::BitMask, kept.len() as u64),
    }
}

/// Removed weights before each kept one.
fn gaps(kept: &[bool]) -> Vec<u64> {
    let (mut gaps, mut gap) = (Vec::new(), 0);
    for kept in kept {
        match kept {
            false => gap += 1,
            true => gaps.push(core::mem::take(&mut gap)),
        }
    }
    gaps
}

/// A mask in its coding.
pub(crate) fn write(kept: &[bool], coding: Coding) -> Vec<u8> {
    let mut bits = BitWriter::default();
    match coding {
        Coding::None => {}
        Coding::BitMask => kept.iter().for_each(|kept| bits.push(u64::from(*kept), 1)),
        Coding::GolombRice(k) => {
            for gap in gaps(kept) {
                (0..gap >> k).for_each(|_| bits.push(1, 1));
                bits.push(0, 1);
                (0..k).rev().for_each(|place| bits.push(gap >> place & 1, 1));
            }
        }
    }
    bits.bytes
}

/// Calls `visit` with the places of the `kept` weights of `count`, in their order, as the bytes of a
/// mask tell them; what is wrong with the bytes, or what `visit` finds wrong.
pub(crate) fn read(
    bytes: &[u8],
    coding: Coding,
    count: usize,
    kept: usize,
    mut visit: impl FnMut(usize) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let (mut bits, mut at) = (BitReader::new(bytes), 0);
    let (short, other) =
        ("the bits of a mask end too early", "a mask keeps another number of weights than the graph says");
    match coding {
        Coding::None if kept != count => return Err("a layer without a mask keeps all weights"),
        Coding::BitMask if bytes.len() < count.div_ceil(8) => return Err(short),
        _ => {}
    }
    for _ in 0..kept {
        let gap = match coding {
            Coding::None => 0,
            Coding::BitMask => bits.run(false).ok_or(other)?,
            Coding::GolombRice(k) => {
                let whole = bits.run(true).ok_or(short)?;
                let low = bits.next(k).ok_or(short)?;
                if whole > count >> k {
                    return Err("a gap of a mask is longer than the layer");
                }
                // The low bits stand with the highest first.
                (0..k).fold(whole, |gap, bit| gap << 1 | (low >> bit & 1) as usize)
            }
        };
        let place = at + gap;
        if place >= count {
            return Err("a mask keeps a weight behind the last one");
        }
        visit(place)?;
        at = place + 1;
    }
    while coding == Coding::BitMask && at < count {
        let some = (count - at).min(MOST_LOW_BITS as usize);
        if bits.next(some as u32) != Some(0) {
            return Err(other);
        }
        at += some;
    }
    bits.end()
}

/// Bits one after another, a byte from its lowest bit on.
#[derive(Default)]
pub(crate) struct BitWriter {
    pub(crate) bytes: Vec<u8>,
    /// Bits of the last byte that are taken; 0 where it is full.
    taken: u32,
}

impl BitWriter {
    /// The `count` low bits of a number, the lowest first.
    pub(crate) fn push(&mut self, number: u64, count: u32) {
        for place in 0..count {
            if self.taken == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("a byte was pushed");
            *last |= ((number >> place & 1) as u8) << self.taken;
            self.taken = (self.taken + 1) % 8;
        }
    }
}

/// Reads what [`BitWriter`] writes.
pub(crate) struct BitReader<'a> {
    /// Bytes of which no bit is counted in `left`.
    rest: &'a [u8],
    /// The next bits, from the lowest on.
    word: u64,
    /// How many of them are counted: 63 at most.
    left: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { rest: bytes, word: 0, left: 0 }
    }

    /// Makes at least 56 bits ready, or all that there are.
    #[inline]
    fn fill(&mut self) {
        let Some(next) = self.rest.first_chunk() else { return self.fill_last() };
        // Bits above those that are counted are put there again, the same ones.
        self.word |= u64::from_le_bytes(*next) << self.left;
        self.rest = &self.rest[(63 - self.left as usize) / 8..];
        self.left |= 56;
    }

    /// [`fill`](Self::fill) where fewer than eight bytes are left.
    #[cold]
    fn fill_last(&mut self) {
        while let (true, Some((next, rest))) = (self.left < 56, self.rest.split_first()) {
            self.word |= u64::from(*next) << self.left;
            (self.rest, self.left) = (rest, self.left + 8);
        }
    }

    /// Passes over bits that are ready.
    #[inline]
    fn skip(&mut self, count: u32) {
        (self.word, self.left) = (self.word >> count, self.left - count);
    }

    /// A number of so many bits, 32 at most; `None` where there are fewer.
    #[inline]
    pub(crate) fn next(&mut self, count: u32) -> Option<u64> {
        if self.left < count {
            self.fill();
        }
        let number = self.word & ((1 << count) - 1);
        (count <= self.left).then(|| {
            self.skip(count);
            number
        })
    }

    /// How many bits are alike up to the next other one, which is read too; `None` where there is none.
    #[inline]
    fn run(&mut self, of: bool) -> Option<usize> {
        let mut count = 0;
        loop {
            self.fill();
            let word = if of { self.word } else { !self.word };
            let here = word.trailing_ones().min(self.left);
            count += here as usize;
            if here < self.left {
                self.skip(here + 1);
                return Some(count);
            }
            if here == 0 {
                return None;
            }
            self.skip(here);
        }
    }

    /// That nothing but zeros of the last byte is left.
    pub(crate) fn end(mut self) -> Result<(), &'static str> {
        if self.left >= 8 || !self.rest.is_empty() {
            return Err("bytes are left behind the bits of a layer");
        }
        match self.next(self.left) {
            Some(0) => Ok(()),
            _ => Err("the last bits of a byte that nothing fills are not 0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn random(count: usize, percent: u64, seed: u64) -> Vec<bool> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % 100 < percent
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn a_mask_comes_back_from_as_many_bits_as_were_counted() {
        for (seed, percent) in [0, 1, 10, 20, 50, 90, 100].into_iter().enumerate() {
            let mask = random(5003, percent, seed as u64);
            let (coding, bits) = coding(&mask);
            let bytes = write(&mask, coding);
            assert_eq!(bytes.len() as u64, bits.div_ceil(8), "{percent}");
            let kept = mask.iter().filter(|kept| **kept).count();
            let mut again = vec![false; mask.len()];
            let read = read(&bytes, coding, mask.len(), kept, |place| {
                again[place] = true;
                Ok(())
            });
            assert_eq!((read, again), (Ok(()), mask), "{percent}: {coding:?}");
        }
    }

    #[test]
    fn regular_masks_have_the_lengths_of_their_closed_forms() {
        let of = |kept: &dyn Fn(usize) -> bool| coding(&(0..1024).map(kept).collect::<Vec<_>>());
        assert_eq!(of(&|_| true), (Coding::None, 0));
        // Gaps of one: two bits each, and so as long as the bit mask.
        assert_eq!(of(&|at| at % 2 == 1), (Coding::BitMask, 1024));
        // 256 gaps of three: k = 1 writes `1 0 1`, k = 2 `0 1 1`, of which the smaller k is taken.
        assert_eq!(of(&|at| at % 4 == 3), (Coding::GolombRice(1), 256 * 3));
        // One gap of 1000 = 1 · 512 + 488: a one, a zero, nine bits. k = 8 takes 3 + 1 + 8.
        assert_eq!(of(&|at| at == 1000), (Coding::GolombRice(9), 11));
        assert_eq!(of(&|_| false), (Coding::GolombRice(0), 0));
    }

    #[test]
    fn wrong_bits_are_refused() {
        let refused = |bytes: &[u8], coding, count, kept| read(bytes, coding, count, kept, |_| Ok(())).unwrap_err();
        assert!(refused(&[], Coding::BitMask, 3, 1).contains("end too early"));
        assert!(refused(&[0b0000_1001], Coding::BitMask, 3, 1).contains("are not 0"));
        assert!(refused(&[0b001], Coding::BitMask, 3, 2).contains("another number"));
        assert!(refused(&[0b001, 0], Coding::BitMask, 3, 1).contains("bytes are left"));
        assert!(refused(&[0b0111], Coding::GolombRice(0), 3, 1).contains("behind the last one"));
        assert!(refused(&[0xff; 4], Coding::GolombRice(31), 3, 1).contains("too early"));
        assert!(refused(&[0b1111], Coding::GolombRice(1), 3, 1).contains("longer than the layer"));
        assert!(refused(&[], Coding::None, 3, 2).contains("keeps all"));
    }
}
