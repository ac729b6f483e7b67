//! `litesnn plan`: the trials of a manifest, what is done, and what the rest needs.

use std::collections::{BTreeMap, BTreeSet};

use litesnn_framework::Error;
use litesnn_framework::ground::threads::{self, Threads};
use litesnn_framework::ground::{counted, device};
use litesnn_framework::manifest::{self, Comparison, Plan, Trial};
use litesnn_framework::network::{Design, NetworkSize};
use litesnn_framework::record::{State, files};
use litesnn_framework::run::{Needs, Rehearsal, Surveyed, rehearse, survey};
use litesnn_framework::train::Teaching;
use serde_json::json;
use tch::Device;

use crate::arguments::{PlanOptions, data_store};
use crate::display;
use crate::exit::{Exit, Failure};
use crate::output::{out, say};

type Looked = [Result<Surveyed, Error>];

pub fn plan(options: &PlanOptions) -> Result<Exit, Failure> {
    let threads = threads::settle(options.threads);
    let request = options.layers.request(options.manifest.clone());
    let plan = manifest::load(&request)?;
    let choice = device::choose(&options.device)?;
    manifest::check_device(&plan, &request, choice.device)?;
    let store = data_store();
    manifest::check_images(&plan, &request, &store)?;
    let surveyed = survey(&plan, &options.runs, &store, choice.device);
    let refused = refuse_what_does_not_fit(&plan, &surveyed, false, choice.device, 1).err();
    let rehearsals = match options.time && refused.is_none() {
        true => rehearsals(&plan, &surveyed, &store, choice.device, &threads),
        false => BTreeMap::new(),
    };
    let rows: Vec<Row> =
        plan.trials.iter().zip(&surveyed).map(|(trial, looked)| row(trial, looked, &rehearsals)).collect();
    if options.json {
        let all: Vec<serde_json::Value> = rows.iter().map(|row| row.json(&plan)).collect();
        out!("{}", serde_json::to_string_pretty(&all).unwrap_or_default());
    } else {
        let mut table = display::table(["trial", "design", "epochs", "hash", "state", "parameters", "memory", "time"]);
        for row in &rows {
            table.add_row(row.cells(&plan));
        }
        out!("{table}");
        notes(&rows, choice.device, options.time);
    }
    for note in notes_on_comparisons(&plan) {
        say!("note: {note}");
    }
    report_missing(&plan, &surveyed);
    for (trial, looked) in plan.trials.iter().zip(&surveyed) {
        if let Ok(Surveyed { state: State::Failed { error, .. }, .. }) = looked {
            say!("note: {} failed: {error}", trial.title());
        }
    }
    match refused {
        Some(failure) => Err(failure),
        None => Ok(Exit::Done),
    }
}

/// Fails when the trials that would run, `jobs` of them at once, need more memory than the device
/// has. `again`: those that are finished would run too.
pub fn refuse_what_does_not_fit(
    plan: &Plan,
    surveyed: &Looked,
    again: bool,
    device: Device,
    jobs: usize,
) -> Result<(), Failure> {
    let Some(available) = device::available_memory(device) else { return Ok(()) };
    let mut open: Vec<(&Trial, u64)> = plan
        .trials
        .iter()
        .zip(surveyed)
        .filter_map(|(trial, looked)| {
            let looked = looked.as_ref().ok().filter(|looked| again || !matches!(looked.state, State::Done(_)))?;
            Some((trial, looked.needs.as_ref().ok()?.memory))
        })
        .collect();
    open.sort_by_key(|(_, memory)| std::cmp::Reverse(*memory));
    // Trials at work share the GPUs.
    let gpus = if let Device::Cuda(_) = device { device::cuda_devices() } else { 1 };
    let together: u64 = open.iter().take(jobs.div_ceil(gpus.max(1))).map(|(_, memory)| memory).sum();
    let too_large = open.iter().filter(|(_, memory)| *memory > available).count();
    let Some((trial, memory)) = open.first().filter(|_| together > available) else { return Ok(()) };
    if too_large == 0 {
        let message = format!(
            "{jobs} trials at once need about {} of memory, and {} has {}",
            bytes(together),
            device::name(device),
            bytes(available)
        );
        let help = "nothing was started; fewer at once (`--jobs`) need less; `--force` runs them all the same";
        return Err(Failure::new(Exit::Usage, message, Some(help.into())));
    }
    let others = match too_large {
        1 => String::new(),
        more => format!(" ({} trials do not fit)", more),
    };
    let message = format!(
        "trial {} needs about {} of memory, and {} has {}{others}",
        trial.title(),
        bytes(*memory),
        device::name(device),
        bytes(available)
    );
    let help = "nothing was started; a smaller `batch_size` of [search] and [retrain], fewer channels or timesteps need less; \
                `litesnn run --force` runs it all the same";
    Err(Failure::new(Exit::Usage, message, Some(help.into())))
}

