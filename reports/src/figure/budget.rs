//! Accuracy over the time of the device that search and retraining take together, so that rows of
//! unequal budgets are seen as that.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{GREY, HeadKey, axis_decimals, colour, limits, mark, mesh};
use super::{Content, Drawn, Figure};
use crate::metric;
use crate::trials::{ExperimentResults, FinishedTrial, SeedGroup};

/// Seconds of the device, accuracy in percent.
type Place = (f64, f64);

pub struct Budget {
    series: Vec<Series>,
    /// The unit of the axis, and its seconds.
    unit: (&'static str, f64),
}

/// A row.
struct Series {
    name: String,
    /// Validation of its first seed, while it searches and while it retrains.
    search: Vec<Place>,
    retrain: Vec<Place>,
    /// Test accuracy of every seed, when all is done.
    ends: Vec<Place>,
    mean: Place,
}

const WIDTH: u32 = 860;
const HEIGHT: u32 = 440;
/// With more rows than these, lines are thin.
const MOST_BOLD: usize = 5;

/// `None` for one row, and where no times are recorded.
pub fn figure(experiment: &ExperimentResults) -> Option<Figure> {
    let timed = || experiment.groups.iter().filter(|group| group.is_of_one_hardware());
    let first = timed().next()?;
    let (shown, others): (Vec<&SeedGroup>, Vec<&SeedGroup>) =
        experiment.groups.iter().partition(|group| group.times_compare_with(first));
    let series: Vec<Series> = shown.into_iter().filter_map(Series::of).collect();
    if series.len() < 2 {
        return None;
    }
    let last = series.iter().flat_map(|series| &series.ends).map(|end| end.0).fold(0.0, f64::max);
    let unit = match last {
        ..600.0 => ("s", 1.0),
        ..7200.0 => ("min", 60.0),
        _ => ("h", 3600.0),
    };
    let mut caption = "Lines are the first seed's accuracy on the validation split, dashed while it searches (the supernet's) and \
                       solid while it retrains. Open marks are each seed's accuracy on the test split where its time ends, the \
                       filled one their mean. A row without a search took its design over, whose time belongs to the row that \
                       found it."
        .to_owned();
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|group| group.name.as_str()).collect();
        caption.push_str(&format!(
            " Not drawn, because times of different hardware do not compare: {}.",
            names.join(", ")
        ));
    }
    if let Some(keys) = experiment.swept() {
        caption.push_str(&format!(" In brackets: {keys}."));
    }
    let budget = Budget { series, unit };
    let size = (WIDTH, budget.head_key().height() + HEIGHT);
    Some(Figure::new("budget", "Accuracy over search and retraining", caption, size, Content::Budget(budget)))
}

impl Series {
    /// `None` where an older program recorded no times.
    fn of(group: &SeedGroup) -> Option<Series> {
        let end = |trial: &FinishedTrial| {
            ((metric::DEVICE_TIME.value)(&trial.outcome), (metric::ACCURACY.value)(&trial.outcome))
        };
        let ends: Vec<Place> = group.trials.iter().map(end).collect();
        if ends.iter().any(|(seconds, accuracy)| !seconds.is_finite() || !accuracy.is_finite()) {
            return None;
        }
        let mean = (group.measured(&metric::DEVICE_TIME).0, group.measured(&metric::ACCURACY).0);
        let (mut search, mut retrain, mut spent) = (Vec::new(), Vec::new(), 0.0);
        for epoch in &group.trials.first()?.history {
            spent += epoch.device_seconds;
            let place = (spent, 100.0 * epoch.validation_accuracy);
            if place.0.is_finite() && place.1.is_finite() {
                if epoch.stage.is_search() { search.push(place) } else { retrain.push(place) }
            }
        }
        Some(Series { name: group.label.clone(), search, retrain, ends, mean })
    }
}

impl Budget {
    fn head_key(&self) -> HeadKey {
        HeadKey::new(self.series.iter().map(|series| &series.name), 70, WIDTH - 90)
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (head, body) = area.split_vertically(self.head_key().height());
        self.head_key().draw(&head)?;
        let (unit, seconds) = self.unit;
        let scaled = |place: &Place| (place.0 / seconds, place.1);
        let all = || {
            let lines = self.series.iter().flat_map(|series| series.search.iter().chain(&series.retrain));
            lines.chain(self.series.iter().flat_map(|series| &series.ends)).map(scaled)
        };
        let right = 1.05 * all().map(|place| place.0).fold(0.0, f64::max);
        let (bottom, top) = limits(all().map(|place| place.1), 0.5);
        let mut chart = ChartBuilder::on(&body)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..if right > 0.0 { right } else { 1.0 }, bottom..top)?;
        let [across, up] = [right, top - bottom].map(axis_decimals);
        mesh(&mut chart)
            .x_desc(format!("Device time of search and retraining ({unit})"))
            .y_desc("Accuracy (%)")
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|value| format!("{value:.across$}"))
            .y_label_formatter(&|value| format!("{value:.up$}"))
            .draw()?;
        let width = if self.series.len() > MOST_BOLD { 1 } else { 2 };
        for (index, series) in self.series.iter().enumerate() {
            let style = colour(index).stroke_width(width);
            chart.draw_series(DashedLineSeries::new(series.search.iter().map(scaled), 5, 4, style))?;
            chart.draw_series(LineSeries::new(series.retrain.iter().map(scaled), style))?;
        }
        let plot = chart.plotting_area();
        for (index, series) in self.series.iter().enumerate() {
            // Where a row's time ends: its budget.
            let mean = scaled(&series.mean);
            plot.draw(&PathElement::new(vec![(mean.0, bottom), mean], GREY.mix(0.5).stroke_width(1)))?;
            if series.ends.len() > 1 {
                for end in &series.ends {
                    mark(plot, scaled(end), index, 4, false)?;
                }
            }
            mark(plot, mean, index, 6, true)?;
        }
        Ok(())
    }
}
