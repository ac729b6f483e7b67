//! Optimizers: how a search moves the parameters of a supernet, and the passes over a batch that
//! several of them make, the targets that a cost may have, the temperatures at which it chooses and the
//! epochs that stages share; or the architectures that it tries, how several of them believe one, and
//! how one is scored before it is trained.

pub mod candidates;
pub mod evolution;
pub mod hessian_bits;
pub mod joint;
pub mod lottery_ticket;
pub mod random_search;
pub mod ranking_quality;
pub mod sequential;
mod shares;
pub mod spike_score;
pub mod targets;
pub mod temperatures;
pub mod training_free;
pub mod two_passes;
