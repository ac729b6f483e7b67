//! The path of one architecture in the supernet of `spike-dhs`, against the final network of that
//! architecture: with the same widths and the same seed, both have the same weights.

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Stream};
use litesnn_framework::network::cost::CostModel;
use litesnn_framework::network::{
    Architecture, CostConstants, Network, Pass, Response, SearchSpace, SpikeCount, SpikeTap, Supernet, Techniques,
};
use litesnn_framework::spiking::Recorder;
use litesnn_plugins as _;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const STEPS: i64 = 2;

fn space(more: serde_json::Value) -> Box<dyn SearchSpace> {
    let mut settings = json!({
        "cells": [0, 1], "nodes": 3, "channels": { "search": 4, "retrain": 4 },
        "search_stem": "spiking", "auxiliary": 0,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({ "spike-dhs": settings })).unwrap()
}

fn info() -> DataInfo {
    DataInfo::of_form(([1, 8, 8], 3))
}

fn supernet(space: &dyn SearchSpace) -> (Box<dyn Supernet>, Parameters) {
    let mut parameters = Parameters::default();
    let network = space.supernet(&info(), &[], &mut Build::new(&mut parameters, 7, Device::Cpu)).unwrap();
    (network, parameters)
}

fn network(space: &dyn SearchSpace, architecture: &Architecture) -> (Box<dyn Network>, Parameters) {
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 7, Device::Cpu);
    let network = space.network(architecture, &Default::default(), true, &info(), &[], &mut build).unwrap();
    (network, parameters)
}

fn images() -> Tensor {
    Stream::open(0, "images", 0).normal(&[5, 1, 8, 8])
}

fn architectures(space: &dyn SearchSpace) -> Vec<Architecture> {
    (0..6).map(|index| space.sample(&mut Stream::open(3, "path", index))).collect()
}

fn close(a: &Tensor, b: &Tensor) -> bool {
    (a - b).abs().max().double_value(&[]) < 1e-5
}

#[test]
fn a_path_computes_what_the_network_of_its_architecture_does() {
    let space = space(json!({}));
    let images = images();
    let mut logits: Vec<Tensor> = Vec::new();
    for architecture in architectures(space.as_ref()) {
        for training in [false, true] {
            let (whole, final_network) = (supernet(space.as_ref()), network(space.as_ref(), &architecture));
            let path = whole.0.path(&architecture).unwrap();
            let pass = Pass { training, measure: true, ..Pass::new(STEPS) };
            let along = whole.0.forward(&images, &Pass { path: Some(&path), ..pass });
            let expected = final_network.0.forward(&images, &pass);
            assert!(close(&along.logits, &expected.logits), "{architecture:?}: {} {}", along.logits, expected.logits);
            if training {
                logits.push(along.logits.detach());
                same_gradients(&along, &whole.1, &expected, &final_network.1);
            }
        }
    }
    assert!(logits.iter().any(|other| !close(other, &logits[0])), "all paths give the same logits");
}

/// The gradient of each convolution on the path is that of the final network; others have none.
fn same_gradients(along: &Response, of_path: &Parameters, expected: &Response, of_network: &Parameters) {
    for response in [along, expected] {
        response.logits.square().sum(Kind::Float).backward();
    }
    let mut compared = 0;
    for parameter in of_path.trainable().iter().filter(|parameter| parameter.name.ends_with("weight")) {
        match of_network.trainable().iter().find(|other| other.name == parameter.name) {
            Some(other) => {
                let (found, expected) = (parameter.tensor.grad(), other.tensor.grad());
                assert!(close(&found, &expected), "{}", parameter.name);
                compared += 1;
            }
            None => assert!(!parameter.tensor.grad().defined(), "{} is not on the path", parameter.name),
        }
    }
    assert!(compared >= 4, "{compared}");
}

#[test]
fn a_path_costs_what_its_convolutions_cost() {
    let space = space(json!({}));
    let (whole, _) = supernet(space.as_ref());
    let macs = |pass: &Pass| {
        let recorder = Recorder::default();
        recorder.start();
        whole.forward(&images(), &Pass { recorder: Some(&recorder), ..*pass });
        recorder.take().iter().map(|call| call.macs()).sum::<f64>()
    };
    let of_network = |network: &dyn Network| {
        let recorder = Recorder::default();
        recorder.start();
        network.forward(&images(), &Pass { recorder: Some(&recorder), ..Pass::new(STEPS) });
        recorder.take().iter().map(|call| call.macs()).sum::<f64>()
    };
    for architecture in architectures(space.as_ref()) {
        let path = whole.path(&architecture).unwrap();
        let along = macs(&Pass { path: Some(&path), ..Pass::new(STEPS) });
        assert_eq!(along, of_network(network(space.as_ref(), &architecture).0.as_ref()), "{architecture:?}");
        assert!(along < 0.6 * macs(&Pass::new(STEPS)), "{along}");
    }
}

