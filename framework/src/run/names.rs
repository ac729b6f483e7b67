//! The names and marks of a result. They are no part of the work, so that a finished result takes
//! those that its manifest has now, without being measured again.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Agenda;
use crate::Result;
use crate::data::{DataInfo, Dataset};
use crate::ground::file::write_atomically;
use crate::launch::Task;
use crate::manifest::Trial;
use crate::record::{self, Event, Log, Observer, Outcome, TrialFolder, files};

/// A result under the names that a trial has in its manifest, and that its data have in tables.
pub(super) fn named(outcome: Outcome, task: &Task, info: &DataInfo) -> Outcome {
    Outcome {
        experiment: task.experiment.clone(),
        variant: task.variant.clone(),
        profile: task.profile.clone().unwrap_or_default(),
        point: task.point.clone(),
        reproduces: task.reproduces.clone().unwrap_or_default(),
        compared_with: task.compared_with.clone(),
        overrides: task.overrides.join(", "),
        dataset: info.title.clone(),
        data_edition: info.edition.name().to_owned(),
        ..outcome
    }
}

/// What [`named`] sets.
fn names(outcome: &Outcome) -> [(&'static str, String); 9] {
    [
        ("experiment", &outcome.experiment),
        ("variant", &outcome.variant),
        ("profile", &outcome.profile),
        ("point", &outcome.point.text()),
        ("reproduces", &outcome.reproduces),
        ("compared_with", &outcome.compared_with.cell()),
        ("overrides", &outcome.overrides),
        ("dataset", &outcome.dataset),
        ("data_edition", &outcome.data_edition),
    ]
    .map(|(name, value)| (name, value.clone()))
}

/// The manifest that a trial's folder keeps.
pub(super) fn kept_manifest(task: &Task, trial: &Trial, folder: &Path) -> String {
    let design_file = task.design_file.as_deref().map(|file| seen_from(folder, file));
    let teacher = task.teacher.as_deref().map(|teacher| trial_seen_from(folder, teacher));
    trial.manifest_toml(design_file.as_deref(), teacher.as_deref())
}

/// The same for the folder of another trial.
fn trial_seen_from(folder: &Path, trial: &Path) -> PathBuf {
    match trial.file_name() {
        Some(name) if trial.parent() == folder.parent() => Path::new("..").join(name),
        _ => std::path::absolute(trial).unwrap_or_else(|_| trial.to_owned()),
    }
}

/// A path to `file` for the manifest in `folder`: relative where both are trials of one experiment,
/// so that it can be moved.
fn seen_from(folder: &Path, file: &Path) -> PathBuf {
    match (file.parent().and_then(Path::file_name), file.file_name()) {
        (Some(trial), Some(name)) if file.parent().and_then(Path::parent) == folder.parent() => {
            Path::new("..").join(trial).join(name)
        }
        _ => std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
    }
}

impl Agenda<'_> {
    /// Gives every finished result the names that its trial has now: in `result.parquet` and in
    /// `manifest.toml`, each file whole. `info` says what a data set is called. What cannot be
    /// written keeps its old names, and the observer is told.
    pub fn rename_finished(&self, info: impl Fn(&dyn Dataset) -> Result<DataInfo>, observer: &dyn Observer) {
        for ((task, trial), source) in self.tasks.iter().zip(&self.trials).zip(&self.sources) {
            // The manifest that a trial's folder keeps has no sweep and no profile: run as it is, it
            // takes no name away.
            let own = |path: &Path| path.canonicalize().ok();
            if own(source) == own(&task.folder.join(files::MANIFEST)) {
                continue;
            }
            let Some(found) = task.result() else { continue };
            let info = info(trial.manifest.dataset.as_ref());
            let renamed = info.and_then(|info| rename(task, trial, found, &info, observer));
            if let Err(error) = renamed {
                let text = format!("its result keeps the names that it was recorded with: {error}");
                observer.event(&Event::Note { trial: Some(task.label()), text: &text });
            }
        }
    }
}

fn rename(task: &Task, trial: &Trial, found: Outcome, info: &DataInfo, observer: &dyn Observer) -> Result<()> {
    let now = named(found.clone(), task, info);
    let manifest = kept_manifest(task, trial, &task.folder);
    let kept = std::fs::read_to_string(task.folder.join(files::MANIFEST)).unwrap_or_default();
    if names(&found) == names(&now) && kept == manifest {
        return Ok(());
    }
    let folder = TrialFolder::lock(&task.folder)?;
    write_atomically(&folder.file(files::MANIFEST), manifest.as_bytes())?;
    record::write(&folder.file(files::RESULT), std::slice::from_ref(&now))?;
    let changed = names(&found).into_iter().zip(names(&now)).filter(|(before, after)| before != after);
    let changed: Vec<_> =
        changed.map(|((name, from), (_, to))| json!({ "name": name, "from": from, "to": to })).collect();
    Log::open(&folder.file(files::LOG), observer)?.line("renamed", json!(changed));
    Ok(())
}
