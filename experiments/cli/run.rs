//! `litesnn run`: trials, one after another in this process, or as a launcher does it.

use comfy_table::Table;
use litesnn_framework::manifest;
use litesnn_framework::run::{Context, Finished, run_plan, survey};
use litesnn_framework::{Error, device};

use crate::arguments::{Run, data_store};
use crate::display::{self, Display};
use crate::exit::{Exit, Failure};
use crate::launch;
use crate::plan::refuse_what_does_not_fit;
use crate::signals::stop_on_request;

pub fn run(options: &Run) -> Result<Exit, Failure> {
    if let Some(threads) = options.threads {
        tch::set_num_threads(i32::from(threads));
    }
    // All manifests first: a mistake in the last one costs nothing.
    let mut plans = options
        .manifests
        .iter()
        .map(|manifest| manifest::load(&options.layers.request(manifest.clone())))
        .collect::<Result<Vec<_>, _>>()?;
    if options.jobs.is_some() {
        return launch::here(options, &plans);
    }
    if plans.iter().any(|plan| plan.trials.iter().any(|trial| trial.manifest.launcher.is_some())) {
        return launch::by_launchers(options, &mut plans);
    }
    let choice = device::choose(&options.device)?;
    let store = data_store();
    if !options.force {
        for plan in &plans {
            refuse_what_does_not_fit(plan, &survey(plan, &options.runs, &store), choice.device, 1)?;
        }
    }
    let display = Display::new(options.quiet);
    display.line(&format!("device: {} ({})", device::name(choice.device), choice.reason));
    let stop = stop_on_request();
    let context = Context {
        runs: options.runs.clone(),
        store,
        device: choice.device,
        revision: env!("SOURCE_REVISION"),
        observer: &display,
        stop,
    };
    let mut all = Vec::new();
    for plan in &plans {
        match run_plan(plan, &context) {
            Ok(finished) => all.extend(finished),
            Err(error @ Error::Interrupted) => {
                display.end();
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    display.end();
    Ok(conclude(options, &all))
}

/// Says what became of the trials.
pub fn conclude(options: &Run, all: &[Finished]) -> Exit {
    println!("{}", summary(all));
    for trial in all {
        if let Err(error) = &trial.outcome {
            Failure::new(Exit::Failed, format!("trial {} failed: {error}", trial.title), error.hint()).print();
        }
    }
    if !options.quiet && all.iter().any(|trial| trial.outcome.is_ok()) {
        eprintln!("trials are under {}; `litesnn report {0}` makes tables and figures", options.runs.display());
    }
    if all.iter().all(|trial| trial.outcome.is_ok()) { Exit::Done } else { Exit::Failed }
}

fn summary(trials: &[Finished]) -> Table {
    let mut table =
        display::table(["trial", "test accuracy", "weights", "Bit-SynOps / image", "bits", "T", "time", ""]);
    for trial in trials {
        let row = match &trial.outcome {
            Ok(outcome) => [
                trial.title.clone(),
                format!("{:.2} %", 100.0 * outcome.test_accuracy),
                format!("{:.1} kbit", outcome.weight_bits / 1e3),
                format!("{:.3} M", outcome.bit_syn_ops / 1e6),
                format!("{:.2}", outcome.mean_bits),
                outcome.timesteps.to_string(),
                format!("{:.0} s", outcome.search_seconds + outcome.retrain_seconds + outcome.evaluate_seconds),
                if trial.cached { "finished before".into() } else { String::new() },
            ],
            Err(_) => {
                let mut row: [String; 8] = Default::default();
                row[0].clone_from(&trial.title);
                row[7] = "failed".into();
                row
            }
        };
        table.add_row(row);
    }
    table
}
