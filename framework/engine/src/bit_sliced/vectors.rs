//! 512 lanes in vectors of AVX2 and AVX-512.
//!
//! Their operations are unsafe only because a processor may lack them. [`super::processor`] alone
//! names these types, and asks before whether it has.

#![allow(unsafe_code)]
// Operations of AVX-512 are there from Rust 1.89 on, and so is the feature `std`.
#![allow(clippy::incompatible_msrv)]

use core::arch::x86_64::*;

use super::lanes::{BYTES, Lanes};

/// Two vectors of AVX2.
#[derive(Clone, Copy)]
pub(super) struct Two([__m256i; 2]);

impl Lanes for Two {
    const MANY: bool = false;

    #[inline(always)]
    fn load(bytes: &[u8; BYTES]) -> Two {
        // SAFETY: the processor has AVX2.
        unsafe { Two(core::mem::transmute::<[u8; BYTES], [__m256i; 2]>(*bytes)) }
    }
    #[inline(always)]
    fn bytes(self) -> [u8; BYTES] {
        // SAFETY: the processor has AVX2.
        unsafe { core::mem::transmute::<[__m256i; 2], [u8; BYTES]>(self.0) }
    }
    #[inline(always)]
    fn splat(word: u64) -> Two {
        // SAFETY: the processor has AVX2.
        unsafe { Two([_mm256_set1_epi64x(word as i64); 2]) }
    }
    #[inline(always)]
    fn and(self, other: Two) -> Two {
        // SAFETY: the processor has AVX2.
        unsafe { Two([_mm256_and_si256(self.0[0], other.0[0]), _mm256_and_si256(self.0[1], other.0[1])]) }
    }
    #[inline(always)]
    fn xor(self, other: Two) -> Two {
        // SAFETY: the processor has AVX2.
        unsafe { Two([_mm256_xor_si256(self.0[0], other.0[0]), _mm256_xor_si256(self.0[1], other.0[1])]) }
    }
    #[inline(always)]
    fn not(self) -> Two {
        self.xor(Two::splat(u64::MAX))
    }
    #[inline(always)]
    fn up<const BY: u32>(self) -> Two {
        // SAFETY: the processor has AVX2.
        unsafe {
            let by = _mm_cvtsi32_si128(BY as i32);
            Two([_mm256_sll_epi64(self.0[0], by), _mm256_sll_epi64(self.0[1], by)])
        }
    }
    #[inline(always)]
    fn down<const BY: u32>(self) -> Two {
        // SAFETY: the processor has AVX2.
        unsafe {
            let by = _mm_cvtsi32_si128(BY as i32);
            Two([_mm256_srl_epi64(self.0[0], by), _mm256_srl_epi64(self.0[1], by)])
        }
    }
    #[inline(always)]
    fn parity(a: Two, b: Two, c: Two) -> Two {
        a.xor(b).xor(c)
    }
    #[inline(always)]
    fn majority(a: Two, b: Two, c: Two) -> Two {
        // SAFETY: the processor has AVX2.
        unsafe {
            let either = a.xor(b).and(c);
            let both = a.and(b);
            Two([_mm256_or_si256(both.0[0], either.0[0]), _mm256_or_si256(both.0[1], either.0[1])])
        }
    }
}

/// A vector of AVX-512: any function of three bits is one operation.
#[derive(Clone, Copy)]
pub(super) struct One(__m512i);

impl Lanes for One {
    const MANY: bool = true;

    #[inline(always)]
    fn load(bytes: &[u8; BYTES]) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(core::mem::transmute::<[u8; BYTES], __m512i>(*bytes)) }
    }
    #[inline(always)]
    fn bytes(self) -> [u8; BYTES] {
        // SAFETY: the processor has AVX-512.
        unsafe { core::mem::transmute::<__m512i, [u8; BYTES]>(self.0) }
    }
    #[inline(always)]
    fn splat(word: u64) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_set1_epi64(word as i64)) }
    }
    #[inline(always)]
    fn and(self, other: One) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_and_si512(self.0, other.0)) }
    }
    #[inline(always)]
    fn xor(self, other: One) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_xor_si512(self.0, other.0)) }
    }
    #[inline(always)]
    fn not(self) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_ternarylogic_epi64::<0x55>(self.0, self.0, self.0)) }
    }
    #[inline(always)]
    fn up<const BY: u32>(self) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_slli_epi64::<BY>(self.0)) }
    }
    #[inline(always)]
    fn down<const BY: u32>(self) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_srli_epi64::<BY>(self.0)) }
    }
    #[inline(always)]
    fn parity(a: One, b: One, c: One) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_ternarylogic_epi64::<0x96>(a.0, b.0, c.0)) }
    }
    #[inline(always)]
    fn majority(a: One, b: One, c: One) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_ternarylogic_epi64::<0xe8>(a.0, b.0, c.0)) }
    }
    #[inline(always)]
    fn majority_of_turned(a: One, b: One, c: One) -> One {
        // SAFETY: the processor has AVX-512.
        unsafe { One(_mm512_ternarylogic_epi64::<0x71>(a.0, b.0, c.0)) }
    }
}
