//! The maps of a network as nodes of a graph.

use litesnn_engine::{Current, Join, Logits, Made, Map, Network, Neuron, Reset, Source, Synapses, Values, Window};

use super::graph::{Growing, integer, integers};
use super::message::{FLOAT, Graph, INT2, INT4, INT8, INT16};
use super::{Options, Width};

/// The first dimension of what is the same at every timestep.
const BATCH: &str = "batch";

/// The first dimension of what every timestep has.
const FOLDED: &str = "timesteps_batch";

/// The most taps of an image whose products are added one after another; more are a Conv.
pub(super) const TAPS: usize = 256;

/// The graph of a network.
pub(super) fn graph(network: &Network, options: &Options) -> Graph {
    let mut graph = Growing::default();
    let pixels = graph.input("pixels", BATCH, &network.image.shape);
    let logits = graph.name("logits");
    graph.output(&logits, BATCH, &[network.classes.len()]);
    let mut layers = Layers { network, width: options.width, image: String::new(), maps: Vec::new(), graph };
    layers.image = layers.normalised(&pixels);
    for map in &network.maps {
        let value = layers.map(map);
        if options.spikes && matches!(map.made, Made::Spikes { .. }) {
            layers.graph.output(&value, FOLDED, &map.shape);
        }
        layers.maps.push(value);
    }
    layers.logits(&network.logits, &logits);
    layers.graph.grown("litesnn")
}

/// A current `[B, C, H, W]` that is the same at every timestep, or one of all timesteps
/// `[T · B, C, H, W]`.
enum Driven {
    Once(String),
    Always(String),
}

/// A graph, and what it has so far of a network.
struct Layers<'a> {
    network: &'a Network,
    width: Width,
    /// The normalised image, `[B, C, H, W]`.
    image: String,
    /// The values of the maps, `[T · B, C, H, W]` each.
    maps: Vec<String>,
    graph: Growing,
}

