//! A trial's log: one JSON object a line, appended by the process that works on it, and read by the
//! one that watches that process.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{EpochRow, Event, Observer, Row, Stage, TrialLabel, files};
use crate::{Error, Result};

/// Writes events to a file and hands them on.
pub struct Log<'a> {
    file: RefCell<File>,
    next: &'a dyn Observer,
}

impl<'a> Log<'a> {
    /// Appends to `path`.
    pub fn open(path: &Path, next: &'a dyn Observer) -> Result<Log<'a>> {
        let file = File::options().create(true).append(true).open(path).map_err(Error::file("open", path))?;
        Ok(Log { file: RefCell::new(file), next })
    }

    /// Adds a line of `kind`. A log that cannot be written must not stop a trial.
    pub fn line(&self, kind: &str, content: Value) {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64());
        let _ = writeln!(self.file.borrow_mut(), "{}", json!({ "time": seconds, "event": kind, "content": content }));
    }
}

impl Observer for Log<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::StageStarted { stage, epochs, done, .. } => {
                self.line("stage", json!({ "stage": stage, "epochs": epochs, "done": done }));
            }
            Event::Epoch { row, .. } => self.line("epoch", json!(row)),
            Event::StageEnded { stage, seconds, in_steps, in_validation } => {
                let elsewhere = seconds - in_steps - in_validation;
                let parts = json!({
                    "stage": stage,
                    "seconds": seconds,
                    "in_steps": in_steps,
                    "in_validation": in_validation,
                    "elsewhere": elsewhere,
                    "elsewhere_of_steps": elsewhere / in_steps,
                });
                self.line("stage_ended", parts);
            }
            Event::Note { text, .. } => self.line("note", json!(text)),
            Event::Started { .. } | Event::Batch { .. } | Event::Ended { .. } | Event::Count { .. } => {}
        }
        self.next.event(event);
    }
}

/// Reads what is added to the log of a trial that another process works on.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    at: u64,
    /// Epochs of the stage that was begun last.
    epochs: usize,
}

impl Follower {
    /// Follows the log in a trial's folder from here on.
    pub fn open(folder: &Path) -> Follower {
        let path = folder.join(files::LOG);
        let at = std::fs::metadata(&path).map_or(0, |file| file.len());
        Follower { path, at, epochs: 0 }
    }

    /// Tells an observer of the lines that were added, as far as they are whole.
    pub fn tell(&mut self, trial: TrialLabel, observer: &dyn Observer) {
        let mut text = String::new();
        let read = File::open(&self.path)
            .and_then(|mut file| file.seek(SeekFrom::Start(self.at)).and_then(|_| file.read_to_string(&mut text)));
        if read.is_err() {
            return;
        }
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.at += whole as u64;
        for line in text[..whole].lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            self.tell_line(&line["event"], &line["content"], trial, observer);
        }
    }

    fn tell_line(&mut self, kind: &Value, content: &Value, trial: TrialLabel, observer: &dyn Observer) {
        let number = |key: &str| content[key].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
        match kind.as_str() {
            Some("stage") => {
                self.epochs = number("epochs");
                let stage = Stage::named(content["stage"].as_str().unwrap_or_default());
                let (epochs, done) = (self.epochs, number("done"));
                observer.event(&Event::StageStarted {
                    trial,
                    stage: &stage,
                    epochs,
                    done,
                    batches: None,
                    samples: None,
                });
            }
            Some("epoch") => {
                if let Some(row) = EpochRow::of_json(content) {
                    observer.event(&Event::Epoch { trial, row: &row, epochs: self.epochs });
                }
            }
            Some("note") => {
                observer.event(&Event::Note { trial: Some(trial), text: content.as_str().unwrap_or_default() });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an observer was told, in words.
    #[derive(Default)]
    struct Told(RefCell<Vec<String>>);

    impl Observer for Told {
        fn event(&self, event: &Event) {
            self.0.borrow_mut().push(match event {
                Event::StageStarted { stage, epochs, done, .. } => format!("{stage} {epochs} {done}"),
                Event::Epoch { row, epochs, .. } => format!("{} {}/{epochs} {}", row.stage, row.epoch, row.train_loss),
                Event::Note { text, .. } => (*text).to_owned(),
                other => format!("{other:?}"),
            });
        }
    }

    #[test]
    fn what_a_trial_logs_is_told_to_whoever_follows_it() {
        let folder = tempfile::tempdir().unwrap();
        let trial = TrialLabel { index: 0, count: 1, title: "a seed 0" };
        let own = Told::default();
        let log = Log::open(&folder.path().join(files::LOG), &own).unwrap();
        log.event(&Event::Note { trial: Some(trial), text: "before" });
        let mut follower = Follower::open(folder.path());
        let stage = Stage::Search("search-A".into());
        log.event(&Event::StageStarted { trial, stage: &stage, epochs: 7, done: 2, batches: Some(3), samples: None });
        let row = EpochRow { stage, epoch: 3, train_loss: 0.25, validation_loss: f64::NAN, ..EpochRow::default() };
        log.event(&Event::Epoch { trial, row: &row, epochs: 7 });
        log.event(&Event::Note { trial: Some(trial), text: "after" });
        let told = Told::default();
        follower.tell(trial, &told);
        follower.tell(trial, &told);
        let expected = ["search-A 7 2", "search-A 3/7 0.25", "after"];
        assert_eq!(told.0.into_inner(), expected);
        assert_eq!(own.0.into_inner()[1..], expected);
    }
}
