//! From one merged tree to typed sections, with every problem that is in them.

use figment::value::{Dict, Num, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};

use super::complaint::{Complaint, heading};
use super::layers::Stack;
use super::names::{
    Properties, SECTIONS, did_you_mean, documentation, kind_of, listed, nearest, plugins, unfit_for_folder,
};
use super::problem::Problem;
use super::settings::{DesignSource, Experiment, Interval, Manifest, Part, Training, VERSION};
use super::source::Mark;
use super::text;
use crate::plugin::{Compressor, Dataset, Kind, Launcher, Optimizer, SearchSpace, TimestepSearcher, find};

/// Problems of one section that are looked for before the search for more of them ends.
const MOST_PROBLEMS: usize = 32;

/// What could be read of a manifest.
#[derive(Default)]
pub(super) struct Sections {
    pub(super) version: Option<u32>,
    pub(super) experiment: Option<Experiment>,
    pub(super) dataset: Option<Box<dyn Dataset>>,
    pub(super) space: Option<Box<dyn SearchSpace>>,
    pub(super) compressor: Vec<Box<dyn Compressor>>,
    pub(super) timesteps: Option<Box<dyn TimestepSearcher>>,
    pub(super) optimizer: Option<Box<dyn Optimizer>>,
    pub(super) design: Option<DesignSource>,
    pub(super) search: Option<Training>,
    pub(super) retrain: Option<Training>,
    pub(super) checkpoint: Interval,
    pub(super) launcher: Option<Box<dyn Launcher>>,
}

impl Sections {
    /// The manifest, when nothing that it needs is missing.
    pub(super) fn into_manifest(self) -> Option<Manifest> {
        Some(Manifest {
            version: self.version.unwrap_or(VERSION),
            experiment: self.experiment?,
            dataset: self.dataset?,
            space: self.space?,
            compressor: self.compressor,
            timesteps: self.timesteps?,
            optimizer: self.optimizer,
            design: self.design,
            search: self.search,
            retrain: self.retrain?,
            checkpoint: self.checkpoint,
            launcher: self.launcher,
        })
    }

    /// What could be read, with every default, by section; compressors by name.
    pub(super) fn settings(&self) -> Map<String, Json> {
        fn put(settings: &mut Map<String, Json>, section: &str, value: Option<&impl Serialize>) {
            if let Some(Ok(value)) = value.map(serde_json::to_value) {
                settings.insert(section.into(), value);
            }
        }
        let mut settings = Map::new();
        put(&mut settings, "version", self.version.as_ref());
        put(&mut settings, "experiment", self.experiment.as_ref());
        put(&mut settings, "dataset", self.dataset.as_ref());
        put(&mut settings, "space", self.space.as_ref());
        put(&mut settings, "timesteps", self.timesteps.as_ref());
        put(&mut settings, "optimizer", self.optimizer.as_ref());
        put(&mut settings, "design", self.design.as_ref());
        put(&mut settings, "search", self.search.as_ref());
        put(&mut settings, "retrain", self.retrain.as_ref());
        put(&mut settings, "checkpoint", Some(&self.checkpoint));
        put(&mut settings, "launcher", self.launcher.as_ref());
        let mut compressors = Map::new();
        for compressor in &self.compressor {
            if let Ok(Json::Object(named)) = serde_json::to_value(compressor) {
                compressors.extend(named);
            }
        }
        settings.insert("compressor".into(), Json::Object(compressors));
        settings
    }
}

/// A value of a layer as TOML.
pub(super) fn toml_text(value: &Value) -> String {
    let mut reader = Reader { stack: &Stack::default(), tree: Map::new(), problems: Vec::new(), meant: Vec::new() };
    text::value(&reader.json(value, &mut Vec::new())).map_or_else(String::new, |value| value.to_string())
}

/// Settings of layers as JSON.
pub(super) fn tree_as_json(tree: &Dict) -> Map<String, Json> {
    let mut reader = Reader { stack: &Stack::default(), tree: Map::new(), problems: Vec::new(), meant: Vec::new() };
    reader.object(tree, &mut Vec::new())
}

/// Reads the sections of a stack of layers.
pub(super) fn resolve(stack: &Stack) -> (Sections, Vec<Problem>) {
    let mut reader = Reader { stack, tree: Map::new(), problems: Vec::new(), meant: Vec::new() };
    reader.tree = reader.object(&stack.merged(), &mut Vec::new());
    let sections = reader.sections();
    reader.check(&sections);
    (sections, reader.problems)
}