impl Layers<'_> {
    fn normalised(&mut self, pixels: &str) -> String {
        let image = &self.network.image;
        let each = [image.shape[0], 1, 1];
        let mean = self.graph.numbers("image/mean", &each, &image.mean);
        let std = self.graph.numbers("image/std", &each, &image.std);
        let centred = self.graph.node("Sub", "image/centred", &[pixels, &mean], vec![]);
        self.graph.node("Div", "image", &[&centred, &std], vec![])
    }

    /// Adds a map; the name of its value.
    fn map(&mut self, map: &Map) -> String {
        let name = &map.name;
        match &map.made {
            Made::Spikes { neuron, currents } => {
                let mut currents = currents.iter().map(|current| self.current(map, current)).collect::<Vec<_>>();
                let first = currents.remove(0);
                let sum = currents.into_iter().fold(first, |sum, current| self.added(name, sum, current));
                self.neurons(name, neuron, sum)
            }
            Made::SideBySide(maps) => {
                let values: Vec<String> = maps.iter().map(|of| self.maps[*of].clone()).collect();
                self.graph.concatenated(name, &values, 1)
            }
            Made::Resized(of) => {
                let from = self.network.maps[*of].shape;
                let rows = self.nearest(&self.maps[*of].clone(), &format!("{name}/rows"), 2, from[1], map.shape[1]);
                self.nearest(&rows, name, 3, from[2], map.shape[2])
            }
            Made::Largest { of, window } => self.largest(map, *of, window),
            Made::Sums { of, window } => self.sums(map, *of, window),
            Made::Joined { of: [a, s], by } => {
                let (mut a, s) = (self.maps[*a].clone(), self.maps[*s].clone());
                if *by == Join::Iand {
                    let one = self.graph.scalar(1.0);
                    a = self.graph.node("Sub", &format!("{name}/not"), &[&one, &a], vec![]);
                }
                let kind = if *by == Join::Add { "Add" } else { "Mul" };
                self.graph.node(kind, name, &[&a, &s], vec![])
            }
            Made::Widened { of, stride, zeros } => self.widened(map, *of, *stride, *zeros),
            Made::Flat(of) => {
                // A dimension of 0 is that of the input.
                let shape = self.graph.places(&format!("{name}/shape"), &[0, map.shape[0] as i64, 1, 1]);
                self.graph.node("Reshape", name, &[&self.maps[*of], &shape], vec![])
            }
        }
    }

    /// Of `to` rows or columns, the nearest of `from` ones.
    fn nearest(&mut self, value: &str, name: &str, axis: usize, from: usize, to: usize) -> String {
        let places: Vec<i64> = (0..to).map(|place| (place * from / to) as i64).collect();
        let places = self.graph.places(&format!("{name}/places"), &places);
        self.graph.node("Gather", name, &[value, &places], vec![integer("axis", axis)])
    }

    fn largest(&mut self, map: &Map, of: usize, window: &Window) -> String {
        let from = self.network.maps[of].shape;
        let mut value = self.maps[of].clone();
        let ([top, left], [bottom, right]) = (window.padding, ends(from, map.shape, window));
        if [top, left, bottom, right] != [0; 4] {
            let pads = [0, 0, top, left, 0, 0, bottom, right].map(|pad| pad as i64);
            let pads = self.graph.places(&format!("{}/pads", map.name), &pads);
            value = self.graph.node("Pad", &format!("{}/padded", map.name), &[&value, &pads], vec![]);
        }
        let attributes = vec![integers("kernel_shape", &window.size), integers("strides", &window.stride)];
        self.graph.node("MaxPool", &map.name, &[&value], attributes)
    }

    fn sums(&mut self, map: &Map, of: usize, window: &Window) -> String {
        let from @ [channels, height, width] = self.network.maps[of].shape;
        if (window.size, window.padding, map.shape) == ([height, width], [0, 0], [channels, 1, 1]) {
            let axes = self.graph.places(&format!("{}/axes", map.name), &[2, 3]);
            return self.graph.node("ReduceSum", &map.name, &[&self.maps[of], &axes], vec![integer("keepdims", 1)]);
        }
        let [rows, columns] = window.size;
        let ones = vec![1.0; channels * rows * columns];
        let ones = self.graph.numbers(&format!("{}/ones", map.name), &[channels, 1, rows, columns], &ones);
        let ([top, left], [bottom, right]) = (window.padding, ends(from, map.shape, window));
        let attributes = vec![
            integer("group", channels),
            integers("kernel_shape", &window.size),
            integers("pads", &[top, left, bottom, right]),
            integers("strides", &window.stride),
        ];
        self.graph.node("Conv", &map.name, &[&self.maps[of], &ones], attributes)
    }

    fn widened(&mut self, map: &Map, of: usize, stride: usize, [front, back]: [usize; 2]) -> String {
        let [_, height, width] = map.shape;
        let name = |part: &str| format!("{}/{part}", map.name);
        let mut value = self.maps[of].clone();
        if stride > 1 {
            let last = |places: usize| ((places - 1) * stride + 1) as i64;
            let starts = self.graph.places(&name("starts"), &[0, 0]);
            let ends = self.graph.places(&name("ends"), &[last(height), last(width)]);
            let axes = self.graph.places(&name("axes"), &[2, 3]);
            let steps = self.graph.places(&name("steps"), &[stride as i64; 2]);
            value = self.graph.node("Slice", &name("strided"), &[&value, &starts, &ends, &axes, &steps], vec![]);
        }
        let pads = self.graph.places(&name("pads"), &[0, front as i64, 0, 0, 0, back as i64, 0, 0]);
        self.graph.node("Pad", &map.name, &[&value, &pads], vec![])
    }

    fn current(&mut self, map: &Map, current: &Current) -> Driven {
        let name = &map.name;
        match current {
            Current::Synapses(synapses) => self.synapses(synapses, map.shape),
            Current::Scaled { of, divisor, scale, bias } => {
                let mut value = self.maps[*of].clone();
                if *divisor != 1.0 {
                    let divisor = self.graph.scalar(*divisor);
                    value = self.graph.node("Div", &format!("{name}/mean"), &[&value, &divisor], vec![]);
                }
                Driven::Always(self.scaled(&format!("{name}/of.{}", self.network.maps[*of].name), value, scale, bias))
            }
        }
    }

    /// The current of synapses, on a map of `output`.
    fn synapses(&mut self, synapses: &Synapses, output: [usize; 3]) -> Driven {
        let Synapses { name, of, shape, groups, stride, padding, scale, bias, values, .. } = synapses;
        if *of == Source::Image && *groups == 1 && shape[1..].iter().product::<usize>() <= TAPS {
            let sum = self.sum_of_pixels(synapses, output);
            return Driven::Once(self.scaled(name, sum, scale, bias));
        }
        let weight = self.weight(name, shape, values);
        let from = match of {
            Source::Image => self.image.clone(),
            Source::Map(of) => self.maps[*of].clone(),
        };
        let attributes = vec![
            integer("group", *groups),
            integers("kernel_shape", &shape[2..]),
            integers("pads", &[*padding; 4]),
            integers("strides", &[*stride; 2]),
        ];
        let sum = self.graph.node("Conv", &format!("{name}/sum"), &[&from, &weight], attributes);
        let current = self.scaled(name, sum, scale, bias);
        match of {
            Source::Image => Driven::Once(current),
            Source::Map(_) => Driven::Always(current),
        }
    }

    /// The sums n of a layer that reads the image, `[B, O, H, W]`: the products of one tap after
    /// another, by channel, row and column, as the engine adds them. Sums of pixels are rounded, and so
    /// their order matters, which a Conv leaves to the runtime.
    fn sum_of_pixels(&mut self, synapses: &Synapses, [outputs, height, width]: [usize; 3]) -> String {
        let Synapses { name, shape, stride, padding, values, .. } = synapses;
        let taps = shape[1..].iter().product::<usize>();
        // All weights of a tap side by side: `[taps, O, 1, 1]`.
        let places = (0..taps).flat_map(|tap| (0..outputs).map(move |output| output * taps + tap));
        let by_tap = match values {
            Values::Levels(levels) => Values::Levels(places.map(|place| levels[place]).collect()),
            Values::Full(weights) => Values::Full(places.map(|place| weights[place]).collect()),
        };
        let weights = self.weight(name, &[taps, outputs, 1, 1], &by_tap);
        let weights = self.graph.split(&weights, 0, taps);
        let part = |part: &str| format!("{name}/{part}");
        let mut image = self.image.clone();
        if *padding > 0 {
            let pads = [0, 0, *padding, *padding].map(|pad| pad as i64);
            let pads = self.graph.places(&part("pads"), &[pads, pads].concat());
            image = self.graph.node("Pad", &part("padded"), &[&image, &pads], vec![]);
        }
        let axes = self.graph.places(&part("axes"), &[1, 2, 3]);
        let steps = self.graph.places(&part("steps"), &[1, *stride as i64, *stride as i64]);
        let mut sum: Option<String> = None;
        for (tap, weights) in weights.into_iter().enumerate() {
            let first = [tap / (shape[2] * shape[3]), tap / shape[3] % shape[2], tap % shape[3]];
            let last = [first[0], first[1] + (height - 1) * stride, first[2] + (width - 1) * stride];
            let starts = self.graph.places(&part("starts"), &first.map(|place| place as i64));
            let ends = self.graph.places(&part("ends"), &last.map(|place| place as i64 + 1));
            let pixels = self.graph.node("Slice", &part("pixels"), &[&image, &starts, &ends, &axes, &steps], vec![]);
            let product = self.graph.node("Mul", &part("product"), &[&pixels, &weights], vec![]);
            sum = Some(match sum {
                None => product,
                Some(sum) => self.graph.node("Add", &part("sum"), &[&sum, &product], vec![]),
            });
        }
        sum.expect("a kernel has a tap")
    }

    /// The weights of a layer as f32, in a shape.
    fn weight(&mut self, layer: &str, shape: &[usize], values: &Values) -> String {
        let name = format!("{layer}/weight");
        let levels = match values {
            Values::Full(weights) => return self.graph.numbers(&name, shape, weights),
            Values::Levels(levels) => levels,
        };
        let (kind, bytes) = held(levels, self.width);
        if kind == FLOAT {
            return self.graph.tensor(&name, kind, shape, bytes);
        }
        let levels = self.graph.tensor(&format!("{layer}/levels"), kind, shape, bytes);
        let one = self.graph.scalar(1.0);
        self.graph.node("DequantizeLinear", &name, &[&levels, &one], vec![])
    }

    /// scale · value + bias, for each channel; an empty list leaves its operation out.
    fn scaled(&mut self, name: &str, mut value: String, scale: &[f32], bias: &[f32]) -> String {
        for (kind, part, numbers) in [("Mul", "scale", scale), ("Add", "bias", bias)] {
            if !numbers.is_empty() {
                let numbers = self.graph.numbers(&format!("{name}/{part}"), &[numbers.len(), 1, 1], numbers);
                value = self.graph.node(kind, &format!("{name}/{kind}"), &[&value, &numbers], vec![]);
            }
        }
        value
    }

    fn added(&mut self, name: &str, sum: Driven, current: Driven) -> Driven {
        let mut add = |a: &str, b: &str| self.graph.node("Add", &format!("{name}/sum"), &[a, b], vec![]);
        match (sum, current) {
            (Driven::Once(sum), Driven::Once(current)) => Driven::Once(add(&sum, &current)),
            (Driven::Always(sum), Driven::Always(current)) => Driven::Always(add(&sum, &current)),
            (sum, current) => {
                let (sum, current) = (self.always(sum), self.always(current));
                self.added(name, Driven::Always(sum), Driven::Always(current))
            }
        }
    }

    /// A current at all timesteps.
    fn always(&mut self, current: Driven) -> String {
        match current {
            Driven::Always(current) => current,
            Driven::Once(current) => {
                let copies = vec![current.clone(); self.network.timesteps];
                self.graph.concatenated(&format!("{current}/repeated"), &copies, 0)
            }
        }
    }

    /// The spikes of neurons, `[T · B, ...]`.
    fn neurons(&mut self, name: &str, neuron: &Neuron, current: Driven) -> String {
        let timesteps = self.network.timesteps;
        let gained = |graph: &mut Growing, current: String| match neuron.gain {
            None => current,
            Some(gain) => {
                let gain = graph.scalar(gain);
                graph.node("Mul", &format!("{name}/gained"), &[&gain, &current], vec![])
            }
        };
        let currents = match current {
            Driven::Once(current) => vec![gained(&mut self.graph, current); timesteps],
            Driven::Always(current) => {
                let current = gained(&mut self.graph, current);
                self.graph.split(&current, 0, timesteps)
            }
        };
        let (mut spikes, mut potential) = (Vec::new(), None);
        for (timestep, current) in currents.into_iter().enumerate() {
            let (spike, left) =
                self.fire(&format!("{name}/t{}", timestep + 1), neuron, potential, current, timestep + 1 < timesteps);
            spikes.push(spike);
            potential = left;
        }
        self.graph.concatenated(name, &spikes, 0)
    }

    /// One timestep of neurons: their spikes, and what is left of their potentials where a timestep
    /// follows.
    fn fire(
        &mut self,
        name: &str,
        neuron: &Neuron,
        left: Option<String>,
        current: String,
        follows: bool,
    ) -> (String, Option<String>) {
        let graph = &mut self.graph;
        let part = |part: &str| format!("{name}/{part}");
        let potential = match left {
            None => current,
            Some(left) => graph.node("Add", &part("potential"), &[&left, &current], vec![]),
        };
        let threshold = graph.scalar(neuron.threshold);
        let fired = graph.node("Greater", &part("fired"), &[&potential, &threshold], vec![]);
        let spikes = graph.node("Cast", &part("spikes"), &[&fired], vec![integer("to", FLOAT as usize)]);
        if !follows {
            return (spikes, None);
        }
        let after = match neuron.reset {
            Reset::Hard => graph.scalar(0.0),
            Reset::Soft => graph.node("Sub", &part("exceeding"), &[&potential, &threshold], vec![]),
        };
        let reset = graph.node("Where", &part("reset"), &[&fired, &after, &potential], vec![]);
        let decay = graph.scalar(neuron.decay);
        (spikes, Some(graph.node("Mul", &part("left"), &[&decay, &reset], vec![])))
    }

    /// The logits `[B, K]`, as the value `name`.
    fn logits(&mut self, logits: &Logits, name: &str) {
        let outputs = logits.synapses.shape[0];
        let layer = self.synapses(&logits.synapses, [outputs, 1, 1]);
        let votes = match &logits.neuron {
            Some(neuron) => self.neurons(&format!("{name}/neurons"), neuron, layer),
            None => self.always(layer),
        };
        let (classes, timesteps) = (self.network.classes.len(), self.network.timesteps);
        let shape = self.graph.places(&format!("{name}/shape"), &[0, classes as i64, logits.votes as i64]);
        let votes = self.graph.node("Reshape", &format!("{name}/votes"), &[&votes, &shape], vec![]);
        let votes = self.graph.split(&votes, 2, logits.votes);
        let sum = self.summed(&votes);
        let sum = self.divided(&format!("{name}/of_votes"), sum, logits.votes);
        let parts = self.graph.split(&sum, 0, timesteps);
        // The order of libtorch's sum over the outermost axis.
        let mut blocks = parts.chunks_exact(16);
        let whole: Vec<String> = blocks.by_ref().map(|block| self.summed(block)).collect();
        let sums = [blocks.remainder(), &whole].into_iter().filter(|values| !values.is_empty());
        let sums: Vec<String> = sums.map(|values| self.summed(values)).collect();
        let sum = self.summed(&sums);
        let mean = self.divided(&format!("{name}/of_timesteps"), sum, timesteps);
        let shape = self.graph.places(&format!("{name}/flat"), &[0, classes as i64]);
        self.graph.push("Reshape", &[&mean, &shape], vec![name.to_owned()], vec![]);
    }

    /// The sum of values, one after another.
    fn summed(&mut self, values: &[String]) -> String {
        let first = values[0].clone();
        values[1..].iter().fold(first, |sum, value| self.graph.node("Add", "logits/sum", &[&sum, value], vec![]))
    }

    fn divided(&mut self, name: &str, value: String, by: usize) -> String {
        if by == 1 {
            return value;
        }
        let by = self.graph.scalar(by as f32);
        self.graph.node("Div", name, &[&value, &by], vec![])
    }
}

