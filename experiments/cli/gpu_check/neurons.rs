//! Layers of neurons on the device, beside the CPU's kernel and beside f64 by tensor operations.

use litesnn_framework::ground::Stream;
use litesnn_framework::spiking::{Dspike, Lif};
use tch::{Device, Kind, Tensor};

use super::compare::{distance, poison, share_that_differs};
use super::{Finding, Setting};
use crate::exit::Failure;

/// Neurons of one timestep: odd numbers, tails of vectors and of blocks, one alone.
const SHAPES: [&[i64]; 5] = [&[1], &[3, 7], &[2, 5, 9, 11], &[257], &[4, 48, 17, 13]];

pub fn check(setting: &Setting) -> Result<Finding, Failure> {
    let mut finding = Finding::default();
    let (mut cases, mut worst, mut flipped) = (0, 0f64, 0f64);
    let timesteps: Vec<i64> = if setting.quick { vec![1, 2, 6] } else { (1..=10).collect() };
    for steps in timesteps {
        for (index, shape) in SHAPES.into_iter().enumerate() {
            for constant in [false, true] {
                let threshold = [0.5, 1.0, 0.3][index % 3];
                let neuron = Lif { threshold, surrogate: Dspike { temperature: 3.0 }, ..Lif::default() };
                let case = Case { neuron, steps, shape, constant };
                let (got, cpu, exact) =
                    (case.run(setting.device, Kind::Float), case.here(Kind::Float), case.here(Kind::Double));
                let name = format!("T = {steps}, {shape:?}, constant {constant}, threshold {threshold}");
                // The currents are the same bits, and so have to be the spikes.
                let different = share_that_differs(&got.spikes, &cpu.spikes);
                finding.expect(different == 0.0, || format!("{name}: {different:.1e} of the spikes are not the CPU's"));
                let apart = distance(&got.gradient, &cpu.gradient);
                finding.expect(apart < 1e-5, || format!("{name}: gradients are {apart:.1e} from the CPU's"));
                // A potential at the threshold to a rounding may fall on either side in f64.
                let from_exact = share_that_differs(&got.spikes, &exact.spikes);
                if from_exact == 0.0 {
                    let apart = distance(&got.gradient, &exact.gradient);
                    finding.expect(apart < 1e-5, || format!("{name}: gradients are {apart:.1e} from those of f64"));
                    worst = worst.max(apart);
                }
                finding.expect(from_exact < 1e-3, || {
                    format!("{name}: {from_exact:.1e} of the spikes are not those of f64")
                });
                (cases, flipped) = (cases + 1, flipped.max(from_exact));
            }
        }
    }
    finding.of_kernels(setting);
    finding.figure("cases", cases);
    finding.figure("gradient_from_f64", worst);
    finding.figure("spikes_not_of_f64", flipped);
    Ok(finding)
}

struct Case<'a> {
    neuron: Lif,
    steps: i64,
    shape: &'a [i64],
    constant: bool,
}

struct Outcome {
    spikes: Tensor,
    gradient: Tensor,
}

impl Case<'_> {
    fn here(&self, kind: Kind) -> Outcome {
        self.run(Device::Cpu, kind)
    }

    fn run(&self, device: Device, kind: Kind) -> Outcome {
        let all = [&[self.steps], self.shape].concat();
        let mut stream = Stream::open(5, "gpu-check/neurons", 0);
        let mut random = |shape: &[i64]| stream.normal(shape) * 0.7 + self.neuron.threshold - 0.3;
        let current = random(if self.constant { self.shape } else { &all });
        let upstream = random(&all).to_kind(kind).to_device(device);
        let current = current.to_kind(kind).to_device(device).set_requires_grad(true);
        if device != Device::Cpu {
            poison(device);
        }
        let spikes = match self.constant {
            true => self.neuron.spikes_of_constant(&current, self.steps),
            false => self.neuron.spikes(&current),
        };
        (&spikes * upstream).sum(kind).backward();
        Outcome { spikes, gradient: current.grad() }
    }
}
