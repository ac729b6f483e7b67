//! Which rows another row dominates, and the hypervolume of the fronts.

use super::{Cell, NOTHING, Table, TableRow};
use crate::fronts::{COSTS, FEWEST_ROWS, dominating, hypervolumes, reference};
use crate::metric::{self, Metric};
use crate::trials::{ExperimentResults, SeedGroup};
use litesnn_framework::ground::counted;

/// No more dominating rows than these are named.
const SHOWN: usize = 2;

/// Each row with the rows that dominate it; `None` for few rows.
pub fn table(experiment: &ExperimentResults) -> Option<Table> {
    if experiment.groups.len() < FEWEST_ROWS {
        return None;
    }
    let costs: Vec<Metric> = COSTS.into_iter().filter(|cost| is_measured(experiment, cost)).collect();
    if costs.is_empty() {
        return None;
    }
    let mut headings = vec!["Variant".to_owned()];
    headings.extend(costs.iter().map(|cost| format!("{}: dominated by", cost.title)));
    headings.push(metric::ACCURACY.heading());
    headings.extend(costs.iter().map(Metric::heading));
    let row = |group: &SeedGroup| {
        let spread = |metric: &Metric| {
            let (mean, deviation) = group.measured(metric);
            metric.format_spread(mean, deviation)
        };
        let mut texts = vec![group.name.clone()];
        texts.extend(costs.iter().map(|cost| by_whom(&dominating(experiment, group, cost))));
        texts.extend([spread(&metric::ACCURACY)].into_iter().chain(costs.iter().map(spread)));
        TableRow::Cells(texts.into_iter().map(|text| Cell::of(text, group)).collect())
    };
    let mut notes = vec![
        "Dominated: another row is at least as accurate and costs no more, by means over seeds. Within the spread of seeds \
         rows may change sides."
            .to_owned(),
    ];
    notes.extend(costs.iter().filter_map(|cost| volumes(experiment, cost)));
    Some(Table {
        title: "Fronts of accuracy against cost".into(),
        headings,
        names: 1 + costs.len(),
        rows: experiment.groups.iter().map(row).collect(),
        notes: notes.into_iter().chain(experiment.mixed_note()).collect(),
        references: Vec::new(),
    })
}

fn is_measured(experiment: &ExperimentResults, cost: &Metric) -> bool {
    experiment.groups.iter().all(|group| group.measured(cost).0.is_finite())
}

/// The first rows that dominate one; a row of the front has none.
fn by_whom(groups: &[&SeedGroup]) -> String {
    let mut names: Vec<String> = groups.iter().take(SHOWN).map(|group| group.name.clone()).collect();
    if groups.len() > SHOWN {
        names.push(counted(groups.len() - SHOWN, "other row"));
    }
    if names.is_empty() { NOTHING.to_owned() } else { names.join(", ") }
}

/// The hypervolumes against a cost in a sentence.
fn volumes(experiment: &ExperimentResults, cost: &Metric) -> Option<String> {
    let all = hypervolumes(experiment, cost);
    let one = |volume: &crate::fronts::Hypervolume| {
        let interval = volume.half_interval.map_or_else(String::new, |half| {
            format!(", 95 % interval {:.2} to {:.2}", volume.mean - half, volume.mean + half)
        });
        format!("{} {:.2} ({}{interval})", volume.rows, volume.mean, counted(volume.seeds, "seed"))
    };
    let (most, least) = reference(experiment, cost);
    let texts: Vec<String> = all.iter().map(one).collect();
    (!texts.is_empty()).then(|| {
        format!(
            "Hypervolume against {}, in points · decades: {}. Reference: the largest cost and the least accuracy of any \
             trial, {} {} and {} %.",
            metric::within_sentence(cost.title),
            texts.join("; "),
            cost.format_finely(most),
            cost.unit,
            metric::ACCURACY.format(least)
        )
    })
}
