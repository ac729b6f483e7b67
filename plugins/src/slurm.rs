//! Trials as array jobs of a Slurm cluster.
//!
//! Source: Yoo et al., SLURM: Simple Linux Utility for Resource Management (JSSPP 2003); `sbatch(1)`, `squeue(1)`, `scontrol(1)`.
//!
//! - A run is one array job (`--array=0-N%K`), split where the cluster's `MaxArraySize` or a limit of submissions asks for it. A task
//!   of it is a chain: a trial and those that take its design, or `pack` such chains.
//! - What is submitted is written down first, under a name of its own. When `sbatch` fails, that name is looked for before anything
//!   is submitted again: it may have timed out and have submitted all the same.
//! - The batch script becomes `litesnn work`, which starts each trial as an attempt in a folder of its own and passes on USR2, which
//!   Slurm sends before the end of the time and before preemption, and TERM. The trial checkpoints, and the task is requeued.
//! - The truth is in the trials' folders. `squeue` is asked once a cycle for all jobs, and less often while it does not answer. A
//!   task that is gone without a result counts as lost after `grace` seconds, and its trials are submitted again.
//!
//! `litesnn run` submits and returns, or waits with `--wait`. The same command again finds everything on disk, and submits what has no
//! result and is not in the queue. The runs folder, the data and the program have to be reachable from every node.

#[path = "slurm/cluster.rs"]
mod cluster;
#[path = "slurm/parts.rs"]
mod parts;
#[path = "slurm/supervisor.rs"]
mod supervisor;

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use litesnn_framework::launch::{Event, How, Launch, Launcher, Record, Standing, launches};
use litesnn_framework::record::files;
use litesnn_framework::run::attempt;
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use cluster::{Cluster, Refusal};
use parts::{Part, parts};

const NAME: &str = "slurm";

/// `squeue` is not asked less often than this while it does not answer, in seconds.
const SLOWEST_POLL: u64 = 600;

/// Settings of `slurm`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slurm {
    /// Longest time of a task, as `sbatch --time` takes it; a trial goes on in the next one.
    pub time: String,
    /// Memory of a task, as `sbatch --mem` takes it: `4G`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Processor cores of a task, which are the threads of its trial.
    #[serde(default = "one")]
    #[schemars(extend("x-unit" = "cores"))]
    pub cores: NonZeroU16,
    /// Other resources of a task, as `sbatch --gres` takes them: `gpu:1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gres: Option<String>,
    /// Partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Most tasks at once, %K of the array; without it as many as the cluster gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "tasks"))]
    pub at_once: Option<NonZeroU32>,
    /// Chains of trials in a task, one after another: for short ones.
    #[serde(default = "one")]
    #[schemars(extend("x-unit" = "chains"))]
    pub pack: NonZeroU16,
    /// Other options of sbatch, each as it would stand on a line of its own: `--qos=low`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Lines of shell before the trial: `module load cuda`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// Time that a trial has to checkpoint before its task ends.
    #[serde(default = "two_minutes")]
    #[schemars(extend("x-unit" = "s"))]
    pub warning: NonZeroU16,
    /// Time between two looks at the queue.
    #[serde(default = "half_a_minute")]
    #[schemars(extend("x-unit" = "s"))]
    pub poll: NonZeroU16,
    /// Time after which a task that is gone without a result counts as lost.
    #[serde(default = "one_minute")]
    #[schemars(extend("x-unit" = "s"))]
    pub grace: u16,
    /// Times that one waiting run submits the same trial.
    #[serde(default = "five")]
    #[schemars(extend("x-unit" = "times"))]
    pub submissions: NonZeroU16,
}

const fn nonzero(number: u16) -> NonZeroU16 {
    match NonZeroU16::new(number) {
        Some(number) => number,
        None => NonZeroU16::MIN,
    }
}

fn one() -> NonZeroU16 {
    NonZeroU16::MIN
}

fn five() -> NonZeroU16 {
    nonzero(5)
}

fn half_a_minute() -> NonZeroU16 {
    nonzero(30)
}

fn one_minute() -> u16 {
    60
}

fn two_minutes() -> NonZeroU16 {
    nonzero(120)
}

