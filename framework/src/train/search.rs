//! The optimizer plugin's trait, and what it is handed: a network with open decisions, its
//! parameters by role, the data, the losses.

use std::num::NonZeroUsize;

use tch::{Kind, Tensor};

use super::{
    Algorithm, Batch, Descent, EpochNotes, HeldOut, OpenDecisions, Phase, Rate, Refused, Schedules, Session, StageSpec,
    StepReport, TrainedCandidates, Training, evaluate,
};
use crate::Result;
use crate::ground::file::write_atomically;
use crate::ground::{Parameters, Role, Stream};
use crate::network::cost::{CostModel, dense_terms};
use crate::network::{
    Architecture, Compression, CostConstants, Design, Inheritance, NEVER, Network, Pass, Path, Response, SearchSpace,
    Supernet, Techniques, Ticket, TimestepGate, exceedance,
};
use crate::record::{Stage, files};
use crate::spiking::Recorder;

/// An optimizer: it searches a supernet and returns the design it found. It decides which roles of
/// parameters move when.
#[typetag::serde]
pub trait Optimizer: std::fmt::Debug + Send + Sync {
    /// Searches.
    fn search(&self, search: &mut Search) -> Result<Found>;

    /// The roles of parameters that a search moves.
    fn moves(&self) -> Vec<Role> {
        Role::ALL.to_vec()
    }

    /// The roles of the logits whose decisions a search makes: by moving them, or in another way.
    fn decides(&self) -> Vec<Role> {
        self.moves()
    }

    /// The decisions that the settings leave to chance on purpose, by the roles of their logits.
    fn controls(&self) -> Vec<Role> {
        Vec::new()
    }

    /// Epochs of a whole trial whose `[search]` and `[retrain]` have so many, at most: for who looks at
    /// its progress.
    fn epochs(&self, search: usize, retrain: usize) -> usize {
        search + retrain
    }

    /// The networks of candidates that it trains one after another, where it does so; its `[search]` has
    /// so many epochs: for who estimates time and memory.
    fn trains(&self, _epochs: usize) -> Option<TrainedCandidates> {
        None
    }

    /// Whether it runs a supernet along the paths of architectures, whatever its settings, so that the
    /// space has to run them ([`SearchSpace::runs_paths`]).
    fn needs_paths(&self) -> bool {
        false
    }

    /// Whether what it finds is retrained from new weights, as `[retrain]` says: no where the search
    /// itself trains the final weights ([`Found::trained`]).
    fn retrains(&self) -> bool {
        true
    }

    /// Whether the supernet is still there when its search ends, with trained weights, so that
    /// retraining can begin with them ([`Beginning::Search`](super::Beginning)).
    fn keeps_supernet(&self) -> bool {
        false
    }

    /// The setting by which it asks for the training images that `samples` of `[search]` leaves out
    /// ([`Search::held_out`]), where it does: then some have to be left.
    fn holds_out(&self) -> Option<&'static str> {
        None
    }

    /// Refuses settings that would leave a decision to chance, and those that nothing reads. It is
    /// asked before anything runs.
    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        open.check_warmup(&self.controls())
    }
}

/// What a search found.
pub struct Found {
    /// The design.
    pub design: Design,
    /// The weights that it was found with, when they are the final ones: nothing is retrained then.
    pub trained: Option<Parameters>,
    /// The masks that the optimizer has written ([`Search::ticket`]); they travel with the design.
    pub ticket: Option<Ticket>,
    /// What retraining begins with, where the manifest says that this is the supernet.
    pub inheritance: Option<Inheritance>,
}

impl From<Design> for Found {
    /// A design that is to be retrained from new weights.
    fn from(design: Design) -> Found {
        Found { design, trained: None, ticket: None, inheritance: None }
    }
}

/// What is still open in a network, and its parameters.
pub struct Open {
    /// The network.
    pub network: Searched,
    /// The timestep searcher's trainable part.
    pub gate: Box<dyn TimestepGate>,
    /// All tensors.
    pub parameters: Parameters,
    /// What its cost terms keep on the device from step to step.
    pub constants: CostConstants,
}

