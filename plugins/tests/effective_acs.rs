//! Counted operations equal those that NeuroBench counts in a PyTorch network with the same
//! weights.
//!
//! `reference/effective_acs.py` says what is counted and how to run it;
//! `reference/effective_acs.safetensors` holds parameters, images and counts,
//! `reference/effective_acs.txt` what it printed.

use std::collections::BTreeMap;
use std::path::Path;

use litesnn_framework::data::{DataInfo, Normalisation, Split};
use litesnn_framework::ground::{Build, Parameters};
use litesnn_framework::network::{Architecture, Edge, Pass, SearchSpace};
use litesnn_framework::run::layer_costs::{self, Totals};
use litesnn_framework::train::evaluate;
use litesnn_plugins as _;
use serde_json::json;
use tch::{Device, Kind, Tensor};

// The settings of the reference.
const TIMESTEPS: i64 = 3;
const EDGES: [(usize, &str); 4] = [(0, "s0"), (0, "s1"), (1, "s1"), (1, "n0")];

fn totals(downsampling: &str, stored: &BTreeMap<String, Tensor>) -> Totals {
    let space = json!({ "spike-dhs": {
        "cells": [0, 1, 2], "nodes": 2, "channels": { "search": 2, "retrain": 2 }, "stem_stride": 1, "auxiliary": 0.0,
        "downsampling": downsampling,
    } });
    let space: Box<dyn SearchSpace> = serde_json::from_value(space).unwrap();
    let images = stored["images"].shallow_clone();
    let count = images.size()[0];
    let data = DataInfo::of_form(([images.size()[1], images.size()[2], images.size()[3]], 3));
    let edge = |(node, from): (usize, &str)| Edge { node, from: from.into(), operation: "conv3x3".into() };
    let architecture = Architecture { space: "spike-dhs".into(), edges: EDGES.map(edge).into() };
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 0, Device::Cpu);
    let network = space.network(&architecture, &Default::default(), false, &data, &[], &mut build).unwrap();
    tch::no_grad(|| {
        let trained = parameters.trainable().iter().map(|one| (format!("parameter/{}", one.name), &one.tensor));
        let buffers = parameters.buffers().iter().map(|(name, tensor)| (format!("buffer/{name}"), tensor));
        for (key, tensor) in trained.chain(buffers) {
            let value = stored.get(&key).unwrap_or_else(|| panic!("the reference has no `{key}`"));
            assert_eq!(value.size(), tensor.size(), "shape of `{key}`");
            tensor.shallow_clone().copy_(value);
        }
    });
    let split = Split { images, labels: Tensor::zeros([count], (Kind::Int64, Device::Cpu)) };
    let normalisation = Normalisation { mean: vec![0.0; 2], std: vec![1.0; 2] };
    let pass = Pass { measure: true, maps: true, ..Pass::new(TIMESTEPS) };
    let measured = evaluate(network.as_ref(), &split, &normalisation, pass, Device::Cpu, None).unwrap();
    let rows = layer_costs::layers(network.as_ref(), &measured.activity, TIMESTEPS);
    layer_costs::totals(&rows, network.as_ref())
}

#[test]
fn counted_operations_are_the_effective_ones_of_neurobench() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/effective_acs.safetensors");
    let stored = Tensor::read_safetensors(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let stored: BTreeMap<String, Tensor> = stored.into_iter().collect();
    for downsampling in ["stride", "resize"] {
        let totals = totals(downsampling, &stored);
        let of = |name: &str| stored[&format!("{downsampling}/{name}")].double_value(&[]);
        assert_eq!(totals.syn_ops_counted, of("acs"), "{downsampling}: additions");
        assert_eq!(totals.multiplications_counted, of("macs"), "{downsampling}: multiplications");
        assert!(totals.syn_ops > 1.05 * totals.syn_ops_counted, "{downsampling}: no tap lies on the padding");
    }
}
