//! Trials found on disk, by experiment and row.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use litesnn_framework::network::Design;
use litesnn_framework::record::{
    self, CandidateRow, EpochRow, ExitRow, Failed, LayerRow, Outcome, Point, Row, Stage, StageRow, WeightBin, attempt,
    files,
};
use walkdir::WalkDir;

use crate::Error;
use crate::metric::Metric;
use crate::paper::{self, PaperManifest};
use crate::published::{Publication, Reproduction, find as find_published};

/// A finished trial.
#[derive(Debug)]
pub struct FinishedTrial {
    /// Its folder.
    pub folder: PathBuf,
    /// Its result.
    pub outcome: Outcome,
    /// Its epochs.
    pub history: Vec<EpochRow>,
    /// Its stages; empty where an older program recorded none.
    pub stages: Vec<StageRow>,
    /// The weights of its search in bins; empty without a search.
    pub weights: Vec<WeightBin>,
    /// Its layers.
    pub layers: Vec<LayerRow>,
    /// How its images stop; empty without early exit.
    pub exits: Vec<ExitRow>,
    /// What its search believed of candidates; empty where it tried none.
    pub candidates: Vec<CandidateRow>,
    /// Its design.
    pub design: Design,
}

/// A row: the trials of one variant at one point of a sweep, by seed.
#[derive(Debug)]
pub struct SeedGroup {
    /// Variant, with the point of the sweep.
    pub name: String,
    /// The same for the marks of a figure: values of the point without their keys, which
    /// [`ExperimentResults::swept`] has.
    pub label: String,
    /// Where the page lists its trials: an element's id.
    pub anchor: String,
    /// The published table that its manifest says it reproduces.
    pub reproduces: Option<String>,
    /// How it differs from the row of the paper's manifest that it repeats, a phrase for each
    /// setting; empty where it differs in nothing, or reproduces nothing.
    pub departures: Vec<String>,
    /// Its trials.
    pub trials: Vec<FinishedTrial>,
}

impl SeedGroup {
    /// The result of its first trial; what does not depend on the seed is the same in all.
    pub fn first(&self) -> &Outcome {
        &self.trials[0].outcome
    }

    /// Why its numbers cannot be compared with those of a published table; nothing where they can.
    pub fn not_comparable(&self, name: &str) -> Option<String> {
        match self.reproduces.as_deref() {
            Some(own) if own == name => self.departure(),
            _ => Some(format!("its manifest does not say that it reproduces {name}")),
        }
    }

    /// How it differs from the row that it repeats, in short; nothing where it does not.
    pub fn departure(&self) -> Option<String> {
        const SHOWN: usize = 3;
        let mut text = self.departures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if self.departures.len() > SHOWN {
            text.push_str(&format!(" and {} more", self.departures.len() - SHOWN));
        }
        (!self.departures.is_empty()).then_some(text)
    }

    /// `3 seeds`
    pub fn seeds(&self) -> String {
        let count = self.trials.len();
        format!("{count} seed{}", if count == 1 { "" } else { "s" })
    }

    /// Whether its designs were searched here.
    pub fn searched(&self) -> bool {
        self.trials.iter().any(|trial| trial.outcome.search_epochs > 0)
    }

    /// Layers whose input neurons fire for no image of the test split at any timestep, with the
    /// seeds where it is so in some of its trials only.
    pub fn silent_layers(&self) -> Vec<String> {
        let mut seeds: Vec<(&str, Vec<i64>)> = Vec::new();
        for trial in &self.trials {
            let silent =
                |layer: &&LayerRow| !layer.firing_rate.is_empty() && layer.firing_rate.iter().all(|rate| *rate == 0.0);
            for layer in trial.layers.iter().filter(silent) {
                match seeds.iter_mut().find(|(name, _)| *name == layer.layer) {
                    Some((_, seeds)) => seeds.push(trial.outcome.seed),
                    None => seeds.push((&layer.layer, vec![trial.outcome.seed])),
                }
            }
        }
        let described = |(name, seeds): (&str, Vec<i64>)| match seeds.len() == self.trials.len() {
            true => name.to_owned(),
            false => {
                let word = if seeds.len() == 1 { "seed" } else { "seeds" };
                let seeds: Vec<String> = seeds.iter().map(i64::to_string).collect();
                format!("{name} ({word} {})", seeds.join(", "))
            }
        };
        seeds.into_iter().map(described).collect()
    }

