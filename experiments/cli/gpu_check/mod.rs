//! `litesnn gpu-check`: whether this program computes on a GPU what it promises, and how fast.
//!
//! Each part is caught by itself and ends in one line of JSON, which is written before the next part
//! begins, so that one run says everything that is wrong. Each part has a process of its own unless
//! `--here` is given: a GPU that a fault has stopped answers to no other work of the same process.

mod ceilings;
mod compare;
mod convolutions;
mod copies;
mod device;
mod finding;
mod lines;
mod neurons;
mod nodes;
mod numerics;
mod process;
mod reference;
mod repeat;
mod steps;
mod subject;
mod times;
mod weights;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use litesnn_framework::ground::device as devices;
use serde_json::{Value, json};
use tch::Device;

use crate::arguments::{GpuCheck, GpuPart};
use crate::exit::{Exit, Failure};
use finding::Finding;
use lines::Lines;

/// What every part is handed.
#[derive(Debug, Clone)]
struct Setting {
    device: Device,
    /// The device's model; empty where the driver does not say.
    model: String,
    /// Smaller networks and fewer shapes.
    quick: bool,
}

impl Setting {
    /// Whether the device is hardware, whose times mean something. A device that a test pretends has
    /// no model, or says so in it.
    fn is_hardware(&self) -> bool {
        !self.model.is_empty() && !self.model.to_lowercase().contains("pretended")
    }
}

pub fn gpu_check(options: &GpuCheck) -> Result<Exit, Failure> {
    let begin = Instant::now();
    let mut lines = Lines::open(options.out.as_deref())?;
    let device = match devices::choose(&options.device) {
        Ok(choice) if choice.device != Device::Cpu => choice.device,
        Ok(_) => {
            let message = format!("`gpu-check` checks a GPU, and the device is `{}`", options.device);
            return Err(Failure::new(Exit::Usage, message, Some("use `cuda` or `cuda:N`".to_owned())));
        }
        Err(error) => {
            let message = format!("needs a GPU: {error}");
            lines.write(&json!({ "part": GpuPart::Device.name(), "ok": null, "seconds": 0.0, "message": message }))?;
            return Err(error.into());
        }
    };
    let setting = Setting { device, model: devices::hardware(device), quick: options.quick };
    let parts = if options.parts.is_empty() { GpuPart::ALL.to_vec() } else { options.parts.clone() };
    let mut outcomes = Vec::new();
    for part in parts {
        let line = if options.here { here(part, &setting) } else { process::run(part, options) };
        lines.write(&line)?;
        outcomes.push((part.name(), line["ok"].as_bool()));
    }
    let of = |outcome: Option<bool>| -> Vec<&str> {
        outcomes.iter().filter(|(_, ok)| *ok == outcome).map(|(name, _)| *name).collect()
    };
    let (right, wrong) = (of(Some(true)), of(Some(false)));
    let (ok, exit) = match (wrong.is_empty(), right.is_empty()) {
        (false, _) => (Some(false), Exit::Failed),
        (true, false) => (Some(true), Exit::Done),
        (true, true) => (None, Exit::NothingToCheck),
    };
    lines.write(&json!({
        "part": "summary",
        "ok": ok,
        "seconds": seconds(begin),
        "gpu": setting.model,
        "right": right,
        "wrong": wrong,
        "not_told": of(None),
        "message": "",
    }))?;
    Ok(exit)
}

/// Runs a part in this process. What it panics with is its message.
fn here(part: GpuPart, setting: &Setting) -> Value {
    let begin = Instant::now();
    let work: fn(&Setting) -> Result<Finding, Failure> = match part {
        GpuPart::Device => device::check,
        GpuPart::Numerics => numerics::check,
        GpuPart::Neurons => neurons::check,
        GpuPart::Nodes => nodes::check,
        GpuPart::Weights => weights::check,
        GpuPart::SearchStep => steps::check_search,
        GpuPart::RetrainStep => steps::check_retraining,
        GpuPart::Repeatability => repeat::check,
        GpuPart::BlockingCopies => copies::check,
        GpuPart::Ceilings => ceilings::check,
        GpuPart::NodeTimes => times::check_nodes,
        GpuPart::StepTimes => times::check_steps,
        GpuPart::ConvolutionTimes => convolutions::check,
    };
    let finding = catch_unwind(AssertUnwindSafe(|| work(setting))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Ok(Finding::wrong(text.unwrap_or("unknown failure")))
    });
    let finding = finding.unwrap_or_else(|failure| Finding::wrong(&failure.message()));
    finding.line(part, seconds(begin), setting)
}

fn seconds(begin: Instant) -> f64 {
    (begin.elapsed().as_secs_f64() * 1e3).round() / 1e3
}
