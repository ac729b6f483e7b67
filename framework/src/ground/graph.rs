//! Work that a CUDA device does again and again, recorded once and launched as a whole: the host
//! gives one order instead of thousands.

use std::ffi::{c_char, c_int, c_void};

use tch::Device;

use super::message::text_of;
use crate::{Error, Result};

unsafe extern "C" {
    fn litesnn_graph_possible() -> c_int;
    fn litesnn_graph_stream(index: c_int) -> *mut c_char;
    fn litesnn_graph_begin(graph: *mut *mut c_void) -> *mut c_char;
    fn litesnn_graph_end(graph: *mut c_void) -> *mut c_char;
    fn litesnn_graph_replay(graph: *mut c_void) -> *mut c_char;
    fn litesnn_graph_free(graph: *mut c_void) -> *mut c_char;
}

/// A record of work on a CUDA device.
///
/// Tensors that the work made live in memory of the graph. Each [`Graph::replay`] reads and writes
/// the same memory as the work did: what the work shall read has to be copied there.
pub struct Graph {
    raw: *mut c_void,
}

impl Graph {
    /// Whether work on `device` can be recorded, as far as libtorch says.
    pub fn is_possible(device: Device) -> bool {
        // SAFETY: takes no pointer.
        matches!(device, Device::Cuda(_)) && unsafe { litesnn_graph_possible() != 0 }
    }

    /// [`Graph::is_possible`]. If so, this thread's work goes to a stream that can be recorded from
    /// here on.
    pub fn prepare(device: Device) -> bool {
        let Device::Cuda(index) = device else { return false };
        // SAFETY: takes no pointer.
        Graph::is_possible(device) && unsafe { said(litesnn_graph_stream(index as c_int)).is_ok() }
    }

    /// Records `work`, which is not done now but by [`Graph::replay`]. Work that reads a number
    /// back from the device cannot be recorded.
    ///
    /// # Errors
    ///
    /// Those of `work`, and that it cannot be recorded. Nothing was done on the device then.
    pub fn record<T>(work: impl FnOnce() -> Result<T>) -> Result<(Graph, T)> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the C++ side writes one pointer, which is this graph's own.
        unsafe { said(litesnn_graph_begin(&raw mut raw))? };
        let graph = Graph { raw };
        let outcome = super::guarded(work);
        // SAFETY: recording has begun.
        let ended = unsafe { said(litesnn_graph_end(graph.raw)) };
        let made = outcome?;
        ended.map(|()| (graph, made))
    }

    /// Does the work, in order with what is on the stream.
    pub fn replay(&self) -> Result<()> {
        // SAFETY: recorded without an error.
        unsafe { said(litesnn_graph_replay(self.raw)) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: this graph's own, freed once. A failure leaves memory to the device.
        let _ = unsafe { said(litesnn_graph_free(self.raw)) };
    }
}

/// The failure that libtorch told; null is none.
///
/// # Safety
/// As [`text_of`].
unsafe fn said(message: *mut c_char) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { text_of(message) }.map_or(Ok(()), |text| Err(Error::of_panic(&text)))
}
