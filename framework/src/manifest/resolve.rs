//! From one merged tree to sections that can be read, with every problem that is in them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::check::check;
use super::file::Mark;
use super::refusal::{in_quotes, problem, refused};
use super::sections::{Holds, Presence, SECTIONS, Section, plugins, section_names};
use super::spelling::{did_you_mean, listed, nearest};
use super::stack::Stack;
use super::tree::{Tree, path};
use super::typed::Manifest;
use crate::ground::Problem;
use crate::plugin::{Fault, Flaw, Kind, Shape, find};

/// Problems of one section that are looked for before the search for more of them ends.
const MOST_PROBLEMS: usize = 32;

/// What could be read of a manifest, and what is wrong with it.
pub(super) struct Resolved {
    /// What was given, in the form of a [`Manifest`].
    given: Tree,
    /// What could be read, by section, with every default; compressors by name.
    pub(super) settings: Tree,
    pub(super) problems: Vec<Problem>,
}

impl Resolved {
    /// A section, when it could be read.
    pub(super) fn section<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.settings.get(name)?).ok()
    }

    /// The settings, with the defaults as well that a trial's settings leave out: those that changed no
    /// trial when their setting was new.
    pub(super) fn with_all_defaults(self) -> Tree {
        let mut settings = self.settings;
        for section in &SECTIONS {
            let Some(read) = settings.get_mut(section.name) else { continue };
            match (section.holds, read) {
                (Holds::Value(_), _) => {}
                (Holds::Settings(schema), read) => add_told(section, None, Shape::of(schema().as_value()), read),
                (Holds::Plugin(kind) | Holds::Plugins(kind), read) => {
                    for (name, read) in read.as_object_mut().into_iter().flatten() {
                        let Some(plugin) = find(kind, name) else { continue };
                        add_told(section, Some(name), Shape::of((plugin.schema)().as_value()), read);
                    }
                }
            }
        }
        settings
    }

    /// Takes the seeds out: each trial has its own, and would copy those of all.
    pub(super) fn forget_seeds(&mut self) {
        if let Some(Value::Object(experiment)) = self.given.get_mut("experiment") {
            experiment.remove("seeds");
        }
    }

    /// The manifest, when nothing is wrong with it.
    pub(super) fn manifest(&self) -> Option<Manifest> {
        serde_json::from_value(self.given.clone().into()).ok()
    }
}

/// Reads the sections of a stack of layers.
pub(super) fn resolve(stack: &Stack) -> Resolved {
    let mut given = stack.merged();
    for key in ["axis", "variant", "sweep", "compare"] {
        given.remove(key);
    }
    let mut reader = Reader { stack, problems: Vec::new() };
    let meant = reader.unknown_sections(&given);
    let mut settings = Tree::new();
    for section in &SECTIONS {
        let read = match given.get(section.name) {
            Some(given) => reader.section(section, given),
            None if section.presence == Presence::Defaulted => (section.read)(&Tree::new().into()).ok(),
            None => None,
        };
        settings.extend(read.map(|read| (section.name.to_owned(), read)));
    }
    let mut problems = reader.problems;
    problems.extend(check(stack, &given, &settings, &meant));
    if let Some(Value::Object(named)) = given.get_mut(Kind::Compressor.section()) {
        let one = |name: &String| Some(Value::from(Tree::from_iter([named.remove_entry(name)?])));
        let in_order: Vec<Value> = stack.compressors().iter().filter_map(one).collect();
        given.insert(Kind::Compressor.section().into(), in_order.into());
    }
    Resolved { given, settings, problems }
}

/// One section of a stack with every default, where it can be read, and what is wrong with it.
pub(super) fn section(stack: &Stack, name: &str) -> (Option<Value>, Vec<Problem>) {
    let given = stack.merged();
    let mut reader = Reader { stack, problems: Vec::new() };
    let read = Section::find(name).zip(given.get(name)).and_then(|(section, given)| reader.section(section, given));
    (read, reader.problems)
}

