//! A trained spiking network without libtorch: what it is, its packed file, and how it runs.
//!
//! [`Network`] is the one definition that the packed file holds, the engine runs, and the exporters
//! of other formats read.

#![no_std]
#![cfg_attr(not(feature = "std"), forbid(unsafe_code))]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod bit_sliced;
mod check;
pub mod file;
pub mod mask;
mod memory;
mod network;
mod outcome;
mod reference;
pub mod sample;

pub use bit_sliced::{Arena, Form, LayerTime, Prepared, Processor, Times};
pub use check::Flaw;
pub use network::{
    Current, EarlyExit, Image, Join, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window,
};
pub use outcome::{BadImage, Operations, Outcome};
pub use reference::Reference;
