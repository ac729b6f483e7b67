//! A few images, networks for them, and whole trials on them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use crate::{Kept, Stop, broken};
use litesnn_framework::data::{DataInfo, DataStore, Dataset, Edition, Normalisation, Split, Splits};
use litesnn_framework::ground::threads::Threads;
use litesnn_framework::ground::{Build, Parameters, Stream};
use litesnn_framework::manifest::{Manifest, Plan, Trial};
use litesnn_framework::network::{Compressor, Design, Network, SearchSpace, Supernet, Techniques, TimestepSearcher};
use litesnn_framework::record::{Event, Observer, Point, Stage, files};
use litesnn_framework::run::{Agenda, Context, run_here};
use litesnn_framework::train::{Batch, Batches, Checkpoint};
use litesnn_framework::{Error, Result};

const CLASSES: i64 = 3;
const SIDE: i64 = 12;

/// Three kinds of stripes in noise, so that a network can learn something. No manifest can name it:
/// it is not registered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stripes {}

#[typetag::serde(name = "conformance-stripes")]
impl Dataset for Stripes {
    fn form(&self) -> ([i64; 3], usize) {
        ([1, SIDE, SIDE], CLASSES as usize)
    }

    fn open(&self, _store: &DataStore) -> Result<Splits> {
        Ok(data())
    }
}

/// Twelve images to train on, six to validate, six to test.
pub(super) fn data() -> Splits {
    let split = |purpose: &str, count: i64| {
        let mut noise = Stream::open(0, purpose, 0);
        let labels = Tensor::arange(count, (tch::Kind::Int64, Device::Cpu)).remainder(CLASSES);
        let rows = Tensor::arange(SIDE, (tch::Kind::Int64, Device::Cpu)).floor_divide_scalar(SIDE / CLASSES);
        let bright = labels.view([-1, 1, 1, 1]).eq_tensor(&rows.view([1, 1, -1, 1])).to_kind(tch::Kind::Float);
        let images = bright * 150.0 + noise.uniform(&[count, 1, SIDE, SIDE], 20.0, 100.0);
        Split { images: images.to_kind(tch::Kind::Uint8), labels }
    };
    Splits {
        info: information(1, SIDE),
        normalisation: Normalisation { mean: vec![0.43], std: vec![0.29] },
        preparation: None,
        measured: None,
        train: split("train", 12),
        validation: split("validation", 6),
        test: split("test", 6),
    }
}

/// What a network is told of images with so many channels and such a side.
pub(super) fn information(channels: i64, side: i64) -> DataInfo {
    DataInfo {
        shape: [channels, side, side],
        classes: (0..CLASSES).map(|class| format!("stripe {class}")).collect(),
        digest: "stripes".into(),
        title: "stripes".into(),
        edition: Edition::Other,
    }
}

/// The first images to train on, normalised.
pub(super) fn batch(data: &Splits, count: i64) -> Batch {
    let order = (0..count).collect();
    let mut batches = Batches::new(&data.train, &data.normalisation, order, count as usize, Device::Cpu);
    batches.next().expect("there are images")
}

/// A supernet and all tensors of a search, as a trial builds them.
pub(super) struct Searched {
    pub(super) supernet: Box<dyn Supernet>,
    pub(super) parameters: Parameters,
}

/// Builds a supernet.
pub(super) fn supernet(
    space: &dyn SearchSpace,
    info: &DataInfo,
    timesteps: Option<&dyn TimestepSearcher>,
    compressors: &[(&str, &dyn Compressor)],
    seed: u64,
) -> Result<Searched> {
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, seed, Device::Cpu);
    if let Some(timesteps) = timesteps {
        timesteps.attach(&mut build.at("timesteps"))?;
    }
    let supernet = space.supernet(info, compressors, &mut build)?;
    Ok(Searched { supernet, parameters })
}

/// Builds the final network of a design.
pub(super) fn network(
    space: &dyn SearchSpace,
    design: &Design,
    info: &DataInfo,
    compressors: &[(&str, &dyn Compressor)],
    seed: u64,
) -> Result<(Box<dyn Network>, Parameters)> {
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, seed, Device::Cpu);
    let network = space.network(&design.architecture(), &design.compression, false, info, compressors, &mut build)?;
    Ok((network, parameters))
}

/// The design that a supernet decodes to, before any training.
pub(super) fn design(supernet: &dyn Supernet, timesteps: i64) -> Design {
    Design::new(supernet.decode(), timesteps, supernet.decisions(Techniques::ALL))
}

/// The sections of a manifest that name plugins; each value is `{ NAME: settings }`.
#[derive(Debug, Clone)]
pub(super) struct Sections {
    pub(super) space: Value,
    pub(super) compressor: Vec<Value>,
    pub(super) timesteps: Value,
    pub(super) optimizer: Value,
}

/// Epochs of retraining, which the stages of an optimizer may share: one for each kind of decision.
const RETRAIN: usize = 4;

