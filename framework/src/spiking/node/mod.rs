//! A layer of neurons with everything that drives it, as one autograd node: batch normalisation of
//! the currents, neurons on candidate operations, their weighted sum, the layer's own neurons.
//!
//! ```text
//! y_k(t) = gamma_k · (x_k(t) - mean_k) / sqrt(var_k + eps) + beta_k          a part of the channels of a convolution
//! I(t)   = sum over k of  scale_k · y_k(t)                                    a current
//!                      or scale_k · LIF(y_k)(t)                               a candidate with neurons of its own
//!                      or scale_k · s_k(t)                                    spikes themselves
//! s      = LIF(I)
//! ```
//!
//! Written op by op, each of these steps reads and writes maps as large as the convolution's. Here
//! the outputs x of the convolutions are all that is kept: the forward pass reads them once for the
//! statistics and once for the spikes, the backward pass recomputes every potential in registers.
//! Maps are channels-last, so that a vector holds neighbouring channels with their own mean and
//! scale; libtorch's convolutions are faster in that layout, too.
//!
//! On a CUDA device kernels of its own do the same, a thread for each channel of a row; statistics,
//! scales and sums stay on the device. On another device, or in another type, the same function is
//! made of tensor operations.

mod currents;
mod device;
mod fused;
mod kernel;
mod normalised;
mod spikes;

pub use currents::{Currents, Drives, Term};
pub(super) use kernel::TermKind;
pub use spikes::node_spikes;
