//! Work that is finished is found by its hash, in whichever experiment it was done, and is not done
//! again.
//!
//! The new folder gets copies of what the finished one holds, under the names of its own manifest,
//! and `log.jsonl` says where they come from. So each folder is whole: a report reads it like any
//! other, and removing the first does not take the second one's result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::names::named;
use crate::data::DataInfo;
use crate::ground::file::write_atomically;
use crate::launch::Task;
use crate::record::{self, Log, Observer, Outcome, TrialFolder, earlier, files};
use crate::train::Checkpoint;
use crate::{Error, Result};

/// The trials that are on the disk: their folders by the hash in their name.
#[derive(Debug, Default)]
pub(super) struct KnownWork {
    by_hash: BTreeMap<String, Vec<PathBuf>>,
}

impl KnownWork {
    /// Looks at the names of all folders `RUNS/EXPERIMENT/VARIANT-sSEED-HASH`; opens none.
    pub(super) fn look(runs: &Path) -> KnownWork {
        let mut known = KnownWork::default();
        for folder in record::trial_folders(runs) {
            known.add(folder);
        }
        known
    }

    /// Adds the folder of a trial.
    pub(super) fn add(&mut self, folder: PathBuf) {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some((_, hash)) = name.rsplit_once('-') {
            self.by_hash.entry(hash.to_owned()).or_default().push(folder);
        }
    }

    /// A finished trial of this hash in another folder than `own`; none where `own` is to be run
    /// anew.
    pub(super) fn find(&self, hash: &str, own: &Path) -> Option<(&Path, Outcome)> {
        if earlier::runs_anew(own) {
            return None;
        }
        let folders = self.by_hash.get(hash)?.iter().filter(|folder| *folder != own);
        folders.map(PathBuf::as_path).find_map(|folder| {
            let outcome = record::result(folder)?;
            (outcome.hash == hash).then_some((folder, outcome))
        })
    }
}

/// The last checkpoint, which holds the final weights, for a trial that this one teaches. No file
/// of a checkpoint is ever written to, so that a link is as good as a copy and takes no room; on
/// file systems without links it is a copy.
fn link_weights(from: &Path, to: &Path) -> Result<()> {
    let [from, to] = [from, to].map(|folder| folder.join(files::CHECKPOINT));
    let (last, own) = (Checkpoint::last_file(&from), Checkpoint::last_file(&to));
    if !last.exists() || own.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&to).map_err(Error::file("create", &to))?;
    std::fs::hard_link(&last, &own)
        .or_else(|_| std::fs::copy(&last, &own).map(drop))
        .map_err(Error::file("write", &own))
}

/// Gives a trial the result of the same work in another folder.
pub(super) fn reuse(
    task: &Task,
    info: &DataInfo,
    manifest_text: &str,
    (from, outcome): (&Path, Outcome),
    observer: &dyn Observer,
) -> Result<Outcome> {
    let folder = TrialFolder::lock(&task.folder)?;
    write_atomically(&folder.file(files::MANIFEST), manifest_text.as_bytes())?;
    for part in files::PARTS {
        let source = from.join(part);
        match std::fs::read(&source) {
            Ok(bytes) => write_atomically(&folder.file(part), &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("read", &source)(error)),
        }
    }
    link_weights(from, folder.path())?;
    Log::open(&folder.file(files::LOG), observer)?.line("reused", json!({ "from": from }));
    let outcome = named(outcome, task, info);
    record::write(&folder.file(files::RESULT), std::slice::from_ref(&outcome))?;
    Ok(outcome)
}
