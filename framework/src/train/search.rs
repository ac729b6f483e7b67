//! The optimizer plugin's trait, and what it is handed: a supernet, its parameters by role, the data, the losses.

use tch::{Kind, Tensor};

use super::{Algorithm, Batch, Descent, EpochNotes, Rate, Session, StageSpec, StepReport, evaluate};
use crate::Result;
use crate::cost;
use crate::design::{self, Design};
use crate::manifest::Training;
use crate::plugin::{
    Parameters, Pass, Response, Role, Stages, Supernet, TimestepGate, exceedance, prefix_cross_entropy,
};

/// An optimizer: it searches a supernet and returns the design it found. It decides which roles of parameters move when.
#[typetag::serde]
pub trait Optimizer: std::fmt::Debug + Send + Sync {
    /// Searches.
    fn search(&self, search: &mut Search) -> Result<Design>;
}

/// The supernet and what belongs to it.
pub struct SearchParts<'a> {
    /// Name of the space.
    pub space: &'a str,
    /// The network that contains every architecture.
    pub supernet: &'a dyn Supernet,
    /// The timestep searcher's trainable part.
    pub gate: &'a dyn TimestepGate,
    /// All tensors.
    pub parameters: &'a Parameters,
    /// `[search]`
    pub training: &'a Training,
    /// The largest number of timesteps.
    pub max_timesteps: i64,
}

/// The terms of the loss (paper, Eq. 15), scalars.
pub struct Losses {
    /// L_CE: cross-entropy of prefix-averaged logits, weighted over numbers of timesteps (Eq. 17).
    pub cross_entropy: Tensor,
    /// L_mem: expected weight storage of the searched layers in bits (Eq. 18), f64.
    pub memory: Tensor,
    /// L_comp: expected Bit-SynOps an image of the searched layers (Eq. 20), f64.
    pub compute: Tensor,
}

/// A search at work.
pub struct Search<'a, 'b> {
    parts: SearchParts<'a>,
    session: &'a mut Session<'b>,
}

impl<'a, 'b> Search<'a, 'b> {
    /// Joins the parts with the session that runs their stages.
    pub fn new(parts: SearchParts<'a>, session: &'a mut Session<'b>) -> Search<'a, 'b> {
        Search { parts, session }
    }

    /// The supernet and what belongs to it.
    pub fn parts(&self) -> &SearchParts<'a> {
        &self.parts
    }

    /// SGD on the weights as `[search]` says.
    pub fn weight_descent(&self) -> Descent {
        let training = self.parts.training;
        self.descent(
            "weights",
            &[Role::Weight],
            Algorithm::Sgd { momentum: training.momentum, weight_decay: training.weight_decay },
            Rate::Cosine { start: training.learning_rate, end: training.learning_rate_end },
        )
    }

    /// A descent over the parameters of some roles.
    pub fn descent(&self, name: &str, roles: &[Role], algorithm: Algorithm, rate: Rate) -> Descent {
        Descent::new(name, self.parts.parameters, roles, algorithm, rate)
    }

    /// Runs a stage of the search. `step` is called for each batch with the epoch (from 0) and `descents`.
    pub fn stage(
        &mut self,
        name: &str,
        epochs: usize,
        active: Stages,
        descents: &mut [Descent],
        mut step: impl FnMut(&SearchParts, &Batch, usize, &mut [Descent]) -> Result<StepReport>,
    ) -> Result<()> {
        let parts = &self.parts;
        let spec = StageSpec { name: name.to_owned(), epochs, batch_size: parts.training.batch_size };
        let (splits, device) = (self.session.splits, self.session.device);
        self.session.stage(
            &spec,
            parts.parameters,
            descents,
            |batch, epoch, descents| step(parts, batch, epoch, descents),
            |epoch| parts.notes(epoch, active, splits, device),
        )
    }

    /// The design that the supernet and the gate decode to now.
    pub fn decode(&self) -> Design {
        let parts = &self.parts;
        Design {
            version: design::VERSION,
            space: parts.space.to_owned(),
            timesteps: parts.gate.decide(),
            edges: parts.supernet.decode().edges,
            compression: parts.supernet.decisions(),
        }
    }
}

impl SearchParts<'_> {
    /// A training pass of the supernet over all timesteps.
    pub fn forward(&self, batch: &Batch, active: Stages, measure: bool) -> Response {
        let pass = Pass { timesteps: self.max_timesteps, training: true, measure, active };
        self.supernet.forward(&batch.images, &pass)
    }

    /// L_CE alone, in `epoch` (from 0).
    pub fn cross_entropy(&self, response: &Response, batch: &Batch, epoch: usize) -> Tensor {
        let weights = self.gate.weights(epoch);
        (prefix_cross_entropy(&response.logits, &batch.labels) * weights).sum(Kind::Float)
    }

    /// All terms; the response has to be measured.
    pub fn losses(&self, response: &Response, batch: &Batch, epoch: usize, active: Stages) -> Losses {
        let counted = exceedance(&self.gate.weights(epoch));
        let (memory, compute) = cost::search_terms(&self.supernet.layers(), active, &response.activity, &counted);
        Losses { cross_entropy: self.cross_entropy(response, batch, epoch), memory, compute }
    }

    fn notes(&self, epoch: usize, active: Stages, splits: &crate::plugin::Splits, device: tch::Device) -> EpochNotes {
        tch::no_grad(|| {
            let network: &dyn crate::plugin::Network = self.supernet;
            let pass = Pass { timesteps: self.max_timesteps, training: false, measure: true, active };
            let measured = evaluate(network, &splits.validation, &splits.normalisation, pass, device);
            let weights = self.gate.weights(epoch);
            let layers = self.supernet.layers();
            let (memory, compute) = cost::search_terms(&layers, active, &measured.activity, &exceedance(&weights));
            let (mut bits, mut count) = (0.0, 0.0);
            for layer in layers.iter().filter(|layer| layer.searched) {
                bits += layer.weight.bits(active).double_value(&[]) * layer.shape.weights();
                count += layer.shape.weights();
            }
            EpochNotes {
                validation: (measured.loss, measured.accuracy),
                cost: Some((memory.double_value(&[]), compute.double_value(&[]), bits / f64::max(count, 1.0))),
                timestep_weights: Vec::<f64>::try_from(weights.to_kind(Kind::Double)).unwrap_or_default(),
            }
        })
    }
}
