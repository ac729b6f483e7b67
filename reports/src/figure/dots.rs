//! Means with their spread over categories: the points of a sweep, the scales of a design.

use std::collections::BTreeSet;

use litesnn_framework::record::Point;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::style::{HeadKey, INK, PALE, anchored, axis_decimals, colour, limits, mark, median_line, mesh, shortened};
use super::{Content, Drawn, Figure};
use crate::metric::{self, Metric};
use crate::published::{Publication, Quantity, Reproduction, Schemes};
use crate::statistics::median_of_several;
use crate::trials::{ExperimentResults, SeedGroup};

pub struct Dots {
    panels: Vec<Panel>,
    /// Below the panels, left of the categories' labels.
    categories_are: String,
    /// Each in lines.
    categories: Vec<Vec<String>>,
    key: Vec<String>,
}

struct Panel {
    vertical: String,
    from_zero: bool,
    dots: Vec<Dot>,
}

struct Dot {
    category: usize,
    series: usize,
    mean: f64,
    deviation: Option<f64>,
    trials: Vec<f64>,
    /// It is printed in a paper.
    published: bool,
}

const WIDTH: u32 = 860;
const PANEL: u32 = 210;
const LEFT: u32 = 74;

/// Accuracy, model size and Bit-SynOps at each point of a sweep, or of each variant of an
/// experiment that is one.
pub fn sweep(experiment: &ExperimentResults, is_sweep: bool) -> Option<Figure> {
    let swept = experiment.groups.iter().any(|group| !group.first().point.is_empty());
    if experiment.groups.len() < 2 || !(swept || is_sweep) {
        return None;
    }
    let groups: Vec<&SeedGroup> =
        experiment.groups.iter().filter(|group| !swept || !group.first().point.is_empty()).collect();
    // A category: a point of the sweep, or, without one, the name of a row.
    let setting = |group: &SeedGroup| match swept {
        true => (group.first().point.clone(), String::new()),
        false => (Point::default(), group.name.clone()),
    };
    let kind = |group: &SeedGroup| {
        let (variant, profile) = (&group.first().variant, &group.first().profile);
        if profile.is_empty() { variant.clone() } else { format!("{variant}, profile {profile}") }
    };
    let settings: BTreeSet<(Point, String)> = groups.iter().map(|group| setting(group)).collect();
    let mut settings: Vec<(Point, String)> = settings.into_iter().collect();
    let mut kinds: Vec<String> = Vec::new();
    for group in &groups {
        if swept && !kinds.contains(&kind(group)) {
            kinds.push(kind(group));
        }
    }
    if !swept {
        // In the order of the rows.
        settings = groups.iter().map(|group| setting(group)).collect();
        kinds = vec![String::new()];
    }
    let panel = |metric: &Metric, from_zero| Panel {
        vertical: metric.heading(),
        from_zero,
        dots: groups
            .iter()
            .map(|group| {
                let category = settings.iter().position(|other| *other == setting(group)).unwrap_or(0);
                Dot::measured(
                    group,
                    metric,
                    category,
                    kinds.iter().position(|other| *other == kind(group)).unwrap_or(0),
                )
            })
            .collect(),
    };
    let (categories_are, categories) = if swept {
        let keys = settings[0].0.values().map(|(key, _)| key.rsplit('.').next().unwrap_or_default().to_owned());
        let values = |point: &Point| point.short_words().map(|(_, value)| shortened(&value, 16)).collect();
        (keys.collect::<Vec<_>>().join(" / "), settings.iter().map(|(point, _)| values(point)).collect())
    } else {
        (String::new(), settings.iter().map(|(_, name)| wrapped(name, 16)).collect())
    };
    let dots = Dots {
        panels: vec![
            panel(&metric::ACCURACY, false),
            panel(&metric::MODEL_SIZE, true),
            panel(&metric::BIT_SYN_OPS, true),
        ],
        categories_are,
        categories,
        key: if kinds.len() > 1 { kinds } else { Vec::new() },
    };
    let caption = "Large marks are means over seeds, bars sample standard deviations, small open marks single trials, dark \
                   lines their medians.";
    Some(dots.figure("sweep", "Accuracy and cost over the sweep", caption.into()))
}

