//! The names that a manifest can hold, and the nearest one to a name that it cannot.

use schemars::{Schema, schema_for};
use serde_json::{Map, Value};

use super::settings::{DesignSource, Experiment, Interval, Training};
use crate::plugin::{Kind, find, registered};

/// The sections that hold settings, in the order of a manifest.
pub(super) const SECTIONS: [&str; 12] = [
    "version",
    "experiment",
    "dataset",
    "space",
    "compressor",
    "timesteps",
    "optimizer",
    "design",
    "search",
    "retrain",
    "checkpoint",
    "launcher",
];

/// The sections that hold exactly one plugin.
pub(super) const ONE_PLUGIN: [Kind; 5] = [Kind::Dataset, Kind::Space, Kind::Timesteps, Kind::Optimizer, Kind::Launcher];

/// The kind of plugin that a section names.
pub(super) fn kind_of(section: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.section() == section)
}

/// The registered plugins of a kind.
pub(super) fn plugins(kind: Kind) -> Vec<String> {
    registered().into_iter().filter(|plugin| plugin.kind == kind).map(|plugin| plugin.name.to_owned()).collect()
}

/// The schema that a path leads into, and what is left of the path there.
fn schema_of(path: &[String]) -> Option<(Schema, &[String])> {
    let (section, rest) = path.split_first()?;
    if let Some(kind) = kind_of(section) {
        let (name, rest) = rest.split_first()?;
        return Some(((find(kind, name)?.schema)(), rest));
    }
    let schema = match section.as_str() {
        "experiment" => schema_for!(Experiment),
        "design" => schema_for!(DesignSource),
        "search" | "retrain" => schema_for!(Training),
        "checkpoint" => schema_for!(Interval),
        _ => return None,
    };
    Some((schema, rest))
}

/// The names that can stand below a path; none where that is not known.
pub(super) fn below(path: &[String]) -> Vec<String> {
    match path {
        [] => return SECTIONS.map(str::to_owned).to_vec(),
        [section] => {
            if let Some(kind) = kind_of(section) {
                return plugins(kind);
            }
        }
        _ => {}
    }
    let Some((schema, rest)) = schema_of(path) else { return Vec::new() };
    rest.iter()
        .try_fold(Properties::of(&schema), |properties, key| properties.below(key))
        .map_or_else(Vec::new, |found| found.names())
}

/// What a setting means, in one line: from the documentation of its plugin or section.
pub(super) fn documentation(path: &[String]) -> Option<String> {
    // An element of a list is described with the list.
    let end = path.iter().position(|segment| segment.parse::<usize>().is_ok()).unwrap_or(path.len());
    match &path[..end] {
        [] => None,
        [section] if section == "version" => Some("Version of the manifest's format.".into()),
        [section] => match kind_of(section) {
            Some(kind) => Some(format!("The plugin of the kind {kind}.")),
            None => description(schema_of(path)?.0.as_value()),
        },
        [section, name] if kind_of(section).is_some() => {
            find(kind_of(section)?, name).map(|plugin| format!("{} ({}).", plugin.summary, plugin.paper))
        }
        path => {
            let (schema, rest) = schema_of(path)?;
            let (last, above) = rest.split_last()?;
            let properties = above.iter().try_fold(Properties::of(&schema), |found, key| found.below(key))?;
            description(properties.object.get("properties")?.get(last)?)
        }
    }
}

fn description(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The properties of an object in a JSON schema.
#[derive(Clone, Copy)]
pub(super) struct Properties<'a> {
    root: &'a Value,
    object: &'a Map<String, Value>,
}

impl<'a> Properties<'a> {
    /// The properties of a schema's root.
    pub(super) fn of(schema: &'a Schema) -> Properties<'a> {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let root = schema.as_value();
        Properties { root, object: object(root, root, 8).unwrap_or(&NONE) }
    }

    /// Those of one property, when it is an object itself.
    pub(super) fn below(self, key: &str) -> Option<Properties<'a>> {
        let property = self.object.get("properties")?.get(key)?;
        Some(Properties { root: self.root, object: object(self.root, property, 8)? })
    }

