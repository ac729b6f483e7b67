//! Spiking neurons and layers over tensors in which time is an axis: a convolution sees
//! `[T·B, C, H, W]`, a neuron sees `[T, B, C, H, W]` and runs all timesteps in one kernel.

mod batch_norm;
mod convolution;
mod cuda;
mod dropout;
mod floor;
mod function;
mod lanes;
mod lif;
mod maps;
mod moments;
pub mod neuron;
mod node;
pub mod parallel;
mod precision;
mod recorder;
mod time;

pub use batch_norm::{BatchNorm, Statistics};
pub use convolution::{Convolved, kaiming_fan_out};
pub use dropout::Dropout;
pub use floor::ConvolutionFloor;
pub(crate) use function::panic_on_failure;
pub use function::{changed, custom_function, straight_through, version};
pub use lif::Lif;
pub use maps::{channels_last, side_by_side, stack_weights};
pub use neuron::{Activation, Dspike, NeuronSettings, Neurons, Reset, Surrogate};
pub use node::{Currents, Drives, Term, node_spikes};
pub use precision::Precision;
pub use recorder::{ConvolutionCall, Recorder};
pub use time::{firing_rate, fold_time, repeat_over_time, unfold_time};
