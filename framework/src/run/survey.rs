//! What a plan will do, before it does it: identity, state and needs of every trial.

use std::collections::HashMap;
use std::path::Path;

use serde_json::json;
use tch::Device;

use super::agenda::tasks;
use super::reuse::KnownWork;
use crate::data::{DataStore, DataSummary};
use crate::ground::device::available_memory;
use crate::ground::{Build, Parameters, device, guarded, threads};
use crate::launch::Task;
use crate::manifest::{Manifest, Part, Plan, Trial};
use crate::network::{Design, NetworkSize, Techniques};
use crate::record::{State, files};
use crate::{Error, Result};

/// What a run loads beside its tensors and what is there before it begins: kernels, threads,
/// tables.
const LOADED_LATER: u64 = 40 << 20;

/// The same on a GPU: kernels of libtorch and cuDNN, and their workspaces. Not measured yet.
const LOADED_ON_GPU: u64 = 512 << 20;

/// What a trial needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// The network that is searched.
    pub supernet: Option<NetworkSize>,
    /// The final network; where the design is not known yet, one that the supernet could decode to.
    pub network: NetworkSize,
    /// The timesteps that it runs, or the largest number that it could run.
    pub timesteps: i64,
    /// Whether the design of the final network is known.
    pub decided: bool,
    /// Peak memory in bytes on the trial's device; see [`NetworkSize::training_bytes`].
    pub memory: u64,
}

/// Where trials run.
#[derive(Clone, Copy)]
struct Place {
    device: Device,
    /// What a trial takes of the device's memory besides its data and networks, in bytes.
    program: u64,
}

impl Place {
    fn now(device: Device) -> Place {
        let program = match device {
            Device::Cuda(_) => LOADED_ON_GPU,
            _ => device::resident_memory() + LOADED_LATER,
        };
        Place { device, program }
    }
}

/// A trial, looked at.
#[derive(Debug)]
pub struct Surveyed {
    /// What it is called, and its folder.
    pub task: Task,
    /// How far it is.
    pub state: State,
    /// What it needs, or why that cannot be said.
    pub needs: Result<Needs>,
}

/// Looks at every trial of a plan. A trial is an error where its data cannot be used, or those of a
/// trial that it waits for.
///
/// Data are not opened where their summary is known, and no network gets values: a plan of paper
/// scale takes milliseconds.
pub fn survey(plan: &Plan, runs: &Path, store: &DataStore, device: Device) -> Vec<Result<Surveyed>> {
    // Before anything is counted: memory that was freed stays with the process.
    let place = Place::now(device);
    let planned = tasks(plan, runs, |dataset| Ok(store.summary(dataset)?.info.digest));
    let known = KnownWork::look(runs);
    let mut all: Vec<Result<Surveyed>> = Vec::new();
    // The first trial of each kind: those that are alike in what matters here need the same.
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, (trial, task)) in plan.trials.iter().zip(planned).enumerate() {
        let first = *seen.entry(what_matters(trial)).or_insert(index);
        let alike = all.get(first).and_then(|looked| looked.as_ref().ok()?.needs.as_ref().ok());
        // What its teacher needs, where that can be said.
        let teacher = trial.taught_by.and_then(|teacher| all[teacher].as_ref().ok()?.needs.as_ref().ok());
        let looked = task.and_then(|task| look(trial, task, store, &known, (alike, teacher), place));
        all.push(looked);
    }
    all
}

/// The settings that [`needs`] depends on.
fn what_matters(trial: &Trial) -> String {
    let settings = &trial.settings;
    let sections = ["dataset", "space", "compressor", "timesteps", "design"].map(|section| &settings[section]);
    let sizes = ["search", "retrain"].map(|stage| &settings[stage]["batch_size"]);
    let teacher = &settings["retrain"]["teacher"];
    json!([sections, sizes, teacher, settings["search"].is_null(), trains_candidates(&trial.manifest)]).to_string()
}

/// Whether the search trains networks of candidates.
fn trains_candidates(manifest: &Manifest) -> bool {
    let search = manifest.optimizer.as_ref().zip(manifest.search.as_ref());
    search.is_some_and(|(optimizer, search)| optimizer.trains(search.epochs).is_some())
}

fn look(
    trial: &Trial,
    task: Task,
    store: &DataStore,
    known: &KnownWork,
    (alike, teacher): (Option<&Needs>, Option<&Needs>),
    place: Place,
) -> Result<Surveyed> {
    let data = store.summary(trial.manifest.dataset.as_ref())?;
    let state = match (State::of(&task.folder), known.find(&task.hash, &task.folder)) {
        (State::New | State::Interrupted { .. }, Some((_, outcome))) => State::Done(Box::new(outcome)),
        (state, _) => state,
    };
    let design = known_design(trial, &task);
    let needs = match alike {
        Some(needs) if !needs.decided && design.is_none() && trial.manifest.retrain.teacher.is_none() => {
            Ok(needs.clone())
        }
        _ => outlined(trial, &task, &data, design, teacher, place),
    };
    Ok(Surveyed { task, state, needs })
}

