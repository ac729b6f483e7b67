//! The gate of a searcher that searches nothing: the last timestep alone counts.

use litesnn_framework::network::TimestepGate;
use tch::{Device, Kind, Tensor};

/// w_T = 1, all other w_i = 0.
pub struct LastTimestep {
    pub steps: i64,
    pub device: Device,
}

impl TimestepGate for LastTimestep {
    fn weights(&self, _epoch: usize) -> Tensor {
        let last = Tensor::ones([1], (Kind::Float, self.device));
        Tensor::cat(&[Tensor::zeros([self.steps - 1], (Kind::Float, self.device)), last], 0)
    }

    fn decide(&self) -> i64 {
        self.steps
    }
}
