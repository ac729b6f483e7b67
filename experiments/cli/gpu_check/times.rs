//! Times of nodes and of steps, with the steps' convolutions alone beside them.

use std::rc::Rc;

use litesnn_framework::benchmark::{Benchmark, Measured, Work, median};
use litesnn_framework::ground::{Build, Parameters};
use litesnn_framework::spiking::{
    BatchNorm, Currents, Drives, Lif, Neurons, Precision, Statistics, Term, channels_last, node_spikes,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::ceilings::timed;
use super::subject::{Scale, Subject};
use super::{Finding, Setting};
use crate::exit::Failure;

/// Nodes of a search step of 120 images at the paper's scale, one for each resolution: T, B, width
/// of a part, height, operations that it reads.
const NODES: [[i64; 5]; 3] = [[6, 120, 12, 32, 4], [6, 120, 24, 16, 4], [6, 120, 48, 8, 4]];

#[expect(clippy::disallowed_methods, reason = "the time does not depend on the values")]
pub fn check_nodes(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let mut all = Vec::new();
    for [steps, batch, width, height, parts] in NODES {
        let batch = if setting.is_hardware() { batch } else { 1 };
        all.push(node(setting, [steps, batch, width, height, parts]));
    }
    let lif =
        Tensor::randn([6, if setting.is_hardware() { 120 } else { 1 }, 48, 32, 32], (Kind::Float, setting.device));
    let lif = (lif * 0.7 + 0.2).set_requires_grad(true);
    let upstream = lif.rand_like();
    let both = timed(setting, || {
        let spikes = Lif::default().spikes(&lif);
        let _ = Tensor::run_backward(&[(&spikes * &upstream).sum(Kind::Float)], &[&lif], false, false);
    });
    all.push(json!({ "what": "neurons, a product and a sum", "shape": lif.size(), "milliseconds": both * 1e3 }));
    finding.figure("nodes", all);
    finding.of_speed(setting);
    Ok(finding)
}

/// Forward alone, and with the backward pass, of a node with spiking candidates.
#[expect(clippy::disallowed_methods, reason = "the time does not depend on the values")]
fn node(setting: &Setting, shape: [i64; 5]) -> Value {
    let [steps, batch, width, height, parts] = shape;
    let (device, neurons) = (setting.device, Neurons::from(Lif::default()));
    let x = channels_last(&Tensor::randn([steps * batch, parts * width, height, height], (Kind::Float, device)));
    let x = x.detach().set_requires_grad(true);
    let mut parameters = Parameters::default();
    let norm = BatchNorm::new(parts * width, Statistics::EachTimestep, &mut Build::new(&mut parameters, 0, device));
    let alpha = Tensor::full([parts], 0.5, (Kind::Float, device)).set_requires_grad(true);
    let upstream = channels_last(&Tensor::rand([steps * batch, width, height, height], (Kind::Float, device)));
    let forward = || {
        let currents =
            Rc::new(Currents::new(&x, &norm, steps, false, true, Drives::Candidates(&neurons), parts as usize));
        let part = |at: i64| Term::Part { of: currents.clone(), first: at * width, scale: Some(at) };
        let terms: Vec<Term> = (0..parts).map(part).collect();
        node_spikes(&neurons, &terms, width, Some(&alpha), steps, false).0
    };
    let ahead = timed(setting, || drop(forward()));
    let both = timed(setting, || {
        let loss = (forward() * &upstream).sum(Kind::Float);
        let _ = Tensor::run_backward(&[loss], &[&x, &alpha], false, false);
    });
    // What a pass over the map of the convolution takes, at the least.
    let bytes = 4 * x.numel() as i64;
    json!({
        "what": "a node with spiking candidates",
        "shape": { "timesteps": steps, "batch": batch, "width": width, "height": height, "parts": parts },
        "milliseconds_forward": ahead * 1e3,
        "milliseconds": both * 1e3,
        "map_bytes": bytes,
    })
}

pub fn check_steps(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let works: Vec<(Work, &str, usize)> = match (setting.is_hardware(), setting.quick) {
        (true, false) => vec![
            (Work::SearchStep, "search", 120),
            (Work::SearchStep, "search", 30),
            (Work::RetrainStep, "retrain", 50),
            (Work::Evaluate, "retrain", 100),
        ],
        (true, true) => vec![(Work::SearchStep, "search", 30), (Work::RetrainStep, "retrain", 50)],
        (false, _) => vec![(Work::SearchStep, "search", 2), (Work::RetrainStep, "retrain", 2)],
    };
    let scale = if setting.is_hardware() { Scale::Paper } else { Scale::Small };
    let mut all = Vec::new();
    for (work, section, batch) in works {
        for precision in precisions(setting) {
            match step(setting, scale, work, section, batch, precision) {
                Ok(line) => all.push(line),
                Err(failure) => {
                    let message = failure.message();
                    finding.expect(false, || format!("{work:?} of {batch} in {}: {message}", precision.name()));
                }
            }
        }
    }
    finding.figure("scale", scale.name());
    finding.figure("steps", all);
    finding.of_speed(setting);
    Ok(finding)
}

/// The types that the device computes in.
pub fn precisions(setting: &Setting) -> Vec<Precision> {
    let all: &[Precision] = match setting.quick {
        true => &[Precision::F32, Precision::Bf16],
        false => &[Precision::F32, Precision::Tf32, Precision::Bf16],
    };
    all.iter().copied().filter(|precision| precision.is_for(setting.device)).collect()
}

fn step(
    setting: &Setting,
    scale: Scale,
    work: Work,
    section: &str,
    batch: usize,
    precision: Precision,
) -> Result<Value, Failure> {
    let settings = [format!("{section}.precision={}", precision.name()), format!("{section}.batch_size={batch}")];
    let subject = Subject::new(scale, work, &settings)?;
    let repeats = if setting.is_hardware() { 5 } else { 1 };
    let measured = subject.benchmark(batch, repeats, setting.device).run()?;
    let milliseconds = |values: &[f64]| median(values) * 1e3;
    // An evaluation has no graph.
    let plain = match work {
        Work::Evaluate => None,
        _ => Some(Benchmark { graphs: false, ..subject.benchmark(batch, repeats, setting.device) }.run()?),
    };
    let plain = plain.as_ref().map(|Measured { step, .. }| milliseconds(step));
    Ok(json!({
        "work": format!("{work:?}"),
        "batch": batch,
        "precision": precision.name(),
        "milliseconds": milliseconds(&measured.step),
        "milliseconds_without_graph": plain,
        "convolutions_milliseconds": milliseconds(&measured.convolutions),
        "default_layout_milliseconds": milliseconds(&measured.default_layout),
        "ratio": median(&measured.ratios()),
    }))
}

/// Waits for the device.
pub fn wait(device: Device) {
    litesnn_framework::ground::device::synchronise(device);
}
