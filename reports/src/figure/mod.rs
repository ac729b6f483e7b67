//! Figures by plotters: one drawing for SVG and PNG.

mod budget;
mod cell;
mod curves;
mod dots;
mod exits;
mod forest;
pub mod growth;
mod layers;
mod ranking;
mod scatter;
mod style;
mod weights;

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Error;
use crate::published::find;
use crate::trials::{ExperimentResults, SeedGroup};
use style::FONT;

/// A figure, ready to be drawn.
pub struct Figure {
    /// Name of its files.
    pub name: String,
    /// Heading.
    pub title: String,
    /// What it shows, in sentences.
    pub caption: String,
    /// The row that it is about, where it is about one.
    pub row: Option<String>,
    size: (u32, u32),
    content: Content,
}

enum Content {
    Budget(budget::Budget),
    Scatter(scatter::Scatter),
    Dots(dots::Dots),
    Exits(exits::Exits),
    Weights(weights::Weights),
    Curves(curves::Curves),
    Forest(forest::Forest),
    Layers(layers::Layers),
    Ranking(ranking::Ranking),
    Cell(cell::CellDrawing),
    Growth(growth::Panels),
}

/// Rows beyond these have no figures of their own: a large sweep would be a page that no browser
/// shows.
pub const MOST_ROWS: usize = 24;

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// The figures of an experiment: those that compare its rows, then those of each row that searched.
pub fn of_experiment(experiment: &ExperimentResults) -> Result<Vec<Figure>, Error> {
    let mut published = Vec::new();
    for name in experiment.reproduces() {
        published.push(find(name, &experiment.name)?);
    }
    let table = published.iter().copied().find(|(publication, _)| !publication.columns.is_empty());
    let mut figures: Vec<Figure> = forest::figure(experiment).into_iter().collect();
    figures.extend(scatter::figures(experiment, table));
    if let Some((publication, part)) = table {
        figures.extend(dots::schemes(experiment, publication, part));
    }
    figures.extend(dots::sweep(experiment, published.iter().any(|(publication, _)| publication.sweep)));
    figures.extend(exits::figure(experiment));
    figures.extend(ranking::figures(experiment));
    figures.extend(budget::figure(experiment));
    figures.extend(curves::training(experiment));
    // One design for each row: the first seed's.
    let searched: Vec<&SeedGroup> = experiment.groups.iter().filter(|group| group.searched()).collect();
    let several = searched.len() > 1;
    for group in searched.into_iter().take(MOST_ROWS) {
        let Some(trial) = group.trials.first() else { continue };
        let suffix = if several { format!("-{}", file_name(&group.name)) } else { String::new() };
        let of_row = [
            curves::search(trial, &group.name, &suffix),
            Some(layers::figure(trial, &group.name, &suffix)),
            cell::figure(trial, &group.name, &suffix),
            weights::figure(trial, &group.name, &suffix),
        ];
        figures.extend(of_row.into_iter().flatten().map(|figure| Figure { row: Some(group.name.clone()), ..figure }));
    }
    // Two names that differ in signs only would share a file.
    for index in 0..figures.len() {
        let (before, rest) = figures.split_at_mut(index);
        if before.iter().any(|figure| figure.name == rest[0].name) {
            rest[0].name = format!("{}-{}", rest[0].name, index + 1);
        }
    }
    Ok(figures)
}

fn file_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' }).collect()
}

impl Figure {
    fn new(name: &str, title: &str, caption: String, size: (u32, u32), content: Content) -> Figure {
        Figure { name: name.to_owned(), title: title.to_owned(), caption, row: None, size, content }
    }

    /// The figure as SVG, the same text from run to run.
    pub fn svg(&self) -> Result<String, Error> {
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, self.size).into_drawing_area();
            self.draw(&area)?;
        }
        // Where the font is not installed, one of nearly the same widths is taken.
        Ok(text.replace(&format!("\"{FONT}\""), &format!("\"{FONT}, Verdana, sans-serif\"")))
    }

    /// Writes the figure as PNG.
    pub fn png(&self, path: &Path) -> Result<(), Error> {
        let area = BitMapBackend::new(path, self.size).into_drawing_area();
        self.draw(&area)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<(), Error> {
        style::register_font();
        let drawn: Drawn<DB> = (|| {
            area.fill(&WHITE)?;
            match &self.content {
                Content::Budget(content) => content.draw(area)?,
                Content::Scatter(content) => content.draw(area)?,
                Content::Dots(content) => content.draw(area)?,
                Content::Exits(content) => content.draw(area)?,
                Content::Weights(content) => content.draw(area)?,
                Content::Curves(content) => content.draw(area)?,
                Content::Forest(content) => content.draw(area)?,
                Content::Layers(content) => content.draw(area)?,
                Content::Ranking(content) => content.draw(area)?,
                Content::Cell(content) => content.draw(area)?,
                Content::Growth(content) => content.draw(area)?,
            }
            area.present()
        })();
        drawn.map_err(|error| Error::Draw { name: self.name.clone(), message: error.to_string() })
    }
}
