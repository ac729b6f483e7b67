//! What is measured of a trained network, and the result of the trial.

use std::time::{SystemTime, UNIX_EPOCH};

use litesnn_engine::file;
use tch::Device;

use super::export::file_bytes;
use super::layer_costs::{self, Totals};
use super::method::Method;
use super::names;
use crate::data::Input;
use crate::ground::device::{self, Stopwatch};
use crate::ground::{Machine, Parameters, together};
use crate::launch::Task;
use crate::network::{Design, Network, Pass, cost, packed, running};
use crate::record::{self, EpochRow, ExitRow, LayerRow, Outcome, Stage, StageRow, files};
use crate::spiking::Precision;
use crate::train::{
    Counted, Deciding, Exit, Exits, Measured, Session, Stopping, broken_tensor, evaluate, evaluate_exits,
};
use crate::{Error, Result};

/// Evaluates the network on the test split and writes all tables of the record but the history.
/// `revision` is that of the program's source.
pub(super) fn measure(
    method: Method,
    task: &Task,
    revision: &str,
    session: &Session,
    (network, parameters): (&dyn Network, &Parameters),
    design: &Design,
) -> Result<Outcome> {
    let folder = session.folder();
    let Method { trial, splits, device, .. } = method;
    let watch = Stopwatch::start(device);
    let precision = trial.manifest.retrain.precision;
    let pass = Pass { measure: true, maps: true, precision, ..Pass::new(design.timesteps) };
    let located = |error| match error {
        Error::NotFinite { what, .. } => Error::NotFinite {
            when: "in the test of the final network".into(),
            what: broken_tensor(parameters).map_or(what.clone(), |tensor| format!("{what}; {tensor}")),
        },
        other => other,
    };
    let (test, normalisation) = (&splits.test, &splits.normalisation);
    let exit = trial.manifest.timesteps.early_exit();
    let form = |exit| packed(network, &splits.info, normalisation, design.timesteps, exit).ok();
    // For all timesteps: what a file of the network answers, to the bit.
    let whole = form(None);
    let counted = whole.as_ref().filter(|_| precision == Precision::F32).and_then(Counted::of);
    let mut tested = match exit {
        None => {
            let measured = evaluate(network, test, normalisation, pass, device, counted.as_ref()).map_err(located)?;
            Tested::whole(network, measured, design)
        }
        Some(exit) => {
            let exits = evaluate_exits(network, test, normalisation, pass, device, (exit, counted.as_ref()))
                .map_err(located)?;
            Tested::early(network, &exits, exit.threshold())
        }
    };
    let machine = together(session.machines());
    let mut stages = stage_rows(session.history(), session.deciding(), &machine.device)?;
    let evaluate_seconds = watch.wall();
    stages.push(StageRow {
        stage: Stage::Evaluate,
        epochs: 0,
        seconds: evaluate_seconds,
        device_seconds: watch.device(),
        device: device::name(device),
    });
    let left = exit.and_then(|exit| form(Some(exit)));
    let leaves = if exit.is_some() { left.as_ref() } else { whole.as_ref() };
    if let Some(network) = leaves {
        layer_costs::as_stored(&mut tested.layers, network);
    }
    record::write(&folder.join(files::STAGES), &stages)?;
    record::write(&folder.join(files::LAYERS), &tested.layers)?;
    if !tested.exits.is_empty() {
        record::write(&folder.join(files::EXITS), &tested.exits)?;
    }
    let totals = layer_costs::totals(&tested.layers, network);

    let outcome = Outcome {
        seed: trial.seed as i64,
        hash: task.hash.clone(),
        recipe: task.recipe.clone(),
        data_digest: splits.info.digest.clone(),
        test_images: test.len() as f64,
        test_accuracy: tested.accuracy,
        test_loss: tested.loss,
        timesteps: design.timesteps,
        mean_timesteps: tested.mean_timesteps,
        earliest_timestep: tested.earliest_timestep,
        mean_bits: totals.mean_bits,
        weights: totals.weights,
        kept_weights: totals.kept_weights,
        weight_bits: totals.weight_bits,
        model_size_bytes: totals.model_size_bytes,
        stored_bytes: leaves.map_or(totals.stored_bytes, |network| file::payload(network) as f64),
        file_bytes: f64::NAN,
        syn_ops: totals.syn_ops,
        bit_syn_ops: totals.bit_syn_ops,
        multiplications: totals.multiplications,
        energy_mj: totals.energy_mj,
        syn_ops_counted: totals.syn_ops_counted,
        bit_syn_ops_counted: totals.bit_syn_ops_counted,
        multiplications_counted: totals.multiplications_counted,
        energy_counted_mj: totals.energy_counted_mj,
        ann_operations: totals.ann_operations,
        ann_energy_mj: cost::energy_mj(totals.ann_operations, totals.ann_operations),
        evaluate_seconds,
        precision: precision.name().to_owned(),
        by_levels: i64::from(counted.is_some()),
        revision: revision.to_owned(),
        // Names come last: see `names::named`.
        ..spent(&stages, machine, device)
    };
    let mut outcome = names::named(outcome, task, &splits.info);
    if let Some(network) = leaves {
        let input = Input::text(trial.manifest.dataset.as_ref(), splits)?.unwrap_or_default();
        outcome.file_bytes = file_bytes(network, &task.folder, &outcome, input)?;
    }
    record::write(&folder.join(files::RESULT), std::slice::from_ref(&outcome))?;
    Ok(outcome)
}

