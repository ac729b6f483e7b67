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
    pub(super) fn choices(&self, names: &[&str]) -> Result<Vec<Choice<'_>>, Unfilled> {
        let mut axes: Vec<&Axis> = Vec::new();
        for placeholder in names.iter().flat_map(|name| placeholders(name)) {
            let axis = self.axis(axis_of(placeholder))?;
            if !axes.iter().any(|other| other.name == axis.name) {
                axes.push(axis);
            }
        }
        let mut choices = vec![Choice::default()];
        for axis in axes {
            let longer = |choice: &Choice| {
                let stands = axis.values.iter().map(|(value, tree)| Stand { axis, value, tree });
                let of = |stand| Choice([choice.0.as_slice(), &[stand]].concat());
                stands.map(of).collect::<Vec<_>>()
            };
            choices = choices.iter().flat_map(longer).collect();
        }
        Ok(choices)
    }

    /// Each value with the name of its axis, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'a str, &'a str, &'a Tree)> {
        self.axes.iter().flat_map(|axis| axis.values.iter().map(|(value, tree)| (axis.name, *value, *tree)))
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
        let mut read = HashSet::new();
        let values = self.axes.iter().flat_map(|axis| &axis.values).map(|(_, tree)| *tree);
        variants.iter().for_each(|variant| gather(variant, &mut read));
        values.flat_map(|tree| tree.values()).for_each(|value| gather(value, &mut read));
        let names: Vec<&str> = variants.iter().filter_map(|variant| variant.get("name")?.as_str()).collect();
        let is_known = |it: &&str| self.axes.iter().any(|axis| axis.name == axis_of(it));
        // A misspelt placeholder is one problem, and not also that nothing reads what was meant.
        let all_known = names.iter().flat_map(|name| placeholders(name)).all(|it| is_known(&it));
        for axis @ Axis { name, values } in &self.axes {
            let at = path(["axis", name]);
            if !is_beside(&at) {
                continue;
            }
            if !names.iter().flat_map(|pattern| placeholders(pattern)).any(|it| axis_of(it) == *name) {
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
mod tests {
    use super::*;
    use crate::ground::ConfigLayer;
    use crate::manifest::explain;
    use crate::manifest::fixtures::Desk;

    const TABLE: &str = r#"
[axis.scale]
medium = { rate = 0.8, lambda = 2e-10 }
large = { rate = 0.5, lambda = 1e-10 }
small = { rate = 0.9, lambda = 3e-10 }

[axis.way]
searched = { set = { "optimizer.test-joint.lambda" = "{scale.lambda}" } }
drawn = { remove = ["optimizer", "search"], set = { "design" = { from = "searched-{scale}", redraw = true } } }

[[variant]]
name = "{way}-{scale}"
set = { "compressor.test-prune.rate" = "{scale.rate}" }

[[variant]]
name = "plain"
set = { compressor = [] }

[[compare]]
a = "searched-{scale}"
b = "drawn-{scale}"
"#;

    fn names(desk: &Desk) -> Vec<String> {
        desk.plan().trials.iter().map(|trial| trial.variant.clone()).collect()
    }

    fn setting(desk: &Desk, variant: &str, pointer: &str) -> Value {
        let plan = desk.plan();
        let trial = plan.trials.iter().find(|trial| trial.variant == variant).expect(variant);
        trial.settings.pointer(pointer).cloned().unwrap_or_default()
    }

    #[test]
    fn a_name_with_placeholders_is_a_variant_for_each_combination_in_the_order_of_the_file() {
        let desk = Desk::good(TABLE);
        let searched = ["searched-medium", "searched-large", "searched-small"];
        let drawn = ["drawn-medium", "drawn-large", "drawn-small"];
        assert_eq!(names(&desk), [searched.as_slice(), &drawn, &["plain"]].concat());
        let plan = desk.plan();
        for (index, trial) in plan.trials[3..6].iter().enumerate() {
            assert_eq!(trial.depends_on, Some(index), "{}", trial.variant);
        }
        let pairs: Vec<(usize, usize)> = plan.comparisons.iter().map(|pair| (pair.a, pair.b)).collect();
        assert_eq!(pairs, [(0, 3), (1, 4), (2, 5)]);
    }

    #[test]
    fn the_trials_are_those_of_the_variants_written_out() {
        let mut written = String::new();
        for (scale, rate, lambda) in [("medium", 0.8, 2e-10), ("large", 0.5, 1e-10), ("small", 0.9, 3e-10)] {
            written += &format!(
                "[[variant]]\nname = \"searched-{scale}\"\n\
                 set = {{ \"compressor.test-prune.rate\" = {rate}, \"optimizer.test-joint.lambda\" = {lambda:e} }}\n\
                 [[variant]]\nname = \"drawn-{scale}\"\nremove = [\"optimizer\", \"search\"]\n\
                 set = {{ \"compressor.test-prune.rate\" = {rate}, design = {{ from = \"searched-{scale}\", redraw = true }} }}\n"
            );
        }
        let (axes, written) = (Desk::good(TABLE).plan(), Desk::good(&written).plan());
        for trial in &written.trials {
            let same = axes.trials.iter().find(|other| other.variant == trial.variant).expect("a trial of this name");
            assert_eq!(same.settings, trial.settings, "{}", trial.variant);
        }
        assert_eq!(axes.trials.len(), written.trials.len() + 1);
    }

    #[test]
    fn a_profile_changes_adds_and_leaves_out_values() {
        let more = "[profile.p.axis.scale]\nlarge = { lambda = 7e-10 }\nsmall = false\ntiny = { rate = 0.95, lambda = 4e-10 }\n";
        let desk = Desk::good(&format!("{TABLE}{more}")).profile("p");
        assert_eq!(names(&desk)[..3], ["searched-medium", "searched-large", "searched-tiny"]);
        assert_eq!(setting(&desk, "searched-large", "/optimizer/test-joint/lambda"), 7e-10);
        assert_eq!(setting(&desk, "drawn-large", "/compressor/1/test-prune/rate"), 0.5);
        let shell = Desk::good(TABLE).set("axis.scale.large=false").set("axis.scale.small=false");
        assert_eq!(names(&shell), ["searched-medium", "drawn-medium", "plain"]);
        let shell = Desk::good(TABLE).set("axis.scale.large.rate=0.25");
        let trials = shell.plan().trials;
        let told: Vec<usize> = trials.iter().map(|trial| trial.overrides.len()).collect();
        assert_eq!(told, [0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(trials[1].overrides, ["axis.scale.large.rate=0.25"]);
    }

    #[test]
    fn a_whole_placeholder_keeps_its_kind_and_a_text_takes_numbers() {
        let text = r#"
[axis.method]
dense = { compressor = [] }
pruned = { compressor = [{ test-prune = { rate = 0.5 } }] }
[[variant]]
name = "m-{method}"
set = { compressor = "{method.compressor}", "dataset.test-pictures.root" = "/data/{method}/{x}" }
"#;
        assert_eq!(Desk::good(text).headline(), "a.toml:34:76: the variant's name does not have `{x}`");
        let desk = Desk::good(&text.replace("{x}", "{ x }"));
        assert_eq!(setting(&desk, "m-pruned", "/compressor/0/test-prune/rate"), 0.5);
        assert_eq!(setting(&desk, "m-dense", "/dataset/test-pictures/root"), "/data/dense/{ x }");
        let wrong = Desk::good(&text.replace("/{x}", "").replace("rate = 0.5", "rte = 0.5"));
        assert!(wrong.headline().starts_with("a.toml:31:43: unknown key `rte`"), "{}", wrong.headline());
    }

    #[test]
    fn what_is_wrong_with_an_axis_is_told_with_its_place() {
        let headline = |from: &str, to: &str| {
            assert!(TABLE.contains(from), "{from}");
            Desk::good(&TABLE.replace(from, to)).messages()[0].lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(
            headline("name = \"{way}-{scale}\"", "name = \"{way}-{scle}\""),
            "a.toml:39:8: no axis is named `scle`; did you mean `scale`?"
        );
        assert_eq!(
            headline("\"{scale.rate}\"", "\"{scale.rte}\""),
            "a.toml:40:40: no value of axis `scale` has `rte`; did you mean `rate`?"
        );
        assert_eq!(
            headline("medium = { rate = 0.8", "medium = { rte = 0.8"),
            "a.toml:30:12: nothing reads `rte` of `medium`: no variant has `{scale.rte}`; did you mean `rate`?"
        );
        assert_eq!(
            headline("medium = {", "medium = 3 # {"),
            "a.toml:30:10: `medium` of [axis.scale] is neither a table nor `false`"
        );
        assert_eq!(
            headline("b = \"drawn-{scale}\"", "b = \"drawn-{scales}\""),
            "a.toml:48:5: no axis is named `scales`; did you mean `scale`?"
        );
        assert_eq!(
            headline("[axis.way]", "[axis.nothing]\na = {}\n[axis.way]"),
            "a.toml:34:7: nothing reads [axis.nothing]: no variant's name has `{nothing}`"
        );
        // The value of a key is wrong: its own place is told, once for all variants.
        assert_eq!(
            headline("rate = 0.5,", "rate = \"a\","),
            "a.toml:31:18: `compressor.test-prune.rate` is not a number"
        );
        assert_eq!(
            headline("remove = [\"optimizer\"", "remove = [\"optimiser\""),
            "a.toml:36:21: nothing sets `optimiser`, so that it cannot be removed"
        );
        let refused = headline("set = { compressor = [] }", "set = { \"axis.way\" = 1 }");
        assert!(refused.ends_with("a variant cannot change `axis.way`"), "{refused}");
    }

    #[test]
    fn an_explanation_names_the_value_of_the_axis() {
        let changed = explain(&Desk::good(TABLE).request, "optimizer.test-joint.lambda").unwrap()[0].changed.clone();
        let large = (ConfigLayer::Variant("searched-large".into()), Some("1e-10 (axis.scale.large.lambda)".to_owned()));
        assert_eq!(changed[1], large);
    }

    #[test]
    fn braces_round_anything_but_a_name_are_text() {
        assert_eq!(
            pieces("a{b}{c.d}e"),
            [Piece::Text("a"), Piece::Placeholder("b"), Piece::Placeholder("c.d"), Piece::Text("e")]
        );
        for text in ["x (a = { b = 1 })", "{", "}{", "{}", "{{ }"] {
            assert_eq!(pieces(text), [Piece::Text(text)]);
        }
    }
}
