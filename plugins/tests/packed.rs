//! Final networks in a packed file: the engine answers as libtorch's evaluation does.

use litesnn_framework::data::{DataInfo, Normalisation, Split};
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::engine::file::{self, Provenance, read, write};
use litesnn_framework::network::engine::{Network as Packed, Prepared, Reference, Source, Synapses, Values};
use litesnn_framework::network::{
    Compression, Compressor, Network, Pass, Progress, SearchSpace, Technique, Techniques, packed,
};
use litesnn_framework::plugin::{Kind as PluginKind, registered};
use litesnn_framework::run::layer_costs;
use litesnn_framework::train::{Counted, evaluate};
use litesnn_plugins as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const SHAPE: [i64; 3] = [2, 12, 12];
const CLASSES: usize = 5;
const TIMESTEPS: i64 = 4;

/// The final network of a random architecture, with parameters and running statistics at random.
fn network(space: &Value, compressors: &[Value]) -> Box<dyn Network> {
    let space: Box<dyn SearchSpace> = serde_json::from_value(space.clone()).unwrap();
    let named: Vec<(String, Box<dyn Compressor>)> = compressors
        .iter()
        .map(|one| {
            let name = one.as_object().unwrap().keys().next().unwrap().clone();
            (name, serde_json::from_value(one.clone()).unwrap())
        })
        .collect();
    let compressors: Vec<(&str, &dyn Compressor)> =
        named.iter().map(|(name, one)| (name.as_str(), one.as_ref())).collect();
    let mut parameters = Parameters::default();
    let architecture = space.fixed().unwrap_or_else(|| space.sample(&mut Stream::open(3, "architecture", 0)));
    let data = DataInfo::of_form((SHAPE, CLASSES));
    let mut build = Build::new(&mut parameters, 5, Device::Cpu);
    let network = space.network(&architecture, &Compression::new(), false, &data, &compressors, &mut build).unwrap();
    tch::no_grad(|| {
        for (index, (name, tensor)) in parameters.buffers().iter().enumerate() {
            let mut stream = Stream::open(11, "statistics", index as u64);
            let drawn = stream.uniform(&tensor.size(), 0.2, 0.6);
            if name.ends_with("running_mean") {
                tensor.shallow_clone().copy_(&(drawn - 0.4));
            } else if name.ends_with("running_variance") {
                tensor.shallow_clone().copy_(&drawn);
            }
        }
        for (index, parameter) in parameters.of(&[Role::Weight]).enumerate() {
            if parameter.name.ends_with("beta") || parameter.name.ends_with("gamma") || parameter.name.ends_with("bias")
            {
                let drawn = Stream::open(13, "norms", index as u64).uniform(&parameter.tensor.size(), -0.2, 0.3);
                let mut tensor = parameter.tensor.shallow_clone();
                let _ = tensor.g_add_(&drawn);
            }
        }
    });
    network
}

/// Compares logits of every timestep on ten images, and what the kernel gives with the reference;
/// the network as the file holds it.
fn compare(space: &Value, compressors: &[Value]) -> Packed {
    compare_of(network(space, compressors).as_ref(), &format!("{space} {compressors:?}"))
}

