//! `[axis.NAME]`: what rows differ in, by name. A variant whose name has placeholders is one variant
//! for each combination of their values.
//!
//! ```toml
//! [axis.scale]                                        # in the order of the file
//! large = { rate = 0.5, lambda = 1e-10 }
//! small = { rate = 0.9, lambda = 1e-9 }
//!
//! [axis.way]
//! joint = { set = { "optimizer.joint.lambda_memory" = "{scale.lambda}" } }
//! random = { remove = ["optimizer", "search"], set = { "design" = { from = "joint-{scale}", redraw = true } } }
//!
//! [[variant]]                                         # joint-large, joint-small, random-large, random-small
//! name = "{way}-{scale}"
//! set = { "compressor.score-prune.rate" = "{scale.rate}" }
//!
//! [[compare]]                                         # joint-large - random-large, joint-small - random-small
//! a = "joint-{scale}"
//! b = "random-{scale}"
//! ```
//!
//! - `{scale}` is the name of the value that a variant stands at, and `{scale.rate}` is the key
//!   `rate` of this value. A text that is one placeholder and nothing else becomes the value itself,
//!   a number, an array or a table. Placeholders are filled in the texts of `set`, and in the names
//!   of a comparison, and not in the keys of `set`.
//! - Only the axes in its name tell what a variant stands at. The last one varies fastest. `set` and
//!   `remove` of the values hold before those of the variant, in the order of the name.
//! - Tables merge. So a profile, or a file that extends this one, changes one key of one value, and
//!   adds values. `false` in the place of a value leaves the value out.
//! - What nothing reads is a problem where it stands in the file of the variants, and not in a layer
//!   below them: an axis that is in no name, and a key that no placeholder names. So a file may
//!   extend another one for a part of its axes.

use std::collections::HashSet;

use serde_json::Value;

use super::file::Mark;
use super::spelling::{did_you_mean, listed};
use super::stack::Stack;
use super::tree::{Tree, path};
use crate::ground::{Problem, toml};

/// The keys of a value that change settings, as those of a variant do.
const CHANGES: [&str; 2] = ["set", "remove"];

/// The axes of a manifest.
pub(super) struct Axes<'a> {
    base: &'a Stack,
    axes: Vec<Axis<'a>>,
}

/// An axis: its values in the order of the files, the lowest layer first.
struct Axis<'a> {
    name: &'a str,
    values: Vec<(&'a str, &'a Tree)>,
}

impl Axis<'_> {
    /// Whether one of its values has a key.
    fn has(&self, key: &str) -> bool {
        self.values.iter().any(|(_, tree)| tree.contains_key(key))
    }
}

/// What is wrong with a placeholder.
pub(super) struct Unfilled {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// One value of one axis, at which a variant stands.
#[derive(Clone, Copy)]
pub(super) struct Stand<'a> {
    axis: &'a Axis<'a>,
    value: &'a str,
    pub(super) tree: &'a Tree,
}

impl Stand<'_> {
    /// The path of the value.
    pub(super) fn at(&self) -> Vec<String> {
        path(["axis", self.axis.name, self.value])
    }
}

/// A value of each axis in a name. Without one, a brace is a brace.
#[derive(Clone, Default)]
pub(super) struct Choice<'a>(Vec<Stand<'a>>);

/// A placeholder that became a whole value: the path of the value in what was filled, and the path
/// in the manifest that it comes from.
pub(super) type Taken = (Vec<String>, Vec<String>);

