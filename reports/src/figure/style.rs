//! Colours, type and marks that all figures share. Colours are Okabe and Ito's, which colour-blind readers tell apart; marks
//! and line styles say the same again.

use plotters::coord::CoordTranslate;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The font, registered from the project's own file.
pub const FONT: &str = "DejaVu Sans";
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

/// Text of a size in a colour.
pub fn text(size: f64, colour: RGBColor) -> TextStyle<'static> {
    (FONT, size).into_font().color(&colour)
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
    let style = if filled { colour(index).filled() } else { colour(index).stroke_width(2) };
    let at = EmptyElement::at(point);
    match index % 4 {
        0 => area.draw(&(at + Circle::new((0, 0), size, style))),
        1 => area.draw(&(at + TriangleMarker::new((0, 0), size + 2, style))),
        2 => area.draw(&(at + Rectangle::new([(-size, -size), (size, size)], style))),
        _ => area.draw(&(at + Cross::new((0, 0), size, colour(index).stroke_width(3)))),
    }
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
