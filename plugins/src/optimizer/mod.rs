//! Optimizers: how a search moves the parameters of a supernet, and the passes over a batch that
//! several of them make and the epochs that stages share.

pub mod hessian_bits;
pub mod joint;
pub mod lottery_ticket;
pub mod sequential;
mod shares;
pub mod training_free;
pub mod two_passes;
