//! Targets of `joint`: the cost that is counted is that of the network that is retrained.

use std::collections::HashMap;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::cost::{CostModel, Retrained, stored_bytes};
use litesnn_framework::network::{
    Activity, Architecture, Compression, Compressor, CostConstants, NEVER, Network, Pass, Place, SearchSpace, Supernet,
    Techniques,
};
use litesnn_framework::record::{self, LayerRow, files};
use litesnn_framework::run::layer_costs;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::desk::Desk;

const TIMESTEPS: i64 = 2;

fn info() -> DataInfo {
    DataInfo::of_form(([1, 8, 8], 3))
}

fn space(retrain: i64) -> Box<dyn SearchSpace> {
    let settings = json!({ "cells": [0, 1], "nodes": 2, "channels": { "search": 2, "retrain": retrain } });
    serde_json::from_value(json!({ "spike-dhs": settings })).unwrap()
}

/// Half of the weights at one of three widths.
fn compressors() -> [Box<dyn Compressor>; 2] {
    [json!({ "gaussian-quantize": { "bits": [1, 2, 4] } }), json!({ "score-prune": { "rate": 0.5 } })]
        .map(|settings| serde_json::from_value(settings).unwrap())
}

/// A supernet that ran some images, and the network that would be retrained.
struct Case {
    space: Box<dyn SearchSpace>,
    supernet: Box<dyn Supernet>,
    parameters: Parameters,
    activity: Vec<Activity>,
    architecture: Architecture,
    counted: Tensor,
    constants: CostConstants,
}

impl Case {
    fn new(retrain: i64) -> Case {
        let (space, compressors) = (space(retrain), compressors());
        let named: Vec<(&str, &dyn Compressor)> =
            compressors.iter().map(|one| (one.typetag_name(), one.as_ref())).collect();
        let mut parameters = Parameters::default();
        let supernet = space.supernet(&info(), &named, &mut Build::new(&mut parameters, 3, Device::Cpu)).unwrap();
        // Two bits in the first cell, four in the second.
        let chosen = [[NEVER, 0.0, NEVER], [NEVER, NEVER, 0.0]];
        tch::no_grad(|| {
            for (beta, chosen) in parameters.of(&[Role::BitLogit]).zip(chosen) {
                beta.tensor.shallow_clone().copy_(&Tensor::from_slice(&chosen));
            }
        });
        let images = Stream::numbered(5).normal(&[4, 1, 8, 8]);
        let pass = Pass { measure: true, ..Pass::new(TIMESTEPS) };
        let activity = tch::no_grad(|| supernet.forward(&images, &pass).activity);
        let (architecture, counted) = (supernet.decode(), Tensor::from_slice(&[1f32, 0.75]));
        Case { space, supernet, parameters, activity, architecture, counted, constants: CostConstants::default() }
    }

    fn model(&self) -> CostModel<'_> {
        let path = self.supernet.path(&self.architecture).unwrap().presence(Device::Cpu).unwrap();
        let soft = self.supernet.presence().unwrap();
        let presence = Some(path + &soft - soft.detach());
        let model = CostModel::of(self.supernet.as_ref(), Techniques::ALL, &self.counted, &self.constants);
        CostModel { presence, ..model }
    }

    /// The final network: open and in outline, or decided and whole.
    fn network(&self, compression: Option<&Compression>, parameters: &mut Parameters) -> Box<dyn Network> {
        let compressors = compressors();
        let named: Vec<(&str, &dyn Compressor)> =
            compressors.iter().map(|one| (one.typetag_name(), one.as_ref())).collect();
        let (open, none) = (compression.is_none(), Compression::new());
        let mut build = if open { Build::outline(parameters) } else { Build::new(parameters, 3, Device::Cpu) };
        let compression = compression.unwrap_or(&none);
        self.space.network(&self.architecture, compression, open, &info(), &named, &mut build).unwrap()
    }

    /// Stored bytes and Bit-SynOps that a target counts.
    fn costs(&self) -> (Tensor, Tensor) {
        let outline = self.network(None, &mut Parameters::default());
        let layers = self.supernet.layers();
        Retrained::of(outline.as_ref(), &layers).unwrap().costs(&self.model(), &layers, &self.activity)
    }

    /// The gradients of a cost to alpha and beta.
    fn gradients(&self, cost: &Tensor) -> Vec<Tensor> {
        self.parameters.zero_grad();
        cost.backward();
        let moved = [Role::ArchitectureLogit, Role::BitLogit];
        self.parameters.of(&moved).map(|logits| logits.tensor.grad().copy()).collect()
    }
}

