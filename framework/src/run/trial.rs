//! Runs the trials of a plan: search, design, retrain, evaluate, record.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tch::{Device, Kind};

use super::log::Log;
use super::redraw::redraw;
use super::reuse::Archive;
use super::weights::weight_bins;
use super::{Identity, TrialFolder, set_aside, write_atomically};
use super::{account, attempt, reuse};
use crate::cost;
use crate::design::{self, Architecture, Compression, Design, DesignNetwork};
use crate::device::Stopwatch;
use crate::manifest::{Manifest, Part, Plan, Trial};
use crate::plugin::{Build, DataStore, Network, Parameters, Pass, Role, Splits, Stages};
use crate::record::{self, Epoch, Failed, Outcome, Stage, files};
use crate::train::{
    Algorithm, Descent, EpochNotes, Event, Found, Observer, Open, Rate, Search, SearchParts, Searched, Session,
    SessionSpec, StageSpec, StepReport, TrialLabel, clip_gradients, evaluate,
};
use crate::{Error, Result, device};

/// Where and how trials run.
pub struct Context<'a> {
    /// Folder of all experiments.
    pub runs: PathBuf,
    /// Where data sets are looked for.
    pub store: DataStore,
    /// Device of all tensors.
    pub device: Device,
    /// Revision of the program's source.
    pub revision: &'a str,
    /// Told what happens.
    pub observer: &'a dyn Observer,
    /// Set to stop at the next batch.
    pub stop: &'a AtomicBool,
}

/// What became of a trial.
#[derive(Debug)]
pub struct Finished {
    /// `variant seed 0`.
    pub title: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The result, or why there is none.
    pub outcome: Result<Outcome>,
    /// It was finished before.
    pub cached: bool,
}

/// Runs every trial of the plan in order. A trial that fails does not stop the others, unless they need its design; a request
/// to stop does, and is the error.
pub fn run_plan(plan: &Plan, context: &Context) -> Result<Vec<Finished>> {
    let mut all: Vec<Finished> = Vec::new();
    let mut identities: Vec<Option<Identity>> = Vec::new();
    let mut archive = Archive::open(&context.runs);
    for (index, trial) in plan.trials.iter().enumerate() {
        let begun = context.store.open(trial.manifest.dataset.as_ref()).and_then(|splits| {
            match trial.depends_on.map(|source| identities[source].as_ref()) {
                None => Ok((splits, None)),
                Some(Some(source)) => Ok((splits, Some(source))),
                Some(None) => Err(taken_design(trial, &all).and_then(Result::err).expect("its source has failed")),
            }
        });
        let (splits, source) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let folder = context.runs.join(&plan.name);
                all.push(Finished { title: trial.title(), folder, outcome: Err(error), cached: false });
                identities.push(None);
                continue;
            }
        };
        let identity = Identity::of(trial, &splits.info.digest, source);
        let folder = identity.folder(&context.runs, &plan.name, trial);
        let label = TrialLabel { index, count: plan.trials.len(), title: trial.title() };
        let finished = |outcome, cached| Finished { title: trial.title(), folder: folder.clone(), outcome, cached };
        let outcome = match taken_design(trial, &all).transpose() {
            Err(error) => finished(Err(error), false),
            Ok(design_file) => {
                let job = Job { plan, trial, splits: &splits, identity: &identity, label: &label, context };
                let (outcome, cached) = job.finish(&folder, design_file.as_deref(), &archive, None);
                if let Err(Error::Interrupted) = outcome {
                    return Err(Error::Interrupted);
                }
                finished(outcome, cached)
            }
        };
        archive.add(folder);
        identities.push(Some(identity));
        all.push(outcome);
    }
    // Data that no trial can use are the plan's own mistake, told once.
    match identities.iter().all(Option::is_none) && !all.is_empty() {
        true => all.swap_remove(0).outcome.map(|_| Vec::new()),
        false => Ok(all),
    }
}

