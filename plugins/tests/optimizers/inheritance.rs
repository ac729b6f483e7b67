//! Retraining that begins with the supernet: which tensor goes where, and whole trials.

use std::collections::BTreeMap;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::{
    Architecture, Compression, Compressor, Inheritance, NEVER, Network, Pass, SearchSpace, Supernet, Technique,
    Techniques,
};
use litesnn_framework::record::{self, EpochRow, files};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::desk::Desk;

const STEPS: i64 = 2;
const ALL_OPERATIONS: [&str; 7] = ["skip", "conv3x3", "conv5x5", "conv1x1", "separable3x3", "average-pool3x3", "none"];

fn info() -> DataInfo {
    DataInfo::of_form(([1, 8, 8], 3))
}

fn space(more: &Value) -> Box<dyn SearchSpace> {
    let mut settings =
        json!({ "cells": [0, 1], "nodes": 3, "channels": { "search": 3, "retrain": 3 }, "auxiliary": 0 });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({ "spike-dhs": settings })).unwrap()
}

fn compressors() -> [Box<dyn Compressor>; 2] {
    [json!({ "gaussian-quantize": { "bits": [1, 2, 4] } }), json!({ "score-prune": { "rate": 0.5 } })]
        .map(|settings| serde_json::from_value(settings).unwrap())
}

/// A supernet that was trained, as far as its tensors tell: none has the value that it was built with.
fn trained(space: &dyn SearchSpace, compressors: &[Box<dyn Compressor>]) -> (Box<dyn Supernet>, Parameters) {
    let named: Vec<(&str, &dyn Compressor)> =
        compressors.iter().map(|one| (one.typetag_name(), one.as_ref())).collect();
    let mut parameters = Parameters::default();
    let supernet = space.supernet(&info(), &named, &mut Build::new(&mut parameters, 7, Device::Cpu)).unwrap();
    let mut noise = Stream::numbered(1);
    tch::no_grad(|| {
        for (_, tensor) in parameters.named() {
            // Variances stay positive.
            let moved = (tensor + noise.uniform(&tensor.size(), 0.1, 0.6)).to_kind(tensor.kind());
            tensor.shallow_clone().copy_(&moved);
        }
        for beta in parameters.of(&[Role::BitLogit]) {
            beta.tensor.shallow_clone().copy_(&Tensor::from_slice(&[NEVER, NEVER, 0.0]));
        }
    });
    (supernet, parameters)
}

/// The final network after it was given the tensors of the supernet, and what was said of it.
fn heir(
    space: &dyn SearchSpace,
    architecture: &Architecture,
    compressors: &[Box<dyn Compressor>],
    (supernet, parameters): (&dyn Supernet, Parameters),
) -> (Box<dyn Network>, Parameters, String) {
    let named: Vec<(&str, &dyn Compressor)> =
        compressors.iter().map(|one| (one.typetag_name(), one.as_ref())).collect();
    let decided = if named.is_empty() { Compression::new() } else { supernet.decisions(Techniques::ALL) };
    let inheritance = Inheritance::of(supernet, parameters, space.inheritance(architecture).unwrap());
    let mut own = Parameters::default();
    let mut build = Build::new(&mut own, 8, Device::Cpu);
    let network = space.network(architecture, &decided, false, &info(), &named, &mut build).unwrap();
    let said = inheritance.give(network.as_ref(), &own).unwrap();
    (network, own, said)
}

fn architectures(space: &dyn SearchSpace) -> Vec<Architecture> {
    (0..4).map(|index| space.sample(&mut Stream::open(3, "heirs", index))).collect()
}

