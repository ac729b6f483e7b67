//! The cell-based search space of SpikeDHS, as LitE-SNN uses it.
//!
//! Sources: Che et al. (SpikeDHS, NeurIPS 2022); Liu et al. (LitE-SNN, IJCAI 2024), Section 3.1, Eq. 2-3, Table 1.
//!
//! ```text
//! image [B, C, H, W] -> stem: conv 3x3, BN, LIF -> cells -> mean over the map -> classifier -> logits [T, B, K]
//! ```
//!
//! A cell has two inputs, the outputs s0 and s1 of the two cells before it (of the first cell, both are the stem's), and `nodes`
//! nodes. Node j reads s0, s1 and the nodes before it; edges are numbered by node, then by source. A node is a layer of LIF
//! neurons on the sum of its edges' currents; the cell's output is all nodes side by side. All cells share their edges (alpha);
//! bits belong to a cell.
//!
//! | candidate | edge from s0, s1 | edge from a node |
//! |---|---|---|
//! | `conv3x3` | CompConv 3x3, BN | CompConv 3x3, BN |
//! | `skip` | CompConv 3x3, BN (channels differ, so it cannot be an identity) | the spikes themselves |
//!
//! In the search, an edge's current is the mean of its candidates weighted by softmax(alpha). Decoding keeps the two edges of
//! each node with the largest weight of `conv3x3`, and on each the candidate of the largest weight.
//!
//! # The paper's text and the authors' program
//!
//! They differ. The defaults follow the text; the program's way is an option, and the published sizes and operation counts
//! (Tables 2 and 5) need those marked with a star.
//!
//! | setting | default | the authors' program |
//! |---|---|---|
//! | `final_nodes`* | all of the 4 nodes that are searched | 3: the first three nodes are decoded |
//! | `skip`* | `identity`: a decoded `skip` between nodes passes the spikes on | `convolution`: it becomes a CompConv |
//! | `downsampling` | `stride`: convolutions into a smaller map have stride 2 | `resize`: nearest neighbour, then stride 1 (in the final network; the supernet has strides) |
//! | `candidates` | `current`: a candidate hands its current to the node | `spike`: a LIF layer on each candidate of the supernet |
//! | `search_stem` | `spiking`: conv, BN, LIF as in the final network | `plain`: no LIF in the supernet |
//! | `pooling` | `mean`: the classifier reads firing rates | `spiking`: a LIF layer on the pooled map, in the final network |
//! | `classifier`* | `biased`: linear with bias | `normalised`: linear without bias, then BN, in the final network |
//! | `normalisation` | `all-timesteps`: one mean and variance over all timesteps | `each-timestep`: each timestep's own |
//!
//! Two things of the program have no option. Its supernet gives the first cell no s0, which leaves an untrained alpha. And its
//! pooling neurons keep their potential from one batch to the next, so that an image's logits depend on the one before.
//! Table 1 prints the stem as "Conv-Spike-BN", which would hand real numbers to the cells; the program's order is used.
//!
//! In the search, stem and classifier are neither compressed nor counted, as in the authors' program; in the final network the
//! compressors act on them too, and on the auxiliary head: a classifier on the output of cell 2n/3, used in training only.

#[path = "spike_dhs/head.rs"]
mod head;
#[path = "spike_dhs/network.rs"]
mod network;

use litesnn_framework::design::{Architecture, Compression, Edge};
use litesnn_framework::plugin::{Build, Compressor, DataInfo, Network, Role, SearchSpace, Supernet, checked};
use litesnn_framework::random::Stream;
use litesnn_framework::spiking::layer::Statistics;
use litesnn_framework::{Error, Result, register};
use network::Builder;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

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
    /// Nodes of a cell, 1 to 16 (paper: 4).
    #[serde(deserialize_with = "nodes")]
    pub nodes: usize,
    /// Nodes of a cell of the final network: the first ones of those that are searched; 0 for all (authors' program: 3).
    #[serde(deserialize_with = "final_nodes")]
    pub final_nodes: usize,
    /// Channels of one node at level 0; a cell has nodes x channels x 2^level.
    pub channels: Channels,
    /// Stride of the stem's convolution: 1, 2 or 4.
    #[serde(deserialize_with = "stem_stride")]
    pub stem_stride: i64,
    /// What a decoded `skip` between two nodes is in the final network.
    pub skip: Skip,
    /// How an input of a cell gets smaller in the final network.
    pub downsampling: Downsampling,
    /// What a candidate operation of the supernet hands to its node.
    pub candidates: Handed,
    /// The stem of the supernet.
    pub search_stem: SearchStem,
    /// How the last map is pooled in the final network.
    pub pooling: Pooling,
    /// The classifier of the final network.
    pub classifier: Classifier,
    /// What batch normalisation averages over.
    pub normalisation: Statistics,
    /// Weight of the auxiliary head's loss in retraining; 0 for no such head (paper: 0.4).
    #[serde(deserialize_with = "weight")]
    pub auxiliary: f64,
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

