//! Search spaces with faults: SpikeDHS, spoilt.
//!
//! ```text
//! network = SpikeDHS + fault
//! ```

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Role, Stream};
use litesnn_framework::network::{
    Architecture, Compression, Compressor, LayerShape, Network, Pass, Response, SearchSpace, Supernet, SynapseLayer,
};
use litesnn_framework::plugin::Descriptor;
use litesnn_framework::{Error, Result, descriptor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::{each_breaks, keeps_all, with};

/// SpikeDHS with two small cells.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Faulty {
    /// Channels of a node.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    width: u16,
    /// What is wrong with it.
    #[serde(default)]
    #[schemars(with = "String")]
    fault: Fault,
}

fn two() -> u16 {
    2
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    ForgetsATimestep,
    UnusedParameter,
    UnseededStart,
    HiddenTensor,
    MixesTheBatch,
    DecodesToNothing,
    WrongShapes,
    RatesAboveOne,
    RatesBeforeResize,
    CountsNoParameters,
    IgnoresCompressors,
    PanicsWhenNarrow,
}

const FAULTY: Descriptor = descriptor! {
    kind: Space,
    name: "faulty",
    settings: Faulty,
    version: 1,
    summary: "SpikeDHS with a fault",
    paper: "none",
    examples: ["[space.faulty]\nwidth = 2"],
    file: "space.rs",
};

/// Each fault with the rules that it breaks.
pub const BROKEN: &[(&str, &[&str])] = &[
    ("forgets-a-timestep", &["forward", "compressors"]),
    ("unused-parameter", &["gradients", "parameters", "compressors"]),
    ("unseeded-start", &["same-seed", "parameters"]),
    ("hidden-tensor", &["save-and-load"]),
    ("mixes-the-batch", &["batch"]),
    (
        "decodes-to-nothing",
        &[
            "forward",
            "gradients",
            "same-seed",
            "save-and-load",
            "batch",
            "decode",
            "layers",
            "activity",
            "parameters",
            "compressors",
        ],
    ),
    ("wrong-shapes", &["layers", "activity"]),
    ("rates-above-one", &["activity"]),
    ("rates-before-resize", &["activity"]),
    ("counts-no-parameters", &["parameters"]),
    ("ignores-compressors", &["compressors"]),
    ("panics-when-narrow", &["extremes"]),
];

impl Faulty {
    fn inner(&self) -> Box<dyn SearchSpace> {
        if self.fault == Fault::PanicsWhenNarrow && self.width == 1 {
            panic!("a convolution without channels");
        }
        let channels = json!({ "search": self.width, "retrain": self.width });
        serde_json::from_value(json!({ "spike-dhs": { "cells": [0, 1], "nodes": 2, "channels": channels } })).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "the fault is what the rule has to find")]
    fn spoil(&self, inner: Inner, build: &mut Build) -> Spoilt {
        let shapes = inner.network().layers().into_iter().map(|layer| {
            let wrong = i64::from(self.fault == Fault::WrongShapes);
            LayerShape { inputs: layer.shape.inputs + wrong, ..layer.shape.clone() }
        });
        let shapes = shapes.collect();
        let offset = match self.fault {
            Fault::UnusedParameter => {
                let _ = build.parameter("unused", Role::Weight, |stream| stream.normal(&[3]));
                None
            }
            Fault::UnseededStart => {
                Some(build.parameter("start", Role::Weight, |_| Tensor::randn([3], (Kind::Float, Device::Cpu))))
            }
            // Drawn from the seed, and in no checkpoint.
            Fault::HiddenTensor => {
                let first = inner.network().layers()[0].weight.raw().detach().flatten(0, -1);
                Some(first.narrow(0, 0, 3).copy())
            }
            _ => None,
        };
        Spoilt { inner, fault: self.fault, shapes, offset }
    }

    fn compressors<'a, 'b>(&self, given: &'b [(&'a str, &'a dyn Compressor)]) -> &'b [(&'a str, &'a dyn Compressor)] {
        if self.fault == Fault::IgnoresCompressors { &[] } else { given }
    }
}

