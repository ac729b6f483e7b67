//! Time and memory of a step against its sizes, with a constant and a power that fit them.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{GREY, INK, axis_decimals, colour, mesh, text};
use super::{Content, Drawn, Figure};

/// What a step costs at growing sizes.
#[derive(Debug, Clone)]
pub struct Growth {
    /// What grows: `timesteps`.
    pub name: String,
    /// Size, seconds of a step, bytes.
    pub points: Vec<(f64, f64, f64)>,
}

impl Growth {
    /// Exponents of time and memory.
    pub fn exponents(&self) -> (f64, f64) {
        (Fit::of(&self.times()).exponent, Fit::of(&self.megabytes()).exponent)
    }

    fn times(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|point| (point.0, point.1)).collect()
    }

    fn megabytes(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|point| (point.0, point.2 / 1e6)).collect()
    }
}

/// y = constant + factor · x^exponent with constant >= 0, by the least sum of squared relative
/// errors; exponents in hundredths.
#[derive(Debug, Clone, Copy)]
struct Fit {
    constant: f64,
    factor: f64,
    exponent: f64,
}

impl Fit {
    fn of(points: &[(f64, f64)]) -> Fit {
        let fits = (10..=400).flat_map(|hundredths| {
            let exponent = f64::from(hundredths) / 100.0;
            // Relative: both sides are divided by y. Sums of (1/y)², x^p/y², (x^p/y)², 1/y, x^p/y.
            let mut sums = [0.0; 5];
            for (x, y) in points {
                let (one, power) = (1.0 / y, x.powf(exponent) / y);
                let terms = [one * one, one * power, power * power, one, power];
                sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
            let [aa, ab, bb, a, b] = sums;
            let determinant = aa * bb - ab * ab;
            let constant = (a * bb - b * ab) / determinant;
            let without = Fit { constant: 0.0, factor: b / bb, exponent };
            let with = Fit { constant, factor: (b * aa - a * ab) / determinant, exponent };
            let whole = constant.is_finite() && constant >= 0.0;
            [Some(without), whole.then_some(with)].into_iter().flatten()
        });
        let error = |fit: &Fit| points.iter().map(|(x, y)| (fit.at(*x) / y - 1.0).powi(2)).sum::<f64>();
        fits.min_by(|a, b| error(a).total_cmp(&error(b))).expect("there are exponents to try")
    }

    fn at(self, x: f64) -> f64 {
        self.constant + self.factor * x.powf(self.exponent)
    }
}

/// The panels, one column for each thing that grows.
pub struct Panels {
    all: Vec<Growth>,
}

const WIDTH: u32 = 1080;
/// Of a panel at least.
const PANEL: u32 = 270;
const HEIGHT: u32 = 520;

/// The figure.
pub fn figure(all: Vec<Growth>, what: &str) -> Figure {
    let caption = "Above: seconds of a step; below: memory beyond that of the idle program. The line is a constant and a power of the size, \
                   by least squares of the relative errors; the exponent stands in the panel.";
    let width = WIDTH.max(PANEL * all.len() as u32);
    Figure::new("growth", what, caption.to_owned(), (width, HEIGHT), Content::Growth(Panels { all }))
}

impl Panels {
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let areas = area.split_evenly((2, self.all.len().max(1)));
        for (column, growth) in self.all.iter().enumerate() {
            panel(&areas[column], &growth.name, "Time (s)", &growth.times(), 0)?;
            panel(&areas[self.all.len() + column], &growth.name, "Memory (MB)", &growth.megabytes(), 1)?;
        }
        Ok(())
    }
}

fn panel<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    name: &str,
    unit: &str,
    points: &[(f64, f64)],
    series: usize,
) -> Drawn<DB> {
    let most = |of: fn(&(f64, f64)) -> f64| 1.08 * points.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let (right, top) = (most(|point| point.0), most(|point| point.1));
    let fit = Fit::of(points);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(format!("exponent {:.2}", fit.exponent), text(14.0, INK))
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    let decimals = axis_decimals(top);
    mesh(&mut chart)
        .x_desc(name)
        .y_desc(unit)
        .x_labels(5)
        .y_labels(5)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.decimals$}"))
        .draw()?;
    let curve = (0..=60).map(|step| right * f64::from(step) / 60.0).map(|x| (x, fit.at(x)));
    chart.draw_series(LineSeries::new(curve, GREY.stroke_width(1)))?;
    chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, colour(series).filled())))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_and_a_power_are_found_again() {
        for (constant, exponent) in [(0.0, 1.5), (2.0, 1.0), (7.0, 2.0)] {
            let points: Vec<(f64, f64)> =
                [1.0f64, 2.0, 3.0, 5.0].iter().map(|x| (*x, constant + 3.0 * x.powf(exponent))).collect();
            let fit = Fit::of(&points);
            assert!((fit.exponent - exponent).abs() < 0.005 && (fit.constant - constant).abs() < 1e-6, "{fit:?}");
        }
    }

    #[test]
    fn every_panel_names_its_exponent() {
        let growth =
            Growth { name: "timesteps".into(), points: [1.0, 2.0, 4.0].map(|x| (x, 0.1 * x, 1e8 * x)).to_vec() };
        assert_eq!(growth.exponents(), (1.0, 1.0));
        let svg = figure(vec![growth], "A step").svg().unwrap();
        assert_eq!(svg.matches("exponent 1.00").count(), 2);
    }
}
