//! A trained network that leaves as a file.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use crate::support::{floats, integers, litesnn, run, stderr, stdout, succeed, table, trial};

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
name = "sure"
set = { "timesteps" = { early-exit = { max = 3, threshold = 0.99 } }, "retrain.loss" = "prefix-cross-entropy" }

[[variant]]
name = "ann"
set = { "compressor" = [], "space.layers.activation" = "relu" }
"#;

/// Writes a manifest to the desk and runs its trials: their folder. Of few samples where the test
/// asks for no accuracy.
fn runs_of(text: &str, desk: &Path, arguments: &[&str]) -> PathBuf {
    let runs = desk.join("runs");
    std::fs::write(desk.join("leaving.toml"), text).unwrap();
    succeed(run(&desk.join("leaving.toml"), &runs).args(arguments));
    runs
}

fn of_few_samples() -> String {
    MANIFEST.replace("samples = 400", "samples = 20")
}

/// The mean of log sum exp(logits) - logit of the label over all images of a file of `--logits`.
fn cross_entropy(file: &[u8]) -> f64 {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let (logits, labels) = (tensors.tensor("logits").unwrap(), tensors.tensor("labels").unwrap());
    let classes = logits.shape()[1];
    let logits = logits.data().chunks_exact(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())));
    let logits: Vec<f64> = logits.collect();
    let labels = labels.data().chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as usize);
    let of_image = |(logits, label): (&[f64], usize)| {
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln() - logits[label]
    };
    let losses: Vec<f64> = logits.chunks(classes).zip(labels).map(of_image).collect();
    losses.iter().sum::<f64>() / losses.len() as f64
}

fn export(trial: &Path) -> std::process::Command {
    let mut command = litesnn();
    command.arg("export").arg(trial);
    command
}

#[test]
fn an_exported_network_answers_as_its_trial_says() {
    let desk = tempfile::tempdir().unwrap();
    let runs = runs_of(MANIFEST, desk.path(), &[]);
    for row in ["sure", "spiking"] {
        let folder = trial(&runs, "leaving", row);
        let packed = folder.join("network.packed");
        let said = stdout(&succeed(&mut export(&folder)));
        let length = std::fs::metadata(&packed).unwrap().len();
        assert_eq!(said, format!("{}: {length} bytes\n", packed.display()));
        let result = table(&folder.join("result.parquet"));
        let bytes = ["file_bytes", "stored_bytes"].map(|column| floats(&result, column)[0]);
        assert_eq!(bytes[0], length as f64, "{row}: the record tells the size of the file");
        let file = std::fs::read(&packed).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let weights =
            ["numbers", "weights"].map(|name| tensors.tensor(name).unwrap().data().len()).iter().sum::<usize>();
        assert_eq!(bytes[1], weights as f64, "{row}: the record tells what the file holds beside its graph");
        let logits = desk.path().join("logits");
        let mut infer = litesnn();
        infer.arg("infer").arg(&packed).args(["--dataset", "fashion-mnist", "--json", "--logits"]).arg(&logits);
        let found: serde_json::Value = serde_json::from_str(&stdout(&succeed(&mut infer))).unwrap();
        assert_eq!((found["images"].as_i64(), integers(&result, "by_levels")), (Some(1000), vec![1]));
        for (key, column) in [("accuracy", "test_accuracy"), ("mean_timesteps", "mean_timesteps")] {
            let told = floats(&result, column)[0];
            assert!(
                (found[key].as_f64().unwrap() - told).abs() < 1e-12,
                "{row}, {key}: {found}, the trial says {told}"
            );
        }
        // The loss is that of the engine's logits, here in f64.
        let (loss, told) = (cross_entropy(&std::fs::read(&logits).unwrap()), floats(&result, "test_loss")[0]);
        assert!((loss - told).abs() < 1e-6, "{row}: the engine's logits have a loss of {loss}, the trial says {told}");
        let timesteps = found["mean_timesteps"].as_f64().unwrap();
        assert!(row == "spiking" || (1.1..2.9).contains(&timesteps), "no image stops early, or all do: {timesteps}");
    }
    let folder = trial(&runs, "leaving", "spiking");
    let packed = folder.join("network.packed");

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

    let said = stderr(&litesnn().arg("infer").arg(&packed).arg("--sound").arg(&picture).output().unwrap());
    assert!(said.contains("does not say how its input, [1, 28, 28], is made of a sound"), "{said}");

    let onnx = desk.path().join("network.onnx");
    succeed(export(&folder).args(["--format", "onnx", "--out"]).arg(&onnx));
    assert!(std::fs::read(&onnx).unwrap().windows(7).any(|window| window == b"litesnn"));

    // An HDF5 file begins with its signature, and a text of its metadata lies in it as it is.
    succeed(export(&folder).args(["--format", "nir"]));
    let nir = std::fs::read(folder.join("network.nir")).unwrap();
    assert!(nir.starts_with(b"\x89HDF\r\n\x1a\n"));
    let digest = Sha256::digest(std::fs::read(&packed).unwrap());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(nir.windows(64).any(|window| window == digest.as_bytes()), "{digest} is the digest of the packed file");
}

