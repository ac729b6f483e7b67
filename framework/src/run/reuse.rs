//! Work that is finished is found by its hash, in whichever experiment it was done, and is not done again.
//!
//! The new folder gets copies of what the finished one holds, under the names of its own manifest, and `log.jsonl` says where they
//! come from. So each folder is whole: a report reads it like any other, and removing the first does not take the second one's result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::log::Log;
use super::{TrialFolder, write_atomically};
use crate::manifest::{Plan, Trial};
use crate::record::{self, Outcome, files};
use crate::train::Observer;
use crate::{Error, Result};

/// What a finished trial is made of, the result aside; a trial without a search has no weights.
const PARTS: [&str; 6] = [files::DESIGN, files::SETTLED, files::HISTORY, files::STAGES, files::WEIGHTS, files::LAYERS];

/// Folders of trials by the hash in their name.
#[derive(Debug, Default)]
pub struct Archive {
    by_hash: BTreeMap<String, Vec<PathBuf>>,
}

impl Archive {
    /// Looks at the names of all folders `RUNS/EXPERIMENT/VARIANT-sSEED-HASH`; opens none.
    pub fn open(runs: &Path) -> Archive {
        let mut archive = Archive::default();
        for folder in trial_folders(runs) {
            archive.add(folder);
        }
        archive
    }

    /// Adds the folder of a trial.
    pub fn add(&mut self, folder: PathBuf) {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some((_, hash)) = name.rsplit_once('-') {
            self.by_hash.entry(hash.to_owned()).or_default().push(folder);
        }
    }

    /// A finished trial of this hash in another folder than `own`.
    pub fn find(&self, hash: &str, own: &Path) -> Option<(&Path, Outcome)> {
        let folders = self.by_hash.get(hash)?.iter().filter(|folder| *folder != own);
        folders.map(PathBuf::as_path).find_map(|folder| {
            let outcome = result(folder)?;
            (outcome.hash == hash).then_some((folder, outcome))
        })
    }
}

/// The folders of trials under `runs`, in the order of their names.
pub fn trial_folders(runs: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        folders.sort();
        folders
    };
    below(runs).iter().flat_map(|experiment| below(experiment)).collect()
}

/// The result in a trial's folder, where it is finished.
pub fn result(folder: &Path) -> Option<Outcome> {
    record::read::<Outcome>(&folder.join(files::RESULT)).ok()?.pop()
}

/// Gives a trial the result of the same work in another folder.
pub(super) fn reuse(
    plan: &Plan,
    trial: &Trial,
    manifest_text: &str,
    (from, outcome): (&Path, Outcome),
    to: &Path,
    observer: &dyn Observer,
) -> Result<Outcome> {
    let folder = TrialFolder::lock(to)?;
    write_atomically(&folder.file(files::MANIFEST), manifest_text.as_bytes())?;
    for part in PARTS {
        let source = from.join(part);
        match std::fs::read(&source) {
            Ok(bytes) => write_atomically(&folder.file(part), &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("read", &source)(error)),
        }
    }
    Log::open(&folder.file(files::LOG), observer)?.line("reused", json!({ "from": from }));
    let outcome = named(outcome, plan, trial);
    record::write(&folder.file(files::RESULT), std::slice::from_ref(&outcome))?;
    Ok(outcome)
}

/// A result under the names that a trial has in its manifest: they are not part of the work.
pub(super) fn named(outcome: Outcome, plan: &Plan, trial: &Trial) -> Outcome {
    let point: Vec<String> = trial.point.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Outcome {
        experiment: plan.name.clone(),
        variant: trial.variant.clone(),
        profile: plan.profile.clone().unwrap_or_default(),
        point: point.join(", "),
        reproduces: trial.reproduces.clone().unwrap_or_default(),
        overrides: trial.overrides.join(", "),
        ..outcome
    }
}
