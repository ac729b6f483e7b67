//! Running statistics of a network whose number of timesteps is decided after its weights.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use litesnn_framework::data::{DataInfo, Normalisation, Split, Splits};
use litesnn_framework::ground::{Build, Parameters, Stream};
use litesnn_framework::network::{Pass, SearchSpace, Techniques, TimestepSearcher};
use litesnn_framework::record::{Event, Observer, TrialLabel};
use litesnn_framework::train::{
    Gating, Interval, Open, Regime, Search, SearchParts, Searched, Session, SessionSpec, StepReport, Training,
};
use litesnn_plugins as _;
use serde_json::json;
use tch::{Device, Kind, Tensor};

struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
}

/// Eight images: one batch is all there is to train on.
fn data() -> Splits {
    let split = |count: i64| Split {
        images: Stream::open(0, "images", 0).uniform(&[count, 1, 8, 8], 0.0, 1.0),
        labels: Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(2),
    };
    Splits {
        info: DataInfo::of_form(([1, 8, 8], 2)),
        normalisation: Normalisation { mean: vec![0.5], std: vec![0.3] },
        preparation: None,
        measured: None,
        train: split(8),
        validation: split(0),
        test: split(0),
    }
}

fn space() -> Box<dyn SearchSpace> {
    let space = json!({ "spike-dhs": {
        "cells": [0, 1], "nodes": 2, "channels": { "search": 2, "retrain": 2 }, "normalisation": "each-timestep"
    }});
    serde_json::from_value(space).unwrap()
}

fn open(data: &Splits) -> Open {
    let space = space();
    let timesteps = json!({ "compressive": { "max": 4, "warmup": 0 } });
    let timesteps: Box<dyn TimestepSearcher> = serde_json::from_value(timesteps).unwrap();
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 1, Device::Cpu);
    let gate = timesteps.attach(&mut build.at("timesteps")).unwrap();
    let network = Searched::Supernet(space.supernet(&data.info, &[], &mut build).unwrap());
    Open::new(network, gate, parameters)
}

fn buffers(parameters: &Parameters) -> Vec<(String, Tensor)> {
    parameters.buffers().iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect()
}

/// The network's parameters and statistics at the end of a search that ran four timesteps and
/// decided for `timesteps`.
fn searched(data: &Splits, timesteps: i64, folder: &Path) -> (Open, Parameters) {
    let training: Training = serde_json::from_value(json!({ "epochs": 2, "batch_size": 8 })).unwrap();
    let stop = AtomicBool::new(false);
    let interval = Interval::default();
    let spec = SessionSpec { splits: data, device: Device::Cpu, seed: 0, folder, trial: "t", interval, graphs: false };
    let label = TrialLabel { index: 0, count: 1, title: "t" };
    let mut session = Session::open(spec, label, &Silent, &stop).unwrap();
    let opened = open(data);
    let psi =
        &opened.parameters.trainable().iter().find(|parameter| parameter.name == "timesteps.logits").unwrap().tensor;
    tch::no_grad(|| {
        let _ = psi.get(timesteps - 1).fill_(1.0);
    });
    let settle = |_: &_, _: &_, _: _| unreachable!("nothing settles");
    let parts = SearchParts { open: opened, training: &training, max_timesteps: 4, recorder: None };
    let space = space();
    let mut search = Search::new(parts, space.as_ref(), &training, &settle, &mut session).unwrap();
    let regime = Regime { active: Techniques::NONE, timesteps: 4, gating: Gating::Off, path: None };
    search
        .stage("search", 2, regime, &mut [], |parts, batch, _, _| {
            let response = tch::no_grad(|| parts.forward(batch, regime, false));
            let logits = response.logits.mean_dim(0, false, None::<Kind>);
            Ok(StepReport { loss: Tensor::from(1f32), logits })
        })
        .unwrap();
    search.decide_timesteps();
    let taken = search.take_parameters().unwrap();
    // The same network, to compute with.
    let again = open(data);
    again.parameters.copy_from(&taken).unwrap();
    (again, taken)
}

/// Guards an evaluation at T by statistics over more timesteps. The expected ones are those of one
/// pass at T from zero: 0.1, 0.09 ... of each timestep's, which 1 - 0.9^T makes a mean.
#[test]
fn running_statistics_are_those_of_the_timesteps_that_were_decided() {
    let (data, folder) = (data(), tempfile::tempdir().unwrap());
    let (network, found) = searched(&data, 2, folder.path());
    let found = buffers(&found);
    tch::no_grad(|| {
        for (_, buffer) in network.parameters.buffers() {
            let _ = buffer.shallow_clone().zero_();
        }
        let images = (&data.train.images - 0.5) / 0.3;
        network.network.network().forward(&images, &Pass { training: true, active: Techniques::NONE, ..Pass::new(2) });
    });
    let mut compared = 0;
    for ((name, found), (_, one_pass)) in found.iter().zip(buffers(&network.parameters)) {
        // The stem normalises its one map once a pass, every other layer once a timestep.
        let updates = if name.starts_with("stem.") { 1 } else { 2 };
        let expected = one_pass / (1.0 - 0.9f64.powi(updates));
        let apart = (found - &expected).abs().max().double_value(&[]);
        assert!(apart < 1e-3 * (1.0 + expected.abs().max().double_value(&[])), "{name}: {found} {expected}");
        compared += 1;
    }
    assert!(compared > 6, "{compared}");
}

/// Statistics over the timesteps that the network runs anyway stay as training left them.
#[test]
fn statistics_stay_where_all_timesteps_are_kept() {
    let data = data();
    let trained = |timesteps: i64| {
        let folder = tempfile::tempdir().unwrap();
        let (_, found) = searched(&data, timesteps, folder.path());
        buffers(&found)
    };
    let (all, half) = (trained(4), trained(2));
    // Two epochs of one batch: 1 - 0.9² of the stem's statistics are there, and not all of them.
    let of = |all: &[(String, Tensor)]| all.iter().find(|(name, _)| name == "stem.norm.running_mean").unwrap().1.copy();
    let ratio = (of(&all) / of(&half)).mean(Kind::Double).double_value(&[]);
    assert!((ratio - (1.0 - 0.81)).abs() < 1e-3, "{ratio}");
}
