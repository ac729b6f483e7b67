//! The layers of a manifest, from the files, the environment and the command line to one tree.
//!
//! Tables merge and arrays are replaced whole, by figment's `merge`, with two additions. A layer that names another plugin in
//! a section of one plugin replaces that section. And `[[compressor]]` is kept as a table by name beside the order of the
//! names, so that a dotted path can reach into it; a layer that gives the array replaces both.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::names::{ONE_PLUGIN, below, did_you_mean, fold, listed};
use super::problem::{Layer, Location, Problem};
use super::settings::VERSION;
use super::source::{self, Mark, SourceFile};

/// Variables of the environment that begin with `LITESNN_` and are not settings.
const NOT_SETTINGS: [&str; 2] = ["CACHE", "DATA"];

/// A dotted path with more segments than this is not one of a setting.
const DEEPEST: usize = 16;

/// What a user asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The manifest.
    pub manifest: PathBuf,
    /// `--profile`
    pub profile: Option<String>,
    /// `--set`: `KEY=VALUE`, the value in TOML syntax; a bare word is a string.
    pub set: Vec<String>,
    /// The environment; variables that do not begin with `LITESNN_` are ignored. `__` separates the segments of a path,
    /// case does not matter, and `_` may stand for `-`.
    pub environment: Vec<(String, String)>,
}

/// What one layer sets.
#[derive(Clone)]
pub(super) struct Overlay {
    pub(super) layer: Layer,
    tree: Dict,
    /// Names of the compressors, when the layer gives the array.
    order: Option<Vec<String>>,
    /// The file it stands in.
    file: Option<Rc<SourceFile>>,
    /// The path in the manifest that the layer begins at ...
    base: Vec<String>,
    /// ... and where in the file that is.
    at: Vec<String>,
    /// Outside of files: what the user wrote.
    written: Option<Written>,
}

/// A setting as it stands on the command line or in the environment: `KEY=VALUE`.
#[derive(Clone)]
struct Written {
    /// What stands for a file's name in a message.
    place: &'static str,
    text: Arc<str>,
    /// The last segment of the key, in bytes of the text.
    key: Range<usize>,
    value: Range<usize>,
}

impl Written {
    /// `separator` divides the segments of a key.
    fn new(place: &'static str, text: &str, separator: &str) -> Written {
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

    fn whole(&self) -> Location {
        Location::new(self.place.into(), Arc::clone(&self.text), 0, self.text.len())
    }
}

impl Provider for Overlay {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.layer.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.tree.clone()))
    }
}

impl Overlay {
    /// A layer that is a whole tree: a file (`at` is empty) or a profile in it.
    fn whole(layer: Layer, tree: Dict, file: &Rc<SourceFile>, at: Vec<String>) -> Overlay {
        Overlay { layer, tree, order: None, file: Some(Rc::clone(file)), base: Vec::new(), at, written: None }
    }

    /// A layer that sets one path.
    pub(super) fn entry(
        layer: Layer,
        path: &[String],
        value: Value,
        place: Option<(Rc<SourceFile>, Vec<String>)>,
    ) -> Overlay {
        let nested = path
            .iter()
            .skip(1)
            .rev()
            .fold(value, |inner, key| Value::Dict(Tag::Default, Dict::from([(key.clone(), inner)])));
        let tree = path.first().map(|key| Dict::from([(key.clone(), nested)])).unwrap_or_default();
        let (file, at) = place.map_or((None, Vec::new()), |(file, at)| (Some(file), at));
        Overlay { layer, tree, order: None, file, base: path.to_vec(), at, written: None }
    }

    /// Where a path of the manifest is in the layer's file.
    pub(super) fn place(&self, path: &[String]) -> Option<(Rc<SourceFile>, Vec<String>)> {
        let file = self.file.as_ref()?;
        let rest = path.strip_prefix(self.base.as_slice()).unwrap_or_default();
        Some((Rc::clone(file), [&self.at, rest].concat()))
    }

