//! What docs/authors-program.md says that this project's networks do otherwise than the authors'
//! program.

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::{Compression, Pass, SearchSpace};
use litesnn_plugins as _;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const TIMESTEPS: i64 = 3;

fn data() -> DataInfo {
    DataInfo::of_form(([2, 8, 8], 3))
}

/// The space as the manifests of the paper's tables have it, but small.
fn space() -> Box<dyn SearchSpace> {
    serde_json::from_value(json!({ "spike-dhs": {
        "cells": [0, 1], "nodes": 2, "channels": { "search": 2, "retrain": 2 }, "auxiliary": 0.0,
        "skip": "convolution", "downsampling": "resize", "candidates": "spike", "search_stem": "plain",
        "pooling": "spiking", "classifier": "normalised", "normalisation": "each-timestep",
    } }))
    .unwrap()
}

fn images(index: u64) -> Tensor {
    Stream::open(4, "images", index).normal(&[4, 2, 8, 8])
}

fn named<'a>(parameters: &'a Parameters, name: &str) -> &'a Tensor {
    parameters.named().find(|(found, _)| *found == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// The program carries the potential of its pooling neurons from one batch to the next.
#[test]
fn the_logits_of_an_image_do_not_depend_on_the_batch_before() {
    let (space, mut parameters) = (space(), Parameters::default());
    let architecture = space.sample(&mut Stream::open(1, "design", 0));
    let mut build = Build::new(&mut parameters, 5, Device::Cpu);
    let network = space.network(&architecture, &Compression::new(), false, &data(), &[], &mut build).unwrap();
    let logits = |index| tch::no_grad(|| network.forward(&images(index), &Pass::new(TIMESTEPS)).logits);
    let first = logits(0);
    assert!(!logits(1).equal(&first));
    assert!(logits(0).equal(&first));
}

/// The program normalises the stem at every timestep: its running mean would be (1 - 0.9^3) of the
/// batch's.
#[test]
fn the_stem_updates_its_running_statistics_once_a_pass() {
    let (space, mut parameters) = (space(), Parameters::default());
    let mut build = Build::new(&mut parameters, 5, Device::Cpu);
    let supernet = space.supernet(&data(), &[], &mut build).unwrap();
    let pass = Pass { training: true, ..Pass::new(TIMESTEPS) };
    tch::no_grad(|| supernet.forward(&images(0), &pass));
    let current = images(0).conv2d(named(&parameters, "stem.weight"), None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
    let want = current.mean_dim([0i64, 2, 3].as_slice(), false, Kind::Float) * 0.1;
    let difference = (named(&parameters, "stem.norm.running_mean") - want).abs().max();
    assert!(difference.double_value(&[]) < 1e-7, "{difference:?}");
}

/// The program's supernet has no s0 in its first cell, and so no gradient from there.
#[test]
fn the_first_cell_of_the_supernet_reads_the_stem_as_s0_too() {
    let (space, mut parameters) = (space(), Parameters::default());
    let mut build = Build::new(&mut parameters, 5, Device::Cpu);
    let supernet = space.supernet(&data(), &[], &mut build).unwrap();
    let names: Vec<String> = supernet.layers().iter().map(|layer| layer.shape.name.clone()).collect();
    for operation in ["skip", "conv3x3"] {
        let name = format!("cell0.n0.s0.{operation}");
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let pass = Pass { training: true, ..Pass::new(TIMESTEPS) };
    supernet.forward(&images(0), &pass).logits.square().sum(Kind::Float).backward();
    let alpha = parameters.of(&[Role::ArchitectureLogit]).next().unwrap();
    // Edge 0 leads from s0 to the first node.
    assert!(alpha.tensor.grad().get(0).abs().max().double_value(&[]) > 0.0);
    let weight = named(&parameters, "cell0.from_s0.n0.conv3x3.weight");
    assert!(weight.grad().defined() && weight.grad().abs().max().double_value(&[]) > 0.0);
}
