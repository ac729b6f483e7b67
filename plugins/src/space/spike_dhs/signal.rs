//! What one layer of neurons hands to the next.

use litesnn_framework::network::{Activity, Pass};
use litesnn_framework::spiking::repeat_over_time;
use tch::Tensor;

/// Spikes `[T·B, C, H, W]`, or sums of them, and what is measured of them.
pub(super) struct Signal {
    pub(super) spikes: Tensor,
    /// It is `[B, C, H, W]`, the same at every timestep.
    pub(super) constant: bool,
    pub(super) activity: Option<Activity>,
}

impl Signal {
    pub(super) fn new(spikes: Tensor, pass: &Pass) -> Signal {
        let activity = pass.activity(&spikes);
        Signal { spikes, constant: false, activity }
    }

    /// Numbers that are the same at every timestep, each of which counts as a spike.
    pub(super) fn constant(maps: Tensor, pass: &Pass) -> Signal {
        let activity = pass.activity_of_constant(&maps);
        Signal { spikes: maps, constant: true, activity }
    }

    /// Another handle to the same tensors.
    pub(super) fn shallow_clone(&self) -> Signal {
        let activity = self.activity.as_ref().map(Activity::shallow_clone);
        Signal { spikes: self.spikes.shallow_clone(), constant: self.constant, activity }
    }

    /// The signal with maps of `size`, by nearest neighbour, measured again: it repeats or drops
    /// neurons.
    pub(super) fn resized(&self, size: [i64; 2], pass: &Pass) -> Signal {
        let maps = self.spikes.upsample_nearest2d(size, None, None);
        if self.constant { Signal::constant(maps, pass) } else { Signal::new(maps, pass) }
    }

    /// The sums of its spikes in windows of 3x3 that are `stride` apart, with silence around the
    /// map.
    ///
    /// They stand for the means: what reads them is normalised, so that a factor of 1/9 changes
    /// nothing but the weight of epsilon, and a sum of spikes is exact in every precision.
    pub(super) fn summed(&self, stride: i64, pass: &Pass) -> Signal {
        let sum = |maps: &Tensor| maps.avg_pool2d([3, 3], [stride, stride], [1, 1], false, true, 1);
        let maps = sum(&self.spikes);
        if !self.constant {
            return Signal::new(maps, pass);
        }
        // Each number counts as a spike at every timestep, in all the sums that it is in.
        let counted = || repeat_over_time(&sum(&self.spikes.narrow(0, 0, 1).ones_like()), pass.timesteps);
        let activity = if pass.measure { tch::no_grad(|| pass.activity(&counted())) } else { None };
        Signal { spikes: maps, constant: true, activity }
    }
}
