//! A layer with weights: where it stands, its dimensions.

use super::channels::Population;
use crate::spiking::{Activation, NeuronSettings};

/// Where in the network a layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The first convolution, which reads the image.
    Stem,
    /// A cell, from 0.
    Cell(usize),
    /// A layer or a residual block of a network without cells, from 1: the stem is the layer before
    /// it.
    Block(usize),
    /// The head that turns features into logits.
    Classifier,
    /// A head that is used in training only.
    Auxiliary,
}

impl Place {
    /// The name under which layers of this place share decisions: `stem`, `cell0`, ...
    pub fn group(self) -> String {
        match self {
            Place::Stem => "stem".into(),
            Place::Cell(index) => format!("cell{index}"),
            Place::Block(index) => format!("block{index}"),
            Place::Classifier => "classifier".into(),
            Place::Auxiliary => "auxiliary".into(),
        }
    }

    /// Whether it belongs to the body of the network, between stem and heads: the part that a
    /// search decides about.
    pub fn is_body(self) -> bool {
        matches!(self, Place::Cell(_) | Place::Block(_))
    }
}

/// The layer a compressor is attached to.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// Name of the layer, unique in the network.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// The neurons that its output channels drive; `None` where a channel cannot be removed, as of
    /// a linear layer and of a space that says nothing of its neurons.
    pub population: Option<Population>,
}

/// What a layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Real numbers: every connection is a multiplication.
    Image,
    /// Real numbers of neurons that do not spike: every connection is a multiplication, at every
    /// timestep.
    Reals,
    /// Spikes: a connection costs an addition for each spike.
    Spikes,
    /// Sums of spikes, as average pooling and residual additions make them: a connection costs an
    /// addition for each spike of a sum, and a rate can be more than 1. The factor of an average is
    /// the same for all inputs and goes into the weights.
    Sums,
    /// Spikes averaged over the feature map, which count in the size alone, as in the paper.
    Pooled,
}

impl Input {
    /// The same where these neurons hand it on: outputs of neurons without spikes, and their sums, are
    /// real numbers.
    pub fn of(self, neurons: &NeuronSettings) -> Input {
        match (neurons.activation, self) {
            (Activation::Relu, Input::Spikes | Input::Sums) => Input::Reals,
            _ => self,
        }
    }

    /// Whether every connection is a multiplication.
    pub fn is_real(self) -> bool {
        matches!(self, Input::Image | Input::Reals)
    }

    /// Whether spikes arrive, one by one or as sums, each of which is an addition.
    pub fn is_spiking(self) -> bool {
        matches!(self, Input::Spikes | Input::Sums)
    }
}

/// The dimensions of a layer with weights.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerShape {
    /// Unique name.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Kernel height and width; (1, 1) for a linear layer.
    pub kernel: (i64, i64),
    /// Input channels.
    pub inputs: i64,
    /// Output channels.
    pub outputs: i64,
    /// Groups of channels, each of which is convolved on its own: 1, or C_in where a convolution is
    /// depthwise.
    pub groups: i64,
    /// Height and width of the map that it reads; (1, 1) for a linear layer.
    pub input_map: (i64, i64),
    /// Stride, the same on both axes.
    pub stride: i64,
    /// Zeros on every side of the map that it reads.
    pub padding: i64,
    /// Height and width of the output map.
    pub map: (i64, i64),
    /// What it reads.
    pub reads: Input,
}

impl LayerShape {
    /// Number of weights: kh kw C_in C_out / groups.
    pub fn weights(&self) -> f64 {
        (self.kernel.0 * self.kernel.1 * self.inputs / self.groups * self.outputs) as f64
    }

    /// Its input neurons, `[C_in, H, W]`.
    pub fn input_neurons(&self) -> [i64; 3] {
        [self.inputs, self.input_map.0, self.input_map.1]
    }

    /// Height and width of the output map of a convolution with this kernel, stride and padding:
    /// what [`LayerShape::map`] has to be.
    pub fn convolved_map(&self) -> (i64, i64) {
        let side = |size: i64, kernel: i64| (size + 2 * self.padding - kernel) / self.stride + 1;
        (side(self.input_map.0, self.kernel.0), side(self.input_map.1, self.kernel.1))
    }

    /// Multiply-accumulate operations of one dense pass: weights · H W.
    pub fn macs(&self) -> f64 {
        self.weights() * (self.map.0 * self.map.1) as f64
    }
}
