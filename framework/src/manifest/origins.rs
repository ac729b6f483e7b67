//! Where every setting comes from.

use serde_json::Value;

use super::layers::{Request, stack};
use super::overlay::Overlay;
use super::resolve::resolve;
use super::sections::{below, documentation, kind_of, section_names};
use super::spelling::did_you_mean;
use super::stack::Stack;
use super::sweep::{Swept, sweep};
use super::tree::{leaves, lookup, split_path};
use super::variants::{Variant, variants};
use crate::ground::{ConfigLayer, Location, Problem, toml};
use crate::{Error, Result};

/// One setting and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Dotted path; a compressor is named: `compressor.score-prune.rate`.
    pub key: String,
    /// The value as TOML; none where nothing but a variant sets it.
    pub value: Option<String>,
    /// The layer that set it.
    pub layer: ConfigLayer,
    /// Where, when that layer is a file.
    pub location: Option<Location>,
    /// What other layers had set, the nearest first.
    pub overrode: Vec<(ConfigLayer, String)>,
    /// What the setting means, from its plugin's or section's own documentation.
    pub documentation: Option<String>,
    /// What variants and the sweep make of it; none where a variant removes it.
    pub changed: Vec<(ConfigLayer, Option<String>)>,
}

impl Origin {
    /// The layer, with file and line where it is one.
    pub fn place(&self) -> String {
        match (&self.layer, &self.location) {
            (ConfigLayer::File | ConfigLayer::Extends(_), Some(at)) => format!("{}:{}", at.path.display(), at.line),
            (layer, Some(at)) => format!("{layer}, {}:{}", at.path.display(), at.line),
            (layer, None) => layer.to_string(),
        }
    }
}

/// The origin of every setting of a manifest, defaults included, by key. What a layer lost because
/// a later one names another plugin is not told.
pub fn origins(request: &Request) -> Result<Vec<Origin>> {
    let mut problems = Vec::new();
    let base = stack(request, &mut problems).map_err(Error::Manifest)?;
    if problems.is_empty() { Ok(origins_of(&base)) } else { Err(Error::Manifest(problems)) }
}

/// The origins of the settings at or below `key`, with what variants and the sweep make of them.
/// Settings that the manifest could have there and has not are among them. A key that is not one is
/// a problem.
pub fn explain(request: &Request, key: &str) -> Result<Vec<Origin>> {
    let mut problems = Vec::new();
    let base = stack(request, &mut problems).map_err(Error::Manifest)?;
    let merged = base.merged();
    let variants = variants(&base, &merged, &mut problems);
    let sweep = sweep(&base, &merged, &mut problems);
    if !problems.is_empty() {
        return Err(Error::Manifest(problems));
    }
    let unknown = |message: String, help: &str| {
        Error::Manifest(vec![Problem {
            message,
            key: None,
            layer: ConfigLayer::Default,
            location: None,
            help: Some(help.into()),
        }])
    };
    let path = split_path(key).map_err(|message| unknown(message, "`search.epochs` is the path of a setting"))?;
    let mut all = origins_of(&base);
    for leaf in variants.iter().flat_map(|variant| &variant.sets).flat_map(|overlay| overlay.leaves()) {
        if absent(&leaf, &all) && !matches!(leaf[..], [ref section] if kind_of(section).is_some()) {
            all.push(unset(&leaf));
        }
    }
    let known: Vec<String> = section_names().into_iter().chain(all.iter().map(|origin| origin.key.clone())).collect();
    all.retain(|origin| split_path(&origin.key).is_ok_and(|at| at.starts_with(&path)));
    add_what_could_be_set(&path, &mut all);
    if all.is_empty() {
        let message = format!("no setting `{key}`{}", did_you_mean(key, &known));
        return Err(unknown(message, "`litesnn explain MANIFEST` shows every setting"));
    }
    for origin in &mut all {
        origin.changed = changed(&base, &variants, &sweep, &split_path(&origin.key).unwrap_or_default());
    }
    all.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(all)
}

/// Whether neither a path nor anything below it is among the settings.
fn absent(path: &[String], all: &[Origin]) -> bool {
    let key = path.join(".");
    !all.iter().any(|origin| origin.key == key || origin.key.starts_with(&format!("{key}.")))
}

