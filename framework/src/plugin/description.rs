//! What a plugin's file and schema say of it: documentation, formulas, settings.

use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value};

use super::registry::Descriptor;

/// The keyword of a schema that holds a setting's unit: `#[schemars(extend("x-unit" = "bits"))]`.
const UNIT: &str = "x-unit";

/// The JSON schema of a plugin's settings, whole in itself: nothing in it refers to another place.
pub fn settings_schema<T: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<T>()
}

/// One setting of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Its path below the plugin's table: `rate`, `channels.search`.
    pub key: String,
    /// Its type, as TOML calls it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its unit, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Whether it has to be given.
    pub required: bool,
    /// Its default; `None` where it is required, or where it can be left away without having a value then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The values that it can have, where its schema says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// What it means: the documentation of the struct's field.
    pub meaning: String,
    /// Its schema.
    #[serde(skip)]
    pub schema: Value,
}

impl Descriptor {
    /// The documentation of the plugin's file: what it is, its source, its formula. Markdown.
    pub fn documentation(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    /// The formulas in the documentation: its blocks of plain text.
    pub fn formulas(&self) -> Vec<String> {
        let documentation = self.documentation();
        let blocks = documentation.split("```text\n").skip(1);
        blocks.filter_map(|block| block.split_once("\n```")).map(|(formula, _)| formula.to_owned()).collect()
    }

    /// Its settings, those of tables within them by their path.
    pub fn settings(&self) -> Vec<Setting> {
        let schema = (self.schema)();
        let mut all = Vec::new();
        collect(schema.as_value(), &[], None, &mut all);
        all
    }

    /// What is outside of the range of its setting: the setting's path, and the rest of a sentence that begins with it.
    pub fn out_of_range(&self, given: &Value) -> Vec<(Vec<String>, String)> {
        let mut found = Vec::new();
        for setting in self.settings() {
            let path: Vec<String> = setting.key.split('.').map(str::to_owned).collect();
            let Some(value) = path.iter().try_fold(given, |value, key| value.get(key)) else { continue };
            let (limits, values) = match value.as_array() {
                Some(elements) => (Limits::of(&setting.schema["items"]), elements.as_slice()),
                None => (Limits::of(&setting.schema), std::slice::from_ref(value)),
            };
            if let Some(value) = values.iter().find(|value| value.as_f64().is_some_and(|value| !limits.contain(value)))
            {
                found.push((path, format!("is {}, and has to be {limits}", shown(value))));
            }
        }
        found
    }
}

/// A number as it stands in a manifest: without the `.0` that JSON gives a float.
fn shown(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string())
}

fn collect(object: &Value, path: &[&str], defaults: Option<&Value>, all: &mut Vec<Setting>) {
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, property) in object["properties"].as_object().into_iter().flatten() {
        let schema = present(property);
        let default = defaults.and_then(|table| table.get(key)).or_else(|| property.get("default"));
        let path = [path, &[key.as_str()]].concat();
        if schema["properties"].is_object() {
            collect(schema, &path, default, all);
            continue;
        }
        let meaning = property["description"].as_str().or(schema["description"].as_str()).unwrap_or_default();
        all.push(Setting {
            key: path.join("."),
            kind: kind(schema),
            unit: property.get(UNIT).and_then(Value::as_str).map(str::to_owned),
            required: default.is_none() && required.contains(&key.as_str()),
            default: default.filter(|value| !value.is_null()).cloned(),
            range: range(schema),
            meaning: meaning.replace('\n', " "),
            schema: schema.clone(),
        });
    }
}

/// The schema of a value that is given, when it may also be absent.
fn present(schema: &Value) -> &Value {
    let choices = schema["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
    choices.iter().find(|choice| choice["type"] != "null").unwrap_or(schema)
}

fn kind(schema: &Value) -> String {
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or_default(),
        name => name.as_str().unwrap_or_default(),
    };
    match name {
        "number" => "float".into(),
        "array" => format!("array of {}", plural(&kind(&schema["items"]))),
        "object" => "table".into(),
        "" if !words(schema).is_empty() => "string".into(),
        "" => "any".into(),
        name => name.into(),
    }
}

fn plural(kind: &str) -> String {
    match kind.split_once(' ') {
        Some((first, rest)) => format!("{first}s {rest}"),
        None => format!("{kind}s"),
    }
}

/// The words that a setting can be, with what each means.
fn words(schema: &Value) -> Vec<(&str, Option<&str>)> {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let documented = choices.flat_map(|choice| {
        let meaning = choice["description"].as_str();
        let plain = choice["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        plain.chain(choice["const"].as_str()).map(move |word| (word, meaning))
    });
    let plain = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(|word| (word, None));
    documented.chain(plain).collect()
}

fn range(schema: &Value) -> Option<String> {
    let words = words(schema);
    if !words.is_empty() {
        let said = words.iter().map(|(word, meaning)| match meaning {
            Some(meaning) => format!("\"{word}\": {}", meaning.trim_end_matches('.').replace('\n', " ")),
            None => format!("\"{word}\""),
        });
        return Some(said.collect::<Vec<_>>().join(", "));
    }
    if schema["items"].is_object() {
        return range(&schema["items"]).map(|range| format!("each {range}"));
    }
    let limits = Limits::of(schema);
    limits.limit().then(|| limits.to_string())
}

/// The bounds of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The least value, and whether it is allowed itself.
    pub least: Option<(f64, bool)>,
    /// The largest value, and whether it is allowed itself.
    pub most: Option<(f64, bool)>,
}

