//! Networks of which whole channels are removed, against the networks that are built without them:
//! what they compute, what they cost, and the sizes of QP-SNN.

use std::collections::BTreeMap;

use litesnn_framework::data::DataInfo;
use litesnn_framework::ground::{Build, Parameters, Stream};
use litesnn_framework::network::cost::{CostModel, model_size_bytes};
use litesnn_framework::network::{
    Architecture, Compression, Compressor, CostConstants, Edge, Network, Pass, Progress, SearchSpace, Techniques,
};
use litesnn_framework::run::layer_costs;
use litesnn_plugins as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const NAME: &str = "channel-rank-prune";

fn compressor(name: &str, settings: &Value) -> Box<dyn Compressor> {
    serde_json::from_value(json!({ name: settings })).unwrap()
}

fn built(
    space: Value,
    only: Option<Architecture>,
    compressors: &[(&str, &dyn Compressor)],
    build: &mut Build,
) -> Box<dyn Network> {
    let space: Box<dyn SearchSpace> = serde_json::from_value(space).unwrap();
    let only = only.or_else(|| space.fixed()).unwrap();
    let data = DataInfo::of_form(([2, 8, 8], 3));
    space.network(&only, &Compression::new(), false, &data, compressors, build).unwrap()
}

/// Keeps these channels of each population, as the plugin does when it prunes.
fn keep(parameters: &Parameters, kept: &[(&str, &[i64])]) {
    let mut masks: BTreeMap<&str, &Tensor> = BTreeMap::new();
    for (name, tensor) in parameters.buffers() {
        if let Some(population) = name.strip_prefix(&format!("{NAME}.")).and_then(|name| name.strip_suffix(".kept")) {
            masks.insert(population, tensor);
        }
    }
    for (population, channels) in kept {
        let mask = masks.remove(population).unwrap_or_else(|| panic!("no population `{population}`"));
        let kept = mask.zeros_like().index_fill(0, &Tensor::from_slice(channels), 1.0);
        mask.shallow_clone().copy_(&kept);
    }
    assert!(masks.is_empty(), "not decided: {:?}", masks.keys());
}

/// Parameters that are not as they begin.
fn stir(parameters: &Parameters) {
    tch::manual_seed(3);
    let trained = parameters.trainable().iter().map(|parameter| &parameter.tensor);
    let running = parameters.buffers().iter().filter(|(name, _)| name.contains("running_")).map(|(_, tensor)| tensor);
    tch::no_grad(|| {
        for tensor in trained.chain(running) {
            let noise = Stream::numbered(1).uniform(&tensor.size(), 0.0, 1.0) * 0.2;
            let _ = tensor.shallow_clone().g_add_(&noise);
        }
    });
}

/// The wide network's tensors without the channels that are removed, where the narrow one has them.
fn narrow(wide: (&dyn Network, &Parameters), slim: (&dyn Network, &Parameters)) {
    let tensors: BTreeMap<&str, &Tensor> = wide.1.named().collect();
    for (layer, of) in slim.0.layers().iter().zip(wide.0.layers()) {
        let value = of.weight.narrowed(Techniques::ALL, of.weight.raw());
        tch::no_grad(|| layer.weight.raw().shallow_clone().copy_(&value));
        let begin = format!("{}.", layer.shape.name);
        let rest = slim.1.named().filter(|(name, _)| name.starts_with(&begin) && *name != format!("{begin}weight"));
        for (name, tensor) in rest {
            let value = match of.weight.channels().mask(Techniques::ALL) {
                Some(mask) => tensors[name].index_select(0, &mask.nonzero().reshape([-1])),
                None => tensors[name].shallow_clone(),
            };
            tch::no_grad(|| tensor.shallow_clone().copy_(&value));
        }
    }
}

/// Whether two numbers are equal but for the order in which they were summed.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * b.abs().max(1e-9)
}

