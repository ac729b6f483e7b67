//! The page: everything in one HTML file.

use std::path::PathBuf;

use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use crate::figure::{Figure, MOST_ROWS};
use crate::statistics::binomial_error;
use crate::table::{Table, html};
use crate::trials::{ExperimentResults, FinishedTrial, SeedGroup};
use crate::try_it::{self, TryIt};
use crate::{Error, metric};
use litesnn_framework::ground::counted;
use litesnn_framework::record::files;

/// What the page says of one experiment.
#[derive(Debug, Serialize)]
pub struct Section {
    name: String,
    lead: String,
    tables: Vec<TablePart>,
    figures: Vec<FigurePart>,
    rows: Vec<RowPart>,
    try_it: TryIt,
    groups: Vec<GroupPart>,
}

#[derive(Debug, Serialize)]
struct TablePart {
    name: String,
    html: String,
}

#[derive(Debug, Serialize)]
struct FigurePart {
    name: String,
    title: String,
    caption: String,
    svg: String,
}

/// The figures of one row.
#[derive(Debug, Serialize)]
struct RowPart {
    name: String,
    figures: Vec<FigurePart>,
}

/// The trials of one row: where cells of tables lead to.
#[derive(Debug, Serialize)]
struct GroupPart {
    name: String,
    anchor: String,
    /// How it was asked for: its profile, what was changed for the run, what it was measured with
    /// where that is mixed.
    remark: String,
    /// How it departs from the row of the paper that it repeats.
    departures: Vec<String>,
    /// Layers that no spike reaches.
    silent: Vec<String>,
    trials: Vec<Provenance>,
}

