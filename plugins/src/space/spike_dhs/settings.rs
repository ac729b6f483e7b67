//! The settings of `spike-dhs`.

use litesnn_framework::plugin::checked;
use litesnn_framework::spiking::{NeuronSettings, Statistics};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::operation::{OF_PAPER, Operation, are_of_paper, columns, operations};

/// The name of the plugin.
pub const NAME: &str = "spike-dhs";

/// Settings of `spike-dhs`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpikeDhs {
    /// Resolution level of each cell, from 0, never falling: a level halves the map and doubles the
    /// channels (paper: [0, 0, 1, 1, 1, 2, 2, 2]).
    #[serde(deserialize_with = "levels")]
    #[schemars(length(min = 1), inner(range(max = 8)))]
    pub cells: Vec<u32>,
    /// Nodes of a cell (paper: 4).
    #[schemars(range(min = 1, max = 16))]
    pub nodes: usize,
    /// Nodes of a cell of the final network: the first ones of those that are searched; 0 for all
    /// (authors' program: 3).
    #[schemars(range(max = 16))]
    pub final_nodes: usize,
    /// Channels of one node at level 0; a cell has nodes x channels x 2^level.
    pub channels: Channels,
    /// The operations among which each edge is searched, in any order (paper: `conv3x3` and
    /// `skip`).
    #[serde(deserialize_with = "operations", skip_serializing_if = "are_of_paper")]
    #[schemars(length(min = 1), extend("uniqueItems" = true, "default" = OF_PAPER))]
    pub operations: Vec<Operation>,
    /// Stride of the stem's convolution.
    #[schemars(extend("enum" = [1, 2, 4]))]
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
    #[schemars(range(min = 0.0))]
    pub auxiliary: f64,
    /// All neurons.
    #[serde(flatten)]
    pub neurons: NeuronSettings,
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
    /// Convolution and BN: the first cells read real numbers, and each counts as a spike at every
    /// timestep.
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
    let never_fall = |levels: &Vec<u32>| levels.windows(2).all(|pair| pair[0] <= pair[1]);
    checked(input, never_fall, "a list of levels that never fall")
}

/// Channels of one node at level 0.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// In the supernet (paper: 12).
    #[schemars(range(min = 1, max = 65_536))]
    pub search: i64,
    /// In the final network (paper: 48).
    #[schemars(range(min = 1, max = 65_536))]
    pub retrain: i64,
}

impl Default for SpikeDhs {
    fn default() -> Self {
        SpikeDhs {
            cells: vec![0, 0, 1, 1, 1, 2, 2, 2],
            nodes: 4,
            final_nodes: 0,
            channels: Channels { search: 12, retrain: 48 },
            operations: OF_PAPER.into(),
            stem_stride: 1,
            skip: Skip::Identity,
            downsampling: Downsampling::Stride,
            candidates: Handed::Current,
            search_stem: SearchStem::Spiking,
            pooling: Pooling::Mean,
            classifier: Classifier::Biased,
            normalisation: Statistics::AllTimesteps,
            auxiliary: 0.4,
            neurons: NeuronSettings::default(),
        }
    }
}

impl SpikeDhs {
    /// The operations of an edge, in the order of the columns of alpha.
    pub fn columns(&self) -> Vec<Operation> {
        columns(&self.operations)
    }

    /// Nodes of a cell of the final network.
    pub fn kept_nodes(&self) -> usize {
        if self.final_nodes == 0 { self.nodes } else { self.final_nodes.min(self.nodes) }
    }
}
