//! The parts of a network of `layers`: layers with weights, residual blocks, the classifier.

use std::rc::Rc;

use litesnn_framework::Result;
use litesnn_framework::ground::{Build, Role, Stream};
use litesnn_framework::network::engine::{self as packed, Current};
use litesnn_framework::network::{
    Activity, Channels, CompressedWeight, Compression, LayerShape, LayerSpec, NamedCompressors, Packer, Pass, Written,
};
use litesnn_framework::spiking::{
    BatchNorm, Convolved, Currents, Drives, Neurons, Term, channels_last, fold_time, kaiming_fan_out, node_spikes,
    unfold_time,
};
use tch::{Kind, Tensor};

use super::settings::{Connect, Layers};
use super::signal::Signal;
use super::walk::{Residual, Unit, Way};

/// What the layers are built with.
pub struct Builder<'a> {
    pub space: &'a Layers,
    pub compressors: &'a NamedCompressors<'a>,
    pub compression: &'a Compression,
    /// Whether what is not decided is searched.
    pub open: bool,
}

/// A convolution or a linear layer, with the neurons that it drives.
pub struct Synapses {
    pub shape: LayerShape,
    pub weight: CompressedWeight,
    bias: Option<Tensor>,
    norm: Option<BatchNorm>,
    neurons: Option<Neurons>,
}

impl Synapses {
    /// `fires` if it drives neurons of its own; it reads a map with the channels `reads`.
    pub fn new(unit: &Unit, fires: bool, reads: &Channels, builder: &Builder, build: &mut Build) -> Result<Synapses> {
        let Unit { shape, linear, bias, norm, population } = unit;
        let mut build = build.at(&shape.name);
        let spec = LayerSpec { name: shape.name.clone(), place: shape.place, population: population.clone() };
        let (outputs, inputs, (height, width)) = (shape.outputs, shape.inputs, shape.kernel);
        // As PyTorch begins a bias and a linear layer.
        let bound = 1.0 / ((inputs * height * width) as f64).sqrt();
        let init = |stream: &mut Stream| match linear {
            true => stream.uniform(&[outputs, inputs], -bound, bound),
            false => kaiming_fan_out(stream, &[outputs, inputs, height, width]),
        };
        let compressors = builder.compressors.iter().copied();
        let weight = CompressedWeight::new(spec, init, compressors, builder.compression, builder.open, &mut build)?;
        let weight = weight.reading(if *linear { reads.flattened(inputs) } else { reads.clone() });
        let bias =
            bias.then(|| build.parameter("bias", Role::Weight, |stream| stream.uniform(&[outputs], -bound, bound)));
        let norm = norm.then(|| BatchNorm::new(outputs, builder.space.normalisation, &mut build.at("norm")));
        let neurons = fires.then(|| Neurons::new(&builder.space.neurons, &mut build.at("neurons")));
        Ok(Synapses { shape: shape.clone(), weight, bias, norm, neurons })
    }

    /// The output `[N, C, H, W]` of a convolution, with the bias where there is one.
    fn biased(&self, output: Tensor, pass: &Pass) -> Tensor {
        match &self.bias {
            Some(bias) => output + self.weight.channels().keep(bias.view([1, -1, 1, 1]), pass.active),
            None => output,
        }
    }

    /// Its normalisation, of the channels that are there.
    fn norm(&self, pass: &Pass) -> Option<BatchNorm> {
        let kept = self.weight.channels().mask(pass.active);
        self.norm.as_ref().map(|norm| norm.keeping(kept.as_ref()))
    }

    /// What it makes of the image, once for all timesteps: currents `[B, C, H, W]`.
    fn currents_of_image(&self, images: &Tensor, pass: &Pass) -> Tensor {
        let weight = pass.weight(&self.weight);
        let output = pass.convolve_image(&channels_last(images), &weight, self.shape.stride, self.shape.padding);
        let output = self.biased(output, pass);
        match self.norm(pass) {
            Some(norm) => norm.forward(&output, None, 1, pass.training),
            None => output,
        }
    }