/// Accuracy and cost of designing by scale, a mark for each scheme of optimization.
pub fn schemes(experiment: &ExperimentResults, publication: &Publication, part: &Reproduction) -> Option<Figure> {
    let Schemes { scales, scheme } = publication.schemes.as_ref()?;
    let run: Vec<_> = scheme
        .iter()
        .filter(|scheme| scheme.variants.iter().any(|variant| experiment.of_variant(variant).next().is_some()))
        .collect();
    // Beside results at other settings, published ones would only squeeze the axis.
    let comparable = experiment.groups.iter().any(|group| group.not_comparable(&part.name).is_none());
    let printed = |variant: &String, quantity: Quantity| {
        let row = publication.rows.iter().find(|row| row.variant.as_ref() == Some(variant))?;
        row.values(part)?.get(&quantity)?.value
    };
    let panel = |metric: &Metric, quantity: Option<Quantity>, from_zero, shown: fn(&SeedGroup) -> bool| {
        let mut dots = Vec::new();
        for (series, scheme) in run.iter().enumerate() {
            for (category, variant) in scheme.variants.iter().enumerate() {
                for group in experiment.of_variant(variant).filter(|group| shown(group)) {
                    dots.push(Dot::measured(group, metric, category, series));
                }
                if let Some(mean) = quantity.filter(|_| comparable).and_then(|quantity| printed(variant, quantity)) {
                    dots.push(Dot { category, series, mean, deviation: None, trials: Vec::new(), published: true });
                }
            }
        }
        Panel { vertical: metric.heading(), from_zero, dots }
    };
    if run.is_empty() {
        return None;
    }
    let hours = experiment.trials().map(|trial| (metric::DEVICE_HOURS.value)(&trial.outcome)).fold(0.0, f64::max);
    let cost = if hours < 1.0 { metric::COST_IN_SECONDS } else { metric::COST_IN_HOURS };
    let searched_here: fn(&SeedGroup) -> bool = |group| group.searched() && group.is_of_one_hardware();
    let dots = Dots {
        panels: vec![
            panel(&metric::ACCURACY, Some(Quantity::Accuracy), false, |_| true),
            panel(&cost.whole, None, true, searched_here),
            panel(&cost.search, None, true, searched_here),
            panel(&cost.retrain, None, true, SeedGroup::is_of_one_hardware),
        ],
        categories_are: "scale".into(),
        categories: scales.iter().map(|scale| vec![scale.clone()]).collect(),
        key: run.iter().map(|scheme| scheme.name.clone()).collect(),
    };
    let mut caption = "Filled marks are means over seeds measured here, bars sample standard deviations, small open marks single \
                       trials, dark lines their medians. Cost is time of the device. Search and retraining together compare schemes, because a sequential search \
                       trains the final network itself. What a design that was taken over cost belongs to the row that found \
                       it, so its row has no total."
        .to_owned();
    if comparable {
        caption.push_str(&format!(" Large open marks are published ({}).", publication.source));
    }
    if experiment.groups.iter().any(|group| group.not_comparable(&part.name).is_some()) {
        caption.push_str(" Measured with other settings than the paper's: not comparable with published numbers.");
    }
    if let Some(mixed) = experiment.mixed_note() {
        caption.push_str(&format!(" {mixed}"));
    }
    Some(dots.figure("joint-sequential", "Joint against sequential", caption))
}

