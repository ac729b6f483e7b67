//! What everything else stands on: whole files, errors and problems with their place, random
//! streams, the device, threads, signals, parameters by role.

pub mod device;
pub(crate) mod error;
pub mod file;
mod guard;
mod machine;
mod parameter;
mod problem;
mod random;
mod say;
pub mod signal;
pub mod threads;
pub mod toml;
mod words;

pub(crate) use guard::guarded;
pub use machine::{Machine, together};
pub use parameter::{Build, Parameter, Parameters, Role};
pub use problem::{ConfigLayer, Location, Problem};
pub use random::Stream;
pub use say::say;
pub use words::counted;
