//! The cell-based search space of SpikeDHS, as LitE-SNN uses it.
//!
//! Sources: Che et al. (SpikeDHS, NeurIPS 2022); Liu et al. (LitE-SNN, IJCAI 2024), Section 3.1,
//! Eq. 2-3, Table 1. Operations beside the paper's: Liu et al. (DARTS, ICLR 2019), Kim et al.
//! (SNASNet, ECCV 2022).
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
//! | operation | edge from s0, s1 | edge from a node |
//! |---|---|---|
//! | `conv3x3` | CompConv 3x3, BN | CompConv 3x3, BN |
//! | `skip` | CompConv 3x3, BN (channels differ, so it cannot be an identity) | the spikes themselves |
//! | `conv5x5` | CompConv 5x5, BN | CompConv 5x5, BN |
//! | `conv1x1` | CompConv 1x1, BN | CompConv 1x1, BN |
//! | `separable3x3` | depthwise CompConv 3x3, BN, LIF, CompConv 1x1, BN | the same |
//! | `average-pool3x3` | mean of 3x3 spikes, CompConv 1x1, BN | mean of 3x3 spikes, BN |
//! | `none` | no current | no current |
//!
//! `operations` lists those that are searched; the paper's are `conv3x3` and `skip`. In the search,
//! an edge's current is the mean of its operations weighted by softmax(alpha), with a column of
//! alpha for each. Decoding keeps two edges of each node, and on each the operation of the largest
//! weight that is not `none`:
//!
//! | operations | the edges that are kept |
//! |---|---|
//! | the paper's two | those with the largest weight of `conv3x3` |
//! | any others | those whose largest weight of an operation other than `none` is largest, as in DARTS |
//!
//! # Operations beside the paper's
//!
//! From s0 and s1, the paper's two operations are one and the same, so that their edges leave
//! nothing to choose but which of them stay. The other operations differ on every edge. But where
//! `skip` and `conv3x3` are both in the list, edges from s0 and s1 still have the convolution 3x3
//! twice in the search. A design calls it `conv3x3`.
//!
//! Strides and sizes are those of `conv3x3`: a kernel of k x k has a padding of (k - 1)/2. A stride
//! is that of the depthwise convolution or of the pooling, and the convolution 1x1 after it has
//! none.
//!
//! The two halves of `separable3x3` have neurons between them, as a spiking MobileNet has, so that
//! both read spikes and add. The depthwise weight is `[C, 1, 3, 3]`, of which nothing is shared
//! between channels; it starts from N(0, 2/9). Compressors act on it as on any other: along its one
//! input channel `nm-prune` finds no group and leaves it dense. Its neurons are there where the
//! channels are that they read, and a compressor that removes channels removes none of them
//! besides.
//!
//! `average-pool3x3` takes silence on the padding into the mean, so that the factor is 1/9
//! everywhere. What is computed is the sum, which is exact in every precision: BN takes the factor
//! out again (but for its epsilon). DARTS normalises after pooling, too, so that the candidates of
//! an edge are of one scale. In SNASNet pooling is not normalised.
//!
//! Sizes and operations are counted layer by layer. A separable convolution of C to C' channels has
//! two layers, `NAME.depthwise` with 9 C weights and `NAME.pointwise` with C C', and both have the
//! presence of the operation in the cost terms of a search. The convolution 1x1 on means reads sums
//! of spikes: each spike costs an addition for each connection and for each of the up to nine
//! windows that it is in. As in every space, the additions of pooling itself are not counted.
//! `average-pool3x3` between nodes has no weights: it is counted by its normalisation in the size
//! alone, as `skip` is not counted at all.
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
mod depthwise;
mod edges;
mod head;
mod inheritance;
mod layers;
mod network;
mod operation;
mod pool;
mod settings;
mod signal;
mod stack;
mod stem;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Role, Stream};
use litesnn_framework::network::{
    Architecture, Compression, Compressor, Edge, Misfit, Network, Piece, SearchSpace, Supernet,
};
use litesnn_framework::{Error, Result, register};

use edges::{Candidate, KEPT_EDGES, Link, all_candidates, links, predecessor_name};
use layers::Builder;
use operation::{Operation, listed};
use settings::{NAME, Skip};

pub use settings::SpikeDhs;

