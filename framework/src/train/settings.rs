//! The settings of training: the sections `[search]`, `[retrain]` and `[checkpoint]` of a manifest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Algorithm, Loss, Rate, Teaching};
use crate::spiking::Precision;

/// `[search]` and `[retrain]`: how weights are trained, by SGD with momentum and a cosine schedule
/// unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training split (1 or more).
    #[schemars(range(min = 1))]
    pub epochs: usize,
    /// What the final network begins with; in `[retrain]` alone.
    #[serde(default, skip_serializing_if = "Beginning::is_default")]
    #[schemars(extend("default" = "new"))]
    pub from: Beginning,
    /// Images that are trained on: so many of the training split, the same in every epoch and for
    /// every seed; without it, all (paper's search: half).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub samples: Option<std::num::NonZeroUsize>,
    /// Images of one step (1 or more).
    #[serde(default = "defaults::batch_size")]
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// What the outputs are trained for.
    #[serde(default, skip_serializing_if = "Loss::is_default")]
    #[schemars(extend("default" = "mean-cross-entropy"))]
    pub loss: Loss,
    /// Weight of the distance to `tet_target` in the loss `timestep-cross-entropy`: lambda of TET.
    #[serde(default = "defaults::tet_lambda", skip_serializing_if = "defaults::is_tet_lambda")]
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = Training::TET_LAMBDA))]
    pub tet_lambda: f64,
    /// The number that the loss `timestep-cross-entropy` draws every output to: phi of TET.
    #[serde(default = "defaults::tet_target", skip_serializing_if = "defaults::is_tet_target")]
    #[schemars(extend("default" = Training::TET_TARGET))]
    pub tet_target: f64,
    /// Label smoothing: the share of a target that all classes have alike.
    #[serde(default, skip_serializing_if = "defaults::is_zero")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "default" = 0.0))]
    pub label_smoothing: f64,
    /// The rule that weights move by.
    #[serde(default, skip_serializing_if = "WeightAlgorithm::is_default")]
    #[schemars(extend("default" = "sgd"))]
    pub algorithm: WeightAlgorithm,
    /// Learning rate of the weights at the start (paper: 0.025).
    #[serde(default = "defaults::learning_rate")]
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// Learning rate at the end of the cosine schedule (paper: 0.001 in the search, 0 in
    /// retraining).
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub learning_rate_end: f64,
    /// Epochs of a stage before the schedule begins, in which the learning rate rises to its start
    /// in equal steps; a stage of fewer epochs keeps its last one for the schedule.
    #[serde(default, skip_serializing_if = "defaults::is_none")]
    #[schemars(extend("x-unit" = "epochs", "default" = 0))]
    pub warmup: usize,
    /// Momentum of SGD (paper: 0.9); Adam and AdamW have betas of 0.9 and 0.999.
    #[serde(default = "defaults::momentum")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub momentum: f64,
    /// L2 penalty on weights (paper: 3e-4); for AdamW, the share of a weight that a step takes, in
    /// units of the learning rate.
    #[serde(default = "defaults::weight_decay")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Largest L2 norm of the weights' gradient, all together (paper: 5).
    #[serde(default = "defaults::clip")]
    #[schemars(range(min = 0.0))]
    pub clip: f64,
    /// Decay of the exponential moving average of weights, step by step, which what follows a stage
    /// has in their place: validation after each epoch, the test, the next stage; 0: no average.
    #[serde(default, skip_serializing_if = "defaults::is_zero")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "default" = 0.0))]
    pub ema: f64,
    /// The type that convolutions on spikes are computed in, in training and in what is measured of
    /// the network; `tf32` needs a GPU.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    #[schemars(extend("default" = "f32"))]
    pub precision: Precision,
    /// What is done to training images at random; without it, nothing.
    #[serde(default)]
    pub augment: Augment,
    /// Another trial's network whose answers the final network is also trained towards; in
    /// `[retrain]` alone. Without it, the classes alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teaching>,
}

/// What the final network begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Beginning {
    /// New weights (paper).
    #[default]
    New,
    /// The weights and masks that the search of this trial ends with.
    Search,
}

impl Beginning {
    /// Whether a manifest need not name it.
    pub fn is_default(&self) -> bool {
        *self == Beginning::default()
    }
}

/// The rule that weights move by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightAlgorithm {
    /// SGD with momentum; weight decay is an L2 term of the gradient.
    #[default]
    Sgd,
    /// Adam (Kingma and Ba, ICLR 2015); weight decay is an L2 term of the gradient.
    Adam,
    /// AdamW (Loshchilov and Hutter, ICLR 2019): weight decay beside the gradient.
    AdamW,
}

impl WeightAlgorithm {
    /// Whether a manifest need not name it.
    pub fn is_default(&self) -> bool {
        *self == WeightAlgorithm::default()
    }
}

impl Training {
    /// `momentum` where a manifest has none.
    pub const MOMENTUM: f64 = 0.9;
    /// `tet_lambda` where a manifest has none.
    pub const TET_LAMBDA: f64 = 1e-3;
    /// `tet_target` where a manifest has none.
    pub const TET_TARGET: f64 = 1.0;

    /// The rule that weights move by.
    pub fn weight_algorithm(&self) -> Algorithm {
        let Training { momentum, weight_decay, .. } = *self;
        match self.algorithm {
            WeightAlgorithm::Sgd => Algorithm::Sgd { momentum, weight_decay },
            WeightAlgorithm::Adam => Algorithm::Adam { weight_decay },
            WeightAlgorithm::AdamW => Algorithm::AdamW { weight_decay },
        }
    }

    /// The learning rate of the weights over a stage.
    pub fn rate(&self) -> Rate {
        let (start, end) = (self.learning_rate, self.learning_rate_end);
        match self.warmup {
            0 => Rate::Cosine { start, end },
            warmup => Rate::WarmCosine { warmup, start, end },
        }
    }

    /// Tensors as large as the weights that descending them keeps: moments, and the average.
    pub fn kept_beside_weights(&self) -> usize {
        self.weight_algorithm().moments() + usize::from(self.ema > 0.0)
    }
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
        super::Training::MOMENTUM
    }
    pub fn weight_decay() -> f64 {
        3e-4
    }
    pub fn clip() -> f64 {
        5.0
    }
    pub fn tet_lambda() -> f64 {
        super::Training::TET_LAMBDA
    }
    pub fn is_tet_lambda(value: &f64) -> bool {
        *value == tet_lambda()
    }
    pub fn tet_target() -> f64 {
        super::Training::TET_TARGET
    }
    pub fn is_tet_target(value: &f64) -> bool {
        *value == tet_target()
    }
    pub fn is_zero(value: &f64) -> bool {
        *value == 0.0
    }
    pub fn is_none(count: &usize) -> bool {
        *count == 0
    }
}
