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

use alloc::vec;
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

/// The mask of `count` weights, `kept` of them kept, from its bytes; what is wrong with them.
pub(crate) fn read(bytes: &[u8], coding: Coding, count: usize, kept: usize) -> Result<Vec<bool>, &'static str> {
    if coding == Coding::None {
        return if kept == count { Ok(vec![true; count]) } else { Err("a layer without a mask keeps all weights") };
    }
    let mut bits = BitReader::new(bytes);
    let mut mask = vec![false; count];
    let short = "the bits of a mask end too early";
    match coding {
        Coding::GolombRice(k) => {
            let mut at = 0;
            for _ in 0..kept {
                let mut gap = 0usize;
                while bits.next(1).ok_or(short)? == 1 {
                    gap += 1;
                }
                for _ in 0..k {
                    gap = gap << 1 | bits.next(1).ok_or(short)? as usize;
                    if gap > count {
                        return Err("a gap of a mask is longer than the layer");
                    }
                }
                let place = at + gap;
                *mask.get_mut(place).ok_or("a mask keeps a weight behind the last one")? = true;
                at = place + 1;
            }
        }
        _ => {
            for place in &mut mask {
                *place = bits.next(1).ok_or(short)? == 1;
            }
            if mask.iter().filter(|kept| **kept).count() != kept {
                return Err("a mask keeps another number of weights than the graph says");
            }
        }
    }
    bits.end()?;
    Ok(mask)
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
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0 }
    }

    /// A number of so many bits; `None` where there are fewer.
    pub(crate) fn next(&mut self, count: u32) -> Option<u64> {
        let mut number = 0;
        for place in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            number |= u64::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(number)
    }

    /// That nothing but zeros of the last byte is left.
    pub(crate) fn end(mut self) -> Result<(), &'static str> {
        if self.at.div_ceil(8) != self.bytes.len() {
            return Err("bytes are left behind the bits of a layer");
        }
        match self.next(((8 - self.at % 8) % 8) as u32) {
            Some(0) => Ok(()),
            _ => Err("the last bits of a byte that nothing fills are not 0"),
        }
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(read(&bytes, coding, mask.len(), kept).as_ref(), Ok(&mask), "{percent}: {coding:?}");
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
        let refused = |bytes: &[u8], coding, count, kept| read(bytes, coding, count, kept).unwrap_err();
        assert!(refused(&[], Coding::BitMask, 3, 1).contains("end too early"));
        assert!(refused(&[0b0000_1001], Coding::BitMask, 3, 1).contains("are not 0"));
        assert!(refused(&[0b001], Coding::BitMask, 3, 2).contains("another number"));
        assert!(refused(&[0b001, 0], Coding::BitMask, 3, 1).contains("bytes are left"));
        assert!(refused(&[0b0111], Coding::GolombRice(0), 3, 1).contains("behind the last one"));
        assert!(refused(&[0xff; 4], Coding::GolombRice(31), 3, 1).contains("too early"));
        assert!(refused(&[], Coding::None, 3, 2).contains("keeps all"));
    }
}
