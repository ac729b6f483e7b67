//! Candidates: architectures that a search tries one after another, and what it believes of each.
//!
//! ```text
//! candidate n    final network of the architecture, trained from new weights as [search] says     Search::train_candidate
//!                path of the architecture in the supernet, whose weights all candidates share      Search::try_path
//!                network of the architecture before it is trained, which a score judges            Search::try_score
//! belief         accuracy, spikes, Bit-SynOps on the validation images; size of the final network; or the score alone
//! ```
//!
//! A trained candidate is a stage of the trial, `candidate 17`, with its epochs in the history. What
//! is believed of a candidate is a row of `candidates.parquet`, and every checkpoint holds the rows
//! so far. So an interrupted search finds again what it knew, trains on where it was, and ends as if
//! nothing had happened.

use super::{Open, Phase, Regime, Search, Searched, evaluate};
use crate::ground::device::Stopwatch;
use crate::network::cost::{CostModel, model_size_bytes};
use crate::network::{
    Architecture, Compression, CostConstants, Design, Network, Pass, Path, SpikeCount, SpikeTap, Techniques,
};
use crate::record::{CandidateRow, Stage};
use crate::{Error, Result};

/// How many networks a search trains one after another, at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainedCandidates {
    /// Their number.
    pub count: usize,
    /// Seconds of the device after which none begins; infinite without a limit.
    pub device_seconds: f64,
}

impl Search<'_, '_> {
    /// The candidates so far, in order.
    pub fn candidates(&self) -> &[CandidateRow] {
        &self.session.candidates()[..self.tried]
    }

    /// Whether networks of candidates were trained in the place of the supernet.
    pub fn has_trained_candidates(&self) -> bool {
        self.trained_candidates
    }

    /// Epochs of all stages of the search so far, and the seconds of the device that these and
    /// deciding outside of them took.
    pub fn spent(&self) -> (usize, f64) {
        let of_search = || self.session.history().iter().filter(|row| row.stage.is_search());
        let trained: f64 = of_search().map(|row| row.device_seconds).sum();
        (of_search().count(), trained + self.session.deciding().device_seconds)
    }

    /// Refuses data without validation images: nothing could be believed of a candidate.
    pub fn require_validation(&self) -> Result<()> {
        if !self.session.splits.validation.is_empty() {
            return Ok(());
        }
        let why = "a search that tries candidates measures them on validation images, and the data have none";
        Err(Error::design(format!("{why}; give the data set a validation split")))
    }

    /// Whether the trial is only rehearsed: its stages end early, and what they find is nothing.
    pub fn is_rehearsal(&self) -> bool {
        self.session.is_shortened()
    }

    /// Gives every candidate its fitness, in their order, for the record.
    pub fn rate(&mut self, fitness: &[f64]) -> Result<()> {
        self.session.rate_candidates(fitness)
    }

    /// The next candidate: the final network of an architecture, with all compression and the
    /// timesteps open, which `train` trains from new weights in a stage of the name that it is given.
    /// It is measured afterwards. The network that was searched before is gone.
    ///
    /// # Errors
    ///
    /// What `train` returns; and the data has to have validation images.
    pub fn train_candidate(
        &mut self,
        architecture: &Architecture,
        train: impl FnOnce(&mut Search, &str) -> Result<()>,
    ) -> Result<()> {
        let number = self.tried + 1;
        let name = Phase::Candidate(number).to_string();
        let stage = Stage::step(&name)?;
        self.trained_candidates = true;
        if !(self.session.is_finished(&stage) && self.knows(number, architecture)) {
            let open = self.build(architecture, &Compression::new())?;
            self.replace(open);
            let design = Design::new(architecture.clone(), self.timesteps(), Compression::new());
            self.session.begin(Phase::Candidate(number), &design.to_toml(), &self.parts.open.parameters)?;
            train(self, &name)?;
            let rows = self.session.history().iter();
            let epochs = rows.filter(|row| row.stage == stage).count();
            let row = self.session.count_deciding(|| self.believe(number, self.decode(), None, epochs))?;
            self.session.keep_candidate(row)?;
        }
        self.tried = number;
        Ok(())
    }

    /// The next candidate: the path of an architecture in the supernet, which is measured as the
    /// supernet is trained now.
    ///
    /// # Errors
    ///
    /// A space whose supernet runs no paths; and the data has to have validation images.
    pub fn try_path(&mut self, architecture: &Architecture) -> Result<()> {
        let number = self.tried + 1;
        if !self.knows(number, architecture) {
            let path = self.path(architecture)?;
            let decoded = self.decode();
            let design = Design::new(architecture.clone(), decoded.timesteps, decoded.compression);
            let row = self.session.count_deciding(|| self.believe(number, design, Some(&path), 0))?;
            self.session.keep_candidate(row)?;
        }
        self.tried = number;
        Ok(())
    }