register! {
    kind: Launcher,
    name: "slurm",
    settings: Slurm,
    version: 1,
    summary: "trials as array jobs of a Slurm cluster",
    paper: "Yoo et al., SLURM, JSSPP 2003",
    examples: [
        "[launcher.slurm]\ntime = \"8:00:00\"\nmemory = \"4G\"\ncores = 4",
        "[launcher.slurm]\ntime = \"1-00:00:00\"\ngres = \"gpu:1\"\npartition = \"long\"\nat_once = 8\noptions = [\"--qos=low\"]",
    ],
    file: "slurm.rs",
}

/// What is to be done about a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Finished,
    /// It is in the queue.
    Live,
    /// A process of this launch ended with an error.
    Failed,
    /// It may have ended just now, or the queue cannot be seen.
    Unclear,
    /// Nobody works on it.
    Open,
}

#[typetag::serde(name = "slurm")]
impl Launcher for Slurm {
    fn elsewhere(&self) -> bool {
        true
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.check()?;
        let mut run = Run {
            slurm: self,
            launch,
            seen: BTreeMap::new(),
            sent: vec![0; launch.tasks.len()],
            failures: 0,
            refused: 0,
        };
        run.until_all_is_done()
    }

    fn work(&self, record: &Record, arguments: &[String]) -> Result<()> {
        supervisor::work(self, record, arguments)
    }

    fn standings(&self, record: &Record) -> Result<BTreeMap<usize, Standing>> {
        let queue = Cluster::queue().map_err(Refusal::into_error)?;
        let mut all = BTreeMap::new();
        for part in parts(record)? {
            all.extend(part.standings(&queue));
        }
        Ok(all)
    }

    fn cancel(&self, record: &Record) -> Result<usize> {
        // First, so that a task which is told to end knows why.
        let marker = record.folder.join(parts::CANCELLED);
        std::fs::write(&marker, "").map_err(Error::file("write", &marker))?;
        let concerned = self.standings(record)?.len();
        for part in parts(record)? {
            Cluster::cancel(&part.name).map_err(Refusal::into_error)?;
        }
        Ok(concerned)
    }
}

impl Slurm {
    /// Settings are lines of a script: one that holds a line break would be another line.
    fn check(&self) -> Result<()> {
        let words = [
            Some(&self.time),
            self.memory.as_ref(),
            self.gres.as_ref(),
            self.partition.as_ref(),
            self.account.as_ref(),
        ];
        let lines = words.into_iter().flatten().chain(&self.options);
        match lines.clone().find(|line| line.chars().any(char::is_control)) {
            Some(line) => {
                Err(wrong(format!("`{}` holds a line break or another control character", line.escape_debug())))
            }
            None => Ok(()),
        }
    }
}

fn wrong(message: String) -> Error {
    Error::Plugin { kind: "launcher", name: NAME.into(), message }
}

/// A launch at work.
struct Run<'a> {
    slurm: &'a Slurm,
    launch: &'a Launch<'a>,
    /// When a trial was last seen in the queue, by hash.
    seen: BTreeMap<String, Instant>,
    /// Times that each trial was submitted here.
    sent: Vec<u16>,
    /// Looks at the queue without an answer, one after another.
    failures: u32,
    /// Cycles in which nothing of what was open could be submitted, one after another.
    refused: u32,
}

