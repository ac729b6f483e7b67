//! The tasks of a run in this process, one after another.

use std::sync::atomic::Ordering;

use super::reuse::KnownWork;
use super::trial::run;
use super::{Agenda, Context, Finished};
use crate::Error;
use crate::launch::Task;
use crate::manifest::Trial;
use crate::record::{End, Event};

/// Runs the tasks in order; what became of each, `None` for those that are open after a request to
/// stop. A trial that fails does not stop the others, unless they take its design or it teaches
/// them.
pub fn run_here(agenda: &Agenda, context: &Context) -> Vec<Option<Finished>> {
    let mut known = agenda.tasks.first().map(|task| KnownWork::look(task.runs())).unwrap_or_default();
    let mut done: Vec<Option<Finished>> = Vec::new();
    for (task, trial) in agenda.tasks.iter().zip(&agenda.trials) {
        let finished = match task.is_finished() {
            true => Some(run(task, trial, &known, None, context)),
            false => match task.waits_for().find_map(|source| missing(source, &done)) {
                Some((_, None)) => None,
                Some((source, Some(error))) => {
                    let error = Error::design(format!("{}: {error}", task.fails_with(source, &agenda.tasks[source])));
                    let failed = Finished { title: task.title.clone(), outcome: Err(error), cached: false };
                    tell_end(task, &failed, context);
                    Some(failed)
                }
                None => run_open(task, trial, &known, context),
            },
        };
        known.add(task.folder.clone());
        done.push(finished);
    }
    done
}

/// A trial that another one waits for and that has no result, with its error where it failed.
fn missing(source: usize, done: &[Option<Finished>]) -> Option<(usize, Option<&Error>)> {
    match &done[source] {
        None => Some((source, None)),
        Some(Finished { outcome: Err(error), .. }) => Some((source, Some(error))),
        Some(Finished { outcome: Ok(_), .. }) => None,
    }
}

/// Runs a trial that has no result yet, unless a request to stop is there, and tells of it.
fn run_open(task: &Task, trial: &Trial, known: &KnownWork, context: &Context) -> Option<Finished> {
    if context.stop.load(Ordering::Relaxed) {
        return None;
    }
    context.observer.event(&Event::Started { trial: task.label() });
    let finished = run(task, trial, known, None, context);
    tell_end(task, &finished, context);
    Some(finished).filter(|finished| !matches!(finished.outcome, Err(Error::Interrupted)))
}

fn tell_end(task: &Task, finished: &Finished, context: &Context) {
    let end = End::of(&task.hash, &finished.outcome, finished.cached);
    context.observer.event(&Event::Ended { trial: task.label(), end: &end });
}
