//! `[sweep]`: keys that take one value after another, and the variants that they concern.

use serde_json::Value;

use super::file::Mark;
use super::overlay::Overlay;
use super::sections::{Holds, Section, kind_of};
use super::spelling::{did_you_mean, listed};
use super::stack::Stack;
use super::tree::{Tree, lookup, path, split_path};
use super::variants::{Variant, settable};
use crate::ground::{ConfigLayer, Problem, toml};
use crate::plugin::Kind;
use crate::record::order;

/// A swept key.
pub(super) struct Swept {
    /// As it stands in the manifest.
    pub(super) key: String,
    pub(super) path: Vec<String>,
    /// Each value, as it is given and as a layer.
    pub(super) values: Vec<(Value, Overlay)>,
}

/// The swept keys of a manifest, in the order in which they are written.
pub(super) fn sweep(base: &Stack, merged: &Tree, problems: &mut Vec<Problem>) -> Vec<Swept> {
    let table = match merged.get("sweep") {
        None => return Vec::new(),
        Some(Value::Object(table)) => table,
        Some(_) => {
            let help = "`[sweep]` holds arrays by dotted key: `\"search.epochs\" = [1, 2]`";
            let message = "`sweep` is not a table".into();
            problems.push(base.problem(&path(["sweep"]), Mark::Value, message, Some(help.into())));
            return Vec::new();
        }
    };
    let mut all = Vec::new();
    for (key, value) in table {
        let at = path(["sweep", key]);
        match swept_path(key).and_then(|path| Ok((path, swept_values(key, value)?))) {
            Ok((path, elements)) => {
                let values = elements.iter().enumerate();
                let values = values.map(|(index, element)| point(base, &at, index, &path, element, problems)).collect();
                all.push((base.rank(&at), Swept { key: key.clone(), path, values }));
            }
            Err((mark, message, help)) => {
                problems.push(base.problem(&at, mark, message, help.map(str::to_owned)));
            }
        }
    }
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, swept)| swept).collect()
}

/// What is wrong with a swept key, and with which part of it.
type Wrong = (Mark, String, Option<&'static str>);

fn swept_path(key: &str) -> Result<Vec<String>, Wrong> {
    let path = split_path(key).and_then(|path| settable(path, "a sweep")).map_err(|why| (Mark::Key, why, None))?;
    if path.first().is_some_and(|section| matches!(section.as_str(), "experiment" | "design")) {
        let help = "seeds belong to [experiment], designs to variants";
        return Err((Mark::Key, format!("a sweep cannot change `{key}`"), Some(help)));
    }
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    if matches!(segments.as_slice(), ["retrain", "teacher"] | ["retrain", "teacher", "from" | "trial"]) {
        let help = "a variant names its teacher: `set = { \"retrain.teacher\" = { from = \"VARIANT\" } }`";
        return Err((Mark::Key, format!("a sweep cannot change `{key}`"), Some(help)));
    }
    Ok(path)
}

fn swept_values<'a>(key: &str, value: &'a Value) -> Result<&'a [Value], Wrong> {
    let wrong = |message| Err((Mark::Value, message, None));
    let Some(elements) = value.as_array() else {
        return wrong(format!("the sweep over `{key}` is not an array of values"));
    };
    if elements.is_empty() {
        return wrong(format!("the sweep over `{key}` has no values"));
    }
    let mut sorted: Vec<usize> = (0..elements.len()).collect();
    sorted.sort_by(|one, other| order(&elements[*one], &elements[*other]));
    let twice = sorted.windows(2).filter(|pair| order(&elements[pair[0]], &elements[pair[1]]).is_eq());
    match twice.map(|pair| pair[1]).min() {
        Some(index) => wrong(holds_twice(key, index)),
        None => Ok(elements),
    }
}

/// `0` and `0.0`, or a table with a default and one without it, are twice the same value.
fn holds_twice(key: &str, index: usize) -> String {
    format!("the sweep over `{key}` holds value {} twice", index + 1)
}

/// A value of a sweep with its numbers in the type that the setting was read with; it says no more
/// than the value that was given.
pub(super) fn typed(given: &Value, read: Option<&Value>) -> Value {
    match (given, read) {
        (Value::Object(given), Some(Value::Object(read))) => {
            given.iter().map(|(key, value)| (key.clone(), typed(value, read.get(key)))).collect()
        }
        (Value::Array(given), Some(Value::Array(read))) if given.len() == read.len() => {
            given.iter().zip(read).map(|(given, read)| typed(given, Some(read))).collect()
        }
        (Value::Number(_), Some(read)) if order(given, read).is_eq() => read.clone(),
        _ => given.clone(),
    }
}

/// One value of a swept key, which stands at `at` in the sweep, as it is given and as a layer.
fn point(
    base: &Stack,
    at: &[String],
    index: usize,
    path: &[String],
    value: &Value,
    problems: &mut Vec<Problem>,
) -> (Value, Overlay) {
    let place = base.origin(at).and_then(|origin| origin.place(&[at, &[index.to_string()]].concat()));
    (value.clone(), Overlay::entry(ConfigLayer::Sweep, path, value.clone(), place).normalise(problems))
}

impl Swept {
    /// Whether a variant has what is swept: a key of a plugin that it does not use, or of a section
    /// that it does not have, does not concern it.
    pub(super) fn concerns(&self, variant: &Variant) -> bool {
        let merged = variant.stack.merged();
        match self.path.as_slice() {
            [_] | [] => true,
            [section, table, ..] if section == "retrain" && table == "teacher" => variant.is_taught(),
            [section, name, ..] if section == Kind::Compressor.section() => variant.stack.compressors().contains(name),
            [section, ..] => match Section::find(section).map(|section| section.holds) {
                Some(Holds::Plugin(_)) => lookup(&merged, &self.path[..2]).is_some(),
                Some(Holds::Settings(_)) => merged.contains_key(section),
                _ => true,
            },
        }
    }

    /// The problem that its value `index` is the same as `other` once it is read.
    pub(super) fn twice(&self, base: &Stack, index: usize, other: usize) -> Problem {
        let at = path(["sweep", &self.key, &index.to_string()]);
        let [value, other] = [index, other].map(|index| toml::text(&self.values[index].0));
        let help = format!("`{other}` and `{value}` make the same trial");
        base.problem(&at, Mark::Value, holds_twice(&self.key, index), Some(help))
    }

    /// The problem that it concerns no variant.
    pub(super) fn idle(&self, base: &Stack, variants: &[Variant]) -> Problem {
        let section = &self.path[0];
        let mut used: Vec<String> = Vec::new();
        for variant in variants {
            match variant.stack.merged().get(section) {
                Some(Value::Object(names)) if kind_of(section).is_some() => {
                    used.extend(names.keys().map(|name| format!("{section}.{name}")));
                }
                _ => {}
            }
        }
        used.sort();
        used.dedup();
        let wanted = self.path.iter().take(2).cloned().collect::<Vec<_>>().join(".");
        let at = path(["sweep", &self.key]);
        let message = format!("nothing reads the swept key `{}`{}", self.key, did_you_mean(&wanted, &used));
        let help = match self.path.get(1).is_some_and(|table| section == "retrain" && table == "teacher") {
            true => "no variant has [retrain.teacher]".to_owned(),
            false => format!("of [{section}], this manifest uses: {}", listed(&used)),
        };
        base.problem(&at, Mark::Key, message, Some(help))
    }
}
