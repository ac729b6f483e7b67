//! One TOML file with the place of everything in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use toml_edit::{Document, Item, TableLike};

use super::layers::Request;
use super::spelling::did_you_mean;
use super::tree::Tree;
use crate::ground::toml::to_json;
use crate::ground::{ConfigLayer, Location, Problem};

/// What of a setting is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

/// A parsed file.
pub(super) struct ManifestFile {
    path: PathBuf,
    text: Arc<str>,
    document: Document<Arc<str>>,
}

impl ManifestFile {
    /// Reads and parses `path`, which stands in a message as it is given here.
    pub(super) fn read(path: &Path, layer: &ConfigLayer, request: &Request) -> Result<ManifestFile, Box<Problem>> {
        let problem = |message: String, location: Option<Location>, help: Option<&str>| {
            let help = help.map(str::to_owned);
            Box::new(Problem { message, key: None, layer: layer.clone(), location, help })
        };
        let bytes = request.read(path).map_err(|error| {
            problem(format!("cannot read `{}`: {error}{}", path.display(), neighbour(path)), None, None)
        })?;
        let text: Arc<str> = match String::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(error) => {
                let start = error.utf8_error().valid_up_to();
                // What is not UTF-8 becomes one character that is three bytes long.
                let text: Arc<str> = String::from_utf8_lossy(error.as_bytes()).into();
                let location = Location::new(path.into(), text, start, start + 1);
                let help = "save the file as UTF-8";
                return Err(problem("this is not UTF-8".into(), Some(location), Some(help)));
            }
        };
        let document = Document::parse(Arc::clone(&text)).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let location = Location::new(path.into(), Arc::clone(&text), span.start, span.end.max(span.start + 1));
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let help = "a line is `key = value`, `[section]` or `[[section]]`; text stands in \"quotes\"";
            problem(format!("not valid TOML: {message}"), Some(location), Some(help))
        })?;
        let file = ManifestFile { path: path.into(), text, document };
        if file.document.is_empty() {
            let help = "a manifest begins with [experiment] and its name; see experiments/quickstart.toml";
            return Err(problem("the file is empty".into(), Some(file.whole()), Some(help)));
        }
        Ok(file)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything in it.
    pub(super) fn tree(&self) -> Tree {
        table(self.document.as_table())
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Location {
        Location::new(self.path.clone(), Arc::clone(&self.text), 0, 0)
    }

    /// The place of what `path` names, or of the nearest thing above it that is in the file. An
    /// index of an array is a segment; a plugin in an array of plugins can be named as well.
    pub(super) fn locate(&self, path: &[String], mark: Mark) -> Location {
        match Node::Item(self.document.as_item()).span_of(path, mark) {
            Some(span) => Location::new(self.path.clone(), Arc::clone(&self.text), span.start, span.end),
            None => self.whole(),
        }
    }
}

/// The place of what `path` names in the value of `KEY=VALUE`, in bytes of the text; `None` where the
/// value is a bare word, or has nothing there.
pub(super) fn span_in_value(text: &Arc<str>, path: &[String], mark: Mark) -> Option<Range<usize>> {
    let document = Document::parse(Arc::clone(text)).ok()?;
    let mut item = document.as_item();
    // The segments of the key.
    while let Item::Table(table) = item {
        item = table.iter().next()?.1;
    }
    Node::Item(item).span_of(path, mark)
}

/// `; did you mean ...?`, for a file that is not there and one beside it that is.
fn neighbour(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    match (path.exists(), path.file_name()) {
        (false, Some(name)) => did_you_mean(&name.to_string_lossy(), &names),
        _ => String::new(),
    }
}

