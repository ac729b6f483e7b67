//! The epoch loop that every stage of a trial runs in: order of the data, schedules, history, checkpoints, progress, stopping.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::diagnosis::{self, Watched};
use super::{Augmentation, Batch, Batches, Begun, Checkpoint, Descent};
use crate::device::Stopwatch;
use crate::manifest::{Augment, Interval};
use crate::plugin::{Parameters, Splits};
use crate::random::Stream;
use crate::record::{self, Epoch, files};
use crate::run::set_aside;
use crate::{Error, Result};

/// Which trial an event belongs to.
#[derive(Debug, Clone)]
pub struct TrialLabel {
    /// Position among the trials of the plan, from 0.
    pub index: usize,
    /// Number of trials.
    pub count: usize,
    /// `variant seed 0`.
    pub title: String,
}

/// What an observer is told while a trial runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A stage begins, or goes on after an interruption.
    StageStarted {
        /// The trial.
        trial: &'a TrialLabel,
        /// Name of the stage.
        stage: &'a str,
        /// Its epochs.
        epochs: usize,
        /// Epochs done before an interruption.
        done: usize,
        /// Batches of an epoch.
        batches: usize,
        /// Images that are trained on; `None` for all.
        samples: Option<usize>,
    },
    /// A batch is done.
    Batch {
        /// Finished batches of this epoch.
        done: usize,
        /// Batches of an epoch.
        batches: usize,
        /// Epoch, from 1.
        epoch: usize,
        /// Images a second since the epoch began.
        images_per_second: f64,
    },
    /// An epoch is done and kept.
    Epoch {
        /// The trial.
        trial: &'a TrialLabel,
        /// Its row.
        row: &'a Epoch,
        /// Epochs of the stage.
        epochs: usize,
    },
    /// A stage is done. What is in none of the two parts went to reading, augmenting and moving data, history, logs, progress and
    /// checkpoints. (A step on a GPU returns before it is done: there the parts say little.)
    StageEnded {
        /// Name of the stage.
        stage: &'a str,
        /// Wall time of this process in the stage.
        seconds: f64,
        /// Of it in training steps.
        in_steps: f64,
        /// Of it in what is measured after each epoch.
        in_validation: f64,
    },
    /// Something a user should know, in a sentence.
    Note(&'a str),
}

/// Follows a trial: a progress display, a log.
pub trait Observer {
    /// Called from the training loop: be quick.
    fn event(&self, event: &Event);
}

/// A stage to run.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Name, unique in the trial.
    pub name: String,
    /// Passes over the training split.
    pub epochs: usize,
    /// Images that are trained on; `None` for all.
    pub samples: Option<usize>,
    /// Images of a step.
    pub batch_size: usize,
    /// What is done to training images.
    pub augment: Augment,
}

/// What a step tells the loop.
pub struct StepReport {
    /// The loss of the weights' pass, a scalar tensor without its graph, which is taken down in the step.
    pub loss: Tensor,
    /// Logits averaged over timesteps, `[B, K]`.
    pub logits: Tensor,
}

/// What a stage adds to an epoch's row.
#[derive(Debug, Clone)]
pub struct EpochNotes {
    /// Cross-entropy and accuracy on the validation split.
    pub validation: (f64, f64),
    /// L_mem in bits, L_comp in bit-operations an image, mean bits of a weight.
    pub cost: Option<(f64, f64, f64)>,
    /// Weight of each number of timesteps.
    pub timestep_weights: Vec<f64>,
}

/// What a session works on, and where.
pub struct SessionSpec<'a> {
    /// The data.
    pub splits: &'a Splits,
    /// The device.
    pub device: Device,
    /// The seed.
    pub seed: u64,
    /// The trial's folder.
    pub folder: &'a Path,
    /// The trial's hash: a checkpoint of another one is not taken.
    pub trial: &'a str,
    /// When checkpoints are written.
    pub interval: Interval,
}

/// A trial at work: what its stages share.
pub struct Session<'a> {
    /// The data.
    pub splits: &'a Splits,
    /// The device.
    pub device: Device,
    /// The seed.
    pub seed: u64,
    spec: SessionSpec<'a>,
    label: &'a TrialLabel,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    history: Vec<Epoch>,
    phase: String,
    /// The design that is trained in this phase, as TOML.
    design: String,
    finished: Vec<String>,
    resumed: Option<Checkpoint>,
    shortened: Option<Shortened>,
    /// When the last checkpoint was written.
    kept: Instant,
}

