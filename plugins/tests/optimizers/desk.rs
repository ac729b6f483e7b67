//! Trials of a tiny manifest on eight images, in this process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use litesnn_framework::Error;
use litesnn_framework::data::DataStore;
use litesnn_framework::ground::threads::Threads;
use litesnn_framework::manifest::{Plan, Request, check_images, load};
use litesnn_framework::record::{self, EpochRow, Event, LayerRow, Observer, Outcome, files};
use litesnn_framework::run::{Agenda, Context, run_here};
use litesnn_framework::train::Checkpoint;
use litesnn_plugins as _;
use tch::{Device, Tensor};

const TINY: &str = r#"
[experiment]
name = "tiny"
[dataset.fashion-mnist]
train = 8
validation = 4
test = 8
[space.spike-dhs]
cells = [0, 1]
nodes = 2
channels = { search = 1, retrain = 2 }
stem_stride = 2
auxiliary = 0
[[compressor]]
gaussian-quantize = { bits = [1, 2, 4] }
[[compressor]]
score-prune = { rate = 0.5 }
[timesteps.compressive]
max = 4
warmup = 1
[optimizer.joint]
[search]
epochs = 4
batch_size = 8
[retrain]
epochs = 4
batch_size = 8
"#;

/// A folder with the tiny manifest and its trials.
pub struct Desk {
    folder: tempfile::TempDir,
    request: Request,
}

impl Desk {
    /// The tiny manifest with other settings, `KEY=VALUE`.
    pub fn new(set: &[&str]) -> Desk {
        // The tests run side by side.
        tch::set_num_threads(1);
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("tiny.toml");
        std::fs::write(&manifest, TINY).unwrap();
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        Desk { request: Request { manifest, set, ..Request::default() }, folder }
    }

    /// The tiny manifest without a search, with other settings that name a design.
    pub fn taking(set: &[&str]) -> Desk {
        let desk = Desk::new(set);
        let sections = ["[optimizer.joint]\n", "[search]\nepochs = 4\nbatch_size = 8\n"];
        let text = sections.iter().fold(TINY.to_owned(), |text, section| text.replace(section, ""));
        std::fs::write(&desk.request.manifest, text).unwrap();
        desk
    }

    /// Its plan, or the first problem with it: place and message.
    pub fn plan(&self) -> Result<Plan, String> {
        load(&self.request).map_err(first_problem)
    }

    /// The first problem that its plan has with the bundled images.
    pub fn check_images(&self) -> Result<(), String> {
        check_images(&self.plan()?, &self.request, &store()).map_err(first_problem)
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// The trial's folder.
    pub fn trial(&self) -> PathBuf {
        let entry = std::fs::read_dir(self.runs().join("tiny")).unwrap().next().unwrap();
        entry.unwrap().path()
    }

    /// Runs the trial until it ends or `watch` stops it; whether it ended.
    fn run(&self, watch: &Watch) -> bool {
        match self.attempt(watch) {
            Ok(()) => true,
            Err(None) => false,
            Err(Some(error)) => panic!("{error}"),
        }
    }

    /// Runs the trial without an interruption; what it is refused with.
    pub fn try_finish(&self) -> Result<(), String> {
        self.attempt(&Watch::default()).map_err(|error| error.unwrap_or_default())
    }

    /// Runs the trial until it ends; the error is `None` where it was interrupted.
    fn attempt(&self, watch: &Watch) -> Result<(), Option<String>> {
        let plans = [self.plan().unwrap()];
        let context = Context {
            store: store(),
            device: Device::Cpu,
            threads: Threads::present(),
            revision: "test",
            observer: watch,
            stop: &watch.stop,
        };
        let agenda =
            Agenda::of(&plans, &self.runs(), |data| Ok(context.store.open(data)?.info.digest.clone())).unwrap();
        match run_here(&agenda, &context).pop().unwrap() {
            None => Err(None),
            Some(finished) => match finished.outcome {
                Ok(_) => Ok(()),
                Err(Error::Interrupted) => Err(None),
                Err(error) => Err(Some(error.to_string())),
            },
        }
    }

    /// Runs the trial without an interruption.
    pub fn finish(&self) {
        assert!(self.run(&Watch::default()));
    }

    /// Runs the trial; the tensors of the supernet after the last epoch of its stage `search`, by name.
    pub fn searched(&self) -> BTreeMap<String, Tensor> {
        let watch = Watch { keeps_from: Some(self), ..Watch::default() };
        assert!(self.run(&watch));
        watch.searched.into_inner()
    }

    /// Runs the trial and interrupts it before every stage but the first, and once before running
    /// statistics are estimated; how often it was interrupted.
    pub fn finish_stage_by_stage(&self) -> usize {
        let mut interruptions = 0;
        let mut watch = Watch { stops: true, ..Watch::default() };
        while !self.run(&watch) {
            interruptions += 1;
            assert!(interruptions < 20, "it does not end");
            watch = Watch { stops: true, stopped_in_statistics: watch.stopped_in_statistics, ..Watch::default() };
        }
        interruptions
    }

    /// Runs the trial, interrupts it behind a batch of an epoch of its first stage (both from 1), and
    /// runs it again.
    pub fn finish_interrupted_at(&self, epoch: usize, batch: usize) {
        assert!(!self.run(&Watch { stops_at: Some((epoch, batch)), ..Watch::default() }), "it was not interrupted");
        self.finish();
    }

    /// Two trials of these settings find the same, of which one is interrupted before every stage
    /// ([`Self::finish_stage_by_stage`]); how often it was.
    pub fn interruptions(settings: &[&str]) -> usize {
        let (whole, parts) = (Desk::new(settings), Desk::new(settings));
        whole.finish();
        let interruptions = parts.finish_stage_by_stage();
        assert_eq!(parts.found(), whole.found(), "{settings:?}");
        interruptions
    }

    /// Stages that trained something.
    pub fn stages(&self) -> usize {
        let history: Vec<EpochRow> = record::read(&self.trial().join(files::HISTORY)).unwrap();
        let mut stages: Vec<String> = history.iter().map(|row| row.stage.to_string()).collect();
        stages.dedup();
        stages.len()
    }

    /// The tensors of the last checkpoint, by name.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        Checkpoint::newest(&self.trial().join(files::CHECKPOINT)).0.unwrap().tensors
    }

