//! What a schema refuses of settings that are given: names, types, ranges, lengths.

use std::collections::BTreeSet;

use serde_json::Value;

use super::limits::Limits;
use super::schema::Shape;
use crate::ground::counted;

/// Something that a schema refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct Flaw {
    /// Where: keys of tables and indices of arrays.
    pub path: Vec<String>,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Its table has no such key, but these.
    UnknownKey(Vec<String>),
    /// It is a table that lacks a key.
    MissingKey(String),
    /// It is none of the words that a setting can be.
    UnknownWord {
        /// The word.
        found: String,
        /// The words that are allowed.
        known: Vec<String>,
    },
    /// It has another type, or lies outside of a range: the rest of a sentence that begins with the
    /// setting.
    Unfit(String),
    /// It is a number or a truth where text is expected: the same as for [`Fault::Unfit`].
    NotText(String),
}

impl Shape<'_> {
    /// Everything in `given` that the schema refuses. A value of several possible forms is left to
    /// whoever reads it.
    pub fn flaws(self, given: &Value) -> Vec<Flaw> {
        let mut found = Flaws { path: Vec::new(), all: Vec::new() };
        found.value(self, given);
        found.all
    }

    /// What a number, or each element of an array, can be; `None` where the schema sets no bounds.
    pub(super) fn range(self) -> Option<String> {
        let numbers = self.numbers();
        let limits = Limits::of(self.schema());
        match numbers.split_last() {
            Some((last, [])) => Some(last.to_string()),
            Some((last, others)) => {
                let others: Vec<String> = others.iter().map(f64::to_string).collect();
                Some(format!("{} or {last}", others.join(", ")))
            }
            None => limits.limit().then(|| limits.to_string()),
        }
    }

    fn allows(self, number: f64) -> bool {
        let numbers = self.numbers();
        Limits::of(self.schema()).contain(number) && (numbers.is_empty() || numbers.contains(&number))
    }
}

struct Flaws {
    /// Of the value that is looked at.
    path: Vec<String>,
    all: Vec<Flaw>,
}

impl Flaws {
    fn refuse(&mut self, fault: Fault) {
        self.all.push(Flaw { path: self.path.clone(), fault });
    }

    fn below(&mut self, segment: &str, look: impl FnOnce(&mut Self)) {
        self.path.push(segment.to_owned());
        look(self);
        self.path.pop();
    }

    fn value(&mut self, shape: Shape, given: &Value) {
        let wanted = shape.type_name();
        match (wanted, given) {
            (Some("object"), Value::Object(_)) => self.table(shape, given),
            (Some("array"), Value::Array(elements)) => self.array(shape, elements),
            (Some("string"), Value::String(text)) => self.text(shape, text),
            (Some("number"), Value::Number(number)) => self.number(shape, number),
            (Some("integer"), Value::Number(number)) if !number.is_f64() => self.number(shape, number),
            (Some("boolean"), Value::Bool(_)) => {}
            (None, _) if !given.is_null() => {}
            _ => {
                let words = format!("is {}, expected {}", in_words(given), expected(wanted, given));
                self.refuse(match (wanted, given) {
                    (Some("string"), Value::Number(_) | Value::Bool(_)) => Fault::NotText(words),
                    _ => Fault::Unfit(words),
                });
            }
        }
    }

    fn table(&mut self, shape: Shape, given: &Value) {
        for (key, value) in given.as_object().into_iter().flatten() {
            self.below(key, |found| match shape.property(key).or_else(|| shape.other_keys()) {
                Some(shape) => found.value(shape, value),
                None => found.refuse(Fault::UnknownKey(shape.names())),
            });
        }
        for key in shape.required().filter(|key| given.get(key).is_none()) {
            self.refuse(Fault::MissingKey(key.to_owned()));
        }
    }

    fn array(&mut self, shape: Shape, elements: &[Value]) {
        let limits = shape.between("minItems", "maxItems");
        if !limits.contain(elements.len() as f64) {
            let held = match elements.len() {
                0 => "is empty".to_owned(),
                count => format!("holds {}", counted(count, "value")),
            };
            self.refuse(Fault::Unfit(format!("{held}, and has to hold {limits}")));
        }
        let mut seen = BTreeSet::new();
        for (index, element) in elements.iter().enumerate() {
            let twice = shape.says("uniqueItems") && !seen.insert(element.to_string());
            self.below(&index.to_string(), |found| match shape.items() {
                _ if twice => {
                    found.refuse(Fault::Unfit(format!("is {element} again, and has to differ from the others")))
                }
                Some(items) => found.value(items, element),
                None => {}
            });
        }
    }