/// What a decoded `skip` between two nodes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// The spikes themselves.
    Identity,
    /// A CompConv 3x3 with BN, as on every other edge.
    Convolution,
}

/// How an input of a cell gets smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Downsampling {
    /// By the stride of the convolution that reads it.
    Stride,
    /// By nearest neighbour, before a convolution of stride 1.
    Resize,
}

/// What a candidate operation hands to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Handed {
    /// Its current.
    Current,
    /// The spikes of a LIF layer of its own.
    Spike,
}

/// The stem of the supernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SearchStem {
    /// Convolution, BN, LIF.
    Spiking,
    /// Convolution and BN: the first cells read real numbers, and each counts as a spike at every timestep.
    Plain,
}

/// How the last map is pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean over the map.
    Mean,
    /// A LIF layer on the mean over the map.
    Spiking,
}

/// The last layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Classifier {
    /// Linear with bias.
    Biased,
    /// Linear without bias, then BN over the classes.
    Normalised,
}

fn levels<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u32>, D::Error> {
    let rising = |levels: &[u32]| levels.windows(2).all(|pair| pair[0] <= pair[1]);
    let holds = |levels: &Vec<u32>| !levels.is_empty() && rising(levels) && levels.iter().all(|&level| level <= 8);
    checked(input, holds, "a list of levels 0 to 8 that never fall, at least one")
}

fn nodes<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    checked(input, |nodes| (1..=16).contains(nodes), "1 to 16")
}

fn final_nodes<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    checked(input, |nodes| (0..=16).contains(nodes), "0 (all) to 16")
}

fn channels<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    checked(input, |channels| (1..=65_536).contains(channels), "1 to 65536")
}

fn stem_stride<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    checked(input, |stride| [1, 2, 4].contains(stride), "1, 2 or 4")
}

fn weight<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    checked(input, |value: &f64| value.is_finite() && *value >= 0.0, "0 or more")
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
            nodes: 4,
            final_nodes: 0,
            channels: Channels { search: 12, retrain: 48 },
            stem_stride: 1,
            skip: Skip::Identity,
            downsampling: Downsampling::Stride,
            candidates: Handed::Current,
            search_stem: SearchStem::Spiking,
            pooling: Pooling::Mean,
            classifier: Classifier::Biased,
            normalisation: Statistics::AllTimesteps,
            auxiliary: 0.4,
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
    version: 4,
    summary: "cells of spiking nodes, 3x3 convolution or skip on every edge",
    paper: "Che et al., SpikeDHS, NeurIPS 2022; Liu et al., LitE-SNN, IJCAI 2024",
    examples: [
        "[space.spike-dhs]\ncells = [0, 1, 2]\nnodes = 3\nchannels = { search = 4, retrain = 8 }\nstem_stride = 2",
        "[space.spike-dhs]\nnodes = 4\nfinal_nodes = 3\nskip = \"convolution\"\nclassifier = \"normalised\"",
    ],
    file: "spike_dhs.rs",
}

#[typetag::serde(name = "spike-dhs")]
impl SearchSpace for SpikeDhs {
    fn supernet(
        &self,
        data: &DataInfo,
        compressors: &[(&str, &dyn Compressor)],
        build: &mut Build,
    ) -> Result<Box<dyn Supernet>> {
        let edges = links(self.nodes).into_iter().map(|edge| (edge, Candidates::All)).collect::<Vec<_>>();
        let count = edges.len() as i64;
        let alpha =
            build.parameter("architecture_logits", Role::ArchitectureLogit, |stream| stream.normal(&[count, 2]) * 1e-3);
        let builder = Builder {
            space: self,
            nodes: self.nodes,
            channels: self.channels.search,
            data,
            compressors,
            compression: &Compression::new(),
            open: true,
            supernet: true,
        };
        Ok(Box::new(builder.body(&edges, Some(alpha), build)?))
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
        let edges = self.links_of(architecture)?;
        let builder = Builder {
            space: self,
            nodes: self.kept_nodes(),
            channels: self.channels.retrain,
            data,
            compressors,
            compression,
            open,
            supernet: false,
        };
        Ok(Box::new(builder.body(&edges, None, build)?))
    }

