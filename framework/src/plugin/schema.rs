//! The walk over the JSON schema of settings: what a table holds, and what each setting means and
//! can be.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use super::limits::Limits;

/// The keyword of a schema that holds a setting's unit: `#[schemars(extend("x-unit" = "bits"))]`.
const UNIT: &str = "x-unit";

/// References that are followed from one schema to the next, so that a circle of them ends.
const MOST_REFERENCES: usize = 8;

/// The JSON schema of settings, whole in itself: only a type that contains itself is referred to.
/// Made once for each type.
pub fn settings_schema<T: JsonSchema + 'static>() -> &'static Schema {
    static MADE: Mutex<BTreeMap<TypeId, &'static Schema>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(TypeId::of::<T>()).or_insert_with(|| {
        let mut settings = SchemaSettings::draft07().with_transform(without_null_defaults);
        settings.inline_subschemas = true;
        Box::leak(Box::new(settings.into_generator().into_root_schema_for::<T>()))
    })
}

/// Takes out the defaults of settings that have no value where they are left out.
fn without_null_defaults(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    transform_subschemas(&mut without_null_defaults, schema);
}

/// The schema of settings that other layers may complete, without the names of Rust's types.
pub fn partial_schema(schema: &Schema) -> Value {
    fn partial(schema: &mut Schema) {
        for key in ["$schema", "required", "title", "format"] {
            schema.remove(key);
        }
        transform_subschemas(&mut partial, schema);
    }
    let mut schema = schema.clone();
    partial(&mut schema);
    schema.into()
}

/// The schema as a JSON object, without what only says how it was made.
pub fn plain_schema(schema: &Schema) -> Map<String, Value> {
    let mut object = schema.as_value().as_object().cloned().unwrap_or_default();
    object.remove("$schema");
    object
}

/// One place in the schema of settings: a table, an array or a single setting.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    root: &'a Value,
    /// The schema as its owner states it, with description, default and unit.
    stated: &'a Value,
    /// The schema of a value that is given: behind references and the choice to leave the value
    /// out.
    given: &'a Value,
}

impl<'a> Shape<'a> {
    /// The schema as a whole.
    pub fn of(schema: &'a Value) -> Shape<'a> {
        Shape::within(schema, schema)
    }

    fn within(root: &'a Value, stated: &'a Value) -> Shape<'a> {
        let behind = |given: &&'a Value| next(root, given).map(|(_, behind)| behind);
        let given = std::iter::successors(Some(stated), behind).take(MOST_REFERENCES).last().unwrap_or(stated);
        Shape { root, stated, given }
    }

    fn inner(self, stated: &'a Value) -> Shape<'a> {
        Shape::within(self.root, stated)
    }

    /// The settings of a table, by name.
    pub fn properties(self) -> impl Iterator<Item = (&'a str, Shape<'a>)> {
        let properties = self.given["properties"].as_object();
        properties.into_iter().flatten().map(move |(key, stated)| (key.as_str(), self.inner(stated)))
    }

    /// One setting of a table.
    pub fn property(self, key: &str) -> Option<Shape<'a>> {
        self.given["properties"].get(key).map(|stated| self.inner(stated))
    }

