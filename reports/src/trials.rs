//! Trials found on disk, by experiment and row.

use std::path::{Path, PathBuf};

use litesnn_framework::design::Design;
use litesnn_framework::record::{self, Epoch, Layer, Outcome, files};
use walkdir::WalkDir;

use crate::Error;

/// A finished trial.
#[derive(Debug)]
pub struct Trial {
    /// Its folder.
    pub folder: PathBuf,
    /// Its result.
    pub outcome: Outcome,
    /// Its epochs.
    pub history: Vec<Epoch>,
    /// Its layers.
    pub layers: Vec<Layer>,
    /// Its design.
    pub design: Design,
}

/// A row: the trials of one variant at one point of a sweep, by seed.
#[derive(Debug)]
pub struct Group {
    /// Variant, with the point of the sweep.
    pub name: String,
    /// Its trials.
    pub trials: Vec<Trial>,
}

impl Group {
    /// Whether its designs were searched here.
    pub fn searched(&self) -> bool {
        self.trials.iter().any(|trial| trial.outcome.search_epochs > 0)
    }

    /// Mean and, from two trials on, sample standard deviation of a quantity.
    pub fn mean(&self, value: impl Fn(&Outcome) -> f64) -> (f64, Option<f64>) {
        let values: Vec<f64> = self.trials.iter().map(|trial| value(&trial.outcome)).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, (values.len() > 1).then(|| variance.sqrt()))
    }
}

/// All finished trials of an experiment.
#[derive(Debug)]
pub struct Experiment {
    /// Name, as in the manifest.
    pub name: String,
    /// Rows: variants that searched first, then by name.
    pub groups: Vec<Group>,
}

impl Experiment {
    /// All trials, in the order of the rows.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        self.groups.iter().flat_map(|group| &group.trials)
    }
}

/// What lies under a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Experiments by name.
    pub experiments: Vec<Experiment>,
    /// Folders without a readable result, and why.
    pub unfinished: Vec<(PathBuf, String)>,
}

/// Finds the trials under `runs`.
pub fn find(runs: &Path) -> Result<Found, Error> {
    let mut trials = Vec::new();
    let mut found = Found::default();
    let entries = WalkDir::new(runs).sort_by_file_name().into_iter().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_name() == files::MANIFEST) {
        let Some(folder) = entry.path().parent() else { continue };
        if !folder.join(files::RESULT).exists() {
            found.unfinished.push((folder.to_owned(), "not finished".into()));
            continue;
        }
        match read(folder) {
            Ok(Some(trial)) => trials.push(trial),
            Ok(None) => found.unfinished.push((folder.to_owned(), "its result is empty".into())),
            Err(error) => found.unfinished.push((folder.to_owned(), error.to_string())),
        }
    }
    trials.sort_by(|a, b| key(a).cmp(&key(b)));
    for trial in trials {
        let name = trial.outcome.experiment.clone();
        if found.experiments.last().is_none_or(|last| last.name != name) {
            found.experiments.push(Experiment { name, groups: Vec::new() });
        }
        let Some(experiment) = found.experiments.last_mut() else { continue };
        match experiment.groups.last_mut().filter(|group| same_row(&group.trials[0], &trial)) {
            Some(group) => group.trials.push(trial),
            None => experiment.groups.push(Group { name: row_name(&trial.outcome), trials: vec![trial] }),
        }
    }
    for experiment in &mut found.experiments {
        tell_apart(&mut experiment.groups);
    }
    Ok(found)
}

fn row_name(outcome: &Outcome) -> String {
    let mut remarks: Vec<&str> = vec![&outcome.point];
    let profile = format!("profile {}", outcome.profile);
    if !outcome.profile.is_empty() {
        remarks.push(&profile);
    }
    remarks.retain(|remark| !remark.is_empty());
    if remarks.is_empty() { outcome.variant.clone() } else { format!("{} ({})", outcome.variant, remarks.join(", ")) }
}

/// Only trials that differ in nothing but the seed are repetitions.
fn same_row(a: &Trial, b: &Trial) -> bool {
    let row =
        |trial: &Trial| (trial.outcome.variant.clone(), trial.outcome.point.clone(), trial.outcome.recipe.clone());
    row(a) == row(b) && a.outcome.profile == b.outcome.profile
}

/// Rows of one name but other settings get the beginning of their recipe's hash.
fn tell_apart(groups: &mut [Group]) {
    let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
    for group in groups.iter_mut() {
        if names.iter().filter(|name| **name == group.name).count() > 1 {
            let recipe: String = group.trials[0].outcome.recipe.chars().take(6).collect();
            group.name = format!("{} [{recipe}]", group.name);
        }
    }
}

fn key(trial: &Trial) -> (&str, bool, &str, &str, &str, &str, i64) {
    let o = &trial.outcome;
    (&o.experiment, o.search_epochs == 0, &o.variant, &o.point, &o.profile, &o.recipe, o.seed)
}

fn read(folder: &Path) -> Result<Option<Trial>, litesnn_framework::Error> {
    let Some(outcome) = record::read::<Outcome>(&folder.join(files::RESULT))?.into_iter().next() else {
        return Ok(None);
    };
    Ok(Some(Trial {
        outcome,
        history: record::read(&folder.join(files::HISTORY))?,
        layers: record::read(&folder.join(files::LAYERS))?,
        design: Design::read(&folder.join(files::DESIGN))?,
        folder: folder.to_owned(),
    }))
}
