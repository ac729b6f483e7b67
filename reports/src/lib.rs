//! Tables, figures and one self-contained page from the record of trials.
//!
//! ```text
//! runs/ -> trials -> table (Markdown, CSV, LaTeX, HTML)
//!                 -> figure (SVG, PNG)                    -> page (index.html)
//! ```

pub mod check;
pub mod comparisons;
mod error;
mod exits;
pub mod figure;
mod fronts;
mod hardware;
pub mod metric;
mod page;
pub mod paper;
pub mod published;
mod ranking;
mod rival_fronts;
mod settings;
mod statistics;
pub mod table;
pub mod trials;
mod try_it;

use std::path::{Path, PathBuf};

pub use error::Error;
use litesnn_framework::ground::file::write_atomically;

/// What to report on, and where to.
#[derive(Debug, Clone)]
pub struct Request {
    /// A folder of trials: all, one experiment's, or one trial.
    pub runs: PathBuf,
    /// Where files go.
    pub out: PathBuf,
    /// The manifests of the published tables: results at other settings are not comparable.
    pub paper: Vec<paper::PaperManifest>,
}

/// What was made.
#[derive(Debug)]
pub struct Summary {
    /// The page.
    pub page: PathBuf,
    /// Number of tables.
    pub tables: usize,
    /// Number of figures.
    pub figures: usize,
    /// How the results compare with published numbers.
    pub check: check::Check,
}

/// Makes everything.
pub fn report(request: &Request) -> Result<Summary, Error> {
    let found = trials::find(&request.runs, &request.paper)?;
    if found.experiments.is_empty() {
        return Err(Error::NoTrials(request.runs.clone()));
    }
    let check = check::check(&found.experiments)?;
    create(&request.out)?;
    let (mut tables, mut figures) = (0, 0);
    let mut sections = Vec::new();
    for experiment in &found.experiments {
        let folder = request.out.join(&experiment.name);
        create(&folder)?;
        let mut section = page::Section::new(experiment);
        for (name, table) in table::of_experiment(experiment, &found.experiments)? {
            for (extension, text) in [
                ("md", table::markdown::render(&table)),
                ("csv", table::csv::render(&table)?),
                ("tex", table::latex::render(&table)),
            ] {
                write(&folder.join(format!("{name}.{extension}")), text.as_bytes())?;
            }
            section.add_table(&name, &table);
            tables += 1;
        }
        write(&folder.join("trials.csv"), table::csv::trials(experiment)?.as_bytes())?;
        for figure in figure::of_experiment(experiment)? {
            let svg = figure.svg()?;
            write(&folder.join(format!("{}.svg", figure.name)), svg.as_bytes())?;
            figure.png(&folder.join(format!("{}.png", figure.name)))?;
            section.add_figure(&figure, svg);
            figures += 1;
        }
        sections.push(section);
    }
    let page = request.out.join("index.html");
    write(&page, page::render(&sections, &found.unfinished)?.as_bytes())?;
    Ok(Summary { page, tables, figures, check })
}

fn create(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Create { path: folder.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    Ok(write_atomically(path, bytes)?)
}