impl Open {
    /// A network, its gate and their tensors.
    pub fn new(network: Searched, gate: Box<dyn TimestepGate>, parameters: Parameters) -> Open {
        Open { network, gate, parameters, constants: CostConstants::default() }
    }
}

/// A network with open decisions.
pub enum Searched {
    /// It contains every architecture.
    Supernet(Box<dyn Supernet>),
    /// The final network of one architecture, where compression and timesteps may be open.
    Settled(Architecture, Box<dyn Network>),
}

impl Searched {
    /// The network.
    pub fn network(&self) -> &dyn Network {
        match self {
            Searched::Supernet(supernet) => supernet.as_ref(),
            Searched::Settled(_, network) => network.as_ref(),
        }
    }

    fn architecture(&self) -> Architecture {
        match self {
            Searched::Supernet(supernet) => supernet.decode(),
            Searched::Settled(architecture, _) => architecture.clone(),
        }
    }
}

/// What acts in a training pass of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regime<'p> {
    /// Techniques of compression that act.
    pub active: Techniques,
    /// Timesteps that are run.
    pub timesteps: i64,
    /// Whether the gate weighs the numbers of timesteps.
    pub gating: Gating,
    /// The operations of a supernet that are computed ([`Pass::path`]); in the regime of a stage,
    /// those that are validated.
    pub path: Option<&'p Path>,
}

/// What becomes of the gate in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gating {
    /// It is left out: all timesteps of the regime count.
    Off,
    /// It weighs the numbers of timesteps, after its warm-up epochs.
    Warming,
    /// It weighs them from the first epoch on: the weights were trained before.
    Warm,
}

/// The network that is searched and what belongs to it.
pub struct SearchParts<'a> {
    /// The network and its tensors.
    pub open: Open,
    /// How its weights are trained: `[search]` for a supernet, `[retrain]` for a settled
    /// architecture.
    pub training: &'a Training,
    /// The largest number of timesteps.
    pub max_timesteps: i64,
    /// Told of every convolution of a training pass and of an evaluation.
    pub recorder: Option<&'a Recorder>,
}

/// The terms of the loss (paper, Eq. 15), scalars.
pub struct Losses {
    /// L_CE: cross-entropy of prefix-averaged logits, weighted over numbers of timesteps (Eq. 17), or
    /// the loss that the manifest has in its place.
    pub cross_entropy: Tensor,
    /// L_mem: expected weight storage of the searched layers in bits (Eq. 18), f64.
    pub memory: Tensor,
    /// L_comp: expected Bit-SynOps an image of the searched layers (Eq. 20), f64.
    pub compute: Tensor,
}

/// Builds the final network of an architecture with the given decisions, what is not decided left
/// open.
pub type Settle<'a> = dyn Fn(&Architecture, &Compression, Extent) -> Result<Open> + 'a;

/// How far a network is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// To be run.
    Whole,
    /// To be counted: its parameters have a shape and no memory ([`Build::outline`]).
    ///
    /// [`Build::outline`]: crate::ground::Build::outline
    Outline,
}

/// A search at work.
pub struct Search<'a, 'b> {
    pub(super) parts: SearchParts<'a>,
    pub(super) space: &'a dyn SearchSpace,
    retrain: &'a Training,
    pub(super) settle: &'a Settle<'a>,
    /// What is decided and no longer open in the network.
    decided: Compression,
    /// The number of timesteps, once it is decided.
    timesteps: Option<i64>,
    /// Timesteps of the last stage of this network: its running statistics are taken over them.
    pub(super) trained_at: Option<i64>,
    /// Techniques that acted in a stage of this network: their schedules are done.
    pub(super) scheduled: Techniques,
    /// Candidates that were tried so far.
    pub(super) tried: usize,
    /// Whether networks of candidates were trained in the place of the supernet.
    pub(super) trained_candidates: bool,
    /// Whether steps do not make the same operations on the same memory: a GPU then replays none.
    pub(super) varies: bool,
    pub(super) session: &'a mut Session<'b>,
}

