//! What serde says of a value, in the words of a manifest.

use super::names::{did_you_mean, listed, nearest};
use super::source::Mark;

/// How a table is called in a message.
pub(super) fn heading(path: &[String]) -> String {
    match path {
        [section, name, rest @ ..] if section == "compressor" => {
            let inner = rest.iter().map(|key| format!("`{key}` of ")).rev().collect::<String>();
            format!("{inner}compressor `{name}`")
        }
        path => format!("[{}]", path.join(".")),
    }
}

/// A complaint of serde's, put for a person.
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) mark: Mark,
    pub(super) help: Option<String>,
    /// The field that is missing, when that is the complaint.
    pub(super) missing: Option<String>,
    /// The field that was probably meant by an unknown one.
    pub(super) meant: Option<String>,
}

impl Complaint {
    /// `text` is what serde says of the setting at `inner`, below `at`.
    pub(super) fn of(text: &str, at: &[String], inner: &[String]) -> Complaint {
        let full = [at, inner].concat();
        let key = full.join(".");
        let quoted: Vec<String> = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let (name, known) =
            quoted.split_first().map_or((String::new(), &[][..]), |(name, known)| (name.clone(), known));
        let say = |message: String, mark: Mark, help: Option<String>| Complaint {
            message,
            mark,
            help,
            missing: None,
            meant: None,
        };
        if text.starts_with("unknown field") {
            let table = full.split_last().map_or(full.as_slice(), |(_, table)| table);
            let message = format!("unknown key `{name}` in {}{}", heading(table), did_you_mean(&name, known));
            let meant = nearest(&name, known).map(str::to_owned);
            return Complaint { meant, ..say(message, Mark::Key, Some(format!("known keys: {}", listed(known)))) };
        }
        if text.starts_with("unknown variant") {
            let message = format!("`{key}` cannot be `{name}`{}", did_you_mean(&name, known));
            return say(message, Mark::Value, Some(format!("known values: {}", listed(known))));
        }
        if text.starts_with("missing field") {
            let message = format!("missing key `{name}` in {}", heading(&full));
            return Complaint { missing: Some(name), ..say(message, Mark::Key, None) };
        }
        for start in ["invalid type: ", "invalid value: ", "invalid length "] {
            if let Some((found, expected)) = text.strip_prefix(start).and_then(|rest| rest.split_once(", expected ")) {
                // The range is of interest where the type is right.
                let expected = match in_words(expected) {
                    "an integer of 0 or more" if !found.starts_with("integer") => "an integer",
                    expected => expected,
                };
                let found = found_in_words(found, start);
                let message = format!("`{key}` is {found}, expected {expected}");
                return say(message, Mark::Value, None);
            }
        }
        say(format!("`{key}`: {text}"), Mark::Value, None)
    }
}

/// What was found instead, as a person says it.
fn found_in_words(found: &str, start: &str) -> String {
    match found.split_once(' ') {
        _ if start == "invalid length " => format!("of length {found}"),
        Some(("string" | "integer" | "boolean", _)) => format!("the {found}"),
        _ if found.starts_with("floating point ") => found.replacen("floating point", "the number", 1),
        _ if found == "map" => "a table".into(),
        _ if found == "sequence" => "an array".into(),
        _ => found.to_owned(),
    }
}

/// The name of a Rust type as a person says it.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer of 0 or more",
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => {
            "an integer of 1 or more"
        }
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "path string" => "a path",
        "a sequence" => "an array",
        "a map" => "a table",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}
