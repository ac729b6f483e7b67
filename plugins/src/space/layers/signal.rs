//! What one layer hands to the next.

use litesnn_framework::network::{Activity, Pass};
use tch::Tensor;

/// Maps `[T·B, C, H, W]`: spikes, sums of spikes, or means of them.
pub struct Signal {
    pub maps: Tensor,
    /// Mean of the numbers at each timestep, `[T]`, where it is known already.
    rate: Option<Tensor>,
    /// Spikes of which each number is the mean.
    window: i64,
    /// What the layers after a dropout are measured by: what neurons did, and not what was dropped.
    undropped: Option<Tensor>,
}

impl Signal {
    pub fn new(maps: Tensor, rate: Option<Tensor>) -> Signal {
        Signal { maps, rate, window: 1, undropped: None }
    }

    /// The signal after pooling.
    pub fn pooled(&self, pool: impl Fn(&Tensor) -> Tensor) -> Signal {
        let undropped = self.undropped.as_ref().map(|maps| tch::no_grad(|| pool(maps)));
        Signal { maps: pool(&self.maps), rate: None, window: self.window, undropped }
    }

    /// The signal after pooling by the mean of `rows` times `columns` numbers.
    pub fn averaged(&self, rows: i64, columns: i64) -> Signal {
        let pool = |maps: &Tensor| maps.avg_pool2d([rows, columns], [rows, columns], [0, 0], false, true, None);
        Signal { window: self.window * rows * columns, ..self.pooled(pool) }
    }

    /// The signal after dropout.
    pub fn dropped(self, maps: Tensor) -> Signal {
        let undropped = self.undropped.unwrap_or(self.maps).detach();
        Signal { maps, undropped: Some(undropped), ..self }
    }

    /// Every map as a vector: `[T·B, C·H·W, 1, 1]`.
    pub fn flat(&self) -> Signal {
        let flat = |maps: &Tensor| maps.flatten(1, -1).unsqueeze(-1).unsqueeze(-1);
        let rate = self.rate.as_ref().map(Tensor::shallow_clone);
        Signal { maps: flat(&self.maps), rate, window: self.window, undropped: self.undropped.as_ref().map(flat) }
    }

    /// What the input neurons of a layer did that reads it: the spikes that arrive at each, also as
    /// sums and means.
    pub fn activity(&self, pass: &Pass) -> Option<Activity> {
        let maps = self.undropped.as_ref().unwrap_or(&self.maps);
        let activity = match &self.rate {
            Some(rate) => Some(pass.activity_of_rate(rate.shallow_clone(), maps)),
            None => pass.activity(maps),
        };
        match self.window {
            1 => activity,
            window => activity.map(|activity| activity.scaled(window as f64)),
        }
    }
}
