//! What no single setting tells: sections that are missing or that nothing reads, names of folders,
//! and where a design comes from.

use serde::Deserialize;

use super::file::Mark;
use super::refusal::problem;
use super::sections::{Presence, SECTIONS, Section, plugins};
use super::spelling::listed;
use super::stack::Stack;
use super::tree::{Tree, lookup, path};
use super::typed::{DesignSource, Part};
use crate::ground::Problem;
use crate::network::{SearchSpace, TimestepSearcher};
use crate::train::{Beginning, Loss, Teaching, Training, WeightAlgorithm};

/// Checks a manifest as a whole. `given` are its sections, `settings` those that could be read, and
/// a section that was `meant` by an unknown one is not missing.
pub(super) fn check(stack: &Stack, given: &Tree, settings: &Tree, meant: &[String]) -> Vec<Problem> {
    let mut checks = Checks { stack, problems: Vec::new() };
    let takes_design = given.contains_key("design");
    let searches = SECTIONS.iter().any(|section| {
        let meant = meant.iter().any(|meant| meant == section.name);
        section.presence == Presence::Search && (given.contains_key(section.name) || meant)
    });
    // Of a space that cannot be read nobody knows.
    let space: Option<Box<dyn SearchSpace>> = settings.get("space").and_then(|it| Deserialize::deserialize(it).ok());
    let unread = given.contains_key("space") && space.is_none();
    let written = !searches && (unread || space.is_some_and(|space| space.fixed().is_some()));
    for section in &SECTIONS {
        let there = given.contains_key(section.name) || meant.iter().any(|meant| meant == section.name);
        match section.presence {
            Presence::Search if takes_design && given.contains_key(section.name) => checks.unread(section),
            Presence::Search if !takes_design && !written && !there => {
                checks.missing(section, "; or [design], to retrain a design instead of searching one");
            }
            Presence::Required if !there => checks.missing(section, ""),
            _ => {}
        }
    }
    if let Some(name) = lookup(given, &path(["experiment", "name"])).and_then(|name| name.as_str()) {
        checks.experiment_name(name);
    }
    if let Some(design) = settings.get("design").and_then(|design| DesignSource::deserialize(design).ok()) {
        checks
            .design(&design, settings.get("timesteps").and_then(|timesteps| Deserialize::deserialize(timesteps).ok()));
    }
    for section in ["search", "retrain"] {
        if let Some(training) = settings.get(section).and_then(|training| Training::deserialize(training).ok()) {
            checks.training(section, &training);
            checks.beginning(section, training.from, given.contains_key("optimizer") && !takes_design);
            if let Some(teaching) = &training.teacher {
                checks.teacher(section, teaching);
            }
        }
    }
    checks.problems
}

