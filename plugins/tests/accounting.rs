//! The accounting of a search is that of the design it decodes to, and its gradients are its
//! derivatives.

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::cost::CostModel;
use litesnn_framework::network::{
    Activity, Compressor, CostConstants, Pass, SearchSpace, Supernet, Techniques, TimestepGate, TimestepSearcher,
    exceedance,
};
use litesnn_framework::record::LayerRow;
use litesnn_framework::run::layer_costs;
use litesnn_plugins as _;
use serde_json::{Value, json};
use tch::{Device, Tensor};

const MAX_TIMESTEPS: i64 = 3;
/// The softmax of a logit this far below another is zero in f32.
const NEVER: f64 = -1e4;

fn data() -> DataInfo {
    DataInfo::of_form(([2, 8, 8], 3))
}

/// The space, wide enough in the search to be the final network's width.
fn space(more: Value) -> Box<dyn SearchSpace> {
    let mut settings = json!({
        "cells": [0, 1], "nodes": 3, "channels": { "search": 2, "retrain": 2 }, "stem_stride": 1, "auxiliary": 0.0,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({ "spike-dhs": settings })).unwrap()
}

fn compressors(list: Value) -> Vec<Box<dyn Compressor>> {
    serde_json::from_value(list).unwrap()
}

fn named(compressors: &[Box<dyn Compressor>]) -> Vec<(&str, &dyn Compressor)> {
    compressors.iter().map(|compressor| (compressor.typetag_name(), compressor.as_ref())).collect()
}

fn images(count: i64) -> Tensor {
    Stream::open(4, "images", 0).normal(&[count, 2, 8, 8])
}

/// A supernet with its gate, and what one batch made its neurons do.
struct Searched {
    supernet: Box<dyn Supernet>,
    gate: Box<dyn TimestepGate>,
    parameters: Parameters,
    activity: Vec<Activity>,
}

fn searched(list: Value) -> Searched {
    let searcher = json!({ "compressive": { "max": MAX_TIMESTEPS, "warmup": 0 } });
    let searcher: Box<dyn TimestepSearcher> = serde_json::from_value(searcher).unwrap();
    let compressors = compressors(list);
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 5, Device::Cpu);
    let gate = searcher.attach(&mut build.at("timesteps")).unwrap();
    let supernet = space(json!({})).supernet(&data(), &named(&compressors), &mut build).unwrap();
    let pass = Pass { training: true, measure: true, ..Pass::new(MAX_TIMESTEPS) };
    let activity = tch::no_grad(|| supernet.forward(&images(4), &pass).activity);
    Searched { supernet, gate, parameters, activity }
}

impl Searched {
    fn counted(&self) -> Tensor {
        exceedance(&self.gate.weights(usize::MAX))
    }

    /// L_mem and L_comp of the layers of these names; of all for `None`.
    fn terms(&self, names: Option<&[String]>) -> (Tensor, Tensor) {
        let counted = self.counted();
        let mut layers = self.supernet.layers();
        let mut activity: Vec<Activity> = self.activity.iter().map(Activity::shallow_clone).collect();
        if let Some(names) = names {
            let mut keep = layers.iter().map(|layer| names.contains(&layer.shape.name)).collect::<Vec<_>>().into_iter();
            activity.retain(|_| keep.next().unwrap());
            layers.retain(|layer| names.contains(&layer.shape.name));
        }
        let constants = CostConstants::default();
        let model = CostModel::of(self.supernet.as_ref(), Techniques::ALL, &counted, &constants);
        model.search_terms(&layers, &activity)
    }
}

/// Makes every logit of a role certain: of each row, the entry that `choose` names.
fn decide(parameters: &Parameters, role: Role, mut choose: impl FnMut(i64) -> i64) {
    tch::no_grad(|| {
        for parameter in parameters.of(&[role]) {
            let mut logits = parameter.tensor.shallow_clone();
            let width = *logits.size().last().unwrap();
            let _ = logits.fill_(NEVER);
            let rows = logits.view([-1, width]);
            for row in 0..rows.size()[0] {
                let _ = rows.get(row).get(choose(row)).fill_(0.0);
            }
        }
    });
}

fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1e-12)
}

