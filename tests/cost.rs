//! `litesnn cost` gives the numbers that were published for the designs that are shipped.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::{litesnn, stdout, succeed};

fn cost(arguments: &[&str]) -> Value {
    let output = succeed(litesnn().arg("cost").args(arguments).arg("--json"));
    serde_json::from_str(&stdout(&output)).unwrap()
}

fn number(account: &Value, key: &str) -> f64 {
    account[key].as_f64().unwrap_or_else(|| panic!("`{key}` is {}", account[key]))
}

/// Millions with two decimals, as Table 5 prints them.
fn million(account: &Value, key: &str) -> String {
    format!("{:.2}", number(account, key) / 1e6)
}

/// Table 5: ANN operations, multiplications, energy; Table 2: model size, CIFAR-10 and CIFAR-100.
fn published(design: &str, table5: [&str; 3], sizes: [f64; 2]) {
    let file = format!("experiments/designs/{design}.toml");
    let account = cost(&[&file]);
    assert_eq!(million(&account, "ann_operations"), table5[0]);
    assert_eq!(million(&account, "multiplications"), table5[1]);
    assert_eq!(format!("{:.2}", number(&account, "energy_mj")), table5[2]);
    for (dataset, size) in ["cifar10", "cifar100"].into_iter().zip(sizes) {
        let found = number(&cost(&[&file, "--dataset", dataset]), "model_size_bytes") / 1e6;
        assert!((found / size - 1.0).abs() < 0.01, "{dataset}: {found} MB here, {size} MB published");
    }
}

#[test]
fn the_large_design_costs_what_was_published() {
    published("lite-snn-large", ["970.12", "11.94", "0.68"], [3.587, 3.618]);
}

#[test]
fn the_medium_design_costs_what_was_published() {
    published("lite-snn-medium", ["413.53", "4.78", "0.26"], [1.223, 1.236]);
}

#[test]
fn the_small_design_costs_what_was_published() {
    published("lite-snn-small", ["221.63", "2.39", "0.13"], [0.558, 0.565]);
}

#[test]
fn the_baseline_is_dense_and_in_full_precision() {
    let account = cost(&["experiments/designs/spike-dhs.toml"]);
    assert_eq!(million(&account, "multiplications"), "23.89");
    assert_eq!(number(&account, "kept_weights"), number(&account, "weights"));
    let bits = number(&account, "bit_syn_ops") / number(&account, "syn_ops");
    assert!((bits - 32.0).abs() < 1e-9, "{bits}");
    // The published 56.00 MB are the weights of the network without its auxiliary head.
    let layers = account["layers"].as_array().unwrap();
    let weights = layers.iter().filter(|layer| layer["place"] != "auxiliary").map(|layer| number(layer, "weights"));
    let megabytes = 4.0 * weights.sum::<f64>() / 1e6;
    assert!((megabytes / 56.0 - 1.0).abs() < 0.025, "{megabytes}");
}

#[test]
fn without_firing_rates_nothing_is_said_of_spikes() {
    let account = cost(&["tests/designs/tiny.toml"]);
    assert!(account["energy_mj"].is_null() && account["additions"].is_null() && account["syn_ops"].is_null());
    let account = cost(&["tests/designs/tiny.toml", "--spikes", "0.5"]);
    assert!(number(&account, "energy_mj") > 0.0);
}
