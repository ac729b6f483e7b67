//! `litesnn runs`: the trials on disk, and how to be rid of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use litesnn_framework::ground::counted;
use litesnn_framework::launch::{Launched, Standing, launches};
use litesnn_framework::record::{self, Outcome, State, attempt, earlier, files};
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::arguments::{Runs, RunsCommand, RunsGc, RunsRm};
use crate::display;
use crate::exit::{Exit, Failure};
use crate::output::{out, say};

pub fn runs(options: &Runs) -> Result<Exit, Failure> {
    match &options.command {
        None => list(options),
        Some(RunsCommand::Rm(options)) => rm(options),
        Some(RunsCommand::Gc(options)) => gc(options),
    }
}

/// What is shown of a trial.
struct Row {
    folder: PathBuf,
    state: String,
    /// Finished epochs, and all.
    epochs: (usize, Option<usize>),
    age: Option<Duration>,
    accuracy: Option<f64>,
    launch: Option<String>,
}

fn list(options: &Runs) -> Result<Exit, Failure> {
    if !options.runs.is_dir() {
        let help = "`litesnn run` makes it; `litesnn runs DIR` looks elsewhere";
        return Err(Failure::new(Exit::Usage, format!("no folder `{}`", options.runs.display()), Some(help.into())));
    }
    let launched = launched(&options.runs);
    let runs = std::path::absolute(&options.runs).unwrap_or_else(|_| options.runs.clone());
    let mut folders: BTreeSet<PathBuf> = record::trial_folders(&runs).into_iter().collect();
    // Those that wait have no folder yet.
    folders.extend(launched.keys().cloned());
    let rows: Vec<Row> = folders.iter().filter_map(|folder| row(folder, &launched)).collect();
    let shown = |folder: &Path| folder.strip_prefix(&runs).unwrap_or(folder).display().to_string();
    if options.json {
        let json = |row: &Row| {
            json!({
                "trial": shown(&row.folder),
                "folder": row.folder,
                "state": row.state,
                "epochs": row.epochs.0,
                "of_epochs": row.epochs.1,
                "age_seconds": row.age.map(|age| age.as_secs()),
                "test_accuracy": row.accuracy,
                "launch": row.launch,
            })
        };
        out!("{:#}", Value::Array(rows.iter().map(json).collect()));
        return Ok(Exit::Done);
    }
    let mut table = display::table(["trial", "state", "epochs", "age", "test accuracy", "launch"]);
    for row in &rows {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let of = row.epochs.1.map_or_else(String::new, |of| format!(" / {of}"));
        table.add_row([
            shown(&row.folder),
            row.state.clone(),
            format!("{}{of}", row.epochs.0),
            or_dash(row.age.map(words)),
            or_dash(row.accuracy.map(|accuracy| format!("{:.2} %", 100.0 * accuracy))),
            or_dash(row.launch.clone()),
        ]);
    }
    out!("{table}");
    let aside = earlier::set_aside_trials(&runs);
    if let Some(folder) = aside.first().and_then(|first| first.parent()) {
        let count = counted(aside.len(), "result");
        out!("`litesnn run --again` has set aside {count}, in `{}`", shown(folder));
    }
    Ok(Exit::Done)
}

/// Trials that are worked on or wait, by folder, with the launch's name. A cluster that does not
/// answer is told of.
fn launched(runs: &Path) -> BTreeMap<PathBuf, (Standing, String, usize)> {
    let mut all = BTreeMap::new();
    for launched in launches(runs) {
        let look = |launched: Launched| {
            let record = &launched.record;
            for (index, standing) in launched.standings()? {
                let task = record.task(index)?;
                all.insert(task.folder, (standing, record.name.clone(), task.epochs));
            }
            Ok::<(), litesnn_framework::Error>(())
        };
        if let Err(error) = launched.and_then(look) {
            say!("note: {error}");
        }
    }
    all
}

