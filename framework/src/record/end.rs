//! How the work on a trial ended.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::ground::file::write_atomically;
use crate::{Error, Result};

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

/// How the work of a process on a trial ended.
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
    /// The end of a process whose trial has this outcome. `cached`: it was there already.
    pub fn of(hash: &str, outcome: &Result<Outcome>, cached: bool) -> End {
        let (how, reason) = match outcome {
            Ok(_) if cached => (How::Cached, String::new()),
            Ok(_) => (How::Finished, String::new()),
            Err(error @ Error::Interrupted) => (How::Stopped, error.to_string()),
            Err(error) => (How::Failed, error.to_string()),
        };
        End { hash: hash.to_owned(), how, reason }
    }

    /// Whether there is a result.
    pub fn has_result(&self) -> bool {
        matches!(self.how, How::Finished | How::Cached)
    }

    /// Whether it ended by a fault, and not on request.
    pub fn is_failure(&self) -> bool {
        matches!(self.how, How::Failed | How::Killed)
    }

    /// Writes it to a file of its own.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml_edit::ser::to_string(self).map_err(|error| Error::Record(error.to_string()))?;
        write_atomically(path, text.as_bytes())
    }

    /// Reads it back; nothing where there is none.
    pub fn read(path: &Path) -> Option<End> {
        toml_edit::de::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }
}
