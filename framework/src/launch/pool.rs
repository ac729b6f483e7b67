//! Trials side by side on this machine, each in a process of its own.

use std::collections::HashMap;
use std::time::Duration;

use super::{Launch, Means, Process};
use crate::Result;
use crate::ground::device::cuda_devices;
use crate::record::{End, Event, Follower, How};

/// How many trials run at once, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Trials at once.
    pub jobs: usize,
    /// Threads of each. Without it a trial that begins has its share of the cores, and of the threads
    /// that this process has (`OMP_NUM_THREADS`, other programs), and one that is resumed what it had.
    pub threads: Option<u16>,
}

/// A trial of the launch.
enum Place {
    Waiting,
    Running(Box<Running>),
    /// Whether it has a result.
    Ended(bool),
}

struct Running {
    process: Process,
    follower: Follower,
    slot: usize,
}

impl Pool {
    /// Runs all trials of a launch. Those that take a design or have a teacher wait for it; one
    /// that waits for a trial which failed does not run. Trials that are the same work run one
    /// after another, so that the second finds the first one's result.
    pub fn run(&self, launch: &Launch) -> Result<()> {
        let mut places: Vec<Place> = (0..launch.tasks.len())
            .map(|index| if launch.finished(index) { Place::Ended(true) } else { Place::Waiting })
            .collect();
        let same_work = same_work(launch);
        loop {
            watch(launch, &mut places)?;
            if !launch.stopping() {
                self.start_all(launch, &mut places, &same_work)?;
            }
            let at_work = places.iter().any(|place| matches!(place, Place::Running(_)));
            let waiting = places.iter().any(|place| matches!(place, Place::Waiting));
            if !at_work && (launch.stopping() || !waiting) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts what can start now. `same_work` has for each task the one before it that is the same
    /// work.
    fn start_all(&self, launch: &Launch, places: &mut [Place], same_work: &[Option<usize>]) -> Result<()> {
        let taken: Vec<usize> = places
            .iter()
            .filter_map(|place| if let Place::Running(running) = place { Some(running.slot) } else { None })
            .collect();
        let mut free = (0..self.jobs).filter(|slot| !taken.contains(slot)).peekable();
        for index in 0..places.len() {
            let Some(slot) = free.peek().copied() else { return Ok(()) };
            if !matches!(places[index], Place::Waiting) {
                continue;
            }
            let task = &launch.tasks[index];
            let mut earlier = std::iter::successors(same_work[index], |other| same_work[*other]);
            let failed = task.waits_for().find(|source| matches!(places[*source], Place::Ended(false)));
            let waits = task.waits_for().any(|source| !matches!(places[source], Place::Ended(true)));
            match failed {
                Some(source) => {
                    let reason = task.fails_with(source, &launch.tasks[source]);
                    launch.tell_end(task, &End { hash: task.hash.clone(), how: How::Failed, reason });
                    places[index] = Place::Ended(false);
                }
                None if waits => {}
                None if earlier.any(|other| !matches!(places[other], Place::Ended(_))) => {}
                None => {
                    places[index] = Place::Running(Box::new(self.start(launch, index, slot)?));
                    free.next();
                }
            }
        }
        Ok(())
    }

    fn start(&self, launch: &Launch, index: usize, slot: usize) -> Result<Running> {
        let task = &launch.tasks[index];
        let device = device(&launch.record.device, slot);
        let share = Some(shared_threads(self.jobs));
        let means = Means { threads: self.threads, share, device: device.as_deref() };
        // What is in its log already was told before.
        let follower = Follower::open(&task.folder);
        let process = Process::start(&launch.record, index, task, means, false)?;
        launch.observer.event(&Event::Started { trial: task.label() });
        Ok(Running { process, follower, slot })
    }
}

/// For each task the last one before it that is the same work.
fn same_work(launch: &Launch) -> Vec<Option<usize>> {
    let mut last = HashMap::new();
    launch.tasks.iter().enumerate().map(|(index, task)| last.insert(task.hash.as_str(), index)).collect()
}

/// Looks at every process: what it logged, whether it ended. A request to stop is passed on.
fn watch(launch: &Launch, places: &mut [Place]) -> Result<()> {
    for (place, task) in places.iter_mut().zip(launch.tasks) {
        let Place::Running(running) = place else { continue };
        if launch.stopping() {
            running.process.stop();
        }
        let end = running.process.ended(task)?;
        running.follower.tell(task.label(), launch.observer);
        if let Some(end) = end {
            launch.tell_end(task, &end);
            *place = Place::Ended(end.has_result());
        }
    }
    Ok(())
}

/// Threads of each of `jobs` trials at once.
fn shared_threads(jobs: usize) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let own = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    u16::try_from((cores / jobs.max(1)).min(own).max(1)).unwrap_or(u16::MAX)
}

/// The GPU of a trial, where several trials share several of them.
fn device(asked: &str, slot: usize) -> Option<String> {
    let gpus = cuda_devices();
    (gpus > 0 && matches!(asked, "auto" | "cuda")).then(|| format!("cuda:{}", slot % gpus))
}
