//! Costs against closed forms, published figures and counting one by one.

use serde::{Deserialize, Serialize};
use tch::Device;

use super::*;
use crate::Result;
use crate::ground::{Build, Parameters, Role, Stream};
use crate::network::{
    CompressedWeight, Compression, Compressor, Decisions, Input, LayerSpec, Place, Technique, WeightTransform,
};

/// Bits under a choice of 1, 2 or 4, shared by layers of one place; half of the weights stay.
#[derive(Debug, Serialize, Deserialize)]
struct ChosenBits;

struct Chosen {
    logits: Tensor,
}

#[typetag::serde(name = "test-chosen-bits")]
impl Compressor for ChosenBits {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        _weight: &Tensor,
        _decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let mut at = build.root();
        let mut at = at.at(layer.place.group());
        let logits = at.parameter("logits", Role::BitLogit, |stream| stream.normal(&[3]));
        Ok(Box::new(Chosen { logits }))
    }
}

impl WeightTransform for Chosen {
    fn bits(&self) -> Option<Factor> {
        Some(Factor::Expected { logits: self.logits.shallow_clone(), values: vec![1.0, 2.0, 4.0] })
    }

    fn density(&self) -> Option<Factor> {
        Some(Factor::Constant(0.5))
    }
}

/// Layers of every kind of input, in full and with [`ChosenBits`], some of them under a choice.
struct Example {
    shapes: Vec<LayerShape>,
    weights: Vec<CompressedWeight>,
    parameters: Parameters,
}

const CHOICES: [Option<usize>; 5] = [None, Some(2), Some(0), Some(2), None];
const READS: [Input; 5] = [Input::Image, Input::Spikes, Input::Spikes, Input::Spikes, Input::Pooled];
const TIMESTEPS: i64 = 3;

fn example() -> Example {
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 3, Device::Cpu);
    let (mut shapes, mut weights) = (Vec::new(), Vec::new());
    for (index, reads) in READS.into_iter().enumerate() {
        let place = match reads {
            Input::Image => Place::Stem,
            Input::Spikes | Input::Sums | Input::Reals => Place::Cell(index / 3),
            Input::Pooled => Place::Classifier,
        };
        let kernel = if reads == Input::Pooled { (1, 1) } else { (3, 3) };
        let name = format!("layer{index}");
        let (outputs, map) = (2 + index as i64, (4, 5));
        shapes.push(LayerShape {
            name: name.clone(),
            place,
            kernel,
            inputs: 3,
            outputs,
            groups: 1,
            input_map: map,
            stride: 1,
            padding: kernel.0 / 2,
            map,
            reads,
        });
        let compressors: &[(&str, &dyn Compressor)] =
            if reads == Input::Spikes { &[("test-chosen-bits", &ChosenBits)] } else { &[] };
        let spec = LayerSpec { name: name.clone(), place, population: None };
        let init = |stream: &mut Stream| stream.normal(&[outputs, 3, kernel.0, kernel.1]);
        let (none, mut at) = (Compression::new(), build.at(&name));
        weights.push(CompressedWeight::new(spec, init, compressors.iter().copied(), &none, true, &mut at).unwrap());
    }
    Example { shapes, weights, parameters }
}

impl Example {
    fn layers(&self) -> Vec<SynapseLayer<'_>> {
        let each = self.shapes.iter().zip(&self.weights).zip(CHOICES);
        let layer = |((shape, weight), choice)| SynapseLayer { shape, weight, choice, searched: choice.is_some() };
        each.map(layer).collect()
    }

    fn activity(&self) -> Vec<Activity> {
        let mut stream = Stream::open(5, "rates", 0);
        let rate = |_| Activity { rate: stream.uniform(&[TIMESTEPS], 0.0, 1.0), map: None };
        READS.into_iter().map(rate).collect()
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).reshape([-1])).unwrap()
}

