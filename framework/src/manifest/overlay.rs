//! What one layer sets, and where in which file each setting of it stands.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;

use super::file::{ManifestFile, Mark, span_in_value};
use super::spelling::listed;
use super::tree::{Tree, flatten, leaves, lookup, path, single};
use crate::ground::{ConfigLayer, Location, Problem};

/// What one layer sets.
#[derive(Clone)]
pub(super) struct Overlay {
    pub(super) layer: ConfigLayer,
    pub(super) tree: Tree,
    /// Names of the compressors, when the layer gives the array.
    pub(super) order: Option<Vec<String>>,
    /// What it stands in.
    source: Option<Source>,
    /// The path in the manifest that the layer begins at ...
    base: Vec<String>,
    /// ... and where in its source that is.
    at: Vec<String>,
    /// Settings that stand elsewhere: what a placeholder took from an axis.
    elsewhere: Vec<(Vec<String>, Place)>,
}

/// What a layer stands in, and a path there.
pub(super) type Place = (Source, Vec<String>);

/// What a layer stands in.
#[derive(Clone)]
pub(super) enum Source {
    File(Rc<ManifestFile>),
    /// Outside of files. A path there is a path of the manifest.
    Word(Rc<Written>),
}

impl Source {
    /// The place of what `path` names.
    pub(super) fn locate(&self, path: &[String], mark: Mark) -> Location {
        match self {
            Source::File(file) => file.locate(path, mark),
            Source::Word(written) => written.locate(path, mark),
        }
    }

    /// The file, where it is one.
    pub(super) fn file(&self) -> Option<&ManifestFile> {
        match self {
            Source::File(file) => Some(file),
            Source::Word(_) => None,
        }
    }
}

/// A setting as it stands on the command line or in the environment: `KEY=VALUE`.
#[derive(Clone)]
pub(super) struct Written {
    /// What stands for a file's name in a message.
    place: &'static str,
    text: Arc<str>,
    /// The last segment of the key, in bytes of the text.
    key: Range<usize>,
    value: Range<usize>,
    /// The path that it sets.
    path: Vec<String>,
}

impl Written {
    /// `separator` divides the segments of a key.
    pub(super) fn new(place: &'static str, text: &str, separator: &str) -> Written {
        let equals = text.find('=').unwrap_or(text.len());
        let last = text[..equals].rfind(separator).map_or(0, |at| at + separator.len());
        let (key, value) = (last..equals, (equals + 1).min(text.len())..text.len());
        Written { place, text: text.into(), key, value, path: Vec::new() }
    }

    /// The place of what `path` names: in the value, where it leads there.
    fn locate(&self, path: &[String], mark: Mark) -> Location {
        // The keys of a sweep are dotted paths.
        let own = self.path.join(".");
        let below = (0..=path.len()).find(|end| path[..*end].join(".") == own).map_or(&[][..], |end| &path[end..]);
        let inside = if below.is_empty() { None } else { span_in_value(&self.text, below, mark) };
        let range = inside.unwrap_or_else(|| match mark {
            Mark::Key => self.key.clone(),
            Mark::Value => self.value.clone(),
        });
        Location::new(self.place.into(), Arc::clone(&self.text), range.start, range.end)
    }

    pub(super) fn whole(&self) -> Location {
        Location::new(self.place.into(), Arc::clone(&self.text), 0, self.text.len())
    }
}

impl Overlay {
    /// A layer that is a whole tree: a file (`at` is empty) or a profile in it.
    pub(super) fn whole(layer: ConfigLayer, tree: Tree, file: &Rc<ManifestFile>, at: Vec<String>) -> Overlay {
        Overlay {
            layer,
            tree,
            order: None,
            source: Some(Source::File(Rc::clone(file))),
            base: Vec::new(),
            at,
            elsewhere: Vec::new(),
        }
    }

    /// A layer that sets one path.
    pub(super) fn entry(layer: ConfigLayer, path: &[String], value: Value, place: Option<Place>) -> Overlay {
        let (source, at) = place.map_or((None, Vec::new()), |(source, at)| (Some(source), at));
        let (tree, base, elsewhere) = (single(path, value), path.to_vec(), Vec::new());
        Overlay { layer, tree, order: None, source, base, at, elsewhere }
    }

    /// The same layer, which a user wrote on the command line or in the environment.
    pub(super) fn outside_of_files(self, written: Written) -> Overlay {
        let written = Written { path: self.base, ..written };
        Overlay { source: Some(Source::Word(Rc::new(written))), base: Vec::new(), at: Vec::new(), ..self }
    }

