//! The convolutions of a cell that read the same spikes and have the same kernel.

use std::ops::Range;

use litesnn_framework::Result;
use litesnn_framework::ground::Build;
use litesnn_framework::network::engine::{Current, Window};
use litesnn_framework::network::{
    Activity, Channels, CompressedWeight, Input, LayerShape, Packer, Pass, Place, Population, Techniques, Written,
};
use litesnn_framework::spiking::{BatchNorm, Currents, Drives, Neurons, kaiming_fan_out};

use super::cell::CellShape;
use super::depthwise::Depthwise;
use super::edges::{Candidate, Predecessor, predecessor_name};
use super::layers::Builder;
use super::operation::Form;
use super::settings::Downsampling;
use super::signal::Signal;

/// A convolution towards a node.
pub(super) struct Convolution {
    pub(super) weight: CompressedWeight,
    pub(super) shape: LayerShape,
    pub(super) node: usize,
    /// Its place in the flattened alpha.
    pub(super) choice: i64,
}

/// What its convolutions read.
enum Reads {
    /// What leaves the predecessor.
    Spikes,
    /// The sums of its spikes in windows that are so far apart.
    Sums { stride: i64 },
    /// The spikes of neurons between a depthwise convolution and this one.
    Depthwise(Box<Depthwise>),
}

/// Convolutions of a cell that read the same spikes: one convolution with stacked weights, one
/// normalisation.
pub(super) struct StackedConvolution {
    pub(super) predecessor: Predecessor,
    stride: i64,
    padding: i64,
    /// Size that the input is resized to.
    resized: Option<[i64; 2]>,
    reads: Reads,
    pub(super) convolutions: Vec<Convolution>,
    /// The channels of all its convolutions side by side.
    channels: Channels,
    norm: BatchNorm,
    /// On the currents themselves, where candidates hand on spikes.
    candidates: Option<Neurons>,
}

impl StackedConvolution {
    /// All that read `predecessor`, whose channels are `reads`: one for each kernel and for what is
    /// averaged, and one for each separable convolution, which has neurons of its own.
    pub(super) fn all(
        builder: &Builder,
        cell: CellShape,
        predecessor: Predecessor,
        candidates: &[Candidate],
        reads: &Channels,
        build: &mut Build,
    ) -> Result<Vec<StackedConvolution>> {
        let of_form = |form: Form| {
            let here = candidates.iter().filter(move |one| one.link.predecessor == predecessor);
            here.copied().filter(|one| one.form == form).collect::<Vec<Candidate>>()
        };
        let together = [3, 5, 1].map(Form::Convolution).into_iter().chain([Form::PooledConvolution]);
        let mut groups: Vec<Vec<Candidate>> = together.map(of_form).filter(|group| !group.is_empty()).collect();
        groups.extend(of_form(Form::Separable).into_iter().map(|one| vec![one]));
        groups.iter().map(|group| StackedConvolution::new(builder, cell, group, reads, build)).collect()
    }

    /// These candidates, of one predecessor and form.
    fn new(
        builder: &Builder,
        cell: CellShape,
        group: &[Candidate],
        channels: &Channels,
        build: &mut Build,
    ) -> Result<StackedConvolution> {
        let Candidate { link, operation, form, .. } = group[0];
        let predecessor = link.predecessor;
        let outputs = builder.channels << cell.level;
        let read = cell.read(predecessor, outputs);
        let (inputs, map) = (read.channels, read.size);
        let resize = !builder.supernet && builder.space.downsampling == Downsampling::Resize;
        let (input_map, stride) = if resize { (map, 1) } else { (read.from, 1 << read.drop) };
        let named = |one: &Candidate| {
            let (node, from) = (one.link.node, predecessor_name(predecessor));
            format!("cell{}.n{node}.{from}.{}", cell.index, one.operation)
        };
        let shape = |name: String, kernel: i64| LayerShape {
            name,
            place: Place::Cell(cell.index),
            kernel: (kernel, kernel),
            inputs,
            outputs,
            groups: 1,
            input_map,
            stride,
            padding: kernel / 2,
            map,
            reads: Input::Spikes.of(&builder.space.neurons),
        };
        // Where weights, normalisation and neurons of a candidate that has both halves lie.
        let own = format!("n{}.{operation}", link.node);
        let reads = match form {
            Form::PooledConvolution => Reads::Sums { stride },
            Form::Separable => {
                let each = LayerShape { outputs: inputs, groups: inputs, ..shape(named(&group[0]) + ".depthwise", 3) };
                let mut at = build.at(&own);
                Reads::Depthwise(Box::new(Depthwise::new(builder, each, channels, &mut at.at("depthwise"))?))
            }
            _ => Reads::Spikes,
        };
        let last = cell.index + 1 == builder.space.cells.len();
        let mut convolutions = Vec::new();
        for one in group {
            let shape = match form {
                Form::Convolution(kernel) => shape(named(one), kernel),
                Form::PooledConvolution => {
                    let reads = Input::Sums.of(&builder.space.neurons);
                    LayerShape { input_map: map, stride: 1, reads, ..shape(named(one), 1) }
                }
                _ => LayerShape { input_map: map, stride: 1, ..shape(named(one) + ".pointwise", 1) },
            };
            let path = format!("n{}.{}", one.link.node, one.operation);
            let mut at = build.at(if form == Form::Separable { format!("{path}.pointwise") } else { path });
            let population = Population { name: format!("cell{}.n{}", cell.index, one.link.node), last };
            let weight = builder.weight(&shape, Some(population), builder.compressors, kaiming_fan_out, &mut at)?;
            let weight = weight.reading(channels.clone());
            convolutions.push(Convolution { weight, shape, node: one.link.node, choice: one.choice });
        }
        let LayerShape { stride, padding, .. } = convolutions[0].shape;
        let width = outputs * convolutions.len() as i64;
        let follows = |at: &mut Build| {
            let norm = BatchNorm::new(width, builder.space.normalisation, &mut at.at("norm"));
            (norm, builder.candidate_neurons(at))
        };
        let (norm, candidates) = match form {
            Form::Convolution(3) => follows(build),
            Form::Separable => follows(&mut build.at(&own)),
            _ => follows(&mut build.at(operation)),
        };
        let each: Vec<Channels> = convolutions.iter().map(|one| one.weight.channels().clone()).collect();
        Ok(StackedConvolution {
            predecessor,
            stride,
            padding,
            resized: (resize && read.drop > 0).then_some([map.0, map.1]),
            reads,
            channels: Channels::side_by_side(&each, outputs),
            convolutions,
            norm,
            candidates,
        })
    }

