//! Spiking neurons and layers over tensors in which time is an axis: a convolution sees `[T·B, C, H, W]`, a neuron sees
//! `[T, B, C, H, W]` and runs all timesteps in one kernel.

pub mod function;
pub mod layer;
pub mod lif;
pub mod parallel;

pub use function::custom_function;
pub use lif::{Dspike, Lif};