    /// The same layer, with settings that stand elsewhere.
    pub(super) fn taken_from(self, elsewhere: Vec<(Vec<String>, Place)>) -> Overlay {
        Overlay { elsewhere, ..self }
    }

    /// Where a path of the manifest is in what the layer stands in, or in what it was taken from.
    pub(super) fn place(&self, path: &[String]) -> Option<Place> {
        let taken =
            self.elsewhere.iter().find_map(|(taken, place)| Some((path.strip_prefix(taken.as_slice())?, place)));
        if let Some((rest, (source, at))) = taken {
            return Some((source.clone(), [at, rest].concat()));
        }
        let rest = path.strip_prefix(self.base.as_slice()).unwrap_or_default();
        Some((self.source.clone()?, [&self.at, rest].concat()))
    }

    /// The layer's file.
    pub(super) fn file(&self) -> Option<&Path> {
        Some(self.source.as_ref()?.file()?.path())
    }

    /// The folder of the layer's file.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.file()?.parent()
    }

    /// The layer's file as a whole.
    pub(super) fn whole_file(&self) -> Option<Location> {
        Some(self.source.as_ref()?.file()?.whole())
    }

    /// A problem of the layer.
    pub(super) fn problem(&self, path: &[String], mark: Mark, message: String, help: Option<String>) -> Problem {
        Problem {
            message,
            key: (!path.is_empty()).then(|| path.join(".")),
            layer: self.layer.clone(),
            location: self.place(path).map(|(source, at)| source.locate(&at, mark)),
            help,
        }
    }

    /// The paths of everything it sets that is not a table.
    pub(super) fn leaves(&self) -> Vec<Vec<String>> {
        leaves(&self.tree)
    }

    /// What it sets at a path.
    pub(super) fn get(&self, path: &[String]) -> Option<&Value> {
        lookup(&self.tree, path)
    }

    /// Whether it sets a path to a table without keys.
    pub(super) fn is_empty_table(&self, path: &[String]) -> bool {
        matches!(self.get(path), Some(Value::Object(inner)) if inner.is_empty())
    }

    /// Whether it sets anything at or below a path.
    pub(super) fn sets(&self, path: &[String]) -> bool {
        self.get(path).is_some()
    }

    /// Brings the sections that are not plain tables into the form that merges: the array of
    /// compressors becomes a table and an order, and the keys of the sweep become dotted paths.
    pub(super) fn normalise(mut self, problems: &mut Vec<Problem>) -> Overlay {
        if let Some(Value::Array(elements)) = self.tree.get("compressor").cloned() {
            let (mut named, mut order) = (Tree::new(), Vec::new());
            for (index, element) in elements.into_iter().enumerate() {
                match self.one_compressor(index, element) {
                    Ok((name, settings)) if !order.contains(&name) => {
                        order.push(name.clone());
                        named.insert(name, settings);
                    }
                    Ok((name, _)) => {
                        let message = format!("two compressors are `{name}`");
                        let help = "a compressor is used once; its settings are reached by its name";
                        let at = path(["compressor", &index.to_string(), &name]);
                        problems.push(self.problem(&at, Mark::Key, message, Some(help.into())));
                    }
                    Err(problem) => problems.push(*problem),
                }
            }
            self.tree.insert("compressor".into(), named.into());
            self.order = Some(order);
        }
        if let Some(Value::Object(sweep)) = self.tree.get_mut("sweep") {
            *sweep = flatten(sweep);
        }
        self
    }

    /// The plugin and the settings in one element of `[[compressor]]`.
    fn one_compressor(&self, index: usize, element: Value) -> Result<(String, Value), Box<Problem>> {
        let held = match element {
            Value::Object(mut plugins) if plugins.len() == 1 => {
                let name = plugins.keys().next().cloned().unwrap_or_default();
                let settings = plugins.remove(&name).unwrap_or_default();
                return Ok((name, settings));
            }
            Value::Object(none) if none.is_empty() => "holds no plugin".to_owned(),
            Value::Object(several) => {
                format!("holds several plugins: {}", listed(&several.keys().collect::<Vec<_>>()))
            }
            _ => "holds something that is not a table".to_owned(),
        };
        let help = "each [[compressor]] names one plugin: `score-prune = { rate = 0.8 }`";
        let message = format!("[[compressor]] {} {held}", index + 1);
        let at = path(["compressor", &index.to_string()]);
        Err(Box::new(self.problem(&at, Mark::Value, message, Some(help.into()))))
    }
}
