//! What is to be done about a trial, as the folders of trials and launches and the queue say it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use litesnn_framework::Result;
use litesnn_framework::launch::{Record, Task};
use litesnn_framework::record::{attempt, files};

use super::array_job::{ArrayJob, array_jobs, is_cancelled};
use super::cluster::Entry;

/// What is to be done about a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialState {
    /// Its result is there.
    Finished,
    /// It is in the queue.
    Live,
    /// A process of this launch ended with an error.
    Failed,
    /// It may have ended just now, or the queue cannot be seen.
    Unclear,
    /// Nobody works on it.
    Open,
}

/// What is known of trials, by hash.
#[derive(Default)]
pub struct Evidence {
    /// Whether the cluster does not answer.
    blind: bool,
    /// Trials in the queue.
    live: BTreeSet<String>,
    /// When trials were submitted last.
    submitted: BTreeMap<String, SystemTime>,
    /// Trials of launches that were cancelled, and not submitted since.
    cancelled: BTreeSet<String>,
}

impl Evidence {
    /// What launches on disk and the queue say; `None`: the cluster does not answer.
    pub fn of(records: &[Record], queue: Option<&[Entry]>) -> Result<Evidence> {
        let mut evidence = Evidence { blind: queue.is_none(), ..Evidence::default() };
        for record in records {
            let cancelled = is_cancelled(record);
            for job in array_jobs(record)? {
                let standings = job.standings(queue.unwrap_or_default());
                evidence.live.extend(standings.keys().map(|index| record.trials[*index].clone()));
                evidence.add(record, &job, cancelled);
            }
        }
        Ok(evidence)
    }

    fn add(&mut self, record: &Record, job: &ArrayJob, cancelled: bool) {
        for index in job.tasks.iter().flatten() {
            let hash = record.trials[*index].clone();
            if cancelled {
                self.cancelled.insert(hash);
            } else {
                self.cancelled.remove(&hash);
                let at = self.submitted.entry(hash).or_insert(job.submitted());
                *at = job.submitted().max(*at);
            }
        }
    }

    /// Hashes of the trials in the queue.
    pub fn live(&self) -> impl Iterator<Item = &str> {
        self.live.iter().map(String::as_str)
    }

    /// The state of a trial; `failed`: a process of this launch ended with an error, `unseen`:
    /// since when it has not been in the queue, `grace`: how long nothing may be seen of it before
    /// it counts as lost.
    pub fn state(&self, task: &Task, failed: bool, unseen: Duration, grace: Duration) -> TrialState {
        if task.is_finished() {
            return TrialState::Finished;
        }
        if self.live.contains(&task.hash) {
            return TrialState::Live;
        }
        if failed {
            return TrialState::Failed;
        }
        if self.blind {
            return TrialState::Unclear;
        }
        match self.submitted.get(&task.hash) {
            Some(submitted) if !self.cancelled.contains(&task.hash) => {
                let quiet = SystemTime::now().duration_since(active(task).max(*submitted)).unwrap_or_default();
                if quiet.min(unseen) >= grace { TrialState::Open } else { TrialState::Unclear }
            }
            _ => TrialState::Open,
        }
    }
}

/// When a trial's folder changed last.
fn active(task: &Task) -> SystemTime {
    let logs = attempt::places(&task.folder).into_iter().map(|place| place.join(files::LOG));
    let times = logs.filter_map(|log| std::fs::metadata(log).ok()?.modified().ok());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}
