//! How long a trial's own step takes, beside its convolutions alone.
//!
//! The step is the code that a trial runs, on random images: batches, augmentation and progress
//! included. Its convolutions are recorded while it warms up, then step and [`ConvolutionFloor`]
//! run in turn, so that what else the machine does meets both alike:
//!
//! ```text
//! ratio = median over turns of (time of the step / time of its convolutions in the same turn)
//! ```

mod gradients;
mod measured;
mod steady;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use gradients::Gradients;
pub use measured::{Measured, median};
use tch::{Device, Kind, Tensor};

use crate::data::{DataInfo, Edition, Normalisation, Split, Splits};
use crate::ground::device::synchronise;
use crate::ground::{Stream, device, guarded};
use crate::manifest::{Plan, Trial};
use crate::network::{Design, Pass};
use crate::record::{Event, Observer, TrialLabel};
use crate::run::Method;
use crate::spiking::{ConvolutionCall, ConvolutionFloor, Recorder};
use crate::train::{Session, SessionSpec, evaluate_in_batches};
use crate::{Error, Result};

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A step of the optimizer's first stage.
    SearchStep,
    /// A step of retraining a design.
    RetrainStep,
    /// A few batches of evaluating a design.
    Evaluate,
}

/// What to time and how.
#[derive(Debug)]
pub struct Benchmark<'a> {
    /// What.
    pub work: Work,
    /// Where the trial is from.
    pub plan: &'a Plan,
    /// The trial, as an index into its trials.
    pub index: usize,
    /// What is retrained or evaluated.
    pub design: Option<Design>,
    /// Images of a step.
    pub batch: usize,
    /// Height and width of the images; without it, the data set's.
    pub size: Option<i64>,
    /// Turns that count.
    pub repeats: usize,
    /// Where.
    pub device: Device,
    /// Whether steps on a GPU are recorded once and replayed, as in a trial.
    pub graphs: bool,
    /// A file for what another implementation can be compared with, as safetensors:
    /// `parameter/NAME`, `images` `[B, C, H, W]` as the network sees them, `logits` `[T, B, K]` in
    /// training, and `auxiliary` of the same shape where there is a head for training.
    pub save: Option<PathBuf>,
}

/// Steps that only warm up: the convolutions of the first are kept, and a GPU records the third.
const WARM: usize = 3;
/// Batches of one evaluation: what is prepared once for all of them counts as in a test split of so
/// many.
const EVALUATED: usize = 8;