/// Short runs of the trials that are not done, by recipe.
fn rehearsals(
    plan: &Plan,
    surveyed: &Looked,
    store: &litesnn_framework::data::DataStore,
    device: Device,
    threads: &Threads,
) -> BTreeMap<String, Result<Rehearsal, Error>> {
    let mut all: BTreeMap<String, Result<Rehearsal, Error>> = BTreeMap::new();
    // A trial whose design another one takes, or which teaches another one, shows the kind of
    // design, even when it is done.
    let taken: BTreeSet<usize> =
        plan.trials.iter().flat_map(|trial| [trial.depends_on, trial.taught_by]).flatten().collect();
    for (index, looked) in surveyed.iter().enumerate() {
        let Ok(Surveyed { task, state, needs: Ok(needs) }) = looked else { continue };
        if all.contains_key(&task.recipe) || (matches!(state, State::Done(_)) && !taken.contains(&index)) {
            continue;
        }
        let trial = &plan.trials[index];
        let of_trial = |source: usize| {
            let source = surveyed[source].as_ref().ok()?;
            Design::read(&source.task.folder.join(files::DESIGN)).ok().or_else(|| {
                let rehearsed = all.get(&source.task.recipe)?.as_ref().ok()?;
                Some(rehearsed.design.clone())
            })
        };
        let given = match (trial.depends_on, trial.manifest.design.as_ref().and_then(|design| design.file.as_ref())) {
            (Some(source), _) => of_trial(source),
            (None, Some(file)) => Design::read(file).ok(),
            (None, None) => None,
        };
        let teacher = match (trial.taught_by, &task.teacher) {
            (Some(teacher), _) => of_trial(teacher),
            (None, Some(folder)) => Design::read(&folder.join(files::DESIGN)).ok(),
            (None, None) => None,
        };
        if (given.is_none() && trial.manifest.design.is_some()) || (teacher.is_none() && task.teacher.is_some()) {
            continue;
        }
        say!("timing a few steps of {} ...", trial.title());
        let rehearsed = rehearse(plan, index, needs, (given.as_ref(), teacher.as_ref()), store, device, threads);
        all.insert(task.recipe.clone(), rehearsed);
    }
    all
}

/// What is shown of a trial.
struct Row<'a> {
    trial: &'a Trial,
    looked: Option<&'a Surveyed>,
    /// Seconds that it takes from here, or took when it is done.
    seconds: Option<f64>,
}

fn row<'a>(
    trial: &'a Trial,
    looked: &'a Result<Surveyed, Error>,
    rehearsals: &BTreeMap<String, Result<Rehearsal, Error>>,
) -> Row<'a> {
    let looked = looked.as_ref().ok();
    let whole = looked
        .and_then(|looked| rehearsals.get(&looked.task.recipe))
        .and_then(|rehearsal| rehearsal.as_ref().ok())
        .map(Rehearsal::seconds);
    let seconds = match looked.map(|looked| &looked.state) {
        Some(State::Done(outcome)) => Some(outcome.search_seconds + outcome.retrain_seconds + outcome.evaluate_seconds),
        Some(State::Interrupted { seconds, .. }) => whole.map(|whole| (whole - seconds).max(0.0)),
        _ => whole,
    };
    Row { trial, looked, seconds }
}

