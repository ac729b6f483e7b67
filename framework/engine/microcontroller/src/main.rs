//! A packed network in flash, run by the engine on a Cortex-M with a floating-point unit.
//!
//! The file that `LITESNN_NETWORK` names at the build lies in flash as it is. The network that it
//! holds and what a run needs lie in an arena of a fixed size; no other memory is allocated. The
//! image is a ramp, pixel i of n is i / n, in place of a camera's.
//!
//! What it says goes to a debugger by semihosting: the class, the bits of every logit, and the most
//! bytes of the arena that were in use. An error ends it with its message.
//!
//! ```text
//! LITESNN_NETWORK=/where/it/is/network.packed cargo run --release     # in QEMU
//! ```

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};

use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use embedded_alloc::LlffHeap;
use litesnn_engine::file::read;
use litesnn_engine::{Network, Reference};
use panic_semihosting as _;

/// Bytes of the arena: what the quick start's network needs, and room for one twice as large.
const BYTES: usize = 1 << 20;

static FILE: &[u8] = include_bytes!(env!("LITESNN_NETWORK", "names the packed file that goes into flash"));

#[global_allocator]
static ARENA: Arena = Arena { heap: LlffHeap::empty(), most: AtomicUsize::new(0) };

/// A heap of a fixed size that remembers how much of it was in use at most.
struct Arena {
    heap: LlffHeap,
    most: AtomicUsize,
}

// SAFETY: the heap keeps the rules of an allocator, and counting touches none of its memory.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller's.
        let place = unsafe { self.heap.alloc(layout) };
        self.most.fetch_max(self.heap.used(), Ordering::Relaxed);
        place
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { self.heap.dealloc(place, layout) }
    }
}

#[entry]
fn main() -> ! {
    static mut MEMORY: [MaybeUninit<u8>; BYTES] = [MaybeUninit::uninit(); BYTES];
    // SAFETY: it is called once, before anything is allocated, and nothing else has this memory.
    unsafe { ARENA.heap.init(MEMORY.as_ptr() as usize, BYTES) };

    let (network, _) = read(FILE).expect("the file in flash is a packed network");
    let pixels = ramp(&network);
    let outcome = Reference::new(&network).run(&pixels).expect("the ramp is as large as an image of the network");
    hprintln!("class {}", network.classes[outcome.class]);
    for logit in &outcome.logits {
        hprintln!("logit {:08x} {}", logit.to_bits(), logit);
    }
    hprintln!("arena {} of {} bytes", ARENA.most.load(Ordering::Relaxed), BYTES);
    debug::exit(debug::EXIT_SUCCESS);
    loop {
        cortex_m::asm::wfi();
    }
}

/// Pixel i of n is i / n.
fn ramp(network: &Network) -> Vec<f32> {
    let pixels: usize = network.image.shape.iter().product();
    (0..pixels).map(|pixel| pixel as f32 / pixels as f32).collect()
}
