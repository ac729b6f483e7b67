//! The sections of a manifest: one table, which names, schemas, reading, defaults and checks come
//! from.
//!
//! A section is added by one entry here and its field in [`Manifest`](super::Manifest).

use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, json_schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::typed::{DesignSource, Experiment, VERSION};
use crate::data::Dataset;
use crate::launch::Launcher;
use crate::network::{Compressor, SearchSpace, TimestepSearcher};
use crate::plugin::{Kind, Shape, find, registered, settings_schema};
use crate::train::{Interval, Optimizer, Training};

/// A section of a manifest.
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What stands in it.
    pub holds: Holds,
    /// Whether a manifest has to have it.
    pub presence: Presence,
    /// Whether it says what a trial computes: only such a section can differ between variants.
    pub is_work: bool,
    /// What it is for.
    pub about: &'static str,
    /// Reads the section, or one plugin of it (`{ NAME = { ... } }`), and writes it with every
    /// default.
    pub(super) read: fn(&Value) -> Result<Value, Refusal>,
}

/// What serde says of a value that it cannot read, and where in it.
pub(super) type Refusal = serde_path_to_error::Error<serde_json::Error>;

/// What stands in a section.
#[derive(Clone, Copy)]
pub enum Holds {
    /// A single value.
    Value(fn() -> &'static Schema),
    /// Settings by key.
    Settings(fn() -> &'static Schema),
    /// One plugin: `[dataset.NAME]`.
    Plugin(Kind),
    /// A stack of plugins: `[[compressor]]`.
    Plugins(Kind),
}

/// Whether a manifest has to have a section.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Always.
    Required,
    /// Where a design is searched: `[design]` takes its place, and so does a space with one
    /// architecture alone where nothing else is to decide.
    Search,
    /// No; without it, nothing is set.
    Optional,
    /// No; without it, its defaults hold.
    Defaulted,
}

/// The sections that hold settings, in the order of a manifest.
pub static SECTIONS: [Section; 12] = [
    Section::new::<u32>("version", Holds::Value(version), Presence::Optional, "Version of the format.").beside_work(),
    Section::settings::<Experiment>("experiment", Presence::Required, "Name and seeds of the experiment.")
        .beside_work(),
    Section::plugin::<dyn Dataset>(Kind::Dataset, Presence::Required, "[dataset.NAME] names one plugin."),
    Section::plugin::<dyn SearchSpace>(Kind::Space, Presence::Required, "[space.NAME] names one plugin."),
    Section::new::<Box<dyn Compressor>>(
        Kind::Compressor.section(),
        Holds::Plugins(Kind::Compressor),
        Presence::Optional,
        "Compressors, applied in this order to every weight.",
    ),
    Section::plugin::<dyn TimestepSearcher>(Kind::Timesteps, Presence::Required, "[timesteps.NAME] names one plugin."),
    Section::plugin::<dyn Optimizer>(Kind::Optimizer, Presence::Search, "[optimizer.NAME] names one plugin."),
    Section::settings::<DesignSource>("design", Presence::Optional, "Retrain a design instead of searching one."),
    Section::settings::<Training>("search", Presence::Search, "How the weights of the supernet are trained."),
    Section::settings::<Training>("retrain", Presence::Required, "How the weights of the final network are trained."),
    Section::settings::<Interval>("checkpoint", Presence::Defaulted, "How much work an interruption may cost.")
        .beside_work(),
    Section::plugin::<dyn Launcher>(Kind::Launcher, Presence::Optional, "[launcher.NAME] names one plugin.")
        .beside_work(),
];

fn version() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> =
        LazyLock::new(|| json_schema!({ "type": "integer", "minimum": 1, "maximum": VERSION }));
    &SCHEMA
}

fn read<T: DeserializeOwned + Serialize>(given: &Value) -> Result<Value, Refusal> {
    let read: T = serde_path_to_error::deserialize(given)?;
    serde_path_to_error::serialize(&read, serde_json::value::Serializer)
}

