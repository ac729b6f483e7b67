//! Runs the trials of a plan: search, design, retrain, evaluate, record.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::log::Log;
use super::{TrialFolder, trial_hash, write_atomically};
use crate::cost::{self, LayerCost};
use crate::design::{self, Design};
use crate::manifest::{Manifest, Part, Plan, Trial};
use crate::plugin::{Build, DataStore, Network, Parameters, Pass, Place, Role, Splits, Stages};
use crate::record::{self, Layer, Outcome, files};
use crate::train::{
    Algorithm, Descent, EpochNotes, Observer, Rate, Search, SearchParts, Session, StageSpec, StepReport, TrialLabel,
    clip_gradients, evaluate,
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
    let mut data: BTreeMap<String, Rc<Splits>> = BTreeMap::new();
    let mut all: Vec<Finished> = Vec::new();
    let mut identities: Vec<Identity> = Vec::new();
    for (index, trial) in plan.trials.iter().enumerate() {
        let key = trial.settings["dataset"].to_string();
        let splits = match data.get(&key) {
            Some(splits) => Rc::clone(splits),
            None => {
                let opened = Rc::new(trial.manifest.dataset.open(&context.store)?);
                data.insert(key, Rc::clone(&opened));
                opened
            }
        };
        let taken = taken_design(trial, &all, &identities);
        let taken_identity = taken.as_ref().map(|taken| taken.identity.clone()).unwrap_or_default();
        let digest = &splits.info.digest;
        let identity = Identity {
            hash: trial_hash(&trial.settings, Some(trial.seed), digest, &taken_identity.hash),
            recipe: trial_hash(&trial.settings, None, digest, &taken_identity.recipe),
        };
        let hash = &identity.hash;
        let folder = context.runs.join(&plan.name).join(format!("{}-s{}-{hash}", trial.folder_name(), trial.seed));
        let label = TrialLabel { index, count: plan.trials.len(), title: trial.title() };
        let finished = |outcome, cached| Finished { title: trial.title(), folder: folder.clone(), outcome, cached };
        let outcome = match taken.map(|taken| taken.design).transpose() {
            Err(error) => finished(Err(error), false),
            Ok(design_file) => {
                let result = folder.join(files::RESULT);
                match record::read::<Outcome>(&result).map(|rows| rows.into_iter().next()) {
                    Ok(Some(outcome)) => finished(Ok(outcome), true),
                    _ => {
                        let job = Job { plan, trial, splits: &splits, identity: &identity, label: &label, context };
                        let outcome = guarded(|| job.run(&folder, design_file.as_deref()));
                        if let Err(Error::Interrupted) = outcome {
                            return Err(Error::Interrupted);
                        }
                        finished(outcome, false)
                    }
                }
            }
        };
        identities.push(identity);
        all.push(outcome);
    }
    Ok(all)
}

/// What a trial is called by.
#[derive(Clone, Default)]
struct Identity {
    /// Hash of the work.
    hash: String,
    /// The same without the seed.
    recipe: String,
}

/// A design that comes from a file or another trial.
struct TakenDesign {
    /// The file, or why the trial that should have found it did not.
    design: Result<PathBuf>,
    /// What stands for it in the hash: it is known before the design is.
    identity: Identity,
}

fn taken_design(trial: &Trial, done: &[Finished], identities: &[Identity]) -> Option<TakenDesign> {
    if let Some(source) = trial.depends_on {
        let design = match &done[source].outcome {
            Ok(_) => Ok(done[source].folder.join(files::DESIGN)),
            Err(error) => Err(Error::Plugin {
                kind: "design",
                name: done[source].title.clone(),
                message: format!("its trial failed: {error}"),
            }),
        };
        let keep = json!(trial.manifest.design.as_ref().map(|design| &design.keep));
        let identity =
            |of: &Identity| Identity { hash: format!("{}:{keep}", of.hash), recipe: format!("{}:{keep}", of.recipe) };
        return Some(TakenDesign { design, identity: identity(&identities[source]) });
    }
    let source = trial.manifest.design.as_ref()?;
    let file = source.file.as_ref()?;
    let identity =
        Design::read(file).map(|design| format!("{}:{}", design.to_toml(), json!(source.keep))).unwrap_or_default();
    Some(TakenDesign { identity: Identity { hash: identity.clone(), recipe: identity }, design: Ok(file.clone()) })
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
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown failure");
        Err(Error::Tensor(text.lines().next().unwrap_or_default().to_owned()))
    })
}