register! {
    kind: Space,
    name: "spike-dhs",
    settings: SpikeDhs,
    version: 5,
    summary: "cells of spiking nodes, a 3x3 convolution, a skip or another operation on every edge",
    paper: "Che et al., SpikeDHS, NeurIPS 2022; Liu et al., LitE-SNN, IJCAI 2024",
    examples: [
        "[space.spike-dhs]\ncells = [0, 1]\nnodes = 2\nchannels = { search = 4, retrain = 8 }\nstem_stride = 2\nauxiliary = 0",
        "[space.spike-dhs]\ncells = [0, 1, 2]\nnodes = 3\nchannels = { search = 2, retrain = 3 }\noperations = [\"conv3x3\", \"conv5x5\", \"conv1x1\", \"separable3x3\", \"average-pool3x3\", \"skip\", \"none\"]",
        "[space.spike-dhs]\ncells = [0, 1]\nnodes = 4\nfinal_nodes = 3\nchannels = { search = 2, retrain = 4 }\nskip = \"convolution\"\nclassifier = \"normalised\"",
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
        let candidates = all_candidates(self.nodes, &self.columns());
        let size = [links(self.nodes).len() as i64, self.operations.len() as i64];
        let alpha =
            build.parameter("architecture_logits", Role::ArchitectureLogit, |stream| stream.normal(&size) * 1e-3);
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
        Ok(Box::new(builder.body(&candidates, Some(alpha), build)?))
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
        let candidates = self.candidates_of(architecture)?;
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
        Ok(Box::new(builder.body(&candidates, None, build)?))
    }

    fn runs_paths(&self) -> bool {
        true
    }

    fn refuses_inheritance(&self) -> Option<Misfit> {
        self.unequal_widths()
    }

    fn inheritance(&self, architecture: &Architecture) -> Result<Vec<Piece>> {
        self.pieces(architecture)
    }

    fn sample(&self, random: &mut Stream) -> Architecture {
        let (all, columns) = (links(self.kept_nodes()), self.columns());
        let mut edges = Vec::new();
        for node in 0..self.kept_nodes() {
            let links: Vec<&Link> = all.iter().filter(|link| link.node == node).collect();
            let mut kept: Vec<usize> =
                random.permutation(links.len()).into_iter().take(KEPT_EDGES).map(|index| index as usize).collect();
            kept.sort_unstable();
            for link in kept.into_iter().map(|index| links[index]) {
                let among = link.different(&columns);
                let drawn = if among.len() == 1 { 0 } else { random.permutation(among.len())[0] };
                edges.push(link.edge(among[drawn as usize]));
            }
        }
        Architecture { space: NAME.into(), edges }
    }
}

impl SpikeDhs {
    /// What a design has on each of its edges, in order.
    fn candidates_of(&self, architecture: &Architecture) -> Result<Vec<Candidate>> {
        let refuse = |message: String| Error::Plugin { kind: "space", name: NAME.into(), message };
        let nodes = self.kept_nodes();
        let all = links(nodes);
        let mut kept = Vec::<Candidate>::new();
        for Edge { node, from, operation } in &architecture.edges {
            let link = all.iter().find(|link| link.node == *node && predecessor_name(link.predecessor) == *from);
            let link = *link.ok_or_else(|| {
                refuse(format!(
                    "the design has an edge from `{from}` to node {node}, and a cell of {nodes} nodes has none"
                ))
            })?;
            let among: Vec<Operation> =
                self.columns().into_iter().filter(|operation| *operation != Operation::None).collect();
            let named = Operation::named(operation).filter(|operation| among.contains(operation));
            let operation = named.ok_or_else(|| {
                refuse(format!(
                    "the design has `{operation}` on the edge from `{from}` to node {node}, and `operations` of the \
                     space are {}",
                    listed(&among)
                ))
            })?;
            if kept.iter().any(|other| other.link == link) {
                return Err(refuse(format!("the design has the edge from `{from}` to node {node} twice")));
            }
            kept.push(self.decided(link, operation));
        }
        if let Some(node) = (0..nodes).find(|node| !kept.iter().any(|one| one.link.node == *node)) {
            return Err(refuse(format!("the design has no edge to node {node} of {nodes}")));
        }
        kept.sort_by_key(|one| one.link.index);
        Ok(kept)
    }

    /// What a decided operation is in the final network: a `skip` that is a convolution is called
    /// one.
    fn decided(&self, link: Link, operation: Operation) -> Candidate {
        let convolution = Operation::Conv3x3.form(link.predecessor);
        let is_convolution = operation == Operation::Skip
            && (self.skip == Skip::Convolution || operation.form(link.predecessor) == convolution);
        let operation = if is_convolution { Operation::Conv3x3 } else { operation };
        Candidate { link, operation, form: operation.form(link.predecessor), choice: 0 }
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
            assert_eq!(space.candidates_of(&architecture).unwrap().len(), 6);
        }
    }
}
