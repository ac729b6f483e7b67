//! Spiking neurons and layers over tensors in which time is an axis: a convolution sees `[T·B, C, H, W]`, a neuron sees
//! `[T, B, C, H, W]` and runs all timesteps in one kernel.

pub mod convolution;
pub mod function;
mod lanes;
pub mod layer;
pub mod lif;
pub mod node;
pub mod parallel;

pub use convolution::{Precision, convolution};
pub use function::{custom_function, version};
pub use lif::{Dspike, Lif};
pub use node::{Currents, Term, node};
