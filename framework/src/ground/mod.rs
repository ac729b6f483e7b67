//! What everything else stands on: whole files, errors and problems with their place, random
//! streams, the device, threads, signals, parameters by role.

mod control_group;
mod cuda;
pub mod device;
pub(crate) mod error;
pub mod facts;
pub mod file;
mod graph;
mod guard;
pub mod kernel;
mod machine;
pub(crate) mod message;
pub mod neighbours;
mod parameter;
mod problem;
mod random;
mod say;
pub mod signal;
pub mod threads;
pub mod toml;
mod transfer;
pub mod waits;
mod words;

pub(crate) use graph::Graph;
pub(crate) use guard::{guarded, words_of};
pub use machine::{Machine, together};
pub use parameter::{Build, Parameter, Parameters, Role};
pub use problem::{ConfigLayer, Location, Problem};
pub use random::Stream;
pub use say::say;
pub use transfer::transfer;
pub use words::counted;