/// The mapping of every tensor, running statistics too: the network computes what the path of its
/// architecture does in the supernet.
#[test]
fn a_network_begins_as_the_path_of_its_architecture() {
    let images = Stream::numbered(4).normal(&[5, 1, 8, 8]);
    for more in [json!({}), json!({ "operations": ALL_OPERATIONS }), json!({ "operations": ["skip", "conv5x5"] })] {
        let space = space(&more);
        for architecture in architectures(space.as_ref()) {
            let (supernet, parameters) = trained(space.as_ref(), &[]);
            let path = supernet.path(&architecture).unwrap();
            let expected = supernet.forward(&images, &Pass { path: Some(&path), ..Pass::new(STEPS) }).logits;
            let (network, own, said) = heir(space.as_ref(), &architecture, &[], (supernet.as_ref(), parameters));
            assert_eq!(said, format!("retraining begins with {} tensors of the search", own.named().count()));
            let found = network.forward(&images, &Pass::new(STEPS)).logits;
            assert!(found.allclose(&expected, 1e-5, 1e-5, false), "{architecture:?}: {found} and {expected}");
            assert!(expected.std(true).double_value(&[]) > 1e-3, "all logits are alike");
        }
    }
}

/// A space with one architecture alone has the same tensors in both networks, but for what was decided.
#[test]
fn a_network_of_layers_begins_as_the_one_that_was_searched() {
    let layers =
        json!([{ "conv": 6, "stride": 2 }, { "basic": 8, "stride": 2 }, { "linear": 16 }, { "classifier": 2 }]);
    let space: Box<dyn SearchSpace> = serde_json::from_value(json!({ "layers": { "layers": layers } })).unwrap();
    let (images, compressors) = (Stream::numbered(4).normal(&[5, 1, 8, 8]), compressors());
    let (supernet, parameters) = trained(space.as_ref(), &compressors);
    let expected = supernet.forward(&images, &Pass::new(STEPS)).logits;
    let only = space.fixed().unwrap();
    let (network, own, said) = heir(space.as_ref(), &only, &compressors, (supernet.as_ref(), parameters));
    assert_eq!(said, format!("retraining begins with {} tensors of the search", own.named().count()));
    let found = network.forward(&images, &Pass::new(STEPS)).logits;
    assert!(found.allclose(&expected, 1e-5, 1e-5, false), "{found} and {expected}");
}

/// Where a decoded `skip` is a convolution, it is that of the edge's other candidate.
#[test]
fn a_skip_that_becomes_a_convolution_begins_as_the_candidate_beside_it() {
    let space = space(&json!({ "skip": "convolution" }));
    let skips = |architecture: &Architecture| {
        architecture.edges.iter().any(|edge| edge.operation == "skip" && edge.from.starts_with('n'))
    };
    let architecture = (0..).map(|index| space.sample(&mut Stream::open(3, "heirs", index))).find(skips).unwrap();
    let (supernet, parameters) = trained(space.as_ref(), &[]);
    let given: BTreeMap<String, Tensor> =
        parameters.named().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy())).collect();
    let (_, own, _) = heir(space.as_ref(), &architecture, &[], (supernet.as_ref(), parameters));
    let weights: Vec<_> = own.named().filter(|(name, _)| name.ends_with("weight")).collect();
    assert_eq!(weights.len(), 14, "two edges of three nodes in two cells, stem and classifier");
    for (name, tensor) in weights {
        assert!(tensor.equal(&given[name]), "{name}");
    }
}

/// Each searched layer is compressed as it was: the same mask and the same values. The stem, which
/// the supernet leaves uncompressed, is pruned by the weights that it inherits.
#[test]
fn masks_begin_as_those_of_the_search_end() {
    let (space, compressors) = (space(&json!({ "auxiliary": 0.4 })), compressors());
    let (supernet, parameters) = trained(space.as_ref(), &compressors);
    let values: BTreeMap<String, Tensor> = supernet
        .layers()
        .iter()
        .map(|layer| (layer.shape.name.clone(), layer.weight.value(Techniques::ALL).detach().copy()))
        .collect();
    let architecture = supernet.decode();
    let (network, _, said) = heir(space.as_ref(), &architecture, &compressors, (supernet.as_ref(), parameters));
    assert!(said.contains("not in the supernet and begin anew (`stem.scores`, ...)"), "{said}");
    let mut compared = 0;
    for layer in network.layers().iter().filter(|layer| layer.shape.place.is_body()) {
        let value = layer.weight.value(Techniques::ALL);
        assert!(value.allclose(&values[&layer.shape.name], 1e-6, 1e-7, false), "{}", layer.shape.name);
        let kept = value.ne(0.0).mean(Kind::Double).double_value(&[]);
        assert!((kept - 0.5).abs() * (value.numel() as f64) < 1.0, "{kept} of {}", layer.shape.name);
        compared += 1;
    }
    assert!(compared >= 8, "{compared} layers");
    let layers = network.layers();
    let stem = layers[0].weight.value(Techniques::only(Technique::Prune)).abs();
    let raw = layers[0].weight.raw().abs();
    let removed = stem.eq(0.0).to_kind(Kind::Float);
    let largest_removed = (&raw * &removed).max().double_value(&[]);
    assert!(stem.masked_select(&stem.ne(0.0)).min().double_value(&[]) >= largest_removed);
}

