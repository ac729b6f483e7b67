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

/// A supernet of one cell with two nodes that have two channels each.
const CELL: [&str; 4] = ["--set", "space.spike-dhs.cells=[0]", "--set", "space.spike-dhs.channels.search=2"];
/// The network of `tests/designs/tiny.toml`.
const DESIGN: [&str; 8] = [
    "--variant",
    "dense",
    "--design",
    "tests/designs/tiny.toml",
    "--set",
    "space.spike-dhs.cells=[0]",
    "--set",
    "space.spike-dhs.nodes=1",
];

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
    let shape = ["--batch", "2", "--size", "8", "--set", "timesteps.compressive.max=3"];
    let result = bench(&[&["search-step", file][..], &shape, &CELL].concat());
    measured(&result);
    assert_eq!(result["shape"]["timesteps"], 3);
    assert_eq!(result["shape"]["image"], serde_json::json!([1, 8, 8]));
    // Of the stem, and of the three sources of a cell with two nodes that send, twice: for the
    // weights, for what is searched.
    assert_eq!(result["convolutions"], 2 * (1 + 3));
    // Stem 1 to 4 channels, s0 and s1 with two candidates to two nodes of 2 channels, n0 with one
    // to one; T·B = 6, maps of 4 x 4.
    let forward = 9 * 16 * (2 * 4 + 6 * (2 * 4 * 8 + 2 * 2));
    assert_eq!(result["forward_macs"], f64::from(2 * forward));
}

#[test]
fn retraining_and_evaluation_take_a_design() {
    let tiny = manifest("tiny.toml");
    for work in ["retrain-step", "evaluate"] {
        let shape = ["--batch", "2", "--size", "8", "--timesteps", "3"];
        let result = bench(&[&[work, tiny.to_str().unwrap()][..], &DESIGN, &shape].concat());
        measured(&result);
        assert_eq!(result["shape"]["timesteps"], 3);
    }
}

#[test]
fn the_floor_of_a_step_in_bf16_is_in_bf16() {
    let tiny = manifest("tiny.toml");
    let shape = ["--batch", "2", "--size", "8", "--set", "search.precision=bf16"];
    let result = bench(&[&["search-step", tiny.to_str().unwrap()][..], &shape, &CELL].concat());
    measured(&result);
    // All but the stem's, which reads the image.
    assert_eq!(result["convolutions_in_bf16"], 2 * 3);
}

/// `litesnn bench growth` on tiny images, as JSON, and its figure.
fn growth(arguments: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let (tiny, figure) = (manifest("tiny.toml"), folder.path().join("growth.svg"));
    let tiny = ["growth", tiny.to_str().unwrap(), "--size", "4", "--threads", "1", "--repeats", "1", "--json"];
    let output = succeed(litesnn().arg("bench").args(tiny).args(arguments).arg("--figure").arg(&figure));
    (serde_json::from_str(&stdout(&output)).unwrap(), std::fs::read_to_string(figure).unwrap())
}

fn names(result: &Value) -> Vec<&str> {
    result["series"].as_array().unwrap().iter().map(|series| series["against"].as_str().unwrap()).collect()
}

#[test]
fn growth_is_measured_along_every_axis_and_drawn() {
    let (result, figure) = growth(&[
        "--over=batch=[1, 2, 4]",
        "--over=timesteps.compressive.max=[1, 2]",
        "--over=space.spike-dhs.channels.search=[1, 2]",
        "--over=space.spike-dhs.cells=[[0], [0, 1], [0, 1, 1]]",
        "--over=size=[4, 8]",
    ]);
    let axes =
        ["batch", "timesteps.compressive.max", "space.spike-dhs.channels.search", "space.spike-dhs.cells", "size"];
    assert_eq!((names(&result), &result["of"]), (axes.to_vec(), &Value::from("search-step")));
    let sizes: Vec<f64> =
        result["series"][3]["points"].as_array().unwrap().iter().map(|point| point[0].as_f64().unwrap()).collect();
    assert_eq!(sizes, [1.0, 2.0, 3.0], "a list counts by its length");
    for series in result["series"].as_array().unwrap() {
        assert!(series["time_exponent"].as_f64().unwrap().is_finite(), "{series}");
        assert!(series["points"].as_array().unwrap().iter().all(|point| point[1].as_f64().unwrap() > 0.0), "{series}");
    }
    assert_eq!(figure.matches("exponent").count(), 2 * axes.len());
    for name in axes {
        assert!(figure.contains(name), "{name} is not in the figure");
    }
}

