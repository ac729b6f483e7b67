//! Finished work is found by its content, whatever its experiment is called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use litesnn_framework::manifest::{Plan, Request, load};
use litesnn_framework::run::Agenda;
use litesnn_plugins as _;

use crate::support::{assert_same, files, litesnn, manifest, numbers, root, run, stderr, stdout, succeed, trial};

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

fn paper(name: &str) -> PathBuf {
    root().join("experiments/paper").join(name)
}

/// The plans of all tables and figures of the paper that have this profile.
fn plans(profile: Option<&str>) -> Vec<Plan> {
    let mut manifests: Vec<PathBuf> =
        std::fs::read_dir(paper("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    manifests.sort();
    let request = |manifest| Request { manifest, profile: profile.map(str::to_owned), ..Request::default() };
    manifests.into_iter().map(|manifest| load(&request(manifest)).unwrap()).collect()
}

/// Guards against a table that searches the designs of another one again, because its trials differ
/// in what becomes of the design: Table 2 on CIFAR-100 and Figure 2(c) did.
#[test]
fn the_tables_of_the_paper_search_each_design_once() {
    for profile in [None, Some("smoke"), Some("bench")] {
        let plans = plans(profile);
        let agenda = Agenda::of(&plans, Path::new("runs"), |_| Ok("digest".into())).unwrap();
        let trials: Vec<_> = plans.iter().flat_map(|plan| &plan.trials).collect();
        assert_eq!(trials.len(), agenda.tasks.len());

        let mut searches: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (trial, task) in trials.iter().zip(&agenda.tasks).filter(|(trial, _)| trial.manifest.search.is_some()) {
            let mut search = trial.settings.clone();
            for section in ["experiment", "retrain", "checkpoint", "launcher"] {
                search.as_object_mut().unwrap().remove(section);
            }
            searches.entry(format!("{search} {}", trial.seed)).or_default().insert(&task.hash);
        }
        let again = searches.values().filter(|hashes| hashes.len() > 1).count();
        assert_eq!(again, 0, "{profile:?}: {again} of {} searches run more than once", searches.len());

        let of = |name: &'static str| agenda.tasks.iter().filter(move |task| task.experiment == name);
        let known: BTreeSet<&str> = of("table2-cifar10").map(|task| task.hash.as_str()).collect();
        let sources: Vec<&str> =
            of("table2-cifar100").filter_map(|task| Some(agenda.tasks[task.after?].hash.as_str())).collect();
        assert!(!sources.is_empty());
        assert!(sources.iter().all(|hash| known.contains(hash)), "{profile:?}: {sources:?} {known:?}");
    }
}

#[test]
fn table_2_on_cifar_100_takes_the_designs_of_cifar_10_and_gives_them_to_it() {
    let orders = [["table2-cifar10", "table2-cifar100"], ["table2-cifar100", "table2-cifar10"]];
    for [first, second] in orders {
        let folder = tempfile::tempdir().unwrap();
        let mut said = String::new();
        for name in [first, second] {
            let output = succeed(run(&paper(&format!("{name}.toml")), folder.path()).args(["--profile", "smoke"]));
            said = stdout(&output);
        }
        assert_eq!(said.matches("finished before").count(), 1, "{first}, then {second}:\n{said}");
    }
}
