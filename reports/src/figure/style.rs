//! Colours, type and marks that all figures share. Colours are Okabe and Ito's, which colour-blind
//! readers tell apart; marks and line styles say the same again.

use std::sync::Once;

use plotters::chart::MeshStyle;
use plotters::coord::types::RangedCoordf64;
use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;
use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Drawn;

/// The font, registered from the project's own file.
pub const FONT: &str = "DejaVu Sans";
/// Makes the font known to plotters.
pub fn register_font() {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        let bytes = include_bytes!("../../fonts/DejaVuSans.ttf");
        // It can only fail for a damaged file, and this one is part of the program.
        let _ = plotters::style::register_font(FONT, FontStyle::Normal, bytes);
    });
}

/// Text of axes and labels.
pub const INK: RGBColor = RGBColor(40, 40, 40);
/// Secondary text and lines.
pub const GREY: RGBColor = RGBColor(120, 120, 120);
/// Grid lines.
pub const PALE: RGBColor = RGBColor(228, 228, 228);

/// Colour of the series with that index.
pub fn colour(index: usize) -> RGBColor {
    const COLOURS: [RGBColor; 7] = [
        RGBColor(0, 114, 178),
        RGBColor(213, 94, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(230, 159, 0),
        RGBColor(86, 180, 233),
        RGBColor(90, 90, 90),
    ];
    COLOURS[index % COLOURS.len()]
}

/// What the colour of the series with that index is called.
pub fn colour_name(index: usize) -> &'static str {
    const NAMES: [&str; 7] = ["blue", "orange", "green", "pink", "yellow", "light blue", "grey"];
    NAMES[index % NAMES.len()]
}

/// Text of a size in a colour.
pub fn text(size: f64, colour: RGBColor) -> TextStyle<'static> {
    (FONT, size).into_font().color(&colour)
}

/// A chart of two axes of numbers.
pub type Chart<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// The mesh of a chart: pale lines at the labels alone, axes and letters as in every figure.
pub fn mesh<'a, 'b, DB: DrawingBackend>(
    chart: &'b mut Chart<'a, DB>,
) -> MeshStyle<'a, 'b, RangedCoordf64, RangedCoordf64, DB> {
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(PALE)
        .axis_style(GREY)
        .label_style(text(12.0, INK))
        .axis_desc_style(text(13.0, INK));
    mesh
}

/// Text that is anchored at its point.
pub fn anchored(size: f64, colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    text(size, colour).pos(Pos::new(horizontal, vertical))
}

/// Text that fits its place: a long name ends in an ellipsis.
pub fn shortened(name: &str, characters: usize) -> String {
    if name.chars().count() <= characters {
        return name.to_owned();
    }
    let start: String = name.chars().take(characters.saturating_sub(1)).collect();
    format!("{start}…")
}

/// Draws the mark of the series with that index at a point.
pub fn mark<DB: DrawingBackend, C: CoordTranslate>(
    area: &DrawingArea<DB, C>,
    point: C::From,
    index: usize,
    size: i32,
    filled: bool,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>>
where
    C::From: Clone,
{
    let at = EmptyElement::at(point);
    let (colour, large) = (colour(index), size + size / 3);
    let corners = match index % 4 {
        0 => {
            let style = if filled { colour.filled() } else { colour.stroke_width(2) };
            return area.draw(&(at + Circle::new((0, 0), size, style)));
        }
        1 => vec![(0, -large), (large, size), (-large, size)],
        2 => vec![(-size, -size), (size, -size), (size, size), (-size, size)],
        _ => vec![(0, -large), (large, 0), (0, large), (-large, 0)],
    };
    if filled {
        return area.draw(&(at + Polygon::new(corners, colour.filled())));
    }
    let closed: Vec<(i32, i32)> = corners.iter().chain(corners.first()).copied().collect();
    area.draw(&(at + PathElement::new(closed, colour.stroke_width(2))))
}

/// Draws a line through a median, so many pixels to both sides: across or upwards.
pub fn median_line<DB: DrawingBackend, C: CoordTranslate>(
    area: &DrawingArea<DB, C>,
    point: C::From,
    (across, up): (i32, i32),
    colour: RGBColor,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>>
where
    C::From: Clone,
{
    let line = PathElement::new(vec![(-across, -up), (across, up)], colour.stroke_width(2));
    area.draw(&(EmptyElement::at(point) + line))
}

/// Decimals that tell the labels of an axis with about five of them apart.
pub fn axis_decimals(range: f64) -> usize {
    let step = (range / 5.0).log10().floor();
    if step.is_finite() { (-step).clamp(0.0, 9.0) as usize } else { 0 }
}

/// Round limits around values, with a margin on both sides.
pub fn limits(values: impl Iterator<Item = f64>, least: f64) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    let margin = (0.08 * (high - low)).max(least);
    (low - margin, high + margin)
}

/// Where the entries of a key stand: line and horizontal place of each name, in columns of one
/// width. A sign is `sign` pixels wide, a line `room`.
pub fn key_places(names: &[String], sign: u32, room: u32) -> Vec<(u32, u32)> {
    // Letters of the key's size are less than eight pixels wide on average.
    let widest = names.iter().map(|name| sign + 8 * name.chars().count() as u32 + 18).max().unwrap_or(1);
    let columns = (room / widest).max(1);
    (0..names.len() as u32).map(|index| (index / columns, index % columns * widest)).collect()
}

/// Height of the lines of a key.
pub fn key_height(places: &[(u32, u32)]) -> u32 {
    20 * places.last().map_or(0, |place| place.0 + 1)
}

/// A key in the head of a figure: the mark and the name of each series, in the order of the marks.
pub struct HeadKey {
    names: Vec<String>,
    places: Vec<(u32, u32)>,
    left: u32,
}

impl HeadKey {
    /// Of series with these names. The marks of the first column stand at `left`, and a line is `room`
    /// wide.
    pub fn new<'a>(names: impl Iterator<Item = &'a String>, left: u32, room: u32) -> HeadKey {
        let names: Vec<String> = names.map(|name| shortened(name, 48)).collect();
        HeadKey { places: key_places(&names, 18, room), names, left }
    }

    /// Height of the head.
    pub fn height(&self) -> u32 {
        12 + key_height(&self.places)
    }

    /// Draws it at the top of `area`.
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        for ((index, name), (line, x)) in self.names.iter().enumerate().zip(&self.places) {
            let (x, y) = ((self.left + x) as i32, 16 + 20 * *line as i32);
            mark(area, (x, y), index, 5, true)?;
            area.draw(&Text::new(name.as_str(), (x + 12, y), anchored(12.0, INK, HPos::Left, VPos::Center)))?;
        }
        Ok(())
    }
}