/// The file of a design that comes from a file or another trial, or why the trial that should have found it did not.
fn taken_design(trial: &Trial, done: &[Finished]) -> Option<Result<PathBuf>> {
    if let Some(source) = trial.depends_on {
        return Some(match &done[source].outcome {
            Ok(_) => Ok(done[source].folder.join(files::DESIGN)),
            Err(error) => Err(Error::Plugin {
                kind: "design",
                name: done[source].title.clone(),
                message: format!("its trial failed: {error}"),
            }),
        });
    }
    trial.manifest.design.as_ref()?.file.clone().map(Ok)
}

/// A path to `file` for the manifest in `folder`: relative where both are trials of one experiment, so that it can be moved.
fn seen_from(folder: &Path, file: &Path) -> PathBuf {
    match (file.parent().and_then(Path::file_name), file.file_name()) {
        (Some(trial), Some(name)) if file.parent().and_then(Path::parent) == folder.parent() => {
            Path::new("..").join(trial).join(name)
        }
        _ => std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
    }
}

/// Turns a panic of a tensor operation into an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown failure");
        Err(Error::of_panic(text))
    })
}

pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) trial: &'a Trial,
    pub(super) splits: &'a Splits,
    pub(super) identity: &'a Identity,
    pub(super) label: &'a TrialLabel,
    pub(super) context: &'a Context<'a>,
}