fn row(folder: &Path, launched: &BTreeMap<PathBuf, (Standing, String, usize)>) -> Option<Row> {
    let launch = launched.get(folder);
    let state = State::of(folder);
    let manifest = std::fs::read_to_string(folder.join(files::MANIFEST)).ok();
    if manifest.is_none() && launch.is_none() && state == State::New {
        return None;
    }
    let of_epochs = manifest.as_deref().and_then(epochs_of).or(launch.map(|(_, _, epochs)| *epochs));
    let newest = attempt::places(folder).into_iter().filter_map(|place| changed(&place.join(files::LOG))).max();
    let (words, epochs, accuracy, since) = match (&state, launch) {
        (State::Done(outcome), _) => {
            let epochs = usize::try_from(outcome.search_epochs + outcome.retrain_epochs).unwrap_or(0);
            ("done".into(), epochs, Some(outcome.test_accuracy), finished_at(outcome))
        }
        (State::Running, _) => ("running".into(), attempt::epochs(folder), None, newest),
        (_, Some((Standing::Queued, ..))) => ("queued".into(), attempt::epochs(folder), None, newest),
        (_, Some((Standing::Running, ..))) => ("running".into(), attempt::epochs(folder), None, newest),
        _ => {
            let words = failure(folder).map_or_else(|| "interrupted".into(), |why| format!("failed: {why}"));
            (words, attempt::epochs(folder), None, newest)
        }
    };
    Some(Row {
        folder: folder.to_owned(),
        state: words,
        epochs: (epochs, of_epochs),
        age: since.and_then(|since| SystemTime::now().duration_since(since).ok()),
        accuracy,
        launch: launch.map(|(_, name, _)| name.clone()),
    })
}

/// When a trial finished. The time of change of its result is another one where it was renamed or
/// copied.
fn finished_at(outcome: &Outcome) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(outcome.finished_at).ok()?))
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// Epochs of all stages that a manifest asks for.
fn epochs_of(manifest: &str) -> Option<usize> {
    let document: toml_edit::DocumentMut = manifest.parse().ok()?;
    let of = |section: &str| document.get(section)?.get("epochs")?.as_integer();
    usize::try_from(of("search").unwrap_or(0) + of("retrain")?).ok()
}

/// Why the last process that worked on a trial failed, when that is the last thing it said.
fn failure(folder: &Path) -> Option<String> {
    let logs = attempt::places(folder).into_iter().map(|place| place.join(files::LOG));
    let newest = logs.filter_map(|log| Some((changed(&log)?, log))).max()?.1;
    let text = std::fs::read_to_string(newest).ok()?;
    let last: Value = serde_json::from_str(text.lines().last()?).ok()?;
    (last["event"] == "failed").then(|| last["content"].as_str().unwrap_or_default().to_owned())
}