    /// Mean and, from two trials on, sample standard deviation of a quantity. Times of different
    /// hardware have no mean: both are NaN then.
    pub fn measured(&self, metric: &Metric) -> (f64, Option<f64>) {
        match metric.is_time {
            true => self.mean_time(|trial| (metric.value)(&trial.outcome)),
            false => self.mean_of(|trial| (metric.value)(&trial.outcome)),
        }
    }

    /// The same for a time of a trial.
    pub fn mean_time(&self, value: impl Fn(&FinishedTrial) -> f64) -> (f64, Option<f64>) {
        if self.is_of_one_hardware() { self.mean_of(value) } else { (f64::NAN, None) }
    }

    /// The same for anything that a trial holds and that is no time.
    pub fn mean_of(&self, value: impl Fn(&FinishedTrial) -> f64) -> (f64, Option<f64>) {
        let values: Vec<f64> = self.trials.iter().map(value).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, (values.len() > 1).then(|| variance.sqrt()))
    }
}

/// All finished trials of an experiment.
#[derive(Debug)]
pub struct ExperimentResults {
    /// Name, as in the manifest.
    pub name: String,
    /// Rows: variants that searched first, then by name.
    pub groups: Vec<SeedGroup>,
}

impl ExperimentResults {
    /// What its manifests say they reproduce, each name once.
    pub fn reproduces(&self) -> Vec<&str> {
        self.each(|outcome| &outcome.reproduces)
    }

    /// Whether it is about the rows of a part's own manifest, and not about rows of compared systems
    /// alone.
    pub fn is_of_own_manifest(&self, publication: &Publication, part: &Reproduction) -> bool {
        let ran = |variant: &String| self.of_variant(variant).next().is_some();
        let mut rows = publication.rows.iter();
        rows.clone().filter_map(|row| row.variant.as_ref()).any(ran)
            || !rows.any(|row| row.elsewhere(part).is_some_and(|elsewhere| ran(&elsewhere.variant)))
    }

    /// The rows of a variant outside of a sweep.
    pub fn of_variant(&self, variant: &str) -> impl Iterator<Item = &SeedGroup> {
        self.groups.iter().filter(move |group| group.first().variant == variant && group.first().point.is_empty())
    }

    /// `lambda_memory, lambda_compute`: the swept keys whose values stand in labels; nothing
    /// outside of a sweep.
    pub fn swept(&self) -> Option<String> {
        let group = self.groups.iter().find(|group| group.label != group.name)?;
        let keys: Vec<String> = point_parts(&group.first().point).into_iter().map(|(key, _)| key).collect();
        Some(keys.join(", "))
    }

    /// Titles of its data sets, each once.
    pub fn datasets(&self) -> Vec<&str> {
        self.each(|outcome| &outcome.dataset)
    }

    fn each<'a>(&'a self, value: impl Fn(&'a Outcome) -> &'a str) -> Vec<&'a str> {
        let mut values: Vec<&str> = self.trials().map(|trial| value(&trial.outcome)).collect();
        values.retain(|value| !value.is_empty());
        values.sort_unstable();
        values.dedup();
        values
    }

    /// All trials, in the order of the rows.
    pub fn trials(&self) -> impl Iterator<Item = &FinishedTrial> {
        self.groups.iter().flat_map(|group| &group.trials)
    }
}

/// What lies under a folder.
#[derive(Debug, Default)]
pub struct FoundTrials {
    /// Experiments by name.
    pub experiments: Vec<ExperimentResults>,
    /// Folders without a readable result, and why.
    pub unfinished: Vec<(PathBuf, String)>,
}