/// The account of a finished trial, of the whole network with its bits and scores, at the rates that
/// the supernet's layers have.
#[test]
fn a_target_counts_what_the_record_says_of_the_retrained_network() {
    let case = Case::new(4);
    let decided = case.supernet.decisions(Techniques::ALL);
    let network = case.network(Some(&decided), &mut Parameters::default());
    let layers = case.supernet.layers();
    let rates: HashMap<&str, &Activity> =
        layers.iter().map(|layer| layer.shape.name.as_str()).zip(&case.activity).collect();
    let silent = || Activity { rate: Tensor::zeros([TIMESTEPS], (Kind::Float, Device::Cpu)), map: None };
    let of_layer = |name: &String| rates.get(name.as_str()).map_or_else(silent, |rate| rate.shallow_clone());
    let activity: Vec<Activity> = network.layers().iter().map(|layer| of_layer(&layer.shape.name)).collect();
    let rows = layer_costs::running_layers(network.as_ref(), &activity, &[1.0, 0.75]);
    let rows: Vec<LayerRow> = rows.into_iter().filter(|row| row.place != Place::Auxiliary.group()).collect();
    let weights = rows.iter().map(|row| row.stored_bytes).sum();
    let others = network.full_precision_parameters() - network.auxiliary_parameters();
    let recorded = (stored_bytes(weights, others), rows.iter().map(|row| row.bit_syn_ops).sum::<f64>());

    let (bytes, operations) = case.costs();
    let (bytes, operations) = (bytes.double_value(&[]), operations.double_value(&[]));
    assert!(recorded.1 > 0.0 && (operations / recorded.1 - 1.0).abs() < 1e-6, "{operations}, recorded {recorded:?}");
    // Values and mask of each layer are recorded in whole bytes.
    let apart = recorded.0 - bytes;
    assert!(apart.abs() <= 2.0 * rows.len() as f64, "{bytes}, recorded {recorded:?}");
}

/// What is decided costs what the searched network itself counts, with its gradients; beside it are
/// stem, classifier and normalisation.
#[test]
fn at_equal_widths_a_target_counts_the_searched_network() {
    let case = Case::new(2);
    let (bytes, operations) = case.costs();
    let (own_bits, own_operations) = case.model().stored_terms(&case.supernet.layers(), &case.activity);
    // Half of 3x3x1x4 weights of the stem and of 3x8 of the classifier in four bits, one bit of mask for
    // each of them all; a factor and a shift for the four channels of the stem and for those of each
    // convolution, and three biases.
    let convolutions = case.network(None, &mut Parameters::default());
    let channels: i64 =
        convolutions.layers().iter().filter(|layer| layer.searched).map(|layer| layer.shape.outputs).sum();
    let settled = (36.0 + 24.0) * (0.5 * 4.0 + 1.0) / 8.0 + 4.0 * (2 * (4 + channels) + 3) as f64;
    let close = |found: &Tensor, expected: f64| {
        let found = found.double_value(&[]);
        assert!((found / expected - 1.0).abs() < 1e-6, "{found}, and not {expected}");
    };
    close(&bytes, own_bits.double_value(&[]) / 8.0 + settled);
    close(&operations, own_operations.double_value(&[]));
    // Both costs share a part of their graph, which is gone after one of them.
    let own = || case.model().stored_terms(&case.supernet.layers(), &case.activity);
    let pairs = [(case.costs().0, own().0 / 8.0), (case.costs().1, own().1)];
    for (cost, own) in pairs {
        let pairs = case.gradients(&cost).into_iter().zip(case.gradients(&own));
        assert!(pairs.into_iter().all(|(found, expected)| found.allclose(&expected, 1e-5, 1e-9, false)));
    }
}

/// dC = C / C_s · dC_s.
#[test]
fn the_gradient_of_a_wider_network_is_that_of_the_searched_one_in_proportion() {
    let case = Case::new(4);
    let (_, operations) = case.costs();
    let (_, own) = case.model().stored_terms(&case.supernet.layers(), &case.activity);
    let ratio = operations.double_value(&[]) / own.double_value(&[]);
    // Every layer, those that read the stem too, has twice the inputs and twice the outputs.
    assert!((ratio - 4.0).abs() < 1e-6, "{ratio}");
    let pairs = case.gradients(&operations).into_iter().zip(case.gradients(&own));
    for (found, expected) in pairs {
        assert!(found.allclose(&(&expected * ratio), 1e-5, 1e-9, false), "{found} and {expected}");
    }
}

/// The whole way: what the last step of a search expects is what the trial's record has, where no
/// bits are left to choose and edges stay as they were drawn.
#[test]
fn a_search_says_what_the_retrained_network_takes() {
    let desk = Desk::new(&[
        "compressor.gaussian-quantize.bits=[4]",
        "optimizer.joint.architecture_rate=1e-9",
        "optimizer.joint.target_stored_bytes=1e9",
    ]);
    desk.finish();
    let log = std::fs::read_to_string(desk.trial().join(files::LOG)).unwrap();
    let said = log.split("target_stored_bytes: ").nth(1).expect("the search says what it expects");
    let expected: f64 = said.split(' ').next().unwrap().parse().unwrap();
    let layers: Vec<LayerRow> = record::read(&desk.trial().join(files::LAYERS)).unwrap();
    let stored = desk.outcome().stored_bytes;
    let apart = (stored - expected).abs();
    assert!(apart <= 2.0 * layers.len() as f64, "{expected} expected and {stored} stored");
}
