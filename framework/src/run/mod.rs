//! Trials and their folders: from a plan to finished results, each piece of work done once.

pub mod account;
pub mod attempt;
pub mod benchmark;
mod file;
mod folder;
mod identity;
mod log;
mod redraw;
mod rehearsal;
pub mod reuse;
mod survey;
mod task;
mod trial;
mod weights;

pub use file::{Staged, set_aside, write_atomically};
pub use folder::{TrialFolder, trial_hash};
pub use identity::Identity;
pub use rehearsal::{Rehearsal, StageTime, rehearse};
pub use survey::{Needs, State, Surveyed, survey};
pub use task::{Task, run_task, tasks};
pub use trial::{Context, Finished, run_plan};
use trial::{Job, guarded};
