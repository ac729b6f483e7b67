//! The plugin under test, its settings, and the rules that every kind keeps.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Kept, Law, Stop, Surroundings, broken, guarded, require};
use litesnn_framework::data::Dataset;
use litesnn_framework::launch::Launcher;
use litesnn_framework::network::{Compressor, SearchSpace, TimestepSearcher};
use litesnn_framework::plugin::{Descriptor, Kind, Limits, Setting};
use litesnn_framework::train::Optimizer;

/// Rules that plugins of every kind keep.
pub const GENERAL: &[Law] = &[
    Law {
        name: "documented",
        says: "its file, its summary, its source and each setting say what they are",
        check: documented,
    },
    Law { name: "examples", says: "every example is one section that names the plugin, and reads", check: examples },
    Law {
        name: "settings",
        says: "settings are written as they were read, defaults are told, and a misspelt key is refused",
        check: settings,
    },
];

/// A plugin, and what it is tested beside.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) plugin: &'static Descriptor,
    pub(super) beside: Surroundings,
}

/// A plugin made from settings.
pub(super) struct Made<P> {
    /// Its name.
    pub(super) name: &'static str,
    /// The settings, for a message.
    pub(super) shown: String,
    pub(super) settings: Value,
    pub(super) plugin: P,
}

impl<P> Made<P> {
    /// The plugin as a manifest names it.
    pub(super) fn named(&self) -> Value {
        json!({ self.name: self.settings })
    }
}

/// The settings in an example: the table below the plugin's name.
fn settings_of(descriptor: &Descriptor, example: &str) -> Result<Value, String> {
    let document: Value = toml_edit::de::from_str(example).map_err(|error| error.message().to_owned())?;
    let sections: Vec<&String> = document.as_object().into_iter().flat_map(|object| object.keys()).collect();
    let section = descriptor.kind.section();
    if sections != [section] {
        return Err(format!("it holds {sections:?} and not the section `{section}` alone"));
    }
    let named = match &document[section] {
        Value::Array(elements) if descriptor.kind == Kind::Compressor && elements.len() == 1 => &elements[0],
        Value::Object(_) if descriptor.kind != Kind::Compressor => &document[section],
        _ => return Err(format!("`{section}` does not hold one plugin")),
    };
    match named.as_object() {
        Some(table) if table.len() == 1 && table.contains_key(descriptor.name) => Ok(table[descriptor.name].clone()),
        _ => Err(format!("it names something else than `{}`", descriptor.name)),
    }
}

/// A plugin from its settings, as a manifest would read it.
pub(super) fn make<P: DeserializeOwned>(descriptor: &'static Descriptor, settings: &Value) -> Result<Made<P>, String> {
    if let Some((path, text)) = descriptor.out_of_range(settings).into_iter().next() {
        return Err(format!("`{}` {text}", path.join(".")));
    }
    let plugin = serde_json::from_value(json!({ descriptor.name: settings })).map_err(|error| error.to_string())?;
    Ok(Made { name: descriptor.name, shown: settings.to_string(), settings: settings.clone(), plugin })
}

/// The first example of a plugin.
pub(super) fn first_of<P: DeserializeOwned>(descriptor: &'static Descriptor) -> Kept<Made<P>> {
    let example = descriptor.examples.first().ok_or_else(|| broken("an example", "there is none"))?;
    read(descriptor, example)
}

/// A plugin as in an example.
fn read<P: DeserializeOwned>(descriptor: &'static Descriptor, example: &str) -> Kept<Made<P>> {
    let made = settings_of(descriptor, example).and_then(|settings| make(descriptor, &settings));
    made.map_err(|why| broken(format!("the example reads: {}", example.replace('\n', " ")), why))
}

impl Subject {
    /// The plugin as in each of its examples.
    pub(super) fn examples<P: DeserializeOwned>(&self) -> Kept<Vec<Made<P>>> {
        let all = self.plugin.examples.iter().map(|example| read(self.plugin, example)).collect::<Kept<Vec<_>>>()?;
        require(!all.is_empty(), "an example", "there is none")?;
        Ok(all)
    }

