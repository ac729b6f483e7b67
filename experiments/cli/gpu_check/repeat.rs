//! Twenty steps twice, and once more operation by operation: the same bits in every tensor of the
//! network and of its descents.

use litesnn_framework::benchmark::{Benchmark, Work};
use serde_json::json;

use super::compare::poison;
use super::subject::{Scale, Subject};
use super::{Finding, Setting};
use crate::exit::Failure;

const STEPS: usize = 20;

pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let mut digests = Vec::new();
    let paper = setting.is_hardware().then_some((Scale::Paper, if setting.quick { 8 } else { 30 }));
    for (scale, batch) in [(Scale::Small, 8)].into_iter().chain(paper) {
        for (work, name) in [(Work::SearchStep, "search"), (Work::RetrainStep, "retraining")] {
            let subject = Subject::new(scale, work, &[])?;
            let steps = if scale == Scale::Paper && setting.quick { STEPS / 4 } else { STEPS };
            let benchmark = subject.benchmark(batch, steps, setting.device);
            let first = benchmark.digest()?;
            poison(setting.device);
            let second = benchmark.digest()?;
            let plain = Benchmark { graphs: false, ..benchmark }.digest()?;
            finding.expect(first == second, || {
                format!("{steps} steps of {name} ({}) are not the same twice", scale.name())
            });
            finding.expect(first == plain, || {
                format!(
                    "{steps} steps of {name} ({}) are not the same as a graph and operation by operation",
                    scale.name()
                )
            });
            digests.push(json!({ "scale": scale.name(), "work": name, "steps": steps, "digests": [first, second], "without_graph": plain }));
        }
    }
    finding.figure("digests", digests);
    Ok(finding)
}
