//! Optimizers: how a search moves the parameters of a supernet, and the passes over a batch that
//! several of them make.

pub mod joint;
pub mod sequential;
pub mod training_free;
pub mod two_passes;
