//! The epoch loop that every stage of a trial runs in: order of the data, schedules, history,
//! checkpoints, progress, stopping.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::Device;

use super::average::Average;
use super::course::Course;
use super::diagnosis::{self, Watched, broken_tensor};
use super::pace::Pace;
use super::replay::Replay;
use super::schedules::Schedules;
use super::stage::Step;
use super::sums::Sums;
use super::{Batch, Begun, Checkpoint, Deciding, Descent, EpochNotes, Interval, Phase, StageSpec, StepReport};
use crate::data::Splits;
use crate::ground::device::Stopwatch;
use crate::ground::file::set_aside;
use crate::ground::{Machine, Parameters};
use crate::network::Progress;
use crate::record::{self, CandidateRow, EpochRow, Event, Observer, Row, Stage, TrialLabel, files};
use crate::{Error, Result};

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
    /// Whether the steps of an epoch on a GPU are recorded once and replayed: the same numbers,
    /// faster.
    pub graphs: bool,
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
    label: TrialLabel<'a>,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    history: Vec<EpochRow>,
    candidates: Vec<CandidateRow>,
    phase: Phase,
    /// The design that is trained in this phase, as TOML.
    design: String,
    finished: Vec<Stage>,
    resumed: Option<Checkpoint>,
    machines: Vec<Machine>,
    deciding: Cell<Deciding>,
    shortened: Option<Shortened>,
    last_checkpoint: Instant,
    pace: Pace,
}

/// Every stage of a rehearsal ends early.
#[derive(Clone, Copy)]
struct Shortened {
    epochs: usize,
    batch_size: usize,
}

/// A stage at work.
struct Work<'s> {
    spec: &'s StageSpec,
    course: &'s Course<'s, 's>,
    parameters: &'s Parameters,
    schedules: &'s Schedules<'s>,
    /// Whether all that was done is in a checkpoint.
    saved: bool,
    /// Seconds in training steps.
    in_steps: f64,
    /// Whether its steps may be recorded.
    graphs: bool,
    /// When a GPU was last seen to have done what it was asked.
    idle: Instant,
    /// Seconds in what is measured after each epoch.
    in_validation: f64,
}

