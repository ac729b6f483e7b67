//! The resolved manifest as TOML, each setting with the layer that set it.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::axes::Axes;
use super::comparisons::hold;
use super::layers::{Request, stack};
use super::origins::{Origin, origins_of};
use super::plan::load;
use super::resolve::resolve;
use super::sections::{Holds, SECTIONS};
use super::stack::{Stack, absolute};
use super::sweep::{Swept, sweep};
use super::tree::path;
use crate::Result;
use crate::ground::{ConfigLayer, toml};

/// Settings are padded to this width before their comment.
const WIDTH: usize = 44;

/// The manifest with all its layers merged and every default, as TOML that loads to the same plan.
/// A comment behind each setting says where it comes from and what it overrode; axes, variants, sweep
/// and comparisons stay as they are. It fails where the manifest does.
pub fn resolved_toml(request: &Request) -> Result<String> {
    let plan = load(request)?;
    let base = stack(request, &mut Vec::new()).map_err(crate::Error::Manifest)?;
    let merged = base.merged();
    let mut tree = merged.clone();
    let variants = tree.remove("variant");
    add_defaults(&mut tree, resolve(&base).settings);
    // Changed settings reproduce nothing, and the text does not tell that they were changed.
    if plan.trials.iter().all(|trial| trial.manifest.experiment.reproduces.is_none())
        && let Some(experiment) = tree.get_mut("experiment").and_then(Json::as_object_mut)
    {
        experiment.remove("reproduces");
    }
    if let Some(file) = tree.get_mut("design").and_then(|design| design.get_mut("file")) {
        let path = base.design_file(file.as_str().unwrap_or_default().as_ref());
        *file = Json::from(path.to_string_lossy());
    }
    if let Some(trial) = tree.get_mut("retrain").and_then(|retrain| retrain.pointer_mut("/teacher/trial")) {
        let path = base.teacher_trial(trial.as_str().unwrap_or_default().as_ref());
        *trial = Json::from(path.to_string_lossy());
    }
    let mut page = Page { origins: origins_of(&base), text: String::new() };
    page.title(request);
    page.sections(&base, &tree);
    let variants = variants.as_ref().and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    for (axis, value, tree) in Axes::of(&base, &merged, &mut Vec::new()).read(variants) {
        page.axis(&base, axis, value, &tree);
    }
    for variant in variants.iter().filter_map(Json::as_object) {
        page.variant(&base, variant);
    }
    page.sweep(&sweep(&base, &merged, &mut Vec::new()));
    let pairs = merged.get("compare").filter(|_| hold(&base)).and_then(Json::as_array);
    for pair in pairs.into_iter().flatten().filter_map(Json::as_object) {
        page.compare(pair);
    }
    Ok(page.text)
}

/// Adds what is not there.
fn add_defaults(tree: &mut Map<String, Json>, defaults: Map<String, Json>) {
    for (key, default) in defaults {
        match (tree.get_mut(&key), default) {
            (Some(Json::Object(there)), Json::Object(default)) => add_defaults(there, default),
            (Some(_), _) | (None, Json::Null) => {}
            (None, Json::Object(empty)) if empty.is_empty() => {}
            (None, default) => {
                tree.insert(key, default);
            }
        }
    }
}

/// A key that holds dots, or anything else.
fn quoted(key: &str) -> String {
    toml_edit::Value::from(key).to_string()
}

struct Page {
    origins: Vec<Origin>,
    text: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn title(&mut self, request: &Request) {
        let profile = request.profile.as_ref().map_or_else(String::new, |name| format!(" with profile `{name}`"));
        self.line(&format!(
            "# {}{profile}, resolved: behind each setting, the layer that set it",
            request.manifest.display()
        ));
    }

    fn sections(&mut self, base: &Stack, tree: &Map<String, Json>) {
        for section in &SECTIONS {
            let name = section.name;
            match (tree.get(name), section.holds) {
                (None, _) => {}
                (Some(Json::Object(named)), Holds::Plugins(_)) => self.compressors(base.compressors(), named),
                (Some(Json::Object(named)), Holds::Plugin(_)) => {
                    for (plugin, settings) in named {
                        self.table(&[name, plugin], settings.as_object().unwrap_or(&Map::new()));
                    }
                }
                (Some(Json::Object(settings)), _) => self.table(&[name], settings),
                (Some(value), _) => self.setting(&[], name, value),
            }
        }
    }

    fn table(&mut self, path: &[&str], settings: &Map<String, Json>) {
        let keys: Vec<String> = path.iter().map(|key| toml_edit::Key::new(*key).to_string()).collect();
        let (tables, values): (Vec<_>, Vec<_>) = settings.iter().partition(|(_, value)| value.is_object());
        if tables.is_empty() || !values.is_empty() {
            self.line(&format!("\n[{}]", keys.join(".")));
        }
        for (key, value) in values {
            self.setting(path, key, value);
        }
        for (key, inner) in tables {
            self.table(&[path, &[key]].concat(), inner.as_object().unwrap_or(&Map::new()));
        }
    }

    fn setting(&mut self, path: &[&str], key: &str, value: &Json) {
        let Some(value) = toml::of_json(value) else { return };
        let setting = format!("{} = {value}", toml_edit::Key::new(key));
        let key = [path, &[key]].concat().join(".");
        let comment = self.origins.iter().find(|origin| origin.key == key).map_or_else(String::new, comment);
        self.line(&format!("{setting:WIDTH$} # {comment}"));
    }

