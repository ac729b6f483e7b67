//! A cell: convolutions and skips on its edges, and its nodes.

use std::ops::Range;
use std::rc::Rc;

use litesnn_framework::Result;
use litesnn_framework::ground::Build;
use litesnn_framework::network::{
    Activity, Channels, CompressedWeight, Input, LayerShape, Pass, Path, Place, Population,
};
use litesnn_framework::spiking::{
    BatchNorm, Currents, Drives, Neurons, Term, kaiming_fan_out, node_spikes, repeat_over_time, side_by_side,
};
use tch::{Kind, Tensor};

use super::edges::{CONVOLUTION, Candidates, Link, Predecessor, SKIP, predecessor_name};
use super::layers::{Builder, MapShape, halved};
use super::settings::{Downsampling, Handed};
use super::signal::Signal;

/// A convolution 3x3 towards a node.
pub(super) struct Convolution {
    pub(super) weight: CompressedWeight,
    pub(super) shape: LayerShape,
    node: usize,
    /// Its place in the flattened alpha.
    pub(super) choice: i64,
}

/// Convolutions of a cell that read the same spikes: one convolution with stacked weights, one
/// normalisation.
pub(super) struct StackedConvolution {
    predecessor: Predecessor,
    stride: i64,
    padding: i64,
    /// Size that the input is resized to.
    resized: Option<[i64; 2]>,
    pub(super) convolutions: Vec<Convolution>,
    /// The channels of all its convolutions side by side.
    channels: Channels,
    norm: BatchNorm,
    /// On the currents themselves, where candidates hand on spikes.
    candidates: Option<Neurons>,
}

/// A skip edge between two nodes, which hands the spikes on as they are.
struct Identity {
    predecessor: Predecessor,
    node: usize,
    /// Its place in the flattened alpha.
    choice: i64,
}

pub(super) struct SpikingCell {
    /// The neurons of each node.
    nodes: Vec<Neurons>,
    /// The channels of each node.
    channels: Vec<Channels>,
    width: i64,
    pub(super) stacks: Vec<StackedConvolution>,
    identities: Vec<Identity>,
}

/// Where a cell stands, and the maps that it reads.
#[derive(Clone, Copy)]
pub(super) struct CellShape {
    pub(super) index: usize,
    pub(super) level: u32,
    /// The maps of s0 and s1.
    pub(super) inputs: [MapShape; 2],
}

/// What a cell reads of a predecessor.
struct CellInput {
    channels: i64,
    /// Levels that its map falls on its way into the cell.
    drop: u32,
    /// Size of its map.
    from: (i64, i64),
    /// The size that its map has in the cell.
    size: (i64, i64),
}

impl CellShape {
    fn read(&self, predecessor: Predecessor, width: i64) -> CellInput {
        let [_, last] = self.inputs;
        let fall = |from: MapShape| (self.level - from.level, halved(from.size, self.level - from.level));
        match self.inputs.get(predecessor) {
            Some(&from) => {
                let (drop, size) = fall(from);
                CellInput { channels: from.channels, drop, from: from.size, size }
            }
            None => {
                let (_, size) = fall(last);
                CellInput { channels: width, drop: 0, from: size, size }
            }
        }
    }
}

/// The candidates of an edge that are convolutions: operation, and place among the edge's two in
/// alpha.
fn convolution_choices(candidates: Candidates, predecessor: Predecessor) -> &'static [(&'static str, i64)] {
    match (candidates, predecessor) {
        (Candidates::All, 0 | 1) => &[(SKIP, 0), (CONVOLUTION, 1)],
        (Candidates::All | Candidates::Convolution, _) => &[(CONVOLUTION, 1)],
        (Candidates::Identity, _) => &[],
    }
}

impl StackedConvolution {
    /// The convolutions that read `predecessor`; `None` where there are none.
    fn new(
        builder: &Builder,
        cell: CellShape,
        predecessor: Predecessor,
        edges: &[(Link, Candidates)],
        reads: &Channels,
        build: &mut Build,
    ) -> Result<Option<StackedConvolution>> {
        let outputs = builder.channels << cell.level;
        let CellInput { channels: inputs, drop, from, size: map } = cell.read(predecessor, outputs);
        let resize = !builder.supernet && builder.space.downsampling == Downsampling::Resize;
        let (input_map, stride, padding) = if resize { (map, 1, 1) } else { (from, 1 << drop, 1) };
        let mut convolutions = Vec::new();
        for (link, candidates) in edges.iter().filter(|(link, _)| link.predecessor == predecessor) {
            for (operation, choice) in convolution_choices(*candidates, predecessor) {
                let (node, from) = (link.node, predecessor_name(predecessor));
                let shape = LayerShape {
                    name: format!("cell{}.n{node}.{from}.{operation}", cell.index),
                    place: Place::Cell(cell.index),
                    kernel: (3, 3),
                    inputs,
                    outputs,
                    input_map,
                    stride,
                    padding,
                    map,
                    reads: Input::Spikes,
                };
                let mut at = build.at(format!("n{node}.{operation}"));
                let name = format!("cell{}.n{node}", cell.index);
                let population = Some(Population { name, last: cell.index + 1 == builder.space.cells.len() });
                let weight = builder.weight(&shape, population, builder.compressors, kaiming_fan_out, &mut at)?;
                let weight = weight.reading(reads.clone());
                convolutions.push(Convolution { weight, shape, node, choice: 2 * link.index as i64 + choice });
            }
        }
        if convolutions.is_empty() {
            return Ok(None);
        }
        let channels = outputs * convolutions.len() as i64;
        let norm = BatchNorm::new(channels, builder.space.normalisation, &mut build.at("norm"));
        let spiking = builder.supernet && builder.space.candidates == Handed::Spike;
        let each: Vec<Channels> = convolutions.iter().map(|one| one.weight.channels().clone()).collect();
        Ok(Some(StackedConvolution {
            candidates: spiking.then(|| builder.neurons(build)),
            predecessor,
            stride,
            padding,
            resized: (resize && drop > 0).then_some([map.0, map.1]),
            channels: Channels::side_by_side(&each, outputs),
            convolutions,
            norm,
        }))
    }

