//! What happens to the trials of a run, told to whoever follows it: a display, a log, a rehearsal.

use super::{End, EpochRow, Stage};

/// Which trial an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLabel<'a> {
    /// Position among the trials of the run, from 0.
    pub index: usize,
    /// Number of trials.
    pub count: usize,
    /// `variant seed 0`.
    pub title: &'a str,
}

/// Something that happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// Work on a trial begins.
    Started {
        /// The trial.
        trial: TrialLabel<'a>,
    },
    /// A stage begins, or resumes after an interruption.
    StageStarted {
        /// The trial.
        trial: TrialLabel<'a>,
        /// The stage.
        stage: &'a Stage,
        /// Its epochs.
        epochs: usize,
        /// Epochs done before an interruption.
        done: usize,
        /// Batches of an epoch; `None` where a trial in another process does not tell of them.
        batches: Option<usize>,
        /// Images that are trained on; `None` for all.
        samples: Option<usize>,
    },
    /// A batch is done. A trial in another process does not tell of it.
    Batch {
        /// The trial.
        trial: TrialLabel<'a>,
        /// Finished batches of this epoch.
        done: usize,
        /// Batches of an epoch.
        batches: usize,
        /// Epoch, from 1.
        epoch: usize,
        /// Images a second since the epoch began; NaN until a GPU was asked for the first time.
        images_per_second: f64,
    },
    /// An epoch is done and kept.
    Epoch {
        /// The trial.
        trial: TrialLabel<'a>,
        /// Its row.
        row: &'a EpochRow,
        /// Epochs of the stage.
        epochs: usize,
    },
    /// A stage is done. What is in none of the two parts went to reading, augmenting and moving
    /// data, history, logs, progress and checkpoints. (A step on a GPU returns before it is done:
    /// there all that lies between two reads of the loss counts as steps, its batches included.)
    StageEnded {
        /// The stage.
        stage: &'a Stage,
        /// Wall time of this process in the stage.
        seconds: f64,
        /// Of it in training steps.
        in_steps: f64,
        /// Of it in what is measured after each epoch.
        in_validation: f64,
    },
    /// Work on a trial ended.
    Ended {
        /// The trial.
        trial: TrialLabel<'a>,
        /// In which way.
        end: &'a End,
    },
    /// Where trials run on other machines: how many are finished, run, wait, and have failed.
    Count {
        /// Finished trials.
        finished: usize,
        /// Trials at work.
        running: usize,
        /// Trials that wait.
        queued: usize,
        /// Trials that failed.
        failed: usize,
    },
    /// Something a user should know, in a sentence.
    Note {
        /// The trial that it is about, where it is about one.
        trial: Option<TrialLabel<'a>>,
        /// The sentence.
        text: &'a str,
    },
}

/// Follows the trials of a run.
pub trait Observer {
    /// Called from the training loop and from launchers: be quick.
    fn event(&self, event: &Event);
}
