//! `litesnn run --until-interval`: the rows that are compared get seeds until their difference is known
//! well enough.

use std::path::Path;
use std::process::Command;

use crate::support::{all_numbers, assert_all_same, folders, manifest, run, stderr, stdout, succeed};

/// Two rows that are compared, and one that is not.
fn compared(folder: &Path, more: &str) -> Command {
    let path = folder.join("compared.toml");
    let tiny = manifest("tiny.toml");
    let text = format!(
        "extends = {tiny:?}\n[[variant]]\nname = \"lite-snn\"\n[[variant]]\nname = \"short\"\nset = {{ \"retrain.epochs\" = 1 }}\n\
         [[variant]]\nname = \"apart\"\nset = {{ \"retrain.epochs\" = 3 }}\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    run(&path, &folder.join("runs"))
}

const PAIR: &str = "[[compare]]\na = \"lite-snn\"\nb = \"short\"\n";

#[test]
fn compared_rows_get_seeds_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let trials = |seeds: u64| {
        let names = folders(&folder.path().join("runs/tiny"));
        let has = |row: &str, seed: u64| names.iter().any(|name| name.starts_with(&format!("{row}-s{seed}-")));
        assert!((0..seeds).all(|seed| has("lite-snn", seed) && has("short", seed)), "{names:?}");
        assert!(has("apart", 0) && !has("apart", 1), "{names:?}");
        assert_eq!(names.len() as u64, 2 * seeds + 1, "{names:?}");
    };
    // An interval of hundreds of points is reached by the least number of seeds, round by round.
    let output = succeed(compared(folder.path(), PAIR).args(["--until-interval", "400"]));
    let said = stderr(&output);
    assert!(said.contains("round 1: lite-snn against short: 1 seed in common, no interval yet"), "{said}");
    assert!(
        said.contains("round 2: lite-snn against short: ") && said.contains(" points over 2 seeds, open"),
        "{said}"
    );
    assert!(said.contains("round 3: ") && said.contains(" points over 3 seeds, settled"), "{said}");
    assert!(!said.contains("round 4"), "{said}");
    assert!(stdout(&output).contains("short seed 2"), "{}", stdout(&output));
    trials(3);
    // What is finished is found again, and a width that nothing reaches uses the seeds up.
    let narrow = ["--until-interval", "1e-9", "--max-seeds", "4"];
    let said = stderr(&succeed(compared(folder.path(), PAIR).args(narrow)));
    assert!(said.contains("round 4: "), "{said}");
    assert!(said.contains("not settled with 4 seeds a row: 1 comparison; --max-seeds allows more"), "{said}");
    assert!(
        said.contains("9 trials: 1 done, 8 finished before") || said.contains("9 trials: 2 done, 7 finished before"),
        "{said}"
    );
    trials(4);
    // The trials are those of a manifest that names the seeds.
    let named = tempfile::tempdir().unwrap();
    let all = ["--set", "experiment.seeds=[0, 1, 2, 3]"];
    succeed(compared(named.path(), PAIR).args(all));
    let mut expected = all_numbers(&named.path().join("runs"), "tiny");
    expected.retain(|name, _| !name.starts_with("apart-s") || name.starts_with("apart-s0"));
    assert_all_same(&all_numbers(&folder.path().join("runs"), "tiny"), &expected);
}

#[test]
fn a_manifest_that_compares_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = compared(folder.path(), "").args(["--until-interval", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("compares no rows, so that no interval says when to stop"), "{said}");
    assert!(said.contains("add [[compare]]"), "{said}");
    for wrong in ["0", "-1", "wide", "NaN"] {
        let output = compared(folder.path(), PAIR).arg(format!("--until-interval={wrong}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(stderr(&output).contains("a number of percentage points above 0"), "{}", stderr(&output));
    }
    assert!(!folder.path().join("runs").exists(), "nothing ran");
}
