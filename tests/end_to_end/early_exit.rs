//! Early exit, from the manifest to the page.

use std::path::{Path, PathBuf};

use crate::support::{
    all_numbers, assert_all_same, floats, integers, lists, litesnn, numbers, run, stderr, stdout, strings, succeed,
    table, trial,
};

/// The same network three times: without early exit, with one that stops no image, and with one
/// that stops some.
const MANIFEST: &str = r#"
[experiment]
name = "exits"
seeds = [0]

[dataset.fashion-mnist]
train = 60
validation = 20
test = 40

[space.layers]
layers = [{ conv = 4 }, { max_pool = 2 }, { conv = 6, stride = 2 }, { global_average = true }, { classifier = 1 }]

[timesteps.fixed]
steps = 3

[retrain]
epochs = 4
batch_size = 20
learning_rate = 0.2
loss = "prefix-cross-entropy"

[[variant]]
name = "fixed"

[[variant]]
name = "never"
set = { "timesteps" = { early-exit = { max = 3, threshold = 0.0, thresholds = [0.0] } } }

[[variant]]
name = "early"
set = { "timesteps" = { early-exit = { max = 3, threshold = 0.995, thresholds = [0.0, 0.99, 0.999, 1.5] } } }
"#;

fn manifest(folder: &Path) -> PathBuf {
    let path = folder.join("exits.toml");
    std::fs::write(&path, MANIFEST).unwrap();
    path
}

#[test]
fn early_exit_runs_from_the_manifest_to_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let (path, runs, out) = (manifest(folder.path()), folder.path().join("runs"), folder.path().join("report"));
    succeed(&mut run(&path, &runs));
    let [fixed, never, early] = ["fixed", "never", "early"].map(|variant| trial(&runs, "exits", variant));

    // Threshold 0 gives the static network to the bit: tables differ in names and in AET alone, and the
    // file in the rule that it has.
    let own = ["exits.", "result.hash", "result.recipe", "result.variant", "result.earliest_timestep", "result.file"];
    let others = |folder: &Path| {
        let mut numbers = numbers(folder);
        numbers.retain(|name, _| !own.iter().any(|own| name.starts_with(own)));
        numbers
    };
    crate::support::assert_same(&others(&never), &others(&fixed));
    assert!(!fixed.join("exits.parquet").exists());

    // The result is the row of its threshold; operations fall with timesteps.
    let (exits, result) = (table(&early.join("exits.parquet")), table(&early.join("result.parquet")));
    let thresholds = floats(&exits, "threshold");
    assert_eq!(thresholds[..5], [0.0, 0.99, 0.995, 0.999, 1.5]);
    assert!(thresholds[5..].len() == 3 && thresholds[5..].iter().all(|threshold| threshold.is_nan()));
    assert_eq!(integers(&exits, "result"), [0, 0, 1, 0, 0, 0, 0, 0]);
    for column in [
        "test_accuracy",
        "test_loss",
        "mean_timesteps",
        "syn_ops",
        "bit_syn_ops",
        "multiplications",
        "energy_mj",
        "syn_ops_counted",
        "bit_syn_ops_counted",
        "multiplications_counted",
        "energy_counted_mj",
    ] {
        assert_eq!(floats(&exits, column)[2].to_bits(), floats(&result, column)[0].to_bits(), "{column}");
    }
    let means = floats(&exits, "mean_timesteps");
    for (stopped, mean) in lists(&exits, "stopped").iter().zip(&means) {
        assert!((stopped.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((stopped[0] + 2.0 * stopped[1] + 3.0 * stopped[2] - mean).abs() < 1e-12);
    }
    assert_eq!((means[0], means[4], &means[5..]), (3.0, 1.0, &[1.0, 2.0, 3.0][..]));
    assert!(1.0 < means[2] && means[2] < 3.0, "some stop and some run on: {means:?}");
    for column in ["syn_ops", "bit_syn_ops", "multiplications", "syn_ops_counted", "multiplications_counted"] {
        let costs = floats(&exits, column);
        assert!(costs[..5].windows(2).all(|pair| pair[0] >= pair[1]) && costs[0] > costs[4], "{column}: {costs:?}");
        assert_eq!((costs[0].to_bits(), costs[4].to_bits()), (costs[7].to_bits(), costs[5].to_bits()), "{column}");
    }
    assert_eq!(integers(&result, "timesteps"), [3]);
    assert!((1.0..=3.0).contains(&floats(&result, "earliest_timestep")[0]));

    // The same account from the run.
    let output = succeed(litesnn().arg("cost").arg(&early).arg("--json"));
    let account: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let account = if account.is_array() { account[0].clone() } else { account };
    for column in ["syn_ops", "bit_syn_ops", "multiplications", "syn_ops_counted"] {
        let (counted, recorded) = (account[column].as_f64().unwrap(), floats(&result, column)[0]);
        assert!((counted - recorded).abs() <= 1e-9 * recorded, "{column}: {counted}, recorded {recorded}");
    }

    // Table, figure, page.
    succeed(litesnn().arg("report").arg(&runs).arg("--out").arg(&out));
    let text = std::fs::read_to_string(out.join("exits/exits.md")).unwrap();
    assert!(text.contains("threshold 0.995 \\*") && text.contains("after 3 timesteps"), "{text}");
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("Early exit") && page.contains("exits.svg"));
    assert!(out.join("exits/exits.png").exists());

    // The same manifest again gives the same tables, and the same work elsewhere is taken over.
    let again = folder.path().join("again");
    succeed(&mut run(&path, &again));
    assert_all_same(&all_numbers(&again, "exits"), &all_numbers(&runs, "exits"));
    std::fs::write(&path, MANIFEST.replace("\"exits\"", "\"elsewhere\"")).unwrap();
    succeed(&mut run(&path, &runs));
    let copy = trial(&runs, "elsewhere", "early");
    assert_eq!(strings(&table(&copy.join("result.parquet")), "hash"), strings(&result, "hash"));
    assert_eq!(floats(&table(&copy.join("exits.parquet")), "mean_timesteps"), means);
}

#[test]
fn bad_settings_of_early_exit_are_refused_at_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = manifest(folder.path());
    for (settings, words) in [
        ("threshold = 85", "is 85, and has to be 0 to 2"),
        ("threshold = 0.5, thresholds = []", "is empty, and has to hold 1 or more"),
        (
            "threshold = 0.5, thresholds = [0.9, 0.1]",
            "[0.9, 0.1] is not a list of one or more thresholds from 0 to 2, ascending",
        ),
        ("threshold = 0.5, rule = \"margin\"", "known values: `entropy`, `confidence`"),
    ] {
        std::fs::write(&path, MANIFEST.replace("threshold = 0.0, thresholds = [0.0]", settings)).unwrap();
        let output = litesnn().arg("plan").arg(&path).output().unwrap();
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(words) && said.contains("exits.toml"), "{settings}: {said}");
        assert!(said.contains("timesteps"), "{settings}: {said}");
    }
}