impl Section {
    const fn new<T: DeserializeOwned + Serialize>(
        name: &'static str,
        holds: Holds,
        presence: Presence,
        about: &'static str,
    ) -> Section {
        Section { name, holds, presence, is_work: true, about, read: read::<T> }
    }

    const fn settings<T: DeserializeOwned + Serialize + JsonSchema + 'static>(
        name: &'static str,
        presence: Presence,
        about: &'static str,
    ) -> Section {
        Section::new::<T>(name, Holds::Settings(settings_schema::<T>), presence, about)
    }

    const fn plugin<T: ?Sized>(kind: Kind, presence: Presence, about: &'static str) -> Section
    where
        Box<T>: DeserializeOwned + Serialize,
    {
        Section::new::<Box<T>>(kind.section(), Holds::Plugin(kind), presence, about)
    }

    const fn beside_work(self) -> Section {
        Section { is_work: false, ..self }
    }

    /// The section of a name.
    pub(super) fn find(name: &str) -> Option<&'static Section> {
        SECTIONS.iter().find(|section| section.name == name)
    }

    /// The kind of its plugins, where it holds plugins.
    pub fn kind(&self) -> Option<Kind> {
        match self.holds {
            Holds::Plugin(kind) | Holds::Plugins(kind) => Some(kind),
            Holds::Value(_) | Holds::Settings(_) => None,
        }
    }

    /// How a manifest writes it.
    pub(super) fn heading(&self) -> String {
        match self.holds {
            Holds::Value(_) => format!("`{}`", self.name),
            Holds::Settings(_) => format!("[{}]", self.name),
            Holds::Plugin(_) => format!("[{}.NAME]", self.name),
            Holds::Plugins(_) => format!("[[{}]]", self.name),
        }
    }
}

/// Names of all sections.
pub(super) fn section_names() -> Vec<String> {
    SECTIONS.iter().map(|section| section.name.to_owned()).collect()
}

/// The kind of plugin that a section names.
pub(super) fn kind_of(section: &str) -> Option<Kind> {
    Section::find(section)?.kind()
}

/// The registered plugins of a kind.
pub(super) fn plugins(kind: Kind) -> Vec<String> {
    registered().into_iter().filter(|plugin| plugin.kind == kind).map(|plugin| plugin.name.to_owned()).collect()
}

/// The schema that a path leads into, and what is left of the path there.
fn schema_of(path: &[String]) -> Option<(&'static Schema, &[String])> {
    let (section, rest) = path.split_first()?;
    match Section::find(section)?.holds {
        Holds::Value(schema) | Holds::Settings(schema) => Some((schema(), rest)),
        Holds::Plugin(kind) | Holds::Plugins(kind) => {
            let (name, rest) = rest.split_first()?;
            Some(((find(kind, name)?.schema)(), rest))
        }
    }
}

/// The names that can stand below a path; none where that is not known.
pub(super) fn below(path: &[String]) -> Vec<String> {
    match path {
        [] => section_names(),
        [section] if let Some(kind) = kind_of(section) => plugins(kind),
        _ => schema_of(path)
            .and_then(|(schema, rest)| Some(Shape::of(schema.as_value()).at(rest)?.names()))
            .unwrap_or_default(),
    }
}

/// What a setting means, in one line: from the documentation of its plugin or section.
pub(super) fn documentation(path: &[String]) -> Option<String> {
    // An element of a list is described with the list.
    let end = path.iter().position(|segment| segment.parse::<usize>().is_ok()).unwrap_or(path.len());
    match &path[..end] {
        [section] => Some(Section::find(section)?.about.to_owned()),
        [section, name] if let Some(kind) = kind_of(section) => {
            find(kind, name).map(|plugin| format!("{} ({}).", plugin.summary, plugin.paper))
        }
        path => {
            let (schema, rest) = schema_of(path)?;
            Shape::of(schema.as_value()).at(rest)?.description()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