/// Every stage of a rehearsal ends early.
#[derive(Clone, Copy)]
struct Shortened {
    epochs: usize,
    batch_size: usize,
}

impl<'a> Session<'a> {
    /// Opens the trial's folder and goes on from its newest whole checkpoint, if there is one. Files that are not whole are renamed
    /// and named to the observer; nothing is deleted.
    pub fn open(
        spec: SessionSpec<'a>,
        label: &'a TrialLabel,
        observer: &'a dyn Observer,
        stop: &'a AtomicBool,
    ) -> Result<Session<'a>> {
        let (resumed, unusable) = Checkpoint::newest(&spec.folder.join(files::CHECKPOINT));
        for (path, error) in unusable {
            put_away(&path, error, observer)?;
        }
        if let Some(checkpoint) = resumed.as_ref().filter(|it| !it.trial.is_empty() && it.trial != spec.trial) {
            return Err(Error::Content {
                path: spec.folder.join(files::CHECKPOINT),
                message: format!("belongs to the trial `{}`, and this is `{}`", checkpoint.trial, spec.trial),
                hint: "move that folder to where it came from; without it the trial starts again".into(),
            });
        }
        let history = match &resumed {
            Some(checkpoint) => rows_of(checkpoint, spec.folder, observer)?,
            None => Vec::new(),
        };
        let finished = resumed.as_ref().map(|checkpoint| checkpoint.finished.clone()).unwrap_or_default();
        Ok(Session {
            splits: spec.splits,
            device: spec.device,
            seed: spec.seed,
            spec,
            label,
            observer,
            stop,
            history,
            phase: String::new(),
            design: String::new(),
            finished,
            resumed,
            shortened: None,
            kept: Instant::now(),
        })
    }

    /// Ends every stage after so many epochs, of batches no larger than this, so that its speed is known without its work.
    /// Observers are still told how many epochs it has.
    pub fn shorten(&mut self, epochs: usize, batch_size: usize) {
        self.shortened = Some(Shortened { epochs, batch_size });
    }

    /// The rows so far.
    pub fn history(&self) -> &[Epoch] {
        &self.history
    }

    /// Whether the checkpoint that the trial goes on from was written while this network (`search`, `retrain`) was trained.
    pub fn resumed_in(&self, phase: &str) -> bool {
        self.resumed.as_ref().is_some_and(|checkpoint| checkpoint.phase == phase)
    }

    /// The design that the network of this phase was built from, as the checkpoint that the trial goes on from has it.
    pub fn resumed_design(&self, phase: &str) -> Option<&str> {
        let checkpoint = self.resumed.as_ref().filter(|checkpoint| checkpoint.phase == phase)?;
        Some(&checkpoint.design).filter(|design| !design.is_empty()).map(String::as_str)
    }

    /// Says which network is trained from here on (`search`, `retrain`), the design it was built from (as TOML, empty where nothing
    /// is decided), and takes its tensors back from the checkpoint, if that is where the trial stopped.
    pub fn begin(&mut self, phase: &str, design: &str, parameters: &Parameters) -> Result<()> {
        phase.clone_into(&mut self.phase);
        design.clone_into(&mut self.design);
        if let Some(checkpoint) = self.resumed.as_ref().filter(|checkpoint| checkpoint.phase == phase) {
            checkpoint.restore_parameters(parameters).map_err(|message| Error::Content {
                path: self.spec.folder.join(files::CHECKPOINT),
                message,
                hint: "move the trial's folder away to start it again".into(),
            })?;
        }
        Ok(())
    }

    /// The trial's folder.
    pub fn folder(&self) -> &Path {
        self.spec.folder
    }

    /// Tells the user something.
    pub fn note(&self, message: &str) {
        self.observer.event(&Event::Note(message));
    }

    /// Whether `stage` is finished, or goes on from a checkpoint that was written in it.
    pub fn has_begun(&self, stage: &str) -> bool {
        self.is_finished(stage) || self.resumed.as_ref().is_some_and(|checkpoint| checkpoint.stage == stage)
    }

    /// Whether `stage` was finished before an interruption.
    pub fn is_finished(&self, stage: &str) -> bool {
        self.finished.iter().any(|name| name == stage)
    }

    /// Runs a stage to its end, or returns at once when it was finished before an interruption.
    ///
    /// `step` trains on one batch in an epoch (from 0); `notes` is asked after each epoch. Rates of `descents` are set by
    /// their schedules; the first one's rate is recorded. All state that steps depend on is in `parameters` and `descents`.
    pub fn stage(
        &mut self,
        spec: &StageSpec,
        parameters: &Parameters,
        descents: &mut [Descent],
        mut step: impl FnMut(&Batch, usize, &mut [Descent]) -> Result<StepReport>,
        mut notes: impl FnMut(usize) -> EpochNotes,
    ) -> Result<()> {
        if self.is_finished(&spec.name) {
            return Ok(());
        }
        let mut first = 0;
        let mut begun = Begun::default();
        let goes_on = self.resumed.take_if(|checkpoint| checkpoint.stage == spec.name);
        if let Some(checkpoint) = &goes_on {
            for descent in descents.iter_mut() {
                descent.restore(&checkpoint.descent);
            }
            (first, begun) = (checkpoint.epochs, checkpoint.begun);
        }
        let (epochs, course) = self.course(spec);
        let batches = course.samples.div_ceil(course.batch_size);
        self.observer.event(&Event::StageStarted {
            trial: self.label,
            stage: &spec.name,
            epochs: spec.epochs,
            done: first,
            batches,
            samples: spec.samples,
        });
        if begun.batches > 0 {
            self.note(&format!("epoch {} goes on after batch {} of {batches}", first + 1, begun.batches));
        }
        let (entered, mut in_steps, mut in_validation) = (Instant::now(), 0.0, 0.0);
        if goes_on.is_none() {
            // What a diagnosis of the first epoch goes back to.
            self.keep(&spec.name, first, begun, parameters, descents)?;
        }
        // Whether everything that was done is in a checkpoint.
        let mut kept = true;
        for epoch in first..epochs {
            let mut sums = Sums::begin(std::mem::take(&mut begun), self.device);
            for descent in descents.iter_mut() {
                descent.begin_epoch(epoch, spec.epochs);
            }
            for batch in course.batches(epoch).after(sums.done.batches) {
                if self.stop.load(Ordering::Relaxed) {
                    return self.stopped(spec, epoch, (!kept).then(|| sums.so_far()), parameters, descents);
                }
                let begin = Instant::now();
                let report = step(&batch, epoch, descents)?;
                in_steps += begin.elapsed().as_secs_f64();
                kept = false;
                sums.add(&report, &batch);
                let done = sums.done.batches;
                let due = self.kept.elapsed().as_secs_f64() >= self.spec.interval.seconds && done < batches;
                // Reading the loss waits for a GPU: every few batches is often enough to stop a diverged trial there. No
                // checkpoint is written of one.
                if self.device == Device::Cpu || done.is_multiple_of(16) || done == batches || due {
                    let loss = sums.worst_loss(&report);
                    if diagnosis::diverged(loss) {
                        let rate = descents.first().map_or(0.0, Descent::rate);
                        let noticed = Error::Diverged {
                            stage: spec.name.clone(),
                            epoch: epoch + 1,
                            batch: done,
                            loss,
                            learning_rate: rate,
                            place: String::new(),
                        };
                        let watched = Watched { course: &course, spec, parameters, stop: self.stop };
                        let folder = self.spec.folder.join(files::CHECKPOINT);
                        self.note(&format!("{noticed}; looking for where it began, from the last checkpoint on"));
                        return Err(
                            diagnosis::diagnose(&watched, &folder, descents, &mut step, loss).unwrap_or(noticed)
                        );
                    }
                }
                self.observer.event(&Event::Batch {
                    done,
                    batches,
                    epoch: epoch + 1,
                    images_per_second: sums.images_per_second(),
                });
                if due {
                    self.keep(&spec.name, epoch, sums.so_far(), parameters, descents)?;
                    kept = true;
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return self.stopped(spec, epoch, (!kept).then(|| sums.so_far()), parameters, descents);
            }
            let speed = sums.images_per_second();
            let begin = Instant::now();
            let notes = notes(epoch);
            in_validation += begin.elapsed().as_secs_f64();
            let whole = sums.so_far();
            let (memory_bits, bit_syn_ops, mean_bits) = notes.cost.unwrap_or((f64::NAN, f64::NAN, f64::NAN));
            self.history.push(Epoch {
                stage: spec.name.clone(),
                epoch: epoch as i64 + 1,
                train_loss: whole.loss / whole.images.max(1) as f64,
                train_accuracy: whole.correct as f64 / whole.images.max(1) as f64,
                validation_loss: notes.validation.0,
                validation_accuracy: notes.validation.1,
                learning_rate: descents.first().map_or(f64::NAN, Descent::rate),
                memory_bits,
                bit_syn_ops,
                mean_bits,
                timestep_weights: notes.timestep_weights,
                images_per_second: speed,
                seconds: whole.seconds,
                device_seconds: whole.device_seconds,
            });
            record::write(&self.spec.folder.join(files::HISTORY), &self.history)?;
            let last = epoch + 1 == epochs;
            if last {
                self.finished.push(spec.name.clone());
            }
            let due = self.kept.elapsed().as_secs_f64() >= self.spec.interval.seconds;
            if last || due || (epoch + 1) % self.spec.interval.epochs == 0 {
                self.keep(&spec.name, epoch + 1, Begun::default(), parameters, descents)?;
                kept = true;
            }
            if let Some(row) = self.history.last() {
                self.observer.event(&Event::Epoch { trial: self.label, row, epochs: spec.epochs });
            }
        }
        let seconds = entered.elapsed().as_secs_f64();
        self.observer.event(&Event::StageEnded { stage: &spec.name, seconds, in_steps, in_validation });
        Ok(())
    }

    /// The epochs of a stage that are run, and the course of each.
    fn course<'s>(&self, spec: &'s StageSpec) -> (usize, Course<'s>)
    where
        'a: 's,
    {
        let train = &self.splits.train;
        let (epochs, batch_size) = match self.shortened {
            Some(short) => (spec.epochs.min(short.epochs), spec.batch_size.min(short.batch_size)),
            None => (spec.epochs, spec.batch_size),
        };
        let samples = spec.samples.unwrap_or(train.len()).min(train.len());
        // Which ones does not depend on the seed, as a smaller data set would not.
        let chosen =
            (samples < train.len()).then(|| Stream::open(0, "samples", samples as u64).permutation(train.len()));
        (
            epochs,
            Course { splits: self.splits, device: self.device, seed: self.seed, spec, samples, batch_size, chosen },
        )
    }

    /// Writes a checkpoint.
    fn keep(
        &mut self,
        stage: &str,
        epochs: usize,
        begun: Begun,
        parameters: &Parameters,
        descents: &[Descent],
    ) -> Result<()> {
        let mut checkpoint = Checkpoint {
            trial: self.spec.trial.to_owned(),
            phase: self.phase.clone(),
            stage: stage.to_owned(),
            epochs,
            begun,
            finished: self.finished.clone(),
            history: self.history.len(),
            rows: record::to_bytes(&self.history)?,
            design: self.design.clone(),
            ..Checkpoint::default()
        };
        checkpoint.take_parameters(parameters);
        for descent in descents {
            checkpoint.descent.extend(descent.state().map(|(name, tensor)| (name, tensor.shallow_clone())));
        }
        checkpoint.write(&self.spec.folder.join(files::CHECKPOINT))?;
        self.kept = Instant::now();
        Ok(())
    }

    /// Ends a stage on request, with a checkpoint of what was done since the last one.
    fn stopped(
        &mut self,
        spec: &StageSpec,
        epoch: usize,
        done: Option<Begun>,
        parameters: &Parameters,
        descents: &[Descent],
    ) -> Result<()> {
        match done {
            Some(done) if diagnosis::diverged(done.loss / done.images.max(1) as f64) => {}
            Some(done) => self.keep(&spec.name, epoch, done, parameters, descents)?,
            None => {}
        }
        Err(Error::Interrupted)
    }
}

