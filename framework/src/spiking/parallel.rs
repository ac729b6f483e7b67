//! Loops over blocks of memory on libtorch's own threads, compiled for the widest vectors the processor has.

use std::ffi::c_void;

unsafe extern "C" {
    fn litesnn_parallel_for(
        count: i64,
        grain: i64,
        closure: *mut c_void,
        body: unsafe extern "C" fn(*mut c_void, i64, i64),
    );
}

/// Elements of a block: a few blocks of f32 stay in the first-level cache.
pub const BLOCK: usize = 1024;

/// Calls `body(begin, end)` for the ranges of blocks of `0..count` on several threads.
pub fn for_blocks<F: Fn(usize, usize) + Sync>(count: usize, body: F) {
    unsafe extern "C" fn run<F: Fn(usize, usize) + Sync>(closure: *mut c_void, first: i64, last: i64) {
        // SAFETY: `closure` is the `body` below, which outlives the call.
        let body = unsafe { &*(closure as *const (F, usize)) };
        for block in first as usize..last as usize {
            (body.0)(block * BLOCK, ((block + 1) * BLOCK).min(body.1));
        }
    }
    let shared = (body, count);
    let blocks = count.div_ceil(BLOCK) as i64;
    // SAFETY: the call returns when all blocks are done; `run` is instantiated for this very closure type.
    unsafe { litesnn_parallel_for(blocks, 16, (&raw const shared) as *mut c_void, run::<F>) }
}

/// Defines `fn $name(args)` with the body compiled three times, for AVX-512, AVX2 and the base instruction set, and chosen
/// when it runs.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis unsafe fn $name($($arg: $type),*) {
            #[allow(clippy::too_many_arguments)]
            #[inline(always)]
            unsafe fn body($($arg: $type),*) { unsafe { $body } }
            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,fma")]
                unsafe fn wide($($arg: $type),*) { unsafe { body($($arg),*) } }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma")]
                unsafe fn medium($($arg: $type),*) { unsafe { body($($arg),*) } }
                if is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw") {
                    return unsafe { wide($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    return unsafe { medium($($arg),*) };
                }
            }
            unsafe { body($($arg),*) }
        }
    };
}
pub(crate) use simd;