    fn sample(&self, random: &mut Stream) -> Architecture {
        let all = links(self.kept_nodes());
        let mut edges = Vec::new();
        for node in 0..self.kept_nodes() {
            let links: Vec<&Link> = all.iter().filter(|link| link.node == node).collect();
            let mut kept: Vec<usize> =
                random.permutation(links.len()).into_iter().take(KEPT_EDGES).map(|index| index as usize).collect();
            kept.sort_unstable();
            for link in kept.into_iter().map(|index| links[index]) {
                let skip = link.source >= 2 && random.permutation(2)[0] == 0;
                edges.push(link.edge(if skip { SKIP } else { CONVOLUTION }));
            }
        }
        Architecture { space: NAME.into(), edges }
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

impl Link {
    fn edge(&self, operation: &str) -> Edge {
        Edge { node: self.node, from: source_name(self.source), operation: operation.into() }
    }
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

/// All edges of a cell, in order.
fn links(nodes: usize) -> Vec<Link> {
    let pairs = (0..nodes).flat_map(|node| (0..node + 2).map(move |source| (node, source)));
    pairs.enumerate().map(|(index, (node, source))| Link { node, source, index }).collect()
}

impl SpikeDhs {
    /// Nodes of a cell of the final network.
    fn kept_nodes(&self) -> usize {
        if self.final_nodes == 0 { self.nodes } else { self.final_nodes.min(self.nodes) }
    }

    fn links_of(&self, architecture: &Architecture) -> Result<Vec<(Link, Candidates)>> {
        let refuse = |message: String| Error::Plugin { kind: "space", name: NAME.into(), message };
        let nodes = self.kept_nodes();
        let all = links(nodes);
        let mut kept = Vec::new();
        for Edge { node, from, operation } in &architecture.edges {
            let link = all.iter().find(|link| link.node == *node && source_name(link.source) == *from);
            let link = *link.ok_or_else(|| {
                refuse(format!(
                    "the design has an edge from `{from}` to node {node}, and a cell of {nodes} nodes has none"
                ))
            })?;
            let candidates = match (operation.as_str(), link.source) {
                (CONVOLUTION, _) | (SKIP, 0 | 1) => Candidates::Convolution,
                (SKIP, _) if self.skip == Skip::Convolution => Candidates::Convolution,
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
        if let Some(node) = (0..nodes).find(|node| !kept.iter().any(|(link, _)| link.node == *node)) {
            return Err(refuse(format!("the design has no edge to node {node} of {nodes}")));
        }
        kept.sort_by_key(|(link, _)| link.index);
        Ok(kept)
    }
}

/// The edges that `weights` (softmax(alpha) by edge and candidate, flattened) decode to, for the first `nodes` nodes.
fn decode(weights: &[f32], nodes: usize) -> Architecture {
    let of = |link: &Link, choice: usize| weights.get(2 * link.index + choice).copied().unwrap_or(0.0);
    let all = links(nodes);
    let mut edges = Vec::new();
    for node in 0..nodes {
        let mut links: Vec<&Link> = all.iter().filter(|link| link.node == node).collect();
        // Stable: of equal weights the earlier edge is kept.
        links.sort_by(|a, b| of(b, 1).total_cmp(&of(a, 1)));
        links.truncate(KEPT_EDGES);
        links.sort_by_key(|link| link.index);
        for link in links {
            // On an edge from s0 or s1 both candidates are a convolution.
            let skip = link.source >= 2 && of(link, 0) > of(link, 1);
            edges.push(link.edge(if skip { SKIP } else { CONVOLUTION }));
        }
    }
    Architecture { space: NAME.into(), edges }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_keeps_the_two_strongest_convolutions_of_each_of_the_first_nodes() {
        // Rows of (skip, convolution) for the 5 edges of two nodes, then a third node that is not decoded.
        let weights = [0.5, 0.5, 0.2, 0.8, 0.9, 0.1, 0.4, 0.6, 0.7, 0.3, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        let edges = decode(&weights, 2).edges;
        let shown: Vec<String> =
            edges.iter().map(|edge| format!("{}->n{} {}", edge.from, edge.node, edge.operation)).collect();
        assert_eq!(shown, ["s0->n0 conv3x3", "s1->n0 conv3x3", "s1->n1 conv3x3", "n0->n1 skip"]);
    }

    #[test]
    fn a_sampled_architecture_has_two_edges_a_node_and_is_reproducible() {
        let space = SpikeDhs { nodes: 4, final_nodes: 3, ..SpikeDhs::default() };
        let sample = |index| space.sample(&mut Stream::open(1, "test", index));
        assert_eq!(sample(0), sample(0));
        assert!((1..20).any(|index| sample(index) != sample(0)));
        for index in 0..20 {
            let architecture = sample(index);
            assert_eq!(architecture.edges.len(), 6);
            assert_eq!(space.links_of(&architecture).unwrap().len(), 6);
        }
    }
}
