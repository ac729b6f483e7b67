//! `[[variant]]`: named changes of the manifest.

use serde_json::Value;

use super::check::unfit_for_folder;
use super::file::Mark;
use super::overlay::Overlay;
use super::sections::Section;
use super::spelling::{did_you_mean, listed};
use super::stack::Stack;
use super::tree::{Tree, lookup, path, split_path};
use crate::ground::{ConfigLayer, Problem};

/// One row of a table: named changes of the manifest.
pub(super) struct Variant {
    pub(super) name: String,
    /// The layers, without those of a sweep.
    pub(super) stack: Stack,
    /// The variant whose design it takes.
    pub(super) from: Option<String>,
    /// The variant whose network teaches its own.
    pub(super) teacher: Option<String>,
    /// What it sets itself.
    pub(super) sets: Vec<Overlay>,
}

/// The variants of a manifest; one, named as the experiment, where it has none.
pub(super) fn variants(base: &Stack, merged: &Tree, problems: &mut Vec<Problem>) -> Vec<Variant> {
    let section = path(["variant"]);
    let elements = match merged.get("variant") {
        Some(Value::Array(elements)) if !elements.is_empty() => elements.as_slice(),
        Some(Value::Array(_)) | None => {
            let name = lookup(merged, &path(["experiment", "name"])).and_then(Value::as_str);
            return vec![Variant {
                name: name.unwrap_or("variant").to_owned(),
                stack: base.clone(),
                from: named_at(base, &DESIGN_FROM),
                teacher: named_at(base, &TEACHER_FROM),
                sets: Vec::new(),
            }];
        }
        Some(_) => {
            let help = "write [[variant]], and below it `name` and `set`";
            problems.push(base.problem(&section, Mark::Value, "`variant` is not an array".into(), Some(help.into())));
            return Vec::new();
        }
    };
    let Some(origin) = base.origin(&section) else { return Vec::new() };
    let mut variants: Vec<Variant> = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let mut reader = VariantReader { origin, at: path(["variant", &index.to_string()]), problems };
        if let Some(variant) = reader.read(base, element, &variants) {
            variants.push(variant);
        }
    }
    variants
}

/// Where a variant names the one whose design it takes.
pub(super) const DESIGN_FROM: [&str; 2] = ["design", "from"];
/// Where a variant names the one that teaches it.
pub(super) const TEACHER_FROM: [&str; 3] = ["retrain", "teacher", "from"];

/// The variant that a setting names.
fn named_at<const N: usize>(stack: &Stack, setting: &[&str; N]) -> Option<String> {
    lookup(&stack.merged(), &path(*setting))?.as_str().map(str::to_owned)
}