/// Adds the settings that the tables at or below a path could have, and have not.
fn add_what_could_be_set(path: &[String], all: &mut Vec<Origin>) {
    // A section that names plugins is no table of settings.
    let holds_settings = |table: &[String]| table.len() > 1 || kind_of(&table[0]).is_none();
    let mut tables: Vec<Vec<String>> = all.iter().filter_map(|origin| parent(&origin.key)).collect();
    let empty = all.iter().filter(|origin| origin.value.as_deref() == Some("{}"));
    tables.extend(empty.filter_map(|origin| split_path(&origin.key).ok()));
    tables.push(path.to_owned());
    for table in tables.iter().filter(|table| table.starts_with(path) && holds_settings(table)) {
        for name in below(table) {
            let full = [table.as_slice(), &[name]].concat();
            if absent(&full, all) && documentation(&full).is_some() {
                all.push(unset(&full));
            }
        }
    }
    if all.is_empty() && documentation(path).is_some() {
        all.push(unset(path));
    }
}

fn parent(key: &str) -> Option<Vec<String>> {
    let mut path = split_path(key).ok()?;
    path.pop();
    (!path.is_empty()).then_some(path)
}

fn unset(path: &[String]) -> Origin {
    Origin {
        key: path.join("."),
        value: None,
        layer: ConfigLayer::Default,
        location: None,
        overrode: Vec::new(),
        documentation: documentation(path),
        changed: Vec::new(),
    }
}

fn changed(base: &Stack, variants: &[Variant], sweep: &[Swept], path: &[String]) -> Vec<(ConfigLayer, Option<String>)> {
    let mut all = Vec::new();
    // The table that a default belongs to.
    let table = &path[..path.len().min(if kind_of(&path[0]).is_some() { 2 } else { 1 })];
    for variant in variants {
        let layer = || ConfigLayer::Variant(variant.name.clone());
        let there = lookup(&variant.stack.merged(), table).is_some();
        match variant.stack.origin(path) {
            Some(overlay) if overlay.layer == layer() => {
                all.push((layer(), overlay.get(path).map(|value| toml::text(value) + &from_axis(overlay, path))));
            }
            None if base.sets(path) || (base.sets(table) && !there) => all.push((layer(), None)),
            _ => {}
        }
    }
    for swept in sweep.iter().filter(|swept| swept.path == path) {
        let values: Vec<String> = swept.values.iter().map(|(value, _)| toml::text(value)).collect();
        all.push((ConfigLayer::Sweep, Some(values.join(", "))));
    }
    all
}

/// The value of an axis that has a setting of a variant, in brackets.
fn from_axis(overlay: &Overlay, path: &[String]) -> String {
    let at = overlay.place(path).map_or_else(Vec::new, |(_, at)| at);
    let is_axis = |at: &[String]| matches!(at, [first, ..] if first == "axis");
    let of_profile = matches!(at.as_slice(), [first, _, rest @ ..] if first == "profile" && is_axis(rest));
    if is_axis(&at) || of_profile { format!(" ({})", at.join(".")) } else { String::new() }
}

/// The origins of a stack of layers, by key.
pub(super) fn origins_of(base: &Stack) -> Vec<Origin> {
    let mut all: Vec<Origin> = Vec::new();
    for overlay in base.overlays() {
        for leaf in overlay.leaves() {
            let key = leaf.join(".");
            if !all.iter().any(|origin| origin.key == key) {
                all.extend(origin(base, &leaf));
            }
        }
    }
    let settings = resolve(base).with_all_defaults();
    let defaults = leaves(&settings).into_iter().filter(|path| base.origin(path).is_none()).filter_map(|path| {
        let value = toml::of_json(lookup(&settings, &path)?)?.to_string();
        Some(Origin { value: Some(value), ..unset(&path) })
    });
    all.extend(defaults);
    all.sort_by(|one, other| one.key.cmp(&other.key));
    all
}

