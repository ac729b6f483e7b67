//! An allocator that counts: how many bytes a thread holds, and the most that it held at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes held now, and at most.
    static HELD: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
}

/// The system's allocator, counted. What grows is copied: both places are held for a while.
pub struct Counting;

// SAFETY: the system's allocator keeps the rules, and counting touches none of its memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let count = |held: &Cell<[usize; 2]>| {
            let [now, most] = held.get();
            held.set([now.wrapping_add(layout.size()), most.max(now.wrapping_add(layout.size()))]);
        };
        // A thread that ends has no counter any more.
        let _ = HELD.try_with(count);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set([held.get()[0].wrapping_sub(layout.size()), held.get()[1]]));
        // SAFETY: as the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

/// What `work` returns, and the most bytes that it held beside those that were there before.
pub fn most<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.get()[0];
    HELD.set([before; 2]);
    let result = work();
    (result, HELD.get()[1] - before)
}
