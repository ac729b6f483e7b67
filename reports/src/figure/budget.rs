//! Accuracy over the time of the device that search and retraining take together, so that rows of
//! unequal budgets are seen as that.
//!
//! Rows that the manifest compares stand in one panel, and rows that it compares with nothing
//! follow in panels of their own. A panel has few rows, so that each has its name beside its mark:
//! a row with which many are compared comes again in each of their panels. All panels have the same
//! axes.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{INK, Labels, axis_decimals, colour, limits, mark, median_line, mesh, shortened, text};
use super::{Content, Drawn, Figure, MOST_ROWS};
use crate::comparisons::of_experiment;
use crate::metric;
use crate::statistics::{median, median_of_several};
use crate::trials::{ExperimentResults, FinishedTrial, SeedGroup};

/// Seconds of the device, accuracy in percent.
type Place = (f64, f64);

pub struct Budget {
    panels: Vec<Vec<Series>>,
    /// The unit of the axis, and its seconds.
    unit: (&'static str, f64),
}

/// A row.
struct Series {
    name: String,
    /// Validation of each seed; of one seed nothing, since its curve is the one in the middle.
    seeds: Vec<Curve>,
    /// The medians over seeds, epoch by epoch.
    middle: Curve,
    /// Test accuracy of every seed, when all is done.
    ends: Vec<Place>,
    mean: Place,
    median: Option<Place>,
}

/// Validation while a trial searches and while it retrains.
struct Curve {
    search: Vec<Place>,
    retrain: Vec<Place>,
}

const WIDTH: u32 = 860;
/// Of a panel that stands alone, and of one among several.
const HEIGHT: [u32; 2] = [440, 300];
/// Rows of a panel at most.
const MOST_IN_PANEL: usize = 6;

/// `None` for one row, and where no times are recorded.
pub fn figure(experiment: &ExperimentResults) -> Option<Figure> {
    let timed = || experiment.groups.iter().filter(|group| group.is_of_one_hardware());
    let first = timed().next()?;
    let (shown, others): (Vec<&SeedGroup>, Vec<&SeedGroup>) =
        experiment.groups.iter().partition(|group| group.times_compare_with(first));
    let shown: Vec<&SeedGroup> = shown.into_iter().filter(|group| Series::of(group, false).is_some()).collect();
    if shown.len() < 2 {
        return None;
    }
    // A large sweep has no place for the curves of all its trials.
    let with_seeds = shown.len() <= MOST_ROWS;
    let series = |panel: Vec<&SeedGroup>| panel.into_iter().filter_map(|group| Series::of(group, with_seeds)).collect();
    let panels: Vec<Vec<Series>> = panels(experiment, &shown).into_iter().map(series).collect();
    let last = panels.iter().flatten().flat_map(|series| &series.ends).map(|end| end.0).fold(0.0, f64::max);
    let unit = match last {
        ..600.0 => ("s", 1.0),
        ..7200.0 => ("min", 60.0),
        _ => ("h", 3600.0),
    };
    let mut caption = "Curves are accuracy on the validation split, pale while a row searches (the supernet's) and dark while it \
                       retrains: thin ones of each seed, bold ones medians over seeds. Open marks are each seed's accuracy on \
                       the test split where its time ends, the filled one their mean, dark lines their medians. A row without a \
                       search took its design over, whose time belongs to the row that found it."
        .to_owned();
    if panels.len() > 1 {
        caption.push_str(" Rows that are compared share a panel.");
    }
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
    let [alone, among] = HEIGHT;
    let height = if panels.len() == 1 { alone } else { among * panels.len().div_ceil(2) as u32 };
    let title = "Accuracy over search and retraining";
    Some(Figure::new("budget", title, caption, (WIDTH, height), Content::Budget(Budget { panels, unit })))
}

/// The rows of each panel, the one that most are compared with in front.
fn panels<'a>(experiment: &'a ExperimentResults, shown: &[&'a SeedGroup]) -> Vec<Vec<&'a SeedGroup>> {
    let index = |row: &SeedGroup| shown.iter().position(|other| std::ptr::eq(*other, row));
    let comparisons = of_experiment(experiment);
    let pairs = comparisons.iter().flat_map(|comparisons| &comparisons.pairs);
    let pairs: Vec<[usize; 2]> = pairs.filter_map(|pair| Some([index(pair.a)?, index(pair.b)?])).collect();
    // Rows that a chain of comparisons connects.
    let mut families: Vec<Vec<usize>> = (0..shown.len()).map(|row| vec![row]).collect();
    for pair in &pairs {
        let [one, other] = pair.map(|row| families.iter().position(|family| family.contains(&row)).unwrap_or(row));
        if one != other {
            let joined = families.remove(one.max(other));
            families[one.min(other)].extend(joined);
        }
    }
    let (alone, families): (Vec<_>, Vec<_>) = families.into_iter().partition(|family| family.len() == 1);
    let mut panels: Vec<Vec<usize>> = Vec::new();
    for mut family in families {
        family.sort_unstable();
        let compared = |row: usize| pairs.iter().filter(|pair| pair.contains(&row)).count();
        let most = family.iter().map(|row| compared(*row)).max().unwrap_or(0);
        let at = family.iter().position(|row| compared(*row) == most).unwrap_or(0);
        let centre = family.remove(at);
        panels.extend(evenly(&family, MOST_IN_PANEL - 1).map(|rows| [&[centre], rows].concat()));
    }
    panels.extend(evenly(&alone.concat(), MOST_IN_PANEL).map(<[usize]>::to_vec));
    panels.into_iter().map(|panel| panel.into_iter().map(|row| shown[row]).collect()).collect()
}

/// The rows in the fewest parts of at most `most`, of nearly one length.
fn evenly(rows: &[usize], most: usize) -> impl Iterator<Item = &[usize]> {
    rows.chunks(rows.len().div_ceil(rows.len().div_ceil(most).max(1)).max(1))
}

impl Series {
    /// `None` where an older program recorded no times.
    fn of(group: &SeedGroup, with_seeds: bool) -> Option<Series> {
        let end = |trial: &FinishedTrial| {
            ((metric::DEVICE_TIME.value)(&trial.outcome), (metric::ACCURACY.value)(&trial.outcome))
        };
        let ends: Vec<Place> = group.trials.iter().map(end).collect();
        if ends.iter().any(|(seconds, accuracy)| !seconds.is_finite() || !accuracy.is_finite()) {
            return None;
        }
        let mean = (group.measured(&metric::DEVICE_TIME).0, group.measured(&metric::ACCURACY).0);
        let of = |value: fn(&Place) -> f64| median_of_several(&ends.iter().map(value).collect::<Vec<f64>>());
        let median = of(|end| end.0).zip(of(|end| end.1));
        let curves: Vec<Curve> = group.trials.iter().map(Curve::of).collect();
        let middle = Curve::middle(&curves);
        let seeds = if with_seeds && curves.len() > 1 { curves } else { Vec::new() };
        Some(Series { name: group.label.clone(), seeds, middle, ends, mean, median })
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.seeds.iter().chain([&self.middle]).flat_map(Curve::places).chain(&self.ends)
    }
}

impl Curve {
    fn of(trial: &FinishedTrial) -> Curve {
        let (mut search, mut retrain, mut spent) = (Vec::new(), Vec::new(), 0.0);
        for epoch in &trial.history {
            spent += epoch.device_seconds;
            let place = (spent, 100.0 * epoch.validation_accuracy);
            if place.0.is_finite() && place.1.is_finite() {
                if epoch.stage.is_search() { search.push(place) } else { retrain.push(place) }
            }
        }
        Curve { search, retrain }
    }

    /// The medians of time and accuracy over the curves, as far as all of them go.
    fn middle(curves: &[Curve]) -> Curve {
        let medians = |stage: fn(&Curve) -> &Vec<Place>| -> Vec<Place> {
            let epochs = curves.iter().map(|curve| stage(curve).len()).min().unwrap_or(0);
            let of = |epoch: usize, value: fn(&Place) -> f64| {
                median(&curves.iter().map(|curve| value(&stage(curve)[epoch])).collect::<Vec<f64>>())
            };
            (0..epochs).map(|epoch| (of(epoch, |place| place.0), of(epoch, |place| place.1))).collect()
        };
        Curve { search: medians(|curve| &curve.search), retrain: medians(|curve| &curve.retrain) }
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.search.iter().chain(&self.retrain)
    }
}

impl Budget {
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let columns = self.panels.len().min(2);
        let rows = self.panels.len().div_ceil(columns);
        for (index, (panel, place)) in self.panels.iter().zip(area.split_evenly((rows, columns))).enumerate() {
            // Axes have their names at the edge of the figure.
            let names = [index + columns >= self.panels.len(), index % columns == 0];
            self.draw_panel(panel, names, &place)?;
        }
        Ok(())
    }

    fn draw_panel<DB: DrawingBackend>(
        &self,
        panel: &[Series],
        [names_time, names_accuracy]: [bool; 2],
        area: &DrawingArea<DB, Shift>,
    ) -> Drawn<DB> {
        let (unit, seconds) = self.unit;
        let scaled = |place: &Place| (place.0 / seconds, place.1);
        let all = || self.panels.iter().flatten().flat_map(Series::places).map(&scaled);
        let right = 1.05 * all().map(|place| place.0).fold(0.0, f64::max);
        let (bottom, top) = limits(all().map(|place| place.1), 0.5);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..if right > 0.0 { right } else { 1.0 }, bottom..top)?;
        let [across, up] = [right, top - bottom].map(axis_decimals);
        let time = format!("Device time of search and retraining ({unit})");
        mesh(&mut chart)
            .x_desc(if names_time { time.as_str() } else { "" })
            .y_desc(if names_accuracy { "Accuracy (%)" } else { "" })
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|value| format!("{value:.across$}"))
            .y_label_formatter(&|value| format!("{value:.up$}"))
            .draw()?;
        for (index, series) in panel.iter().enumerate() {
            for curve in &series.seeds {
                let thin = |opacity: f64| colour(index).mix(opacity).stroke_width(1);
                chart.draw_series(LineSeries::new(curve.search.iter().map(scaled), thin(0.15)))?;
                chart.draw_series(LineSeries::new(curve.retrain.iter().map(scaled), thin(0.3)))?;
            }
        }
        for (index, series) in panel.iter().enumerate() {
            let bold = |opacity: f64, width| colour(index).mix(opacity).stroke_width(width);
            chart.draw_series(LineSeries::new(series.middle.search.iter().map(scaled), bold(0.5, 2)))?;
            chart.draw_series(LineSeries::new(series.middle.retrain.iter().map(scaled), bold(1.0, 2)))?;
        }
        let plot = chart.plotting_area();
        let origin = area.get_base_pixel();
        let pixel = |place: &Place| {
            let (x, y) = chart.backend_coord(&scaled(place));
            (x - origin.0, y - origin.1)
        };
        let (across, down) = plot.get_pixel_range();
        let mut labels =
            Labels::new((across.start - origin.0, down.start - origin.1, across.end - origin.0, down.end - origin.1));
        for (index, series) in panel.iter().enumerate() {
            // Where a row's time ends: its budget.
            let mean = scaled(&series.mean);
            plot.draw(&PathElement::new(vec![(mean.0, bottom), mean], colour(index).mix(0.4).stroke_width(1)))?;
            if series.ends.len() > 1 {
                for end in &series.ends {
                    mark(plot, scaled(end), index, 3, false)?;
                    labels.block(pixel(end), 4);
                }
            }
            labels.block(pixel(&series.mean), 9);
        }
        for (index, series) in panel.iter().enumerate() {
            mark(plot, scaled(&series.mean), index, 6, true)?;
            if let Some(median) = &series.median {
                median_line(plot, scaled(median), (12, 0), INK)?;
            }
        }
        for (index, series) in panel.iter().enumerate() {
            labels.place(area, pixel(&series.mean), 10, &shortened(&series.name, 34), text(12.0, colour(index)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_in_the_middle_ends_with_the_shortest() {
        let curve = |places: &[Place]| Curve { search: Vec::new(), retrain: places.to_vec() };
        let curves = [
            curve(&[(1.0, 10.0), (2.0, 30.0), (3.0, 50.0)]),
            curve(&[(1.5, 20.0), (4.0, 25.0)]),
            curve(&[(1.2, 90.0), (3.0, 35.0)]),
        ];
        let middle = Curve::middle(&curves);
        assert_eq!(middle.retrain, [(1.2, 20.0), (3.0, 30.0)]);
        assert!(middle.search.is_empty() && Curve::middle(&[]).retrain.is_empty());
    }

    #[test]
    fn rows_are_parted_into_few_parts_of_nearly_one_length() {
        let parts = |count: usize| {
            let rows: Vec<usize> = (0..count).collect();
            evenly(&rows, 5).map(<[usize]>::len).collect::<Vec<usize>>()
        };
        assert_eq!((parts(0), parts(5), parts(6), parts(12)), (vec![], vec![5], vec![3, 3], vec![4, 4, 4]));
    }
}
