//! The cell-based search space of SpikeDHS, as LitE-SNN uses it.
//!
//! Sources: Che et al. (SpikeDHS, NeurIPS 2022); Liu et al. (LitE-SNN, IJCAI 2024), Section 3.1, Eq. 2-3, Table 1.
//!
//! ```text
//! image [B, C, H, W] -> stem: conv 3x3, BN, LIF -> cells -> mean over the map -> classifier -> logits [T, B, K]
//! ```
//!
//! A cell has two inputs, the outputs s0 and s1 of the two cells before it, and `nodes` nodes. Node j reads s0, s1 and the nodes
//! before it; edges are numbered by node, then by source. A node is a layer of LIF neurons on the sum of its edges' currents;
//! the cell's output is all nodes side by side. All cells share their edges (alpha); bits belong to a cell.
//!
//! | candidate | edge from s0, s1 | edge from a node |
//! |---|---|---|
//! | `conv3x3` | CompConv 3x3, BN | CompConv 3x3, BN |
//! | `skip` | CompConv 3x3, BN (channels differ, so it cannot be an identity) | the spikes themselves |
//!
//! In the search, an edge's current is the mean of its candidates weighted by softmax(alpha). Decoding keeps the two edges of
//! each node with the largest weight of `conv3x3`, and on each the candidate of the largest weight.
//!
//! Differences from the authors' program, which smaller experiments favour: a candidate hands its current to the node (there: a
//! neuron on each candidate); s0 of the first cell is the stem's output (there: no s0 in the search); statistics of BN are over
//! all timesteps (there: each timestep's own); `skip` between nodes stays an identity in the final network (there: a convolution).
//!
//! In the search, stem and classifier are neither compressed nor counted, as in the authors' program; in the final network the
//! compressors act on them too.

use litesnn_framework::cost::{Input, LayerShape};
use litesnn_framework::design::{Architecture, Decisions, Design, Edge};
use litesnn_framework::plugin::{
    Build, CompressedWeight, Compressor, DataInfo, LayerSpec, Network, Pass, Place, Response, Role, SearchSpace,
    Supernet, SynapseLayer, checked,
};
use litesnn_framework::random::Stream;
use litesnn_framework::spiking::layer::{BatchNorm, firing_rate, fold_time, kaiming_fan_out, unfold_time};
use litesnn_framework::spiking::{Dspike, Lif};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

const NAME: &str = "spike-dhs";
const SKIP: &str = "skip";
const CONVOLUTION: &str = "conv3x3";
/// Edges that decoding keeps for each node.
const KEPT_EDGES: usize = 2;

/// Settings of `spike-dhs`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpikeDhs {
    /// Resolution level of each cell, from 0, never falling: a level halves the map and doubles the channels
    /// (paper: [0, 0, 1, 1, 1, 2, 2, 2]).
    #[serde(deserialize_with = "levels")]
    pub cells: Vec<u32>,
    /// Nodes of a cell, 1 to 16.
    #[serde(deserialize_with = "nodes")]
    pub nodes: usize,
    /// Channels of one node at level 0; a cell has nodes x channels x 2^level.
    pub channels: Channels,
    /// Stride of the stem's convolution: 1, 2 or 4.
    #[serde(deserialize_with = "stem_stride")]
    pub stem_stride: i64,
    /// Decay of the membrane potential from one timestep to the next, 0 to 1 (paper: 0.2).
    #[serde(deserialize_with = "decay")]
    pub tau: f64,
    /// Threshold of a spike (paper: 0.5).
    #[serde(deserialize_with = "finite")]
    pub threshold: f64,
    /// Temperature of the Dspike surrogate gradient, more than 0 (paper: 3).
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
}

fn levels<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u32>, D::Error> {
    let rising = |levels: &[u32]| levels.windows(2).all(|pair| pair[0] <= pair[1]);
    let holds = |levels: &Vec<u32>| !levels.is_empty() && rising(levels) && levels.iter().all(|&level| level <= 8);
    checked(input, holds, "a list of levels 0 to 8 that never fall, at least one")
}

