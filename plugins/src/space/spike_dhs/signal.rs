//! What one layer of neurons hands to the next.

use litesnn_framework::network::{Activity, Pass};
use tch::Tensor;

/// Spikes `[T·B, C, H, W]` and what is measured of them.
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
}
