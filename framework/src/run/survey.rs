//! What a plan will do, before it does it: identity, state and needs of every trial.

use std::path::{Path, PathBuf};

use super::Identity;
use super::attempt;
use super::reuse::{self, Archive};
use crate::cost::estimate::NetworkSize;
use crate::design::Design;
use crate::manifest::{Manifest, Part, Plan, Trial};
use crate::plugin::{Build, DataFacts, DataStore, Parameters, Stages};
use crate::record::{self, Epoch, Failed, Outcome, files};
use crate::{Error, Result, device};

/// What a run loads beside its tensors and what is there before it begins: kernels, threads, tables.
const LOADED_LATER: u64 = 40 << 20;

/// How far a trial is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Nothing of it has run.
    New,
    /// It goes on where it stopped.
    Interrupted {
        /// Epochs that are finished, of all stages.
        epochs: usize,
        /// Seconds that they took.
        seconds: f64,
    },
    /// It ended with an error; the same command tries again from its last checkpoint.
    Failed {
        /// Epochs that are finished, of all stages.
        epochs: usize,
        /// The error.
        error: String,
    },
    /// A process works on it.
    Running,
    /// It is finished.
    Done(Box<Outcome>),
}

impl State {
    /// The state that a trial's folder shows.
    pub fn of(folder: &Path) -> State {
        let finished = reuse::result(folder).or_else(|| reuse::result(&folder.join(attempt::FINISHED)));
        if let Some(outcome) = finished {
            return State::Done(Box::new(outcome));
        }
        let places = attempt::places(folder);
        if places.iter().any(|place| attempt::is_held(place)) {
            return State::Running;
        }
        let histories = places.iter().filter_map(|place| record::read::<Epoch>(&place.join(files::HISTORY)).ok());
        let farthest = histories.max_by_key(Vec::len);
        if let Some(failed) = places.iter().find_map(|place| Failed::read(place)) {
            return State::Failed { epochs: farthest.map_or(0, |rows| rows.len()), error: failed.error };
        }
        match farthest {
            Some(rows) if !rows.is_empty() => {
                State::Interrupted { epochs: rows.len(), seconds: rows.iter().map(|row| row.seconds).sum() }
            }
            _ => State::New,
        }
    }
}

/// What a trial needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// The network that is searched.
    pub supernet: Option<NetworkSize>,
    /// The final network; where the design is not known yet, one that the supernet could decode to.
    pub network: NetworkSize,
    /// Whether the design of the final network is known.
    pub decided: bool,
    /// Peak memory in bytes on the trial's device; see [`crate::cost::estimate`].
    pub memory: u64,
}

/// A trial, looked at.
#[derive(Debug)]
pub struct Surveyed {
    /// What names its folder.
    pub identity: Identity,
    /// Its folder.
    pub folder: PathBuf,
    /// How far it is.
    pub state: State,
    /// What it needs, or why that cannot be said.
    pub needs: Result<Needs>,
}

/// Looks at every trial of a plan. A trial is an error where its data cannot be used, or those of the trial whose design it takes.
///
/// Data are not opened where their facts are known, and no network gets values: a plan of paper scale takes milliseconds.
pub fn survey(plan: &Plan, runs: &Path, store: &DataStore) -> Vec<Result<Surveyed>> {
    let mut all: Vec<Result<Surveyed>> = Vec::new();
    // Before anything is counted: memory that was freed stays with the process.
    let program = device::resident_memory();
    // Trials that differ in the seed alone need the same.
    let mut seen: Vec<serde_json::Value> = Vec::new();
    let archive = Archive::open(runs);
    for trial in &plan.trials {
        let mut settings = trial.settings.clone();
        if let Some(settings) = settings.as_object_mut() {
            settings.remove("experiment");
        }
        let alike = seen.iter().position(|other| *other == settings);
        let looked = look(plan, trial, (runs, &archive), store, &all, alike, program);
        seen.push(settings);
        all.push(looked);
    }
    all
}

