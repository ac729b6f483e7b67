//! How well what a search believed of architectures orders what training them gave.

use super::{Cell, NOTHING, Table, TableRow};
use crate::ranking::{Agreement, FEWEST, Pair, of_trainings, pairs, regrets};
use crate::statistics::LEVEL;
use crate::trials::{ExperimentResults, FinishedTrial, SeedGroup};
use litesnn_framework::ground::counted;

/// A row for each trial whose search believed architectures and trained them; `None` where none did.
pub fn table(experiment: &ExperimentResults) -> Option<Table> {
    let of_group = |group: &SeedGroup| -> Vec<TableRow> {
        let ranked = group.trials.iter().map(|trial| (trial, pairs(trial))).filter(|(_, pairs)| pairs.len() > 1);
        ranked.map(|(trial, pairs)| TableRow::Cells(cells(group, trial, &pairs))).collect()
    };
    let rows: Vec<TableRow> = experiment.groups.iter().flat_map(of_group).collect();
    if rows.is_empty() {
        return None;
    }
    let mut notes = vec![
        "Kendall's tau-b between what was believed of an architecture (the validation accuracy of its path in the supernet, or \
         its score before training) and the validation accuracy of its final network, trained from new weights: 1 is the same \
         order, 0 none, −1 the opposite one."
            .to_owned(),
        "Regret: what the best of these architectures has more than the one that is believed best. By chance: more than one \
         drawn at random, on average."
            .to_owned(),
    ];
    notes.extend(experiment.groups.iter().filter_map(agreement));
    Some(Table {
        title: "Ranking quality".into(),
        headings: [
            "Variant",
            "Seed",
            "In words",
            "tau-b",
            "95 % interval",
            "p",
            "Architectures",
            "Regret (points)",
            "Regret by chance (points)",
        ]
        .map(str::to_owned)
        .into(),
        names: 3,
        rows,
        notes,
        references: Vec::new(),
    })
}

fn cells(group: &SeedGroup, trial: &FinishedTrial, pairs: &[Pair]) -> Vec<Cell> {
    let values: Vec<(f64, f64)> = pairs.iter().map(|pair| (pair.believed, pair.trained)).collect();
    let found = Agreement::of(&values);
    let number = |value: f64| if value.is_finite() { format!("{value:.2}") } else { NOTHING.to_owned() };
    let interval = found.interval().map_or(NOTHING.to_owned(), |(low, high)| format!("{low:.2} to {high:.2}"));
    let p = match found.p {
        p if p.is_nan() => NOTHING.to_owned(),
        p if p < 0.001 => "< 0.001".to_owned(),
        p => format!("{p:.3}"),
    };
    let (chosen, chance) = regrets(pairs);
    let points = |regret: f64| format!("{:.1}", 100.0 * regret);
    let texts = [
        group.name.clone(),
        trial.outcome.seed.to_string(),
        in_words(&found),
        number(found.tau),
        interval,
        p,
        found.count.to_string(),
        points(chosen),
        points(chance),
    ];
    texts.into_iter().map(|text| Cell::of(text, group)).collect()
}

fn in_words(found: &Agreement) -> String {
    match (found.tau, found.p <= LEVEL) {
        _ if found.count < FEWEST => format!("too few: an interval needs {FEWEST} architectures"),
        (tau, _) if tau.is_nan() => "no order: all are believed alike, or trained alike".to_owned(),
        (_, false) => "not distinguishable from an order by chance".to_owned(),
        (tau, true) if tau > 0.0 => "better than an order by chance".to_owned(),
        (_, true) => "worse than an order by chance".to_owned(),
    }
}

/// How well two trainings agree, in a sentence.
fn agreement(group: &SeedGroup) -> Option<String> {
    let tau = of_trainings(group)?;
    let seeds = counted(group.trials.len(), "seed");
    Some(format!(
        "{}: two trainings of the same architectures agree with tau {tau:.2}, mean over the pairs of {seeds}; one training \
         repeats the order of another no better, so that a belief near it is as good as can be told.",
        group.name
    ))
}
