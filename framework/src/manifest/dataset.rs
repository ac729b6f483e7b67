//! A data set by itself, with settings from the command line: for commands that have no manifest.

use serde_json::Value;

use super::file::Mark;
use super::layers::command_line;
use super::overlay::Overlay;
use super::resolve::section;
use super::stack::Stack;
use super::tree::{Tree, path};
use crate::data::Dataset;
use crate::ground::ConfigLayer;
use crate::plugin::Kind;
use crate::{Error, Result};

/// The data set `name` with `settings`, a table, and with what `set` changes of them, each as `--set`
/// has it: `dataset.NAME.KEY=VALUE`. A setting that is null has its default.
///
/// # Errors
///
/// All problems at once: a name that no data set has, settings that it does not have, keys of
/// anything else.
pub fn dataset(name: &str, settings: Value, set: &[String]) -> Result<Box<dyn Dataset>> {
    let own = path([Kind::Dataset.section(), name]);
    let mut stack = Stack::new(None);
    stack.push(vec![Overlay::entry(ConfigLayer::Default, &own, without_nulls(settings), None)]);
    let mut problems = Vec::new();
    for argument in set {
        match command_line(argument) {
            Err(problem) => problems.push(*problem),
            Ok(overlay) => match overlay.leaves().into_iter().find(|leaf| !leaf.starts_with(&own) || *leaf == own) {
                None => stack.push(vec![overlay]),
                Some(leaf) => {
                    let message = format!("`{}` is no setting of the data set `{name}`", leaf.join("."));
                    let help = format!("`--set {}.KEY=VALUE` changes one", own.join("."));
                    problems.push(overlay.problem(&leaf, Mark::Key, message, Some(help)));
                }
            },
        }
    }
    let (read, unread) = section(&stack, Kind::Dataset.section());
    problems.extend(unread);
    match read.and_then(|read| serde_json::from_value(read).ok()).filter(|_| problems.is_empty()) {
        Some(dataset) => Ok(dataset),
        None => Err(Error::Manifest(problems)),
    }
}

/// As TOML would have it, which knows no null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(table) => {
            let there = table.into_iter().filter(|(_, value)| !value.is_null());
            there.map(|(key, value)| (key, without_nulls(value))).collect::<Tree>().into()
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(set: &[&str]) -> Result<Value> {
        let set: Vec<String> = set.iter().map(|argument| (*argument).to_owned()).collect();
        let found = dataset("test-pictures", json!({ "train": 5, "root": "here" }), &set)?;
        Ok(serde_json::to_value(found).unwrap()["test-pictures"].clone())
    }

    fn problems(found: Result<impl std::fmt::Debug>) -> Vec<(String, String)> {
        match found {
            Err(Error::Manifest(problems)) => {
                problems.into_iter().map(|problem| (problem.message, problem.help.unwrap_or_default())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_changes_single_settings() {
        assert_eq!(changed(&[]).unwrap(), json!({ "train": 5, "root": "here" }));
        let both = ["dataset.test-pictures.train=7", "dataset.test-pictures.root=/there"];
        assert_eq!(changed(&both).unwrap(), json!({ "train": 7, "root": "/there" }));
        // As the settings of a data set are written: what is not given is null.
        let defaults = dataset("test-pictures", json!({}), &[]).unwrap();
        let written = serde_json::to_value(defaults).unwrap()["test-pictures"].clone();
        assert_eq!(written, json!({ "train": 0, "root": null }));
        assert_eq!(
            serde_json::to_value(dataset("test-pictures", written.clone(), &[]).unwrap()).unwrap()["test-pictures"],
            written
        );
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_and_what_would_be_right() {
        let set = ["search.epochs=3", "dataset.test-pictures.trian=7", "dataset.test-pictures.train=many"];
        let told = problems(changed(&set));
        let parts = [
            (
                "`search.epochs` is no setting of the data set `test-pictures`",
                "`--set dataset.test-pictures.KEY=VALUE`",
            ),
            ("unknown key `trian` in [dataset.test-pictures]; did you mean `train`?", "known keys: "),
            ("`dataset.test-pictures.train`", ""),
        ];
        assert_eq!(told.len(), parts.len(), "{told:#?}");
        for (said, hint) in parts {
            let found = told.iter().any(|(message, help)| message.contains(said) && help.contains(hint));
            assert!(found, "`{said}`, `{hint}`: {told:#?}");
        }
        let told = problems(dataset("test-picture", json!({}), &[]));
        assert!(told[0].0.contains("unknown dataset `test-picture`; did you mean `test-pictures`?"), "{told:?}");
        assert!(
            told[0].1.contains("known plugins of this kind: ") && told[0].1.contains("`test-pictures`"),
            "{told:?}"
        );
    }
}