/// Renames a file that is not whole, and says so. One that could not be read at all is an error: it may be whole.
fn put_away(path: &Path, error: Error, observer: &dyn Observer) -> Result<()> {
    if matches!(error, Error::File { .. }) {
        return Err(error);
    }
    let aside = set_aside(path)?;
    observer.event(&Event::Note(&format!("{error}; it is kept as `{}`", aside.display())));
    Ok(())
}

/// The history that belongs to a checkpoint: the file's rows, or, where these are not there, the checkpoint's own.
fn rows_of(checkpoint: &Checkpoint, folder: &Path, observer: &dyn Observer) -> Result<Vec<Epoch>> {
    let path = folder.join(files::HISTORY);
    let found = if path.symlink_metadata().is_ok() { record::read::<Epoch>(&path) } else { Ok(Vec::new()) };
    let mut rows = match found {
        Ok(rows) => rows,
        Err(error) => {
            put_away(&path, error, observer)?;
            Vec::new()
        }
    };
    if rows.len() < checkpoint.history {
        rows = record::from_bytes(&checkpoint.rows, &folder.join(files::CHECKPOINT))?;
        record::write(&path, &rows)?;
        observer.event(&Event::Note(&format!("`{}` was written again from the checkpoint", path.display())));
    }
    rows.truncate(checkpoint.history);
    Ok(rows)
}

