//! A published table with what was measured here beside it.

use std::collections::BTreeSet;

use super::{Cell, NOTHING, Table, TableRow, timed};
use crate::hardware::mixed_note;
use crate::published::{Count, Publication, Quantity, Reproduction};
use crate::trials::{ExperimentResults, SeedGroup};
use litesnn_framework::ground::counted;

/// What marks a number that cannot be compared with print.
const MARK: &str = "†";

/// Whether the table of a part stands with an experiment: with each that is about the part's own
/// manifest; where none is, with the first of those about compared systems.
pub fn stands_with(
    experiment: &ExperimentResults,
    all: &[ExperimentResults],
    publication: &Publication,
    part: &Reproduction,
) -> bool {
    let reproduces = |one: &&ExperimentResults| one.reproduces().contains(&part.name.as_str());
    let own = |one: &ExperimentResults| one.is_of_own_manifest(publication, part);
    let all = || all.iter().filter(reproduces);
    own(experiment) || !all().any(own) && all().next().is_some_and(|first| first.name == experiment.name)
}

/// The table of one part: every printed row, for ours and for compared systems what was measured and
/// the difference, and below what print does not have. Compared systems may be experiments of their
/// own.
pub fn table(
    experiment: &ExperimentResults,
    all: &[ExperimentResults],
    publication: &Publication,
    part: &Reproduction,
) -> Table {
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
    let mut beside_print: Vec<&SeedGroup> = Vec::new();
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
        let groups: Vec<&SeedGroup> = match (&row.variant, row.elsewhere(part)) {
            (Some(variant), _) => experiment.of_variant(variant).collect(),
            (None, Some(elsewhere)) => {
                let of_variant = all.iter().flat_map(|one| one.of_variant(&elsewhere.variant));
                of_variant.filter(|group| group.reproduces.as_ref() == Some(&part.name)).collect()
            }
            (None, None) => continue,
        };
        let name = || Cell { again: true, ..Cell::plain(&row.name) };
        if groups.is_empty() && row.variant.is_some() {
            let mut cells = vec![name(), Cell::plain("not run")];
            cells.extend(publication.columns.iter().map(|_| Cell::plain(NOTHING)));
            table.rows.push(TableRow::Cells(cells));
        }
        for &group in &groups {
            table.rows.push(measured(name(), group, &publication.columns, row.count, part));
            let mut cells = vec![name(), Cell::of("difference", group)];
            cells.extend(publication.columns.iter().map(|quantity| {
                let metric = quantity.metric(row.count);
                let printed = values.get(quantity);
                let difference = printed.and_then(|printed| printed.difference(group.measured(&metric).0));
                match difference {
                    Some(difference) => Cell::of(difference + &marks(group, *quantity, part), group),
                    None => Cell::of(NOTHING, group),
                }
            }));
            table.rows.push(TableRow::Cells(cells));
        }
        beside_print.extend(groups);
    }
    let stands = |group: &&SeedGroup| beside_print.iter().any(|other| std::ptr::eq(*other, *group));
    let others: Vec<&SeedGroup> = experiment.groups.iter().filter(|group| !stands(group)).collect();
    if !others.is_empty() {
        table.rows.push(TableRow::Block("Not in the paper".to_owned()));
        for group in others {
            let name = Cell::of(&group.name, group);
            table.rows.push(measured(name, group, &publication.columns, Count::Snn, part));
        }
    }
    // Those of this experiment in its order, then those of compared systems.
    let of_others = |group: &&SeedGroup| !experiment.groups.iter().any(|own| std::ptr::eq(own, *group));
    let shown: Vec<&SeedGroup> =
        experiment.groups.iter().chain(beside_print.iter().copied().filter(of_others)).collect();
    table.notes = notes(experiment, &shown, publication, part, &table);
    table
}

/// What marks a number: that it is not comparable, and of an accuracy or a time that the row mixes
/// results of different machines.
fn marks(group: &SeedGroup, quantity: Quantity, part: &Reproduction) -> String {
    let mixed = quantity == Quantity::Accuracy || quantity.metric(Count::Snn).is_time;
    let departs = if group.not_comparable(&part.name).is_some() { MARK } else { "" };
    format!("{departs}{}", if mixed { group.mixed_mark() } else { "" })
}