impl Run<'_> {
    fn until_all_is_done(&mut self) -> Result<()> {
        let mut told = None;
        loop {
            let verdicts = self.look()?;
            let count = |which: Verdict| verdicts.iter().filter(|verdict| **verdict == which).count();
            let running = self.running(&verdicts);
            let counts = (
                count(Verdict::Finished),
                running,
                verdicts.len() - count(Verdict::Finished) - running - count(Verdict::Failed),
                count(Verdict::Failed),
            );
            if told != Some(counts) {
                told = Some(counts);
                let (finished, running, queued, failed) = counts;
                self.launch.observer.event(&Event::Count { finished, running, queued, failed });
            }
            let mut left_over = 0;
            if count(Verdict::Open) > 0 {
                left_over = self.submit(&verdicts)?;
            } else if count(Verdict::Unclear) == 0 {
                self.refused = 0;
            }
            let nothing_left = verdicts.iter().all(|verdict| matches!(verdict, Verdict::Finished | Verdict::Failed));
            // What is submitted or unclear shows in the next look.
            let all_known = count(Verdict::Unclear) == 0 || self.stuck() > 3;
            if nothing_left
                || self.launch.stopping()
                || (!self.launch.wait && all_known && (left_over == 0 || self.stuck() > 3))
            {
                if left_over > 0 {
                    self.note(&format!(
                        "{left_over} trials could not be submitted now; the same command submits them later"
                    ));
                }
                return Ok(());
            }
            self.pause();
        }
    }

    fn note(&self, text: &str) {
        self.launch.observer.event(&Event::Note(text));
    }

    /// Cycles that led to nothing, one after another.
    fn stuck(&self) -> u32 {
        self.failures.max(self.refused)
    }

    /// Waits for the next cycle: longer while the controller does not answer or takes nothing.
    fn pause(&self) {
        let seconds = (u64::from(self.slurm.poll.get()) << self.stuck().min(5)).min(SLOWEST_POLL);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(seconds) && !self.launch.stopping() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// How many trials show by their folder that they are at work.
    fn running(&self, verdicts: &[Verdict]) -> usize {
        let live = self.launch.tasks.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Live);
        live.filter(|(task, _)| task.folder.join(attempt::ATTEMPTS).is_dir()).count()
    }

    /// What is to be done about each trial, from the folders and one look at the queue.
    fn look(&mut self) -> Result<Vec<Verdict>> {
        let launch = self.launch;
        let runs = launch.tasks.first().map_or(PathBuf::new(), |task| task.runs().to_owned());
        let others: Vec<Record> = launches(&runs).into_iter().flatten().filter(is_slurm).collect();
        let queue = Cluster::queue();
        match &queue {
            Ok(_) => self.failures = 0,
            Err(refusal) => {
                self.failures += 1;
                self.note(&format!("the cluster does not answer, and is asked again later: {}", refusal.text()));
            }
        }
        let now = Instant::now();
        let mut submitted: BTreeMap<String, SystemTime> = BTreeMap::new();
        let mut settled: BTreeSet<String> = BTreeSet::new();
        let mut live: BTreeSet<String> = BTreeSet::new();
        for record in &others {
            let cancelled = record.folder.join(parts::CANCELLED).exists();
            for part in parts(record)? {
                if let Ok(queue) = &queue {
                    let standings = part.standings(queue);
                    live.extend(standings.keys().map(|index| record.trials[*index].clone()));
                }
                for index in part.tasks.iter().flatten() {
                    let hash = record.trials[*index].clone();
                    if cancelled {
                        settled.insert(hash);
                    } else {
                        settled.remove(&hash);
                        let at = submitted.entry(hash).or_insert(part.submitted());
                        *at = part.submitted().max(*at);
                    }
                }
            }
        }
        for hash in &live {
            self.seen.insert(hash.clone(), now);
        }
        let ends = launch.record.ends();
        let grace = Duration::from_secs(u64::from(self.slurm.grace));
        let verdict = |task: &litesnn_framework::run::Task| {
            let end = ends.iter().rfind(|end| end.hash == task.hash);
            if litesnn_framework::launch::finished(task) {
                Verdict::Finished
            } else if live.contains(&task.hash) {
                Verdict::Live
            } else if end.is_some_and(|end| end.how == How::Failed) {
                Verdict::Failed
            } else if queue.is_err() {
                Verdict::Unclear
            } else if settled.contains(&task.hash) {
                Verdict::Open
            } else if let Some(submitted) = submitted.get(&task.hash) {
                let quiet = SystemTime::now().duration_since(active(task).max(*submitted)).unwrap_or_default();
                let unseen = self.seen.get(&task.hash).map_or(Duration::MAX, |seen| now - *seen);
                if quiet.min(unseen) >= grace { Verdict::Open } else { Verdict::Unclear }
            } else {
                Verdict::Open
            }
        };
        let mut verdicts: Vec<Verdict> = launch.tasks.iter().map(verdict).collect();
        for index in 0..verdicts.len() {
            // Submitted too often, or its source failed.
            let source = launch.tasks[index].after.map(|source| verdicts[source]);
            let given_up = self.sent[index] >= self.slurm.submissions.get();
            if verdicts[index] == Verdict::Open && (given_up || source == Some(Verdict::Failed)) {
                verdicts[index] = Verdict::Failed;
            }
        }
        Ok(verdicts)
    }

    /// Submits what nobody works on; the number of trials that the cluster did not take now.
    fn submit(&mut self, verdicts: &[Verdict]) -> Result<usize> {
        let open: Vec<usize> = (0..verdicts.len()).filter(|index| verdicts[*index] == Verdict::Open).collect();
        let again = open.iter().filter(|index| self.sent[**index] > 0).count();
        if again > 0 {
            self.note(&format!("{again} trials are gone from the queue without a result, and are submitted again"));
        }
        let limit = match Cluster::array_limit() {
            Ok(limit) => limit,
            Err(refusal) => {
                self.refused += 1;
                self.note(&format!("the cluster does not answer, and is asked again later: {}", refusal.text()));
                return Ok(open.len());
            }
        };
        let chains = chains(&open, |index| self.launch.tasks[index].after.filter(|source| open.contains(source)));
        let tasks: Vec<Vec<usize>> =
            chains.chunks(usize::from(self.slurm.pack.get())).map(<[Vec<usize>]>::concat).collect();
        let count = tasks.len().div_ceil(limit).max(1);
        let throttle = self.slurm.at_once.map(|most| (most.get() as usize / count).max(1));
        let (mut from, mut size) = (0, limit);
        while from < tasks.len() {
            if self.launch.stopping() {
                break;
            }
            let chosen = &tasks[from..(from + size).min(tasks.len())];
            let part = Part::intend(&self.launch.record, chosen)?;
            match part.submit(self.slurm, &self.launch.record, throttle) {
                Ok(()) => {
                    from += chosen.len();
                    self.refused = 0;
                    chosen.iter().flatten().for_each(|index| self.sent[*index] += 1);
                    self.note(&format!("{} tasks were submitted as `{}`", chosen.len(), part.name));
                }
                // Fewer may be taken; what is left waits for the next cycle.
                Err(Refusal::Limit(text)) if chosen.len() > 1 => {
                    part.withdraw();
                    self.note(&format!("the cluster takes no {} tasks at once now: {text}", chosen.len()));
                    size = chosen.len() / 2;
                }
                Err(Refusal::Limit(text)) => {
                    part.withdraw();
                    // Some were taken: the next ones may be soon.
                    self.refused += u32::from(from == 0);
                    self.note(&format!("the cluster takes no more tasks now: {text}"));
                    break;
                }
                // It may have been submitted: its name is looked for in the next cycles.
                Err(Refusal::Silent(text)) => {
                    self.refused += 1;
                    self.note(&format!("the cluster does not answer, and is asked again later: {text}"));
                    break;
                }
                Err(refusal @ Refusal::Wrong(_)) => {
                    part.withdraw();
                    return Err(refusal.into_error());
                }
            }
        }
        Ok(tasks[from..].iter().flatten().count())
    }
}