#[typetag::serde(name = "faulty")]
impl SearchSpace for Faulty {
    fn supernet(
        &self,
        data: &DataInfo,
        compressors: &[(&str, &dyn Compressor)],
        build: &mut Build,
    ) -> Result<Box<dyn Supernet>> {
        let inner = Inner::Supernet(self.inner().supernet(data, self.compressors(compressors), build)?);
        Ok(Box::new(self.spoil(inner, build)))
    }

    fn network(
        &self,
        architecture: &Architecture,
        compression: &Compression,
        open: bool,
        data: &DataInfo,
        compressors: &[(&str, &dyn Compressor)],
        build: &mut Build,
    ) -> Result<Box<dyn Network>> {
        if architecture.edges.is_empty() {
            let message = "the design has no edges, and a cell has two nodes".into();
            return Err(Error::Plugin { kind: "space", name: "faulty".into(), message });
        }
        let given = self.compressors(compressors);
        let inner = Inner::Network(self.inner().network(architecture, compression, open, data, given, build)?);
        Ok(Box::new(self.spoil(inner, build)))
    }

    fn sample(&self, random: &mut Stream) -> Architecture {
        self.inner().sample(random)
    }
}

enum Inner {
    Supernet(Box<dyn Supernet>),
    Network(Box<dyn Network>),
}

impl Inner {
    fn network(&self) -> &dyn Network {
        match self {
            Inner::Supernet(supernet) => supernet.as_ref(),
            Inner::Network(network) => network.as_ref(),
        }
    }
}

struct Spoilt {
    inner: Inner,
    fault: Fault,
    shapes: Vec<LayerShape>,
    offset: Option<Tensor>,
}

impl Network for Spoilt {
    fn forward(&self, images: &Tensor, pass: &Pass) -> Response {
        let mut response = self.inner.network().forward(images, pass);
        if let Some(offset) = &self.offset {
            response.logits += offset;
        }
        match self.fault {
            Fault::ForgetsATimestep => response.logits = response.logits.narrow(0, 0, pass.timesteps - 1),
            Fault::MixesTheBatch => response.logits += images.mean(Kind::Float),
            Fault::RatesAboveOne => response.activity.iter_mut().for_each(|layer| *layer = layer.scaled(2.0)),
            // The maps are those of what the layers read.
            Fault::RatesBeforeResize => response.activity.iter_mut().for_each(|layer| layer.rate = &layer.rate * 0.9),
            _ => {}
        }
        response
    }

    fn layers(&self) -> Vec<SynapseLayer<'_>> {
        let layers = self.inner.network().layers().into_iter().zip(&self.shapes);
        layers.map(|(layer, shape)| SynapseLayer { shape, ..layer }).collect()
    }

    fn presence(&self) -> Option<Tensor> {
        self.inner.network().presence()
    }

    fn full_precision_parameters(&self) -> u64 {
        if self.fault == Fault::CountsNoParameters { 0 } else { self.inner.network().full_precision_parameters() }
    }
}

impl Supernet for Spoilt {
    fn decode(&self) -> Architecture {
        let Inner::Supernet(supernet) = &self.inner else { unreachable!("only a supernet is decoded") };
        let edges = if self.fault == Fault::DecodesToNothing { Vec::new() } else { supernet.decode().edges };
        Architecture { space: "faulty".into(), edges }
    }
}

#[test]
fn a_space_without_fault_keeps_every_rule() {
    keeps_all(&FAULTY);
}

#[test]
fn a_space_with_a_fault_breaks_the_rules_about_it() {
    each_breaks(BROKEN, &[], |fault| with(&FAULTY, format!("[space.faulty]\nwidth = 2\nfault = \"{fault}\"")));
}