    /// What its convolutions read of `signal`.
    fn read(&self, signal: &Signal, pass: &Pass) -> Signal {
        match self.resized {
            Some(size) => signal.resized(size, pass),
            None => signal.shallow_clone(),
        }
    }

    /// The normalised currents of some of its convolutions, neighbours, on `input`; `nodes` are
    /// neurons that they reach.
    fn currents(&self, which: Range<usize>, input: &Signal, nodes: &Neurons, pass: &Pass) -> Currents {
        let convolutions = &self.convolutions[which.clone()];
        let weights: Vec<&CompressedWeight> = convolutions.iter().map(|convolution| &convolution.weight).collect();
        let weight = pass.stacked_weights(&weights);
        let steps = pass.precision.takes_steps().then(|| pass.steps(&weights)).flatten();
        let current = pass.convolve(&input.spikes, &weight, steps.as_ref(), self.stride, self.padding);
        let drives = self.candidates.as_ref().map_or(Drives::Nodes(nodes), Drives::Candidates);
        let readers = convolutions.len();
        let mut norm = self.norm.keeping(self.channels.mask(pass.active).as_ref());
        if readers < self.convolutions.len() {
            let width = convolutions[0].shape.outputs;
            norm = norm.narrow(which.start as i64 * width, readers as i64 * width);
        }
        Currents::new(&current, &norm, pass.timesteps, input.constant, pass.training, drives, readers)
    }
}

impl SpikingCell {
    pub(super) fn new(
        builder: &Builder,
        shape: CellShape,
        edges: &[(Link, Candidates)],
        inputs: &[Channels; 2],
        build: &mut Build,
    ) -> Result<SpikingCell> {
        let is_identity = |link: &Link, candidates: Candidates| match candidates {
            Candidates::All => link.predecessor >= 2,
            Candidates::Convolution => false,
            Candidates::Identity => true,
        };
        let identities = edges.iter().filter(|(link, candidates)| is_identity(link, *candidates));
        let identities = identities.map(|(link, _)| Identity {
            predecessor: link.predecessor,
            node: link.node,
            choice: 2 * link.index as i64,
        });
        let identities: Vec<Identity> = identities.collect();
        let mut stacks = Vec::<StackedConvolution>::new();
        // Of s0, s1 and the nodes so far: a node reads those before it alone.
        let mut channels = inputs.to_vec();
        for predecessor in 0..builder.nodes + 2 {
            if let Some(node) = predecessor.checked_sub(2) {
                let driven = stacks.iter().flat_map(|stack| &stack.convolutions).find(|one| one.node == node);
                let handed_on = identities.iter().filter(|one| one.node == node);
                let handed_on = handed_on.map(|one| channels[one.predecessor].clone());
                channels.push(match driven {
                    Some(convolution) => convolution.weight.channels().clone(),
                    None => handed_on.reduce(|all, next| all.of_sum(&next)).unwrap_or_default(),
                });
            }
            let mut at = build.at(format!("from_{}", predecessor_name(predecessor)));
            let reads = &channels[predecessor];
            stacks.extend(StackedConvolution::new(builder, shape, predecessor, edges, reads, &mut at)?);
        }
        Ok(SpikingCell {
            channels: channels.split_off(inputs.len()),
            nodes: (0..builder.nodes).map(|node| builder.neurons(&mut build.at(format!("n{node}")))).collect(),
            width: builder.channels << shape.level,
            stacks,
            identities,
        })
    }

    /// The channels of the cell's output.
    pub(super) fn channels(&self) -> Channels {
        Channels::side_by_side(&self.channels, self.width)
    }

