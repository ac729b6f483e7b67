//! The folder of a launch: what its processes read and write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Task;
use crate::ground::signal::terminate;
use crate::record::{End, State};
use crate::{Error, Result};

pub(super) const LAUNCH: &str = "launch.toml";

/// What is known of a trial that was launched and has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It waits for its turn.
    Queued,
    /// A process works on it.
    Running,
}

/// A launch, without the launcher that its trials run by.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// Name of the folder: the experiment and a token.
    pub name: String,
    /// Host that launched it.
    pub host: String,
    /// The process there.
    pub process: u32,
    /// The program that runs trials.
    pub program: PathBuf,
    /// Device that was asked for.
    pub device: String,
    /// Threads of a trial that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
    /// Hashes of its trials, in the order of `tasks/`.
    pub trials: Vec<String>,
    /// The folder.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// A word that no other process will choose.
pub(super) fn token() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let text = format!("{} {} {time} {count}", host(), std::process::id());
    blake3::hash(text.as_bytes()).to_hex()[..12].to_owned()
}

pub(super) fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// With what the processes of a launch are started.
#[derive(Debug)]
pub struct ProcessSettings {
    /// The program that runs trials.
    pub program: PathBuf,
    /// Device that was asked for.
    pub device: String,
    /// Threads of a trial that were asked for.
    pub threads: Option<u16>,
}

impl Record {
    /// Makes the folder of a new launch, all but its `launch.toml`.
    pub(super) fn create(runs: &Path, settings: ProcessSettings, tasks: &[Task]) -> Result<Record> {
        let experiment = tasks.first().map_or("", |task| task.experiment.as_str());
        let name = format!("{experiment}-{}", token());
        let runs = std::path::absolute(runs).map_err(Error::file("find", runs))?;
        let folder = folder(&runs).join(&name);
        for part in ["tasks", "ends", "log"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        }
        for (index, task) in tasks.iter().enumerate() {
            task.write(&task_file(&folder, index))?;
        }
        Ok(Record {
            name,
            host: host(),
            process: std::process::id(),
            program: settings.program,
            device: settings.device,
            threads: settings.threads,
            trials: tasks.iter().map(|task| task.hash.clone()).collect(),
            folder,
        })
    }

    /// File of a task.
    pub fn task_file(&self, index: usize) -> PathBuf {
        task_file(&self.folder, index)
    }

    /// A task.
    pub fn task(&self, index: usize) -> Result<Task> {
        Task::read(&self.task_file(index))
    }

    /// All tasks, in order.
    pub fn tasks(&self) -> Result<Vec<Task>> {
        (0..self.trials.len()).map(|index| self.task(index)).collect()
    }

    /// File of the end of the process with a token.
    pub fn end_file(&self, token: &str) -> PathBuf {
        self.folder.join("ends").join(format!("{token}.toml"))
    }

    /// How its processes ended, those of each trial in the order of time.
    pub fn ends(&self) -> Vec<End> {
        let entries = std::fs::read_dir(self.folder.join("ends")).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        files.iter().filter_map(|(_, path)| End::read(path)).collect()
    }

    /// Whether the process that made the launch is at work on it, on this machine.
    pub fn is_held(&self) -> bool {
        // Numbers of processes come back: it has to be this program.
        let program = std::fs::read_link(format!("/proc/{}/exe", self.process));
        self.host == host() && program.is_ok_and(|program| program == self.program)
    }

    /// What is known of a launch whose trials run on this machine, below the process that made it.
    pub fn standings_here(&self) -> Result<BTreeMap<usize, Standing>> {
        let mut all = BTreeMap::new();
        if self.is_held() {
            for (index, task) in self.tasks()?.iter().enumerate() {
                match State::of(&task.folder) {
                    State::Done(_) => {}
                    State::Running => drop(all.insert(index, Standing::Running)),
                    _ => drop(all.insert(index, Standing::Queued)),
                }
            }
        }
        Ok(all)
    }

    /// Asks the process that made the launch to stop; the number of trials that it concerned.
    pub fn cancel_here(&self) -> Result<usize> {
        let open = self.standings_here()?.len();
        if self.is_held() {
            terminate(self.process);
        }
        Ok(open)
    }
}

fn task_file(folder: &Path, index: usize) -> PathBuf {
    folder.join("tasks").join(format!("{index}.toml"))
}

/// The folder of all launches.
pub fn folder(runs: &Path) -> PathBuf {
    runs.join(".launches")
}
