//! Who uses whom in a crate: every path of its sources, resolved to the module that defines what it
//! names.
//!
//! A path counts wherever it stands: in a `use` tree of any shape, in a type, an expression or an
//! attribute, and in what is handed to a macro. `super::`, `self::` and re-exports are followed to
//! the definition, so that a detour does not hide a use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, Macro, UseTree};

/// A module by its names below the root of its crate.
pub type Module = Vec<String>;

/// Stands for all that other crates define.
const ELSEWHERE: &str = "::";

/// One use of another module.
#[derive(Debug, Clone)]
pub struct Use {
    /// The module that uses.
    pub from: Module,
    /// Its file, below the folder of sources.
    pub file: PathBuf,
    /// Line of the path in that file, from 1.
    pub line: usize,
    /// The path as it was written, absolute: `crate::run::Task`, or `litesnn_framework::run::Task`.
    pub path: String,
    /// The module that defines what it names; for another crate, the path itself without the name
    /// of that crate.
    pub to: Module,
    /// The other crate; `None` within the crate.
    pub other: Option<String>,
}

/// The modules of a crate and what they name.
pub struct Sources {
    modules: BTreeMap<Module, Names>,
    written: Vec<Written>,
    /// Macros with `#[macro_export]`: they stand at the root, wherever they are defined.
    macros: BTreeMap<String, Module>,
}

/// What can be named in a module.
#[derive(Default)]
struct Names {
    defined: Vec<String>,
    /// Words that macros are handed, one of which may be the name of what a macro defines.
    handed: Vec<String>,
    /// Name and path, as written, of what `use` brings in.
    imported: Vec<(String, Vec<String>)>,
    /// Paths of `use x::*`.
    globs: Vec<Vec<String>>,
}

/// A path where it stands.
struct Written {
    module: Module,
    file: PathBuf,
    line: usize,
    segments: Vec<String>,
}

impl Sources {
    /// Reads a crate from the file of its root module.
    pub fn read(root: &Path) -> Sources {
        let mut sources = Sources { modules: BTreeMap::new(), written: Vec::new(), macros: BTreeMap::new() };
        let folder = root.parent().unwrap().to_owned();
        sources.file(&folder, root, &folder, Vec::new());
        sources
    }

    fn file(&mut self, top: &Path, path: &Path, children: &Path, module: Module) {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = path.strip_prefix(top).unwrap().to_owned();
        self.items(top, &file, children, module, &parsed.items);
    }

