//! 512 bits side by side, and numbers that stand upright in them: bit b of every lane's number lies
//! in plane b.
//!
//! A full adder takes five operations of 512 bits, or two where the processor has operations on
//! three, and adds one bit to each of 512 numbers. [`Words`] is an array on any processor, and the
//! feature `std` has vectors of AVX2 and AVX-512 beside it. All compute the same bits.

use core::array::from_fn;

/// Bytes of 512 lanes.
pub(super) const BYTES: usize = 64;

/// One bit of each of 512 lanes. Lane 8 i + j is bit j of byte i.
pub(super) trait Lanes: Copy {
    /// Whether a processor has registers for eight planes and for what is added to them.
    const MANY: bool;

    /// The lanes of 64 bytes.
    fn load(bytes: &[u8; BYTES]) -> Self;
    /// Its bytes.
    fn bytes(self) -> [u8; BYTES];
    /// The same 64 lanes eight times.
    fn splat(word: u64) -> Self;
    fn and(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    /// Every 64 lanes moved up by so many, less than 64.
    fn up<const BY: u32>(self) -> Self;
    /// Every 64 lanes moved down.
    fn down<const BY: u32>(self) -> Self;
    /// a ^ b ^ c
    fn parity(a: Self, b: Self, c: Self) -> Self;
    /// Where two of three are set.
    fn majority(a: Self, b: Self, c: Self) -> Self;
    /// Where two of three are set, with b and c turned over.
    #[inline(always)]
    fn majority_of_turned(a: Self, b: Self, c: Self) -> Self {
        Self::majority(a, b.not(), c.not())
    }

    /// No lane.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0)
    }
}

/// 512 lanes in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words([u64; 8]);

impl Lanes for Words {
    const MANY: bool = false;

    #[inline(always)]
    fn load(bytes: &[u8; BYTES]) -> Words {
        Words(from_fn(|i| u64::from_le_bytes(from_fn(|byte| bytes[8 * i + byte]))))
    }
    #[inline(always)]
    fn bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
    #[inline(always)]
    fn splat(word: u64) -> Words {
        Words([word; 8])
    }
    #[inline(always)]
    fn and(self, other: Words) -> Words {
        Words(from_fn(|i| self.0[i] & other.0[i]))
    }
    #[inline(always)]
    fn xor(self, other: Words) -> Words {
        Words(from_fn(|i| self.0[i] ^ other.0[i]))
    }
    #[inline(always)]
    fn not(self) -> Words {
        Words(self.0.map(|word| !word))
    }
    #[inline(always)]
    fn up<const BY: u32>(self) -> Words {
        Words(self.0.map(|word| word << BY))
    }
    #[inline(always)]
    fn down<const BY: u32>(self) -> Words {
        Words(self.0.map(|word| word >> BY))
    }
    #[inline(always)]
    fn parity(a: Words, b: Words, c: Words) -> Words {
        a.xor(b).xor(c)
    }
    #[inline(always)]
    fn majority(a: Words, b: Words, c: Words) -> Words {
        Words(from_fn(|i| (a.0[i] & b.0[i]) | (c.0[i] & (a.0[i] ^ b.0[i]))))
    }
}

/// a + b + c of each lane: the sum's bit and the carry.
#[inline(always)]
pub(super) fn full_adder<L: Lanes>(a: L, b: L, c: L) -> (L, L) {
    (L::parity(a, b, c), L::majority(a, b, c))
}

/// As [`full_adder`], with b and c turned over: turning over two of three leaves the sum's bit.
#[inline(always)]
pub(super) fn full_adder_of_turned<L: Lanes>(a: L, b: L, c: L) -> (L, L) {
    (L::parity(a, b, c), L::majority_of_turned(a, b, c))
}

/// Adds `carry` to the number in `planes`, which has room for the sum.
#[inline(always)]
pub(super) fn ripple<L: Lanes>(planes: &mut [L], mut carry: L) {
    for plane in planes {
        let both = plane.and(carry);
        *plane = plane.xor(carry);
        carry = both;
    }
}

/// Adds the number in the first planes of `number`, and a carry, to as many planes: their carry.
#[inline(always)]
pub(super) fn add<L: Lanes>(planes: &mut [L], number: &[L], mut carry: L) -> L {
    for (plane, bit) in planes.iter_mut().zip(number) {
        (*plane, carry) = full_adder(*plane, *bit, carry);
    }
    carry
}

/// Turns eight planes over: byte i of result j has the eight bits that lane 8 i + j has in the
/// planes, a number from 0 to 255.
#[inline(always)]
pub(super) fn transposed<L: Lanes>(planes: &[L; 8]) -> [L; 8] {
    let mut rows = *planes;
    // Rows four apart exchange halves of bytes, then rows two apart quarters, then neighbours bits.
    let masks = [0x0f0f_0f0f_0f0f_0f0f, 0x3333_3333_3333_3333, 0x5555_5555_5555_5555];
    for row in 0..4 {
        exchange::<L, 4>(&mut rows, row, masks[0]);
    }
    for row in [0, 1, 4, 5] {
        exchange::<L, 2>(&mut rows, row, masks[1]);
    }
    for row in [0, 2, 4, 6] {
        exchange::<L, 1>(&mut rows, row, masks[2]);
    }
    rows
}

/// Exchanges the upper bits of a row with the lower bits of the row `BY` after it; the mask has the
/// lower ones.
#[inline(always)]
fn exchange<L: Lanes, const BY: u32>(rows: &mut [L; 8], row: usize, mask: u64) {
    let (low, high) = (rows[row], rows[row + BY as usize]);
    let differ = low.down::<BY>().xor(high).and(L::splat(mask));
    rows[row] = low.xor(differ.up::<BY>());
    rows[row + BY as usize] = high.xor(differ);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that repeat after 251.
    fn plane(seed: usize) -> Words {
        Words::load(&from_fn(|byte| ((byte * 89 + seed * 57 + byte * byte * seed) % 251) as u8))
    }

    fn bit(plane: Words, lane: usize) -> u32 {
        u32::from(plane.bytes()[lane / 8] >> (lane % 8) & 1)
    }

    #[test]
    fn planes_hold_a_number_for_each_lane() {
        let (a, b): ([Words; 5], [Words; 3]) = (from_fn(plane), from_fn(|place| plane(place + 9)));
        let number = |planes: &[Words], lane| (0..planes.len()).map(|p| bit(planes[p], lane) << p).sum::<u32>();
        let mut sum = [Words::zero(); 6];
        for number in [&a[..], &b] {
            let carry = add(&mut sum, number, Words::zero());
            ripple(&mut sum[number.len()..], carry);
        }
        ripple(&mut sum[1..], a[0]);
        for lane in 0..512 {
            let want = number(&a, lane) + number(&b, lane) + 2 * bit(a[0], lane);
            assert_eq!(number(&sum, lane), want % 64, "lane {lane}");
        }
    }

    #[test]
    fn a_byte_of_turned_planes_is_the_number_of_a_lane() {
        let planes: [Words; 8] = from_fn(plane);
        let turned = transposed(&planes).map(Words::bytes);
        for lane in 0..512 {
            let want = (0..8).map(|p| bit(planes[p], lane) << p).sum::<u32>();
            assert_eq!(u32::from(turned[lane % 8][lane / 8]), want, "lane {lane}");
        }
    }
}
