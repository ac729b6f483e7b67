//! Trials that are run anew: what was computed before is set aside, and nothing is lost.
//!
//! ```text
//! EXPERIMENT/.earlier/VARIANT-sSEED-HASH.1     the folder with the result of before; then .2, ...
//! EXPERIMENT/VARIANT-sSEED-HASH/again          says that no result of elsewhere is to be taken
//! ```
//!
//! The name of `.earlier` begins with a dot, so that nobody takes what lies in it for trials of the
//! experiment. The mark stays: an interrupted trial goes on by its checkpoint, in whichever process.

use std::path::{Path, PathBuf};

use super::{TrialFolder, attempt, files, result};
use crate::ground::file::write_atomically;
use crate::{Error, Result};

/// Folder of an experiment with the trials that were set aside.
pub const EARLIER: &str = ".earlier";

/// Sees to it that a trial is run anew: a finished one is set aside, and its new place is returned;
/// an unfinished one goes on from where it is. From then on no result of the same work elsewhere is
/// taken for it.
pub fn begin_anew(trial: &Path) -> Result<Option<PathBuf>> {
    attempt::settle(trial);
    let aside = match result(trial) {
        Some(_) => Some(set_aside(trial)?),
        None => None,
    };
    std::fs::create_dir_all(trial).map_err(Error::file("create", trial))?;
    write_atomically(&trial.join(files::AGAIN), b"")?;
    Ok(aside)
}

/// Whether a trial is run anew, whatever results there are elsewhere.
pub fn runs_anew(trial: &Path) -> bool {
    trial.join(files::AGAIN).exists()
}

fn set_aside(trial: &Path) -> Result<PathBuf> {
    // Nobody writes to it meanwhile.
    let _held = TrialFolder::lock(trial)?;
    let name = trial.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = trial.parent().unwrap_or(Path::new(".")).join(EARLIER);
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let aside = (1..).map(|number| folder.join(format!("{name}.{number}"))).find(|path| !path.exists());
    let aside = aside.expect("numbers do not end");
    std::fs::rename(trial, &aside).map_err(Error::file("rename", trial))?;
    Ok(aside)
}

/// The trials of all experiments under `runs` that were set aside.
pub fn set_aside_trials(runs: &Path) -> Vec<PathBuf> {
    let below = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    below(runs.to_owned()).into_iter().flat_map(|experiment| below(experiment.join(EARLIER))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, trial_folders, write};
    use super::*;

    #[test]
    fn what_was_finished_is_set_aside_whole_and_is_no_trial_any_more() {
        let runs = tempfile::tempdir().unwrap();
        let trial = runs.path().join("own/a-s0-00");
        for number in 1..=2 {
            std::fs::create_dir_all(&trial).unwrap();
            write(&trial.join(files::RESULT), &[Outcome { seed: number, ..Outcome::default() }]).unwrap();
            let aside = begin_anew(&trial).unwrap().unwrap();
            assert_eq!(aside, runs.path().join(format!("own/.earlier/a-s0-00.{number}")));
            assert_eq!(result(&aside).unwrap().seed, number);
            assert!(result(&trial).is_none() && runs_anew(&trial));
        }
        assert_eq!(trial_folders(runs.path()), std::slice::from_ref(&trial));
        assert_eq!(set_aside_trials(runs.path()).len(), 2);
        // What is not finished stays where it is.
        std::fs::write(trial.join(files::LOG), "half").unwrap();
        assert_eq!(begin_anew(&trial).unwrap(), None);
        assert!(trial.join(files::LOG).exists());
    }
}
