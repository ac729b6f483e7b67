//! Joint optimisation of architecture, pruning, quantisation and timesteps.
//!
//! Source: LitE-SNN (Liu et al., IJCAI 2024), Section 3.4 and Algorithm 1, Eq. 15.
//!
//! Every step makes two passes over the same batch:
//!
//! ```text
//! 1.  L_CE                                                 moves the weights: SGD, clipped, cosine schedule
//! 2.  L_CE + lambda_memory · L_mem + lambda_compute · L_comp, with the new weights
//!                                                          moves scores and beta (Adam), alpha (Adam), psi (SGD or Adam)
//! ```
//!
//! L_mem is in bits, L_comp in bit-operations an image. The authors' program sums L_comp over its
//! batch of 30; their lambda of 5e-14 is 1.5e-12 here. With `lambda_unit = "relative"` both terms
//! are divided by what they are for the same layers in full precision, nothing pruned, every neuron
//! firing at every timestep: then a lambda travels between data sets and widths.
//!
//! psi: the authors' program moves it by SGD, which is the default here, and the paper's text says
//! Adam (`timestep_algorithm = "adam"`).
//!
//! What else differs from the authors' program: docs/authors-program.md.
//!
//! Logits that do not move would decide at random, so a rate of 0 is refused where there is
//! something to decide. The "joint without A" of an ablation is `at_random = ["A"]`: it decodes an
//! architecture from the random initial alpha.

use super::two_passes::TwoPasses;
use litesnn_framework::ground::Role;
use litesnn_framework::train::{AtRandom, Found, OpenDecisions, Optimizer, Search};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of `joint`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Joint(pub TwoPasses);

register! {
    kind: Optimizer,
    name: "joint",
    settings: Joint,
    version: 3,
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
        self.0.stage(search, "search", epochs, regime, &all)?;
        Ok(search.decode().into())
    }

    fn moves(&self) -> Vec<Role> {
        self.0.moves()
    }

    fn controls(&self) -> Vec<Role> {
        self.0.controls()
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), AtRandom> {
        self.0.check("joint", open)?;
        open.check_warmup(&self.controls())
    }
}
