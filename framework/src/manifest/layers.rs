//! From what a user asks for to the layers of a manifest: files and what they extend, profiles, the
//! environment, the command line.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use super::file::{ManifestFile, Mark};
use super::overlay::{Overlay, Written};
use super::sections::below;
use super::spelling::{did_you_mean, fold, listed};
use super::stack::Stack;
use super::tree::{DEEPEST, Tree, lookup, path, split_path};
use super::typed::VERSION;
use crate::ground::file::{MOST_TEXT, read_bounded};
use crate::ground::toml::to_json;
use crate::ground::{ConfigLayer, Problem};

/// Variables of the environment that begin with `LITESNN_` and are not settings.
const NOT_SETTINGS: [&str; 2] = ["CACHE", "DATA"];

/// Finds a file that comes with the program, by what a manifest says.
pub type Finder = fn(&Path) -> Option<PathBuf>;

/// What a user asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The manifest.
    pub manifest: PathBuf,
    /// `--profile`
    pub profile: Option<String>,
    /// `--set`: `KEY=VALUE`, the value in TOML syntax; a bare word that is no number is a string.
    pub set: Vec<String>,
    /// The environment; variables that do not begin with `LITESNN_` are ignored. `__` separates the
    /// segments of a path, case does not matter, and `_` may stand for `-`.
    pub environment: Vec<(String, String)>,
    /// Files that the program itself holds, absolute path and text: manifests, and the designs that
    /// they name. They stand before the files of the disk.
    pub held: &'static [(&'static str, &'static str)],
    /// Asked for what `extends` and `design.file` name where no such file lies beside the manifest.
    pub bundled: Option<Finder>,
    /// What `experiment.reproduces` can name. Where nothing is known, everything is right.
    pub publications: Vec<String>,
}

impl Request {
    /// The content of a manifest, or of a design that one names.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let plain = without_detours(path);
        match self.held.iter().find(|(held, _)| Path::new(held) == plain) {
            Some((_, text)) => Ok(text.as_bytes().to_vec()),
            None => read_bounded(path, MOST_TEXT),
        }
    }
}

/// The file that a manifest in `folder` names.
pub(super) fn named(written: &Path, folder: &Path, bundled: Option<Finder>) -> PathBuf {
    let beside = folder.join(written);
    let found = bundled.filter(|_| !beside.exists()).and_then(|find| find(written));
    found.unwrap_or(beside)
}