fn look(
    plan: &Plan,
    trial: &Trial,
    (runs, archive): (&Path, &Archive),
    store: &DataStore,
    before: &[Result<Surveyed>],
    alike: Option<usize>,
    program: u64,
) -> Result<Surveyed> {
    let facts = store.facts(trial.manifest.dataset.as_ref())?;
    let source = match trial.depends_on.map(|source| &before[source]) {
        Some(Ok(source)) => Some(source),
        Some(Err(error)) => {
            let title = plan.trials[trial.depends_on.unwrap_or_default()].title();
            let message = format!("the trial that it takes its design from cannot run: {error}");
            return Err(Error::Plugin { kind: "design", name: title, message });
        }
        None => None,
    };
    let identity = Identity::of(trial, &facts.info.digest, source.map(|source| &source.identity));
    let folder = identity.folder(runs, &plan.name, trial);
    let state = match (State::of(&folder), archive.find(&identity.hash, &folder)) {
        (State::New | State::Interrupted { .. }, Some((_, outcome))) => State::Done(Box::new(outcome)),
        (state, _) => state,
    };
    let design = known_design(trial, &folder, source.map(|source| source.folder.as_path()));
    let needs = match alike.and_then(|index| before[index].as_ref().ok()?.needs.as_ref().ok()) {
        Some(needs) if !needs.decided && design.is_none() => Ok(needs.clone()),
        _ => super::guarded(|| needs(&trial.manifest, &facts, design, source.is_some(), program)),
    };
    Ok(Surveyed { identity, folder, state, needs })
}

/// The design of a trial that is known already: found, given by a file, or found by the trial that it comes from.
fn known_design(trial: &Trial, folder: &Path, source: Option<&Path>) -> Option<Design> {
    if let Ok(found) = Design::read(&folder.join(files::DESIGN)) {
        return Some(found);
    }
    let given = match source {
        Some(source) => Design::read(&source.join(files::DESIGN)).ok()?,
        None => Design::read(trial.manifest.design.as_ref()?.file.as_ref()?).ok()?,
    };
    Some(kept(given, &trial.manifest))
}

/// The parts of a design that a manifest takes over.
fn kept(given: Design, manifest: &Manifest) -> Design {
    let keeps = |part| manifest.design.as_ref().is_some_and(|source| source.keep.contains(&part));
    Design {
        timesteps: if keeps(Part::Timesteps) { given.timesteps } else { most_timesteps(manifest) },
        compression: if keeps(Part::Compression) { given.compression } else { Default::default() },
        ..given
    }
}

/// The number of timesteps where nothing is searched about it, else the largest.
fn most_timesteps(manifest: &Manifest) -> i64 {
    manifest.timesteps.fixed().unwrap_or_else(|| manifest.timesteps.max())
}

/// `program` is what the process occupies without its networks, in bytes.
fn needs(
    manifest: &Manifest,
    facts: &DataFacts,
    design: Option<Design>,
    takes_design: bool,
    program: u64,
) -> Result<Needs> {
    let compressors = manifest.compressors();
    let decided = design.is_some();
    let mut parameters = Parameters::default();
    let mut build = Build::outline(&mut parameters);
    manifest.timesteps.attach(&mut build.at("timesteps"))?;
    let supernet = match manifest.search.is_some() || (takes_design && !decided) {
        true => Some(manifest.space.supernet(&facts.info, &compressors, &mut build)?),
        false => None,
    };
    let searched = supernet.as_deref().map(|network| NetworkSize::of(network, &parameters));
    let design = match (design, &supernet) {
        (Some(design), _) => design,
        (None, Some(supernet)) => {
            let design = Design {
                version: crate::design::VERSION,
                space: manifest.space.typetag_name().to_owned(),
                timesteps: most_timesteps(manifest),
                edges: supernet.decode().edges,
                compression: supernet.decisions(Stages::ALL),
                network: None,
                accounting: None,
            };
            if takes_design { kept(design, manifest) } else { design }
        }
        (None, None) => {
            let message = "its design cannot be read".to_owned();
            return Err(Error::Plugin { kind: "design", name: manifest.space.typetag_name().into(), message });
        }
    };
    let mut parameters = Parameters::default();
    let mut build = Build::outline(&mut parameters);
    let network = manifest.space.network(
        &design.architecture(),
        &design.compression,
        false,
        &facts.info,
        &compressors,
        &mut build,
    )?;
    let network = NetworkSize::of(network.as_ref(), &parameters);
    let shape = facts.info.shape;
    let searched = searched.filter(|_| manifest.search.is_some());
    let search = match (&searched, &manifest.search) {
        (Some(size), Some(training)) => {
            size.training_bytes(training.batch_size.min(facts.train), manifest.timesteps.max(), shape)
        }
        _ => 0,
    };
    let retrain = network.training_bytes(manifest.retrain.batch_size.min(facts.train), design.timesteps, shape);
    let memory = program + LOADED_LATER + facts.bytes + search.max(retrain);
    Ok(Needs { supernet: searched, network, decided, memory })
}
