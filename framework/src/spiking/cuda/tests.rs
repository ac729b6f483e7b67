//! The kernels of a device on the host: the same source, compiled by g++, against the CPU's loops.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::super::batch_norm::{BatchNorm, Statistics};
use super::super::convolution::Convolved;
use super::super::function::custom_function;
use super::super::lif::Lif;
use super::super::maps::channels_last;
use super::super::neuron::Neurons;
use super::super::node::{Currents, Drives, Term, node_spikes};
use super::{lif_backward, lif_forward, room_for_maps, side_by_side};
use crate::ground::kernel::{Argument, Kernel, host, room};
use crate::ground::{Build, Parameters, Stream};

const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Shapes that end within a block, a tile or a vector: timesteps, images, height, width, channels.
const SHAPES: [[i64; 5]; 10] = [
    [1, 1, 2, 1, 1],
    [2, 3, 5, 4, 13],
    [3, 1, 4, 3, 17],
    [4, 2, 9, 7, 12],
    [5, 1, 3, 3, 300],
    [6, 2, 8, 8, 5],
    [7, 2, 3, 5, 9],
    [8, 1, 5, 2, 7],
    [9, 1, 2, 3, 21],
    [10, 1, 7, 5, 33],
];

/// How the convolution of two nodes drives them.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// Candidates have neurons of their own.
    spiking: bool,
    statistics: Statistics,
    /// Its output is the same at every timestep.
    constant: bool,
    /// By the statistics of its output, else by running ones.
    training: bool,
}

const FORMS: [Form; 7] = [
    Form { spiking: true, statistics: Statistics::EachTimestep, constant: false, training: true },
    Form { spiking: false, statistics: Statistics::EachTimestep, constant: false, training: true },
    Form { spiking: false, statistics: Statistics::AllTimesteps, constant: false, training: true },
    Form { spiking: true, statistics: Statistics::EachTimestep, constant: true, training: true },
    Form { spiking: false, statistics: Statistics::AllTimesteps, constant: true, training: true },
    Form { spiking: true, statistics: Statistics::EachTimestep, constant: false, training: false },
    Form { spiking: false, statistics: Statistics::AllTimesteps, constant: true, training: false },
];

struct Step {
    spikes: Tensor,
    rate: Tensor,
    /// Of x, alpha, gamma and beta.
    gradients: Vec<Tensor>,
    running: Vec<Tensor>,
}

/// How a convolution's output arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Arrives {
    InF32,
    /// In bf16 and over its steps: powers of two, by which nothing is rounded.
    OverSteps,
}

/// Two nodes on three parts of a convolution; the second reads the first, too.
fn step(shape: [i64; 5], form: Form, arrives: Arrives, kernels: bool) -> Step {
    let [steps, images, height, width, channels] = shape;
    let Form { spiking, statistics, constant, training } = form;
    let mut stream = Stream::open(7, "cuda/tests", 0);
    let mut random = |maps: i64, channels: i64| {
        channels_last(&(stream.normal(&[maps * images, channels, height, width]) * 0.6 + 0.3))
    };
    let x = random(if constant { 1 } else { steps }, 3 * channels);
    let (x, over) = match arrives {
        Arrives::InF32 => (x, None),
        Arrives::OverSteps => {
            let over: Vec<f32> = (0..3 * channels).map(|channel| ((channel % 5 - 2) as f32).exp2()).collect();
            let over = Tensor::from_slice(&over);
            ((x / over.view([1, -1, 1, 1])).to_kind(Kind::BFloat16), Some(over))
        }
    };
    let x = x.set_requires_grad(true);
    let upstream = random(steps, 2 * channels);
    let alpha = stream.uniform(&[5], 0.2, 1.2).set_requires_grad(true);
    let mut parameters = Parameters::default();
    let norm = BatchNorm::new(3 * channels, statistics, &mut Build::new(&mut parameters, 0, Device::Cpu));
    tch::no_grad(|| {
        let all = parameters.trainable().iter().map(|parameter| &parameter.tensor);
        for tensor in all.chain(parameters.buffers().iter().map(|(_, buffer)| buffer)) {
            tensor.shallow_clone().copy_(&stream.uniform(&tensor.size(), 0.3, 1.3));
        }
    });
    let neurons = Neurons::from(Lif::default());
    let drives = if spiking { Drives::Candidates(&neurons) } else { Drives::Nodes(&neurons) };
    let make = if kernels { Currents::by_kernels } else { Currents::new };
    let output = Convolved { maps: x.shallow_clone(), steps: over };
    let currents = Rc::new(make(output, &norm, steps, constant, training, drives, 3));
    let part = |part: i64, scale: i64| Term::Part { of: currents.clone(), first: part * channels, scale: Some(scale) };
    let spikes = |terms: &[Term], measure| node_spikes(&neurons, terms, channels, Some(&alpha), steps, measure);
    let (first, rate) = spikes(&[part(0, 0), part(2, 4)], true);
    let (second, _) = spikes(&[Term::Spikes { spikes: first.shallow_clone(), scale: Some(1) }, part(1, 2)], false);
    let spikes = Tensor::cat(&[first, second], 1);
    (&spikes * upstream).sum(Kind::Float).backward();
    let mut gradients = vec![x.grad().to_kind(Kind::Float), alpha.grad()];
    gradients.extend(parameters.trainable().iter().map(|parameter| parameter.tensor.grad()));
    let running = parameters.buffers().iter().map(|(_, buffer)| buffer.copy()).collect();
    Step { spikes, rate: rate.expect("it was asked for"), gradients, running }
}

