//! A cell: what is on its edges, and its nodes.

use std::collections::BTreeSet;
use std::rc::Rc;

use litesnn_framework::Result;
use litesnn_framework::ground::Build;
use litesnn_framework::network::engine::Current;
use litesnn_framework::network::{Activity, Channels, Packer, Pass, Path, Written};
use litesnn_framework::spiking::{Neurons, Term, node_spikes, repeat_over_time, side_by_side};
use tch::{Kind, Tensor};

use super::edges::{Candidate, Predecessor, predecessor_name};
use super::layers::{Builder, MapShape, halved};
use super::operation::Form;
use super::pool::Pool;
use super::signal::Signal;
use super::stack::StackedConvolution;

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
    /// Height and width of a node's map.
    map: (i64, i64),
    pub(super) stacks: Vec<StackedConvolution>,
    identities: Vec<Identity>,
    pools: Vec<Pool>,
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
pub(super) struct CellInput {
    pub(super) channels: i64,
    /// Levels that its map falls on its way into the cell.
    pub(super) drop: u32,
    /// Size of its map.
    pub(super) from: (i64, i64),
    /// The size that its map has in the cell.
    pub(super) size: (i64, i64),
}

impl CellShape {
    /// What nodes with `width` channels read of `predecessor`.
    pub(super) fn read(&self, predecessor: Predecessor, width: i64) -> CellInput {
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

impl SpikingCell {
    pub(super) fn new(
        builder: &Builder,
        shape: CellShape,
        candidates: &[Candidate],
        inputs: &[Channels; 2],
        build: &mut Build,
    ) -> Result<SpikingCell> {
        let width = builder.channels << shape.level;
        let identities = candidates.iter().filter(|one| one.form == Form::Identity);
        let identities = identities.map(|Candidate { link, choice, .. }| Identity {
            predecessor: link.predecessor,
            node: link.node,
            choice: *choice,
        });
        let identities: Vec<Identity> = identities.collect();
        let mut pools = Vec::<Pool>::new();
        let mut stacks = Vec::<StackedConvolution>::new();
        // Of s0, s1 and the nodes so far: a node reads those before it alone.
        let mut channels = inputs.to_vec();
        for predecessor in 0..builder.nodes + 2 {
            if let Some(node) = predecessor.checked_sub(2) {
                let driven = stacks.iter().flat_map(|stack| &stack.convolutions).find(|one| one.node == node);
                let handed_on = identities.iter().map(|one| (one.node, one.predecessor));
                let handed_on = handed_on.chain(pools.iter().map(|one| (one.node, one.predecessor)));
                let handed_on = handed_on.filter(|(to, _)| *to == node).map(|(_, from)| channels[from].clone());
                channels.push(match driven {
                    Some(convolution) => convolution.weight.channels().clone(),
                    None => handed_on.reduce(|all, next| all.of_sum(&next)).unwrap_or_default(),
                });
            }
            let mut at = build.at(format!("from_{}", predecessor_name(predecessor)));
            let reads = &channels[predecessor];
            stacks.extend(StackedConvolution::all(builder, shape, predecessor, candidates, reads, &mut at)?);
            let here = candidates.iter().filter(|one| one.link.predecessor == predecessor && one.form == Form::Pool);
            pools.extend(here.map(|one| Pool::new(builder, one, width, &mut at)));
        }
        Ok(SpikingCell {
            channels: channels.split_off(inputs.len()),
            nodes: (0..builder.nodes).map(|node| builder.neurons(&mut build.at(format!("n{node}")))).collect(),
            width,
            map: shape.read(2, width).size,
            stacks,
            identities,
            pools,
        })
    }

    /// The channels of the cell's output.
    pub(super) fn channels(&self) -> Channels {
        Channels::side_by_side(&self.channels, self.width)
    }

    /// Numbers of all sums of spikes, for one image and timestep: those of a node are made once.
    pub(super) fn sums(&self) -> f64 {
        let of_inputs: f64 = self.stacks.iter().map(StackedConvolution::sums).sum();
        let pooled: BTreeSet<Predecessor> = self.pools.iter().map(|pool| pool.predecessor).collect();
        of_inputs + (pooled.len() as i64 * self.width * self.map.0 * self.map.1) as f64
    }

    pub(super) fn full_precision_parameters(&self) -> u64 {
        let stacks = self.stacks.iter().map(StackedConvolution::full_precision_parameters);
        let there = |pool: &Pool| self.channels[pool.node].count(self.width);
        let pools = self.pools.iter().map(|pool| pool.full_precision_parameters(there(pool)));
        stacks.chain(pools).sum::<u64>() + self.nodes.iter().map(Neurons::parameters).sum::<u64>()
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
                None => pass.fired_without_weight(&spikes),
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

    /// Its output on two inputs, written for the engine. Currents stand in the order in which
    /// [`SpikingCell::forward`] adds them.
    pub(super) fn packed(&self, name: &str, inputs: [Written; 2], packer: &mut Packer) -> Result<Written> {
        let mut currents: Vec<Vec<Current>> = self.nodes.iter().map(|_| Vec::new()).collect();
        for (predecessor, input) in inputs.into_iter().enumerate() {
            self.pack_from(name, predecessor, input, packer, &mut currents)?;
        }
        let (width, (height, columns)) = (self.width as usize, self.map);
        let mut nodes = Vec::new();
        for (node, neurons) in self.nodes.iter().enumerate() {
            let shape = [width, height as usize, columns as usize];
            let spikes =
                packer.spikes(format!("{name}.n{node}"), shape, neurons, std::mem::take(&mut currents[node]))?;
            self.pack_from(name, node + 2, spikes, packer, &mut currents)?;
            nodes.push(spikes);
        }
        Ok(packer.side_by_side(name.to_owned(), &nodes))
    }

    /// Adds what leaves `predecessor`, whose spikes are `input`, to the currents of the nodes.
    fn pack_from(
        &self,
        name: &str,
        predecessor: Predecessor,
        input: Written,
        packer: &mut Packer,
        currents: &mut [Vec<Current>],
    ) -> Result<()> {
        let from = predecessor_name(predecessor);
        for stack in self.stacks.iter().filter(|stack| stack.predecessor == predecessor) {
            for (node, current) in stack.packed(&format!("{name}.{from}"), input, packer)? {
                currents[node].push(current);
            }
        }
        for pool in self.pools.iter().filter(|pool| pool.predecessor == predecessor) {
            let name = format!("{name}.n{}.{from}.pool", pool.node);
            currents[pool.node].push(pool.packed(&name, input, &self.channels[pool.node], packer)?);
        }
        for identity in self.identities.iter().filter(|identity| identity.predecessor == predecessor) {
            currents[identity.node].push(input.handed_on_to(&self.channels[identity.node]));
        }
        Ok(())
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
            if let Some(path) = pass.path {
                self.send_along(path, stack, signal, pass, terms, activity);
                continue;
            }
            let input = stack.read(signal, pass, activity);
            for _ in &stack.convolutions {
                activity.extend(input.activity.as_ref().map(Activity::shallow_clone));
            }
            let currents = Rc::new(stack.currents(0..stack.convolutions.len(), &input, &self.nodes[0], pass));
            for (index, convolution) in stack.convolutions.iter().enumerate() {
                let scale = alpha.map(|_| convolution.choice);
                let part = Term::Part { of: currents.clone(), first: index as i64 * self.width, scale };
                terms[convolution.node].push(part);
            }
        }
        let is_there = |choice: i64| pass.path.is_none_or(|path| path.has(choice as usize));
        let pools = self.pools.iter().filter(|pool| pool.predecessor == predecessor && is_there(pool.choice));
        let pools: Vec<&Pool> = pools.collect();
        if !pools.is_empty() {
            // Nothing with weights reads the sums: they are not measured.
            let sums = signal.summed(1, &Pass { measure: false, ..*pass });
            for pool in pools {
                let currents = pool.currents(&sums, &self.nodes[0], &self.channels[pool.node], pass);
                let scale = alpha.map(|_| pool.choice);
                terms[pool.node].push(Term::Part { of: Rc::new(currents), first: 0, scale });
            }
        }
        let leave = |identity: &&Identity| identity.predecessor == predecessor && is_there(identity.choice);
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
        signal: &Signal,
        pass: &Pass,
        terms: &mut [Vec<Term>],
        activity: &mut Vec<Activity>,
    ) {
        let device = signal.spikes.device();
        let is_there = |choice: i64| path.has(choice as usize);
        if !stack.convolutions.iter().any(|one| is_there(one.choice)) {
            activity.extend(stack.layers().flat_map(|(shape, ..)| pass.no_activity(shape.input_neurons(), device)));
            return;
        }
        let input = stack.read(signal, pass, activity);
        for (index, convolution) in stack.convolutions.iter().enumerate() {
            if !is_there(convolution.choice) {
                activity.extend(pass.no_activity(convolution.shape.input_neurons(), device));
                continue;
            }
            let currents = Rc::new(stack.currents(index..index + 1, &input, &self.nodes[0], pass));
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