    /// Whether keys that are not listed are ignored, as far as the schema can say.
    pub(super) fn ignores_others(self) -> bool {
        self.object.contains_key("properties") && !self.object.contains_key("additionalProperties")
    }

    /// The names.
    pub(super) fn names(self) -> Vec<String> {
        match self.object.get("properties") {
            Some(Value::Object(properties)) => properties.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

/// The object schema behind references and optional values. `depth` bounds references that go in a circle.
fn object<'a>(root: &'a Value, schema: &'a Value, depth: usize) -> Option<&'a Map<String, Value>> {
    let map = schema.as_object()?;
    if map.contains_key("properties") || depth == 0 {
        return Some(map);
    }
    if let Some(Value::String(reference)) = map.get("$ref") {
        return object(root, root.pointer(reference.strip_prefix('#')?)?, depth - 1);
    }
    ["anyOf", "allOf"]
        .iter()
        .find_map(|key| map.get(*key)?.as_array()?.iter().find_map(|choice| object(root, choice, depth - 1)))
}

/// The known name that was probably meant.
pub fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let folded = fold(name);
    let limit = (folded.chars().count() / 3).max(1);
    let closest = known.iter().min_by_key(|candidate| strsim::damerau_levenshtein(&folded, &fold(candidate)))?;
    if strsim::damerau_levenshtein(&folded, &fold(closest)) <= limit {
        return Some(closest);
    }
    known.iter().find(|candidate| folded.chars().count() >= 4 && fold(candidate).contains(&folded)).map(String::as_str)
}

/// Case and the choice between `-` and `_` do not tell two names apart.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// `; did you mean ...?`, or nothing.
pub(super) fn did_you_mean(name: &str, known: &[String]) -> String {
    nearest(name, known).map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

/// Names as they stand in a sentence.
pub(super) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Why a name cannot be that of a folder; `None` when it can.
pub(super) fn unfit_for_folder(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > 64 {
        Some("it is longer than 64 characters")
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        Some("only letters, digits, `-`, `_` and `.` are allowed")
    } else if name.starts_with(['.', '-']) {
        Some("it has to begin with a letter, a digit or `_`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["epochs", "learning_rate", "score-prune"].map(str::to_owned);
        assert_eq!(nearest("epoch", &known), Some("epochs"));
        assert_eq!(nearest("learning-rate", &known), Some("learning_rate"));
        assert_eq!(nearest("score-purne", &known), Some("score-prune"));
        assert_eq!(nearest("prune", &known), Some("score-prune"));
        assert_eq!(nearest("momentum", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn names_below_a_path_come_from_registry_and_schema() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        assert!(below(&[]).contains(&"search".to_owned()));
        assert!(below(&path("search")).contains(&"weight_decay".to_owned()));
        assert!(below(&path("timesteps")).contains(&"test-steady".to_owned()));
        assert_eq!(below(&path("space.test-grid")), ["channels", "nodes"]);
        assert_eq!(below(&path("space.test-grid.channels")), ["retrain", "search"]);
        assert!(below(&path("nonsense.x")).is_empty());
    }

    #[test]
    fn settings_are_described_by_their_own_documentation() {
        let of = |text: &str| documentation(&text.split('.').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("search.epochs").as_deref(), Some("Passes over the training split (1 or more)."));
        assert_eq!(of("experiment.seeds.1"), of("experiment.seeds"));
        assert_eq!(of("space.test-grid.channels.search").as_deref(), Some("Channels of the supernet."));
        assert!(of("timesteps").is_some() && of("timesteps.test-open").is_some());
        assert_eq!(of("search.epoch"), None);
    }

    #[test]
    fn a_folder_has_a_plain_name() {
        assert_eq!(unfit_for_folder("table-4_a.b"), None);
        for name in ["", "..", ".hidden", "a/b", "a b", "ä", "-x", &"x".repeat(65)] {
            assert!(unfit_for_folder(name).is_some(), "{name}");
        }
    }
}
