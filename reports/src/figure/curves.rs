//! Curves over epochs: loss and accuracy, and what the search moves.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{GREY, INK, axis_decimals, colour, key_height, key_places, limits, mesh, shortened, text};
use super::{Content, Drawn, Figure};
use litesnn_framework::record::EpochRow;

use crate::trials::{ExperimentResults, FinishedTrial};

/// With more rows than this only validation is drawn.
const MOST_ROWS: usize = 5;
const WIDTH: u32 = 860;

/// Panels side by side, under one key.
pub struct Curves {
    panels: Vec<Panel>,
    key: Vec<(String, RGBColor, Dash)>,
    columns: usize,
}

struct Panel {
    title: String,
    vertical: String,
    lines: Vec<Line>,
}

struct Line {
    colour: RGBColor,
    dash: Dash,
    points: Vec<(f64, f64)>,
}

/// Lengths of dashes and gaps in pixels; none for a solid line.
type Dash = Option<(u32, u32)>;

const DASHED: Dash = Some((6, 4));

/// Rows that share a colour differ in their dashes.
fn dash(index: usize) -> Dash {
    [None, Some((9, 4)), Some((3, 3))][index / 7 % 3]
}

fn stage_rows(trial: &FinishedTrial, retraining: bool) -> impl Iterator<Item = &EpochRow> {
    trial.history.iter().filter(move |row| row.stage.is_search() != retraining)
}

fn points<'a>(rows: impl Iterator<Item = &'a EpochRow>, value: impl Fn(&EpochRow) -> f64) -> Vec<(f64, f64)> {
    // Stages of a search count on.
    rows.enumerate().map(|(index, row)| (index as f64 + 1.0, value(row))).filter(|point| point.1.is_finite()).collect()
}

/// Loss and accuracy of every row's first seed, in search and retraining.
pub fn training(experiment: &ExperimentResults) -> Option<Figure> {
    let mut panels = Vec::new();
    let firsts: Vec<(usize, &FinishedTrial)> = experiment
        .groups
        .iter()
        .enumerate()
        .filter_map(|(index, group)| Some((index, group.trials.first()?)))
        .collect();
    let crowded = firsts.len() > MOST_ROWS;
    for (retraining, stage) in [(false, "Search"), (true, "Retraining")] {
        let shown: Vec<_> = firsts.iter().filter(|(_, trial)| stage_rows(trial, retraining).next().is_some()).collect();
        if shown.is_empty() {
            continue;
        }
        for loss in [true, false] {
            let mut lines = Vec::new();
            for (index, trial) in &shown {
                let train = |row: &EpochRow| if loss { row.train_loss } else { 100.0 * row.train_accuracy };
                let validation =
                    |row: &EpochRow| if loss { row.validation_loss } else { 100.0 * row.validation_accuracy };
                let colour = colour(*index);
                if !crowded {
                    lines.push(Line { colour, dash: DASHED, points: points(stage_rows(trial, retraining), train) });
                }
                let dash = if crowded { dash(*index) } else { None };
                lines.push(Line { colour, dash, points: points(stage_rows(trial, retraining), validation) });
            }
            panels.push(Panel {
                title: stage.into(),
                vertical: if loss { "Cross-entropy".into() } else { "Accuracy (%)".into() },
                lines,
            });
        }
    }
    if panels.is_empty() {
        return None;
    }
    let mut key: Vec<(String, RGBColor, Dash)> = firsts
        .iter()
        .map(|(index, _)| {
            let dash = if crowded { dash(*index) } else { None };
            (shortened(&experiment.groups[*index].label, 40), colour(*index), dash)
        })
        .collect();
    let mut caption = "First seed of each row. In the search, loss and accuracy are the supernet's.".to_owned();
    if crowded {
        caption.push_str(" All lines are of the validation split.");
    } else {
        key.push(("training".into(), GREY, DASHED));
        key.push(("validation".into(), GREY, None));
    }
    if let Some(keys) = experiment.swept() {
        caption.push_str(&format!(" In brackets: {keys}."));
    }
    let height = 280 * panels.len().div_ceil(2) as u32;
    Some(Curves { panels, key, columns: 2 }.figure("training-curves", "Training curves", caption, height))
}

