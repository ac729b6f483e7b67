//! The heads of `spike-dhs`: the classifier, and the auxiliary one that is used in training only.

use litesnn_framework::Result;
use litesnn_framework::ground::{Build, Role, Stream};
use litesnn_framework::network::engine::Logits;
use litesnn_framework::network::{
    Activity, Channels, CompressedWeight, Input, LayerShape, Packer, Pass, Place, Written,
};
use litesnn_framework::spiking::{BatchNorm, Neurons, kaiming_fan_out, unfold_time};
use tch::{Kind, Tensor};

use super::layers::{Builder, MapShape, fire};
use super::settings::{Classifier, Pooling};

/// What follows the linear layer.
enum End {
    Bias(Tensor),
    Norm(BatchNorm),
}

/// A linear layer on pooled features, to logits.
struct Linear {
    shape: LayerShape,
    weight: CompressedWeight,
    end: End,
}

impl Linear {
    fn new(
        builder: &Builder,
        place: Place,
        name: &str,
        inputs: i64,
        reads: &Channels,
        biased: bool,
        build: &mut Build,
    ) -> Result<Linear> {
        let classes = builder.data.classes.len() as i64;
        let shape = LayerShape {
            name: name.into(),
            place,
            kernel: (1, 1),
            inputs,
            outputs: classes,
            groups: 1,
            input_map: (1, 1),
            stride: 1,
            padding: 0,
            map: (1, 1),
            reads: Input::Pooled,
        };
        let bound = 1.0 / (inputs as f64).sqrt();
        let uniform = move |stream: &mut Stream, shape: &[i64]| stream.uniform(shape, -bound, bound);
        let weight = builder.weight(&shape, None, builder.outside(), uniform, build)?.reading(reads.clone());
        let end = if biased {
            End::Bias(build.parameter("bias", Role::Weight, |stream| stream.uniform(&[classes], -bound, bound)))
        } else {
            End::Norm(BatchNorm::new(classes, builder.space.normalisation, &mut build.at("norm")))
        };
        Ok(Linear { shape, weight, end })
    }

    /// `[T·B, C]` to `[T, B, K]`.
    fn forward(&self, features: &Tensor, pass: &Pass) -> Tensor {
        let weight = pass.weight(&self.weight);
        let logits = match &self.end {
            End::Bias(bias) => features.linear(&weight, Some(bias)),
            End::Norm(norm) => {
                norm.forward(&features.linear(&weight, None::<&Tensor>), None, pass.timesteps, pass.training)
            }
        };
        unfold_time(&logits, pass.timesteps)
    }

    fn full_precision_parameters(&self) -> u64 {
        match &self.end {
            End::Bias(bias) => bias.numel() as u64,
            End::Norm(norm) => norm.parameters(),
        }
    }
}

/// Global pooling and the classifier.
pub(super) struct Head {
    /// On the pooled map, where it spikes.
    neurons: Option<Neurons>,
    linear: Linear,
}

impl Head {
    pub(super) fn new(builder: &Builder, features: i64, reads: &Channels, build: &mut Build) -> Result<Head> {
        let biased = builder.supernet || builder.space.classifier == Classifier::Biased;
        let spiking = !builder.supernet && builder.space.pooling == Pooling::Spiking;
        let linear = Linear::new(builder, Place::Classifier, "classifier", features, reads, biased, build)?;
        let neurons = spiking.then(|| builder.neurons(build));
        Ok(Head { neurons, linear })
    }

    /// Its logits, written for the engine.
    pub(super) fn packed(&self, spikes: Written, packer: &mut Packer) -> Result<Logits> {
        let mut features = packer.mean("features".into(), spikes);
        if let Some(neurons) = &self.neurons {
            let shape = packer.shape(features);
            features = packer.spikes("features.spikes".into(), shape, neurons, vec![features.handed_on()])?;
        }
        let Linear { shape, weight, end } = &self.linear;
        let synapses = match end {
            End::Bias(bias) => packer.synapses(shape, weight, Some(features), None, Some(bias)),
            End::Norm(norm) => packer.synapses(shape, weight, Some(features), Some(norm), None),
        };
        Ok(Logits { synapses, neuron: None, votes: 1 })
    }

    /// Spikes `[T·B, C, H, W]` to logits `[T, B, K]`; what the linear layer reads is added to
    /// `activity`.
    pub(super) fn forward(&self, spikes: &Tensor, pass: &Pass, activity: &mut Vec<Activity>) -> Tensor {
        let mut features = spikes.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
        if let Some(neurons) = &self.neurons {
            features = fire(neurons, &features, pass);
        }
        activity.extend(pass.activity(&as_maps(&features)));
        self.linear.forward(&features, pass)
    }

    pub(super) fn layer(&self) -> (&LayerShape, &CompressedWeight) {
        (&self.linear.shape, &self.linear.weight)
    }

