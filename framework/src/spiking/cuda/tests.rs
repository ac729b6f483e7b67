//! The kernels of a device on the host: the same source, compiled by g++, against the CPU's loops.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use tch::{Device, Kind, Tensor};

use super::super::batch_norm::{BatchNorm, Statistics};
use super::super::lif::Lif;
use super::super::maps::channels_last;
use super::super::neuron::Neurons;
use super::super::node::{Currents, Drives, Term, node_spikes};
use super::{lif_backward, lif_forward, room_for_maps, side_by_side};
use crate::ground::kernel::{host, room};
use crate::ground::{Build, Parameters, Stream};

const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Shapes that end within a block, a tile or a vector: timesteps, images, height, width, channels.
const SHAPES: [[i64; 5]; 6] =
    [[1, 1, 2, 1, 1], [2, 3, 5, 4, 13], [4, 2, 9, 7, 12], [5, 1, 3, 3, 300], [6, 2, 8, 8, 5], [10, 1, 7, 5, 33]];

struct Step {
    spikes: Tensor,
    rate: Tensor,
    /// Of x, alpha, gamma and beta.
    gradients: Vec<Tensor>,
    running: Vec<Tensor>,
}

/// Two nodes on three parts of a convolution; the second reads the first, too.
fn step(shape: [i64; 5], spiking: bool, statistics: Statistics, kernels: bool) -> Step {
    let [steps, images, height, width, channels] = shape;
    let mut stream = Stream::open(7, "cuda/tests", 0);
    let mut random =
        |channels: i64| channels_last(&(stream.normal(&[steps * images, channels, height, width]) * 0.6 + 0.3));
    let x = random(3 * channels).set_requires_grad(true);
    let upstream = random(2 * channels);
    let alpha = stream.uniform(&[5], 0.2, 1.2).set_requires_grad(true);
    let mut parameters = Parameters::default();
    let norm = BatchNorm::new(3 * channels, statistics, &mut Build::new(&mut parameters, 0, Device::Cpu));
    let neurons = Neurons::from(Lif::default());
    let drives = if spiking { Drives::Candidates(&neurons) } else { Drives::Nodes(&neurons) };
    let make = if kernels { Currents::by_kernels } else { Currents::new };
    let currents = Rc::new(make(&x, &norm, steps, false, true, drives, 3));
    let part = |part: i64, scale: i64| Term::Part { of: currents.clone(), first: part * channels, scale: Some(scale) };
    let spikes = |terms: &[Term], measure| node_spikes(&neurons, terms, channels, Some(&alpha), steps, measure);
    let (first, rate) = spikes(&[part(0, 0), part(2, 4)], true);
    let (second, _) = spikes(&[Term::Spikes { spikes: first.shallow_clone(), scale: Some(1) }, part(1, 2)], false);
    let spikes = Tensor::cat(&[first, second], 1);
    (&spikes * upstream).sum(Kind::Float).backward();
    let mut gradients = vec![x.grad(), alpha.grad()];
    gradients.extend(parameters.trainable().iter().map(|parameter| parameter.tensor.grad()));
    let running = parameters.buffers().iter().map(|(_, buffer)| buffer.copy()).collect();
    Step { spikes, rate: rate.expect("it was asked for"), gradients, running }
}

fn close(got: &Tensor, want: &Tensor, what: &str) {
    let scale = want.abs().max().double_value(&[]).max(1.0);
    let error = (got - want).abs().max().double_value(&[]);
    assert!(error < 2e-5 * scale, "{what}: {error}, largest value {scale}");
}

#[test]
fn a_node_on_a_device_is_that_on_the_cpu_for_every_shape() {
    for shape in SHAPES {
        for (spiking, statistics) in
            [(true, Statistics::EachTimestep), (false, Statistics::EachTimestep), (false, Statistics::AllTimesteps)]
        {
            let what = format!("{shape:?}, candidates {spiking}, {statistics:?}");
            let [got, want] = [true, false].map(|kernels| step(shape, spiking, statistics, kernels));
            assert!(got.spikes.equal(&want.spikes), "{what}");
            close(&got.rate, &want.rate, &what);
            for (index, (got, want)) in got.gradients.iter().zip(&want.gradients).enumerate() {
                close(got, want, &format!("{what}, gradient {index}"));
            }
            got.running.iter().zip(&want.running).for_each(|(got, want)| close(got, want, &what));
        }
    }
}

/// Guards against a sum whose order depends on the threads, and against a thread that reads what
/// another one writes.
#[test]
fn the_order_of_threads_changes_no_bit() {
    let run = |order: i32| {
        host::ORDER.store(order, Ordering::Relaxed);
        let step = step(SHAPES[2], true, Statistics::EachTimestep, true);
        host::ORDER.store(0, Ordering::Relaxed);
        [vec![step.spikes, step.rate], step.gradients, step.running].concat_all()
    };
    let forward = run(0);
    for order in [1, 2] {
        assert!(forward.iter().zip(run(order)).all(|(a, b)| a.equal(&b)), "order {order}");
    }
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Tensor>;
}

impl ConcatAll for [Vec<Tensor>; 3] {
    fn concat_all(self) -> Vec<Tensor> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn neurons_on_a_device_are_those_on_the_cpu() {
    let neuron = Lif { threshold: 0.7, ..Lif::default() };
    for steps in 1..=10i64 {
        for constant in [false, true] {
            let shape = if constant { vec![5, 131] } else { vec![steps, 5, 131] };
            let mut stream = Stream::open(steps.cast_unsigned(), "cuda/neurons", 0);
            let x = (stream.normal(&shape) * 0.7 + 0.2).set_requires_grad(true);
            let upstream = stream.normal(&[steps, 5, 131]);
            let want = if constant { neuron.spikes_of_constant(&x, steps) } else { neuron.spikes(&x) };
            (&want * &upstream).sum(Kind::Float).backward();
            let (spikes, gradient) = (room(&[steps, 5, 131], OPTIONS), room(&shape, OPTIONS));
            lif_forward(&neuron, &x.detach(), &spikes, constant);
            lif_backward(&neuron, &upstream, &x.detach(), &gradient, constant);
            let what = format!("{steps} timesteps, constant {constant}");
            assert!(spikes.equal(&want), "{what}");
            close(&gradient, &x.grad(), &what);
        }
    }
}

#[test]
fn maps_side_by_side_are_their_concatenation() {
    for (number, widths) in [&[3][..], &[5, 1, 12], &[2; 9], &[200, 90]].into_iter().enumerate() {
        let mut stream = Stream::numbered(number as u64);
        let maps: Vec<Tensor> = widths.iter().map(|width| channels_last(&stream.normal(&[3, *width, 5, 4]))).collect();
        let want = Tensor::cat(&maps, 1);
        let together = room_for_maps(&want.size(), OPTIONS);
        side_by_side(&maps, widths, &together);
        assert!(together.equal(&want), "{widths:?}");
    }
}

#[test]
fn kernels_stay_within_their_tensors() {
    host::again_under_the_address_sanitizer("spiking::cuda::tests::");
}