fn close(got: &Tensor, want: &Tensor, what: &str) {
    within(2e-5, got, want, what);
}

fn within(most: f64, got: &Tensor, want: &Tensor, what: &str) {
    let scale = want.abs().max().double_value(&[]).max(1.0);
    let error = (got - want).abs().max().double_value(&[]);
    assert!(error < most * scale, "{what}: {error}, largest value {scale}");
}

#[test]
fn a_node_on_a_device_is_that_on_the_cpu_for_every_shape() {
    let shapes = SHAPES.into_iter().flat_map(|shape| FORMS.map(|form| (shape, form)));
    for ((shape, form), arrives) in shapes.flat_map(|of| [(of, Arrives::InF32), (of, Arrives::OverSteps)]) {
        let what = format!("{shape:?}, {form:?}, {arrives:?}");
        let [got, want] = [true, false].map(|kernels| step(shape, form, arrives, kernels));
        assert!(got.spikes.equal(&want.spikes), "{what}");
        close(&got.rate, &want.rate, &what);
        for (index, (got, want)) in got.gradients.iter().zip(&want.gradients).enumerate() {
            // That of x is rounded to bf16 on both sides.
            let most = if index == 0 && arrives == Arrives::OverSteps { 2f64.powi(-8) } else { 2e-5 };
            within(most, got, want, &format!("{what}, gradient {index}"));
        }
        got.running.iter().zip(&want.running).for_each(|(got, want)| close(got, want, &what));
    }
}

/// A node of spikes' currents in bf16 beside those of an image in f32.
#[test]
fn a_node_reads_maps_of_both_types() {
    let (steps, channels) = (3, 5);
    let mut stream = Stream::open(8, "cuda/tests", 0);
    let [in_bf16, in_f32] = [(); 2].map(|()| channels_last(&(stream.normal(&[steps * 2, channels, 4, 3]) * 0.6 + 0.3)));
    let in_bf16 = in_bf16.to_kind(Kind::BFloat16);
    let mut parameters = Parameters::default();
    let norm = BatchNorm::new(channels, Statistics::AllTimesteps, &mut Build::new(&mut parameters, 0, Device::Cpu));
    let neurons = Neurons::from(Lif::default());
    let [got, want] = [true, false].map(|kernels| {
        let leaves = [&in_bf16, &in_f32].map(|x| x.detach().set_requires_grad(true));
        let make = if kernels { Currents::by_kernels } else { Currents::new };
        let part = |x: &Tensor| Term::Part {
            of: Rc::new(make(x.shallow_clone(), &norm, steps, false, true, Drives::Nodes(&neurons), 1)),
            first: 0,
            scale: None,
        };
        let terms: Vec<Term> = leaves.iter().map(part).collect();
        let (spikes, _) = node_spikes(&neurons, &terms, channels, None, steps, false);
        (&spikes * &in_f32).sum(Kind::Float).backward();
        (spikes, leaves.map(|leaf| leaf.grad().to_kind(Kind::Float)))
    });
    assert!(got.0.equal(&want.0));
    within(2f64.powi(-8), &got.1[0], &want.1[0], "bf16");
    within(2e-5, &got.1[1], &want.1[1], "f32");
}

/// In every order, as a list of tensors: the same bits.
fn same_in_every_order(what: &str, run: impl Fn() -> Vec<Tensor>) {
    let [first, others @ ..] = host::ORDERS.map(|order| host::in_order(order, &run));
    for other in others {
        assert!(first.iter().zip(&other).all(|(a, b)| a.equal(b)), "{what}");
    }
}