struct Job<'a> {
    plan: &'a Plan,
    trial: &'a Trial,
    splits: &'a Splits,
    identity: &'a Identity,
    label: &'a TrialLabel,
    context: &'a Context<'a>,
}

impl Job<'_> {
    fn run(&self, path: &Path, design_file: Option<&Path>) -> Result<Outcome> {
        let folder = TrialFolder::lock(path)?;
        let shown = design_file.map(|file| seen_from(path, file));
        let manifest_text = self.trial.manifest_toml(shown.as_deref());
        write_atomically(&folder.file(files::MANIFEST), manifest_text.as_bytes())?;
        let log = Log::open(&folder.file(files::LOG), self.context.observer)?;
        log.line(
            "start",
            json!({ "trial": self.label.title, "program": env!("CARGO_PKG_VERSION"), "process": std::process::id() }),
        );
        let outcome = self.stages(&folder, design_file, &log);
        match &outcome {
            Ok(outcome) => log.line("finished", json!(outcome)),
            Err(error) => log.line("failed", json!(error.to_string())),
        }
        outcome
    }

    fn stages(&self, folder: &TrialFolder, design_file: Option<&Path>, log: &Log) -> Result<Outcome> {
        let (context, seed) = (self.context, self.trial.seed);
        let mut session =
            Session::open(self.splits, context.device, seed, folder.path(), self.label, log, context.stop)?;
        let written = folder.file(files::DESIGN);
        // Only a checkpoint of retraining vouches for the design beside it. With any other, what is left of the search is done
        // (nothing, where its last stage is finished), so that its epochs are in the history.
        let design = if session.resumed_in("retrain") && written.exists() {
            Design::read(&written)?
        } else {
            let design = match design_file {
                Some(file) => self.take_over(Design::read(file)?)?,
                None => self.search(&mut session)?,
            };
            write_atomically(&written, design.to_toml().as_bytes())?;
            design
        };
        let (network, parameters) = self.build(&design)?;
        self.retrain(&mut session, network.as_ref(), &parameters, design.timesteps)?;
        self.measure(&session, network.as_ref(), &design, folder)
    }

    fn manifest(&self) -> &Manifest {
        &self.trial.manifest
    }

    /// The parts of a given design that the manifest keeps.
    fn take_over(&self, given: Design) -> Result<Design> {
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
        Ok(Design { version: design::VERSION, timesteps, compression, ..given })
    }

    fn search(&self, session: &mut Session) -> Result<Design> {
        let manifest = self.manifest();
        let (Some(optimizer), Some(training)) = (&manifest.optimizer, &manifest.search) else {
            return Err(Error::Plugin {
                kind: "optimizer",
                name: "-".into(),
                message: "a search needs the sections [optimizer] and [search]".into(),
            });
        };
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, self.trial.seed, self.context.device);
        let gate = manifest.timesteps.attach(&mut build.at("timesteps"))?;
        let supernet = manifest.space.supernet(&self.splits.info, &manifest.compressors(), &mut build)?;
        session.begin("search", &parameters)?;
        let parts = SearchParts {
            space: manifest.space.typetag_name(),
            supernet: supernet.as_ref(),
            gate: gate.as_ref(),
            parameters: &parameters,
            training,
            max_timesteps: manifest.timesteps.max(),
        };
        optimizer.search(&mut Search::new(parts, session))
    }

    fn build(&self, design: &Design) -> Result<(Box<dyn Network>, Parameters)> {
        let manifest = self.manifest();
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, self.trial.seed, self.context.device);
        let network = manifest.space.network(design, &self.splits.info, &manifest.compressors(), &mut build)?;
        Ok((network, parameters))
    }

    /// Trains weights and scores of the final network by SGD (paper, Section 4.1).
    fn retrain(
        &self,
        session: &mut Session,
        network: &dyn Network,
        parameters: &Parameters,
        timesteps: i64,
    ) -> Result<()> {
        let training = &self.manifest().retrain;
        let device = self.context.device;
        session.begin("retrain", parameters)?;
        let algorithm = Algorithm::Sgd { momentum: training.momentum, weight_decay: training.weight_decay };
        let rate = Rate::Cosine { start: training.learning_rate, end: training.learning_rate_end };
        let mut descents = [Descent::new("weights", parameters, &[Role::Weight, Role::Score], algorithm, rate)];
        let spec = StageSpec { name: "retrain".into(), epochs: training.epochs, batch_size: training.batch_size };
        let pass = Pass { timesteps, training: true, measure: false, active: Stages::ALL };
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
            Ok(StepReport { loss, logits: logits.detach() })
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
        let begin = Instant::now();
        let device = self.context.device;
        let pass = Pass { timesteps: design.timesteps, training: false, measure: true, active: Stages::ALL };
        let splits = self.splits;
        let measured = evaluate(network, &splits.test, &splits.normalisation, pass, device);
        let evaluate_seconds = begin.elapsed().as_secs_f64();
        let rows = layer_rows(network, &measured.activity, design.timesteps);
        record::write(&folder.file(files::LAYERS), &rows)?;

        let stored: Vec<&Layer> = rows.iter().filter(|row| row.place != Place::Auxiliary.group()).collect();
        let sum = |value: fn(&Layer) -> f64| stored.iter().map(|row| value(row)).sum::<f64>();
        let count = |value: fn(&Layer) -> i64| stored.iter().map(|row| value(row)).sum::<i64>();
        let seconds = |search: bool| {
            let of_stage = session.history().iter().filter(|row| (row.stage != "retrain") == search);
            of_stage.map(|row| row.seconds).fold(0.0, |sum, seconds| sum + seconds)
        };
        let epochs =
            |search: bool| session.history().iter().filter(|row| (row.stage != "retrain") == search).count() as i64;
        let (weight_bits, kept_weights) = (sum(|row| row.memory_bits), count(|row| row.kept_weights));
        let (syn_ops, multiplications) = (sum(|row| row.syn_ops), sum(|row| row.multiplications));
        let point: Vec<String> = self.trial.point.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let outcome = Outcome {
            experiment: self.plan.name.clone(),
            variant: self.trial.variant.clone(),
            seed: self.trial.seed as i64,
            hash: self.identity.hash.clone(),
            recipe: self.identity.recipe.clone(),
            profile: self.plan.profile.clone().unwrap_or_default(),
            point: point.join(", "),
            dataset: splits.info.title.clone(),
            data_digest: splits.info.digest.clone(),
            test_accuracy: measured.accuracy,
            test_loss: measured.loss,
            timesteps: design.timesteps,
            mean_bits: weight_bits / (kept_weights.max(1)) as f64,
            weights: count(|row| row.weights),
            kept_weights,
            weight_bits,
            model_size_bytes: cost::model_size_bytes(weight_bits, network.full_precision_parameters()),
            syn_ops,
            bit_syn_ops: sum(|row| row.bit_syn_ops),
            multiplications,
            energy_mj: cost::energy_mj(syn_ops, multiplications),
            search_seconds: seconds(true),
            retrain_seconds: seconds(false),
            evaluate_seconds,
            search_epochs: epochs(true),
            retrain_epochs: epochs(false),
            device: device::name(device),
            threads: i64::from(tch::get_num_threads()),
            peak_memory_bytes: device::peak_memory() as i64,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            finished_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64),
        };
        record::write(&folder.file(files::RESULT), std::slice::from_ref(&outcome))?;
        Ok(outcome)
    }
}