fn is_slurm(record: &Record) -> bool {
    record.launcher.as_ref().is_some_and(|launcher| launcher.typetag_name() == NAME)
}

/// When a trial's folder changed last.
fn active(task: &litesnn_framework::run::Task) -> SystemTime {
    let logs = attempt::places(&task.folder).into_iter().map(|place| place.join(files::LOG));
    let times = logs.filter_map(|log| std::fs::metadata(log).ok()?.modified().ok());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Each trial with those that take its design: the design is there when they begin, and one array is enough.
fn chains(open: &[usize], source: impl Fn(usize) -> Option<usize>) -> Vec<Vec<usize>> {
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for index in open {
        match source(*index).and_then(|source| chains.iter_mut().find(|chain| chain[0] == source)) {
            Some(chain) => chain.push(*index),
            None => chains.push(vec![*index]),
        }
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_in_one_task_with_those_that_take_its_design() {
        let after = [None, None, Some(0), Some(1), Some(0)];
        assert_eq!(chains(&[0, 1, 2, 3, 4], |index| after[index]), [vec![0, 2, 4], vec![1, 3]]);
        // The source is finished: each is a task of its own.
        assert_eq!(chains(&[2, 4], |_| None), [[2], [4]]);
    }

    #[test]
    fn a_line_break_in_a_setting_is_refused() {
        let text = "[slurm]\ntime = \"1:00\\n#SBATCH --wrap=x\"\n";
        let plugin: Box<dyn Launcher> =
            serde_json::from_value(serde_json::json!({ "slurm": { "time": "1\n2" } })).unwrap();
        assert!(format!("{plugin:?}").contains("1\\n2"), "{text}");
        let slurm: Slurm = serde_json::from_value(serde_json::json!({ "time": "1\n2" })).unwrap();
        assert!(slurm.check().unwrap_err().to_string().contains("`1\\n2` holds a line break"));
    }
}
