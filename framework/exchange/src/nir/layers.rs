//! The maps of a network as nodes of a graph.

use litesnn_engine::{Current, Join, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window};

use super::graph::{Conv2d, Graph, Kind, Lif};
use super::parts::Part;
use super::{DT, Options, Refusal};

/// The most weights of a convolution: 1 GiB of f32.
const WEIGHTS: usize = 1 << 28;

/// The decay of the neurons that take the largest of a window; any from 0 to below 1 gives the same
/// spikes.
const DECAY: f64 = 0.2;

/// The graph of a network.
pub(super) fn graph(network: &Network, options: &Options) -> Result<Graph, Refusal> {
    let mut graph = Graph::default();
    let input = graph.add("input", Kind::Input(network.image.shape), &[]);
    let image = vec![Part::whole(input, network.image.shape, false)];
    let mut layers = Layers { network, options, image, maps: Vec::new(), graph };
    for map in &network.maps {
        let parts = layers.map(map)?;
        layers.maps.push(parts);
    }
    layers.logits(&network.logits)?;
    Ok(layers.graph)
}

/// A graph, and what it has so far of a network.
struct Layers<'a> {
    network: &'a Network,
    options: &'a Options,
    image: Vec<Part>,
    /// The parts of the maps.
    maps: Vec<Vec<Part>>,
    graph: Graph,
}

/// A convolution of a map: what of it is read from which part is decided later.
struct Linear<'a> {
    name: &'a str,
    outputs: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    /// The weight of an output, a channel of the map, and a row and a column of the kernel.
    weight: &'a dyn Fn(usize, usize, usize, usize) -> f64,
    /// One for each output, or empty.
    bias: &'a [f32],
}

