//! Launchers: how the trials of a run get to processes that work on them.
//!
//! A launch is a folder `RUNS/.launches/NAME/` ([`Launched`]). Everything that is known of it is in
//! files, so that any process can end at any moment and the next one resumes from what is there:
//!
//! ```text
//! launch.toml          who launched what, with which settings; never changed
//! tasks/INDEX.toml     each trial, with all that a process needs to run it
//! ends/TOKEN.toml      how each process ended, written by that process or by the one that watched it
//! log/                 what the processes said, one file for each task
//! ```
//!
//! Whether a trial is finished is said by its own folder and by nothing else.

mod launched;
mod launcher;
mod pool;
mod process;
mod record;
mod task;

pub use launched::{Launched, launches};
pub use launcher::{Launch, Launcher};
pub use pool::Pool;
pub use process::{Means, Process};
pub use record::{ProcessSettings, Record, Standing, folder};
pub use task::Task;
