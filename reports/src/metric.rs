//! What is compared: one place for names, units, directions and number formats. Tables and axes
//! read them here.

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
    /// Whether it depends on the hardware that measured it.
    pub is_time: bool,
    /// The value in that unit.
    pub value: fn(&Outcome) -> f64,
}

impl Metric {
    /// Heading with unit.
    pub fn heading(&self) -> String {
        if self.unit.is_empty() { self.title.to_owned() } else { format!("{} ({})", self.title, self.unit) }
    }

    /// A value of this metric as text. A whole number's mean over seeds need not be whole.
    pub fn format(&self, value: f64) -> String {
        let broken = self.decimals == 0 && value.abs() < 100.0 && value.fract() != 0.0;
        shown(value, if broken { 1 } else { self.decimals })
    }

    /// A value of this metric as text, with two significant digits at least: small networks stand
    /// beside published ones.
    pub fn format_finely(&self, value: f64) -> String {
        shown(value, fine_decimals(value, self.decimals))
    }

    /// Mean ± deviation, both with the decimals that the mean needs for two significant digits.
    pub fn format_spread(&self, mean: f64, deviation: Option<f64>) -> String {
        spread(mean, deviation, fine_decimals(mean, self.decimals))
    }
}

/// As many decimals as two significant digits need, `least` at least.
pub fn fine_decimals(value: f64, least: usize) -> usize {
    let first = if value == 0.0 { 0.0 } else { -value.abs().log10().floor() };
    if first.is_finite() { least.max((first + 1.0).clamp(0.0, 9.0) as usize) } else { least }
}

/// Mean ± deviation, or the mean alone.
pub fn spread(mean: f64, deviation: Option<f64>, decimals: usize) -> String {
    match deviation.filter(|deviation| deviation.is_finite()) {
        Some(deviation) => format!("{} ± {}", shown(mean, decimals), shown(deviation, decimals)),
        None => shown(mean, decimals),
    }
}

/// A title within a sentence, without its unit.
pub fn within_sentence(title: &str) -> String {
    let title = title.split(" (").next().unwrap_or(title);
    let mut letters = title.chars();
    match letters.next() {
        // A name such as Bit-SynOps stays.
        Some(first) if !letters.as_str().contains(char::is_uppercase) => first.to_lowercase().chain(letters).collect(),
        _ => title.to_owned(),
    }
}

fn shown(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "–".to_owned() }
}

macro_rules! metrics {
    ($time:literal: $($name:ident: $key:literal, $title:literal, $unit:literal, $better:expr, $decimals:literal, $value:expr;)*) => {
        $(#[doc = $title] pub const $name: Metric = Metric {
            key: $key, title: $title, unit: $unit, higher_is_better: $better, decimals: $decimals, is_time: $time, value: $value,
        };)*
    };
}

