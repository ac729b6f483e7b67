//! Differences between compared rows with their intervals: a panel for each quantity, a line for
//! each comparison, and 0 as the line that tells less from more.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{GREY, INK, anchored, axis_decimals, colour, limits, median_line, mesh, shortened};
use super::{Content, Drawn, Figure, MOST_ROWS};
use crate::comparisons::{Comparisons, Finding, QUANTITIES, of_experiment};
use crate::statistics::median_of_several;
use crate::trials::ExperimentResults;

pub struct Forest {
    /// Both rows of each comparison.
    names: Vec<[String; 2]>,
    panels: Vec<Panel>,
}

/// A quantity.
struct Panel {
    title: String,
    more_is_better: bool,
    /// A line for each comparison; `None` where the quantity has no difference.
    lines: Vec<Option<Line>>,
}

/// A comparison.
struct Line {
    mean: f64,
    by_seed: Vec<f64>,
    /// The interval of this comparison, and that of all of them together.
    intervals: Option<[[f64; 2]; 2]>,
    is_decided: bool,
}

const NAMES: u32 = 250;
const PANEL: u32 = 205;
const LINE: u32 = 46;
const AXIS: u32 = 46;

/// `None` where no difference has an interval.
pub fn figure(experiment: &ExperimentResults) -> Option<Figure> {
    let comparisons = of_experiment(experiment)?;
    let forest = Forest::of(&comparisons)?;
    let mut caption = "First row minus second, paired by seed: large marks are means, small ones seeds, dark lines their \
                       medians, bars 95 % intervals. \
                       A filled mark tells the difference from 0, blue where the first row is better and orange where it is \
                       worse; an open grey one does not."
        .to_owned();
    if (0..QUANTITIES.len()).any(|quantity| comparisons.family(quantity) > 1) {
        caption.push_str(
            " Thin lines are intervals that hold for all comparisons of a quantity together; what is told from 0 is \
             corrected for their number (Holm).",
        );
    }
    if let Some(note) = comparisons.without_search() {
        caption.push_str(&format!(" {note}"));
    }
    if comparisons.pairs.len() > MOST_ROWS {
        caption.push_str(&format!(" The first {MOST_ROWS} of {} comparisons.", comparisons.pairs.len()));
    }
    let size = (NAMES + PANEL * forest.panels.len() as u32 + 16, LINE * forest.names.len() as u32 + AXIS + 12);
    Some(Figure::new("differences", "Differences between compared rows", caption, size, Content::Forest(forest)))
}

impl Forest {
    fn of(comparisons: &Comparisons) -> Option<Forest> {
        let shown = &comparisons.pairs[..comparisons.pairs.len().min(MOST_ROWS)];
        let panels = QUANTITIES.iter().enumerate().map(|(index, quantity)| Panel {
            title: quantity.short_title(),
            // Of costs, less is better.
            more_is_better: quantity.metric.higher_is_better == Some(true),
            lines: shown.iter().map(|pair| Line::of(&pair.differences[index])).collect(),
        });
        let has_interval = |panel: &Panel| panel.lines.iter().flatten().any(|line| line.intervals.is_some());
        let panels: Vec<Panel> = panels.filter(has_interval).collect();
        let names = shown.iter().map(|pair| [pair.a.label.clone(), pair.b.label.clone()]).collect();
        (!panels.is_empty()).then_some(Forest { names, panels })
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (names, panels) = area.split_horizontally(NAMES);
        for (index, [a, b]) in self.names.iter().enumerate() {
            let middle = 12 + (LINE as usize * index + LINE as usize / 2) as i32;
            let right = NAMES as i32 - 12;
            let style = |colour| anchored(12.0, colour, HPos::Right, VPos::Center);
            names.draw(&Text::new(shortened(a, 32), (right, middle - 8), style(INK)))?;
            names.draw(&Text::new(format!("against {}", shortened(b, 28)), (right, middle + 8), style(GREY)))?;
        }
        for (index, panel) in self.panels.iter().enumerate() {
            let place =
                panels.clone().shrink((PANEL * index as u32, 0), (PANEL, LINE * self.names.len() as u32 + AXIS + 12));
            panel.draw(&place)?;
        }
        Ok(())
    }
}

impl Line {
    fn of(difference: &crate::comparisons::Difference) -> Option<Line> {
        let (intervals, is_decided) = match &difference.finding {
            Finding::Tested(test) => (Some([test.interval(), test.joint_interval()]), test.is_decided()),
            Finding::Constant(mean) => (None, *mean != 0.0),
            Finding::OneSeed(_) | Finding::Unmeasured(_) => (None, false),
        };
        Some(Line { mean: difference.finding.mean()?, by_seed: difference.by_seed.clone(), intervals, is_decided })
    }

    fn ends(&self) -> impl Iterator<Item = f64> {
        let intervals = self.intervals.iter().flatten().flatten().copied();
        intervals.chain(self.by_seed.iter().copied()).chain([self.mean])
    }
}

impl Panel {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let count = self.lines.len() as f64;
        let ends = self.lines.iter().flatten().flat_map(Line::ends);
        let (left, right) = limits(ends.chain([0.0]), 0.0);
        let (left, right) = if left < right { (left, right) } else { (-1.0, 1.0) };
        let mut chart = ChartBuilder::on(area)
            .margin_top(12)
            .margin_left(4)
            .margin_right(14)
            .x_label_area_size(AXIS)
            .build_cartesian_2d(left..right, 0.0..count)?;
        let decimals = axis_decimals(right - left);
        mesh(&mut chart)
            .disable_y_mesh()
            .x_desc(&self.title)
            .x_labels(4)
            .y_labels(0)
            .x_label_formatter(&|value| format!("{value:.decimals$}"))
            .draw()?;
        let plot = chart.plotting_area();
        plot.draw(&PathElement::new(vec![(0.0, 0.0), (0.0, count)], INK.stroke_width(1)))?;
        for (index, line) in self.lines.iter().enumerate() {
            let Some(line) = line else { continue };
            let y = count - index as f64 - 0.5;
            let is_better = (line.mean > 0.0) == self.more_is_better;
            let colour = if line.is_decided { colour(usize::from(!is_better)) } else { GREY };
            if let Some([own, joint]) = line.intervals {
                for ([low, high], width) in [(joint, 1), (own, 3)] {
                    plot.draw(&PathElement::new(vec![(low, y), (high, y)], colour.stroke_width(width)))?;
                }
            }
            for seed in &line.by_seed {
                plot.draw(&(EmptyElement::at((*seed, y)) + Circle::new((0, 12), 2, colour.stroke_width(1))))?;
            }
            let at = EmptyElement::at((line.mean, y));
            match line.is_decided {
                true => plot.draw(&(at + Circle::new((0, 0), 5, colour.filled())))?,
                false => plot.draw(
                    &(at + Circle::new((0, 0), 5, WHITE.filled()) + Circle::new((0, 0), 5, colour.stroke_width(2))),
                )?,
            }
            if let Some(median) = median_of_several(&line.by_seed) {
                median_line(plot, (median, y), (0, 9), INK)?;
            }
        }
        Ok(())
    }
}