    /// What it makes of a signal, `[T·B, C, H, W]`, before normalisation. What it reads is added to
    /// `activity`.
    pub fn output(&self, signal: &Signal, pass: &Pass, activity: &mut Vec<Activity>) -> Tensor {
        self.convolved(signal, pass, activity).currents()
    }

    fn convolved(&self, signal: &Signal, pass: &Pass, activity: &mut Vec<Activity>) -> Convolved {
        if self.weight.raw().dim() == 2 {
            let signal = signal.flat();
            activity.extend(signal.activity(pass));
            let features = signal.maps.flatten(1, -1);
            let output = features.linear(&pass.weight(&self.weight), self.bias.as_ref());
            return output.unsqueeze(-1).unsqueeze(-1).into();
        }
        activity.extend(signal.activity(pass));
        let output = pass.convolved(&[&self.weight], &signal.maps, self.shape.stride, self.shape.padding);
        match self.bias {
            Some(_) => self.biased(output.currents(), pass).into(),
            None => output,
        }
    }

    /// The neurons that it drives.
    fn neurons(&self) -> &Neurons {
        self.neurons.as_ref().expect("a layer that is asked for spikes drives neurons")
    }

    /// Its normalised output as a part of what drives `neurons`.
    fn term(&self, neurons: &Neurons, signal: &Signal, pass: &Pass, activity: &mut Vec<Activity>) -> Option<Term> {
        let norm = self.norm(pass)?;
        let output = self.convolved(signal, pass, activity);
        let currents = Currents::new(output, &norm, pass.timesteps, false, pass.training, Drives::Nodes(neurons), 1);
        Some(Term::Part { of: Rc::new(currents), first: 0, scale: None })
    }

    /// The spikes of the neurons that follow.
    pub fn spikes(&self, signal: &Signal, pass: &Pass, activity: &mut Vec<Activity>) -> Signal {
        match self.term(self.neurons(), signal, pass, activity) {
            Some(term) => self.fired(&[term], pass),
            None => {
                let output = self.output(signal, pass, activity);
                let spikes = fold_time(&self.neurons().spikes(&unfold_time(&output, pass.timesteps)));
                pass.fired(&self.weight, &spikes);
                Signal::new(spikes, None)
            }
        }
    }

    /// The spikes of the neurons that `terms` drive, of which this layer's output is one.
    fn fired(&self, terms: &[Term], pass: &Pass) -> Signal {
        let (spikes, rate) = node_spikes(self.neurons(), terms, self.shape.outputs, None, pass.timesteps, pass.measure);
        pass.fired(&self.weight, &spikes);
        Signal::new(spikes, rate)
    }

    /// The spikes that the image drives, which is the same current at every timestep.
    pub fn spikes_of_image(&self, images: &Tensor, pass: &Pass) -> Signal {
        let currents = self.currents_of_image(images, pass);
        let spikes = fold_time(&self.neurons().spikes_of_constant(&currents, pass.timesteps));
        pass.fired(&self.weight, &spikes);
        Signal::new(spikes, None)
    }

    /// Written for the engine; without a map it reads the image.
    fn packed_current(&self, of: Option<Written>, packer: &mut Packer) -> packed::Synapses {
        let of = match of {
            Some(of) if self.weight.raw().dim() == 2 => Some(packer.flat(format!("{}.flat", self.shape.name), of)),
            of => of,
        };
        packer.synapses(&self.shape, &self.weight, of, self.norm(&Pass::new(1)).as_ref(), self.bias.as_ref())
    }

    /// The spikes of its neurons, which other currents may drive, too.
    fn packed_with(&self, of: Option<Written>, others: Vec<Current>, packer: &mut Packer) -> Result<Written> {
        let mut currents = vec![Current::Synapses(self.packed_current(of, packer))];
        currents.extend(others);
        packer.spikes_of(&self.shape, self.neurons(), currents)
    }