struct Checks<'a> {
    stack: &'a Stack,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn report<const N: usize>(&mut self, at: [&str; N], mark: Mark, message: impl Into<String>, help: Option<&str>) {
        self.problems.push(problem(self.stack, &path(at), mark, message, help.map(str::to_owned)));
    }

    fn unread(&mut self, section: &Section) {
        let name = section.name;
        let message = format!("nothing reads [{name}]: [design] says that a design is taken over");
        let help = format!("take it out; a variant does so with `remove = [\"{name}\"]`");
        self.report([name], Mark::Key, message, Some(&help));
    }

    fn missing(&mut self, section: &Section, or: &str) {
        let help = match section.kind() {
            Some(kind) => {
                let known = listed(&plugins(kind));
                format!("known plugins of this kind: {known}; `litesnn plugins NAME` shows an example{or}")
            }
            None => format!("add {} and its keys below it{or}", section.heading()),
        };
        self.report([section.name], Mark::Key, format!("missing section {}", section.heading()), Some(&help));
    }

    fn experiment_name(&mut self, name: &str) {
        if let Some(why) = unfit_for_folder(name) {
            let message = format!("`experiment.name` is `{name}`, which cannot be the name of a folder: {why}");
            self.report(["experiment", "name"], Mark::Value, message, None);
        }
    }

    /// A setting may be written out where it says what it says without being there.
    fn training(&mut self, section: &str, training: &Training) {
        let of_tet = [
            ("tet_lambda", training.tet_lambda, Training::TET_LAMBDA),
            ("tet_target", training.tet_target, Training::TET_TARGET),
        ];
        let changed = of_tet.into_iter().filter(|(_, given, default)| given != default);
        for (key, ..) in changed.filter(|_| training.loss != Loss::TimestepCrossEntropy) {
            let message = format!("nothing reads `{section}.{key}`: it belongs to another loss");
            let help = "say `loss = \"timestep-cross-entropy\"`, or take it out";
            self.report([section, key], Mark::Key, message, Some(help));
        }
        if training.algorithm != WeightAlgorithm::Sgd && training.momentum != Training::MOMENTUM {
            let message = format!("nothing reads `{section}.momentum`: Adam and AdamW have betas of 0.9 and 0.999");
            let help = "take it out, or say `algorithm = \"sgd\"`";
            self.report([section, "momentum"], Mark::Key, message, Some(help));
        }
        let Training { epochs, warmup, .. } = *training;
        if warmup >= epochs {
            let message = format!(
                "`{section}.warmup` is {warmup}, and `{section}.epochs` is {epochs}: none is left for the schedule"
            );
            self.report([section, "warmup"], Mark::Value, message, Some("warm up for fewer epochs"));
        }
    }

    fn beginning(&mut self, section: &str, from: Beginning, searches: bool) {
        let (message, help) = match (section, from) {
            (_, Beginning::New) => return,
            ("search", _) => ("nothing reads `search.from`", "the final network begins with a search: [retrain] from"),
            _ if searches => return,
            _ => (
                "`retrain.from` is \"search\", and this trial searches nothing",
                "a variant that takes a design over retrains it from new weights: `remove = [\"retrain.from\"]`",
            ),
        };
        self.report([section, "from"], Mark::Value, message, Some(help));
    }

    fn teacher(&mut self, section: &str, teaching: &Teaching) {
        if section != "retrain" {
            let help = "a teacher teaches the final network: [retrain.teacher]";
            let message = format!("nothing reads [{section}.teacher]");
            self.report([section, "teacher"], Mark::Key, message, Some(help));
            return;
        }
        let teacher =
            "`from = \"VARIANT\"` is taught by what a variant trains, `trial = \"FOLDER\"` by a finished trial";
        match (&teaching.from, &teaching.trial) {
            (None, None) => {
                let message = "[retrain.teacher] has neither `from` nor `trial`";
                self.report([section, "teacher"], Mark::Key, message, Some(teacher));
            }
            (Some(_), Some(_)) => {
                let message = "[retrain.teacher] has both `from` and `trial`";
                self.report([section, "teacher", "trial"], Mark::Key, message, Some(teacher));
            }
            _ => {}
        }
    }

    fn design(&mut self, design: &DesignSource, timesteps: Option<Box<dyn TimestepSearcher>>) {
        let source = "`from = \"VARIANT\"` takes what a variant finds, `file = \"design.toml\"` what a file holds";
        match (&design.from, &design.file) {
            (None, None) => {
                self.report(["design"], Mark::Key, "[design] has neither `from` nor `file`", Some(source));
            }
            (Some(_), Some(_)) => {
                self.report(["design", "file"], Mark::Key, "[design] has both `from` and `file`", Some(source));
            }
            _ => {}
        }
        let keep = ["design", "keep"];
        if !design.keep.contains(&Part::Architecture) {
            let help = "an architecture is always needed: `keep = [\"architecture\", ...]`";
            self.report(keep, Mark::Value, "`design.keep` lacks `architecture`", Some(help));
        }
        if let Some(timesteps) = timesteps
            && !design.keep.contains(&Part::Timesteps)
            && timesteps.fixed().is_none()
        {
            let name = timesteps.typetag_name();
            let message =
                format!("`design.keep` lacks `timesteps`, and [timesteps.{name}] does not say how many to run");
            let help = "use [timesteps.fixed], or keep the design's timesteps";
            self.report(keep, Mark::Value, message, Some(help));
        }
    }
}

/// Why a name cannot be that of a folder; `None` when it can.
pub(super) fn unfit_for_folder(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > 64 {
        Some("it is longer than 64 characters")
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        Some("only letters, digits, `-`, `_` and `.` are allowed")
    } else if name.starts_with(['.', '-']) {
        Some("it has to begin with a letter, a digit or `_`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_a_plain_name() {
        assert_eq!(unfit_for_folder("table-4_a.b"), None);
        for name in ["", "..", ".hidden", "a/b", "a b", "ä", "-x", &"x".repeat(65)] {
            assert!(unfit_for_folder(name).is_some(), "{name}");
        }
    }
}
