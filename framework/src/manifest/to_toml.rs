//! Resolved settings as TOML.

use serde_json::{Map, Value as Json};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use super::sections::{Holds, SECTIONS};

/// Settings as a manifest.
pub(super) fn document(settings: &Json) -> String {
    let mut document = DocumentMut::new();
    for section in &SECTIONS {
        let item = match (&settings[section.name], section.holds) {
            (Json::Null, _) => continue,
            (Json::Array(elements), Holds::Plugins(_)) if !elements.is_empty() => {
                let tables: ArrayOfTables = elements.iter().filter_map(Json::as_object).map(table).collect();
                Item::ArrayOfTables(tables)
            }
            (Json::Object(plugins), Holds::Plugin(_)) => {
                let mut outer = Table::new();
                outer.set_implicit(true);
                for (name, settings) in plugins {
                    let inner = settings.as_object().map_or(Item::None, |inner| Item::Table(table(inner)));
                    outer.insert(name, inner);
                }
                Item::Table(outer)
            }
            (Json::Object(inner), Holds::Settings(_)) => Item::Table(table(inner)),
            (other, _) => value(other).map_or(Item::None, Item::Value),
        };
        document.insert(section.name, item);
    }
    document.to_string()
}

/// A value as a manifest writes it; empty for a number that TOML has and JSON has not.
pub(super) fn text(json: &Json) -> String {
    value(json).map_or_else(String::new, |value| value.to_string())
}

fn table(map: &Map<String, Json>) -> Table {
    map.iter().filter_map(|(key, inner)| Some((key.as_str(), value(inner)?))).collect()
}

/// A value as TOML; nothing for null, which stands for a setting that is left out.
pub(super) fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::from(integer),
            // Rust writes very small and very large numbers with an exponent, as a person does.
            (None, Some(float)) => format!("{float:?}").parse().unwrap_or_else(|_| Value::from(float)),
            (None, None) => return None,
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(elements) => Value::Array(elements.iter().filter_map(value).collect::<Array>()),
        Json::Object(map) => {
            let inner: InlineTable =
                map.iter().filter_map(|(key, inner)| Some((key.as_str(), value(inner)?))).collect();
            Value::InlineTable(inner)
        }
    })
}
