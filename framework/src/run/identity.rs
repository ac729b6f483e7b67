//! What a trial is called by: the hash that names its folder.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::launch::Task;
use crate::manifest::{DesignSource, Trial};
use crate::network::Design;
use crate::plugin::{Kind, find};
use crate::record::result;
use crate::train::Teaching;

/// The hash of a trial's work on data of this digest, and the same without the seed. `source` is
/// the trial whose design it takes, and `teacher` the one that teaches it; the design of a file and
/// the result of a teacher's folder are read. So both are known before anything has run.
pub(super) fn identify(
    trial: &Trial,
    data_digest: &str,
    source: Option<&Task>,
    teacher: Option<&Task>,
) -> (String, String) {
    let (hash, recipe) = match (source, &trial.manifest.design) {
        (Some(source), Some(design)) => {
            let keep = kept(design);
            (format!("{}:{keep}", source.hash), format!("{}:{keep}", source.recipe))
        }
        (None, Some(design)) => {
            let read = design.file.as_ref().and_then(|file| Design::read(file).ok());
            let text = read.map(|read| format!("{}:{}", read.to_toml(), kept(design))).unwrap_or_default();
            (text.clone(), text)
        }
        (_, None) => (String::new(), String::new()),
    };
    let (teacher_hash, teacher_recipe) = match (teacher, &trial.manifest.retrain.teacher) {
        (Some(teacher), _) => (Some(teacher.hash.clone()), Some(teacher.recipe.clone())),
        (None, Some(Teaching { trial: Some(folder), .. })) => {
            let found = result(folder);
            (found.as_ref().map(|found| found.hash.clone()), found.map(|found| found.recipe))
        }
        (None, _) => (None, None),
    };
    (
        trial_hash(&trial.settings, Some(trial.seed), data_digest, &hash, teacher_hash.as_deref()),
        trial_hash(&trial.settings, None, data_digest, &recipe, teacher_recipe.as_deref()),
    )
}

/// A trial's folder, `RUNS/EXPERIMENT/VARIANT-sSEED-HASH`.
pub(super) fn folder(runs: &Path, experiment: &str, trial: &Trial, hash: &str) -> PathBuf {
    runs.join(experiment).join(format!("{}-s{}-{hash}", trial.folder_name(), trial.seed))
}

/// What becomes of the design that is taken over.
fn kept(design: &DesignSource) -> String {
    let keep = json!(design.keep).to_string();
    if design.redraw { format!("{keep}, redrawn") } else { keep }
}

/// What makes a trial the same work: its resolved settings without names, descriptions and
/// `[checkpoint]`, the data, the design it takes over, the hash of its teacher, and the versions of
/// its plugins. Where the data lies (the setting `root` of a data set) is left out: the digest says
/// what lies there; and so is how the manifest names the teacher. 16 hex digits. Without a seed it
/// says what repetitions with other seeds have in common.
fn trial_hash(
    settings: &Value,
    seed: Option<u64>,
    data_digest: &str,
    taken_design: &str,
    teacher: Option<&str>,
) -> String {
    let mut work = settings.clone();
    let mut versions = Vec::new();
    if let Value::Object(sections) = &mut work {
        sections.remove("experiment");
        sections.remove("design");
        sections.remove("checkpoint");
        sections.remove(Kind::Launcher.section());
        let teaching = sections.get_mut("retrain").and_then(|retrain| retrain.get_mut("teacher"));
        if let Some(teaching) = teaching.and_then(Value::as_object_mut) {
            teaching.remove("from");
            teaching.remove("trial");
        }
        for dataset in sections.get_mut(Kind::Dataset.section()).and_then(Value::as_object_mut).into_iter().flatten() {
            if let Some(settings) = dataset.1.as_object_mut() {
                settings.remove("root");
            }
        }
        for kind in Kind::ALL {
            let names: Vec<String> = match sections.get(kind.section()) {
                Some(Value::Object(section)) => section.keys().cloned().collect(),
                Some(Value::Array(items)) => {
                    items.iter().filter_map(Value::as_object).flat_map(|item| item.keys().cloned()).collect()
                }
                _ => Vec::new(),
            };
            for name in names {
                let version = find(kind, &name).map_or(0, |plugin| plugin.version);
                versions.push(format!("{kind}.{name}={version}"));
            }
        }
    }
    let mut hasher = blake3::Hasher::new();
    // Objects of serde_json are ordered by key, so that the text does not depend on the order in a
    // manifest.
    let parts = [
        work.to_string(),
        seed.map(|seed| seed.to_string()).unwrap_or_default(),
        data_digest.to_owned(),
        taken_design.to_owned(),
        versions.join(","),
    ];
    for part in parts.iter().map(String::as_str).chain(teacher) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_ignores_names_and_order_and_nothing_else() {
        let a = json!({"experiment": {"name": "a"}, "retrain": {"epochs": 1, "clip": 5.0}});
        let b = json!({"retrain": {"clip": 5.0, "epochs": 1}, "experiment": {"name": "b"}});
        assert_eq!(trial_hash(&a, Some(0), "d", "", None), trial_hash(&b, Some(0), "d", "", None));
        assert_ne!(trial_hash(&a, Some(1), "d", "", None), trial_hash(&a, Some(0), "d", "", None));
        assert_ne!(trial_hash(&a, Some(0), "e", "", None), trial_hash(&a, Some(0), "d", "", None));
        assert_ne!(trial_hash(&a, Some(0), "d", "x", None), trial_hash(&a, Some(0), "d", "", None));
        let at = |root: &str, train: i64| json!({"dataset": {"pictures": {"root": root, "train": train}}});
        assert_eq!(trial_hash(&at("/a", 5), None, "d", "", None), trial_hash(&at("/b", 5), None, "d", "", None));
        assert_ne!(trial_hash(&at("/a", 5), None, "d", "", None), trial_hash(&at("/a", 6), None, "d", "", None));
        let taught = |from: &str| json!({"retrain": {"teacher": {"from": from, "alpha": 0.5}}});
        let by = |settings: &Value, hash: &str| trial_hash(settings, Some(0), "d", "", Some(hash));
        assert_eq!(by(&taught("wide"), "1"), by(&taught("dense"), "1"));
        assert_ne!(by(&taught("wide"), "1"), by(&taught("wide"), "2"));
        let c = json!({"retrain": {"epochs": 2, "clip": 5.0}});
        assert_ne!(trial_hash(&a, Some(0), "d", "", None), trial_hash(&c, Some(0), "d", "", None));
    }
}
