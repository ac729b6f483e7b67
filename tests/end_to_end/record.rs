//! What a run leaves behind.

use std::path::{Path, PathBuf};

use polars::prelude::DataFrame;
use tempfile::TempDir;

use crate::support::{
    assert_same, files, floats, integers, lists, litesnn, manifest, numbers, run, stderr, stdout, strings, succeed,
    table, trial,
};

const TRAIN_EPOCHS: i64 = 2;

struct Tiny {
    _folder: TempDir,
    runs: PathBuf,
    lite: PathBuf,
    dense: PathBuf,
    said: String,
}

fn tiny() -> Tiny {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let output = succeed(&mut run(&manifest("tiny.toml"), &runs));
    assert!(!stdout(&output).contains("finished before"), "{}", stdout(&output));
    Tiny {
        lite: trial(&runs, "tiny", "lite-snn"),
        dense: trial(&runs, "tiny", "dense"),
        said: stderr(&output),
        runs,
        _folder: folder,
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[test]
fn a_trial_leaves_the_files_of_the_design() {
    let tiny = tiny();
    for (folder, searched) in [(&tiny.lite, true), (&tiny.dense, false)] {
        let found: Vec<String> = files(folder).into_keys().collect();
        let mut expected = vec![
            "checkpoint/latest.safetensors",
            "checkpoint/previous.safetensors",
            "design.toml",
            "history.parquet",
            "layers.parquet",
            "lock",
            "log.jsonl",
            "manifest.toml",
            "result.parquet",
            "stages.parquet",
            "threads",
        ];
        expected.extend(searched.then_some("weights.parquet"));
        assert_eq!(found, expected);
    }
    for words in ["device: cpu", "lite-snn seed 0: search, 2 epochs", "dense seed 0: retrain, 2 epochs", "report"] {
        assert!(tiny.said.contains(words), "{words} is not in\n{}", tiny.said);
    }
    let log = std::fs::read_to_string(tiny.lite.join("log.jsonl")).unwrap();
    let events: Vec<&str> = log.lines().map(|line| line.split("\"event\":\"").nth(1).unwrap()).collect();
    assert!(events[0].starts_with("start") && events.last().unwrap().starts_with("finished"), "{log}");
    assert_eq!(events.iter().filter(|event| event.starts_with("epoch")).count(), 4, "{log}");
}

#[test]
fn the_history_has_a_row_for_each_epoch_with_values_that_make_sense() {
    let tiny = tiny();
    let history = table(&tiny.lite.join("history.parquet"));
    assert_eq!(strings(&history, "stage"), ["search", "search", "retrain", "retrain"]);
    assert_eq!(integers(&history, "epoch"), [1, 2, 1, 2]);
    for column in ["train_loss", "validation_loss", "images_per_second", "seconds", "learning_rate"] {
        assert!(floats(&history, column).iter().all(|value| value.is_finite() && *value > 0.0), "{column}");
    }
    for (column, images) in [("train_accuracy", 40.0), ("validation_accuracy", 20.0)] {
        for value in floats(&history, column) {
            assert!(
                (0.0..=1.0).contains(&value) && close((value * images).round(), value * images),
                "{column} {value}"
            );
        }
    }
    for column in ["memory_bits", "bit_syn_ops", "mean_bits"] {
        let values = floats(&history, column);
        assert!(values[..2].iter().all(|value| *value > 0.0), "{column} of the search: {values:?}");
        assert!(values[2..].iter().all(|value| value.is_nan()), "{column} of retraining: {values:?}");
    }
    assert!(floats(&history, "mean_bits")[..2].iter().all(|bits| (1.0..=4.0).contains(bits)));
    for weights in lists(&history, "timestep_weights") {
        assert!(close(weights.iter().sum(), 1.0), "{weights:?}");
    }

    let dense = table(&tiny.dense.join("history.parquet"));
    assert_eq!(strings(&dense, "stage"), ["retrain", "retrain"]);
    assert_eq!(lists(&dense, "timestep_weights"), [[0.0, 1.0], [0.0, 1.0]]);
}

/// Layers and result of a trial, checked against each other and against the formulas of the cost
/// model.
fn check_cost(folder: &Path, bits: &[f64], rate: f64, timesteps: i64) -> (DataFrame, DataFrame) {
    let (layers, result) = (table(&folder.join("layers.parquet")), table(&folder.join("result.parquet")));
    let height = layers.height();
    assert_eq!(integers(&layers, "index"), (0..height as i64).collect::<Vec<_>>());
    assert_eq!(result.height(), 1);
    let [kernel_height, kernel_width, inputs, outputs, map_height, map_width, weights, kept] =
        ["kernel_height", "kernel_width", "inputs", "outputs", "map_height", "map_width", "weights", "kept_weights"]
            .map(|column| integers(&layers, column));
    let [of_weight, memory, macs, syn_ops, bit_syn_ops, multiplications] =
        ["bits", "memory_bits", "macs", "syn_ops", "bit_syn_ops", "multiplications"]
            .map(|column| floats(&layers, column));
    let rates = lists(&layers, "firing_rate");
    let (names, places) = (strings(&layers, "layer"), strings(&layers, "place"));
    assert!(places.iter().any(|place| place == "stem") && places.iter().any(|place| place == "classifier"));
    let mut reading_spikes = 0;
    for row in 0..height {
        let name = &names[row];
        assert_eq!(weights[row], kernel_height[row] * kernel_width[row] * inputs[row] * outputs[row], "{name}");
        assert!(close(macs[row], (weights[row] * map_height[row] * map_width[row]) as f64), "{name}");
        assert_eq!(kept[row], weights[row] - (rate * weights[row] as f64).floor() as i64, "{name}");
        assert!(bits.contains(&of_weight[row]), "{name}: {} bits", of_weight[row]);
        assert!(close(memory[row], kept[row] as f64 * of_weight[row]), "{name}");
        let density = kept[row] as f64 / weights[row] as f64;
        let spikes: f64 = rates[row].iter().sum();
        assert!(rates[row].iter().all(|rate| (0.0..=1.0).contains(rate)), "{name}: {:?}", rates[row]);
        assert!(close(syn_ops[row], density * spikes * macs[row]), "{name}: {} SynOps", syn_ops[row]);
        assert!(close(bit_syn_ops[row], of_weight[row] * syn_ops[row]), "{name}");
        if rates[row].is_empty() {
            let reads_the_image = places[row] == "stem";
            let expected = if reads_the_image { density * macs[row] * timesteps as f64 } else { 0.0 };
            assert!(close(multiplications[row], expected), "{name}: {} multiplications", multiplications[row]);
        } else {
            assert_eq!(rates[row].len() as i64, timesteps, "{name}");
            assert_eq!(multiplications[row], 0.0, "{name}");
            reading_spikes += 1;
        }
    }
    assert!(reading_spikes >= 2, "{names:?}");
    assert!(syn_ops.iter().sum::<f64>() > 0.0, "the network is silent");

    let stored = |row: &usize| places[*row] != "auxiliary";
    let sum = |values: &[f64]| (0..height).filter(stored).map(|row| values[row]).sum::<f64>();
    let count = |values: &[i64]| (0..height).filter(stored).map(|row| values[row]).sum::<i64>();
    for (column, expected) in [
        ("weight_bits", sum(&memory)),
        ("syn_ops", sum(&syn_ops)),
        ("bit_syn_ops", sum(&bit_syn_ops)),
        ("multiplications", sum(&multiplications)),
        ("mean_bits", sum(&memory) / count(&kept) as f64),
        (
            // Table 5 of the paper counts the stem twice.
            "ann_operations",
            (0..height)
                .filter(stored)
                .map(|row| if places[row] == "stem" { 2.0 } else { 1.0 } * macs[row] * kept[row] as f64 / weights[row] as f64)
                .sum(),
        ),
        ("energy_mj", (0.9 * sum(&syn_ops) + 3.7 * sum(&multiplications)) * 1e-9),
    ] {
        let found = floats(&result, column)[0];
        assert!(close(found, expected), "{column}: {found} is not {expected}");
    }
    assert_eq!(integers(&result, "weights"), [count(&weights)]);
    assert_eq!(integers(&result, "kept_weights"), [count(&kept)]);
    assert!(floats(&result, "model_size_bytes")[0] >= sum(&memory) / 8.0);
    assert_eq!(integers(&result, "timesteps"), [timesteps]);
    let accuracy = floats(&result, "test_accuracy")[0];
    assert!((0.0..=1.0).contains(&accuracy) && close((accuracy * 20.0).round(), accuracy * 20.0), "{accuracy}");
    assert!(floats(&result, "test_loss")[0] > 0.0);
    assert!(integers(&result, "peak_memory_bytes")[0] > 10 << 20);
    assert_eq!(integers(&result, "threads"), [1]);
    assert_eq!(integers(&result, "retrain_epochs"), [TRAIN_EPOCHS]);
    assert_eq!(strings(&result, "device"), ["cpu"]);
    assert_eq!(strings(&result, "dataset"), ["Fashion-MNIST (40/20/20)"]);
    let hash = &strings(&result, "hash")[0];
    assert!(folder.to_string_lossy().ends_with(hash.as_str()), "{hash}");
    (layers, result)
}

#[test]
fn layers_and_result_agree_with_the_cost_model() {
    let tiny = tiny();
    let design = std::fs::read_to_string(tiny.lite.join("design.toml")).unwrap();
    let steps = design.lines().find_map(|line| line.strip_prefix("timesteps = ")).unwrap().parse().unwrap();
    let (layers, result) = check_cost(&tiny.lite, &[1.0, 2.0, 4.0], 0.8, steps);
    assert_eq!(integers(&result, "search_epochs"), [TRAIN_EPOCHS]);
    // Layers of a cell have the bits that its group in the design says.
    let (places, bits) = (strings(&layers, "place"), floats(&layers, "bits"));
    for cell in ["cell0", "cell1"] {
        let section = design.split(&format!("[compression.gaussian-quantize.{cell}]")).nth(1).unwrap();
        let decided: f64 = section.lines().find_map(|line| line.strip_prefix("bits = ")).unwrap().parse().unwrap();
        let rows: Vec<usize> = (0..places.len()).filter(|row| places[*row] == cell).collect();
        assert!(!rows.is_empty() && rows.iter().all(|row| bits[*row] == decided), "{cell}: {bits:?}, {decided}");
    }

    let (layers, result) = check_cost(&tiny.dense, &[32.0], 0.0, 2);
    assert_eq!(integers(&result, "search_epochs"), [0]);
    assert_eq!(floats(&result, "search_seconds"), [0.0]);
    let additions: f64 = floats(&layers, "syn_ops").iter().sum();
    assert!(close(floats(&result, "bit_syn_ops")[0], 32.0 * additions));
}

#[test]
fn stages_add_up_to_the_history_and_to_the_result() {
    let tiny = tiny();
    for (folder, names, epochs) in [
        (&tiny.lite, vec!["search", "retrain", "evaluate"], vec![2, 2, 0]),
        (&tiny.dense, vec!["retrain", "evaluate"], vec![2, 0]),
    ] {
        let [stages, history, result] =
            ["stages", "history", "result"].map(|name| table(&folder.join(format!("{name}.parquet"))));
        assert_eq!(strings(&stages, "stage"), names);
        assert_eq!(integers(&stages, "epochs"), epochs);
        let (seconds, device) = (floats(&stages, "seconds"), floats(&stages, "device_seconds"));
        // One thread: the processor works as long as the clock runs, give or take what other
        // processes take.
        assert!(device.iter().all(|time| *time > 0.0), "{device:?}");
        let of_history: f64 = floats(&history, "seconds").iter().sum();
        assert!(close(seconds[..names.len() - 1].iter().sum(), of_history));
        let row = |name: &str| names.iter().position(|stage| *stage == name);
        let value = |values: &[f64], name: &str| row(name).map_or(0.0, |index| values[index]);
        assert!(close(floats(&result, "search_seconds")[0], value(&seconds, "search")));
        assert!(close(floats(&result, "search_device_seconds")[0], value(&device, "search")));
        assert!(close(floats(&result, "retrain_seconds")[0], value(&seconds, "retrain")));
        assert!(close(floats(&result, "retrain_device_seconds")[0], value(&device, "retrain")));
        let revision = &strings(&result, "revision")[0];
        assert!(revision == "unknown" || revision.split('+').next().unwrap().len() == 12, "{revision}");
    }
}

#[test]
fn the_bins_of_the_weights_hold_every_weight_of_the_search_once_in_each_form() {
    let tiny = tiny();
    let bins = table(&tiny.lite.join("weights.parquet"));
    let (layers, forms) = (strings(&bins, "layer"), strings(&bins, "form"));
    let (counts, removed) = (integers(&bins, "count"), integers(&bins, "removed"));
    let (low, high) = (floats(&bins, "low"), floats(&bins, "high"));
    let total = |values: &[i64], layer: &str, form: &str| -> i64 {
        (0..layers.len()).filter(|row| layers[*row] == layer && forms[*row] == form).map(|row| values[row]).sum()
    };
    let names: std::collections::BTreeSet<&String> = layers.iter().collect();
    assert!(names.len() > 4, "{names:?}");
    for layer in names {
        let (all, zeros) = (total(&counts, layer, "weight"), total(&removed, layer, "weight"));
        assert_eq!(zeros, (0.8 * all as f64).floor() as i64, "{layer}");
        for form in ["1 bit", "2 bits", "4 bits", "used"] {
            assert_eq!((total(&counts, layer, form), total(&removed, layer, form)), (all, zeros), "{layer} {form}");
        }
    }
    for row in 0..layers.len() {
        assert!(close(high[row] - low[row], 0.05) || (high[row] - low[row] - 0.05).abs() < 1e-9);
        // One bit: the levels are +-0.798 sigma.
        let at = [-0.8, 0.75].iter().any(|edge| (low[row] - edge).abs() < 1e-9);
        assert!(forms[row] != "1 bit" || at, "{} {}", layers[row], low[row]);
        // What was removed is used as zero.
        assert!(forms[row] != "used" || removed[row] == 0 || low[row] == 0.0, "{} {}", layers[row], low[row]);
    }
}

#[test]
fn a_record_says_what_was_changed_and_what_it_reproduces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    let text = std::fs::read_to_string(manifest("tiny.toml")).unwrap();
    let text = text.replace("name = \"tiny\"", "name = \"own\"\nreproduces = \"lite-snn/table4\"")
        + "\n[profile.short]\nretrain.epochs = 1\n";
    std::fs::write(&path, &text).unwrap();
    let told = |arguments: &[&str], path: &Path| {
        let runs = tempfile::tempdir().unwrap();
        succeed(run(path, runs.path()).args(arguments));
        let trial = trial(runs.path(), "own", "lite-snn");
        let result = table(&trial.join("result.parquet"));
        let kept = std::fs::read_to_string(trial.join("manifest.toml")).unwrap().contains("reproduces");
        let [reproduces, overrides] = ["reproduces", "overrides"].map(|column| strings(&result, column).remove(0));
        (reproduces, overrides, kept)
    };
    let answer = |overrides: &str, kept| ("lite-snn/table4".to_owned(), overrides.to_owned(), kept);
    assert_eq!(told(&[], &path), answer("", true));
    assert_eq!(told(&["--set", "experiment.seeds=[3]"], &path), answer("", true));
    assert_eq!(told(&["--set", "retrain.epochs=1"], &path), answer("retrain.epochs=1", false));
    assert_eq!(told(&["--profile", "short"], &path), answer("", false));
    // Another file's settings are not the published ones.
    let other = folder.path().join("other.toml");
    std::fs::write(&other, "extends = \"own.toml\"\n[retrain]\nepochs = 1\n").unwrap();
    assert_eq!(told(&[], &other), (String::new(), String::new(), false));
}

#[test]
fn finished_work_is_not_done_again() {
    let tiny = tiny();
    let before = files(&tiny.runs);
    let output = succeed(&mut run(&manifest("tiny.toml"), &tiny.runs));
    assert_eq!(stdout(&output).matches("finished before").count(), 2, "{}", stdout(&output));
    assert!(!stderr(&output).contains("epochs"), "{}", stderr(&output));
    assert!(before == files(&tiny.runs), "files changed");
    // A changed setting is other work, beside the old one.
    succeed(run(&manifest("tiny.toml"), &tiny.runs).args(["--set", "retrain.epochs=1"]));
    let after = files(&tiny.runs);
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)), "files changed");
    assert_eq!(std::fs::read_dir(tiny.runs.join("tiny")).unwrap().count(), 4);
}