    /// The setting at a path below this one.
    pub fn at(self, path: &[String]) -> Option<Shape<'a>> {
        path.iter().try_fold(self, |shape, key| shape.property(key))
    }

    /// Names of a table's settings.
    pub fn names(self) -> Vec<String> {
        self.properties().map(|(key, _)| key.to_owned()).collect()
    }

    /// Whether this is a table with settings of its own.
    pub fn is_table(self) -> bool {
        self.given["properties"].is_object()
    }

    /// What keys have to hold that are not [`properties`](Shape::properties); `None` where there
    /// can be none.
    pub(super) fn other_keys(self) -> Option<Shape<'a>> {
        let one_of_many_forms = ["anyOf", "oneOf", "allOf"].iter().any(|key| self.given[key].is_array());
        match &self.given["additionalProperties"] {
            Value::Bool(false) => None,
            Value::Null if !one_of_many_forms => None,
            stated => Some(self.inner(stated)),
        }
    }

    /// Names of the settings that a table cannot do without.
    pub fn required(self) -> impl Iterator<Item = &'a str> {
        self.given["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// The elements of an array.
    pub fn items(self) -> Option<Shape<'a>> {
        self.given["items"].is_object().then(|| self.inner(&self.given["items"]))
    }

    /// The type, as JSON Schema calls it; none where the schema does not say.
    pub(super) fn type_name(self) -> Option<&'a str> {
        let names = match &self.given["type"] {
            Value::Array(names) => names.as_slice(),
            name => std::slice::from_ref(name),
        };
        let stated = names.iter().filter_map(Value::as_str).find(|name| *name != "null");
        stated.or_else(|| (!self.words().is_empty()).then_some("string"))
    }

    /// The words that a string can be, each with its meaning; empty where any string is allowed.
    pub(super) fn words(self) -> Vec<(&'a str, Option<&'a str>)> {
        let of = |schema: &'a Value| {
            let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let documented = schema["const"].as_str().map(|word| (word, schema["description"].as_str()));
            listed.map(|word| (word, None)).chain(documented)
        };
        match self.given["oneOf"].as_array() {
            // A choice that is no word makes the words a part of what is allowed.
            Some(choices) if choices.iter().any(|choice| of(choice).next().is_none()) => Vec::new(),
            Some(choices) => choices.iter().flat_map(of).collect(),
            None => of(self.given).collect(),
        }
    }

    /// The only numbers that are allowed, where the schema lists them: `#[schemars(extend("enum" =
    /// [1, 2, 4]))]`.
    pub(super) fn numbers(self) -> Vec<f64> {
        self.given["enum"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    }

    /// The bounds that two keywords set.
    pub(super) fn between(self, least: &str, most: &str) -> Limits {
        let bound = |keyword: &str| self.given[keyword].as_f64().map(|value| (value, true));
        Limits { least: bound(least), most: bound(most) }
    }

    /// Whether a keyword says yes.
    pub(super) fn says(self, keyword: &str) -> bool {
        self.given[keyword] == true
    }

    /// What it means, on one line.
    pub fn description(self) -> Option<String> {
        let text = self.stated["description"].as_str().or(self.given["description"].as_str())?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The value of a setting that is left out.
    pub fn default(self) -> Option<&'a Value> {
        self.stated.get("default")
    }

    /// The unit of a number.
    pub fn unit(self) -> Option<&'a str> {
        self.stated[UNIT].as_str()
    }

    /// The JSON pointer from the schema as it is stated to the schema of a value that is given:
    /// `/anyOf/0`.
    pub fn pointer(self) -> String {
        let behind = |(_, given): &(String, &'a Value)| next(self.root, given);
        let steps = std::iter::successors(Some((String::new(), self.stated)), behind).take(MOST_REFERENCES);
        steps.map(|(step, _)| step).collect()
    }

    /// The schema of a value that is given.
    pub fn schema(self) -> &'a Value {
        self.given
    }
}

/// The schema that another one stands for, by reference, as its only part, or as its only choice
/// beside leaving the value out; and the JSON pointer to it, from the other one where that holds
/// it.
fn next<'a>(root: &'a Value, schema: &'a Value) -> Option<(String, &'a Value)> {
    if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        return root.pointer(pointer).map(|target| (String::new(), target));
    }
    ["anyOf", "oneOf", "allOf"].iter().filter(|_| !schema["properties"].is_object()).find_map(|key| {
        let choices = schema[key].as_array()?.iter().enumerate();
        let mut given = choices.filter(|(_, choice)| choice["type"] != "null");
        let (index, choice) = given.next()?;
        given.next().is_none().then(|| (format!("/{key}/{index}"), choice))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_through_references_optional_tables_and_parts() {
        let schema = json!({
            "definitions": { "width": { "description": "Width\nof it.", "type": "integer" } },
            "properties": {
                "plain": { "allOf": [{ "$ref": "#/definitions/width" }] },
                "inner": { "anyOf": [
                    { "properties": { "width": { "description": "Own.", "$ref": "#/definitions/width" } } },
                    { "type": "null" },
                ] },
                "circle": { "$ref": "#/properties/circle" },
                "either": { "oneOf": [{ "const": "a" }, { "properties": { "b": {} } }] },
            },
        });
        let at = |path: &str| Shape::of(&schema).at(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
        let description = |path: &str| at(path).and_then(Shape::description);
        assert_eq!(description("plain").as_deref(), Some("Width of it."));
        assert_eq!(description("inner.width").as_deref(), Some("Own."));
        assert_eq!(at("inner.width").and_then(Shape::type_name), Some("integer"));
        assert_eq!(at("inner").map(Shape::pointer).as_deref(), Some("/anyOf/0"));
        assert_eq!(at("inner").map(Shape::names), Some(vec!["width".to_owned()]));
        assert!(at("plain.width").is_none() && at("circle").is_some());
        assert!(at("either").is_some_and(|shape| shape.words().is_empty() && shape.type_name().is_none()));
    }
}
