//! One search step equals a plain reference written in PyTorch, in losses, gradients and the
//! weights' step.
//!
//! `reference/search_step.py` says what the reference does and how to run it;
//! `reference/search_step.safetensors` holds its parameters, batch and results,
//! `reference/search_step.txt` what it printed.

#![allow(clippy::print_stdout, clippy::print_stderr)] // For who reads the log of the tests.

use std::collections::BTreeMap;
use std::path::Path;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Role};
use litesnn_framework::network::{Compressor, SearchSpace, TimestepSearcher};
use litesnn_framework::train::{Algorithm, Batch, Descent, Open, Rate, SearchParts, Searched, clip_gradients};
use litesnn_plugins as _;
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Of the largest magnitude in the reference's tensor.
const TOLERANCE: f64 = 1e-4;

// The settings of the reference.
const LAMBDA_MEMORY: f64 = 5e-4;
const LAMBDA_COMPUTE: f64 = 5e-5;
const CLIP: f64 = 5.0;
const LEARNING_RATE: f64 = 0.05;
/// A weight decay of a hundredth, as in the paper, would not show in one step.
const SGD: Algorithm = Algorithm::Sgd { momentum: 0.9, weight_decay: 3e-2 };
const OTHERS: [Role; 4] = [Role::Score, Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];

/// The reference's file, and what was compared with it.
struct Reference {
    stored: BTreeMap<String, Tensor>,
    failures: Vec<String>,
    /// Largest difference so far, relative to its tensor's largest magnitude, by group of tensors.
    largest: BTreeMap<String, f64>,
}

