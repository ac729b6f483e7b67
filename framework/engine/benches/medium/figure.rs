//! The figure of growth: above, the time of each set of instructions, and below, the memory.

use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

/// What is measured at growing sizes.
pub struct Panel<'a> {
    /// What grows.
    pub name: &'a str,
    pub sizes: Vec<f64>,
    /// Of each size and set of instructions, in ms.
    pub times: Vec<Vec<f64>>,
    /// Of each size.
    pub megabytes: Vec<f64>,
}

type Area<'a, C> = DrawingArea<SVGBackend<'a>, C>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

// Font, colours and marks are those of the reports' figures.
const FONT: &str = "DejaVu Sans";
const FONT_FILE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../reports/fonts/DejaVuSans.ttf"));
const INK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(120, 120, 120);
const PALE: RGBColor = RGBColor(228, 228, 228);
/// Of the instructions, and last of memory.
const COLOURS: [RGBColor; 4] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), INK];
const MEMORY: usize = 3;

fn text(size: f64) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// The SVG.
pub fn draw(panels: &[Panel], instructions: &[&str]) -> String {
    register_font(FONT, FontStyle::Normal, FONT_FILE).ok().expect("the font of the reports is sound");
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (1080, 560)).into_drawing_area();
        all(&area, panels, instructions).expect("a string takes every figure");
    }
    // Where the font is not installed, one of nearly the same widths is taken.
    svg.replace(&format!("\"{FONT}\""), &format!("\"{FONT}, Verdana, sans-serif\""))
}

fn all<'a>(area: &Area<'a, Shift>, panels: &[Panel], instructions: &[&str]) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let (head, below) = area.split_vertically(34);
    for (series, name) in instructions.iter().enumerate() {
        let (x, y) = (76 + 110 * series as i32, 18);
        mark(&head, (x, y), series)?;
        let beside = text(13.0).pos(Pos::new(HPos::Left, VPos::Center));
        head.draw(&Text::new(*name, (x + 12, y), beside))?;
    }
    let cells = below.split_evenly((2, panels.len()));
    let (above, below) = cells.split_at(panels.len());
    for ((above, below), panel) in above.iter().zip(below).zip(panels) {
        let of = |series: usize| panel.times.iter().map(|times| times[series]).collect();
        let times: Vec<(usize, Vec<f64>)> = (0..instructions.len()).map(|series| (series, of(series))).collect();
        chart(above, panel, "time (ms)", &times)?;
        chart(below, panel, "memory (MB)", &[(MEMORY, panel.megabytes.clone())])?;
    }
    Ok(())
}

/// Lines through the numbers of each series, from zero on.
fn chart<'a>(area: &Area<'a, Shift>, panel: &Panel, unit: &str, all: &[(usize, Vec<f64>)]) -> Drawn<'a> {
    let most = |numbers: &[f64]| 1.08 * numbers.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let right = most(&panel.sizes);
    let top = all.iter().map(|(_, numbers)| most(numbers)).fold(0.0, f64::max);
    let decimals = usize::from(right < 2.0);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(PALE)
        .axis_style(GREY)
        .label_style(text(12.0))
        .axis_desc_style(text(13.0))
        .x_desc(panel.name)
        .y_desc(unit)
        .x_labels(5)
        .y_labels(5)
        .x_label_formatter(&|size| format!("{size:.decimals$}"))
        .y_label_formatter(&|number| format!("{number:.0}"))
        .draw()?;
    for (series, numbers) in all {
        let points: Vec<(f64, f64)> = panel.sizes.iter().copied().zip(numbers.iter().copied()).collect();
        chart.draw_series(LineSeries::new(points.clone(), COLOURS[*series].stroke_width(2)))?;
        for point in points {
            mark(chart.plotting_area(), point, *series)?;
        }
    }
    Ok(())
}

/// The mark of a series at a point: a disc, a triangle, a square.
fn mark<'a, C: CoordTranslate>(area: &Area<'a, C>, point: C::From, series: usize) -> Drawn<'a>
where
    C::From: Clone,
{
    let (at, style) = (EmptyElement::at(point), COLOURS[series].filled());
    match series {
        1 => area.draw(&(at + Polygon::new(vec![(0, -6), (6, 4), (-6, 4)], style))),
        2 => area.draw(&(at + Rectangle::new([(-4, -4), (4, 4)], style))),
        _ => area.draw(&(at + Circle::new((0, 0), 4, style))),
    }
}
