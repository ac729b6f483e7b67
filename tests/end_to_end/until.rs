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

/// Two comparisons that share a row, and seeds for the wider one first.
#[test]
fn the_widest_comparison_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let both = format!("{PAIR}[[compare]]\na = \"apart\"\nb = \"short\"\n");
    let narrow = ["--until-interval", "1e-9", "--max-seeds", "4"];
    let said = stderr(&succeed(compared(folder.path(), &both).args(narrow)));
    // Half an interval and the number of seeds of both comparisons after a round.
    let after = |round: usize| -> Vec<(String, usize)> {
        let begin = format!("round {round}: ");
        let lines = said.lines().filter_map(|line| line.split_once(&begin)).map(|(_, rest)| rest);
        let numbers = lines.filter_map(|line| {
            let (half, rest) = line.split_once(" ± ")?.1.split_once(" points over ")?;
            Some((half.to_owned(), rest.split(' ').next()?.parse().ok()?))
        });
        numbers.collect()
    };
    let (third, fourth) = (after(3), after(4));
    assert_eq!(third.iter().map(|(_, seeds)| *seeds).collect::<Vec<_>>(), [3, 3], "{said}");
    let halves: Vec<f64> = third.iter().map(|(half, _)| half.parse().unwrap()).collect();
    let widest = halves.iter().copied().fold(0.0, f64::max);
    let expected: Vec<usize> = halves.iter().map(|half| 3 + usize::from(*half == widest)).collect();
    assert_eq!(fourth.iter().map(|(_, seeds)| *seeds).collect::<Vec<_>>(), expected, "{said}");
    assert!(said.contains("not settled with 4 seeds a row: 2 comparisons"), "{said}");
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
