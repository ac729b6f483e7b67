//! The page: everything in one HTML file.

use std::path::PathBuf;

use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use crate::Error;
use crate::figure::Figure;
use crate::metric;
use crate::table::{Table, html};
use crate::trials::Experiment;

/// What the page says of one experiment.
#[derive(Debug, Serialize)]
pub struct Section {
    name: String,
    lead: String,
    tables: Vec<TablePart>,
    figures: Vec<FigurePart>,
    trials: Vec<Provenance>,
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

#[derive(Debug, Serialize)]
struct Provenance {
    variant: String,
    seed: i64,
    hash: String,
    folder: String,
    accuracy: String,
    device: String,
    threads: i64,
    memory: String,
    seconds: String,
    program: String,
    data: String,
    profile: String,
}

impl Section {
    /// The section of an experiment, without tables and figures yet.
    pub fn new(experiment: &Experiment) -> Section {
        let trials = experiment.trials().map(|trial| {
            let o = &trial.outcome;
            Provenance {
                variant: o.variant.clone(),
                seed: o.seed,
                hash: o.hash.clone(),
                folder: trial.folder.display().to_string(),
                accuracy: metric::ACCURACY.format((metric::ACCURACY.value)(o)),
                device: o.device.clone(),
                threads: o.threads,
                memory: format!("{:.0}", o.peak_memory_bytes as f64 / 1e6),
                seconds: format!("{:.0}", o.search_seconds + o.retrain_seconds + o.evaluate_seconds),
                program: o.program.clone(),
                data: o.data_digest.chars().take(12).collect(),
                profile: o.profile.clone(),
            }
        });
        let rows: Vec<&str> = experiment.groups.iter().map(|group| group.name.as_str()).collect();
        let lead = format!("{} trials of {}.", experiment.trials().count(), rows.join(", "));
        Section {
            name: experiment.name.clone(),
            lead,
            tables: Vec::new(),
            figures: Vec::new(),
            trials: trials.collect(),
        }
    }

    /// Adds a table.
    pub fn add_table(&mut self, name: &str, table: &Table) {
        self.tables.push(TablePart { name: name.to_owned(), html: html::render(table) });
    }

    /// Adds a figure.
    pub fn add_figure(&mut self, figure: &Figure, svg: String) {
        self.figures.push(FigurePart {
            name: figure.name.clone(),
            title: figure.title.clone(),
            caption: figure.caption.clone(),
            svg,
        });
    }
}

/// The page's HTML.
pub fn render(sections: &[Section], unfinished: &[(PathBuf, String)]) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("page.html", include_str!("page.html"))?;
    let unfinished: Vec<(String, &String)> =
        unfinished.iter().map(|(folder, reason)| (folder.display().to_string(), reason)).collect();
    Ok(environment.get_template("page.html")?.render(context! { sections, unfinished })?)
}
