//! The epoch loop that every stage of a trial runs in: order of the data, schedules, history, checkpoints, progress, stopping.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Kind, Tensor};

use super::{Augmentation, Batch, Batches, Checkpoint, Descent};
use crate::device::Stopwatch;
use crate::manifest::Augment;
use crate::plugin::{Parameters, Splits};
use crate::random::Stream;
use crate::record::{self, Epoch, files};
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
    /// The loss of the weights' pass, a scalar tensor.
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

/// A trial at work: what its stages share.
pub struct Session<'a> {
    /// The data.
    pub splits: &'a Splits,
    /// The device.
    pub device: Device,
    /// The seed.
    pub seed: u64,
    folder: &'a Path,
    label: &'a TrialLabel,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    history: Vec<Epoch>,
    phase: String,
    finished: Vec<String>,
    resumed: Option<Checkpoint>,
    shortened: Option<Shortened>,
}

/// Every stage of a rehearsal ends early.
#[derive(Clone, Copy)]
struct Shortened {
    epochs: usize,
    batch_size: usize,
}

impl<'a> Session<'a> {
    /// Opens the trial's folder and goes on from its newest whole checkpoint, if there is one.
    pub fn open(
        splits: &'a Splits,
        device: Device,
        seed: u64,
        folder: &'a Path,
        label: &'a TrialLabel,
        observer: &'a dyn Observer,
        stop: &'a AtomicBool,
    ) -> Result<Session<'a>> {
        let (resumed, damaged) = Checkpoint::newest(&folder.join(files::CHECKPOINT));
        for message in damaged {
            observer.event(&Event::Note(&message));
        }
        let history_file = folder.join(files::HISTORY);
        let (mut history, mut resumed) = match resumed {
            Some(checkpoint) => match record::read::<Epoch>(&history_file) {
                Ok(rows) if rows.len() >= checkpoint.history => (rows, Some(checkpoint)),
                Ok(rows) => {
                    let message = format!(
                        "`{}` has {} rows and the checkpoint needs {}; the trial starts again",
                        history_file.display(),
                        rows.len(),
                        checkpoint.history
                    );
                    observer.event(&Event::Note(&message));
                    (Vec::new(), None)
                }
                Err(error) => {
                    observer.event(&Event::Note(&format!("{error}; the trial starts again")));
                    (Vec::new(), None)
                }
            },
            None => (Vec::new(), None),
        };
        if let Some(checkpoint) = &mut resumed {
            history.truncate(checkpoint.history);
        }
        let finished = resumed.as_ref().map(|checkpoint| checkpoint.finished.clone()).unwrap_or_default();
        Ok(Session {
            splits,
            device,
            seed,
            folder,
            label,
            observer,
            stop,
            history,
            phase: String::new(),
            finished,
            resumed,
            shortened: None,
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

    /// Says which network is trained from here on (`search`, `retrain`) and takes its tensors back from the checkpoint, if
    /// that is where the trial stopped.
    pub fn begin(&mut self, phase: &str, parameters: &Parameters) -> Result<()> {
        self.phase = phase.to_owned();
        if let Some(checkpoint) = self.resumed.as_ref().filter(|checkpoint| checkpoint.phase == phase) {
            checkpoint.restore_parameters(parameters).map_err(|message| Error::Content {
                path: self.folder.join(files::CHECKPOINT),
                message,
                hint: "move the trial's folder away to start it again".into(),
            })?;
        }
        Ok(())
    }

    /// The trial's folder.
    pub fn folder(&self) -> &Path {
        self.folder
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
        if let Some(checkpoint) = self.resumed.take_if(|checkpoint| checkpoint.stage == spec.name) {
            for descent in descents.iter_mut() {
                descent.restore(&checkpoint.descent);
            }
            first = checkpoint.epochs;
        }
        let train = &self.splits.train;
        let (epochs, batch_size) = match self.shortened {
            Some(short) => (spec.epochs.min(short.epochs), spec.batch_size.min(short.batch_size)),
            None => (spec.epochs, spec.batch_size),
        };
        let samples = spec.samples.unwrap_or(train.len()).min(train.len());
        // Which ones does not depend on the seed, as a smaller data set would not.
        let chosen =
            (samples < train.len()).then(|| Stream::open(0, "samples", samples as u64).permutation(train.len()));
        let batches = samples.div_ceil(batch_size);
        self.observer.event(&Event::StageStarted {
            trial: self.label,
            stage: &spec.name,
            epochs: spec.epochs,
            done: first,
            batches,
            samples: spec.samples,
        });
        for epoch in first..epochs {
            let watch = Stopwatch::start(self.device);
            for descent in descents.iter_mut() {
                descent.begin_epoch(epoch, spec.epochs);
            }
            let mut order = Stream::open(self.seed, &format!("{}/order", spec.name), epoch as u64).permutation(samples);
            if let Some(chosen) = &chosen {
                order.iter_mut().for_each(|index| *index = chosen[*index as usize]);
            }
            let mut loss_sum = Tensor::zeros([], (Kind::Double, self.device));
            let mut correct = Tensor::zeros([], (Kind::Int64, self.device));
            let mut images = 0;
            let normalisation = &self.splits.normalisation;
            let preparation = self.splits.preparation.as_deref();
            let mut batches_of_epoch = Batches::new(train, normalisation, order, batch_size, self.device).prepared(
                preparation,
                self.seed,
                format!("{}/prepare/{epoch}", spec.name),
            );
            if preparation.is_none() {
                let augmentation = Augmentation::draw(&spec.augment, train, self.seed, &spec.name, epoch);
                batches_of_epoch = batches_of_epoch.augmented(augmentation);
            }
            for (index, batch) in batches_of_epoch.enumerate() {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                let report = step(&batch, epoch, descents)?;
                tch::no_grad(|| {
                    loss_sum += report.loss.detach().to_kind(Kind::Double) * batch.len() as f64;
                    correct += report.logits.argmax(1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
                });
                images += batch.len();
                // Reading the loss waits for the device: every few batches is often enough to stop a diverged trial.
                if index % 16 == 15 || index + 1 == batches {
                    let loss = loss_sum.double_value(&[]) / images as f64;
                    if !loss.is_finite() {
                        return Err(Error::Diverged {
                            stage: spec.name.clone(),
                            epoch: epoch + 1,
                            batch: index + 1,
                            loss,
                            learning_rate: descents.first().map_or(0.0, Descent::rate),
                        });
                    }
                }
                self.observer.event(&Event::Batch {
                    done: index + 1,
                    batches,
                    epoch: epoch + 1,
                    images_per_second: images as f64 / watch.wall(),
                });
            }
            let trained = watch.wall();
            let notes = notes(epoch);
            let (memory_bits, bit_syn_ops, mean_bits) = notes.cost.unwrap_or((f64::NAN, f64::NAN, f64::NAN));
            self.history.push(Epoch {
                stage: spec.name.clone(),
                epoch: epoch as i64 + 1,
                train_loss: loss_sum.double_value(&[]) / images.max(1) as f64,
                train_accuracy: correct.double_value(&[]) / images.max(1) as f64,
                validation_loss: notes.validation.0,
                validation_accuracy: notes.validation.1,
                learning_rate: descents.first().map_or(f64::NAN, Descent::rate),
                memory_bits,
                bit_syn_ops,
                mean_bits,
                timestep_weights: notes.timestep_weights,
                images_per_second: images as f64 / trained,
                seconds: watch.wall(),
                device_seconds: watch.device(),
            });
            // History first: a checkpoint never points at rows that are not there.
            record::write(&self.folder.join(files::HISTORY), &self.history)?;
            let last = epoch + 1 == epochs;
            if last {
                self.finished.push(spec.name.clone());
            }
            let mut checkpoint = Checkpoint {
                phase: self.phase.clone(),
                stage: spec.name.clone(),
                epochs: epoch + 1,
                finished: self.finished.clone(),
                history: self.history.len(),
                ..Checkpoint::default()
            };
            checkpoint.take_parameters(parameters);
            for descent in descents.iter() {
                checkpoint.descent.extend(descent.state().map(|(name, tensor)| (name, tensor.shallow_clone())));
            }
            checkpoint.write(&self.folder.join(files::CHECKPOINT))?;
            if let Some(row) = self.history.last() {
                self.observer.event(&Event::Epoch { trial: self.label, row, epochs: spec.epochs });
            }
        }
        Ok(())
    }
}
