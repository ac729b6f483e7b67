//! `spike-dhs` with all its operations: the network again by plain tensor operations, sizes and
//! operations in closed form, designs that do not fit.

use std::collections::HashMap;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::cost::CostModel;
use litesnn_framework::network::{
    Architecture, Compression, Compressor, CostConstants, Edge, Network, Pass, SearchSpace, Techniques,
};
use litesnn_framework::plugin::{Kind as PluginKind, registered};
use litesnn_framework::run::layer_costs;
use litesnn_framework::spiking::{NeuronSettings, Neurons, Precision};
use litesnn_plugins as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const TIMESTEPS: i64 = 3;
const IMAGES: i64 = 4;
const WIDTH: i64 = 2;
const NODES: usize = 2;
const LEVELS: [u32; 2] = [0, 1];
/// Sizes that halve to odd numbers.
const SIDES: (i64, i64) = (9, 7);
const OPERATIONS: [&str; 7] = ["skip", "conv3x3", "conv5x5", "conv1x1", "separable3x3", "average-pool3x3", "none"];

fn data() -> DataInfo {
    DataInfo::of_form(([2, SIDES.0, SIDES.1], 3))
}

fn space(more: Value) -> Box<dyn SearchSpace> {
    let mut settings = json!({
        "cells": LEVELS, "nodes": NODES, "channels": { "search": WIDTH, "retrain": WIDTH }, "auxiliary": 0.0,
        "operations": OPERATIONS,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({ "spike-dhs": settings })).unwrap()
}

fn architecture(edges: &[(usize, &str, &str)]) -> Architecture {
    let edge = |(node, from, operation): &(usize, &str, &str)| Edge {
        node: *node,
        from: (*from).into(),
        operation: (*operation).into(),
    };
    Architecture { space: "spike-dhs".into(), edges: edges.iter().map(edge).collect() }
}

fn images() -> Tensor {
    Stream::open(4, "images", 0).normal(&[IMAGES, 2, SIDES.0, SIDES.1])
}

/// A network, and what it is made of: the operations of each edge by predecessor and node.
struct Case {
    network: Box<dyn Network>,
    parameters: Parameters,
    edges: Vec<(usize, String, Vec<&'static str>)>,
    /// Whether candidates hand on spikes, and the stem hands on real numbers.
    authors: bool,
    resize: bool,
}

impl Case {
    fn supernet(authors: bool) -> Case {
        let settings = match authors {
            true => json!({ "candidates": "spike", "search_stem": "plain", "normalisation": "each-timestep" }),
            false => json!({}),
        };
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 5, Device::Cpu);
        let network = space(settings).supernet(&data(), &[], &mut build).unwrap();
        let from = |node: usize| (0..node + 2).map(|at| if at < 2 { format!("s{at}") } else { format!("n{}", at - 2) });
        let edges = (0..NODES).flat_map(|node| from(node).map(move |from| (node, from, OPERATIONS.to_vec())));
        let case = Case { network, parameters, edges: edges.collect(), authors, resize: false };
        case.stir();
        case
    }

    fn of_design(edges: &[(usize, &'static str, &'static str)], resize: bool) -> Case {
        let settings = json!({ "downsampling": if resize { "resize" } else { "stride" } });
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 5, Device::Cpu);
        let (design, none) = (architecture(edges), Compression::new());
        let network = space(settings).network(&design, &none, false, &data(), &[], &mut build).unwrap();
        let edges = edges.iter().map(|(node, from, operation)| (*node, (*from).to_owned(), vec![*operation]));
        let case = Case { network, parameters, edges: edges.collect(), authors: false, resize };
        case.stir();
        case
    }

    /// Scales, shifts and logits that are not the initial ones.
    fn stir(&self) {
        let mut noise = Stream::open(7, "noise", 0);
        tch::no_grad(|| {
            for parameter in self.parameters.trainable() {
                if parameter.name.contains("norm.") || parameter.role == Role::ArchitectureLogit {
                    let _ = parameter.tensor.shallow_clone().g_add_(&(noise.normal(&parameter.tensor.size()) * 0.4));
                }
            }
        });
    }

    fn tensor(&self, name: &str) -> Tensor {
        let found = self.parameters.named().find(|(other, _)| *other == name);
        found.unwrap_or_else(|| panic!("no tensor `{name}`")).1.shallow_clone()
    }

    /// Normalised by the batch, with channels from `first` on of the normalisation called `norm`.
    fn normalised(&self, x: &Tensor, norm: &str, first: i64) -> Tensor {
        let [gamma, beta] =
            ["gamma", "beta"].map(|part| self.tensor(&format!("{norm}.{part}")).narrow(0, first, x.size()[1]));
        let none = None::<&Tensor>;
        let of = |x: &Tensor| x.batch_norm(Some(&gamma), Some(&beta), none, none, true, 0.1, 1e-5, false);
        match self.authors {
            true => Tensor::cat(&x.chunk(TIMESTEPS, 0).iter().map(of).collect::<Vec<_>>(), 0),
            false => of(x),
        }
    }

    fn fired(current: &Tensor) -> Tensor {
        let mut none = Parameters::default();
        let neurons = Neurons::new(&NeuronSettings::default(), &mut Build::new(&mut none, 0, Device::Cpu));
        let size = current.size();
        neurons.spikes(&current.view([TIMESTEPS, -1, size[1], size[2], size[3]])).flatten(0, 1)
    }

    /// Logits `[T, B, K]` of a training pass, one edge and one operation after another, and what
    /// each layer reads, by its name.
    fn by_operations(&self) -> (Tensor, HashMap<String, Tensor>) {
        let alpha = self.network.presence();
        let mut read = HashMap::new();
        let over_time = |x: &Tensor| x.repeat([TIMESTEPS, 1, 1, 1]);
        let stem = images().conv2d(&self.tensor("stem.weight"), None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
        let stem = over_time(&stem);
        let stem = self.normalised(&stem, "stem.norm", 0);
        let stem = if self.authors { stem } else { Case::fired(&stem) };
        let mut inputs = [(stem.shallow_clone(), 0), (stem, 0)];
        for (cell, level) in LEVELS.into_iter().enumerate() {
            let mut nodes: Vec<Tensor> = Vec::new();
            // Of the channels of each normalisation, those that are taken.
            let mut taken = HashMap::<String, i64>::new();
            for node in 0..NODES {
                let mut current: Option<Tensor> = None;
                for (row, (_, from, operations)) in self.edges.iter().enumerate().filter(|(_, (to, _, _))| *to == node)
                {
                    let at: usize = from[1..].parse().unwrap();
                    let (signal, drop) = match from.starts_with('s') {
                        true => (inputs[at].0.shallow_clone(), level - inputs[at].1),
                        false => (nodes[at].shallow_clone(), 0),
                    };
                    for (column, operation) in operations.iter().enumerate() {
                        let path = (cell, node, from.as_str(), *operation);
                        let Some(one) = self.operation(path, &signal, drop, WIDTH << level, &mut taken, &mut read)
                        else {
                            continue;
                        };
                        let one = match &alpha {
                            Some(alpha) => one * alpha.get((row * OPERATIONS.len() + column) as i64),
                            None => one,
                        };
                        current = Some(current.map_or_else(|| one.shallow_clone(), |sum| sum + &one));
                    }
                }
                nodes.push(Case::fired(&current.unwrap()));
            }
            let [_, last] = inputs;
            inputs = [last, (Tensor::cat(&nodes, 1), level)];
        }
        let features = inputs[1].0.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
        let logits = features.linear(&self.tensor("classifier.weight"), Some(&self.tensor("classifier.bias")));
        (logits.view([TIMESTEPS, IMAGES, -1]), read)
    }

    /// What an operation hands to its node; `None` where it is nothing.
    fn operation(
        &self,
        (cell, node, from, operation): (usize, usize, &str, &str),
        signal: &Tensor,
        drop: u32,
        width: i64,
        taken: &mut HashMap<String, i64>,
        read: &mut HashMap<String, Tensor>,
    ) -> Option<Tensor> {
        let (stack, layer) = (format!("cell{cell}.from_{from}"), format!("cell{cell}.n{node}.{from}.{operation}"));
        let own = format!("{stack}.n{node}.{operation}");
        let of_input = from.starts_with('s');
        let (signal, stride) = match (self.resize && drop > 0, 1i64 << drop) {
            (true, fall) => {
                let [height, width] = [2, 3].map(|axis| (signal.size()[axis] + fall - 1) / fall);
                (signal.upsample_nearest2d([height, width], None, None), 1)
            }
            (false, stride) => (signal.shallow_clone(), stride),
        };
        let sums = || signal.avg_pool2d([3, 3], [stride; 2], [1, 1], false, true, None) * 9.0;
        let mut convolved = |x: &Tensor, layer: String, weight: String, kernel: i64, stride: i64, groups: i64| {
            read.insert(layer, x.shallow_clone());
            let weight = self.tensor(&format!("{weight}.weight"));
            x.conv2d(&weight, None::<&Tensor>, [stride; 2], [kernel / 2; 2], [1, 1], groups)
        };
        let (x, norm) = match operation {
            "none" => return None,
            "skip" if !of_input => return Some(signal),
            "conv5x5" => (convolved(&signal, layer, own, 5, stride, 1), format!("{stack}.conv5x5.norm")),
            "conv1x1" => (convolved(&signal, layer, own, 1, stride, 1), format!("{stack}.conv1x1.norm")),
            "average-pool3x3" if of_input => {
                (convolved(&sums(), layer, own, 1, 1, 1), format!("{stack}.average-pool3x3.norm"))
            }
            "average-pool3x3" => (sums(), format!("{own}.norm")),
            "separable3x3" => {
                let channels = signal.size()[1];
                let (depthwise, pointwise) = (format!("{own}.depthwise"), format!("{own}.pointwise"));
                let x = convolved(&signal, format!("{layer}.depthwise"), depthwise.clone(), 3, stride, channels);
                let spikes = Case::fired(&self.normalised(&x, &format!("{depthwise}.norm"), 0));
                (convolved(&spikes, format!("{layer}.pointwise"), pointwise, 1, 1, 1), format!("{own}.norm"))
            }
            "conv3x3" | "skip" => (convolved(&signal, layer, own, 3, stride, 1), format!("{stack}.norm")),
            other => panic!("`{other}` is not known here"),
        };
        let first = taken.entry(norm.clone()).or_default();
        let current = self.normalised(&x, &norm, *first);
        *first += width;
        Some(if self.authors { Case::fired(&current) } else { current })
    }

    /// Logits, gradients and activity of the network against those of plain operations.
    fn agrees(&self, what: &str) {
        let upstream = Stream::open(9, "upstream", 0).normal(&[TIMESTEPS, IMAGES, 3]);
        let gradients = |logits: &Tensor| {
            self.parameters.zero_grad();
            (logits * &upstream).sum(Kind::Float).backward();
            let of = |tensor: &Tensor| tensor.grad().copy();
            self.parameters.trainable().iter().map(|one| (one.name.clone(), of(&one.tensor))).collect::<Vec<_>>()
        };
        let close = |got: &Tensor, want: &Tensor, of: &str| {
            assert_eq!(got.size(), want.size(), "{what}, {of}");
            let [scale, apart] = [want.shallow_clone(), got - want].map(|it| it.abs().max().double_value(&[]));
            // Of a gradient whose sums cancel, rounding is what it is of their terms.
            assert!(apart <= 2e-4 * scale.max(5e-2), "{what}, {of}: {apart:.1e} apart, largest value {scale:.1e}");
        };
        let pass = Pass { training: true, measure: true, maps: true, ..Pass::new(TIMESTEPS) };
        let response = self.network.forward(&images(), &pass);
        let got = gradients(&response.logits);
        let (logits, read) = self.by_operations();
        close(&response.logits, &logits, "logits");
        let mut moved = 0;
        for ((name, got), (_, want)) in got.iter().zip(&gradients(&logits)) {
            close(got, want, &format!("the gradient of `{name}`"));
            moved += usize::from(want.abs().max().double_value(&[]) > 1e-3);
        }
        assert!(2 * moved > got.len(), "{what}: {moved} of {} tensors have a gradient", got.len());
        let mut measured = 0;
        for (layer, activity) in self.network.layers().iter().zip(&response.activity) {
            let Some(spikes) = read.get(&layer.shape.name) else { continue };
            measured += 1;
            // Real numbers of a plain stem count as a spike each.
            let whole = spikes.round().allclose(spikes, 0.0, 1e-5, false);
            if whole || !layer.shape.name.contains("average-pool3x3") {
                let spikes = if whole { spikes.round() } else { spikes.ones_like() };
                let map = spikes.sum_dim_intlist(0, false, Kind::Double) / IMAGES as f64;
                close(activity.map.as_ref().unwrap(), &map, &format!("the spikes that `{}` reads", layer.shape.name));
            }
        }
        assert_eq!(measured + 2, self.network.layers().len(), "{what}: stem, cells, classifier");
    }
}

#[test]
fn a_supernet_of_all_operations_is_that_of_plain_tensor_operations() {
    Case::supernet(false).agrees("supernet");
}

#[test]
fn so_it_is_where_candidates_have_neurons_and_the_stem_has_none() {
    Case::supernet(true).agrees("the authors' supernet");
}

const DESIGN: [(usize, &str, &str); 4] =
    [(0, "s0", "separable3x3"), (0, "s1", "conv5x5"), (1, "s1", "average-pool3x3"), (1, "n0", "average-pool3x3")];

#[test]
fn networks_of_designs_are_those_of_plain_tensor_operations() {
    let other = [(0, "s0", "average-pool3x3"), (0, "s1", "conv1x1"), (1, "s0", "conv5x5"), (1, "n0", "separable3x3")];
    for resize in [false, true] {
        Case::of_design(&DESIGN, resize).agrees(&format!("a design, resized {resize}"));
        Case::of_design(&other, resize).agrees(&format!("another design, resized {resize}"));
    }
}

/// Convolutions of every kind run in bf16, where spikes and their sums are exact.
#[test]
fn every_operation_runs_in_bf16() {
    let case = Case::supernet(false);
    let pass = Pass { training: true, precision: Precision::Bf16, ..Pass::new(TIMESTEPS) };
    let logits = case.network.forward(&images(), &pass).logits;
    assert_eq!(logits.isfinite().all().int64_value(&[]), 1, "{logits:?}");
    logits.square().sum(Kind::Float).backward();
    for parameter in case.parameters.trainable() {
        let gradient = parameter.tensor.grad();
        assert!(gradient.defined() && gradient.isfinite().all().int64_value(&[]) == 1, "`{}`", parameter.name);
    }
}

/// Two cells of two nodes on maps of 9 x 7 and 5 x 4, counted by hand.
#[test]
fn a_design_has_the_weights_and_operations_of_its_closed_forms() {
    let case = Case::of_design(&DESIGN, false);
    let rows = layer_costs::layers(case.network.as_ref(), &[], TIMESTEPS);
    let cell = |s0: i64, s1: i64, width: i64| {
        // separable3x3 from s0, conv5x5 and average-pool3x3 from s1.
        [9 * s0, s0 * width, 25 * s1 * width, s1 * width]
    };
    // The stem and a cell have two nodes' channels: 4, and 8 where the map is halved.
    let weights: Vec<i64> = [9 * 2 * 4].into_iter().chain(cell(4, 4, 2)).chain(cell(4, 4, 4)).chain([3 * 8]).collect();
    assert_eq!(rows.iter().map(|row| row.weights).collect::<Vec<_>>(), weights);
    let names: Vec<&str> = rows.iter().map(|row| row.layer.as_str()).collect();
    let of_cell =
        ["n0.s0.separable3x3.depthwise", "n0.s0.separable3x3.pointwise", "n0.s1.conv5x5", "n1.s1.average-pool3x3"];
    assert_eq!(names[1..5], of_cell.map(|name| format!("cell0.{name}")));
    let places = [9 * 7; 5].into_iter().chain([5 * 4; 4]).chain([1]);
    let macs: Vec<f64> = weights.iter().zip(places).map(|(weights, places)| (weights * places) as f64).collect();
    assert_eq!(rows.iter().map(|row| row.macs).collect::<Vec<_>>(), macs);
    // Factor and shift: of the stem, of both halves of the separable convolution, of the
    // convolution 5x5, of the average from s1 and of the one from n0; the classifier's bias.
    let norms = 4 + (4 + 2 + 2 + 2 + 2) + (4 + 4 + 4 + 4 + 4);
    assert_eq!(case.network.full_precision_parameters(), 2 * norms + 3);
    // Sums of 4 channels from s1 and of n0's own.
    let sums: f64 = case.network.other_maps().iter().map(|(_, numbers)| numbers).sum();
    assert_eq!(sums, ((4 + 2) * 9 * 7 + (4 + 4) * 5 * 4) as f64);
    let totals = layer_costs::totals(&rows, case.network.as_ref());
    assert_eq!(totals.macs, macs[..9].iter().sum::<f64>());
}

/// Both halves of a separable convolution are there as far as their operation is, and no layer of
/// another operation is.
#[test]
fn a_search_that_is_sure_counts_the_layers_of_one_operation() {
    let case = Case::supernet(false);
    let alpha = case.tensor("architecture_logits");
    let pass = Pass { training: true, measure: true, ..Pass::new(TIMESTEPS) };
    let counted = Tensor::ones([TIMESTEPS], (Kind::Double, Device::Cpu));
    for (column, operation) in OPERATIONS.into_iter().enumerate() {
        tch::no_grad(|| {
            let _ = alpha.shallow_clone().fill_(-1e4);
            let _ = alpha.select(1, column as i64).fill_(0.0);
        });
        let activity = case.network.forward(&images(), &pass).activity;
        let (layers, constants) = (case.network.layers(), CostConstants::default());
        let model = CostModel::of(case.network.as_ref(), Techniques::ALL, &counted, &constants);
        let told = model.search_terms(&layers, &activity).1.double_value(&[]);
        let mut wanted = 0.0;
        for (layer, activity) in layers.iter().zip(&activity) {
            if layer.shape.name.split('.').any(|part| part == operation) {
                let (height, width) = layer.shape.map;
                let macs = layer.weight.raw().numel() as f64 * (height * width) as f64;
                wanted += 32.0 * macs * activity.rate.sum(Kind::Double).double_value(&[]);
            }
        }
        assert!((told - wanted).abs() <= 1e-6 * wanted, "`{operation}`: L_comp {told}, by hand {wanted}");
        assert_eq!(wanted > 0.0, operation != "none", "`{operation}`");
    }
}

/// A spike that is in nine windows is added nine times for each connection; one in the corner, four
/// times.
#[test]
fn sums_of_spikes_cost_an_addition_for_each_spike_of_a_window() {
    let case = Case::of_design(&DESIGN, false);
    let pass = Pass { measure: true, maps: true, ..Pass::new(TIMESTEPS) };
    let response = case.network.forward(&images(), &pass);
    let rows = layer_costs::layers(case.network.as_ref(), &response.activity, TIMESTEPS);
    let at = |name: &str| rows.iter().position(|row| row.layer == name).unwrap();
    let spikes = response.activity[at("cell0.n0.s1.conv5x5")].map.as_ref().unwrap();
    let mut additions = 0.0;
    let (channels, height, width) = (4, SIDES.0, SIDES.1);
    let windows = |place: i64, side: i64| (place.max(1) - 1..=(place + 1).min(side - 1)).count() as f64;
    for channel in 0..channels {
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
            let of_neuron = spikes.double_value(&[channel, row, column]);
            additions += of_neuron * windows(row, height) * windows(column, width) * WIDTH as f64;
        }
    }
    assert!(additions > 0.0);
    for told in
        [rows[at("cell0.n1.s1.average-pool3x3")].syn_ops_counted, rows[at("cell0.n1.s1.average-pool3x3")].syn_ops]
    {
        assert!((told - additions).abs() < 1e-4 * additions, "{told}, by hand {additions}");
    }
}

