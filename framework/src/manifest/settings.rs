//! The sections of a manifest, after all layers are merged.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plugin::{Compressor, Dataset, Launcher, Optimizer, Precision, SearchSpace, TimestepSearcher};

/// Version of the manifest format that this program reads.
pub const VERSION: u32 = 1;

/// `[experiment]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name of the experiment and of its folder under `runs/`: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// One trial of every variant is run for each seed.
    #[serde(default = "first_seed")]
    pub seeds: Vec<u64>,
    /// One sentence for the report.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The published table or figure that it reproduces, `lite-snn/table4`: `litesnn report` puts its numbers beside the
    /// published ones. It holds for this file's settings: a manifest that `extends` it has to say so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduces: Option<String>,
}

fn first_seed() -> Vec<u64> {
    vec![0]
}

/// What a design is taken over for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Edges and operations.
    Architecture,
    /// Decisions of the compressors.
    Compression,
    /// Number of timesteps.
    Timesteps,
}

/// `[design]`: retrain a design instead of searching one. Exactly one of `from` and `file` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DesignSource {
    /// A variant of this manifest: the design that it finds with the same seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A design file; a relative path is relative to the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The parts of the design that are used; the manifest's plugins say the rest.
    #[serde(default = "all_parts")]
    pub keep: Vec<Part>,
    /// Takes a random design of equal cost instead: edges are drawn anew and bits are dealt anew to the cells, until weight memory
    /// and bit-operations lie within 5 %, or, where no draw does, as near as one comes, up to 10 %. The control that a search has to
    /// beat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redraw: bool,
}

fn all_parts() -> Vec<Part> {
    vec![Part::Architecture, Part::Compression, Part::Timesteps]
}

/// `[search]` and `[retrain]`: how weights are trained, by SGD with momentum and a cosine schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training split (1 or more).
    #[schemars(range(min = 1))]
    pub epochs: usize,
    /// Images that are trained on: so many of the training split, the same in every epoch and for every seed; without it, all
    /// (paper's search: half).
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
    /// Learning rate at the end of the cosine schedule (paper: 0.001 in the search, 0 in retraining).
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub learning_rate_end: f64,
    /// Momentum (paper: 0.9).
    #[serde(default = "defaults::momentum")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub momentum: f64,
    /// L2 penalty on weights (paper: 3e-4).
    #[serde(default = "defaults::weight_decay")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Largest L2 norm of the weights' gradient, all together (paper: 5).
    #[serde(default = "defaults::clip")]
    #[schemars(range(min = 0.0))]
    pub clip: f64,
    /// The type that convolutions on spikes are computed in, in training and in what is measured of the network.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// What is done to training images at random; without it, nothing.
    #[serde(default)]
    pub augment: Augment,
}

/// `[search.augment]` and `[retrain.augment]`: what is done to each training image at random (paper: crop 4 and flip, and in
/// retraining cutout 16).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Zeros that are padded on every side before the image's size is cut out at random; 0: no crop.
    pub crop: u32,
    /// Whether every other image is mirrored, left and right.
    pub flip: bool,
    /// Side of a square that is set to zero after normalisation; 0: no cutout.
    pub cutout: u32,
}

/// `[checkpoint]`: how much work an interruption may cost. It changes no number, and is no part of what makes a trial the same work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Interval {
    /// Seconds between two checkpoints, also within an epoch; 0: after every batch.
    #[schemars(range(min = 0.0), extend("x-unit" = "s"))]
    pub seconds: f64,
    /// Epochs between two checkpoints, when they take fewer seconds than that (1 or more); a stage always ends with one.
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

/// A resolved manifest: the settings of one trial.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version.
    #[serde(default = "version")]
    pub version: u32,
    /// `[experiment]`
    pub experiment: Experiment,
    /// `[dataset.NAME]`
    pub dataset: Box<dyn Dataset>,
    /// `[space.NAME]`
    pub space: Box<dyn SearchSpace>,
    /// `[[compressor]]`, applied in this order to every weight.
    #[serde(default)]
    pub compressor: Vec<Box<dyn Compressor>>,
    /// `[timesteps.NAME]`
    pub timesteps: Box<dyn TimestepSearcher>,
    /// `[optimizer.NAME]`; absent where a design is retrained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Box<dyn Optimizer>>,
    /// `[design]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design: Option<DesignSource>,
    /// `[search]`; absent where a design is retrained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Training>,
    /// `[retrain]`
    pub retrain: Training,
    /// `[checkpoint]`
    #[serde(default)]
    pub checkpoint: Interval,
    /// `[launcher.NAME]`: how trials get to processes; no part of the work. Without it they run one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<Box<dyn Launcher>>,
}

fn version() -> u32 {
    VERSION
}

impl Manifest {
    /// The compressors with their names, in order.
    pub fn compressors(&self) -> Vec<(&str, &dyn Compressor)> {
        self.compressor.iter().map(|compressor| (compressor.typetag_name(), compressor.as_ref())).collect()
    }
}