#[test]
fn what_cannot_leave_is_refused_in_words() {
    let desk = tempfile::tempdir().unwrap();
    let runs = runs_of(&of_few_samples(), desk.path(), &[]);
    let manifest = desk.path().join("leaving.toml");
    let said = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        stderr(&output)
    };
    let ann = trial(&runs, "leaving", "ann");
    assert!(said(&mut export(&ann)).contains("its neurons do not spike"), "{}", said(&mut export(&ann)));
    assert!(!ann.join("network.packed").exists());
    assert!(said(&mut export(&manifest)).contains("is neither the folder of a trial nor a design"));
    assert!(said(&mut export(desk.path())).contains("holds no finished trial"));
    let spiking = trial(&runs, "leaving", "spiking");
    succeed(&mut export(&spiking));
    let packed = spiking.join("network.packed");
    let of_a_trial = format!("`litesnn export {}` takes the trial in whose folder it lies", spiking.display());
    assert!(said(&mut export(&packed)).contains(&of_a_trial), "{}", said(&mut export(&packed)));

    let infer = |file: &Path, arguments: &[&str]| {
        let mut command = litesnn();
        command.arg("infer").arg(file).args(arguments);
        command
    };
    let onnx = desk.path().join("network.onnx");
    succeed(export(&spiking).args(["--format", "onnx", "--out"]).arg(&onnx));
    let on_pictures = ["--dataset", "fashion-mnist"];
    for file in [&manifest, &onnx] {
        let found = said(&mut infer(file, &on_pictures));
        assert!(found.contains("is no packed network") && found.contains("`litesnn export` writes"), "{found}");
    }
    let found = said(&mut infer(&spiking, &on_pictures));
    assert!(found.contains(&format!("`litesnn infer {}` runs the one in it", packed.display())), "{found}");
    let found = said(&mut infer(&ann, &on_pictures));
    assert!(found.contains("is a folder, and no packed network") && found.contains("`litesnn export "), "{found}");

    // What has no meaning for a picture was ignored once, or its file was not written.
    for (arguments, parts) in [
        (&["--dataset", "fashion-mnits"][..], ["unknown dataset `fashion-mnits`", "did you mean `fashion-mnist`?"]),
        (&["--image", "a.png", "--logits", "logits"], ["cannot be used with", "--logits"]),
        (&["--image", "a.png", "--limit", "3"], ["cannot be used with", "--limit"]),
        (&["--sound", "a.wav", "--split", "train"], ["cannot be used with", "--split"]),
        (&["--dataset", "fashion-mnist", "--limit", "0"], ["'0' for '--limit <N>'", "0 is not in 1..=4294967295"]),
        (&["--dataset", "fashion-mnist", "--threads", "0"], ["'0' for '--threads <N>'", "0 is not in 1..=1024"]),
        (&["--dataset", "fashion-mnist", "--threads", "9999"], ["'9999' for '--threads <N>'", "not in 1..=1024"]),
        (&["--dataset", "fashion-mnist", "--set", "dataset.fashion-mnist.tset=3"], ["unknown key `tset`", "`test`?"]),
    ] {
        let found = said(&mut infer(&packed, arguments));
        assert!(parts.iter().all(|part| found.contains(part)), "{arguments:?}, {parts:?}: {found}");
    }
    for (arguments, told) in [
        (&["--width", "int4"][..], "`--width` is for `--format onnx`"),
        (&["--format", "nir", "--spikes"], "`--spikes` is for `--format onnx`"),
        (&["--format", "onnx", "--unit-resistance"], "`--unit-resistance` is for `--format nir`"),
        (&["--past-exit"], "`--past-exit` is for `--format onnx` and `--format nir`"),
    ] {
        assert!(said(export(&spiking).args(arguments)).contains(told), "{arguments:?}");
    }
    let sure = trial(&runs, "leaving", "sure");
    for format in ["onnx", "nir"] {
        let found = said(export(&sure).args(["--format", format]));
        assert!(found.contains("`--past-exit` writes its answers at the last timestep"), "{found}");
    }
}

