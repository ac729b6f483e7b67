//! Where every setting comes from.

use figment::value::Value;
use serde_json::Value as Json;

use super::layers::{Request, Stack, lookup, stack};
use super::problem::{Layer, Location};
use super::resolve::{resolve, toml_text};
use super::text;
use crate::{Error, Result};

/// One setting and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Dotted path; a compressor is named: `compressor.score-prune.rate`.
    pub key: String,
    /// The value as TOML.
    pub value: String,
    /// The layer that set it.
    pub layer: Layer,
    /// Where, when that layer is a file.
    pub location: Option<Location>,
    /// What other layers had set, the nearest first.
    pub overrode: Vec<(Layer, String)>,
}

/// The origin of every setting of a manifest before variants and sweep, defaults included, by key. What a layer lost because a
/// later one names another plugin is not told.
pub fn origins(request: &Request) -> Result<Vec<Origin>> {
    let mut problems = Vec::new();
    let base = stack(request, &mut problems).map_err(Error::Manifest)?;
    if !problems.is_empty() {
        return Err(Error::Manifest(problems));
    }
    let mut all: Vec<Origin> = Vec::new();
    for overlay in base.overlays() {
        for leaf in overlay.leaves() {
            let key = leaf.join(".");
            if !all.iter().any(|origin| origin.key == key) {
                all.extend(origin(&base, &leaf));
            }
        }
    }
    let mut defaults = Vec::new();
    for (section, settings) in resolve(&base).0.settings() {
        collect_defaults(&base, &mut vec![section], &settings, &mut defaults);
    }
    all.extend(defaults);
    all.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(all)
}

fn origin(base: &Stack, path: &[String]) -> Option<Origin> {
    // A layer below may hold a table where a later one holds a value, or the other way round.
    let merged = base.merged();
    let value = lookup(&merged, path).filter(|value| !matches!(value, Value::Dict(_, inner) if !inner.is_empty()))?;
    let mut layers = base.overlays().iter().rev().filter(|overlay| overlay.sets(path));
    let winner = layers.next()?;
    let overrode = layers.filter_map(|overlay| Some((overlay.layer.clone(), toml_text(overlay.get(path)?)))).collect();
    Some(Origin {
        key: path.join("."),
        value: toml_text(value),
        layer: winner.layer.clone(),
        location: base.location(path),
        overrode,
    })
}

fn collect_defaults(base: &Stack, path: &mut Vec<String>, settings: &Json, all: &mut Vec<Origin>) {
    match settings {
        Json::Object(inner) if !inner.is_empty() => {
            for (key, value) in inner {
                path.push(key.clone());
                collect_defaults(base, path, value, all);
                path.pop();
            }
        }
        value if base.origin(path).is_none() => all.extend(text::value(value).map(|value| Origin {
            key: path.join("."),
            value: value.to_string(),
            layer: Layer::Default,
            location: None,
            overrode: Vec::new(),
        })),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Desk;
    use super::*;

    #[test]
    fn every_setting_tells_who_set_it_and_what_it_overrode() {
        let desk = Desk::good("[profile.smoke.search]\nepochs = 2\n").profile("smoke").set("search.epochs=1");
        let all = origins(&desk.request).unwrap();
        let find = |key: &str| all.iter().find(|origin| origin.key == key).unwrap_or_else(|| panic!("{key}: {all:#?}"));
        let epochs = find("search.epochs");
        assert_eq!((epochs.value.as_str(), &epochs.layer), ("1", &Layer::Set("search.epochs=1".into())));
        let overrode = [(Layer::Profile("smoke".into()), "2".to_owned()), (Layer::File, "3".to_owned())];
        assert_eq!(epochs.overrode, overrode);
        let rate = find("compressor.test-prune.rate");
        assert_eq!((rate.value.as_str(), rate.location.as_ref().map(|at| at.line)), ("0.8", Some(15)));
        let clip = find("search.clip");
        assert_eq!((clip.value.as_str(), &clip.layer, &clip.location), ("5.0", &Layer::Default, &None));
        assert_eq!(find("optimizer.test-joint.lambda").value, "5e-10");
    }
}