/// Words of a name in lines of at most `characters`.
fn wrapped(name: &str, characters: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in name.split_inclusive(['-', ' ', '_']) {
        let last = lines.last_mut().expect("there is one line");
        if last.is_empty() || last.chars().count() + word.trim_end().chars().count() <= characters {
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.truncate(3);
    lines.iter().map(|line| shortened(line.trim_end(), characters)).collect()
}

impl Dot {
    fn measured(group: &SeedGroup, metric: &Metric, category: usize, series: usize) -> Dot {
        let (mean, deviation) = group.measured(metric);
        let trials = group.trials.iter().map(|trial| (metric.value)(&trial.outcome)).collect();
        Dot { category, series, mean, deviation, trials, published: false }
    }
}

impl Dots {
    fn lines(&self) -> u32 {
        self.categories.iter().map(Vec::len).max().unwrap_or(1) as u32
    }

    fn labels(&self) -> u32 {
        30 + 15 * self.lines()
    }

    fn head_key(&self) -> HeadKey {
        HeadKey::new(self.key.iter(), LEFT + 8, WIDTH - LEFT - 20)
    }

    fn figure(self, name: &str, title: &str, caption: String) -> Figure {
        let height = self.head_key().height() + PANEL * self.panels.len() as u32 + self.labels();
        Figure::new(name, title, caption, (WIDTH, height), Content::Dots(self))
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        self.head_key().draw(area)?;
        let count = self.categories.len().max(1) as f64;
        let series = self.panels.iter().flat_map(|panel| &panel.dots).map(|dot| dot.series + 1).max().unwrap_or(1);
        let mut top = self.head_key().height();
        let width = f64::from(WIDTH - LEFT - 20) / count;
        for panel in &self.panels {
            let below = area.clone().shrink((0, top), (WIDTH, PANEL));
            panel.draw(&below, count, series)?;
            top += PANEL;
        }
        for (index, lines) in self.categories.iter().enumerate() {
            let x = f64::from(LEFT) + width * (index as f64 + 0.5);
            for (number, line) in lines.iter().enumerate() {
                let style = anchored(12.0, INK, HPos::Center, VPos::Top);
                area.draw(&Text::new(line.clone(), (x as i32, top as i32 + 2 + 15 * number as i32), style))?;
            }
        }
        let middle = LEFT as i32 + (WIDTH - LEFT - 20) as i32 / 2;
        let y = top as i32 + 6 + 15 * self.lines() as i32;
        area.draw(&Text::new(self.categories_are.clone(), (middle, y), anchored(13.0, INK, HPos::Center, VPos::Top)))
    }
}

impl Panel {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, categories: f64, series: usize) -> Drawn<DB> {
        let ends = |dot: &Dot| {
            let spread = dot.deviation.filter(|deviation| deviation.is_finite()).unwrap_or(0.0);
            [dot.mean - spread, dot.mean + spread].into_iter().chain(dot.trials.clone()).collect::<Vec<_>>()
        };
        let least = if self.from_zero { 1e-9 } else { 0.5 };
        let (bottom, top) = limits(self.dots.iter().flat_map(ends), least);
        let (bottom, top) = match self.from_zero {
            // Where all is 0, an axis to 1 shows it.
            true => (0.0, if top > 2.0 * least { 1.08 * top } else { 1.0 }),
            false => (bottom, top),
        };
        let mut chart = ChartBuilder::on(area)
            .margin_top(12)
            .margin_right(20)
            .margin_bottom(8)
            .margin_left(12)
            .y_label_area_size(LEFT - 12)
            .build_cartesian_2d(0.0..categories, bottom..top)?;
        let decimals = axis_decimals(top - bottom);
        mesh(&mut chart)
            .disable_x_mesh()
            .y_desc(&self.vertical)
            .y_labels(5)
            .y_label_formatter(&|value| format!("{value:.decimals$}"))
            .draw()?;
        let plot = chart.plotting_area();
        for edge in 0..=categories as usize {
            plot.draw(&PathElement::new(vec![(edge as f64, bottom), (edge as f64, top)], PALE))?;
        }
        for dot in self.dots.iter().filter(|dot| dot.mean.is_finite()) {
            // Side by side within the category.
            let step = 0.7 / series as f64;
            let x = dot.category as f64 + 0.5 + step * (dot.series as f64 - (series as f64 - 1.0) / 2.0);
            if let Some(deviation) = dot.deviation.filter(|deviation| deviation.is_finite()) {
                let ends = vec![(x, dot.mean - deviation), (x, dot.mean + deviation)];
                plot.draw(&PathElement::new(ends.clone(), colour(dot.series).stroke_width(2)))?;
                for end in ends {
                    let cap = PathElement::new(vec![(-5, 0), (5, 0)], colour(dot.series).stroke_width(2));
                    plot.draw(&(EmptyElement::at(end) + cap))?;
                }
            }
            if dot.trials.len() > 1 {
                for trial in &dot.trials {
                    let at = EmptyElement::at((x, *trial));
                    plot.draw(&(at + Circle::new((11, 0), 3, colour(dot.series).stroke_width(1))))?;
                }
            }
            mark(plot, (x, dot.mean), dot.series, 6, !dot.published)?;
            if let Some(median) = median_of_several(&dot.trials) {
                median_line(plot, (x, median), (12, 0), INK)?;
            }
        }
        Ok(())
    }
}