/// `/a/c` for `/a/b/../c`.
fn without_detours(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// A value from the command line or the environment: TOML, or a string without quotes.
fn parse_value(text: &str) -> Result<Value, String> {
    match text.trim().parse::<toml_edit::Value>() {
        Ok(parsed) => Ok(to_json(&parsed)),
        Err(error) if text.trim_start().starts_with(['"', '\'', '[', '{']) => {
            Err(format!("the value is not valid TOML: {}", error.message().lines().next().unwrap_or_default()))
        }
        Err(_) => Ok(Value::from(text)),
    }
}

/// All layers up to `--set`. Problems of a file that cannot be read or parsed come alone: nothing
/// can be said of the rest.
pub(super) fn stack(request: &Request, problems: &mut Vec<Problem>) -> Result<Stack, Vec<Problem>> {
    let files = files(request).map_err(|problem| vec![*problem])?;
    let mut stack = Stack::new(request.bundled);
    let mut profiles = Vec::new();
    for (layer, file) in files {
        let mut tree = file.tree();
        tree.remove("extends");
        let mut overlay = Overlay::whole(layer, tree, &file, Vec::new());
        if let Some(newer) = newer_version(&overlay) {
            return Err(vec![newer]);
        }
        profiles.extend(take_profiles(&mut overlay, &file, problems));
        stack.push(vec![overlay.normalise(problems)]);
    }
    if let Some(name) = &request.profile {
        let known: Vec<String> = profiles.iter().map(|(name, _)| name.clone()).collect();
        if !known.contains(name) {
            let message = format!("unknown profile `{name}`{}", did_you_mean(name, &known));
            problems.push(stack.problem(&[], Mark::Key, message, Some(format!("profiles: {}", listed(&known)))));
        }
    }
    for (_, mut profile) in profiles.into_iter().filter(|(name, _)| request.profile.as_ref() == Some(name)) {
        refuse_file_keys(&mut profile, problems);
        stack.push(vec![profile.normalise(problems)]);
    }
    let environment = request.environment.iter().filter_map(|(name, value)| variable(name, value).transpose());
    let set = request.set.iter().map(|argument| command_line(argument));
    for entries in [collect(environment, problems), collect(set, problems)] {
        stack.push(entries);
    }
    Ok(stack)
}

/// Takes the profiles out of a file: each is a layer of its own.
fn take_profiles(
    overlay: &mut Overlay,
    file: &Rc<ManifestFile>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, Overlay)> {
    let found = match overlay.tree.remove("profile") {
        None => return Vec::new(),
        Some(Value::Object(found)) => found,
        Some(_) => {
            let message = "[profile] is not a table of profiles".to_owned();
            problems.push(overlay.problem(&path(["profile"]), Mark::Value, message, None));
            return Vec::new();
        }
    };
    let mut profiles = Vec::new();
    for (name, profile) in found {
        let at = path(["profile", &name]);
        let tree = match profile {
            Value::Object(tree) => tree,
            _ => {
                let message = format!("[profile.{name}] is not a table");
                problems.push(overlay.problem(&at, Mark::Value, message, None));
                Tree::new()
            }
        };
        profiles.push((name.clone(), Overlay::whole(ConfigLayer::Profile(name), tree, file, at)));
    }
    profiles
}

fn collect(entries: impl Iterator<Item = Result<Overlay, Box<Problem>>>, problems: &mut Vec<Problem>) -> Vec<Overlay> {
    let mut good = Vec::new();
    for entry in entries {
        match entry {
            Ok(mut entry) => {
                refuse_file_keys(&mut entry, problems);
                good.push(entry.normalise(problems));
            }
            Err(problem) => problems.push(*problem),
        }
    }
    good
}

/// `extends` and `[profile]` belong to a file as a whole.
fn refuse_file_keys(overlay: &mut Overlay, problems: &mut Vec<Problem>) {
    for key in ["extends", "profile"] {
        let path = path([key]);
        if overlay.sets(&path) {
            let message = format!("`{key}` cannot be set here");
            let help = format!("`{key}` belongs at the top of a file");
            problems.push(overlay.problem(&path, Mark::Key, message, Some(help)));
            overlay.tree.remove(key);
        }
    }
}

/// A file of a newer format than this program reads.
fn newer_version(overlay: &Overlay) -> Option<Problem> {
    let path = path(["version"]);
    let version = lookup(&overlay.tree, &path)?.as_i64()?;
    if version <= i64::from(VERSION) {
        return None;
    }
    let message = format!("this manifest is of version {version}, and this program reads up to {VERSION}");
    Some(overlay.problem(&path, Mark::Value, message, Some("upgrade litesnn".into())))
}

/// The manifest and what it extends, the lowest layer first.
fn files(request: &Request) -> Result<Vec<(ConfigLayer, Rc<ManifestFile>)>, Box<Problem>> {
    let mut files: Vec<(ConfigLayer, Rc<ManifestFile>)> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut next = Some((ConfigLayer::File, request.manifest.clone()));
    while let Some((layer, path)) = next.take() {
        // The file that extends this one, and where it says so.
        let extending = files.last().map(|(layer, file)| (layer, Rc::clone(file)));
        let chain = || files.iter().map(|(_, file)| file.path()).chain([path.as_path()]);
        let blame = |mut problem: Box<Problem>| {
            if let Some((layer, file)) = &extending {
                let chain: Vec<String> = chain().map(|path| format!("`{}`", path.display())).collect();
                problem.key = Some("extends".into());
                problem.layer = (*layer).clone();
                problem.location = Some(file.locate(&self::path(["extends"]), Mark::Value));
                problem.help = Some(format!("the chain is {}", chain.join(" > ")));
            }
            problem
        };
        let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
        if seen.contains(&identity) {
            let message = format!("`extends` goes in a circle: `{}` is reached again", path.display());
            return Err(blame(Box::new(Problem { message, key: None, layer, location: None, help: None })));
        }
        seen.push(identity);
        let file = ManifestFile::read(&path, &layer, request)
            .map_err(|problem| if problem.location.is_none() { blame(problem) } else { problem })?;
        match file.tree().get("extends") {
            None => {}
            Some(Value::String(other)) => {
                let other = named(other.as_ref(), path.parent().unwrap_or(Path::new("")), request.bundled);
                next = Some((ConfigLayer::Extends(other.clone()), other));
            }
            Some(_) => {
                return Err(Box::new(Problem {
                    message: "`extends` is not a string".into(),
                    key: Some("extends".into()),
                    layer,
                    location: Some(file.locate(&self::path(["extends"]), Mark::Value)),
                    help: Some("`extends = \"base.toml\"` names one file, relative to this one".into()),
                }));
            }
        }
        files.push((layer, Rc::new(file)));
    }
    files.reverse();
    Ok(files)
}

/// A setting from the environment; `None` when the variable is not one.
fn variable(name: &str, value: &str) -> Result<Option<Overlay>, Box<Problem>> {
    let Some(rest) = name.strip_prefix("LITESNN_") else { return Ok(None) };
    if NOT_SETTINGS.contains(&rest) {
        return Ok(None);
    }
    let layer = ConfigLayer::Environment(name.to_owned());
    let written = Written::new("environment", &format!("{name}={value}"), "__");
    let problem = |message: String, help: Option<String>| {
        let location = Some(written.whole());
        Box::new(Problem { message, key: None, layer: layer.clone(), location, help })
    };
    let segments: Vec<&str> = rest.split("__").collect();
    if segments.iter().any(|segment| segment.is_empty()) || segments.len() > DEEPEST {
        let help = "`LITESNN_SEARCH__EPOCHS` stands for `search.epochs`";
        return Err(problem("this is not the path of a setting".into(), Some(help.into())));
    }
    let mut path: Vec<String> = Vec::new();
    for segment in segments {
        let known = below(&path).into_iter().find(|known| fold(known) == fold(segment));
        path.push(known.unwrap_or_else(|| segment.to_lowercase()));
    }
    let value = parse_value(value).map_err(|message| problem(message, None))?;
    Ok(Some(Overlay::entry(layer, &path, value, None).outside_of_files(written)))
}

/// A setting from the command line.
pub(super) fn command_line(argument: &str) -> Result<Overlay, Box<Problem>> {
    let layer = ConfigLayer::Set(argument.to_owned());
    let written = Written::new("command line", argument, ".");
    let problem = |message: String| {
        let help = Some("`--set search.epochs=3` sets one key".to_owned());
        Box::new(Problem { message, key: None, layer: layer.clone(), location: Some(written.whole()), help })
    };
    let (key, value) = argument.split_once('=').ok_or_else(|| problem("this is not KEY=VALUE".into()))?;
    let path = split_path(key.trim()).map_err(problem)?;
    let value = parse_value(value).map_err(problem)?;
    Ok(Overlay::entry(layer, &path, value, None).outside_of_files(written))
}

#[cfg(test)]
mod tests;