/// The batches of every epoch of a stage.
pub(super) struct Course<'a> {
    splits: &'a Splits,
    device: Device,
    seed: u64,
    spec: &'a StageSpec,
    samples: usize,
    batch_size: usize,
    /// Where not all samples are trained on: all of them in random order, of which the first ones are.
    chosen: Option<Vec<i64>>,
}

impl Course<'_> {
    /// The batches of an epoch (from 0): the same whenever they are asked for.
    pub(super) fn batches(&self, epoch: usize) -> Batches<'_> {
        let Course { splits, spec, .. } = self;
        let mut order =
            Stream::open(self.seed, &format!("{}/order", spec.name), epoch as u64).permutation(self.samples);
        if let Some(chosen) = &self.chosen {
            order.iter_mut().for_each(|index| *index = chosen[*index as usize]);
        }
        let preparation = splits.preparation.as_deref();
        let batches = Batches::new(&splits.train, &splits.normalisation, order, self.batch_size, self.device).prepared(
            preparation,
            self.seed,
            format!("{}/prepare/{epoch}", spec.name),
        );
        match preparation {
            Some(_) => batches,
            None => batches.augmented(Augmentation::draw(&spec.augment, &splits.train, self.seed, &spec.name, epoch)),
        }
    }
}

/// Sums over the batches of an epoch, kept on the device.
struct Sums {
    /// What the epoch had when this process went on with it, and the counts of now.
    done: Begun,
    loss: Tensor,
    correct: Tensor,
    watch: Stopwatch,
}

