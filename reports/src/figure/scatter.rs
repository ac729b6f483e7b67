//! Test accuracy against a cost on a logarithmic axis, with published systems as points.
//!
//! The size is the stored size. Print has none, so that beside published points it is the model
//! size as print counts it. Where no row has the settings of print, its points are left out: a
//! network of a hundredth of the size would have a corner of the figure.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{
    GREY, INK, Labels, PALE, anchored, colour, key_height, key_places, limits, mark, median_line, shortened, text,
};
use super::{Content, Drawn, Figure};
use crate::fronts::{FEWEST_ROWS, dominating};
use crate::metric::{self, Metric};
use crate::published::{Count, Publication, Quantity, Reproduction};
use crate::statistics::median_of_several;
use crate::trials::{ExperimentResults, SeedGroup};

/// A place in the figure: cost, accuracy.
type Place = (f64, f64);

pub struct Scatter {
    cost: Metric,
    accuracy: Metric,
    series: Vec<Series>,
    /// What has a cost of 0.
    hidden: Vec<String>,
    printed: Vec<Printed>,
}

/// A row that was measured.
struct Series {
    name: String,
    mean: Place,
    trials: Vec<Place>,
    median: Option<Place>,
}

/// A row of a published table.
struct Printed {
    name: String,
    place: Place,
    /// It is a row that this project repeats.
    ours: bool,
}

/// With more rows than this their names stand in a key below the figure.
const MOST_LABELS: usize = 6;
const WIDTH: u32 = 860;
const HEIGHT: u32 = 520;

/// Accuracy against size and against Bit-SynOps.
pub fn figures(experiment: &ExperimentResults, published: Option<(&Publication, &Reproduction)>) -> Vec<Figure> {
    let accuracy = Quantity::Accuracy;
    let published = published.filter(|(publication, _)| publication.columns.contains(&accuracy));
    let departing = |part: &Reproduction| {
        let departs = |group: &&SeedGroup| group.not_comparable(&part.name).is_some();
        experiment.groups.iter().filter(departs).count()
    };
    let left_out = published.is_some_and(|(_, part)| departing(part) == experiment.groups.len());
    let shown = published.filter(|_| !left_out);
    let departs = shown.is_some_and(|(_, part)| departing(part) > 0);
    // Older records have no stored size.
    let is_stored = experiment.groups.iter().all(|group| group.measured(&metric::STORED_SIZE).0.is_finite());
    let size = if is_stored { metric::STORED_SIZE } else { metric::MODEL_SIZE };
    let pairs =
        [("accuracy-size", Quantity::ModelSize, size), ("accuracy-synops", Quantity::BitSynops, metric::BIT_SYN_OPS)];
    pairs
        .into_iter()
        .map(|(file, quantity, own)| {
            let cost = if shown.is_some() { quantity.metric(Count::Snn) } else { own };
            let title = format!("Accuracy against {}", metric::within_sentence(cost.title));
            let scatter = Scatter::new(experiment, shown, quantity, cost);
            let mut caption = format!(
                "Up and to the left is better. {} is on a logarithmic axis. With several seeds, small open marks are trials, \
                 the large one is their mean, and a line across stands at their medians.",
                cost.title
            );
            if !scatter.printed.is_empty() {
                caption.push_str(" Grey circles: published systems; crosses: the paper's own rows; filled: measured here.");
            }
            if shown.is_some() && quantity == Quantity::ModelSize {
                caption.push_str(" Size is counted as in print: it leaves out how a file says which weights are kept.");
            }
            if left_out {
                caption.push_str(
                    " Published points are left out: no row has the paper's data and settings, so that none is comparable.",
                );
            }
            if departs && !scatter.printed.is_empty() {
                caption.push_str(" † Measured with other settings than the paper's: not comparable with published numbers.");
            }
            if !scatter.hidden.is_empty() {
                let rows = scatter.hidden.join(", ");
                caption.push_str(&format!(" Not drawn, because a logarithmic axis has no place for 0: {rows}."));
            }
            if let Some(mixed) = experiment.mixed_note() {
                caption.push_str(&format!(" {mixed}"));
            }
            caption.push_str(&dominated(experiment, &cost));
            if let Some(keys) = experiment.swept() {
                caption.push_str(&format!(" In brackets: {keys}."));
            }
            let size = (WIDTH, HEIGHT + key_height(&scatter.key_places()));
            Figure::new(file, &title, caption, size, Content::Scatter(scatter))
        })
        .collect()
}

