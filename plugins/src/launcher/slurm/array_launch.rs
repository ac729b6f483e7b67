//! A launch at work: it looks at the queue, submits what nobody works on, and waits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use litesnn_framework::Result;
use litesnn_framework::ground::counted;
use litesnn_framework::launch::{Launch, Launched, Record, Task, launches};
use litesnn_framework::record::{Event, How, attempt};

use super::array_job::ArrayJob;
use super::cluster::{Cluster, Entry, Refusal};
use super::settings::{NAME, Slurm};
use super::trial_state::{Evidence, TrialState};

/// `squeue` is not asked less often than this while it does not answer, in seconds.
const SLOWEST_POLL: u64 = 600;

/// A launch at work.
pub struct ArrayLaunch<'a> {
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

impl<'a> ArrayLaunch<'a> {
    /// A launch that has asked and submitted nothing so far.
    pub fn new(slurm: &'a Slurm, launch: &'a Launch<'a>) -> Self {
        ArrayLaunch { slurm, launch, seen: BTreeMap::new(), sent: vec![0; launch.tasks.len()], failures: 0, refused: 0 }
    }

    /// Submits and, where the launch waits, looks on until every trial is finished or has failed.
    pub fn until_all_is_done(&mut self) -> Result<()> {
        let mut told = None;
        loop {
            let states = self.look()?;
            let count = |which: TrialState| states.iter().filter(|state| **state == which).count();
            let running = self.running(&states);
            let counts = (
                count(TrialState::Finished),
                running,
                states.len() - count(TrialState::Finished) - running - count(TrialState::Failed),
                count(TrialState::Failed),
            );
            if told != Some(counts) {
                told = Some(counts);
                let (finished, running, queued, failed) = counts;
                self.launch.observer.event(&Event::Count { finished, running, queued, failed });
            }
            let mut left_over = 0;
            if count(TrialState::Open) > 0 {
                left_over = self.submit(&states)?;
            } else if count(TrialState::Unclear) == 0 {
                self.refused = 0;
            }
            let nothing_left = states.iter().all(|state| matches!(state, TrialState::Finished | TrialState::Failed));
            // What is submitted or unclear shows in the next look.
            let all_known = count(TrialState::Unclear) == 0 || self.stuck() > 3;
            if nothing_left
                || self.launch.stopping()
                || (!self.launch.wait && all_known && (left_over == 0 || self.stuck() > 3))
            {
                if left_over > 0 {
                    self.note(&format!(
                        "{} could not be submitted now; the same command submits the rest later",
                        counted(left_over, "trial")
                    ));
                }
                return Ok(());
            }
            self.pause();
        }
    }