/// Mean bits and weights of numbers of timesteps over the search of a trial; `None` where it did
/// not search.
pub fn search(trial: &FinishedTrial, name: &str, suffix: &str) -> Option<Figure> {
    stage_rows(trial, false).next()?;
    let rows = || stage_rows(trial, false);
    let count = rows().map(|row| row.timestep_weights.len()).max().unwrap_or(0);
    let bits = Panel {
        title: "Bits of a weight".into(),
        vertical: "Expected bits".into(),
        lines: vec![Line { colour: INK, dash: None, points: points(rows(), |row| row.mean_bits) }],
    };
    let lines = (0..count).map(|index| Line {
        colour: colour(index),
        dash: if index % 2 == 1 { DASHED } else { None },
        points: points(rows(), move |row| row.timestep_weights.get(index).copied().unwrap_or(f64::NAN)),
    });
    let timesteps = Panel { title: "Number of timesteps".into(), vertical: "Weight".into(), lines: lines.collect() };
    let dash = |index: usize| if index % 2 == 1 { DASHED } else { None };
    let key = (0..count).map(|index| (format!("T = {}", index + 1), colour(index), dash(index))).collect();
    let caption = "First seed. Left: bits of a weight, expected over softmax(beta), mean over searched weights. Right: softmax(psi), \
                   the weight of each number of timesteps; the largest one is taken.";
    let title = format!("What the search moves: {name}");
    let curves = Curves { panels: vec![bits, timesteps], key, columns: 2 };
    Some(curves.figure(&format!("search{suffix}"), &title, caption.into(), 300))
}

impl Curves {
    fn places(&self) -> Vec<(u32, u32)> {
        let names: Vec<String> = self.key.iter().map(|(name, ..)| name.clone()).collect();
        key_places(&names, 30, WIDTH - 90)
    }

    fn head(&self) -> u32 {
        20 + key_height(&self.places())
    }

    fn figure(self, name: &str, title: &str, caption: String, panels: u32) -> Figure {
        let size = (WIDTH, self.head() + panels);
        Figure::new(name, title, caption, size, Content::Curves(self))
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (head, body) = area.split_vertically(self.head());
        for ((name, colour, dash), (line, x)) in self.key.iter().zip(self.places()) {
            let (x, y) = (70 + x as i32, 22 + 20 * line as i32);
            let (length, gap) = dash.map_or((24, 1), |(length, gap)| (length as i32, gap as i32));
            let mut start = x;
            while start < x + 24 {
                let end = (start + length).min(x + 24);
                head.draw(&PathElement::new(vec![(start, y), (end, y)], colour.stroke_width(2)))?;
                start = end + gap;
            }
            head.draw(&Text::new(name.clone(), (x + 30, y - 7), text(13.0, INK)))?;
        }
        let rows = self.panels.len().div_ceil(self.columns);
        for (panel, area) in self.panels.iter().zip(body.split_evenly((rows, self.columns))) {
            panel.draw(&area)?;
        }
        Ok(())
    }
}

impl Panel {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let last = all().map(|point| point.0).fold(1.0, f64::max);
        let (bottom, top) = limits(all().map(|point| point.1), 0.02);
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .caption(&self.title, text(15.0, INK))
            .x_label_area_size(42)
            .y_label_area_size(58)
            .build_cartesian_2d(0.8..last + 0.2, bottom..top)?;
        let decimals = axis_decimals(top - bottom);
        mesh(&mut chart)
            .x_desc("Epoch")
            .y_desc(&self.vertical)
            .x_labels(last.min(8.0) as usize)
            .y_labels(6)
            .x_label_formatter(&|value| if value.fract().abs() < 1e-6 { format!("{value:.0}") } else { String::new() })
            .y_label_formatter(&|value| format!("{value:.decimals$}"))
            .draw()?;
        for line in &self.lines {
            let style = line.colour.stroke_width(2);
            match line.dash {
                Some((length, gap)) => {
                    chart.draw_series(DashedLineSeries::new(line.points.iter().copied(), length, gap, style))?;
                }
                None => {
                    chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
                }
            }
            if line.points.len() == 1 {
                chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, line.colour.filled())))?;
            }
        }
        Ok(())
    }
}
