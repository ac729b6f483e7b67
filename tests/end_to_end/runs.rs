//! The trials on disk: listed, removed, freed of what they need no more.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{litesnn, manifest, run, stderr, stdout, succeed, trial};

fn runs(arguments: &[&str], folder: &Path) -> Command {
    let mut command = litesnn();
    command.arg("runs").args(arguments).arg(folder);
    command
}

fn refused(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    output
}

#[test]
fn trials_are_listed_with_state_progress_and_result() {
    let folder = tempfile::tempdir().unwrap();
    succeed(&mut run(&manifest("tiny.toml"), folder.path()));
    // One that stopped.
    let dense = trial(folder.path(), "tiny", "dense");
    std::fs::remove_file(dense.join("result.parquet")).unwrap();
    let listed = stdout(&succeed(&mut runs(&[], folder.path())));
    let row = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{listed}"));
    assert!(row("lite-snn-s0-").contains("done") && row("lite-snn-s0-").contains("4 / 4"), "{listed}");
    assert!(row("lite-snn-s0-").contains(" %"), "{listed}");
    assert!(row("dense-s0-").contains("interrupted") && row("dense-s0-").contains("2 / 2"), "{listed}");
    let json = stdout(&succeed(&mut runs(&["--json"], folder.path())));
    assert!(json.contains("\"state\": \"done\"") && json.contains("\"of_epochs\": 4"), "{json}");
    let nowhere = refused(&mut runs(&[], &folder.path().join("nowhere")));
    assert!(stderr(&nowhere).contains("no folder `"), "{}", stderr(&nowhere));
}

#[test]
fn what_others_need_is_removed_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    succeed(&mut run(&manifest("tiny.toml"), folder.path()));
    let [lite, dense] = ["lite-snn", "dense"].map(|variant| trial(folder.path(), "tiny", variant));
    let said = stderr(&refused(&mut runs(&["rm"], &lite)));
    assert!(said.contains("has the design that other trials take; nothing was removed"), "{said}");
    assert!(lite.exists());

    // A process that holds a trial's lock works on it.
    let lock = std::fs::File::open(dense.join("lock")).unwrap();
    lock.lock().unwrap();
    std::fs::remove_file(dense.join("result.parquet")).unwrap();
    let said = stderr(&refused(&mut runs(&["rm"], &dense)));
    assert!(said.contains("is worked on or waits for its turn; nothing was removed"), "{said}");
    drop(lock);

    succeed(runs(&["rm", "--force"], &lite).current_dir(folder.path()));
    assert!(!lite.exists() && dense.exists());
    succeed(&mut runs(&["rm"], &folder.path().join("tiny")));
    assert!(!dense.exists());
}

#[test]
fn finished_trials_are_freed_of_what_they_need_no_more() {
    let folder = tempfile::tempdir().unwrap();
    succeed(&mut run(&manifest("tiny.toml"), folder.path()));
    let checkpoint = trial(folder.path(), "tiny", "lite-snn").join("checkpoint");
    let said = succeed(&mut runs(&["gc", "--dry-run"], folder.path()));
    assert!(stderr(&said).contains("would be freed") && checkpoint.exists());
    succeed(&mut runs(&["gc"], folder.path()));
    assert!(!checkpoint.exists());
    let again = stdout(&succeed(&mut run(&manifest("tiny.toml"), folder.path())));
    assert_eq!(again.matches("finished before").count(), 2, "{again}");
    // One that is not finished keeps its checkpoint.
    let dense = trial(folder.path(), "tiny", "dense");
    succeed(run(&manifest("tiny.toml"), folder.path()).args(["--set", "retrain.epochs=3"]));
    for found in std::fs::read_dir(folder.path().join("tiny")).unwrap().flatten().map(|entry| entry.path()) {
        if found != dense {
            let _ = std::fs::remove_file(found.join("result.parquet"));
        }
    }
    let freed = stdout(&succeed(&mut runs(&["gc"], folder.path())));
    assert_eq!(freed, "", "{freed}");
}