    /// `children` is the folder in which the files of the module's own modules lie.
    fn items(&mut self, top: &Path, file: &Path, children: &Path, module: Module, items: &[Item]) {
        self.modules.entry(module.clone()).or_default();
        for item in items {
            match item {
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    self.define(&module, &name);
                    let below = [module.as_slice(), std::slice::from_ref(&name)].concat();
                    let folder = children.join(&name);
                    match &inner.content {
                        Some((_, items)) => self.items(top, file, &folder, below, items),
                        None => {
                            let named = path_attribute(&inner.attrs).map(|path| children.join(path));
                            let candidates = [children.join(format!("{name}.rs")), folder.join("mod.rs")];
                            let found = named.into_iter().chain(candidates).find(|path| path.is_file());
                            let found = found.unwrap_or_else(|| panic!("no file of module {below:?}"));
                            self.file(top, &found, &folder, below);
                        }
                    }
                }
                Item::Use(tree) => {
                    let mut leaves = Vec::new();
                    flatten(&tree.tree, &mut Vec::new(), &mut leaves);
                    for (segments, name, line) in leaves {
                        self.import(&module, segments.clone(), name);
                        self.written.push(Written { module: module.clone(), file: file.to_owned(), line, segments });
                    }
                }
                _ => {
                    if let Some(name) = name_of(item) {
                        self.define(&module, &name);
                    }
                    if let Item::Macro(item) = item {
                        let words = item.mac.tokens.clone().into_iter().filter_map(|token| match token {
                            TokenTree::Ident(word) => Some(word.to_string()),
                            _ => None,
                        });
                        self.modules.entry(module.clone()).or_default().handed.extend(words);
                    }
                    if let Item::Macro(item) = item
                        && let Some(name) = item.ident.as_ref().filter(|_| is_exported(&item.attrs))
                    {
                        self.macros.insert(name.to_string(), module.clone());
                    }
                    let mut finder = Finder { found: Vec::new() };
                    finder.visit_item(item);
                    let found = finder.found.into_iter();
                    self.written.extend(found.map(|(segments, line)| Written {
                        module: module.clone(),
                        file: file.to_owned(),
                        line,
                        segments,
                    }));
                }
            }
        }
    }

    fn define(&mut self, module: &Module, name: &str) {
        self.modules.entry(module.clone()).or_default().defined.push(name.to_owned());
    }

    fn import(&mut self, module: &Module, segments: Vec<String>, name: Option<String>) {
        let names = self.modules.entry(module.clone()).or_default();
        match name {
            Some(name) => names.imported.push((name, segments)),
            None => names.globs.push(segments),
        }
    }

    /// Every use of another module of the crate and of the crates in `others`. A path that cannot
    /// be resolved is a panic: a use that is not understood must not be passed over.
    pub fn uses(&self, others: &[&str]) -> Vec<Use> {
        let mut all = Vec::new();
        for written in &self.written {
            let (other, to, path) = match written.segments.first() {
                Some(first) if others.contains(&first.as_str()) => {
                    (Some(first.clone()), written.segments[1..].to_vec(), written.segments.join("::"))
                }
                _ => {
                    let Some(path) = self.absolute(&written.module, &written.segments) else { continue };
                    let to = self.definer(&path, 0).unwrap_or_else(|| {
                        let (file, line) = (written.file.display(), written.line);
                        panic!("{file}:{line}: `crate::{}` is not understood", path.join("::"))
                    });
                    if to == [ELSEWHERE] {
                        continue;
                    }
                    (None, to, ["crate".to_owned()].iter().chain(&path).cloned().collect::<Vec<_>>().join("::"))
                }
            };
            let (from, file, line) = (written.module.clone(), written.file.clone(), written.line);
            all.push(Use { from, file, line, path, to, other });
        }
        all
    }

    /// The module that defines what an absolute path names.
    fn definer(&self, path: &[String], depth: usize) -> Option<Module> {
        assert!(depth < 32, "{path:?} goes in a circle");
        let Some((last, above)) = path.split_last() else { return Some(Vec::new()) };
        if self.modules.contains_key(path) {
            return Some(path.to_vec());
        }
        let Some(names) = self.modules.get(above) else {
            // An associated item, a variant: what it belongs to is defined somewhere.
            return if above.is_empty() { None } else { self.through(above, last, depth) };
        };
        if names.defined.contains(last) {
            return Some(above.to_vec());
        }
        if let Some((_, target)) = names.imported.iter().find(|(name, _)| name == last) {
            // What is handed on from another crate is no module of this one.
            return match self.absolute(above, target) {
                Some(target) => self.definer(&target, depth + 1),
                None => Some(vec![ELSEWHERE.to_owned()]),
            };
        }
        if above.is_empty()
            && let Some(module) = self.macros.get(last)
        {
            return Some(module.clone());
        }
        let globs = names.globs.iter().filter_map(|glob| self.absolute(above, glob)).filter(|glob| glob != above);
        let mut found =
            globs.filter_map(|glob| self.definer(&[glob.as_slice(), std::slice::from_ref(last)].concat(), depth + 1));
        found.next().or_else(|| names.handed.contains(last).then(|| above.to_vec()))
    }

    /// `last` belongs to `above`, which is no module: a type, or a module under another name.
    fn through(&self, above: &[String], last: &str, depth: usize) -> Option<Module> {
        let (name, outer) = above.split_last()?;
        let renamed = self.modules.get(outer)?.imported.iter().find(|(known, _)| known == name);
        if let Some((_, target)) = renamed {
            return match self.absolute(outer, target) {
                Some(target) => {
                    let path = [target.as_slice(), &[last.to_owned()]].concat();
                    self.definer(&path, depth + 1).or_else(|| self.definer(&target, depth + 1))
                }
                None => Some(vec![ELSEWHERE.to_owned()]),
            };
        }
        self.definer(above, depth + 1)
    }

    /// A path below the root of the crate; `None` where it begins with none of `crate`, `super`,
    /// `self` and with no module of `module`: then it leads into another crate, or to a name that
    /// `use` has brought in.
    fn absolute(&self, module: &[String], segments: &[String]) -> Option<Vec<String>> {
        let first = segments.first()?;
        let below = [module, std::slice::from_ref(first)].concat();
        if self.modules.contains_key(&below) {
            return Some([module, segments].concat());
        }
        absolute(module, segments)
    }
}