fn words(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn rm(options: &RunsRm) -> Result<Exit, Failure> {
    let mut chosen: Vec<PathBuf> = Vec::new();
    for folder in &options.folders {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        let is_trial = |folder: &Path| folder.join(files::MANIFEST).is_file() || folder.join(files::LOCK).is_file();
        let below = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let trials: Vec<PathBuf> =
            if is_trial(&folder) { vec![folder.clone()] } else { below.filter(|path| is_trial(path)).collect() };
        if trials.is_empty() {
            let message = format!("`{}` is neither a trial nor an experiment with trials", folder.display());
            return Err(Failure::new(Exit::Usage, message, Some("`litesnn runs` lists them".into())));
        }
        chosen.extend(trials);
    }
    if !options.force {
        let runs: BTreeSet<&Path> = chosen.iter().filter_map(|folder| folder.parent()?.parent()).collect();
        for runs in runs {
            let launched = launched(runs);
            let at_work = |folder: &&PathBuf| State::of(folder) == State::Running || launched.contains_key(*folder);
            if let Some(folder) = chosen.iter().find(at_work) {
                let help = "wait for it, `litesnn cancel` it, or remove it all the same with `--force`";
                return Err(refusal(folder, "is worked on or waits for its turn", help));
            }
            let named = named_trials(runs);
            let why = |folder: &PathBuf| {
                let mut by = named.get(folder).into_iter().flatten();
                by.find(|(other, _)| !chosen.contains(other)).map(|(_, why)| *why)
            };
            if let Some((folder, why)) = chosen.iter().find_map(|folder| Some((folder, why(folder)?))) {
                let help = "remove those too, or remove it all the same with `--force`";
                return Err(refusal(folder, why, help));
            }
        }
    }
    let freed: u64 = chosen.iter().map(|folder| size(folder)).sum();
    for folder in &chosen {
        remove(folder)?;
        out!("{}", folder.display());
    }
    say!("{}, {:.1} MB", counted(chosen.len(), "trial"), freed as f64 / 1e6);
    Ok(Exit::Done)
}

fn refusal(folder: &Path, why: &str, help: &str) -> Failure {
    Failure::new(Exit::Usage, format!("`{}` {why}; nothing was removed", folder.display()), Some(help.into()))
}

/// The trials that other trials name in their manifests, by their folders: each with those that
/// name it, and as what.
fn named_trials(runs: &Path) -> BTreeMap<PathBuf, Vec<(PathBuf, &'static str)>> {
    let mut all: BTreeMap<PathBuf, Vec<(PathBuf, &'static str)>> = BTreeMap::new();
    for folder in record::trial_folders(runs) {
        let text = std::fs::read_to_string(folder.join(files::MANIFEST)).unwrap_or_default();
        let Ok(document) = text.parse::<toml_edit::DocumentMut>() else { continue };
        let named = |table: Option<&toml_edit::Item>, key: &str| {
            let path = table?.get(key)?.as_str()?;
            // `../OTHER` where both are of one experiment.
            Some(match path.strip_prefix("../") {
                Some(rest) => folder.parent()?.join(rest),
                None => PathBuf::from(path),
            })
        };
        let design = named(document.get("design"), "file").and_then(|file| Some(file.parent()?.to_owned()));
        let teacher = named(document.get("retrain").and_then(|retrain| retrain.get("teacher")), "trial");
        for (other, why) in [(design, "has the design that other trials take"), (teacher, "teaches other trials")] {
            if let Some(other) = other {
                all.entry(other).or_default().push((folder.clone(), why));
            }
        }
    }
    all
}

fn gc(options: &RunsGc) -> Result<Exit, Failure> {
    let runs = std::path::absolute(&options.runs).unwrap_or_else(|_| options.runs.clone());
    let mut all: Vec<PathBuf> = Vec::new();
    for folder in record::trial_folders(&runs).into_iter().filter(|folder| record::result(folder).is_some()) {
        // An attempt that is late goes on until it finds that it is.
        let idle = attempt::places(&folder).iter().all(|place| !attempt::is_held(place));
        let parts = [files::CHECKPOINT, attempt::ATTEMPTS].map(|part| folder.join(part));
        all.extend(parts.into_iter().filter(|path| idle && path.is_dir()));
    }
    let launched = launched(&runs);
    for Launched { record, .. } in launches(&runs).into_iter().flatten() {
        let at_work = launched.values().any(|(_, name, _)| *name == record.name);
        let tasks = record.tasks().unwrap_or_default();
        if !at_work && tasks.iter().all(|task| record::result(&task.folder).is_some()) {
            all.push(record.folder);
        }
    }
    let freed: u64 = all.iter().map(|path| size(path)).sum();
    for path in &all {
        if !options.dry_run {
            remove(path)?;
        }
        out!("{}", path.display());
    }
    let would = if options.dry_run { "would be " } else { "" };
    say!("{:.1} MB {would}freed", freed as f64 / 1e6);
    Ok(Exit::Done)
}

/// Bytes of all files in a folder.
pub fn size(folder: &Path) -> u64 {
    let files = WalkDir::new(folder).into_iter().flatten().filter_map(|entry| entry.metadata().ok());
    files.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}

fn remove(folder: &Path) -> Result<(), Failure> {
    std::fs::remove_dir_all(folder).map_err(|error| litesnn_framework::Error::file("remove", folder)(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_short() {
        let of = |seconds| words(Duration::from_secs(seconds));
        assert_eq!([of(7), of(600), of(10_000), of(260_000)], ["7 s", "10 min", "2 h", "3 d"]);
    }
}