fn origin(base: &Stack, path: &[String]) -> Option<Origin> {
    // A layer below may hold a table where a later one holds a value, or the other way round.
    let merged = base.merged();
    let value = lookup(&merged, path).filter(|value| !matches!(value, Value::Object(inner) if !inner.is_empty()))?;
    let mut layers = base.overlays().iter().rev().filter(|overlay| overlay.sets(path));
    let winner = layers.next()?;
    let overrode = layers.filter_map(|overlay| Some((overlay.layer.clone(), toml::text(overlay.get(path)?)))).collect();
    Some(Origin {
        value: Some(toml::text(value)),
        layer: winner.layer.clone(),
        location: base.location(path),
        overrode,
        ..unset(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::fixtures::Desk;

    fn find<'a>(all: &'a [Origin], key: &str) -> &'a Origin {
        all.iter().find(|origin| origin.key == key).unwrap_or_else(|| panic!("{key}: {all:#?}"))
    }

    #[test]
    fn every_setting_tells_who_set_it_and_what_it_overrode() {
        let desk = Desk::good("[profile.smoke.search]\nepochs = 2\n").profile("smoke").set("search.epochs=1");
        let all = origins(&desk.request).unwrap();
        let epochs = find(&all, "search.epochs");
        assert_eq!((epochs.value.as_deref(), &epochs.layer), (Some("1"), &ConfigLayer::Set("search.epochs=1".into())));
        let overrode = [(ConfigLayer::Profile("smoke".into()), "2".to_owned()), (ConfigLayer::File, "3".to_owned())];
        assert_eq!(epochs.overrode, overrode);
        let rate = find(&all, "compressor.test-prune.rate");
        assert_eq!((rate.value.as_deref(), rate.location.as_ref().map(|at| at.line)), (Some("0.8"), Some(15)));
        let clip = find(&all, "search.clip");
        assert_eq!((clip.value.as_deref(), &clip.layer, &clip.location), (Some("5.0"), &ConfigLayer::Default, &None));
        assert_eq!(find(&all, "optimizer.test-joint.lambda").value.as_deref(), Some("5e-10"));
    }

    /// Guards settings that a trial's settings leave out where they are off.
    #[test]
    fn a_default_is_told_whether_a_trial_has_it_or_not() {
        let desk = Desk::good("");
        let settings = desk.plan().trials.remove(0).settings;
        let all = origins(&desk.request).unwrap();
        for (key, default) in [("loss", "\"mean-cross-entropy\""), ("ema", "0.0"), ("precision", "\"f32\"")] {
            assert_eq!(settings["search"].get(key), None, "a trial's settings have no `{key}`");
            let origin = find(&all, &format!("search.{key}"));
            assert_eq!((origin.value.as_deref(), &origin.layer), (Some(default), &ConfigLayer::Default));
            assert_eq!(explain(&desk.request, &origin.key).unwrap()[0].value.as_deref(), Some(default));
        }
        let ema = Desk::good("").set("search.ema=0.9");
        assert_eq!(find(&origins(&ema.request).unwrap(), "search.ema").value.as_deref(), Some("0.9"));
        assert!(!all.iter().any(|origin| origin.key.starts_with("retrain.teacher")), "there is no teacher");
    }

    #[test]
    fn a_key_is_explained_with_its_documentation_and_what_variants_make_of_it() {
        let more = "[[variant]]\nname = \"a\"\n[[variant]]\nname = \"b\"\nremove = [\"optimizer\", \"search\"]\n\
                    set = { \"retrain.epochs\" = 9, timesteps = { test-steady = { steps = 4 } }, design.from = \"a\" }\n\
                    [sweep]\ncompressor.test-prune.rate = [0.1, 2e-1]\n";
        let desk = Desk::good(more);
        let one = |key: &str| {
            let all = explain(&desk.request, key).unwrap();
            find(&all, key).clone()
        };
        let b = || ConfigLayer::Variant("b".into());
        let epochs = one("retrain.epochs");
        assert_eq!(epochs.documentation.as_deref(), Some("Passes over the training split (1 or more)."));
        assert_eq!(epochs.changed, [(b(), Some("9".into()))]);
        assert_eq!(one("search.clip").changed, [(b(), None)]);
        assert_eq!(one("search.epochs").changed, [(b(), None)]);
        assert_eq!(one("compressor.test-prune.rate").changed, [(ConfigLayer::Sweep, Some("0.1, 0.2".into()))]);
        let steps = one("timesteps.test-steady.steps");
        assert_eq!((steps.value, steps.changed), (None, vec![(b(), Some("4".into()))]));
        let root = one("dataset.test-pictures.root");
        assert_eq!((root.value, root.changed), (None, vec![]));
        let all = explain(&desk.request, "space").unwrap();
        let keys: Vec<&str> = all.iter().map(|origin| origin.key.as_str()).collect();
        assert_eq!(
            keys,
            ["space.test-grid.channels.retrain", "space.test-grid.channels.search", "space.test-grid.nodes"]
        );
        let error = |key: &str| match explain(&desk.request, key) {
            Err(Error::Manifest(problems)) => problems[0].to_string(),
            other => panic!("{other:?}"),
        };
        assert!(error("search.epoch").starts_with("no setting `search.epoch`; did you mean `search.epochs`?"));
        assert!(error("a..b").contains("not a dotted path"));
    }
}
