//! The settings of training: the sections `[search]`, `[retrain]` and `[checkpoint]` of a manifest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spiking::Precision;

/// `[search]` and `[retrain]`: how weights are trained, by SGD with momentum and a cosine schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training split (1 or more).
    #[schemars(range(min = 1))]
    pub epochs: usize,
    /// Images that are trained on: so many of the training split, the same in every epoch and for
    /// every seed; without it, all (paper's search: half).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub samples: Option<std::num::NonZeroUsize>,
    /// Images of one step (1 or more).
    #[serde(default = "defaults::batch_size")]
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// Learning rate of the weights at the start (paper: 0.025).
    #[serde(default = "defaults::learning_rate")]
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// Learning rate at the end of the cosine schedule (paper: 0.001 in the search, 0 in
    /// retraining).
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub learning_rate_end: f64,
    /// Momentum (paper: 0.9).
    #[serde(default = "defaults::momentum")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub momentum: f64,
    /// L2 penalty on weights (paper: 3e-4).
    #[serde(default = "defaults::weight_decay")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Largest L2 norm of the weights' gradient, all together (paper: 5).
    #[serde(default = "defaults::clip")]
    #[schemars(range(min = 0.0))]
    pub clip: f64,
    /// The type that convolutions on spikes are computed in, in training and in what is measured of
    /// the network; `tf32` needs a GPU.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// What is done to training images at random; without it, nothing.
    #[serde(default)]
    pub augment: Augment,
}

/// `[search.augment]` and `[retrain.augment]`: what is done to each training image at random
/// (paper: crop 4 and flip, and in retraining cutout 16).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Zeros that are padded on every side before the image's size is cut out at random; 0: no
    /// crop.
    pub crop: u32,
    /// Whether every other image is mirrored, left and right.
    pub flip: bool,
    /// Side of a square that is set to zero after normalisation; 0: no cutout.
    pub cutout: u32,
}

/// `[checkpoint]`: how much work an interruption may cost. It changes no number, and is no part of
/// what makes a trial the same work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Interval {
    /// Seconds between two checkpoints, also within an epoch; 0: after every batch.
    #[schemars(range(min = 0.0), extend("x-unit" = "s"))]
    pub seconds: f64,
    /// Epochs between two checkpoints, when they take fewer seconds than that (1 or more); a stage
    /// always ends with one.
    #[schemars(range(min = 1))]
    pub epochs: std::num::NonZeroUsize,
}

impl Default for Interval {
    fn default() -> Interval {
        Interval { seconds: 600.0, epochs: std::num::NonZeroUsize::MIN }
    }
}

mod defaults {
    pub fn batch_size() -> usize {
        50
    }
    pub fn learning_rate() -> f64 {
        0.025
    }
    pub fn momentum() -> f64 {
        0.9
    }
    pub fn weight_decay() -> f64 {
        3e-4
    }
    pub fn clip() -> f64 {
        5.0
    }
}
