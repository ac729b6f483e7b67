//! A manifest as types: what one trial is set to, after all layers are merged.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::launch::Launcher;
use crate::network::{Compression, Compressor, Design, SearchSpace, TimestepSearcher};
use crate::train::{Interval, Optimizer, Training};

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
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub seeds: Vec<u64>,
    /// One sentence for the report.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The published table or figure that it reproduces, `lite-snn/table4`: `litesnn report` puts
    /// its numbers beside the published ones. It holds for this file's settings: a manifest that
    /// `extends` it has to say so itself.
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

/// `[design]`: retrain a design instead of searching one. Exactly one of `from` and `file` is
/// given.
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
    /// Takes a random design of equal cost instead: edges are drawn anew and bits are dealt anew to
    /// the cells, until weight memory and bit-operations lie within 5 %, or, where no draw does, as
    /// near as one comes, up to 10 %. The control that a search has to beat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub redraw: bool,
}

fn all_parts() -> Vec<Part> {
    vec![Part::Architecture, Part::Compression, Part::Timesteps]
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
    /// `[optimizer.NAME]`; absent where a design is retrained, and where the settings are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Box<dyn Optimizer>>,
    /// `[design]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design: Option<DesignSource>,
    /// `[search]`; absent where a design is retrained, and where the settings are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Training>,
    /// `[retrain]`
    pub retrain: Training,
    /// `[checkpoint]`
    #[serde(default)]
    pub checkpoint: Interval,
    /// `[launcher.NAME]`: how trials get to processes; no part of the work. Without it they run one
    /// after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<Box<dyn Launcher>>,
}

fn version() -> u32 {
    VERSION
}

impl Manifest {
    /// The design that the settings themselves are, where nothing is searched and none is taken
    /// over: the only architecture of the space at a fixed number of timesteps. Its compressors
    /// find nothing decided.
    pub fn written_design(&self) -> Option<Design> {
        if self.optimizer.is_some() || self.search.is_some() || self.design.is_some() {
            return None;
        }
        Some(Design::new(self.space.fixed()?, self.timesteps.fixed()?, Compression::new()))
    }

    /// The compressors with their names, in order.
    pub fn compressors(&self) -> Vec<(&str, &dyn Compressor)> {
        self.compressor.iter().map(|compressor| (compressor.typetag_name(), compressor.as_ref())).collect()
    }
}
