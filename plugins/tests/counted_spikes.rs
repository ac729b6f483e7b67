//! Firing rates, SynOps and counted operations are what counting spikes one by one gives.
//!
//! The network runs again from its weights: a loop over timesteps, one convolution for each edge,
//! every spike kept. Then plain loops follow each spike to each place that it reaches.

use litesnn_framework::data::{DataInfo, Normalisation, Split};
use litesnn_framework::ground::{Build, Parameters, Stream};
use litesnn_framework::network::{Architecture, Compressor, Edge, Network, Pass, SearchSpace, Techniques};
use litesnn_framework::record::LayerRow;
use litesnn_framework::run::layer_costs;
use litesnn_framework::train::evaluate;
use litesnn_plugins as _;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const TIMESTEPS: i64 = 3;
const IMAGES: i64 = 4;
const NODES: usize = 2;
const WIDTH: i64 = 2;
const PADDING: i64 = 1;
/// A rounding of sums in another order may let a neuron at its threshold fire or not.
const TOLERANCE: f64 = 5e-3;

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1e-12)
}

/// A network of two nodes a cell, and the images that it classifies.
struct Case {
    levels: Vec<u32>,
    downsampling: &'static str,
    images: Tensor,
    parameters: Parameters,
    network: Box<dyn Network>,
}

/// Node, predecessor and what is between them.
const EDGES: [(usize, &str); 4] = [(0, "s0"), (0, "s1"), (1, "s1"), (1, "n0")];

impl Case {
    fn new(levels: &[u32], downsampling: &'static str, side: i64) -> Case {
        let space = json!({ "spike-dhs": {
            "cells": levels, "nodes": NODES, "channels": { "search": WIDTH, "retrain": WIDTH }, "stem_stride": 1,
            "auxiliary": 0.0, "downsampling": downsampling,
        } });
        let space: Box<dyn SearchSpace> = serde_json::from_value(space).unwrap();
        let compressors: Vec<Box<dyn Compressor>> =
            serde_json::from_value(json!([{ "score-prune": { "rate": 0.6 } }])).unwrap();
        let named: Vec<(&str, &dyn Compressor)> =
            compressors.iter().map(|compressor| (compressor.typetag_name(), compressor.as_ref())).collect();
        let data = DataInfo::of_form(([2, side, side], 3));
        let edge = |(node, from): (usize, &str)| Edge { node, from: from.into(), operation: "conv3x3".into() };
        let architecture = Architecture { space: "spike-dhs".into(), edges: EDGES.map(edge).into() };
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 6, Device::Cpu);
        let network = space.network(&architecture, &Default::default(), false, &data, &named, &mut build).unwrap();
        // Scale and shift of normalisation that are not the initial ones.
        let mut noise = Stream::open(7, "normalisation", 0);
        tch::no_grad(|| {
            for parameter in parameters.trainable() {
                if parameter.name.contains("norm.") {
                    let _ = parameter.tensor.shallow_clone().g_add_(&(noise.normal(&parameter.tensor.size()) * 0.4));
                }
            }
        });
        let images = Stream::open(4, "images", 0).normal(&[IMAGES, 2, side, side]);
        Case { levels: levels.to_vec(), downsampling, images, parameters, network }
    }

    fn rows(&self) -> (Vec<LayerRow>, layer_costs::Totals) {
        let labels = Tensor::zeros([IMAGES], (Kind::Int64, Device::Cpu));
        let split = Split { images: self.images.shallow_clone(), labels };
        let normalisation = Normalisation { mean: vec![0.0; 2], std: vec![1.0; 2] };
        let pass = Pass { measure: true, maps: true, ..Pass::new(TIMESTEPS) };
        let measured = evaluate(self.network.as_ref(), &split, &normalisation, pass, Device::Cpu, None).unwrap();
        let rows = layer_costs::layers(self.network.as_ref(), &measured.activity, TIMESTEPS);
        let totals = layer_costs::totals(&rows, self.network.as_ref());
        (rows, totals)
    }

    fn tensor(&self, name: &str) -> Tensor {
        let found = self.parameters.named().find(|(other, _)| *other == name);
        found.unwrap_or_else(|| panic!("no tensor `{name}`")).1.shallow_clone()
    }

    fn weight(&self, layer: &str) -> Tensor {
        let layers = self.network.layers();
        let found = layers.iter().find(|other| other.shape.name == layer);
        found.unwrap_or_else(|| panic!("no layer `{layer}`")).weight.value(Techniques::ALL)
    }

    /// Convolved and normalised by running statistics, of channels `from..` of the normalisation.
    fn current(&self, x: &Tensor, layer: &str, norm: &str, from: i64, stride: i64) -> Tensor {
        let y = x.conv2d(&self.weight(layer), None::<&Tensor>, [stride; 2], [PADDING; 2], [1, 1], 1);
        let part = |name: &str| self.tensor(&format!("{norm}.{name}")).narrow(0, from, y.size()[1]).view([1, -1, 1, 1]);
        (&y - part("running_mean")) / (part("running_variance") + 1e-5).sqrt() * part("gamma") + part("beta")
    }

    /// What each convolution of the cells reads.
    fn read(&self) -> Vec<Read> {
        let steps = || 0..TIMESTEPS;
        let stem = fired(&steps().map(|_| self.current(&self.images, "stem", "stem.norm", 0, 1)).collect::<Vec<_>>());
        let mut inputs = [(stem.shallow_clone(), 0), (stem, 0)];
        let mut all = Vec::new();
        for (cell, &level) in self.levels.iter().enumerate() {
            let width = WIDTH << level;
            let mut nodes: Vec<(Tensor, u32)> = Vec::new();
            for node in 0..NODES {
                let mut sums: Vec<Tensor> = Vec::new();
                for (index, (_, from)) in EDGES.iter().enumerate().filter(|(_, (to, _))| *to == node) {
                    let (spikes, of_source) = match *from {
                        "s0" => &inputs[0],
                        "s1" => &inputs[1],
                        _ => &nodes[0],
                    };
                    let drop = level - of_source;
                    let (spikes, stride) = match self.downsampling {
                        "resize" => (nearest(spikes, drop), 1),
                        _ => (spikes.shallow_clone(), 1 << drop),
                    };
                    let layer = format!("cell{cell}.n{node}.{from}.conv3x3");
                    let norm = format!("cell{cell}.from_{from}.norm");
                    // Its channels come after those of the edges before it with the same source.
                    let first = EDGES[..index].iter().filter(|(_, other)| other == from).count() as i64 * width;
                    let currents = steps().map(|step| self.current(&spikes.get(step), &layer, &norm, first, stride));
                    sums = match sums.is_empty() {
                        true => currents.collect(),
                        false => sums.iter().zip(currents).map(|(sum, current)| sum + current).collect(),
                    };
                    all.push(Read { layer, spikes, stride });
                }
                nodes.push((fired(&sums), level));
            }
            let output = Tensor::cat(&[&nodes[0].0, &nodes[1].0], 2);
            let [_, last] = inputs;
            inputs = [last, (output, level)];
        }
        all
    }
}

