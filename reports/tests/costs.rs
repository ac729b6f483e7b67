//! What designing costs: search and retraining, like for like.
//!
//! The later stages of a sequential search train the final network, a joint search leaves that to
//! retraining. Their searches alone were compared: 38 s against 182 s, where search and retraining
//! together took 78 s and 182 s.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::record::{self, Outcome, StageRow, files};
use litesnn_reports::table::{self, Table, TableRow};
use litesnn_reports::trials::{self, ExperimentResults};
use litesnn_reports::{figure, metric};
use support::{Made, paper};

const EXPERIMENT: &str = "table4-joint-vs-sequential";

fn with_times(variant: &str, [search, retrain]: [f64; 2], [search_device, retrain_device]: [f64; 2]) -> Made {
    Made::searched(EXPERIMENT, variant, 0).with(|outcome| {
        outcome.reproduces = "lite-snn/table4".into();
        outcome.search_seconds = search;
        outcome.retrain_seconds = retrain;
        outcome.search_device_seconds = search_device;
        outcome.retrain_device_seconds = retrain_device;
    })
}

/// A joint row of 4 + 6 epochs, and a sequential one whose ten epochs all belong to its search.
/// Times of a device are chosen as days: 2 + 3 and 7.
fn joint_and_sequential(runs: &Path) -> ExperimentResults {
    const DAY: f64 = 86_400.0;
    with_times("joint-large", [38.0, 40.0], [2.0 * DAY, 3.0 * DAY]).write(runs);
    let mut sequential = with_times("sequential-large", [182.0, 0.0], [7.0 * DAY, 0.0]);
    sequential.search = vec![("search-A", 4), ("search-P", 2), ("search-Q", 2), ("search-T", 2)];
    sequential.outcome.search_epochs = 10;
    sequential.outcome.retrain_epochs = 0;
    sequential.write(runs);
    trials::find(runs, &paper()).unwrap().experiments.remove(0)
}

fn named(experiment: &ExperimentResults, name: &str) -> Table {
    let tables = table::of_experiment(experiment, std::slice::from_ref(experiment)).unwrap();
    tables.into_iter().find(|(known, _)| known == name).unwrap().1
}

/// The cells of each row below the headings that hold `parts`.
fn columns(table: &Table, parts: &[&str]) -> Vec<Vec<String>> {
    let index = |part: &&str| {
        let found = table.headings.iter().position(|heading| heading.contains(*part));
        found.unwrap_or_else(|| panic!("{part} is not in {:?}", table.headings))
    };
    let chosen: Vec<usize> = parts.iter().map(index).collect();
    let rows = table.rows.iter().filter_map(|row| match row {
        TableRow::Block(_) => None,
        TableRow::Cells(cells) => Some(chosen.iter().map(|index| cells[*index].text.clone()).collect()),
    });
    rows.collect()
}

#[test]
fn the_comparison_has_the_sum_in_front_of_its_parts() {
    let runs = tempfile::tempdir().unwrap();
    let table = named(&joint_and_sequential(runs.path()), "comparison");
    assert_eq!(
        columns(&table, &["Variant", "Epochs", "Wall time (s)", "Device time (s)"]),
        [
            ["joint-large", "10 (4 + 6)", "78 (38 + 40)", "432000 (172800 + 259200)"],
            ["sequential-large", "10 (10 + 0)", "182 (182 + 0)", "604800 (604800 + 0)"],
        ]
    );
}

#[test]
fn the_table_of_costs_has_the_sum_the_search_and_retraining() {
    let runs = tempfile::tempdir().unwrap();
    let table = named(&joint_and_sequential(runs.path()), "design-cost");
    let rows = columns(&table, &["Variant", "Stage", "Epochs", "Wall time", "Device time (s)", "(days)"]);
    assert_eq!(
        rows[..5],
        [
            ["joint-large", "search + retraining", "10", "78", "432000", "5.00"],
            ["joint-large", "search", "4", "38", "172800", "2.00"],
            ["joint-large", "retraining", "6", "40", "259200", "3.00"],
            ["sequential-large", "search + retraining", "10", "182", "604800", "7.00"],
            ["sequential-large", "search", "10", "182", "604800", "7.00"],
        ]
    );
    // Its steps, from the stages; and no retraining, since it had none.
    let steps: Vec<&str> = rows[5..].iter().map(|row| row[1].as_str()).collect();
    assert_eq!(steps, ["search-A", "search-P", "search-Q", "search-T"]);
    assert_eq!(rows[5][2..5], ["4", "4.0", "8.0"]);
}

