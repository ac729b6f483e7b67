//! What designing cost, stage by stage.

use super::{Cell, Table, TableRow};
use crate::metric::{fine_decimals, spread};
use crate::trials::{ExperimentResults, SeedGroup};
use litesnn_framework::record::StageRow;

/// The stages of every search with their epochs and times; `None` where nothing was searched.
pub fn table(experiment: &ExperimentResults) -> Option<Table> {
    let searched = experiment.groups.iter().filter(|group| group.searched());
    let rows: Vec<TableRow> = searched.flat_map(rows_of).collect();
    (!rows.is_empty()).then(|| Table {
        title: "Cost of designing by stage".into(),
        headings: ["Variant", "Stage", "Epochs", "Wall time (s)", "Device time (s)", "Device time (days)", "Device"]
            .map(str::to_owned)
            .to_vec(),
        names: 2,
        rows,
        notes: vec![
            "Mean ± sample standard deviation over seeds. Retraining and evaluation are not part of designing.".to_owned(),
            "Device time: on a CPU the processor time of all threads; on a GPU the wall time, for which the trial holds it."
                .to_owned(),
        ],
        references: Vec::new(),
    })
}

fn rows_of(group: &SeedGroup) -> Vec<TableRow> {
    let mut names: Vec<&str> = Vec::new();
    for row in group.trials.iter().flat_map(|trial| &trial.stages).filter(|row| row.stage.is_search()) {
        if !names.contains(&row.stage.name()) {
            names.push(row.stage.name());
        }
    }
    let chosen: Vec<Option<&str>> = match names.len() {
        0 => Vec::new(),
        1 => vec![Some(names[0])],
        _ => names.into_iter().map(Some).chain([None]).collect(),
    };
    let rows = chosen.into_iter().enumerate().map(|(index, name)| {
        // The stage of that name, or all of them.
        let of_trial = |trial: &crate::trials::FinishedTrial, value: fn(&StageRow) -> f64| -> f64 {
            let stages = trial.stages.iter().filter(|row| row.stage.is_search());
            stages.filter(|stage| name.is_none_or(|name| stage.stage.name() == name)).map(value).sum()
        };
        let cell = |value: fn(&StageRow) -> f64, least: usize| {
            let (mean, deviation) = group.mean_of(|trial| of_trial(trial, value));
            Cell::of(spread(mean, deviation, fine_decimals(mean, least)), group)
        };
        // Counted, not measured: where seeds agree there is no spread.
        let epochs = match group.mean_of(|trial| of_trial(trial, |stage| stage.epochs as f64)) {
            (mean, Some(deviation)) if deviation > 0.0 => spread(mean, Some(deviation), 1),
            (mean, _) => spread(mean, None, 0),
        };
        TableRow::Cells(vec![
            Cell { again: index > 0, ..Cell::of(&group.name, group) },
            Cell::of(name.unwrap_or("all stages"), group),
            Cell::of(epochs, group),
            cell(|stage| stage.seconds, 0),
            cell(|stage| stage.device_seconds, 0),
            cell(|stage| stage.device_seconds / 86_400.0, 2),
            Cell::of(group.first().device.clone(), group),
        ])
    });
    rows.collect()
}
