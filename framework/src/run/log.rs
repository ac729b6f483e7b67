//! A trial's log: one JSON object a line, appended.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::train::{Event, Observer};
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
    pub fn line(&self, kind: &str, content: serde_json::Value) {
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
            Event::Note(message) => self.line("note", json!(message)),
            Event::Batch { .. } => {}
        }
        self.next.event(event);
    }
}