const WARM: [&str; 2] = ["retrain.from=\"search\"", "space.spike-dhs.channels={ search = 2, retrain = 2 }"];

/// Guards weights that live in the checkpoint of a phase that is over.
#[test]
fn interrupted_before_every_stage_it_finds_the_same() {
    assert_eq!(Desk::interruptions(&WARM), 1, "search, retrain");
}

/// The search is the same, and what is retrained is not.
#[test]
fn a_trial_says_what_retraining_begins_with() {
    let (warm, cold) = (Desk::new(&WARM), Desk::new(&WARM[1..]));
    let histories = [&warm, &cold].map(|desk| {
        desk.finish();
        record::read::<EpochRow>(&desk.trial().join(files::HISTORY)).unwrap()
    });
    let first = |retrain: bool| {
        histories.each_ref().map(|rows| {
            let row = rows.iter().find(|row| row.stage.is_search() != retrain).unwrap();
            row.train_loss.to_bits()
        })
    };
    let ([warm_search, cold_search], [warm_retrain, cold_retrain]) = (first(false), first(true));
    assert_eq!(warm_search, cold_search);
    assert_ne!(warm_retrain, cold_retrain, "both begin with the same weights");
    let log = |desk: &Desk| std::fs::read_to_string(desk.trial().join(files::LOG)).unwrap();
    assert!(log(&warm).contains("retraining begins with") && !log(&cold).contains("retraining begins with"));
}

#[test]
fn retraining_that_cannot_begin_with_the_search_is_refused_with_its_reason() {
    let said = |desk: Desk| desk.plan().expect_err("it is refused");
    let of = |more: &[&str]| said(Desk::new(&[&WARM[..1], more].concat()));
    let widths = of(&[]);
    assert!(
        widths
            .starts_with("retrain.from: `retrain.from` is \"search\", and the weights of the search have other shapes"),
        "{widths}"
    );
    assert!(
        widths.contains("`channels.search` is 1, and `channels.retrain` is 2; give both the same number"),
        "{widths}"
    );
    let nodes = of(&[WARM[1], "space.spike-dhs.final_nodes=1"]);
    assert!(nodes.contains("`nodes` is 2, and `final_nodes` is 1"), "{nodes}");
    let sequential = of(&[WARM[1], "optimizer={ sequential = {} }"]);
    assert!(sequential.contains("`sequential` trains the final weights in its own stages"), "{sequential}");
    let random = of(&[WARM[1], "optimizer={ random-search = {} }"]);
    assert!(random.contains("`random-search` leaves no trained supernet"), "{random}");
    let scheduled =
        of(&[WARM[1], "compressor=[{ admm-prune = { rate = 0.5 } }]", "timesteps={ fixed = { steps = 2 } }"]);
    assert!(scheduled.contains("a compressor follows a schedule"), "{scheduled}");
    let search = said(Desk::new(&["search.from=\"search\"", WARM[1]]));
    assert!(search.contains("nothing reads `search.from`"), "{search}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/designs/spike-dhs.toml");
    let taken = said(Desk::taking(&[WARM[0], WARM[1], &format!("design={{ file = \"{file}\" }}")]));
    assert!(taken.contains("this trial searches nothing"), "{taken}");
}
