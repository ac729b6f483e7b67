//! Optimizers: how a search moves the parameters of a supernet, and the passes over a batch that
//! several of them make; or the architectures that it tries, and how several of them believe one.

pub mod candidates;
pub mod evolution;
pub mod joint;
pub mod random_search;
pub mod sequential;
pub mod two_passes;