fn compare_of(network: &dyn Network, title: &str) -> Packed {
    let data = DataInfo::of_form((SHAPE, CLASSES));
    let normalisation = Normalisation { mean: vec![0.4, 0.5], std: vec![0.25, 0.3] };
    let built =
        packed(network, &data, &normalisation, TIMESTEPS, None).unwrap_or_else(|error| panic!("{title}: {error}"));
    let file = write(&built, &Provenance::default()).unwrap();
    let (engine, _) = read(&file).unwrap();
    assert!(engine == built, "{title}");

    let images = Stream::open(7, "images", 0).uniform(&[10, 2, 12, 12], -1.5, 1.5);
    let logits = tch::no_grad(|| network.forward(&images, &Pass::new(TIMESTEPS)).logits).to_kind(Kind::Float);
    let (prepared, mut fired, mut far) = (Prepared::new(&engine), 0, 0);
    let (mut arena, mut labels) = (prepared.arena(), Vec::new());
    for image in 0..10 {
        let input = Vec::<f32>::try_from(images.get(image).flatten(0, -1)).unwrap();
        let outcome = Reference::new(&engine).run_normalised(&input).unwrap();
        assert_eq!(prepared.run_normalised(&mut arena, &input).unwrap().logits, outcome.logits, "{title}");
        fired += outcome.spikes.iter().sum::<u64>();
        // Right for every other image.
        labels.push((outcome.class as i64 + image % 2) % CLASSES as i64);
        for (step, found) in outcome.logits_by_timestep.iter().enumerate() {
            let want = Vec::<f32>::try_from(logits.get(step as i64).get(image)).unwrap();
            far += found
                .iter()
                .zip(&want)
                .filter(|(found, want)| (**found - **want).abs() > 1e-4 * want.abs().max(1.0))
                .count();
        }
    }
    assert!(fired > 100, "{title}: {fired} spikes say nothing");
    // libtorch rounds its sums, so that a potential beside the threshold may fall on the other side.
    assert!(far <= 10, "{title}: {far} of {} logits differ", 10 * TIMESTEPS as usize * CLASSES);

    let split = Split { images, labels: Tensor::from_slice(&labels) };
    let plain = Normalisation { mean: vec![0.0; 2], std: vec![1.0; 2] };
    let counted = |(layer, _): (&Synapses, _)| layer.of == Source::Image || matches!(layer.values, Values::Levels(_));
    let hidden = engine.layers().count() - 1;
    let form = Counted::of(&engine);
    assert_eq!(form.is_some(), engine.layers().take(hidden).all(counted), "{title}");
    if let Some(form) = &form {
        let pass = Pass::new(TIMESTEPS);
        let found = evaluate(network, &split, &plain, pass, Device::Cpu, Some(form)).unwrap();
        assert_eq!(found.accuracy, 0.5, "{title}");
    }
    engine
}

fn cells(settings: Value) -> Value {
    let mut space = json!({ "cells": [0, 1], "nodes": 2, "channels": { "search": 2, "retrain": 3 }, "auxiliary": 0 });
    space.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    json!({ "spike-dhs": space })
}

/// Layers whose weights have levels, and all layers.
fn with_levels(network: &Packed) -> (usize, usize) {
    let all: Vec<bool> = network.layers().map(|(layer, _)| matches!(layer.values, Values::Levels(_))).collect();
    (all.iter().filter(|levels| **levels).count(), all.len())
}

#[test]
fn cells_of_every_form_answer_as_libtorch_does() {
    let compressed =
        [json!({ "gaussian-quantize": { "bits": [2], "outside_bits": 4 } }), json!({ "score-prune": { "rate": 0.5 } })];
    for settings in [
        json!({}),
        json!({ "candidates": "spike", "downsampling": "resize", "pooling": "spiking", "classifier": "normalised" }),
        json!({ "stem_stride": 2, "normalisation": "each-timestep", "skip": "convolution" }),
        json!({ "time_constant": 2.0, "scaled_input": true, "reset": "soft", "surrogate": "atan", "threshold": 0.4 }),
        json!({ "operations": ["conv3x3", "conv5x5", "conv1x1", "separable3x3", "average-pool3x3", "skip", "none"] }),
        json!({ "operations": ["separable3x3", "average-pool3x3"], "candidates": "spike" }),
    ] {
        let (levels, layers) = with_levels(&compare(&cells(settings), &compressed));
        assert_eq!(levels, layers, "every layer is quantised");
    }
}

#[test]
fn networks_of_layers_answer_as_libtorch_does() {
    let compressed = [json!({ "rescale-quantize": { "bits": [4] } }), json!({ "magnitude-prune": { "rate": 0.5 } })];
    let end = json!([{ "global_average": true }, { "classifier": 2 }]);
    for layers in [
        json!([{ "conv": 4 }, { "max_pool": 2 }, { "conv": 6, "bias": true }, { "average_pool": 2 }, { "conv": 6, "norm": false, "bias": true }]),
        json!([{ "conv": 4 }, { "basic": 4 }, { "basic": 8, "stride": 2 }, { "basic": 8, "shortcut": "projection" }]),
        json!([{ "conv": 4 }, { "basic": 8, "stride": 2, "shortcut": "zero-padding" }, { "linear": 12 }]),
        json!([{ "conv": 4 }, { "sew": 4 }, { "sew": 4, "connect": "and" }, { "sew": 6, "connect": "iand", "stride": 2 }]),
    ] {
        let mut all = layers.as_array().unwrap().clone();
        all.extend(end.as_array().unwrap().clone());
        compare(&json!({ "layers": { "layers": all } }), &compressed);
    }
    let vote = json!([{ "conv": 4 }, { "average_pool": 2 }, { "classifier": 3, "spiking": true }]);
    compare(&json!({ "layers": { "layers": vote } }), &compressed);
}

