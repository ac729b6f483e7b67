//! Compressors: pruners and quantisers, and what several of them share: bit-widths, levels, masks,
//! rates, scores.

pub mod admm;
pub mod admm_prune;
pub mod admm_quantize;
pub mod binary_connect;
pub mod binary_standardize;
pub mod bits;
pub mod branch_wise;
pub mod channel_rank_prune;
pub mod evolve_prune;
pub mod gaussian_levels;
pub mod gaussian_quantize;
pub mod gradient_rewire;
pub mod learned_step_quantize;
pub mod magnitude_prune;
pub mod mask;
pub mod mixture;
pub mod nm_prune;
pub mod rate;
pub mod rescale_quantize;
pub mod score_prune;
pub mod scores;
mod searched_rates;
mod signs;
pub mod spine_prune;
pub mod taylor_prune;
pub mod ticket;

#[cfg(test)]
mod one_layer;
