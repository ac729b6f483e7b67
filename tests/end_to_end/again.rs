//! Results of another machine or another number of threads: what is said of them, and how they are
//! measured anew.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{
    assert_same, files, folders, integers, litesnn, manifest, numbers, run, run_until, signal, stderr, stdout, strings,
    succeed, table, trial,
};

/// A manifest on so many threads.
fn on(threads: &str, manifest: &Path, runs: &Path) -> Command {
    let mut command = litesnn();
    command.arg("run").arg(manifest).arg("--runs").arg(runs).args(["--threads", threads, "--device", "cpu"]);
    command
}

fn finished_before(output: &Output) -> usize {
    stdout(output).matches("finished before").count()
}

fn threads(folder: &Path) -> i64 {
    integers(&table(&folder.join("result.parquet")), "threads")[0]
}

#[test]
fn a_result_says_what_it_was_measured_on() {
    let runs = tempfile::tempdir().unwrap();
    succeed(&mut on("2", &manifest("tiny.toml"), runs.path()));
    let result = table(&trial(runs.path(), "tiny", "lite-snn").join("result.parquet"));
    let word = |column: &str| strings(&result, column).remove(0);
    assert_eq!(
        (word("device").as_str(), integers(&result, "threads")[0], word("precision").as_str()),
        ("cpu", 2, "f32")
    );
    assert!(word("libtorch").starts_with("2."), "{}", word("libtorch"));
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    assert!(processor.contains(&word("hardware")), "{}", word("hardware"));
}

/// A result of two threads answered for a run on one thread without a word.
#[test]
fn a_result_of_another_number_of_threads_is_kept_and_told_of() {
    let runs = tempfile::tempdir().unwrap();
    let tiny = manifest("tiny.toml");
    let quiet = stderr(&succeed(&mut on("2", &tiny, runs.path())));
    assert!(!quiet.contains("measured on"), "{quiet}");
    let before = files(runs.path());
    for jobs in [&[][..], &["--jobs", "2"]] {
        let output = succeed(on("1", &tiny, runs.path()).args(jobs));
        let said = stderr(&output);
        assert!(said.contains("note: 2 finished trials were measured on cpu ("), "{said}");
        assert!(said.contains(", 2 threads, libtorch 2."), "{said}");
        assert!(
            said.contains("and this run uses 1 thread: their recorded results are kept; `--again` runs them anew"),
            "{said}"
        );
        assert_eq!(finished_before(&output), 2);
    }
    assert!(before == files(runs.path()), "files changed");
    let same = stderr(&succeed(&mut on("2", &tiny, runs.path())));
    assert!(!same.contains("measured on"), "{same}");
}

#[test]
fn again_runs_what_is_finished_anew_and_loses_nothing() {
    let runs = tempfile::tempdir().unwrap();
    let tiny = manifest("tiny.toml");
    succeed(&mut on("2", &tiny, runs.path()));
    let [lite, dense] = ["lite-snn", "dense"].map(|variant| trial(runs.path(), "tiny", variant));
    let before = files(&lite);
    let name = lite.file_name().unwrap().to_string_lossy().into_owned();
    for (round, jobs) in [(1, &[][..]), (2, &["--jobs", "2"])] {
        let output = succeed(on("1", &tiny, runs.path()).arg("--again").args(jobs));
        assert_eq!(finished_before(&output), 0, "{}", stdout(&output));
        let said = stderr(&output);
        assert!(said.contains("2 finished results set aside, such as `") && !said.contains("measured on"), "{said}");
        assert_eq!((threads(&lite), threads(&dense)), (1, 1));
        assert_eq!(folders(&runs.path().join("tiny/.earlier")).len(), 2 * round);
    }
    // The first result is there as it was, and is nobody's trial.
    let aside = runs.path().join("tiny/.earlier").join(format!("{name}.1"));
    let kept = files(&aside);
    assert!(before.iter().filter(|(name, _)| *name != "lock").all(|(name, bytes)| kept.get(name) == Some(bytes)));
    let listed = stdout(&succeed(litesnn().arg("runs").arg(runs.path())));
    assert_eq!(listed.matches("lite-snn-s0-").count(), 1, "{listed}");
    assert!(listed.contains("`litesnn run --again` has set aside 4 results, in `tiny/.earlier`"), "{listed}");
    let page = runs.path().join("page");
    succeed(litesnn().arg("report").arg(runs.path()).arg("--out").arg(&page));
    let trials = std::fs::read_to_string(page.join("tiny/trials.csv")).unwrap();
    assert_eq!(trials.lines().count(), 3, "{trials}");
    // Nor is it found as finished work.
    std::fs::remove_dir_all(&lite).unwrap();
    assert_eq!(finished_before(&succeed(&mut on("1", &tiny, runs.path()))), 1);
}

/// The new trial goes on by its checkpoint, and takes no result of elsewhere.
#[test]
fn again_that_was_interrupted_goes_on_without_it() {
    let runs = tempfile::tempdir().unwrap();
    let long = manifest("long.toml");
    let named = |name: &str| {
        let mut command = on("1", &long, runs.path());
        command.args(["--set", &format!("experiment.name={name}")]);
        command
    };
    succeed(&mut named("first"));
    assert_eq!(finished_before(&succeed(&mut named("second"))), 1);
    let (mut child, mut lines) = run_until(named("second").arg("--again"), "retrain  4/16");
    signal(&child, "INT");
    let mut said = String::new();
    lines.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("the same command without `--again` goes on"), "{said}");
    let plan = stdout(&succeed(
        litesnn().arg("plan").arg(&long).args(["--set", "experiment.name=second", "--runs"]).arg(runs.path()),
    ));
    assert!(plan.contains("interrupted, "), "{plan}");
    let output = succeed(&mut named("second"));
    assert!(stderr(&output).contains("retrain, 16 epochs, resuming after epoch "), "{}", stderr(&output));
    assert_eq!(finished_before(&output), 0);
    // One thread, like the first: the same numbers.
    let [mut found, mut expected] = ["first", "second"].map(|name| numbers(&trial(runs.path(), name, "lite-snn")));
    for numbers in [&mut found, &mut expected] {
        numbers.remove("result.experiment[0]");
    }
    assert_same(&found, &expected);
}

/// The numbers of such a trial belong to neither number of threads.
#[test]
fn a_trial_that_went_on_on_other_threads_says_so() {
    let runs = tempfile::tempdir().unwrap();
    let long = manifest("long.toml");
    let (mut child, mut lines) = run_until(&mut run(&long, runs.path()), "search  3/8");
    signal(&child, "INT");
    lines.read_to_string(&mut String::new()).unwrap();
    child.wait().unwrap();
    let said = stderr(&succeed(&mut on("2", &long, runs.path())));
    let note = said.lines().find(|line| line.contains("the trial ran on cpu (")).unwrap_or_else(|| panic!("{said}"));
    assert!(note.contains(", 1 thread, libtorch ") && note.contains(", 2 threads, libtorch "), "{note}");
    let folder = trial(runs.path(), "tiny", "lite-snn");
    assert_eq!((threads(&folder), strings(&table(&folder.join("result.parquet")), "device")), (0, vec!["cpu".into()]));
    let said = stderr(&succeed(&mut on("2", &long, runs.path())));
    assert!(
        said.contains("lite-snn seed 0 was measured on cpu (") && said.contains("several numbers of threads"),
        "{said}"
    );
}
