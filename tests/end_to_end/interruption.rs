//! A trial that was stopped, however it was, resumes to the numbers that it would have had.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::{
    Numbers, all_numbers, assert_all_same, assert_same, copy_folder, files, manifest, numbers, run, run_until, signal,
    stderr, stdout, succeed, trial,
};

fn long(runs: &Path) -> Command {
    run(&manifest("long.toml"), runs)
}

/// What the trials have when nothing stops them, by the name of their folder.
fn uninterrupted() -> &'static BTreeMap<String, Numbers> {
    static NUMBERS: OnceLock<BTreeMap<String, Numbers>> = OnceLock::new();
    NUMBERS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        succeed(&mut long(folder.path()));
        all_numbers(folder.path(), "tiny")
    })
}

/// Stops the long run in `runs` by a signal when `words` were said; what it said afterwards.
fn stop(runs: &Path, words: &str, name: &str) -> String {
    stop_command(&mut long(runs), words, name)
}

fn stop_command(command: &mut Command, words: &str, name: &str) -> String {
    let (mut child, mut lines) = run_until(command, words);
    signal(&child, name);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{rest}");
    rest
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    (folder, runs)
}

/// The same command again finishes with the numbers of a run that was not stopped.
fn goes_on(runs: &Path) -> Output {
    let output = succeed(&mut long(runs));
    assert_all_same(&all_numbers(runs, "tiny"), uninterrupted());
    output
}

fn no_partial_files(runs: &Path) {
    let left: Vec<String> = files(runs).into_keys().filter(|name| name.contains(".partial-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn ctrl_c_in_the_search() {
    let (_folder, runs) = folder();
    let said = stop(&runs, "search  3/8", "INT");
    assert!(said.contains("stopped on request"), "{said}");
    assert!(said.contains("the same command resumes from the last checkpoint"), "{said}");
    no_partial_files(&runs);
    assert!(!trial(&runs, "tiny", "lite-snn").join("result.parquet").exists());
    let output = goes_on(&runs);
    assert!(stderr(&output).contains("search, 8 epochs, resuming after epoch "), "{}", stderr(&output));
}

/// A shell has what it starts in the background ignore SIGINT: then, too, the tests start a command
/// that hears it.
#[test]
fn ctrl_c_is_heard_where_the_tests_ignore_it() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    let output = succeed(shell.args(["--exact", "interruption::ctrl_c_in_the_search"]));
    assert!(stdout(&output).contains("1 passed"), "{}", stdout(&output));
}

#[test]
fn a_request_to_terminate_in_retraining() {
    let (_folder, runs) = folder();
    stop(&runs, "retrain  2/16", "TERM");
    let again = stop(&runs, "retrain  6/16", "INT");
    assert!(again.contains("resumes"), "{again}");
    let output = goes_on(&runs);
    let said = stderr(&output);
    assert!(said.contains("retrain, 16 epochs, resuming after epoch "), "{said}");
    assert!(!said.contains("search, 8 epochs"), "{said}");
}

#[test]
fn ctrl_c_in_the_second_trial_keeps_the_first() {
    let (whole, (_folder, runs)) = (tempfile::tempdir().unwrap(), folder());
    let both = |runs: &Path| {
        let mut command = run(&manifest("tiny.toml"), runs);
        command.args(["--set", "retrain.epochs=12", "--set", "retrain.batch_size=5"]);
        command
    };
    succeed(&mut both(whole.path()));
    stop_command(&mut both(&runs), "[2/2] dense", "INT");
    let lite = trial(&runs, "tiny", "lite-snn");
    let before = files(&lite);
    let output = succeed(&mut both(&runs));
    assert_all_same(&all_numbers(&runs, "tiny"), &all_numbers(whole.path(), "tiny"));
    assert_eq!(stdout(&output).matches("finished before").count(), 1, "{}", stdout(&output));
    assert!(before == files(&lite), "the finished trial changed");
}

/// All that a stage keeps beside its weights: two moments and the steps of Adam, averages of weights
/// and of running statistics, numbers that neurons learn.
#[test]
fn averages_moments_and_learned_neurons_resume_to_the_bit() {
    let (whole, (_folder, runs)) = (tempfile::tempdir().unwrap(), folder());
    let settings = [
        "search.algorithm=adam",
        "search.ema=0.8",
        "retrain.algorithm=adamw",
        "retrain.ema=0.9",
        "retrain.warmup=3",
        "retrain.loss=timestep-cross-entropy",
        "retrain.label_smoothing=0.1",
        "space.spike-dhs.learn_decay=true",
        "space.spike-dhs.learn_threshold=true",
        "space.spike-dhs.reset=soft",
        "space.spike-dhs.surrogate=atan",
    ];
    let set = |runs: &Path| {
        let mut command = long(runs);
        for setting in settings {
            command.args(["--set", setting]);
        }
        command
    };
    succeed(&mut set(whole.path()));
    stop_command(&mut set(&runs), "search  3/8", "INT");
    stop_command(&mut set(&runs), "retrain  2/16", "INT");
    stop_command(&mut set(&runs), "retrain  9/16", "TERM");
    succeed(&mut set(&runs));
    assert_all_same(&all_numbers(&runs, "tiny"), &all_numbers(whole.path(), "tiny"));
    // A stage leaves the averages in the place of what it trained.
    let checkpoint = trial(&runs, "tiny", "lite-snn").join("checkpoint/latest.safetensors");
    let kept: BTreeMap<String, tch::Tensor> = tch::Tensor::read_safetensors(checkpoint).unwrap().into_iter().collect();
    for name in ["stem.weight", "stem.norm.running_mean", "stem.neurons.leak", "stem.neurons.threshold"] {
        let [left, average] = ["parameter", "descent/weights/average"].map(|of| &kept[&format!("{of}/{name}")]);
        assert!(left.equal(average), "{name}");
    }
    // Where one timestep is found, the decay has nothing to do.
    assert!(!kept["parameter/stem.neurons.threshold"].equal(&tch::Tensor::from_slice(&[0.5f32])), "it never moved");
    // A process that begins with the last checkpoint tests the same network.
    std::fs::remove_file(trial(&runs, "tiny", "lite-snn").join("result.parquet")).unwrap();
    succeed(&mut set(&runs));
    assert_all_same(&all_numbers(&runs, "tiny"), &all_numbers(whole.path(), "tiny"));
}

#[test]
fn killed_again_and_again() {
    let (_folder, runs) = folder();
    // Moments after a stage began, in lines of what is said: at once, within the next epoch, after
    // several ones.
    for lines_more in [0, 2, 0, 3, 1, 5, 0] {
        let (mut child, mut lines) = run_until(&mut long(&runs), " epochs");
        for _ in 0..lines_more {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended before it was killed");
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL), "it ended before it was killed");
    }
    goes_on(&runs);
    no_partial_files(&runs);
}