struct Reader<'a> {
    stack: &'a Stack,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn report(&mut self, path: &[String], mark: Mark, message: impl Into<String>, help: Option<String>) {
        self.problems.push(problem(self.stack, path, mark, message, help));
    }

    /// Reports sections that do not exist; the names that were probably meant: that they are
    /// missing is the same problem.
    fn unknown_sections(&mut self, given: &Tree) -> Vec<String> {
        let known = section_names();
        let near = [known.as_slice(), &path(["extends", "profile", "axis", "variant", "sweep", "compare"])].concat();
        let mut meant = Vec::new();
        for (key, value) in given.iter().filter(|(key, _)| !known.contains(key)) {
            let table = value.is_object() || value.is_array();
            let what = if table { format!("unknown section [{key}]") } else { format!("unknown key `{key}`") };
            let message = format!("{what}{}", did_you_mean(key, &near));
            meant.extend(nearest(key, &near).map(str::to_owned));
            self.report(&path([key]), Mark::Key, message, Some(format!("known sections: {}", listed(&near))));
        }
        meant
    }

    /// A section with every default; nothing when something in it is wrong.
    fn section(&mut self, section: &Section, given: &Value) -> Option<Value> {
        match section.holds {
            Holds::Value(schema) | Holds::Settings(schema) => {
                self.read(section, None, Shape::of(schema().as_value()), given)
            }
            Holds::Plugin(kind) => self.one_plugin(section, kind, given),
            Holds::Plugins(kind) => self.stack_of_plugins(section, kind, given),
        }
    }

    fn one_plugin(&mut self, section: &Section, kind: Kind, given: &Value) -> Option<Value> {
        let known = listed(&plugins(kind));
        let heading = section.heading();
        let name = section.name;
        let Some(named) = given.as_object() else {
            let message = format!("`{name}` is not a table that names a plugin");
            self.report(&path([name]), Mark::Value, message, Some(format!("{heading} names one plugin: {known}")));
            return None;
        };
        let names: Vec<&String> = named.keys().collect();
        match names.as_slice() {
            [] => {
                let message = format!("[{name}] names no plugin");
                self.report(&path([name]), Mark::Key, message, Some(format!("{heading} names one plugin: {known}")));
                None
            }
            [plugin] => self.plugin(section, kind, plugin, &named[*plugin]),
            [.., last] => {
                // A plugin that does not exist is more likely a key in the wrong place or a
                // misspelt section.
                let message = format!("[{name}] takes one plugin, and {} are given", listed(&names));
                let help = format!("leave one; known plugins of this kind: {known}");
                self.report(&path([name, last]), Mark::Key, message, Some(help));
                None
            }
        }
    }

    fn stack_of_plugins(&mut self, section: &Section, kind: Kind, given: &Value) -> Option<Value> {
        let order = self.stack.compressors();
        let heading = section.heading();
        let Some(named) = given.as_object() else {
            let help = format!("write {heading}, and below it `score-prune = {{ rate = 0.8 }}`");
            self.report(&path([section.name]), Mark::Value, format!("`{}` is not an array", section.name), Some(help));
            return None;
        };
        let mut all = Tree::new();
        for name in order {
            let read = named.get(name).and_then(|settings| self.plugin(section, kind, name, settings));
            all.extend(read.and_then(|read| read.as_object().cloned()).into_iter().flatten());
        }
        for name in named.keys().filter(|name| !order.contains(name)) {
            let message = format!("no {heading} is `{name}`{}", did_you_mean(name, order));
            let help = format!("{kind}s of this manifest: {}", listed(order));
            self.report(&path([section.name, name]), Mark::Key, message, Some(help));
        }
        Some(all.into())
    }

    fn plugin(&mut self, section: &Section, kind: Kind, name: &str, settings: &Value) -> Option<Value> {
        let Some(descriptor) = find(kind, name) else {
            let known = plugins(kind);
            let message = format!("unknown {kind} `{name}`{}", did_you_mean(name, &known));
            let help = format!("known plugins of this kind: {}", listed(&known));
            self.report(&path([section.name, name]), Mark::Key, message, Some(help));
            return None;
        };
        self.read(section, Some(name), Shape::of((descriptor.schema)().as_value()), settings)
    }

    /// Reads settings, and reports all that is wrong with them: what the schema refuses, then what
    /// the type refuses that reads the rest of them.
    fn read(&mut self, section: &Section, plugin: Option<&str>, shape: Shape, given: &Value) -> Option<Value> {
        let above: Vec<String> = plugin.map(str::to_owned).into_iter().collect();
        let mut value = above.iter().fold(given.clone(), |inner, name| Tree::from_iter([(name.clone(), inner)]).into());
        let flaws = shape.flaws(given);
        let mut good = flaws.is_empty();
        let below_section = |inner: &[String]| [&[section.name.to_owned()], inner].concat();
        for Flaw { path, fault } in distinct(&flaws) {
            let full = below_section(&[above.as_slice(), path].concat());
            self.problems.push(refused(self.stack, &full, fault));
        }
        for Flaw { path, .. } in flaws.iter().filter(|flaw| !matches!(flaw.fault, Fault::MissingKey(_))) {
            if path.is_empty() {
                return None;
            }
            take_out(&mut value, &[above.as_slice(), path].concat());
        }
        for _ in 0..MOST_PROBLEMS {
            let error = match (section.read)(&value) {
                Ok(read) => return good.then_some(read),
                Err(error) => error,
            };
            let inner = segments(error.path());
            let left = above.iter().try_fold(&value, |value, name| value.get(name)).map(|left| shape.flaws(left));
            let lacks = |flaw: Flaw| inner == [above.as_slice(), &flaw.path].concat();
            if left.into_iter().flatten().any(lacks) {
                // It has been said that a key is missing there, or what is wrong with the one that
                // was taken out.
                return None;
            }
            let full = below_section(&inner);
            let help = in_quotes(self.stack, &full).filter(|_| error.inner().to_string().contains("expected a string"));
            self.report(&full, Mark::Value, format!("`{}`: {}", full.join("."), error.inner()), help);
            good = false;
            take_out(&mut value, &inner).filter(|depth| *depth > above.len())?;
        }
        None
    }
}