/// The wide network with these channels kept is the narrow one.
fn same(wide: Value, kept: &[(&str, &[i64])], slim: Value, more: &[(&str, Value)]) {
    let pruner = compressor(NAME, &json!({ "rate": 0.5 }));
    let others: Vec<(&str, Box<dyn Compressor>)> =
        more.iter().map(|(name, settings)| (*name, compressor(name, settings))).collect();
    let mut stack: Vec<(&str, &dyn Compressor)> = others.iter().map(|(name, other)| (*name, other.as_ref())).collect();
    let (mut few, mut many) = (Parameters::default(), Parameters::default());
    let slim = built(json!({ "layers": { "layers": slim } }), None, &stack, &mut Build::new(&mut few, 5, Device::Cpu));
    stack.push((NAME, pruner.as_ref()));
    let wide = built(json!({ "layers": { "layers": wide } }), None, &stack, &mut Build::new(&mut many, 4, Device::Cpu));
    stir(&many);
    keep(&many, kept);
    narrow((wide.as_ref(), &many), (slim.as_ref(), &few));

    let images = Stream::numbered(2).normal(&[6, 2, 8, 8]);
    for training in [false, true] {
        let pass = Pass { training, measure: true, maps: true, ..Pass::new(3) };
        let (a, b) = (wide.forward(&images, &pass), slim.forward(&images, &pass));
        let apart = (&a.logits - &b.logits).abs().max().double_value(&[]);
        assert!(apart < 1e-4 && b.logits.abs().max().double_value(&[]) > 1e-2, "logits are {apart} apart");
        assert!(b.activity.iter().skip(1).any(|activity| activity.rate.max().double_value(&[]) > 0.0));

        let rows = |network: &dyn Network, response| layer_costs::layers(network, response, 3);
        let (a, b) = (rows(wide.as_ref(), &a.activity), rows(slim.as_ref(), &b.activity));
        for (a, b) in a.iter().zip(&b) {
            let name = &b.layer;
            assert_eq!(
                (a.kept_weights, a.stored_bytes, &a.mask_coding),
                (b.kept_weights, b.stored_bytes, &b.mask_coding),
                "{name}"
            );
            assert!(
                near(a.memory_bits, b.memory_bits) && a.bits == b.bits,
                "{name}: {} {}",
                a.memory_bits,
                b.memory_bits
            );
            assert!(
                near(a.syn_ops, b.syn_ops) && near(a.bit_syn_ops, b.bit_syn_ops),
                "{name}: {} {}",
                a.syn_ops,
                b.syn_ops
            );
            assert!(near(a.syn_ops_counted, b.syn_ops_counted), "{name}: {} {}", a.syn_ops_counted, b.syn_ops_counted);
            assert!(near(a.multiplications, b.multiplications), "{name}");
            assert_eq!(a.multiplications_counted, b.multiplications_counted, "{name}");
            assert!(a.firing_rate.iter().zip(&b.firing_rate).all(|(a, b)| near(*a, *b)), "{name}");
        }
        assert_eq!(wide.full_precision_parameters(), slim.full_precision_parameters());
        let totals = |network: &dyn Network, rows| layer_costs::totals(rows, network);
        let (a, b) = (totals(wide.as_ref(), &a), totals(slim.as_ref(), &b));
        assert_eq!((a.kept_weights, a.stored_bytes), (b.kept_weights, b.stored_bytes));
        assert!(near(a.model_size_bytes, b.model_size_bytes) && near(a.energy_mj, b.energy_mj));
    }
}

#[test]
fn pooling_identities_projections_and_flattening_lose_the_same_channels() {
    let wide = json!([
        { "conv": 6, "bias": true }, { "max_pool": 2 }, { "basic": 6, "inner": 5 }, { "basic": 8 },
        { "conv": 4, "norm": false, "bias": true }, { "conv": 4 }, { "average_pool": 2 }, { "linear": 7 }, { "classifier": 2 },
    ]);
    let slim = json!([
        { "conv": 4, "bias": true }, { "max_pool": 2 }, { "basic": 4, "inner": 2 }, { "basic": 5, "inner": 3 },
        { "conv": 2, "norm": false, "bias": true }, { "conv": 4 }, { "average_pool": 2 }, { "linear": 7 }, { "classifier": 2 },
    ]);
    let kept: [(&str, &[i64]); 5] = [
        ("stem", &[0, 2, 3, 5]),
        ("block1.conv1", &[1, 4]),
        ("block2.conv1", &[0, 1, 7]),
        ("block2.conv2", &[1, 2, 3, 5, 6]),
        ("block3.conv", &[2, 3]),
    ];
    same(wide.clone(), &kept, slim.clone(), &[]);
    same(wide, &kept, slim, &[("binary-connect", json!({}))]);
}

