//! How long a trial will take: its own code on its own data, cut short.
//!
//! Search and retraining run two epochs of a few batches each in a temporary folder, with
//! checkpoints and validation; the second one counts. What one image and one epoch cost there is
//! scaled to the whole:
//!
//! ```text
//! time = setup + sum over stages of epochs · (training images · a + validation images · v + checkpoint) + test images · v
//! ```
//!
//! A search that trains candidates trains two of them here, and as many in the whole as its budget has
//! room for: the others are taken to last as long as the mean of the two.
//!
//! The batch is the manifest's unless a step of it would take seconds. Where the timesteps are
//! searched, retraining is taken to run the mean of the candidates, rounded up: so the estimate can
//! be wrong by what the search saves.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tch::Device;

use super::Needs;
use super::division::{SEARCH_PASSES, divided};
use super::method::Method;
use crate::Result;
use crate::data::{DataStore, Split, Splits};
use crate::ground::guarded;
use crate::ground::threads::Threads;
use crate::manifest::Plan;
use crate::network::Design;
use crate::record::{Event, Observer, Stage, TrialLabel};
use crate::train::{Phase, Session, SessionSpec, Teacher, TrainedCandidates};

/// Multiply-accumulate operations of a step that is short enough: about a second of two cores.
const SHORT: f64 = 2e10;
/// Forward, and two products of matrices backward.
const PASSES: f64 = 3.0;
/// Epochs of a stage: one to warm up, one to measure.
const EPOCHS: usize = 2;

/// What was measured of one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// Its epochs in the trial.
    pub epochs: usize,
    /// Images of an epoch.
    pub images: usize,
    /// Seconds to train on an image.
    pub train: f64,
    /// Seconds to validate on an image.
    pub validate: f64,
    /// Seconds to keep an epoch's history and checkpoint.
    pub keep: f64,
}

/// What a short run of a trial showed.
#[derive(Debug)]
pub struct Rehearsal {
    /// The stages, in order.
    pub stages: Vec<StageTime>,
    /// Seconds outside of the stages: building networks, opening the folder.
    pub setup: f64,
    /// The candidates that the search trains.
    pub trains: Option<TrainedCandidates>,
    /// A design like the one that the trial will find.
    pub design: Design,
    /// Samples of the real splits: validation, test.
    samples: [usize; 2],
}

impl Rehearsal {
    /// Seconds of the whole trial.
    pub fn seconds(&self) -> f64 {
        let [validation, test] = self.samples.map(|count| count as f64);
        let stage = |one: &StageTime| {
            one.epochs as f64 * (one.images as f64 * one.train + validation * one.validate + one.keep)
        };
        let measured = self.stages.last().map_or(0.0, |stage| test * stage.validate);
        let is_candidate = |one: &&StageTime| matches!(Phase::named(one.stage.name()), Some(Phase::Candidate(_)));
        let candidates: Vec<f64> = self.stages.iter().filter(is_candidate).map(stage).collect();
        self.setup + self.stages.iter().map(stage).sum::<f64>() + self.other_candidates(&candidates) + measured
    }

    /// Seconds of the candidates that were not rehearsed, by those of the others.
    fn other_candidates(&self, rehearsed: &[f64]) -> f64 {
        let (Some(TrainedCandidates { count, device_seconds }), false) = (self.trains, rehearsed.is_empty()) else {
            return 0.0;
        };
        let each = rehearsed.iter().sum::<f64>() / rehearsed.len() as f64;
        let count = (count as f64).min((device_seconds / each).ceil());
        (count - rehearsed.len() as f64).max(0.0) * each
    }
}