    /// The folder of the layer's file.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.file.as_ref()?.path().parent()
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
        let mut all = Vec::new();
        for (key, value) in &self.tree {
            leaves(value, &mut vec![key.clone()], &mut all);
        }
        all
    }

    /// What it sets at a path.
    pub(super) fn get(&self, path: &[String]) -> Option<&Value> {
        lookup(&self.tree, path)
    }

    /// Whether it sets a path to a table without keys.
    pub(super) fn is_empty_table(&self, path: &[String]) -> bool {
        matches!(self.get(path), Some(Value::Dict(_, inner)) if inner.is_empty())
    }

    /// Whether it sets anything at or below a path.
    pub(super) fn sets(&self, path: &[String]) -> bool {
        self.get(path).is_some()
    }

    /// Brings the sections that are not plain tables into the form that merges: the array of compressors becomes a table and
    /// an order, and the keys of the sweep become dotted paths.
    pub(super) fn normalise(mut self, problems: &mut Vec<Problem>) -> Overlay {
        if let Some(Value::Array(_, elements)) = self.tree.get("compressor").cloned() {
            let mut named = Dict::new();
            let mut order = Vec::new();
            for (index, element) in elements.into_iter().enumerate() {
                let path = ["compressor".to_owned(), index.to_string()];
                let plugins = match element {
                    Value::Dict(_, plugins) if plugins.len() == 1 => plugins,
                    other => {
                        let held = match &other {
                            Value::Dict(_, none) if none.is_empty() => "holds no plugin".to_owned(),
                            Value::Dict(_, several) => {
                                format!("holds several plugins: {}", listed(&several.keys().collect::<Vec<_>>()))
                            }
                            _ => "holds something that is not a table".to_owned(),
                        };
                        let help = "each [[compressor]] names one plugin: `score-prune = { rate = 0.8 }`";
                        let message = format!("[[compressor]] {} {held}", index + 1);
                        problems.push(self.problem(&path, Mark::Value, message, Some(help.into())));
                        continue;
                    }
                };
                for (name, settings) in plugins {
                    if order.contains(&name) {
                        let message = format!("two compressors are `{name}`");
                        let help = "a compressor is used once; its settings are reached by its name";
                        let path = [path.as_slice(), &[name]].concat();
                        problems.push(self.problem(&path, Mark::Key, message, Some(help.into())));
                    } else {
                        order.push(name.clone());
                        named.insert(name, settings);
                    }
                }
            }
            self.tree.insert("compressor".into(), Value::Dict(Tag::Default, named));
            self.order = Some(order);
        }
        if let Some(Value::Dict(tag, sweep)) = self.tree.get("sweep").cloned() {
            let mut flat = Dict::new();
            for (key, value) in sweep {
                flatten(&key, value, &mut flat);
            }
            self.tree.insert("sweep".into(), Value::Dict(tag, flat));
        }
        self
    }
}

fn flatten(key: &str, value: Value, flat: &mut Dict) {
    match value {
        Value::Dict(_, inner) if !inner.is_empty() => {
            for (below, value) in inner {
                flatten(&format!("{key}.{below}"), value, flat);
            }
        }
        value => {
            flat.insert(key.to_owned(), value);
        }
    }
}

fn leaves(value: &Value, path: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    match value {
        Value::Dict(_, inner) if !inner.is_empty() => {
            for (key, value) in inner {
                path.push(key.clone());
                leaves(value, path, all);
                path.pop();
            }
        }
        _ => all.push(path.clone()),
    }
}