    pub(super) fn full_precision_parameters(&self) -> u64 {
        self.linear.full_precision_parameters() + self.neurons.as_ref().map_or(0, Neurons::parameters)
    }
}

/// Features `[T·B, C]` as maps of one place.
fn as_maps(features: &Tensor) -> Tensor {
    features.unsqueeze(-1).unsqueeze(-1)
}

/// A convolution that a layer of neurons follows.
struct Block {
    shape: LayerShape,
    weight: CompressedWeight,
    norm: BatchNorm,
    neurons: Neurons,
}

impl Block {
    fn new(
        builder: &Builder,
        name: &str,
        kernel: i64,
        map: i64,
        inputs: i64,
        outputs: i64,
        build: &mut Build,
    ) -> Result<Block> {
        let shape = LayerShape {
            name: format!("auxiliary.{name}"),
            place: Place::Auxiliary,
            kernel: (kernel, kernel),
            inputs,
            outputs,
            groups: 1,
            input_map: (map + kernel - 1, map + kernel - 1),
            stride: 1,
            padding: 0,
            map: (map, map),
            reads: Input::Spikes.of(&builder.space.neurons),
        };
        let mut at = build.at(name);
        let weight = builder.weight(&shape, None, builder.outside(), kaiming_fan_out, &mut at)?;
        let norm = BatchNorm::new(outputs, builder.space.normalisation, &mut at.at("norm"));
        let neurons = builder.neurons(&mut at);
        Ok(Block { shape, weight, norm, neurons })
    }

    fn full_precision_parameters(&self) -> u64 {
        self.norm.parameters() + self.neurons.parameters()
    }

    fn forward(&self, spikes: &Tensor, pass: &Pass, activity: &mut Vec<Activity>) -> Tensor {
        activity.extend(pass.activity(spikes));
        let weight = pass.weight(&self.weight);
        let current = pass.convolve(spikes, &weight, self.shape.stride, self.shape.padding);
        fire(&self.neurons, &self.norm.forward(&current, None, pass.timesteps, pass.training), pass)
    }
}

/// The auxiliary head of SpikeDHS: pooling to 2x2 and LIF, conv 1x1 to 128, conv 2x2 to 768,
/// linear; each normalised.
///
/// On a map of 8x8 the pooling is the published one, 5x5 with stride 3; on another it is adaptive.
pub(super) struct Auxiliary {
    /// Weight of its loss.
    pub(super) weight: f64,
    published_pooling: bool,
    /// On the pooled map.
    pooled: Neurons,
    reduce: Block,
    gather: Block,
    linear: Linear,
}

impl Auxiliary {
    pub(super) fn new(builder: &Builder, map: MapShape, reads: &Channels, build: &mut Build) -> Result<Auxiliary> {
        let pooled = builder.neurons(build);
        let reduce = Block::new(builder, "reduce", 1, 2, map.channels, 128, build)?;
        Ok(Auxiliary {
            weight: builder.space.auxiliary,
            published_pooling: map.size == (8, 8),
            pooled,
            reduce: Block { weight: reduce.weight.reading(reads.clone()), ..reduce },
            gather: Block::new(builder, "gather", 2, 1, 128, 768, build)?,
            linear: Linear::new(
                builder,
                Place::Auxiliary,
                "auxiliary.classifier",
                768,
                &Channels::default(),
                false,
                &mut build.at("classifier"),
            )?,
        })
    }

    /// Spikes `[T·B, C, H, W]` to logits `[T, B, K]`; what its layers read is added to `activity`.
    pub(super) fn forward(&self, spikes: &Tensor, pass: &Pass, activity: &mut Vec<Activity>) -> Tensor {
        let pooled = if self.published_pooling {
            spikes.avg_pool2d([5, 5], [3, 3], [0, 0], false, true, None)
        } else {
            spikes.adaptive_avg_pool2d([2, 2])
        };
        let spikes = self.reduce.forward(&fire(&self.pooled, &pooled, pass), pass, activity);
        let spikes = self.gather.forward(&spikes, pass, activity);
        activity.extend(pass.activity(&spikes));
        self.linear.forward(&spikes.flatten(1, -1), pass)
    }

    pub(super) fn layers(&self) -> impl Iterator<Item = (&LayerShape, &CompressedWeight)> {
        [
            (&self.reduce.shape, &self.reduce.weight),
            (&self.gather.shape, &self.gather.weight),
            (&self.linear.shape, &self.linear.weight),
        ]
        .into_iter()
    }

    pub(super) fn full_precision_parameters(&self) -> u64 {
        self.pooled.parameters()
            + self.reduce.full_precision_parameters()
            + self.gather.full_precision_parameters()
            + self.linear.full_precision_parameters()
    }
}