/// 5x5, 1x1 and depthwise weights, in a search and in the network that it decides for.
#[test]
fn every_compressor_works_on_every_operation() {
    let space = space(json!({}));
    for plugin in registered().into_iter().filter(|plugin| plugin.kind == PluginKind::Compressor) {
        let example: Value = toml_edit::de::from_str(plugin.examples[0]).unwrap();
        let compressor: Box<dyn Compressor> = serde_json::from_value(example["compressor"][0].clone()).unwrap();
        let (name, stack) = (plugin.name, [(plugin.name, compressor.as_ref())]);
        let trains = |network: &dyn Network, parameters: &Parameters| {
            let response = network.forward(&images(), &Pass { training: true, measure: true, ..Pass::new(2) });
            response.logits.square().sum(Kind::Float).backward();
            for parameter in parameters.trainable().iter().filter(|one| one.role == Role::Weight) {
                let gradient = parameter.tensor.grad();
                let arrived = gradient.defined() && gradient.isfinite().all().int64_value(&[]) == 1;
                assert!(arrived, "with `{name}`, the gradient of `{}`", parameter.name);
            }
            for row in layer_costs::layers(network, &response.activity, 2) {
                let counted = row.kept_weights > 0 && row.bits > 0.0 && row.syn_ops.is_finite();
                assert!(counted, "with `{name}`, `{}`: {row:?}", row.layer);
            }
        };
        let (mut searched, mut trained) = (Parameters::default(), Parameters::default());
        let supernet = space.supernet(&data(), &stack, &mut Build::new(&mut searched, 5, Device::Cpu)).unwrap();
        trains(supernet.as_ref(), &searched);
        let decided = supernet.decisions(Techniques::ALL);
        let build = &mut Build::new(&mut trained, 5, Device::Cpu);
        let network = space.network(&architecture(&DESIGN), &decided, false, &data(), &stack, build).unwrap();
        trains(network.as_ref(), &trained);
    }
}

