//! Resolved settings as TOML.

use serde_json::{Map, Value as Json};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use super::sections::{Holds, SECTIONS};
use crate::ground::toml::of_json;

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
            (other, _) => of_json(other).map_or(Item::None, Item::Value),
        };
        document.insert(section.name, item);
    }
    document.to_string()
}

fn table(map: &Map<String, Json>) -> Table {
    map.iter().filter_map(|(key, inner)| Some((key.as_str(), of_json(inner)?))).collect()
}
