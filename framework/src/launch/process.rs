//! One trial in a process of its own: `litesnn trial TASK`.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::record::token;
use super::{Record, Task};
use crate::ground::signal::{stop_when_gone, terminate};
use crate::record::{End, How};
use crate::{Error, Result};

/// With what a process works, where the launch's record does not say it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Means<'a> {
    /// Threads of libtorch that somebody asked for.
    pub threads: Option<u16>,
    /// Threads of libtorch for a trial that has none of its own yet.
    pub share: Option<u16>,
    /// The device.
    pub device: Option<&'a str>,
}

/// A process that works on a trial.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stopped: bool,
    end_file: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a process. What it says goes to the trial's log in the launch's folder, or, as an
    /// `attempt`, where this process' own words go.
    pub fn start(record: &Record, index: usize, task: &Task, means: Means, attempt: bool) -> Result<Process> {
        let token = token();
        let mut command = Command::new(&record.program);
        command.arg("trial").arg(record.task_file(index)).args(["--token", &token]);
        command.args(["--device", means.device.unwrap_or(&record.device)]);
        for (option, count) in [("--threads", means.threads.or(record.threads)), ("--share", means.share)] {
            if let Some(count) = count {
                command.args([option, &count.to_string()]);
            }
        }
        let log = record.folder.join("log").join(format!("{}.log", task.hash));
        if attempt {
            command.arg("--attempt");
        } else {
            let file = File::options().create(true).append(true).open(&log).map_err(Error::file("open", &log))?;
            command.stderr(file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // Ctrl-C on a terminal reaches the whole group at once. In a group of its own the trial is
        // told once, by this process.
        command.process_group(0);
        let launcher = std::process::id();
        // SAFETY: what it calls may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // Whatever becomes of this process, the trial stops at a checkpoint.
                stop_when_gone(launcher);
                Ok(())
            });
        }
        let child = command.spawn().map_err(Error::file("start", &record.program))?;
        Ok(Process { child, stopped: false, end_file: record.end_file(&token), log })
    }

    /// Asks it to stop at a checkpoint, once.
    pub fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            // The child was not waited for, so that its number is still its own.
            terminate(self.child.id());
        }
    }

    /// Says more exactly how it ended.
    pub fn amend(&self, end: &End) -> Result<()> {
        end.write(&self.end_file)
    }

    /// How it ended, when it has.
    pub fn ended(&mut self, task: &Task) -> Result<Option<End>> {
        let Some(status) = self.child.try_wait().map_err(Error::file("wait for", &self.log))? else { return Ok(None) };
        if let Some(end) = End::read(&self.end_file) {
            return Ok(Some(end));
        }
        // Whatever became of the process: a result is a result.
        if task.is_finished() {
            let end = End { hash: task.hash.clone(), how: How::Finished, reason: String::new() };
            end.write(&self.end_file)?;
            return Ok(Some(end));
        }
        // It can be asked to stop before it listens.
        let how = if self.stopped && status.signal() == Some(libc::SIGTERM) { How::Stopped } else { How::Killed };
        let end = End { hash: task.hash.clone(), how, reason: self.reason(status) };
        end.write(&self.end_file)?;
        Ok(Some(end))
    }

    fn reason(&self, status: ExitStatus) -> String {
        match (status.signal(), status.code()) {
            (Some(signal), _) => format!("its process was killed by signal {signal}"),
            (None, code) => format!("its process ended with exit code {} and no result", code.unwrap_or_default()),
        }
    }
}

impl Drop for Process {
    /// A process that nobody waits for would be left behind.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.stop();
            let _ = self.child.wait();
        }
    }
}