    /// The first registered plugin of a kind, as in its first example; the check is skipped where
    /// there is none.
    pub(super) fn beside<P: DeserializeOwned>(&self, kind: Kind) -> Kept<Made<P>> {
        match self.beside.plugins.iter().find(|plugin| plugin.kind == kind) {
            Some(plugin) => first_of(plugin),
            None => Err(Stop::Skipped(format!("no {kind} is registered"))),
        }
    }

    /// Every registered search space, as in its first example, those with more than one architecture
    /// first; the check is skipped where there is none.
    pub(super) fn spaces(&self) -> Kept<Vec<Made<Box<dyn SearchSpace>>>> {
        let registered = self.beside.plugins.iter().filter(|plugin| plugin.kind == Kind::Space);
        let mut all = registered.map(|plugin| first_of(plugin)).collect::<Kept<Vec<Made<Box<dyn SearchSpace>>>>>()?;
        all.sort_by_key(|space| space.plugin.fixed().is_some());
        if all.is_empty() { Err(Stop::Skipped("no space is registered".into())) } else { Ok(all) }
    }

    /// Every registered search space, as in its other examples.
    pub(super) fn spaces_otherwise(&self) -> Kept<Vec<Made<Box<dyn SearchSpace>>>> {
        let registered = self.beside.plugins.iter().filter(|plugin| plugin.kind == Kind::Space);
        let others = registered.flat_map(|plugin| plugin.examples.iter().skip(1).map(|example| read(plugin, example)));
        others.collect()
    }

    /// All other plugins of a kind.
    pub(super) fn others(&self, kind: Kind) -> impl Iterator<Item = &'static Descriptor> {
        let this = (self.plugin.kind, self.plugin.name);
        self.beside
            .plugins
            .iter()
            .copied()
            .filter(move |plugin| plugin.kind == kind && (plugin.kind, plugin.name) != this)
    }

    /// The first example with one setting changed at a time: bounds and what lies near them, short
    /// lists, every word. Each with what it is, once.
    pub(super) fn variations(&self) -> Kept<Vec<(String, Value)>> {
        let example = self.plugin.examples.first().ok_or_else(|| broken("an example", "there is none"))?;
        let settings = settings_of(self.plugin, example).map_err(|why| broken("the first example reads", why))?;
        let mut all = Vec::new();
        for setting in self.plugin.settings() {
            for value in extremes(&setting.schema, &setting.kind) {
                let what = format!("{} = {value}", setting.key);
                if all.iter().any(|(seen, _)| *seen == what) {
                    continue;
                }
                let mut changed = settings.clone();
                let path: Vec<&str> = setting.key.split('.').collect();
                let mut at = &mut changed;
                for key in &path[..path.len() - 1] {
                    at = &mut at[*key];
                }
                at[path[path.len() - 1]] = value;
                if changed != settings {
                    all.push((what, changed));
                }
            }
        }
        Ok(all)
    }

    /// [`variations`](Subject::variations) as plugins; those that are refused have to be refused
    /// clearly.
    pub(super) fn extremes<P: DeserializeOwned>(&self) -> Kept<Vec<(String, Made<P>)>> {
        let mut all = Vec::new();
        for (what, settings) in self.variations()? {
            match guarded(|| make(self.plugin, &settings)) {
                Ok(Ok(made)) => all.push((what, made)),
                Ok(Err(why)) => clear(&what, &why)?,
                Err(panic) => {
                    return Err(broken(format!("{what} is read or refused"), format!("it panicked: {panic}")));
                }
            }
        }
        Ok(all)
    }
}

