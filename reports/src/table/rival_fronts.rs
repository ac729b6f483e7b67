//! The fronts of methods against each other, with intervals and in words.

use super::differences::Shown;
use super::{Cell, NOTHING, Table, TableRow};
use crate::comparisons::Finding;
use crate::fronts::{COSTS, reference};
use crate::metric;
use crate::rival_fronts::{RivalFronts, TERMS, of_experiment};
use crate::trials::ExperimentResults;

/// A block for each cost, with a row for each two methods; `None` where none are compared at
/// several places.
pub fn table(experiment: &ExperimentResults) -> Option<Table> {
    let measured = |one: &RivalFronts| !matches!(one.finding, Finding::Unmeasured(_));
    let blocks = COSTS.into_iter().map(|cost| (cost, of_experiment(experiment, &cost)));
    let blocks: Vec<_> = blocks.filter(|(_, fronts)| fronts.iter().any(measured)).collect();
    let (_, first) = blocks.first()?;
    let rows = blocks.iter().flat_map(|(cost, fronts)| {
        let block = format!("Hypervolume against {}", metric::within_sentence(cost.title));
        std::iter::once(TableRow::Block(block)).chain(fronts.iter().map(|one| TableRow::Cells(cells(one))))
    });
    let headings =
        ["Fronts", "In words", "Difference", "95 % interval", "p, corrected", "Seeds", "First front", "Second front"];
    let mut notes = vec![
        "The hypervolume of the first method's front minus the second's, paired by seed, in points · decades: the area \
         between a front and a reference, over the logarithm of the cost. Intervals and p: Student's t over the \
         differences."
            .to_owned(),
    ];
    let families = blocks.iter().filter_map(|(cost, fronts)| {
        let tested = fronts.iter().filter(|one| matches!(one.finding, Finding::Tested(_))).count();
        (tested > 1).then(|| format!("{tested} against {}", metric::within_sentence(cost.title)))
    });
    let families: Vec<String> = families.collect();
    if !families.is_empty() {
        notes.push(format!(
            "Several at once are corrected ({}): p by Holm, and the words by intervals that hold together (Bonferroni). The \
             95 % interval is that of its two fronts alone.",
            families.join(", ")
        ));
    }
    let references = blocks.iter().map(|(cost, _)| {
        let (most, least) = reference(experiment, cost);
        format!("{} {} and {} %", cost.format_finely(most), cost.unit, metric::ACCURACY.format(least))
    });
    notes.push(format!(
        "References, the largest cost and the least accuracy of any trial: {}.",
        references.collect::<Vec<_>>().join("; ")
    ));
    notes.push(format!("Fronts: {}.", methods(first).join("; ")));
    Some(Table {
        title: "Fronts against each other, paired by seed".into(),
        headings: headings.map(str::to_owned).to_vec(),
        names: 2,
        rows: rows.collect(),
        notes: notes.into_iter().chain(experiment.mixed_note()).collect(),
        references: Vec::new(),
    })
}

fn cells(one: &RivalFronts) -> Vec<Cell> {
    let [a, b] = &one.names;
    let Shown { change, interval, p } = Shown::of(&one.finding, TERMS.decimals);
    let mean = |value: f64| if value.is_finite() { format!("{value:.2}") } else { NOTHING.to_owned() };
    let [first, second] = one.means.map(mean);
    let seeds = if one.seeds == 0 { NOTHING.to_owned() } else { one.seeds.to_string() };
    let name = format!("{a} against {b}");
    [name, one.finding.words(&TERMS), change, interval, p, seeds, first, second].map(Cell::plain).to_vec()
}

/// Each method with its rows, once.
fn methods(fronts: &[RivalFronts]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (name, rows) in fronts.iter().flat_map(|one| one.names.iter().zip(&one.rows)) {
        let rows: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let method = format!("{name} of {}", rows.join(", "));
        if !all.contains(&method) {
            all.push(method);
        }
    }
    all
}