/// The formulas of the module's table, layer by layer on plain numbers.
#[test]
fn vectors_over_layers_are_the_formulas_of_each_layer() {
    let example = example();
    let (layers, activity) = (example.layers(), example.activity());
    let counted = Tensor::from_slice(&[1f32, 0.75, 0.25]).set_requires_grad(true);
    let presence = Tensor::from_slice(&[0.25f32, 0.5, 0.75]).set_requires_grad(true);
    let constants = CostConstants::default();
    let model = CostModel {
        active: Techniques::ALL,
        presence: Some(presence.shallow_clone()),
        counted: &counted,
        constants: &constants,
    };
    let costs = model.layers(&layers, &activity);
    let (memory, compute) = model.search_terms(&layers, &activity);
    let beta: Vec<&Tensor> = example.parameters.of(&[Role::BitLogit]).map(|logits| &logits.tensor).collect();
    assert_eq!(beta.len(), 2, "layers 1 and 2 share theirs");
    let softmax = |logits: &Tensor| numbers(&logits.softmax(0, Kind::Double));
    let mean = |logits: &Tensor| softmax(logits).iter().zip([1.0, 2.0, 4.0]).map(|(p, bits)| p * bits).sum::<f64>();
    let (p, t) = (numbers(&presence), numbers(&counted));
    let (mut to_presence, mut to_counted, mut to_mean) = ([0.0; 3], [0.0; 3], [0.0; 2]);
    let (mut l_mem, mut l_comp) = (0.0, 0.0);
    let close = |told: f64, right: f64| assert!((told - right).abs() <= 1e-6 * right.abs(), "{told} {right}");
    for (index, shape) in example.shapes.iter().enumerate() {
        let searched = shape.reads == Input::Spikes;
        let group = usize::from(index == 3);
        let (bits, density) = if searched { (mean(beta[group]), 0.5) } else { (32.0, 1.0) };
        let weights = (shape.kernel.0 * shape.kernel.1 * 3 * shape.outputs) as f64;
        let macs = weights * 20.0;
        let rates = numbers(&activity[index].rate);
        let spikes: f64 = if searched { rates.iter().zip(&t).map(|(rate, counts)| rate * counts).sum() } else { 0.0 };
        let there = CHOICES[index].map_or(1.0, |choice| p[choice]);
        let syn_ops = density * spikes * there * macs;
        let read = |of: &Tensor| of.double_value(&[index as i64]);
        close(read(&costs.bits), bits);
        close(read(&costs.density), density);
        close(read(&costs.memory_bits), density * bits * weights);
        close(read(&costs.spikes), spikes);
        close(read(&costs.syn_ops), syn_ops);
        close(read(&costs.bit_syn_ops), bits * syn_ops);
        close(read(&costs.multiplications), if index == 0 { macs * t.iter().sum::<f64>() } else { 0.0 });
        if !searched {
            continue;
        }
        l_mem += density * bits * weights;
        l_comp += bits * syn_ops;
        to_mean[group] += density * weights + syn_ops;
        to_presence[CHOICES[index].unwrap()] += bits * density * spikes * macs;
        for (to, rate) in to_counted.iter_mut().zip(rates) {
            *to += bits * density * there * macs * rate;
        }
    }
    close(memory.double_value(&[]), l_mem);
    close(compute.double_value(&[]), l_comp);
    (memory + compute).backward();
    let arrived = |tensor: &Tensor, right: &[f64]| {
        numbers(&tensor.grad()).into_iter().zip(right).for_each(|(told, right)| close(told, *right));
    };
    arrived(&presence, &to_presence);
    arrived(&counted, &to_counted);
    for (logits, to_mean) in beta.into_iter().zip(to_mean) {
        let derivative = |(p, bits): (&f64, f64)| to_mean * p * (bits - mean(logits));
        let right: Vec<f64> = softmax(logits).iter().zip([1.0, 2.0, 4.0]).map(derivative).collect();
        let scale = right.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        for (told, right) in numbers(&logits.grad()).into_iter().zip(right) {
            assert!((told - right).abs() < 1e-6 * scale, "{told} {right}");
        }
    }
}

#[test]
fn nothing_measured_and_nothing_searched_cost_nothing_to_compute() {
    let example = example();
    let mut layers = example.layers();
    let (counted, constants) = (Tensor::ones([TIMESTEPS], (Kind::Float, Device::Cpu)), CostConstants::default());
    let presence = Some(Tensor::ones([3], (Kind::Float, Device::Cpu)));
    let model = CostModel { active: Techniques::NONE, presence, counted: &counted, constants: &constants };
    let costs = model.layers(&layers, &[]);
    assert_eq!(numbers(&costs.bits), [32.0; 5]);
    assert_eq!(numbers(&costs.density), [1.0; 5]);
    assert_eq!(numbers(&costs.syn_ops), [0.0; 5]);
    layers.iter_mut().for_each(|layer| layer.searched = false);
    let (memory, compute) = model.search_terms(&layers, &example.activity());
    assert_eq!((memory.double_value(&[]), compute.double_value(&[])), (0.0, 0.0));
}