metrics! { false:
    ACCURACY: "test_accuracy_percent", "Test accuracy", "%", Some(true), 1, |o| 100.0 * o.test_accuracy;
    MODEL_SIZE: "model_size_kb", "Model size", "kB", Some(false), 1, |o| o.model_size_bytes / 1e3;
    STORED_SIZE: "stored_size_kb", "Stored size", "kB", Some(false), 1, |o| o.stored_bytes / 1e3;
    FILE_SIZE: "file_size_kb", "Packed file", "kB", Some(false), 1, |o| o.file_bytes / 1e3;
    WEIGHT_BITS: "weight_kbit", "Weights", "kbit", Some(false), 1, |o| o.weight_bits / 1e3;
    BIT_SYN_OPS: "bit_synops_m", "Bit-SynOps", "M / image", Some(false), 2, |o| o.bit_syn_ops / 1e6;
    MEAN_BITS: "mean_bits", "Bits", "mean", Some(false), 2, |o| o.mean_bits;
    TIMESTEPS: "timesteps", "Timesteps", "", Some(false), 0, timesteps;
    ENERGY: "energy_uj", "Energy", "µJ / image", Some(false), 2, |o| o.energy_mj * 1e3;
    EPOCHS: "epochs", "Epochs", "", None, 0, |o| (o.search_epochs + o.retrain_epochs) as f64;
    SEARCH_EPOCHS: "search_epochs", "Search epochs", "", None, 0, |o| o.search_epochs as f64;
    RETRAIN_EPOCHS: "retrain_epochs", "Retraining epochs", "", None, 0, |o| o.retrain_epochs as f64;
    // In the units and with the decimals of published tables.
    PUBLISHED_ACCURACY: "accuracy_percent", "Accuracy", "%", Some(true), 2, |o| 100.0 * o.test_accuracy;
    PUBLISHED_MODEL_SIZE: "model_size_mb", "Model size", "MB", Some(false), 2, |o| o.model_size_bytes / 1e6;
    PUBLISHED_BIT_SYN_OPS: "bit_synops_m", "Bit-SynOps", "M / image", Some(false), 0, |o| o.bit_syn_ops / 1e6;
    PUBLISHED_BITS: "bits", "Bitwidth", "bit", Some(false), 2, |o| o.mean_bits;
    ADDITIONS: "additions_m", "Additions", "M / image", Some(false), 2, |o| o.syn_ops / 1e6;
    MULTIPLICATIONS: "multiplications_m", "Multiplications", "M / image", Some(false), 2, |o| o.multiplications / 1e6;
    PUBLISHED_ENERGY: "energy_mj", "Energy", "mJ / image", Some(false), 2, |o| o.energy_mj;
    // Counted one by one, beside the paper's formulas.
    COUNTED_ADDITIONS: "additions_counted_m", "Counted additions", "M / image", Some(false), 2, |o| o.syn_ops_counted / 1e6;
    COUNTED_BIT_SYN_OPS: "bit_synops_counted_m", "Counted Bit-SynOps", "M / image", Some(false), 2, |o| o.bit_syn_ops_counted / 1e6;
    COUNTED_MULTIPLICATIONS: "multiplications_counted_m", "Counted multiplications", "M / image", Some(false), 2, |o| o.multiplications_counted / 1e6;
    COUNTED_ENERGY: "energy_counted_uj", "Counted energy", "µJ / image", Some(false), 2, |o| o.energy_counted_mj * 1e3;
    ANN_OPERATIONS: "ann_operations_m", "Operations of an ANN", "M / image", Some(false), 2, |o| o.ann_operations / 1e6;
    ANN_ENERGY: "ann_energy_mj", "Energy of an ANN", "mJ / image", Some(false), 2, |o| o.ann_energy_mj;
}

// What a trial took. Search and retraining are compared together: some searches train the final
// network themselves, and others leave that to retraining.
metrics! { true:
    TIME: "seconds", "Wall time", "s", None, 0, |o| o.search_seconds + o.retrain_seconds;
    SEARCH_TIME: "search_s", "Search", "s", None, 0, |o| o.search_seconds;
    RETRAIN_TIME: "retrain_s", "Retraining", "s", None, 0, |o| o.retrain_seconds;
    EVALUATE_TIME: "evaluate_s", "Evaluate", "s", None, 1, |o| o.evaluate_seconds;
    DEVICE_TIME: "device_s", "Device time", "s", None, 0, device_seconds;
    SEARCH_DEVICE_TIME: "search_device_s", "Search, device", "s", None, 0, |o| o.search_device_seconds;
    RETRAIN_DEVICE_TIME: "retrain_device_s", "Retraining, device", "s", None, 0, |o| o.retrain_device_seconds;
    DEVICE_SECONDS: "device_seconds", "Total", "device s", None, 0, device_seconds;
    SEARCH_DEVICE_SECONDS: "search_device_seconds", "Search", "device s", None, 0, |o| o.search_device_seconds;
    RETRAIN_DEVICE_SECONDS: "retrain_device_seconds", "Retraining", "device s", None, 0, |o| o.retrain_device_seconds;
    DEVICE_HOURS: "device_hours", "Total", "device hours", None, 1, |o| device_seconds(o) / 3600.0;
    SEARCH_DEVICE_HOURS: "search_device_hours", "Search", "device hours", None, 1, |o| o.search_device_seconds / 3600.0;
    RETRAIN_DEVICE_HOURS: "retrain_device_hours", "Retraining", "device hours", None, 1, |o| o.retrain_device_seconds / 3600.0;
    DEVICE_DAYS: "device_days", "Search + retraining", "device days", None, 2, |o| device_seconds(o) / 86_400.0;
    SEARCH_DEVICE_DAYS: "design_cost_days", "Design cost: search", "device days", None, 2, |o| o.search_device_seconds / 86_400.0;
    RETRAIN_DEVICE_DAYS: "retrain_device_days", "Retraining", "device days", None, 2, |o| o.retrain_device_seconds / 86_400.0;
}