    fn text(&mut self, shape: Shape, text: &str) {
        let known: Vec<String> = shape.words().iter().map(|(word, _)| (*word).to_owned()).collect();
        let length = shape.between("minLength", "maxLength");
        if !known.is_empty() && !known.iter().any(|word| word == text) {
            self.refuse(Fault::UnknownWord { found: text.to_owned(), known });
        } else if !length.contain(text.chars().count() as f64) {
            self.refuse(Fault::Unfit(format!("is {text:?}, and has to be of length {length}")));
        }
    }

    fn number(&mut self, shape: Shape, number: &serde_json::Number) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        if !shape.allows(value) {
            let range = shape.range().unwrap_or_default();
            // Without the `.0` that JSON gives a float.
            self.refuse(Fault::Unfit(format!("is {value}, and has to be {range}")));
        }
    }
}

/// What was found, as a person says it. JSON has no infinite number and no NaN: they are null,
/// which no manifest can hold.
fn in_words(given: &Value) -> String {
    match given {
        Value::Null => "infinite or NaN".into(),
        Value::Bool(truth) => format!("the boolean `{truth}`"),
        Value::Number(number) if number.is_f64() => format!("the number `{number}`"),
        Value::Number(number) => format!("the integer `{number}`"),
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "a table".into(),
    }
}

fn expected(wanted: Option<&str>, given: &Value) -> &'static str {
    match wanted {
        Some("object") => "a table",
        Some("array") => "an array",
        Some("string") => "a string",
        Some("boolean") => "true or false",
        Some("integer") => "an integer",
        _ if given.is_null() => "a finite number",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flaws(schema: Value, given: Value) -> Vec<String> {
        let found = Shape::of(&schema).flaws(&given);
        found.into_iter().map(|Flaw { path, fault }| format!("{}: {fault:?}", path.join("."))).collect()
    }

    #[test]
    fn types_words_and_lengths_are_refused() {
        for (schema, given, want) in [
            (json!({ "type": "integer" }), json!(1.5), "is the number `1.5`, expected an integer"),
            (json!({ "type": ["number", "null"] }), Value::Null, "is infinite or NaN, expected a finite number"),
            (json!({ "type": "string" }), json!([]), "is an array, expected a string"),
            (json!({ "type": "boolean" }), json!({}), "is a table, expected true or false"),
            (json!({ "type": "integer", "enum": [1, 2, 4] }), json!(3), "is 3, and has to be 1, 2 or 4"),
            (json!({ "type": "number", "exclusiveMinimum": 0 }), json!(0.0), "is 0, and has to be more than 0"),
            (json!({ "type": "array", "minItems": 1 }), json!([]), "is empty, and has to hold 1 or more"),
            (json!({ "type": "array", "maxItems": 1 }), json!([1, 2]), "holds 2 values, and has to hold 1 or less"),
            (json!({ "type": "string", "maxLength": 1 }), json!("ab"), "and has to be of length 1 or less"),
        ] {
            let found = flaws(schema, given);
            assert!(found.len() == 1 && found[0].contains(want), "{found:?}");
        }
        let words = json!({ "oneOf": [{ "const": "a" }, { "enum": ["b"] }] });
        assert_eq!(flaws(words.clone(), json!("b")), [""; 0]);
        assert_eq!(flaws(words, json!("c")), [r#": UnknownWord { found: "c", known: ["a", "b"] }"#]);
    }

    #[test]
    fn tables_and_elements_are_looked_into() {
        let schema = json!({
            "type": "object",
            "required": ["needed"],
            "properties": {
                "bits": { "type": "array", "uniqueItems": true, "items": { "type": "integer", "enum": [1, 2] } },
                "named": { "type": "object", "additionalProperties": { "type": "integer" } },
                "free": { "type": "object", "additionalProperties": true },
                "forms": { "oneOf": [{ "type": "integer" }, { "type": "object" }] },
            },
        });
        assert_eq!(
            flaws(
                schema,
                json!({ "bits": [2, 2, 3], "named": { "x": "y" }, "free": { "x": "y" }, "forms": "z", "bit": 1 })
            ),
            [
                r#"bit: UnknownKey(["bits", "forms", "free", "named"])"#,
                r#"bits.1: Unfit("is 2 again, and has to differ from the others")"#,
                r#"bits.2: Unfit("is 3, and has to be 1 or 2")"#,
                r#"named.x: Unfit("is the string \"y\", expected an integer")"#,
                r#": MissingKey("needed")"#,
            ]
        );
    }
}
