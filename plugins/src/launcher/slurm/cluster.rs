//! What is asked of a cluster, by its own commands.

use std::process::Command;

use litesnn_framework::Error;

use super::settings::wrong;

/// A task in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of its job.
    pub name: String,
    /// Number of its job, which the tasks of an array have in common.
    pub number: Option<String>,
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

/// Variables of Slurm that say which cluster this is, and who asks.
const CLUSTER: [&str; 4] = ["SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"];
/// Options of sbatch that a site or a user has in the environment for all jobs, and that change
/// nothing in how the launcher finds its jobs again. A setting of the manifest goes before them.
const ACCOUNTING: [&str; 5] =
    ["SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SBATCH_WCKEY"];

/// Whether a variable would change what the commands of Slurm do: `SBATCH_WAIT` holds `sbatch` until
/// the job has ended, `SQUEUE_STATES` hides jobs from `squeue`, and the `SLURM_*` of a job around
/// this process are about that job.
fn meddles(variable: &str) -> bool {
    let of_slurm = ["SBATCH_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SLURM_"];
    of_slurm.iter().any(|prefix| variable.starts_with(prefix))
        && !CLUSTER.contains(&variable)
        && !ACCOUNTING.contains(&variable)
}

/// The number of a job in what `sbatch --parsable` says, `NUMBER` or `NUMBER;CLUSTER` in its last
/// line: a site's own lines may come before.
fn job_number(said: &str) -> Option<String> {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let number = line.split(';').next()?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.to_owned())
}

/// A line of `squeue --format=%K|%T|%r|%j|%F`.
fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.splitn(4, '|');
    let (index, state, reason, name) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    // Such a task never starts by itself: it counts as lost.
    if reason.contains("launch failed") {
        return None;
    }
    let (name, number) = match name.rsplit_once('|') {
        Some((name, number)) if job_number(number).is_some() => (name, job_number(number)),
        _ => (name, None),
    };
    // A task that is being ended is in the queue still.
    Some(Entry { name: name.to_owned(), number, index: index.parse().ok()?, running: state != "PENDING" })
}

/// The commands of Slurm.
pub struct Cluster;

impl Cluster {
    fn call(program: &str, arguments: &[&str]) -> Result<String, Refusal> {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(meddles)) {
            command.env_remove(name);
        }
        let output = command.args(arguments).output().map_err(|error| {
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
        let text = Cluster::call("squeue", &["--me", "--noheader", "--array", "--format=%K|%T|%r|%j|%F"])?;
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

    /// Submits a script with options, which go before those in the environment and in the script; the
    /// number of the job, where `sbatch` tells it.
    pub fn submit(script: &str, options: &[String]) -> Result<Option<String>, Refusal> {
        let arguments = std::iter::once("--parsable").chain(options.iter().map(String::as_str)).chain([script]);
        Cluster::call("sbatch", &arguments.collect::<Vec<_>>()).map(|said| job_number(&said))
    }

    /// Puts a running task back into the queue.
    pub fn requeue(task: &str) -> Result<(), Refusal> {
        Cluster::call("scontrol", &["requeue", task]).map(drop)
    }

    /// Ends the jobs of a name.
    pub fn cancel(name: &str) -> Result<(), Refusal> {
        Cluster::call("scancel", &["--me", "--name", name]).map(drop)
    }

    /// Ends the job of a number.
    pub fn cancel_number(number: &str) -> Result<(), Refusal> {
        Cluster::call("scancel", &["--me", number]).map(drop)
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

    #[test]
    fn the_number_of_a_job_is_found_below_a_sites_own_lines() {
        assert_eq!(job_number("1000\n").as_deref(), Some("1000"));
        assert_eq!(job_number("Welcome to the cluster\nsubmitted to: main\n1000;tiny\n\n").as_deref(), Some("1000"));
        assert_eq!(job_number("Welcome\n"), None);
        assert_eq!(job_number(""), None);
    }

    #[test]
    fn a_line_of_the_queue_has_a_number_where_squeue_tells_it() {
        let found = |line| entry(line).map(|entry| (entry.index, entry.name, entry.number, entry.running));
        assert_eq!(found("3|RUNNING|None|x-0|77"), Some((3, "x-0".into(), Some("77".into()), true)));
        assert_eq!(found("3|PENDING|Priority|x-0"), Some((3, "x-0".into(), None, false)));
        assert_eq!(found("N/A|RUNNING|None|bash|78"), None);
        assert_eq!(found("3|PENDING|launch failed requeued held|x-0|77"), None);
    }

    #[test]
    fn the_environment_says_which_cluster_and_not_what_is_asked_of_it() {
        for name in ["SBATCH_JOB_NAME", "SBATCH_WAIT", "SQUEUE_STATES", "SCANCEL_STATE", "SLURM_JOB_ID", "SLURM_HINT"] {
            assert!(meddles(name), "{name}");
        }
        for name in ["SLURM_CONF", "SBATCH_ACCOUNT", "PATH"] {
            assert!(!meddles(name), "{name}");
        }
    }
}
