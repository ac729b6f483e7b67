//! Settings as a tree of tables: paths into it, and how one tree is laid over another.

use serde_json::{Map, Value};

/// A table of settings, as one layer or all of them together hold it. A number that JSON cannot
/// hold, infinity or NaN, is null.
pub(super) type Tree = Map<String, Value>;

/// A dotted path with more segments than this is not one of a setting.
pub(super) const DEEPEST: usize = 16;

/// A path from segments that are known to be right.
pub(super) fn path<const N: usize>(segments: [&str; N]) -> Vec<String> {
    segments.map(str::to_owned).to_vec()
}

/// A dotted path as its segments.
pub(super) fn split_path(dotted: &str) -> Result<Vec<String>, String> {
    let keys = toml_edit::Key::parse(dotted).map_err(|_| format!("`{dotted}` is not a dotted path"))?;
    if keys.is_empty() {
        return Err("a path without a name sets nothing".into());
    }
    if keys.len() > DEEPEST {
        return Err(format!("a path has at most {DEEPEST} segments, and this one has {}", keys.len()));
    }
    Ok(keys.iter().map(|key| key.get().to_owned()).collect())
}

/// A tree that holds one value.
pub(super) fn single(path: &[String], value: Value) -> Tree {
    let nested = path.iter().skip(1).rev().fold(value, |inner, key| Tree::from_iter([(key.clone(), inner)]).into());
    path.first().map(|key| (key.clone(), nested)).into_iter().collect()
}

/// Lays one tree over another: tables merge, and everything else is replaced.
pub(super) fn merge(below: &mut Tree, above: &Tree) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The value at a path.
pub(super) fn lookup<'a>(tree: &'a Tree, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(tree.get(first)?, |value, segment| match value {
        Value::Object(inner) => inner.get(segment),
        Value::Array(elements) => elements.get(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Takes a path out; false when it is not there.
pub(super) fn remove(tree: &mut Tree, path: &[String]) -> bool {
    match path {
        [] => false,
        [last] => tree.remove(last).is_some(),
        [first, rest @ ..] => match tree.get_mut(first) {
            Some(Value::Object(inner)) => remove(inner, rest),
            _ => false,
        },
    }
}

/// The paths of everything that is not a table, or a table without keys.
pub(super) fn leaves(tree: &Tree) -> Vec<Vec<String>> {
    let below = |(key, value): (&String, &Value)| match value {
        Value::Object(inner) if !inner.is_empty() => {
            leaves(inner).into_iter().map(|rest| [vec![key.clone()], rest].concat()).collect()
        }
        _ => vec![vec![key.clone()]],
    };
    tree.iter().flat_map(below).collect()
}

/// Tables within tables as one table by dotted path.
pub(super) fn flatten(tree: &Tree) -> Tree {
    let below = |(key, value): (&String, &Value)| match value {
        Value::Object(inner) if !inner.is_empty() => {
            flatten(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)).collect()
        }
        value => Tree::from_iter([(key.clone(), value.clone())]),
    };
    tree.iter().flat_map(below).collect()
}
