//! What a stage of a trial is made of: its settings, the step that it repeats, and what is measured
//! after each epoch.

use tch::Tensor;

use super::{Augment, Batch, Descent};
use crate::Result;
use crate::record::Stage;

/// A stage to run.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// The stage; a trial runs it once.
    pub stage: Stage,
    /// Passes over the training split.
    pub epochs: usize,
    /// Images that are trained on; `None` for all.
    pub samples: Option<usize>,
    /// Images of a step.
    pub batch_size: usize,
    /// What is done to training images.
    pub augment: Augment,
    /// Whether steps do not make the same operations: a GPU then replays none.
    pub varies: bool,
}

/// Trains on one batch in an epoch (from 0).
pub(super) type Step<'a> = dyn FnMut(&Batch, usize, &mut [Descent]) -> Result<StepReport> + 'a;

/// What a step tells the loop.
pub struct StepReport {
    /// The loss of the weights' pass, a scalar tensor without its graph, which is taken down in the
    /// step.
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
    /// Whether the stage ends with this epoch, though others are left.
    pub ends: bool,
}
