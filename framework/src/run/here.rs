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
/// stop. A trial that fails does not stop the others, unless they take its design.
pub fn run_here(agenda: &Agenda, context: &Context) -> Vec<Option<Finished>> {
    let mut known = agenda.tasks.first().map(|task| KnownWork::look(task.runs())).unwrap_or_default();
    let mut done: Vec<Option<Finished>> = Vec::new();
    for (task, trial) in agenda.tasks.iter().zip(&agenda.trials) {
        let finished = match task.is_finished() {
            true => Some(run(task, trial, &known, None, context)),
            false => match task.after.map(|source| (&agenda.tasks[source], &done[source])) {
                Some((_, None)) => None,
                Some((source, Some(Finished { outcome: Err(error), .. }))) => {
                    let error = Error::design(format!("{}: {error}", source.failed_as_source()));
                    let failed = Finished { title: task.title.clone(), outcome: Err(error), cached: false };
                    tell_end(task, &failed, context);
                    Some(failed)
                }
                _ => run_open(task, trial, &known, context),
            },
        };
        known.add(task.folder.clone());
        done.push(finished);
    }
    done
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
