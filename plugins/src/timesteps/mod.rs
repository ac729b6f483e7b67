//! Timestep searchers.

pub mod compressive;
pub mod early_exit;
pub mod fixed;
mod last;