fn absolute(module: &[String], segments: &[String]) -> Option<Vec<String>> {
    let mut place = module.to_vec();
    let mut rest = segments;
    match segments.first()?.as_str() {
        "crate" => place.clear(),
        "self" => {}
        "super" => drop(place.pop()),
        _ => return None,
    }
    rest = &rest[1..];
    while rest.first().is_some_and(|segment| segment == "super") {
        place.pop();
        rest = &rest[1..];
    }
    place.extend(rest.iter().cloned());
    Some(place)
}

/// The leaves of a `use` tree: segments, the name it has here (none for `*`), line.
fn flatten(tree: &UseTree, prefix: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, Option<String>, usize)>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, leaves)),
        UseTree::Glob(glob) => leaves.push((prefix.clone(), None, glob.star_token.spans[0].start().line)),
        UseTree::Name(name) => {
            let line = name.ident.span().start().line;
            let (mut segments, own) = (prefix.clone(), name.ident.to_string());
            let own = if own == "self" { segments.last().cloned().unwrap_or_default() } else { own };
            if name.ident != "self" || segments.is_empty() {
                segments.push(own.clone());
            }
            leaves.push((segments, Some(own), line));
        }
        UseTree::Rename(rename) => {
            let mut segments = prefix.clone();
            if rename.ident != "self" {
                segments.push(rename.ident.to_string());
            }
            leaves.push((segments, Some(rename.rename.to_string()), rename.rename.span().start().line));
        }
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn is_exported(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("macro_export"))
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find(|attribute| attribute.path().is_ident("path")).and_then(|attribute| {
        let value = &attribute.meta.require_name_value().ok()?.value;
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = value else { return None };
        Some(text.value())
    })
}

/// Paths in anything but `use` trees of modules.
struct Finder {
    found: Vec<(Vec<String>, usize)>,
}

impl Finder {
    /// Paths in a stream of tokens: identifiers joined by `::`.
    fn tokens(&mut self, stream: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        let end = |path: &mut Vec<String>, line: usize, found: &mut Vec<(Vec<String>, usize)>| {
            if path.len() > 1 {
                found.push((std::mem::take(path), line));
            }
            path.clear();
        };
        for token in stream {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        end(&mut path, line, &mut self.found);
                        line = word.span().start().line;
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    end(&mut path, line, &mut self.found);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    end(&mut path, line, &mut self.found);
                    colons = 0;
                }
            }
        }
        end(&mut path, line, &mut self.found);
    }
}

impl<'a> Visit<'a> for Finder {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.found.push((segments, path.segments[0].ident.span().start().line));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, made: &'a Macro) {
        self.visit_path(&made.path);
        self.tokens(made.tokens.clone());
    }

    fn visit_item_use(&mut self, tree: &'a syn::ItemUse) {
        // In a function.
        let mut leaves = Vec::new();
        flatten(&tree.tree, &mut Vec::new(), &mut leaves);
        self.found.extend(leaves.into_iter().map(|(segments, _, line)| (segments, line)));
    }

    fn visit_visibility(&mut self, _: &'a syn::Visibility) {
        // `pub(in crate::x)` uses nothing.
    }
}
