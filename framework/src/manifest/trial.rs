//! One trial of a plan, and how it is written as a manifest of its own.

use std::path::Path;

use super::to_toml;
use super::typed::Manifest;
use crate::plugin::Kind;
use crate::record::Point;

/// One search and retraining, or one retraining of a design.
#[derive(Debug)]
pub struct Trial {
    /// Name of the variant; that of the experiment where the manifest has no variants.
    pub variant: String,
    /// The swept keys that concern the trial, with their values.
    pub point: Point,
    /// The seed.
    pub seed: u64,
    /// The profile that was chosen, where it changes the trial.
    pub profile: Option<String>,
    /// What the manifest says it reproduces.
    pub reproduces: Option<String>,
    /// Settings that the environment or the command line changed, `key=value`. Those that say what
    /// the manifest says anyway are left out, and so are names, seeds, where data lie (`root`) and
    /// when checkpoints are written: they change no number.
    pub overrides: Vec<String>,
    /// The settings, ready to use; `experiment.seeds` holds the seed alone, and the path of a
    /// design's file is absolute.
    pub manifest: Manifest,
    /// The same settings as JSON, with every default.
    pub settings: serde_json::Value,
    /// The trial whose design this one takes, as an index into [`Plan::trials`](super::Plan::trials): same seed, same
    /// point of the sweep.
    pub depends_on: Option<usize>,
    /// The trial whose network teaches this one, in the same way.
    pub taught_by: Option<usize>,
}

impl Trial {
    /// What the trial is called on a screen: `large seed 0 (search.epochs = 3)`.
    pub fn title(&self) -> String {
        format!("{} seed {}{}", self.variant, self.seed, self.point_text())
    }

    /// What all seeds of it are called: `large (search.epochs = 3)`.
    pub fn row(&self) -> String {
        format!("{}{}", self.variant, self.point_text())
    }

    /// Whether it differs from another trial of its plan in the seed alone.
    pub fn is_of_row(&self, other: &Trial) -> bool {
        self.variant == other.variant && self.point == other.point
    }

    /// ` (search.epochs = 3)`, of a swept plugin its name; empty outside of a sweep.
    fn point_text(&self) -> String {
        let words: Vec<String> = self.point.short_words().map(|(key, value)| format!("{key} = {value}")).collect();
        if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
    }

    /// The part of its folder's name that says what it is; safe for a file system.
    pub fn folder_name(&self) -> &str {
        &self.variant
    }

    /// The resolved manifest as TOML, which loads to the same settings. With a `design_file`,
    /// `[design]` names that file instead of the variant or the file that the design came from, and
    /// with a `teacher`, `[retrain.teacher]` names that trial's folder; a relative path is relative
    /// to where the text is kept.
    pub fn manifest_toml(&self, design_file: Option<&Path>, teacher: Option<&Path>) -> String {
        let mut settings = self.settings.clone();
        if let (Some(folder), Some(teaching)) =
            (teacher, settings.pointer_mut("/retrain/teacher").and_then(|it| it.as_object_mut()))
        {
            teaching.remove("from");
            teaching.insert("trial".into(), folder.to_string_lossy().into());
        }
        if let (Some(file), Some(design)) = (design_file, settings.get_mut("design").and_then(|it| it.as_object_mut()))
        {
            design.remove("from");
            design.insert("file".into(), file.to_string_lossy().into());
        }
        // How it was launched is not part of it.
        if let Some(sections) = settings.as_object_mut() {
            sections.remove(Kind::Launcher.section());
        }
        // Under its own name the trial has the same folder again. Names of variants need no
        // escaping.
        format!("{}\n[[variant]]\nname = \"{}\"\n", to_toml::document(&settings), self.variant)
    }
}
