//! Joint optimisation of architecture, pruning, quantisation and timesteps.
//!
//! Source: LitE-SNN (Liu et al., IJCAI 2024), Section 3.4 and Algorithm 1, Eq. 15.
//!
//! Every step makes two passes over the same batch:
//!
//! ```text
//! 1.  L_CE                                                 moves the weights: SGD, clipped, cosine schedule
//! 2.  L_CE + lambda_memory · L_mem + lambda_compute · L_comp, with the new weights
//!                                                          moves scores and beta (Adam), alpha (Adam), psi (SGD)
//! ```
//!
//! L_mem is in bits, L_comp in bit-operations an image. The authors' program sums L_comp over its batch of 30; their lambda of
//! 5e-14 is 1.5e-12 here. With `lambda_unit = "relative"` both terms are divided by what they are for the same layers in full
//! precision, nothing pruned, every neuron firing at every timestep: then a lambda travels between data sets and widths.
//!
//! A rate of 0 leaves its logits as they are: `architecture_rate = 0` decodes an architecture from the random initial alpha, and
//! is the "joint without A" of an ablation.

use litesnn_framework::plugin::{Optimizer, Role};
use litesnn_framework::train::{Algorithm, Found, Rate, Regime, Search, StepReport, clip_gradients};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Kind;

/// Settings of `joint`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Joint {
    /// Weight of L_mem, per bit (paper, medium: 5e-10).
    #[schemars(range(min = 0.0))]
    pub lambda_memory: f64,
    /// Weight of L_comp, per bit-operation of an image (paper, medium: 1.5e-12).
    #[schemars(range(min = 0.0))]
    pub lambda_compute: f64,
    /// What the lambdas multiply: the terms themselves, or the terms relative to the network's own dense cost.
    pub lambda_unit: Unit,
    /// Adam's learning rate for scores and bit logits (paper: 0.01).
    #[schemars(range(min = 0.0))]
    pub compression_rate: f64,
    /// Adam's learning rate for architecture logits (paper: 0.001).
    #[schemars(range(min = 0.0))]
    pub architecture_rate: f64,
    /// SGD's learning rate for timestep logits, cosine to a twenty-fifth (paper: 0.025).
    #[schemars(range(min = 0.0))]
    pub timestep_rate: f64,
    /// L2 penalty on scores, bit logits and architecture logits (paper: 1e-3).
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
}

/// What a lambda multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bits, and bit-operations an image, as in the paper.
    Absolute,
    /// Fractions of the dense network's bits and bit-operations.
    Relative,
}

impl Default for Joint {
    fn default() -> Self {
        Joint {
            lambda_memory: 5e-10,
            lambda_compute: 1.5e-12,
            lambda_unit: Unit::Absolute,
            compression_rate: 0.01,
            architecture_rate: 0.001,
            timestep_rate: 0.025,
            weight_decay: 1e-3,
        }
    }
}

register! {
    kind: Optimizer,
    name: "joint",
    settings: Joint,
    version: 2,
    summary: "architecture, pruning, bits and timesteps together, in two passes a step",
    paper: "Liu et al., LitE-SNN, IJCAI 2024",
    examples: [
        "[optimizer.joint]\nlambda_memory = 5e-10\nlambda_compute = 1.5e-12",
        "[optimizer.joint]\nlambda_memory = 0.5\nlambda_compute = 1.0\nlambda_unit = \"relative\"",
    ],
    file: "joint.rs",
}

#[typetag::serde(name = "joint")]
impl Optimizer for Joint {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let (epochs, regime) = (search.parts().training.epochs, search.parts().whole());
        let all = [Role::Score, Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];
        self.stage(search, "search", epochs, regime, &all)?;
        Ok(search.decode().into())
    }
}

impl Joint {
    /// A stage that moves the weights on a first pass, and the parameters of `roles` on a second.
    pub(crate) fn stage(
        &self,
        search: &mut Search,
        name: &str,
        epochs: usize,
        regime: Regime,
        roles: &[Role],
    ) -> Result<()> {
        let adam = Algorithm::Adam { weight_decay: self.weight_decay };
        let timestep_rate = Rate::Cosine { start: self.timestep_rate, end: self.timestep_rate / 25.0 };
        let timestep_sgd = Algorithm::Sgd { momentum: 0.9, weight_decay: 3e-4 };
        let constant = Rate::Constant;
        let moving = |of: &[Role]| of.iter().copied().filter(|role| roles.contains(role)).collect::<Vec<_>>();
        let compression = moving(&[Role::Score, Role::BitLogit]);
        let architecture = moving(&[Role::ArchitectureLogit]);
        let timesteps = moving(&[Role::TimestepLogit]);
        let mut descents = [
            search.weight_descent(),
            search.descent("compression", &compression, adam, constant(self.compression_rate)),
            search.descent("architecture", &architecture, adam, constant(self.architecture_rate)),
            search.descent("timesteps", &timesteps, timestep_sgd, timestep_rate),
        ];
        let (memory_unit, compute_unit) = match self.lambda_unit {
            Unit::Absolute => (1.0, 1.0),
            Unit::Relative => search.parts().dense_cost(),
        };
        let clip = search.parts().training.clip;
        search.stage(name, epochs, regime, &mut descents, |parts, batch, epoch, descents| {
            let (weights, others) = descents.split_first_mut().expect("four descents were given");

            parts.parameters().zero_grad();
            parts.parameters().train_only(&[Role::Weight]);
            let response = parts.forward(batch, regime, false);
            let loss = parts.cross_entropy(&response, batch, epoch, regime);
            loss.f_backward()?;
            clip_gradients(weights.tensors(), clip);
            weights.step();

            if others.iter().any(|descent| descent.tensors().next().is_some()) {
                parts.parameters().zero_grad();
                parts.parameters().train_only(roles);
                let second = parts.forward(batch, regime, true);
                let losses = parts.losses(&second, batch, epoch, regime);
                let total = losses.cross_entropy
                    + losses.memory.to_kind(Kind::Float) * (self.lambda_memory / memory_unit)
                    + losses.compute.to_kind(Kind::Float) * (self.lambda_compute / compute_unit);
                total.f_backward()?;
                others.iter_mut().for_each(|descent| descent.step());
            }

            parts.parameters().train_only(&Role::ALL);
            let logits = response.logits.detach().mean_dim(0, false, None::<Kind>);
            Ok(StepReport { loss: loss.detach(), logits })
        })
    }
}
