//! Test accuracy against model size.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{GREY, INK, PALE, anchored, colour, limits, mark, shortened, text};
use super::{Content, Drawn, Figure};
use crate::metric;
use crate::trials::Experiment;

/// A place in the figure: model size, accuracy.
type Place = (f64, f64);

pub struct AccuracySize {
    /// Name, mean, trials.
    series: Vec<(String, Place, Vec<Place>)>,
}

pub fn figure(experiment: &Experiment) -> Figure {
    let series = experiment
        .groups
        .iter()
        .map(|group| {
            let of = |outcome: &_| ((metric::MODEL_SIZE.value)(outcome), (metric::ACCURACY.value)(outcome));
            let mean = (group.mean(metric::MODEL_SIZE.value).0, group.mean(metric::ACCURACY.value).0);
            (group.name.clone(), mean, group.trials.iter().map(|trial| of(&trial.outcome)).collect())
        })
        .collect();
    Figure {
        name: "accuracy-size".into(),
        title: "Accuracy against model size".into(),
        caption: "Up and to the left is better. Model size is on a logarithmic axis. With several seeds, small open marks are \
                  trials and the large one is their mean."
            .into(),
        size: (760, 440),
        content: Content::AccuracySize(AccuracySize { series }),
    }
}

impl AccuracySize {
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let points = || self.series.iter().flat_map(|(_, mean, trials)| trials.iter().chain([mean]));
        let low = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let high = points().map(|point| point.0).fold(0.0, f64::max);
        // Room on the right for the labels.
        let (left, right) = (10f64.powf((low / 1.6).log10()), 10f64.powf((high * 4.0).log10()));
        let (bottom, top) = limits(points().map(|point| point.1), 2.0);
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .margin_right(20)
            .x_label_area_size(52)
            .y_label_area_size(62)
            .build_cartesian_2d((left..right).log_scale(), bottom..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(PALE)
            .axis_style(GREY)
            .label_style(text(13.0, INK))
            .axis_desc_style(text(14.0, INK))
            .x_desc(metric::MODEL_SIZE.heading())
            .y_desc(metric::ACCURACY.heading())
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|value| if *value >= 1.0 { format!("{value:.0}") } else { format!("{value}") })
            .y_label_formatter(&|value| format!("{value:.0}"))
            .draw()?;
        for (index, (name, mean, trials)) in self.series.iter().enumerate() {
            if trials.len() > 1 {
                for &trial in trials {
                    draw_mark(&chart, trial, index, 4, false)?;
                }
            }
            draw_mark(&chart, *mean, index, 7, true)?;
            let label = format!("{}  {:.1} %, {:.1} kB", shortened(name, 34), mean.1, mean.0);
            let pixel = chart.backend_coord(mean);
            // Left of the mark where the right edge is near.
            let (width, _) = area.dim_in_pixel();
            let beside = if pixel.0 + 14 + 8 * label.chars().count() as i32 > width as i32 { -14 } else { 14 };
            let side = if beside < 0 { HPos::Right } else { HPos::Left };
            let style = anchored(13.0, colour(index), side, VPos::Center);
            let origin = area.get_base_pixel();
            area.draw(&Text::new(label, (pixel.0 - origin.0 + beside, pixel.1 - origin.1), style))?;
        }
        Ok(())
    }
}

type LogChart<'a, DB> = ChartContext<
    'a,
    DB,
    Cartesian2d<plotters::coord::combinators::LogCoord<f64>, plotters::coord::types::RangedCoordf64>,
>;

fn draw_mark<DB: DrawingBackend>(
    chart: &LogChart<DB>,
    point: Place,
    index: usize,
    size: i32,
    filled: bool,
) -> Drawn<DB> {
    mark(chart.plotting_area(), point, index, size, filled)
}