#[test]
fn the_manifest_of_a_trial_runs_again_to_the_same_numbers() {
    let tiny = tiny();
    let again = tiny.runs.with_file_name("again");
    for (variant, original) in [("lite-snn", &tiny.lite), ("dense", &tiny.dense)] {
        let runs = again.join(variant);
        succeed(&mut run(&original.join("manifest.toml"), &runs));
        let copy = trial(&runs, "tiny", variant);
        // The path of a design's file is another one from elsewhere.
        let settings = |folder: &Path| {
            let text = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
            text.lines().filter(|line| !line.starts_with("file = ")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(settings(&copy), settings(original));
        let design = |folder: &Path| std::fs::read_to_string(folder.join("design.toml")).unwrap();
        assert_eq!(design(&copy), design(original));
        // A trial is called after the one that found its design, or after what the design's file
        // holds.
        let called = |name: &String| name.starts_with("result.hash") || name.starts_with("result.recipe");
        let [mut found, mut expected] = [&copy, original].map(|folder| numbers(folder));
        if variant == "dense" {
            found.retain(|name, _| !called(name));
            expected.retain(|name, _| !called(name));
        }
        assert_same(&found, &expected);
    }
}

#[test]
fn quiet_says_nothing_but_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let output = succeed(run(&manifest("tiny.toml"), folder.path()).arg("--quiet"));
    assert_eq!(stderr(&output), "");
    assert!(stdout(&output).contains("lite-snn seed 0"));
}

#[test]
fn a_failed_trial_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    // The second seed's folder cannot be created: a file is in its place.
    let two_seeds = |runs: &Path| {
        let mut command = run(&manifest("tiny.toml"), runs);
        command.args(["--set", "experiment.seeds=[0, 1]"]);
        command
    };
    let whole = folder.path().join("whole");
    succeed(&mut two_seeds(&whole));
    let broken = folder.path().join("broken");
    std::fs::create_dir_all(broken.join("tiny")).unwrap();
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let names: Vec<String> =
        std::fs::read_dir(whole.join("tiny")).unwrap().map(|entry| name(entry.unwrap().path())).collect();
    let blocked = names.iter().find(|name| name.starts_with("lite-snn-s1-")).unwrap();
    std::fs::write(broken.join("tiny").join(blocked), "").unwrap();
    let output = two_seeds(&broken).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(stdout(&output).matches("failed").count(), 2, "{}", stdout(&output));
    assert!(stderr(&output).contains(&format!("tiny/{blocked}")), "{}", stderr(&output));
    for name in names.iter().filter(|name| name.contains("-s0-")) {
        assert_same(&numbers(&broken.join("tiny").join(name)), &numbers(&whole.join("tiny").join(name)));
    }
}

