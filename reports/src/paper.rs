//! Whether a row was measured at the settings of the paper.
//!
//! A row repeats the row of the paper's manifest, or of the manifest of a compared system, that has the
//! name of its variant. It is comparable
//! with the published numbers where its data are the official data set, whole, and every setting,
//! defaults included, is the same. A profile, `--set`, another manifest of the same names: all of
//! them show in the settings, however they came about.
//!
//! A design that a trial takes over is compared by what it is. Where the paper's manifest takes the
//! design that a variant finds (`[design] from`), the trial that found it has to have the settings
//! of that variant. Where the paper's manifest names a file, the design has to be the one in it.

use std::path::{Path, PathBuf};

use litesnn_framework::ground::file::read_text;
use litesnn_framework::network::Design;
use litesnn_framework::record::{self, Outcome, files};
use serde_json::{Map, Value};

use crate::published::{Publication, Reproduction};
use crate::settings::{Difference, differences, text, work};
use crate::trials::FinishedTrial;

/// A manifest that reproduces published tables, resolved without a profile and without overrides.
#[derive(Debug, Clone)]
pub struct PaperManifest {
    /// Where it lies in the repository, as [`Reproduction::manifest`] names it.
    pub path: String,
    /// Its rows, or why this program cannot resolve it.
    pub rows: Result<Vec<PaperRow>, String>,
}

/// A row of it: a variant at a point of its sweep.
#[derive(Debug, Clone)]
pub struct PaperRow {
    /// The variant.
    pub variant: String,
    /// All settings, with every default.
    pub settings: Value,
    /// The design in the file that `[design]` names.
    pub design: Option<Design>,
}

/// How trials that differ in their seeds alone depart from the paper's settings, a phrase for each
/// difference. It is that of the trial which departs most, so that every trial of a row without
/// departures was found to be at the paper's settings.
pub fn departures(
    trials: &[FinishedTrial],
    publication: &Publication,
    part: &Reproduction,
    manifests: &[PaperManifest],
) -> Vec<String> {
    let has_variant = |manifest: &&PaperManifest| {
        let variants = manifest.rows.iter().flatten().map(|row| &row.variant);
        trials.first().is_some_and(|trial| variants.into_iter().any(|variant| *variant == trial.outcome.variant))
    };
    let known = publication.manifests(part).into_iter().flat_map(|path| manifests.iter().find(|it| it.path == path));
    let own = || manifests.iter().find(|manifest| manifest.path == part.manifest);
    let (path, rows) = match known.into_iter().find(has_variant).or_else(own) {
        None => return vec![format!("this program does not know the settings of {}", part.manifest)],
        Some(PaperManifest { path, rows: Err(why) }) => return vec![format!("{path} is not to be resolved: {why}")],
        Some(PaperManifest { path, rows: Ok(rows) }) => (path, rows),
    };
    let all = trials.iter().map(|trial| Repetition { path, part, rows }.of_trial(trial));
    all.max_by_key(Vec::len).unwrap_or_default()
}

struct Repetition<'a> {
    path: &'a str,
    part: &'a Reproduction,
    rows: &'a [PaperRow],
}

