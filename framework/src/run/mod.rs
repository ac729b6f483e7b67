//! Trials and their folders: from a plan to finished results, each piece of work done once.

mod file;
mod folder;
mod log;
mod trial;

pub use file::write_atomically;
pub use folder::{TrialFolder, trial_hash};
pub use trial::{Context, Finished, run_plan};
