//! `litesnn bench` times a trial's own steps, beside their convolutions alone.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::{litesnn, manifest, stderr, stdout, succeed};

fn bench(arguments: &[&str]) -> Value {
    let tiny = ["--threads", "1", "--device", "cpu", "--repeats", "2", "--json"];
    let output = succeed(litesnn().arg("bench").args(arguments).args(tiny));
    serde_json::from_str(&stdout(&output)).unwrap()
}

fn measured(result: &Value) {
    for key in ["seconds", "convolution_seconds", "default_layout_seconds"] {
        let part = |which: &str| result[key][which].as_f64().unwrap();
        assert!(
            0.0 < part("least") && part("least") <= part("median") && part("median") <= part("largest"),
            "{result}"
        );
    }
    assert!(result["ratio_to_convolutions"].as_f64().unwrap() > 0.0, "{result}");
    assert!(result["peak_memory_bytes"].as_u64().unwrap() > 1 << 20, "{result}");
    assert_eq!(result["repeats"], 2);
}

#[test]
fn a_search_step_is_timed_at_the_shape_asked_for() {
    let file = manifest("tiny.toml");
    let file = file.to_str().unwrap();
    let shape = ["--batch", "2", "--size", "8", "--cells", "1", "--channels", "2", "--timesteps", "3"];
    let result = bench(&[&["search-step", file][..], &shape].concat());
    measured(&result);
    assert_eq!(result["shape"]["timesteps"], 3);
    assert_eq!(result["shape"]["image"], serde_json::json!([1, 8, 8]));
    // Of the stem, and of the three sources of a cell with two nodes that send, twice: for the weights, for what is searched.
    assert_eq!(result["convolutions"], 2 * (1 + 3));
    // Stem 1 to 4 channels, s0 and s1 with two candidates to two nodes of 2 channels, n0 with one to one; T·B = 6, maps of 4 x 4.
    let forward = 9 * 16 * (2 * 4 + 6 * (2 * 4 * 8 + 2 * 2));
    assert_eq!(result["forward_macs"], f64::from(2 * forward));
}

#[test]
fn retraining_and_evaluation_take_a_design() {
    let tiny = manifest("tiny.toml");
    let given = ["--variant", "dense", "--design", "tests/designs/tiny.toml", "--nodes", "1", "--cells", "1"];
    for work in ["retrain-step", "evaluate"] {
        let arguments = [&[work, tiny.to_str().unwrap()][..], &given, &["--batch", "2", "--size", "8"]].concat();
        measured(&bench(&arguments));
    }
}

#[test]
fn the_floor_of_a_step_in_bf16_is_in_bf16() {
    let tiny = manifest("tiny.toml");
    let shape = ["--batch", "2", "--size", "8", "--cells", "1", "--channels", "2", "--set", "search.precision=bf16"];
    let result = bench(&[&["search-step", tiny.to_str().unwrap()][..], &shape].concat());
    measured(&result);
    // All but the stem's, which reads the image.
    assert_eq!(result["convolutions_in_bf16"], 2 * 3);
}

#[test]
fn growth_is_measured_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (tiny, figure) = (manifest("tiny.toml"), folder.path().join("growth.svg"));
    let arguments = ["growth", tiny.to_str().unwrap(), "--size", "4", "--nodes", "1", "--figure"];
    let output = succeed(litesnn().arg("bench").args(arguments).arg(&figure).args([
        "--threads",
        "1",
        "--repeats",
        "1",
        "--json",
    ]));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let series = result["series"].as_array().unwrap();
    let names: Vec<&str> = series.iter().map(|series| series["against"].as_str().unwrap()).collect();
    assert_eq!(names, ["timesteps", "batch", "channels", "cells"]);
    assert_eq!(series[0]["points"].as_array().unwrap().len(), 8);
    assert!(series.iter().all(|series| series["time_exponent"].as_f64().unwrap().is_finite()));
    assert_eq!(std::fs::read_to_string(figure).unwrap().matches("exponent").count(), 8);
}

#[test]
fn neurons_are_timed_alone() {
    let result = bench(&["lif", "--timesteps", "2", "--batch", "1", "--channels", "3", "--size", "4"]);
    assert!(result["seconds"]["median"].as_f64().unwrap() > 0.0);
    assert!(result["ratio_to_convolutions"].is_null());
}

#[test]
fn what_a_manifest_does_not_have_is_a_wrong_command_line() {
    let tiny = manifest("tiny.toml");
    let output = litesnn().args(["bench", "search-step"]).arg(&tiny).args(["--variant", "other"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("there is no variant `other`; known are `lite-snn`, `dense`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_option_of_another_work_is_a_wrong_command_line() {
    for (arguments, message) in [
        (["lif", "--save", "a"], "`--save` is for `litesnn bench retrain-step` and `litesnn bench evaluate`"),
        (["lif", "--figure", "a"], "`--figure` is for `litesnn bench growth`"),
    ] {
        let output = litesnn().arg("bench").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
}

#[test]
fn a_network_is_saved_with_its_logits() {
    let folder = tempfile::tempdir().unwrap();
    let (tiny, file) = (manifest("tiny.toml"), folder.path().join("saved.safetensors"));
    let given = ["--variant", "dense", "--design", "tests/designs/tiny.toml", "--nodes", "1", "--cells", "1"];
    let shape = ["--batch", "2", "--save", file.to_str().unwrap()];
    bench(&[&["evaluate", tiny.to_str().unwrap()][..], &given, &shape].concat());
    let saved = tch::Tensor::read_safetensors(&file).unwrap();
    let of = |name: &str| &saved.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name}")).1;
    let logits = of("logits");
    assert_eq!((logits.size().len(), logits.size()[1]), (3, 2));
    assert_eq!(of("images").size()[0], 2);
    assert!(logits.abs().max().double_value(&[]) > 0.0);
    assert!(saved.iter().any(|(name, _)| name == "parameter/stem.weight"));
}
