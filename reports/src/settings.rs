//! Two resolved manifests, setting by setting.
//!
//! Both hold every default, so that a setting which only one of them has differs. Numbers are
//! compared by value (`1` is `1.0`). A section of plugins is compared by their names first: the
//! settings of another plugin are another thing.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// A setting that is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its dotted path.
    pub key: String,
    /// Its value here.
    pub here: String,
    /// Its value in the paper's manifest.
    pub paper: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} (paper: {})", self.key, self.here, self.paper)
    }
}

/// What makes the work of a manifest: its sections without the version of its form, names,
/// descriptions, seeds, checkpoints, launchers, and the folder of the data. `[design]` is left out,
/// too, because a design is compared by what it is, and not by where it lies.
pub fn work(manifest: &Value) -> Value {
    let mut sections = manifest.as_object().cloned().unwrap_or_default();
    for section in ["version", "experiment", "variant", "checkpoint", "launcher", "design"] {
        sections.remove(section);
    }
    for (_, dataset) in sections.get_mut("dataset").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(settings) = dataset.as_object_mut() {
            settings.remove("root");
        }
    }
    Value::Object(sections)
}

/// The settings that differ, in the order of their paths, and of plugins in a list of them.
pub fn differences(here: &Value, paper: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(here), Some(paper), &mut found);
    found
}

fn compare(key: &str, here: Option<&Value>, paper: Option<&Value>, found: &mut Vec<Difference>) {
    let (here, paper) = (here.filter(is_set), paper.filter(is_set));
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    let mut differs = |here: String, paper: String| found.push(Difference { key: key.to_owned(), here, paper });
    match (here, paper) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => match (plugin(one), plugin(other)) {
            (Some(here), Some(paper)) if here != paper => differs(here.clone(), paper.clone()),
            _ => {
                let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
                for name in names {
                    compare(&below(name), one.get(name), other.get(name), found);
                }
            }
        },
        (Some(one), Some(other)) => match (plugins(one), plugins(other)) {
            (Some(here), Some(paper)) => {
                let names = |all: &[(&String, &Value)]| -> Vec<String> { all.iter().map(|it| it.0.clone()).collect() };
                if names(&here) != names(&paper) {
                    differs(names(&here).join(", "), names(&paper).join(", "));
                }
                for (name, settings) in here {
                    if let Some((_, other)) = paper.iter().find(|(other, _)| *other == name) {
                        compare(&below(name), Some(settings), Some(other), found);
                    }
                }
            }
            _ if same(one, other) => {}
            _ => differs(text(here), text(paper)),
        },
        (None, None) => {}
        _ => differs(text(here), text(paper)),
    }
}

/// Nothing, and a table or a list of nothing, stand for a setting that is left out.
fn is_set(value: &&Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

/// The name of the plugin that a section of one plugin holds.
fn plugin(section: &Map<String, Value>) -> Option<&String> {
    let (name, settings) = section.iter().next()?;
    (section.len() == 1 && settings.is_object()).then_some(name)
}

/// The plugins of a section of several, in their order, with their settings.
fn plugins(list: &Value) -> Option<Vec<(&String, &Value)>> {
    let one = |entry: &Value| entry.as_object().and_then(plugin).is_some();
    let list = list.as_array().filter(|list| list.iter().all(one))?;
    Some(list.iter().filter_map(Value::as_object).flatten().collect())
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

/// A value in a message.
pub fn text(value: Option<&Value>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(map)) => plugin(map).cloned().unwrap_or_else(|| "set".to_owned()),
        Some(list) if plugins(list).is_some() => {
            let names = plugins(list).into_iter().flatten().map(|(name, _)| name.as_str());
            names.collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(here: Value, paper: Value) -> Vec<String> {
        differences(&here, &paper).iter().map(Difference::to_string).collect()
    }

    #[test]
    fn settings_differ_leaf_by_leaf_and_numbers_by_value() {
        let paper = json!({"retrain": {"epochs": 200, "clip": 5.0, "augment": {"crop": 4}}, "search": {"epochs": 50}});
        assert!(texts(paper.clone(), paper.clone()).is_empty());
        let same = json!({"retrain": {"epochs": 200.0, "clip": 5, "augment": {"crop": 4}, "samples": null}, "search": {"epochs": 50}});
        assert!(texts(same, paper.clone()).is_empty());
        assert_eq!(
            texts(json!({"retrain": {"epochs": 4, "clip": 5.0, "augment": {"crop": 4, "flip": true}}}), paper),
            [
                "retrain.augment.flip = true (paper: not set)",
                "retrain.epochs = 4 (paper: 200)",
                "search = not set (paper: set)"
            ]
        );
    }

    #[test]
    fn plugins_are_compared_by_name_and_order() {
        let one = |name: &str, rate: f64| json!({ name: { "rate": rate } });
        let section = |first: Value, second: Value| json!({"compressor": [first, second]});
        let paper = section(one("a", 0.5), one("b", 1e-10));
        assert!(texts(paper.clone(), paper.clone()).is_empty());
        assert_eq!(
            texts(section(one("a", 0.5), one("b", 2e-10)), paper.clone()),
            ["compressor.b.rate = 2e-10 (paper: 1e-10)"]
        );
        assert_eq!(texts(section(one("b", 1e-10), one("a", 0.5)), paper.clone()), ["compressor = b, a (paper: a, b)"]);
        assert_eq!(texts(json!({"compressor": []}), paper), ["compressor = not set (paper: a, b)"]);
        assert_eq!(
            texts(json!({"dataset": {"mine": {"train": 5}}}), json!({"dataset": {"theirs": {"train": 5, "test": 6}}})),
            ["dataset = mine (paper: theirs)"]
        );
    }

    #[test]
    fn names_places_and_launchers_are_no_work() {
        let manifest = json!({
            "version": 1, "experiment": {"name": "a", "seeds": [1]}, "variant": [{"name": "x"}],
            "dataset": {"d": {"root": "/x", "train": 5}}, "checkpoint": {"epochs": 1}, "launcher": {"local": {}},
            "design": {"file": "d.toml"}, "retrain": {"epochs": 1},
        });
        let expected = json!({"dataset": {"d": {"train": 5}}, "retrain": {"epochs": 1}});
        assert_eq!(work(&manifest), expected);
    }
}