fn nodes<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    checked(input, |nodes| (1..=16).contains(nodes), "1 to 16")
}

fn channels<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    checked(input, |channels| (1..=65_536).contains(channels), "1 to 65536")
}

fn stem_stride<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    checked(input, |stride| [1, 2, 4].contains(stride), "1, 2 or 4")
}

fn decay<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    checked(input, |tau| (0.0..=1.0).contains(tau), "0 to 1")
}

fn finite<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    checked(input, |value: &f64| value.is_finite(), "a finite number")
}

fn positive<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    checked(input, |value: &f64| value.is_finite() && *value > 0.0, "more than 0")
}

/// Channels of one node at level 0.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// In the supernet (paper: 12).
    #[serde(deserialize_with = "channels")]
    #[schemars(range(min = 1))]
    pub search: i64,
    /// In the final network (paper: 48).
    #[serde(deserialize_with = "channels")]
    #[schemars(range(min = 1))]
    pub retrain: i64,
}

impl Default for SpikeDhs {
    fn default() -> Self {
        SpikeDhs {
            cells: vec![0, 0, 1, 1, 1, 2, 2, 2],
            nodes: 3,
            channels: Channels { search: 12, retrain: 48 },
            stem_stride: 1,
            tau: 0.2,
            threshold: 0.5,
            temperature: 3.0,
        }
    }
}

register! {
    kind: Space,
    name: "spike-dhs",
    settings: SpikeDhs,
    version: 1,
    summary: "cells of spiking nodes, 3x3 convolution or skip on every edge",
    paper: "Che et al., SpikeDHS, NeurIPS 2022; Liu et al., LitE-SNN, IJCAI 2024",
    examples: ["[space.spike-dhs]\ncells = [0, 1, 2]\nnodes = 3\nchannels = { search = 4, retrain = 8 }\nstem_stride = 2"],
}

#[typetag::serde(name = "spike-dhs")]
impl SearchSpace for SpikeDhs {
    fn supernet(
        &self,
        data: &DataInfo,
        compressors: &[(&str, &dyn Compressor)],
        build: &mut Build,
    ) -> Result<Box<dyn Supernet>> {
        let edges = self.edges().into_iter().map(|edge| (edge, Candidates::All)).collect::<Vec<_>>();
        let count = edges.len() as i64;
        let alpha =
            build.parameter("architecture_logits", Role::ArchitectureLogit, |stream| stream.normal(&[count, 2]) * 1e-3);
        let plan = Builder { space: self, channels: self.channels.search, data, compressors, decided: None };
        Ok(Box::new(plan.body(&edges, Some(alpha), build)?))
    }

    fn network(
        &self,
        design: &Design,
        data: &DataInfo,
        compressors: &[(&str, &dyn Compressor)],
        build: &mut Build,
    ) -> Result<Box<dyn Network>> {
        let edges = self.design_edges(design)?;
        let decided = Some(&design.compression);
        let plan = Builder { space: self, channels: self.channels.retrain, data, compressors, decided };
        Ok(Box::new(plan.body(&edges, None, build)?))
    }
}

/// Where an edge begins: s0 is 0, s1 is 1, node i is 2 + i.
type Source = usize;

fn source_name(source: Source) -> String {
    if source < 2 { format!("s{source}") } else { format!("n{}", source - 2) }
}

/// An edge of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    node: usize,
    source: Source,
    /// Its number in the full cell: the row of alpha.
    index: usize,
}

/// What is on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Candidates {
    /// Skip and convolution, weighted by alpha.
    All,
    /// The convolution alone.
    Convolution,
    /// The skip alone, between nodes.
    Identity,
}

impl SpikeDhs {
    /// All edges of a cell, in order.
    fn edges(&self) -> Vec<Link> {
        let pairs = (0..self.nodes).flat_map(|node| (0..node + 2).map(move |source| (node, source)));
        pairs.enumerate().map(|(index, (node, source))| Link { node, source, index }).collect()
    }

