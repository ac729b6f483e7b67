//! Fronts, budgets and errors of images, from records that are written here.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::record::{Point, RowName, RowNames};
use litesnn_reports::table::{TableRow, markdown, of_experiment as tables};
use litesnn_reports::trials::{ExperimentResults, find};
use litesnn_reports::{figure, table};
use support::{Made, point};

/// A trial with an accuracy in percent, a stored size in kB and Bit-SynOps in millions.
fn trial(runs: &Path, variant: &str, seed: i64, numbers: [f64; 3]) -> Made {
    let made = Made::searched("front", variant, seed).with(|outcome| {
        outcome.test_accuracy = numbers[0] / 100.0;
        outcome.stored_bytes = 1e3 * numbers[1];
        outcome.bit_syn_ops = 1e6 * numbers[2];
    });
    made.write(runs);
    made
}

/// `large` and `small` are a front, `poor` is worse than both, and each has two seeds.
fn example(runs: &Path) {
    for (seed, more) in [(0, 0.0), (1, 1.0)] {
        trial(runs, "large", seed, [90.0 + more, 100.0, 10.0]);
        trial(runs, "small", seed, [70.0 + more, 10.0, 1.0]);
        trial(runs, "poor", seed, [50.0 + more, 1000.0, 0.5]);
    }
}

fn experiment(runs: &Path) -> ExperimentResults {
    find(runs, &[]).unwrap().experiments.remove(0)
}

fn table_of(experiment: &ExperimentResults, name: &str) -> Option<table::Table> {
    let all = tables(experiment, std::slice::from_ref(experiment)).unwrap();
    all.into_iter().find(|(found, _)| found == name).map(|(_, table)| table)
}

#[test]
fn rows_of_the_front_and_those_they_dominate_are_told() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    let experiment = experiment(runs.path());
    let table = table_of(&experiment, "fronts").unwrap();
    insta::assert_snapshot!("fronts.md", markdown::render(&table));
    // Of stored sizes: a decade at 70 - 50 points and one at 90 - 50, and a point more in each with
    // the second seed; t(0.975; 1) = 12.7062.
    let text = table.notes.join(" ");
    let [low, high] = [-1.0, 1.0].map(|sign| 61.0 + sign * 12.7062 * 1.0);
    let expected = format!("all rows 61.00 (2 seeds, 95 % interval {low:.2} to {high:.2}). Reference");
    assert!(text.contains(&expected), "{expected}\n{text}");
    let figures = figure::of_experiment(&experiment).unwrap();
    let caption = |name: &str| figures.iter().find(|figure| figure.name == name).unwrap().caption.clone();
    assert!(caption("accuracy-synops").contains("No row is dominated"), "{}", caption("accuracy-synops"));
    // The size is the stored one: `poor` is the largest and the worst.
    let beaten = "Dominated by another row, which is worse in neither: poor.";
    assert!(caption("accuracy-size").contains(beaten), "{}", caption("accuracy-size"));
}

#[test]
fn a_sweep_has_a_front_for_each_variant() {
    let runs = tempfile::tempdir().unwrap();
    for seed in 0..2 {
        for (variant, value, numbers) in [
            ("a", 0.1, [90.0, 100.0, 1.0]),
            ("a", 0.2, [70.0, 10.0, 1.0]),
            ("b", 0.1, [80.0, 100.0, 1.0]),
            ("b", 0.2, [60.0, 10.0, 1.0]),
        ] {
            let made = Made::searched("front", variant, seed).with(|outcome| {
                outcome.test_accuracy = numbers[0] / 100.0;
                outcome.stored_bytes = 1e3 * numbers[1];
                outcome.point = point(&[("rate", value)]);
            });
            made.write(runs.path());
        }
    }
    let text = table_of(&experiment(runs.path()), "fronts").unwrap().notes.join(" ");
    // Above 60 %, over the decade from 10 kB to 100 kB.
    assert!(text.contains("all rows 10.00 (2 seeds, 95 % interval 10.00 to 10.00); a 10.00 (2 seeds"), "{text}");
    assert!(text.contains("; b 0.00 (2 seeds"), "{text}");
}

