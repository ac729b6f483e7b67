//! What one layer of neurons hands to the next.

use litesnn_framework::network::Pass;
use litesnn_framework::spiking::{firing_rate, unfold_time};
use tch::Tensor;

/// Spikes `[T·B, C, H, W]` and their rate `[T]`, if it is measured.
pub(super) struct Signal {
    pub(super) spikes: Tensor,
    /// It is `[B, C, H, W]`, the same at every timestep.
    pub(super) constant: bool,
    pub(super) rate: Option<Tensor>,
}

impl Signal {
    pub(super) fn new(spikes: Tensor, pass: &Pass) -> Signal {
        let rate = pass.measure.then(|| firing_rate(&unfold_time(&spikes, pass.timesteps)));
        Signal { spikes, constant: false, rate }
    }
}