/// Adds the defaults that a schema tells and that `read`, a section or a plugin in one, lacks, where
/// they are what leaving them out means: `tau` has none where `time_constant` sets the decay.
fn add_told(section: &Section, plugin: Option<&str>, shape: Shape, read: &mut Value) {
    let in_section = |settings: Value| match plugin {
        Some(name) => Tree::from_iter([(name.to_owned(), settings)]).into(),
        None => settings,
    };
    let plain = in_section(read.clone());
    let means_nothing = |(path, default): &(Vec<String>, Value)| {
        let mut with = read.clone();
        put(&mut with, path, default.clone());
        (section.read)(&in_section(with)).is_ok_and(|with| with == plain)
    };
    let told: Vec<_> = told_defaults(shape, read, &[]).into_iter().filter(means_nothing).collect();
    told.into_iter().for_each(|(path, default)| put(read, &path, default));
}

/// The defaults that a schema tells of settings which `read` lacks, by their path.
fn told_defaults(shape: Shape, read: &Value, above: &[String]) -> Vec<(Vec<String>, Value)> {
    let of_setting = |(key, shape): (&str, Shape)| {
        let path = [above, &[key.to_owned()]].concat();
        match (read.get(key), shape.default()) {
            (Some(table), _) if shape.is_table() => told_defaults(shape, table, &path),
            (None, Some(default)) if !shape.is_table() => vec![(path, default.clone())],
            _ => Vec::new(),
        }
    };
    shape.properties().flat_map(of_setting).collect()
}

/// Sets what is at a path below tables that are there.
fn put(value: &mut Value, path: &[String], new: Value) {
    let [above @ .., key] = path else { return };
    let table = above.iter().try_fold(value, |value, key| value.get_mut(key));
    if let Some(Value::Object(table)) = table {
        table.insert(key.clone(), new);
    }
}

/// Flaws without the keys that are missing because they are misspelt.
fn distinct(flaws: &[Flaw]) -> impl Iterator<Item = &Flaw> {
    let misspells = |flaw: &Flaw, table: &[String], missing: &str| match (&flaw.fault, flaw.path.split_last()) {
        (Fault::UnknownKey(known), Some((name, above))) => above == table && nearest(name, known) == Some(missing),
        _ => false,
    };
    flaws.iter().filter(move |flaw| match &flaw.fault {
        Fault::MissingKey(missing) => !flaws.iter().any(|other| misspells(other, &flaw.path, missing)),
        _ => true,
    })
}

fn segments(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    path.iter()
        .map_while(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        })
        .collect()
}

/// Removes what is at a path from the innermost table around it; how deep that was.
fn take_out(value: &mut Value, path: &[String]) -> Option<usize> {
    let mut value = value;
    for (depth, segment) in path.iter().enumerate() {
        let Value::Object(map) = value else { return None };
        let last = depth + 1 == path.len() || !matches!(map.get(segment), Some(Value::Object(_)));
        if last {
            return map.remove(segment).map(|_| depth + 1);
        }
        value = map.get_mut(segment)?;
    }
    None
}

#[cfg(test)]
mod tests;
