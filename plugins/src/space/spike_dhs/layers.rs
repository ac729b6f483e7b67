//! What the layers of a network of `spike-dhs` are built from.

use litesnn_framework::Result;
use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Stream};
use litesnn_framework::network::{
    CompressedWeight, Compression, Compressor, Input, LayerShape, LayerSpec, Pass, Population,
};
use litesnn_framework::spiking::{Neurons, fold_time, unfold_time};
use tch::Tensor;

use super::settings::{Handed, SpikeDhs};

/// What a network is built from.
pub struct Builder<'a> {
    /// The settings.
    pub space: &'a SpikeDhs,
    /// Nodes of a cell.
    pub nodes: usize,
    /// Channels of a node at level 0.
    pub channels: i64,
    /// What is classified.
    pub data: &'a DataInfo,
    /// Compressors by name, in their order.
    pub compressors: &'a [(&'a str, &'a dyn Compressor)],
    /// Decisions of the compressors.
    pub compression: &'a Compression,
    /// Whether what is not decided is searched.
    pub open: bool,
    /// Whether it is a supernet, and not the network of an architecture.
    pub supernet: bool,
}

/// Channels, resolution level and size of a map.
#[derive(Clone, Copy)]
pub struct MapShape {
    /// Channels.
    pub channels: i64,
    /// Times that the map of the stem was halved.
    pub level: u32,
    /// Height and width.
    pub size: (i64, i64),
}

/// Height and width after so many halvings.
pub fn halved(size: (i64, i64), times: u32) -> (i64, i64) {
    let divisor = 1i64 << times;
    ((size.0 + divisor - 1) / divisor, (size.1 + divisor - 1) / divisor)
}

impl Builder<'_> {
    /// The compressors of layers outside of cells: they leave these alone in a supernet.
    pub fn outside(&self) -> &[(&str, &dyn Compressor)] {
        if self.supernet { &[] } else { self.compressors }
    }

    /// A layer of neurons of the space, which is called `neurons`.
    pub fn neurons(&self, build: &mut Build) -> Neurons {
        Neurons::new(&self.space.neurons, &mut build.at("neurons"))
    }

    /// The neurons on the currents of candidates, where candidates hand on spikes.
    pub fn candidate_neurons(&self, build: &mut Build) -> Option<Neurons> {
        (self.supernet && self.space.candidates == Handed::Spike).then(|| self.neurons(build))
    }

    /// The weight of a layer under `compressors`, which drives `population`; `init` draws it in the shape that it is given.
    pub fn weight(
        &self,
        shape: &LayerShape,
        population: Option<Population>,
        compressors: &[(&str, &dyn Compressor)],
        init: impl FnOnce(&mut Stream, &[i64]) -> Tensor,
        build: &mut Build,
    ) -> Result<CompressedWeight> {
        let spec = LayerSpec { name: shape.name.clone(), place: shape.place, population };
        let dimensions = match shape.reads {
            Input::Pooled => vec![shape.outputs, shape.inputs],
            _ => vec![shape.outputs, shape.inputs / shape.groups, shape.kernel.0, shape.kernel.1],
        };
        let compressors = compressors.iter().copied();
        CompressedWeight::new(spec, |stream| init(stream, &dimensions), compressors, self.compression, self.open, build)
    }
}

/// Spikes of a layer of neurons on currents `[T·B, ...]`.
pub fn fire(neurons: &Neurons, current: &Tensor, pass: &Pass) -> Tensor {
    fold_time(&neurons.spikes(&unfold_time(current, pass.timesteps)))
}