/// Finds the trials under `runs`, and compares those that reproduce a published table with the
/// settings of the paper's manifests.
pub fn find(runs: &Path, paper: &[PaperManifest]) -> Result<FoundTrials, Error> {
    let mut trials = Vec::new();
    let mut found = FoundTrials::default();
    // Attempts at a trial, and the records of launches, are no trials.
    let skipped = |name: &str| name.starts_with('.') || name == attempt::ATTEMPTS || name == attempt::FINISHED;
    // `run` and `runs` follow links too.
    let walk = WalkDir::new(runs).follow_links(true).sort_by_file_name().into_iter();
    let walk = walk.filter_entry(|entry| entry.depth() == 0 || !skipped(&entry.file_name().to_string_lossy()));
    let mut seen = std::collections::BTreeSet::new();
    for entry in walk {
        let entry = match entry {
            Ok(entry) if entry.file_name() == files::MANIFEST => entry,
            Ok(_) => continue,
            Err(error) => {
                // A circle of links is left where it closes, and what cannot be read is named.
                let why = match (error.loop_ancestor(), error.io_error()) {
                    (Some(around), _) => format!("it is a link to `{}`, which it is in", around.display()),
                    (None, Some(io)) if io.kind() != std::io::ErrorKind::NotFound => format!("it cannot be read: {io}"),
                    _ => continue,
                };
                found.unfinished.extend(error.path().map(|path| (path.to_owned(), why)));
                continue;
            }
        };
        // A trial that a second link leads to is one trial.
        if !seen.insert(entry.path().canonicalize().unwrap_or_else(|_| entry.path().to_owned())) {
            continue;
        }
        let Some(folder) = entry.path().parent() else { continue };
        if !folder.join(files::RESULT).exists() {
            found.unfinished.push((folder.to_owned(), progress(folder)));
            continue;
        }
        match read(folder) {
            Ok(Some(trial)) => trials.push(trial),
            Ok(None) => found.unfinished.push((folder.to_owned(), "its result is empty".into())),
            Err(error) => found.unfinished.push((folder.to_owned(), error.to_string())),
        }
    }
    trials.sort_by_cached_key(key);
    for trial in trials {
        let name = trial.outcome.experiment.clone();
        if found.experiments.last().is_none_or(|last| last.name != name) {
            found.experiments.push(ExperimentResults { name, groups: Vec::new() });
        }
        let Some(experiment) = found.experiments.last_mut() else { continue };
        match experiment.groups.last_mut().filter(|group| same_row(&group.trials[0], &trial)) {
            Some(group) => group.trials.push(trial),
            None => {
                let (name, label, anchor, reproduces, departures) = Default::default();
                experiment.groups.push(SeedGroup { name, label, anchor, reproduces, departures, trials: vec![trial] });
            }
        }
    }
    for experiment in &mut found.experiments {
        let first = experiment.groups[0].first().profile.clone();
        let several = experiment.groups.iter().any(|group| group.first().profile != first);
        for group in &mut experiment.groups {
            group.name = row_name(group.first(), several, short_point(&group.first().point));
            group.label = row_name(group.first(), several, brief_point(&group.first().point));
        }
        tell_apart(&mut experiment.groups);
        let plain: String =
            experiment.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        for (index, group) in experiment.groups.iter_mut().enumerate() {
            group.anchor = format!("trials-{plain}-{}", index + 1);
            group.reproduces =
                group.trials.iter().map(|trial| &trial.outcome.reproduces).find(|it| !it.is_empty()).cloned();
            if let Some(name) = &group.reproduces {
                let (publication, part) = find_published(name, &experiment.name)?;
                group.departures = paper::departures(&group.trials, publication, part, paper);
            }
        }
    }
    Ok(found)
}

/// Variant, point of the sweep, and, among several profiles, the profile.
fn row_name(outcome: &Outcome, several_profiles: bool, point: String) -> String {
    let mut remarks: Vec<&str> = vec![&point];
    let profile = format!("profile {}", outcome.profile);
    if several_profiles && !outcome.profile.is_empty() {
        remarks.push(&profile);
    }
    remarks.retain(|remark| !remark.is_empty());
    if remarks.is_empty() { outcome.variant.clone() } else { format!("{} ({})", outcome.variant, remarks.join(", ")) }
}

