//! Rows of an experiment by name, as data: what a result is compared with.

use polars::prelude::{Column, PolarsError, PolarsResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Point;
use super::parquet::Field;
use crate::ground::toml;

/// A row of an experiment: the trials of a variant at a point of the sweep that differ in their
/// seeds alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowName {
    /// Its variant.
    pub variant: String,
    /// Its point of the sweep.
    #[serde(default, skip_serializing_if = "Point::is_empty")]
    pub point: Point,
    /// The recipe of its trials, which tells it from rows of the same name at older settings.
    pub recipe: String,
}

impl RowName {
    /// `large (search.epochs = 3)`
    pub fn title(&self) -> String {
        if self.point.is_empty() { self.variant.clone() } else { format!("{} ({})", self.variant, self.point.text()) }
    }
}

/// Rows that a manifest names, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowNames(Vec<RowName>);

impl RowNames {
    /// Adds a row at the end.
    pub fn push(&mut self, row: RowName) {
        self.0.push(row);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &RowName> {
        self.0.iter()
    }

    /// The cell of a table: an array of tables in TOML, `[{ recipe = "...", variant = "..." }]`;
    /// empty where there is no row.
    pub fn cell(&self) -> String {
        let rows: Option<Value> = self.0.iter().map(|row| serde_json::to_value(row).ok()).collect();
        if self.is_empty() { String::new() } else { rows.as_ref().map(toml::text).unwrap_or_default() }
    }

    /// What [`RowNames::cell`] wrote.
    fn of_cell(cell: &str) -> Option<RowNames> {
        if cell.is_empty() {
            return Some(RowNames::default());
        }
        serde_json::from_value(toml::to_json(&cell.parse().ok()?)).ok()
    }
}

impl Field for RowNames {
    fn column(name: &str, values: Vec<&Self>) -> Column {
        Column::new(name.into(), values.into_iter().map(RowNames::cell).collect::<Vec<String>>())
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        let unread = || PolarsError::NoData(format!("column `{}` has a cell that names no rows", column.name()).into());
        String::values(column)?.iter().map(|cell| RowNames::of_cell(cell).ok_or_else(unread)).collect()
    }
    fn of_json(value: &Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }
    fn absent() -> Option<Self> {
        Some(RowNames::default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_come_back_from_their_cell() {
        let swept =
            Point::of(vec![("compressor.prune.rate".into(), json!(0.5)), ("\"a, b\"".into(), json!([1, "}]"]))]);
        let mut rows = RowNames::default();
        rows.push(RowName { variant: "plain".into(), point: Point::default(), recipe: "0123".into() });
        rows.push(RowName { variant: "swept".into(), point: swept, recipe: "4567".into() });
        assert_eq!(RowNames::of_cell(&rows.cell()), Some(rows.clone()), "{}", rows.cell());
        assert_eq!(RowNames::of_json(&serde_json::to_value(&rows).unwrap()), Some(rows));
        assert_eq!(RowNames::default().cell(), "");
        assert_eq!(RowNames::of_cell(""), Some(RowNames::default()));
        assert_eq!(RowNames::of_cell("[{ variant = 3 }]"), None);
    }
}