    fn note(&self, text: &str) {
        self.launch.observer.event(&Event::Note { trial: None, text });
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
    fn running(&self, states: &[TrialState]) -> usize {
        let live = self.launch.tasks.iter().zip(states).filter(|(_, state)| **state == TrialState::Live);
        live.filter(|(task, _)| task.folder.join(attempt::ATTEMPTS).is_dir()).count()
    }

    /// What is to be done about each trial, from the folders and one look at the queue.
    fn look(&mut self) -> Result<Vec<TrialState>> {
        let launch = self.launch;
        let runs = launch.tasks.first().map_or(PathBuf::new(), |task| task.runs().to_owned());
        let launched = launches(&runs).into_iter().flatten().filter(is_slurm);
        let records: Vec<Record> = launched.map(|launched| launched.record).collect();
        let queue = self.ask();
        let evidence = Evidence::of(&records, queue.as_deref())?;
        let now = Instant::now();
        self.seen.extend(evidence.live().map(|hash| (hash.to_owned(), now)));
        let ends = launch.record.ends();
        let grace = Duration::from_secs(u64::from(self.slurm.grace));
        let state = |task: &Task| {
            let end = ends.iter().rfind(|end| end.hash == task.hash);
            let unseen = self.seen.get(&task.hash).map_or(Duration::MAX, |seen| now - *seen);
            evidence.state(task, end.is_some_and(|end| end.how == How::Failed), unseen, grace)
        };
        let mut states: Vec<TrialState> = launch.tasks.iter().map(state).collect();
        self.give_up(&mut states);
        Ok(states)
    }

    /// The queue; `None` where the cluster does not answer.
    fn ask(&mut self) -> Option<Vec<Entry>> {
        match Cluster::queue() {
            Ok(queue) => {
                self.failures = 0;
                Some(queue)
            }
            Err(refusal) => {
                self.failures += 1;
                self.note(&format!("the cluster does not answer, and is asked again later: {}", refusal.text()));
                None
            }
        }
    }

    /// Takes those for failed that were submitted too often, or whose source failed.
    fn give_up(&self, states: &mut [TrialState]) {
        for index in 0..states.len() {
            let without = self.launch.tasks[index].waits_for().any(|source| states[source] == TrialState::Failed);
            let too_often = self.sent[index] >= self.slurm.submissions.get();
            if states[index] == TrialState::Open && (too_often || without) {
                states[index] = TrialState::Failed;
            }
        }
    }

    /// Submits what nobody works on; the number of trials that the cluster did not take now.
    fn submit(&mut self, states: &[TrialState]) -> Result<usize> {
        let open: Vec<usize> = (0..states.len()).filter(|index| states[*index] == TrialState::Open).collect();
        let again = open.iter().filter(|index| self.sent[**index] > 0).count();
        if again > 0 {
            let trials = counted(again, "trial");
            self.note(&format!("{trials} gone from the queue without a result; submitting again"));
        }
        let limit = match Cluster::array_limit() {
            Ok(limit) => limit,
            Err(refusal) => {
                self.refused += 1;
                self.note(&format!("the cluster does not answer, and is asked again later: {}", refusal.text()));
                return Ok(open.len());
            }
        };
        let chains = chains(&open, |index| self.launch.tasks[index].waits_for().collect());
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
            let job = ArrayJob::intend(&self.launch.record, chosen)?;
            match job.submit(self.slurm, &self.launch.record, throttle) {
                Ok(()) => {
                    from += chosen.len();
                    self.refused = 0;
                    chosen.iter().flatten().for_each(|index| self.sent[*index] += 1);
                    self.note(&format!("submitted {} as `{}`", counted(chosen.len(), "task"), job.name));
                }
                // Fewer may be taken; what is left waits for the next cycle.
                Err(Refusal::Limit(text)) if chosen.len() > 1 => {
                    job.withdraw();
                    self.note(&format!("the cluster takes no {} tasks at once now: {text}", chosen.len()));
                    size = chosen.len() / 2;
                }
                Err(Refusal::Limit(text)) => {
                    job.withdraw();
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
                    job.withdraw();
                    return Err(refusal.into_error());
                }
            }
        }
        Ok(tasks[from..].iter().flatten().count())
    }
}

fn is_slurm(launched: &Launched) -> bool {
    launched.launcher.as_ref().is_some_and(|launcher| launcher.typetag_name() == NAME)
}

/// Each trial with those that wait for it: its design and its weights are there when they begin,
/// and one array is enough. A trial that waits for two joins what both are in.
fn chains(open: &[usize], sources: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<usize>> {
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for index in open {
        let sources = sources(*index);
        let waits = |chain: &Vec<usize>| chain.iter().any(|trial| sources.contains(trial));
        let Some(first) = chains.iter().position(waits) else {
            chains.push(vec![*index]);
            continue;
        };
        while let Some(other) = chains.iter().skip(first + 1).position(waits) {
            let joined = chains.remove(first + 1 + other);
            chains[first].extend(joined);
        }
        chains[first].push(*index);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_in_one_task_with_those_that_wait_for_it() {
        let after: [&[usize]; 5] = [&[], &[], &[0], &[1], &[0]];
        let all = [0, 1, 2, 3, 4];
        assert_eq!(chains(&all, |index| after[index].to_vec()), [vec![0, 2, 4], vec![1, 3]]);
        // The source is finished: each is a task of its own.
        assert_eq!(chains(&[2, 4], |index| after[index].to_vec()), [[2], [4]]);
        // The last one takes a design of the first chain and has a teacher in the second.
        let after: [&[usize]; 5] = [&[], &[], &[0], &[1], &[2, 1]];
        assert_eq!(chains(&all, |index| after[index].to_vec()), [[0, 2, 1, 3, 4]]);
    }
}