/// A supernet counts every edge, the decoded design two a node: compared are the layers that the
/// design keeps.
#[test]
fn a_search_without_doubt_costs_what_its_design_costs() {
    for list in [
        json!([{ "gaussian-quantize": { "bits": [1, 2, 4] } }, { "score-prune": { "rate": 0.8 } }]),
        json!([{ "score-prune": { "rate": 0.5 } }, { "gaussian-quantize": { "bits": [1, 2, 4] } }]),
        json!([{ "branch-wise": { "bits": [1, 2, 4], "rate": 0.8 } }]),
        json!([{ "magnitude-prune": { "rate": 0.9 } }]),
        json!([]),
    ] {
        let searched = searched(list.clone());
        // Convolutions everywhere; other bits in each cell; two of three timesteps.
        decide(&searched.parameters, Role::ArchitectureLogit, |_| 1);
        let mut cell = 0;
        decide(&searched.parameters, Role::BitLogit, |_| {
            cell += 1;
            cell
        });
        decide(&searched.parameters, Role::TimestepLogit, |_| 1);
        let timesteps = searched.gate.decide();
        assert_eq!(timesteps, 2);

        let compression = searched.supernet.decisions(Techniques::ALL);
        let architecture = searched.supernet.decode();
        let compressors = compressors(list.clone());
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 5, Device::Cpu);
        let network =
            space(json!({})).network(&architecture, &compression, false, &data(), &named(&compressors), &mut build);
        let network = network.unwrap();
        let shapes: Vec<String> = network.layers().iter().map(|layer| layer.shape.name.clone()).collect();
        let of_search: Vec<String> = searched.supernet.layers().iter().map(|layer| layer.shape.name.clone()).collect();
        let activity: Vec<Activity> = shapes
            .iter()
            .map(|name| {
                let index = of_search.iter().position(|other| other == name).unwrap();
                Activity { rate: searched.activity[index].rate.narrow(0, 0, timesteps), map: None }
            })
            .collect();
        let rows: Vec<LayerRow> = layer_costs::layers(network.as_ref(), &activity, timesteps)
            .into_iter()
            .filter(|row| row.place.starts_with("cell"))
            .collect();
        assert_eq!(rows.len(), 2 * 6, "{shapes:?}");
        let kept: Vec<String> = rows.iter().map(|row| row.layer.clone()).collect();
        let (memory, compute) = searched.terms(Some(&kept));
        let memory_bits: f64 = rows.iter().map(|row| row.memory_bits).sum();
        let bit_syn_ops: f64 = rows.iter().map(|row| row.bit_syn_ops).sum();
        assert!(close(number(&memory), memory_bits, 1e-6), "{list}: L_mem {memory:?}, cost {memory_bits}");
        assert!(close(number(&compute), bit_syn_ops, 1e-6), "{list}: L_comp {compute:?}, cost {bit_syn_ops}");
        assert!(bit_syn_ops > 0.0);
    }
}

#[test]
fn the_gradients_of_the_cost_terms_are_their_derivatives() {
    const STEP: f64 = 1e-2;
    let list = json!([{ "gaussian-quantize": { "bits": [1, 2, 4] } }, { "score-prune": { "rate": 0.8 } }]);
    let searched = searched(list);
    let mut noise = Stream::open(8, "logits", 0);
    let roles = [Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];
    tch::no_grad(|| {
        for parameter in searched.parameters.of(&roles) {
            parameter.tensor.shallow_clone().copy_(&noise.normal(&parameter.tensor.size()));
        }
    });
    let mut with_gradient = 0;
    for (term, takes) in [("L_mem", 0), ("L_comp", 1)] {
        let value = || {
            let (memory, compute) = searched.terms(None);
            if takes == 0 { memory } else { compute }
        };
        searched.parameters.zero_grad();
        value().backward();
        for parameter in searched.parameters.of(&roles) {
            let gradient = parameter.tensor.grad();
            let told = |index: i64| if gradient.defined() { gradient.view(-1).double_value(&[index]) } else { 0.0 };
            let count = parameter.tensor.numel() as i64;
            let scale = (0..count).map(|index| told(index).abs()).fold(0.0, f64::max);
            for index in 0..count {
                let shifted = |step: f64| {
                    tch::no_grad(|| {
                        let mut element = parameter.tensor.view(-1).get(index);
                        let before = element.copy();
                        let _ = element.g_add_scalar_(step);
                        let moved = number(&value());
                        element.copy_(&before);
                        moved
                    })
                };
                let seen = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
                let far = (told(index) - seen).abs() > 1e-3 * scale.max(seen.abs()) + 1e-3;
                assert!(!far, "{term} by {}[{index}]: gradient {}, difference {seen}", parameter.name, told(index));
            }
            with_gradient += usize::from(scale > 0.0);
        }
    }
    // Beta of two cells in both terms, alpha and psi in L_comp.
    assert_eq!(with_gradient, 2 + 2 + 2);
}

/// A weight that its quantiser rounds to zero is stored at its bits all the same, and one that a mask
/// removes is not.
#[test]
fn the_mean_of_bits_counts_the_zeros_of_a_quantiser_and_not_those_of_a_mask() {
    let space = space(json!({}));
    let architecture = space.sample(&mut Stream::open(1, "architecture", 0));
    let totals = |list: Value| {
        let compressors = compressors(list);
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 5, Device::Cpu);
        let decided = Default::default();
        let network = space.network(&architecture, &decided, false, &data(), &named(&compressors), &mut build).unwrap();
        let rows = layer_costs::layers(network.as_ref(), &[], MAX_TIMESTEPS);
        let all: f64 = rows.iter().map(|row| row.bits * row.weights as f64).sum();
        let weights: f64 = rows.iter().map(|row| row.weights as f64).sum();
        (layer_costs::totals(&rows, network.as_ref()), all / weights)
    };
    let (rounded, mean) = totals(json!([{ "learned-step-quantize": { "bits": 2 } }]));
    assert!(rounded.kept_weights < rounded.weights, "levels have a zero");
    assert!(close(rounded.mean_bits, mean, 1e-12), "{} and {mean}", rounded.mean_bits);
    let (removed, _) = totals(json!([{ "magnitude-prune": { "rate": 0.5 } }]));
    assert!(removed.kept_weights < removed.weights);
    assert_eq!(removed.mean_bits, 32.0);
}
