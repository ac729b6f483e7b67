//! A published table with what was measured here beside it.

use super::{Cell, NOTHING, Table, TableRow};
use crate::published::{Count, Publication, Quantity, Reproduction};
use crate::trials::{ExperimentResults, SeedGroup};

/// What marks a number that cannot be compared with print.
const MARK: &str = "†";

/// The table of one part: every printed row, for ours what was measured and the difference, and
/// below what print does not have.
pub fn table(experiment: &ExperimentResults, publication: &Publication, part: &Reproduction) -> Table {
    let rows = || publication.rows.iter().filter(|row| row.values(part).is_some());
    let mut table = Table {
        title: format!("{} ({})", publication.title, part.data),
        headings: vec!["Model".to_owned(), "Source".to_owned()],
        names: 2,
        rows: Vec::new(),
        notes: Vec::new(),
        references: Vec::new(),
    };
    table.headings.extend(publication.columns.iter().map(|quantity| quantity.metric(Count::Snn).heading()));
    let mut block = None;
    for row in rows() {
        let values = row.values(part).expect("rows of this part");
        if row.block != block {
            table.rows.extend(row.block.clone().map(TableRow::Block));
            block.clone_from(&row.block);
        }
        let mut cells = vec![Cell::plain(&row.name), Cell::plain("published")];
        cells.extend(
            publication
                .columns
                .iter()
                .map(|quantity| Cell::plain(values.get(quantity).map_or(NOTHING, |printed| printed.text.as_str()))),
        );
        table.rows.push(TableRow::Cells(cells));
        if let Some((name, reference)) =
            row.reference().filter(|(name, _)| !table.references.iter().any(|(known, _)| known == name))
        {
            table.references.push((name.to_owned(), reference.to_owned()));
        }
        let Some(variant) = &row.variant else { continue };
        let groups: Vec<&SeedGroup> = experiment.of_variant(variant).collect();
        let name = || Cell { again: true, ..Cell::plain(&row.name) };
        if groups.is_empty() {
            let mut cells = vec![name(), Cell::plain("not run")];
            cells.extend(publication.columns.iter().map(|_| Cell::plain(NOTHING)));
            table.rows.push(TableRow::Cells(cells));
        }
        for group in groups {
            table.rows.push(measured(name(), group, &publication.columns, row.count));
            let mut cells = vec![name(), Cell::of("difference", group)];
            cells.extend(publication.columns.iter().map(|quantity| {
                let metric = quantity.metric(row.count);
                let printed = values.get(quantity);
                let difference = printed.and_then(|printed| printed.difference(group.mean(metric.value).0));
                let text = difference.map_or(NOTHING.to_owned(), |difference| difference + mark(group));
                Cell::of(text, group)
            }));
            table.rows.push(TableRow::Cells(cells));
        }
    }
    let printed = |group: &&SeedGroup| {
        let outcome = group.first();
        outcome.point.is_empty() && rows().any(|row| row.variant.as_ref() == Some(&outcome.variant))
    };
    let others: Vec<&SeedGroup> = experiment.groups.iter().filter(|group| !printed(group)).collect();
    if !others.is_empty() {
        table.rows.push(TableRow::Block("Not in the paper".to_owned()));
        for group in others {
            let name = Cell::of(&group.name, group);
            table.rows.push(measured(name, group, &publication.columns, Count::Snn));
        }
    }
    table.notes = notes(experiment, publication, part, &table);
    table
}

fn mark(group: &SeedGroup) -> &'static str {
    if group.not_comparable().is_some() { MARK } else { "" }
}

fn measured(name: Cell, group: &SeedGroup, columns: &[Quantity], count: Count) -> TableRow {
    let mut how = format!("measured, {}", group.seeds());
    if !group.first().profile.is_empty() {
        how.push_str(&format!(", profile {}", group.first().profile));
    }
    let mut cells = vec![name, Cell::of(how, group)];
    cells.extend(columns.iter().map(|quantity| {
        let metric = quantity.metric(count);
        let (mean, deviation) = group.mean(metric.value);
        // A design that was taken over cost nothing here.
        if *quantity == Quantity::DesignCost && !group.searched() {
            return Cell::of(NOTHING, group);
        }
        let text = match mean.is_finite() {
            true => metric.format_spread(mean, deviation) + mark(group),
            false => NOTHING.to_owned(),
        };
        Cell::of(text, group)
    }));
    TableRow::Cells(cells)
}

fn notes(experiment: &ExperimentResults, publication: &Publication, part: &Reproduction, table: &Table) -> Vec<String> {
    let mut notes = vec![format!("Published: {}.", publication.source)];
    notes.push(
        "Measured: mean ± sample standard deviation over seeds. Difference: measured minus published.".to_owned(),
    );
    let mut reasons: Vec<String> = experiment.groups.iter().filter_map(SeedGroup::not_comparable).collect();
    reasons.sort_unstable();
    reasons.dedup();
    if !reasons.is_empty() {
        notes.push(format!(
            "{MARK} Not comparable with the published numbers: measured with other settings than the paper's ({}).",
            reasons.join("; ")
        ));
    }
    notes.push(format!("Data in print: {}. Data here: {}.", part.data, experiment.datasets().join(", ")));
    if publication.columns.contains(&Quantity::DesignCost) {
        notes.push(format!("Device here: {}.", experiment.devices().join(", ")));
    }
    if publication.columns.contains(&Quantity::ModelSize) {
        notes.push(
            "Model size is counted as in print: it leaves out how a file says which weights are kept.".to_owned(),
        );
    }
    let not_run = |row: &TableRow| matches!(row, TableRow::Cells(cells) if cells.get(1).is_some_and(|cell| cell.text == "not run"));
    if table.rows.iter().any(not_run) {
        notes.push(format!("Rows that were not run: `litesnn run {}`.", part.manifest));
    }
    notes.extend(publication.notes.iter().cloned());
    notes
}
