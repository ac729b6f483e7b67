//! The stem: what the cells read of an image.

use litesnn_framework::Result;
use litesnn_framework::ground::Build;
use litesnn_framework::network::engine::Current;
use litesnn_framework::network::{
    CompressedWeight, Input, LayerShape, Packer, Pass, Place, Population, Techniques, Written,
};
use litesnn_framework::spiking::{BatchNorm, Neurons, channels_last, fold_time, kaiming_fan_out};
use tch::Tensor;

use super::layers::{Builder, MapShape, halved};
use super::settings::SearchStem;
use super::signal::Signal;

/// A convolution 3x3, its normalisation, and a layer of neurons where it spikes.
pub(super) struct Stem {
    pub(super) shape: LayerShape,
    pub(super) weight: CompressedWeight,
    pub(super) norm: BatchNorm,
    neurons: Option<Neurons>,
}

impl Stem {
    pub(super) fn new(builder: &Builder, build: &mut Build) -> Result<Stem> {
        let space = builder.space;
        let [inputs, height, width] = builder.data.shape;
        let shape = LayerShape {
            name: "stem".into(),
            place: Place::Stem,
            kernel: (3, 3),
            inputs,
            outputs: builder.nodes as i64 * builder.channels,
            groups: 1,
            input_map: (height, width),
            stride: space.stem_stride,
            padding: 1,
            map: halved((height, width), space.stem_stride.trailing_zeros()),
            reads: Input::Image,
        };
        let population = Some(Population { name: shape.name.clone(), last: false });
        let weight = builder.weight(&shape, population, builder.outside(), kaiming_fan_out, build)?;
        let norm = BatchNorm::new(shape.outputs, space.normalisation, &mut build.at("norm"));
        let spiking = !builder.supernet || space.search_stem == SearchStem::Spiking;
        let neurons = spiking.then(|| builder.neurons(build));
        Ok(Stem { shape, weight, norm, neurons })
    }

    /// The map that it gives.
    pub(super) fn map(&self) -> MapShape {
        MapShape { channels: self.shape.outputs, level: 0, size: self.shape.map }
    }

    pub(super) fn full_precision_parameters(&self) -> u64 {
        let channels = self.weight.channels().count(self.shape.outputs) as u64;
        BatchNorm::PARAMETERS * channels + self.neurons.as_ref().map_or(0, Neurons::parameters)
    }

    /// Its spikes, written for the engine.
    pub(super) fn packed(&self, packer: &mut Packer) -> Result<Written> {
        let neurons = self.neurons.as_ref().expect("the stem of a final network spikes");
        let norm = self.norm.keeping(self.weight.channels().mask(Techniques::ALL).as_ref());
        let synapses = packer.synapses(&self.shape, &self.weight, None, Some(&norm), None);
        packer.spikes_of(&self.shape, neurons, vec![Current::Synapses(synapses)])
    }

    pub(super) fn forward(&self, images: &Tensor, pass: &Pass) -> Signal {
        // A static image drives the same current at every timestep: convolved and normalised once.
        let current = pass.convolve_image(
            &channels_last(images),
            &pass.weight(&self.weight),
            self.shape.stride,
            self.shape.padding,
        );
        let kept = self.weight.channels().mask(pass.active);
        let current = self.norm.keeping(kept.as_ref()).forward(&current, None, 1, pass.training);
        if let Some(neurons) = &self.neurons {
            let spikes = fold_time(&neurons.spikes_of_constant(&current, pass.timesteps));
            pass.fired(&self.weight, &spikes);
            return Signal::new(spikes, pass);
        }
        Signal::constant(channels_last(&current), pass)
    }
}
