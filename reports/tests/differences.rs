//! Rows that a manifest compares: paired by seed, tested, corrected and said in words.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::record::{Point, RowName, RowNames};
use litesnn_reports::comparisons::{Finding, of_experiment};
use litesnn_reports::table::{Table, TableRow, csv, html, latex, markdown, of_experiment as tables};
use litesnn_reports::{figure, trials};
use support::{Made, point};

/// The names of rows with the recipes that [`Made`] gives them.
fn against(variants: &[&str]) -> RowNames {
    let mut names = RowNames::default();
    for variant in variants {
        let recipe = format!("recipe of {variant}");
        names.push(RowName { variant: (*variant).into(), point: Point::default(), recipe });
    }
    names
}

/// Writes a trial with an accuracy in percent and a stored size in kB.
fn trial(runs: &Path, variant: &str, seed: i64, accuracy: f64, size: f64, others: &[&str]) -> Made {
    let made = Made::searched("compared", variant, seed).with(|outcome| {
        outcome.test_accuracy = accuracy / 100.0;
        outcome.stored_bytes = 1e3 * size;
        outcome.compared_with = against(others);
    });
    made.write(runs);
    made
}

/// Joint and random against sequential; joint has a seed that sequential lacks.
fn example(runs: &Path) {
    let joint = [(0, 92.1, 10.0), (1, 91.7, 10.2), (2, 92.6, 9.9), (3, 92.4, 10.1), (7, 99.0, 50.0)];
    let sequential = [(0, 90.2, 12.0), (1, 89.9, 12.4), (2, 90.4, 11.8), (3, 90.6, 12.1)];
    let random = [(0, 89.0, 12.0), (1, 91.0, 12.4), (2, 90.1, 11.8), (3, 89.5, 12.1)];
    for (seed, accuracy, size) in joint {
        trial(runs, "joint", seed, accuracy, size, &["sequential"]);
    }
    for (seed, accuracy, size) in sequential {
        trial(runs, "sequential", seed, accuracy, size, &[]);
    }
    for (seed, accuracy, size) in random {
        trial(runs, "random", seed, accuracy, size, &["sequential", "gone"]);
    }
}

fn differences(runs: &Path) -> Option<Table> {
    let found = trials::find(runs, &[]).unwrap();
    let all = tables(&found.experiments[0], &found.experiments).unwrap();
    all.into_iter().find(|(name, _)| name == "differences").map(|(_, table)| table)
}

/// The row of a quantity in the block of a comparison.
fn row(table: &Table, block: &str, quantity: &str) -> Vec<String> {
    let mut rows = table.rows.iter().skip_while(|row| !matches!(row, TableRow::Block(name) if name == block));
    rows.next().unwrap_or_else(|| panic!("no block {block}"));
    let cells = rows.find_map(|row| match row {
        TableRow::Cells(cells) if cells[0].text == quantity => Some(cells),
        _ => None,
    });
    cells.unwrap_or_else(|| panic!("no row {quantity}")).iter().map(|cell| cell.text.clone()).collect()
}

#[test]
fn every_form_of_the_table_and_the_figure_is_as_it_was() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    let table = differences(runs.path()).unwrap();
    insta::assert_snapshot!("differences.md", markdown::render(&table));
    insta::assert_snapshot!("differences.tex", latex::render(&table));
    insta::assert_snapshot!("differences.csv", csv::render(&table).unwrap());
    insta::assert_snapshot!("differences.html", html::render(&table));
    let found = trials::find(runs.path(), &[]).unwrap();
    let figures = figure::of_experiment(&found.experiments[0]).unwrap();
    let forest = figures.iter().find(|figure| figure.name == "differences").unwrap();
    insta::assert_snapshot!("differences.svg", forest.svg().unwrap());
}

