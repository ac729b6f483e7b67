//! Signals that ask to stop: Ctrl-C, SIGTERM, the end of the terminal, and SIGUSR1 and SIGUSR2, which clusters send before they
//! take a machine away. A trial then writes a checkpoint at the next batch and ends.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    // A handler may do little; this is one store.
    STOP.store(true, Ordering::Relaxed);
}

/// What the signals set, from now on. A signal that is ignored already (`nohup`) stays so.
pub fn stop_on_request() -> &'static AtomicBool {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
        // SAFETY: the struct is valid when zeroed (no flags, no blocked signals), and the handler is async-signal-safe. SA_RESTART
        // keeps system calls whole.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut before);
            if before.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = stop as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
    &STOP
}