/// Neurons one by one: u(t) = tau u(t-1) (1 - s(t-1)) + x(t), s = u > threshold. Currents of each
/// timestep to spikes `[T, B, C, H, W]`.
fn fired(currents: &[Tensor]) -> Tensor {
    let mut potential = currents[0].zeros_like();
    let mut fired = currents[0].zeros_like();
    let mut all = Vec::new();
    for current in currents {
        potential = potential * 0.2 * (1.0 - fired) + current;
        fired = potential.gt(0.5).to_kind(Kind::Float);
        all.push(fired.shallow_clone());
    }
    Tensor::stack(&all, 0)
}

/// Maps `drop` levels smaller: place i of the new map is place floor(i · old / new) of the old one.
fn nearest(spikes: &Tensor, drop: u32) -> Tensor {
    let pick = |maps: &Tensor, axis: i64| {
        let old = maps.size()[axis as usize];
        let new = (old + (1 << drop) - 1) >> drop;
        let places: Vec<i64> = (0..new).map(|place| place * old / new).collect();
        maps.index_select(axis, &Tensor::from_slice(&places))
    };
    pick(&pick(spikes, 3), 4)
}

/// What a convolution reads.
struct Read {
    layer: String,
    /// `[T, B, C, H, W]`
    spikes: Tensor,
    stride: i64,
}

/// Spikes and additions of an image, counted one by one.
struct Counted {
    /// Spikes of all input neurons at each timestep.
    spikes: Vec<f64>,
    neurons: f64,
    additions: f64,
}