    /// The spikes of its neurons, written for the engine; without a map it reads the image.
    pub fn packed(&self, of: Option<Written>, packer: &mut Packer) -> Result<Written> {
        self.packed_with(of, Vec::new(), packer)
    }

    /// Parameters outside of the weight, of the channels that are there.
    pub fn full_precision_parameters(&self) -> u64 {
        let channels = self.weight.channels().count(self.shape.outputs) as u64;
        let bias = if self.bias.is_some() { channels } else { 0 };
        let norm = if self.norm.is_some() { BatchNorm::PARAMETERS * channels } else { 0 };
        bias + norm + self.neurons.as_ref().map_or(0, Neurons::parameters)
    }
}

/// A residual block.
pub struct Block {
    convolutions: [Synapses; 2],
    shortcut: ShortcutPart,
    /// How spikes are joined; currents are where there is none.
    connect: Option<Connect>,
    /// The channels of the map that it makes.
    pub channels: Channels,
}

enum ShortcutPart {
    Identity,
    Projection(Box<Synapses>),
    ZeroPadding { stride: i64, channels: [i64; 2] },
}

impl Block {
    pub fn new(residual: &Residual, reads: &Channels, builder: &Builder, build: &mut Build) -> Result<Block> {
        let Residual { convolutions, shortcut, connect } = residual;
        let [first, second] = convolutions;
        let first = Synapses::new(first, true, reads, builder, build)?;
        let second = Synapses::new(second, true, first.weight.channels(), builder, build)?;
        let shortcut = match shortcut {
            Way::Identity => ShortcutPart::Identity,
            // Of a basic block, its current is added to that of the second convolution.
            Way::Projection(unit) => {
                ShortcutPart::Projection(Box::new(Synapses::new(unit, connect.is_some(), reads, builder, build)?))
            }
            Way::ZeroPadding { stride, channels } => ShortcutPart::ZeroPadding { stride: *stride, channels: *channels },
        };
        let own = second.weight.channels();
        // Zeros around a map are nothing that a sum is made of, and are stored where they are a factor.
        let handed_on = |zeros_are_there: bool| match &shortcut {
            ShortcutPart::Identity => reads.clone(),
            ShortcutPart::Projection(projection) => projection.weight.channels().clone(),
            ShortcutPart::ZeroPadding { channels, .. } => reads.between_zeros(*channels, zeros_are_there),
        };
        let channels = match connect {
            None => own.clone(),
            Some(Connect::Add) => own.of_sum(&handed_on(false)),
            Some(Connect::And) => own.of_product(&handed_on(true)),
            Some(Connect::Iand) => handed_on(true),
        };
        Ok(Block { convolutions: [first, second], shortcut, connect: *connect, channels })
    }

    pub fn forward(&self, signal: &Signal, pass: &Pass, activity: &mut Vec<Activity>) -> Signal {
        let [first, second] = &self.convolutions;
        let middle = first.spikes(signal, pass, activity);
        match self.connect {
            None => {
                let mut terms: Vec<Term> = second.term(second.neurons(), &middle, pass, activity).into_iter().collect();
                terms.extend(match &self.shortcut {
                    ShortcutPart::Projection(projection) => projection.term(second.neurons(), signal, pass, activity),
                    _ => {
                        // A removed neuron is driven by nothing.
                        let spikes = second.weight.channels().keep(self.handed_on(signal), pass.active);
                        Some(Term::Spikes { spikes: channels_last(&spikes), scale: None })
                    }
                });
                second.fired(&terms, pass)
            }
            Some(connect) => {
                let spikes = second.spikes(&middle, pass, activity).maps;
                let shortcut = match &self.shortcut {
                    ShortcutPart::Projection(projection) => projection.spikes(signal, pass, activity).maps,
                    _ => self.handed_on(signal),
                };
                Signal::new(joined(connect, &spikes, &shortcut), None)
            }
        }
    }