/// Swept keys, by their last segments unless two share it, with their values.
fn point_parts(point: &Point) -> Vec<(String, String)> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let keys: BTreeSet<String> = point.values().map(|(key, _)| last(key)).collect();
    let apart = keys.len() == point.values().count();
    point.short_words().map(|(key, value)| (if apart { last(key) } else { key.to_owned() }, value)).collect()
}

fn short_point(point: &Point) -> String {
    point_parts(point).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

fn brief_point(point: &Point) -> String {
    point_parts(point).into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(", ")
}

/// Only trials that differ in nothing but the seed are repetitions.
fn same_row(a: &FinishedTrial, b: &FinishedTrial) -> bool {
    let row = |trial: &FinishedTrial| {
        (trial.outcome.variant.clone(), trial.outcome.point.clone(), trial.outcome.recipe.clone())
    };
    row(a) == row(b) && a.outcome.profile == b.outcome.profile
}

/// Rows of one name but other settings get the beginning of their recipe's hash.
fn tell_apart(groups: &mut [SeedGroup]) {
    let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
    for group in groups.iter_mut() {
        if names.iter().filter(|name| **name == group.name).count() > 1 {
            let recipe: String = group.trials[0].outcome.recipe.chars().take(6).collect();
            group.name = format!("{} [{recipe}]", group.name);
            group.label = format!("{} [{recipe}]", group.label);
        }
    }
}

/// Experiment by experiment: what was searched first, then by variant, by the values of the sweep,
/// by profile.
fn key(trial: &FinishedTrial) -> (String, bool, String, Point, String, String, i64) {
    let o = &trial.outcome;
    let texts = (o.experiment.clone(), o.variant.clone(), o.profile.clone(), o.recipe.clone());
    (texts.0, o.search_epochs == 0, texts.1, o.point.clone(), texts.2, texts.3, o.seed)
}

/// How far a trial without a result came.
fn progress(folder: &Path) -> String {
    let places = attempt::places(folder);
    if let Some(failed) = places.iter().find_map(|place| Failed::read(place)) {
        return format!("failed: {}", failed.error);
    }
    let last = |place: &PathBuf| {
        let rows: Vec<EpochRow> = record::read(&place.join(files::HISTORY)).ok()?;
        Some((rows.len(), rows.last()?.clone()))
    };
    let farthest = places.iter().filter_map(last).max_by_key(|(epochs, _)| *epochs);
    match (farthest, places.iter().any(|place| attempt::is_held(place))) {
        (Some((_, last)), true) => format!("not finished: at work after epoch {} of {}", last.epoch, last.stage),
        (Some((_, last)), false) => format!("not finished: stopped after epoch {} of {}", last.epoch, last.stage),
        (None, true) => "not finished: at work".to_owned(),
        (None, false) => "not finished".to_owned(),
    }
}

/// A table that older records and some trials lack.
fn optional<R: Row>(path: &Path) -> Result<Vec<R>, litesnn_framework::Error> {
    if path.exists() { record::read(path) } else { Ok(Vec::new()) }
}

fn read(folder: &Path) -> Result<Option<FinishedTrial>, litesnn_framework::Error> {
    let Some(mut outcome) = record::read::<Outcome>(&folder.join(files::RESULT))?.into_iter().next() else {
        return Ok(None);
    };
    let stages: Vec<StageRow> = optional(&folder.join(files::STAGES))?;
    if outcome.retrain_device_seconds.is_nan() && !stages.is_empty() {
        // Older results leave it to the stages.
        outcome.retrain_device_seconds =
            stages.iter().filter(|row| row.stage == Stage::Retrain).fold(0.0, |sum, row| sum + row.device_seconds);
    }
    Ok(Some(FinishedTrial {
        outcome,
        history: record::read(&folder.join(files::HISTORY))?,
        stages,
        weights: optional(&folder.join(files::WEIGHTS))?,
        layers: record::read(&folder.join(files::LAYERS))?,
        exits: optional(&folder.join(files::EXITS))?,
        candidates: optional(&folder.join(files::CANDIDATES))?,
        design: Design::read(&folder.join(files::DESIGN))?,
        folder: folder.to_owned(),
    }))
}
