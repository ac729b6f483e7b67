//! How far a trial is, as its folder shows.

use std::path::Path;

use super::{EpochRow, Failed, Outcome, attempt, files, result};

/// How far a trial is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Nothing of it has run.
    New,
    /// It resumes where it stopped.
    Interrupted {
        /// Epochs that are finished, of all stages.
        epochs: usize,
        /// Seconds that they took.
        seconds: f64,
    },
    /// It ended with an error; the same command tries again from its last checkpoint.
    Failed {
        /// Epochs that are finished, of all stages.
        epochs: usize,
        /// The error.
        error: String,
    },
    /// A process works on it.
    Running,
    /// It is finished.
    Done(Box<Outcome>),
}

impl State {
    /// The state that a trial's folder shows.
    pub fn of(folder: &Path) -> State {
        let finished = result(folder).or_else(|| result(&folder.join(attempt::FINISHED)));
        if let Some(outcome) = finished {
            return State::Done(Box::new(outcome));
        }
        let places = attempt::places(folder);
        if places.iter().any(|place| attempt::is_held(place)) {
            return State::Running;
        }
        let histories = places.iter().filter_map(|place| super::read::<EpochRow>(&place.join(files::HISTORY)).ok());
        let farthest = histories.max_by_key(Vec::len);
        if let Some(failed) = places.iter().find_map(|place| Failed::read(place)) {
            return State::Failed { epochs: farthest.map_or(0, |rows| rows.len()), error: failed.error };
        }
        match farthest {
            Some(rows) if !rows.is_empty() => {
                State::Interrupted { epochs: rows.len(), seconds: rows.iter().map(|row| row.seconds).sum() }
            }
            _ => State::New,
        }
    }
}