#[test]
fn differences_are_paired_by_seed_and_corrected() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    let found = trials::find(runs.path(), &[]).unwrap();
    let comparisons = of_experiment(&found.experiments[0]).unwrap();
    let names: Vec<String> = comparisons.pairs.iter().map(|pair| pair.name()).collect();
    assert_eq!(names, ["joint against sequential", "random against sequential"]);
    assert_eq!(comparisons.missing, ["random against gone"]);
    assert_eq!((&comparisons.pairs[0].left_out[..], &comparisons.pairs[1].left_out[..]), (&[7][..], &[][..]));
    // 1.9, 1.8, 2.2, 1.8: mean 1.925, deviation sqrt(0.1075 / 3).
    let Finding::Tested(test) = &comparisons.pairs[0].differences[0].finding else { panic!("accuracy is tested") };
    let deviation = (0.1075f64 / 3.0).sqrt();
    assert!((test.paired.mean - 1.925).abs() < 1e-9 && (test.paired.deviation - deviation).abs() < 1e-9);
    // t(0.975; 3) = 3.18245.
    let [low, high] = test.interval();
    assert!((high - low - 2.0 * 3.182446 * deviation / 2.0).abs() < 1e-5, "{low} {high}");
    // Two comparisons: the smaller p counts twice, and the joint interval is one at 97.5 %, t(0.9875; 3) = 4.17653.
    assert_eq!(test.family, 2);
    let [joint_low, joint_high] = test.joint_interval();
    assert!((joint_high - joint_low - 2.0 * 4.176535 * deviation / 2.0).abs() < 1e-5, "{joint_low} {joint_high}");
    assert!((test.p - 2.0 * test.paired.p()).abs() < 1e-12 && test.is_decided());
}

#[test]
fn what_is_found_is_said_in_words() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    let table = differences(runs.path()).unwrap();
    let words = |block: &str, quantity: &str| row(&table, block, quantity)[1].clone();
    // 1.925 - 4.17653 · 0.0946 = 1.5297, rounded towards 0.
    assert_eq!(words("joint against sequential", "Test accuracy (%)"), "better by at least 1.5 points");
    assert_eq!(words("random against sequential", "Stored size (kB)"), "equal with every seed");
    assert!(words("random against sequential", "Test accuracy (%)").starts_with("not distinguishable: with 4 seeds"));
    assert_eq!(words("joint against sequential", "Search (device s)"), "equal with every seed");
    let notes = table.notes.join(" ");
    for note in [
        "joint against sequential: left out, because one row lacks them: seeds 7.",
        "random against gone: not compared, because one row has no result.",
        "2 of test accuracy",
        "a power of 80 %",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
}

#[test]
fn one_seed_and_equal_differences_have_no_interval() {
    let runs = tempfile::tempdir().unwrap();
    trial(runs.path(), "a", 0, 91.0, 10.0, &["b"]);
    trial(runs.path(), "b", 0, 90.0, 12.0, &[]);
    let table = differences(runs.path()).unwrap();
    let cells = row(&table, "a against b", "Test accuracy (%)");
    assert_eq!(cells[1..6], ["one seed: no interval", "+1.0", "–", "–", "1"]);
    trial(runs.path(), "a", 1, 81.0, 10.5, &["b"]);
    trial(runs.path(), "b", 1, 80.0, 12.5, &[]);
    let table = differences(runs.path()).unwrap();
    assert_eq!(row(&table, "a against b", "Test accuracy (%)")[1], "better by 1.0 points with every seed");
    let size = row(&table, "a against b", "Stored size (kB)");
    assert_eq!(size[1..4], ["smaller by 2.0 kB with every seed", "-2.0 (-16.3 %)", "–"]);
    // Seeds that only one of the two has leave nothing to compare.
    let runs = tempfile::tempdir().unwrap();
    trial(runs.path(), "a", 0, 91.0, 10.0, &["b"]);
    trial(runs.path(), "b", 1, 90.0, 12.0, &[]);
    let table = differences(runs.path()).unwrap();
    assert_eq!(row(&table, "a against b", "Test accuracy (%)")[1], "not compared: no seed in common");
    assert!(table.notes.iter().any(|note| note.ends_with("seeds 0, 1.")), "{:?}", table.notes);
}