impl Repetition<'_> {
    fn of_trial(&self, trial: &FinishedTrial) -> Vec<String> {
        let (folder, outcome) = (trial.folder.as_path(), &trial.outcome);
        let settings = match settings(folder) {
            Ok(settings) => settings,
            Err(error) => return vec![error],
        };
        self.nearest(&outcome.variant, |row| {
            let mut found = self.of_work(outcome, &settings, row);
            match (settings.get("design"), row.settings.get("design")) {
                (Some(Value::Object(here)), Some(Value::Object(paper))) => {
                    found.extend(of_taking_over(here, paper));
                    match (paper.get("from").and_then(Value::as_str), &row.design) {
                        (Some(from), _) => found.extend(self.of_source(folder, here, from)),
                        (None, Some(design)) => found.extend(of_design(&trial.design, design, paper)),
                        (None, None) => found.push(format!("{} names a design that is not there", self.path)),
                    }
                }
                (None, None) => {}
                (here, paper) => found.push(difference("design", text(here), text(paper))),
            }
            found
        })
    }

    /// The differences from that row of a variant which has the fewest: a sweep has several.
    fn nearest(&self, variant: &str, compare: impl Fn(&PaperRow) -> Vec<String>) -> Vec<String> {
        let rows = self.rows.iter().filter(|row| row.variant == variant);
        let unknown = || vec![format!("variant = {variant} (paper: {})", self.variants().join(", "))];
        rows.map(compare).min_by_key(Vec::len).unwrap_or_else(unknown)
    }

    fn variants(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.variant.as_str()).collect();
        names.dedup();
        names
    }

    /// Differences in data and settings, the design aside.
    fn of_work(&self, outcome: &Outcome, settings: &Value, row: &PaperRow) -> Vec<String> {
        // Older records do not say which edition of the data they used. Their whole title does.
        let edition = outcome.data_edition.as_str();
        let official =
            if edition.is_empty() { self.part.titles.contains(&outcome.dataset) } else { edition == OFFICIAL };
        let data = (!official).then(|| {
            let edition = if edition.is_empty() { String::new() } else { format!(", {edition}") };
            let paper = format!("{}, {OFFICIAL}", text(row.settings.get("dataset")));
            difference("data", format!("{}{edition}", outcome.dataset), paper)
        });
        let settings = differences(&work(settings), &work(&row.settings));
        data.into_iter().chain(settings.iter().map(Difference::to_string)).collect()
    }

    /// Differences of the trial whose design is taken over from the variant that the paper's
    /// manifest takes it from.
    fn of_source(&self, folder: &Path, here: &Map<String, Value>, from: &str) -> Vec<String> {
        let file = here.get("file").and_then(Value::as_str).unwrap_or_default();
        let Some(source) = source_of(folder, Path::new(file)) else {
            return vec![difference("design", format!("{file}, which no trial found"), format!("found by {from}"))];
        };
        let read = || {
            let outcome = record::read::<Outcome>(&source.join(files::RESULT)).map_err(|error| error.to_string())?;
            let outcome = outcome.into_iter().next().ok_or("the result of its design's trial is empty")?;
            Ok::<_, String>((outcome, settings(&source)?))
        };
        match read() {
            Err(error) => vec![error],
            Ok((outcome, settings)) => {
                let all = self.nearest(from, |row| {
                    let taken =
                        settings.get("design").map(|design| difference("design", text(Some(design)), "not set".into()));
                    self.of_work(&outcome, &settings, row).into_iter().chain(taken).collect()
                });
                all.into_iter().map(|one| format!("design of {from}: {one}")).collect()
            }
        }
    }
}

/// What the record calls a published data set, unchanged and whole.
const OFFICIAL: &str = "official";

fn difference(key: &str, here: String, paper: String) -> String {
    Difference { key: key.to_owned(), here, paper }.to_string()
}

/// How a design is taken over: which parts of it, and whether it is redrawn.
fn of_taking_over(here: &Map<String, Value>, paper: &Map<String, Value>) -> Vec<String> {
    let rest = |design: &Map<String, Value>| {
        let rest = design.iter().filter(|(key, _)| !matches!(key.as_str(), "from" | "file"));
        serde_json::json!({ "design": rest.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>() })
    };
    differences(&rest(here), &rest(paper)).iter().map(Difference::to_string).collect()
}

/// The parts of a design that are kept and that differ from the paper's.
fn of_design(here: &Design, paper: &Design, taken: &Map<String, Value>) -> Option<String> {
    let keeps = |part: &str| {
        let kept = taken.get("keep").and_then(Value::as_array);
        kept.is_none_or(|kept| kept.iter().any(|kept| kept.as_str() == Some(part)))
    };
    let parts = [
        ("architecture", (&here.space, &here.edges) == (&paper.space, &paper.edges)),
        ("compression", here.compression == paper.compression),
        ("timesteps", here.timesteps == paper.timesteps),
    ];
    let other: Vec<&str> = parts.iter().filter(|(part, same)| keeps(part) && !same).map(|(part, _)| *part).collect();
    (!other.is_empty()).then(|| {
        let file = taken.get("file").and_then(Value::as_str).map(Path::new).and_then(Path::file_name);
        let file = file.map_or_else(String::new, |file| file.to_string_lossy().into_owned());
        difference("design", format!("another {}", other.join(", ")), file)
    })
}

/// The folder of the trial that a design's file lies in. A trial whose folder was moved is looked
/// for beside the trial that takes its design.
fn source_of(folder: &Path, file: &Path) -> Option<PathBuf> {
    let named = folder.join(file);
    let named = named.parent()?;
    let beside = folder.parent()?.join(named.file_name()?);
    [named.to_owned(), beside].into_iter().find(|place| place.join(files::RESULT).is_file())
}

/// The manifest that a trial's folder keeps, in which every default is written.
fn settings(folder: &Path) -> Result<Value, String> {
    let path = folder.join(files::MANIFEST);
    let text = read_text(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    toml_edit::de::from_str(&text).map_err(|error| {
        format!("{} is not a manifest: {}", path.display(), error.message().lines().next().unwrap_or_default())
    })
}