struct Reader<'a> {
    stack: &'a Stack,
    tree: Map<String, Json>,
    problems: Vec<Problem>,
    /// Names that were probably meant by unknown ones: that they are missing is the same problem.
    meant: Vec<String>,
}

fn path<const N: usize>(segments: [&str; N]) -> Vec<String> {
    segments.map(str::to_owned).to_vec()
}

impl Reader<'_> {
    fn report(&mut self, path: &[String], mark: Mark, message: String, help: Option<String>) {
        // What a value has to be is best said by the setting's own documentation.
        let help = help.or_else(|| match mark {
            Mark::Value => documentation(path).map(|text| format!("`{}`: {text}", path.join("."))),
            Mark::Key => None,
        });
        let problem = self.stack.problem(path, mark, message, help);
        self.problems.push(problem);
    }

    fn object(&mut self, dict: &Dict, path: &mut Vec<String>) -> Map<String, Json> {
        let mut map = Map::new();
        for (key, value) in dict {
            path.push(key.clone());
            map.insert(key.clone(), self.json(value, path));
            path.pop();
        }
        map
    }

    fn json(&mut self, value: &Value, path: &mut Vec<String>) -> Json {
        match value {
            Value::String(_, text) => Json::from(text.as_str()),
            Value::Char(_, c) => Json::from(c.to_string()),
            Value::Bool(_, truth) => Json::from(*truth),
            Value::Num(_, Num::F64(number)) => serde_json::Number::from_f64(*number).map_or_else(
                || {
                    let message = format!("`{}` is {number}, and has to be a finite number", path.join("."));
                    self.report(path, Mark::Value, message, None);
                    Json::from(0.0)
                },
                Json::Number,
            ),
            Value::Num(_, number) => {
                number.to_i128().and_then(|n| i64::try_from(n).ok()).map_or(Json::Null, Json::from)
            }
            Value::Empty(..) => Json::Null,
            Value::Dict(_, inner) => Json::Object(self.object(inner, path)),
            Value::Array(_, elements) => {
                let mut array = Vec::with_capacity(elements.len());
                for (index, element) in elements.iter().enumerate() {
                    path.push(index.to_string());
                    array.push(self.json(element, path));
                    path.pop();
                }
                Json::Array(array)
            }
        }
    }

    fn sections(&mut self) -> Sections {
        for key in ["variant", "sweep"] {
            self.tree.remove(key);
        }
        let known: Vec<String> = SECTIONS.map(str::to_owned).to_vec();
        let near: Vec<String> = [SECTIONS.as_slice(), &["extends", "profile", "variant", "sweep"]]
            .concat()
            .iter()
            .map(|name| name.to_string())
            .collect();
        let unknown: Vec<String> = self.tree.keys().filter(|key| !known.contains(key)).cloned().collect();
        for key in unknown {
            let table = matches!(self.tree.get(&key), Some(Json::Object(_) | Json::Array(_)));
            let what = if table { format!("unknown section [{key}]") } else { format!("unknown key `{key}`") };
            let message = format!("{what}{}", did_you_mean(&key, &near));
            self.meant.extend(nearest(&key, &near).map(str::to_owned));
            self.report(&[key], Mark::Key, message, Some(format!("known sections: {}", listed(&near))));
        }
        Sections {
            version: self.plain("version"),
            experiment: self.table("experiment"),
            dataset: self.one_plugin(Kind::Dataset),
            space: self.one_plugin(Kind::Space),
            compressor: self.compressors(),
            timesteps: self.one_plugin(Kind::Timesteps),
            optimizer: self.one_plugin(Kind::Optimizer),
            design: self.table("design"),
            search: self.table("search"),
            retrain: self.table("retrain"),
            checkpoint: self.table("checkpoint").unwrap_or_default(),
            launcher: self.one_plugin(Kind::Launcher),
        }
    }

    fn plain<T: DeserializeOwned>(&mut self, section: &str) -> Option<T> {
        let value = self.tree.get(section)?.clone();
        self.read(&path([section]), value)
    }

    fn table<T: DeserializeOwned>(&mut self, section: &str) -> Option<T> {
        let value = self.tree.get(section)?.clone();
        if !value.is_object() {
            let help = format!("write [{section}] and its keys below it");
            self.report(&path([section]), Mark::Value, format!("`{section}` is not a table"), Some(help));
            return None;
        }
        self.read(&path([section]), value)
    }

    fn one_plugin<T: DeserializeOwned + Serialize>(&mut self, kind: Kind) -> Option<T> {
        let section = kind.section();
        let value = self.tree.get(section)?.clone();
        let help = || Some(format!("[{section}.NAME] names one plugin: {}", listed(&plugins(kind))));
        let Json::Object(mut named) = value else {
            self.report(
                &path([section]),
                Mark::Value,
                format!("`{section}` is not a table that names a plugin"),
                help(),
            );
            return None;
        };
        let names: Vec<String> = named.keys().cloned().collect();
        match names.as_slice() {
            [] => {
                self.report(&path([section]), Mark::Key, format!("[{section}] names no plugin"), help());
                None
            }
            [name] => {
                let settings = named.remove(name)?;
                self.plugin(kind, name, settings)
            }
            [.., last] => {
                // A plugin that does not exist is more likely a key in the wrong place or a misspelt section.
                let message = format!("[{section}] takes one plugin, and {} are given", listed(&names));
                let help = format!("leave one; known plugins of this kind: {}", listed(&plugins(kind)));
                self.report(&path([section, last]), Mark::Key, message, Some(help));
                None
            }
        }
    }

    fn compressors(&mut self) -> Vec<Box<dyn Compressor>> {
        let order = self.stack.compressors();
        let mut named = match self.tree.get("compressor") {
            None => return Vec::new(),
            Some(Json::Object(named)) => named.clone(),
            Some(_) => {
                let help = "write [[compressor]], and below it `score-prune = { rate = 0.8 }`";
                self.report(
                    &path(["compressor"]),
                    Mark::Value,
                    "`compressor` is not an array".into(),
                    Some(help.into()),
                );
                return Vec::new();
            }
        };
        let all: Vec<_> =
            order.iter().filter_map(|name| self.plugin(Kind::Compressor, name, named.remove(name)?)).collect();
        for name in named.keys() {
            let message = format!("no [[compressor]] is `{name}`{}", did_you_mean(name, order));
            let help = format!("compressors of this manifest: {}", listed(order));
            self.report(&path(["compressor", name]), Mark::Key, message, Some(help));
        }
        all
    }

    fn plugin<T: DeserializeOwned + Serialize>(&mut self, kind: Kind, name: &str, settings: Json) -> Option<T> {
        let at = path([kind.section(), name]);
        let known = plugins(kind);
        let Some(descriptor) = find(kind, name) else {
            let message = format!("unknown {kind} `{name}`{}", did_you_mean(name, &known));
            self.report(&at, Mark::Key, message, Some(format!("known plugins of this kind: {}", listed(&known))));
            return None;
        };
        if !settings.is_object() {
            let message = format!("the settings of {kind} `{name}` are not a table");
            self.report(&at, Mark::Value, message, Some(format!("`{name} = {{}}` takes the defaults")));
            return None;
        }
        let given = settings.clone();
        let plugin: T = self.read(&at[..1], Json::Object(Map::from_iter([(name.to_owned(), settings)])))?;
        let written = serde_json::to_value(&plugin).ok();
        for (key, why) in descriptor.out_of_range(&given) {
            let full = [at.as_slice(), &key].concat();
            self.report(&full, Mark::Value, format!("`{}` {why}", full.join(".")), None);
        }
        let schema = (descriptor.schema)();
        let written = written.as_ref().and_then(|written| written.get(name));
        self.unread(&at, &given, written, Properties::of(&schema));
        Some(plugin)
    }

    /// Keys that a plugin neither refused nor read. A plugin that denies unknown fields has none.
    fn unread(&mut self, at: &[String], given: &Json, written: Option<&Json>, known: Properties) {
        let Json::Object(given) = given else { return };
        for (key, value) in given {
            let below = [at, std::slice::from_ref(key)].concat();
            let written = written.and_then(|written| written.get(key));
            if known.ignores_others() && written.is_none() && !known.names().contains(key) {
                let names = known.names();
                let message = format!("unknown key `{key}` in {}{}", heading(at), did_you_mean(key, &names));
                self.report(&below, Mark::Key, message, Some(format!("known keys: {}", listed(&names))));
            } else if let Some(known) = known.below(key) {
                self.unread(&below, value, written, known);
            }
        }
    }

    /// Reads a value, and reports all that is wrong with it: what a problem is about is taken out, and it is read again.
    fn read<T: DeserializeOwned>(&mut self, at: &[String], mut value: Json) -> Option<T> {
        let mut taken_out: Vec<Vec<String>> = Vec::new();
        // A plugin's name stays: it says what is read.
        let kept = usize::from(at.first().is_some_and(|section| kind_of(section).is_some()));
        for _ in 0..MOST_PROBLEMS {
            let error = match serde_path_to_error::deserialize::<_, T>(&value) {
                Ok(read) => return taken_out.is_empty().then_some(read),
                Err(error) => error,
            };
            let inner = segments(error.path());
            let complaint = Complaint::of(&error.inner().to_string(), at, &inner);
            if let Some(missing) = &complaint.missing
                && taken_out.contains(&[inner.as_slice(), std::slice::from_ref(missing)].concat())
            {
                return None;
            }
            let full = [at, &inner].concat();
            self.report(&full, complaint.mark, complaint.message, complaint.help);
            if let (Some(meant), Some((_, table))) = (complaint.meant, inner.split_last()) {
                // It is there, under another name.
                taken_out.push([table, &[meant]].concat());
            }
            let out = take_out(&mut value, &inner).filter(|out| out.len() > kept && complaint.missing.is_none());
            taken_out.push(out?);
        }
        None
    }

    fn check(&mut self, sections: &Sections) {
        let absent = |reader: &Self, section: &str| !reader.tree.contains_key(section);
        for section in ["experiment", "dataset", "space", "timesteps", "retrain"] {
            if absent(self, section) {
                self.missing(section, None);
            }
        }
        if absent(self, "design") {
            for section in ["optimizer", "search"] {
                if absent(self, section) {
                    self.missing(section, Some("or [design], to retrain a design instead of searching one"));
                }
            }
        } else {
            for section in ["optimizer", "search"] {
                if !absent(self, section) {
                    let message = format!("nothing reads [{section}]: [design] says that a design is taken over");
                    let help = format!("take it out; a variant does so with `remove = [\"{section}\"]`");
                    self.report(&path([section]), Mark::Key, message, Some(help));
                }
            }
        }
        if let Some(version) = sections.version
            && !(1..=VERSION).contains(&version)
        {
            let message = format!("this manifest is of version {version}, and this program reads 1 to {VERSION}");
            self.report(&path(["version"]), Mark::Value, message, None);
        }
        // What is right in a section is checked although something else in it is wrong.
        if let Some(experiment) = self.partly("experiment", json!({ "name": "name" })) {
            self.check_experiment(&experiment);
        }
        for section in ["search", "retrain"] {
            if let Some(training) = self.partly(section, json!({ "epochs": 1 })) {
                self.check_training(section, &training);
            }
        }
        if sections.checkpoint.seconds < 0.0 {
            let message = format!("`checkpoint.seconds` is {}, and has to be 0 or more", sections.checkpoint.seconds);
            self.report(&path(["checkpoint", "seconds"]), Mark::Value, message, None);
        }
        if let Some(design) = &sections.design {
            self.check_design(design, sections);
        }
    }

    /// A section without the keys that cannot be read; `needed` stands for those that it cannot do without.
    fn partly<T: DeserializeOwned>(&self, section: &str, needed: Json) -> Option<T> {
        let mut good = needed.as_object()?.clone();
        for (key, value) in self.tree.get(section)?.as_object()? {
            let before = good.insert(key.clone(), value.clone());
            if serde_json::from_value::<T>(Json::Object(good.clone())).is_err() {
                match before {
                    Some(needed) => good.insert(key.clone(), needed),
                    None => good.remove(key),
                };
            }
        }
        serde_json::from_value(Json::Object(good)).ok()
    }

    fn missing(&mut self, section: &str, or: Option<&str>) {
        if self.meant.iter().any(|meant| meant == section) {
            return;
        }
        let (shown, mut help) = match kind_of(section) {
            Some(kind) => {
                let known = listed(&plugins(kind));
                (
                    format!("[{section}.NAME]"),
                    format!("known plugins of this kind: {known}; `litesnn plugins NAME` shows an example"),
                )
            }
            None => (format!("[{section}]"), format!("add [{section}] and its keys below it")),
        };
        if let Some(or) = or {
            help = format!("{help}; {or}");
        }
        self.report(&path([section]), Mark::Key, format!("missing section {shown}"), Some(help));
    }

    fn check_experiment(&mut self, experiment: &Experiment) {
        if let Some(why) = unfit_for_folder(&experiment.name) {
            let message =
                format!("`experiment.name` is `{}`, which cannot be the name of a folder: {why}", experiment.name);
            self.report(&path(["experiment", "name"]), Mark::Value, message, None);
        }
        let seeds = &experiment.seeds;
        let at = path(["experiment", "seeds"]);
        if seeds.is_empty() {
            self.report(&at, Mark::Value, "`experiment.seeds` is empty, and has to hold one seed or more".into(), None);
        }
        if let Some(twice) = seeds.iter().enumerate().find(|(index, seed)| seeds[..*index].contains(seed)) {
            let message = format!("`experiment.seeds` holds {} twice", twice.1);
            self.report(&[at, vec![twice.0.to_string()]].concat(), Mark::Value, message, None);
        }
    }

    fn check_training(&mut self, section: &str, training: &Training) {
        let mut require = |key: &str, good: bool, value: String, range: &str| {
            if !good {
                let message = format!("`{section}.{key}` is {value}, and has to be {range}");
                self.report(&path([section, key]), Mark::Value, message, None);
            }
        };
        require("epochs", training.epochs >= 1, training.epochs.to_string(), "1 or more");
        require("batch_size", training.batch_size >= 1, training.batch_size.to_string(), "1 or more");
        for (key, value) in [
            ("learning_rate", training.learning_rate),
            ("learning_rate_end", training.learning_rate_end),
            ("weight_decay", training.weight_decay),
            ("clip", training.clip),
        ] {
            require(key, value.is_finite() && value >= 0.0, value.to_string(), "0 or more");
        }
        let momentum = training.momentum;
        require("momentum", (0.0..1.0).contains(&momentum), momentum.to_string(), "0 or more and below 1");
    }

    fn check_design(&mut self, design: &DesignSource, sections: &Sections) {
        let source = "`from = \"VARIANT\"` takes what a variant finds, `file = \"design.toml\"` what a file holds";
        match (&design.from, &design.file) {
            (None, None) => {
                let message = "[design] has neither `from` nor `file`".into();
                self.report(&path(["design"]), Mark::Key, message, Some(source.into()));
            }
            (Some(_), Some(_)) => {
                let message = "[design] has both `from` and `file`".into();
                self.report(&path(["design", "file"]), Mark::Key, message, Some(source.into()));
            }
            _ => {}
        }
        let keep = path(["design", "keep"]);
        if !design.keep.contains(&Part::Architecture) {
            let help = "an architecture is always needed: `keep = [\"architecture\", ...]`";
            self.report(&keep, Mark::Value, "`design.keep` lacks `architecture`".into(), Some(help.into()));
        }
        if let Some(timesteps) = &sections.timesteps
            && !design.keep.contains(&Part::Timesteps)
            && timesteps.fixed().is_none()
        {
            let name = timesteps.typetag_name();
            let message =
                format!("`design.keep` lacks `timesteps`, and [timesteps.{name}] does not say how many to run");
            let help = "use [timesteps.fixed], or keep the design's timesteps";
            self.report(&keep, Mark::Value, message, Some(help.into()));
        }
    }
}

