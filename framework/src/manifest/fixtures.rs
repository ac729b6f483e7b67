//! Plugins and manifests for the tests of this module.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Plan, Request, load};
use crate::data::{DataInfo, DataStore, Dataset, Splits};
use crate::ground::{Build, Problem, Stream};
use crate::network::{
    Architecture, Compression, Compressor, Decisions, LayerSpec, Network, SearchSpace, Supernet, Technique,
    TimestepGate, TimestepSearcher, WeightTransform,
};
use crate::train::{Found, Optimizer, Search};
use crate::{Error, Result};

fn settings_only<T>() -> Result<T> {
    Err(Error::Interrupted)
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pictures {
    #[serde(default)]
    train: usize,
    /// Where the pictures are.
    #[serde(default)]
    root: Option<PathBuf>,
}

#[typetag::serde(name = "test-pictures")]
impl Dataset for Pictures {
    fn form(&self) -> ([i64; 3], usize) {
        ([1, 8, 8], 2)
    }

    fn open(&self, _: &DataStore) -> Result<Splits> {
        settings_only()
    }
}

crate::register! { kind: Dataset, name: "test-pictures", settings: Pictures, version: 1, summary: "", paper: "", examples: [], file: "fixtures.rs" }

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Channels {
    /// Channels
    /// of the supernet.
    search: u32,
    retrain: u32,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Grid {
    nodes: Vec<u32>,
    #[serde(default)]
    channels: Option<Channels>,
}

type Named<'a> = [(&'a str, &'a dyn Compressor)];

#[typetag::serde(name = "test-grid")]
impl SearchSpace for Grid {
    fn supernet(&self, _: &DataInfo, _: &Named, _: &mut Build) -> Result<Box<dyn Supernet>> {
        settings_only()
    }

    fn network(
        &self,
        _: &Architecture,
        _: &Compression,
        _: bool,
        _: &DataInfo,
        _: &Named,
        _: &mut Build,
    ) -> Result<Box<dyn Network>> {
        settings_only()
    }

    fn sample(&self, _: &mut Stream) -> Architecture {
        Architecture { space: "test-grid".into(), edges: Vec::new() }
    }
}

crate::register! { kind: Space, name: "test-grid", settings: Grid, version: 1, summary: "", paper: "", examples: [], file: "fixtures.rs" }

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PruneSettings {
    rate: f64,
    #[serde(default)]
    exempt: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "PruneSettings", into = "PruneSettings")]
struct Prune(PruneSettings);

impl TryFrom<PruneSettings> for Prune {
    type Error = String;

    fn try_from(settings: PruneSettings) -> Result<Self, String> {
        if (0.0..1.0).contains(&settings.rate) {
            Ok(Prune(settings))
        } else {
            Err(format!("the rate is {}, and has to be 0 or more and below 1", settings.rate))
        }
    }
}

impl From<Prune> for PruneSettings {
    fn from(prune: Prune) -> Self {
        prune.0
    }
}

#[typetag::serde(name = "test-prune")]
impl Compressor for Prune {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn attach(
        &self,
        _: &LayerSpec,
        _: &Tensor,
        _: Option<&Decisions>,
        _: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        settings_only()
    }
}

crate::register! { kind: Compressor, name: "test-prune", settings: PruneSettings, version: 1, summary: "", paper: "", examples: [], file: "fixtures.rs" }

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Round {
    bits: Vec<u32>,
}

#[typetag::serde(name = "test-round")]
impl Compressor for Round {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn attach(
        &self,
        _: &LayerSpec,
        _: &Tensor,
        _: Option<&Decisions>,
        _: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        settings_only()
    }
}

crate::register! { kind: Compressor, name: "test-round", settings: Round, version: 1, summary: "", paper: "", examples: [], file: "fixtures.rs" }

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Steady {
    steps: i64,
}

#[typetag::serde(name = "test-steady")]
impl TimestepSearcher for Steady {
    fn max(&self) -> i64 {
        self.steps
    }

    fn fixed(&self) -> Option<i64> {
        Some(self.steps)
    }

    fn attach(&self, _: &mut Build) -> Result<Box<dyn TimestepGate>> {
        settings_only()
    }
}

crate::register! { kind: Timesteps, name: "test-steady", settings: Steady, version: 1, summary: "", paper: "", examples: [], file: "fixtures.rs" }

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Open {
    max: i64,
}

#[typetag::serde(name = "test-open")]
impl TimestepSearcher for Open {
    fn max(&self) -> i64 {
        self.max
    }

    fn attach(&self, _: &mut Build) -> Result<Box<dyn TimestepGate>> {
        settings_only()
    }
}

crate::register! { kind: Timesteps, name: "test-open", settings: Open, version: 1, summary: "", paper: "", examples: [], file: "fixtures.rs" }

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Joint {
    #[serde(default)]
    lambda: f64,
}

#[typetag::serde(name = "test-joint")]
impl Optimizer for Joint {
    fn search(&self, _: &mut Search) -> Result<Found> {
        settings_only()
    }
}

crate::register! { kind: Optimizer, name: "test-joint", settings: Joint, version: 1, summary: "", paper: "", examples: [], file: "fixtures.rs" }

/// A manifest that is right.
pub(super) const GOOD: &str = r#"
[experiment]
name = "good"

[dataset.test-pictures]
train = 20

[space.test-grid]
nodes = [1, 2]
channels = { search = 8, retrain = 16 }

[[compressor]]
test-round = { bits = [1, 2, 4] }
[[compressor]]
test-prune = { rate = 0.8 }

[timesteps.test-open]
max = 4

[optimizer.test-joint]
lambda = 5e-10

[search]
epochs = 3

[retrain]
epochs = 5
"#;

/// A folder with manifests.
pub(super) struct Desk {
    folder: tempfile::TempDir,
    /// What is asked for; its manifest is `a.toml`.
    pub(super) request: Request,
}

impl Desk {
    pub(super) fn new(manifest: impl AsRef<[u8]>) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let request = Request { manifest: folder.path().join("a.toml"), ..Request::default() };
        let desk = Desk { folder, request };
        desk.file("a.toml", manifest)
    }

    /// The good manifest with more below it.
    pub(super) fn good(more: &str) -> Desk {
        Desk::new(format!("{GOOD}{more}"))
    }

    pub(super) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Desk {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    pub(super) fn profile(mut self, name: &str) -> Desk {
        self.request.profile = Some(name.into());
        self
    }

    pub(super) fn set(mut self, argument: &str) -> Desk {
        self.request.set.push(argument.into());
        self
    }

    pub(super) fn variable(mut self, name: &str, value: &str) -> Desk {
        self.request.environment.push((name.into(), value.into()));
        self
    }

    pub(super) fn plan(&self) -> Plan {
        load(&self.request).unwrap_or_else(|error| match error {
            Error::Manifest(problems) => panic!("{}", self.shown(&problems).join("\n")),
            other => panic!("{other}"),
        })
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        match load(&self.request) {
            Err(Error::Manifest(problems)) => problems,
            other => panic!("problems were expected: {other:?}"),
        }
    }

    /// The problems as a user sees them, without the folder.
    pub(super) fn messages(&self) -> Vec<String> {
        self.shown(&self.problems())
    }

    fn shown(&self, problems: &[Problem]) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
    }

    /// The only problem, as a user sees it.
    pub(super) fn message(&self) -> String {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{}", messages.join("\n"));
        messages.remove(0)
    }

    /// The first line of the only problem.
    pub(super) fn headline(&self) -> String {
        self.message().lines().next().unwrap_or_default().to_owned()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
