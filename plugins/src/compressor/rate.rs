//! Pruning at one rate: how many of a layer's weights stay, and what the design of a search says of
//! it.

use litesnn_framework::Result;
use litesnn_framework::network::{Decision, Decisions, Factor, same_rate};
use tch::Tensor;

/// A layer of which `floor(rate · n)` of its n weights are removed.
pub struct LayerRate {
    /// The rate that the settings name.
    pub rate: f64,
    count: i64,
    /// Number of weights that stay.
    pub kept: i64,
    /// Whether a search is to record its decision.
    searched: bool,
}

impl LayerRate {
    /// The rate of pruner `name` for a layer.
    ///
    /// # Errors
    ///
    /// A design that was found at another rate.
    pub fn attach(name: &str, rate: f64, weight: &Tensor, decided: Option<&Decisions>) -> Result<LayerRate> {
        same_rate(name, decided, rate)?;
        let count = weight.numel() as i64;
        let kept = count - (rate * count as f64).floor() as i64;
        Ok(LayerRate { rate, count, kept, searched: decided.is_none() })
    }

    /// Fraction of the weights that stays.
    pub fn density(&self) -> Factor {
        Factor::Constant(self.kept as f64 / self.count as f64)
    }

    /// What a search decided: one rate for all layers.
    pub fn decide(&self) -> Option<(String, Decision)> {
        self.searched.then(|| ("all".to_owned(), Decision { bits: None, rate: Some(self.rate) }))
    }
}
