//! What is compared: one place for names, units, directions and number formats. Tables and axes read them here.

use litesnn_framework::record::Outcome;

/// A quantity of a trial.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Column of the CSV.
    pub key: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Unit, or empty.
    pub unit: &'static str,
    /// Which direction is better; `None` where neither is.
    pub higher_is_better: Option<bool>,
    /// Decimals in a table.
    pub decimals: usize,
    /// The value in that unit.
    pub value: fn(&Outcome) -> f64,
}

impl Metric {
    /// Heading with unit.
    pub fn heading(&self) -> String {
        if self.unit.is_empty() { self.title.to_owned() } else { format!("{} ({})", self.title, self.unit) }
    }

    /// A value of this metric as text.
    pub fn format(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }
}

macro_rules! metrics {
    ($($name:ident: $key:literal, $title:literal, $unit:literal, $better:expr, $decimals:literal, $value:expr;)*) => {
        $(#[doc = $title] pub const $name: Metric = Metric {
            key: $key, title: $title, unit: $unit, higher_is_better: $better, decimals: $decimals, value: $value,
        };)*
    };
}

metrics! {
    ACCURACY: "test_accuracy_percent", "Test accuracy", "%", Some(true), 1, |o| 100.0 * o.test_accuracy;
    MODEL_SIZE: "model_size_kb", "Model size", "kB", Some(false), 1, |o| o.model_size_bytes / 1e3;
    WEIGHT_BITS: "weight_kbit", "Weights", "kbit", Some(false), 1, |o| o.weight_bits / 1e3;
    BIT_SYN_OPS: "bit_synops_m", "Bit-SynOps", "M / image", Some(false), 2, |o| o.bit_syn_ops / 1e6;
    MEAN_BITS: "mean_bits", "Bits", "mean", Some(false), 2, |o| o.mean_bits;
    TIMESTEPS: "timesteps", "Timesteps", "", Some(false), 0, |o| o.timesteps as f64;
    ENERGY: "energy_uj", "Energy", "µJ / image", Some(false), 2, |o| o.energy_mj * 1e3;
    SEARCH_TIME: "search_s", "Search", "s", None, 0, |o| o.search_seconds;
    RETRAIN_TIME: "retrain_s", "Retrain", "s", None, 0, |o| o.retrain_seconds;
    EVALUATE_TIME: "evaluate_s", "Evaluate", "s", None, 1, |o| o.evaluate_seconds;
}

/// The columns of the comparison.
pub const COMPARED: [Metric; 10] = [
    ACCURACY,
    MODEL_SIZE,
    WEIGHT_BITS,
    BIT_SYN_OPS,
    MEAN_BITS,
    TIMESTEPS,
    ENERGY,
    SEARCH_TIME,
    RETRAIN_TIME,
    EVALUATE_TIME,
];
