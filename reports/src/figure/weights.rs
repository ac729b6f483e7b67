//! The searched weights (paper, Figure 2(c)): their distribution, the quantised forms, and what was
//! pruned.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{Chart, INK, axis_decimals, colour, mark, mesh, text};
use super::{Content, Drawn, Figure};
use crate::trials::FinishedTrial;

pub struct Weights {
    /// Middle of a bin in units of sigma, share of the weights in percent.
    distribution: Vec<(f64, f64)>,
    /// Name, middle, share.
    forms: Vec<(String, Vec<(f64, f64)>)>,
    /// Middle, pruned share of the weights in the bin.
    pruned: Vec<(f64, f64)>,
}

/// Bins of the record that make one of the figure.
const MERGED: i64 = 2;
/// The axes end here; the record has what lies beyond.
const REACH: f64 = 4.0;
/// A share of fewer weights than this says nothing.
const FEWEST: i64 = 20;

/// All searched layers together, each in units of its own standard deviation; `None` without a
/// record of the search's weights.
pub fn figure(trial: &FinishedTrial, name: &str, suffix: &str) -> Option<Figure> {
    // By form and place: edges are multiples of one width.
    let mut bins: BTreeMap<(&str, i64), (i64, i64)> = BTreeMap::new();
    let first = trial.weights.first()?;
    let width = first.high - first.low;
    for row in &trial.weights {
        let merged = if row.form == "weight" { MERGED } else { 1 };
        let place = ((row.low / width).round() as i64).div_euclid(merged);
        let bin = bins.entry((&row.form, place)).or_default();
        bin.0 += row.count;
        bin.1 += row.removed;
    }
    let of = |form: &str| -> Vec<(f64, i64, i64)> {
        let merged = if form == "weight" { MERGED } else { 1 } as f64;
        let middle = |place: i64| (place as f64 + 0.5) * merged * width;
        let of_form = bins.iter().filter(|((name, _), _)| *name == form);
        of_form.map(|((_, place), (count, removed))| (middle(*place), *count, *removed)).collect()
    };
    let total = of("weight").iter().map(|bin| bin.1).sum::<i64>().max(1) as f64;
    let share = |bins: Vec<(f64, i64, i64)>| {
        bins.into_iter().map(|(at, count, _)| (at, 100.0 * count as f64 / total)).collect::<Vec<_>>()
    };
    let mut names: Vec<&str> =
        bins.keys().map(|(form, _)| *form).filter(|form| !matches!(*form, "weight" | "used")).collect();
    names.dedup();
    let enough = of("weight").into_iter().filter(|(_, count, _)| *count >= FEWEST);
    let content = Weights {
        forms: names.into_iter().map(|form| (form.to_owned(), share(of(form)))).collect(),
        pruned: enough.map(|(at, count, removed)| (at, 100.0 * removed as f64 / count as f64)).collect(),
        distribution: share(of("weight")),
    };
    let caption = format!(
        "First seed, end of the search, all searched layers together, each in units of its own standard deviation sigma. Left: \
         the trained weights. Middle: the values that they would have at each bit-width. Right: the fraction of the weights that \
         is pruned, in bins with at least {FEWEST} weights."
    );
    let title = format!("The searched weights: {name}");
    Some(Figure::new(&format!("weights{suffix}"), &title, caption, (960, 350), Content::Weights(content)))
}

impl Weights {
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (head, body) = area.split_vertically(30);
        let panels = body.split_evenly((1, 3));
        let highest = |points: &[(f64, f64)]| points.iter().map(|point| point.1).fold(0.0, f64::max).max(1e-6);

        let top = highest(&self.distribution) * 1.08;
        let mut chart = chart(&panels[0], "Weights", "Share of the weights (%)", top)?;
        let inside = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().copied().filter(|point| point.0.abs() < REACH).collect()
        };
        let curve = inside(&self.distribution);
        if let (Some(first), Some(last)) = (curve.first(), curve.last()) {
            let ends = [(last.0, 0.0), (first.0, 0.0)];
            let outline: Vec<(f64, f64)> = curve.iter().copied().chain(ends).collect();
            chart.draw_series([Polygon::new(outline, colour(0).mix(0.25))])?;
        }
        chart.draw_series(LineSeries::new(curve, colour(0).stroke_width(2)))?;

        let top = self.forms.iter().map(|(_, points)| highest(points)).fold(1e-6, f64::max) * 1.08;
        let mut chart = self::chart(&panels[1], "Quantised forms", "Share of the weights (%)", top)?;
        let mut x = panels[1].get_base_pixel().0 - head.get_base_pixel().0 + 70;
        for (index, (name, points)) in self.forms.iter().enumerate() {
            for point in inside(points) {
                let stem = vec![(point.0, 0.0), point];
                chart.draw_series([PathElement::new(stem, colour(index).stroke_width(1))])?;
                mark(chart.plotting_area(), point, index, 4, true)?;
            }
            mark(&head, (x, 18), index, 5, true)?;
            head.draw(&Text::new(name.clone(), (x + 11, 11), text(12.0, INK)))?;
            x += 24 + 8 * name.chars().count() as i32 + 14;
        }

        let mut chart = self::chart(&panels[2], "Pruning rate", "Pruned (%)", 105.0)?;
        chart.draw_series(LineSeries::new(inside(&self.pruned), colour(1).stroke_width(2)))?;
        Ok(())
    }
}

fn chart<'a, DB: DrawingBackend + 'a>(
    area: &DrawingArea<DB, Shift>,
    title: &str,
    vertical: &str,
    top: f64,
) -> Result<Chart<'a, DB>, DrawingAreaErrorKind<DB::ErrorType>> {
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(title, text(15.0, INK))
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(-REACH..REACH, 0.0..top)?;
    let decimals = axis_decimals(top);
    mesh(&mut chart)
        .x_desc("Weight w / sigma")
        .y_desc(vertical)
        .x_labels(9)
        .y_labels(6)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.decimals$}"))
        .draw()?;
    Ok(chart)
}
