//! What one layer sets, and where in which file each setting of it stands.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;

use super::file::{ManifestFile, Mark};
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
    /// The file it stands in.
    file: Option<Rc<ManifestFile>>,
    /// The path in the manifest that the layer begins at ...
    base: Vec<String>,
    /// ... and where in the file that is.
    at: Vec<String>,
    /// Outside of files: what the user wrote.
    written: Option<Written>,
    /// Settings that stand elsewhere: what a placeholder took from an axis.
    elsewhere: Vec<(Vec<String>, Place)>,
}

/// A file, and a path in it.
pub(super) type Place = (Rc<ManifestFile>, Vec<String>);

/// A setting as it stands on the command line or in the environment: `KEY=VALUE`.
#[derive(Clone)]
pub(super) struct Written {
    /// What stands for a file's name in a message.
    place: &'static str,
    text: Arc<str>,
    /// The last segment of the key, in bytes of the text.
    key: Range<usize>,
    value: Range<usize>,
}

impl Written {
    /// `separator` divides the segments of a key.
    pub(super) fn new(place: &'static str, text: &str, separator: &str) -> Written {
        let equals = text.find('=').unwrap_or(text.len());
        let last = text[..equals].rfind(separator).map_or(0, |at| at + separator.len());
        Written { place, text: text.into(), key: last..equals, value: (equals + 1).min(text.len())..text.len() }
    }

    fn locate(&self, mark: Mark) -> Location {
        let range = match mark {
            Mark::Key => &self.key,
            Mark::Value => &self.value,
        };
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
            file: Some(Rc::clone(file)),
            base: Vec::new(),
            at,
            written: None,
            elsewhere: Vec::new(),
        }
    }

    /// A layer that sets one path.
    pub(super) fn entry(layer: ConfigLayer, path: &[String], value: Value, place: Option<Place>) -> Overlay {
        let (file, at) = place.map_or((None, Vec::new()), |(file, at)| (Some(file), at));
        let (tree, base, elsewhere) = (single(path, value), path.to_vec(), Vec::new());
        Overlay { layer, tree, order: None, file, base, at, written: None, elsewhere }
    }

    /// The same layer, which a user wrote on the command line or in the environment.
    pub(super) fn outside_of_files(self, written: Written) -> Overlay {
        Overlay { written: Some(written), ..self }
    }

    /// The same layer, with settings that stand elsewhere.
    pub(super) fn taken_from(self, elsewhere: Vec<(Vec<String>, Place)>) -> Overlay {
        Overlay { elsewhere, ..self }
    }

    /// Where a path of the manifest is in the layer's file, or in the file that it was taken from.
    pub(super) fn place(&self, path: &[String]) -> Option<Place> {
        let taken =
            self.elsewhere.iter().find_map(|(taken, place)| Some((path.strip_prefix(taken.as_slice())?, place)));
        if let Some((rest, (file, at))) = taken {
            return Some((Rc::clone(file), [at, rest].concat()));
        }
        let file = self.file.as_ref()?;
        let rest = path.strip_prefix(self.base.as_slice()).unwrap_or_default();
        Some((Rc::clone(file), [&self.at, rest].concat()))
    }

    /// The layer's file.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path())
    }

    /// The folder of the layer's file.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.file()?.parent()
    }

    /// The layer's file as a whole.
    pub(super) fn whole_file(&self) -> Option<Location> {
        self.file.as_ref().map(|file| file.whole())
    }

    /// A problem of the layer.
    pub(super) fn problem(&self, path: &[String], mark: Mark, message: String, help: Option<String>) -> Problem {
        Problem {
            message,
            key: (!path.is_empty()).then(|| path.join(".")),
            layer: self.layer.clone(),
            location: match &self.written {
                Some(written) => Some(written.locate(mark)),
                None => self.place(path).map(|(file, at)| file.locate(&at, mark)),
            },
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
