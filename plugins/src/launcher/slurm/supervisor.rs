//! What a task of an array does: it runs its trials, each as an attempt, and passes on what the
//! cluster wants.

use std::time::{Duration, Instant};

use litesnn_framework::Result;
use litesnn_framework::ground::signal;
use litesnn_framework::launch::{Means, Process, Record};
use litesnn_framework::record::{End, How};
use litesnn_framework::say;

use super::array_job::{ArrayJob, is_cancelled};
use super::cluster::Cluster;
use super::settings::{Slurm, wrong};

/// Slurm may send its warning a minute early.
const EARLY: u64 = 65;

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| wrong(format!("`{name}` is not set: this is no task of an array job")))
}

pub fn work(slurm: &Slurm, record: &Record, arguments: &[String]) -> Result<()> {
    let begin = Instant::now();
    signal::note_these(&[signal::USR2, signal::TERM]);
    let [name] = arguments else { return Err(wrong("a task is told the name of its array job".into())) };
    let array_job = ArrayJob::find(record, name)?;
    let (job, index) = (variable("SLURM_ARRAY_JOB_ID")?, variable("SLURM_ARRAY_TASK_ID")?);
    let trials = index.parse().ok().and_then(|index: usize| array_job.tasks.get(index));
    let trials = trials.ok_or_else(|| wrong(format!("`{name}` has no task `{index}`")))?;
    let why = || match signal::noted() {
        _ if is_cancelled(record) => (How::Stopped, "it was cancelled"),
        Some(signal::USR2) if near_its_end(slurm, begin) => {
            (How::TimedOut, "its time was over; it resumes in a new task")
        }
        _ => (How::Preempted, "it had to make room; it resumes in a new task"),
    };
    for trial in trials {
        let task = record.task(*trial)?;
        let mut ready = true;
        for source in task.waits_for() {
            ready &= record.task(source)?.is_finished();
        }
        if signal::noted().is_none() && ready && !task.is_finished() {
            say!("{}: task {index} of job {job} on {}", task.title, node());
            // One trial more or less is no reason to leave the others of the task.
            match run(slurm, record, *trial, &why) {
                Ok(end) => say!("{}: {:?} {}", task.title, end.how, end.reason),
                Err(error) => say!("{}: {error}", task.title),
            }
        }
    }
    if signal::noted() == Some(signal::USR2) && why().0 != How::Stopped {
        // Where this is not allowed, the trials count as lost after a while and are submitted
        // again.
        if let Err(refusal) = Cluster::requeue(&format!("{job}_{index}")) {
            say!("cannot requeue task {index}: {}", refusal.text());
        }
    }
    Ok(())
}

fn run(slurm: &Slurm, record: &Record, trial: usize, why: &impl Fn() -> (How, &'static str)) -> Result<End> {
    let task = record.task(trial)?;
    let means = Means { threads: Some(slurm.cores.get()), ..Means::default() };
    let mut process = Process::start(record, trial, &task, means, true)?;
    loop {
        if signal::noted().is_some() {
            process.stop();
        }
        if let Some(end) = process.ended(&task)? {
            if end.how != How::Stopped || signal::noted().is_none() {
                return Ok(end);
            }
            let (how, reason) = why();
            let end = End { how, reason: reason.into(), ..end };
            process.amend(&end)?;
            return Ok(end);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a warning means the end of the task's time, and not that it has to make room.
fn near_its_end(slurm: &Slurm, begin: Instant) -> bool {
    let warning = u64::from(slurm.warning.get()) + EARLY;
    seconds(&slurm.time).is_some_and(|limit| begin.elapsed().as_secs() + warning >= limit)
}

/// A time of Slurm: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`.
fn seconds(time: &str) -> Option<u64> {
    let (days, rest) = match time.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, time),
    };
    let fields = rest.split(':').map(|field| field.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    let (hours, minutes, seconds) = match (days, fields.as_slice()) {
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    Some(((days.unwrap_or(0) * 24 + hours) * 60 + minutes) * 60 + seconds)
}

fn node() -> String {
    std::env::var("SLURMD_NODENAME").unwrap_or_else(|_| "an unknown node".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        for (time, expected) in
            [("5", 300), ("5:30", 330), ("1:00:00", 3600), ("1-0", 86_400), ("1-2:30", 95_400), ("0-0:0:7", 7)]
        {
            assert_eq!(seconds(time), Some(expected), "{time}");
        }
        assert_eq!(seconds("soon"), None);
    }
}
