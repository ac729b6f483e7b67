//! Compressors: pruners and quantisers, and what several of them share: bit-widths, levels, masks,
//! rates, scores.

pub mod bits;
pub mod branch_wise;
pub mod gaussian_levels;
pub mod gaussian_quantize;
pub mod gradient_rewire;
pub mod magnitude_prune;
pub mod mask;
pub mod nm_prune;
pub mod rate;
pub mod score_prune;
pub mod scores;

#[cfg(test)]
mod one_layer;
