//! The convolutions of steps alone, in both layouts and in every type.

use litesnn_framework::benchmark::Work;
use litesnn_framework::spiking::{ConvolutionCall, ConvolutionFloor};
use serde_json::json;

use super::ceilings::timed;
use super::subject::{Scale, Subject};
use super::times::precisions;
use super::{Finding, Setting};
use crate::exit::Failure;

pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let scale = if setting.is_hardware() { Scale::Paper } else { Scale::Small };
    let batches: &[(Work, &str, i64)] = match (setting.is_hardware(), setting.quick) {
        (true, false) => &[
            (Work::SearchStep, "search", 120),
            (Work::SearchStep, "search", 30),
            (Work::RetrainStep, "retraining", 50),
        ],
        (true, true) => &[(Work::SearchStep, "search", 30)],
        (false, _) => &[(Work::SearchStep, "search", 2)],
    };
    let mut all = Vec::new();
    for (work, name, batch) in batches {
        // The convolutions of a step of two images, with the images of the batch in their place.
        let recorded = Subject::new(scale, *work, &[])?.benchmark(2, 1, setting.device).run()?.calls;
        for precision in precisions(setting) {
            for channels_last in [true, false] {
                let calls: Vec<ConvolutionCall> = recorded
                    .iter()
                    .map(|call| {
                        let mut input = call.input.clone();
                        input[0] = input[0] * batch / 2;
                        ConvolutionCall { input, precision, channels_last, ..call.clone() }
                    })
                    .collect();
                let floor = ConvolutionFloor::new(&calls, setting.device);
                let seconds = timed(setting, || floor.run());
                let operations: f64 = calls.iter().map(passes).sum();
                all.push(json!({
                    "step": name,
                    "batch": batch,
                    "precision": precision.name(),
                    "layout": if channels_last { "channels last" } else { "default" },
                    "milliseconds": seconds * 1e3,
                    "teraflops": 2.0 * operations / seconds / 1e12,
                }));
            }
        }
    }
    finding.figure("convolutions", all);
    finding.of_speed(setting);
    Ok(finding)
}

/// Multiply-accumulates forward, and of each gradient that the step needs.
fn passes(call: &ConvolutionCall) -> f64 {
    call.macs() * (1 + call.gradients.iter().filter(|needed| **needed).count()) as f64
}
