//! Neurons, losses and steps of gradient descent against plain PyTorch.
//!
//! `reference/neurons.py` and `reference/training.py` say what is computed and how to run them;
//! their numbers are in the `.safetensors` files beside them, and what they printed in the `.txt`
//! files.

use std::collections::BTreeMap;
use std::path::Path;

use litesnn_framework::ground::{Build, Parameters, Role};
use litesnn_framework::spiking::{NeuronSettings, Neurons};
use litesnn_framework::train::{Algorithm, Descent, Rate, Training};
use serde_json::json;
use tch::{Device, Kind, Tensor};

fn reference(name: &str) -> BTreeMap<String, Tensor> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/reference/{name}.safetensors"));
    let stored = Tensor::read_safetensors(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    stored.into_iter().collect()
}

fn close(got: &Tensor, want: &Tensor, tolerance: f64, what: &str) {
    let scale = want.abs().max().double_value(&[]).max(1.0);
    let error = (got.to_kind(Kind::Double) - want).abs().max().double_value(&[]) / scale;
    assert_eq!(got.size(), want.size(), "{what}");
    assert!(error < tolerance, "{what}: {error}");
}

const SURROGATES: [&str; 5] = ["dspike", "atan", "triangle", "rectangle", "sigmoid"];

/// The settings of a form such as `hari`: see the script.
fn settings(surrogate: &str, form: &str) -> NeuronSettings {
    let is = |letter: char| form.contains(letter);
    let settings = json!({
        "time_constant": 2.5, "threshold": 0.6, "surrogate": surrogate,
        "reset": if is('s') { "soft" } else { "hard" },
        "detach_reset": is('d'), "scaled_input": is('i'), "learn_decay": is('l'), "learn_threshold": is('l'),
    });
    serde_json::from_value(settings).unwrap()
}

#[test]
fn neurons_of_every_form_spike_and_learn_as_in_pytorch() {
    let stored = reference("neurons");
    let mut forms = 0;
    for (surrogate, steps) in SURROGATES.into_iter().flat_map(|one| ["1", "2", "5", "c4"].map(|steps| (one, steps))) {
        let of = format!("{surrogate}/{steps}/");
        let found = stored.keys().filter_map(|key| key.strip_prefix(&of)?.strip_suffix("/spikes"));
        for form in found {
            forms += 1;
            for (kind, tolerance) in [(Kind::Double, 2e-6), (Kind::Float, 5e-5)] {
                let constant = steps.starts_with('c');
                let count: i64 = steps.trim_start_matches('c').parse().unwrap();
                let given = &stored["currents"];
                let given = if constant { given.get(0) } else { given.narrow(0, 0, count) };
                let x = given.to_kind(kind).copy().set_requires_grad(true);
                let mut parameters = Parameters::default();
                let neurons =
                    Neurons::new(&settings(surrogate, form), &mut Build::new(&mut parameters, 0, Device::Cpu));
                let spikes = if constant { neurons.spikes_of_constant(&x, count) } else { neurons.spikes(&x) };
                let upstream = stored["upstream"].narrow(0, 0, count).to_kind(kind);
                (&spikes * upstream).sum(kind).backward();
                let what = |of: &str| format!("{surrogate}/{steps}/{form}/{of}");
                close(&spikes, &stored[&what("spikes")], 1e-9, &what("spikes"));
                close(&x.grad(), &stored[&what("currents")], tolerance, &what("currents"));
                assert_eq!(parameters.trainable().len(), if form.contains('l') { 2 } else { 0 });
                for parameter in parameters.trainable() {
                    let name = what(&parameter.name);
                    close(&parameter.tensor.grad(), &stored[&name], 10.0 * tolerance, &name);
                }
            }
        }
    }
    assert_eq!(forms, 5 * 4 * 16);
}

#[test]
fn weights_descend_as_by_torch_optim() {
    let stored = reference("training");
    let rules = [
        ("sgd", Algorithm::Sgd { momentum: 0.9, weight_decay: 0.1 }),
        ("adam", Algorithm::Adam { weight_decay: 0.1 }),
        ("adamw", Algorithm::AdamW { weight_decay: 0.1 }),
    ];
    for (name, algorithm) in rules {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let p = build.parameter("p", Role::Weight, |_| stored["start"].shallow_clone());
        let descent = Descent::new("w", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.01));
        let mut descent = descent.averaged(0.9, &parameters);
        for step in 0..6 {
            parameters.zero_grad();
            (&p * stored["gradients"].get(step).to_kind(Kind::Float)).sum(Kind::Float).backward();
            descent.step();
            close(&p, &stored[name].get(step), 2e-6, &format!("{name}, step {step}"));
            if name == "adam" {
                let (_, average) = descent.state().find(|(key, _)| key == "w/average/p").unwrap();
                close(average, &stored["adam/average"].get(step), 2e-6, &format!("the average of step {step}"));
            }
        }
    }
}

fn training(settings: serde_json::Value) -> Training {
    let mut all = json!({ "epochs": 8 });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

#[test]
fn the_rate_warms_up_as_by_the_schedulers_of_torch() {
    let stored = Vec::<f64>::try_from(&reference("training")["warm-up"]).unwrap();
    let rate = training(json!({ "warmup": 3, "learning_rate": 0.4, "learning_rate_end": 0.1 })).rate();
    for (epoch, want) in stored.into_iter().enumerate() {
        let got = rate.at(epoch, 8);
        assert!((got - want).abs() < 1e-12, "epoch {epoch}: {got}, not {want}");
    }
}

#[test]
fn losses_and_their_gradients_are_those_of_pytorch() {
    let stored = reference("training");
    let tet = "timestep-cross-entropy";
    let losses = [
        ("mean", json!({})),
        ("mean-smooth", json!({ "label_smoothing": 0.1 })),
        ("tet", json!({ "loss": tet })),
        ("tet-0", json!({ "loss": tet, "tet_lambda": 0.0 })),
        ("tet-smooth", json!({ "loss": tet, "tet_lambda": 0.05, "tet_target": 0.5, "label_smoothing": 0.1 })),
        ("mse", json!({ "loss": "rate-mse" })),
        ("mse-smooth", json!({ "loss": "rate-mse", "label_smoothing": 0.1 })),
    ];
    let labels = stored["labels"].to_kind(Kind::Int64);
    for (name, settings) in losses {
        let outputs = stored["outputs"].copy().set_requires_grad(true);
        let loss = training(settings).loss(&outputs, &labels);
        loss.backward();
        // tch computes the cross-entropy of logits in f32, whatever they are.
        let tolerance = if name == "mean" { 1e-6 } else { 1e-12 };
        close(&loss, &stored[&format!("loss/{name}")], tolerance, name);
        close(&outputs.grad(), &stored[&format!("loss/{name}/outputs")], tolerance, name);
    }
}
