//! Signals of a process that waits for others.

use std::sync::atomic::{AtomicI32, Ordering};

use libc::c_int;

static LAST: AtomicI32 = AtomicI32::new(0);

/// Sent by a cluster some time before a job ends; the batch script asks for it.
pub const USR2: c_int = libc::SIGUSR2;
/// Sent when a job is ended.
pub const TERM: c_int = libc::SIGTERM;

extern "C" fn note(signal: c_int) {
    // The first one says why.
    let _ = LAST.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
}

/// From here on these signals do nothing but to be [`noted`].
pub fn note_these(signals: &[c_int]) {
    for signal in signals {
        // SAFETY: the handler touches one atomic number.
        unsafe { libc::signal(*signal, note as *const () as libc::sighandler_t) };
    }
}

/// The first of the signals that came.
pub fn noted() -> Option<c_int> {
    match LAST.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(signal),
    }
}

/// Asks a process of this machine to stop; false where it is not there.
pub fn terminate(process: u32) -> bool {
    // SAFETY: kill takes any number.
    unsafe { libc::kill(process as libc::pid_t, libc::SIGTERM) == 0 }
}
