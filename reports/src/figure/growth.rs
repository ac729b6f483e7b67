//! Time and memory of a step against its sizes, on logarithmic axes, with the exponents of the power laws that fit them.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{GREY, INK, PALE, colour, text};
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
    /// Exponents of time and memory: slopes of the least-squares lines through the logarithms.
    pub fn exponents(&self) -> (f64, f64) {
        let points = |value: fn(&(f64, f64, f64)) -> f64| -> Vec<(f64, f64)> {
            self.points.iter().map(|point| (point.0, value(point))).collect()
        };
        (power_law(&points(|point| point.1)).0, power_law(&points(|point| point.2)).0)
    }
}

/// Exponent and factor of y = factor · x^exponent by least squares of the logarithms.
fn power_law(points: &[(f64, f64)]) -> (f64, f64) {
    let logarithms: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logarithms.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logarithms.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let products: f64 = logarithms.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let squares: f64 = logarithms.iter().map(|point| (point.0 - x).powi(2)).sum();
    let exponent = products / squares;
    (exponent, (y - exponent * x).exp())
}

/// The panels, one column for each thing that grows.
pub struct Panels {
    all: Vec<Growth>,
}

const WIDTH: u32 = 1080;
const HEIGHT: u32 = 520;

/// The figure.
pub fn figure(all: Vec<Growth>, what: &str) -> Figure {
    let caption = "Above: seconds of a step; below: memory beyond that of the idle program. Both axes are logarithmic; the line is the \
                   power law of least squared error, whose exponent stands in the panel.";
    Figure::new("growth", what, caption.to_owned(), (WIDTH, HEIGHT), Content::Growth(Panels { all }))
}

impl Panels {
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let areas = area.split_evenly((2, self.all.len().max(1)));
        for (column, growth) in self.all.iter().enumerate() {
            let time: Vec<(f64, f64)> = growth.points.iter().map(|point| (point.0, point.1)).collect();
            let memory: Vec<(f64, f64)> = growth.points.iter().map(|point| (point.0, point.2 / 1e6)).collect();
            panel(&areas[column], &growth.name, "s", &time, 0)?;
            panel(&areas[self.all.len() + column], &growth.name, "MB", &memory, 1)?;
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
    let ends = |of: fn(&(f64, f64)) -> f64| {
        points
            .iter()
            .map(of)
            .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)))
    };
    let (left, right) = ends(|point| point.0);
    let (bottom, top) = ends(|point| point.1);
    let (exponent, factor) = power_law(points);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(format!("exponent {exponent:.2}"), text(14.0, INK))
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d((left / 1.2..right * 1.2).log_scale(), (bottom / 1.4..top * 1.4).log_scale())?;
    let short = |value: &f64| format!("{}", (value * 1000.0).round() / 1000.0);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(PALE)
        .axis_style(GREY)
        .label_style(text(12.0, INK))
        .axis_desc_style(text(13.0, INK))
        .x_desc(name)
        .y_desc(unit)
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .draw()?;
    let fitted = [left, right].map(|x| (x, factor * x.powf(exponent)));
    chart.draw_series(LineSeries::new(fitted, GREY.stroke_width(1)))?;
    chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, colour(series).filled())))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_is_found_again() {
        let points: Vec<(f64, f64)> = [1.0f64, 2.0, 5.0].iter().map(|x| (*x, 3.0 * x.powf(1.5))).collect();
        let (exponent, factor) = power_law(&points);
        assert!((exponent - 1.5).abs() < 1e-12 && (factor - 3.0).abs() < 1e-12);
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
