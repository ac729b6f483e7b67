//! Training: batches, their augmentation, descent by parameter role, schedules, the epoch loop that search and retraining share, checkpoints,
//! evaluation.

mod augment;
mod batch;
mod checkpoint;
mod descent;
mod diagnosis;
mod evaluate;
mod search;
mod session;

pub use augment::Augmentation;
pub use batch::{Batch, Batches};
pub use checkpoint::{Begun, Checkpoint};
pub use descent::{Algorithm, Descent, Rate, clip_gradients};
pub use evaluate::{Measured, evaluate, evaluate_in_batches};
pub use search::{Found, Gating, Losses, Open, Optimizer, Regime, Search, SearchParts, Searched, Settle};
pub use session::{EpochNotes, Event, Observer, Session, SessionSpec, StageSpec, StepReport, TrialLabel};
