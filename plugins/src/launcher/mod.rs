//! Launchers: how trials get to processes.

pub mod local;
pub mod slurm;
