//! What became of the tasks of a launch, from what its processes left.

use std::collections::HashMap;
use std::path::PathBuf;

use super::Finished;
use crate::Error;
use crate::launch::{Launch, Record, Task};
use crate::record::{self, End, How};

/// What became of each task of a launch, `None` for those that are open. `before` says which were
/// finished when it began.
pub fn outcomes(launch: &Launch, before: &[bool]) -> Vec<Option<Finished>> {
    // The last process that worked on a task counts.
    let ends: HashMap<String, End> = launch.record.ends().into_iter().map(|end| (end.hash.clone(), end)).collect();
    let tasks = launch.tasks.iter().zip(before);
    tasks.map(|(task, before)| outcome(launch, task, &ends, *before)).collect()
}

fn outcome(launch: &Launch, task: &Task, ends: &HashMap<String, End>, before: bool) -> Option<Finished> {
    let end = ends.get(&task.hash);
    let cached = before || end.is_some_and(|end| end.how == How::Cached);
    let outcome = match (record::result(&task.folder), end) {
        (Some(outcome), _) => Ok(outcome),
        (None, Some(end)) if end.is_failure() => {
            Err(Error::Ended { reason: end.reason.clone(), log: log_of(&launch.record, task) })
        }
        (None, Some(_)) => return None,
        (None, None) => {
            let source = failed_source(launch, task, ends)?;
            Err(Error::design(task.fails_with(source, &launch.tasks[source])))
        }
    };
    Some(Finished { title: task.title.clone(), outcome, cached })
}

/// The task that this one waits for, where that one failed, so that this one was not started.
fn failed_source(launch: &Launch, task: &Task, ends: &HashMap<String, End>) -> Option<usize> {
    let mut failed = task.waits_for().filter(|source| {
        let source = &launch.tasks[*source];
        ends.get(&source.hash).is_some_and(End::is_failure) && record::result(&source.folder).is_none()
    });
    failed.next().filter(|_| !launch.stopping())
}

/// What the processes of a trial said: a file of its own, or, where a task runs several trials, the
/// folder of those.
fn log_of(record: &Record, task: &Task) -> PathBuf {
    let folder = record.folder.join("log");
    let own = folder.join(format!("{}.log", task.hash));
    if own.exists() { own } else { folder }
}