    fn compressors(&mut self, order: &[String], named: &Map<String, Json>) {
        if order.is_empty() {
            return;
        }
        for name in order {
            self.line("\n[[compressor]]");
            let settings = named.get(name).and_then(Json::as_object);
            self.table(&["compressor", name], settings.unwrap_or(&Map::new()));
        }
    }

    fn sweep(&mut self, sweep: &[Swept]) {
        if !sweep.is_empty() {
            self.line("\n[sweep]");
        }
        for key in sweep {
            let values: Vec<String> = key.values.iter().map(|(value, _)| toml::text(value)).collect();
            self.line(&format!("{} = [{}]", quoted(&key.key), values.join(", ")));
        }
    }

    fn compare(&mut self, pair: &Map<String, Json>) {
        self.line("\n[[compare]]");
        for (key, name) in pair {
            self.line(&format!("{key} = {}", toml::text(name)));
        }
    }

    fn variant(&mut self, base: &Stack, variant: &Map<String, Json>) {
        self.line("\n[[variant]]");
        for (key, value) in variant.iter().filter(|(key, _)| *key != "set") {
            if let Some(value) = toml::of_json(value) {
                self.line(&format!("{key} = {value}"));
            }
        }
        if let Some(settings) = variant.get("set").and_then(Json::as_object) {
            self.set("[variant.set]", base.folder(&path(["variant"])), settings);
        }
    }

    fn axis(&mut self, base: &Stack, axis: &str, value: &str, tree: &Map<String, Json>) {
        let heading = [axis, value].map(|key| toml_edit::Key::new(key).to_string()).join(".");
        self.line(&format!("\n[axis.{heading}]"));
        for (key, value) in tree.iter().filter(|(key, _)| *key != "set") {
            if let Some(value) = toml::of_json(value) {
                self.line(&format!("{} = {value}", toml_edit::Key::new(key)));
            }
        }
        if let Some(settings) = tree.get("set").and_then(Json::as_object) {
            self.set(&format!("[axis.{heading}.set]"), base.folder(&path(["axis", axis, value, "set"])), settings);
        }
    }

    /// What a variant, or the value of an axis, sets. A relative path begins in `folder`.
    fn set(&mut self, heading: &str, folder: &Path, settings: &Map<String, Json>) {
        self.line(heading);
        for (key, value) in settings {
            let mut value = value.clone();
            let file = match key.as_str() {
                "design" => value.get_mut("file"),
                "retrain" => value.pointer_mut("/teacher/trial"),
                "retrain.teacher" => value.get_mut("trial"),
                "design.file" | "retrain.teacher.trial" => Some(&mut value),
                _ => None,
            };
            if let Some(file) = file {
                let path = absolute(&folder.join(file.as_str().unwrap_or_default()));
                *file = Json::from(path.to_string_lossy());
            }
            if let Some(value) = toml::of_json(&value) {
                self.line(&format!("{} = {value}", quoted(key)));
            }
        }
    }
}

/// Where a setting comes from, on one line.
fn comment(origin: &Origin) -> String {
    let mut text = match (&origin.layer, &origin.location) {
        (ConfigLayer::Default, _) => "default".to_owned(),
        (layer, Some(at)) => {
            let file = at.path.file_name().unwrap_or(at.path.as_os_str()).to_string_lossy();
            let layer = if matches!(layer, ConfigLayer::Profile(_)) { format!("{layer}, ") } else { String::new() };
            format!("{layer}{file}:{}", at.line)
        }
        (layer, None) => layer.to_string(),
    };
    if !origin.overrode.is_empty() {
        let overrode: Vec<String> = origin.overrode.iter().map(|(layer, value)| format!("{value} ({layer})")).collect();
        text = format!("{text}; instead of {}", overrode.join(", "));
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::fixtures::Desk;

    #[test]
    fn the_resolved_manifest_says_where_everything_comes_from_and_loads_again() {
        let more = "[profile.smoke.search]\nepochs = 2\n[[variant]]\nname = \"one\"\n[[variant]]\nname = \"two\"\n\
                    remove = [\"optimizer\", \"search\"]\nset = { \"design.file\" = \"d.toml\", compressor = [] }\n\
                    [sweep]\nretrain.epochs = [9, 1]\noptimizer.test-joint.lambda = [1e-9]\n\
                    [[compare]]\na = \"two\"\nb = \"one\"\n[[compare]]\nbaseline = \"one\"\n";
        let design = "version = 1\nspace = \"test-grid\"\ntimesteps = 2\n";
        let desk = Desk::good(more).file("d.toml", design).profile("smoke").set("search.epochs=1");
        let text = resolved_toml(&desk.request).unwrap();
        for want in [
            "epochs = 1",
            "# `--set search.epochs=1`; instead of 2 (profile `smoke`), 3 (the manifest)",
            "# default",
            "a.toml:9",
        ] {
            assert!(text.contains(want), "{want}\n{text}");
        }
        let again = Desk::new(&text);
        let (old, new) = (desk.plan(), again.plan());
        assert_eq!(old.trials.len(), 4);
        assert_eq!(old.trials.len(), new.trials.len(), "{text}");
        assert_eq!((old.comparisons.len(), &old.comparisons), (2, &new.comparisons), "{text}");
        for (old, new) in old.trials.iter().zip(&new.trials) {
            assert_eq!((old.title(), &old.settings, old.depends_on), (new.title(), &new.settings, new.depends_on));
        }
    }
}
