//! The mark that a failed trial leaves in its folder.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::files;
use crate::ground::file::write_atomically;
use crate::{Error, Result};

/// Why a trial has no result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The message, in one line.
    pub error: String,
    /// What would be right, where that could be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Seconds since 1970.
    pub at: u64,
}

impl Failed {
    /// Marks the trial in `folder`.
    pub fn write(folder: &Path, error: &Error) -> Result<()> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let failed = Failed { error: error.to_string(), hint: error.hint(), at };
        let text = serde_json::to_vec_pretty(&failed).map_err(|error| Error::Record(error.to_string()))?;
        write_atomically(&folder.join(files::FAILED), &text)
    }

    /// The mark in `folder`, where there is one that can be read.
    pub fn read(folder: &Path) -> Option<Failed> {
        serde_json::from_slice(&std::fs::read(folder.join(files::FAILED)).ok()?).ok()
    }

    /// Takes the mark away: the trial runs again.
    pub fn clear(folder: &Path) -> Result<()> {
        let path = folder.join(files::FAILED);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}