    fn design_edges(&self, design: &Design) -> Result<Vec<(Link, Candidates)>> {
        let refuse = |message: String| Error::Plugin { kind: "space", name: NAME.into(), message };
        let all = self.edges();
        let mut kept = Vec::new();
        for Edge { node, from, operation } in &design.edges {
            let link = all.iter().find(|link| link.node == *node && source_name(link.source) == *from);
            let link = *link.ok_or_else(|| {
                refuse(format!(
                    "the design has an edge from `{from}` to node {node}, and a cell of {} nodes has none",
                    self.nodes
                ))
            })?;
            let candidates = match (operation.as_str(), link.source) {
                (CONVOLUTION, _) | (SKIP, 0 | 1) => Candidates::Convolution,
                (SKIP, _) => Candidates::Identity,
                _ => {
                    return Err(refuse(format!(
                        "operation `{operation}` is not known; known are `{CONVOLUTION}`, `{SKIP}`"
                    )));
                }
            };
            if kept.iter().any(|(other, _)| *other == link) {
                return Err(refuse(format!("the design has the edge from `{from}` to node {node} twice")));
            }
            kept.push((link, candidates));
        }
        if let Some(node) = (0..self.nodes).find(|node| !kept.iter().any(|(link, _)| link.node == *node)) {
            return Err(refuse(format!("the design has no edge to node {node} of {}", self.nodes)));
        }
        kept.sort_by_key(|(link, _)| link.index);
        Ok(kept)
    }
}

struct Builder<'a> {
    space: &'a SpikeDhs,
    channels: i64,
    data: &'a DataInfo,
    compressors: &'a [(&'a str, &'a dyn Compressor)],
    /// Decisions of the compressors; `None` in a search.
    decided: Option<&'a BTreeMap<String, Decisions>>,
}

/// Shape of a cell's output.
#[derive(Clone, Copy)]
struct MapShape {
    channels: i64,
    level: u32,
    size: (i64, i64),
}

fn halved(size: (i64, i64), times: u32) -> (i64, i64) {
    let divisor = 1i64 << times;
    ((size.0 + divisor - 1) / divisor, (size.1 + divisor - 1) / divisor)
}