/// Runs a short form of the trial at `index`. `needs` is what was found for it; `design` is the one
/// that it takes over, where it takes one, and `teacher` the design of its teacher, where it has one.
/// Of `threads` it has as many as the trial can use.
pub fn rehearse(
    plan: &Plan,
    index: usize,
    needs: &Needs,
    (design, teacher): (Option<&Design>, Option<&Design>),
    store: &DataStore,
    device: Device,
    threads: &Threads,
) -> Result<Rehearsal> {
    let begin = Instant::now();
    let trial = &plan.trials[index];
    let manifest = &trial.manifest;
    let whole = store.open(manifest.dataset.as_ref())?;
    let timesteps = manifest.timesteps.max() as f64;
    let largest = |macs: f64, passes: f64| (SHORT / (PASSES * passes * timesteps * macs)).max(1.0) as usize;
    let searched = needs.supernet.as_ref().map_or(usize::MAX, |size| largest(size.macs, SEARCH_PASSES));
    let limit = searched.min(largest(needs.network.macs, 1.0));
    let batch =
        manifest.search.as_ref().map_or(0, |search| search.batch_size).max(manifest.retrain.batch_size).min(limit);
    // Two batches of an epoch, or more of the stage that has smaller ones.
    let train = 2 * batch;
    let evaluated = largest(needs.network.macs, 1.0 / PASSES).min(100);
    let splits = Splits {
        info: whole.info.clone(),
        normalisation: whole.normalisation.clone(),
        preparation: whole.preparation.clone(),
        measured: whole.measured.clone(),
        train: first(&whole.train, train),
        validation: first(&whole.validation, evaluated),
        test: first(&whole.test, 1),
    };
    let folder = tempfile::tempdir().map_err(crate::Error::file("create", &std::env::temp_dir()))?;
    let stop = AtomicBool::new(false);
    let [images, validated] = [&splits.train, &splits.validation].map(|split| split.len().max(1) as f64);
    let timer = Timer { train: images, whole: whole.train.len(), validation: validated, times: RefCell::default() };
    let title = trial.title();
    let label = TrialLabel { index, count: plan.trials.len(), title: &title };
    let method = Method { trial, splits: &splits, device, recorder: None };
    let opened = begin.elapsed().as_secs_f64();
    let present = Threads::present();
    if device == Device::Cpu {
        divided(threads, manifest, needs, whole.train.len()).take();
    }
    let design = guarded(|| {
        let spec = SessionSpec {
            splits: &splits,
            device,
            seed: trial.seed,
            folder: folder.path(),
            trial: "",
            interval: manifest.checkpoint,
            graphs: true,
        };
        let mut session = Session::open(spec, label, &timer, &stop)?;
        session.shorten(EPOCHS, limit);
        let (design, trained) = match design {
            Some(design) => (method.take_over(design.clone())?, false),
            None => {
                let found = method.search(&mut session)?;
                // (1 + max) / 2, rounded up.
                let likely = (manifest.timesteps.max() + 2) / 2;
                let timesteps = manifest.timesteps.fixed().unwrap_or(likely);
                (Design { timesteps, ..found.design }, found.trained.is_some())
            }
        };
        let (network, mut parameters) = method.build(&design)?;
        if !trained {
            let teaching = manifest.retrain.teacher.as_ref().zip(teacher);
            let precision = manifest.retrain.precision;
            let untrained = |(teaching, design)| Teacher::untrained(teaching, design, device, precision);
            let mut teacher = teaching.map(untrained).transpose()?;
            if let Some(teacher) = &mut teacher {
                method.attach(teacher, (network.as_ref(), &mut parameters), &design)?;
            }
            method.retrain(&mut session, (network.as_ref(), &parameters), &design, teacher.as_ref())?;
        }
        Ok(design)
    });
    present.take();
    let design = design?;
    let times = timer.times.into_inner();
    let setup = (begin.elapsed().as_secs_f64() - opened - times.inside).max(0.0);
    let trains = manifest.optimizer.as_ref().zip(manifest.search.as_ref());
    let trains = trains.and_then(|(optimizer, search)| optimizer.trains(search.epochs));
    Ok(Rehearsal { stages: times.stages, setup, trains, design, samples: [whole.validation.len(), whole.test.len()] })
}

fn first(split: &Split, count: usize) -> Split {
    let count = count.min(split.len()) as i64;
    Split { images: split.images.narrow(0, 0, count), labels: split.labels.narrow(0, 0, count) }
}

/// Takes the times of stages from what they tell.
struct Timer {
    /// Images of an epoch here.
    train: f64,
    /// Images of the whole training split.
    whole: usize,
    validation: f64,
    times: RefCell<Times>,
}

#[derive(Default)]
struct Times {
    stages: Vec<StageTime>,
    /// Seconds in all stages.
    inside: f64,
    /// When the epoch began.
    begun: Option<Instant>,
    /// Images that the stage would train on.
    images: usize,
}

impl Observer for Timer {
    fn event(&self, event: &Event) {
        let mut times = self.times.borrow_mut();
        match event {
            Event::StageStarted { samples, .. } => {
                times.begun = Some(Instant::now());
                times.images = samples.unwrap_or(usize::MAX);
            }
            Event::Epoch { row, epochs, .. } => {
                let now = Instant::now();
                let elapsed = times.begun.replace(now).map_or(row.seconds, |begun| (now - begun).as_secs_f64());
                let trained = self.train / row.images_per_second;
                let measured = StageTime {
                    stage: row.stage.clone(),
                    epochs: *epochs,
                    images: times.images.min(self.whole),
                    train: trained / self.train,
                    validate: (row.seconds - trained).max(0.0) / self.validation,
                    keep: (elapsed - row.seconds).max(0.0),
                };
                times.inside += elapsed;
                // The last epoch of a stage counts: those before it warm up.
                times.stages.retain(|stage| stage.stage != row.stage);
                times.stages.push(measured);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Architecture, Compression};

    /// Two of ten candidates of 8 and 12 s: eight more of 10 s; and 35 s are over in the fourth.
    #[test]
    fn all_candidates_that_are_trained_are_counted() {
        let stage = |name: &str, epochs: usize| StageTime {
            stage: Stage::named(name),
            epochs,
            images: 100,
            train: 0.01,
            validate: 0.0,
            keep: 0.0,
        };
        let architecture = Architecture { space: String::new(), edges: Vec::new() };
        let seconds = |trains: Option<TrainedCandidates>| {
            let stages = vec![stage("candidate 1", 8), stage("candidate 2", 12), stage("retrain", 5)];
            let design = Design::new(architecture.clone(), 1, Compression::new());
            Rehearsal { stages, setup: 1.0, trains, design, samples: [0, 0] }.seconds()
        };
        let trains = |count, device_seconds| seconds(Some(TrainedCandidates { count, device_seconds }));
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
        close(seconds(None), 26.0);
        close(trains(10, f64::INFINITY), 106.0);
        close(trains(usize::MAX, 35.0), 46.0);
        close(trains(1, f64::INFINITY), 26.0);
    }
}
