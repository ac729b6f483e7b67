//! Tables: one model, a file for each form.

pub mod csv;
pub mod html;
pub mod latex;
pub mod markdown;

use crate::metric::{self, Metric};
use crate::trials::{Experiment, Group};

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// As it is shown, without escaping.
    pub text: String,
    /// Whether it is the best of its column.
    pub best: bool,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), best: false }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Above it.
    pub title: String,
    /// Headings; the first column holds names, the others numbers.
    pub headings: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<Cell>>,
    /// Below it, a sentence each.
    pub notes: Vec<String>,
}

/// The tables of an experiment with their file names.
pub fn of_experiment(experiment: &Experiment) -> Vec<(&'static str, Table)> {
    let mut tables = vec![("comparison", comparison(experiment))];
    tables.extend(against_dense(experiment).map(|table| ("savings", table)));
    tables
}

/// Mean ± standard deviation, or one number.
fn measured(group: &Group, metric: &Metric) -> (f64, String) {
    let (mean, deviation) = group.mean(metric.value);
    let text = match deviation {
        Some(deviation) => format!("{} ± {}", metric.format(mean), metric.format(deviation)),
        None => metric.format(mean),
    };
    (mean, text)
}

fn comparison(experiment: &Experiment) -> Table {
    let mut headings = vec!["Variant".to_owned(), "Seeds".to_owned()];
    headings.extend(metric::COMPARED.iter().map(Metric::heading));
    let mut rows: Vec<Vec<Cell>> = experiment
        .groups
        .iter()
        .map(|group| vec![Cell::plain(&group.name), Cell::plain(group.trials.len().to_string())])
        .collect();
    for metric in &metric::COMPARED {
        let column: Vec<(f64, String)> = experiment.groups.iter().map(|group| measured(group, metric)).collect();
        let values = column.iter().map(|(value, _)| *value);
        let best = match metric.higher_is_better {
            Some(true) => values.fold(f64::NEG_INFINITY, f64::max),
            Some(false) => values.fold(f64::INFINITY, f64::min),
            None => f64::NAN,
        };
        for (row, (value, text)) in rows.iter_mut().zip(column) {
            row.push(Cell { text, best: value == best && experiment.groups.len() > 1 });
        }
    }
    let mut notes = Vec::new();
    let mut datasets: Vec<&str> = experiment.trials().map(|trial| trial.outcome.dataset.as_str()).collect();
    datasets.sort_unstable();
    datasets.dedup();
    notes.push(format!("Data: {}.", datasets.join(", ")));
    notes.push(match experiment.groups.iter().all(|group| group.trials.len() == 1) {
        true => "One seed: no spread can be given.".to_owned(),
        false => "Mean ± sample standard deviation over seeds.".to_owned(),
    });
    notes.push(
        "Model size: weights at their bits, normalisation and biases in 32 bits; 1 kB = 1000 bytes. \
         Energy: 0.9 pJ an addition, 3.7 pJ a multiplication."
            .to_owned(),
    );
    let mut profiles: Vec<&str> =
        experiment.trials().map(|trial| trial.outcome.profile.as_str()).filter(|profile| !profile.is_empty()).collect();
    profiles.sort_unstable();
    profiles.dedup();
    if !profiles.is_empty() {
        notes.push(format!("Holds trials of the reduced profile {}.", profiles.join(", ")));
    }
    Table { title: "Comparison".into(), headings, rows, notes }
}

/// Every other row against the one with the most bits, if that one is in full precision.
fn against_dense(experiment: &Experiment) -> Option<Table> {
    let bits = |group: &Group| group.mean(metric::MEAN_BITS.value).0;
    let dense =
        experiment.groups.iter().max_by(|a, b| bits(a).total_cmp(&bits(b))).filter(|group| bits(group) >= 32.0)?;
    let rows: Vec<Vec<Cell>> = experiment
        .groups
        .iter()
        .filter(|group| group.name != dense.name)
        .map(|group| {
            let ratio = |metric: &Metric| dense.mean(metric.value).0 / group.mean(metric.value).0;
            let points = group.mean(metric::ACCURACY.value).0 - dense.mean(metric::ACCURACY.value).0;
            vec![
                Cell::plain(&group.name),
                Cell::plain(format!("{points:+.1}")),
                Cell::plain(format!("{:.0}×", ratio(&metric::WEIGHT_BITS))),
                Cell::plain(format!("{:.1}×", ratio(&metric::MODEL_SIZE))),
                Cell::plain(format!("{:.0}×", ratio(&metric::BIT_SYN_OPS))),
                Cell::plain(format!("{:.1}×", ratio(&metric::ENERGY))),
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        title: format!("Cost and savings against {}", dense.name),
        headings: [
            "Variant",
            "Accuracy (points)",
            "Fewer weight bits",
            "Smaller model",
            "Fewer Bit-SynOps",
            "Less energy",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
        notes: vec![format!("Ratios of means; {} is in full precision.", dense.name)],
    })
}
