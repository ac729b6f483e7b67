//! How a process that worked on a trial ended.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::run::write_atomically;

/// The kinds of end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// With a result.
    Finished,
    /// The result was there already.
    Cached,
    /// With an error.
    Failed,
    /// On request, after a checkpoint.
    Stopped,
    /// At the end of its time, after a checkpoint.
    TimedOut,
    /// To make room for other work, after a checkpoint.
    Preempted,
    /// Without a word.
    Killed,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Hash of its trial.
    pub hash: String,
    /// Kind of end.
    pub how: How,
    /// Why there is no result; empty where there is one.
    #[serde(default)]
    pub reason: String,
}

impl End {
    /// Writes it to a file of its own.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml_edit::ser::to_string(self).map_err(|error| crate::Error::Record(error.to_string()))?;
        write_atomically(path, text.as_bytes())
    }

    /// Reads it back; nothing where there is none.
    pub fn read(path: &Path) -> Option<End> {
        toml_edit::de::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }
}