/// What the test of a network found.
struct Tested {
    accuracy: f64,
    loss: f64,
    mean_timesteps: f64,
    /// NaN without early exit.
    earliest_timestep: f64,
    layers: Vec<LayerRow>,
    /// Empty without early exit.
    exits: Vec<ExitRow>,
}

impl Tested {
    /// All images ran all timesteps.
    fn whole(network: &dyn Network, measured: Measured, design: &Design) -> Tested {
        Tested {
            accuracy: measured.accuracy,
            loss: measured.loss,
            mean_timesteps: design.timesteps as f64,
            earliest_timestep: f64::NAN,
            layers: layer_costs::layers(network, &measured.activity, design.timesteps),
            exits: Vec::new(),
        }
    }

    /// Images stopped at different timesteps; `threshold` is that of the result.
    fn early(network: &dyn Network, exits: &Exits, threshold: f64) -> Tested {
        let chosen = Stopping::Threshold(threshold);
        let mut tested = Tested {
            accuracy: f64::NAN,
            loss: f64::NAN,
            mean_timesteps: f64::NAN,
            earliest_timestep: exits.earliest,
            layers: Vec::new(),
            exits: Vec::new(),
        };
        for exit in exits.thresholds.iter().chain(&exits.fixed) {
            let layers = layer_costs::running_layers(network, &exit.measured.activity, &running(&exit.stopped));
            let row = exit_row(exit, chosen, &layer_costs::totals(&layers, network));
            if exit.stopping == chosen {
                (tested.accuracy, tested.loss) = (exit.measured.accuracy, exit.measured.loss);
                (tested.mean_timesteps, tested.layers) = (row.mean_timesteps, layers);
            }
            tested.exits.push(row);
        }
        tested
    }
}

fn exit_row(exit: &Exit, chosen: Stopping, totals: &Totals) -> ExitRow {
    ExitRow {
        threshold: match exit.stopping {
            Stopping::Threshold(threshold) => threshold,
            Stopping::Timesteps(_) => f64::NAN,
        },
        result: i64::from(exit.stopping == chosen),
        test_accuracy: exit.measured.accuracy,
        test_loss: exit.measured.loss,
        mean_timesteps: exit.mean_timesteps(),
        stopped: exit.stopped.clone(),
        syn_ops: totals.syn_ops,
        bit_syn_ops: totals.bit_syn_ops,
        multiplications: totals.multiplications,
        energy_mj: totals.energy_mj,
        syn_ops_counted: totals.syn_ops_counted,
        bit_syn_ops_counted: totals.bit_syn_ops_counted,
        multiplications_counted: totals.multiplications_counted,
        energy_counted_mj: totals.energy_counted_mj,
    }
}

/// What was spent on search and retraining, and where.
fn spent(stages: &[StageRow], machine: Machine, device: Device) -> Outcome {
    let sum = |of: fn(&Stage) -> bool, value: fn(&StageRow) -> f64| {
        stages.iter().filter(|row| of(&row.stage)).map(value).fold(0.0, |sum, value| sum + value)
    };
    let (search, retrain): (fn(&Stage) -> bool, fn(&Stage) -> bool) =
        (Stage::is_search, |stage| *stage == Stage::Retrain);
    let epochs = |of| sum(of, |row| row.epochs as f64) as i64;
    Outcome {
        search_seconds: sum(search, |row| row.seconds),
        retrain_seconds: sum(retrain, |row| row.seconds),
        search_epochs: epochs(search),
        retrain_epochs: epochs(retrain),
        search_device_seconds: sum(search, |row| row.device_seconds),
        retrain_device_seconds: sum(retrain, |row| row.device_seconds),
        device: machine.device,
        hardware: machine.hardware,
        threads: machine.threads,
        libtorch: machine.libtorch,
        peak_memory_bytes: device::peak_memory(device) as i64,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        finished_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64),
        ..Outcome::default()
    }
}

/// The step that has what a search takes outside of its epochs.
const DECIDING: &str = "deciding";

/// The stages of a trial with their time, in order, the evaluation aside. `device` names every
/// device that the trial ran on.
fn stage_rows(history: &[EpochRow], deciding: Deciding, device: &str) -> Result<Vec<StageRow>> {
    let mut rows: Vec<StageRow> = Vec::new();
    for epoch in history {
        match rows.last_mut().filter(|row| row.stage == epoch.stage) {
            Some(row) => {
                row.epochs += 1;
                row.seconds += epoch.seconds;
                row.device_seconds += epoch.device_seconds;
            }
            None => rows.push(StageRow {
                stage: epoch.stage.clone(),
                epochs: 1,
                seconds: epoch.seconds,
                device_seconds: epoch.device_seconds,
                device: device.to_owned(),
            }),
        }
    }
    if deciding != Deciding::default() {
        let Deciding { seconds, device_seconds } = deciding;
        let row =
            StageRow { stage: Stage::step(DECIDING)?, epochs: 0, seconds, device_seconds, device: device.to_owned() };
        rows.insert(rows.iter().filter(|row| row.stage.is_search()).count(), row);
    }
    Ok(rows)
}