impl Builder<'_> {
    fn body(&self, edges: &[(Link, Candidates)], alpha: Option<Tensor>, build: &mut Build) -> Result<Body> {
        let space = self.space;
        let [channels, height, width] = self.data.shape;
        let nodes = space.nodes as i64;
        let stem_channels = nodes * self.channels;
        let stem_size = halved((height, width), space.stem_stride.trailing_zeros());
        // Compressors leave the stem and the classifier alone in a search.
        let outside: &[(&str, &dyn Compressor)] = if self.decided.is_some() { self.compressors } else { &[] };

        let stem_shape = LayerShape {
            name: "stem".into(),
            place: Place::Stem,
            kernel: (3, 3),
            inputs: channels,
            outputs: stem_channels,
            map: stem_size,
            reads: Input::Image,
        };
        let mut at = build.at("stem");
        let stem = Convolution {
            weight: self.weight(&stem_shape, outside, kaiming_fan_out, &mut at)?,
            shape: stem_shape,
            node: 0,
            choice: 0,
        };
        let stem_norm = BatchNorm::new(stem_channels, &mut at.at("norm"));

        let stem_map = MapShape { channels: stem_channels, level: 0, size: stem_size };
        let mut inputs = [stem_map, stem_map];
        let mut cells = Vec::new();
        for (index, &level) in space.cells.iter().enumerate() {
            let mut at = build.at(format!("cell{index}"));
            cells.push(self.cell(index, level, inputs, edges, &mut at)?);
            let map = MapShape { channels: nodes * (self.channels << level), level, size: halved(stem_size, level) };
            inputs = [inputs[1], map];
        }

        let features = inputs[1].channels;
        let classes = self.data.classes.len() as i64;
        let head_shape = LayerShape {
            name: "classifier".into(),
            place: Place::Classifier,
            kernel: (1, 1),
            inputs: features,
            outputs: classes,
            map: (1, 1),
            reads: Input::Pooled,
        };
        let mut at = build.at("classifier");
        let bound = 1.0 / (features as f64).sqrt();
        let uniform = move |stream: &mut Stream, shape: &[i64]| stream.uniform(shape, -bound, bound);
        let head = self.weight(&head_shape, outside, uniform, &mut at)?;
        let head_bias = at.parameter("bias", Role::Weight, |stream| stream.uniform(&[classes], -bound, bound));
        let neuron =
            Lif { tau: space.tau, threshold: space.threshold, surrogate: Dspike { temperature: space.temperature } };
        Ok(Body {
            neuron,
            stem,
            stem_norm,
            stem_stride: space.stem_stride,
            cells,
            head,
            head_shape,
            head_bias,
            alpha,
            edges: space.edges(),
        })
    }

    fn weight(
        &self,
        shape: &LayerShape,
        compressors: &[(&str, &dyn Compressor)],
        init: impl FnOnce(&mut Stream, &[i64]) -> Tensor,
        build: &mut Build,
    ) -> Result<CompressedWeight> {
        let spec = LayerSpec { name: shape.name.clone(), place: shape.place };
        let dimensions = match shape.place {
            Place::Classifier => vec![shape.outputs, shape.inputs],
            _ => vec![shape.outputs, shape.inputs, shape.kernel.0, shape.kernel.1],
        };
        let compressors = compressors.iter().copied();
        CompressedWeight::new(spec, |stream| init(stream, &dimensions), compressors, self.decided, build)
    }

    fn cell(
        &self,
        index: usize,
        level: u32,
        inputs: [MapShape; 2],
        edges: &[(Link, Candidates)],
        build: &mut Build,
    ) -> Result<Cell> {
        let width = self.channels << level;
        let mut groups = Vec::new();
        let mut identities = Vec::new();
        for source in 0..self.space.nodes + 2 {
            let (in_channels, drop) = match inputs.get(source) {
                Some(map) => (map.channels, level - map.level),
                None => (width, 0),
            };
            let size = match inputs.get(source) {
                Some(map) => halved(map.size, drop),
                None => halved(inputs[1].size, level - inputs[1].level),
            };
            let mut at = build.at(format!("from_{}", source_name(source)));
            let mut convolutions = Vec::new();
            for (link, candidates) in edges.iter().filter(|(link, _)| link.source == source) {
                let choices: &[(&str, i64)] = match (candidates, source) {
                    (Candidates::All, 0 | 1) => &[(SKIP, 0), (CONVOLUTION, 1)],
                    (Candidates::All | Candidates::Convolution, _) => &[(CONVOLUTION, 1)],
                    (Candidates::Identity, _) => &[],
                };
                for (operation, choice) in choices {
                    let shape = LayerShape {
                        name: format!("cell{index}.n{}.{}.{operation}", link.node, source_name(source)),
                        place: Place::Cell(index),
                        kernel: (3, 3),
                        inputs: in_channels,
                        outputs: width,
                        map: size,
                        reads: Input::Spikes,
                    };
                    let mut here = at.at(format!("n{}.{operation}", link.node));
                    let weight = self.weight(&shape, self.compressors, kaiming_fan_out, &mut here)?;
                    convolutions.push(Convolution {
                        weight,
                        shape,
                        node: link.node,
                        choice: 2 * link.index as i64 + choice,
                    });
                }
                let identity = *candidates == Candidates::Identity || (*candidates == Candidates::All && source >= 2);
                if identity {
                    identities.push((source, link.node, 2 * link.index as i64));
                }
            }
            if !convolutions.is_empty() {
                let norm = BatchNorm::new(width * convolutions.len() as i64, &mut at.at("norm"));
                let choices: Vec<i64> = convolutions.iter().map(|convolution| convolution.choice).collect();
                let choices = Tensor::from_slice(&choices).to_device(at.device());
                groups.push(Group { source, stride: 1 << drop, convolutions, norm, choices });
            }
        }
        Ok(Cell { nodes: self.space.nodes, width, groups, identities })
    }
}

/// A convolution 3x3 towards a node.
struct Convolution {
    weight: CompressedWeight,
    shape: LayerShape,
    node: usize,
    /// Its place in the flattened alpha.
    choice: i64,
}

