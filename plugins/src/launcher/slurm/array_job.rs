//! The array jobs of a launch, and the file that says which trials are in which task.
//!
//! `parts/K.json` is written before the job is submitted, and `parts/K.sh` is its script.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use litesnn_framework::ground::file::write_atomically;
use litesnn_framework::launch::{Record, Standing};
use litesnn_framework::{Error, Result};
use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Entry, Refusal};
use super::settings::{Slurm, wrong};

/// There where the launch was cancelled.
const CANCELLED: &str = "cancelled";

/// Times that a job is looked for after `sbatch` failed, before it is submitted again.
const TRIES: u32 = 3;

/// An array job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArrayJob {
    /// Name of the job: no other has it.
    pub name: String,
    /// Number of the job, once the cluster has told it.
    #[serde(default)]
    pub number: Option<String>,
    /// Seconds of 1970 at which it was about to be submitted.
    second: u64,
    /// The trials of each task of the array, as indices among the tasks of the launch, in the order
    /// in which they run.
    pub tasks: Vec<Vec<usize>>,
    /// The hashes of the same trials.
    pub trials: Vec<Vec<String>>,
    #[serde(skip)]
    file: PathBuf,
}

/// Writes down that the launch was cancelled.
pub fn mark_cancelled(record: &Record) -> Result<()> {
    let marker = record.folder.join(CANCELLED);
    std::fs::write(&marker, "").map_err(Error::file("write", &marker))
}

/// Whether the launch was cancelled.
pub fn is_cancelled(record: &Record) -> bool {
    record.folder.join(CANCELLED).exists()
}

fn folder(record: &Record) -> PathBuf {
    record.folder.join("parts")
}

/// The array jobs of a launch, in the order in which they were submitted.
pub fn array_jobs(record: &Record) -> Result<Vec<ArrayJob>> {
    let numbers = (0..).map(|number| folder(record).join(format!("{number}.json")));
    let mut all = Vec::new();
    for file in numbers {
        // Withdrawn ones leave a gap of an empty file.
        match std::fs::read_to_string(&file) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                all.push(ArrayJob { file: file.clone(), ..read(&text, &file)? });
            }
            Err(_) => return Ok(all),
        }
    }
    Ok(all)
}

fn read(text: &str, file: &Path) -> Result<ArrayJob> {
    serde_json::from_str(text).map_err(|error| Error::Content {
        path: file.to_owned(),
        message: format!("is no array job of a launch: {error}"),
        hint: "move the launch's folder away and run the manifest again".into(),
    })
}

impl ArrayJob {
    /// Writes down what is about to be submitted.
    pub fn intend(record: &Record, tasks: &[Vec<usize>]) -> Result<ArrayJob> {
        let folder = folder(record);
        std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        let number = (0..).find(|number| !folder.join(format!("{number}.json")).exists()).unwrap_or(0usize);
        let hashes = |task: &Vec<usize>| task.iter().map(|index| record.trials[*index].clone()).collect();
        let job = ArrayJob {
            name: format!("{}-{number}", record.name),
            number: None,
            second: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
            tasks: tasks.to_vec(),
            trials: tasks.iter().map(hashes).collect(),
            file: folder.join(format!("{number}.json")),
        };
        job.keep()?;
        Ok(job)
    }