#[test]
fn beside_the_published_design_cost_stand_the_sum_the_search_and_retraining() {
    let runs = tempfile::tempdir().unwrap();
    let table = named(&joint_and_sequential(runs.path()), "table4");
    let mut rows = columns(&table, &["Model", "Source", "Search + retraining", "Design cost", "Retraining"]);
    rows.retain(|row| !row[1].contains("not run"));
    let of = |model: &str, source: &str| -> Vec<String> {
        let row = rows.iter().find(|row| row[0] == model && row[1].contains(source));
        row.unwrap_or_else(|| panic!("{rows:?}"))[2..].iter().map(|cell| cell.replace('†', "")).collect()
    };
    assert_eq!(of("LitE-SNN (large)", "published"), ["–", "5.01", "–"]);
    assert_eq!(of("LitE-SNN (large)", "measured"), ["5.00", "2.00", "3.00"]);
    assert_eq!(of("LitE-SNN (large)", "difference"), ["–", "-3.01", "–"]);
    assert_eq!(of("A + P + Q + T (large)", "measured"), ["7.00", "7.00", "0.00"]);
    let whole = table.headings.iter().position(|heading| heading.starts_with("Search + retraining")).unwrap();
    assert!(table.headings[whole + 1].starts_with("Design cost"), "the sum stands in front: {:?}", table.headings);
    assert!(table.notes.iter().any(|note| note.contains("does not say whether it holds the training")));
}

#[test]
fn the_figure_of_schemes_has_the_sum_before_its_parts() {
    let runs = tempfile::tempdir().unwrap();
    let figures = figure::of_experiment(&joint_and_sequential(runs.path())).unwrap();
    let svg = figures.iter().find(|figure| figure.name == "joint-sequential").unwrap().svg().unwrap();
    let place = |text: &str| svg.find(text).unwrap_or_else(|| panic!("{text}"));
    let places = ["Total (device hours)", "Search (device hours)", "Retraining (device hours)"].map(place);
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn every_trial_has_the_sum_in_front_of_the_search() {
    let runs = tempfile::tempdir().unwrap();
    let text = table::csv::trials(&joint_and_sequential(runs.path())).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let at = |column: &str| rows[0].iter().position(|name| *name == column).unwrap_or_else(|| panic!("{column}"));
    for (part, joint, sequential) in [
        ("seconds", [78.0, 38.0], [182.0, 182.0]),
        ("epochs", [10.0, 4.0], [10.0, 10.0]),
        ("device_seconds", [432e3, 172_800.0], [604_800.0; 2]),
    ] {
        let (whole, search) = (at(&format!("search_retrain_{part}")), at(&format!("search_{part}")));
        assert_eq!(whole + 1, search);
        for (row, expected) in [(&rows[1], joint), (&rows[2], sequential)] {
            // Between quotes nothing of these rows has a comma before these columns.
            assert_eq!([whole, search].map(|index| row[index].parse::<f64>().unwrap()), expected, "{part}");
        }
    }
}

#[test]
fn the_device_time_of_an_older_retraining_is_that_of_its_stage() {
    let runs = tempfile::tempdir().unwrap();
    let old = Made::searched("old", "one", 0).with(|outcome| outcome.retrain_device_seconds = f64::NAN);
    old.write(runs.path());
    let experiment = trials::find(runs.path(), &[]).unwrap().experiments.remove(0);
    let of_stage: Vec<StageRow> = record::read(&old.folder(runs.path()).join(files::STAGES)).unwrap();
    let expected = of_stage.iter().find(|row| row.stage.name() == "retrain").unwrap().device_seconds;
    assert_eq!(experiment.groups[0].first().retrain_device_seconds, expected);
    assert_eq!(experiment.groups[0].measured(&metric::DEVICE_TIME).0, expected + 8.0);
}

#[test]
fn epochs_of_seeds_that_agree_have_no_spread() {
    let runs = tempfile::tempdir().unwrap();
    for (seed, seconds) in [(0, 30.0), (1, 40.0)] {
        let of_seed = |outcome: &mut Outcome| {
            outcome.seed = seed;
            outcome.search_seconds = seconds;
        };
        with_times("joint-large", [0.0, 40.0], [0.0, 0.0]).with(of_seed).write(runs.path());
    }
    let experiment = trials::find(runs.path(), &paper()).unwrap().experiments.remove(0);
    let table = named(&experiment, "comparison");
    // The sample standard deviation of 70 and 80 is 10 / sqrt 2.
    assert_eq!(columns(&table, &["Epochs", "Wall time (s)"]), [["10 (4 + 6)", "75 ± 7.1 (35 + 40)"]]);
}
