//! The optimizers on whole trials: what they decide, in every order and after interruptions, and
//! what they refuse to decide.

mod candidates;
mod decisions;
mod desk;
mod hessian;
mod inheritance;
mod one_image;
mod options;
mod orders;
mod statistics;
mod targets;
mod tickets;
