//! Search spaces.

pub mod layers;
pub mod spike_dhs;