#[test]
fn bit_operations_and_spikes_of_a_path_are_those_of_its_network() {
    let space = space(json!({}));
    let (whole, _) = supernet(space.as_ref());
    let counted = Tensor::ones([STEPS], (Kind::Float, Device::Cpu));
    let of_supernet = CostConstants::default();
    for architecture in architectures(space.as_ref()) {
        let path = whole.path(&architecture).unwrap();
        let (final_network, _) = network(space.as_ref(), &architecture);
        let spikes = [SpikeCount::default(), SpikeCount::default()];
        let pass = Pass { measure: true, ..Pass::new(STEPS) };
        let [of_path, of_network] = [0, 1].map(|index| {
            let count: &SpikeCount = &spikes[index];
            move |fired: &Tensor| count.add(fired)
        });
        let along = whole.forward(&images(), &Pass { path: Some(&path), tap: Some(SpikeTap(&of_path)), ..pass });
        let expected = final_network.forward(&images(), &Pass { tap: Some(SpikeTap(&of_network)), ..pass });
        let model = CostModel::of(whole.as_ref(), Techniques::ALL, &counted, &of_supernet);
        let model = CostModel { presence: path.presence(Device::Cpu), ..model };
        let found = model.layers(&whole.layers(), &along.activity).bit_syn_ops.sum(Kind::Double).double_value(&[]);
        // Another architecture has other layers, so that nothing is kept of the one before.
        let fresh = CostConstants::default();
        let model = CostModel::of(final_network.as_ref(), Techniques::ALL, &counted, &fresh);
        let costs = model.layers(&final_network.layers(), &expected.activity);
        let expected = costs.bit_syn_ops.sum(Kind::Double).double_value(&[]);
        assert!((found / expected - 1.0).abs() < 1e-6, "{architecture:?}: {found} and {expected}");
        let [along, expected] = spikes.map(|count| count.total());
        assert!(along > 0.0 && along == expected, "{architecture:?}: {along} and {expected}");
    }
}

/// The final cell has three of the supernet's four nodes: the fourth is silent.
#[test]
fn a_node_that_the_final_cell_leaves_out_is_silent() {
    let space = space(json!({ "nodes": 4, "final_nodes": 3 }));
    let (whole, _) = supernet(space.as_ref());
    let pass = Pass { training: true, measure: true, ..Pass::new(STEPS) };
    for architecture in architectures(space.as_ref()) {
        let path = whole.path(&architecture).unwrap();
        let response = whole.forward(&images(), &Pass { path: Some(&path), ..pass });
        assert_eq!(response.activity.len(), whole.layers().len());
        assert_eq!(response.logits.isfinite().all().int64_value(&[]), 1);
        response.logits.square().sum(Kind::Float).backward();
    }
}

#[test]
fn an_operation_that_the_supernet_does_not_have_is_refused() {
    let space = space(json!({}));
    let (whole, _) = supernet(space.as_ref());
    let mut architecture = architectures(space.as_ref()).remove(0);
    architecture.edges[0].operation = "conv5x5".into();
    let said = whole.path(&architecture).unwrap_err().to_string();
    assert!(said.contains("no `conv5x5` from `s0` to node 0"), "{said}");
}

/// A mutation keeps the nodes that it does not draw, and a crossing has each node from one of two;
/// both are architectures of the space.
#[test]
fn mutations_and_crossings_are_architectures_of_the_space() {
    let space = space(json!({}));
    let all = architectures(space.as_ref());
    let of_node = |architecture: &Architecture, node| {
        architecture.edges.iter().filter(|edge| edge.node == node).cloned().collect::<Vec<_>>()
    };
    let mut changed = 0;
    for (index, pair) in all.windows(2).enumerate() {
        let mut random = Stream::open(9, "children", index as u64);
        let child = space.cross(&pair[0], &pair[1], &mut random);
        let from = |node| pair.iter().map(|parent| of_node(parent, node)).collect::<Vec<_>>();
        assert!((0..3).all(|node| from(node).contains(&of_node(&child, node))), "{child:?} of {pair:?}");
        assert_eq!(space.mutate(&pair[0], 0.0, &mut random), pair[0]);
        let mutant = space.mutate(&pair[0], 1.0, &mut random);
        changed += usize::from(mutant != pair[0]);
        for one in [child, mutant] {
            network(space.as_ref(), &one);
        }
    }
    assert!(changed > 0, "a mutation of every node changes nothing");
}