#[test]
fn costs_of_designing_are_compared_on_one_hardware_and_of_a_search_where_both_rows_searched() {
    let runs = tempfile::tempdir().unwrap();
    let row_of = |made: Made, hardware: &str, seconds: f64| {
        let made = made.with(|outcome| {
            outcome.compared_with = against(&["a"]);
            outcome.hardware = hardware.into();
            outcome.search_device_seconds *= seconds;
        });
        made.write(runs.path());
    };
    for seed in 0..3 {
        trial(runs.path(), "a", seed, 90.0, 10.0, &[]);
        let slower = [1.5, 1.6, 1.55][seed as usize];
        row_of(Made::searched("compared", "slower", seed), "A processor", slower);
        row_of(Made::searched("compared", "elsewhere", seed), "Another processor", slower);
        row_of(Made::dense("compared", "taken", seed), "A processor", 1.0);
    }
    let table = differences(runs.path()).unwrap();
    let words = |block: &str, quantity: &str| row(&table, block, quantity)[1].clone();
    let search = "Search (device s)";
    assert!(
        words("slower against a", search).starts_with("more by at least "),
        "{}",
        words("slower against a", search)
    );
    assert_eq!(words("elsewhere against a", search), "not compared: measured on different hardware");
    assert_eq!(words("taken against a", search), "not compared: not both rows searched");
    // 8 s of search and 12 s of retraining against 12 s of retraining.
    let whole = "Search + retraining (device s)";
    assert_eq!(words("taken against a", whole), "less by 8.0 s with every seed (first row: retraining alone)");
    assert_eq!(row(&table, "taken against a", whole)[2], "-8.0 (-40.0 %)");
    assert!(!words("slower against a", whole).contains("alone"), "{}", words("slower against a", whole));
    let note = "what finding their designs took stands in the rows that found them: taken.";
    assert!(table.notes.iter().any(|one| one.ends_with(note)), "{:?}", table.notes);
}

#[test]
fn rows_of_other_settings_and_points_are_other_rows() {
    let runs = tempfile::tempdir().unwrap();
    let write = |variant: &str, value: f64, seed: i64, recipe: &str, accuracy: f64, others: RowNames| {
        let made = Made::searched("compared", variant, seed).with(|outcome| {
            outcome.point = point(&[("rate", value)]);
            outcome.recipe = recipe.into();
            outcome.test_accuracy = accuracy;
            outcome.compared_with = others;
        });
        made.write(runs.path());
    };
    let mut other = RowNames::default();
    other.push(RowName { variant: "b".into(), point: point(&[("rate", 0.5)]), recipe: "b5".into() });
    for seed in 0..2 {
        let more = 0.01 * seed as f64;
        write("a", 0.5, seed, "a5", 0.9 + more, other.clone());
        write("b", 0.5, seed, "b5", 0.8 - more, RowNames::default());
        // The same row at older settings, and another point.
        write("b", 0.5, seed, "older", 0.1, RowNames::default());
        write("b", 0.7, seed, "b7", 0.2, RowNames::default());
    }
    let table = differences(runs.path()).unwrap();
    let blocks = table.rows.iter().filter(|row| matches!(row, TableRow::Block(_))).count();
    assert_eq!(blocks, 1);
    assert_eq!(row(&table, "a (rate=0.5) against b (rate=0.5) [b5]", "Test accuracy (%)")[2], "+11.0");
}

#[test]
fn an_experiment_that_compares_nothing_has_no_table_and_no_figure() {
    let runs = tempfile::tempdir().unwrap();
    trial(runs.path(), "a", 0, 91.0, 10.0, &[]);
    trial(runs.path(), "b", 0, 90.0, 12.0, &[]);
    assert!(differences(runs.path()).is_none());
    let found = trials::find(runs.path(), &[]).unwrap();
    let figures = figure::of_experiment(&found.experiments[0]).unwrap();
    assert!(figures.iter().all(|figure| figure.name != "differences"));
}
