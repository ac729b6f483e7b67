//! What is asked of a cluster, by its own commands.

use std::process::Command;

use litesnn_framework::Error;

use super::settings::wrong;

/// A task in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of its job.
    pub name: String,
    /// Its place in the array.
    pub index: usize,
    /// Whether it has begun.
    pub running: bool,
}

/// Why the cluster did not do what it was asked.
#[derive(Debug)]
pub enum Refusal {
    /// A limit of submissions.
    Limit(String),
    /// It did not answer, or not in time; what was asked may have been done.
    Silent(String),
    /// It will never do that.
    Wrong(String),
}

impl Refusal {
    pub fn text(&self) -> &str {
        match self {
            Refusal::Limit(text) | Refusal::Silent(text) | Refusal::Wrong(text) => text,
        }
    }

    pub fn into_error(self) -> Error {
        wrong(self.text().to_owned())
    }

    fn of(text: &str) -> Refusal {
        // Slurm has no codes for these; the words are those of slurm_strerror().
        const LIMITS: [&str; 5] =
            ["QOS", "Assoc", "job submit limit", "Job violates", "temporarily unable to accept job"];
        const SILENT: [&str; 8] = [
            "Unable to contact",
            "timed out",
            "Socket",
            "Connection",
            "communication",
            "Communication",
            "Protocol authentication",
            "try again",
        ];
        let Some(line) = text.lines().map(str::trim).find(|line| !line.is_empty()) else {
            return Refusal::Silent("it failed without a word".into());
        };
        let line = line.to_owned();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&LIMITS) {
            Refusal::Limit(line)
        } else if has(&SILENT) {
            Refusal::Silent(line)
        } else {
            Refusal::Wrong(line)
        }
    }
}

/// The commands of Slurm.
pub struct Cluster;

impl Cluster {
    fn call(program: &str, arguments: &[&str]) -> Result<String, Refusal> {
        let output = Command::new(program).args(arguments).output().map_err(|error| {
            Refusal::Wrong(format!(
                "cannot start `{program}`: {error}; [launcher.slurm] needs Slurm's commands on the PATH"
            ))
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Refusal::of(&String::from_utf8_lossy(&output.stderr)))
    }

    /// All tasks of this user, in one question.
    pub fn queue() -> Result<Vec<Entry>, Refusal> {
        let text = Cluster::call("squeue", &["--me", "--noheader", "--array", "--format=%K|%T|%r|%j"])?;
        let entry = |line: &str| {
            let mut fields = line.splitn(4, '|');
            let (index, state, reason, name) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            // Such a task never starts by itself: it counts as lost.
            if reason.contains("launch failed") {
                return None;
            }
            // A task that is being ended is in the queue still.
            Some(Entry { name: name.to_owned(), index: index.parse().ok()?, running: state != "PENDING" })
        };
        Ok(text.lines().filter_map(entry).collect())
    }

    /// The number of tasks that an array can have.
    pub fn array_limit() -> Result<usize, Refusal> {
        let text = Cluster::call("scontrol", &["show", "config"])?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("MaxArraySize")?.trim().strip_prefix('=')?.trim().parse().ok());
        value.filter(|limit| *limit > 0).ok_or_else(|| {
            Refusal::Wrong("`scontrol show config` tells no `MaxArraySize` of 1 or more: no arrays here".into())
        })
    }

    /// Submits a script; the number of the job.
    pub fn submit(script: &str) -> Result<String, Refusal> {
        let text = Cluster::call("sbatch", &["--parsable", script])?;
        Ok(text.trim().split(';').next().unwrap_or_default().to_owned())
    }

    /// Puts a running task back into the queue.
    pub fn requeue(task: &str) -> Result<(), Refusal> {
        Cluster::call("scontrol", &["requeue", task]).map(drop)
    }

    /// Ends the jobs of a name.
    pub fn cancel(name: &str) -> Result<(), Refusal> {
        Cluster::call("scancel", &["--me", "--name", name]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_outages_and_mistakes_are_told_apart() {
        let limit = "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy";
        assert!(matches!(Refusal::of(limit), Refusal::Limit(_)));
        for silent in [
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            // Killed, say.
            "\n",
        ] {
            assert!(matches!(Refusal::of(silent), Refusal::Silent(_)), "{silent}");
        }
        let wrong = "sbatch: error: invalid partition specified: nowhere\nsbatch: error: Batch job submission failed: Invalid partition name specified";
        assert!(matches!(Refusal::of(wrong), Refusal::Wrong(_)));
    }
}
