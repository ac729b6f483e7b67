//! Trials side by side on this machine, each in a process of its own.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use super::{End, Event, How, Launch, Process};
use crate::Result;
use crate::record::files;
use crate::run::Task;

/// How many trials run at once, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Trials at once.
    pub jobs: usize,
    /// Threads of each; the cores divided among the trials without it.
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
    /// Runs all trials of a launch. Those that take a design wait for it; one whose source failed does not run. Trials that are
    /// the same work run one after another, so that the second finds the first one's result.
    pub fn run(&self, launch: &Launch) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = u16::try_from((cores / self.jobs.max(1)).max(1)).unwrap_or(u16::MAX);
        let threads = self.threads.or(launch.record.threads).unwrap_or(shared);
        let gpus = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        let mut places: Vec<Place> = (0..launch.tasks.len())
            .map(|index| if launch.finished(index) { Place::Ended(true) } else { Place::Waiting })
            .collect();
        loop {
            for (place, task) in places.iter_mut().zip(&launch.tasks) {
                if let Place::Running(running) = place {
                    if launch.stopping() {
                        running.process.stop();
                    }
                    let end = running.process.ended(task)?;
                    running.follower.tell(launch, task);
                    if let Some(end) = end {
                        launch.observer.event(&Event::Ended(task, &end));
                        *place = Place::Ended(matches!(end.how, How::Finished | How::Cached));
                    }
                }
            }
            if !launch.stopping() {
                self.start(launch, &mut places, threads, gpus)?;
            }
            let at_work = places.iter().any(|place| matches!(place, Place::Running(_)));
            let waiting = places.iter().any(|place| matches!(place, Place::Waiting));
            if !at_work && (launch.stopping() || !waiting) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn start(&self, launch: &Launch, places: &mut [Place], threads: u16, gpus: usize) -> Result<()> {
        for index in 0..places.len() {
            let taken: Vec<usize> = places
                .iter()
                .filter_map(|place| if let Place::Running(running) = place { Some(running.slot) } else { None })
                .collect();
            let Some(slot) = (0..self.jobs).find(|slot| !taken.contains(slot)) else { return Ok(()) };
            let task = &launch.tasks[index];
            if !matches!(places[index], Place::Waiting) {
                continue;
            }
            let same = |other: &usize| launch.tasks[*other].hash == task.hash;
            match task.after.map(|source| &places[source]) {
                Some(Place::Ended(false)) => {
                    let source = task.after.map_or("", |source| launch.tasks[source].title.as_str());
                    let reason = format!("the trial that it takes its design from failed: {source}");
                    let end = End { hash: task.hash.clone(), how: How::Failed, reason };
                    launch.observer.event(&Event::Ended(task, &end));
                    places[index] = Place::Ended(false);
                    continue;
                }
                Some(Place::Waiting | Place::Running(_)) => continue,
                _ if (0..index).filter(same).any(|other| !matches!(places[other], Place::Ended(_))) => continue,
                _ => {}
            }
            let device = self.device(&launch.record.device, slot, gpus);
            // What is in its log already was told before.
            let follower = Follower::open(task);
            let process = Process::start(&launch.record, index, task, Some(threads), device.as_deref(), false)?;
            launch.observer.event(&Event::Started(task));
            places[index] = Place::Running(Box::new(Running { process, follower, slot }));
        }
        Ok(())
    }

    /// The GPU of a trial, where several trials share several of them.
    fn device(&self, asked: &str, slot: usize, gpus: usize) -> Option<String> {
        (gpus > 0 && matches!(asked, "auto" | "cuda")).then(|| format!("cuda:{}", slot % gpus))
    }
}

/// Reads what is added to a trial's log.
struct Follower {
    path: PathBuf,
    at: u64,
}

impl Follower {
    fn open(task: &Task) -> Follower {
        let path = task.folder.join(files::LOG);
        let at = std::fs::metadata(&path).map_or(0, |file| file.len());
        Follower { path, at }
    }

    /// Tells of the lines that are whole.
    fn tell(&mut self, launch: &Launch, task: &Task) {
        let mut text = String::new();
        let read = std::fs::File::open(&self.path)
            .and_then(|mut file| file.seek(SeekFrom::Start(self.at)).and_then(|_| file.read_to_string(&mut text)));
        if read.is_err() {
            return;
        }
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.at += whole as u64;
        for line in text[..whole].lines() {
            let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            if let Some(event) = line["event"].as_str() {
                launch.observer.event(&Event::Log(task, event, &line["content"]));
            }
        }
    }
}