impl<'a, 'b> Search<'a, 'b> {
    /// Joins the supernet of `space` with the session that runs its stages. `retrain` and `settle`
    /// serve [`Search::settle`].
    pub fn new(
        parts: SearchParts<'a>,
        space: &'a dyn SearchSpace,
        retrain: &'a Training,
        settle: &'a Settle<'a>,
        session: &'a mut Session<'b>,
    ) -> Result<Search<'a, 'b>> {
        session.begin(Phase::Search, "", &parts.open.parameters)?;
        let (decided, scheduled) = (Compression::new(), Techniques::NONE);
        Ok(Search {
            parts,
            space,
            retrain,
            settle,
            decided,
            timesteps: None,
            trained_at: None,
            scheduled,
            tried: 0,
            trained_candidates: false,
            varies: false,
            session,
        })
    }

    /// The search space.
    pub fn space(&self) -> &'a dyn SearchSpace {
        self.space
    }

    /// The random stream of this search for a purpose and an index, under the seed of the trial. An
    /// interrupted search opens the same streams again.
    pub fn stream(&self, purpose: &str, index: u64) -> Stream {
        Stream::open(self.session.seed, &format!("search/{purpose}"), index)
    }

    /// Random architecture number `index` of the space: the same at every call.
    pub fn sample(&self, index: u64) -> Architecture {
        self.space.sample(&mut self.stream("sample", index))
    }

    /// The final network of an architecture, from new weights, with the timesteps open. A compressor
    /// finds its decisions in `compression`, and what it does not find there is open. The network
    /// that is searched stays as it is.
    pub fn build(&self, architecture: &Architecture, compression: &Compression) -> Result<Open> {
        (self.settle)(architecture, compression, Extent::Whole)
    }

    /// The seed of the trial.
    pub fn seed(&self) -> u64 {
        self.session.seed
    }

    /// The network and what belongs to it.
    pub fn parts(&self) -> &SearchParts<'a> {
        &self.parts
    }

    /// `[retrain]`
    pub fn retrain(&self) -> &Training {
        self.retrain
    }

    /// The descent of the weights as the manifest says.
    pub fn weight_descent(&self) -> Descent {
        let training = self.parts.training;
        let descent = self.descent("weights", &[Role::Weight], training.weight_algorithm(), training.rate());
        descent.averaged(training.ema, &self.parts.open.parameters)
    }

    /// A descent over the parameters of some roles.
    pub fn descent(&self, name: &str, roles: &[Role], algorithm: Algorithm, rate: Rate) -> Descent {
        Descent::new(name, &self.parts.open.parameters, roles, algorithm, rate)
    }

    /// The number of timesteps that is decided, or the largest one while it is open.
    pub fn timesteps(&self) -> i64 {
        self.timesteps.unwrap_or(self.parts.max_timesteps)
    }

    /// Decides the number of timesteps, for this network and for the one that follows it.
    pub fn decide_timesteps(&mut self) {
        self.timesteps = Some(self.parts.open.gate.decide());
    }

    /// Runs a stage of the search. `step` is called for each batch with the epoch (from 0) and
    /// `descents`.
    pub fn stage(
        &mut self,
        name: &str,
        epochs: usize,
        regime: Regime,
        descents: &mut [Descent],
        step: impl FnMut(&SearchParts, &Batch, usize, &mut [Descent]) -> Result<StepReport>,
    ) -> Result<()> {
        self.stage_until(name, epochs, regime, descents, |_| false, step)
    }

    /// A [`stage`](Search::stage) that `ends` after an epoch (from 0) which it says so of, and at the
    /// latest after all. It is asked once after each epoch: what it goes by from one epoch to the next
    /// has to be [kept](Search::keep).
    pub fn stage_until(
        &mut self,
        name: &str,
        epochs: usize,
        regime: Regime,
        descents: &mut [Descent],
        mut ends: impl FnMut(usize) -> bool,
        mut step: impl FnMut(&SearchParts, &Batch, usize, &mut [Descent]) -> Result<StepReport>,
    ) -> Result<()> {
        self.trained_at = Some(regime.timesteps);
        let parts = &self.parts;
        let schedules = Schedules::of(parts.network(), regime.active, self.scheduled);
        self.scheduled = self.scheduled.and(regime.active);
        let spec = StageSpec { varies: self.varies || regime.path.is_some(), ..parts.stage_spec(name, epochs)? };
        let (splits, device) = (self.session.splits, self.session.device);
        self.session.stage(
            &spec,
            (&parts.open.parameters, &schedules),
            descents,
            |batch, epoch, descents| step(parts, batch, epoch, descents),
            |epoch| Ok(EpochNotes { ends: ends(epoch), ..parts.notes(epoch, regime, splits, device)? }),
        )
    }

    /// Whether the stage of the search of that name has begun already, before an interruption: what
    /// an optimizer does to the network before the stage is then done, and is not done again.
    pub fn has_begun(&self, stage: &str) -> bool {
        self.session.has_begun(&Stage::named(stage))
    }

    /// Adds buffers, by name, to the tensors of this network, on its device: numbers that the
    /// optimizer needs in later stages, changed in place. Where the trial resumes they have the values
    /// of the checkpoint. Called before any stage of the network, and after [`Search::settle`] where
    /// that is called.
    pub fn keep(&mut self, buffers: Vec<(String, Tensor)>) -> Result<Vec<Tensor>> {
        let device = self.session.device;
        let keep = |(name, value): (String, Tensor)| self.parts.open.parameters.keep(name, value.to_device(device));
        let all = buffers.into_iter().map(keep).collect();
        self.session.take_back(&self.parts.open.parameters)?;
        Ok(all)
    }

    /// Images that an epoch of this network trains on.
    pub fn images(&self) -> usize {
        let all = self.session.splits.train.len();
        self.parts.training.samples.map_or(all, |samples| samples.get().min(all))
    }

    /// Tells the user something.
    pub fn note(&self, text: &str) {
        self.session.note(text);
    }

    /// The masks of the network as they are now; `None` where no compressor takes its masks from a
    /// ticket. An optimizer writes them to the [`CompressedWeight::ticket`] of each layer, between
    /// two stages.
    ///
    /// [`CompressedWeight::ticket`]: crate::network::CompressedWeight::ticket
    pub fn ticket(&self) -> Option<Ticket> {
        Ticket::of(self.parts.network())
    }

    /// The training images that the weights do not see in the stage `name`, for its other parameters.
    /// The stage then has no fixed input that a GPU could replay.
    ///
    /// # Errors
    ///
    /// No image is left: `samples` of the section takes all of them.
    pub fn held_out(&mut self, name: &str) -> Result<HeldOut<'b>> {
        self.varies = true;
        let section = if matches!(self.parts.open.network, Searched::Supernet(_)) { "search" } else { "retrain" };
        let spec = self.parts.stage_spec(name, 1)?;
        HeldOut::new(self.session.splits, self.session.device, self.session.seed, spec, section)
    }

    /// Shows `see` the first `count` batches of training images, augmented and in the order of the
    /// stage `name`, which need not exist, and keeps nothing of it. It is done again after an
    /// interruption.
    pub fn show(&self, name: &str, count: usize, mut see: impl FnMut(&SearchParts, &Batch)) -> Result<()> {
        let spec = self.parts.stage_spec(name, 1)?;
        self.session.show(&spec, count, |batch| see(&self.parts, batch))
    }

    /// Tells the transforms of `stages` that they are switched on with the weights as they are now,
    /// unless the stage of the search named `before` has begun already.
    pub fn switch_on(&self, stages: Techniques, before: &str) {
        if self.has_begun(before) {
            return;
        }
        for layer in self.parts.network().layers() {
            layer.weight.switch_on(stages);
        }
    }

    /// `count` batches of training images, the same whenever they are asked for; `purpose` names
    /// their order. A request to stop is the error [`Interrupted`](crate::Error::Interrupted).
    pub fn batches(&self, purpose: &str, images: usize, count: usize) -> Result<Vec<Batch>> {
        let spec = StageSpec { batch_size: images, ..self.parts.stage_spec(purpose, 1)? };
        let mut all = Vec::new();
        let own = |batch: &Batch| Batch {
            images: batch.images.shallow_clone(),
            labels: batch.labels.shallow_clone(),
            number: batch.number,
        };
        self.session.show(&spec, count, |batch| all.push(own(batch)))?;
        Ok(all)
    }

    /// Counts the time of `work` among what designing costs. Stages, candidates and [`Search::show`] count
    /// theirs; a search that works for long outside of them says so.
    pub fn count_deciding<T>(&self, work: impl FnOnce() -> T) -> T {
        self.session.count_deciding(work)
    }

    /// The error [`Interrupted`](crate::Error::Interrupted) where a request to stop is there. A search
    /// that works for long outside of its stages asks now and then.
    pub fn go_on(&self) -> Result<()> {
        self.session.go_on()
    }

    /// Replaces the logits of a role by those of their largest entry alone: a decision that later
    /// stages live with.
    pub fn harden(&self, role: Role) {
        tch::no_grad(|| {
            for parameter in self.parts.open.parameters.of(&[role]) {
                let mut logits = parameter.tensor.shallow_clone();
                let largest = logits.argmax(-1, true);
                let hardened = logits.full_like(NEVER).scatter_value(-1, &largest, 0.0);
                logits.copy_(&hardened);
            }
        });
    }

    /// Continues with the final network of the decoded architecture, trained as `[retrain]` says,
    /// from new weights. What the compressors of `decided` stages decided is kept, and so is the
    /// number of timesteps once it is decided; the rest stays open.
    ///
    /// All of it is read back from the checkpoint where the trial was interrupted afterwards: the
    /// supernet that decided it has no checkpoint any more.
    pub fn settle(&mut self, decided: Techniques) -> Result<()> {
        self.settle_on(decided, |search| Ok(search.parts.open.network.architecture()))
    }

    /// [`Search::settle`] with another architecture than the decoded one: the one that `choose`
    /// returns. It is not asked where the checkpoint has the architecture.
    pub fn settle_on(&mut self, decided: Techniques, choose: impl FnOnce(&Self) -> Result<Architecture>) -> Result<()> {
        let file = self.session.folder().join(files::SETTLED);
        let design = match self.session.resumed_design(Phase::Settled) {
            // The supernet that it was decoded from is no longer there.
            Some(text) => Design::restore(&file, text, |message| self.session.note(message))?,
            None if self.session.resumed_in(Phase::Settled) => Design::read(&file)?,
            None => {
                let compression = self.decisions(decided);
                let Architecture { space, edges } = choose(self)?;
                let design = Design { space, edges, compression, timesteps: self.timesteps(), ..self.decode() };
                write_atomically(&file, design.to_toml().as_bytes())?;
                design
            }
        };
        self.parts.open = self.build(&design.architecture(), &design.compression)?;
        self.parts.training = self.retrain;
        self.timesteps = self.timesteps.map(|_| design.timesteps);
        self.trained_at = None;
        self.scheduled = Techniques::NONE;
        let text = design.to_toml();
        self.decided = design.compression;
        self.session.begin(Phase::Settled, &text, &self.parts.open.parameters)
    }

    fn decisions(&self, stages: Techniques) -> Compression {
        let mut all = self.decided.clone();
        all.extend(self.parts.network().decisions(stages));
        all
    }

    /// The design that the network and the gate decode to now.
    pub fn decode(&self) -> Design {
        let timesteps = self.timesteps.unwrap_or_else(|| self.parts.open.gate.decide());
        Design::new(self.parts.open.network.architecture(), timesteps, self.decisions(Techniques::ALL))
    }

    /// Takes the parameters as they are now: the final weights of the design.
    ///
    /// Where the last stage ran other timesteps than the design has, the running statistics of all
    /// normalisations are first estimated again at those of the design, on 100 batches of training
    /// images and without gradients: the currents of other timesteps have another mean and variance.
    pub fn take_parameters(&mut self) -> Result<Parameters> {
        let timesteps = self.decode().timesteps;
        if self.trained_at.is_some_and(|trained| trained != timesteps) {
            self.estimate_statistics(timesteps)?;
        }
        for layer in self.parts.network().layers() {
            layer.weight.conclude();
        }
        Ok(std::mem::take(&mut self.parts.open.parameters))
    }

    /// Takes the tensors of the supernet as they are now, for the final network of an architecture.
    pub fn take_inheritance(&mut self, architecture: &Architecture) -> Result<Inheritance> {
        let pieces = self.space.inheritance(architecture)?;
        for layer in self.parts.network().layers() {
            layer.weight.conclude();
        }
        let tensors = std::mem::take(&mut self.parts.open.parameters);
        Ok(Inheritance::of(self.parts.network(), tensors, pieces))
    }

    /// Estimates the running statistics of all normalisations at so many timesteps, on training
    /// images and without gradients.
    ///
    /// A timestep's currents are not those of another one, so that mean and variance over T
    /// timesteps are not those over the first few. Passes over [`ESTIMATED`] batches move the
    /// statistics as training does, by 0.1 of the difference each: of what they were, 0.9^100 =
    /// 3e-5 is left.
    fn estimate_statistics(&self, timesteps: i64) -> Result<()> {
        let pass = Pass { training: true, precision: self.parts.training.precision, ..Pass::new(timesteps) };
        let text =
            format!("running statistics are estimated again at {timesteps} of {} timesteps", self.parts.max_timesteps);
        self.session.note(&text);
        self.show("statistics", ESTIMATED, |parts, batch| {
            tch::no_grad(|| drop(parts.network().forward(&batch.images, &pass)));
        })
    }
}

