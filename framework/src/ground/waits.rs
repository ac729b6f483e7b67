//! How often the host waits for a CUDA device: blocking copies, and values that are read back.

use std::ffi::c_int;

unsafe extern "C" {
    fn litesnn_watch_waits(watch: c_int) -> c_int;
    fn litesnn_waits() -> u64;
}

/// A count of waits, from its beginning on: libtorch's own "sync debug mode", which warns at every
/// operation that waits. There is one at a time.
#[derive(Debug)]
pub struct Waits {
    /// The count when this one began.
    before: u64,
}

impl Waits {
    /// Begins to count; `None` where libtorch's CUDA part is not loaded, or has no such mode.
    pub fn begin() -> Option<Waits> {
        // SAFETY: sets a flag of libtorch and a handler that lives as long as the process.
        let watches = unsafe { litesnn_watch_waits(1) == 0 };
        // SAFETY: reads a number.
        watches.then(|| Waits { before: unsafe { litesnn_waits() } })
    }

    /// Waits since the beginning.
    pub fn count(&self) -> u64 {
        // SAFETY: reads a number.
        unsafe { litesnn_waits() - self.before }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { litesnn_watch_waits(0) };
    }
}