#[test]
fn zeros_around_a_map_and_joined_spikes_lose_the_same_channels() {
    // Channels 0 and 1 of the stem are channels 2 and 3 of the wide map, and 1 and 2 of the narrow one.
    let wide = json!([
        { "conv": 4 }, { "basic": 8, "stride": 2, "shortcut": "zero-padding" },
        { "sew": 8 }, { "sew": 6, "connect": "and" }, { "sew": 6, "connect": "iand" }, { "conv": 3 }, { "classifier": 1 },
    ]);
    let slim = json!([
        { "conv": 2 }, { "basic": 4, "inner": 3, "stride": 2, "shortcut": "zero-padding" },
        { "sew": 4, "inner": 5 }, { "sew": 2, "inner": 4, "connect": "and" }, { "sew": 2, "inner": 3, "connect": "iand" },
        { "conv": 3 }, { "classifier": 1 },
    ]);
    let kept: [(&str, &[i64]); 7] = [
        ("stem", &[0, 1]),
        ("block1.conv1", &[0, 5, 7]),
        ("block1.conv2", &[1, 2, 3, 7]),
        ("block2.conv1", &[1, 2, 3, 4, 5]),
        ("block3.conv1", &[0, 1, 2, 3]),
        ("block3.conv2", &[0, 4]),
        ("block4.conv1", &[0, 3, 5]),
    ];
    same(wide, &kept, slim, &[]);
}

/// A sum of two maps of other populations has each channel that one of them has.
#[test]
fn a_zero_padded_sum_of_spikes_has_the_channels_of_both() {
    let pruner = compressor(NAME, &json!({ "rate": 0.5 }));
    let layers = json!([
        { "conv": 4 }, { "sew": 6, "shortcut": "zero-padding" }, { "conv": 5 }, { "conv": 5 }, { "classifier": 1 },
    ]);
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 4, Device::Cpu);
    let network = built(json!({ "layers": { "layers": layers } }), None, &[(NAME, pruner.as_ref())], &mut build);
    keep(
        &parameters,
        &[("stem", &[0, 1]), ("block1.conv1", &[0]), ("block1.conv2", &[0, 1]), ("block2.conv", &[2, 3, 4])],
    );
    // The stem's channels 0 and 1 are channels 1 and 2 of the sum, those of the block 0 and 1.
    let reader = &network.layers()[3];
    assert_eq!(reader.shape.name, "block2.conv");
    assert_eq!(reader.weight.narrowed(Techniques::ALL, reader.weight.raw()).size(), [3, 3, 3, 3]);
}

/// What a zero-padded shortcut hands to a removed neuron does not make it fire.
#[test]
fn a_shortcut_drives_no_removed_neuron() {
    let pruner = compressor(NAME, &json!({ "rate": 0.5 }));
    let layers = json!([
        { "conv": 4 }, { "basic": 6, "shortcut": "zero-padding" }, { "conv": 5 }, { "conv": 5 }, { "classifier": 1 },
    ]);
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 4, Device::Cpu);
    let network = built(json!({ "layers": { "layers": layers } }), None, &[(NAME, pruner.as_ref())], &mut build);
    stir(&parameters);
    let images = Stream::numbered(3).normal(&[5, 2, 8, 8]);
    // The block's spikes, channel by channel, are what `block2.conv` reads.
    let fired = || {
        let pass = Pass { measure: true, maps: true, ..Pass::new(3) };
        let map = network.forward(&images, &pass).activity.swap_remove(3).map.unwrap();
        Vec::<f64>::try_from(map.sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double)).unwrap()
    };
    assert!(fired().iter().all(|spikes| *spikes > 0.0));
    let all: &[i64] = &[0, 1, 2, 3, 4];
    keep(&parameters, &[("stem", &all[..4]), ("block1.conv1", all), ("block1.conv2", &[0, 1]), ("block2.conv", all)]);
    let spikes = fired();
    assert!(spikes[..2].iter().all(|spikes| *spikes > 0.0) && spikes[2..] == [0.0; 4], "{spikes:?}");
}