/// How much of a trial is run, and what is kept of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Epochs of the search.
    pub(super) search: usize,
    /// After so many batches it is interrupted.
    pub(super) stop_after: Option<usize>,
    /// Whether the parameters are kept after every epoch, for which its checkpoint is read.
    pub(super) parameters: bool,
}

impl Extent {
    /// Every stage, and an epoch of the search after another: for whether it runs.
    pub(super) const SHORT: Extent = Extent { search: 2, stop_after: None, parameters: false };
}

/// What is left of a trial.
pub(super) struct Ran {
    pub(super) design: Design,
    /// The stages in the order in which they ran, with the parameters after each of their epochs
    /// where they are kept.
    pub(super) epochs: Vec<(Stage, BTreeMap<String, Tensor>)>,
}

/// Runs a whole trial on the stripes: search, retraining, evaluation.
pub(super) fn trial(sections: &Sections, seed: u64, extent: Extent, folder: &Path) -> Result<Ran> {
    let manifest = json!({
        "experiment": { "name": "conformance", "seeds": [seed] },
        "dataset": { "conformance-stripes": {} },
        "space": sections.space,
        "compressor": sections.compressor,
        "timesteps": sections.timesteps,
        "optimizer": sections.optimizer,
        "search": { "epochs": extent.search, "batch_size": 6, "learning_rate": 0.05 },
        "retrain": { "epochs": RETRAIN, "batch_size": 6, "learning_rate": 0.05 },
    });
    let unread = |error: serde_json::Error| Error::Plugin {
        kind: "manifest",
        name: "conformance".into(),
        message: error.to_string(),
    };
    let manifest: Manifest = serde_json::from_value(manifest).map_err(unread)?;
    let settings = serde_json::to_value(&manifest).map_err(unread)?;
    let trial = Trial {
        variant: "trial".into(),
        point: Point::default(),
        seed,
        manifest,
        settings,
        depends_on: None,
        taught_by: None,
        profile: None,
        reproduces: None,
        overrides: Vec::new(),
    };
    let plan = Plan {
        name: "conformance".into(),
        description: String::new(),
        profile: None,
        source: folder.join("conformance.toml"),
        trials: vec![trial],
        comparisons: Vec::new(),
    };
    let watch = Watch {
        stop: AtomicBool::new(false),
        left: Cell::new(extent.stop_after),
        parameters: extent.parameters.then_some(folder),
        epochs: RefCell::default(),
    };
    let context = Context {
        store: DataStore::new(Vec::new()),
        device: Device::Cpu,
        threads: Threads::present(),
        revision: "conformance",
        observer: &watch,
        stop: &watch.stop,
    };
    let plans = [plan];
    let agenda = Agenda::of(&plans, folder, |dataset| Ok(context.store.open(dataset)?.info.digest.clone()))?;
    let finished = run_here(&agenda, &context).pop().expect("the plan has one trial");
    finished.ok_or(Error::Interrupted)?.outcome?;
    Ok(Ran { design: Design::read(&agenda.tasks[0].folder.join(files::DESIGN))?, epochs: watch.epochs.into_inner() })
}

/// Keeps what a trial does epoch by epoch, and stops it when it is told to.
struct Watch<'a> {
    stop: AtomicBool,
    left: Cell<Option<usize>>,
    /// The folder of the runs, where parameters are kept.
    parameters: Option<&'a Path>,
    epochs: RefCell<Vec<(Stage, BTreeMap<String, Tensor>)>>,
}

impl Observer for Watch<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::Batch { .. } => {
                let left = self.left.get().map(|left| left.saturating_sub(1));
                self.left.set(left);
                self.stop.store(left == Some(0), Ordering::Relaxed);
            }
            Event::Epoch { row, .. } => {
                let tensors = self.parameters.and_then(checkpoint).map(|checkpoint| checkpoint.tensors);
                self.epochs.borrow_mut().push((row.stage.clone(), tensors.unwrap_or_default()));
            }
            _ => {}
        }
    }
}

/// The newest checkpoint of the only trial of the only experiment. It is written before the event of
/// its epoch.
fn checkpoint(runs: &Path) -> Option<Checkpoint> {
    let trial = std::fs::read_dir(runs.join("conformance")).ok()?.next()?.ok()?;
    Checkpoint::newest(&trial.path().join(files::CHECKPOINT)).0
}

/// Where Linux has a file system in memory.
const MEMORY: &str = "/dev/shm";

/// A folder for one check, in memory where there is such a file system: what a trial leaves waits for
/// the disk dozens of times, and no rule is about a disk.
pub(super) fn folder() -> Kept<tempfile::TempDir> {
    let folder = tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir());
    folder.map_err(|error| Stop::Skipped(format!("no folder for temporary files: {error}")))
}

/// Turns an error of what has to work into a broken rule.
pub(super) fn works<T>(result: Result<T>, what: impl Into<String>) -> Kept<T> {
    result.map_err(|error| broken(what, error.to_string()))
}

/// A scalar.
pub(super) fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

/// Whether two tensors have the same shape and bits.
pub(super) fn same(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.kind() == b.kind() && a.equal(b)
}

/// Whether every element is a finite number.
pub(super) fn finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) == 1
}
