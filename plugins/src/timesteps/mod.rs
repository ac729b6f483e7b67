//! Timestep searchers.

pub mod compressive;
pub mod fixed;
