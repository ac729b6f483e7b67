//! The engine of litesnn: it runs an experiment that a manifest describes, and knows no plugin by name.
//!
//! Data passes through the modules in this order:
//!
//! | module | takes | gives |
//! |---|---|---|
//! | [`manifest`] | TOML layers | a resolved [`manifest::Plan`] of trials |
//! | [`plugin`] | names in a manifest | data sets, spaces, compressors, timestep searchers, optimizers |
//! | [`spiking`] | spikes and currents `[T, B, C, H, W]` | LIF neurons, surrogate gradients, layers, custom autograd functions |
//! | [`cost`] | layer shapes, bits, densities, firing rates | size, SynOps, Bit-SynOps, energy |
//! | [`train`] | a network and batches | trained parameters |
//! | [`run`] | one trial of the plan | a finished trial folder |
//! | [`launch`] | trials that are not finished | processes that run them, here or on a cluster |
//! | [`record`] | what was measured | Parquet files, and back |

pub mod bounded;
pub mod cost;
pub mod design;
pub mod device;
mod error;
pub mod launch;
pub mod manifest;
pub mod plugin;
pub mod random;
pub mod record;
pub mod run;
pub mod spiking;
pub mod train;

pub use error::{Error, Result};

#[doc(hidden)] // For `register!`.
pub use inventory;