/// What a trial needs that begins on a device, without a teacher of its plan.
pub(super) fn needs_of(trial: &Trial, task: &Task, data: &DataSummary, device: Device) -> Result<Needs> {
    outlined(trial, task, data, known_design(trial, task), None, Place::now(device))
}

/// `teacher` is what the trial of the plan needs that teaches this one, where that can be said.
fn outlined(
    trial: &Trial,
    task: &Task,
    data: &DataSummary,
    design: Option<Design>,
    teacher: Option<&Needs>,
    place: Place,
) -> Result<Needs> {
    threads::alone(|| {
        guarded(|| {
            let teacher = match &task.teacher {
                Some(folder) if trial.taught_by.is_none() => Some(teacher_in(folder)?),
                _ => teacher.map(|needs| (needs.network.clone(), needs.timesteps)),
            };
            needs(&trial.manifest, data, design, (task.after.is_some(), teacher), place)
        })
    })
}

/// The size of a finished trial's network, and its timesteps.
fn teacher_in(folder: &Path) -> Result<(NetworkSize, i64)> {
    let design = Design::read(&folder.join(files::DESIGN))?;
    let mut parameters = Parameters::default();
    let network = design.build(&mut Build::outline(&mut parameters))?;
    Ok((NetworkSize::of(network.as_ref(), &parameters), design.timesteps))
}

/// The design of a trial that is known already: found, written in its settings, given by a file, or
/// found by the trial that it comes from.
fn known_design(trial: &Trial, task: &Task) -> Option<Design> {
    if let Ok(found) = Design::read(&task.folder.join(files::DESIGN)) {
        return Some(found);
    }
    let Some(file) = &task.design_file else { return trial.manifest.written_design() };
    Some(kept(Design::read(file).ok()?, &trial.manifest))
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
pub(super) fn most_timesteps(manifest: &Manifest) -> i64 {
    manifest.timesteps.fixed().unwrap_or_else(|| manifest.timesteps.max())
}

fn needs(
    manifest: &Manifest,
    data: &DataSummary,
    design: Option<Design>,
    (takes_design, teacher): (bool, Option<(NetworkSize, i64)>),
    Place { device, program }: Place,
) -> Result<Needs> {
    let compressors = manifest.compressors();
    let decided = design.is_some();
    let mut parameters = Parameters::default();
    let mut build = Build::outline(&mut parameters);
    manifest.timesteps.attach(&mut build.at("timesteps"))?;
    let supernet = match manifest.search.is_some() || (takes_design && !decided) {
        true => Some(manifest.space.supernet(&data.info, &compressors, &mut build)?),
        false => None,
    };
    let searched = supernet.as_deref().map(|network| NetworkSize::of(network, &parameters));
    let design = match (design, &supernet) {
        (Some(design), _) => design,
        (None, Some(supernet)) => {
            let compression = supernet.decisions(Techniques::ALL);
            let design = Design::new(supernet.decode(), most_timesteps(manifest), compression);
            if takes_design { kept(design, manifest) } else { design }
        }
        (None, None) => {
            return Err(Error::design("the design that it takes over cannot be read"));
        }
    };
    let mut parameters = Parameters::default();
    let mut build = Build::outline(&mut parameters);
    let network = manifest.space.network(
        &design.architecture(),
        &design.compression,
        false,
        &data.info,
        &compressors,
        &mut build,
    )?;
    let network = NetworkSize::of(network.as_ref(), &parameters);
    let shape = data.info.shape;
    let searched = searched.filter(|_| manifest.search.is_some());
    let search = match (&searched, &manifest.search) {
        (Some(size), Some(training)) => {
            let batch = training.batch_size.min(data.train);
            let bytes = |size: &NetworkSize| {
                size.training_bytes(batch, manifest.timesteps.max(), shape, device, training.kept_beside_weights())
            };
            // A candidate is a final network, which may be the larger one.
            if trains_candidates(manifest) { bytes(size).max(bytes(&network)) } else { bytes(size) }
        }
        _ => 0,
    };
    let batch = manifest.retrain.batch_size.min(data.train);
    let retrain =
        network.training_bytes(batch, design.timesteps, shape, device, manifest.retrain.kept_beside_weights())
            + teacher.map_or(0, |(size, timesteps)| size.teaching_bytes(batch, timesteps, shape));
    let data = match device {
        // What does not fit is gathered on the host.
        Device::Cuda(_) => data.bytes.min(available_memory(device).unwrap_or(0) / 2),
        _ => data.bytes,
    };
    let memory = program + data + search.max(retrain);
    Ok(Needs { supernet: searched, network, timesteps: design.timesteps, decided, memory })
}