#[test]
fn a_design_of_operations_that_the_space_has_not_is_refused_with_its_edge() {
    let build = |operations: Value, edges: &[(usize, &str, &str)]| {
        let mut parameters = Parameters::default();
        let build = &mut Build::outline(&mut parameters);
        let space = space(json!({ "operations": operations }));
        let built = space.network(&architecture(edges), &Compression::new(), false, &data(), &[], build);
        built.err().map(|error| error.to_string())
    };
    let with = |operation| [(0, "s0", operation), (0, "s1", "conv1x1"), (1, "s0", "conv1x1"), (1, "n0", "conv1x1")];
    let listed = json!(["conv1x1", "none", "conv5x5"]);
    assert_eq!(build(listed.clone(), &with("conv5x5")), None);
    for operation in ["conv7x7", "conv3x3", "skip", "none"] {
        let error = build(listed.clone(), &with(operation)).expect(operation);
        let wanted = format!(
            "the design has `{operation}` on the edge from `s0` to node 0, and `operations` of the space are \
             `conv5x5`, `conv1x1`"
        );
        assert!(error.contains(&wanted), "{error}");
    }
    let error = build(json!(["skip", "conv3x3"]), &with("conv3x3")).expect("the paper's space has no `conv1x1`");
    assert!(error.contains("`conv1x1` on the edge from `s1` to node 0"), "{error}");
}

/// Of edges from s0 and s1, `skip` is the `conv3x3` and is not drawn besides.
#[test]
fn every_operation_but_none_is_drawn_as_often_as_any_other() {
    let space = space(json!({}));
    let mut drawn = HashMap::<(bool, String), i32>::new();
    for index in 0..600 {
        for edge in space.sample(&mut Stream::open(1, "test", index)).edges {
            *drawn.entry((edge.from.starts_with('s'), edge.operation)).or_default() += 1;
        }
    }
    for of_input in [true, false] {
        let mut found: Vec<(&str, i32)> = Vec::new();
        for ((input, operation), count) in &drawn {
            if *input == of_input {
                found.push((operation, *count));
            }
        }
        found.sort_unstable();
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        let mut wanted = OPERATIONS[usize::from(of_input)..6].to_vec();
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        let mean = found.iter().map(|(_, count)| *count).sum::<i32>() / found.len() as i32;
        // Five standard deviations of a binomial count are at most 5 sqrt(mean).
        let most = 5.0 * f64::from(mean).sqrt();
        assert!(found.iter().all(|(_, count)| f64::from((count - mean).abs()) < most), "{found:?}");
    }
}
