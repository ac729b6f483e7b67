//! Curves over epochs: loss and accuracy, and what the search moves.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{GREY, INK, PALE, colour, limits, shortened, text};
use super::{Content, Drawn, Figure};
use litesnn_framework::record::Epoch;

use crate::trials::{Experiment, Trial};

/// Panels side by side, under one key.
pub struct Curves {
    panels: Vec<Panel>,
    key: Vec<(String, RGBColor, bool)>,
    columns: usize,
}

struct Panel {
    title: String,
    vertical: String,
    lines: Vec<Line>,
    decimals: usize,
}

struct Line {
    colour: RGBColor,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

fn stage_rows(trial: &Trial, retraining: bool) -> impl Iterator<Item = &Epoch> {
    trial.history.iter().filter(move |row| (row.stage == "retrain") == retraining)
}

fn points<'a>(rows: impl Iterator<Item = &'a Epoch>, value: impl Fn(&Epoch) -> f64) -> Vec<(f64, f64)> {
    // Stages of a search count on.
    rows.enumerate().map(|(index, row)| (index as f64 + 1.0, value(row))).filter(|point| point.1.is_finite()).collect()
}

/// Loss and accuracy of every row's first seed, in search and retraining.
pub fn training(experiment: &Experiment) -> Option<Figure> {
    let mut panels = Vec::new();
    let firsts: Vec<(usize, &Trial)> = experiment
        .groups
        .iter()
        .enumerate()
        .filter_map(|(index, group)| Some((index, group.trials.first()?)))
        .collect();
    for (retraining, stage) in [(false, "Search"), (true, "Retraining")] {
        let shown: Vec<_> = firsts.iter().filter(|(_, trial)| stage_rows(trial, retraining).next().is_some()).collect();
        if shown.is_empty() {
            continue;
        }
        for loss in [true, false] {
            let mut lines = Vec::new();
            for (index, trial) in &shown {
                let train = |row: &Epoch| if loss { row.train_loss } else { 100.0 * row.train_accuracy };
                let validation = |row: &Epoch| if loss { row.validation_loss } else { 100.0 * row.validation_accuracy };
                let colour = colour(*index);
                lines.push(Line { colour, dashed: true, points: points(stage_rows(trial, retraining), train) });
                lines.push(Line { colour, dashed: false, points: points(stage_rows(trial, retraining), validation) });
            }
            panels.push(Panel {
                title: stage.into(),
                vertical: if loss { "Cross-entropy".into() } else { "Accuracy (%)".into() },
                lines,
                decimals: usize::from(loss),
            });
        }
    }
    if panels.is_empty() {
        return None;
    }
    let mut key: Vec<(String, RGBColor, bool)> = firsts
        .iter()
        .map(|(index, _)| (shortened(&experiment.groups[*index].name, 40), colour(*index), false))
        .collect();
    key.push(("training".into(), GREY, true));
    key.push(("validation".into(), GREY, false));
    let height = 60 + 280 * panels.len().div_ceil(2) as u32;
    Some(Figure {
        name: "training-curves".into(),
        title: "Training curves".into(),
        caption: "First seed of each row. In the search, loss and accuracy are the supernet's.".into(),
        size: (860, height),
        content: Content::Curves(Curves { panels, key, columns: 2 }),
    })
}

/// Mean bits and weights of numbers of timesteps over the search of the first row that searched.
pub fn search(experiment: &Experiment) -> Option<Figure> {
    let group = experiment.groups.iter().find(|group| group.searched())?;
    let trial = group.trials.first()?;
    let rows = || stage_rows(trial, false);
    let count = rows().map(|row| row.timestep_weights.len()).max().unwrap_or(0);
    let bits = Panel {
        title: "Bits of a weight".into(),
        vertical: "Expected bits".into(),
        lines: vec![Line { colour: INK, dashed: false, points: points(rows(), |row| row.mean_bits) }],
        decimals: 2,
    };
    let lines = (0..count).map(|index| Line {
        colour: colour(index),
        dashed: index % 2 == 1,
        points: points(rows(), move |row| row.timestep_weights.get(index).copied().unwrap_or(f64::NAN)),
    });
    let timesteps =
        Panel { title: "Number of timesteps".into(), vertical: "Weight".into(), lines: lines.collect(), decimals: 2 };
    let key = (0..count).map(|index| (format!("T = {}", index + 1), colour(index), index % 2 == 1)).collect();
    Some(Figure {
        name: "search".into(),
        title: format!("What the search of {} moves", group.name),
        caption: "First seed. Left: bits of a weight, expected over softmax(beta), mean over searched weights. Right: softmax(psi), \
                  the weight of each number of timesteps; the largest one is taken."
            .into(),
        size: (860, 340),
        content: Content::Curves(Curves { panels: vec![bits, timesteps], key, columns: 2 }),
    })
}

impl Curves {
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (head, body) = area.split_vertically(40);
        let mut x = 70;
        for (name, colour, dashed) in &self.key {
            let style = colour.stroke_width(2);
            if *dashed {
                head.draw(&PathElement::new(vec![(x, 22), (x + 8, 22)], style))?;
                head.draw(&PathElement::new(vec![(x + 14, 22), (x + 22, 22)], style))?;
            } else {
                head.draw(&PathElement::new(vec![(x, 22), (x + 22, 22)], style))?;
            }
            head.draw(&Text::new(name.clone(), (x + 28, 15), text(13.0, INK)))?;
            x += 28 + 9 * name.chars().count() as i32 + 24;
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
        let decimals = self.decimals;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(PALE)
            .axis_style(GREY)
            .label_style(text(12.0, INK))
            .axis_desc_style(text(13.0, INK))
            .x_desc("Epoch")
            .y_desc(&self.vertical)
            .x_labels(last.min(8.0) as usize)
            .y_labels(6)
            .x_label_formatter(&|value| if value.fract().abs() < 1e-6 { format!("{value:.0}") } else { String::new() })
            .y_label_formatter(&|value| format!("{value:.decimals$}"))
            .draw()?;
        for line in &self.lines {
            let style = line.colour.stroke_width(2);
            if line.dashed {
                chart.draw_series(DashedLineSeries::new(line.points.iter().copied(), 6, 4, style))?;
            } else {
                chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
            }
            if line.points.len() == 1 {
                chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, line.colour.filled())))?;
            }
        }
        Ok(())
    }
}