/// Guards against a sum whose order depends on the threads, and against a thread that reads what
/// another one writes.
#[test]
fn the_order_of_threads_changes_no_bit() {
    for form in FORMS {
        same_in_every_order(&format!("a node, {form:?}"), || {
            let Step { spikes, rate, gradients, running } = step(SHAPES[3], form, Arrives::OverSteps, true);
            [spikes, rate].into_iter().chain(gradients).chain(running).collect()
        });
    }
    for constant in [false, true] {
        same_in_every_order(&format!("neurons, constant {constant}"), || {
            let (x, upstream) = neurons_of(4, constant);
            neurons_by_kernels(&Lif::default(), &x, &upstream, constant).into()
        });
    }
    same_in_every_order("maps", || vec![maps_by_kernel(&random_maps(&[200, 90]))]);
}

/// The threads of a block write down their turns, forward and backward: without it, the test above
/// could compare one order with itself.
#[test]
fn kernels_of_both_passes_take_the_order_of_the_thread_that_asks() {
    static TURNS: Kernel = Kernel::new(
        "turns",
        "static int taken;
         KERNEL(turns, (float *x)) {
             THREADS { if (threadIdx.x < 3) x[threadIdx.x] = (float)(taken++ % 3); }
         }",
    );
    let turns = || {
        let turns = Tensor::zeros([3], OPTIONS);
        TURNS.launch("turns", &[], [1, 1, 1], [3, 1, 1], &[Argument::Tensor(&turns)]);
        turns
    };
    // Three places at steps of one from the second on are the last order.
    for (order, want) in host::ORDERS.into_iter().zip([[0f32, 1.0, 2.0], [2.0, 1.0, 0.0], [2.0, 0.0, 1.0]]) {
        let [forward, backward] = host::in_order(order, || {
            let x = Tensor::zeros([3], OPTIONS).set_requires_grad(true);
            let y = custom_function(&[&x], || (vec![turns()], vec![]), move |_, _| vec![Some(turns())]);
            y[0].sum(Kind::Float).backward();
            [y[0].detach(), x.grad()]
        });
        for (turns, pass) in [(forward, "forward"), (backward, "backward")] {
            assert!(turns.equal(&Tensor::from_slice(&want)), "{pass}, order {order}: {turns:?}");
        }
    }
}

/// Currents, T of them or one for all, and the gradient to the spikes.
fn neurons_of(steps: i64, constant: bool) -> (Tensor, Tensor) {
    let shape: &[i64] = if constant { &[5, 131] } else { &[steps, 5, 131] };
    let mut stream = Stream::open(steps.cast_unsigned(), "cuda/neurons", 0);
    (stream.normal(shape) * 0.7 + 0.2, stream.normal(&[steps, 5, 131]))
}

/// Spikes, and the gradient to the currents.
fn neurons_by_kernels(neuron: &Lif, x: &Tensor, upstream: &Tensor, constant: bool) -> [Tensor; 2] {
    let (spikes, gradient) = (room(&upstream.size(), OPTIONS), room(&x.size(), OPTIONS));
    lif_forward(neuron, x, &spikes, constant);
    lif_backward(neuron, upstream, x, &gradient, constant);
    [spikes, gradient]
}

#[test]
fn neurons_on_a_device_are_those_on_the_cpu() {
    let neuron = Lif { threshold: 0.7, ..Lif::default() };
    for steps in 1..=10i64 {
        for constant in [false, true] {
            let (x, upstream) = neurons_of(steps, constant);
            let [spikes, gradient] = neurons_by_kernels(&neuron, &x, &upstream, constant);
            let x = x.set_requires_grad(true);
            let want = if constant { neuron.spikes_of_constant(&x, steps) } else { neuron.spikes(&x) };
            (&want * &upstream).sum(Kind::Float).backward();
            let what = format!("{steps} timesteps, constant {constant}");
            assert!(spikes.equal(&want), "{what}");
            close(&gradient, &x.grad(), &what);
        }
    }
}

fn random_maps(widths: &[i64]) -> Vec<Tensor> {
    let mut stream = Stream::numbered(widths.len() as u64);
    widths.iter().map(|width| channels_last(&stream.normal(&[3, *width, 5, 4]))).collect()
}

fn maps_by_kernel(maps: &[Tensor]) -> Tensor {
    let widths: Vec<i64> = maps.iter().map(|map| map.size()[1]).collect();
    let together = room_for_maps(&[3, widths.iter().sum(), 5, 4], OPTIONS);
    side_by_side(maps, &widths, &together);
    together
}

#[test]
fn maps_side_by_side_are_their_concatenation() {
    for widths in [&[3][..], &[5, 1, 12], &[2; 9], &[200, 90]] {
        let maps = random_maps(widths);
        assert!(maps_by_kernel(&maps).equal(&Tensor::cat(&maps, 1)), "{widths:?}");
    }
}

#[test]
fn kernels_stay_within_their_tensors() {
    host::again_under_the_address_sanitizer("spiking::cuda::tests::");
}
