//! Launchers: how the trials of a run get to processes that work on them.
//!
//! A launch is a folder `RUNS/.launches/NAME/` ([`Record`]). Everything that is known of it is in files, so that any process can
//! end at any moment and the next one goes on from what is there:
//!
//! ```text
//! launch.toml          who launched what, with which settings; never changed
//! tasks/INDEX.toml     each trial, with all that a process needs to run it
//! ends/TOKEN.toml      how each process ended, written by that process or by the one that watched it
//! log/                 what the processes said, one file for each task
//! ```
//!
//! Whether a trial is finished is said by its own folder and by nothing else.

mod end;
mod pool;
mod process;
mod record;
pub mod signal;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

pub use end::{End, How};
pub use pool::Pool;
pub use process::Process;
pub use record::{Record, Settings, launches};

use crate::run::{Task, attempt, reuse};
use crate::{Error, Result};

/// What is known of a trial that was launched and has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It waits for its turn.
    Queued,
    /// A process works on it.
    Running,
}

/// Brings trials to processes.
#[typetag::serde]
pub trait Launcher: std::fmt::Debug + Send + Sync {
    /// Whether trials run on other machines: then this one's memory and device say nothing about them.
    fn elsewhere(&self) -> bool {
        false
    }

    /// How many trials run at once on this machine.
    fn at_once(&self) -> usize {
        1
    }

    /// Sees to it that every trial of the launch that is not finished is worked on, those that another one takes its design from
    /// first. It returns when nothing is left to do, when it is told to stop, or, where trials run elsewhere and nobody
    /// [waits](Launch::wait), when all are submitted. A trial that fails is no error of the launcher.
    fn launch(&self, launch: &Launch) -> Result<()>;

    /// What a process does that this launcher has started elsewhere with `litesnn work FOLDER ARGUMENTS`.
    fn work(&self, record: &Record, arguments: &[String]) -> Result<()> {
        let _ = arguments;
        Err(Error::Plugin {
            kind: "launcher",
            name: self.typetag_name().into(),
            message: format!("it starts no process of the kind that `{}` asks for", record.name),
        })
    }

    /// What is known of trials of the launch that have no result, by their index; of those that nobody works on, nothing.
    fn standings(&self, record: &Record) -> Result<BTreeMap<usize, Standing>>;

    /// Ends all work on the launch; the number of trials that it concerned.
    fn cancel(&self, record: &Record) -> Result<usize>;
}

/// What happens in a launch.
#[derive(Debug)]
pub enum Event<'a> {
    /// A process was started.
    Started(&'a Task),
    /// A trial wrote a line to its log: `stage`, `epoch`, `note` and what belongs to it.
    Log(&'a Task, &'a str, &'a serde_json::Value),
    /// A process ended.
    Ended(&'a Task, &'a End),
    /// Where trials run elsewhere: how many are finished, run, wait, and have failed.
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
    Note(&'a str),
}

/// Follows a launch.
pub trait Observer {
    /// Called from the launcher's loop.
    fn event(&self, event: &Event);
}

/// The trials of a run, to be launched.
pub struct Launch<'a> {
    /// Its folder.
    pub record: Record,
    /// Its trials; each comes after the one whose design it takes.
    pub tasks: Vec<Task>,
    /// Whether to return when all is finished, where that is not the same as all being submitted.
    pub wait: bool,
    /// Set to stop.
    pub stop: &'a AtomicBool,
    /// Told what happens.
    pub observer: &'a dyn Observer,
}

impl Launch<'_> {
    /// Whether a trial has a result.
    pub fn finished(&self, index: usize) -> bool {
        finished(&self.tasks[index])
    }

    /// Whether it was told to stop.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs one trial in a process of its own, here, and waits for its end. The request to stop is passed on.
    pub fn run(&self, index: usize) -> Result<End> {
        let task = &self.tasks[index];
        let mut process = Process::start(&self.record, index, task, None, None, false)?;
        self.observer.event(&Event::Started(task));
        let end = loop {
            if self.stopping() {
                process.stop();
            }
            match process.ended(task)? {
                Some(end) => break end,
                None => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        };
        self.observer.event(&Event::Ended(task, &end));
        Ok(end)
    }
}

/// Whether a trial has a result.
pub fn finished(task: &Task) -> bool {
    attempt::settle(&task.folder);
    reuse::result(&task.folder).is_some()
}

/// The folder of all launches.
pub fn folder(runs: &std::path::Path) -> PathBuf {
    runs.join(".launches")
}
