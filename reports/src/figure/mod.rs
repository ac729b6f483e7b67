//! Figures by plotters: one drawing for SVG and PNG.

mod accuracy_size;
mod cell;
mod curves;
mod layers;
mod style;

use std::path::Path;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontStyle;

use crate::Error;
use crate::trials::Experiment;
use style::FONT;

/// A figure, ready to be drawn.
pub struct Figure {
    /// Name of its files.
    pub name: String,
    /// Heading.
    pub title: String,
    /// What it shows, in sentences.
    pub caption: String,
    size: (u32, u32),
    content: Content,
}

enum Content {
    AccuracySize(accuracy_size::AccuracySize),
    Curves(curves::Curves),
    Layers(layers::Layers),
    Cell(cell::CellDrawing),
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// The figures of an experiment.
pub fn of_experiment(experiment: &Experiment) -> Vec<Figure> {
    let mut figures = vec![accuracy_size::figure(experiment)];
    figures.extend(curves::training(experiment));
    figures.extend(curves::search(experiment));
    // One design for each row: the first seed's.
    for group in experiment.groups.iter().filter(|group| group.searched()) {
        let Some(trial) = group.trials.first() else { continue };
        let suffix = if experiment.groups.iter().filter(|group| group.searched()).count() > 1 {
            format!("-{}", file_name(&group.name))
        } else {
            String::new()
        };
        figures.push(layers::figure(trial, &group.name, &suffix));
        figures.push(cell::figure(trial, &group.name, &suffix));
    }
    figures
}

fn file_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' }).collect()
}

impl Figure {
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
        static FONTS: Once = Once::new();
        FONTS.call_once(|| {
            let bytes = include_bytes!("../../fonts/DejaVuSans.ttf");
            // It can only fail for a damaged file, and this one is part of the program.
            let _ = plotters::style::register_font(FONT, FontStyle::Normal, bytes);
        });
        let drawn: Drawn<DB> = (|| {
            area.fill(&WHITE)?;
            match &self.content {
                Content::AccuracySize(content) => content.draw(area)?,
                Content::Curves(content) => content.draw(area)?,
                Content::Layers(content) => content.draw(area)?,
                Content::Cell(content) => content.draw(area)?,
            }
            area.present()
        })();
        drawn.map_err(|error| Error::Draw { name: self.name.clone(), message: error.to_string() })
    }
}
