//! `[[variant]]`: named changes of the manifest.

use serde_json::Value;

use super::axes::{Axes, Choice, Unfilled};
use super::check::unfit_for_folder;
use super::file::Mark;
use super::overlay::{Overlay, Place};
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
    let axes = Axes::of(base, merged, problems);
    let elements = match merged.get("variant") {
        Some(Value::Array(elements)) if !elements.is_empty() => elements.as_slice(),
        Some(Value::Array(_)) | None => {
            axes.unread(&[], problems);
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
    axes.unread(elements, problems);
    let mut variants: Vec<Variant> = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let mut reader = VariantReader { base, at: path(["variant", &index.to_string()]), problems };
        reader.read(element, &axes, &mut variants);
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
    base: &'a Stack,
    /// Path of the variant, or of the value of an axis.
    at: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl VariantReader<'_> {
    fn below(&self, segments: &[&str]) -> Vec<String> {
        self.at.iter().cloned().chain(segments.iter().map(|segment| (*segment).to_owned())).collect()
    }

    /// Variants of one name with placeholders share what is wrong with them.
    fn report(&mut self, segments: &[&str], mark: Mark, message: String, help: Option<String>) {
        let problem = self.base.problem(&self.below(segments), mark, message, help);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Adds the variants of an element: one for each combination of the axes in its name.
    fn read(&mut self, element: &Value, axes: &Axes, variants: &mut Vec<Variant>) {
        let Value::Object(table) = element else {
            self.report(&[], Mark::Value, "a variant is not a table".into(), None);
            return;
        };
        let known = ["name", "set", "remove"].map(str::to_owned);
        for key in table.keys().filter(|key| !known.contains(key)) {
            let message = format!("unknown key `{key}` in [[variant]]{}", did_you_mean(key, &known));
            self.report(&[key], Mark::Key, message, Some(format!("known keys: {}", listed(&known))));
        }
        let pattern = match table.get("name") {
            Some(Value::String(pattern)) => pattern,
            Some(_) => {
                self.report(&["name"], Mark::Value, "the name of a variant is not a string".into(), None);
                return;
            }
            None => {
                self.report(&[], Mark::Value, "a variant has no name".into(), Some("add `name = \"...\"`".into()));
                return;
            }
        };
        match axes.choices(&[pattern]) {
            Ok(choices) => {
                for choice in &choices {
                    let variant = self.variant(table, pattern, choice, variants);
                    variants.extend(variant);
                }
            }
            Err(Unfilled { message, help }) => self.report(&["name"], Mark::Value, message, help),
        }
    }

    /// The variant that stands at the values of a choice, which are laid below its own changes.
    fn variant(&mut self, table: &Tree, pattern: &str, choice: &Choice, earlier: &[Variant]) -> Option<Variant> {
        let name = match choice.text(pattern) {
            Ok(name) => self.name(name, earlier)?,
            Err(Unfilled { message, help }) => {
                self.report(&["name"], Mark::Value, message, help);
                return None;
            }
        };
        let (mut stack, mut sets) = (self.base.clone(), Vec::new());
        let own = (self.at.clone(), table);
        for (at, table) in choice.stands().map(|stand| (stand.at(), stand.tree)).chain([own]) {
            let mut part = VariantReader { base: self.base, at, problems: &mut *self.problems };
            part.remove(table, &mut stack);
            let changes = part.set(table, choice, &name);
            stack.push(changes.clone());
            sets.extend(changes);
        }
        let [from, teacher] = [named_at(&stack, &DESIGN_FROM), named_at(&stack, &TEACHER_FROM)];
        Some(Variant { name, stack, from, teacher, sets })
    }

    /// The name, if a folder can have it and no other variant has it.
    fn name(&mut self, name: String, earlier: &[Variant]) -> Option<String> {
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

    /// The place of a path in the layer that has the last word on it.
    fn place(&self, path: &[String]) -> Option<Place> {
        self.base.origin(path)?.place(path)
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

    fn set(&mut self, table: &Tree, choice: &Choice, name: &str) -> Vec<Overlay> {
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
            let at = self.below(&["set", dotted]);
            let place = self.place(&at);
            let path = match split_path(dotted) {
                Ok(path) => path,
                Err(message) => {
                    self.report(&["set", dotted], Mark::Key, message, None);
                    continue;
                }
            };
            let mut taken = Vec::new();
            let value = match choice.fill(value, &path, &mut taken) {
                Ok(value) => value,
                Err(Unfilled { message, help }) => {
                    self.report(&["set", dotted], Mark::Value, message, help);
                    continue;
                }
            };
            let taken = taken.into_iter().filter_map(|(path, from)| Some((path, self.place(&from)?))).collect();
            let entry = Overlay::entry(ConfigLayer::Variant(name.to_owned()), &path, value, place).taken_from(taken);
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
        ["extends" | "profile" | "axis" | "variant" | "sweep" | "compare", ..] => true,
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
