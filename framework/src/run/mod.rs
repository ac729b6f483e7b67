//! Runs the trials of plans: from plans to finished results, each piece of work done once.
//!
//! There is one road. Plans become an [`Agenda`]: a task for each trial, with the hash that names
//! its folder. Tasks run either [here](run_here), one after another in this process, or in
//! processes that a [launcher](crate::launch::Launcher) starts, each of which [runs one
//! task](run_task). Both tell the same [events](crate::record::Event), and what became of the
//! trials is the same [`Finished`].

mod agenda;
mod division;
mod export;
mod here;
mod identity;
mod launched;
pub mod layer_costs;
mod machines;
mod measure;
mod method;
mod names;
mod random_design;
mod rehearsal;
mod reuse;
mod survey;
mod task;
mod trial;
mod weights;

pub use agenda::Agenda;
pub use export::{packed_trial, trials_of};
pub use here::run_here;
pub use launched::outcomes;
pub use machines::Asked;
pub(crate) use method::Method;
pub use rehearsal::{Rehearsal, StageTime, rehearse};
pub use survey::{Needs, Surveyed, survey};
pub use task::run_task;
pub use trial::{Context, Finished};