/// Cells: an architecture with identities, of which the kept weights are counted by hand.
#[test]
fn nodes_of_cells_lose_whole_channels() {
    let edge = |node, from: &str, operation: &str| Edge { node, from: from.into(), operation: operation.into() };
    let architecture = || Architecture {
        space: "spike-dhs".into(),
        edges: vec![
            edge(0, "s0", "conv3x3"),
            edge(0, "s1", "conv3x3"),
            edge(1, "s1", "conv3x3"),
            edge(1, "n0", "skip"),
            edge(2, "n0", "skip"),
            edge(2, "n1", "skip"),
        ],
    };
    let space = json!({ "spike-dhs": { "cells": [0, 0, 1], "nodes": 3, "channels": { "search": 4, "retrain": 4 }, "auxiliary": 0.0 } });
    let pruner = compressor(NAME, &json!({ "rate": 0.5 }));
    let (mut plain, mut parameters) = (Parameters::default(), Parameters::default());
    let dense = built(space.clone(), Some(architecture()), &[], &mut Build::new(&mut plain, 4, Device::Cpu));
    let network = built(
        space,
        Some(architecture()),
        &[(NAME, pruner.as_ref())],
        &mut Build::new(&mut parameters, 4, Device::Cpu),
    );
    let images = Stream::numbered(4).normal(&[5, 2, 8, 8]);
    let pass = Pass { measure: true, maps: true, ..Pass::new(3) };
    let untouched = network.forward(&images, &pass).logits;
    assert!(untouched.equal(&dense.forward(&images, &pass).logits), "nothing is removed yet");
    keep(
        &parameters,
        &[
            ("stem", &[0, 1, 2, 5, 7, 8]),
            ("cell0.n0", &[0, 1]),
            ("cell0.n1", &[1, 2, 3]),
            ("cell1.n0", &[3]),
            ("cell1.n1", &[0, 3]),
        ],
    );
    // A cell hands on n0, n1 and n2, which has the channels of both: 2 + 3 + 4, and 1 + 2 + 2.
    let (stem, cells) = (6, [9, 5]);
    let of_cell = |n0: i64, n1: i64, s0: i64, s1: i64| [n0 * s0 * 9, n0 * s1 * 9, n1 * s1 * 9];
    let mut wanted = vec![stem * 2 * 9];
    // Edges are told by where they begin: s0, s1 to n0, s1 to n1. The last cell has all channels.
    wanted.extend(of_cell(2, 3, stem, stem));
    wanted.extend(of_cell(1, 2, stem, cells[0]));
    wanted.extend(of_cell(8, 8, cells[0], cells[1]));
    wanted.push(3 * 24);
    let response = network.forward(&images, &pass);
    let rows = layer_costs::layers(network.as_ref(), &response.activity, 3);
    assert_eq!(rows.iter().map(|row| row.kept_weights).collect::<Vec<_>>(), wanted);
    assert!(rows.iter().all(|row| row.mask_coding == "none" && row.stored_bytes == 4.0 * row.kept_weights as f64));
    // Normalisation: of the stem, and of each convolution; the classifier's bias.
    let norms = stem + (2 + 2 + 3) + (1 + 1 + 2) + (8 + 8 + 8);
    assert_eq!(network.full_precision_parameters(), 2 * norms as u64 + 3);
    // Removed neurons are silent, whoever drives them.
    for (activity, layer) in
        response.activity.iter().zip(network.layers()).skip(1).filter(|(_, layer)| layer.shape.kernel.0 == 3)
    {
        let map = activity.map.as_ref().unwrap();
        let firing =
            map.sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double).gt(0.0).sum(Kind::Int64).int64_value(&[]);
        let there = layer.weight.narrowed(Techniques::ALL, layer.weight.raw()).size()[1];
        assert!(firing <= there, "{}: {firing} of {there}", layer.shape.name);
    }
    // A step trains what is there, and nothing else.
    let response = network.forward(&images, &Pass { training: true, ..pass });
    response.logits.square().sum(Kind::Float).backward();
    for layer in network.layers() {
        let there = layer.weight.value(Techniques::ALL).ne(0.0);
        let moved = layer.weight.raw().grad().ne(0.0);
        let strange = moved.logical_and(&there.logical_not()).any().int64_value(&[]);
        assert_eq!(strange, 0, "{}", layer.shape.name);
    }
}