    /// Its layers with their places in the flattened alpha, in the order of their activities.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&LayerShape, &CompressedWeight, i64)> {
        let depthwise = match &self.reads {
            Reads::Depthwise(one) => Some((&one.shape, &one.weight, self.convolutions[0].choice)),
            Reads::Spikes | Reads::Sums { .. } => None,
        };
        depthwise.into_iter().chain(self.convolutions.iter().map(|one| (&one.shape, &one.weight, one.choice)))
    }

    /// Numbers of the sums that its convolutions read, for one image and timestep.
    pub(super) fn sums(&self) -> f64 {
        match self.reads {
            Reads::Sums { .. } => self.convolutions[0].shape.input_neurons().iter().product::<i64>() as f64,
            Reads::Spikes | Reads::Depthwise(_) => 0.0,
        }
    }

    pub(super) fn full_precision_parameters(&self) -> u64 {
        let width: i64 = self.convolutions.iter().map(|one| one.shape.outputs).sum();
        let depthwise = match &self.reads {
            Reads::Depthwise(depthwise) => depthwise.full_precision_parameters(),
            Reads::Spikes | Reads::Sums { .. } => 0,
        };
        BatchNorm::PARAMETERS * self.channels.count(width) as u64
            + self.candidates.as_ref().map_or(0, Neurons::parameters)
            + depthwise
    }

    /// Its currents with the nodes that they drive, written for the engine.
    pub(super) fn packed(&self, name: &str, input: Written, packer: &mut Packer) -> Result<Vec<(usize, Current)>> {
        let kernel = self.convolutions[0].shape.kernel.0;
        let input = match self.resized {
            Some(size) => packer.resized(format!("{name}.{kernel}x{kernel}.resized"), input, size),
            None => input,
        };
        let input = match &self.reads {
            Reads::Spikes => input,
            Reads::Sums { stride } => packer.sums(format!("{name}.sums"), input, window_of_3x3(*stride), 1.0),
            Reads::Depthwise(depthwise) => depthwise.packed(input, packer)?,
        };
        let norm = self.norm.keeping(self.channels.mask(Techniques::ALL).as_ref());
        let mut all = Vec::new();
        for (index, Convolution { weight, shape, node, .. }) in self.convolutions.iter().enumerate() {
            let norm = norm.narrow(index as i64 * shape.outputs, shape.outputs);
            let current = Current::Synapses(packer.synapses(shape, weight, Some(input), Some(&norm), None));
            let current = match &self.candidates {
                None => current,
                Some(neurons) => packer.spikes_of(shape, neurons, vec![current])?.handed_on(),
            };
            all.push((*node, current));
        }
        Ok(all)
    }

    /// What its convolutions read of `signal`. What a depthwise convolution before them reads is
    /// added to `activity`.
    pub(super) fn read(&self, signal: &Signal, pass: &Pass, activity: &mut Vec<Activity>) -> Signal {
        let input = match self.resized {
            Some(size) => signal.resized(size, pass),
            None => signal.shallow_clone(),
        };
        match &self.reads {
            Reads::Spikes => input,
            Reads::Sums { stride } => input.summed(*stride, pass),
            Reads::Depthwise(depthwise) => {
                activity.extend(input.activity.as_ref().map(Activity::shallow_clone));
                depthwise.forward(&input, pass)
            }
        }
    }

    /// The normalised currents of some of its convolutions, neighbours, on the `input` that they read;
    /// `nodes` are neurons that they reach.
    pub(super) fn currents(&self, which: Range<usize>, input: &Signal, nodes: &Neurons, pass: &Pass) -> Currents {
        let convolutions = &self.convolutions[which.clone()];
        let weights: Vec<&CompressedWeight> = convolutions.iter().map(|convolution| &convolution.weight).collect();
        let current = pass.convolved(&weights, &input.spikes, self.stride, self.padding);
        let drives = self.candidates.as_ref().map_or(Drives::Nodes(nodes), Drives::Candidates);
        let readers = convolutions.len();
        let mut norm = self.norm.keeping(self.channels.mask(pass.active).as_ref());
        if readers < self.convolutions.len() {
            let width = convolutions[0].shape.outputs;
            norm = norm.narrow(which.start as i64 * width, readers as i64 * width);
        }
        Currents::new(current, &norm, pass.timesteps, input.constant, pass.training, drives, readers)
    }
}

/// Windows of 3x3 that are `stride` apart, with silence around the map.
pub(super) fn window_of_3x3(stride: i64) -> Window {
    Window { size: [3; 2], stride: [stride as usize; 2], padding: [1; 2] }
}
