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
//! 5e-14 is 1.5e-12 here.

use litesnn_framework::design::Design;
use litesnn_framework::plugin::{Optimizer, Role, Stages};
use litesnn_framework::train::{Algorithm, Rate, Search, StepReport, clip_gradients};
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

impl Default for Joint {
    fn default() -> Self {
        Joint {
            lambda_memory: 5e-10,
            lambda_compute: 1.5e-12,
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
    version: 1,
    summary: "architecture, pruning, bits and timesteps together, in two passes a step",
    paper: "Liu et al., LitE-SNN, IJCAI 2024",
    examples: ["[optimizer.joint]\nlambda_memory = 5e-10\nlambda_compute = 1.5e-12"],
}

#[typetag::serde(name = "joint")]
impl Optimizer for Joint {
    fn search(&self, search: &mut Search) -> Result<Design> {
        let adam = Algorithm::Adam { weight_decay: self.weight_decay };
        let timestep_rate = Rate::Cosine { start: self.timestep_rate, end: self.timestep_rate / 25.0 };
        let timestep_sgd = Algorithm::Sgd { momentum: 0.9, weight_decay: 3e-4 };
        let constant = Rate::Constant;
        let mut descents = [
            search.weight_descent(),
            search.descent("compression", &[Role::Score, Role::BitLogit], adam, constant(self.compression_rate)),
            search.descent("architecture", &[Role::ArchitectureLogit], adam, constant(self.architecture_rate)),
            search.descent("timesteps", &[Role::TimestepLogit], timestep_sgd, timestep_rate),
        ];
        let active = Stages::ALL;
        let (epochs, clip) = (search.parts().training.epochs, search.parts().training.clip);
        search.stage("search", epochs, active, &mut descents, |parts, batch, epoch, descents| {
            let (weights, others) = descents.split_first_mut().expect("four descents were given");

            parts.parameters.zero_grad();
            let response = parts.forward(batch, active, false);
            let loss = parts.cross_entropy(&response, batch, epoch);
            loss.f_backward()?;
            clip_gradients(weights.tensors(), clip);
            weights.step();

            parts.parameters.zero_grad();
            let second = parts.forward(batch, active, true);
            let losses = parts.losses(&second, batch, epoch, active);
            let total = losses.cross_entropy
                + losses.memory.to_kind(Kind::Float) * self.lambda_memory
                + losses.compute.to_kind(Kind::Float) * self.lambda_compute;
            total.f_backward()?;
            others.iter_mut().for_each(|descent| descent.step());

            let logits = response.logits.detach().mean_dim(0, false, None::<Kind>);
            Ok(StepReport { loss: loss.detach(), logits })
        })?;
        Ok(search.decode())
    }
}
