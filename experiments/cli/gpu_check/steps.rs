//! A step of a search and one of retraining on the device, beside the CPU's: logits, loss and all
//! gradients.
//!
//! Rounding moves a potential across its threshold now and then, and a spike more or less changes
//! all that follows. A small network has few neurons: for one seed of a few, nothing but roundings
//! may differ. A network of the paper's scale has millions, so that it has a measure beside it: the
//! same step on the CPU with each parameter changed as rounding might. A device may be a few times
//! as far from the CPU as that.

use litesnn_framework::benchmark::{Gradients, Work};
use litesnn_framework::ground::Role;
use serde_json::{Map, Value, json};
use tch::Device;

use super::compare::{distance, poison};
use super::subject::{Scale, Subject};
use super::{Finding, Setting};
use crate::exit::Failure;

/// The part by which parameters are changed, about that of four roundings.
const NUDGE: f64 = 5e-7;
/// Where the device is as near as this, rounding moved no spike.
const NEAR: f64 = 1e-4;
/// How much farther than the changed step the device may be.
const TIMES: f64 = 8.0;
const SEEDS: u64 = 4;

pub fn check_search(setting: &Setting) -> Result<Finding, Failure> {
    check(setting, Work::SearchStep)
}

pub fn check_retraining(setting: &Setting) -> Result<Finding, Failure> {
    check(setting, Work::RetrainStep)
}

fn check(setting: &Setting, work: Work) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let mut near = false;
    let mut by_seed = Vec::new();
    for seed in 0..SEEDS {
        let apart = compare(setting, work, Scale::Small, 6, seed)?;
        near |= apart.largest() < NEAR;
        by_seed.push(apart.figures());
        let missing = apart.missing;
        finding.expect(missing == 0, || format!("the small network, seed {seed}, lacks {missing} gradients"));
        if near && setting.quick {
            break;
        }
    }
    finding.expect(near, || "the small network is not the CPU's for any seed".to_owned());
    finding.figure("small", by_seed);
    if setting.is_hardware() || !setting.quick {
        let apart = compare(setting, work, Scale::Paper, 2, 0)?;
        finding.figure("paper", apart.figures());
        apart.judge(&mut finding);
    }
    Ok(finding)
}

/// How far the device's step is from the CPU's, and a changed step of the CPU.
struct Apart {
    loss: [f64; 2],
    /// By role, and of the logits.
    tensors: Vec<(String, [f64; 2])>,
    missing: usize,
}

fn compare(setting: &Setting, work: Work, scale: Scale, batch: usize, seed: u64) -> Result<Apart, Failure> {
    let subject = Subject::new(scale, work, &[format!("experiment.seeds=[{seed}]")])?;
    let run = |device: Device, nudge: f64| subject.benchmark(batch, 1, device).gradients(nudge);
    let (want, nudged) = (run(Device::Cpu, 0.0)?, run(Device::Cpu, NUDGE)?);
    poison(setting.device);
    let got = run(setting.device, 0.0)?;
    let others = [&got, &nudged];
    let loss = others.map(|other| (other.loss - want.loss).abs() / want.loss.abs());
    let mut tensors = vec![("logits".to_owned(), others.map(|other| distance(&other.logits, &want.logits)))];
    for role in Role::ALL {
        if want.of.iter().any(|(_, of, _)| *of == role) {
            tensors.push((format!("{role:?}"), others.map(|other| of_role(other, &want, role))));
        }
    }
    let missing = want.of.iter().filter(|(name, ..)| !got.of.iter().any(|(other, ..)| other == name)).count();
    Ok(Apart { loss, tensors, missing })
}

/// The distance of all gradients of a role together.
fn of_role(got: &Gradients, want: &Gradients, role: Role) -> f64 {
    let flat = |all: &Gradients| {
        let tensors: Vec<_> =
            all.of.iter().filter(|(_, of, _)| *of == role).map(|(_, _, tensor)| tensor.flatten(0, -1)).collect();
        tch::Tensor::cat(&tensors, 0)
    };
    if !got.of.iter().any(|(_, of, _)| *of == role) {
        return f64::INFINITY;
    }
    distance(&flat(got), &flat(want))
}

impl Apart {
    fn largest(&self) -> f64 {
        self.tensors.iter().map(|(_, [device, _])| *device).fold(self.loss[0], f64::max)
    }

    fn judge(&self, finding: &mut Finding) {
        let all = self.tensors.iter().map(|(name, apart)| (name.as_str(), apart)).chain([("loss", &self.loss)]);
        for (name, [device, nudged]) in all {
            let limit = (nudged * TIMES).max(NEAR);
            finding.expect(*device <= limit, || {
                format!("paper's scale: {name} is {device:.1e} from the CPU's, and a change of {NUDGE:.0e} makes {nudged:.1e}")
            });
        }
        finding.expect(self.missing == 0, || format!("paper's scale: {} gradients are missing", self.missing));
    }

    fn figures(&self) -> Value {
        let pair = |[device, nudged]: [f64; 2]| json!({ "device": device, "nudged": nudged });
        let mut all: Map<String, Value> =
            self.tensors.iter().map(|(name, apart)| (name.clone(), pair(*apart))).collect();
        all.insert("loss".to_owned(), pair(self.loss));
        Value::Object(all)
    }
}