#[test]
fn growth_of_a_design_is_that_of_its_retraining() {
    let (result, _) = growth(&[&DESIGN[..], &["--over=timesteps=[1, 3]", "--over=batch=[2, 3]"]].concat());
    assert_eq!((names(&result), &result["of"]), (vec!["timesteps", "batch"], &Value::from("retrain-step")));
}

#[test]
fn growth_without_axes_takes_sizes_that_every_network_has() {
    let tiny = manifest("tiny.toml");
    let arguments = ["bench", "growth", tiny.to_str().unwrap(), "--threads", "1", "--repeats", "1"];
    let said = stdout(&succeed(litesnn().args(arguments)));
    assert!(said.starts_with("search-step against its sizes\n"), "{said}");
    let rows: Vec<&str> = said.lines().skip(3).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(rows, ["batch", "size"], "{said}");
}

#[test]
fn an_axis_that_is_none_is_told_before_anything_is_measured() {
    let tiny = manifest("tiny.toml");
    for (axis, code, messages) in [
        ("width=[1, 2]", 2, ["`width` is neither", "KEY is `batch`, `size`, `timesteps`, or a setting"]),
        ("batch=[1, 1.5]", 2, ["`1.5` is not a size: `--over batch`", "whole numbers from 1 on"]),
        ("timesteps=[1, 2]", 2, ["the timesteps of a search are a setting", "needs a design"]),
        ("space.spike-dhs.width=[1, 2]", 2, ["unknown key `width`", "known keys"]),
        ("space.spike-dhs.nodes=[2, 99]", 2, ["`space.spike-dhs.nodes`", "1 to 16"]),
    ] {
        let output =
            litesnn().args(["bench", "growth"]).arg(&tiny).args(["--over=batch=[1, 2]", "--over", axis]).output();
        let output = output.unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{axis}: {said}");
        assert!(messages.iter().all(|message| said.contains(message)), "{axis}: {said}");
        assert!(!said.contains("batch 1:"), "{axis}: {said}");
    }
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
    const DESIGNS: &str = "is for `litesnn bench retrain-step` and `litesnn bench evaluate`";
    for (arguments, message) in [
        (["lif", "--save=a"].as_slice(), format!("`--save` {DESIGNS}")),
        (&["--save=a"], format!("`--save` {DESIGNS}")),
        (&["growth", "--design=spike-dhs", "--save=a"], format!("`--save` {DESIGNS}")),
        (&["search-step", "--design=spike-dhs"], format!("`--design` {DESIGNS}")),
        (
            &["search-step", "--timesteps=2"],
            "`--set KEY=VALUE` changes a size, and `litesnn explain` lists the keys".into(),
        ),
        (&["growth", "--timesteps=2"], "`--timesteps` is for".into()),
        (&["evaluate", "--channels=2"], "`--channels` is for `litesnn bench lif`".into()),
        (&["lif", "--figure=a"], "`--figure` is for `litesnn bench growth`".into()),
        (&["lif", "--over=batch=[1, 2]"], "`--over` is for `litesnn bench growth`".into()),
    ] {
        let output = litesnn().arg("bench").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(&message), "{}", stderr(&output));
    }
}

#[test]
fn one_thread_is_one() {
    let lif = ["bench", "lif", "--batch=1", "--channels=1", "--size=2", "--threads=1", "--device=cpu"];
    let said = stdout(&succeed(litesnn().args(lif)));
    assert!(said.contains(" on \"cpu\", 1 thread\n"), "{said}");
}

#[test]
fn a_network_is_saved_with_its_logits() {
    let folder = tempfile::tempdir().unwrap();
    let (tiny, file) = (manifest("tiny.toml"), folder.path().join("saved.safetensors"));
    let shape = ["--batch", "2", "--save", file.to_str().unwrap()];
    bench(&[&["evaluate", tiny.to_str().unwrap()][..], &DESIGN, &shape].concat());
    let saved = tch::Tensor::read_safetensors(&file).unwrap();
    let of = |name: &str| &saved.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name}")).1;
    let logits = of("logits");
    assert_eq!((logits.size().len(), logits.size()[1]), (3, 2));
    assert_eq!(of("images").size()[0], 2);
    assert!(logits.abs().max().double_value(&[]) > 0.0);
    assert!(saved.iter().any(|(name, _)| name == "parameter/stem.weight"));
}