/// The value at a path.
pub(super) fn lookup<'a>(tree: &'a Dict, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(tree.get(first)?, |value, segment| match value {
        Value::Dict(_, inner) => inner.get(segment),
        Value::Array(_, elements) => elements.get(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

fn remove(tree: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [last] => tree.remove(last).is_some(),
        [first, rest @ ..] => match tree.get_mut(first) {
            Some(Value::Dict(_, inner)) => remove(inner, rest),
            _ => false,
        },
    }
}

/// Layers on top of each other, the last one on top. What a later layer replaces as a whole is taken out of the earlier ones.
#[derive(Clone, Default)]
pub(super) struct Stack {
    overlays: Vec<Overlay>,
}

impl Stack {
    /// The layers.
    pub(super) fn overlays(&self) -> &[Overlay] {
        &self.overlays
    }

    /// Puts the parts of one layer on top.
    pub(super) fn push(&mut self, layer: Vec<Overlay>) {
        for kind in ONE_PLUGIN {
            let section = kind.section();
            let names: Vec<&String> = layer.iter().flat_map(|part| plugin_names(&part.tree, section)).collect();
            let replaces = |earlier: &Dict| {
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
                self.remove(&["compressor".to_owned()]);
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
    pub(super) fn merged(&self) -> Dict {
        let figment = self.overlays.iter().cloned().fold(Figment::new(), Figment::merge);
        // No layer fails to provide its data.
        figment.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default()
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

    /// The folder that a relative path at `path` begins in: that of the file that sets it, else of the manifest.
    pub(super) fn folder(&self, path: &[String]) -> &Path {
        let main = || self.overlays.iter().find(|overlay| overlay.layer == Layer::File);
        let folder = self.origin(path).and_then(Overlay::folder).or_else(|| main().and_then(Overlay::folder));
        folder.unwrap_or(Path::new(""))
    }

    /// A problem with what is at a path, or with the lack of it.
    pub(super) fn problem(&self, path: &[String], mark: Mark, message: String, help: Option<String>) -> Problem {
        let above = (1..=path.len()).rev().find_map(|length| self.origin(&path[..length]));
        let mut problem = match above {
            Some(overlay) => overlay.problem(path, mark, message, help),
            None => {
                let file = self.overlays.iter().rev().find(|overlay| overlay.layer == Layer::File);
                let location = file.and_then(|overlay| overlay.file.as_ref()).map(|file| file.whole());
                Problem { message, key: None, layer: Layer::File, location, help }
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

    /// The place of the value at a path.
    pub(super) fn location(&self, path: &[String]) -> Option<Location> {
        let (file, at) = self.origin(path)?.place(path)?;
        Some(file.locate(&at, Mark::Value))
    }
}

fn plugin_names<'a>(tree: &'a Dict, section: &str) -> impl Iterator<Item = &'a String> {
    let section = match tree.get(section) {
        Some(Value::Dict(_, plugins)) => Some(plugins),
        _ => None,
    };
    section.into_iter().flat_map(Dict::keys)
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

/// A value from the command line or the environment: TOML, or a string without quotes.
fn parse_value(text: &str) -> Result<Value, String> {
    match text.trim().parse::<toml_edit::Value>() {
        Ok(parsed) => Ok(source::value(&parsed)),
        Err(error) if text.trim_start().starts_with(['"', '\'', '[', '{']) => {
            Err(format!("the value is not valid TOML: {}", error.message().lines().next().unwrap_or_default()))
        }
        Err(_) => Ok(Value::from(text)),
    }
}

/// All layers up to `--set`. Problems of a file that cannot be read or parsed come alone: nothing can be said of the rest.
pub(super) fn stack(request: &Request, problems: &mut Vec<Problem>) -> Result<Stack, Vec<Problem>> {
    let files = files(request).map_err(|problem| vec![*problem])?;
    let mut stack = Stack::default();
    let mut profiles = Vec::new();
    let mut known_profiles = Vec::new();
    for (layer, file) in files {
        let mut tree = file.tree();
        tree.remove("extends");
        let overlay = Overlay::whole(layer, tree, &file, Vec::new());
        if let Some(newer) = newer_version(&overlay) {
            return Err(vec![newer]);
        }
        let mut overlay = overlay;
        match overlay.tree.remove("profile") {
            Some(Value::Dict(_, found)) => {
                for (name, profile) in found {
                    let path = ["profile".to_owned(), name.clone()];
                    match profile {
                        Value::Dict(_, tree) if request.profile.as_ref() == Some(&name) => {
                            profiles.push(Overlay::whole(Layer::Profile(name.clone()), tree, &file, path.to_vec()));
                        }
                        Value::Dict(..) => {}
                        _ => {
                            let message = format!("[profile.{name}] is not a table");
                            problems.push(overlay.problem(&path, Mark::Value, message, None));
                        }
                    }
                    known_profiles.push(name);
                }
            }
            Some(_) => {
                let message = "[profile] is not a table of profiles".to_owned();
                problems.push(overlay.problem(&["profile".to_owned()], Mark::Value, message, None));
            }
            None => {}
        }
        stack.push(vec![overlay.normalise(problems)]);
    }
    if let Some(name) = &request.profile
        && !known_profiles.contains(name)
    {
        let message = format!("unknown profile `{name}`{}", did_you_mean(name, &known_profiles));
        problems.push(stack.problem(&[], Mark::Key, message, Some(format!("profiles: {}", listed(&known_profiles)))));
    }
    for mut profile in profiles {
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
        let path = [key.to_owned()];
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
    let path = ["version".to_owned()];
    let version = lookup(&overlay.tree, &path)?.to_i128()?;
    if version <= i128::from(VERSION) {
        return None;
    }
    let message = format!("this manifest is of version {version}, and this program reads up to {VERSION}");
    Some(overlay.problem(&path, Mark::Value, message, Some("upgrade litesnn".into())))
}

/// The manifest and what it extends, the lowest layer first.
fn files(request: &Request) -> Result<Vec<(Layer, Rc<SourceFile>)>, Box<Problem>> {
    let mut files: Vec<(Layer, Rc<SourceFile>)> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut next = Some((Layer::File, request.manifest.clone()));
    while let Some((layer, path)) = next.take() {
        // The file that extends this one, and where it says so.
        let extending = files.last().map(|(layer, file)| (layer, Rc::clone(file)));
        let chain = || files.iter().map(|(_, file)| file.path()).chain([path.as_path()]);
        let blame = |mut problem: Box<Problem>| {
            if let Some((layer, file)) = &extending {
                let chain: Vec<String> = chain().map(|path| format!("`{}`", path.display())).collect();
                problem.key = Some("extends".into());
                problem.layer = (*layer).clone();
                problem.location = Some(file.locate(&["extends".to_owned()], Mark::Value));
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
        let file = SourceFile::read(&path, &layer)
            .map_err(|problem| if problem.location.is_none() { blame(problem) } else { problem })?;
        match file.tree().get("extends") {
            None => {}
            Some(Value::String(_, other)) => {
                let other = path.parent().unwrap_or(Path::new("")).join(other);
                next = Some((Layer::Extends(other.clone()), other));
            }
            Some(_) => {
                return Err(Box::new(Problem {
                    message: "`extends` is not a string".into(),
                    key: Some("extends".into()),
                    layer,
                    location: Some(file.locate(&["extends".to_owned()], Mark::Value)),
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
    let layer = Layer::Environment(name.to_owned());
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
    Ok(Some(Overlay { written: Some(written), ..Overlay::entry(layer, &path, value, None) }))
}

/// A setting from the command line.
fn command_line(argument: &str) -> Result<Overlay, Box<Problem>> {
    let layer = Layer::Set(argument.to_owned());
    let written = Written::new("command line", argument, ".");
    let problem = |message: String| {
        let help = Some("`--set search.epochs=3` sets one key".to_owned());
        Box::new(Problem { message, key: None, layer: layer.clone(), location: Some(written.whole()), help })
    };
    let (key, value) = argument.split_once('=').ok_or_else(|| problem("this is not KEY=VALUE".into()))?;
    let path = split_path(key.trim()).map_err(problem)?;
    let value = parse_value(value).map_err(problem)?;
    Ok(Overlay { written: Some(written), ..Overlay::entry(layer, &path, value, None) })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Desk, GOOD};
    use serde_json::json;

    #[test]
    fn later_layers_win() {
        let base = "[search]\nepochs = 1\nbatch_size = 11\nclip = 1.0\nweight_decay = 0.1\nmomentum = 0.1\n";
        let more = "batch_size = 12\nclip = 2.0\n[profile.smoke.search]\nclip = 3.0\nweight_decay = 0.3\n";
        let text =
            GOOD.replace("[search]\nepochs = 3\n", "").replace("[experiment]", "extends = \"base.toml\"\n[experiment]");
        let desk = Desk::new(format!("{text}[search]\nepochs = 3\n{more}"))
            .file("base.toml", base)
            .profile("smoke")
            .variable("LITESNN_SEARCH__WEIGHT_DECAY", "0.4")
            .variable("LITESNN_SEARCH__MOMENTUM", "0.4")
            .set("search.momentum=0.5");
        let settings = &desk.plan().trials[0].settings["search"];
        assert_eq!(
            *settings,
            json!({"epochs": 3, "batch_size": 12, "clip": 3.0, "weight_decay": 0.4, "momentum": 0.5,
                   "learning_rate": 0.025, "learning_rate_end": 0.0, "augment": {"crop": 0, "flip": false, "cutout": 0}})
        );
    }

    #[test]
    fn a_layer_swaps_a_plugin_replaces_an_array_and_reaches_into_compressors() {
        let text = "extends = \"base.toml\"\n[timesteps.test-steady]\nsteps = 2\n[compressor.test-prune]\nrate = 0.5\n";
        let desk = Desk::new(text).file("base.toml", GOOD).set("compressor.test-round.bits=[8]");
        let settings = desk.plan().trials.remove(0).settings;
        assert_eq!(settings["timesteps"], json!({"test-steady": {"steps": 2}}));
        assert_eq!(
            settings["compressor"],
            json!([{"test-round": {"bits": [8]}}, {"test-prune": {"rate": 0.5, "exempt": []}}])
        );
        let replaced = Desk::good("").set("compressor=[{test-prune={rate=0.1}}]").plan().trials.remove(0).settings;
        assert_eq!(replaced["compressor"], json!([{"test-prune": {"rate": 0.1, "exempt": []}}]));
    }

    #[test]
    fn the_environment_knows_hyphens_and_what_is_no_setting() {
        let desk = Desk::good("")
            .variable("LITESNN_COMPRESSOR__TEST_PRUNE__RATE", "0.25")
            .variable("LITESNN_experiment__Description", "bare words, and more")
            .variable("LITESNN_DATA", "/data")
            .variable("LITESNN_CACHE", "/cache")
            .variable("HOME", "[");
        let plan = desk.plan();
        assert_eq!(plan.description, "bare words, and more");
        assert_eq!(plan.trials[0].settings["compressor"][1]["test-prune"]["rate"], json!(0.25));
        let message = Desk::good("").variable("LITESNN_SEARCH__EPOCH", "3").message();
        assert!(
            message.starts_with(
                "environment:1:17: unknown key `epoch` in [search]; did you mean `epochs`?\n  \
                 |\n1 | LITESNN_SEARCH__EPOCH=3\n  |                 ^^^^^\n  \
                 = in the environment variable `LITESNN_SEARCH__EPOCH`"
            ),
            "{message}"
        );
        assert!(Desk::good("").variable("LITESNN_SEARCH____X", "3").message().contains("not the path of a setting"));
    }

    #[test]
    fn an_argument_that_is_no_setting_is_a_problem() {
        let message = |argument: &str| Desk::good("").set(argument).message();
        assert!(message("search.epochs").starts_with("command line:1:1: this is not KEY=VALUE"));
        assert!(message("search.epochs=[1").contains("the value is not valid TOML"));
        assert!(!message("=1").is_empty());
        assert!(message("a..b=1").contains("`a..b` is not a dotted path"));
        assert!(message(&format!("{}=1", ["a"; 40].join("."))).contains("at most 16 segments"));
        assert!(message("extends=\"b.toml\"").contains("`extends` cannot be set here"));
        assert!(
            message("search.epochs=three").contains("`search.epochs` is the string \"three\", expected an integer")
        );
    }

    #[test]
    fn files_that_cannot_be_read_say_why() {
        let missing = Desk::new("").path("none.toml");
        let error = super::files(&super::Request { manifest: missing, ..Default::default() }).err().unwrap();
        assert!(error.message.starts_with("cannot read `"), "{error}");
        let headline = |text: &[u8]| Desk::new(text).headline();
        assert_eq!(headline(b""), "a.toml: the file is empty");
        assert_eq!(headline(b"# only a comment\n"), "a.toml: the file is empty");
        assert_eq!(headline(b"a = 1\nb = \"\xff\"\n"), "a.toml:2:6: this is not UTF-8");
        assert!(headline(b"[search]\nepochs = = 3\n").starts_with("a.toml:2:10: not valid TOML: "));
        assert_eq!(
            headline(b"version = 7\n"),
            "a.toml:1:11: this manifest is of version 7, and this program reads up to 1"
        );
    }

    #[test]
    fn extends_tells_its_chain() {
        let desk = Desk::new("extends = \"b.toml\"\n").file("b.toml", "extends = \"a.toml\"\n");
        let message = desk.message();
        assert!(message.starts_with("b.toml:1:11: `extends` goes in a circle: `a.toml` is reached again"), "{message}");
        assert!(message.contains("= help: the chain is `a.toml` > `b.toml` > `a.toml`"), "{message}");
        let message = Desk::new("extends = \"c.toml\"\n").message();
        assert!(message.starts_with("a.toml:1:11: cannot read `c.toml`"), "{message}");
        assert!(Desk::new("extends = 3\n").headline().contains("`extends` is not a string"));
    }

    #[test]
    fn an_unknown_profile_lists_the_known_ones() {
        let message = Desk::good("[profile.smoke.search]\nepochs = 1\n").profile("smokey").message();
        assert_eq!(message, "a.toml: unknown profile `smokey`; did you mean `smoke`?\n = help: profiles: `smoke`");
    }
}
