//! What a run is to do: the trials of its plans as tasks, each with the hash that names its folder.

use std::path::Path;

use super::Finished;
use super::identity::{folder, identify};
use crate::data::Dataset;
use crate::launch::Task;
use crate::manifest::{Plan, Trial};
use crate::record::{RowName, RowNames, files};
use crate::{Error, Result};

/// The trials of a run, in the order in which they can run.
#[derive(Debug)]
pub struct Agenda<'a> {
    /// The trials that can run; each comes after those that it waits for.
    pub tasks: Vec<Task>,
    /// The trial of each task.
    pub(super) trials: Vec<&'a Trial>,
    /// The manifest that each task comes from.
    pub(super) sources: Vec<&'a Path>,
    /// The trials that cannot run, by their place among all trials.
    refused: Vec<(usize, Finished)>,
}

impl<'a> Agenda<'a> {
    /// The trials of some plans. `digest` says which data a data set has. A trial whose data cannot
    /// be used does not run, nor does one that takes its design or is taught by it; where no trial
    /// of a plan can run, that is the error of the whole.
    pub fn of(plans: &'a [Plan], runs: &Path, digest: impl Fn(&dyn Dataset) -> Result<String>) -> Result<Agenda<'a>> {
        let mut agenda = Agenda { tasks: Vec::new(), trials: Vec::new(), sources: Vec::new(), refused: Vec::new() };
        let count = plans.iter().map(|plan| plan.trials.len()).sum();
        let mut before = 0;
        for plan in plans {
            let mut planned = tasks(plan, runs, &digest);
            if !planned.is_empty() && planned.iter().all(Result::is_err) {
                return planned.swap_remove(0).map(|_| agenda);
            }
            // The place of each trial of this plan among the tasks.
            let mut places: Vec<usize> = Vec::new();
            for (trial, task) in plan.trials.iter().zip(planned) {
                let index = before + places.len();
                places.push(agenda.tasks.len());
                match task {
                    Ok(task) => {
                        let [after, taught_by] = [task.after, task.taught_by].map(|it| it.map(|source| places[source]));
                        agenda.tasks.push(Task { index, count, after, taught_by, ..task });
                        agenda.trials.push(trial);
                        agenda.sources.push(&plan.source);
                    }
                    Err(error) => {
                        let refused = Finished { title: trial.title(), outcome: Err(error), cached: false };
                        agenda.refused.push((index, refused));
                    }
                }
            }
            before += plan.trials.len();
        }
        Ok(agenda)
    }

    /// What became of all trials, from what became of the tasks; `None` for those that are open.
    pub fn conclude(self, done: Vec<Option<Finished>>) -> Vec<Option<Finished>> {
        let mut all = done;
        for (place, refused) in self.refused {
            all.insert(place, Some(refused));
        }
        all
    }
}

/// The trials of a plan as tasks, in the plan's order and numbered within it. A trial is an error
/// where its data cannot be used, or those of a trial that it waits for.
pub(super) fn tasks(plan: &Plan, runs: &Path, digest: impl Fn(&dyn Dataset) -> Result<String>) -> Vec<Result<Task>> {
    let mut all: Vec<Result<Task>> = Vec::new();
    for index in 0..plan.trials.len() {
        let planned = task(plan, index, runs, &digest, &all);
        all.push(planned);
    }
    for comparison in &plan.comparisons {
        let Ok(Task { variant, point, recipe, .. }) = &all[comparison.b] else { continue };
        let other = RowName { variant: variant.clone(), point: point.clone(), recipe: recipe.clone() };
        for (trial, task) in plan.trials.iter().zip(&mut all) {
            if let Ok(task) = task
                && trial.is_of_row(&plan.trials[comparison.a])
            {
                task.compared_with.push(other.clone());
            }
        }
    }
    all
}

fn task(
    plan: &Plan,
    index: usize,
    runs: &Path,
    digest: impl Fn(&dyn Dataset) -> Result<String>,
    before: &[Result<Task>],
) -> Result<Task> {
    let trial = &plan.trials[index];
    let manifest = &trial.manifest;
    let data_digest = digest(manifest.dataset.as_ref())?;
    let planned = |source: Option<usize>, role: &str| match source.map(|source| (&before[source], source)) {
        Some((Ok(task), _)) => Ok(Some(task)),
        Some((Err(error), source)) => {
            let title = plan.trials[source].title();
            Err(Error::design(format!("the trial {role} cannot run: {title}: {error}")))
        }
        None => Ok(None),
    };
    let source = planned(trial.depends_on, "that it takes its design from")?;
    let teacher = planned(trial.taught_by, "that teaches it")?;
    let (hash, recipe) = identify(trial, &data_digest, source, teacher);
    let design_file = match source {
        Some(source) => Some(source.folder.join(files::DESIGN)),
        None => manifest.design.as_ref().and_then(|design| design.file.clone()),
    };
    let teacher = match teacher {
        Some(teacher) => Some(teacher.folder.clone()),
        None => manifest.retrain.teacher.as_ref().and_then(|teaching| teaching.trial.clone()),
    };
    Ok(Task {
        version: Task::VERSION,
        title: trial.title(),
        index,
        count: plan.trials.len(),
        experiment: plan.name.clone(),
        variant: trial.variant.clone(),
        seed: trial.seed,
        point: trial.point.clone(),
        overrides: trial.overrides.clone(),
        profile: trial.profile.clone(),
        reproduces: trial.reproduces.clone(),
        // Known when all trials have a recipe.
        compared_with: RowNames::default(),
        folder: folder(runs, &plan.name, trial, &hash),
        hash,
        recipe,
        data_digest,
        design_file,
        after: trial.depends_on,
        teacher,
        taught_by: trial.taught_by,
        epochs: match (&manifest.optimizer, &manifest.search) {
            (Some(optimizer), Some(search)) => optimizer.epochs(search.epochs, manifest.retrain.epochs),
            _ => manifest.retrain.epochs,
        },
        manifest: trial.manifest_toml(None, None),
    })
}
