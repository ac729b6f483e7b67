//! What a plugin's file and schema say of it: documentation, formulas, settings.

use serde::Serialize;
use serde_json::Value;

use super::Descriptor;
use super::flaw::{Fault, Flaw};
use super::schema::Shape;

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
    /// Its default; `None` where it is required, or where it can be left away without having a
    /// value then.
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
        collect(Shape::of(schema.as_value()), &[], (None, true), &mut all);
        all
    }

    /// Everything in settings that the plugin's schema refuses.
    pub fn flaws(&self, given: &Value) -> Vec<Flaw> {
        Shape::of((self.schema)().as_value()).flaws(given)
    }

    /// Values of a wrong type or outside of a range: the setting's path, and the rest of a sentence
    /// that begins with it.
    pub fn out_of_range(&self, given: &Value) -> Vec<(Vec<String>, String)> {
        let unfit = |flaw: Flaw| match flaw.fault {
            Fault::Unfit(text) | Fault::NotText(text) => Some((flaw.path, text)),
            _ => None,
        };
        self.flaws(given).into_iter().filter_map(unfit).collect()
    }
}

/// The settings of a table that has `defaults` and is `required`, or may be left out.
fn collect(table: Shape, path: &[&str], (defaults, required): (Option<&Value>, bool), all: &mut Vec<Setting>) {
    for (key, shape) in table.properties() {
        let default = defaults.and_then(|table| table.get(key)).or_else(|| shape.default());
        let required = required && default.is_none() && table.required().any(|required| required == key);
        let path = [path, &[key]].concat();
        if shape.is_table() {
            collect(shape, &path, (default, required), all);
            continue;
        }
        all.push(Setting {
            key: path.join("."),
            kind: kind(shape),
            unit: shape.unit().map(str::to_owned),
            required,
            default: default.filter(|value| !value.is_null()).cloned(),
            range: range(shape),
            meaning: shape.description().unwrap_or_default(),
            schema: shape.schema().clone(),
        });
    }
}

/// The type of a setting, as TOML calls it.
fn kind(shape: Shape) -> String {
    match shape.type_name() {
        Some("number") => "float".into(),
        Some("array") => format!("array of {}", plural(&shape.items().map_or_else(|| "any".into(), kind))),
        Some("object") => "table".into(),
        Some(name) => name.into(),
        None => "any".into(),
    }
}

fn plural(kind: &str) -> String {
    match kind.split_once(' ') {
        Some((first, rest)) => format!("{first}s {rest}"),
        None => format!("{kind}s"),
    }
}

/// What a setting can be: words, numbers, or what each element of an array can be.
fn range(shape: Shape) -> Option<String> {
    let words = shape.words();
    if !words.is_empty() {
        let said = words.iter().map(|(word, meaning)| match meaning {
            Some(meaning) => format!("\"{word}\": {}", meaning.trim_end_matches('.').replace('\n', " ")),
            None => format!("\"{word}\""),
        });
        return Some(said.collect::<Vec<_>>().join(", "));
    }
    match shape.items() {
        Some(items) => range(items).map(|range| format!("each {range}")),
        None => shape.range(),
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::super::{Kind, settings_schema};
    use super::*;

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
        #[serde(default)]
        optional: Option<Inner>,
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
                row("optional.width", "integer", Value::Null, Some("1 to 65535")),
                row("rate", "float", Value::Null, Some("0 or more and below 1")),
                row("root", "string", Value::Null, None),
            ]
        );
        let rate = PLUGIN.settings().into_iter().find(|setting| setting.key == "rate").unwrap();
        assert_eq!((rate.unit.as_deref(), rate.required), (Some("of the weights"), true));
        assert_eq!(rate.meaning, "Fraction that is removed.");
        let optional = PLUGIN.settings().into_iter().find(|setting| setting.key == "optional.width").unwrap();
        assert!(!optional.required, "its table may be left out");
    }

    #[test]
    fn a_value_outside_of_its_range_is_found() {
        assert!(PLUGIN.out_of_range(&json!({ "rate": 0.0, "bits": [1, 8], "inner": { "width": 3 } })).is_empty());
        let found = PLUGIN.out_of_range(&json!({ "rate": 1.0, "bits": [1, 9], "inner": { "width": 0 } }));
        let said: Vec<String> = found.iter().map(|(path, text)| format!("{} {text}", path.join("."))).collect();
        assert_eq!(
            said,
            [
                "bits.1 is 9, and has to be 1 to 8",
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
