//! A trained spiking network without libtorch: what it is, its packed file, and how it runs.
//!
//! [`Network`] is the one definition that the packed file holds, the engine runs, and the exporters
//! of other formats read.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod network;
mod outcome;
mod reference;

pub use network::{
    Current, EarlyExit, Image, Join, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window,
};
pub use outcome::{BadImage, Operations, Outcome};
pub use reference::Reference;
