//! Compressed weights by kernels, against the same by tensor operations on the CPU.

use litesnn_framework::Result;
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::{
    CompressedWeight, Compressor, Decisions, Formula, LayerSpec, Level, Pass, Place, Technique, Techniques,
    WeightTransform,
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::counting::counted;

const CUDA: Device = Device::Cuda(0);
const BOTH: [Device; 2] = [Device::Cpu, CUDA];

/// Distances and largest levels of 1, 2 and 4 bits.
const LEVELS: [(f64, f64); 3] = [(1.596, 0.5), (0.996, 1.5), (0.336, 7.5)];

/// A mixture of the last of the levels, as many as `forms`, by operations and by its formula.
#[derive(Debug, Serialize, Deserialize)]
struct Mixed {
    forms: usize,
}

/// The largest scores, of which a fraction stays, by operations and by their formula.
#[derive(Debug, Serialize, Deserialize)]
struct Scored {
    kept: f64,
}

#[typetag::serde(name = "mixed-of-a-test")]
impl Compressor for Mixed {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        _weight: &Tensor,
        _decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let (group, count) = (layer.place.group(), self.forms as i64);
        let logits = || {
            let mut root = build.root();
            root.at(&group).parameter("logits", Role::BitLogit, |stream| stream.normal(&[count]))
        };
        let logits = (count > 1).then(logits);
        Ok(Box::new(Mixture { levels: LEVELS[3 - self.forms..].into(), logits }))
    }
}

#[typetag::serde(name = "scored-of-a-test")]
impl Compressor for Scored {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn attach(
        &self,
        _layer: &LayerSpec,
        weight: &Tensor,
        _decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        // With ties.
        let scores = build.parameter_like("scores", Role::Score, weight, || (weight * 4.0).round());
        let kept = (self.kept * weight.numel() as f64) as i64;
        Ok(Box::new(Largest { scores, kept }))
    }
}

struct Mixture {
    levels: Vec<(f64, f64)>,
    logits: Option<Tensor>,
}

struct Largest {
    scores: Tensor,
    kept: i64,
}

/// The standard deviation, a scalar.
fn deviation(values: &Tensor) -> Tensor {
    values.to_kind(Kind::Double).std(true).to_kind(Kind::Float)
}

/// Zero, with the gradient of `tensor`.
fn straight_through(tensor: &Tensor) -> Tensor {
    tensor - tensor.detach()
}

impl WeightTransform for Mixture {
    fn transform(&self, weight: &Tensor) -> Tensor {
        assert_eq!(weight.device(), Device::Cpu, "a device has kernels for it");
        let values = weight.detach();
        let probabilities = self.logits.as_ref().map(|logits| logits.softmax(0, Kind::Float));
        let mut mixed = straight_through(weight);
        for (form, (unit, limit)) in self.levels.iter().enumerate() {
            let step = deviation(&values) * *unit;
            let levels = ((&values / &step + 0.5).round() - 0.5).clamp(-limit, *limit) * step;
            mixed += match &probabilities {
                Some(probabilities) => levels * probabilities.get(form as i64),
                None => levels,
            };
        }
        mixed
    }

    fn step(&self, weight: &Tensor) -> Option<Tensor> {
        let &[(unit, _)] = self.levels.as_slice() else { return None };
        Some(deviation(&weight.detach()) * unit)
    }

    fn formula(&self) -> Option<Formula> {
        let levels = self.levels.iter().map(|&(unit, limit)| Level { unit, limit }).collect();
        Some(Formula::Levels { logits: self.logits.as_ref().map(Tensor::shallow_clone), levels })
    }
}

impl WeightTransform for Largest {
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        let flat = self.scores.detach().flatten(0, -1);
        let (_, order) = flat.abs().sort_stable(true, 0, true);
        let mask = flat.zeros_like().index_fill(0, &order.narrow(0, 0, self.kept), 1.0).view_as(&self.scores);
        Some(mask + straight_through(&self.scores) * self.scores.sign().detach())
    }

    fn formula(&self) -> Option<Formula> {
        Some(Formula::Largest { scores: self.scores.shallow_clone(), kept: self.kept, learned: true })
    }
}

/// Layers of `widths` that read 5 channels, and all their parameters.
fn layers(widths: &[i64], (forms, kept): (usize, f64), device: Device) -> (Vec<CompressedWeight>, Parameters) {
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 1, device);
    let (mixed, scored) = (Mixed { forms }, Scored { kept });
    let all = widths.iter().enumerate().map(|(number, &width)| {
        let layer = LayerSpec { name: format!("layer{number}"), place: Place::Cell(number / 3), population: None };
        let compressors: [(&str, &dyn Compressor); 2] = [("mixed", &mixed), ("scored", &scored)];
        let init = |stream: &mut Stream| stream.normal(&[width, 5, 3, 3]);
        let mut at = build.at(&layer.name);
        CompressedWeight::new(layer, init, compressors, &Default::default(), true, &mut at).unwrap()
    });
    let all = all.collect();
    (all, parameters)
}

