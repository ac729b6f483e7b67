//! Signals that ask a process to stop.
//!
//! Ctrl-C, SIGTERM and the end of the terminal are sent by people and systems; clusters send
//! SIGUSR1 and SIGUSR2 before they take a machine away. A trial then writes a checkpoint at the
//! next batch and ends. Whoever waits for trials in other processes passes the request on.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use libc::c_int;

/// Sent by a cluster some time before a job ends, where its batch script asks for it.
pub const USR2: c_int = libc::SIGUSR2;
/// Sent when a job is ended.
pub const TERM: c_int = libc::SIGTERM;

static STOP: AtomicBool = AtomicBool::new(false);
static FIRST: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: c_int) {
    // A handler may do little: these are two stores. The first signal says why.
    let _ = FIRST.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
    STOP.store(true, Ordering::Relaxed);
}

/// From here on these signals do nothing but to be noted. A signal that is ignored already
/// (`nohup`) stays so.
fn listen(signals: &[c_int]) {
    for signal in signals {
        // SAFETY: the struct is valid when zeroed (no flags, no blocked signals), and the handler
        // is async-signal-safe. SA_RESTART keeps system calls whole.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(*signal, std::ptr::null(), &raw mut before);
            if before.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(*signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// What becomes true when any signal asks to stop, from now on.
pub fn stop_on_request() -> &'static AtomicBool {
    listen(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2]);
    &STOP
}

/// From here on these signals do nothing but to be [`noted`].
pub fn note_these(signals: &[c_int]) {
    listen(signals);
}

/// The first of the signals that came.
pub fn noted() -> Option<c_int> {
    match FIRST.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(signal),
    }
}

/// Asks a process of this machine to stop; false where it is not there.
pub fn terminate(process: u32) -> bool {
    // SAFETY: kill takes any number.
    unsafe { libc::kill(process as libc::pid_t, libc::SIGTERM) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SIGWINCH does nothing to a process that does not ask for it, so that no other test is
    /// disturbed.
    #[test]
    fn a_signal_is_noted_and_one_that_is_ignored_stays_so() {
        // SAFETY: sets how this process takes a signal that nothing else here uses, and sends it to
        // this process.
        let raise = || unsafe { libc::raise(libc::SIGWINCH) };
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGWINCH, libc::SIG_IGN) };
        note_these(&[libc::SIGWINCH]);
        raise();
        assert_eq!(noted(), None);
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGWINCH, libc::SIG_DFL) };
        note_these(&[libc::SIGWINCH]);
        raise();
        assert_eq!(noted(), Some(libc::SIGWINCH));
    }
}
