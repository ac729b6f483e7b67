//! `litesnn bench search-step`, `retrain-step` and `evaluate`: what a trial does, beside its
//! convolutions alone.

use std::path::PathBuf;

use litesnn_framework::benchmark::{Benchmark, Work, median};
use litesnn_framework::ground::device;
use litesnn_framework::manifest::{self, Plan, Trial};
use litesnn_framework::network::Design;
use litesnn_framework::spiking::ConvolutionCall;
use litesnn_framework::spiking::Precision;
use serde_json::{Value, json};
use tch::Device;

use super::spread::{largest, least, spread};
use crate::arguments::{Bench, BenchWork};
use crate::bundled;
use crate::exit::{Exit, Failure};

/// What is measured where no manifest is given: the paper's network for CIFAR-10 at its medium
/// scale.
const MANIFEST: &str = "paper/table2-cifar10.toml";
const VARIANT: &str = "medium";
const DESIGN: &str = "designs/lite-snn-medium.toml";
/// Images of a step: few, as where a network of paper scale is measured in seconds.
const BATCH: i64 = 4;

/// The manifest of the command line, or the one that stands for it.
pub fn manifest_of(options: &Bench) -> PathBuf {
    options.manifest.clone().unwrap_or_else(|| bundled::folder().join(MANIFEST))
}

pub fn step(options: &Bench, work: Work, device: Device) -> Result<Value, Failure> {
    let given = options.manifest.is_some();
    let variant = options.variant.as_deref().or((!given).then_some(VARIANT));
    let batch = options.batch.unwrap_or(BATCH);
    let mut request = options.layers.request(manifest_of(options));
    let section = if work == Work::SearchStep { "search" } else { "retrain" };
    request.set.push(format!("{section}.batch_size={batch}"));
    let plan = manifest::load(&request)?;
    manifest::check_device(&plan, &request, device)?;
    let index = trial_of(&plan, variant, work)?;
    let trial = &plan.trials[index];
    let file = match (&options.design, &trial.manifest.design) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(design)) => design.file.clone(),
        (None, None) => (!given).then(|| bundled::folder().join(DESIGN)),
    };
    let mut design = match file {
        _ if work == Work::SearchStep => None,
        Some(file) => Some(Design::read(&file)?),
        None => trial.manifest.written_design(),
    };
    if let (Some(design), Some(timesteps)) = (&mut design, options.timesteps) {
        design.timesteps = timesteps;
    }
    let timesteps = design.as_ref().map_or(trial.manifest.timesteps.max(), |design| design.timesteps);
    let batch = batch as usize;
    let (size, repeats) = (options.size, options.repeats as usize);
    let (save, graphs) = (options.save.clone(), !options.no_graph);
    let benchmark = Benchmark { work, plan: &plan, index, design, batch, size, repeats, device, graphs, save };
    let measured = benchmark.run()?;
    let ratios = measured.ratios();
    if ratios.is_empty() {
        return Err(Failure::internal("no step was measured"));
    }
    let ([channels, height, width], _) = trial.manifest.dataset.form();
    let macs: f64 = measured.calls.iter().map(|call| call.macs()).sum();
    // Forward, and each gradient that the step needs.
    let passes =
        |call: &ConvolutionCall| call.macs() * (1 + call.gradients.iter().filter(|needed| **needed).count()) as f64;
    let (name, images) = match work {
        Work::SearchStep => (BenchWork::SearchStep.name(), format!("step of {batch}")),
        Work::RetrainStep => (BenchWork::RetrainStep.name(), format!("step of {batch}")),
        Work::Evaluate => (BenchWork::Evaluate.name(), format!("batch of {batch} of a split")),
    };
    Ok(json!({
        "work": name,
        "what": format!("{}, {images}", trial.title()),
        "shape": {
            "timesteps": timesteps,
            "batch": batch,
            "image": [channels, size.unwrap_or(height), size.unwrap_or(width)],
            "space": trial.settings["space"],
        },
        "device": device::name(device),
        "threads": tch::get_num_threads(),
        "repeats": ratios.len(),
        "ratio_to_convolutions": median(&ratios),
        "ratio_least": least(&ratios),
        "ratio_largest": largest(&ratios),
        "ratio_to_default_layout": median(&measured.default_ratios()),
        "seconds": spread(&measured.step),
        "convolution_seconds": spread(&measured.convolutions),
        "default_layout_seconds": spread(&measured.default_layout),
        "convolutions": measured.calls.len(),
        "convolutions_in_bf16": measured.calls.iter().filter(|call| call.precision == Precision::Bf16).count(),
        "forward_macs": macs,
        "macs": measured.calls.iter().map(passes).sum::<f64>(),
        "idle_memory_bytes": measured.idle_memory,
        "peak_memory_bytes": measured.peak_memory,
    }))
}

/// The trial of the named variant, or the first that does the work.
fn trial_of(plan: &Plan, variant: Option<&str>, work: Work) -> Result<usize, Failure> {
    let fits = |trial: &Trial| match variant {
        Some(name) => trial.variant == name,
        None => work != Work::SearchStep || trial.manifest.optimizer.is_some(),
    };
    plan.trials.iter().position(fits).ok_or_else(|| {
        let known: Vec<String> = plan.trials.iter().map(|trial| format!("`{}`", trial.variant)).collect();
        let message = match variant {
            Some(name) => format!("there is no variant `{name}`; known are {}", known.join(", ")),
            None => "no trial of the manifest searches".to_owned(),
        };
        Failure::new(Exit::Usage, message, None)
    })
}
