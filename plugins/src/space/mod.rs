//! Search spaces.

pub mod spike_dhs;
