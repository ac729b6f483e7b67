//! The first half of `separable3x3`: a convolution 3x3 of each channel on its own, and neurons.

use std::rc::Rc;

use litesnn_framework::Result;
use litesnn_framework::ground::{Build, Stream};
use litesnn_framework::network::engine::Current;
use litesnn_framework::network::{Channels, CompressedWeight, LayerShape, Packer, Pass, Techniques, Written};
use litesnn_framework::spiking::{BatchNorm, Currents, Drives, Neurons, Term, node_spikes};
use tch::Tensor;

use super::layers::Builder;
use super::signal::Signal;

/// A depthwise convolution, its normalisation, and the neurons that it drives.
///
/// A neuron reads one channel alone. So it is there where that channel is, and its layer drives no
/// population of its own.
pub(super) struct Depthwise {
    pub(super) shape: LayerShape,
    pub(super) weight: CompressedWeight,
    norm: BatchNorm,
    neurons: Neurons,
}

impl Depthwise {
    pub(super) fn new(builder: &Builder, shape: LayerShape, reads: &Channels, build: &mut Build) -> Result<Depthwise> {
        // Kaiming normal by the fan out of a group.
        let deviation = (2.0 / (shape.kernel.0 * shape.kernel.1) as f64).sqrt();
        let init = |stream: &mut Stream, size: &[i64]| stream.normal_of(size, deviation);
        let weight = builder.weight(&shape, None, builder.compressors, init, build)?.reading_each(reads.clone());
        let norm = BatchNorm::new(shape.outputs, builder.space.normalisation, &mut build.at("norm"));
        Ok(Depthwise { neurons: builder.neurons(build), shape, weight, norm })
    }

    pub(super) fn full_precision_parameters(&self) -> u64 {
        let channels = self.weight.channels().count(self.shape.outputs) as u64;
        BatchNorm::PARAMETERS * channels + self.neurons.parameters()
    }

    /// The spikes of its neurons, written for the engine.
    pub(super) fn packed(&self, input: Written, packer: &mut Packer) -> Result<Written> {
        let norm = self.norm.keeping(self.weight.channels().mask(Techniques::ALL).as_ref());
        let current = Current::Synapses(packer.synapses(&self.shape, &self.weight, Some(input), Some(&norm), None));
        packer.spikes_of(&self.shape, &self.neurons, vec![current])
    }

    /// The spikes of its neurons.
    pub(super) fn forward(&self, input: &Signal, pass: &Pass) -> Signal {
        let current = pass.convolved(&[&self.weight], &input.spikes, self.shape.stride, self.shape.padding);
        let norm = self.norm.keeping(self.weight.channels().mask(pass.active).as_ref());
        let drives = Drives::Nodes(&self.neurons);
        let currents = Currents::new(current, &norm, pass.timesteps, input.constant, pass.training, drives, 1);
        let term = Term::Part { of: Rc::new(currents), first: 0, scale: None };
        let (width, none) = (self.shape.outputs, None::<&Tensor>);
        let (spikes, rate) = node_spikes(&self.neurons, &[term], width, none, pass.timesteps, pass.measure);
        pass.fired(&self.weight, &spikes);
        let activity = rate.map(|rate| pass.activity_of_rate(rate, &spikes));
        Signal { spikes, constant: false, activity }
    }
}
