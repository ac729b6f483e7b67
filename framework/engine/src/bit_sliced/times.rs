//! Where the time of a run goes, in ticks of the clock that the caller hands over.
//!
//! A clock is asked between the parts of a layer, for each output channel. Threads of a layer
//! measure themselves, and their ticks are added: with several of them, the sum is longer than the
//! run.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// How the currents of a layer are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Of the image, once for all timesteps.
    Image,
    /// Spikes are counted by the magnitudes of levels.
    ByMagnitude,
    /// Spikes are counted by the bits of levels.
    ByBit,
    /// By the plain loops of the reference.
    Loops,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Form::Image => "image",
            Form::ByMagnitude => "by magnitude",
            Form::ByBit => "by bit",
            Form::Loops => "loops",
        })
    }
}

/// Where the time of a run went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Of each layer, in the order of [`Network::layers`](crate::Network::layers).
    pub layers: Vec<LayerTime>,
    /// Currents that no weight makes, such as means.
    pub scaled: u64,
    /// Potentials, spikes, bits.
    pub neurons: u64,
    /// Copies of maps for the taps of kernels, and maps of maps.
    pub maps: u64,
    /// Counting spikes and operations.
    pub counts: u64,
}

/// The time of a layer's currents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerTime {
    /// Sums over the taps: counting, or the image's convolution, or the plain loops.
    pub sums: u64,
    /// Turning counts over, scaling them, and adding currents.
    pub currents: u64,
}

impl Times {
    /// Of no run yet.
    pub(super) fn of_layers(layers: usize) -> Times {
        Times { layers: vec![LayerTime::default(); layers], ..Times::default() }
    }

    /// All ticks.
    pub fn total(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(|layer| layer.sums + layer.currents).sum();
        layers + self.scaled + self.neurons + self.maps + self.counts
    }
}

/// Tells [`Times`] where the time goes.
pub(super) struct Clock {
    pub(super) now: Option<fn() -> u64>,
    since: u64,
}

impl Clock {
    pub(super) fn new(now: Option<fn() -> u64>) -> Clock {
        Clock { now, since: now.map_or(0, |now| now()) }
    }

    /// Adds what has passed since it was last asked.
    pub(super) fn passed(&mut self, to: &mut u64) {
        let since = self.since;
        self.forget();
        *to += self.since - since;
    }

    /// Leaves out what has passed since it was last asked, because another clock measured it.
    pub(super) fn forget(&mut self) {
        if let Some(now) = self.now {
            self.since = now();
        }
    }
}