#[derive(Debug, Serialize)]
struct Provenance {
    seed: i64,
    hash: String,
    folder: String,
    accuracy: String,
    device: String,
    hardware: String,
    threads: i64,
    libtorch: String,
    precision: String,
    memory: String,
    costs: Vec<Cost>,
    program: String,
    revision: String,
    dataset: String,
    edition: String,
    data: String,
    files: Vec<(&'static str, String)>,
}

/// What a stage of a trial took, and search and retraining together.
#[derive(Debug, Serialize)]
struct Cost {
    stage: String,
    epochs: String,
    wall: String,
    device: String,
}

impl Provenance {
    fn of(trial: &FinishedTrial) -> Provenance {
        let o = &trial.outcome;
        let cost = |stage: &str, epochs: i64, wall: f64, device: f64| Cost {
            stage: stage.to_owned(),
            epochs: if epochs == 0 { String::new() } else { counted(epochs, "epoch") },
            wall: format!("{wall:.1}"),
            device: format!("{device:.1}"),
        };
        let [epochs, wall, device] = metric::COSTS.map(|cost| (cost.whole.value)(o));
        let whole = cost("search + retrain", epochs as i64, wall, device);
        let stages = trial.stages.iter();
        let stages = stages.map(|stage| cost(stage.stage.name(), stage.epochs, stage.seconds, stage.device_seconds));
        // What is not there, or cannot be read, is not shown; the folder says more.
        let text = |name| Some((name, std::fs::read_to_string(trial.folder.join(name)).ok()?));
        Provenance {
            seed: o.seed,
            hash: o.hash.clone(),
            folder: trial.folder.display().to_string(),
            accuracy: metric::ACCURACY.format_spread(
                100.0 * o.test_accuracy,
                binomial_error(o.test_accuracy, o.test_images).map(|it| 100.0 * it),
            ),
            device: o.device.clone(),
            hardware: o.hardware.clone(),
            threads: o.threads,
            libtorch: o.libtorch.clone(),
            precision: o.precision.clone(),
            memory: format!("{:.0}", o.peak_memory_bytes as f64 / 1e6),
            costs: [whole].into_iter().chain(stages).collect(),
            program: o.program.clone(),
            revision: if o.revision.is_empty() { "unknown".into() } else { o.revision.clone() },
            dataset: o.dataset.clone(),
            edition: o.data_edition.clone(),
            data: o.data_digest.chars().take(12).collect(),
            files: [files::MANIFEST, files::DESIGN].into_iter().filter_map(text).collect(),
        }
    }
}

fn remark(group: &SeedGroup) -> String {
    let profile = &group.first().profile;
    let profile = (!profile.is_empty()).then(|| format!("profile {profile}"));
    let mut changed: Vec<&str> = group.trials.iter().map(|trial| trial.outcome.overrides.as_str()).collect();
    changed.dedup();
    let changed =
        changed.into_iter().filter(|changed| !changed.is_empty()).map(|it| format!("changed for the run: {it}"));
    let mixed = group.mixed().map(|mixed| format!("of different machines: {mixed}"));
    profile.into_iter().chain(changed).chain(mixed).collect::<Vec<_>>().join("; ")
}

impl Section {
    /// The section of an experiment, without tables and figures yet.
    pub fn new(experiment: &ExperimentResults) -> Section {
        let groups = experiment.groups.iter().map(|group| GroupPart {
            name: group.name.clone(),
            anchor: group.anchor.clone(),
            remark: remark(group),
            departures: group.departures.clone(),
            silent: group.silent_layers(),
            trials: group.trials.iter().map(Provenance::of).collect(),
        });
        let rows: Vec<&str> = experiment.groups.iter().map(|group| group.name.as_str()).collect();
        let count = experiment.trials().count();
        let mut lead = counted(count, "trial");
        lead.push_str(&if rows.len() > 6 {
            format!(" in {} rows.", rows.len())
        } else {
            format!(" of {}.", rows.join(", "))
        });
        let mut profiles: Vec<&str> = experiment.groups.iter().map(|group| group.first().profile.as_str()).collect();
        profiles.dedup();
        if let [profile] = profiles.as_slice()
            && !profile.is_empty()
        {
            lead.push_str(&format!(
                " All are of the reduced profile {profile}: not comparable with published numbers."
            ));
        }
        let searched = experiment.groups.iter().filter(|group| group.searched()).count();
        if searched > MOST_ROWS {
            lead.push_str(&format!(
                " The first {MOST_ROWS} of {searched} rows that searched have figures of their own; `litesnn report FOLDER` \
                 draws those of the trial in that folder."
            ));
        }
        Section {
            name: experiment.name.clone(),
            lead,
            tables: Vec::new(),
            figures: Vec::new(),
            rows: Vec::new(),
            try_it: TryIt::of(&experiment.groups),
            groups: groups.collect(),
        }
    }

    /// Adds a table.
    pub fn add_table(&mut self, name: &str, table: &Table) {
        self.tables.push(TablePart { name: name.to_owned(), html: html::render(table) });
    }

    /// Adds a figure.
    pub fn add_figure(&mut self, figure: &Figure, svg: String) {
        let part =
            FigurePart { name: figure.name.clone(), title: figure.title.clone(), caption: figure.caption.clone(), svg };
        match &figure.row {
            None => self.figures.push(part),
            Some(name) => match self.rows.last_mut().filter(|row| row.name == *name) {
                Some(row) => row.figures.push(part),
                None => self.rows.push(RowPart { name: name.clone(), figures: vec![part] }),
            },
        }
    }
}

/// The page's HTML.
pub fn render(sections: &[Section], unfinished: &[(PathBuf, String)]) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    for (name, text) in [("page.html", include_str!("page.html"))].into_iter().chain(try_it::TEMPLATES) {
        environment.add_template(name, text)?;
    }
    let engine = sections.iter().any(|section| section.try_it.runs()).then(try_it::engine);
    let unfinished: Vec<(String, &String)> =
        unfinished.iter().map(|(folder, reason)| (folder.display().to_string(), reason)).collect();
    Ok(environment.get_template("page.html")?.render(context! { sections, unfinished, engine })?)
}