/// Cells with separable convolutions, whose neurons go with the channels that they read, and with
/// averages between nodes, which hand on what is there: counted by hand.
#[test]
fn separable_and_averaged_edges_lose_whole_channels() {
    let edges = [
        (0, "s0", "separable3x3"),
        (0, "s1", "conv3x3"),
        (1, "s1", "average-pool3x3"),
        (1, "n0", "separable3x3"),
        (2, "n0", "average-pool3x3"),
        (2, "n1", "average-pool3x3"),
    ];
    let edges = edges.map(|(node, from, operation)| Edge { node, from: from.into(), operation: operation.into() });
    let architecture = Architecture { space: "spike-dhs".into(), edges: edges.into() };
    let operations = ["conv3x3", "separable3x3", "average-pool3x3"];
    let space = json!({ "spike-dhs": {
        "cells": [0, 1], "nodes": 3, "channels": { "search": 4, "retrain": 4 }, "auxiliary": 0.0, "operations": operations,
    } });
    let pruner = compressor(NAME, &json!({ "rate": 0.5 }));
    let (stack, mut parameters) = ([(NAME, pruner.as_ref())], Parameters::default());
    let network = built(space, Some(architecture), &stack, &mut Build::new(&mut parameters, 4, Device::Cpu));
    stir(&parameters);
    keep(&parameters, &[("stem", &[0, 1, 2, 5, 7, 8]), ("cell0.n0", &[0, 1]), ("cell0.n1", &[1, 2, 3])]);
    // Node 2 of cell 0 has the channels of n0 and n1, all four; the cell hands on 2 + 3 + 4.
    let (stem, cell) = (6, 9);
    let of_cell = |s0: i64, s1: i64, n0: i64, n1: i64| [9 * s0, n0 * s0, n0 * s1 * 9, n1 * s1, 9 * n0, n1 * n0];
    let mut wanted = vec![stem * 2 * 9];
    wanted.extend(of_cell(stem, stem, 2, 3));
    wanted.extend(of_cell(stem, cell, 8, 8));
    wanted.push(3 * 24);
    let images = Stream::numbered(5).normal(&[5, 2, 8, 8]);
    let pass = Pass { measure: true, maps: true, ..Pass::new(3) };
    let response = network.forward(&images, &pass);
    let rows = layer_costs::layers(network.as_ref(), &response.activity, 3);
    assert_eq!(rows.iter().map(|row| row.kept_weights).collect::<Vec<_>>(), wanted);
    assert!(rows.iter().all(|row| row.stored_bytes == 4.0 * row.kept_weights as f64));
    // The stem; of each cell the separable edge from s0, the convolution and the average from s1,
    // the separable edge from n0, and the two averages.
    let norms = stem + (stem + 2 + 2 + 3 + 2 + 3 + 4 + 4) + (stem + 8 + 8 + 8 + 8 + 8 + 8 + 8);
    assert_eq!(network.full_precision_parameters(), 2 * norms as u64 + 3);
    let mut fired = 0.0;
    for ((activity, layer), row) in response.activity.iter().zip(network.layers()).zip(&rows).skip(1) {
        if !layer.shape.reads.is_spiking() {
            continue;
        }
        let (map, name) = (activity.map.as_ref().unwrap(), &layer.shape.name);
        let firing =
            map.sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double).gt(0.0).sum(Kind::Int64).int64_value(&[]);
        let there =
            layer.weight.inputs_there(Techniques::ALL).map_or(1.0, |there| there.number()) * layer.shape.inputs as f64;
        assert!(firing as f64 <= there.round(), "{name}: {firing} channels fire, and {there} are there");
        // Every spike is added once for each kept weight that reads its channel, at each place of
        // the map.
        let readers = row.kept_weights as f64 / there * (row.map_height * row.map_width) as f64;
        let spikes = map.mean_dim([1i64, 2].as_slice(), false, Kind::Double).sum(Kind::Double).double_value(&[]);
        assert!(near(row.syn_ops, spikes * readers), "{name}: {} additions, by hand {}", row.syn_ops, spikes * readers);
        fired += spikes;
    }
    assert!(fired > 0.0);
    // A step trains what is there, and nothing else.
    network.forward(&images, &Pass { training: true, ..pass }).logits.square().sum(Kind::Float).backward();
    for layer in network.layers() {
        let there = layer.weight.value(Techniques::ALL).ne(0.0);
        let strange = layer.weight.raw().grad().ne(0.0).logical_and(&there.logical_not()).any().int64_value(&[]);
        assert_eq!(strange, 0, "{}", layer.shape.name);
    }
}