/// The options of the exporters: levels of fewer bits, spikes as outputs, r = 1, answers past the
/// exit.
#[test]
fn options_of_a_format_reach_its_exporter() {
    let desk = tempfile::tempdir().unwrap();
    let runs = runs_of(&of_few_samples(), desk.path(), &[]);
    let written = |row: &str, arguments: &[&str]| {
        let file = desk.path().join("file");
        succeed(export(&trial(&runs, "leaving", row)).args(arguments).arg("--out").arg(&file));
        std::fs::read(file).unwrap()
    };
    let holds = |file: &[u8], text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    let sizes =
        ["float", "int8", "int4"].map(|width| written("spiking", &["--format", "onnx", "--width", width]).len());
    assert!(sizes.is_sorted_by(|more, fewer| more > fewer), "fewer bits, fewer bytes: {sizes:?}");
    let plain = written("spiking", &["--format", "onnx"]);
    assert_eq!(plain.len(), sizes[1], "int8 is the default");
    let spikes = written("spiking", &["--format", "onnx", "--spikes"]);
    assert!(spikes.len() > plain.len(), "every map of neurons is an output");
    for format in ["onnx", "nir"] {
        let past = written("sure", &["--format", format, "--past-exit"]);
        assert!(holds(&past, "early_exit"), "{format}: the metadata says that the network stops early");
    }
    assert_ne!(written("spiking", &["--format", "nir", "--unit-resistance"]), written("spiking", &["--format", "nir"]));
}

/// A packed file has no settings of a data set of pictures: on other images its accuracy was another
/// one, without a word.
#[test]
fn settings_of_the_data_set_give_the_accuracy_of_the_trial() {
    let desk = tempfile::tempdir().unwrap();
    let text = MANIFEST
        .replace("samples = 400", "samples = 100")
        .replace("[dataset.fashion-mnist]", "[dataset.fashion-mnist]\ntest = 100");
    let one_variant = &text[..text.find("[[variant]]\nname = \"sure\"").unwrap()];
    let runs = runs_of(one_variant, desk.path(), &[]);
    let folder = trial(&runs, "leaving", "spiking");
    succeed(&mut export(&folder));
    let result = table(&folder.join("result.parquet"));
    let infer = |set: &[&str]| {
        let mut infer = litesnn();
        infer.arg("infer").arg(folder.join("network.packed")).args(["--dataset", "fashion-mnist", "--json"]).args(set);
        let output = succeed(&mut infer);
        (serde_json::from_str::<serde_json::Value>(&stdout(&output)).unwrap(), stderr(&output))
    };
    let (found, said) = infer(&["--set", "dataset.fashion-mnist.test=100"]);
    assert_eq!((found["images"].as_i64(), said.as_str()), (Some(100), ""));
    assert_eq!(found["accuracy"].as_f64().unwrap(), floats(&result, "test_accuracy")[0]);
    let (found, said) = infer(&[]);
    assert_eq!(found["images"], 1000);
    let note = "note: the trial had other data than `fashion-mnist` is here";
    assert!(said.contains(note) && said.contains("`--set dataset.fashion-mnist.KEY=VALUE`"), "{said}");
}

/// Trials of two seeds and of variants that differ in their timesteps.
#[test]
fn a_design_leaves_with_the_weights_of_the_one_trial_that_trained_it() {
    let desk = tempfile::tempdir().unwrap();
    let runs = runs_of(&of_few_samples(), desk.path(), &["--set", "experiment.seeds=[0, 1]"]);
    let design = desk.path().join("found.toml");
    let of_design = || {
        let mut command = export(&design);
        command.arg("--runs").arg(&runs);
        command
    };
    let of_seed = |seed: i64| {
        let folders = std::fs::read_dir(runs.join("leaving")).unwrap().map(|entry| entry.unwrap().path());
        let begins = |folder: &std::path::PathBuf| {
            folder.file_name().unwrap().to_string_lossy().starts_with(&format!("sure-s{seed}-"))
        };
        folders.into_iter().find(begins).unwrap()
    };
    let first = of_seed(0);
    std::fs::copy(first.join("design.toml"), &design).unwrap();

    // Both seeds of `sure`, which has three timesteps.
    let output = of_design().output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("found.toml` is the design of 2 finished trials below `"), "{said}");
    for seed in [0, 1] {
        let folder = of_seed(seed);
        let accuracy = 100.0 * floats(&table(&folder.join("result.parquet")), "test_accuracy")[0];
        let line = format!("{}: seed {seed}, {accuracy:.2} % of ", folder.display());
        assert!(said.contains(&line), "`{line}` is not in: {said}");
    }
    assert!(said.contains(&format!("`litesnn export {}` takes the first one", first.display())), "{said}");
    assert!(!first.join("network.packed").exists());

    // Without the other seed there is one trial, whose file has the same bytes by either name.
    std::fs::remove_dir_all(of_seed(1)).unwrap();
    let packed = |command: &mut std::process::Command| {
        let said = stdout(&succeed(command));
        let file = first.join("network.packed");
        assert!(said.starts_with(&format!("{}: ", file.display())), "{said}");
        std::fs::read(file).unwrap()
    };
    assert_eq!(packed(&mut of_design()), packed(&mut export(&first)));

    let text = std::fs::read_to_string(&design).unwrap();
    assert!(text.contains("timesteps = 3"), "{text}");
    std::fs::write(&design, text.replace("timesteps = 3", "timesteps = 5")).unwrap();
    let said = stderr(&of_design().output().unwrap());
    for part in ["has no weights, and no finished trial below `", "`[design] file = \"", "found.toml\"`"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}
