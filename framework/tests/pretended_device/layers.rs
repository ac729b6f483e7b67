//! Layers and descents of the framework on the device, against the same on the CPU.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;

use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::spiking::{
    BatchNorm, Currents, Drives, Dspike, Lif, NeuronSettings, Neurons, Statistics, Term, custom_function, node_spikes,
};
use litesnn_framework::train::{Algorithm, Descent, Rate, clip_gradients};
use tch::{Device, Kind, Tensor};

const CUDA: Device = Device::Cuda(0);
const NEURON: Lif = Lif { tau: 0.2, threshold: 0.5, surrogate: Dspike { temperature: 3.0 } };
const STEPS: i64 = 3;

/// A normal random tensor that is the same on every device.
fn normal(name: &str, size: &[i64], device: Device) -> Tensor {
    Stream::open(3, name, 0).normal(size).to_device(device)
}

/// The largest difference of two lists of tensors, over the largest value.
fn difference(cpu: &[Tensor], device: &[Tensor]) -> f64 {
    assert_eq!(cpu.len(), device.len());
    let of_one = |(cpu, device): (&Tensor, &Tensor)| {
        assert_eq!((cpu.device(), device.device()), (Device::Cpu, CUDA));
        let largest = cpu.abs().max().double_value(&[]).max(1e-6);
        (cpu - device.to_device(Device::Cpu)).abs().max().double_value(&[]) / largest
    };
    cpu.iter().zip(device).map(of_one).fold(0.0, f64::max)
}

fn same_on_both(what: &str, limit: f64, work: impl Fn(Device) -> Vec<Tensor>) {
    let difference = difference(&work(Device::Cpu), &work(CUDA));
    assert!(difference <= limit, "{what}: {difference}");
}

pub fn engine() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for device in [Device::Cpu, CUDA] {
        let x = Tensor::ones([2], (Kind::Float, device)).set_requires_grad(true);
        let threads = seen.clone();
        let doubled = custom_function(
            &[&x],
            || (vec![&x * 2.0], vec![]),
            move |gradients, _| {
                threads.lock().unwrap().push(thread::current().id());
                vec![Some(&gradients[0] * 2.0)]
            },
        );
        doubled[0].sum(Kind::Float).backward();
        assert_eq!(x.grad().sum(Kind::Float).double_value(&[]), 4.0);
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], thread::current().id(), "of the CPU");
    assert_ne!(seen[1], thread::current().id(), "of the device");
}

pub fn neurons() {
    for (constant, name) in [(false, "currents"), (true, "a constant current")] {
        same_on_both(name, 1e-5, |device| {
            let size: &[i64] = if constant { &[2, 5, 4, 4] } else { &[STEPS, 2, 5, 4, 4] };
            let current = normal("current", size, device).set_requires_grad(true);
            let spikes = if constant { NEURON.spikes_of_constant(&current, STEPS) } else { NEURON.spikes(&current) };
            (&spikes * normal("upstream", &[STEPS, 2, 5, 4, 4], device)).sum(Kind::Float).backward();
            vec![spikes, current.grad()]
        });
    }
}

/// Tensor operations, of which none may mix devices.
pub fn other_neurons() {
    let settings = [
        r#"{ "surrogate": "atan", "detach_reset": true, "time_constant": 2.0, "scaled_input": true }"#,
        r#"{ "surrogate": "sigmoid", "reset": "soft", "learn_decay": true, "learn_threshold": true, "scaled_input": true }"#,
        r#"{ "surrogate": "triangle", "learn_threshold": true }"#,
        r#"{ "surrogate": "rectangle", "reset": "soft", "detach_reset": true }"#,
    ];
    for (settings, constant) in settings.into_iter().flat_map(|one| [(one, false), (one, true)]) {
        same_on_both(&format!("{settings}, constant {constant}"), 1e-5, |device| {
            let mut parameters = Parameters::default();
            let mut build = Build::new(&mut parameters, 0, device);
            let settings: NeuronSettings = serde_json::from_str(settings).unwrap();
            let neurons = Neurons::new(&settings, &mut build);
            let norm = BatchNorm::new(5, Statistics::EachTimestep, &mut build.at("norm"));
            let images = if constant { 2 } else { 2 * STEPS };
            let x = normal("x", &[images, 5, 4, 4], device).set_requires_grad(true);
            let currents = Currents::new(&x, &norm, STEPS, constant, true, Drives::Candidates(&neurons), 1);
            let term = Term::Part { of: Rc::new(currents), first: 0, scale: None };
            let (spikes, rate) = node_spikes(&neurons, &[term], 5, None, STEPS, true);
            (&spikes * normal("upstream", &[2 * STEPS, 5, 4, 4], device)).sum(Kind::Float).backward();
            let learned = parameters.trainable().iter().map(|parameter| parameter.tensor.grad());
            [spikes, rate.unwrap(), x.grad()].into_iter().chain(learned).collect()
        });
    }
}