/// QP-SNN (Wei et al., ICLR 2025), Table 1: all 24 sizes, from the full networks.
#[test]
fn qp_snn_has_its_24_published_sizes_by_removing_channels() {
    let resnet = |outer: f64, inner: f64| json!({ "rate": inner, "rates": { "stem": 0.1, "block1": outer, "block4.conv2": outer } });
    let vgg = |first: f64, next: f64| {
        let rates: BTreeMap<String, f64> = (7..12).map(|block| (format!("block{block}"), next)).collect();
        json!({ "rate": first, "rates": rates })
    };
    let check = |network: &str, rates: Value, classes: usize, quantised: f64, published: [f64; 3]| {
        for (bits, want) in [8, 4, 2].into_iter().zip(published) {
            let compressors = [
                (NAME, compressor(NAME, &rates)),
                ("rescale-quantize", compressor("rescale-quantize", &json!({ "bits": [bits] }))),
            ];
            let compressors: Vec<(&str, &dyn Compressor)> =
                compressors.iter().map(|(name, compressor)| (*name, compressor.as_ref())).collect();
            // Weights of the VGG of QP-SNN have no bias beside their normalisation.
            let space = match network {
                "vgg16" => {
                    let conv = |channels: u64, times: u64| json!({ "conv": channels, "times": times });
                    let pool = json!({ "max_pool": 2 });
                    json!({ "layers": [
                        conv(64, 2), pool, conv(128, 2), pool, conv(256, 3), pool, conv(512, 3), pool, conv(512, 3), pool,
                        { "classifier": 1 },
                    ] })
                }
                named => json!({ "network": named }),
            };
            let space: Box<dyn SearchSpace> = serde_json::from_value(json!({ "layers": space })).unwrap();
            let data = DataInfo::of_form(([3, 32, 32], classes));
            let (only, mut parameters) = (space.fixed().unwrap(), Parameters::default());
            let build = &mut Build::outline(&mut parameters);
            let network = space.network(&only, &Compression::new(), false, &data, &compressors, build).unwrap();
            let layers = network.layers();
            // As many channels go as are to, whichever they are.
            for layer in &layers {
                layer.weight.advance(Techniques::ALL, Progress::after(6, 9, 0, 1));
            }
            let body = layers.iter().filter(|layer| layer.shape.place.is_body());
            let kept = |layer: &litesnn_framework::network::SynapseLayer| {
                layer.shape.weights() * layer.weight.density(Techniques::ALL).number()
            };
            let all: f64 = body.map(kept).sum();
            assert!((all - quantised).abs() < 0.5, "{all} quantised weights, published {quantised}");
            let counted = Tensor::ones([2], (Kind::Double, Device::Cpu));
            let constants = CostConstants::default();
            let costs = CostModel::of(network.as_ref(), Techniques::ALL, &counted, &constants).layers(&layers, &[]);
            let memory = costs.memory_bits.sum(Kind::Double).double_value(&[]);
            let megabytes = model_size_bytes(memory, network.full_precision_parameters()) / 1e6;
            assert!((megabytes - want).abs() <= 0.000_501, "{bits} bits: {megabytes} MB, published {want}: {rates}");
        }
    };
    check("resnet20", resnet(0.3, 0.6), 10, 6_212_466.0, [6.267, 3.161, 1.608]);
    check("resnet20", resnet(0.35, 0.75), 10, 3_866_436.0, [3.918, 1.984, 1.018]);
    check("resnet20", resnet(0.3, 0.6), 100, 6_212_466.0, [6.452, 3.346, 1.793]);
    check("resnet20", resnet(0.35, 0.75), 100, 3_866_436.0, [4.102, 2.169, 1.202]);
    check("vgg16", vgg(0.45, 0.51), 10, 4_235_175.0, [4.279, 2.161, 1.102]);
    check("vgg16", vgg(0.49, 0.80), 10, 1_410_111.0, [1.447, 0.742, 0.389]);
    check("vgg16", vgg(0.45, 0.70), 100, 2_258_703.0, [2.483, 1.354, 0.789]);
    check("vgg16", vgg(0.45, 0.78), 100, 1_626_975.0, [1.850, 1.036, 0.629]);
}