impl<'a> Axes<'a> {
    /// The axes of the merged layers.
    pub(super) fn of(base: &'a Stack, merged: &'a Tree, problems: &mut Vec<Problem>) -> Axes<'a> {
        let mut report = |at: &[String], message: String| {
            let help = "write [axis.NAME], and below it `VALUE = { KEY = ..., set = { ... } }`".to_owned();
            problems.push(base.problem(at, Mark::Value, message, Some(help)));
        };
        let none = Axes { base, axes: Vec::new() };
        let found = match merged.get("axis") {
            None => return none,
            Some(Value::Object(found)) => found,
            Some(_) => {
                report(&path(["axis"]), "`axis` is not a table of axes".into());
                return none;
            }
        };
        let mut axes = Vec::new();
        for (name, values) in found {
            let Value::Object(values) = values else {
                report(&path(["axis", name]), format!("[axis.{name}] is not a table of values"));
                continue;
            };
            let mut good = Vec::new();
            for (value, tree) in values {
                match tree {
                    Value::Object(tree) => good.push((value.as_str(), tree)),
                    Value::Bool(false) => {}
                    _ => {
                        let message = format!("`{value}` of [axis.{name}] is neither a table nor `false`");
                        report(&path(["axis", name, value]), message);
                    }
                }
            }
            good.sort_by_key(|(value, _)| base.first(&path(["axis", name, value])));
            axes.push(Axis { name, values: good });
        }
        Axes { base, axes }
    }

    /// The choices that names stand for, the last axis fastest; one that chooses nothing, where no
    /// name has a placeholder.
    pub(super) fn choices<'s>(&'s self, names: &[&str]) -> Result<Vec<Choice<'s>>, Unfilled> {
        let mut axes: Vec<&'s Axis<'s>> = Vec::new();
        for placeholder in names.iter().flat_map(|name| placeholders(name)) {
            let axis = self.axis(axis_of(placeholder))?;
            if !axes.iter().any(|other| other.name == axis.name) {
                axes.push(axis);
            }
        }
        let mut choices = vec![Choice::default()];
        for axis in axes {
            let longer = |choice: &Choice<'s>| {
                let stands = axis.values.iter().map(|(value, tree)| Stand { axis, value, tree });
                let of = |stand| Choice([choice.0.as_slice(), &[stand]].concat());
                stands.map(of).collect::<Vec<_>>()
            };
            choices = choices.iter().flat_map(longer).collect();
        }
        Ok(choices)
    }

    /// What variants read of the axes, in order: axis, value, and the keys that are read.
    pub(super) fn read(&self, variants: &[Value]) -> Vec<(&'a str, &'a str, Tree)> {
        let (in_names, read) = (in_names(variants), self.placeholders(variants));
        let is_read = |axis: &str, key: &str| CHANGES.contains(&key) || read.contains(&format!("{axis}.{key}"));
        let axes = self.axes.iter().filter(|axis| in_names.iter().any(|it| axis_of(it) == axis.name));
        let of_axis = |axis: &Axis<'a>| {
            let (name, values) = (axis.name, axis.values.clone());
            values.into_iter().map(move |(value, tree)| (name, value, tree))
        };
        let only_read = |(axis, value, tree): (&'a str, &'a str, &Tree)| {
            let keys = tree.iter().filter(|(key, _)| is_read(axis, key));
            (axis, value, keys.map(|(key, value)| (key.clone(), value.clone())).collect())
        };
        axes.flat_map(of_axis).map(only_read).collect()
    }

    /// All placeholders of variants, and of what the values set.
    fn placeholders(&self, variants: &[Value]) -> HashSet<String> {
        let mut all = HashSet::new();
        let values = self.axes.iter().flat_map(|axis| &axis.values).map(|(_, tree)| *tree);
        variants.iter().for_each(|variant| gather(variant, &mut all));
        values.flat_map(|tree| tree.values()).for_each(|value| gather(value, &mut all));
        all
    }

    fn axis(&self, name: &str) -> Result<&Axis<'a>, Unfilled> {
        let known: Vec<String> = self.axes.iter().map(|axis| axis.name.to_owned()).collect();
        let axis = self.axes.iter().find(|axis| axis.name == name).ok_or_else(|| Unfilled {
            message: format!("no axis is named `{name}`{}", did_you_mean(name, &known)),
            help: Some(format!("axes: {}", listed(&known))),
        })?;
        if axis.values.is_empty() {
            let message = format!("axis `{name}` has no value");
            return Err(Unfilled { message, help: Some(format!("add `VALUE = {{}}` below [axis.{name}]")) });
        }
        Ok(axis)
    }

    /// Reports axes and keys that no variant reads.
    pub(super) fn unread(&self, variants: &[Value], problems: &mut Vec<Problem>) {
        // What only another file or a layer below the variants could read is not told.
        let (of_variants, file) = (self.base.rank(&path(["variant"])).0, self.base.file(&path(["variant"])));
        let is_beside = |at: &[String]| {
            let own = self.base.file(at);
            self.base.rank(at).0 >= of_variants && (own.is_none() || own == file)
        };
        let (in_names, read) = (in_names(variants), self.placeholders(variants));
        let is_known = |it: &&str| self.axes.iter().any(|axis| axis.name == axis_of(it));
        // A misspelt placeholder is one problem, and not also that nothing reads what was meant.
        let all_known = in_names.iter().all(is_known);
        for axis @ Axis { name, values } in &self.axes {
            let at = path(["axis", name]);
            if !is_beside(&at) {
                continue;
            }
            if !in_names.iter().any(|it| axis_of(it) == *name) {
                if !all_known {
                    continue;
                }
                let message = format!("nothing reads [axis.{name}]: no variant's name has `{{{name}}}`");
                let help = format!("`name = \"row-{{{name}}}\"` is one variant for each value");
                problems.push(self.base.problem(&at, Mark::Key, message, Some(help)));
                continue;
            }
            let known: Vec<String> = read
                .iter()
                .filter_map(|it| it.split_once('.').filter(|(axis, _)| axis == name))
                .map(|(_, key)| key.to_owned())
                .chain(CHANGES.map(str::to_owned))
                .collect();
            if known.iter().any(|key| !axis.has(key) && !CHANGES.contains(&key.as_str())) {
                continue;
            }
            for (value, tree) in values {
                for key in tree.keys().filter(|key| !known.contains(key)) {
                    let at = path(["axis", name, value, key]);
                    if is_beside(&at) {
                        let message = format!(
                            "nothing reads `{key}` of `{value}`: no variant has `{{{name}.{key}}}`{}",
                            did_you_mean(key, &known)
                        );
                        let mut known = known.clone();
                        known.sort();
                        let help = format!("keys that are read: {}", listed(&known));
                        problems.push(self.base.problem(&at, Mark::Key, message, Some(help)));
                    }
                }
            }
        }
    }
}

