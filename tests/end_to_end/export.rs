//! A trained network that leaves as a file.

use std::path::Path;

use crate::support::{floats, litesnn, run, stderr, stdout, succeed, table, trial};

const MANIFEST: &str = r#"
[experiment]
name = "leaving"
description = "a small network that leaves"

[dataset.fashion-mnist]

[space.layers]
layers = [{ conv = 4, stride = 2 }, { conv = 8, stride = 2 }, { global_average = true }, { classifier = 1 }]

[[compressor]]
rescale-quantize = { bits = [2] }
[[compressor]]
magnitude-prune = { rate = 0.5 }

[timesteps.fixed]
steps = 2

[retrain]
epochs = 1
samples = 400
batch_size = 20
learning_rate = 0.1

[[variant]]
name = "spiking"

[[variant]]
name = "ann"
set = { "compressor" = [], "space.layers.activation" = "relu" }
"#;

fn export(trial: &Path) -> std::process::Command {
    let mut command = litesnn();
    command.arg("export").arg(trial);
    command
}

#[test]
fn an_exported_network_answers_as_its_trial_says() {
    let desk = tempfile::tempdir().unwrap();
    let manifest = desk.path().join("leaving.toml");
    std::fs::write(&manifest, MANIFEST).unwrap();
    let runs = desk.path().join("runs");
    succeed(&mut run(&manifest, &runs));
    let folder = trial(&runs, "leaving", "spiking");
    let packed = folder.join("network.packed");

    let said = stdout(&succeed(&mut export(&folder)));
    let length = std::fs::metadata(&packed).unwrap().len();
    assert_eq!(said, format!("{}: {length} bytes\n", packed.display()));
    let told = floats(&table(&folder.join("result.parquet")), "test_accuracy")[0];
    let mut infer = litesnn();
    infer.arg("infer").arg(&packed).args(["--dataset", "fashion-mnist", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&stdout(&succeed(&mut infer))).unwrap();
    assert_eq!(found["images"], 1000);
    // libtorch rounds its sums: an image may fall on the other side.
    let accuracy = found["accuracy"].as_f64().unwrap();
    assert!((accuracy - told).abs() < 0.0021, "{accuracy}, and the trial says {told}");

    // The rows of `--layers` are all of the time, and their operations all of the additions and the
    // stem's multiplications.
    let mut infer = litesnn();
    infer.arg("infer").arg(&packed).args(["--dataset", "fashion-mnist", "--limit", "5", "--layers", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&stdout(&succeed(&mut infer))).unwrap();
    let rows = found["by_layer"].as_array().unwrap();
    let sum = |key: &str| rows.iter().filter_map(|row| row[key].as_f64()).sum::<f64>();
    assert!((sum("share") - 1.0).abs() < 1e-9, "{found:#}");
    let (stem, operations) = (rows[0]["syn_ops"].as_f64().unwrap(), sum("syn_ops"));
    assert_eq!(rows[0]["form"], "image", "{found:#}");
    assert!((operations - stem - found["additions"].as_f64().unwrap()).abs() < 1e-6, "{found:#}");

    let picture = desk.path().join("grey.png");
    image::GrayImage::from_pixel(40, 28, image::Luma([90])).save(&picture).unwrap();
    let mut infer = litesnn();
    infer.arg("infer").arg(&packed).arg("--image").arg(&picture).arg("--json");
    let classes: serde_json::Value = serde_json::from_str(&stdout(&succeed(&mut infer))).unwrap();
    let sum: f64 = classes["classes"].as_array().unwrap().iter().map(|one| one["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{classes}");

    let onnx = desk.path().join("network.onnx");
    succeed(export(&folder).args(["--format", "onnx", "--out"]).arg(&onnx));
    assert!(std::fs::read(&onnx).unwrap().windows(7).any(|window| window == b"litesnn"));
}

#[test]
fn what_cannot_leave_is_refused_in_words() {
    let desk = tempfile::tempdir().unwrap();
    let manifest = desk.path().join("leaving.toml");
    std::fs::write(&manifest, MANIFEST.replace("samples = 400", "samples = 20")).unwrap();
    let runs = desk.path().join("runs");
    succeed(&mut run(&manifest, &runs));
    let said = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        stderr(&output)
    };
    let ann = trial(&runs, "leaving", "ann");
    assert!(said(&mut export(&ann)).contains("its neurons do not spike"), "{}", said(&mut export(&ann)));
    assert!(!ann.join("network.packed").exists());
    assert!(said(&mut export(&manifest)).contains("is no folder of a trial"));
    assert!(said(&mut export(desk.path())).contains("holds no finished trial"));
    let mut infer = litesnn();
    infer.arg("infer").arg(&manifest).args(["--dataset", "fashion-mnist"]);
    assert!(said(&mut infer).contains("this is no packed network that can be read"));
}
