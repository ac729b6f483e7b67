//! A step of a search and one of retraining on the device, beside the CPU's: logits, loss and all
//! gradients.
//!
//! Rounding moves a potential across its threshold now and then, and a spike more or less changes
//! all that follows. A small network has few neurons: for one seed of a few, nothing but roundings
//! may differ. A network of the paper's scale has millions, so that it has a measure beside it: the
//! same step on the CPU with each parameter changed as rounding might. A device may be a few times
//! as far from the CPU as that.
//!
//! Gradients are compared role by role, and tensor by tensor within a role: a small tensor that is
//! wholly wrong is nothing beside the norm of all. The distance of one is relative to its own norm,
//! or to that of a gradient of the same size at a hundredth of the role's root mean square, if that
//! is more ([`FLOOR`]). For what rounds a gradient are the terms of its sum, which are as large in
//! every tensor of a role: where they cancel, the error stays, and the norm does not.

use litesnn_framework::benchmark::{Gradients, Work};
use litesnn_framework::ground::Role;
use serde_json::{Map, Value, json};
use tch::{Device, Tensor};

use super::compare::{distance, distance_over, norm, poison};
use super::subject::{Scale, Subject};
use super::{Finding, Setting};
use crate::exit::Failure;

/// The part by which parameters are changed, about that of four roundings.
const NUDGE: f64 = 5e-7;
/// Where the device is as near as this, rounding moved no spike.
const NEAR: f64 = 1e-4;
/// The same for each gradient alone, whose error is not averaged over others.
const NEAR_EACH: f64 = 1e-3;
/// The root mean square below which a gradient is judged as if it had this one, as a part of that
/// of all gradients of its role. Roundings of 1e-7 of the terms are 1e-5 of it, below
/// [`NEAR_EACH`]; and zeros in the place of a gradient are seen down to 1e-5 of the role's.
const FLOOR: f64 = 1e-2;
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
        near |= apart.is_near();
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
    /// By role, the gradient of the device that is farthest: its name, and how far.
    farthest: Vec<(String, String, [f64; 2])>,
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
    let mut farthest = Vec::new();
    for role in Role::ALL {
        if want.of.iter().any(|(_, of, _)| *of == role) {
            tensors.push((format!("{role:?}"), others.map(|other| of_role(other, &want, role))));
            let [device, nudged] = others.map(|other| farthest_of_role(other, &want, role));
            farthest.push((format!("{role:?}"), device.0, [device.1, nudged.1]));
        }
    }
    let missing = want.of.iter().filter(|(name, ..)| !got.of.iter().any(|(other, ..)| other == name)).count();
    Ok(Apart { loss, tensors, farthest, missing })
}

/// The distance of all gradients of a role together.
fn of_role(got: &Gradients, want: &Gradients, role: Role) -> f64 {
    let flat = |all: &Gradients| {
        let tensors: Vec<_> =
            all.of.iter().filter(|(_, of, _)| *of == role).map(|(_, _, tensor)| tensor.flatten(0, -1)).collect();
        Tensor::cat(&tensors, 0)
    };
    if !got.of.iter().any(|(_, of, _)| *of == role) {
        return f64::INFINITY;
    }
    distance(&flat(got), &flat(want))
}

/// The gradient of a role that is farthest from what it should be, by [`FLOOR`]: its name, and how
/// far.
fn farthest_of_role(got: &Gradients, want: &Gradients, role: Role) -> (String, f64) {
    let all = || want.of.iter().filter(|(_, of, _)| *of == role);
    let squares: f64 = all().map(|(.., tensor)| norm(tensor).powi(2)).sum();
    let count: usize = all().map(|(.., tensor)| tensor.numel()).sum();
    let root_mean_square = (squares / count.max(1) as f64).sqrt();
    let apart = |(name, _, want): &(String, Role, Tensor)| {
        let floor = (FLOOR * root_mean_square * (want.numel() as f64).sqrt()).max(f64::MIN_POSITIVE);
        let got = got.of.iter().find(|(other, ..)| other == name);
        (name.clone(), got.map_or(f64::INFINITY, |(.., got)| distance_over(got, want, floor)))
    };
    all().map(apart).max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap_or_default()
}

impl Apart {
    /// Whether rounding moved no spike.
    fn is_near(&self) -> bool {
        let near = |[device, _]: &[f64; 2], limit: f64| *device < limit;
        near(&self.loss, NEAR)
            && self.tensors.iter().all(|(_, apart)| near(apart, NEAR))
            && self.farthest.iter().all(|(.., apart)| near(apart, NEAR_EACH))
    }

    fn judge(&self, finding: &mut Finding) {
        let together = self.tensors.iter().map(|(name, apart)| (name.as_str(), apart, NEAR));
        let each = self.farthest.iter().map(|(_, name, apart)| (name.as_str(), apart, NEAR_EACH));
        for (name, [device, nudged], near) in together.chain(each).chain([("loss", &self.loss, NEAR)]) {
            let limit = (nudged * TIMES).max(near);
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
        let farthest = self.farthest.iter().map(|(role, name, [device, nudged])| {
            (role.clone(), json!({ "tensor": name, "device": device, "nudged": nudged }))
        });
        all.insert("farthest".to_owned(), farthest.collect());
        all.insert("loss".to_owned(), pair(self.loss));
        Value::Object(all)
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// Guards against a distance of all gradients together, in which a small tensor is lost.
    #[test]
    fn a_small_gradient_that_is_wholly_wrong_is_seen_and_named() {
        let options = (Kind::Float, Device::Cpu);
        let of = |small: f64| Gradients {
            loss: 1.0,
            logits: Tensor::zeros([1], options),
            of: vec![
                ("large".to_owned(), Role::Weight, Tensor::ones([1000], options)),
                ("small".to_owned(), Role::Weight, Tensor::full([2], small, options)),
            ],
        };
        let (want, wrong) = (of(1e-4), of(-1e-4));
        assert!(of_role(&wrong, &want, Role::Weight) < NEAR);
        let (name, apart) = farthest_of_role(&wrong, &want, Role::Weight);
        // Twice its norm, over that of two values of a hundredth.
        assert!(name == "small" && (apart - 2e-2).abs() < 1e-4, "{name}: {apart}");
        assert_eq!(farthest_of_role(&want, &want, Role::Weight).1, 0.0);
        let lacks = Gradients { of: vec![of(0.0).of.remove(0)], ..of(0.0) };
        assert_eq!(farthest_of_role(&lacks, &want, Role::Weight), ("small".to_owned(), f64::INFINITY));
    }
}
