//! Loops over blocks of memory on libtorch's own threads, compiled for the widest vectors the
//! processor has.

use std::ffi::c_void;

use tch::Tensor;

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

/// Rows of a tile: sums in f32 are no longer than that.
pub(super) const TILE: usize = 64;

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
    // SAFETY: the call returns when all blocks are done; `run` is instantiated for this very
    // closure type.
    unsafe { litesnn_parallel_for(blocks, 16, (&raw const shared) as *mut c_void, run::<F>) }
}

/// Ranges that [`for_parts`] makes: one for each thread.
pub fn parts() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// Calls `body(part, begin, end)` for [`parts`] ranges that make up `0..count`, each on one thread.
/// Sums that each part keeps for itself and that are added in their order are the same from run to
/// run.
pub fn for_parts<F: Fn(usize, usize, usize) + Sync>(count: usize, body: F) {
    unsafe extern "C" fn run<F: Fn(usize, usize, usize) + Sync>(closure: *mut c_void, first: i64, last: i64) {
        // SAFETY: `closure` is the tuple below, which outlives the call.
        let (body, count, parts) = unsafe { &*(closure as *const (F, usize, usize)) };
        for part in first as usize..last as usize {
            let (begin, end) = (part * count / parts, (part + 1) * count / parts);
            if begin < end {
                body(part, begin, end);
            }
        }
    }
    let parts = parts();
    let shared = (body, count, parts);
    // SAFETY: as above.
    unsafe { litesnn_parallel_for(parts as i64, 1, (&raw const shared) as *mut c_void, run::<F>) }
}

/// Memory for threads that write disjoint parts of it.
#[derive(Clone, Copy)]
pub struct Pointer(pub(crate) *mut f32);
// SAFETY: used only for disjoint blocks, while the tensor is alive.
unsafe impl Sync for Pointer {}
unsafe impl Send for Pointer {}

impl Pointer {
    /// Of an f32 tensor on the CPU.
    pub fn of(tensor: &Tensor) -> Pointer {
        Pointer(tensor.data_ptr().cast())
    }
    /// Of the slots that parts write their results to.
    pub fn to<T>(slots: &mut [T]) -> Pointer {
        Pointer(slots.as_mut_ptr().cast())
    }
    /// Its address.
    pub fn get(&self) -> *mut f32 {
        self.0
    }
}

/// Defines `fn $name(args)` with the body compiled three times, for AVX-512, AVX2 and the base
/// instruction set, and chosen when it runs.
#[macro_export]
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis unsafe fn $name($($arg: $type),*) {
            #[allow(clippy::too_many_arguments, clippy::macro_metavars_in_unsafe)]
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
pub use simd;
