//! The engine of litesnn: it runs an experiment that a manifest describes, and knows no plugin by
//! name.
//!
//! Each module is a floor. It uses the floors above it in this table and no other:
//!
//! | floor | what it holds |
//! |---|---|
//! | [`ground`] | whole files, errors and problems, random streams, the device, parameters by role |
//! | [`spiking`] | LIF neurons, surrogate gradients, convolutions, normalisation, custom autograd functions |
//! | [`plugin`] | the registry of plugins, and what it tells of each |
//! | [`data`] | data sets: their trait, where they are looked for, where they are published |
//! | [`network`] | search spaces, compressors, timestep searchers, layers, designs, cost, memory |
//! | [`record`] | the tables of a trial, its folder and the folder's state |
//! | [`train`] | optimizers, batches, descent, the epoch loop, checkpoints, evaluation |
//! | [`launch`] | launchers: trials in processes, here or on a cluster |
//! | [`manifest`] | TOML layers to a [`manifest::Plan`] of trials |
//! | [`run`] | a plan to finished trials |
//! | [`benchmark`] | how long a trial's step takes, beside its convolutions alone |

pub mod benchmark;
pub mod data;
pub mod ground;
pub mod launch;
pub mod manifest;
pub mod network;
pub mod plugin;
pub mod record;
pub mod run;
pub mod spiking;
pub mod train;

pub use ground::error::{Error, Result};

#[doc(hidden)] // For `register!`.
pub use inventory;