impl Layers<'_> {
    /// Adds the nodes of a map; its parts.
    fn map(&mut self, map: &Map) -> Result<Vec<Part>, Refusal> {
        let refused = |why: String| Err(Refusal::Layer { name: map.name.clone(), why });
        let of = |of: &usize| self.maps[*of].clone().into_iter();
        Ok(match &map.made {
            Made::Spikes { neuron, currents } => {
                let (lif, gain) = self.neuron(&map.name, neuron)?;
                let mut sources = Vec::new();
                for current in currents {
                    self.current(map, current, gain, &mut sources)?;
                }
                vec![self.neurons(&map.name, map.shape, lif, &sources)]
            }
            Made::SideBySide(all) => {
                let mut parts = Vec::new();
                let mut channels = 0;
                for one in all {
                    parts.extend(of(one).map(|part| part.further(channels)));
                    channels += self.network.maps[*one].shape[0];
                }
                parts
            }
            Made::Resized(one) => {
                let [_, height, width] = map.shape;
                let Some(parts) = of(one).map(|part| part.resized([height, width])).collect::<Option<_>>() else {
                    let [_, rows, columns] = self.network.maps[*one].shape;
                    return refused(format!(
                        "a map of {rows}x{columns} becomes {height}x{width}, and NIR has no node that resizes: a \
                         convolution reads every n-th row and column alone, which needs a size that divides the other"
                    ));
                };
                parts
            }
            Made::Largest { of: one, window } => {
                if !of(one).all(|part| part.spikes) {
                    return refused(
                        "it takes the largest of sums, and NIR has no such node; of spikes, neurons can take it".into(),
                    );
                }
                self.pooled(map, *one, window)?.into_iter().map(|part| self.any(map, part, window)).collect()
            }
            Made::Sums { of: one, window } => {
                let numbers = (window.size[0] * window.size[1]) as f64;
                let parts = self.pooled(map, *one, window)?.into_iter();
                parts.map(|part| Part { times: part.times * numbers, spikes: false, ..part }).collect()
            }
            Made::Joined { of: [a, s], by: Join::Add } => {
                of(a).chain(of(s)).map(|part| Part { spikes: false, ..part }).collect()
            }
            Made::Joined { by, .. } => {
                let name = if *by == Join::And { "and" } else { "iand" };
                return refused(format!("its spikes are joined by `{name}`, and NIR has no product of two maps"));
            }
            Made::Widened { of: one, stride, zeros } => {
                of(one).map(|part| part.strided(*stride).further(zeros[0])).collect()
            }
            Made::Flat(one) => of(one).map(Part::flattened).collect(),
        })
    }

    /// Neurons that the sum of the sources drives.
    fn neurons(&mut self, name: &str, shape: [usize; 3], lif: Lif, sources: &[usize]) -> Part {
        Part::whole(self.graph.add(name, Kind::Lif { shape, lif }, sources), shape, true)
    }

    /// NIR's neuron in place of this one, and what its currents are multiplied by.
    fn neuron(&self, name: &str, neuron: &Neuron) -> Result<(Lif, f64), Refusal> {
        let refused = |why: &str| Err(Refusal::Layer { name: name.to_owned(), why: why.to_owned() });
        if neuron.reset == Reset::Soft {
            return refused("a spike takes the threshold from the potential, and NIR resets to a value, v_reset");
        }
        if neuron.decay >= 1.0 {
            return refused("its neurons do not leak, and importers do not agree on the resistance of NIR's IF");
        }
        let decay = shortest(neuron.decay);
        // v(t) = (1 - dt/tau) v(t-1) + (r dt/tau) I(t)
        let kept = 1.0 - decay;
        let scaled = neuron.gain.is_some_and(|gain| (f64::from(gain) - kept).abs() < 1e-6);
        let unit = self.options.unit_resistance || scaled;
        let lif = Lif {
            tau: DT / kept,
            r: if unit { 1.0 } else { 1.0 / kept },
            threshold: f64::from(neuron.threshold.next_up()),
        };
        let gain = match neuron.gain {
            Some(_) if scaled => 1.0,
            gain => gain.map_or(1.0, f64::from) / if unit { kept } else { 1.0 },
        };
        Ok((lif, gain))
    }

    /// Adds a current of a map's neurons to the nodes that drive them.
    fn current(&mut self, map: &Map, current: &Current, gain: f64, sources: &mut Vec<usize>) -> Result<(), Refusal> {
        let (of, divisor, scale, bias) = match current {
            Current::Synapses(synapses) => {
                sources.extend(self.synapses(synapses, gain)?);
                return Ok(());
            }
            Current::Scaled { of, divisor, scale, bias } => (*of, f64::from(*divisor), scale, bias),
        };
        let factor = |channel: usize| scale.get(channel).map_or(1.0, |scale| f64::from(*scale)) / divisor;
        let linear = Linear {
            name: &format!("{}.of.{}", map.name, self.network.maps[of].name),
            outputs: map.shape[0],
            kernel: [1, 1],
            stride: 1,
            padding: 0,
            weight: &|to, from, _, _| if to == from { factor(to) } else { 0.0 },
            bias,
        };
        for (place, part) in self.maps[of].clone().iter().enumerate() {
            let all = part.plain() && part.channels() == map.shape[0];
            let same = all && (0..map.shape[0]).all(|channel| factor(channel) * part.times * gain == 1.0);
            let free = place > 0 || bias.iter().all(|bias| *bias == 0.0);
            // An edge hands numbers on as they are, and there is one alone between two nodes.
            match same && free && !sources.contains(&part.node) {
                true => sources.push(part.node),
                false => {
                    let convolution = self.convolution(&linear, part, gain, place == 0)?;
                    sources.push(convolution);
                }
            }
        }
        Ok(())
    }

    /// A convolution for each part of what synapses read; their sum is the current.
    fn synapses(&mut self, synapses: &Synapses, gain: f64) -> Result<Vec<usize>, Refusal> {
        let [outputs, inputs, rows, columns] = synapses.shape;
        let each = outputs / synapses.groups;
        let level = |place: usize| match &synapses.values {
            Values::Levels(levels) => f64::from(levels[place]),
            Values::Full(weights) => f64::from(weights[place]),
        };
        let linear = Linear {
            name: &synapses.name,
            outputs,
            kernel: [rows, columns],
            stride: synapses.stride,
            padding: synapses.padding,
            weight: &|to, from, row, column| {
                let scale = synapses.scale.get(to).map_or(1.0, |scale| f64::from(*scale));
                match from / inputs == to / each {
                    true => scale * level(((to * inputs + from % inputs) * rows + row) * columns + column),
                    false => 0.0,
                }
            },
            bias: &synapses.bias,
        };
        let parts = match synapses.of {
            Source::Image => self.image.clone(),
            Source::Map(of) => self.maps[of].clone(),
        };
        let parts = parts.iter().enumerate();
        parts.map(|(place, part)| self.convolution(&linear, part, gain, place == 0)).collect()
    }

    /// A node that is the convolution of a part.
    fn convolution(&mut self, linear: &Linear, part: &Part, gain: f64, biased: bool) -> Result<usize, Refusal> {
        let kind = linear.of(part, gain, biased)?;
        Ok(self.graph.add(linear.name, Kind::Conv2d(kind), &[part.node]))
    }

    /// Means of windows over the parts of a map.
    fn pooled(&mut self, map: &Map, of: usize, window: &Window) -> Result<Vec<Part>, Refusal> {
        let Window { size, stride, padding } = *window;
        if (0..2).any(|axis| 2 * padding[axis] > size[axis]) {
            let why = format!("windows of {size:?} begin {padding:?} outside the map, and importers take half at most");
            return Err(Refusal::Layer { name: map.name.clone(), why });
        }
        let name = format!("{}.mean", map.name);
        let [_, height, width] = map.shape;
        let mut pooled = Vec::new();
        for part in self.maps[of].clone() {
            let (node, times) = match part.plain() {
                true => (part.node, part.times),
                false => (self.selected(&name, &part)?, 1.0),
            };
            let node = self.graph.add(&name, Kind::AvgPool2d { size, stride, padding }, &[node]);
            let whole = Part::whole(node, [part.channels(), height, width], part.spikes);
            pooled.push(Part { at: part.at, times, ..whole });
        }
        Ok(pooled)
    }

    /// A node with the numbers of a part.
    fn selected(&mut self, name: &str, part: &Part) -> Result<usize, Refusal> {
        let linear = Linear {
            name,
            outputs: part.channels(),
            kernel: [1, 1],
            stride: 1,
            padding: 0,
            weight: &|to, from, _, _| if to == from { 1.0 } else { 0.0 },
            bias: &[],
        };
        self.convolution(&linear, &Part { at: 0, ..part.clone() }, 1.0, false)
    }

    /// Neurons that spike where a mean of a window's spikes is above 0: their largest. A mean is 0
    /// and leaves the potential at 0, or it is 1/n or more and is reset to 0 at once; so with a
    /// threshold of half a spike nothing is left for the next timestep.
    fn any(&mut self, map: &Map, part: Part, window: &Window) -> Part {
        let numbers = (window.size[0] * window.size[1]) as f64;
        let kept = 1.0 - DECAY;
        let (r, half) = match self.options.unit_resistance {
            true => (1.0, 0.5 * kept / numbers),
            false => (1.0 / kept, 0.5 / numbers),
        };
        let lif = Lif { tau: DT / kept, r, threshold: half };
        self.neurons(&map.name, part.shape, lif, &[part.node]).further(part.at)
    }

    /// The logits of a timestep, means over votes.
    fn logits(&mut self, logits: &Logits) -> Result<(), Refusal> {
        let Logits { synapses, neuron, votes } = logits;
        let shape = [synapses.shape[0], 1, 1];
        let neuron = neuron.as_ref().map(|neuron| self.neuron(&synapses.name, neuron)).transpose()?;
        let mut sources = self.synapses(synapses, neuron.map_or(1.0, |(_, gain)| gain))?;
        if let Some((lif, _)) = neuron {
            sources = vec![self.neurons("votes", shape, lif, &sources).node];
        }
        let classes = shape[0] / votes;
        // Importers do not add what several edges bring to the output.
        if *votes > 1 || sources.len() > 1 {
            let linear = Linear {
                name: "logits",
                outputs: classes,
                kernel: [1, 1],
                stride: 1,
                padding: 0,
                weight: &|to, from, _, _| if from / votes == to { 1.0 / *votes as f64 } else { 0.0 },
                bias: &[],
            };
            let kind = linear.of(&Part::whole(sources[0], shape, false), 1.0, false)?;
            sources = vec![self.graph.add(linear.name, Kind::Conv2d(kind), &sources)];
        }
        self.graph.add("output", Kind::Output([classes, 1, 1]), &sources);
        Ok(())
    }
}