    /// Its output, written for the engine.
    pub fn packed(&self, input: Written, packer: &mut Packer) -> Result<Written> {
        let [first, second] = &self.convolutions;
        let middle = first.packed(Some(input), packer)?;
        let name = &second.shape.name;
        let handed_on = |packer: &mut Packer| match self.shortcut {
            ShortcutPart::ZeroPadding { stride, channels } => {
                packer.widened(format!("{name}.shortcut"), input, stride as usize, channels.map(|count| count as usize))
            }
            _ => input,
        };
        let Some(connect) = self.connect else {
            let shortcut = match &self.shortcut {
                ShortcutPart::Projection(projection) => {
                    Current::Synapses(projection.packed_current(Some(input), packer))
                }
                _ => handed_on(packer).handed_on_to(second.weight.channels()),
            };
            return second.packed_with(Some(middle), vec![shortcut], packer);
        };
        let spikes = second.packed(Some(middle), packer)?;
        let shortcut = match &self.shortcut {
            ShortcutPart::Projection(projection) => projection.packed(Some(input), packer)?,
            _ => handed_on(packer),
        };
        let by = match connect {
            Connect::Add => packed::Join::Add,
            Connect::And => packed::Join::And,
            Connect::Iand => packed::Join::Iand,
        };
        packer.joined(format!("{name}.joined"), [spikes, shortcut], by)
    }

    /// What a shortcut without weights hands on.
    fn handed_on(&self, signal: &Signal) -> Tensor {
        match &self.shortcut {
            ShortcutPart::ZeroPadding { stride, channels: [before, after] } => {
                let kept = signal.maps.slice(2, None, None, *stride).slice(3, None, None, *stride);
                channels_last(&kept.constant_pad_nd([0, 0, 0, 0, *before, *after]))
            }
            _ => signal.maps.shallow_clone(),
        }
    }

    /// Its layers with weights, in the order of their activities.
    pub fn synapses(&self) -> impl Iterator<Item = &Synapses> {
        let shortcut = match &self.shortcut {
            ShortcutPart::Projection(projection) => Some(projection.as_ref()),
            _ => None,
        };
        self.convolutions.iter().chain(shortcut)
    }
}

/// The spikes a of a block's convolutions and s of its shortcut, joined.
fn joined(connect: Connect, a: &Tensor, s: &Tensor) -> Tensor {
    match connect {
        Connect::Add => a + s,
        Connect::And => a * s,
        Connect::Iand => (1.0 - a) * s,
    }
}

/// The last layer and the vote.
pub struct Classifier {
    pub synapses: Synapses,
    votes: i64,
}

impl Classifier {
    pub fn new(
        unit: &Unit,
        votes: i64,
        spiking: bool,
        reads: &Channels,
        builder: &Builder,
        build: &mut Build,
    ) -> Result<Classifier> {
        Ok(Classifier { synapses: Synapses::new(unit, spiking, reads, builder, build)?, votes })
    }

    /// Its logits, written for the engine.
    pub fn packed(&self, of: Written, packer: &mut Packer) -> Result<packed::Logits> {
        let synapses = self.synapses.packed_current(Some(of), packer);
        let neuron = self.synapses.neurons.as_ref().map(|neurons| packer.neuron(neurons)).transpose()?;
        Ok(packed::Logits { synapses, neuron, votes: self.votes as usize })
    }

    /// Logits `[T, B, K]`.
    pub fn forward(&self, signal: &Signal, pass: &Pass, activity: &mut Vec<Activity>) -> Tensor {
        let output = self.synapses.output(signal, pass, activity).flatten(1, -1);
        let mut outputs = unfold_time(&output, pass.timesteps);
        if let Some(neurons) = &self.synapses.neurons {
            outputs = neurons.spikes(&outputs);
        }
        match self.votes {
            1 => outputs,
            votes => outputs.unflatten(2, [-1, votes]).mean_dim(3i64, false, None::<Kind>),
        }
    }
}
