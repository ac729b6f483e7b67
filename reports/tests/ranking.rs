//! The table and the figure of ranking quality, from records that are written here.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::record::{self, CandidateRow, files};
use litesnn_reports::{figure, table, trials};
use support::Made;

/// Six architectures that differ in an edge, each with a path and a training.
fn ranked(runs: &Path, seed: i64, believed: [f64; 6], trained: [f64; 6]) {
    const OPERATIONS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let made = Made::searched("ranking", "supernet", seed);
    made.write(runs);
    let row = |index: usize, epochs: i64, validation_accuracy: f64| {
        let mut design = made.design();
        design.edges[0].operation = OPERATIONS[index].into();
        CandidateRow { design: design.to_toml(), epochs, validation_accuracy, ..CandidateRow::default() }
    };
    let paths = believed.into_iter().enumerate().map(|(index, accuracy)| row(index, 0, accuracy));
    let networks = trained.into_iter().enumerate().map(|(index, accuracy)| row(index, 5, accuracy));
    let rows: Vec<CandidateRow> = paths.chain(networks).collect();
    record::write(&made.folder(runs).join(files::CANDIDATES), &rows).unwrap();
}

fn tables(runs: &Path) -> Vec<(String, table::Table)> {
    let found = trials::find(runs, &[]).unwrap();
    table::of_experiment(&found.experiments[0], &found.experiments).unwrap()
}

#[test]
fn beliefs_are_paired_with_trainings_of_the_same_architecture() {
    let runs = tempfile::tempdir().unwrap();
    ranked(runs.path(), 0, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [0.50, 0.55, 0.60, 0.65, 0.80, 0.75]);
    ranked(runs.path(), 1, [0.5, 0.3, 0.3, 0.2, 0.6, 0.1], [0.50, 0.55, 0.60, 0.65, 0.75, 0.80]);
    let all = tables(runs.path());
    let (_, ranking) = all.iter().find(|(name, _)| name == "ranking").unwrap();
    let csv = table::csv::render(ranking).unwrap();
    // Seed 0: one of 15 pairs is in the opposite order, (14 - 1) / 15; the architecture believed best
    // has 75 %, the best 80 %.
    let first = csv.lines().nth(1).unwrap();
    assert!(first.starts_with("supernet,0,better than an order by chance,0.87,"), "{csv}");
    assert!(first.ends_with(",6,5.0,15.8"), "{csv}");
    // Seed 1: of 14 pairs that differ in both, 4 agree and 10 do not, and -6 / sqrt(14 · 15) = -0.41.
    let second = csv.lines().nth(2).unwrap();
    assert!(second.starts_with("supernet,1,not distinguishable from an order by chance,-0.41,"), "{csv}");
    // The trained accuracies differ in the order of one pair.
    assert!(
        ranking.notes.join(" ").contains("agree with tau 0.87, mean over the pairs of 2 seeds"),
        "{:?}",
        ranking.notes
    );
    let found = trials::find(runs.path(), &[]).unwrap();
    let figures = figure::of_experiment(&found.experiments[0]).unwrap();
    let svg = figures.iter().find(|figure| figure.name == "ranking").unwrap().svg().unwrap();
    assert_eq!(svg.matches("<circle").count(), 12 + 1, "a mark for each architecture and seed, and one in the key");
}

/// A score has no accuracy: its fitness is the belief, and minus infinity is less than all others.
#[test]
fn scores_before_training_are_beliefs_in_a_figure_of_their_own() {
    let runs = tempfile::tempdir().unwrap();
    let trained = [0.50, 0.55, 0.60, 0.65, 0.80, 0.75];
    ranked(runs.path(), 0, [f64::NAN; 6], trained);
    let file = Made::searched("ranking", "supernet", 0).folder(runs.path()).join(files::CANDIDATES);
    let mut rows: Vec<CandidateRow> = record::read(&file).unwrap();
    let scores = [f64::NEG_INFINITY, f64::NEG_INFINITY, -40.0, -30.0, 10.0, 2.0];
    rows.iter_mut().zip(scores).for_each(|(row, score)| row.fitness = score);
    record::write(&file, &rows).unwrap();
    let all = tables(runs.path());
    let (_, ranking) = all.iter().find(|(name, _)| name == "ranking").unwrap();
    let csv = table::csv::render(ranking).unwrap();
    // Two beliefs are equal, and all 14 other pairs agree: 14 / sqrt(14 · 15) = 0.97.
    let row = csv.lines().nth(1).unwrap();
    assert!(row.starts_with("supernet,0,better than an order by chance,0.97,") && row.contains(",6,0.0,"), "{csv}");
    let found = trials::find(runs.path(), &[]).unwrap();
    let figures = figure::of_experiment(&found.experiments[0]).unwrap();
    assert!(figures.iter().all(|figure| figure.name != "ranking"), "no accuracy was believed");
    let svg = figures.iter().find(|figure| figure.name == "ranking-score").unwrap().svg().unwrap();
    assert_eq!(svg.matches("<circle").count(), 4 + 1, "a mark for each finite score, and one in the key");
}

#[test]
fn a_search_that_only_believed_has_neither() {
    let runs = tempfile::tempdir().unwrap();
    let made = Made::searched("ranking", "supernet", 0);
    made.write(runs.path());
    let row = CandidateRow { design: made.design().to_toml(), validation_accuracy: 0.5, ..CandidateRow::default() };
    record::write(&made.folder(runs.path()).join(files::CANDIDATES), &[row]).unwrap();
    assert!(tables(runs.path()).iter().all(|(name, _)| name != "ranking"));
    let found = trials::find(runs.path(), &[]).unwrap();
    assert!(figure::of_experiment(&found.experiments[0]).unwrap().iter().all(|figure| figure.name != "ranking"));
}
