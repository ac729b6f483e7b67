//! A trial that is to run: what it is called, what names its folder, what it takes over. In a file
//! it is all that a process of its own needs.
//!
//! The manifest is in it as it was when the trial was planned, so that a file that changes while
//! trials wait changes nothing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ground::file::write_atomically;
use crate::record::{Outcome, Point, RowNames, TrialLabel, attempt, result};
use crate::{Error, Result};

/// A trial, ready to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Version of the file's format: [`Task::VERSION`].
    pub version: u32,
    /// `variant seed 0`.
    pub title: String,
    /// Position among the trials of the run, from 0.
    pub index: usize,
    /// Number of trials of the run.
    pub count: usize,
    /// Name of the experiment.
    pub experiment: String,
    /// Name of its variant.
    pub variant: String,
    /// Its seed.
    pub seed: u64,
    /// Its point of the sweep.
    pub point: Point,
    /// What `--set` and the environment changed of it.
    pub overrides: Vec<String>,
    /// The profile of the manifest that it was planned with, where that changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The published table that it reproduces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduces: Option<String>,
    /// The rows that its manifest compares its row with.
    #[serde(default, skip_serializing_if = "RowNames::is_empty")]
    pub compared_with: RowNames,
    /// Hash of the work.
    pub hash: String,
    /// The hash without the seed.
    pub recipe: String,
    /// Digest of the data that it was planned with.
    pub data_digest: String,
    /// The trial's folder, absolute.
    pub folder: PathBuf,
    /// The design that it takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design_file: Option<PathBuf>,
    /// The trial whose design that is, as an index among the tasks that it was planned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<usize>,
    /// The folder of the finished trial whose network teaches this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// The trial of that folder, in the same way as `after`; none where the manifest names a
    /// folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taught_by: Option<usize>,
    /// Epochs of all stages, as far as the manifest says.
    pub epochs: usize,
    /// Its manifest, as TOML.
    pub manifest: String,
}

impl Task {
    /// Version of the file's format.
    pub const VERSION: u32 = 1;

    /// Writes the task to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml_edit::ser::to_string(self).map_err(|error| Error::Record(error.to_string()))?;
        write_atomically(path, text.as_bytes())
    }

    /// Reads a file that [`Task::write`] has written.
    pub fn read(path: &Path) -> Result<Task> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        let content = |message: String| Error::Content {
            path: path.to_owned(),
            message,
            hint: "run the manifest again: it writes its tasks anew".into(),
        };
        let task: Task = toml_edit::de::from_str(&text).map_err(|error| content(format!("is not a task: {error}")))?;
        match task.version {
            Task::VERSION => Ok(task),
            other => Err(content(format!("is of version {other}, and this program reads {}", Task::VERSION))),
        }
    }

    /// What events call the trial.
    pub fn label(&self) -> TrialLabel<'_> {
        TrialLabel { index: self.index, count: self.count, title: &self.title }
    }

    /// The trials that it waits for, as indices among the tasks that it was planned with: the one
    /// whose design it takes, and its teacher.
    pub fn waits_for(&self) -> impl Iterator<Item = usize> {
        self.after.into_iter().chain(self.taught_by)
    }

    /// What is said of it where the trial at `index` failed, which it waits for and which is
    /// `source`.
    pub fn fails_with(&self, index: usize, source: &Task) -> String {
        let role = if self.after == Some(index) { "that it takes its design from" } else { "that teaches it" };
        format!("the trial {role} failed: {}", source.title)
    }

    /// The trial's result, if there is one.
    pub fn result(&self) -> Option<Outcome> {
        attempt::settle(&self.folder);
        result(&self.folder)
    }

    /// Whether the trial has a result.
    pub fn is_finished(&self) -> bool {
        self.result().is_some()
    }

    /// The folder of all experiments.
    pub fn runs(&self) -> &Path {
        self.folder.parent().and_then(Path::parent).unwrap_or(Path::new("."))
    }
}
