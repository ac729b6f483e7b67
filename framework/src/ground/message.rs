//! Texts that the C++ side hands over.

use std::ffi::{CStr, c_char};

/// A text of the C++ side, which is freed; null is none. A call that can fail hands over its failure
/// so, and null where it did not fail.
///
/// # Safety
/// Null, or made by `strdup`, and nobody else frees it.
pub(crate) unsafe fn text_of(message: *mut c_char) -> Option<String> {
    if message.is_null() {
        return None;
    }
    // SAFETY: a C string that is this function's own.
    unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        libc::free(message.cast());
        Some(text)
    }
}