impl Read {
    fn count(&self, weight: &Tensor) -> Counted {
        let size: Vec<i64> = self.spikes.size()[2..].to_vec();
        let (outputs, kernel) = (weight.size()[0], weight.size()[2]);
        let out = |side: i64| (side + 2 * PADDING - kernel) / self.stride + 1;
        let kept = Vec::<f32>::try_from(weight.reshape([-1])).unwrap();
        let kept = |to: i64, from: i64, ky: i64, kx: i64| {
            kept[(((to * size[0] + from) * kernel + ky) * kernel + kx) as usize] != 0.0
        };
        // The place of the output map that a tap brings a spike to.
        let reached = |at: i64, tap: i64, side: i64| {
            let moved = at + PADDING - tap;
            moved % self.stride == 0 && (0..out(side)).contains(&(moved / self.stride))
        };
        let (mut spikes, mut additions) = (Vec::new(), 0.0);
        for step in 0..TIMESTEPS {
            let fired = Vec::<f32>::try_from(self.spikes.get(step).reshape([-1])).unwrap();
            let mut of_step = 0.0;
            for (at, _) in fired.iter().enumerate().filter(|(_, spike)| **spike == 1.0) {
                of_step += 1.0;
                let at = at as i64;
                let (x, y, from) = (at % size[2], at / size[2] % size[1], at / size[2] / size[1] % size[0]);
                for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                    if reached(y, ky, size[1]) && reached(x, kx, size[2]) {
                        additions += (0..outputs).filter(|to| kept(*to, from, ky, kx)).count() as f64;
                    }
                }
            }
            spikes.push(of_step / IMAGES as f64);
        }
        Counted { spikes, neurons: size.iter().product::<i64>() as f64, additions: additions / IMAGES as f64 }
    }
}

/// Guards firing rates of maps before they are resized, and additions on the padding.
#[test]
fn rates_syn_ops_and_counted_operations_are_those_of_spikes_counted_one_by_one() {
    for (levels, downsampling, side) in [
        (vec![0], "stride", 8),
        (vec![0, 1], "stride", 8),
        (vec![0, 1], "resize", 8),
        (vec![0, 1], "stride", 9),
        (vec![0, 1], "resize", 9),
        // Odd on every level; s0 falls two levels at once.
        (vec![0, 0, 2], "stride", 11),
        (vec![0, 0, 2], "resize", 11),
    ] {
        let case = Case::new(&levels, downsampling, side);
        let (rows, totals) = case.rows();
        let (mut syn_ops, mut additions, mut on_padding) = (0.0, 0.0, 0.0);
        for read in tch::no_grad(|| case.read()) {
            let what = format!("{levels:?}, {downsampling}, {side}: {}", read.layer);
            let row = rows.iter().find(|row| row.layer == read.layer).unwrap();
            let weight = case.weight(&read.layer);
            let counted = read.count(&weight);
            for (rate, spikes) in row.firing_rate.iter().zip(&counted.spikes) {
                assert!(
                    close(*rate, spikes / counted.neurons),
                    "{what}: rate {rate}, counted {}",
                    spikes / counted.neurons
                );
            }
            let all: f64 = counted.spikes.iter().sum();
            assert!(all > 0.0, "{what}: silent");
            // Eq. 12: each spike of an input neuron meets the kept weights of its channel, at each
            // place of the map.
            let kept = weight.count_nonzero(None::<i64>).int64_value(&[]) as f64;
            let by_formula = all / counted.neurons * kept * (row.map_height * row.map_width) as f64;
            assert!(close(row.syn_ops, by_formula), "{what}: {} SynOps, by the formula {by_formula}", row.syn_ops);
            let found = row.syn_ops_counted;
            assert!(close(found, counted.additions), "{what}: {found} additions, counted {}", counted.additions);
            assert!((row.bit_syn_ops_counted - 32.0 * row.syn_ops_counted).abs() < 1e-6, "{what}");
            syn_ops += by_formula;
            additions += counted.additions;
            on_padding += row.syn_ops - row.syn_ops_counted;
        }
        let what = format!("{levels:?}, {downsampling}, {side}");
        assert!(close(totals.syn_ops, syn_ops) && close(totals.syn_ops_counted, additions), "{what}: {totals:?}");
        assert!(on_padding > 0.05 * syn_ops, "{what}: the test would not see taps on the padding");
        // Each number of the image at each timestep, and the kept weights that lead from it.
        let stem = case.weight("stem").count_nonzero(None::<i64>).int64_value(&[]) as f64;
        let every = Read {
            layer: "stem".into(),
            spikes: Tensor::ones([TIMESTEPS, IMAGES, 2, side, side], (Kind::Float, Device::Cpu)),
            stride: 1,
        };
        let multiplications = every.count(&case.weight("stem")).additions;
        assert_eq!(totals.multiplications_counted, multiplications, "{what}");
        assert!(close(totals.multiplications, stem * (side * side * TIMESTEPS) as f64), "{what}");
        assert!(multiplications < totals.multiplications, "{what}");
        let energy = (0.9 * totals.syn_ops_counted + 3.7 * multiplications) * 1e-9;
        assert!((totals.energy_counted_mj - energy).abs() < 1e-15, "{what}: {}, {energy}", totals.energy_counted_mj);
    }
}
