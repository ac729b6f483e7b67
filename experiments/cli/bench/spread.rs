//! Measured numbers as their median, least and largest.

use litesnn_framework::benchmark::median;
use serde_json::{Value, json};

pub fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

pub fn spread(values: &[f64]) -> Value {
    json!({ "median": median(values), "least": least(values), "largest": largest(values) })
}
