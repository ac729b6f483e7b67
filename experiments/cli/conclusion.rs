//! What `litesnn run` says at its end: what became of the trials.

use comfy_table::Table;
use litesnn_framework::ground::counted;
use litesnn_framework::record::Outcome;
use litesnn_framework::run::Finished;

use crate::arguments::RunOptions;
use crate::display;
use crate::exit::{Exit, Failure};
use crate::output::{out, say};

/// Says what became of all trials; `None` stands for one that is open. `elsewhere`: trials run on
/// other machines.
pub fn tell(options: &RunOptions, all: &[Option<Finished>], elsewhere: bool) {
    let ended: Vec<&Finished> = all.iter().flatten().collect();
    if !ended.is_empty() {
        out!("{}", summary(&ended));
    }
    for trial in &ended {
        if let Err(error) = &trial.outcome {
            Failure::new(Exit::Failed, format!("trial {} failed: {error}", trial.title), error.hint()).print();
        }
    }
    if options.quiet {
        return;
    }
    if ended.iter().any(|trial| trial.outcome.is_ok()) {
        say!("trials are under {}; `litesnn report {0}` makes tables and figures", options.runs.display());
    }
    say!("{}", tally(all));
    if elsewhere && ended.len() < all.len() {
        say!(
            "open trials are worked on elsewhere; `litesnn runs {}` lists them, the same command submits what is lost, with \
             `--wait` until all are finished, and `litesnn cancel` ends them",
            options.runs.display()
        );
    }
}

/// The exit code where nobody asked to stop.
pub fn exit(all: &[Option<Finished>]) -> Exit {
    if all.iter().flatten().all(|trial| trial.outcome.is_ok()) { Exit::Done } else { Exit::Failed }
}

fn tally(all: &[Option<Finished>]) -> String {
    let count = |which: fn(&Finished) -> bool| all.iter().flatten().filter(|trial| which(trial)).count();
    format!(
        "{}: {} done, {} finished before, {} failed, {} open",
        counted(all.len(), "trial"),
        count(|trial| trial.outcome.is_ok() && !trial.cached),
        count(|trial| trial.outcome.is_ok() && trial.cached),
        count(|trial| trial.outcome.is_err()),
        all.iter().filter(|trial| trial.is_none()).count()
    )
}

fn summary(trials: &[&Finished]) -> Table {
    let mut table =
        display::table(["trial", "test accuracy", "weights", "Bit-SynOps / image", "bits", "T", "time", ""]);
    for trial in trials {
        let row = match &trial.outcome {
            Ok(outcome) => [
                trial.title.clone(),
                format!("{:.2} %", 100.0 * outcome.test_accuracy),
                format!("{:.1} kbit", outcome.weight_bits / 1e3),
                format!("{:.3} M", outcome.bit_syn_ops / 1e6),
                if outcome.mean_bits.is_finite() { format!("{:.2}", outcome.mean_bits) } else { "-".into() },
                timesteps(outcome),
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

/// Timesteps of an image: with early exit, their mean.
fn timesteps(outcome: &Outcome) -> String {
    let (most, mean) = (outcome.timesteps, outcome.mean_timesteps);
    if mean < most as f64 { format!("{mean:.2}") } else { most.to_string() }
}