/// A rectangle in pixels: left, top, right, bottom.
type Rectangle4 = (i32, i32, i32, i32);

/// Places labels beside their marks so that none covers another label or a mark.
pub struct Labels {
    room: Rectangle4,
    taken: Vec<Rectangle4>,
}

impl Labels {
    /// Labels stay inside of `room`.
    pub fn new(room: Rectangle4) -> Labels {
        Labels { room, taken: Vec::new() }
    }

    /// Keeps a square around a mark free.
    pub fn block(&mut self, (x, y): (i32, i32), radius: i32) {
        self.taken.push((x - radius, y - radius, x + radius, y + radius));
    }

    /// Draws a label near a mark, with a line to it where it is not beside it. Where there is no
    /// place left, there is no label.
    pub fn place<DB: DrawingBackend>(
        &mut self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
        (x, y): (i32, i32),
        radius: i32,
        label: &str,
        style: TextStyle<'static>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let (width, height) = area.estimate_text_size(label, &style)?;
        let (width, height) = (width as i32 + 2, height as i32);
        for ring in 0..4 {
            let away = radius + 4 + 15 * ring;
            // Left and top of the label: right, left, above, below, then the corners.
            let (beside, level) = ((x + away, x - away - width), y - height / 2);
            let (above, below) = (y - away - height, y + away);
            let corners = [
                (beside.0, level),
                (beside.1, level),
                (x - width / 2, above),
                (x - width / 2, below),
                (x + radius, above),
                (x + radius, below),
                (x - radius - width, above),
                (x - radius - width, below),
            ];
            for (left, top) in corners {
                let place = (left, top, left + width, top + height);
                let inside = place.0 >= self.room.0
                    && place.1 >= self.room.1
                    && place.2 <= self.room.2
                    && place.3 <= self.room.3;
                if !inside || self.taken.iter().any(|other| overlap(place, *other)) {
                    continue;
                }
                if ring > 0 {
                    let end = (x.clamp(place.0, place.2), y.clamp(place.1, place.3));
                    area.draw(&PathElement::new(vec![(x, y), end], GREY.mix(0.6).stroke_width(1)))?;
                }
                self.taken.push(place);
                return area.draw(&Text::new(label.to_owned(), (left, top), style));
            }
        }
        Ok(())
    }
}

fn overlap(a: Rectangle4, b: Rectangle4) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_on_in_the_next_line() {
        let names = ["a".repeat(20), "b".into(), "c".into()];
        let places = key_places(&names, 22, 420);
        assert_eq!(places, [(0, 0), (0, 200), (1, 0)]);
        assert_eq!(key_height(&places), 40);
        // A name that is too long for a line has one of its own.
        assert_eq!(key_places(&names, 22, 10), [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(key_height(&[]), 0);
    }

    #[test]
    fn labels_of_an_axis_differ() {
        for (range, decimals) in [(0.014, 3), (2.4, 1), (11.0, 0), (300.0, 0), (0.0, 0)] {
            assert_eq!(axis_decimals(range), decimals, "{range}");
        }
    }

    #[test]
    fn labels_of_one_place_do_not_cover_each_other_and_a_full_figure_leaves_them_out() {
        register_font();
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, (400, 400)).into_drawing_area();
        let mut labels = Labels::new((0, 0, 400, 400));
        labels.block((200, 200), 5);
        for _ in 0..200 {
            labels.place(&area, (200, 200), 5, "a label", super::text(12.0, INK)).unwrap();
        }
        for (index, one) in labels.taken.iter().enumerate() {
            assert!(labels.taken[index + 1..].iter().all(|other| !overlap(*one, *other)));
        }
        assert!((10..100).contains(&labels.taken.len()), "{}", labels.taken.len());
    }
}