#[test]
fn energy_is_the_papers_table_5() {
    for (additions, multiplications, published) in [(705.01, 11.94, 0.68), (271.41, 4.78, 0.26), (129.74, 2.39, 0.13)] {
        let energy = energy_mj(additions * 1e6, multiplications * 1e6);
        assert!((energy - published).abs() < 0.005, "{energy} {published}");
    }
}

#[test]
fn the_papers_stem_has_as_many_macs_as_published() {
    let stem = LayerShape {
        name: "stem".into(),
        place: Place::Stem,
        kernel: (3, 3),
        inputs: 3,
        outputs: 144,
        groups: 1,
        input_map: (32, 32),
        stride: 1,
        padding: 1,
        map: (32, 32),
        reads: Input::Image,
    };
    assert_eq!(stem.convolved_map(), stem.map);
    assert_eq!(stem.macs(), 3_981_312.0);
    assert_eq!((stem.macs() * 6.0 * 0.5 / 1e4).round() / 100.0, 11.94);
}
/// Each spike of each neuron is followed to each place of the output map that it reaches.
#[test]
fn counted_operations_are_those_of_plain_loops() {
    let mut random = Stream::open(3, "counted", 0);
    for (index, (kernel, stride, padding, input_map, groups)) in [
        ((3, 3), 1, 1, (5, 7), 1),
        ((3, 3), 2, 1, (8, 8), 1),
        ((3, 3), 2, 1, (7, 6), 1),
        ((3, 3), 4, 1, (9, 12), 1),
        ((3, 3), 1, 0, (6, 5), 1),
        ((2, 2), 1, 0, (2, 2), 1),
        ((1, 1), 1, 0, (3, 3), 1),
        ((5, 3), 3, 2, (8, 11), 1),
        // Two groups of two channels to two, and a depthwise convolution.
        ((3, 3), 2, 1, (7, 6), 2),
        ((3, 3), 1, 1, (5, 7), 4),
    ]
    .into_iter()
    .enumerate()
    {
        let mut shape = LayerShape {
            name: format!("layer {index}"),
            place: Place::Cell(0),
            kernel,
            inputs: if groups == 1 { 3 } else { 4 },
            outputs: 4,
            groups,
            input_map,
            stride,
            padding,
            map: (0, 0),
            reads: Input::Spikes,
        };
        shape.map = shape.convolved_map();
        let (of_each, inputs) = (shape.inputs / groups, shape.inputs);
        let weight = random.normal(&[4, of_each, kernel.0, kernel.1]);
        let weight = &weight * weight.abs().gt(0.8).to_kind(Kind::Float);
        // Up to six spikes.
        let map = random.uniform(&[inputs, input_map.0, input_map.1], 0.0, 7.0).floor();
        let mut operations = 0.0;
        for (out, reads) in (0..4).flat_map(|out| (0..of_each).map(move |reads| (out, reads))) {
            let channel = out / (4 / groups) * of_each + reads;
            for (row, column) in (0..shape.map.0).flat_map(|row| (0..shape.map.1).map(move |column| (row, column))) {
                for (ky, kx) in (0..kernel.0).flat_map(|ky| (0..kernel.1).map(move |kx| (ky, kx))) {
                    let (y, x) = (row * stride + ky - padding, column * stride + kx - padding);
                    let inside = (0..input_map.0).contains(&y) && (0..input_map.1).contains(&x);
                    if inside && weight.double_value(&[out, reads, ky, kx]) != 0.0 {
                        operations += map.double_value(&[channel, y, x]);
                    }
                }
            }
        }
        assert!(operations > 0.0);
        assert_eq!(counted_operations(&shape, &weight, &map), operations, "{shape:?}");
    }
}

#[test]
fn a_layer_is_stored_in_whole_bytes_of_values_and_of_mask() {
    let mask = StoredMask { bits: 9, ..StoredMask::NONE };
    assert_eq!(stored_weight_bytes(3, 4.0, mask), 2.0 + 2.0);
    assert_eq!(stored_weight_bytes(3, 32.0, StoredMask::NONE), 12.0);
    assert_eq!(stored_bytes(12.0, 5), 32.0);
}