impl Job<'_> {
    /// The trial's result, and whether it was there already: in its folder, or in that of the same work elsewhere. With a token
    /// the work is done in a folder of its own ([`attempt`]).
    pub(super) fn finish(
        &self,
        folder: &Path,
        design_file: Option<&Path>,
        archive: &Archive,
        token: Option<&str>,
    ) -> (Result<Outcome>, bool) {
        attempt::settle(folder);
        if let Some(outcome) = reuse::result(folder) {
            return (Ok(outcome), true);
        }
        if let Some(found) = archive.find(&self.identity.hash, folder) {
            let text = self.manifest_text(folder, design_file);
            let observer = self.context.observer;
            return (reuse::reuse(self.plan, self.trial, &text, found, folder, observer), true);
        }
        let outcome = guarded(|| match token {
            Some(token) => attempt::run(self, folder, design_file, token),
            None => self.run(folder, design_file),
        });
        (outcome, false)
    }

    /// The manifest that the trial's folder keeps.
    pub(super) fn manifest_text(&self, folder: &Path, design_file: Option<&Path>) -> String {
        self.trial.manifest_toml(design_file.map(|file| seen_from(folder, file)).as_deref())
    }

    pub(super) fn run(&self, path: &Path, design_file: Option<&Path>) -> Result<Outcome> {
        let folder = TrialFolder::lock(path)?;
        let manifest_text = self.manifest_text(path, design_file);
        write_atomically(&folder.file(files::MANIFEST), manifest_text.as_bytes())?;
        Failed::clear(path)?;
        let log = Log::open(&folder.file(files::LOG), self.context.observer)?;
        log.line(
            "start",
            json!({ "trial": self.label.title, "program": env!("CARGO_PKG_VERSION"), "revision": self.context.revision, "process": std::process::id() }),
        );
        if let Some(owner) = folder.left_by() {
            log.event(&Event::Note(&format!("`{}` was left by {owner}; this process goes on with it", path.display())));
        }
        let outcome = guarded(|| {
            self.put_away_damaged(&folder.file(files::RESULT), &log)?;
            self.stages(&folder, design_file, &log)
        });
        match &outcome {
            Ok(outcome) => log.line("finished", json!(outcome)),
            Err(Error::Interrupted) => log.line("stopped", json!(Error::Interrupted.to_string())),
            Err(error) => {
                log.line("failed", json!(error.to_string()));
                // The error itself says more than that it could not be marked, on a full disk for example.
                let _ = Failed::write(path, error);
            }
        }
        outcome
    }

    /// Renames a result that cannot be used: it is made again.
    fn put_away_damaged(&self, result: &Path, log: &Log) -> Result<()> {
        match record::read::<Outcome>(result) {
            Err(error @ Error::Content { .. }) => {
                let aside = set_aside(result)?;
                log.event(&Event::Note(&format!("{error}; it is kept as `{}`", aside.display())));
                Ok(())
            }
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    fn stages(&self, folder: &TrialFolder, design_file: Option<&Path>, log: &Log) -> Result<Outcome> {
        let (context, seed) = (self.context, self.trial.seed);
        let manifest = self.manifest();
        for (section, training) in [("search", manifest.search.as_ref()), ("retrain", Some(&manifest.retrain))] {
            if let Some(training) = training {
                training.augment.check(section, &self.splits.train)?;
            }
        }
        let spec = SessionSpec {
            splits: self.splits,
            device: context.device,
            seed,
            folder: folder.path(),
            trial: &self.identity.hash,
            interval: manifest.checkpoint,
        };
        let mut session = Session::open(spec, self.label, log, context.stop)?;
        let written = folder.file(files::DESIGN);
        // Only a checkpoint of retraining vouches for the design beside it. With any other, what is left of the search is done
        // (nothing, where its last stage is finished), so that its epochs are in the history.
        let Found { design, trained } = if let Some(text) = session.resumed_design("retrain") {
            Design::restore(&written, text, |message| session.note(message))?.into()
        } else if session.resumed_in("retrain") {
            Design::read(&written)?.into()
        } else {
            let found = match design_file {
                Some(file) => self.take_over(Design::read(file)?)?.into(),
                None => self.search(&mut session)?,
            };
            write_atomically(&written, found.design.to_toml().as_bytes())?;
            found
        };
        let (network, parameters) = self.build(&design)?;
        match trained {
            Some(trained) => parameters.copy_from(&trained).map_err(Error::Record)?,
            None => self.retrain(&mut session, network.as_ref(), &parameters, &design)?,
        }
        self.measure(&session, network.as_ref(), &design, folder)
    }

    fn manifest(&self) -> &Manifest {
        &self.trial.manifest
    }

    /// The parts of a given design that the manifest keeps.
    pub(super) fn take_over(&self, given: Design) -> Result<Design> {
        let manifest = self.manifest();
        let keeps = |part| manifest.design.as_ref().is_some_and(|source| source.keep.contains(&part));
        let wrong = |message: String| Error::Plugin { kind: "design", name: given.space.clone(), message };
        if given.space != manifest.space.typetag_name() {
            return Err(wrong(format!(
                "the design is of this space, and the manifest uses `{}`",
                manifest.space.typetag_name()
            )));
        }
        let timesteps = if keeps(Part::Timesteps) {
            given.timesteps
        } else {
            manifest
                .timesteps
                .fixed()
                .ok_or_else(|| wrong("without the design's timesteps, `[timesteps.fixed]` is needed".into()))?
        };
        let compression = if keeps(Part::Compression) { given.compression.clone() } else { BTreeMap::new() };
        let taken = Design {
            version: design::VERSION,
            timesteps,
            compression,
            network: Some(self.design_network()),
            accounting: None,
            ..given
        };
        match manifest.design.as_ref().is_some_and(|source| source.redraw) {
            true => redraw(&taken, manifest, &self.splits.info, self.trial.seed),
            false => Ok(taken),
        }
    }

    /// The network of this trial, for its design.
    fn design_network(&self) -> DesignNetwork {
        let info = &self.splits.info;
        let settings = &self.trial.settings;
        DesignNetwork {
            input: info.shape,
            classes: info.classes.len(),
            space: settings["space"].clone(),
            compressor: settings["compressor"].as_array().cloned().unwrap_or_default(),
        }
    }

    pub(super) fn search(&self, session: &mut Session) -> Result<Found> {
        let manifest = self.manifest();
        let (Some(optimizer), Some(training)) = (&manifest.optimizer, &manifest.search) else {
            return Err(Error::Plugin {
                kind: "optimizer",
                name: "-".into(),
                message: "a search needs the sections [optimizer] and [search]".into(),
            });
        };
        let (info, compressors) = (&self.splits.info, manifest.compressors());
        let open = |make: &dyn Fn(&mut Build) -> Result<Searched>| {
            let mut parameters = Parameters::default();
            let mut build = Build::new(&mut parameters, self.trial.seed, self.context.device);
            let gate = manifest.timesteps.attach(&mut build.at("timesteps"))?;
            let network = make(&mut build)?;
            Ok(Open { network, gate, parameters })
        };
        let supernet = open(&|build| Ok(Searched::Supernet(manifest.space.supernet(info, &compressors, build)?)))?;
        let settle = |architecture: &Architecture, compression: &Compression| {
            open(&|build| {
                let network = manifest.space.network(architecture, compression, true, info, &compressors, build)?;
                Ok(Searched::Settled(architecture.clone(), network))
            })
        };
        let parts = SearchParts { open: supernet, training, max_timesteps: manifest.timesteps.max() };
        let mut search = Search::new(parts, &manifest.retrain, &settle, session)?;
        let mut found = optimizer.search(&mut search)?;
        let bins = weight_bins(search.parts().network());
        record::write(&session.folder().join(files::WEIGHTS), &bins)?;
        found.design.network = Some(self.design_network());
        Ok(found)
    }

    pub(super) fn build(&self, design: &Design) -> Result<(Box<dyn Network>, Parameters)> {
        let manifest = self.manifest();
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, self.trial.seed, self.context.device);
        let network = manifest.space.network(
            &design.architecture(),
            &design.compression,
            false,
            &self.splits.info,
            &manifest.compressors(),
            &mut build,
        )?;
        Ok((network, parameters))
    }

    /// Trains weights and scores of the final network by SGD (paper, Section 4.1).
    pub(super) fn retrain(
        &self,
        session: &mut Session,
        network: &dyn Network,
        parameters: &Parameters,
        design: &Design,
    ) -> Result<()> {
        let (training, timesteps) = (&self.manifest().retrain, design.timesteps);
        let device = self.context.device;
        session.begin("retrain", &design.to_toml(), parameters)?;
        let algorithm = Algorithm::Sgd { momentum: training.momentum, weight_decay: training.weight_decay };
        let rate = Rate::Cosine { start: training.learning_rate, end: training.learning_rate_end };
        let mut descents = [Descent::new("weights", parameters, &[Role::Weight, Role::Score], algorithm, rate)];
        let spec = StageSpec {
            name: "retrain".into(),
            epochs: training.epochs,
            samples: training.samples.map(std::num::NonZeroUsize::get),
            batch_size: training.batch_size,
            augment: training.augment,
        };
        let pass =
            Pass { timesteps, training: true, measure: false, active: Stages::ALL, precision: training.precision };
        let splits = self.splits;
        let step = |batch: &crate::train::Batch, _: usize, descents: &mut [Descent]| {
            parameters.zero_grad();
            let response = network.forward(&batch.images, &pass);
            let logits = response.logits.mean_dim(0, false, None::<Kind>);
            let mut loss = logits.cross_entropy_for_logits(&batch.labels);
            if let Some((auxiliary, weight)) = &response.auxiliary {
                let auxiliary = auxiliary.mean_dim(0, false, None::<Kind>).cross_entropy_for_logits(&batch.labels);
                loss += auxiliary * *weight;
            }
            loss.f_backward()?;
            clip_gradients(descents[0].tensors(), training.clip);
            descents[0].step();
            Ok(StepReport { loss: loss.detach(), logits: logits.detach() })
        };
        let one_hot: Vec<f64> = (1..=timesteps).map(|count| f64::from(u8::from(count == timesteps))).collect();
        session.stage(&spec, parameters, &mut descents, step, |_| {
            let measured = evaluate(network, &splits.validation, &splits.normalisation, pass, device);
            EpochNotes { validation: (measured.loss, measured.accuracy), cost: None, timestep_weights: one_hot.clone() }
        })
    }

    fn measure(
        &self,
        session: &Session,
        network: &dyn Network,
        design: &Design,
        folder: &TrialFolder,
    ) -> Result<Outcome> {
        let device = self.context.device;
        let watch = Stopwatch::start(device);
        let pass = Pass {
            timesteps: design.timesteps,
            training: false,
            measure: true,
            active: Stages::ALL,
            precision: self.manifest().retrain.precision,
        };
        let splits = self.splits;
        let measured = evaluate(network, &splits.test, &splits.normalisation, pass, device);
        let mut stages = stage_rows(session.history(), device);
        let evaluate_seconds = watch.wall();
        stages.push(Stage {
            stage: "evaluate".into(),
            epochs: 0,
            seconds: evaluate_seconds,
            device_seconds: watch.device(),
            device: device::name(device),
        });
        record::write(&folder.file(files::STAGES), &stages)?;
        let rows = account::layers(network, &measured.activity, design.timesteps);
        record::write(&folder.file(files::LAYERS), &rows)?;
        let totals = account::totals(&rows, network.full_precision_parameters());

        let of = |search: bool| session.history().iter().filter(move |row| (row.stage != "retrain") == search);
        let seconds = |search: bool| of(search).map(|row| row.seconds).fold(0.0, |sum, seconds| sum + seconds);
        let device_seconds = of(true).map(|row| row.device_seconds).fold(0.0, |sum, seconds| sum + seconds);
        let epochs = |search: bool| of(search).count() as i64;
        let outcome = Outcome {
            seed: self.trial.seed as i64,
            hash: self.identity.hash.clone(),
            recipe: self.identity.recipe.clone(),
            dataset: splits.info.title.clone(),
            data_digest: splits.info.digest.clone(),
            test_accuracy: measured.accuracy,
            test_loss: measured.loss,
            timesteps: design.timesteps,
            mean_bits: totals.weight_bits / totals.kept_weights.max(1) as f64,
            weights: totals.weights,
            kept_weights: totals.kept_weights,
            weight_bits: totals.weight_bits,
            model_size_bytes: totals.model_size_bytes,
            syn_ops: totals.syn_ops,
            bit_syn_ops: totals.bit_syn_ops,
            multiplications: totals.multiplications,
            energy_mj: totals.energy_mj,
            ann_operations: totals.ann_operations,
            ann_energy_mj: cost::energy_mj(totals.ann_operations, totals.ann_operations),
            search_seconds: seconds(true),
            retrain_seconds: seconds(false),
            evaluate_seconds,
            search_epochs: epochs(true),
            retrain_epochs: epochs(false),
            search_device_seconds: device_seconds,
            device: device::name(device),
            hardware: device::hardware(device),
            threads: i64::from(tch::get_num_threads()),
            peak_memory_bytes: device::peak_memory() as i64,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            revision: self.context.revision.to_owned(),
            finished_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64),
            // Names come last: see `reuse::named`.
            ..Outcome::default()
        };
        let outcome = reuse::named(outcome, self.plan, self.trial);
        record::write(&folder.file(files::RESULT), std::slice::from_ref(&outcome))?;
        Ok(outcome)
    }
}

/// The stages of a trial with their time, in order, the evaluation aside.
fn stage_rows(history: &[Epoch], device: Device) -> Vec<Stage> {
    let mut rows: Vec<Stage> = Vec::new();
    for epoch in history {
        match rows.last_mut().filter(|row| row.stage == epoch.stage) {
            Some(row) => {
                row.epochs += 1;
                row.seconds += epoch.seconds;
                row.device_seconds += epoch.device_seconds;
            }
            None => rows.push(Stage {
                stage: epoch.stage.clone(),
                epochs: 1,
                seconds: epoch.seconds,
                device_seconds: epoch.device_seconds,
                device: device::name(device),
            }),
        }
    }
    rows
}