/// Rows and columns that the last window ends outside the map.
fn ends(from: [usize; 3], to: [usize; 3], window: &Window) -> [usize; 2] {
    let end = |axis: usize| {
        let needed = (to[axis + 1] - 1) * window.stride[axis] + window.size[axis];
        needed.saturating_sub(from[axis + 1] + window.padding[axis])
    };
    [end(0), end(1)]
}

/// Kind and bytes of levels: the width that is asked for, or the next that holds them.
fn held(levels: &[i16], width: Width) -> (i32, Vec<u8>) {
    let within =
        |bits: u32| levels.iter().all(|level| (-(1 << (bits - 1))..1 << (bits - 1)).contains(&i32::from(*level)));
    match width {
        Width::Float => (FLOAT, levels.iter().flat_map(|level| f32::from(*level).to_le_bytes()).collect()),
        Width::Int2 if within(2) => (INT2, packed(levels, 2)),
        Width::Int2 | Width::Int4 if within(4) => (INT4, packed(levels, 4)),
        _ if within(8) => (INT8, packed(levels, 8)),
        _ => (INT16, levels.iter().flat_map(|level| level.to_le_bytes()).collect()),
    }
}

/// The low bits of each level, from the low bits of each byte.
fn packed(levels: &[i16], bits: usize) -> Vec<u8> {
    let mask = ((1u16 << bits) - 1) as u8;
    let byte = |levels: &[i16]| {
        let parts = levels.iter().enumerate().map(|(place, level)| (*level as u8 & mask) << (place * bits));
        parts.fold(0, |byte, part| byte | part)
    };
    levels.chunks(8 / bits).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_fill_bytes_from_the_low_bits() {
        assert_eq!(packed(&[1, -1, 0, -2, 1], 2), [0b10_00_11_01, 0b01]);
        assert_eq!(packed(&[7, -8, -1], 4), [0x87, 0x0f]);
        assert_eq!(packed(&[127, -128], 8), [0x7f, 0x80]);
    }

    #[test]
    fn a_width_that_does_not_hold_the_levels_is_widened() {
        let kind = |levels: &[i16], width| held(levels, width).0;
        assert_eq!([-2, 1, 0].map(|level| kind(&[level], Width::Int2)), [INT2; 3]);
        assert_eq!([-3, 2, 7].map(|level| kind(&[level], Width::Int2)), [INT4; 3]);
        assert_eq!([-9, 8, -128].map(|level| kind(&[level], Width::Int4)), [INT8; 3]);
        assert_eq!([-129, 128].map(|level| kind(&[level], Width::Int2)), [INT16; 2]);
        assert_eq!(kind(&[1], Width::Int8), INT8);
        assert_eq!(held(&[-3], Width::Float), (FLOAT, (-3f32).to_le_bytes().to_vec()));
    }

    /// Rows of 4 in windows of 3, stride 2: with a row of padding before, two windows read rows -1 to
    /// 1 and 1 to 3, and nothing after; with 5 rows a third window would end at row 5, one outside.
    #[test]
    fn what_lies_behind_a_map_is_padded_as_far_as_windows_reach() {
        let window = Window { size: [3, 3], stride: [2, 2], padding: [1, 1] };
        assert_eq!(ends([1, 4, 5], [1, 2, 3], &window), [0, 1]);
    }
}