    fn keep(&self) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|error| wrong(error.to_string()))?;
        write_atomically(&self.file, text.as_bytes())
    }

    /// The array job of this name.
    pub fn find(record: &Record, name: &str) -> Result<ArrayJob> {
        let found = array_jobs(record)?.into_iter().find(|job| job.name == name);
        found.ok_or_else(|| wrong(format!("`{}` has no array job `{name}`", record.folder.display())))
    }

    /// It was not submitted and will not be.
    pub fn withdraw(&self) {
        // Left as it is, it would be looked for in vain.
        let _ = write_atomically(&self.file, b"");
    }

    /// When it was about to be submitted.
    pub fn submitted(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.second)
    }

    /// Where its trials stand in the queue.
    pub fn standings(&self, queue: &[Entry]) -> BTreeMap<usize, Standing> {
        let own = queue.iter().filter(|entry| self.is(entry));
        let standing = |entry: &Entry| if entry.running { Standing::Running } else { Standing::Queued };
        own.filter_map(|entry| Some((self.tasks.get(entry.index)?, standing(entry))))
            .flat_map(|(trials, standing)| trials.iter().map(move |index| (*index, standing)))
            .collect()
    }

    /// Whether a task of the queue is one of its own. A site's plugin or `scontrol update` can give a
    /// job another name; no other job ever has its number and its name.
    pub fn is(&self, entry: &Entry) -> bool {
        entry.name == self.name || (self.number.is_some() && entry.number == self.number)
    }

    /// Submits it, once: a failing `sbatch` may have submitted it, and then its name is in the
    /// queue.
    pub fn submit(&self, slurm: &Slurm, record: &Record, throttle: Option<usize>) -> Result<(), Refusal> {
        let silent = |error: Error| Refusal::Wrong(error.to_string());
        let script = self.file.with_extension("sh");
        let options = self.options(slurm, record, throttle);
        write_atomically(&script, self.script(slurm, record, &options).as_bytes()).map_err(silent)?;
        // Without its number, the job is found by its name.
        let submitted = |number: Option<String>| drop(ArrayJob { number, ..self.clone() }.keep());
        let mut said = String::new();
        for attempt in 0..TRIES {
            match Cluster::submit(&script.to_string_lossy(), &options) {
                Ok(number) => {
                    submitted(number);
                    return Ok(());
                }
                Err(Refusal::Silent(text)) => said = text,
                Err(refusal) => return Err(refusal),
            }
            std::thread::sleep(Duration::from_secs(1 << attempt));
            match Cluster::queue() {
                Ok(queue) => {
                    if let Some(entry) = queue.into_iter().find(|entry| self.is(entry)) {
                        submitted(entry.number);
                        return Ok(());
                    }
                }
                // Nobody knows; the next cycles look for the name.
                Err(refusal) => return Err(Refusal::Silent(refusal.text().to_owned())),
            }
        }
        Err(Refusal::Silent(said))
    }

    /// The options of the job, each as one word of the command line.
    fn options(&self, slurm: &Slurm, record: &Record, throttle: Option<usize>) -> Vec<String> {
        let log = record
            .folder
            .join("log")
            .join(format!("{}-%a.log", self.file.file_stem().unwrap_or_default().to_string_lossy()));
        let throttle = throttle.map_or_else(String::new, |most| format!("%{most}"));
        let mut options = vec![
            format!("--job-name={}", self.name),
            format!("--array=0-{}{throttle}", self.tasks.len().saturating_sub(1)),
            format!("--output={}", log.to_string_lossy()),
            "--open-mode=append".into(),
            "--requeue".into(),
            format!("--signal=B:USR2@{}", slurm.warning),
            format!("--time={}", slurm.time),
            "--ntasks=1".into(),
            format!("--cpus-per-task={}", slurm.cores),
        ];
        let named = [
            ("mem", &slurm.memory),
            ("gres", &slurm.gres),
            ("partition", &slurm.partition),
            ("account", &slurm.account),
        ];
        options.extend(named.iter().filter_map(|(name, value)| Some(format!("--{name}={}", value.as_ref()?))));
        options.extend(slurm.options.iter().map(|option| option.word().to_owned()));
        options
    }

    /// The script, with the same options for whoever reads it or submits it by hand.
    fn script(&self, slurm: &Slurm, record: &Record, options: &[String]) -> String {
        let mut text = "#!/bin/bash\n".to_owned();
        for option in options {
            writeln!(text, "#SBATCH {}", quoted(option)).expect("a string takes any text");
        }
        for line in &slurm.setup {
            writeln!(text, "{line}").expect("a string takes any text");
        }
        let (program, folder) = (record.program.to_string_lossy(), record.folder.to_string_lossy());
        writeln!(text, "exec {} work {} {}", quoted(&program), quoted(&folder), quoted(&self.name))
            .expect("a string takes any text");
        text
    }
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_shell_holds_anything() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }

    #[test]
    fn the_queue_says_where_the_trials_of_an_array_job_stand() {
        let job = ArrayJob {
            name: "x-0".into(),
            number: Some("7".into()),
            second: 0,
            tasks: vec![vec![0, 3], vec![1], vec![2]],
            trials: vec![],
            file: PathBuf::new(),
        };
        let entry = |name: &str, number: &str, index, running| Entry {
            name: name.into(),
            number: Some(number.into()),
            index,
            running,
        };
        // One of them was given another name.
        let queue = [entry("x-0", "7", 0, true), entry("renamed", "7", 2, false), entry("y-0", "8", 1, true)];
        let expected = [(0, Standing::Running), (2, Standing::Queued), (3, Standing::Running)];
        assert_eq!(job.standings(&queue), BTreeMap::from(expected));
    }
}
