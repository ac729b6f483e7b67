//! A task that was written by another process: a trial is run from it, and from nothing else.

use std::path::Path;

use serde_json::Value;

use super::reuse::KnownWork;
use super::trial::run;
use super::{Context, Finished};
use crate::launch::Task;
use crate::manifest::{Manifest, Trial};
use crate::record::attempt;
use crate::{Error, Result};

/// The trial with the settings of a task. Numbers are read from TOML, which keeps them to the bit.
fn trial_of(task: &Task) -> Result<Trial> {
    let wrong = |message: String| Error::Record(format!("the manifest of task `{}`: {message}", task.title));
    let mut document: Value = toml_edit::de::from_str(&task.manifest).map_err(|error| wrong(error.to_string()))?;
    if let Some(sections) = document.as_object_mut() {
        sections.remove("variant");
    }
    let manifest: Manifest = serde_json::from_value(document).map_err(|error| wrong(error.to_string()))?;
    let settings = serde_json::to_value(&manifest).map_err(|error| wrong(error.to_string()))?;
    Ok(Trial {
        variant: task.variant.clone(),
        point: task.point.clone(),
        seed: task.seed,
        profile: task.profile.clone(),
        reproduces: task.reproduces.clone(),
        overrides: task.overrides.clone(),
        manifest,
        settings,
        depends_on: None,
        taught_by: None,
    })
}

/// Runs a task, or finds its result. With a token it runs in a folder of its own, as an
/// [`attempt`].
pub fn run_task(task: &Task, token: Option<&str>, context: &Context) -> Finished {
    let trial = match trial_of(task) {
        Ok(trial) => trial,
        Err(error) => return Finished { title: task.title.clone(), outcome: Err(error), cached: false },
    };
    let source = task.design_file.as_deref().and_then(Path::parent);
    source.into_iter().chain(task.teacher.as_deref()).for_each(attempt::settle);
    run(task, &trial, &KnownWork::look(task.runs()), token, context)
}