    /// The result.
    pub fn outcome(&self) -> Outcome {
        record::result(&self.trial()).unwrap()
    }

    /// All that a trial found, in words that differ where one bit does, times aside.
    pub fn found(&self) -> Vec<String> {
        let bits = |values: &[f64]| values.iter().map(|value| format!("{:016x}", value.to_bits())).collect::<String>();
        let folder = self.trial();
        let history: Vec<EpochRow> = record::read(&folder.join(files::HISTORY)).unwrap();
        let layers: Vec<LayerRow> = record::read(&folder.join(files::LAYERS)).unwrap();
        let outcome = self.outcome();
        let mut found = vec![std::fs::read_to_string(folder.join(files::DESIGN)).unwrap()];
        found.extend(history.iter().map(|row| {
            let losses = bits(&[row.train_loss, row.validation_loss, row.mean_bits, row.bit_syn_ops]);
            format!("{} {} {losses} {}", row.stage, row.epoch, bits(&row.timestep_weights))
        }));
        found.extend(layers.iter().map(|row| format!("{} {} {}", row.layer, row.bits, bits(&row.firing_rate))));
        found.push(format!("{} {}", outcome.timesteps, bits(&[outcome.test_loss, outcome.test_accuracy])));
        found
    }
}

/// The bundled images.
fn store() -> DataStore {
    DataStore::new(vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/data")])
}

/// Place and message of the first problem.
fn first_problem(error: Error) -> String {
    match error {
        Error::Manifest(problems) => {
            let help = problems[0].help.clone().unwrap_or_default();
            format!("{}: {}; {help}", problems[0].key.clone().unwrap_or_default(), problems[0].message)
        }
        other => other.to_string(),
    }
}

/// Stops a trial where a second stage begins, or behind a batch, and keeps what its search ends with.
#[derive(Default)]
struct Watch<'d> {
    keeps_from: Option<&'d Desk>,
    searched: RefCell<BTreeMap<String, Tensor>>,
    stop: AtomicBool,
    stops: bool,
    stops_at: Option<(usize, usize)>,
    stages: Cell<usize>,
    stopped_in_statistics: Cell<bool>,
}

impl Observer for Watch<'_> {
    fn event(&self, event: &Event) {
        // A checkpoint of the epoch is written before the epoch is told.
        if let (Event::Epoch { row, .. }, Some(desk)) = (event, self.keeps_from)
            && row.stage.to_string() == "search"
        {
            self.searched.replace(desk.tensors());
        }
        let stop = match event {
            Event::StageStarted { .. } => {
                self.stages.set(self.stages.get() + 1);
                self.stages.get() == 2
            }
            Event::Note { text, .. } if text.contains("estimated again") => !self.stopped_in_statistics.replace(true),
            _ => false,
        };
        let there = matches!(event, Event::Batch { epoch, done, .. } if self.stops_at == Some((*epoch, *done)));
        if (stop && self.stops) || there {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}