impl<'a> Session<'a> {
    /// Opens the trial's folder and resumes from its newest whole checkpoint, if there is one.
    /// Files that are not whole are renamed and named to the observer; nothing is deleted.
    pub fn open(
        spec: SessionSpec<'a>,
        label: TrialLabel<'a>,
        observer: &'a dyn Observer,
        stop: &'a AtomicBool,
    ) -> Result<Session<'a>> {
        let note = |text: &str| observer.event(&Event::Note { trial: Some(label), text });
        let (resumed, unusable) = Checkpoint::newest(&spec.folder.join(files::CHECKPOINT));
        for (path, error) in unusable {
            put_away(&path, error, &note)?;
        }
        if let Some(checkpoint) = resumed.as_ref().filter(|it| !it.trial.is_empty() && it.trial != spec.trial) {
            return Err(Error::Content {
                path: spec.folder.join(files::CHECKPOINT),
                message: format!("belongs to the trial `{}`, and this is `{}`", checkpoint.trial, spec.trial),
                hint: "move that folder to where it came from; without it the trial starts again".into(),
            });
        }
        let (mut history, mut candidates) = (Vec::new(), Vec::new());
        let mut deciding = resumed.as_ref().map(|checkpoint| checkpoint.deciding).unwrap_or_default();
        if let Some(checkpoint) = &resumed {
            let written_in = spec.folder.join(files::CHECKPOINT);
            let own = |rows: &[u8]| record::from_bytes(rows, &written_in);
            history = rows_of(checkpoint.history, || own(&checkpoint.rows), &spec.folder.join(files::HISTORY), &note)?;
            history.truncate(checkpoint.history);
            if !checkpoint.candidates.is_empty() {
                let own: Vec<CandidateRow> = record::from_bytes(&checkpoint.candidates, &written_in)?;
                candidates = rows_of(own.len(), || Ok(own.clone()), &spec.folder.join(files::CANDIDATES), &note)?;
                deciding.add_candidates(&candidates[own.len()..]);
            } else if spec.folder.join(files::CANDIDATES).exists() {
                candidates = rows_of(0, || Ok(Vec::new()), &spec.folder.join(files::CANDIDATES), &note)?;
                deciding.add_candidates(&candidates);
            }
        }
        let finished = resumed.as_ref().map(|checkpoint| checkpoint.finished.clone()).unwrap_or_default();
        let mut machines = resumed.as_ref().map(|checkpoint| checkpoint.machines.clone()).unwrap_or_default();
        let here = Machine::here(spec.device);
        if machines.last() != Some(&here) {
            if let Some(last) = machines.last() {
                note(&format!(
                    "the trial ran on {last}, and goes on on {here}: its numbers are not to the bit those of a trial on one \
                     of the two alone, and its result names both"
                ));
            }
            machines.push(here);
        }
        Ok(Session {
            splits: spec.splits,
            device: spec.device,
            seed: spec.seed,
            spec,
            label,
            observer,
            stop,
            history,
            candidates,
            phase: Phase::default(),
            design: String::new(),
            finished,
            resumed,
            machines,
            deciding: Cell::new(deciding),
            shortened: None,
            last_checkpoint: Instant::now(),
            pace: Pace::default(),
        })
    }

    /// Ends every stage after so many epochs, of batches no larger than this, so that its speed is
    /// known without its work. Observers are still told how many epochs it has.
    pub fn shorten(&mut self, epochs: usize, batch_size: usize) {
        self.shortened = Some(Shortened { epochs, batch_size });
    }

    /// The error of a request to stop, where there is one.
    pub(super) fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The rows so far.
    pub fn history(&self) -> &[EpochRow] {
        &self.history
    }

    /// The candidates that the search has tried so far, and after an interruption those of the run
    /// before, too.
    pub fn candidates(&self) -> &[CandidateRow] {
        &self.candidates
    }

    /// Keeps what was found of a candidate, and forgets all that have a higher number.
    pub(super) fn keep_candidate(&mut self, row: CandidateRow) -> Result<()> {
        self.candidates.truncate(row.candidate as usize - 1);
        self.candidates.push(row);
        self.write_candidates()
    }

    /// Gives each of the first candidates its fitness; those after them are forgotten.
    pub(super) fn rate_candidates(&mut self, fitness: &[f64]) -> Result<()> {
        self.candidates.truncate(fitness.len());
        for (row, fitness) in self.candidates.iter_mut().zip(fitness) {
            row.fitness = *fitness;
        }
        self.write_candidates()
    }

    fn write_candidates(&self) -> Result<()> {
        record::write(&self.spec.folder.join(files::CANDIDATES), &self.candidates)
    }

    /// What the search has taken outside of its epochs so far.
    pub fn deciding(&self) -> Deciding {
        self.deciding.get()
    }

    /// Counts the time of `work` as time of deciding, once, whatever `work` itself counts.
    pub(super) fn count_deciding<T>(&self, work: impl FnOnce() -> T) -> T {
        let (before, watch) = (self.deciding.get(), Stopwatch::start(self.device));
        let done = work();
        let (seconds, device_seconds) = (before.seconds + watch.wall(), before.device_seconds + watch.device());
        self.deciding.set(Deciding { seconds, device_seconds });
        done
    }

    /// Whether stages are shortened, so that the trial's speed is known without its work.
    pub fn is_shortened(&self) -> bool {
        self.shortened.is_some()
    }

    /// What the trial ran on, in order.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Whether the checkpoint that the trial resumes from was written while the network of this
    /// phase was trained.
    pub fn resumed_in(&self, phase: Phase) -> bool {
        self.resumed.as_ref().is_some_and(|checkpoint| checkpoint.phase == phase)
    }

    /// The design that the network of this phase was built from, as the checkpoint that the trial
    /// resumes from has it.
    pub fn resumed_design(&self, phase: Phase) -> Option<&str> {
        let checkpoint = self.resumed.as_ref().filter(|checkpoint| checkpoint.phase == phase)?;
        Some(&checkpoint.design).filter(|design| !design.is_empty()).map(String::as_str)
    }

    /// Says which network is trained from here on, the design it was built from (as TOML, empty
    /// where nothing is decided), and takes its tensors back from the checkpoint, if that is where
    /// the trial stopped.
    pub fn begin(&mut self, phase: Phase, design: &str, parameters: &Parameters) -> Result<()> {
        self.phase = phase;
        design.clone_into(&mut self.design);
        self.take_back(parameters)
    }

    /// Takes the tensors of the network that is trained back from the checkpoint, if that is where
    /// the trial stopped.
    pub(super) fn take_back(&self, parameters: &Parameters) -> Result<()> {
        if let Some(checkpoint) = self.resumed.as_ref().filter(|checkpoint| checkpoint.phase == self.phase) {
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
    pub fn note(&self, text: &str) {
        self.observer.event(&Event::Note { trial: Some(self.label), text });
    }

    /// Whether `stage` is finished, or resumes from a checkpoint that was written in it.
    pub fn has_begun(&self, stage: &Stage) -> bool {
        self.is_finished(stage) || self.resumed.as_ref().is_some_and(|checkpoint| checkpoint.stage == *stage)
    }

    /// Whether `stage` was finished before an interruption.
    pub fn is_finished(&self, stage: &Stage) -> bool {
        self.finished.contains(stage)
    }

    /// Runs a stage to its end, or returns at once when it was finished before an interruption.
    ///
    /// `step` trains on one batch in an epoch (from 0); `notes` is asked after each epoch. Rates of
    /// `descents` are set by their schedules; the first one's rate is recorded. After each step
    /// `schedules` are told of it. All state that steps depend on is in `parameters` and `descents`.
    pub fn stage(
        &mut self,
        spec: &StageSpec,
        (parameters, schedules): (&Parameters, &Schedules),
        descents: &mut [Descent],
        mut step: impl FnMut(&Batch, usize, &mut [Descent]) -> Result<StepReport>,
        mut notes: impl FnMut(usize) -> Result<EpochNotes>,
    ) -> Result<()> {
        if self.is_finished(&spec.stage) {
            return Ok(());
        }
        let resumed = self.resumed.take_if(|checkpoint| checkpoint.stage == spec.stage);
        let (first, mut begun) =
            resumed.as_ref().map_or_else(Default::default, |checkpoint| (checkpoint.epochs, checkpoint.begun));
        for descent in descents.iter_mut() {
            if let Some(checkpoint) = &resumed {
                descent.restore(&checkpoint.descent);
            }
        }
        let (epochs, batch_size) = match self.shortened {
            Some(short) => (spec.epochs.min(short.epochs), spec.batch_size.min(short.batch_size)),
            None => (spec.epochs, spec.batch_size),
        };
        let course = Course::new(self.splits, self.device, self.seed, spec, batch_size);
        let mut work = Work {
            spec,
            course: &course,
            parameters,
            schedules,
            saved: true,
            in_steps: 0.0,
            graphs: self.spec.graphs && !spec.varies,
            idle: Instant::now(),
            in_validation: 0.0,
        };
        self.tell_start(&work, first, &begun);
        if let Some(left) = &course.left {
            self.note(left);
        }
        let entered = Instant::now();
        if resumed.is_none() {
            // What a diagnosis of the first epoch goes back to.
            self.save(&mut work, first, begun, descents)?;
        }
        for epoch in first..epochs {
            let sums = self.train_epoch(&mut work, epoch, std::mem::take(&mut begun), descents, &mut step)?;
            let last = self.conclude_epoch(&mut work, epoch, &sums, descents, &mut notes)? || epoch + 1 == epochs;
            if last {
                self.finished.push(spec.stage.clone());
                // What the stage leaves, and what its last checkpoint holds.
                averages(descents).for_each(Average::put_in);
            }
            if last || self.is_due() || (epoch + 1) % self.spec.interval.epochs == 0 {
                self.save(&mut work, epoch + 1, Begun::default(), descents)?;
            }
            if let Some(row) = self.history.last() {
                self.observer.event(&Event::Epoch { trial: self.label, row, epochs: spec.epochs });
            }
            if last {
                break;
            }
        }
        let Work { in_steps, in_validation, .. } = work;
        let seconds = entered.elapsed().as_secs_f64();
        self.observer.event(&Event::StageEnded { stage: &spec.stage, seconds, in_steps, in_validation });
        Ok(())
    }

    /// Keeps the final network that a search has trained, as a checkpoint after its retraining:
    /// `parameters` are those of `design` (as TOML).
    pub fn keep(&mut self, design: &str, parameters: &Parameters) -> Result<()> {
        (self.phase, self.design) = (Phase::Retrain, design.to_owned());
        self.finished.push(Stage::Retrain);
        let checkpoint = self.checkpoint(Stage::Retrain, 0, Begun::default(), parameters)?;
        checkpoint.write(&self.spec.folder.join(files::CHECKPOINT))
    }

    /// Hands `count` training batches of a stage to `see`, epoch after epoch, and keeps nothing of
    /// it: what `see` does is done again after an interruption.
    pub(super) fn show(&self, spec: &StageSpec, count: usize, mut see: impl FnMut(&Batch)) -> Result<()> {
        let (count, batch_size) = match self.shortened {
            Some(short) => (1, spec.batch_size.min(short.batch_size)),
            None => (count, spec.batch_size),
        };
        let course = Course::new(self.splits, self.device, self.seed, spec, batch_size);
        self.count_deciding(|| {
            for batch in (0..).flat_map(|epoch| course.batches(epoch)).take(count) {
                self.go_on()?;
                see(&batch);
            }
            Ok(())
        })
    }

    fn tell_start(&self, work: &Work, first: usize, begun: &Begun) {
        let batches = work.course.len();
        self.observer.event(&Event::StageStarted {
            trial: self.label,
            stage: &work.spec.stage,
            epochs: work.spec.epochs,
            done: first,
            batches: Some(batches),
            samples: work.spec.samples,
        });
        if begun.batches > 0 {
            self.note(&format!("epoch {} resumes after batch {} of {batches}", first + 1, begun.batches));
        }
    }

    /// Trains on the batches of an epoch that are left.
    fn train_epoch(
        &mut self,
        work: &mut Work,
        epoch: usize,
        begun: Begun,
        descents: &mut [Descent],
        step: &mut Step,
    ) -> Result<Sums> {
        let mut sums = Sums::begin(begun, self.device);
        for descent in descents.iter_mut() {
            descent.begin_epoch(epoch, work.spec.epochs);
        }
        let mut replay = Replay::new(self.device, work.graphs);
        work.idle = Instant::now();
        for batch in work.course.batches(epoch).after(sums.done.batches) {
            self.stop_if_asked(work, epoch, &sums, descents)?;
            self.train_batch(work, epoch, &batch, &mut sums, descents, step, &mut replay)?;
        }
        work.graphs &= !replay.is_refused();
        self.stop_if_asked(work, epoch, &sums, descents)?;
        Ok(sums)
    }

    #[allow(clippy::too_many_arguments)]
    fn train_batch(
        &mut self,
        work: &mut Work,
        epoch: usize,
        batch: &Batch,
        sums: &mut Sums,
        descents: &mut [Descent],
        step: &mut Step,
        replay: &mut Replay,
    ) -> Result<()> {
        let begin = Instant::now();
        let progress = Progress::after(sums.done.batches + 1, work.course.len(), epoch, work.spec.epochs);
        let report = match work.schedules.watch(progress) {
            true => step(batch, epoch, descents)?,
            false => {
                replay.step(batch, work.parameters, |batch| step(batch, epoch, descents), |text| self.note(text))?
            }
        };
        work.schedules.advance(progress, descents);
        if self.device == Device::Cpu {
            work.in_steps += begin.elapsed().as_secs_f64();
        }
        work.saved = false;
        sums.add(&report, batch);
        let (done, batches) = (sums.done.batches, work.course.len());
        let due = self.is_due() && done < batches;
        // Reading the loss waits for a GPU: every few batches is often enough to stop a diverged
        // trial there. No checkpoint is written of one.
        if self.device == Device::Cpu || done.is_multiple_of(16) || done == batches || due {
            let loss = sums.worst_loss(&report);
            if self.device != Device::Cpu {
                work.in_steps += std::mem::replace(&mut work.idle, Instant::now()).elapsed().as_secs_f64();
            }
            if diagnosis::diverged(loss) {
                return Err(self.diverged(work, epoch, done, loss, descents, step));
            }
        }
        self.observer.event(&Event::Batch {
            trial: self.label,
            done,
            batches,
            epoch: epoch + 1,
            images_per_second: sums.images_per_second(),
        });
        if due {
            self.save(work, epoch, sums.so_far(), descents)?;
        }
        Ok(())
    }

    /// The error of a stage whose loss diverged, with the place where that began, if it can be
    /// found.
    fn diverged(
        &self,
        work: &Work,
        epoch: usize,
        batch: usize,
        loss: f64,
        descents: &mut [Descent],
        step: &mut Step,
    ) -> Error {
        let noticed = Error::Diverged {
            stage: work.spec.stage.to_string(),
            epoch: epoch + 1,
            batch,
            loss,
            learning_rate: descents.first().map_or(0.0, Descent::rate),
            place: String::new(),
        };
        self.note(&format!("{noticed}; looking for where it began, from the last checkpoint on"));
        let Work { course, spec, parameters, schedules, .. } = *work;
        let watched = Watched { course, spec, parameters, schedules, stop: self.stop };
        let folder = self.spec.folder.join(files::CHECKPOINT);
        diagnosis::diagnose(&watched, &folder, descents, step, loss).unwrap_or(noticed)
    }

    /// Validates, and adds the epoch's row to the history. NaN in a tensor or in what is validated
    /// ends the stage, before any checkpoint holds it.
    fn conclude_epoch(
        &mut self,
        work: &mut Work,
        epoch: usize,
        sums: &Sums,
        descents: &mut [Descent],
        notes: &mut impl FnMut(usize) -> Result<EpochNotes>,
    ) -> Result<bool> {
        let images_per_second = sums.images_per_second();
        let begin = Instant::now();
        let when = || format!("after epoch {} of {}", epoch + 1, work.spec.stage);
        if let Some(what) = broken_tensor(work.parameters) {
            return Err(Error::NotFinite { when: when(), what });
        }
        averages(descents).for_each(Average::put_in);
        let noted = notes(epoch);
        averages(descents).for_each(Average::take_out);
        let notes = noted.map_err(|error| match error {
            Error::NotFinite { what, .. } => Error::NotFinite { when: format!("{}, in validation", when()), what },
            other => other,
        })?;
        work.in_validation += begin.elapsed().as_secs_f64();
        let whole = sums.so_far();
        let (memory_bits, bit_syn_ops, mean_bits) = notes.cost.unwrap_or((f64::NAN, f64::NAN, f64::NAN));
        let row = EpochRow {
            stage: work.spec.stage.clone(),
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
            images_per_second,
            seconds: whole.seconds,
            device_seconds: whole.device_seconds,
        };
        if let Some(slower) = self.pace.notice(&row, self.device) {
            self.note(&slower);
        }
        self.history.push(row);
        record::write(&self.spec.folder.join(files::HISTORY), &self.history)?;
        Ok(notes.ends)
    }

    /// Whether the last checkpoint is so old that the next one is due.
    fn is_due(&self) -> bool {
        self.last_checkpoint.elapsed().as_secs_f64() >= self.spec.interval.seconds
    }

    /// Writes a checkpoint after so many whole epochs and what is `begun` of the next one.
    fn save(&mut self, work: &mut Work, epochs: usize, begun: Begun, descents: &[Descent]) -> Result<()> {
        let mut checkpoint = self.checkpoint(work.spec.stage.clone(), epochs, begun, work.parameters)?;
        for descent in descents {
            checkpoint.descent.extend(descent.state().map(|(name, tensor)| (name, tensor.shallow_clone())));
        }
        checkpoint.write(&self.spec.folder.join(files::CHECKPOINT))?;
        self.last_checkpoint = Instant::now();
        work.saved = true;
        Ok(())
    }

    /// The state of the trial in a stage, without the descents.
    fn checkpoint(&self, stage: Stage, epochs: usize, begun: Begun, parameters: &Parameters) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint {
            trial: self.spec.trial.to_owned(),
            phase: self.phase,
            stage,
            epochs,
            begun,
            finished: self.finished.clone(),
            history: self.history.len(),
            rows: record::to_bytes(&self.history)?,
            candidates: match self.candidates.is_empty() {
                true => Vec::new(),
                false => record::to_bytes(&self.candidates)?,
            },
            design: self.design.clone(),
            machines: self.machines.clone(),
            deciding: self.deciding.get(),
            ..Checkpoint::default()
        };
        checkpoint.take_parameters(parameters);
        Ok(checkpoint)
    }

    /// Ends the stage where that was asked for, with a checkpoint of what was done since the last
    /// one.
    fn stop_if_asked(&mut self, work: &mut Work, epoch: usize, sums: &Sums, descents: &[Descent]) -> Result<()> {
        if !self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !work.saved {
            let done = sums.so_far();
            if !diagnosis::diverged(done.loss / done.images.max(1) as f64) {
                self.save(work, epoch, done, descents)?;
            }
        }
        Err(Error::Interrupted)
    }
}