/// A quantiser without levels would leave as f32, be tested by libtorch, and take the bytes of f32 in
/// the record: `admm-quantize` and the signs of `binary-standardize` once did.
#[test]
fn every_weight_of_every_quantiser_leaves_with_a_level_that_is_its_value() {
    let space = cells(json!({}));
    let settings = [
        json!({ "gaussian-quantize": { "bits": [1], "outside_bits": 4 } }),
        json!({ "gaussian-quantize": { "bits": [4], "outside_bits": 4 } }),
        json!({ "branch-wise": { "bits": [2], "rate": 0.5 } }),
        json!({ "rescale-quantize": { "bits": [2], "outside_bits": 8 } }),
        json!({ "rescale-quantize": { "bits": [1], "outside_bits": 8, "per": "channel", "scale": "max" } }),
        json!({ "rescale-quantize": { "bits": [8], "outside_bits": 8, "per": "channel", "scale": "percentile" } }),
        json!({ "binary-standardize": {} }),
        json!({ "learned-step-quantize": { "bits": 2 } }),
        json!({ "admm-quantize": { "bits": 1 } }),
        json!({ "admm-quantize": { "bits": 3 } }),
        json!({ "binary-connect": {} }),
        json!({ "binary-connect": { "magnitude": 0.3 } }),
    ];
    let by_deviation = |one: &Value| ["gaussian-quantize", "branch-wise"].iter().any(|name| one.get(name).is_some());
    for compressor in &settings {
        let title = format!("{compressor}");
        let network = network(&space, std::slice::from_ref(compressor));
        // The end of a stage, at which ADMM makes weights what it drew them to.
        for layer in network.layers() {
            layer.weight.advance(Techniques::ALL, Progress::after(1, 1, 0, 1));
        }
        let engine = compare_of(network.as_ref(), &title);
        let (levels, layers) = with_levels(&engine);
        assert_eq!(levels, layers, "{title}: layers that have levels, and layers");
        for layer in network.layers() {
            let of_layer = |synapses: &&Synapses| synapses.name == layer.shape.name;
            let synapses = engine.layers().map(|(synapses, _)| synapses).find(of_layer).unwrap();
            let Values::Levels(levels) = &synapses.values else { unreachable!("all have levels") };
            let step = layer.weight.packed_step(Techniques::ALL).unwrap().expand([layer.shape.outputs], false);
            let step = Vec::<f32>::try_from(step.contiguous()).unwrap();
            let value = layer.weight.value(Techniques::ALL);
            let value = Vec::<f32>::try_from(value.flatten(0, -1)).unwrap();
            let each = value.len() / step.len();
            let apart = |unit: f32| {
                let of = |((place, level), value): ((usize, &i16), &f32)| {
                    (f32::from(*level) * (step[place / each] * unit) - value).abs() / value.abs().max(f32::MIN_POSITIVE)
                };
                levels.iter().enumerate().zip(&value).map(of).fold(0.0, f32::max)
            };
            let (least, layer) = (apart(1.0).min(apart(0.5)), &synapses.name);
            // The deviation of its loop is another sum than the one of its step.
            let most = if by_deviation(compressor) { 4.0 * f32::EPSILON } else { 0.0 };
            assert!(least <= most, "{title}: the weights of `{layer}` are {least:.1e} away from levels times steps");
        }
    }
    for plugin in registered().into_iter().filter(|plugin| plugin.kind == PluginKind::Compressor) {
        let example: Value = toml_edit::de::from_str(plugin.examples[0]).unwrap();
        let compressor: Box<dyn Compressor> = serde_json::from_value(example["compressor"][0].clone()).unwrap();
        let tested = settings.iter().any(|one| one.get(plugin.name).is_some());
        let quantises = compressor.technique() == Technique::Quantize;
        assert!(tested || !quantises, "the quantiser `{}` has no settings in this test", plugin.name);
    }
}

