//! Trials that something is done to, and what they are when nothing is.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

use litesnn_framework::train::Checkpoint;
use tempfile::TempDir;

use crate::support::{Numbers, assert_same, manifest, numbers, run, run_until, signal, stderr, succeed, trial};
use crate::tally;

/// A short trial with all stages.
pub const SHORT: [&str; 4] = ["--set", "search.epochs=4", "--set", "retrain.epochs=6"];
/// The same, searched step by step.
pub const SEQUENTIAL: [&str; 6] =
    ["--set", "optimizer.sequential.lambda_memory=1e-6", "--set", "search.epochs=4", "--set", "retrain.epochs=8"];

/// Compressors whose state changes with training, with each kind of it: structures that evolve by
/// gradients, targets of ADMM, thresholds, slopes, ranks of spikes.
pub const EVOLVING: [&str; 6] = [
    "--set",
    "compressor=[{ evolve-prune = { rate = 0.5, interval = 2 } }, { admm-quantize = { bits = 2, rho = 0.1 } }]",
    "--set",
    "search.epochs=4",
    "--set",
    "retrain.epochs=8",
];
pub const GROWING: [&str; 6] = [
    "--set",
    "compressor=[{ spine-prune = { threshold = 0.1 } }, { binary-standardize = {} }, { admm-prune = { rate = 0.5, rho = 0.1 } }]",
    "--set",
    "search.epochs=4",
    "--set",
    "retrain.epochs=8",
];

pub const RANKED: [&str; 6] = [
    "--set",
    "compressor=[{ channel-rank-prune = { rate = 0.5, when = 0.5 } }, { rescale-quantize = { bits = [2, 4] } }]",
    "--set",
    "search.epochs=4",
    "--set",
    "retrain.epochs=8",
];

pub fn command(runs: &Path, more: &[&str]) -> Command {
    let mut command = run(&manifest("long.toml"), runs);
    command.args(more);
    command
}

/// The only trial in a folder.
pub fn folder(runs: &Path) -> PathBuf {
    trial(runs, "tiny", "lite-snn")
}

/// All that a trial leaves: tables without times, the design, and every tensor of the last
/// checkpoint.
fn end(folder: &Path) -> Numbers {
    let mut all = numbers(folder);
    all.insert("design".into(), std::fs::read_to_string(folder.join("design.toml")).unwrap());
    let checkpoint = Checkpoint::read(&folder.join("checkpoint/latest.safetensors")).unwrap();
    for (name, tensor) in checkpoint.tensors.iter().chain(&checkpoint.descent) {
        // A single is a double with the same value.
        let values = Vec::<f64>::try_from(tensor.to_kind(tch::Kind::Double).flatten(0, -1)).unwrap();
        let bits: Vec<String> = values.iter().map(|value| format!("{:x}", value.to_bits())).collect();
        all.insert(format!("checkpoint.{name}"), bits.join(" "));
    }
    all
}

/// A trial that nothing happens to.
#[derive(Clone)]
pub struct Undisturbed {
    /// What it ends with.
    pub end: Numbers,
    /// Lines that it says on stderr.
    pub lines: usize,
    pub seconds: f64,
}

/// A trial that nothing happens to: run once.
pub fn undisturbed(more: &[&str]) -> Undisturbed {
    static KNOWN: Mutex<BTreeMap<Vec<String>, Undisturbed>> = Mutex::new(BTreeMap::new());
    let key: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
    let mut known = KNOWN.lock().unwrap();
    known
        .entry(key)
        .or_insert_with(|| {
            let runs = tempfile::tempdir().unwrap();
            let begin = Instant::now();
            let output = succeed(&mut command(runs.path(), more));
            let seconds = begin.elapsed().as_secs_f64();
            Undisturbed { end: end(&folder(runs.path())), lines: stderr(&output).lines().count(), seconds }
        })
        .clone()
}

/// The same command again ends with what an undisturbed one does.
pub fn goes_on(runs: &Path, more: &[&str]) -> Output {
    let output = command(runs, more).output().unwrap();
    if !output.status.success() {
        tally::compared(false);
        panic!("it does not resume: {}", stderr(&output));
    }
    compare(runs, more);
    output
}

/// A trial that is finished is as an undisturbed one.
pub fn compare(runs: &Path, more: &[&str]) {
    let expected = undisturbed(more).end;
    let found = end(&folder(runs));
    tally::compared(found == expected);
    assert_same(&found, &expected);
}

/// A short trial that was stopped in retraining, in a folder of its own.
pub fn stopped() -> TempDir {
    static STOPPED: LazyLock<TempDir> = LazyLock::new(|| {
        let runs = tempfile::tempdir().unwrap();
        let (mut child, mut lines) = run_until(&mut command(runs.path(), &SHORT), "retrain  2/6");
        signal(&child, "INT");
        let mut said = String::new();
        lines.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
        runs
    });
    let copy = tempfile::tempdir().unwrap();
    crate::support::copy_folder(STOPPED.path(), copy.path());
    copy
}

/// The command fails, exits with 1, says all of `words` and does not show its insides.
pub fn fails(output: &Output, words: &[&str]) -> String {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    for word in ["panicked", "backtrace", "frame #", "internal error"] {
        assert!(!said.contains(word), "{said}");
    }
    said
}