/// Batches over which running statistics are estimated.
const ESTIMATED: usize = 100;

impl SearchParts<'_> {
    /// The network.
    pub fn network(&self) -> &dyn Network {
        self.open.network.network()
    }

    /// All tensors.
    pub fn parameters(&self) -> &Parameters {
        &self.open.parameters
    }

    /// Everything acts, and the gate weighs the numbers of timesteps.
    pub fn whole(&self) -> Regime<'static> {
        Regime { active: Techniques::ALL, timesteps: self.max_timesteps, gating: Gating::Warming, path: None }
    }

    /// The relative weight of each number of timesteps, `[T]`.
    pub(super) fn timestep_weights(&self, epoch: usize, regime: Regime, device: tch::Device) -> Tensor {
        match regime.gating {
            Gating::Off => {}
            Gating::Warming => return self.open.gate.weights(epoch),
            Gating::Warm => return self.open.gate.weights(usize::MAX),
        }
        let last = Tensor::ones([1], (Kind::Float, device));
        Tensor::cat(&[Tensor::zeros([regime.timesteps - 1], (Kind::Float, device)), last], 0)
    }

    fn stage_spec(&self, name: &str, epochs: usize) -> Result<StageSpec> {
        Ok(StageSpec {
            stage: Stage::step(name)?,
            epochs,
            samples: self.training.samples.map(NonZeroUsize::get),
            batch_size: self.training.batch_size,
            augment: self.training.augment,
            varies: false,
        })
    }

    pub(super) fn pass<'p>(&'p self, regime: Regime<'p>) -> Pass<'p> {
        Pass {
            active: regime.active,
            precision: self.training.precision,
            recorder: self.recorder,
            path: regime.path,
            ..Pass::new(regime.timesteps)
        }
    }

    /// A training pass over all timesteps of the regime.
    pub fn forward(&self, batch: &Batch, regime: Regime, measure: bool) -> Response {
        let pass = Pass { training: true, measure, ..self.pass(regime) };
        self.network().forward(&batch.images, &pass)
    }

    /// The logits `[T, B, K]` of an evaluation of the batch: running statistics are used and stay, and
    /// nothing is differentiated.
    pub fn evaluate(&self, batch: &Batch, regime: Regime) -> Tensor {
        tch::no_grad(|| self.network().forward(&batch.images, &self.pass(regime)).logits)
    }

    /// Synaptic operations of each of [`Network::layers`] for an image of the batch (paper, Eq. 12), in
    /// an evaluation over all timesteps of the regime: `[L]`, f64.
    pub fn syn_ops(&self, batch: &Batch, regime: Regime) -> Tensor {
        tch::no_grad(|| {
            let pass = Pass { measure: true, ..self.pass(regime) };
            let activity = self.network().forward(&batch.images, &pass).activity;
            let counted = Tensor::ones([regime.timesteps], (Kind::Double, batch.images.device()));
            self.cost_model(regime, &counted).layers(&self.network().layers(), &activity).syn_ops
        })
    }

    /// L_CE, or the [loss](super::Loss) that the manifest has in its place, with that of an auxiliary
    /// head, in `epoch` (from 0).
    pub fn cross_entropy(&self, response: &Response, batch: &Batch, epoch: usize, regime: Regime) -> Tensor {
        let weights = self.timestep_weights(epoch, regime, batch.images.device());
        let of = |logits: &Tensor| (self.training.prefix_losses(logits, &batch.labels) * &weights).sum(Kind::Float);
        match &response.auxiliary {
            Some((auxiliary, weight)) => of(&response.logits) + of(auxiliary) * *weight,
            None => of(&response.logits),
        }
    }

    /// All terms; the response has to be measured.
    pub fn losses(&self, response: &Response, batch: &Batch, epoch: usize, regime: Regime) -> Losses {
        let counted = exceedance(&self.timestep_weights(epoch, regime, batch.images.device()));
        let model = self.cost_model(regime, &counted);
        let (memory, compute) = model.search_terms(&self.network().layers(), &response.activity);
        Losses { cross_entropy: self.cross_entropy(response, batch, epoch, regime), memory, compute }
    }

    pub(super) fn cost_model<'c>(&'c self, regime: Regime, counted: &'c Tensor) -> CostModel<'c> {
        let whole = CostModel::of(self.network(), regime.active, counted, &self.open.constants);
        match regime.path.and_then(|path| path.presence(counted.device())) {
            Some(presence) => CostModel { presence: Some(presence), ..whole },
            None => whole,
        }
    }

    /// What L_mem and L_comp are for the searched layers in full precision, with nothing pruned and
    /// every neuron firing at every timestep: bits, and bit-operations an image. In these units a
    /// lambda travels between data sets and widths.
    pub fn dense_cost(&self) -> (f64, f64) {
        dense_terms(&self.network().layers(), self.max_timesteps)
    }

    fn notes(
        &self,
        epoch: usize,
        regime: Regime,
        splits: &crate::data::Splits,
        device: tch::Device,
    ) -> Result<EpochNotes> {
        tch::no_grad(|| {
            let pass = Pass { measure: true, ..self.pass(regime) };
            let measured = evaluate(self.network(), &splits.validation, &splits.normalisation, pass, device, None)?;
            let weights = self.timestep_weights(epoch, regime, device);
            let counted = exceedance(&weights);
            let layers = self.network().layers();
            let costs = self.cost_model(regime, &counted).searched(&layers, &measured.activity);
            let values = |of: &Tensor| Vec::<f64>::try_from(of).unwrap_or_default();
            let sum = |of: &Tensor| values(of).into_iter().sum::<f64>();
            let weights_of = layers.iter().filter(|layer| layer.searched).map(|layer| layer.shape.weights());
            let count: f64 = weights_of.clone().sum();
            let bits: f64 = values(&costs.bits).into_iter().zip(weights_of).map(|(bits, weights)| bits * weights).sum();
            Ok(EpochNotes {
                validation: (measured.loss, measured.accuracy),
                // Without validation images no firing rates are known.
                cost: Some((
                    sum(&costs.memory_bits),
                    if splits.validation.is_empty() { f64::NAN } else { sum(&costs.bit_syn_ops) },
                    bits / f64::max(count, 1.0),
                )),
                timestep_weights: Vec::<f64>::try_from(weights.to_kind(Kind::Double)).unwrap_or_default(),
                ends: false,
            })
        })
    }
}
