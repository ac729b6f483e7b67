//! Finished work is found by its content, whatever its experiment is called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use litesnn_framework::manifest::{Plan, Request, load};
use litesnn_framework::run::Agenda;
use litesnn_plugins as _;

use crate::support::{
    assert_same, files, litesnn, manifest, numbers, root, run, stderr, stdout, strings, succeed, table, trial,
};

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

/// A manifest that is changed between runs, and its runs.
struct Edited {
    _folder: tempfile::TempDir,
    path: PathBuf,
    runs: PathBuf,
    text: String,
}

impl Edited {
    fn new(more: &str) -> Edited {
        let folder = tempfile::tempdir().unwrap();
        let (path, runs) = (folder.path().join("own.toml"), folder.path().join("runs"));
        let text = std::fs::read_to_string(manifest("tiny.toml")).unwrap().replace("name = \"tiny\"", "name = \"own\"");
        let edited = Edited { _folder: folder, path, runs, text: text + more };
        edited.write(&[]);
        edited
    }

    /// Writes the manifest with some words replaced.
    fn write(&self, changes: &[(&str, &str)]) {
        let changed = changes.iter().fold(self.text.clone(), |text, (from, to)| text.replace(from, to));
        std::fs::write(&self.path, changed).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> String {
        stdout(&succeed(run(&self.path, &self.runs).args(arguments)))
    }

    /// The same, where both trials have to be finished.
    fn meets_finished_results(&self, arguments: &[&str]) {
        let said = self.run(arguments);
        assert_eq!(said.matches("finished before").count(), 2, "{said}");
    }

    fn folder(&self) -> PathBuf {
        trial(&self.runs, "own", "lite-snn")
    }

    /// `reproduces`, `profile` and `overrides` of the result, and whether the folder's manifest says
    /// what it reproduces.
    fn marks(&self) -> ([String; 3], bool) {
        let result = table(&self.folder().join("result.parquet"));
        let kept = std::fs::read_to_string(self.folder().join("manifest.toml")).unwrap().contains("reproduces");
        (["reproduces", "profile", "overrides"].map(|column| strings(&result, column).remove(0)), kept)
    }
}

fn marks(reproduces: &str, profile: &str, overrides: &str, kept: bool) -> ([String; 3], bool) {
    ([reproduces, profile, overrides].map(str::to_owned), kept)
}

const REPRODUCES: (&str, &str) = ("name = \"own\"", "name = \"own\"\nreproduces = \"lite-snn/table4\"");

/// A finished result kept the names that it was first recorded with, so that `report --check` found
/// nothing to compare.
#[test]
fn what_a_manifest_says_later_that_it_reproduces_reaches_the_finished_result() {
    let edited = Edited::new("");
    edited.run(&[]);
    assert_eq!(edited.marks(), marks("", "", "", false));
    let measured = numbers(&edited.folder());
    edited.write(&[REPRODUCES]);

    // A look writes nothing.
    let before = files(&edited.runs);
    succeed(litesnn().arg("plan").arg(&edited.path).arg("--runs").arg(&edited.runs));
    assert!(before == files(&edited.runs), "files changed");

    edited.meets_finished_results(&[]);
    assert_eq!(edited.marks(), marks("lite-snn/table4", "", "", true));
    let log = std::fs::read_to_string(edited.folder().join("log.jsonl")).unwrap();
    assert!(log.lines().last().unwrap().contains("\"event\":\"renamed\""), "{log}");
    // Nothing that was measured changed, and the next run has nothing to do.
    let without = |mut numbers: crate::support::Numbers| {
        numbers.remove("result.reproduces[0]");
        numbers
    };
    assert_same(&without(numbers(&edited.folder())), &without(measured));
    let before = files(&edited.runs);
    edited.meets_finished_results(&[]);
    assert!(before == files(&edited.runs), "files changed");

    // In processes of their own too; and what is taken out of the manifest is taken out here.
    edited.write(&[]);
    edited.meets_finished_results(&["--jobs", "2"]);
    assert_eq!(edited.marks(), marks("", "", "", false));
    edited.write(&[REPRODUCES]);
    edited.meets_finished_results(&["--jobs", "2"]);
    assert_eq!(edited.marks(), marks("lite-snn/table4", "", "", true));

    // The manifest in the trial's folder takes no name away.
    let output = succeed(&mut run(&edited.folder().join("manifest.toml"), &edited.runs));
    assert_eq!(stdout(&output).matches("finished before").count(), 1, "{}", stdout(&output));
    assert_eq!(edited.marks(), marks("lite-snn/table4", "", "", true));
}

#[test]
fn what_a_manifest_compares_later_reaches_the_finished_results() {
    let edited = Edited::new("");
    edited.run(&[]);
    let cell = |variant: &str, column: &str| {
        strings(&table(&trial(&edited.runs, "own", variant).join("result.parquet")), column).remove(0)
    };
    assert_eq!(cell("lite-snn", "compared_with"), "");
    let page = edited.runs.with_file_name("page");
    let report = || {
        succeed(litesnn().arg("report").arg(&edited.runs).arg("--out").arg(&page));
        std::fs::read_to_string(page.join("own").join("differences.md"))
    };
    assert!(report().is_err(), "nothing is compared");
    edited.write(&[("[experiment]", "compare = [{ a = \"lite-snn\", b = \"dense\" }]\n\n[experiment]")]);
    edited.meets_finished_results(&["--jobs", "2"]);
    let recipe = cell("dense", "recipe");
    assert_eq!(cell("lite-snn", "compared_with"), format!("[{{ recipe = \"{recipe}\", variant = \"dense\" }}]"));
    assert_eq!(cell("dense", "compared_with"), "");
    let table = report().expect("it is written");
    assert!(table.contains("*lite-snn against dense*") && table.contains("one seed: no interval"), "{table}");
    edited.write(&[]);
    edited.meets_finished_results(&[]);
    assert_eq!(cell("lite-snn", "compared_with"), "");
}

#[test]
fn an_override_that_the_manifest_takes_over_later_is_no_change_any_more() {
    let edited = Edited::new("");
    edited.write(&[REPRODUCES]);
    edited.run(&["--set", "retrain.epochs=1"]);
    assert_eq!(edited.marks(), marks("lite-snn/table4", "", "retrain.epochs=1", false));
    let epochs = ("[retrain]\nepochs = 2", "[retrain]\nepochs = 1");
    edited.write(&[REPRODUCES, epochs]);
    edited.meets_finished_results(&[]);
    assert_eq!(edited.marks(), marks("lite-snn/table4", "", "", true));
    // Said once more on the command line, it is no change either.
    edited.meets_finished_results(&["--set", "retrain.epochs=1"]);
    assert_eq!(edited.marks(), marks("lite-snn/table4", "", "", true));
    // Where the manifest says something else again, it is.
    edited.write(&[REPRODUCES]);
    edited.meets_finished_results(&["--set", "retrain.epochs=1"]);
    assert_eq!(edited.marks(), marks("lite-snn/table4", "", "retrain.epochs=1", false));
}

#[test]
fn a_profile_that_the_manifest_takes_over_later_is_no_change_any_more() {
    let edited = Edited::new("\n[profile.short]\nretrain.epochs = 1\n");
    edited.write(&[REPRODUCES]);
    edited.run(&["--profile", "short"]);
    assert_eq!(edited.marks(), marks("lite-snn/table4", "short", "", false));
    edited.write(&[REPRODUCES, ("[retrain]\nepochs = 2", "[retrain]\nepochs = 1")]);
    edited.meets_finished_results(&[]);
    assert_eq!(edited.marks(), marks("lite-snn/table4", "", "", true));
}

/// Data have their name from their folder and their content, and the hash of a trial from their
/// content alone.
#[test]
fn data_that_moved_are_called_by_their_new_folder() {
    let edited = Edited::new("");
    let [here, there] = ["shirts", "shoes"].map(|name| edited.path.with_file_name(name));
    let bundled = crate::support::root().join("experiments/data/fashion-mnist");
    crate::support::copy_folder(&bundled, &here);
    // Without its validation files it is no bundled set.
    std::fs::remove_file(here.join("validation-images-idx3-ubyte.gz")).unwrap();
    std::fs::remove_file(here.join("validation-labels-idx1-ubyte.gz")).unwrap();
    let root = |folder: &Path| format!("dataset.fashion-mnist.root={:?}", folder.display().to_string());
    let called = || strings(&table(&edited.folder().join("result.parquet")), "dataset").remove(0);
    let output = succeed(run(&edited.path, &edited.runs).args(["--set", &root(&here)]));
    assert_eq!(called(), "shirts (40/20/20)");
    assert!(stderr(&output).contains("tables call them `shirts (40/20/20)`"), "{}", stderr(&output));
    assert_eq!(strings(&table(&edited.folder().join("result.parquet")), "data_edition"), ["other"]);
    std::fs::rename(&here, &there).unwrap();
    edited.meets_finished_results(&["--set", &root(&there)]);
    assert_eq!(called(), "shoes (40/20/20)");
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