/// Values at the edge of what a setting can be.
fn extremes(schema: &Value, kind: &str) -> Vec<Value> {
    let limits = Limits::of(schema);
    match kind {
        "float" => {
            let least = limits.least.map_or(0.0, |(least, _)| least);
            let mut values = vec![least];
            if let Some((most, _)) = limits.most {
                values.extend([0.001, 0.5, 0.9, 0.999_999, 1.0].map(|part| least + part * (most - least)));
            } else {
                values.push(least + 1.0);
            }
            values.into_iter().map(Value::from).collect()
        }
        "integer" => {
            let least = limits.least.map_or(0, |(least, _)| least as i64);
            // A width or a number of epochs has no bound that a test could reach.
            let most = limits.most.map(|(most, _)| most as i64).filter(|most| *most <= 64);
            let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_i64);
            [least - 1, least, least + 1, 2, 4].into_iter().chain(most).chain(listed).map(Value::from).collect()
        }
        "array of integers" => vec![json!([]), json!([0]), json!([1]), json!([2]), json!([4]), json!([8])],
        "boolean" => vec![json!(false), json!(true)],
        _ => {
            let words = schema["enum"].as_array().into_iter().flatten();
            let documented = schema["oneOf"].as_array().into_iter().flatten().map(|choice| &choice["const"]);
            words.chain(documented).filter(|word| word.is_string()).cloned().collect()
        }
    }
}

/// A refusal that a user can act on: words, not a type's name or a libtorch message.
pub(super) fn clear(what: &str, why: &str) -> Kept {
    let vague = ["data did not match any variant", "Exception raised", "c10::", "libtorch: "];
    let good = why.trim().len() >= 12 && !vague.iter().any(|sign| why.contains(sign));
    require(good, format!("{what} works, or is refused with an error that says why"), format!("the error {why:?}"))
}

fn documented(subject: &Subject) -> Kept {
    let plugin = subject.plugin;
    require(plugin.version >= 1, "a version of 1 or more", plugin.version.to_string())?;
    for (what, text) in [("summary", plugin.summary), ("paper", plugin.paper)] {
        let good = !text.is_empty() && !text.contains('\n') && !text.ends_with('.');
        require(good, format!("`{what}` is one line without a full stop"), format!("{text:?}"))?;
    }
    let documentation = plugin.documentation();
    require(
        documentation.trim().lines().count() >= 3,
        "the file begins with `//!` lines: what it is, its source, its formula",
        format!("{documentation:?}"),
    )?;
    let own = plugin.source.contains(&format!("name: \"{}\"", plugin.name));
    require(own, "`file` is the file that registers it", "the file named there registers something else")?;
    // A data set has no formula; its documentation says what lies in its files.
    // A launcher computes nothing either.
    let formula = matches!(plugin.kind, Kind::Dataset | Kind::Launcher) || !plugin.formulas().is_empty();
    require(formula, "a formula in the file's documentation: a block between ```text and ```", "there is none")?;
    for setting in plugin.settings() {
        require(!setting.meaning.is_empty(), format!("setting `{}` has documentation", setting.key), "it has none")?;
    }
    Ok(())
}

/// Reads settings, and writes what was read.
fn rewritten(plugin: &'static Descriptor, settings: &Value) -> Result<Value, String> {
    fn through<P: DeserializeOwned + Serialize>(
        plugin: &'static Descriptor,
        settings: &Value,
    ) -> Result<Value, String> {
        let made = make::<P>(plugin, settings)?;
        serde_json::to_value(&made.plugin)
            .map(|written| written[plugin.name].clone())
            .map_err(|error| error.to_string())
    }
    match plugin.kind {
        Kind::Dataset => through::<Box<dyn Dataset>>(plugin, settings),
        Kind::Space => through::<Box<dyn SearchSpace>>(plugin, settings),
        Kind::Compressor => through::<Box<dyn Compressor>>(plugin, settings),
        Kind::Timesteps => through::<Box<dyn TimestepSearcher>>(plugin, settings),
        Kind::Optimizer => through::<Box<dyn Optimizer>>(plugin, settings),
        Kind::Launcher => through::<Box<dyn Launcher>>(plugin, settings),
    }
}

