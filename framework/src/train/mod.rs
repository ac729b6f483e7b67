//! Training: batches, their augmentation, descent by parameter role, schedules, the epoch loop that
//! search and retraining share, teachers, checkpoints, evaluation.

mod augment;
mod average;
mod batch;
mod candidates;
mod checkpoint;
mod course;
mod decisions;
mod descent;
mod diagnosis;
mod evaluate;
mod exits;
mod features;
mod final_network;
mod held_out;
mod loss;
mod multi_tensor;
mod pace;
mod phase;
mod placement;
mod replay;
mod schedules;
mod search;
mod session;
mod settings;
mod stage;
mod sums;
mod teacher;

pub use augment::Augmentation;
pub use batch::{Batch, Batches};
pub use checkpoint::{Begun, Checkpoint};
pub use decisions::{AtRandom, OpenDecisions, decision};
pub use descent::{Algorithm, Descent, Rate, clip_gradients};
pub use diagnosis::broken_tensor;
pub use evaluate::{Measured, evaluate, evaluate_in_batches};
pub use exits::{Exit, Exits, Stopping, evaluate_exits};
pub use final_network::final_network;
pub use held_out::HeldOut;
pub use loss::Loss;
pub use phase::Phase;
pub use schedules::Schedules;
pub use search::{Found, Gating, Losses, Open, Optimizer, Regime, Search, SearchParts, Searched, Settle};
pub use session::{Session, SessionSpec};
pub use settings::{Augment, Interval, Training, WeightAlgorithm};
pub use stage::{EpochNotes, StageSpec, StepReport};
pub use teacher::{Teacher, Teaching, mismatch};