/// An engine's network that prefers the first class stands in for the trained one: were libtorch's
/// logits used, the loss would be the one of the trained network.
#[test]
fn evaluation_takes_its_logits_from_the_engine() {
    let compressed = [json!({ "rescale-quantize": { "bits": [2], "outside_bits": 8 } })];
    let trained = network(&cells(json!({})), &compressed);
    let (data, plain) = (DataInfo::of_form((SHAPE, CLASSES)), Normalisation { mean: vec![0.0; 2], std: vec![1.0; 2] });
    let own = packed(trained.as_ref(), &data, &plain, TIMESTEPS, None).unwrap();
    let mut other = own.clone();
    other.logits.synapses.bias = vec![1.0, 0.0, 0.0, 0.0, 0.0];
    let images = Stream::open(7, "images", 0).uniform(&[10, 2, 12, 12], -1.5, 1.5);
    let labels = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    let split = Split { images: images.copy(), labels: labels.copy() };
    let loss = |form: Option<&Counted>| {
        evaluate(trained.as_ref(), &split, &plain, Pass::new(TIMESTEPS), Device::Cpu, form).unwrap().loss
    };
    let by_hand = |network: &Packed| {
        let of = |image: i64| {
            let input = Vec::<f32>::try_from(images.get(image).flatten(0, -1)).unwrap();
            Tensor::from_slice(&Reference::new(network).run_normalised(&input).unwrap().logits)
        };
        let logits = Tensor::stack(&(0..10).map(of).collect::<Vec<_>>(), 0);
        logits.cross_entropy_for_logits(&labels).double_value(&[])
    };
    for network in [&own, &other] {
        let (found, wanted) = (loss(Counted::of(network).as_ref()), by_hand(network));
        assert!((found - wanted).abs() < 1e-12, "{found}, by the engine's logits {wanted}");
    }
    let apart = (by_hand(&own) - by_hand(&other)).abs();
    assert!(apart > 0.01, "losses that differ by {apart} would tell nothing");
    assert!((loss(None) - by_hand(&own)).abs() < 1e-4, "libtorch computes the same network");
}

#[test]
fn weights_that_nothing_quantises_have_no_levels() {
    for compressor in [
        json!({ "magnitude-prune": { "rate": 0.9 } }),
        json!({ "nm-prune": { "n": 2, "m": 4 } }),
        json!({ "channel-rank-prune": { "rate": 0.5 } }),
        // Weights have 32 bits until they are projected for good.
        json!({ "admm-quantize": { "bits": 3 } }),
    ] {
        let (levels, _) = with_levels(&compare(&cells(json!({})), std::slice::from_ref(&compressor)));
        assert_eq!(levels, 0, "{compressor}");
    }
}

/// The record takes the stored size from the file, and the formula stands where there is none.
#[test]
fn the_formula_of_the_stored_size_is_what_a_file_holds() {
    let data = DataInfo::of_form((SHAPE, CLASSES));
    let normalisation = Normalisation { mean: vec![0.4, 0.5], std: vec![0.25, 0.3] };
    let space = |auxiliary: i64| {
        json!({ "spike-dhs": {
            "cells": [0, 1], "nodes": 2, "channels": { "search": 2, "retrain": 3 }, "auxiliary": auxiliary
        } })
    };
    let plain: &[Value] = &[];
    let compressed =
        [json!({ "gaussian-quantize": { "bits": [2], "outside_bits": 4 } }), json!({ "score-prune": { "rate": 0.5 } })];
    for compressors in [plain, &compressed] {
        let trained = network(&space(1), compressors);
        let form = packed(trained.as_ref(), &data, &normalisation, TIMESTEPS, None).unwrap();
        let rows = layer_costs::layers(trained.as_ref(), &[], TIMESTEPS);
        let totals = layer_costs::totals(&rows, trained.as_ref());
        // The file has more, means and deviations of the image, and the scale of the classifier.
        let more = 4 * (2 + 2 + 1);
        assert_eq!(totals.stored_bytes + more as f64, file::payload(&form) as f64, "{compressors:?}");
        // What training alone needs is in the model size of the paper, and in no file.
        let without = network(&space(0), compressors);
        let parameters = [&trained, &without].map(|network| network.full_precision_parameters());
        assert_eq!(parameters[0] - parameters[1], trained.auxiliary_parameters());
        let without = layer_costs::totals(&layer_costs::layers(without.as_ref(), &[], TIMESTEPS), without.as_ref());
        assert!(totals.model_size_bytes > without.model_size_bytes, "{compressors:?}");
        assert!(
            (totals.stored_bytes - without.stored_bytes).abs() < 3.0,
            "{} {}",
            totals.stored_bytes,
            without.stored_bytes
        );
    }
}

#[test]
fn what_the_engine_has_no_form_for_is_refused() {
    let data = DataInfo::of_form((SHAPE, CLASSES));
    let normalisation = Normalisation { mean: vec![0.0; 2], std: vec![1.0; 2] };
    let ann =
        network(&json!({ "layers": { "layers": [{ "conv": 4 }, { "classifier": 1 }], "activation": "relu" } }), &[]);
    let error = packed(ann.as_ref(), &data, &normalisation, 1, None).unwrap_err().to_string();
    assert!(error.contains("cannot leave as a file") && error.contains("do not spike"), "{error}");
}