    pub(super) fn full_precision_parameters(&self) -> u64 {
        let stacks = self.stacks.iter();
        let of_stack = |stack: &StackedConvolution| {
            let channels = stack.channels.count(self.width * stack.convolutions.len() as i64) as u64;
            BatchNorm::PARAMETERS * channels + stack.candidates.as_ref().map_or(0, Neurons::parameters)
        };
        stacks.map(of_stack).sum::<u64>() + self.nodes.iter().map(Neurons::parameters).sum::<u64>()
    }

    /// The cell's output; `alpha` is the flattened softmax of the architecture logits, in a search.
    pub(super) fn forward(
        &self,
        s0: &Signal,
        s1: &Signal,
        alpha: Option<&Tensor>,
        pass: &Pass,
        activity: &mut Vec<Activity>,
    ) -> Signal {
        let mut terms: Vec<Vec<Term>> = self.nodes.iter().map(|_| Vec::new()).collect();
        self.send(0, s0, alpha, pass, &mut terms, activity);
        self.send(1, s1, alpha, pass, &mut terms, activity);
        let (mut outputs, mut activities) = (Vec::new(), Vec::new());
        for (index, neurons) in self.nodes.iter().enumerate() {
            let driven = std::mem::take(&mut terms[index]);
            let (spikes, rate) = match outputs.first() {
                // A node that a path leaves out.
                Some(first) if driven.is_empty() => silent(first, pass),
                _ => node_spikes(neurons, &driven, self.width, alpha, pass.timesteps, pass.measure),
            };
            let mut convolutions = self.stacks.iter().flat_map(|stack| &stack.convolutions);
            match convolutions.find(|one| one.node == index) {
                Some(first) => pass.fired(&first.weight, &spikes),
                None => pass.count(&spikes),
            }
            let of_node = rate.map(|rate| pass.activity_of_rate(rate, &spikes));
            activities.extend(of_node.as_ref().map(Activity::shallow_clone));
            let signal = Signal { spikes, constant: false, activity: of_node };
            self.send(index + 2, &signal, alpha, pass, &mut terms, activity);
            outputs.push(signal.spikes);
        }
        // All nodes have the same number of neurons.
        let activity = pass.measure.then(|| Activity::side_by_side(&activities));
        Signal { spikes: side_by_side(&outputs), constant: false, activity }
    }

    /// Adds what leaves `predecessor` to what drives the nodes that it reaches.
    fn send(
        &self,
        predecessor: Predecessor,
        signal: &Signal,
        alpha: Option<&Tensor>,
        pass: &Pass,
        terms: &mut [Vec<Term>],
        activity: &mut Vec<Activity>,
    ) {
        for stack in self.stacks.iter().filter(|stack| stack.predecessor == predecessor) {
            let input = stack.read(signal, pass);
            if let Some(path) = pass.path {
                self.send_along(path, stack, &input, pass, terms, activity);
                continue;
            }
            let currents = Rc::new(stack.currents(0..stack.convolutions.len(), &input, &self.nodes[0], pass));
            for (index, convolution) in stack.convolutions.iter().enumerate() {
                let scale = alpha.map(|_| convolution.choice);
                let part = Term::Part { of: currents.clone(), first: index as i64 * self.width, scale };
                terms[convolution.node].push(part);
                activity.extend(input.activity.as_ref().map(Activity::shallow_clone));
            }
        }
        let there = |identity: &Identity| pass.path.is_none_or(|path| path.has(identity.choice as usize));
        let leave = |identity: &&Identity| identity.predecessor == predecessor && there(identity);
        for identity in self.identities.iter().filter(leave) {
            let spikes = match signal.constant {
                true => repeat_over_time(&signal.spikes, pass.timesteps),
                false => signal.spikes.shallow_clone(),
            };
            // A removed neuron is driven by nothing.
            let spikes = self.channels[identity.node].keep(spikes, pass.active);
            terms[identity.node].push(Term::Spikes { spikes, scale: alpha.map(|_| identity.choice) });
        }
    }
    /// Adds what leaves `stack` on a path: each convolution is one of its own, and what is not on the
    /// path is not computed.
    fn send_along(
        &self,
        path: &Path,
        stack: &StackedConvolution,
        input: &Signal,
        pass: &Pass,
        terms: &mut [Vec<Term>],
        activity: &mut Vec<Activity>,
    ) {
        for (index, convolution) in stack.convolutions.iter().enumerate() {
            if !path.has(convolution.choice as usize) {
                activity.extend(pass.no_activity(convolution.shape.input_neurons(), input.spikes.device()));
                continue;
            }
            let currents = Rc::new(stack.currents(index..index + 1, input, &self.nodes[0], pass));
            terms[convolution.node].push(Term::Part { of: currents, first: 0, scale: None });
            activity.extend(input.activity.as_ref().map(Activity::shallow_clone));
        }
    }
}

/// The spikes and the rate of a node that nothing drives, which has the maps of another `node`.
fn silent(node: &Tensor, pass: &Pass) -> (Tensor, Option<Tensor>) {
    let rate = pass.measure.then(|| Tensor::zeros([pass.timesteps], (Kind::Float, node.device())));
    (node.detach().zeros_like(), rate)
}
