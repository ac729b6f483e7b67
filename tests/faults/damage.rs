//! Files of a trial that are cut, changed, empty or something else.

use std::fs;
use std::path::Path;

use crate::support::{stderr, stdout, succeed};
use crate::tally::{FAULTS, count};
use crate::trials::{SHORT, command, fails, folder, goes_on, stopped};

const DAMAGES: [&str; 4] = ["bit flipped", "cut short", "empty", "something else"];

fn damaged(whole: &[u8], damage: &str) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match damage {
        "bit flipped" => bytes[whole.len() / 2] ^= 16,
        "cut short" => bytes.truncate(whole.len() / 2),
        "empty" => bytes.clear(),
        _ => bytes = b"\x89PNG\r\n\x1a\n and more that is no file of a trial".to_vec(),
    }
    bytes
}

/// A file that is not whole is named, kept under another name, and not used; the trial ends as it
/// would have.
pub fn files_of_a_trial() {
    let files = ["checkpoint/latest.safetensors", "history.parquet", "design.toml", "result.parquet"];
    for (index, name) in files.iter().enumerate() {
        for (number, damage) in DAMAGES.iter().enumerate() {
            if !crate::full() && number != index {
                continue;
            }
            let runs = stopped();
            if *name == "result.parquet" {
                succeed(&mut command(runs.path(), &SHORT));
            }
            let path = folder(runs.path()).join(name);
            let bytes = damaged(&fs::read(&path).unwrap(), damage);
            fs::write(&path, &bytes).unwrap();
            let output = goes_on(runs.path(), &SHORT);
            let said = stderr(&output);
            assert!(said.contains(&format!("note: `{}`", path.display())), "{name}, {damage}: {said}");
            assert!(said.contains("retrain, 6 epochs, resuming after epoch ") || *name == "result.parquet", "{said}");
            assert!(!stdout(&output).contains("finished before"), "{}", stdout(&output));
            let aside = path.with_file_name(format!("{}.damaged", path.file_name().unwrap().to_str().unwrap()));
            assert!(fs::read(&aside).is_ok_and(|kept| kept == bytes), "{} is not kept: {said}", aside.display());
            count(FAULTS, format!("{} {damage}", name.rsplit('/').next().unwrap()), 1);
        }
    }
}

fn checkpoints(runs: &Path) -> [std::path::PathBuf; 2] {
    ["latest", "previous"].map(|name| folder(runs).join(format!("checkpoint/{name}.safetensors")))
}

/// Then there is nothing to resume from, and the trial says so and starts again.
pub fn both_checkpoints() {
    let runs = stopped();
    for path in checkpoints(runs.path()) {
        fs::write(&path, damaged(&fs::read(&path).unwrap(), "bit flipped")).unwrap();
    }
    let said = stderr(&goes_on(runs.path(), &SHORT));
    assert!(said.contains("latest.safetensors") && said.contains("previous.safetensors"), "{said}");
    count(FAULTS, "both checkpoints bit flipped", 1);
}

/// One of another seed has the same shapes, and is not this trial's.
pub fn foreign_checkpoint() {
    let (runs, other) = (stopped(), tempfile::tempdir().unwrap());
    let mut seed = command(other.path(), &SHORT);
    succeed(seed.args(["--set", "experiment.seeds=[1]"]));
    let [latest, _] = checkpoints(runs.path());
    let own = fs::read(&latest).unwrap();
    fs::copy(&checkpoints(other.path())[0], &latest).unwrap();
    let output = command(runs.path(), &SHORT).output().unwrap();
    fails(&output, &["belongs to the trial", "move that folder"]);
    count(FAULTS, "checkpoint of another trial", 1);
    fs::write(&latest, own).unwrap();
    goes_on(runs.path(), &SHORT);
}

/// A loss of power between the two renames of a checkpoint leaves the one before, and a part of the
/// new one.
pub fn between_two_renames() {
    let runs = stopped();
    let [latest, previous] = checkpoints(runs.path());
    fs::rename(&latest, &previous).unwrap();
    fs::write(latest.with_file_name(".partial-a1b2c3"), "half").unwrap();
    let said = stderr(&goes_on(runs.path(), &SHORT));
    assert!(said.contains("retrain, 6 epochs, resuming after epoch "), "{said}");
    count(FAULTS, "stopped between two renames", 1);
}