fn measured(name: Cell, group: &SeedGroup, columns: &[Quantity], count: Count, part: &Reproduction) -> TableRow {
    let mut how = format!("measured, {}", group.seeds());
    if !group.first().profile.is_empty() {
        how.push_str(&format!(", profile {}", group.first().profile));
    }
    let mut cells = vec![name, Cell::of(how, group)];
    cells.extend(columns.iter().map(|quantity| {
        let metric = quantity.metric(count);
        // What a design that was taken over cost was not spent here.
        if matches!(quantity, Quantity::DesignCost | Quantity::WholeCost) && !group.searched() {
            return Cell::of(NOTHING, group);
        }
        if metric.is_time && !group.is_of_one_hardware() {
            return timed(NOTHING.to_owned(), group);
        }
        let (mean, deviation) = group.measured(&metric);
        let text = match mean.is_finite() {
            true => metric.format_spread(mean, deviation) + &marks(group, *quantity, part),
            false => NOTHING.to_owned(),
        };
        Cell::of(text, group)
    }));
    TableRow::Cells(cells)
}

/// The manifests that rows are compared with.
fn manifests<'a>(
    experiment: &ExperimentResults,
    shown: &[&SeedGroup],
    publication: &'a Publication,
    part: &'a Reproduction,
) -> Vec<&'a str> {
    let elsewhere = publication.rows.iter().filter_map(|row| row.elsewhere(part));
    let ran = elsewhere.filter(|elsewhere| shown.iter().any(|group| group.first().variant == elsewhere.variant));
    let own = experiment.is_of_own_manifest(publication, part).then_some(part.manifest.as_str());
    let mut manifests: Vec<&str> = own.into_iter().chain(ran.map(|elsewhere| elsewhere.manifest.as_str())).collect();
    manifests.dedup();
    manifests
}

/// Titles of the data sets of rows, each once.
fn datasets<'a>(shown: &[&'a SeedGroup]) -> Vec<&'a str> {
    let titles = shown.iter().flat_map(|group| &group.trials).map(|trial| trial.outcome.dataset.as_str());
    titles.filter(|title| !title.is_empty()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Why rows are not comparable, rows of one reason together; the first few reasons.
fn reasons(shown: &[&SeedGroup], part: &Reproduction) -> Option<String> {
    const SHOWN: usize = 4;
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for group in shown {
        let Some(reason) = group.not_comparable(&part.name) else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, rows)) => rows.push(&group.name),
            None => reasons.push((reason, vec![&group.name])),
        }
    }
    let more: usize = reasons.iter().skip(SHOWN).map(|(_, rows)| rows.len()).sum();
    let shown = reasons.iter().take(SHOWN).map(|(reason, rows)| format!("{}: {reason}", rows.join(", ")));
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {}", counted(more, "other row")));
    }
    (!reasons.is_empty()).then_some(text)
}

fn notes(
    experiment: &ExperimentResults,
    shown: &[&SeedGroup],
    publication: &Publication,
    part: &Reproduction,
    table: &Table,
) -> Vec<String> {
    let mut notes = vec![format!("Published: {}.", publication.source)];
    notes.push(
        "Measured: mean ± sample standard deviation over seeds. Difference: measured minus published.".to_owned(),
    );
    if let Some(reasons) = reasons(shown, part) {
        notes.push(format!(
            "{MARK} Not comparable with the published numbers, because data or settings are not those of {}: {reasons}.",
            manifests(experiment, shown, publication, part).join(", ")
        ));
    }
    notes.push(format!("Data in print: {}. Data here: {}.", part.data, datasets(shown).join(", ")));
    if publication.columns.contains(&Quantity::DesignCost) {
        notes.push(experiment.measured_on());
    }
    if publication.columns.contains(&Quantity::ModelSize) {
        notes.push(
            "Model size is counted as in print: it leaves out how a file says which weights are kept.".to_owned(),
        );
    }
    notes.extend(mixed_note(shown.iter().copied()));
    let not_run = |row: &TableRow| matches!(row, TableRow::Cells(cells) if cells.get(1).is_some_and(|cell| cell.text == "not run"));
    if table.rows.iter().any(not_run) {
        notes.push(format!("Rows that were not run: `litesnn run {}`.", part.manifest));
    }
    notes.extend(publication.notes.iter().cloned());
    notes
}