impl Sums {
    fn begin(done: Begun, device: Device) -> Sums {
        let scalar = |value: Tensor| value.to_device(device);
        Sums {
            done,
            loss: scalar(Tensor::from(done.loss)),
            correct: scalar(Tensor::from(done.correct)),
            watch: Stopwatch::start(device),
        }
    }

    fn add(&mut self, report: &StepReport, batch: &Batch) {
        tch::no_grad(|| {
            self.loss += report.loss.detach().to_kind(Kind::Double) * batch.len() as f64;
            self.correct += report.logits.argmax(1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
        });
        self.done.batches += 1;
        self.done.images += batch.len();
    }

    /// The mean so far, or the last batch's loss where that is larger or no number.
    fn worst_loss(&self, report: &StepReport) -> f64 {
        let mean = self.loss.double_value(&[]) / self.done.images.max(1) as f64;
        let last = report.loss.double_value(&[]);
        if last.is_nan() || last > mean { last } else { mean }
    }

    fn so_far(&self) -> Begun {
        Begun {
            loss: self.loss.double_value(&[]),
            correct: self.correct.int64_value(&[]),
            seconds: self.done.seconds + self.watch.wall(),
            device_seconds: self.done.device_seconds + self.watch.device(),
            ..self.done
        }
    }

    fn images_per_second(&self) -> f64 {
        self.done.images as f64 / (self.done.seconds + self.watch.wall())
    }
}