/// The averages of what descents move.
fn averages(descents: &mut [Descent]) -> impl Iterator<Item = &mut Average> {
    descents.iter_mut().filter_map(Descent::average)
}

/// Renames a file that is not whole, and says so. One that could not be read at all is an error: it
/// may be whole.
fn put_away(path: &Path, error: Error, note: &dyn Fn(&str)) -> Result<()> {
    if matches!(error, Error::File { .. }) {
        return Err(error);
    }
    let aside = set_aside(path)?;
    note(&format!("{error}; it is kept as `{}`", aside.display()));
    Ok(())
}

/// The rows of the file at `path`, or, where it does not have the `least` that belong to the trial's
/// checkpoint, the checkpoint's `own`. A search may have added more.
fn rows_of<R: Row>(
    least: usize,
    own: impl FnOnce() -> Result<Vec<R>>,
    path: &Path,
    note: &dyn Fn(&str),
) -> Result<Vec<R>> {
    let found = if path.symlink_metadata().is_ok() { record::read::<R>(path) } else { Ok(Vec::new()) };
    let mut rows = match found {
        Ok(rows) => rows,
        Err(error) => {
            put_away(path, error, note)?;
            Vec::new()
        }
    };
    if rows.len() < least {
        rows = own()?;
        record::write(path, &rows)?;
        note(&format!("`{}` was written again from the checkpoint", path.display()));
    }
    Ok(rows)
}