impl Limits {
    /// The bounds that a schema states.
    pub fn of(schema: &Value) -> Limits {
        let bound = |inclusive: &str, exclusive: &str| {
            let strict = schema[exclusive].as_f64().map(|value| (value, false));
            strict.or_else(|| schema[inclusive].as_f64().map(|value| (value, true)))
        };
        Limits { least: bound("minimum", "exclusiveMinimum"), most: bound("maximum", "exclusiveMaximum") }
    }

    /// Whether there are any.
    pub fn limit(&self) -> bool {
        self.least.is_some() || self.most.is_some()
    }

    /// Whether a value is within them.
    pub fn contain(&self, value: f64) -> bool {
        let above = self.least.is_none_or(|(least, itself)| value > least || (itself && value == least));
        above && self.most.is_none_or(|(most, itself)| value < most || (itself && value == most))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |bound: Option<(f64, bool)>, strict: &str, inclusive: &str| {
            bound.map(|(value, itself)| if itself { format!("{value}{inclusive}") } else { format!("{strict}{value}") })
        };
        match (words(self.least, "more than ", " or more"), words(self.most, "below ", " or less")) {
            (Some(least), Some(most)) => match (self.least, self.most) {
                (Some((least, true)), Some((most, true))) => write!(f, "{least} to {most}"),
                _ => write!(f, "{least} and {most}"),
            },
            (Some(one), None) | (None, Some(one)) => f.write_str(&one),
            (None, None) => f.write_str("any number"),
        }
    }
}

/// The schema as a JSON object, without what only says how it was made.
pub fn plain_schema(schema: &Schema) -> Map<String, Value> {
    let mut object = schema.as_value().as_object().cloned().unwrap_or_default();
    object.remove("$schema");
    object
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    /// Settings of the test.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Settings {
        /// Fraction that is removed.
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
        rate: f64,
        /// Candidates.
        #[serde(default = "candidates")]
        #[schemars(inner(range(min = 1, max = 8)))]
        bits: Vec<u32>,
        /// Where files lie.
        #[serde(default)]
        root: Option<std::path::PathBuf>,
        /// How.
        #[serde(default)]
        mode: Mode,
        #[serde(default)]
        inner: Inner,
    }

    fn candidates() -> Vec<u32> {
        vec![1, 2]
    }

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        /// The plain way.
        #[default]
        Plain,
        /// The other one.
        Other,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Inner {
        /// Width.
        width: std::num::NonZeroU16,
    }

    impl Default for Inner {
        fn default() -> Self {
            Inner { width: std::num::NonZeroU16::MIN }
        }
    }

    const PLUGIN: Descriptor = Descriptor {
        kind: Kind::Compressor,
        name: "test",
        version: 1,
        summary: "",
        paper: "",
        examples: &[],
        schema: settings_schema::<Settings>,
        source: "//! A test.\n//!\n//! ```text\n//! a = b\n//!   + c\n//! ```\n\nuse std;\n//! not this\n",
    };

    #[test]
    fn settings_are_told_from_the_struct() {
        let said: Vec<(String, String, Option<Value>, Option<String>)> = PLUGIN
            .settings()
            .into_iter()
            .map(|setting| (setting.key, setting.kind, setting.default, setting.range))
            .collect();
        let row = |key: &str, kind: &str, default: Value, range: Option<&str>| {
            let default = (!default.is_null()).then_some(default);
            (key.to_owned(), kind.to_owned(), default, range.map(str::to_owned))
        };
        assert_eq!(
            said,
            [
                row("bits", "array of integers", json!([1, 2]), Some("each 1 to 8")),
                row("inner.width", "integer", json!(1), Some("1 to 65535")),
                row("mode", "string", json!("plain"), Some("\"plain\": The plain way, \"other\": The other one")),
                row("rate", "float", Value::Null, Some("0 or more and below 1")),
                row("root", "string", Value::Null, None),
            ]
        );
        let rate = PLUGIN.settings().into_iter().find(|setting| setting.key == "rate").unwrap();
        assert_eq!((rate.unit.as_deref(), rate.required), (Some("of the weights"), true));
        assert_eq!(rate.meaning, "Fraction that is removed.");
    }

    #[test]
    fn a_value_outside_of_its_range_is_found() {
        assert!(PLUGIN.out_of_range(&json!({ "rate": 0.0, "bits": [1, 8], "inner": { "width": 3 } })).is_empty());
        let found = PLUGIN.out_of_range(&json!({ "rate": 1.0, "bits": [1, 9], "inner": { "width": 0 } }));
        let said: Vec<String> = found.iter().map(|(path, text)| format!("{} {text}", path.join("."))).collect();
        assert_eq!(
            said,
            [
                "bits is 9, and has to be 1 to 8",
                "inner.width is 0, and has to be 1 to 65535",
                "rate is 1, and has to be 0 or more and below 1",
            ]
        );
    }

    #[test]
    fn documentation_and_formula_are_those_of_the_file() {
        assert!(PLUGIN.documentation().starts_with("A test.\n\n```text\n"));
        assert!(!PLUGIN.documentation().contains("not this"));
        assert_eq!(PLUGIN.formulas(), ["a = b\n  + c"]);
    }
}