fn examples(subject: &Subject) -> Kept {
    let plugin = subject.plugin;
    require(!plugin.examples.is_empty(), "an example", "there is none")?;
    for example in plugin.examples {
        let read = settings_of(plugin, example).and_then(|settings| rewritten(plugin, &settings));
        if let Err(why) = read {
            return Err(broken(format!("it reads: {}", example.replace('\n', " ")), why));
        }
    }
    Ok(())
}

fn settings(subject: &Subject) -> Kept {
    const MISSPELT: &str = "no-such-setting";
    let plugin = subject.plugin;
    for example in plugin.examples {
        let given = settings_of(plugin, example).map_err(|why| broken("the example reads", why))?;
        let written = rewritten(plugin, &given).map_err(|why| broken("the example reads", why))?;
        for (key, value) in given.as_object().into_iter().flatten() {
            let same = written.get(key).is_some_and(|written| alike(value, written));
            require(same, format!("`{key}` = {value} is written as it was read"), format!("written is {written}"))?;
        }
        let again =
            rewritten(plugin, &written).map_err(|why| broken(format!("what was written reads: {written}"), why))?;
        require(again == written, format!("{written} is read and written without change"), again.to_string())?;
        told_defaults(plugin, &given, &written)?;
        let mut misspelt = given.clone();
        misspelt[MISSPELT] = json!(1);
        let refused = rewritten(plugin, &misspelt);
        let why = "an error, by `#[serde(deny_unknown_fields)]`";
        require(refused.is_err(), format!("`{MISSPELT} = 1`: {why}"), "the key is ignored without a word")?;
    }
    Ok(())
}

/// Whether the schema tells what a setting is where settings leave it out, and tells the truth.
/// `written` is what the settings that were given are written as.
fn told_defaults(plugin: &'static Descriptor, given: &Value, written: &Value) -> Kept {
    for Setting { key, kind, default, schema, .. } in plugin.settings() {
        let pointer = format!("/{}", key.replace('.', "/"));
        let table = pointer.rsplit_once('/').and_then(|(above, _)| given.pointer(above));
        if given.pointer(&pointer).is_some() || !table.is_some_and(Value::is_object) {
            continue;
        }
        let with = |value: &Value| {
            let (mut with, name) = (given.clone(), key.rsplit('.').next().unwrap_or_default());
            let (above, _) = pointer.rsplit_once('/').unwrap_or_default();
            with.pointer_mut(above).expect("it is a table")[name] = value.clone();
            rewritten(plugin, &with)
        };
        if let Some(default) = default {
            // A setting may be one of two that exclude each other.
            let same = with(&default).map_or(true, |with| with == *written);
            require(same, format!("`{key}` is {default} where it is left out"), "it is something else")?;
            continue;
        }
        let words = schema["oneOf"].as_array().into_iter().flatten().filter_map(|word| word["const"].as_str());
        let tried: Vec<Value> = match kind.as_str() {
            "boolean" => vec![json!(false), json!(true)],
            "integer" | "float" => vec![json!(0), json!(1)],
            "string" => words.map(Value::from).collect(),
            "table" => vec![json!({})],
            kind if kind.starts_with("array") => vec![json!([])],
            _ => Vec::new(),
        };
        let default = tried.iter().find(|value| with(value).is_ok_and(|with| with == *written));
        let what = "its schema tells the default, by `#[schemars(extend(\"default\" = ...))]` where serde does not";
        let told = default.map_or_else(String::new, |value| format!("{value} is what leaving it out means"));
        require(default.is_none(), format!("`{key}`: {what}"), told)?;
    }
    Ok(())
}

/// Whether a written value holds the given one; defaults may have been added to a table.
fn alike(given: &Value, written: &Value) -> bool {
    match (given, written) {
        (Value::Object(given), Value::Object(written)) => {
            given.iter().all(|(key, value)| written.get(key).is_some_and(|written| alike(value, written)))
        }
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => given == written,
    }
}
