//! What search and retraining cost: both together, then stage by stage.

use super::{Cell, DEVICE_TIME, NOTHING, Table, TableRow, WHOLE_COMPARES, timed};
use crate::metric::{COST_IN_DAYS, COSTS, Cost, Metric, fine_decimals, spread};
use crate::trials::{ExperimentResults, FinishedTrial, SeedGroup};
use litesnn_framework::record::StageRow;

/// The cost of every row; `None` where nothing was searched, since the comparison says all then.
pub fn table(experiment: &ExperimentResults) -> Option<Table> {
    if !experiment.groups.iter().any(SeedGroup::searched) {
        return None;
    }
    let mut notes = vec!["Mean ± sample standard deviation over seeds. Evaluation is left out.".to_owned()];
    notes.push(format!("{WHOLE_COMPARES} {DEVICE_TIME}"));
    notes.push(experiment.measured_on());
    notes.extend(experiment.mixed_note());
    Some(Table {
        title: "Cost of search and retraining".into(),
        headings: ["Variant", "Stage", "Epochs", "Wall time (s)", "Device time (s)", "Device time (days)", "Device"]
            .map(str::to_owned)
            .to_vec(),
        names: 2,
        rows: experiment.groups.iter().flat_map(rows_of).collect(),
        notes,
        references: Vec::new(),
    })
}

/// The whole in front, then the search with its steps where it has several, then retraining.
fn rows_of(group: &SeedGroup) -> Vec<TableRow> {
    let costs = [COSTS[0], COSTS[1], COSTS[2], COST_IN_DAYS];
    let of_result = |part: fn(&Cost) -> Metric| {
        costs.map(|cost| {
            let metric = part(&cost);
            let (mean, deviation) = group.measured(&metric);
            cell(group, metric.is_time, mean, deviation, metric.decimals)
        })
    };
    let mut rows = vec![("search + retraining", of_result(|cost| cost.whole))];
    if group.searched() {
        rows.push(("search", of_result(|cost| cost.search)));
        let steps = steps(group);
        if steps.len() > 1 {
            rows.extend(steps.into_iter().map(|step| (step, of_step(group, step))));
        }
    }
    if group.trials.iter().any(|trial| trial.outcome.retrain_epochs > 0) {
        rows.push(("retraining", of_result(|cost| cost.retrain)));
    }
    let rows = rows.into_iter().enumerate().map(|(index, (stage, numbers))| {
        let name = Cell { again: index > 0, ..Cell::of(&group.name, group) };
        let device = if group.is_of_one_hardware() { &group.first().device } else { NOTHING };
        let cells = [name, Cell::of(stage, group)].into_iter().chain(numbers).chain([Cell::of(device, group)]);
        TableRow::Cells(cells.collect())
    });
    rows.collect()
}

/// Names of the search's steps, in order.
fn steps(group: &SeedGroup) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in group.trials.iter().flat_map(|trial| &trial.stages).filter(|row| row.stage.is_search()) {
        if !names.contains(&row.stage.name()) {
            names.push(row.stage.name());
        }
    }
    names
}

/// Epochs, wall time, device time in seconds and in days of one step.
fn of_step(group: &SeedGroup, name: &str) -> [Cell; 4] {
    let sum = |trial: &FinishedTrial, value: fn(&StageRow) -> f64| {
        let stages = trial.stages.iter().filter(|row| row.stage.is_search() && row.stage.name() == name);
        stages.fold(0.0, |sum, stage| sum + value(stage))
    };
    let time = |value: fn(&StageRow) -> f64, least: usize| {
        let (mean, deviation) = group.mean_time(|trial| sum(trial, value));
        cell(group, true, mean, deviation, least)
    };
    let (mean, deviation) = group.mean_of(|trial| sum(trial, |stage| stage.epochs as f64));
    [
        cell(group, false, mean, deviation, 0),
        time(|stage| stage.seconds, 0),
        time(|stage| stage.device_seconds, 0),
        time(|stage| stage.device_seconds / 86_400.0, 2),
    ]
}

fn cell(group: &SeedGroup, is_time: bool, mean: f64, deviation: Option<f64>, least: usize) -> Cell {
    match (is_time, deviation) {
        (true, _) => timed(spread(mean, deviation, fine_decimals(mean, least)), group),
        // Counted, not measured: where seeds agree there is no spread.
        (false, Some(deviation)) if deviation > 0.0 => Cell::of(spread(mean, Some(deviation), 1), group),
        (false, _) => Cell::of(spread(mean, None, 0), group),
    }
}