/// Convolutions of a cell that read the same spikes: one convolution with stacked weights, one normalisation.
struct Group {
    source: Source,
    stride: i64,
    convolutions: Vec<Convolution>,
    norm: BatchNorm,
    choices: Tensor,
}

struct Cell {
    nodes: usize,
    width: i64,
    groups: Vec<Group>,
    /// Source, node, place in the flattened alpha.
    identities: Vec<(Source, usize, i64)>,
}

/// Spikes `[T·B, C, H, W]` and their rate `[T]`, if it is measured.
struct Signal {
    spikes: Tensor,
    rate: Option<Tensor>,
}

impl Signal {
    fn new(spikes: Tensor, pass: &Pass) -> Signal {
        let rate = pass.measure.then(|| firing_rate(&unfold_time(&spikes, pass.timesteps)));
        Signal { spikes, rate }
    }
}

fn add(sum: &mut Option<Tensor>, term: Tensor) {
    *sum = Some(match sum.take() {
        Some(sum) => sum + term,
        None => term,
    });
}

impl Cell {
    /// `alpha` is the flattened softmax of the architecture logits, in a search.
    fn forward(
        &self,
        s0: &Signal,
        s1: &Signal,
        neuron: &Lif,
        alpha: Option<&Tensor>,
        pass: &Pass,
        activity: &mut Vec<Tensor>,
    ) -> Signal {
        let mut currents: Vec<Option<Tensor>> = (0..self.nodes).map(|_| None).collect();
        self.send(0, s0, alpha, pass, &mut currents, activity);
        self.send(1, s1, alpha, pass, &mut currents, activity);
        let mut outputs = Vec::new();
        for node in 0..self.nodes {
            let current = currents[node].take().expect("every node has an edge");
            let spikes = fold_time(&neuron.spikes(&unfold_time(&current, pass.timesteps)));
            let read = self.groups.iter().any(|group| group.source == node + 2);
            let signal = if read { Signal::new(spikes, pass) } else { Signal { spikes, rate: None } };
            self.send(node + 2, &signal, alpha, pass, &mut currents, activity);
            outputs.push(signal.spikes);
        }
        Signal::new(Tensor::cat(&outputs, 1), pass)
    }

    /// Adds what leaves `source` to the currents of the nodes it reaches.
    fn send(
        &self,
        source: Source,
        signal: &Signal,
        alpha: Option<&Tensor>,
        pass: &Pass,
        currents: &mut [Option<Tensor>],
        activity: &mut Vec<Tensor>,
    ) {
        for group in self.groups.iter().filter(|group| group.source == source) {
            let weights: Vec<Tensor> =
                group.convolutions.iter().map(|convolution| convolution.weight.value(pass.active)).collect();
            let weight = Tensor::cat(&weights, 0);
            let current = signal.spikes.conv2d(&weight, None::<&Tensor>, [group.stride; 2], [1, 1], [1, 1], 1);
            let scale = alpha
                .map(|alpha| alpha.index_select(0, &group.choices).repeat_interleave_self_int(self.width, 0, None));
            let current = group.norm.forward(&current, scale.as_ref(), pass.training);
            for (convolution, part) in group.convolutions.iter().zip(current.split(self.width, 1)) {
                add(&mut currents[convolution.node], part);
                activity.extend(signal.rate.as_ref().map(Tensor::shallow_clone));
            }
        }
        for &(_, node, choice) in self.identities.iter().filter(|(from, ..)| *from == source) {
            let term = match alpha {
                Some(alpha) => &signal.spikes * alpha.get(choice),
                None => signal.spikes.shallow_clone(),
            };
            add(&mut currents[node], term);
        }
    }
}

/// A network of this space: the supernet when it has alpha, the network of a design when not.
struct Body {
    neuron: Lif,
    stem: Convolution,
    stem_norm: BatchNorm,
    stem_stride: i64,
    cells: Vec<Cell>,
    head: CompressedWeight,
    head_shape: LayerShape,
    head_bias: Tensor,
    alpha: Option<Tensor>,
    edges: Vec<Link>,
}

