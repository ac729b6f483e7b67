//! 512 bits side by side, and numbers that stand upright in them: bit b of every lane's number lies
//! in plane b.
//!
//! A full adder takes five operations of 512 bits, and adds one bit to each of 512 numbers. Plain
//! arrays: a compiler makes vectors of them, as wide as the processor's.

use core::array::from_fn;
use core::ops::{BitAnd, BitOr, BitXor, BitXorAssign, Not, Shl, Shr};

/// Bytes of 512 lanes.
pub(super) const BYTES: usize = 64;

/// One bit of each of 512 lanes. Lane 8 i + j is bit j of byte i.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Lanes([u64; 8]);

impl Lanes {
    pub(super) const ZERO: Lanes = Lanes([0; 8]);

    /// The lanes at the head of `bytes`.
    #[inline(always)]
    pub(super) fn load(bytes: &[u8; BYTES]) -> Lanes {
        Lanes(from_fn(|i| u64::from_le_bytes(from_fn(|byte| bytes[8 * i + byte]))))
    }

    /// Its bytes.
    #[inline(always)]
    pub(super) fn bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    #[inline(always)]
    fn splat(word: u64) -> Lanes {
        Lanes([word; 8])
    }
}

macro_rules! operator {
    ($name:ident, $method:ident, $operator:tt) => {
        impl $name for Lanes {
            type Output = Lanes;

            #[inline(always)]
            fn $method(self, other: Lanes) -> Lanes {
                Lanes(from_fn(|i| self.0[i] $operator other.0[i]))
            }
        }
    };
}

operator!(BitAnd, bitand, &);
operator!(BitOr, bitor, |);
operator!(BitXor, bitxor, ^);

impl BitXorAssign for Lanes {
    #[inline(always)]
    fn bitxor_assign(&mut self, other: Lanes) {
        *self = *self ^ other;
    }
}

impl Not for Lanes {
    type Output = Lanes;

    #[inline(always)]
    fn not(self) -> Lanes {
        Lanes(self.0.map(|word| !word))
    }
}

impl Shl<u32> for Lanes {
    type Output = Lanes;

    #[inline(always)]
    fn shl(self, by: u32) -> Lanes {
        Lanes(self.0.map(|word| word << by))
    }
}

impl Shr<u32> for Lanes {
    type Output = Lanes;

    #[inline(always)]
    fn shr(self, by: u32) -> Lanes {
        Lanes(self.0.map(|word| word >> by))
    }
}

/// a + b + c of each lane: the sum's bit and the carry.
#[inline(always)]
pub(super) fn full_adder(a: Lanes, b: Lanes, c: Lanes) -> (Lanes, Lanes) {
    let differ = a ^ b;
    (differ ^ c, (a & b) | (differ & c))
}

/// Adds `carry` to the number in `planes`, which has room for the sum.
#[inline(always)]
pub(super) fn ripple(planes: &mut [Lanes], mut carry: Lanes) {
    for plane in planes {
        let both = *plane & carry;
        *plane ^= carry;
        carry = both;
    }
}

/// Adds the number in `number` to the one in `planes`, which has room for the sum.
#[inline(always)]
pub(super) fn add(planes: &mut [Lanes], number: &[Lanes]) {
    let (low, high) = planes.split_at_mut(number.len().min(planes.len()));
    let mut carry = Lanes::ZERO;
    for (plane, bit) in low.iter_mut().zip(number) {
        (*plane, carry) = full_adder(*plane, *bit, carry);
    }
    ripple(high, carry);
}

/// Turns eight planes over: byte i of result j has the eight bits that lane 8 i + j has in the
/// planes, a number from 0 to 255.
#[inline(always)]
pub(super) fn transposed(planes: &[Lanes; 8]) -> [Lanes; 8] {
    const EXCHANGES: [(u32, u64); 3] =
        [(4, 0x0f0f_0f0f_0f0f_0f0f), (2, 0x3333_3333_3333_3333), (1, 0x5555_5555_5555_5555)];
    let mut rows = *planes;
    for (distance, mask) in EXCHANGES {
        for low in (0..8).filter(|row| row & distance == 0) {
            let (low, high) = (low as usize, (low + distance) as usize);
            let differ = ((rows[low] >> distance) ^ rows[high]) & Lanes::splat(mask);
            rows[high] ^= differ;
            rows[low] ^= differ << distance;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that repeat after 251.
    fn plane(seed: usize) -> Lanes {
        Lanes::load(&from_fn(|byte| ((byte * 89 + seed * 57 + byte * byte * seed) % 251) as u8))
    }

    fn bit(plane: Lanes, lane: usize) -> u32 {
        u32::from(plane.bytes()[lane / 8] >> (lane % 8) & 1)
    }

    #[test]
    fn planes_hold_a_number_for_each_lane() {
        let (a, b): ([Lanes; 5], [Lanes; 3]) = (from_fn(plane), from_fn(|place| plane(place + 9)));
        let number = |planes: &[Lanes], lane| (0..planes.len()).map(|p| bit(planes[p], lane) << p).sum::<u32>();
        let mut sum = [Lanes::ZERO; 6];
        add(&mut sum, &a);
        add(&mut sum, &b);
        ripple(&mut sum[1..], a[0]);
        for lane in 0..512 {
            let want = number(&a, lane) + number(&b, lane) + 2 * bit(a[0], lane);
            assert_eq!(number(&sum, lane), want % 64, "lane {lane}");
        }
    }

    #[test]
    fn a_byte_of_turned_planes_is_the_number_of_a_lane() {
        let planes: [Lanes; 8] = from_fn(plane);
        let turned = transposed(&planes).map(Lanes::bytes);
        for lane in 0..512 {
            let want = (0..8).map(|p| bit(planes[p], lane) << p).sum::<u32>();
            assert_eq!(u32::from(turned[lane % 8][lane / 8]), want, "lane {lane}");
        }
    }
}
