//! Blocking copies and reads in a steady step: how often the host waits for the device.

use litesnn_framework::benchmark::{Benchmark, Work};
use serde_json::json;

use super::subject::{Scale, Subject};
use super::{Finding, Setting};
use crate::exit::Failure;

/// Steps that are counted: fewer than those after which a trial reads its loss.
const STEPS: usize = 8;

pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let scale = if setting.is_hardware() { Scale::Paper } else { Scale::Small };
    for (work, name) in [(Work::SearchStep, "search"), (Work::RetrainStep, "retraining")] {
        let subject = Subject::new(scale, work, &[])?;
        // A graph waits for nothing: it is recorded from steps that do not.
        let benchmark = Benchmark { graphs: false, ..subject.benchmark(4, STEPS, setting.device) };
        match benchmark.waits()? {
            Some(waits) => {
                let most = waits.iter().copied().max().unwrap_or_default();
                finding.expect(most == 0, || format!("the host waits {most} times in a step of {name}"));
                finding.figure(name, json!({ "scale": scale.name(), "waits_by_step": waits }));
            }
            None => {
                finding.leave_open("needs a GPU: libtorch does not tell where it waits (it has no sync debug mode)")
            }
        }
    }
    Ok(finding)
}
