//! A trial for a process of its own: all that it needs, in one file.
//!
//! The manifest is in it as it was when the trial was planned, so that a file that changes while trials wait changes nothing.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reuse::Archive;
use super::trial::{Context, Job};
use super::{Identity, attempt, write_atomically};
use crate::manifest::{Manifest, Plan, Trial};
use crate::plugin::{DataStore, Splits};
use crate::record::{Outcome, files};
use crate::train::TrialLabel;
use crate::{Error, Result};

const VERSION: u32 = 1;

/// A trial, ready to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    version: u32,
    /// `variant seed 0`.
    pub title: String,
    /// Position among the trials of its plan, from 0.
    pub index: usize,
    /// Number of trials of its plan.
    pub count: usize,
    /// Name of the experiment.
    pub experiment: String,
    variant: String,
    seed: u64,
    point: Vec<(String, String)>,
    overrides: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reproduces: Option<String>,
    /// Hash of the work.
    pub hash: String,
    recipe: String,
    data_digest: String,
    /// The trial's folder, absolute.
    pub folder: PathBuf,
    /// The design that it takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    design_file: Option<PathBuf>,
    /// The trial whose design that is, as an index among the tasks that it was planned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<usize>,
    /// Epochs of all stages, as far as the manifest says.
    pub epochs: usize,
    manifest: String,
}

/// The trials of a plan as tasks, in the plan's order.
pub fn tasks(plan: &Plan, runs: &Path, store: &DataStore) -> Result<Vec<Task>> {
    let runs = std::path::absolute(runs).map_err(Error::file("find", runs))?;
    let mut identities: Vec<Identity> = Vec::new();
    let mut all: Vec<Task> = Vec::new();
    for (index, trial) in plan.trials.iter().enumerate() {
        let data_digest = store.facts(trial.manifest.dataset.as_ref())?.info.digest;
        let identity = Identity::of(trial, &data_digest, trial.depends_on.map(|source| &identities[source]));
        let given = || std::path::absolute(trial.manifest.design.as_ref()?.file.as_ref()?).ok();
        let manifest = &trial.manifest;
        all.push(Task {
            version: VERSION,
            title: trial.title(),
            index,
            count: plan.trials.len(),
            experiment: plan.name.clone(),
            variant: trial.variant.clone(),
            seed: trial.seed,
            point: trial.point.clone(),
            overrides: trial.overrides.clone(),
            profile: plan.profile.clone(),
            reproduces: trial.reproduces.clone(),
            hash: identity.hash.clone(),
            recipe: identity.recipe.clone(),
            data_digest,
            folder: identity.folder(&runs, &plan.name, trial),
            design_file: trial.depends_on.map(|source| all[source].folder.join(files::DESIGN)).or_else(given),
            after: trial.depends_on,
            epochs: manifest.search.as_ref().map_or(0, |search| search.epochs) + manifest.retrain.epochs,
            manifest: trial.manifest_toml(None),
        });
        identities.push(identity);
    }
    Ok(all)
}

impl Task {
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
            VERSION => Ok(task),
            other => Err(content(format!("is of version {other}, and this program reads {VERSION}"))),
        }
    }

    /// A task without work, for the conformance kit.
    pub(crate) fn empty(title: &str, folder: PathBuf, after: Option<usize>) -> Task {
        Task {
            version: VERSION,
            title: title.to_owned(),
            index: 0,
            count: 1,
            experiment: "conformance".into(),
            variant: title.to_owned(),
            seed: 0,
            point: Vec::new(),
            overrides: Vec::new(),
            profile: None,
            reproduces: None,
            hash: title.to_owned(),
            recipe: String::new(),
            data_digest: String::new(),
            folder,
            design_file: None,
            after,
            epochs: 1,
            manifest: String::new(),
        }
    }

    /// The folder of all experiments.
    pub fn runs(&self) -> &Path {
        self.folder.parent().and_then(Path::parent).unwrap_or(Path::new("."))
    }

    /// The plan with this trial alone. Numbers are read from TOML, which keeps them to the bit.
    fn plan(&self) -> Result<Plan> {
        let wrong = |message: String| Error::Record(format!("the manifest of task `{}`: {message}", self.title));
        let mut document: Value = toml_edit::de::from_str(&self.manifest).map_err(|error| wrong(error.to_string()))?;
        if let Some(sections) = document.as_object_mut() {
            sections.remove("variant");
        }
        let manifest: Manifest = serde_json::from_value(document).map_err(|error| wrong(error.to_string()))?;
        let settings = serde_json::to_value(&manifest).map_err(|error| wrong(error.to_string()))?;
        Ok(Plan {
            name: self.experiment.clone(),
            description: manifest.experiment.description.clone(),
            profile: self.profile.clone(),
            source: PathBuf::new(),
            trials: vec![Trial {
                variant: self.variant.clone(),
                point: self.point.clone(),
                seed: self.seed,
                reproduces: self.reproduces.clone(),
                overrides: self.overrides.clone(),
                manifest,
                settings,
                depends_on: None,
            }],
        })
    }
}

/// Runs a task, or finds its result; true where it was there already. With a token it runs in a folder of its own, as an
/// [`attempt`].
pub fn run_task(task: &Task, token: Option<&str>, context: &Context) -> Result<(Outcome, bool)> {
    let plan = task.plan()?;
    let trial = &plan.trials[0];
    let splits: Rc<Splits> = context.store.open(trial.manifest.dataset.as_ref())?;
    if splits.info.digest != task.data_digest {
        return Err(Error::Record(format!(
            "the data of {} have changed since the trial was planned (digest `{}`, and it was `{}`)",
            task.title, splits.info.digest, task.data_digest
        )));
    }
    if let Some(source) = task.design_file.as_ref().and_then(|file| file.parent()) {
        attempt::settle(source);
    }
    let identity = Identity { hash: task.hash.clone(), recipe: task.recipe.clone() };
    let label = TrialLabel { index: task.index, count: task.count, title: task.title.clone() };
    let job = Job { plan: &plan, trial, splits: &splits, identity: &identity, label: &label, context };
    let archive = Archive::open(task.runs());
    let (outcome, cached) = job.finish(&task.folder, task.design_file.as_deref(), &archive, token);
    outcome.map(|outcome| (outcome, cached))
}
