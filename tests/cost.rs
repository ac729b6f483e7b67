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

/// Masks of the published designs at the lengths of Golomb-Rice code on random masks: 1, 0.739 and
/// 0.476 bits for each of the 13.65, 14.90 and 15.60 M weights outside of the auxiliary head. Files
/// are 1.49, 2.18 and 2.76 times as large as the published sizes say, by another program's count of
/// the same designs without the auxiliary head.
#[test]
fn the_stored_size_of_the_published_designs_has_their_masks() {
    for (design, megabytes, times) in
        [("large", 13.65 / 8.0, 1.49), ("medium", 14.90 * 0.739 / 8.0, 2.18), ("small", 15.60 * 0.476 / 8.0, 2.76)]
    {
        let account = cost(&[&format!("experiments/designs/lite-snn-{design}.toml"), "--dataset", "cifar10"]);
        let layers = account["layers"].as_array().unwrap();
        let outside = layers.iter().filter(|layer| layer["place"] != "auxiliary");
        let masks = outside.map(|layer| number(layer, "mask_bits")).sum::<f64>() / 8e6;
        assert!((masks / megabytes - 1.0).abs() < 0.01, "{design}: masks of {masks} MB, expected {megabytes} MB");
        let head = layers.iter().filter(|layer| layer["place"] == "auxiliary");
        let head = head.map(|layer| number(layer, "memory_bits")).sum::<f64>() / 8.0;
        let found = number(&account, "stored_bytes") / (number(&account, "model_size_bytes") - head);
        assert!((found / times - 1.0).abs() < 0.03, "{design}: {found} times the published size, expected {times}");
        let coding = layers.iter().find(|layer| layer["place"] == "cell0").unwrap()["mask_coding"].as_str().unwrap();
        // At half of the weights both are as long.
        assert!(coding.starts_with("golomb-rice") || design == "large", "{design}: {coding}");
    }
    // Nothing is pruned, so that there is no mask: the file has all but the auxiliary head, whose
    // layers have 128, 768 and 10 normalised outputs.
    let account = cost(&["experiments/designs/spike-dhs.toml"]);
    let layers = account["layers"].as_array().unwrap().iter().filter(|layer| layer["place"] == "auxiliary");
    let head: f64 = layers.map(|layer| number(layer, "memory_bits") / 8.0).sum();
    let norms = 4.0 * 2.0 * (128.0 + 768.0 + 10.0);
    assert_eq!(number(&account, "stored_bytes") + head + norms, number(&account, "model_size_bytes"));
}

/// 11 % of the medium design's additions by the paper's formula lie on the padding: of a 3x3 kernel
/// on H x H places, a fraction of (1 - 2 / (3 H))² of the taps lies inside.
#[test]
fn counted_operations_leave_out_the_padding() {
    let account = cost(&["experiments/designs/lite-snn-medium.toml", "--dataset", "cifar10"]);
    for layer in account["layers"].as_array().unwrap().iter().filter(|layer| number(layer, "kernel_height") == 3.0) {
        let side = number(layer, "map_height");
        let inside = (1.0 - 2.0 / (3.0 * side)).powi(2);
        let (formula, counted) = match layer["place"].as_str().unwrap() {
            "stem" => ("multiplications", "multiplications_counted"),
            _ => ("syn_ops", "syn_ops_counted"),
        };
        let found = number(layer, counted) / number(layer, formula);
        // Kept weights are not quite evenly spread over the taps.
        assert!((found / inside - 1.0).abs() < 0.01, "{}: {found}, expected {inside}", layer["layer"]);
    }
    assert!(number(&account, "energy_counted_mj") < number(&account, "energy_mj"));
}

#[test]
fn without_firing_rates_nothing_is_said_of_spikes() {
    let account = cost(&["tests/designs/tiny.toml"]);
    assert!(account["energy_mj"].is_null() && account["additions"].is_null() && account["syn_ops"].is_null());
    let account = cost(&["tests/designs/tiny.toml", "--spikes", "0.5"]);
    assert!(number(&account, "energy_mj") > 0.0);
}
