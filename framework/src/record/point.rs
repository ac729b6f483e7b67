//! Points of a sweep, as data: no name that is made of one is ever read again.

use std::cmp::Ordering;

use polars::prelude::{Column, PolarsResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parquet::Field;
use crate::ground::toml;

/// A point of a sweep: the swept keys that concern a trial, in the manifest's order, each with its
/// value in the type of its setting.
///
/// Points are equal, and in order, by their values: 0 is 0.0, 5e-9 comes before 1e-8, and `[1, 2]`
/// before `[1, 2, 4]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Point(Vec<(String, Value)>);

impl Point {
    /// The point with these keys and values.
    pub fn of(values: Vec<(String, Value)>) -> Point {
        Point(values)
    }

    /// Whether it is none: the trial belongs to no sweep.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its keys with their values.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Its keys with their values as a manifest writes them.
    pub fn words(&self) -> impl Iterator<Item = (&str, String)> {
        self.values().map(|(key, value)| (key, toml::text(value)))
    }

    /// Its keys with their values in short: of a section that holds one plugin, the plugin's name.
    pub fn short_words(&self) -> impl Iterator<Item = (&str, String)> {
        self.values().map(|(key, value)| (key, plugin(value).map_or_else(|| toml::text(value), str::to_owned)))
    }

    /// `search.epochs = 3, search.clip = 5.0`
    pub fn text(&self) -> String {
        self.words().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
    }

    /// The cell of a table: an array of TOML, `[["search.epochs", 3]]`; empty without a sweep.
    fn cell(&self) -> String {
        let pair = |(key, value): (&str, &Value)| Value::from(vec![key.into(), value.clone()]);
        if self.is_empty() { String::new() } else { toml::text(&self.values().map(pair).collect()) }
    }

    /// What [`Point::cell`] wrote. Tables up to schema 4 have `search.epochs=3, search.clip=5`.
    fn of_cell(cell: &str) -> Point {
        let parsed = cell.parse().ok().as_ref().map(toml::to_json);
        match parsed.and_then(|pairs| serde_json::from_value(pairs).ok()) {
            Some(point) => point,
            None => Point(parts(cell).into_iter().map(older).collect()),
        }
    }
}

/// The plugin that a swept section names: `layers` of `{ layers = { width = 0.5 } }`.
fn plugin(section: &Value) -> Option<&str> {
    let mut entries = section.as_object()?.iter();
    let (name, settings) = entries.next()?;
    (entries.next().is_none() && settings.is_object()).then_some(name)
}

/// A key and its value as tables up to schema 4 have them.
fn older(part: &str) -> (String, Value) {
    let (key, value) = part.split_once('=').unwrap_or((part, ""));
    let value = value.parse().ok().as_ref().map_or_else(|| value.into(), toml::to_json);
    (key.to_owned(), value)
}

/// The parts of a text between its commas, brackets and quotes kept whole.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut depth, mut quote) = (Vec::new(), 0, 0, None);
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => parts.push(&text[std::mem::replace(&mut begin, at + 1)..at]),
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

impl PartialEq for Point {
    fn eq(&self, other: &Point) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Point {}

impl PartialOrd for Point {
    fn partial_cmp(&self, other: &Point) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Point {
    fn cmp(&self, other: &Point) -> Ordering {
        let pairs = |(one, other): (&(String, Value), &(String, Value))| {
            one.0.cmp(&other.0).then_with(|| order(&one.1, &other.1))
        };
        let different = self.0.iter().zip(&other.0).map(pairs).find(|ordering| ordering.is_ne());
        different.unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

/// Values in order, numbers by their value.
pub fn order(one: &Value, other: &Value) -> Ordering {
    let kind = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    let by_elements =
        |different: Option<Ordering>, lengths: (usize, usize)| different.unwrap_or_else(|| lengths.0.cmp(&lengths.1));
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => one.cmp(&other),
            // A sum with 0.0 has no negative zero.
            _ => (one.as_f64().unwrap_or(f64::NAN) + 0.0).total_cmp(&(other.as_f64().unwrap_or(f64::NAN) + 0.0)),
        },
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Array(one), Value::Array(other)) => by_elements(
            one.iter().zip(other).map(|(one, other)| order(one, other)).find(|ordering| ordering.is_ne()),
            (one.len(), other.len()),
        ),
        (Value::Object(one), Value::Object(other)) => by_elements(
            one.iter()
                .zip(other)
                .map(|(one, other)| one.0.cmp(other.0).then_with(|| order(one.1, other.1)))
                .find(|ordering| ordering.is_ne()),
            (one.len(), other.len()),
        ),
        _ => kind(one).cmp(&kind(other)),
    }
}

impl Field for Point {
    fn column(name: &str, values: Vec<&Self>) -> Column {
        Column::new(name.into(), values.into_iter().map(Point::cell).collect::<Vec<String>>())
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        Ok(String::values(column)?.iter().map(|cell| Point::of_cell(cell)).collect())
    }
    fn of_json(value: &Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }
    fn absent() -> Option<Self> {
        Some(Point::default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn point(values: &[(&str, Value)]) -> Point {
        Point::of(values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    #[test]
    fn a_point_comes_back_from_its_cell_to_the_bit() {
        let strange = [
            ("a.bits", json!([1, 2, 4])),
            ("b.name", json!("x=1, y = [\"2\"]")),
            ("c.table", json!({ "rate": 0.5, "keys": [true, "="] })),
            ("d", json!(5e-9)),
            ("\"e, f\".g", json!(-0.1 + 0.3)),
        ];
        let point = point(&strange);
        let back = Point::of_cell(&point.cell());
        assert_eq!(back.0, point.0);
        assert_eq!(Point::of_cell(&Point::default().cell()), Point::default());
    }

    #[test]
    fn a_section_of_one_plugin_is_named_in_short() {
        let sections = [
            ("space", json!({ "layers": { "width": 0.5 } })),
            ("search", json!({ "augment": { "crop": 4 }, "epochs": 2 })),
            ("space.cells.channels", json!({ "search": 4 })),
            ("rate", json!(0.5)),
        ];
        let point = point(&sections);
        let words: Vec<String> = point.short_words().map(|(_, value)| value).collect();
        let search = "{ augment = { crop = 4 }, epochs = 2 }";
        assert_eq!(words, ["layers", search, "{ search = 4 }", "0.5"]);
        assert!(point.text().starts_with("space = { layers = { width = 0.5 } }, "), "{}", point.text());
    }

    #[test]
    fn a_cell_of_an_older_table_is_read_too() {
        let older = "compressor.q.bits=[1, 2], search.rate=5e-9, a.name=\"x, y\"";
        let expected =
            point(&[("compressor.q.bits", json!([1, 2])), ("search.rate", json!(5e-9)), ("a.name", json!("x, y"))]);
        assert_eq!(Point::of_cell(older), expected);
    }

    #[test]
    fn points_are_in_the_order_of_their_values() {
        let one = |value: Value| point(&[("a", value)]);
        let ordered = [json!(-2.5), json!(0), json!(5e-9), json!(1e-8), json!(2), json!(10), json!("a")];
        assert!(ordered.windows(2).all(|pair| one(pair[0].clone()) < one(pair[1].clone())));
        let lists = [json!([1, 2]), json!([1, 2, 4]), json!([1, 10]), json!([2])];
        assert!(lists.windows(2).all(|pair| one(pair[0].clone()) < one(pair[1].clone())));
        assert_eq!(one(json!(0)), one(json!(-0.0)));
        assert_eq!(one(json!([1, { "b": 2 }])), one(json!([1.0, { "b": 2.0 }])));
        assert_ne!(one(json!(0)), one(json!("0")));
    }
}
