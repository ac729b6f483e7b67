//! The launcher plugin's trait, and what it is handed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Means, Process, Record, Standing, Task};
use crate::record::{End, Event, Observer};
use crate::{Error, Result};

/// Brings trials to processes.
#[typetag::serde]
pub trait Launcher: std::fmt::Debug + Send + Sync {
    /// Whether trials run on other machines: then this one's memory and device say nothing about
    /// them.
    fn elsewhere(&self) -> bool {
        false
    }

    /// How many trials run at once on this machine.
    fn at_once(&self) -> usize {
        1
    }

    /// Sees to it that every trial of the launch that is not finished is worked on, those that
    /// another one takes its design from first. It returns when nothing is left to do, when it is
    /// told to stop, or, where trials run elsewhere and nobody [waits](Launch::wait), when all are
    /// submitted. A trial that fails is no error of the launcher.
    fn launch(&self, launch: &Launch) -> Result<()>;

    /// What a process does that this launcher has started elsewhere with `litesnn work FOLDER
    /// ARGUMENTS`.
    fn work(&self, record: &Record, arguments: &[String]) -> Result<()> {
        let _ = arguments;
        Err(Error::Plugin {
            kind: "launcher",
            name: self.typetag_name().into(),
            message: format!("it starts no process of the kind that `{}` asks for", record.name),
        })
    }

    /// What is known of trials of the launch that have no result, by their index; of those that
    /// nobody works on, nothing.
    fn standings(&self, record: &Record) -> Result<BTreeMap<usize, Standing>>;

    /// Ends all work on the launch; the number of trials that it concerned.
    fn cancel(&self, record: &Record) -> Result<usize>;
}

/// The trials of a run, to be launched.
pub struct Launch<'a> {
    /// Its folder.
    pub record: Record,
    /// Its trials; each comes after the one whose design it takes.
    pub tasks: &'a [Task],
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
        self.tasks[index].is_finished()
    }

    /// Whether it was told to stop.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells the observer how a trial ended.
    pub(super) fn tell_end(&self, task: &Task, end: &End) {
        self.observer.event(&Event::Ended { trial: task.label(), end });
    }

    /// Runs one trial in a process of its own, here, and waits for its end. The request to stop is
    /// passed on.
    pub fn run(&self, index: usize) -> Result<End> {
        let task = &self.tasks[index];
        let mut process = Process::start(&self.record, index, task, Means::default(), false)?;
        self.observer.event(&Event::Started { trial: task.label() });
        let end = loop {
            if self.stopping() {
                process.stop();
            }
            match process.ended(task)? {
                Some(end) => break end,
                None => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        };
        self.tell_end(task, &end);
        Ok(end)
    }
}