/// Of an image, on the mean; older results have the number of all images alone.
fn timesteps(outcome: &Outcome) -> f64 {
    if outcome.mean_timesteps.is_finite() { outcome.mean_timesteps } else { outcome.timesteps as f64 }
}

fn device_seconds(outcome: &Outcome) -> f64 {
    outcome.search_device_seconds + outcome.retrain_device_seconds
}

/// A cost of search and retraining.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Of both together, which is what compares one row with another.
    pub whole: Metric,
    /// Of the search.
    pub search: Metric,
    /// Of retraining.
    pub retrain: Metric,
}

/// What search and retraining took: epochs, wall time, time of the device.
pub const COSTS: [Cost; 3] = [
    Cost { whole: EPOCHS, search: SEARCH_EPOCHS, retrain: RETRAIN_EPOCHS },
    Cost { whole: TIME, search: SEARCH_TIME, retrain: RETRAIN_TIME },
    Cost { whole: DEVICE_TIME, search: SEARCH_DEVICE_TIME, retrain: RETRAIN_DEVICE_TIME },
];
/// Time of the device in days, as published tables give it.
pub const COST_IN_DAYS: Cost = Cost { whole: DEVICE_DAYS, search: SEARCH_DEVICE_DAYS, retrain: RETRAIN_DEVICE_DAYS };
/// Time of the device in hours, for figures.
pub const COST_IN_HOURS: Cost =
    Cost { whole: DEVICE_HOURS, search: SEARCH_DEVICE_HOURS, retrain: RETRAIN_DEVICE_HOURS };
/// The same in seconds, for small networks.
pub const COST_IN_SECONDS: Cost =
    Cost { whole: DEVICE_SECONDS, search: SEARCH_DEVICE_SECONDS, retrain: RETRAIN_DEVICE_SECONDS };

/// The columns of the comparison, beside [`COSTS`] and [`EVALUATE_TIME`].
pub const COMPARED: [Metric; 8] =
    [ACCURACY, MODEL_SIZE, STORED_SIZE, WEIGHT_BITS, BIT_SYN_OPS, MEAN_BITS, TIMESTEPS, ENERGY];

/// What the paper's formulas estimate and what is counted, pair by pair.
pub const COUNTED: [Metric; 11] = [
    MODEL_SIZE,
    STORED_SIZE,
    FILE_SIZE,
    ADDITIONS,
    COUNTED_ADDITIONS,
    BIT_SYN_OPS,
    COUNTED_BIT_SYN_OPS,
    MULTIPLICATIONS,
    COUNTED_MULTIPLICATIONS,
    ENERGY,
    COUNTED_ENERGY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_networks_keep_two_digits_beside_published_decimals() {
        for (value, text) in [(3.6, "3.60"), (0.55, "0.55"), (0.00039, "0.00039"), (0.0, "0.00"), (f64::NAN, "–")] {
            assert_eq!(PUBLISHED_MODEL_SIZE.format_finely(value), text);
        }
        for (value, text) in [(2863.4, "2863"), (12.3, "12"), (0.93, "0.93"), (-0.0123, "-0.012")] {
            assert_eq!(PUBLISHED_BIT_SYN_OPS.format_finely(value), text);
        }
        assert_eq!(PUBLISHED_MODEL_SIZE.format_spread(0.00039, Some(0.000085)), "0.00039 ± 0.00009");
        assert_eq!(PUBLISHED_ACCURACY.format_spread(95.6, None), "95.60");
    }

    #[test]
    fn the_mean_of_whole_numbers_need_not_be_whole() {
        assert_eq!(TIMESTEPS.format(6.0), "6");
        assert_eq!(TIMESTEPS.format(16.0 / 3.0), "5.3");
    }
}
