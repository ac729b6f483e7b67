//! The number of threads that libtorch computes with, and how they wait for each other.

use std::ffi::{c_int, c_void};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{counted, neighbours};

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

/// The variables that say how threads of OpenMP wait for each other, in GNU's library and in others.
const WAITING: [&str; 3] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];

/// The threads of a process, and why it has so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threads {
    /// How many.
    pub count: u16,
    /// By whom: an option or the environment, and not by this process.
    pub asked: bool,
    /// Why so many, in words that follow the number.
    pub reason: String,
}

impl Threads {
    /// Those that libtorch has now.
    pub fn present() -> Threads {
        let count = u16::try_from(tch::get_num_threads().max(1)).unwrap_or(u16::MAX);
        Threads { count, asked: true, reason: "as before".into() }
    }

    /// So many threads from here on, or as many of them as OpenMP gives.
    pub fn take(&self) -> u16 {
        set(self.count);
        let given = u16::try_from(team(i64::from(self.count))).unwrap_or(1);
        if given < self.count {
            set(given);
        }
        given
    }
}

/// `2 threads: all cores are free`
impl std::fmt::Display for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", counted(usize::from(self.count), "thread"), self.reason)
    }
}

/// Has the threads of this process sleep while they wait for each other.
///
/// They would spin for milliseconds. Where another program takes a core, a thread then waits in vain
/// for one that has no core, at the end of every loop: a step of training takes 2 to 4 times as long
/// as on one thread. Threads that sleep take 1.2 times as long there, and at most 1.2 times as long as
/// spinning ones on a machine of one's own (docs/SPEED.md).
///
/// OpenMP reads its variables when it is loaded, which is before `main`: so the process starts itself
/// once more, with the same number and files. What the user set stays; where that cannot be done, the
/// threads spin.
pub fn sleep_while_waiting() {
    if WAITING.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        let mut arguments = std::env::args_os();
        let mut again = Command::new(program);
        if let Some(name) = arguments.next() {
            again.arg0(name);
        }
        // It returns only where it fails.
        let _ = again.args(arguments).env(WAITING[0], "passive").exec();
    }
}

/// Sets the number of threads: what is asked for, else what the environment (`OMP_NUM_THREADS`) says,
/// else one for each core, and never more than OpenMP really gives.
///
/// oneDNN splits a convolution among as many threads as libtorch has, and lets each wait for all
/// others. Where OpenMP gives fewer (`OMP_THREAD_LIMIT`), they wait forever.
pub fn settle(asked: Option<u16>) -> Threads {
    fixed_teams();
    let of_environment = std::env::var("OMP_NUM_THREADS").ok().filter(|value| !value.trim().is_empty());
    let own = u16::try_from(tch::get_num_threads().max(1)).unwrap_or(u16::MAX);
    let (wanted, reason) = match (asked, &of_environment) {
        (Some(asked), _) => (asked, "`--threads`".to_owned()),
        (None, Some(value)) => (own, format!("OMP_NUM_THREADS={value}")),
        (None, None) => {
            // A limit of processor time, as containers have it, is not known to libtorch.
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            (own.min(u16::try_from(cores).unwrap_or(u16::MAX)), "one for each core".to_owned())
        }
    };
    let mut threads = Threads { count: wanted, asked: asked.is_some() || of_environment.is_some(), reason };
    let given = threads.take();
    if given < wanted {
        let why = LIMITS.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
        let why = why.collect::<Vec<_>>().join(", ");
        let why = if why.is_empty() { why } else { format!(" ({why})") };
        threads.count = given;
        threads.reason = match threads.asked {
            true => format!("{} were asked for, and OpenMP gives {given}{why}", counted(usize::from(wanted), "thread")),
            false => format!("OpenMP gives no more{why}"),
        };
    }
    threads
}

/// The same, with no more threads than there are cores that other programs leave free, unless
/// somebody asked for more. Takes [`neighbours::WINDOW`] where nobody asked.
pub fn settle_beside_others(asked: Option<u16>) -> Threads {
    let threads = settle(asked);
    if threads.asked || threads.count == 1 {
        return threads;
    }
    match neighbours::busy_cores() {
        Some(busy) => leave(threads, busy),
        None => threads,
    }
}

/// Leaves the cores that others keep busy to them, and takes at least one.
fn leave(threads: Threads, busy: f64) -> Threads {
    let free = (f64::from(threads.count) - busy).round().max(1.0) as u16;
    if free >= threads.count {
        return Threads { reason: "all cores are free".into(), ..threads };
    }
    let reason = format!("other programs keep {busy:.1} of {} cores busy", threads.count);
    let threads = Threads { count: free, asked: false, reason };
    threads.take();
    threads
}

fn set(threads: u16) {
    tch::set_num_threads(i32::from(threads.max(1)));
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
        let threads = settle(None);
        assert_eq!(i32::from(threads.count), before);
        assert_eq!(tch::get_num_threads(), before);
        assert_eq!(team(i64::from(before)), i64::from(before));
    }

    #[test]
    fn cores_that_others_use_are_left_to_them_and_one_is_taken_anyway() {
        let own = || Threads { count: 4, asked: false, reason: "one for each core".into() };
        let before = tch::get_num_threads();
        let left = |busy| leave(own(), busy).to_string();
        assert_eq!(left(0.3), "4 threads: all cores are free");
        assert_eq!(left(1.2), "3 threads: other programs keep 1.2 of 4 cores busy");
        assert_eq!(left(3.9), "1 thread: other programs keep 3.9 of 4 cores busy");
        assert_eq!(left(9.0), "1 thread: other programs keep 9.0 of 4 cores busy");
        tch::set_num_threads(before);
    }
}