/// The layers of a network with their cost, for the record.
fn layer_rows(network: &dyn Network, activity: &[Tensor], timesteps: i64) -> Vec<Layer> {
    tch::no_grad(|| {
        let counted = Tensor::ones([timesteps], (Kind::Double, Device::Cpu));
        let number = |tensor: &Tensor| tensor.double_value(&[]);
        let layers = network.layers();
        let rows = layers.iter().enumerate().map(|(index, synapses)| {
            let activity = activity.get(index).map(|rate| rate.to_device(Device::Cpu));
            let LayerCost { shape, bits, memory_bits, syn_ops, bit_syn_ops, multiplications, .. } =
                cost::layer(synapses, Stages::ALL, activity.as_ref(), &counted);
            let value = synapses.weight.value(Stages::ALL);
            Layer {
                index: index as i64,
                place: shape.place.group(),
                kernel_height: shape.kernel.0,
                kernel_width: shape.kernel.1,
                inputs: shape.inputs,
                outputs: shape.outputs,
                map_height: shape.map.0,
                map_width: shape.map.1,
                weights: shape.weights() as i64,
                kept_weights: value.count_nonzero(None::<i64>).int64_value(&[]),
                bits: number(&bits),
                memory_bits: number(&memory_bits),
                macs: shape.macs(),
                firing_rate: match (shape.reads, &activity) {
                    (cost::Input::Spikes, Some(rate)) => {
                        Vec::<f64>::try_from(rate.to_kind(Kind::Double)).unwrap_or_default()
                    }
                    _ => Vec::new(),
                },
                syn_ops: number(&syn_ops),
                bit_syn_ops: number(&bit_syn_ops),
                multiplications,
                layer: shape.name,
            }
        });
        rows.collect()
    })
}
