//! Tables: one model, a file for each form.

mod cost;
mod counted;
pub mod csv;
mod differences;
mod exits;
mod fronts;
pub mod html;
pub mod latex;
pub mod markdown;
mod published;
mod ranking;
mod rival_fronts;

use crate::Error;
use crate::metric::{self, Cost, Metric, fine_decimals};
use crate::published::find;
use crate::statistics::binomial_error;
use crate::trials::{ExperimentResults, SeedGroup};
use litesnn_framework::ground::counted;

/// What a cell holds where there is nothing.
const NOTHING: &str = "–";

/// A cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    /// As it is shown, without escaping.
    pub text: String,
    /// Whether it is the best of its column.
    pub best: bool,
    /// Whether it says again what the cell above says; only forms for machines repeat it.
    pub again: bool,
    /// The element of the page that it leads to: the trials that it comes from.
    pub link: Option<String>,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), ..Cell::default() }
    }

    fn of(text: impl Into<String>, group: &SeedGroup) -> Cell {
        Cell { link: Some(group.anchor.clone()), ..Cell::plain(text) }
    }

    /// What a person reads.
    fn shown(&self) -> &str {
        if self.again { "" } else { &self.text }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub enum TableRow {
    /// The heading of the rows below it.
    Block(String),
    /// A cell for each column.
    Cells(Vec<Cell>),
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Above it.
    pub title: String,
    /// Headings.
    pub headings: Vec<String>,
    /// As many columns hold names, the others numbers.
    pub names: usize,
    /// Rows.
    pub rows: Vec<TableRow>,
    /// Below it, a sentence each.
    pub notes: Vec<String>,
    /// Short names in it and what they stand for.
    pub references: Vec<(String, String)>,
}

/// The tables of an experiment with their file names. A published table has the rows of compared
/// systems from all the experiments.
pub fn of_experiment(experiment: &ExperimentResults, all: &[ExperimentResults]) -> Result<Vec<(String, Table)>, Error> {
    let mut tables = Vec::new();
    for name in experiment.reproduces() {
        let (publication, part) = find(name, &experiment.name)?;
        if !publication.columns.is_empty() && published::stands_with(experiment, all, publication, part) {
            let file = name.rsplit('/').next().unwrap_or(name).to_owned();
            tables.push((file, published::table(experiment, all, publication, part)));
        }
    }
    tables.push(("comparison".to_owned(), comparison(experiment)));
    tables.extend(differences::table(experiment).map(|table| ("differences".to_owned(), table)));
    tables.extend(fronts::table(experiment).map(|table| ("fronts".to_owned(), table)));
    tables.extend(rival_fronts::table(experiment).map(|table| ("hypervolumes".to_owned(), table)));
    tables.extend(exits::table(experiment).map(|table| ("exits".to_owned(), table)));
    tables.extend(ranking::table(experiment).map(|table| ("ranking".to_owned(), table)));
    tables.extend(counted::table(experiment).map(|table| ("counted".to_owned(), table)));
    tables.extend(against_dense(experiment).map(|table| ("savings".to_owned(), table)));
    tables.extend(cost::table(experiment).map(|table| ("design-cost".to_owned(), table)));
    Ok(tables)
}

/// Mean ± standard deviation, or one number.
fn measured(group: &SeedGroup, metric: &Metric) -> (f64, String) {
    let (mean, deviation) = group.measured(metric);
    let text = match deviation.filter(|deviation| deviation.is_finite()) {
        Some(deviation) => format!("{} ± {}", metric.format(mean), metric.format(deviation)),
        None => metric.format(mean),
    };
    (mean, text)
}

/// A cell with the mark of a row that mixes results of different machines.
fn marked(text: String, group: &SeedGroup) -> Cell {
    Cell::of(text + group.mixed_mark(), group)
}

fn comparison(experiment: &ExperimentResults) -> Table {
    let mut headings = vec!["Variant".to_owned(), "Seeds".to_owned()];
    headings.extend(metric::COMPARED.iter().map(Metric::heading));
    headings.extend(metric::COSTS.iter().map(|cost| cost.whole.heading()));
    headings.push(metric::EVALUATE_TIME.heading());
    let mut rows: Vec<Vec<Cell>> = experiment
        .groups
        .iter()
        .map(|group| vec![Cell::of(&group.name, group), Cell::of(group.trials.len().to_string(), group)])
        .collect();
    for metric in &metric::COMPARED {
        let column: Vec<(f64, String)> = experiment.groups.iter().map(|group| measured(group, metric)).collect();
        let values = column.iter().map(|(value, _)| *value);
        let best = match metric.higher_is_better {
            Some(true) => values.fold(f64::NEG_INFINITY, f64::max),
            Some(false) => values.fold(f64::INFINITY, f64::min),
            None => f64::NAN,
        };
        for ((row, (value, text)), group) in rows.iter_mut().zip(column).zip(&experiment.groups) {
            let cell = if metric.key == metric::ACCURACY.key { marked(text, group) } else { Cell::of(text, group) };
            row.push(Cell { best: value == best && experiment.groups.len() > 1, ..cell });
        }
    }
    for (row, group) in rows.iter_mut().zip(&experiment.groups) {
        row.extend(metric::COSTS.iter().map(|cost| in_parts(group, cost)));
        row.push(timed(measured(group, &metric::EVALUATE_TIME).1, group));
    }
    let mut notes = Vec::new();
    notes.push(format!("Data: {}.", experiment.datasets().join(", ")));
    notes.push(match experiment.groups.iter().all(|group| group.trials.len() == 1) {
        true => "One seed: no spread can be given.".to_owned(),
        false => "Mean ± sample standard deviation over seeds.".to_owned(),
    });
    notes.extend(error_of_images(&experiment.groups));
    notes.push(
        "Model size, as published: kept weights at their bits, normalisation and biases in 32 bits; 1 kB = 1000 bytes. \
         Stored size: with the masks that say which weights are kept. \
         Energy: 0.9 pJ an addition, 3.7 pJ a multiplication."
            .to_owned(),
    );
    notes.push(format!(
        "Epochs and times: search and retraining together, and in brackets (search + retraining). {WHOLE_COMPARES} {DEVICE_TIME}"
    ));
    notes.extend(silence(&experiment.groups));
    notes.push(experiment.measured_on());
    notes.extend(experiment.mixed_note());
    let mut profiles: Vec<&str> =
        experiment.trials().map(|trial| trial.outcome.profile.as_str()).filter(|profile| !profile.is_empty()).collect();
    profiles.sort_unstable();
    profiles.dedup();
    if !profiles.is_empty() {
        notes.push(format!(
            "Holds trials of the reduced profile {}: not comparable with published numbers.",
            profiles.join(", ")
        ));
    }
    Table {
        title: "Comparison".into(),
        headings,
        names: 1,
        rows: rows.into_iter().map(TableRow::Cells).collect(),
        notes,
        references: Vec::new(),
    }
}

/// The standard error that test accuracies have from their images, which no column shows: rows of
/// one test split differ little in it.
fn error_of_images(groups: &[SeedGroup]) -> Option<String> {
    let outcomes = || groups.iter().flat_map(|group| &group.trials).map(|trial| &trial.outcome);
    let errors: Option<Vec<f64>> =
        outcomes().map(|outcome| binomial_error(outcome.test_accuracy, outcome.test_images)).collect();
    let errors = errors.filter(|errors| !errors.is_empty())?;
    let [least, most] =
        [f64::min, f64::max].map(|pick| 100.0 * errors.iter().copied().reduce(pick).unwrap_or(f64::NAN));
    let [least, most] = [least, most].map(|error| format!("{error:.*}", fine_decimals(most, 1)));
    let range = if least == most { least } else { format!("{least} to {most}") };
    Some(format!(
        "A test accuracy has a standard error from its images, too (binomial): here {range} points. All seeds are \
         tested on the same images, so that more seeds do not make it smaller."
    ))
}

/// Layers that no spike reaches, row by row: such a layer costs nothing and does nothing.
fn silence(groups: &[SeedGroup]) -> Option<String> {
    const SHOWN: usize = 4;
    let of_group = |group: &SeedGroup| {
        let silent = group.silent_layers();
        let count = silent.len();
        let mut names: Vec<String> = silent.into_iter().take(SHOWN).collect();
        if count > SHOWN {
            names.push(counted(count - SHOWN, "other layer"));
        }
        (count > 0).then(|| format!("{}: {}", group.name, names.join(", ")))
    };
    let rows: Vec<String> = groups.iter().filter_map(of_group).collect();
    (!rows.is_empty()).then(|| format!("Layers that no spike ever reaches: {}.", rows.join("; ")))
}

/// How costs compare.
const WHOLE_COMPARES: &str = "Some searches train the final network themselves, so rows compare by search and \
                              retraining together. A row without a search took its design over.";
const DEVICE_TIME: &str = "Device time: on a CPU the processor time of all threads; on a GPU the wall time, for which \
                           the trial holds it.";

/// A cost as a whole, with its parts: `10 (4 + 6)`.
fn in_parts(group: &SeedGroup, cost: &Cost) -> Cell {
    let (whole, deviation) = group.measured(&cost.whole);
    if !whole.is_finite() {
        return timed(NOTHING.to_owned(), group);
    }
    let [search, retrain] = [cost.search, cost.retrain].map(|part| part.format(group.measured(&part).0));
    // Epochs are counted: where seeds agree there is no spread.
    let deviation = deviation.filter(|deviation| cost.whole.is_time || *deviation > 0.0);
    let spread = deviation.map_or_else(String::new, |deviation| format!(" ± {}", cost.whole.format(deviation)));
    Cell::of(format!("{}{spread} ({search} + {retrain})", cost.whole.format(whole)), group)
}

/// A cell with a time, which a row of different hardware does not have.
fn timed(text: String, group: &SeedGroup) -> Cell {
    if group.is_of_one_hardware() { Cell::of(text, group) } else { marked(NOTHING.to_owned(), group) }
}

/// Every other row against the one with the most bits, if that one is in full precision and nothing
/// is pruned.
fn against_dense(experiment: &ExperimentResults) -> Option<Table> {
    let bits = |group: &SeedGroup| group.measured(&metric::MEAN_BITS).0;
    let dense = experiment
        .groups
        .iter()
        // A network without weights has no bits.
        .filter(|group| bits(group).is_finite())
        .max_by(|a, b| bits(a).total_cmp(&bits(b)))
        .filter(|group| bits(group) >= 32.0 && group.first().kept_weights == group.first().weights)?;
    let rows: Vec<TableRow> = experiment
        .groups
        .iter()
        .filter(|group| group.name != dense.name)
        .map(|group| {
            // A multiple of 0, or by 0, says nothing of how much less it is.
            let times = |metric: &Metric, decimals: usize| {
                let (all, less) = (dense.measured(metric).0, group.measured(metric).0);
                if all > 0.0 && less > 0.0 { format!("{:.decimals$}×", all / less) } else { NOTHING.to_owned() }
            };
            let points = group.measured(&metric::ACCURACY).0 - dense.measured(&metric::ACCURACY).0;
            let mark = if dense.mixed().is_some() { dense.mixed_mark() } else { group.mixed_mark() };
            let texts = [
                group.name.clone(),
                format!("{points:+.1}{mark}"),
                times(&metric::WEIGHT_BITS, 0),
                times(&metric::MODEL_SIZE, 1),
                times(&metric::STORED_SIZE, 1),
                times(&metric::BIT_SYN_OPS, 0),
                times(&metric::ENERGY, 1),
            ];
            TableRow::Cells(texts.into_iter().map(|text| Cell::of(text, group)).collect())
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        title: format!("Cost and savings against {}", dense.name),
        headings: [
            "Variant",
            "Accuracy (points)",
            "Fewer weight bits",
            "Smaller model",
            "Smaller when stored",
            "Fewer Bit-SynOps",
            "Less energy",
        ]
        .map(str::to_owned)
        .to_vec(),
        names: 1,
        rows,
        notes: [format!(
            "Ratios of means; {} is in full precision. Stored, a pruned model has the masks that say which weights are \
             kept.",
            dense.name
        )]
        .into_iter()
        .chain(without_ratio(&experiment.groups))
        .chain(experiment.mixed_note())
        .collect(),
        references: Vec::new(),
    })
}

/// Why a row has no ratio: a cost of it is 0.
fn without_ratio(groups: &[SeedGroup]) -> Option<String> {
    let zero = |metric: &Metric| {
        let rows = groups.iter().filter(|group| group.measured(metric).0 == 0.0).map(|group| group.name.as_str());
        let rows = rows.collect::<Vec<_>>().join(", ");
        (!rows.is_empty()).then(|| format!("{} of {rows}", metric.title))
    };
    let compared = [metric::WEIGHT_BITS, metric::MODEL_SIZE, metric::STORED_SIZE, metric::BIT_SYN_OPS, metric::ENERGY];
    let zeros: Vec<String> = compared.iter().filter_map(zero).collect();
    (!zeros.is_empty()).then(|| format!("{NOTHING}: no ratio, because a cost is 0: {}.", zeros.join("; ")))
}