fn segments(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    path.iter()
        .map_while(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        })
        .collect()
}

/// Removes what is at a path from the innermost table around it; the path of what was removed.
fn take_out(value: &mut Json, path: &[String]) -> Option<Vec<String>> {
    let mut value = value;
    for (depth, segment) in path.iter().enumerate() {
        let Json::Object(map) = value else { return None };
        let last = depth + 1 == path.len() || !matches!(map.get(segment), Some(Json::Object(_)));
        if last {
            return map.remove(segment).map(|_| path[..=depth].to_vec());
        }
        value = map.get_mut(segment)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Desk, GOOD};
    use proptest::prelude::*;

    /// The only problem of the good manifest after one replacement.
    fn wrong(good: &str, bad: &str) -> String {
        assert!(GOOD.contains(good), "{good}");
        Desk::new(GOOD.replacen(good, bad, 1)).message()
    }

    fn headline(good: &str, bad: &str) -> String {
        wrong(good, bad).lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_misspelt_key_is_shown_in_its_place() {
        assert_eq!(
            wrong("[retrain]\nepochs = 5", "[retrain]\nepochs = 5\nlearning-rate = 0.1"),
            "a.toml:28:1: unknown key `learning-rate` in [retrain]; did you mean `learning_rate`?\n   \
             |\n28 | learning-rate = 0.1\n   | ^^^^^^^^^^^^^\n   = in the manifest\n   \
             = help: known keys: `epochs`, `samples`, `batch_size`, `learning_rate`, `learning_rate_end`, `momentum`, \
             `weight_decay`, `clip`, `precision`, `augment`"
        );
    }

    #[test]
    fn every_kind_of_mistake_is_named() {
        for (good, bad, want) in [
            (
                "test-pictures]",
                "test-picture]",
                "a.toml:5:10: unknown dataset `test-picture`; did you mean `test-pictures`?",
            ),
            ("test-round =", "test-rond =", "a.toml:13:1: unknown compressor `test-rond`; did you mean `test-round`?"),
            (
                "train = 20",
                "train = \"x\"",
                "a.toml:6:9: `dataset.test-pictures.train` is the string \"x\", expected an integer",
            ),
            (
                "train = 20",
                "train = -1",
                "a.toml:6:9: `dataset.test-pictures.train` is the integer `-1`, expected an integer of 0 or more",
            ),
            (
                "retrain = 16",
                "retrian = 16, retrain = 1",
                "a.toml:10:26: unknown key `retrian` in [space.test-grid.channels]; did you mean `retrain`?",
            ),
            ("retrain = 16", "", "a.toml:10:1: missing key `retrain` in [space.test-grid.channels]"),
            (
                "nodes = [1, 2]",
                "nodes = [1, -2]",
                "a.toml:9:13: `space.test-grid.nodes.1` is the integer `-2`, expected an integer of 0 or more",
            ),
            (
                "rate = 0.8",
                "rate = 1.5",
                "a.toml:15:14: `compressor.test-prune`: the rate is 1.5, and has to be 0 or more and below 1",
            ),
            (
                "rate = 0.8",
                "rte = 0.8, rate = 0.1",
                "a.toml:15:16: unknown key `rte` in compressor `test-prune`; did you mean `rate`?",
            ),
            (
                "bits = [1, 2, 4]",
                "bits = [1], bit = 3",
                "a.toml:13:28: unknown key `bit` in compressor `test-round`; did you mean `bits`?",
            ),
            (
                "test-prune = { rate = 0.8 }",
                "test-round = { bits = [1] }",
                "a.toml:15:1: two compressors are `test-round`",
            ),
            ("test-prune = { rate = 0.8 }", "", "a.toml:14:1: [[compressor]] 2 holds no plugin"),
            (
                "[timesteps.test-open]",
                "[timesteps.test-steady]\nsteps = 1\n[timesteps.test-open]",
                "a.toml:17:12: [timesteps] takes one plugin, and `test-open`, `test-steady` are given",
            ),
            ("[timesteps.test-open]\nmax = 4\n", "", "a.toml: missing section [timesteps.NAME]"),
            ("[timesteps.test-open]\nmax = 4\n", "[timesteps]\n", "a.toml:17:2: [timesteps] names no plugin"),
            ("[search]\nepochs = 3\n", "", "a.toml: missing section [search]"),
            (
                "[retrain]",
                "[retrian]\nepochs = 5\n[retrain]",
                "a.toml:26:2: unknown section [retrian]; did you mean `retrain`?",
            ),
            ("[experiment]", "descripton = 1\n[experiment]", "a.toml:2:1: unknown key `descripton`"),
            ("epochs = 3", "epochs = 0", "a.toml:24:10: `search.epochs` is 0, and has to be 1 or more"),
            (
                "epochs = 3",
                "epochs = 3\nmomentum = 1.0",
                "a.toml:25:12: `search.momentum` is 1, and has to be 0 or more and below 1",
            ),
            (
                "epochs = 3",
                "epochs = 3\nclip = inf",
                "a.toml:25:8: `search.clip` is inf, and has to be a finite number",
            ),
            ("epochs = 3", "epochs = 3\nclip = -1", "a.toml:25:8: `search.clip` is -1, and has to be 0 or more"),
            (
                "epochs = 5",
                "epochs = 5\n[retrain.augment]\nflop = true",
                "a.toml:29:1: unknown key `flop` in [retrain.augment]; did you mean `flip`?",
            ),
            (
                "epochs = 3",
                "epochs = 3\naugment = { crop = -1 }",
                "a.toml:25:20: `search.augment.crop` is the integer `-1`, expected an integer of 0 or more",
            ),
            (
                "epochs = 3",
                "epochs = 3\naugment = true",
                "a.toml:25:11: `search.augment` is the boolean `true`, expected a table",
            ),
            (
                "name = \"good\"",
                "name = \"a/b\"",
                "a.toml:3:8: `experiment.name` is `a/b`, which cannot be the name of a folder: only letters, digits, `-`, `_` and `.` are allowed",
            ),
            (
                "name = \"good\"",
                "name = \"good\"\nseeds = []",
                "a.toml:4:9: `experiment.seeds` is empty, and has to hold one seed or more",
            ),
            ("name = \"good\"", "name = \"good\"\nseeds = [3, 3]", "a.toml:4:13: `experiment.seeds` holds 3 twice"),
            (
                "[experiment]",
                "version = 0\n[experiment]",
                "a.toml:2:11: this manifest is of version 0, and this program reads 1 to 1",
            ),
        ] {
            assert_eq!(headline(good, bad), want);
        }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let text = GOOD
            .replace("train = 20", "trian = 20\nroot = 3")
            .replace("rate = 0.8", "rate = \"much\"")
            .replace("epochs = 3", "epoch = 3\nclip = \"x\"")
            .replace("epochs = 5", "epochs = 0");
        let headlines: Vec<String> = Desk::new(text)
            .messages()
            .iter()
            .map(|shown| shown.split_once(' ').unwrap_or_default().1.lines().next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(
            headlines,
            [
                "unknown key `trian` in [dataset.test-pictures]; did you mean `train`?",
                "`dataset.test-pictures.root` is the integer `3`, expected a path",
                "`compressor.test-prune.rate` is the string \"much\", expected a number",
                "unknown key `epoch` in [search]; did you mean `epochs`?",
                "`search.clip` is the string \"x\", expected a number",
                "`retrain.epochs` is 0, and has to be 1 or more",
            ]
        );
    }

    #[test]
    fn a_range_is_checked_although_the_section_cannot_be_read() {
        let text = GOOD
            .replace("epochs = 3", "epoch = 3\nclip = \"x\"\nmomentum = 2.0")
            .replace("name = \"good\"", "name = \"a/b\"\ndescription = 1");
        let all = Desk::new(text).messages().join("\n");
        for want in [
            "`search.momentum` is 2",
            "`search.clip` is the string",
            "unknown key `epoch`",
            "`a/b`",
            "`experiment.description`",
        ] {
            assert!(all.contains(want), "{want}\n{all}");
        }
    }

    #[test]
    fn a_design_replaces_search() {
        let desk = Desk::good("[design]\nfile = \"d.toml\"\n")
            .file("d.toml", "version = 1\nspace = \"test-grid\"\ntimesteps = 2\n");
        let messages = desk.messages();
        assert_eq!(messages.len(), 2);
        assert!(messages[0].contains("nothing reads [optimizer]"), "{}", messages[0]);
        assert!(messages[1].contains("nothing reads [search]"), "{}", messages[1]);
    }

    proptest! {
        /// Whatever a manifest holds, the answer is a plan or problems that can be shown.
        #[test]
        fn no_input_panics(at in 0..GOOD.len(), cut in 0usize..40, junk in "[\\[\\]{}=.,\"a-z0-9\n _-]{0,12}", set in "[a-z.=\\[\\]{}0-9\"-]{0,20}") {
            let mut text = GOOD.to_owned();
            let end = (at + cut).min(text.len());
            text.replace_range(at..end, &junk);
            let desk = Desk::new(&text).set(&set);
            if let Err(crate::Error::Manifest(problems)) = super::super::load(&desk.request) {
                for problem in problems {
                    prop_assert!(!problem.to_string().is_empty());
                }
            }
        }
    }
}