impl Row<'_> {
    fn needs(&self) -> Option<&Needs> {
        self.looked?.needs.as_ref().ok()
    }

    fn done(&self) -> bool {
        self.looked.is_some_and(|looked| matches!(looked.state, State::Done(_)))
    }

    fn epochs(&self) -> (usize, usize) {
        let manifest = &self.trial.manifest;
        (manifest.search.as_ref().map_or(0, |search| search.epochs), manifest.retrain.epochs)
    }

    fn state(&self) -> String {
        let (search, retrain) = self.epochs();
        let all = counted(search + retrain, "epoch");
        match self.looked.map(|looked| &looked.state) {
            None => "data not here".into(),
            Some(State::New) => "new".into(),
            Some(State::Interrupted { epochs, .. }) => format!("interrupted, {epochs} of {all}"),
            Some(State::Failed { epochs, .. }) => format!("failed, {epochs} of {all}"),
            Some(State::Running) => "running".into(),
            Some(State::Done(_)) => "done".into(),
        }
    }

    fn cells(&self, plan: &Plan) -> [String; 8] {
        let manifest = &self.trial.manifest;
        let design = match (self.trial.depends_on, &manifest.optimizer) {
            (Some(source), _) => format!("of {}", plan.trials[source].title()),
            (None, Some(optimizer)) => format!("searched by {}", optimizer.typetag_name()),
            (None, None) => match &manifest.design {
                Some(design) => design
                    .file
                    .as_ref()
                    .and_then(|file| file.file_name())
                    .map_or_else(String::new, |file| file.to_string_lossy().into_owned()),
                None => "as written".into(),
            },
        };
        let design = match (self.trial.taught_by, &manifest.retrain.teacher) {
            (Some(teacher), _) => format!("{design}, taught by {}", plan.trials[teacher].title()),
            (None, Some(Teaching { trial: Some(folder), .. })) => {
                let name = folder.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                format!("{design}, taught by {name}")
            }
            (None, _) => design,
        };
        let (search, retrain) = self.epochs();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let about = if self.done() { "" } else { "~" };
        [
            self.trial.title(),
            design,
            format!("{search} + {retrain}"),
            or_dash(self.looked.map(|looked| looked.task.hash.clone())),
            self.state(),
            or_dash(self.needs().map(parameters)),
            or_dash(self.needs().map(|needs| format!("~{}", bytes(needs.memory)))),
            or_dash(self.seconds.map(|seconds| format!("{about}{}", duration(seconds)))),
        ]
    }

    fn json(&self, plan: &Plan) -> serde_json::Value {
        let (search, retrain) = self.epochs();
        let size = |size: &NetworkSize| json!({ "weights": size.weights, "others": size.others, "macs": size.macs });
        let needs = self.needs();
        json!({
            "trial": self.trial.title(),
            "variant": self.trial.variant,
            "seed": self.trial.seed,
            "point": self.trial.point,
            "hash": self.looked.map(|looked| &looked.task.hash),
            "recipe": self.looked.map(|looked| &looked.task.recipe),
            "taught_by": self.trial.taught_by.map(|teacher| plan.trials[teacher].title()),
            "folder": self.looked.map(|looked| &looked.task.folder),
            "state": self.state(),
            "search_epochs": search,
            "retrain_epochs": retrain,
            "supernet": needs.and_then(|needs| needs.supernet.as_ref()).map(size),
            "network": needs.map(|needs| size(&needs.network)),
            "network_is_known": needs.map(|needs| needs.decided),
            "memory_bytes": needs.map(|needs| needs.memory),
            "seconds": self.seconds,
        })
    }
}