/// Something in a document that can have children.
#[derive(Clone, Copy)]
enum Node<'a> {
    Item(&'a Item),
    Value(&'a toml_edit::Value),
    Table(&'a toml_edit::Table),
}

impl<'a> Node<'a> {
    fn span(self) -> Option<Range<usize>> {
        match self {
            Node::Item(item) => item.span(),
            Node::Value(value) => value.span(),
            Node::Table(table) => table.span(),
        }
    }

    /// The place of what `path` names below it, or of the nearest thing above that which is there.
    fn span_of(self, path: &[String], mark: Mark) -> Option<Range<usize>> {
        let (mut key, mut value, mut node) = (None, None, self);
        for segment in path {
            let Some((own_key, child)) = node.child(segment) else { break };
            // An element of an array has no key of its own: it answers for the key of the array.
            key = own_key.or(key);
            value = child.span();
            node = child;
        }
        match mark {
            Mark::Key => key.or(value),
            Mark::Value => value.or(key),
        }
    }

    fn table(self) -> Option<&'a dyn TableLike> {
        match self {
            Node::Item(item) => item.as_table_like(),
            Node::Value(value) => value.as_inline_table().map(|table| table as &dyn TableLike),
            Node::Table(table) => Some(table),
        }
    }

    fn elements(self) -> Vec<Node<'a>> {
        let of = |array: &'a toml_edit::Array| array.iter().map(Node::Value).collect();
        match self {
            Node::Item(Item::ArrayOfTables(tables)) => tables.iter().map(Node::Table).collect(),
            Node::Item(Item::Value(toml_edit::Value::Array(array))) => of(array),
            Node::Value(toml_edit::Value::Array(array)) => of(array),
            _ => Vec::new(),
        }
    }

    fn child(self, segment: &str) -> Option<(Option<Range<usize>>, Node<'a>)> {
        let Some(table) = self.table() else {
            let elements = self.elements();
            if let Some(element) = segment.parse::<usize>().ok().and_then(|index| elements.get(index)) {
                return Some((None, *element));
            }
            return elements
                .iter()
                .find(|element| element.table().is_some_and(|table| table.contains_key(segment)))?
                .child(segment);
        };
        if let Some((key, item)) = table.get_key_value(segment) {
            return Some((key.span(), Node::Item(item)));
        }
        // A dotted path in one segment may be written as tables.
        segment.match_indices('.').find_map(|(dot, _)| {
            let (_, item) = table.get_key_value(&segment[..dot])?;
            Node::Item(item).child(&segment[dot + 1..])
        })
    }
}

fn table(table: &dyn TableLike) -> Tree {
    table.iter().map(|(key, item)| (key.to_owned(), value_of_item(item))).collect()
}

fn value_of_item(item: &Item) -> Value {
    match item {
        Item::None => Tree::new().into(),
        Item::Value(inner) => to_json(inner),
        Item::Table(inner) => table(inner).into(),
        Item::ArrayOfTables(tables) => tables.iter().map(|inner| Value::Object(table(inner))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str, path: &str, mark: Mark) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, text).unwrap();
        let file = ManifestFile::read(&file, &ConfigLayer::File, &Request::default())
            .unwrap_or_else(|problem| panic!("{problem}"));
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        let at = file.locate(&path, mark);
        format!("{}:{} {}", at.line, at.column, &text[at.offset..at.offset + at.length])
    }

    #[test]
    fn everything_has_a_place() {
        let text = "[search]\nepochs = 3\n[[compressor]]\nprune = { rate = 0.5 }\n[sweep]\nsearch.epochs = [1, 22]\n";
        assert_eq!(marked(text, "search/epochs", Mark::Key), "2:1 epochs");
        assert_eq!(marked(text, "search/epochs", Mark::Value), "2:10 3");
        assert_eq!(marked(text, "search/missing", Mark::Key), "1:2 search");
        assert_eq!(marked(text, "compressor/prune/rate", Mark::Value), "4:18 0.5");
        assert_eq!(marked(text, "compressor/0/prune", Mark::Key), "4:1 prune");
        assert_eq!(marked(text, "sweep/search.epochs/1", Mark::Value), "6:21 22");
        assert_eq!(marked(text, "sweep/search.epochs/1", Mark::Key), "6:8 epochs");
        assert_eq!(marked(text, "nothing", Mark::Key), "1:1 ");
    }
}
