//! Finished work is found by its content, whatever its experiment is called.

use std::path::Path;
use std::process::Command;

use crate::support::{assert_same, files, litesnn, manifest, numbers, run, stderr, stdout, succeed, trial};

/// The tiny manifest under another name.
fn named(name: &str, runs: &Path) -> Command {
    let mut command = run(&manifest("tiny.toml"), runs);
    command.arg("--set").arg(format!("experiment.name={name}"));
    command
}

#[test]
fn another_manifest_with_the_same_work_takes_its_result() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    succeed(&mut named("first", runs));
    let first = trial(runs, "first", "lite-snn");
    let before = files(&first);
    for (name, jobs) in [("second", None), ("third", Some("2"))] {
        let mut command = named(name, runs);
        command.args(jobs.into_iter().flat_map(|jobs| ["--jobs", jobs]));
        let output = succeed(&mut command);
        assert_eq!(stdout(&output).matches("finished before").count(), 2, "{}", stdout(&output));
        assert!(!stderr(&output).contains("epochs"), "{}", stderr(&output));
        let other = trial(runs, name, "lite-snn");
        let (mut found, mut expected) = (numbers(&other), numbers(&first));
        assert_eq!(found.remove("result.experiment[0]"), Some(format!("{name:?}")));
        expected.remove("result.experiment[0]");
        assert_same(&found, &expected);
        let log = std::fs::read_to_string(other.join("log.jsonl")).unwrap();
        assert!(log.contains("\"event\":\"reused\"") && log.contains(first.to_str().unwrap()), "{log}");
    }
    assert!(files(&first) == before, "the first trial changed");

    // The plan knows, and what was copied stays when the first is removed.
    let plan = succeed(litesnn().arg("plan").arg(manifest("tiny.toml")).arg("--runs").arg(runs));
    assert_eq!(stdout(&plan).matches(" done ").count(), 2, "{}", stdout(&plan));
    std::fs::remove_dir_all(runs.join("first")).unwrap();
    let report = litesnn().arg("report").arg(runs).arg("--out").arg(runs.join("page")).output().unwrap();
    assert!(report.status.success(), "{}", stderr(&report));
}

#[test]
fn other_settings_are_other_work() {
    let folder = tempfile::tempdir().unwrap();
    succeed(&mut named("first", folder.path()));
    let output = succeed(named("second", folder.path()).args(["--set", "retrain.epochs=3"]));
    assert!(!stdout(&output).contains("finished before"), "{}", stdout(&output));
    let output = succeed(named("third", folder.path()).args(["--set", "dataset.fashion-mnist.train=41"]));
    assert!(!stdout(&output).contains("finished before"), "{}", stdout(&output));
}