struct VariantReader<'a> {
    origin: &'a Overlay,
    /// Path of the variant.
    at: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl VariantReader<'_> {
    fn below(&self, segments: &[&str]) -> Vec<String> {
        self.at.iter().cloned().chain(segments.iter().map(|segment| (*segment).to_owned())).collect()
    }

    fn report(&mut self, segments: &[&str], mark: Mark, message: String, help: Option<String>) {
        let problem = self.origin.problem(&self.below(segments), mark, message, help);
        self.problems.push(problem);
    }

    fn read(&mut self, base: &Stack, element: &Value, earlier: &[Variant]) -> Option<Variant> {
        let Value::Object(table) = element else {
            self.report(&[], Mark::Value, "a variant is not a table".into(), None);
            return None;
        };
        let known = ["name", "set", "remove"].map(str::to_owned);
        for key in table.keys().filter(|key| !known.contains(key)) {
            let message = format!("unknown key `{key}` in [[variant]]{}", did_you_mean(key, &known));
            self.report(&[key], Mark::Key, message, Some(format!("known keys: {}", listed(&known))));
        }
        let name = self.name(table, earlier)?;
        let mut stack = base.clone();
        self.remove(table, &mut stack);
        let sets = self.set(table, &name);
        stack.push(sets.clone());
        let [from, teacher] = [named_at(&stack, &DESIGN_FROM), named_at(&stack, &TEACHER_FROM)];
        Some(Variant { name, stack, from, teacher, sets })
    }

    fn name(&mut self, table: &Tree, earlier: &[Variant]) -> Option<String> {
        let name = match table.get("name") {
            Some(Value::String(name)) => name.clone(),
            Some(_) => {
                self.report(&["name"], Mark::Value, "the name of a variant is not a string".into(), None);
                return None;
            }
            None => {
                self.report(&[], Mark::Value, "a variant has no name".into(), Some("add `name = \"...\"`".into()));
                return None;
            }
        };
        if let Some(why) = unfit_for_folder(&name) {
            let message = format!("variant `{name}` cannot be the name of a folder: {why}");
            self.report(&["name"], Mark::Value, message, None);
        }
        if earlier.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
            let message = format!("two variants are named `{name}`");
            self.report(&["name"], Mark::Value, message, Some("case does not tell names of folders apart".into()));
            return None;
        }
        Some(name)
    }

    fn remove(&mut self, table: &Tree, stack: &mut Stack) {
        let elements = match table.get("remove") {
            None => return,
            Some(Value::Array(elements)) => elements,
            Some(_) => {
                let help = "`remove = [\"optimizer\", \"search\"]`";
                self.report(&["remove"], Mark::Value, "`remove` is not an array of paths".into(), Some(help.into()));
                return;
            }
        };
        for (index, element) in elements.iter().enumerate() {
            let message = match element {
                Value::String(dotted) => match split_path(dotted).and_then(|path| settable(path, "a variant")) {
                    Ok(path) if stack.remove(&path) => continue,
                    Ok(_) => format!("nothing sets `{dotted}`, so that it cannot be removed"),
                    Err(message) => message,
                },
                _ => "a path to remove is not a string".to_owned(),
            };
            self.report(&["remove", &index.to_string()], Mark::Value, message, None);
        }
    }

    fn set(&mut self, table: &Tree, name: &str) -> Vec<Overlay> {
        let settings = match table.get("set") {
            None => return Vec::new(),
            Some(Value::Object(settings)) => settings,
            Some(_) => {
                let help = "`set = { \"search.epochs\" = 3 }`";
                self.report(&["set"], Mark::Value, "`set` is not a table".into(), Some(help.into()));
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        for (dotted, value) in settings {
            let place = self.origin.place(&self.below(&["set", dotted]));
            let path = match split_path(dotted) {
                Ok(path) => path,
                Err(message) => {
                    self.report(&["set", dotted], Mark::Key, message, None);
                    continue;
                }
            };
            let entry = Overlay::entry(ConfigLayer::Variant(name.to_owned()), &path, value.clone(), place);
            let refused: Vec<Problem> = entry
                .leaves()
                .into_iter()
                .filter_map(|leaf| {
                    let message = settable(leaf.clone(), "a variant").err()?;
                    Some(entry.problem(&leaf, Mark::Key, message, None))
                })
                .collect();
            if refused.is_empty() {
                entries.push(entry.normalise(self.problems));
            }
            self.problems.extend(refused);
        }
        entries
    }
}

/// A path that a variant or a sweep may change.
pub(super) fn settable(path: Vec<String>, who: &str) -> Result<Vec<String>, String> {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let refused = match segments.as_slice() {
        ["extends" | "profile" | "variant" | "sweep" | "compare", ..] => true,
        ["experiment", "seeds"] | [] => false,
        [section, ..] => Section::find(section).is_some_and(|section| !section.is_work),
    };
    if refused { Err(format!("{who} cannot change `{}`", path.join("."))) } else { Ok(path) }
}

impl Variant {
    /// Whether it takes a design over instead of searching one.
    pub(super) fn takes_design(&self) -> bool {
        self.stack.sets(&path(["design"]))
    }

    /// Whether another network teaches its own.
    pub(super) fn is_taught(&self) -> bool {
        self.stack.sets(&path(["retrain", "teacher"]))
    }
}