    /// The next candidate: an architecture that is believed by a `score` of the optimizer's own before
    /// it is trained. The score is its fitness, and nothing else is measured.
    ///
    /// # Errors
    ///
    /// What `score` returns.
    pub fn try_score(&mut self, architecture: &Architecture, score: impl FnOnce(&Self) -> Result<f64>) -> Result<()> {
        let number = self.tried + 1;
        if !self.knows(number, architecture) {
            let watch = Stopwatch::start(self.session.device);
            let fitness = self.session.count_deciding(|| score(self))?;
            let design = Design::new(architecture.clone(), self.timesteps(), Compression::new());
            self.session.keep_candidate(CandidateRow {
                candidate: number as i64,
                design: design.to_toml(),
                epochs: 0,
                validation_loss: f64::NAN,
                validation_accuracy: f64::NAN,
                spikes: f64::NAN,
                bit_syn_ops: f64::NAN,
                model_size_bytes: f64::NAN,
                fitness,
                device_seconds: watch.device(),
            })?;
        }
        self.tried = number;
        Ok(())
    }

    /// The path of an architecture in the supernet.
    pub fn path(&self, architecture: &Architecture) -> Result<Path> {
        match &self.parts.open.network {
            _ if self.space.fixed().is_some() => Ok(Path::whole()),
            Searched::Supernet(supernet) => supernet.path(architecture),
            Searched::Settled(..) => Err(Error::design("the network of one architecture has no other path")),
        }
    }

    /// Whether a candidate of this number was measured before an interruption. It is one of the same
    /// architecture, unless the program is another one.
    fn knows(&self, number: usize, architecture: &Architecture) -> bool {
        let known = self.session.candidates().get(number - 1);
        known.is_some_and(|row| {
            let design = Design::parse(&row.design, std::path::Path::new("candidates.parquet"));
            design.is_ok_and(|design| design.architecture() == *architecture)
        })
    }

    /// Goes on with another network, of which nothing was trained.
    fn replace(&mut self, open: Open) {
        self.parts.open = open;
        self.trained_at = None;
        self.scheduled = Techniques::NONE;
    }

    /// Measures a candidate on the validation images, with everything that compresses it.
    fn believe(&self, number: usize, design: Design, path: Option<&Path>, epochs: usize) -> Result<CandidateRow> {
        self.require_validation()?;
        let splits = self.session.splits;
        let device = self.session.device;
        let watch = Stopwatch::start(device);
        let spikes = SpikeCount::default();
        let add = |fired: &tch::Tensor| spikes.add(fired);
        let regime = Regime { timesteps: design.timesteps, path, ..self.parts.whole() };
        let pass = Pass { measure: true, tap: Some(SpikeTap(&add)), ..self.parts.pass(regime) };
        let network = self.parts.network();
        let measured = evaluate(network, &splits.validation, &splits.normalisation, pass, device, None)?;
        let counted = tch::Tensor::ones([design.timesteps], (tch::Kind::Float, device));
        // All layers are counted, and the supernet's own constants are those of the searched ones.
        let model = CostModel { constants: &CostConstants::default(), ..self.parts.cost_model(regime, &counted) };
        let costs = tch::no_grad(|| model.layers(&network.layers(), &measured.activity));
        let model_size_bytes = match path {
            None => model_size(network, &counted),
            Some(_) => model_size(self.build(&design.architecture(), &design.compression)?.network.network(), &counted),
        };
        Ok(CandidateRow {
            candidate: number as i64,
            design: design.to_toml(),
            epochs: epochs as i64,
            validation_loss: measured.loss,
            validation_accuracy: measured.accuracy,
            spikes: spikes.total() / splits.validation.len() as f64,
            bit_syn_ops: sum(&costs.bit_syn_ops),
            model_size_bytes,
            fitness: f64::NAN,
            device_seconds: watch.device(),
        })
    }
}

/// The paper's model size of a network.
fn model_size(network: &dyn Network, counted: &tch::Tensor) -> f64 {
    let constants = CostConstants::default();
    let model = CostModel::of(network, Techniques::ALL, counted, &constants);
    let bits = tch::no_grad(|| sum(&model.layers(&network.layers(), &[]).memory_bits));
    model_size_bytes(bits, network.full_precision_parameters())
}

fn sum(of: &tch::Tensor) -> f64 {
    of.sum(tch::Kind::Double).double_value(&[])
}
