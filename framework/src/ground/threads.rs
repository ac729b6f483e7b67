//! The number of threads that libtorch computes with.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI64, Ordering};

use super::counted;

unsafe extern "C" {
    fn litesnn_parallel_for(
        count: i64,
        grain: i64,
        closure: *mut c_void,
        body: unsafe extern "C" fn(*mut c_void, i64, i64),
    );
}

/// Variables of OpenMP that can give a loop fewer threads than it asks for.
const LIMITS: [&str; 3] = ["OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS", "OMP_DYNAMIC"];

/// Sets the number of threads: what is asked for, else what the environment (`OMP_NUM_THREADS`) or
/// libtorch says, and never more than OpenMP really gives. Returns what a user should know of it.
///
/// oneDNN splits a convolution among as many threads as libtorch has, and lets each wait for all
/// others. Where OpenMP gives fewer (`OMP_THREAD_LIMIT`), they wait forever.
pub fn settle(asked: Option<u16>) -> Option<String> {
    fixed_teams();
    if let Some(threads) = asked {
        tch::set_num_threads(i32::from(threads));
    }
    let wanted = i64::from(tch::get_num_threads().max(1));
    let given = team(wanted);
    if given < wanted {
        tch::set_num_threads(i32::try_from(given).unwrap_or(1));
    }
    asked.filter(|asked| given < i64::from(*asked)).map(|asked| {
        let why = LIMITS.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
        let why = why.collect::<Vec<_>>().join(", ");
        let why = if why.is_empty() { why } else { format!(" ({why})") };
        format!("{} were asked for, and OpenMP gives {given}{why}", counted(usize::from(asked), "thread"))
    })
}

/// Does work of a few small operations, as planning is, on one thread: others would only wait for
/// its end, and take the processor from whoever else uses it.
pub fn alone<T>(work: impl FnOnce() -> T) -> T {
    let before = tch::get_num_threads();
    tch::set_num_threads(1);
    let done = work();
    tch::set_num_threads(before);
    done
}

/// Threads of a loop that asks for `wanted`: as many parts as OpenMP makes of it.
fn team(wanted: i64) -> i64 {
    unsafe extern "C" fn count(parts: *mut c_void, _: i64, _: i64) {
        // SAFETY: `parts` is the counter below, which outlives the loop.
        unsafe { &*parts.cast::<AtomicI64>() }.fetch_add(1, Ordering::Relaxed);
    }
    let parts = AtomicI64::new(0);
    // SAFETY: the call returns when all parts are done.
    unsafe { litesnn_parallel_for(wanted, 1, (&raw const parts) as *mut c_void, count) };
    parts.into_inner().clamp(1, wanted)
}

/// Keeps OpenMP from giving a later loop fewer threads than an earlier one (`OMP_DYNAMIC`).
fn fixed_teams() {
    // SAFETY: libtorch brings OpenMP along, whose function takes an int. Without OpenMP there is no
    // such function, and nothing to set.
    unsafe {
        let function = libc::dlsym(libc::RTLD_DEFAULT, c"omp_set_dynamic".as_ptr());
        if !function.is_null() {
            let set_dynamic: unsafe extern "C" fn(c_int) = std::mem::transmute(function);
            set_dynamic(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests of this process compute meanwhile, so that the number stays what it is.
    #[test]
    fn a_loop_has_as_many_threads_as_libtorch_says() {
        let before = tch::get_num_threads();
        assert_eq!(settle(None), None);
        assert_eq!(tch::get_num_threads(), before);
        assert_eq!(team(i64::from(before)), i64::from(before));
    }
}
