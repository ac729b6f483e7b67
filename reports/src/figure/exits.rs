//! Early exit: accuracy against timesteps and Bit-SynOps over thresholds, and when images stop.

use litesnn_framework::record::ExitRow;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{HeadKey, INK, axis_decimals, colour, limits, mark, mesh};
use super::{Content, Drawn, Figure};
use crate::exits::{Stop, ways};
use crate::metric;
use crate::trials::{ExperimentResults, SeedGroup};

/// Mean timesteps, Bit-SynOps in millions, accuracy in percent.
struct Place {
    timesteps: f64,
    bit_syn_ops: f64,
    accuracy: f64,
}

pub struct Exits {
    series: Vec<Series>,
}

/// A row of the experiment.
struct Series {
    name: String,
    /// Over thresholds, by timesteps.
    thresholds: Vec<Place>,
    /// The threshold of the result.
    result: Option<Place>,
    /// Without early exit.
    fixed: Vec<Place>,
    /// Images that stop after 1, 2, ... timesteps at the threshold of the result, in percent.
    stopped: Vec<f64>,
}

const WIDTH: u32 = 1080;
const PANELS: u32 = 360;

/// One figure for all rows with early exit; `None` where there is none.
pub fn figure(experiment: &ExperimentResults) -> Option<Figure> {
    let series: Vec<Series> = experiment.groups.iter().filter_map(Series::of).collect();
    if series.is_empty() {
        return None;
    }
    let caption = "Filled marks: images stop by a threshold, a mark for each threshold; the ringed one is the result's. Open marks: \
                   all images run 1, 2, ... timesteps. Means over seeds. Right: at the threshold of the result.";
    let exits = Exits { series };
    let height = exits.head_key().height() + PANELS;
    Some(Figure::new("exits", "Early exit", caption.into(), (WIDTH, height), Content::Exits(exits)))
}

impl Series {
    fn of(group: &SeedGroup) -> Option<Series> {
        let all = ways(group);
        let place = |way: &crate::exits::Way| {
            let mean = |value: fn(&ExitRow) -> f64| way.measured(value).0;
            Place {
                timesteps: mean(|row| row.mean_timesteps),
                bit_syn_ops: mean(|row| row.bit_syn_ops / 1e6),
                accuracy: mean(|row| 100.0 * row.test_accuracy),
            }
        };
        let result = all.iter().find(|way| way.is_result)?;
        let is_threshold = |stop: Stop| matches!(stop, Stop::Threshold(_));
        let (thresholds, fixed): (Vec<_>, Vec<_>) = all.iter().partition(|way| is_threshold(way.stop));
        let mut thresholds: Vec<Place> = thresholds.into_iter().map(place).collect();
        thresholds.sort_by(|a, b| a.timesteps.total_cmp(&b.timesteps));
        Some(Series {
            name: group.name.clone(),
            thresholds,
            result: Some(place(result)),
            fixed: fixed.into_iter().map(place).collect(),
            stopped: result.stopped().iter().map(|part| 100.0 * part).collect(),
        })
    }
}

impl Exits {
    fn head_key(&self) -> HeadKey {
        HeadKey::new(self.series.iter().map(|series| &series.name), 30, WIDTH - 40)
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (head, body) = area.split_vertically(self.head_key().height());
        self.head_key().draw(&head)?;
        let panels = body.split_evenly((1, 3));
        self.accuracy(&panels[0], "Timesteps (mean)", |place| place.timesteps)?;
        self.accuracy(&panels[1], &metric::BIT_SYN_OPS.heading(), |place| place.bit_syn_ops)?;
        self.stops(&panels[2])
    }

    /// Accuracy against a cost.
    fn accuracy<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        horizontal: &str,
        cost: fn(&Place) -> f64,
    ) -> Drawn<DB> {
        let all = || self.series.iter().flat_map(|series| series.thresholds.iter().chain(&series.fixed));
        let (bottom, top) = limits(all().map(|place| place.accuracy), 0.5);
        let right = all().map(cost).fold(0.0, f64::max);
        let right = if right > 0.0 { 1.08 * right } else { 1.0 };
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..right, bottom..top)?;
        let [across, up] = [right, top - bottom].map(axis_decimals);
        mesh(&mut chart)
            .x_desc(horizontal)
            .y_desc(metric::ACCURACY.heading())
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|value| format!("{value:.across$}"))
            .y_label_formatter(&|value| format!("{value:.up$}"))
            .draw()?;
        let plot = chart.plotting_area();
        for (index, series) in self.series.iter().enumerate() {
            let at = |place: &Place| (cost(place), place.accuracy);
            let fixed: Vec<(f64, f64)> = series.fixed.iter().map(at).collect();
            let thresholds: Vec<(f64, f64)> = series.thresholds.iter().map(at).collect();
            plot.draw(&PathElement::new(fixed.clone(), colour(index).mix(0.4).stroke_width(1)))?;
            plot.draw(&PathElement::new(thresholds.clone(), colour(index).stroke_width(2)))?;
            for place in fixed {
                mark(plot, place, index, 5, false)?;
            }
            for place in thresholds {
                mark(plot, place, index, 3, true)?;
            }
            if let Some(result) = &series.result {
                mark(plot, at(result), index, 5, true)?;
                plot.draw(&(EmptyElement::at(at(result)) + Circle::new((0, 0), 10, INK.stroke_width(1))))?;
            }
        }
        Ok(())
    }

    /// How many images stop after each number of timesteps, side by side by series.
    fn stops<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let most = self.series.iter().map(|series| series.stopped.len()).max().unwrap_or(1);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d(0.5..most as f64 + 0.5, 0.0..105.0)?;
        mesh(&mut chart)
            .disable_x_mesh()
            .x_desc("Timesteps of an image")
            .y_desc("Images (%)")
            .x_labels(most.min(12))
            .y_labels(6)
            .x_label_formatter(&|value| if value.fract() == 0.0 { format!("{value:.0}") } else { String::new() })
            .y_label_formatter(&|value| format!("{value:.0}"))
            .draw()?;
        let width = 0.8 / self.series.len() as f64;
        let bars = self.series.iter().enumerate().flat_map(|(index, series)| {
            (1..).zip(&series.stopped).map(move |(timestep, share)| {
                let left = f64::from(timestep) - 0.4 + width * index as f64;
                Rectangle::new([(left, 0.0), (left + width, *share)], colour(index).filled())
            })
        });
        chart.draw_series(bars)?;
        Ok(())
    }
}
