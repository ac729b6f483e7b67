//! The layers of a manifest on top of each other.
//!
//! Tables merge and arrays are replaced whole, with two additions. A layer that names another
//! plugin in a section of one plugin replaces that section. And `[[compressor]]` is kept as a table
//! by name beside the order of the names, so that a dotted path can reach into it; a layer that
//! gives the array replaces both.

use std::path::{Path, PathBuf};

use super::file::Mark;
use super::layers::{Finder, named};
use super::overlay::Overlay;
use super::sections::{Holds, SECTIONS};
use super::tree::{self, Tree, merge, remove};
use crate::ground::{ConfigLayer, Location, Problem};

/// Layers on top of each other, the last one on top. What a later layer replaces as a whole is
/// taken out of the earlier ones.
#[derive(Clone, Default)]
pub(super) struct Stack {
    overlays: Vec<Overlay>,
    /// As in the request.
    bundled: Option<Finder>,
}

impl Stack {
    /// No layers yet.
    pub(super) fn new(bundled: Option<Finder>) -> Stack {
        Stack { overlays: Vec::new(), bundled }
    }

    /// The layers.
    pub(super) fn overlays(&self) -> &[Overlay] {
        &self.overlays
    }

    /// Puts the parts of one layer on top.
    pub(super) fn push(&mut self, layer: Vec<Overlay>) {
        let one_plugin = SECTIONS.iter().filter(|section| matches!(section.holds, Holds::Plugin(_)));
        for section in one_plugin.map(|section| section.name) {
            let names: Vec<&String> = layer.iter().flat_map(|part| plugin_names(&part.tree, section)).collect();
            let replaces = |earlier: &Tree| {
                let held: Vec<&String> = plugin_names(earlier, section).collect();
                !names.is_empty() && held.iter().any(|name| names.iter().any(|new| new != name))
            };
            for earlier in &mut self.overlays {
                if replaces(&earlier.tree) {
                    earlier.tree.remove(section);
                }
            }
        }
        for part in layer {
            if part.order.is_some() {
                self.remove(&tree::path(["compressor"]));
            }
            self.overlays.push(part);
        }
    }

    /// Takes a path out of all layers; false when none had it.
    pub(super) fn remove(&mut self, path: &[String]) -> bool {
        let mut found = false;
        for overlay in &mut self.overlays {
            found |= remove(&mut overlay.tree, path);
            match path {
                [section] if section == "compressor" => overlay.order = None,
                [section, name] if section == "compressor" => {
                    if let Some(order) = &mut overlay.order {
                        order.retain(|other| other != name);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// All layers merged.
    pub(super) fn merged(&self) -> Tree {
        let mut all = Tree::new();
        for overlay in &self.overlays {
            merge(&mut all, &overlay.tree);
        }
        all
    }

    /// Names of the compressors, in order.
    pub(super) fn compressors(&self) -> &[String] {
        self.overlays.iter().rev().find_map(|overlay| overlay.order.as_deref()).unwrap_or_default()
    }

    /// Whether any layer sets anything at or below a path.
    pub(super) fn sets(&self, path: &[String]) -> bool {
        self.origin(path).is_some()
    }

    /// The layer that has the last word on a path.
    pub(super) fn origin(&self, path: &[String]) -> Option<&Overlay> {
        self.overlays.iter().rev().find(|overlay| overlay.sets(path))
    }

    /// The folder that a relative path at `path` begins in: that of the file that sets it, else of
    /// the manifest.
    pub(super) fn folder(&self, path: &[String]) -> &Path {
        let main = || self.overlays.iter().find(|overlay| overlay.layer == ConfigLayer::File);
        let folder = self.origin(path).and_then(Overlay::folder).or_else(|| main().and_then(Overlay::folder));
        folder.unwrap_or(Path::new(""))
    }

    /// The file that has the last word on a path; the manifest where no layer sets it.
    pub(super) fn file(&self, path: &[String]) -> Option<&Path> {
        let main = || self.overlays.iter().find(|overlay| overlay.layer == ConfigLayer::File);
        self.origin(path).or_else(main).and_then(Overlay::file)
    }

    /// The path of the design file that a manifest names: relative to the file that names it.
    pub(super) fn design_file(&self, file: &Path) -> PathBuf {
        absolute(&named(file, self.folder(&tree::path(["design", "file"])), self.bundled))
    }

    /// The folder of the trial that a manifest names as its teacher: relative to the file that
    /// names it.
    pub(super) fn teacher_trial(&self, folder: &Path) -> PathBuf {
        absolute(&self.folder(&tree::path(["retrain", "teacher", "trial"])).join(folder))
    }

    /// A problem with what is at a path, or with the lack of it.
    pub(super) fn problem(&self, path: &[String], mark: Mark, message: String, help: Option<String>) -> Problem {
        let above = (1..=path.len()).rev().find_map(|length| self.origin(&path[..length]));
        let mut problem = match above {
            Some(overlay) => overlay.problem(path, mark, message, help),
            None => {
                let file = self.overlays.iter().rev().find(|overlay| overlay.layer == ConfigLayer::File);
                let location = file.and_then(Overlay::whole_file);
                Problem { message, key: None, layer: ConfigLayer::File, location, help }
            }
        };
        problem.key = (!path.is_empty()).then(|| path.join("."));
        problem
    }

    /// Sorts what stands in files in the order in which it is read.
    pub(super) fn rank(&self, path: &[String]) -> (usize, usize) {
        let layer = self.overlays.iter().rposition(|overlay| overlay.sets(path)).unwrap_or_default();
        (layer, self.location(path).map_or(0, |location| location.offset))
    }

    /// Sorts what stands in files in the order in which it is written first, the lowest layer first.
    pub(super) fn first(&self, path: &[String]) -> (usize, usize) {
        let layer = self.overlays.iter().position(|overlay| overlay.sets(path)).unwrap_or_default();
        let place = self.overlays.get(layer).and_then(|overlay| overlay.place(path));
        (layer, place.map_or(0, |(source, at)| source.locate(&at, Mark::Key).offset))
    }

    /// The place of the value at a path, where it stands in a file.
    pub(super) fn location(&self, path: &[String]) -> Option<Location> {
        let (source, at) = self.origin(path)?.place(path)?;
        Some(source.file()?.locate(&at, Mark::Value))
    }
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn plugin_names<'a>(tree: &'a Tree, section: &str) -> impl Iterator<Item = &'a String> {
    tree.get(section).and_then(serde_json::Value::as_object).into_iter().flat_map(Tree::keys)
}
