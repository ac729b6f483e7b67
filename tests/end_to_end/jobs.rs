//! Trials side by side, each in a process of its own.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{
    all_numbers, assert_all_same, files, litesnn, manifest, run, run_until, signal, stderr, stdout, succeed,
};

const SEEDS: [&str; 2] = ["--set", "experiment.seeds=[0, 1]"];

fn side_by_side(runs: &Path, jobs: &str) -> Command {
    let mut command = run(&manifest("tiny.toml"), runs);
    command.args(SEEDS).args(["--jobs", jobs]);
    command
}

#[test]
fn they_have_the_numbers_of_trials_in_one_process() {
    let [one, two, alone] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    succeed(run(&manifest("tiny.toml"), alone.path()).args(SEEDS));
    let said = succeed(&mut side_by_side(two.path(), "2"));
    succeed(&mut side_by_side(one.path(), "1"));
    let expected = all_numbers(alone.path(), "tiny");
    assert_eq!(expected.len(), 4);
    assert_all_same(&all_numbers(one.path(), "tiny"), &expected);
    assert_all_same(&all_numbers(two.path(), "tiny"), &expected);
    let said = stderr(&said);
    assert!(said.contains("4 trials: 4 done, 0 finished before, 0 failed, 0 open"), "{said}");
    assert!(said.contains("dense seed 1: retrain  2/2  loss"), "{said}");
    // What a launch needed is cleared away with its success.
    assert!(files(two.path()).keys().all(|name| !name.starts_with(".launches")), "{said}");

    let again = succeed(&mut side_by_side(two.path(), "2"));
    assert_eq!(stdout(&again).matches("finished before").count(), 4, "{}", stdout(&again));
}

#[test]
fn a_process_that_is_killed_harms_no_other_trial() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    let mut command = side_by_side(runs, "2");
    command.args(["--set", "retrain.epochs=8", "--set", "search.epochs=30"]);
    let (child, mut lines) = run_until(&mut command, "lite-snn seed 1: search  2/30");
    // The process that the trial's lock names.
    let seed_one = trial_of_seed(runs, "lite-snn", 1);
    let owner = std::fs::read_to_string(seed_one.join("lock")).unwrap();
    let process = owner.split_whitespace().nth(1).unwrap();
    assert!(Command::new("kill").args(["-9", process]).status().unwrap().success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{rest}");
    assert!(rest.contains("4 trials: 2 done, 0 finished before, 2 failed, 0 open"), "{rest}");
    assert!(rest.contains("lite-snn seed 1 failed: its process was killed by signal 9"), "{rest}");
    assert!(rest.contains("the trial that it takes its design from failed"), "{rest}");
    assert!(rest.contains("what it said is in `") && rest.contains(".log`"), "{rest}");

    // A report says which rows are unfinished.
    let page = runs.join("page");
    succeed(litesnn().arg("report").arg(runs).arg("--out").arg(&page));
    let page = std::fs::read_to_string(page.join("index.html")).unwrap();
    assert!(page.contains("lite-snn-s1-") && page.contains("not finished: stopped after epoch "), "{rest}");

    // The same command resumes where it was killed.
    let again = succeed(&mut command);
    let said = stderr(&again);
    assert!(said.contains("4 trials: 2 done, 2 finished before, 0 failed, 0 open"), "{said}");
    assert!(said.contains("lite-snn seed 1: search, 30 epochs, resuming after epoch "), "{said}");
    let whole = tempfile::tempdir().unwrap();
    let mut alone = run(&manifest("tiny.toml"), whole.path());
    succeed(alone.args(SEEDS).args(["--set", "retrain.epochs=8", "--set", "search.epochs=30"]));
    assert_all_same(&all_numbers(runs, "tiny"), &all_numbers(whole.path(), "tiny"));
}

#[test]
fn a_trial_that_fails_is_told_with_its_reason_and_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = run(&manifest("tiny.toml"), folder.path());
    let output = command.args(["--jobs", "2", "--set", "retrain.augment.crop=40"]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("lite-snn seed 0 failed: ") && said.contains("crop"), "{said}");
    let log = said.split("what it said is in `").nth(1).unwrap().split('`').next().unwrap();
    assert!(std::fs::read_to_string(log).unwrap().contains("crop"), "{log}");
}

#[test]
fn a_request_to_stop_reaches_every_trial() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = side_by_side(folder.path(), "2");
    command.args(["--set", "search.epochs=200"]);
    let (mut child, mut lines) = run_until(&mut command, "lite-snn seed 1: search  2/200");
    signal(&child, "INT");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert_eq!(rest.matches("stopped at a checkpoint").count(), 2, "{rest}");
    assert!(rest.contains("4 trials: 0 done, 0 finished before, 0 failed, 4 open"), "{rest}");
    assert!(rest.contains("the same command resumes from the last checkpoint"), "{rest}");
    for seed in [0, 1] {
        assert!(trial_of_seed(folder.path(), "lite-snn", seed).join("checkpoint/latest.safetensors").exists());
    }
}

#[test]
fn the_trials_stop_when_the_process_that_watches_them_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = side_by_side(folder.path(), "2");
    command.args(["--set", "search.epochs=2000"]);
    let (mut child, _lines) = run_until(&mut command, "lite-snn seed 1: search  2/2000");
    child.kill().unwrap();
    child.wait().unwrap();
    let lock = std::fs::File::open(trial_of_seed(folder.path(), "lite-snn", 1).join("lock")).unwrap();
    let free = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        lock.try_lock().is_ok()
    });
    assert!(free, "a trial runs on, and nobody watches it");
}

fn trial_of_seed(runs: &Path, variant: &str, seed: u64) -> std::path::PathBuf {
    let prefix = format!("{variant}-s{seed}-");
    let mut entries = std::fs::read_dir(runs.join("tiny")).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix)).unwrap()
}