#[test]
fn the_cost_of_a_manifest_that_ran_is_that_of_its_results() {
    let tiny = tiny();
    let output = succeed(litesnn().arg("cost").arg(manifest("tiny.toml")).arg("--json").arg("--runs").arg(&tiny.runs));
    let accounts: Vec<serde_json::Value> = serde_json::from_str(&stdout(&output)).unwrap();
    for (account, folder) in accounts.iter().zip([&tiny.lite, &tiny.dense]) {
        let result = table(&folder.join("result.parquet"));
        assert_eq!(account["name"].as_str().unwrap(), strings(&result, "variant")[0]);
        for (key, column) in [
            ("weight_bits", "weight_bits"),
            ("model_size_bytes", "model_size_bytes"),
            ("syn_ops", "syn_ops"),
            ("additions", "syn_ops"),
            ("bit_syn_ops", "bit_syn_ops"),
            ("multiplications", "multiplications"),
            ("ann_operations", "ann_operations"),
            ("energy_mj", "energy_mj"),
            ("stored_bytes", "stored_bytes"),
            ("syn_ops_counted", "syn_ops_counted"),
            ("bit_syn_ops_counted", "bit_syn_ops_counted"),
            ("multiplications_counted", "multiplications_counted"),
            ("energy_counted_mj", "energy_counted_mj"),
        ] {
            let (counted, recorded) = (account[key].as_f64().unwrap(), floats(&result, column)[0]);
            assert!(close(counted, recorded), "{}: {key} {counted}, recorded {recorded}", account["name"]);
        }
    }
    // Nothing is known of what was not searched.
    let elsewhere = tiny.runs.join("elsewhere");
    let output = litesnn().arg("cost").arg(manifest("tiny.toml")).arg("--runs").arg(&elsewhere).output().unwrap();
    let said = stderr(&output);
    assert!(said.contains("has no variant with a known design") && said.contains("elsewhere"), "{said}");
}

#[test]
fn data_that_are_not_there_fail_their_own_trials_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = std::fs::read_to_string(manifest("tiny.toml")).unwrap();
    let elsewhere = r#"
[[variant]]
name = "elsewhere"
set = { "dataset.fashion-mnist.root" = "nowhere" }

[[variant]]
name = "of-elsewhere"
remove = ["optimizer", "search"]
set = { "compressor" = [], "timesteps" = { fixed = { steps = 2 } }, "design" = { from = "elsewhere", keep = ["architecture"] } }
"#;
    let path = folder.path().join("tiny.toml");
    std::fs::write(&path, tiny + elsewhere).unwrap();
    let runs = folder.path().join("runs");
    let output = run(&path, &runs).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for variant in ["lite-snn", "dense"] {
        assert!(trial(&runs, "tiny", variant).join("result.parquet").exists(), "{variant}: {said}");
    }
    assert!(said.contains("trial elsewhere seed 0 failed") && said.contains("nowhere"), "{said}");
    assert!(
        said.contains("trial of-elsewhere seed 0 failed")
            && said.contains("the trial that it takes its design from cannot run: elsewhere seed 0"),
        "{said}"
    );
}