/// The rows that another row dominates, where there are enough rows for it to be told; few of them
/// by name.
fn dominated(experiment: &ExperimentResults, cost: &Metric) -> String {
    const SHOWN: usize = 6;
    let beaten = |group: &&SeedGroup| !dominating(experiment, group, cost).is_empty();
    let names: Vec<&str> = experiment.groups.iter().filter(beaten).map(|group| group.label.as_str()).collect();
    match names.len() {
        _ if experiment.groups.len() < FEWEST_ROWS => String::new(),
        0 => " No row is dominated by another.".to_owned(),
        1..=SHOWN => format!(" Dominated by another row, which is worse in neither: {}.", names.join(", ")),
        count => format!(" {count} rows are dominated by another, which is worse in neither."),
    }
}

/// Ticks of a logarithmic axis: powers of ten, and their multiples by 2 and 5 where there are few.
fn ticks(left: f64, right: f64) -> Vec<f64> {
    let decades = (right / left).log10();
    let powers = left.log10().floor() as i32..=right.log10().ceil() as i32;
    let within = |value: &f64| (left..=right).contains(value);
    let multiples: &[f64] = if decades < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    powers.flat_map(|power| multiples.iter().map(move |multiple| multiple * 10f64.powi(power))).filter(within).collect()
}

impl Scatter {
    fn new(
        experiment: &ExperimentResults,
        published: Option<(&Publication, &Reproduction)>,
        quantity: Quantity,
        cost: Metric,
    ) -> Scatter {
        let accuracy = metric::ACCURACY;
        let departs = |group: &SeedGroup| published.is_some_and(|(_, part)| group.not_comparable(&part.name).is_some());
        let series = experiment.groups.iter().map(|group| Series {
            name: [group.label.as_str(), if departs(group) { " †" } else { "" }, group.mixed_mark()].concat(),
            mean: (group.measured(&cost).0, group.measured(&accuracy).0),
            trials: group
                .trials
                .iter()
                .map(|trial| ((cost.value)(&trial.outcome), (accuracy.value)(&trial.outcome)))
                .collect(),
            median: None,
        });
        // A logarithmic axis has no place for a network that costs nothing.
        let (mut drawn, mut hidden) = (Vec::new(), Vec::new());
        for mut series in series {
            let count = series.trials.len();
            series.trials.retain(|(cost, _)| *cost > 0.0);
            match count - series.trials.len() {
                0 => drawn.push(series),
                lost if lost == count => hidden.push(series.name),
                lost => {
                    hidden.push(format!("{lost} of the {count} trials of {}", series.name));
                    drawn.push(series);
                }
            }
        }
        for series in &mut drawn {
            let of =
                |value: fn(&Place) -> f64| median_of_several(&series.trials.iter().map(value).collect::<Vec<f64>>());
            series.median = of(|trial| trial.0).zip(of(|trial| trial.1));
        }
        let mut printed = Vec::new();
        if let Some((publication, part)) = published {
            for row in &publication.rows {
                let value = |quantity| row.values(part).and_then(|values| values.get(&quantity)?.value);
                if let (Some(cost), Some(accuracy)) = (value(quantity), value(Quantity::Accuracy)) {
                    let ours = row.variant.is_some() && row.cite.is_none();
                    printed.push(Printed { name: row.name.clone(), place: (cost, accuracy), ours });
                }
            }
        }
        Scatter { cost, accuracy, series: drawn, hidden, printed }
    }

    fn key(&self) -> Vec<String> {
        let named = if self.series.len() > MOST_LABELS { self.series.as_slice() } else { &[] };
        named.iter().map(|series| shortened(&series.name, 48)).collect()
    }