pub fn nodes() {
    for (spiking, training) in [(false, true), (true, true), (true, false)] {
        same_on_both(&format!("spiking {spiking}, training {training}"), 1e-4, |device| {
            let mut parameters = Parameters::default();
            let mut build = Build::new(&mut parameters, 0, device);
            let width = 5;
            let [first, second] = ["first", "second"].map(|name| {
                let norm = BatchNorm::new(2 * width, Statistics::EachTimestep, &mut build.at(name));
                let x = normal(name, &[STEPS * 2, 2 * width, 4, 4], device).set_requires_grad(true);
                (norm, x)
            });
            let alpha = normal("alpha", &[4], device).set_requires_grad(true);
            let neurons = Neurons::from(NEURON);
            let drives = if spiking { Drives::Candidates(&neurons) } else { Drives::Nodes(&neurons) };
            let of =
                |(norm, x): &(BatchNorm, Tensor)| Rc::new(Currents::new(x, norm, STEPS, false, training, drives, 2));
            let (one, two) = (of(&first), of(&second));
            let terms = |part: i64| -> Vec<Term> {
                [(&one, 2 * part), (&two, 2 * part + 1)]
                    .map(|(of, scale)| Term::Part { of: of.clone(), first: part * width, scale: Some(scale) })
                    .into()
            };
            let nodes = [0, 1].map(|part| node_spikes(&neurons, &terms(part), width, Some(&alpha), STEPS, true));
            let upstream = normal("upstream", &[STEPS * 2, width, 4, 4], device);
            let loss = nodes.iter().map(|(spikes, _)| (spikes * &upstream).sum(Kind::Float));
            loss.reduce(|sum, next| sum + next).unwrap().backward();
            let mut results: Vec<Tensor> = vec![alpha.grad(), first.1.grad(), second.1.grad()];
            for (spikes, rate) in nodes {
                results.push(spikes);
                results.extend(rate);
            }
            results.extend(parameters.trainable().iter().map(|parameter| parameter.tensor.grad()));
            results.extend(parameters.buffers().iter().map(|(_, buffer)| buffer.copy()));
            results
        });
    }
}

pub fn descents() {
    let algorithms = [
        Algorithm::Sgd { momentum: 0.9, weight_decay: 1e-3 },
        Algorithm::Adam { weight_decay: 1e-3 },
        Algorithm::AdamW { weight_decay: 1e-3 },
    ];
    for algorithm in algorithms {
        same_on_both(&format!("{algorithm:?}"), 1e-5, |device| {
            let mut parameters = Parameters::default();
            let mut build = Build::new(&mut parameters, 0, device);
            let sizes: [&[i64]; 3] = [&[3, 4], &[5], &[2, 3, 3, 3]];
            for (index, size) in sizes.iter().enumerate() {
                let _ =
                    build.parameter(&index.to_string(), Role::Weight, |stream| stream.normal(size).to_device(device));
            }
            let mut build = Build::new(&mut parameters, 0, device);
            let _ = build.parameter_without_decay("3", Role::Weight, |stream| stream.normal(&[1]).to_device(device));
            let descent = Descent::new("weights", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.1));
            let mut descent = descent.averaged(0.9, &parameters);
            for step in 0..3 {
                parameters.zero_grad();
                let square = |(index, tensor): (usize, &Tensor)| {
                    let target = normal(&format!("{step} {index}"), &tensor.size(), device);
                    (tensor - target).square().sum(Kind::Float)
                };
                let loss = descent.tensors().enumerate().map(square).reduce(|sum, next| sum + next).unwrap();
                loss.backward();
                clip_gradients(descent.tensors(), 2.0);
                descent.step();
            }
            let averages = descent.state().filter(|(name, _)| name.contains("/average/"));
            let averages: Vec<Tensor> = averages.map(|(_, tensor)| tensor.copy()).collect();
            assert_eq!(averages.len(), 4);
            descent.tensors().map(|tensor| tensor.detach()).chain(averages).collect()
        });
    }
}