impl Linear<'_> {
    /// The convolution that reads a part of the map, with weights and, where `biased`, biases times
    /// `gain`.
    ///
    /// What reads every n-th row and column of a node has n times the stride, the padding and the
    /// distance of its taps. A vector's weights are a kernel as large as the map that became it. A
    /// kernel that is not square gets zeros on both sides.
    fn of(&self, part: &Part, gain: f64, biased: bool) -> Result<Conv2d, Refusal> {
        let refused = |why: String| Err(Refusal::Layer { name: self.name.to_owned(), why });
        if part.flat && (self.kernel, self.padding) != ([1, 1], 0) {
            let [rows, columns] = self.kernel;
            return refused(format!("a kernel of {rows}x{columns} reads a vector, which has one place; 1x1 is right"));
        }
        let kernel @ [rows, columns] = if part.flat { part.seen } else { self.kernel };
        let side = rows.max(columns);
        let before = kernel.map(|taps| (side - taps).div_ceil(2));
        if !part.flat && (0..2).any(|axis| 2 * before[axis] + kernel[axis] != side) {
            return refused(format!(
                "a kernel of {rows}x{columns}, and nir 1.0.8 knows square ones alone; zeros on both sides make no \
                 square of it"
            ));
        }
        let shape @ [outputs, inputs, ..] = [self.outputs, part.shape[0], side, side];
        match shape.iter().try_fold(1usize, |all, side| all.checked_mul(*side)) {
            Some(weights) if weights <= WEIGHTS => {}
            _ => return refused(format!("{shape:?} weights in one group, and {WEIGHTS} are the most")),
        }
        let mut weight = vec![0.0; outputs * inputs * side * side];
        for to in 0..outputs {
            for from in 0..inputs {
                let taps = &mut weight[(to * inputs + from) * side * side..][..side * side];
                for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                    let one = match part.flat {
                        true => (self.weight)(to, part.at + (from * rows + row) * columns + column, 0, 0),
                        false => (self.weight)(to, part.at + from, row, column),
                    };
                    // Adding 0 makes 0 of -0.
                    taps[(before[0] + row) * side + before[1] + column] = (one * part.times * gain + 0.0) as f32;
                }
            }
        }
        let bias = |to: usize| self.bias.get(to).filter(|_| biased).map_or(0.0, |bias| f64::from(*bias) * gain);
        let stride = if part.flat { 2 * side } else { self.stride };
        Ok(Conv2d {
            input: [part.shape[1], part.shape[2]],
            shape,
            weight,
            bias: (0..outputs).map(|to| bias(to) as f32).collect(),
            stride: part.step.map(|step| step * stride),
            padding: [0, 1].map(|axis| (self.padding + before[axis]) * part.step[axis]),
            dilation: part.step,
        })
    }
}

/// The number whose shortest decimal is that of an f32: 0.2, and not 0.20000000298.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().expect("a number's decimals are a number")
}