impl Body {
    /// softmax(alpha), flattened: skip and convolution of each edge in turn.
    fn choice_weights(&self) -> Option<Tensor> {
        self.alpha.as_ref().map(|alpha| alpha.softmax(1, Kind::Float).flatten(0, -1))
    }
}

impl Network for Body {
    fn forward(&self, images: &Tensor, pass: &Pass) -> Response {
        let alpha = self.choice_weights();
        let mut activity = Vec::new();
        if pass.measure {
            // The stem reads the image, the same at every timestep.
            activity.push(Tensor::ones([pass.timesteps], (Kind::Float, images.device())));
        }
        // A static image drives the same current at every timestep: convolved and normalised once.
        let weight = self.stem.weight.value(pass.active);
        let current = images.conv2d(&weight, None::<&Tensor>, [self.stem_stride; 2], [1, 1], [1, 1], 1);
        let current = self.stem_norm.forward(&current, None, pass.training);
        let spikes = fold_time(&self.neuron.spikes_of_constant(&current, pass.timesteps));
        let mut before = Signal::new(spikes, pass);
        let mut last =
            Signal { spikes: before.spikes.shallow_clone(), rate: before.rate.as_ref().map(Tensor::shallow_clone) };
        for cell in &self.cells {
            let output = cell.forward(&before, &last, &self.neuron, alpha.as_ref(), pass, &mut activity);
            before = std::mem::replace(&mut last, output);
        }
        let features = last.spikes.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
        activity.extend(last.rate);
        let logits = features.linear(&self.head.value(pass.active), Some(&self.head_bias));
        Response { logits: unfold_time(&logits, pass.timesteps), auxiliary: None, activity }
    }

    fn layers(&self) -> Vec<SynapseLayer<'_>> {
        let alpha = self.choice_weights();
        let searched = alpha.is_some();
        let mut layers =
            vec![SynapseLayer { shape: &self.stem.shape, weight: &self.stem.weight, presence: None, searched: false }];
        for cell in &self.cells {
            for convolution in cell.groups.iter().flat_map(|group| &group.convolutions) {
                layers.push(SynapseLayer {
                    shape: &convolution.shape,
                    weight: &convolution.weight,
                    presence: alpha.as_ref().map(|alpha| alpha.get(convolution.choice)),
                    searched,
                });
            }
        }
        layers.push(SynapseLayer { shape: &self.head_shape, weight: &self.head, presence: None, searched: false });
        layers
    }

    fn full_precision_parameters(&self) -> u64 {
        let norms = self.cells.iter().flat_map(|cell| &cell.groups).map(|group| group.norm.parameters());
        norms.sum::<u64>() + self.stem_norm.parameters() + self.head_bias.numel() as u64
    }
}

impl Supernet for Body {
    fn decode(&self) -> Architecture {
        let weights = self.choice_weights().map(|alpha| Vec::<f32>::try_from(alpha.detach()).unwrap_or_default());
        let weights = weights.unwrap_or_default();
        let of = |link: &Link, choice: usize| weights.get(2 * link.index + choice).copied().unwrap_or(0.0);
        let nodes = self.edges.iter().map(|link| link.node + 1).max().unwrap_or(0);
        let mut edges = Vec::new();
        for node in 0..nodes {
            let mut links: Vec<&Link> = self.edges.iter().filter(|link| link.node == node).collect();
            // Stable: of equal weights the earlier edge is kept.
            links.sort_by(|a, b| of(b, 1).total_cmp(&of(a, 1)));
            links.truncate(KEPT_EDGES);
            links.sort_by_key(|link| link.index);
            for link in links {
                // On an edge from s0 or s1 both candidates are a convolution.
                let skip = link.source >= 2 && of(link, 0) > of(link, 1);
                let operation = if skip { SKIP } else { CONVOLUTION };
                edges.push(Edge { node, from: source_name(link.source), operation: operation.into() });
            }
        }
        Architecture { space: NAME.into(), edges }
    }
}
