//! Early exit: accuracy and cost over thresholds, and without early exit.

use litesnn_framework::record::ExitRow;

use super::{Cell, Table, TableRow};
use crate::exits::{Stop, Way, ways};
use crate::metric::{self, Metric};
use crate::trials::{ExperimentResults, SeedGroup};
use litesnn_framework::ground::counted;

type Value = fn(&ExitRow) -> f64;

/// What is shown of a way to stop, in the units of the result's metrics.
const SHOWN: [(Metric, Value); 4] = [
    (metric::ACCURACY, |row| 100.0 * row.test_accuracy),
    (metric::BIT_SYN_OPS, |row| row.bit_syn_ops / 1e6),
    (metric::COUNTED_BIT_SYN_OPS, |row| row.bit_syn_ops_counted / 1e6),
    (metric::ENERGY, |row| row.energy_mj * 1e3),
];

/// A block for each row of the experiment that has early exit; `None` where none has.
pub fn table(experiment: &ExperimentResults) -> Option<Table> {
    let with_exits = || experiment.groups.iter().filter(|group| !ways(group).is_empty());
    let rows: Vec<TableRow> = with_exits()
        .flat_map(|group| {
            let of_ways = ways(group).into_iter().map(|way| TableRow::Cells(cells(&way, group)));
            std::iter::once(TableRow::Block(group.name.clone())).chain(of_ways).collect::<Vec<_>>()
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let earliest = with_exits().map(|group| {
        let (mean, deviation) = group.mean_of(|trial| trial.outcome.earliest_timestep);
        format!("{} {}", group.name, metric::spread(mean, deviation, 2))
    });
    let [accuracy, costs @ ..] = SHOWN.map(|(metric, _)| metric.heading());
    let headings =
        ["Images stop".into(), accuracy, "Timesteps (mean)".into(), "Stop after 1, 2, ... timesteps (%)".into()];
    Some(Table {
        title: "Early exit".into(),
        headings: headings.into_iter().chain(costs).collect(),
        names: 1,
        rows,
        notes: vec![
            "An image stops at the first timestep that is sure enough by the threshold, or at the last. *: the threshold \
             of the result, as in the other tables. Rows of a number of timesteps are without early exit."
                .to_owned(),
            "Operations of a timestep are those of the images still running, mean over all images; what decides whether \
             an image stops (a softmax of its logits) is not counted."
                .to_owned(),
            format!(
                "First timestep whose answer is right, mean over images (AET): {}.",
                earliest.collect::<Vec<_>>().join("; ")
            ),
        ],
        references: Vec::new(),
    })
}

fn cells(way: &Way, group: &SeedGroup) -> Vec<Cell> {
    let name = match way.stop {
        Stop::Threshold(threshold) => format!("threshold {threshold}{}", if way.is_result { " *" } else { "" }),
        Stop::Timesteps(timesteps) => format!("after {}", counted(timesteps, "timestep")),
    };
    let [accuracy, costs @ ..] = SHOWN.map(|(metric, value)| {
        let (mean, deviation) = way.measured(value);
        metric.format_spread(mean, deviation)
    });
    let (timesteps, deviation) = way.measured(|row| row.mean_timesteps);
    let stopped: Vec<String> = way.stopped().iter().map(|part| format!("{:.1}", 100.0 * part)).collect();
    let texts = [name, accuracy, metric::spread(timesteps, deviation, 2), stopped.join(" / ")];
    texts.into_iter().chain(costs).map(|text| Cell::of(text, group)).collect()
}
