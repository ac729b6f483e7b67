//! The cell-based search space of SpikeDHS, as LitE-SNN uses it.
//!
//! Sources: Che et al. (SpikeDHS, NeurIPS 2022); Liu et al. (LitE-SNN, IJCAI 2024), Section 3.1,
//! Eq. 2-3, Table 1.
//!
//! ```text
//! image [B, C, H, W] -> stem: conv 3x3, BN, LIF -> cells -> mean over the map -> classifier -> logits [T, B, K]
//! ```
//!
//! A cell has two inputs, the outputs s0 and s1 of the two cells before it (of the first cell, both
//! are the stem's), and `nodes` nodes. Node j reads s0, s1 and the nodes before it; edges are
//! numbered by node, then by source. A node is a layer of LIF neurons on the sum of its edges'
//! currents; the cell's output is all nodes side by side. All cells share their edges (alpha); bits
//! belong to a cell.
//!
//! | candidate | edge from s0, s1 | edge from a node |
//! |---|---|---|
//! | `conv3x3` | CompConv 3x3, BN | CompConv 3x3, BN |
//! | `skip` | CompConv 3x3, BN (channels differ, so it cannot be an identity) | the spikes themselves |
//!
//! In the search, an edge's current is the mean of its candidates weighted by softmax(alpha).
//! Decoding keeps the two edges of each node with the largest weight of `conv3x3`, and on each the
//! candidate of the largest weight.
//!
//! # The paper's text and the authors' program
//!
//! They differ. The defaults follow the text, and eight settings have the program's way as another
//! value: `final_nodes`, `skip`, `downsampling`, `candidates`, `search_stem`, `pooling`,
//! `classifier` and `normalisation`. The published sizes and operation counts (Tables 2 and 5) need
//! `final_nodes = 3`, `skip = "convolution"` and `classifier = "normalised"`. The complete list,
//! with what has no option and why, is docs/authors-program.md.
//!
//! A pass along the [path](litesnn_framework::network::Path) of one architecture computes the
//! candidates that it has and no other, each unweighted, at the widths of the search. A node that
//! the final cell leaves out is silent.
//!
//! The settings of neurons are those of every space (docs/neurons.md).
//!
//! In the search, stem and classifier are neither compressed nor counted, as in the authors'
//! program; in the final network the compressors act on them too, and on the auxiliary head: a
//! classifier on the output of cell 2n/3, used in training only.

mod cell;
mod edges;
mod head;
mod layers;
mod network;
mod settings;
mod signal;
mod stem;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Role, Stream};
use litesnn_framework::network::{Architecture, Compression, Compressor, Edge, Network, SearchSpace, Supernet};
use litesnn_framework::{Error, Result, register};

use edges::{CONVOLUTION, Candidates, KEPT_EDGES, Link, SKIP, links, predecessor_name};
use layers::Builder;
use settings::{NAME, Skip};

pub use settings::SpikeDhs;

register! {
    kind: Space,
    name: "spike-dhs",
    settings: SpikeDhs,
    version: 5,
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

    fn runs_paths(&self) -> bool {
        true
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
                let skip = link.predecessor >= 2 && random.permutation(2)[0] == 0;
                edges.push(link.edge(if skip { SKIP } else { CONVOLUTION }));
            }
        }
        Architecture { space: NAME.into(), edges }
    }
}

impl SpikeDhs {
    fn links_of(&self, architecture: &Architecture) -> Result<Vec<(Link, Candidates)>> {
        let refuse = |message: String| Error::Plugin { kind: "space", name: NAME.into(), message };
        let nodes = self.kept_nodes();
        let all = links(nodes);
        let mut kept = Vec::new();
        for Edge { node, from, operation } in &architecture.edges {
            let link = all.iter().find(|link| link.node == *node && predecessor_name(link.predecessor) == *from);
            let link = *link.ok_or_else(|| {
                refuse(format!(
                    "the design has an edge from `{from}` to node {node}, and a cell of {nodes} nodes has none"
                ))
            })?;
            let candidates = match (operation.as_str(), link.predecessor) {
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

#[cfg(test)]
mod tests {
    use litesnn_framework::ground::Parameters;
    use litesnn_framework::network::Pass;
    use litesnn_framework::spiking::NeuronSettings;
    use tch::{Device, Kind};

    use super::*;

    /// Guards against a surrogate that stays at 0.5: at a threshold of 1, neurons just above it had
    /// no gradient at all.
    #[test]
    fn a_threshold_of_one_leaves_the_neurons_around_it_a_gradient() {
        let neurons = NeuronSettings { threshold: 1.0, ..NeuronSettings::default() };
        let space = SpikeDhs { cells: vec![0], nodes: 2, neurons, auxiliary: 0.0, ..SpikeDhs::default() };
        let data = DataInfo::of_form(([1, 8, 8], 2));
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 3, Device::Cpu);
        let network = space.supernet(&data, &[], &mut build).unwrap();
        let of = |name: &str| {
            let found = parameters.trainable().iter().find(|parameter| parameter.name == name);
            found.unwrap_or_else(|| panic!("no parameter `{name}`")).tensor.shallow_clone()
        };
        // Potentials of the stem of about 1.25: each neuron fires at each timestep and is reset.
        tch::no_grad(|| drop((of("stem.norm.beta").fill_(1.25), of("stem.norm.gamma").fill_(0.02))));
        let images = Stream::open(2, "images", 0).normal(&[4, 1, 8, 8]);
        let pass = Pass { training: true, measure: true, ..Pass::new(2) };
        let response = network.forward(&images, &pass);
        let rate = &response.activity[1].rate;
        assert!(rate.eq(1.0).all().int64_value(&[]) == 1, "the stem fires at a rate of {rate:?}");
        response.logits.square().sum(Kind::Float).backward();
        let gradient = of("stem.weight").grad().abs().max().double_value(&[]);
        assert!(gradient > 0.0, "the stem has no gradient");
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
