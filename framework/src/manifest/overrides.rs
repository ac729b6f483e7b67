//! What the command line and the environment set: the user's own word, which is told of a trial and
//! not lost without one.

use super::file::Mark;
use super::overlay::Overlay;
use super::sections::Section;
use super::stack::Stack;
use super::sweep::Swept;
use super::variants::Variant;
use crate::ground::{ConfigLayer, Problem, toml};

/// Settings of the environment and the command line that can change a number: each path, and
/// `key=value`.
pub(super) fn overrides(base: &Stack) -> Vec<(Vec<String>, String)> {
    let mut all = Vec::new();
    for overlay in base.overlays().iter().filter(|overlay| by_user(overlay)) {
        let in_work = |section: &str| Section::find(section).is_none_or(|section| section.is_work);
        let counts = |leaf: &Vec<String>| in_work(&leaf[0]) && leaf.last().is_none_or(|name| is_work(name));
        for leaf in overlay.leaves().into_iter().filter(counts) {
            let value = overlay.get(&leaf).map(toml::text).unwrap_or_default();
            let text = format!("{}={value}", leaf.join("."));
            all.push((leaf, text));
        }
    }
    all
}

/// Whether a setting of this name can change a number: where data lie cannot.
pub(super) fn is_work(name: &str) -> bool {
    name != "root"
}

/// Overrides that a variant or the sweep would overrule without a word: those that a variant or the
/// sweep sets as well, and those that no variant keeps.
pub(super) fn lost_overrides(base: &Stack, variants: &[Variant], sweep: &[Swept]) -> Vec<Problem> {
    let of_variants = variants.iter().flat_map(|variant| &variant.sets);
    let of_sweep = sweep.iter().flat_map(|swept| &swept.values).map(|(_, overlay)| overlay);
    let above: Vec<&Overlay> = of_variants.chain(of_sweep).collect();
    let mut problems = Vec::new();
    for overlay in base.overlays().iter().filter(|overlay| by_user(overlay)) {
        for leaf in overlay
            .leaves()
            .into_iter()
            .filter(|leaf| !matches!(leaf[0].as_str(), "axis" | "variant" | "sweep" | "compare"))
        {
            let key = leaf.join(".");
            let message = match above.iter().find(|above| overlaps(above, &leaf)) {
                Some(winner) => format!("`{key}` is set by {} as well, which wins", winner.layer),
                None if variants.is_empty() || variants.iter().any(|variant| keeps(variant, overlay, &leaf)) => {
                    continue;
                }
                None => format!("`{key}` has no effect: every variant replaces or removes it"),
            };
            let help = "edit the manifest, or choose other variants or sweep points with \
                        `--set 'variant=[...]'` or `--set 'sweep.KEY=[...]'`";
            let problem = overlay.problem(&leaf, Mark::Value, message, Some(help.into()));
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// Whether a layer comes from the command line or the environment.
fn by_user(overlay: &Overlay) -> bool {
    matches!(overlay.layer, ConfigLayer::Environment(_) | ConfigLayer::Set(_))
}

/// Whether a layer sets what is at a path, above it or below it. A variant without compressors sets
/// none of their keys.
fn overlaps(layer: &Overlay, path: &[String]) -> bool {
    let same = |other: &Vec<String>| other.starts_with(path) || path.starts_with(other);
    layer.leaves().iter().any(|other| same(other) && !layer.is_empty_table(other))
}

/// Whether a setting of a layer is still there in a variant.
fn keeps(variant: &Variant, layer: &Overlay, path: &[String]) -> bool {
    variant.stack.overlays().iter().any(|kept| kept.layer == layer.layer && kept.sets(path))
}