impl<'a> Choice<'a> {
    /// The values, in the order of the name.
    pub(super) fn stands(&self) -> impl Iterator<Item = Stand<'a>> {
        self.0.iter().copied()
    }

    /// A text with its placeholders filled.
    pub(super) fn text(&self, text: &str) -> Result<String, Unfilled> {
        if self.0.is_empty() {
            return Ok(text.to_owned());
        }
        let mut filled = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder(name) => match self.value(name)?.0 {
                    Value::String(value) => filled.push_str(&value),
                    Value::Array(_) | Value::Object(_) => {
                        let message = format!("`{{{name}}}` is no number and no text, and stands within a text");
                        return Err(Unfilled { message, help: Some(format!("write `\"{{{name}}}\"` alone")) });
                    }
                    value => filled.push_str(&toml::text(&value)),
                },
            }
        }
        Ok(filled)
    }

    /// A value with the placeholders in its texts filled. `at` is its path, and `taken` gets the
    /// placeholders that became whole values below it.
    pub(super) fn fill(&self, value: &Value, at: &[String], taken: &mut Vec<Taken>) -> Result<Value, Unfilled> {
        let mut below = |key: &str, value: &Value| self.fill(value, &[at, &[key.to_owned()]].concat(), taken);
        Ok(match value {
            _ if self.0.is_empty() => value.clone(),
            Value::Object(table) => {
                let filled = table.iter().map(|(key, value)| Ok((key.clone(), below(key, value)?)));
                filled.collect::<Result<Tree, Unfilled>>()?.into()
            }
            Value::Array(elements) => {
                let filled = elements.iter().enumerate().map(|(index, value)| below(&index.to_string(), value));
                filled.collect::<Result<Vec<Value>, Unfilled>>()?.into()
            }
            Value::String(text) => match pieces(text).as_slice() {
                [Piece::Placeholder(name)] => {
                    let (value, from) = self.value(name)?;
                    taken.extend(from.map(|from| (at.to_owned(), from)));
                    value
                }
                _ => self.text(text)?.into(),
            },
            value => value.clone(),
        })
    }

    /// What a placeholder stands for, and the path of the key that it names.
    fn value(&self, placeholder: &str) -> Result<(Value, Option<Vec<String>>), Unfilled> {
        let axis = axis_of(placeholder);
        let known: Vec<String> = self.0.iter().map(|stand| stand.axis.name.to_owned()).collect();
        let stand = self.0.iter().find(|stand| stand.axis.name == axis).ok_or_else(|| Unfilled {
            message: format!("the variant's name does not have `{{{axis}}}`{}", did_you_mean(axis, &known)),
            help: Some(format!("axes in its name: {}", listed(&known))),
        })?;
        let Some((_, key)) = placeholder.split_once('.') else { return Ok((stand.value.into(), None)) };
        let known: Vec<String> = stand.tree.keys().filter(|key| !CHANGES.contains(&key.as_str())).cloned().collect();
        let value = stand.tree.get(key).filter(|_| known.iter().any(|known| known == key));
        let value = value.ok_or_else(|| Unfilled {
            message: match stand.axis.has(key) {
                true => format!("`{}` of axis `{axis}` has no `{key}`{}", stand.value, did_you_mean(key, &known)),
                false => format!("no value of axis `{axis}` has `{key}`{}", did_you_mean(key, &known)),
            },
            help: Some(format!("it has {}", listed(&known))),
        })?;
        Ok((value.clone(), Some([stand.at(), vec![key.to_owned()]].concat())))
    }
}

/// A part of a text.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// A text in parts. Braces round anything but a name are text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let is_name = |inner: &str| {
        !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let (mut all, mut begin) = (Vec::new(), 0);
    for (open, _) in text.match_indices('{') {
        let Some(length) = text[open..].find('}') else { break };
        let inner = &text[open + 1..open + length];
        if !is_name(inner) {
            continue;
        }
        if begin < open {
            all.push(Piece::Text(&text[begin..open]));
        }
        all.push(Piece::Placeholder(inner));
        begin = open + length + 1;
    }
    if begin < text.len() {
        all.push(Piece::Text(&text[begin..]));
    }
    all
}

fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Placeholder(name) => Some(name),
        Piece::Text(_) => None,
    })
}

/// The placeholders in the names of variants.
fn in_names(variants: &[Value]) -> Vec<&str> {
    let names = variants.iter().filter_map(|variant| variant.get("name")?.as_str());
    names.flat_map(placeholders).collect()
}

/// The axis that a placeholder names.
fn axis_of(placeholder: &str) -> &str {
    placeholder.split_once('.').map_or(placeholder, |(axis, _)| axis)
}

/// The placeholders in all texts of a value.
fn gather(value: &Value, all: &mut HashSet<String>) {
    match value {
        Value::String(text) => all.extend(placeholders(text).map(str::to_owned)),
        Value::Array(elements) => elements.iter().for_each(|element| gather(element, all)),
        Value::Object(table) => table.values().for_each(|value| gather(value, all)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
