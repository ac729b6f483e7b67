//! Signals that ask a process to stop.
//!
//! Ctrl-C, SIGTERM and the end of the terminal are sent by people and systems; clusters send
//! SIGUSR1 and SIGUSR2 before they take a machine away. A trial then writes a checkpoint at the
//! next batch and ends. Whoever waits for trials in other processes passes the request on.
//!
//! A second Ctrl-C or SIGTERM ends the process at once, whatever it does. The end of a terminal
//! (SIGHUP) asks to stop like the others, unless `nohup` has it ignored.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};

use libc::c_int;

/// Sent by a cluster some time before a job ends, where its batch script asks for it.
pub const USR2: c_int = libc::SIGUSR2;
/// Sent when a job is ended.
pub const TERM: c_int = libc::SIGTERM;

/// A request to stop that comes so long after an earlier one is a second request, and not the same
/// one by another way: `timeout` and a cluster send a signal to a process and to its launcher, which
/// passes it on.
const SAME_REQUEST: i64 = 500_000_000;
/// Seconds for which a trial may go on to its next checkpoint when its launcher is gone.
const ORPHAN: libc::c_uint = 120;

static STOP: AtomicBool = AtomicBool::new(false);
static FIRST: AtomicI32 = AtomicI32::new(0);
/// When a person or a system first asked to stop, in nanoseconds of a clock that only goes forward.
static ASKED: AtomicI64 = AtomicI64::new(0);
/// The process that has to outlive this one; 0 where there is none.
static LAUNCHER: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: c_int) {
    // A handler may do little: these are stores and system calls. The first signal says why.
    let _ = FIRST.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
    STOP.store(true, Ordering::Relaxed);
    if matches!(signal, libc::SIGINT | libc::SIGTERM) {
        let now = nanoseconds();
        let first = ASKED.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).err();
        if first.is_some_and(|first| now - first >= SAME_REQUEST) {
            end_by(signal);
        }
    }
    let launcher = LAUNCHER.load(Ordering::Relaxed);
    // SAFETY: both are system calls that a handler may make.
    unsafe {
        if launcher != 0 && libc::getppid() != launcher {
            libc::alarm(ORPHAN);
        }
    }
}

fn nanoseconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the struct that it is given; a handler may call it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec * 1_000_000_000 + now.tv_nsec).max(1)
}

/// Ends this process as the signal would have, had nobody listened; at once, or, within a handler,
/// on its return.
fn end_by(signal: c_int) {
    // SAFETY: both may be called in a handler.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Ends this process as a program that writes to a pipe whose reader has ended.
pub fn end_by_closed_pipe() {
    end_by(libc::SIGPIPE);
}

/// From here on this process, which a launcher started, does not outlive it: when the launcher is
/// gone, the kernel asks this process to stop, and some time later it ends, whatever it does.
pub fn end_with_launcher() {
    // SAFETY: a system call.
    LAUNCHER.store(unsafe { libc::getppid() }, Ordering::Relaxed);
}

/// Has the kernel ask this process to stop when `launcher`, which has just started it, ends. To be
/// called between fork and exec.
pub fn stop_when_gone(launcher: u32) {
    // SAFETY: system calls, which may be made between fork and exec.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        if libc::getppid() != launcher as libc::pid_t {
            // It was gone before the kernel was told.
            libc::raise(libc::SIGTERM);
        }
    }
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