fn parameters(needs: &Needs) -> String {
    let about = if needs.decided { "" } else { "~" };
    let network = format!("{about}{}", count(needs.network.weights));
    match &needs.supernet {
        Some(supernet) => format!("{} > {network}", count(supernet.weights)),
        None => network,
    }
}

/// What holds for all rows.
fn notes(rows: &[Row], device: Device, timed: bool) {
    if let Some(available) = device::available_memory(device) {
        say!("{} has {} of memory", device::name(device), bytes(available));
    }
    let open: Vec<&Row> = rows.iter().filter(|row| !row.done()).collect();
    let seconds: f64 = open.iter().filter_map(|row| row.seconds).sum();
    match (timed, open.is_empty()) {
        (_, true) => say!("all trials are done"),
        (true, false) => say!("what is not done takes ~{}", duration(seconds)),
        (false, false) => say!("`--time` runs a few steps of each trial to say how long it takes"),
    }
}

/// The comparisons that have too few seeds, and those that have to leave some out.
fn notes_on_comparisons(plan: &Plan) -> Vec<String> {
    let seeds = |first: usize| -> BTreeSet<u64> {
        let of_row = plan.trials.iter().filter(|trial| trial.is_of_row(&plan.trials[first]));
        of_row.map(|trial| trial.seed).collect()
    };
    let note = |comparison: &Comparison| {
        let [a, b] = [comparison.a, comparison.b].map(seeds);
        let [one, other] = [comparison.a, comparison.b].map(|first| plan.trials[first].row());
        let left_out: Vec<String> = a.symmetric_difference(&b).map(u64::to_string).collect();
        let common = a.intersection(&b).count();
        match common {
            0 | 1 => Some(format!(
                "{one} against {other}: {} in common, and an interval needs two; `experiment.seeds = [0, 1, 2]` runs three",
                counted(common, "seed")
            )),
            _ if left_out.is_empty() => None,
            _ => Some(format!(
                "{one} against {other}: paired by seed, so that seeds of one alone are left out: {}",
                left_out.join(", ")
            )),
        }
    };
    let mut notes: Vec<String> = plan.comparisons.iter().filter_map(note).collect();
    let more = notes.len().saturating_sub(MOST_NOTES);
    notes.truncate(MOST_NOTES);
    notes.extend((more > 0).then(|| format!("the same of {}", counted(more, "other comparison"))));
    notes
}

/// No more comparisons than these have a note of their own.
const MOST_NOTES: usize = 4;

/// Says why trials have no hash, each reason once.
fn report_missing(plan: &Plan, surveyed: &Looked) {
    let mut said: Vec<String> = Vec::new();
    for (trial, looked) in plan.trials.iter().zip(surveyed) {
        let error = match looked {
            Err(error) if trial.depends_on.is_none() && trial.taught_by.is_none() => error,
            Ok(Surveyed { needs: Err(error), .. }) => error,
            _ => continue,
        };
        let text = error.to_string();
        if !said.contains(&text) {
            say!("note: {}: {text}", trial.title());
            if let Some(hint) = error.hint() {
                say!("      {hint}");
            }
            said.push(text);
        }
    }
}

fn count(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{:.1} k", number as f64 / 1e3),
        _ => format!("{:.1} M", number as f64 / 1e6),
    }
}

fn bytes(number: u64) -> String {
    match number {
        0..1_000_000_000 => format!("{:.0} MB", number as f64 / 1e6),
        _ => format!("{:.1} GB", number as f64 / 1e9),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([count(7), count(26_412), count(14_120_000)], ["7", "26.4 k", "14.1 M"]);
        assert_eq!([bytes(269_400_000), bytes(23_000_000_000)], ["269 MB", "23.0 GB"]);
        assert_eq!(
            [duration(0.25), duration(34.2), duration(200.0), duration(9000.0)],
            ["0.2 s", "34 s", "3 min", "2.5 h"]
        );
    }
}
