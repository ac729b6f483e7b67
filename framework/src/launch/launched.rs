//! Launches on the disk: what each one is, with the launcher that its trials run by.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{LAUNCH, ProcessSettings, folder};
use super::{Launcher, Record, Standing, Task};
use crate::ground::file::write_atomically;
use crate::{Error, Result};

/// A launch, as `launch.toml` holds it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launched {
    /// What processes know of it.
    #[serde(flatten)]
    pub record: Record,
    /// The launcher, by name; absent where the command runs the trials itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<Box<dyn Launcher>>,
}

impl Launched {
    /// Makes the folder of a new launch.
    pub fn create(
        runs: &Path,
        launcher: Option<Box<dyn Launcher>>,
        settings: ProcessSettings,
        tasks: &[Task],
    ) -> Result<Launched> {
        let launched = Launched { record: Record::create(runs, settings, tasks)?, launcher };
        // Last: a launch without it is none.
        let text = toml_edit::ser::to_string_pretty(&launched).map_err(|error| Error::Record(error.to_string()))?;
        write_atomically(&launched.record.folder.join(LAUNCH), text.as_bytes())?;
        Ok(launched)
    }

    /// Reads the launch in a folder.
    pub fn read(folder: &Path) -> Result<Launched> {
        let path = folder.join(LAUNCH);
        let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let mut launched: Launched = toml_edit::de::from_str(&text).map_err(|error| Error::Content {
            path,
            message: format!("is not a launch: {}", error.message()),
            hint: "move the folder away and run the manifest again".into(),
        })?;
        launched.record.folder = folder.to_owned();
        Ok(launched)
    }

    /// What is known of its trials that have no result, by their index.
    pub fn standings(&self) -> Result<BTreeMap<usize, Standing>> {
        match &self.launcher {
            Some(launcher) => launcher.standings(&self.record),
            None => self.record.standings_here(),
        }
    }

    /// Ends all work on it; the number of trials that it concerned.
    pub fn cancel(&self) -> Result<usize> {
        match &self.launcher {
            Some(launcher) => launcher.cancel(&self.record),
            None => self.record.cancel_here(),
        }
    }
}

/// The launches under `runs`, by name; those that cannot be read, with the reason, are left to the
/// caller.
pub fn launches(runs: &Path) -> Vec<Result<Launched>> {
    let runs = std::path::absolute(runs).unwrap_or_else(|_| runs.to_owned());
    let entries = std::fs::read_dir(folder(&runs)).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.join(LAUNCH).is_file()).collect();
    folders.sort();
    folders.iter().map(|folder| Launched::read(folder)).collect()
}
