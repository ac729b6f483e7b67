//! The table and the figure of early exit, from records that are written here.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::record::{self, ExitRow, files};
use litesnn_reports::{figure, table, trials};
use support::Made;

/// Three timesteps; thresholds 0, 0.2 (the result's) and 0.6.
fn exits(accuracy: f64) -> Vec<ExitRow> {
    let row = |threshold: f64, stopped: [f64; 3], lost: f64| {
        let mean_timesteps = stopped[0] + 2.0 * stopped[1] + 3.0 * stopped[2];
        ExitRow {
            threshold,
            result: i64::from(threshold == 0.2),
            test_accuracy: accuracy - lost,
            test_loss: 0.6,
            mean_timesteps,
            stopped: stopped.to_vec(),
            syn_ops: 1e5 * mean_timesteps,
            bit_syn_ops: 2e5 * mean_timesteps,
            multiplications: 1e4 * mean_timesteps,
            energy_mj: 1e-4 * mean_timesteps,
            syn_ops_counted: 0.9e5 * mean_timesteps,
            bit_syn_ops_counted: 1.8e5 * mean_timesteps,
            multiplications_counted: 0.9e4 * mean_timesteps,
            energy_counted_mj: 0.9e-4 * mean_timesteps,
        }
    };
    vec![
        row(0.0, [0.0, 0.0, 1.0], 0.0),
        row(0.2, [0.5, 0.3, 0.2], 0.001),
        row(0.6, [0.8, 0.15, 0.05], 0.02),
        row(f64::NAN, [1.0, 0.0, 0.0], 0.08),
        row(f64::NAN, [0.0, 1.0, 0.0], 0.02),
        row(f64::NAN, [0.0, 0.0, 1.0], 0.0),
    ]
}

fn example(runs: &Path) {
    for (seed, accuracy) in [(0, 0.80), (1, 0.82)] {
        let made = Made::dense("exits", "early & sure", seed).with(|outcome| {
            let chosen = &exits(accuracy)[1];
            (outcome.test_accuracy, outcome.mean_timesteps) = (chosen.test_accuracy, chosen.mean_timesteps);
            outcome.timesteps = 3;
            outcome.earliest_timestep = 1.2 + accuracy / 10.0;
        });
        made.write(runs);
        record::write(&made.folder(runs).join(files::EXITS), &exits(accuracy)).unwrap();
    }
    Made::dense("exits", "whole", 0).write(runs);
}

#[test]
fn the_table_and_the_figure_of_early_exit_are_as_they_were() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    let found = trials::find(runs.path(), &[]).unwrap();
    let tables = table::of_experiment(&found.experiments[0], &found.experiments).unwrap();
    let (_, exits) = tables.iter().find(|(name, _)| name == "exits").unwrap();
    insta::assert_snapshot!("exits.md", table::markdown::render(exits));
    let (_, comparison) = tables.iter().find(|(name, _)| name == "comparison").unwrap();
    // Mean timesteps 0.5 + 2 · 0.3 + 3 · 0.2.
    assert!(table::csv::render(comparison).unwrap().contains(",1.7 ± "));
    let figures = figure::of_experiment(&found.experiments[0]).unwrap();
    let figure = figures.iter().find(|figure| figure.name == "exits").unwrap();
    insta::assert_snapshot!("exits.svg", figure.svg().unwrap());
}

#[test]
fn without_early_exit_there_is_neither() {
    let runs = tempfile::tempdir().unwrap();
    Made::dense("exits", "whole", 0).write(runs.path());
    let found = trials::find(runs.path(), &[]).unwrap();
    assert!(
        table::of_experiment(&found.experiments[0], &found.experiments)
            .unwrap()
            .iter()
            .all(|(name, _)| name != "exits")
    );
    assert!(figure::of_experiment(&found.experiments[0]).unwrap().iter().all(|figure| figure.name != "exits"));
}
