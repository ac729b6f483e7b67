//! `[[variant]]` and `[sweep]`: what they change, and which of it applies to which variant.

use figment::value::{Dict, Value};

use super::layers::{Overlay, Stack, lookup, split_path};
use super::names::{ONE_PLUGIN, did_you_mean, listed, unfit_for_folder};
use super::problem::{Layer, Problem};
use super::resolve::toml_text;
use super::source::Mark;

/// One row of a table: named changes of the manifest.
pub(super) struct Variant {
    pub(super) name: String,
    /// The layers, without those of a sweep.
    pub(super) stack: Stack,
    /// The variant whose design it takes.
    pub(super) from: Option<String>,
    /// What it sets itself.
    pub(super) sets: Vec<Overlay>,
}

/// A swept key.
pub(super) struct Swept {
    /// As it stands in the manifest.
    pub(super) key: String,
    pub(super) path: Vec<String>,
    /// Each value as TOML and as a layer.
    pub(super) values: Vec<(String, Overlay)>,
}

/// The variants of a manifest; one, named as the experiment, where it has none.
pub(super) fn variants(base: &Stack, merged: &Dict, problems: &mut Vec<Problem>) -> Vec<Variant> {
    let section = ["variant".to_owned()];
    let elements = match merged.get("variant") {
        Some(Value::Array(_, elements)) if !elements.is_empty() => elements.as_slice(),
        Some(Value::Array(..)) | None => {
            let name = lookup(merged, &["experiment".to_owned(), "name".to_owned()]).and_then(Value::as_str);
            return vec![Variant {
                name: name.unwrap_or("variant").to_owned(),
                stack: base.clone(),
                from: design_from(base),
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
        let mut reader = VariantReader { origin, at: vec!["variant".into(), index.to_string()], problems };
        if let Some(variant) = reader.read(base, element, &variants) {
            variants.push(variant);
        }
    }
    variants
}

fn design_from(stack: &Stack) -> Option<String> {
    let merged = stack.merged();
    lookup(&merged, &["design".to_owned(), "from".to_owned()])?.as_str().map(str::to_owned)
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
        let Value::Dict(_, table) = element else {
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
        let from = design_from(&stack);
        Some(Variant { name, stack, from, sets })
    }

    fn name(&mut self, table: &Dict, earlier: &[Variant]) -> Option<String> {
        let name = match table.get("name") {
            Some(Value::String(_, name)) => name.clone(),
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

    fn remove(&mut self, table: &Dict, stack: &mut Stack) {
        let elements = match table.get("remove") {
            None => return,
            Some(Value::Array(_, elements)) => elements,
            Some(_) => {
                let help = "`remove = [\"optimizer\", \"search\"]`";
                self.report(&["remove"], Mark::Value, "`remove` is not an array of paths".into(), Some(help.into()));
                return;
            }
        };
        for (index, element) in elements.iter().enumerate() {
            let message = match element {
                Value::String(_, dotted) => match split_path(dotted).and_then(|path| settable(path, "a variant")) {
                    Ok(path) if stack.remove(&path) => continue,
                    Ok(_) => format!("nothing sets `{dotted}`, so that it cannot be removed"),
                    Err(message) => message,
                },
                _ => "a path to remove is not a string".to_owned(),
            };
            self.report(&["remove", &index.to_string()], Mark::Value, message, None);
        }
    }

    fn set(&mut self, table: &Dict, name: &str) -> Vec<Overlay> {
        let settings = match table.get("set") {
            None => return Vec::new(),
            Some(Value::Dict(_, settings)) => settings,
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
            let entry = Overlay::entry(Layer::Variant(name.to_owned()), &path, value.clone(), place);
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
fn settable(path: Vec<String>, who: &str) -> Result<Vec<String>, String> {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let refused = match segments.as_slice() {
        ["version" | "extends" | "profile" | "variant" | "sweep" | "launcher" | "checkpoint", ..] => true,
        ["experiment", "seeds"] => false,
        ["experiment", ..] => true,
        _ => false,
    };
    if refused { Err(format!("{who} cannot change `{}`", path.join("."))) } else { Ok(path) }
}

/// The swept keys of a manifest, in the order in which they are written.
pub(super) fn sweep(base: &Stack, merged: &Dict, problems: &mut Vec<Problem>) -> Vec<Swept> {
    let section = ["sweep".to_owned()];
    let table = match merged.get("sweep") {
        None => return Vec::new(),
        Some(Value::Dict(_, table)) => table,
        Some(_) => {
            let help = "`[sweep]` holds arrays by dotted key: `\"search.epochs\" = [1, 2]`";
            problems.push(base.problem(&section, Mark::Value, "`sweep` is not a table".into(), Some(help.into())));
            return Vec::new();
        }
    };
    let mut all = Vec::new();
    for (key, value) in table {
        let at = ["sweep".to_owned(), key.clone()];
        let mut report = |mark, message: String, help: Option<&str>| {
            problems.push(base.problem(&at, mark, message, help.map(str::to_owned)));
        };
        let path = match split_path(key).and_then(|path| settable(path, "a sweep")) {
            Ok(path) if path.first().is_some_and(|section| matches!(section.as_str(), "experiment" | "design")) => {
                let message = format!("a sweep cannot change `{key}`");
                report(Mark::Key, message, Some("seeds belong to [experiment], designs to variants"));
                continue;
            }
            Ok(path) => path,
            Err(message) => {
                report(Mark::Key, message, None);
                continue;
            }
        };
        let elements = match value {
            Value::Array(_, elements) if !elements.is_empty() => elements,
            Value::Array(..) => {
                report(Mark::Value, format!("the sweep over `{key}` has no values"), None);
                continue;
            }
            _ => {
                report(Mark::Value, format!("the sweep over `{key}` is not an array of values"), None);
                continue;
            }
        };
        if let Some((index, _)) = elements.iter().enumerate().find(|(index, one)| elements[..*index].contains(one)) {
            report(Mark::Value, format!("the sweep over `{key}` holds value {} twice", index + 1), None);
            continue;
        }
        let origin = base.origin(&at);
        let mut values = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            let place = origin.and_then(|origin| origin.place(&[at.as_slice(), &[index.to_string()]].concat()));
            let text = place.as_ref().and_then(|(file, at)| file.text_of(at)).unwrap_or_else(|| toml_text(element));
            values.push((text, Overlay::entry(Layer::Sweep, &path, element.clone(), place).normalise(problems)));
        }
        all.push((base.rank(&at), Swept { key: key.clone(), path, values }));
    }
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, swept)| swept).collect()
}

impl Swept {
    /// Whether a variant has what is swept: a key of a plugin that it does not use, or of a section that it does not have,
    /// does not concern it.
    pub(super) fn concerns(&self, variant: &Variant) -> bool {
        let merged = variant.stack.merged();
        match self.path.as_slice() {
            [_] | [] => true,
            [section, name, ..] if section == "compressor" => variant.stack.compressors().contains(name),
            [section, ..] if ONE_PLUGIN.iter().any(|kind| kind.section() == section) => {
                lookup(&merged, &self.path[..2]).is_some()
            }
            [section, ..] if matches!(section.as_str(), "search" | "retrain") => merged.contains_key(section),
            _ => true,
        }
    }

    /// The problem that it concerns no variant.
    pub(super) fn idle(&self, base: &Stack, variants: &[Variant]) -> Problem {
        let section = &self.path[0];
        let mut used: Vec<String> = Vec::new();
        for variant in variants {
            match variant.stack.merged().get(section) {
                Some(Value::Dict(_, names)) if section != "search" && section != "retrain" => {
                    used.extend(names.keys().map(|name| format!("{section}.{name}")));
                }
                _ => {}
            }
        }
        used.sort();
        used.dedup();
        let wanted = self.path.iter().take(2).cloned().collect::<Vec<_>>().join(".");
        let at = ["sweep".to_owned(), self.key.clone()];
        let message = format!("nothing reads the swept key `{}`{}", self.key, did_you_mean(&wanted, &used));
        let help = format!("of [{section}], this manifest uses: {}", listed(&used));
        base.problem(&at, Mark::Key, message, Some(help))
    }
}
