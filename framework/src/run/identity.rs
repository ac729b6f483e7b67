//! What a trial is called by: the hash that names its folder.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::trial_hash;
use crate::design::Design;
use crate::manifest::{DesignSource, Trial};

/// What makes a trial the same work as another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Hash of the work.
    pub hash: String,
    /// The same without the seed.
    pub recipe: String,
}

impl Identity {
    /// The identity of a trial on data of this digest. `source` is that of the trial whose design it takes; the design of a file
    /// is read. So an identity is known before anything has run.
    pub fn of(trial: &Trial, data_digest: &str, source: Option<&Identity>) -> Identity {
        let taken = match (source, &trial.manifest.design) {
            (Some(source), Some(design)) => {
                let keep = kept(design);
                Identity { hash: format!("{}:{keep}", source.hash), recipe: format!("{}:{keep}", source.recipe) }
            }
            (None, Some(design)) => {
                let read = design.file.as_ref().and_then(|file| Design::read(file).ok());
                let text = read.map(|read| format!("{}:{}", read.to_toml(), kept(design))).unwrap_or_default();
                Identity { hash: text.clone(), recipe: text }
            }
            (_, None) => Identity { hash: String::new(), recipe: String::new() },
        };
        Identity {
            hash: trial_hash(&trial.settings, Some(trial.seed), data_digest, &taken.hash),
            recipe: trial_hash(&trial.settings, None, data_digest, &taken.recipe),
        }
    }

    /// The trial's folder, `RUNS/EXPERIMENT/VARIANT-sSEED-HASH`.
    pub fn folder(&self, runs: &Path, experiment: &str, trial: &Trial) -> PathBuf {
        runs.join(experiment).join(format!("{}-s{}-{}", trial.folder_name(), trial.seed, self.hash))
    }
}

/// What becomes of the design that is taken over.
fn kept(design: &DesignSource) -> String {
    let keep = json!(design.keep).to_string();
    if design.redraw { format!("{keep}, redrawn") } else { keep }
}