/// The stacked weights, and the gradients to all parameters.
fn stacked(all: &[CompressedWeight], parameters: &Parameters, active: Techniques) -> Vec<Tensor> {
    let references: Vec<&CompressedWeight> = all.iter().collect();
    let weight = Pass { active, ..Pass::new(1) }.stacked_weights(&references);
    let upstream = Stream::open(2, "upstream", 0).normal(&weight.size()).to_device(weight.device());
    parameters.zero_grad();
    (&weight * upstream).sum(Kind::Float).backward();
    let gradients = parameters.trainable().iter().map(|parameter| parameter.tensor.grad());
    let gradients = gradients.map(|gradient| if gradient.defined() { gradient.copy() } else { gradient });
    std::iter::once(weight.detach()).chain(gradients).collect()
}

fn assert_close(what: &str, cpu: &[Tensor], device: &[Tensor]) {
    assert_eq!(cpu.len(), device.len());
    for (number, (cpu, device)) in cpu.iter().zip(device).enumerate() {
        assert_eq!(cpu.defined(), device.defined(), "{what}, {number}");
        if cpu.defined() {
            let largest = cpu.abs().max().double_value(&[]).max(1e-6);
            let difference = (cpu - device.to_device(Device::Cpu)).abs().max().double_value(&[]) / largest;
            assert!(difference <= 2e-5, "{what}, {number}: {difference}");
        }
    }
}

/// Values and gradients of groups of odd sizes, more weights than a launch takes among them.
pub fn values() {
    let many: Vec<i64> = (1..=19).collect();
    for widths in [&[7][..], &[3, 1, 130], &many] {
        for kept in [0.0, 0.3, 1.0] {
            let prune = Techniques::only(Technique::Prune);
            for (forms, active) in [(3, Techniques::ALL), (1, Techniques::ALL), (3, Techniques::NONE), (3, prune)] {
                let [cpu, device] = BOTH.map(|device| {
                    let (all, parameters) = layers(widths, (forms, kept), device);
                    let mut values = stacked(&all, &parameters, active);
                    let references: Vec<&CompressedWeight> = all.iter().collect();
                    let steps = Pass { active, ..Pass::new(1) }.steps(&references);
                    assert_eq!(steps.is_some(), forms == 1, "steps of one form");
                    values.extend(steps);
                    values
                });
                assert_close(&format!("{widths:?}, {kept} kept, {forms} forms, {active:?}"), &cpu, &device);
            }
        }
    }
}

/// A mask follows its scores, and is found again only where they have changed.
pub fn scores() {
    let [cpu, device] = BOTH.map(|device| layers(&[4, 6], (3, 0.3), device));
    for step in 0..3 {
        let run = |(all, parameters): &(Vec<CompressedWeight>, Parameters)| stacked(all, parameters, Techniques::ALL);
        assert_close(&format!("step {step}"), &run(&cpu), &run(&device));
        for (_, parameters) in [&cpu, &device] {
            for parameter in parameters.trainable().iter().filter(|parameter| parameter.role == Role::Score) {
                let moved = parameter.tensor.detach().flip([0]) + step as f64;
                tch::no_grad(|| parameter.tensor.shallow_clone().copy_(&moved));
            }
        }
    }
}

/// Kernels that a pass launches, and gradients that nobody wants are not computed.
pub fn launches() {
    let (all, parameters) = layers(&[4, 6, 8], (3, 0.3), CUDA);
    let references: Vec<&CompressedWeight> = all.iter().collect();
    let launched = |roles: &[Role]| {
        for parameter in parameters.trainable() {
            let _ = parameter.tensor.set_requires_grad(roles.contains(&parameter.role));
        }
        let counts = counted(|| {
            let weight = Pass::new(1).stacked_weights(&references);
            let upstream = weight.ones_like();
            (weight * upstream).sum(Kind::Float).backward();
        });
        let kernels = counts.operators().into_iter().filter(|(name, _)| name.starts_with("kernel "));
        kernels.map(|(name, count)| (name["kernel ".len()..].to_owned(), count)).collect::<Vec<_>>()
    };
    let of = |names: &[(&str, u64)]| names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>();
    let pass = [("weight_sums", 1), ("weights_backward", 1), ("weights_forward", 1)];
    let first = launched(&[Role::Weight]);
    assert_eq!(first, of(&[&[("count_digits", 3), ("find_bounds", 1)], &pass[..]].concat()));
    let second = launched(&[Role::Score, Role::BitLogit]);
    assert_eq!(second, of(&[&[("logits_backward", 1)], &pass[..]].concat()));
}
