//! What is wrong at a path of a manifest, in words: with the place, the layer, and the
//! documentation of the setting.

use super::file::Mark;
use super::sections::{documentation, kind_of};
use super::spelling::{did_you_mean, listed};
use super::stack::Stack;
use crate::ground::{ConfigLayer, Problem, toml};
use crate::plugin::{Fault, Kind};

/// The problem at a path. A problem with a value is helped best by the setting's own documentation.
pub(super) fn problem(
    stack: &Stack,
    path: &[String],
    mark: Mark,
    message: impl Into<String>,
    help: Option<String>,
) -> Problem {
    let help = help.or_else(|| match mark {
        Mark::Value => documentation(path).map(|text| format!("`{}`: {text}", path.join("."))),
        Mark::Key => None,
    });
    stack.problem(path, mark, message.into(), help)
}

/// The problem that the schema has with what is at a path.
pub(super) fn refused(stack: &Stack, path: &[String], fault: &Fault) -> Problem {
    let key = path.join(".");
    match fault {
        Fault::UnknownKey(known) => {
            let (name, table) = path.split_last().map_or(("", path), |(name, table)| (name.as_str(), table));
            let message = format!("unknown key `{name}` in {}{}", heading(table), did_you_mean(name, known));
            problem(stack, path, Mark::Key, message, Some(format!("known keys: {}", listed(known))))
        }
        Fault::MissingKey(name) => {
            problem(stack, path, Mark::Key, format!("missing key `{name}` in {}", heading(path)), None)
        }
        Fault::UnknownWord { found, known } => {
            let message = format!("`{key}` cannot be `{found}`{}", did_you_mean(found, known));
            problem(stack, path, Mark::Value, message, Some(format!("known values: {}", listed(known))))
        }
        Fault::Unfit(why) => problem(stack, path, Mark::Value, format!("`{key}` {why}"), None),
        Fault::NotText(why) => problem(stack, path, Mark::Value, format!("`{key}` {why}"), in_quotes(stack, path)),
    }
}

/// How a value is written that looks like a number and is text. On a command line the quotes have to
/// get past the shell.
pub(super) fn in_quotes(stack: &Stack, path: &[String]) -> Option<String> {
    let overlay = stack.origin(path)?;
    let value = overlay.get(path).filter(|value| value.is_number() || value.is_boolean())?;
    let is_all = overlay.leaves() == [path];
    Some(match &overlay.layer {
        ConfigLayer::Set(argument) if is_all => {
            let (key, value) = argument.split_once('=')?;
            format!("text that looks like a number stands in quotes: `--set '{key}=\"{}\"'`", value.trim())
        }
        ConfigLayer::Environment(name) if is_all => {
            format!("text that looks like a number stands in quotes: `{name}='\"{}\"'`", toml::text(value))
        }
        _ => format!("text that looks like a number stands in quotes: `\"{}\"`", toml::text(value)),
    })
}

/// How a table is called in a message.
fn heading(path: &[String]) -> String {
    match path {
        [section, name, rest @ ..] if kind_of(section) == Some(Kind::Compressor) => {
            let inner = rest.iter().map(|key| format!("`{key}` of ")).rev().collect::<String>();
            format!("{inner}compressor `{name}`")
        }
        path => format!("[{}]", path.join(".")),
    }
}
