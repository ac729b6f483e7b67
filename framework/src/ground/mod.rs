//! What everything else stands on: whole files, errors and problems with their place, random
//! streams, the device, signals, parameters by role.

mod control_group;
pub mod device;
pub(crate) mod error;
pub mod file;
mod guard;
mod machine;
mod parameter;
mod problem;
mod random;
pub mod signal;
mod words;

pub(crate) use guard::guarded;
pub use machine::{Machine, together};
pub use parameter::{Build, Parameter, Parameters, Role};
pub use problem::{ConfigLayer, Location, Problem};
pub use random::Stream;
pub use words::counted;