impl Reference {
    fn open() -> Reference {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/search_step.safetensors");
        let stored = Tensor::read_safetensors(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Reference { stored: stored.into_iter().collect(), failures: Vec::new(), largest: BTreeMap::new() }
    }

    fn take(&mut self, key: &str) -> Tensor {
        self.stored.remove(key).unwrap_or_else(|| panic!("the reference has no `{key}`"))
    }

    /// Compares `got` with the tensor `key`, which is not compared again.
    fn compare(&mut self, group: &str, key: &str, got: &Tensor) {
        let want = self.take(key).to_kind(Kind::Double);
        if !got.defined() {
            self.failures.push(format!("{key}: there is none"));
            return;
        }
        let got = got.detach().to_kind(Kind::Double);
        if got.size() != want.size() {
            self.failures.push(format!("{key}: shape {:?}, the reference's is {:?}", got.size(), want.size()));
            return;
        }
        let (got, want) = (got.flatten(0, -1), want.flatten(0, -1));
        let scale = want.abs().max().double_value(&[]);
        if scale > 0.0 && got.abs().max().double_value(&[]) == 0.0 {
            self.failures.push(format!("{key}: all zero, the reference's largest magnitude is {scale}"));
        }
        let difference = (&got - &want).abs();
        let worst = difference.argmax(0, false).int64_value(&[]);
        let relative = difference.double_value(&[worst]) / scale.max(f64::MIN_POSITIVE);
        let largest = self.largest.entry(group.to_owned()).or_default();
        *largest = largest.max(relative);
        // A value that is not a number fails, too.
        if relative.is_nan() || relative > TOLERANCE {
            let values = (got.double_value(&[worst]), want.double_value(&[worst]));
            let values = format!("{} here, {} in the reference (scale {scale})", values.0, values.1);
            self.failures.push(format!("{key}, element {worst} of {}: {values}", got.numel()));
        }
    }

    fn compare_all(&mut self, group: &str, parameters: &Parameters, roles: &[Role], value: fn(&Tensor) -> Tensor) {
        for parameter in parameters.of(roles) {
            let key = format!("{group}/{}", parameter.name);
            self.compare(&format!("{group}, {:?}", parameter.role), &key, &value(&parameter.tensor));
        }
    }

    /// Gives every parameter the reference's value; both have the same names.
    fn load(&mut self, parameters: &Parameters) {
        for parameter in parameters.trainable() {
            let value = self.take(&format!("parameter/{}", parameter.name));
            assert_eq!(value.size(), parameter.tensor.size(), "shape of `{}`", parameter.name);
            tch::no_grad(|| parameter.tensor.shallow_clone().copy_(&value));
        }
        let left: Vec<&String> = self.stored.keys().filter(|key| key.starts_with("parameter/")).collect();
        assert!(left.is_empty(), "only the reference has {left:?}");
    }

    fn finish(self) {
        for (group, largest) in &self.largest {
            println!("{group:40} {largest:.1e}");
        }
        assert!(self.failures.is_empty(), "\n{}", self.failures.join("\n"));
        assert!(self.stored.is_empty(), "not compared: {:?}", self.stored.keys());
    }
}

#[test]
fn one_search_step_equals_the_reference_in_pytorch() {
    let mut reference = Reference::open();
    let batch = Batch { images: reference.take("images"), labels: reference.take("labels"), number: 0 };

    let space = json!({ "spike-dhs": {
        "cells": [0, 1], "nodes": 2, "channels": { "search": 2, "retrain": 2 }, "stem_stride": 1,
        "tau": 0.2, "threshold": 0.5, "temperature": 3.0,
    } });
    let space: Box<dyn SearchSpace> = serde_json::from_value(space).unwrap();
    let compressors = json!([{ "gaussian-quantize": { "bits": [1, 2, 4] } }, { "score-prune": { "rate": 0.5 } }]);
    let compressors: Vec<Box<dyn Compressor>> = serde_json::from_value(compressors).unwrap();
    let compressors: Vec<(&str, &dyn Compressor)> =
        compressors.iter().map(|compressor| (compressor.typetag_name(), compressor.as_ref())).collect();
    let searcher = json!({ "compressive": { "max": 3, "warmup": 0 } });
    let searcher: Box<dyn TimestepSearcher> = serde_json::from_value(searcher).unwrap();
    let data = DataInfo::of_form(([1, 8, 8], 4));

    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 0, Device::Cpu);
    let gate = searcher.attach(&mut build.at("timesteps")).unwrap();
    let supernet = space.supernet(&data, &compressors, &mut build).unwrap();
    reference.load(&parameters);
    let parts = SearchParts {
        open: Open::new(Searched::Supernet(supernet), gate, parameters),
        training: &serde_json::from_value(json!({ "epochs": 1 })).unwrap(),
        max_timesteps: searcher.max(),
        recorder: None,
    };
    let (parameters, regime) = (parts.parameters(), parts.whole());

    // First pass: the weights.
    parameters.zero_grad();
    let loss = parts.cross_entropy(&parts.forward(&batch, regime, false), &batch, 0, regime);
    loss.backward();
    reference.compare("first/loss", "first/loss", &loss);
    reference.compare_all("first/gradient", parameters, &[Role::Weight], Tensor::grad);
    let mut descent = Descent::new("weights", parameters, &[Role::Weight], SGD, Rate::Constant(LEARNING_RATE));
    clip_gradients(descent.tensors(), CLIP);
    descent.step();
    reference.compare_all("first/weight", parameters, &[Role::Weight], Tensor::shallow_clone);

    // Second pass: everything else.
    parameters.zero_grad();
    let losses = parts.losses(&parts.forward(&batch, regime, true), &batch, 0, regime);
    let total = &losses.cross_entropy
        + losses.memory.to_kind(Kind::Float) * LAMBDA_MEMORY
        + losses.compute.to_kind(Kind::Float) * LAMBDA_COMPUTE;
    total.backward();
    reference.compare("second/loss", "second/cross_entropy", &losses.cross_entropy);
    reference.compare("second/loss", "second/memory", &losses.memory);
    reference.compare("second/loss", "second/compute", &losses.compute);
    reference.compare("second/loss", "second/total", &total);
    reference.compare_all("second/gradient", parameters, &OTHERS, Tensor::grad);
    reference.finish();
}
