//! Vectors of neighbouring channels, for kernels whose loops the compiler does not vectorise by
//! itself.
//!
//! [`Sixteen`] is one register of AVX-512 with masks, [`Eight`] an array on any processor. Their
//! numbers differ by rounding alone, and only in [`Lanes::mul_add`].

/// Several f32 side by side.
///
/// # Safety
/// Every function needs the instruction set of its type; memory has to be there for the lanes of
/// the mask.
pub(super) trait Lanes: Copy {
    /// Number of lanes.
    const COUNT: usize;
    /// Which lanes are read and written.
    type Mask: Copy;

    /// The first `count` lanes.
    unsafe fn first(count: usize) -> Self::Mask;
    unsafe fn splat(value: f32) -> Self;
    /// Zero in the lanes outside of the mask.
    unsafe fn load(at: *const f32, mask: Self::Mask) -> Self;
    unsafe fn store(self, at: *mut f32, mask: Self::Mask);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// self · factor + term, rounded once where the processor can.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn abs(self) -> Self;
    unsafe fn floor(self) -> Self;
    /// Times 2^whole, for whole in -126..=0.
    unsafe fn raised(self, whole: Self) -> Self;
    /// `yes` where it is more than `limit`, else `no`.
    unsafe fn above(self, limit: Self, yes: Self, no: Self) -> Self;
    /// Each lane, zeros after the last.
    unsafe fn values(self) -> [f32; 16];
}

/// Asks for memory that is needed soon.
#[inline(always)]
pub(super) fn prefetch(at: *const f32) {
    // SAFETY: a hint, which does not touch memory that is not there.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Asks for memory that is written soon.
#[inline(always)]
pub(super) fn prefetch_to_write(at: *const f32) {
    // SAFETY: as above.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Defines `$name` as `$rows` with the widest lanes that the processor has.
macro_rules! with_lanes {
    ($vis:vis $name:ident, $narrow:ident, $rows:ident, ($($arg:ident: $type:ty),* $(,)?)) => {
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,fma")]
                unsafe fn wide($($arg: $type),*) { unsafe { $rows::<$crate::spiking::lanes::Sixteen>($($arg),*) } }
                if is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw") {
                    return unsafe { wide($($arg),*) };
                }
            }
            unsafe { $narrow($($arg),*) }
        }
        $crate::spiking::parallel::simd! {
            #[allow(clippy::too_many_arguments)]
            unsafe fn $narrow($($arg: $type),*) {
                $rows::<$crate::spiking::lanes::Eight>($($arg),*)
            }
        }
    };
}
pub(super) use with_lanes;

/// Eight lanes in an array.
#[derive(Clone, Copy)]
pub(super) struct Eight([f32; 8]);

impl Eight {
    #[inline(always)]
    fn each(self, other: Eight, of: impl Fn(f32, f32) -> f32) -> Eight {
        Eight(std::array::from_fn(|i| of(self.0[i], other.0[i])))
    }
}

impl Lanes for Eight {
    const COUNT: usize = 8;
    type Mask = usize;

    #[inline(always)]
    unsafe fn first(count: usize) -> usize {
        count.min(8)
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Eight {
        Eight([value; 8])
    }
    #[inline(always)]
    unsafe fn load(at: *const f32, mask: usize) -> Eight {
        let mut result = [0f32; 8];
        unsafe { std::ptr::copy_nonoverlapping(at, result.as_mut_ptr(), mask) };
        Eight(result)
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32, mask: usize) {
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), at, mask) };
    }
    #[inline(always)]
    unsafe fn add(self, other: Eight) -> Eight {
        self.each(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Eight) -> Eight {
        self.each(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Eight) -> Eight {
        self.each(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Eight) -> Eight {
        self.each(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Eight, term: Eight) -> Eight {
        self.each(factor, |a, b| a * b).each(term, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn max(self, other: Eight) -> Eight {
        self.each(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn abs(self) -> Eight {
        self.each(self, |a, _| a.abs())
    }
    #[inline(always)]
    unsafe fn floor(self) -> Eight {
        self.each(self, |a, _| a.floor())
    }
    #[inline(always)]
    unsafe fn raised(self, whole: Eight) -> Eight {
        self.each(whole, |a, whole| a * f32::from_bits(((whole as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    unsafe fn above(self, limit: Eight, yes: Eight, no: Eight) -> Eight {
        Eight(std::array::from_fn(|i| if self.0[i] > limit.0[i] { yes.0[i] } else { no.0[i] }))
    }
    #[inline(always)]
    unsafe fn values(self) -> [f32; 16] {
        let mut all = [0f32; 16];
        all[..8].copy_from_slice(&self.0);
        all
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use wide::Sixteen;

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// Sixteen lanes in a register; needs AVX-512 F and DQ.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Sixteen(__m512);

    impl Lanes for Sixteen {
        const COUNT: usize = 16;
        type Mask = __mmask16;

        #[inline(always)]
        unsafe fn first(count: usize) -> __mmask16 {
            if count >= 16 { u16::MAX } else { (1 << count) - 1 }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Sixteen {
            unsafe { Sixteen(_mm512_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32, mask: __mmask16) -> Sixteen {
            unsafe { Sixteen(_mm512_maskz_loadu_ps(mask, at)) }
        }
        #[inline(always)]
        unsafe fn store(self, at: *mut f32, mask: __mmask16) {
            unsafe { _mm512_mask_storeu_ps(at, mask, self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Sixteen) -> Sixteen {
            unsafe { Sixteen(_mm512_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Sixteen) -> Sixteen {
            unsafe { Sixteen(_mm512_sub_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Sixteen) -> Sixteen {
            unsafe { Sixteen(_mm512_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn div(self, other: Sixteen) -> Sixteen {
            unsafe { Sixteen(_mm512_div_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Sixteen, term: Sixteen) -> Sixteen {
            unsafe { Sixteen(_mm512_fmadd_ps(self.0, factor.0, term.0)) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Sixteen) -> Sixteen {
            unsafe { Sixteen(_mm512_max_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn abs(self) -> Sixteen {
            unsafe { Sixteen(_mm512_abs_ps(self.0)) }
        }
        #[inline(always)]
        unsafe fn floor(self) -> Sixteen {
            unsafe { Sixteen(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(self.0)) }
        }
        #[inline(always)]
        unsafe fn raised(self, whole: Sixteen) -> Sixteen {
            unsafe { Sixteen(_mm512_scalef_ps(self.0, whole.0)) }
        }
        #[inline(always)]
        unsafe fn above(self, limit: Sixteen, yes: Sixteen, no: Sixteen) -> Sixteen {
            unsafe {
                let more = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, limit.0);
                Sixteen(_mm512_mask_blend_ps(more, no.0, yes.0))
            }
        }
        #[inline(always)]
        unsafe fn values(self) -> [f32; 16] {
            let mut all = [0f32; 16];
            unsafe { _mm512_storeu_ps(all.as_mut_ptr(), self.0) };
            all
        }
    }
}