/// The front of a method at a large and a small scale: accuracies in percent at 100 kB and at 10
/// kB.
fn method(runs: &Path, name: &str, seed: i64, accuracies: [f64; 2], against: &[&str]) {
    for (scale, accuracy, size) in [("large", accuracies[0], 100.0), ("small", accuracies[1], 10.0)] {
        let mut others = RowNames::default();
        for other in against {
            let variant = format!("{other}-{scale}");
            let recipe = format!("recipe of {variant}");
            others.push(RowName { variant, point: Point::default(), recipe });
        }
        let made = trial(runs, &format!("{name}-{scale}"), seed, [accuracy, size, 1.0]);
        made.with(|outcome| outcome.compared_with = others.clone()).write(runs);
    }
}

#[test]
fn fronts_of_methods_that_are_compared_at_several_scales_are_compared_by_seed() {
    let runs = tempfile::tempdir().unwrap();
    // The reference: 1000 kB and 50 %.
    for (seed, more) in [(0, 0.0), (1, 2.0), (2, 1.0)] {
        method(runs.path(), "joint", seed, [90.0, 70.0 + more], &["sequential", "sequential-again"]);
        method(runs.path(), "sequential", seed, [80.0, 60.0], &[]);
        trial(runs.path(), "worst", seed, [50.0, 1000.0, 1.0]);
    }
    // A seed that one row alone lacks has no front of its method.
    for seed in 0..3 {
        method(runs.path(), "sequential-again", seed, [80.0, 60.0], &[]);
    }
    method(runs.path(), "joint", 3, [99.0, 99.0], &[]);
    let experiment = experiment(runs.path());
    let table = table_of(&experiment, "hypervolumes").unwrap();
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .filter_map(|row| match row {
            TableRow::Cells(cells) => Some(cells.iter().map(|cell| cell.text.clone()).collect()),
            TableRow::Block(_) => None,
        })
        .collect();
    // Joint: a decade at 20, 22 and 21 points and one at 40, sequential: one at 10 and one at 30.
    // The differences 20, 22, 21 have the deviation 1: t(0.975; 2) = 4.30265, and at 1 - 0.05 / 2
    // for the two pairs of fronts t(0.9875; 2) = 6.20535.
    let [low, high] = [-1.0, 1.0].map(|sign| 21.0 + sign * 4.30265 / 3f64.sqrt());
    let least = ((21.0 - 6.20535 / 3f64.sqrt()) * 100.0).floor() / 100.0;
    assert_eq!(rows[0][0], "joint against sequential");
    assert_eq!(rows[1][0], "joint against sequential-again");
    assert_eq!(rows[0][1], format!("better by at least {least:.2} points · decades"));
    assert_eq!(rows[0][2..4], ["+21.00".to_owned(), format!("+{low:.2} to +{high:.2}")]);
    assert_eq!(rows[0][5..], ["3", "61.00", "40.00"]);
    assert_eq!(rows[0][1..], rows[1][1..], "the same numbers by another name");
    let notes = table.notes.join(" ");
    for part in [
        "joint of joint-large, joint-small; sequential of sequential-large, sequential-small",
        "trial: 1000.0 kB and 50.0 %",
        "(2 against stored size",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn rows_that_are_compared_at_one_place_alone_have_no_fronts_to_compare() {
    let runs = tempfile::tempdir().unwrap();
    for seed in 0..2 {
        // All against the same row, and no two of one method.
        method(runs.path(), "a", seed, [90.0, 70.0], &[]);
        let mut baseline = RowNames::default();
        let recipe = "recipe of base".to_owned();
        baseline.push(RowName { variant: "base".into(), point: Point::default(), recipe });
        for variant in ["one-pass", "two-pass"] {
            let made = trial(runs.path(), variant, seed, [80.0, 10.0, 1.0]);
            made.with(|outcome| outcome.compared_with = baseline.clone()).write(runs.path());
        }
        trial(runs.path(), "base", seed, [80.0, 10.0, 1.0]);
    }
    assert!(table_of(&experiment(runs.path()), "hypervolumes").is_none());
}

#[test]
fn two_rows_have_no_table_of_fronts() {
    let runs = tempfile::tempdir().unwrap();
    trial(runs.path(), "a", 0, [90.0, 100.0, 10.0]);
    trial(runs.path(), "b", 0, [80.0, 10.0, 1.0]);
    assert!(table_of(&experiment(runs.path()), "fronts").is_none());
}

#[test]
fn accuracy_stands_over_the_time_of_search_and_retraining() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    for seed in 0..2 {
        let made = Made::dense("front", "taken", seed).with(|outcome| outcome.test_accuracy = 0.65);
        made.write(runs.path());
        let made = Made::dense("front", "elsewhere", seed).with(|outcome| outcome.hardware = "Another".into());
        made.write(runs.path());
    }
    let figures = figure::of_experiment(&experiment(runs.path())).unwrap();
    let budget = figures.iter().find(|figure| figure.name == "budget").unwrap();
    assert!(budget.caption.ends_with("times of different hardware do not compare: elsewhere."), "{}", budget.caption);
    insta::assert_snapshot!("budget.svg", budget.svg().unwrap());
}

#[test]
fn compared_rows_share_a_panel_of_the_budget_and_each_has_its_name() {
    let runs = tempfile::tempdir().unwrap();
    let others: Vec<String> = (0..7).map(|number| format!("option-{number}")).collect();
    for seed in 0..3 {
        let mut baseline = RowNames::default();
        let recipe = "recipe of base".to_owned();
        baseline.push(RowName { variant: "base".into(), point: Point::default(), recipe });
        for (number, name) in others.iter().enumerate() {
            let made = trial(runs.path(), name, seed, [40.0 + 5.0 * number as f64, 10.0, 1.0]);
            made.with(|outcome| outcome.compared_with = baseline.clone()).write(runs.path());
        }
        trial(runs.path(), "base", seed, [80.0, 10.0, 1.0]);
        trial(runs.path(), "alone", seed, [85.0, 10.0, 1.0]);
    }
    let figures = figure::of_experiment(&experiment(runs.path())).unwrap();
    let svg = figures.iter().find(|figure| figure.name == "budget").unwrap().svg().unwrap();
    let times = |text: &str| svg.lines().filter(|line| line.trim() == text).count();
    // Seven options in two panels, each with the row that they are compared with, and one for the
    // row that is compared with nothing.
    assert_eq!(times("base"), 2, "{svg}");
    for name in others.iter().map(String::as_str).chain(["alone"]) {
        assert_eq!(times(name), 1, "{name}");
    }
    // The lowest panels of both columns.
    assert_eq!(times("Device time of search and retraining (s)"), 2);
}

#[test]
fn the_error_that_images_give_an_accuracy_stands_below_the_comparison() {
    let runs = tempfile::tempdir().unwrap();
    trial(runs.path(), "a", 0, [90.0, 100.0, 10.0]);
    trial(runs.path(), "b", 0, [80.0, 10.0, 1.0]);
    let notes = |runs: &Path| table_of(&experiment(runs), "comparison").unwrap().notes.join(" ");
    // sqrt(0.9 · 0.1 / 1000) and sqrt(0.8 · 0.2 / 1000).
    assert!(notes(runs.path()).contains("here 0.9 to 1.3 points"), "{}", notes(runs.path()));
    // Records of an older schema do not say how many images there were.
    Made::searched("front", "a", 1).with(|outcome| outcome.test_images = f64::NAN).write(runs.path());
    assert!(!notes(runs.path()).contains("standard error"), "{}", notes(runs.path()));
}
