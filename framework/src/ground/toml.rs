//! Values of settings between TOML and JSON. Text is always TOML: it keeps numbers to the bit.

use serde_json::Value as Json;
use toml_edit::{Array, InlineTable, Value};

/// A value as a manifest writes it; empty for a number that TOML has and JSON has not.
pub fn text(json: &Json) -> String {
    of_json(json).map_or_else(String::new, |value| value.to_string())
}

/// A value as TOML; nothing for null, which stands for a setting that is left out.
pub fn of_json(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::from(integer),
            // Rust writes very small and very large numbers with an exponent, as a person does.
            (None, Some(float)) => format!("{float:?}").parse().unwrap_or_else(|_| Value::from(float)),
            (None, None) => return None,
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(elements) => Value::Array(elements.iter().filter_map(of_json).collect::<Array>()),
        Json::Object(map) => {
            let inner: InlineTable =
                map.iter().filter_map(|(key, inner)| Some((key.as_str(), of_json(inner)?))).collect();
            Value::InlineTable(inner)
        }
    })
}

/// A value of TOML as JSON. Dates become their text: no setting is a date.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(truth) => (*truth.value()).into(),
        Value::Datetime(date) => date.value().to_string().into(),
        Value::Array(array) => array.iter().map(to_json).collect(),
        Value::InlineTable(table) => table.iter().map(|(key, inner)| (key.to_owned(), to_json(inner))).collect(),
    }
}