#[test]
fn a_damaged_checkpoint_is_named_and_not_used() {
    let (_folder, runs) = folder();
    stop(&runs, "retrain  3/16", "INT");
    let lite = trial(&runs, "tiny", "lite-snn");
    let latest = lite.join("checkpoint/latest.safetensors");
    let whole = std::fs::read(&latest).unwrap();
    for length in [whole.len() / 2, 0] {
        let copy = runs.with_file_name(format!("cut-{length}"));
        copy_folder(&runs, &copy);
        let latest = trial(&copy, "tiny", "lite-snn").join("checkpoint/latest.safetensors");
        std::fs::write(&latest, &whole[..length]).unwrap();
        let said = stderr(&goes_on(&copy));
        assert!(said.contains(&format!("note: `{}` is not a checkpoint", latest.display())), "{said}");
        assert!(said.contains("retrain, 16 epochs, resuming after epoch "), "{said}");
    }

    // The last one of the search, before retraining has one: its last epoch is done again.
    let early = runs.with_file_name("early");
    stop(&early, "search  8/8", "INT");
    let last = trial(&early, "tiny", "lite-snn").join("checkpoint/latest.safetensors");
    std::fs::write(&last, "not a checkpoint").unwrap();
    goes_on(&early);

    // Neither is whole: the trial starts again, and says so.
    std::fs::write(&latest, &whole[..100]).unwrap();
    std::fs::write(lite.join("checkpoint/previous.safetensors"), "not a checkpoint").unwrap();
    let said = stderr(&goes_on(&runs));
    assert!(said.contains("latest.safetensors") && said.contains("previous.safetensors"), "{said}");
}

#[test]
fn a_damaged_history_is_written_again_from_the_checkpoint() {
    let (_folder, runs) = folder();
    stop(&runs, "retrain  3/16", "INT");
    let history = trial(&runs, "tiny", "lite-snn").join("history.parquet");
    let whole = std::fs::read(&history).unwrap();
    std::fs::write(&history, &whole[..whole.len() / 2]).unwrap();
    let said = stderr(&goes_on(&runs));
    assert!(said.contains("history.parquet` was written again from the checkpoint"), "{said}");
    assert_eq!(std::fs::read(history.with_extension("parquet.damaged")).unwrap(), whole[..whole.len() / 2]);
    assert!(said.contains("retrain, 16 epochs, resuming after epoch "), "{said}");
}

#[test]
fn a_damaged_result_is_made_again() {
    let (_folder, runs) = folder();
    succeed(&mut long(&runs));
    let lite = trial(&runs, "tiny", "lite-snn");
    std::fs::write(lite.join("result.parquet"), "").unwrap();
    let output = goes_on(&runs);
    assert!(!stdout(&output).contains("finished before"), "{}", stdout(&output));
}

#[test]
fn what_a_killed_process_was_writing_is_cleared_away() {
    let (_folder, runs) = folder();
    stop(&runs, "search  2/8", "INT");
    let lite = trial(&runs, "tiny", "lite-snn");
    for name in [".partial-a1b2c3", "checkpoint/.partial-d4e5f6"] {
        std::fs::write(lite.join(name), "half").unwrap();
    }
    goes_on(&runs);
    no_partial_files(&runs);
}

#[test]
fn a_trial_is_not_worked_on_twice_at_once() {
    let (_folder, runs) = folder();
    let (mut child, mut lines) = run_until(&mut long(&runs), "search  1/8");
    let second = long(&runs).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{}", stdout(&second));
    let said = stderr(&second);
    assert!(said.contains(&format!("is held by process {}", child.id())), "{said}");
    assert!(said.contains("wait for that process"), "{said}");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    for (name, expected) in uninterrupted() {
        assert_same(&numbers(&runs.join("tiny").join(name)), expected);
    }
}