impl Benchmark<'_> {
    /// Runs it.
    pub fn run(&self) -> Result<Measured> {
        let stop = AtomicBool::new(false);
        let (recorder, state) = (Recorder::default(), RefCell::default());
        let turns = Turns { repeats: self.repeats, device: self.device, stop: &stop, recorder: &recorder, state };
        let splits = self.splits();
        let method = self.method(&splits, Some(&recorder));
        if let Some(path) = &self.save {
            guarded(|| self.save(&method, path))?;
        }
        if self.work == Work::Evaluate {
            return guarded(|| self.evaluate(&method));
        }
        turns.state.borrow_mut().measured.idle_memory = device::occupied_memory(self.device);
        self.train(&method, &turns, &stop, scratch()?.path())?;
        Ok(turns.state.into_inner().measured)
    }

    fn method<'a>(&'a self, splits: &'a Splits, recorder: Option<&'a Recorder>) -> Method<'a> {
        Method { trial: self.trial(), splits, device: self.device, recorder }
    }

    /// Trains as the trial does, in batches of the benchmark's size, until the images or `stop` end
    /// it. The trial's folder is `folder`.
    fn train(&self, method: &Method, observer: &dyn Observer, stop: &AtomicBool, folder: &Path) -> Result<()> {
        let trial = self.trial();
        let title = trial.title();
        let label = TrialLabel { index: self.index, count: 1, title: &title };
        let spec = SessionSpec {
            splits: method.splits,
            device: self.device,
            seed: trial.seed,
            folder,
            trial: "",
            interval: trial.manifest.checkpoint,
            graphs: self.graphs,
        };
        let mut session = Session::open(spec, label, observer, stop)?;
        session.shorten(1, self.batch);
        let outcome = guarded(|| match self.work {
            Work::SearchStep => method.search(&mut session).map(drop),
            _ => {
                let design = self.design()?;
                let (network, parameters) = method.build(design)?;
                method.retrain(&mut session, (network.as_ref(), &parameters), design, None)
            }
        });
        match outcome {
            Ok(()) | Err(Error::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes a network of the design, a batch, and what the network makes of it in training.
    fn save(&self, method: &Method, path: &Path) -> Result<()> {
        let design = self.design()?;
        let (network, parameters) = method.build(design)?;
        let [channels, height, width] = method.splits.info.shape;
        let mut stream = Stream::open(self.trial().seed, "bench/images", 0);
        let images = stream.normal(&[self.batch as i64, channels, height, width]).to_device(self.device);
        let named = parameters
            .trainable()
            .iter()
            .map(|parameter| (format!("parameter/{}", parameter.name), parameter.tensor.detach().copy()));
        let mut tensors: Vec<(String, Tensor)> = named.collect();
        let pass = Pass { training: true, measure: false, ..self.pass(design, None) };
        let response = tch::no_grad(|| network.forward(&images, &pass));
        tensors.push(("logits".into(), response.logits));
        tensors.extend(response.auxiliary.map(|(logits, _)| ("auxiliary".into(), logits)));
        tensors.push(("images".into(), images));
        let tensors: Vec<(String, Tensor)> =
            tensors.into_iter().map(|(name, tensor)| (name, tensor.contiguous())).collect();
        Ok(Tensor::write_safetensors(&tensors, path)?)
    }

    fn pass<'a>(&self, design: &Design, recorder: Option<&'a Recorder>) -> Pass<'a> {
        let precision = self.trial().manifest.retrain.precision;
        Pass { measure: true, precision, recorder, ..Pass::new(design.timesteps) }
    }

    fn trial(&self) -> &Trial {
        &self.plan.trials[self.index]
    }

    fn design(&self) -> Result<&Design> {
        self.design.as_ref().ok_or_else(|| Error::design("no design is given: retraining and evaluation need one"))
    }

    /// Random images, as many as the turns need.
    fn splits(&self) -> Splits {
        let ([channels, height, width], classes) = self.trial().manifest.dataset.form();
        let [height, width] = [height, width].map(|side| self.size.unwrap_or(side));
        let random = |images: usize| {
            let mut stream = Stream::open(self.trial().seed, "bench/splits", 0);
            let mut integers = |shape: &[i64], below: usize| {
                let count = shape.iter().product::<i64>() as usize;
                Tensor::from_slice(&stream.integers(count, below as i64)).view(shape)
            };
            let shape = [images as i64, channels, height, width];
            Split { images: integers(&shape, 256).to_kind(Kind::Uint8), labels: integers(&shape[..1], classes) }
        };
        let (train, test) = match self.work {
            Work::Evaluate => (0, EVALUATED * self.batch),
            _ => ((WARM + self.repeats + 1) * self.batch, 0),
        };
        let information = DataInfo {
            shape: [channels, height, width],
            classes: (0..classes).map(|class| class.to_string()).collect(),
            digest: String::new(),
            title: "random images".into(),
            edition: Edition::Other,
        };
        let channel = |value: f32| vec![value; channels as usize];
        Splits {
            info: information,
            normalisation: Normalisation { mean: channel(0.5), std: channel(0.25) },
            preparation: None,
            measured: None,
            train: random(train),
            validation: random(0),
            test: random(test),
        }
    }

    fn evaluate(&self, method: &Method) -> Result<Measured> {
        let design = self.design()?;
        let idle_memory = device::occupied_memory(self.device);
        let (network, _parameters) = method.build(design)?;
        let recorder = Recorder::default();
        let pass = self.pass(design, Some(&recorder));
        let (split, normalisation) = (&method.splits.test, &method.splits.normalisation);
        let evaluate = || -> Result<f64> {
            let begin = Instant::now();
            evaluate_in_batches(network.as_ref(), split, normalisation, pass, self.device, (self.batch, None))?;
            synchronise(self.device);
            Ok(begin.elapsed().as_secs_f64() / EVALUATED as f64)
        };
        recorder.start();
        evaluate()?;
        let mut measured = Measured { calls: recorder.take(), idle_memory, ..Measured::default() };
        measured.calls.truncate(measured.calls.len() / EVALUATED);
        measured.peak_memory = device::peak_memory(self.device);
        let floors = floors(&measured.calls, self.device);
        for _ in 0..self.repeats {
            measured.step.push(evaluate()?);
            let [alone, default] = [0, 1].map(|layout: usize| {
                let begin = Instant::now();
                (0..EVALUATED).for_each(|_| floors[layout].run());
                synchronise(self.device);
                begin.elapsed().as_secs_f64() / EVALUATED as f64
            });
            measured.convolutions.push(alone);
            measured.default_layout.push(default);
        }
        Ok(measured)
    }
}

/// A folder for what nobody keeps.
fn scratch() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(Error::file("create", &std::env::temp_dir()))
}

/// The convolutions in the step's layout and in the default one, warmed up.
fn floors(calls: &[ConvolutionCall], device: Device) -> [ConvolutionFloor; 2] {
    let floors = [ConvolutionFloor::new(calls, device), ConvolutionFloor::contiguous(calls, device)];
    floors.iter().for_each(ConvolutionFloor::run);
    floors
}

/// Takes turns with the training loop: it is told of every batch, and runs the convolutions between
/// two of them.
struct Turns<'a> {
    repeats: usize,
    device: Device,
    stop: &'a AtomicBool,
    recorder: &'a Recorder,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    seen: usize,
    /// When the step began.
    begun: Option<Instant>,
    floors: Option<[ConvolutionFloor; 2]>,
    measured: Measured,
}

impl Observer for Turns<'_> {
    fn event(&self, event: &Event) {
        let mut state = self.state.borrow_mut();
        match event {
            Event::StageStarted { .. } => self.recorder.start(),
            Event::Batch { .. } if state.measured.step.len() < self.repeats => {
                synchronise(self.device);
                let elapsed = state.begun.map(|begun| begun.elapsed().as_secs_f64());
                state.seen += 1;
                if state.seen == 1 {
                    state.measured.calls = self.recorder.take();
                }
                match (&state.floors, elapsed) {
                    (Some(floors), Some(elapsed)) => {
                        let [alone, default] = [0, 1].map(|layout: usize| {
                            let begin = Instant::now();
                            floors[layout].run();
                            synchronise(self.device);
                            begin.elapsed().as_secs_f64()
                        });
                        state.measured.step.push(elapsed);
                        state.measured.convolutions.push(alone);
                        state.measured.default_layout.push(default);
                    }
                    _ if state.seen == WARM => {
                        state.measured.peak_memory = device::peak_memory(self.device);
                        state.floors = Some(floors(&state.measured.calls, self.device));
                    }
                    _ => {}
                }
                if state.measured.step.len() == self.repeats {
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
            _ => return,
        }
        state.begun = Some(Instant::now());
    }
}