    fn key_places(&self) -> Vec<(u32, u32)> {
        key_places(&self.key(), 18, WIDTH - 60)
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (area, key) = area.split_vertically(HEIGHT);
        let points = || {
            let measured = self.series.iter().flat_map(|series| series.trials.iter().chain([&series.mean]));
            measured.chain(self.printed.iter().map(|printed| &printed.place))
        };
        let costs = || points().map(|point| point.0).filter(|cost| *cost > 0.0);
        let (low, high) = (costs().fold(f64::INFINITY, f64::min), costs().fold(0.0, f64::max));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 1.0) };
        // Room on the right for the labels, where there are any.
        let room = match (self.printed.is_empty(), self.key().is_empty()) {
            (true, true) => 4.0,
            (true, false) => 1.6,
            (false, _) => 2.5,
        };
        let (left, right) = (low / 1.6, high * room);
        let (bottom, top) = limits(points().map(|point| point.1), 2.0);
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .margin_right(20)
            .x_label_area_size(52)
            .y_label_area_size(62)
            .build_cartesian_2d((left..right).log_scale().with_key_points(ticks(left, right)), bottom.max(0.0)..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(PALE)
            .axis_style(GREY)
            .label_style(text(13.0, INK))
            .axis_desc_style(text(14.0, INK))
            .x_desc(self.cost.heading())
            .y_desc(self.accuracy.heading())
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|value| format!("{value:.*}", (-value.log10().floor()).clamp(0.0, 9.0) as usize))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .draw()?;
        let plot = chart.plotting_area();
        let origin = area.get_base_pixel();
        let pixel = |place: &Place| {
            let (x, y) = chart.backend_coord(place);
            (x - origin.0, y - origin.1)
        };
        let (across, down) = plot.get_pixel_range();
        let room = (across.start - origin.0, down.start - origin.1, across.end - origin.0, down.end - origin.1);
        let mut labels = Labels::new(room);
        for printed in &self.printed {
            labels.block(pixel(&printed.place), 5);
        }
        for series in &self.series {
            labels.block(pixel(&series.mean), 8);
        }
        for printed in &self.printed {
            let at = EmptyElement::at(printed.place);
            if printed.ours {
                plot.draw(&(at + Cross::new((0, 0), 5, INK.stroke_width(2))))?;
            } else {
                plot.draw(&(at + Circle::new((0, 0), 4, GREY.stroke_width(1))))?;
            }
        }
        for (index, series) in self.series.iter().enumerate() {
            if series.trials.len() > 1 {
                for &trial in &series.trials {
                    mark(plot, trial, index, 4, false)?;
                }
            }
            mark(plot, series.mean, index, 7, true)?;
            if let Some(median) = series.median {
                median_line(plot, median, (12, 0), colour(index))?;
            }
        }
        // The most important labels are placed first.
        if self.series.len() <= MOST_LABELS {
            for (index, series) in self.series.iter().enumerate() {
                let numbers = format!(
                    "{} %, {} {}",
                    self.accuracy.format(series.mean.1),
                    self.cost.format_finely(series.mean.0),
                    self.cost.unit.split(' ').next().unwrap_or_default()
                );
                let label = format!("{}  {numbers}", shortened(&series.name, 34));
                labels.place(&area, pixel(&series.mean), 9, &label, text(13.0, colour(index)))?;
            }
        }
        for printed in self.printed.iter().filter(|printed| printed.ours) {
            labels.place(&area, pixel(&printed.place), 8, &printed.name, text(12.0, INK))?;
        }
        for printed in self.printed.iter().filter(|printed| !printed.ours) {
            labels.place(&area, pixel(&printed.place), 6, &printed.name, text(10.0, GREY))?;
        }
        for ((index, name), (line, x)) in self.key().into_iter().enumerate().zip(self.key_places()) {
            let (x, y) = (30 + x as i32, 8 + 20 * line as i32);
            mark(&key, (x, y), index, 5, true)?;
            key.draw(&Text::new(name, (x + 12, y), anchored(12.0, INK, HPos::Left, VPos::Center)))?;
        }
        Ok(())
    }
}
