//! Early exit is what running every image alone gives, and at the ends of its scale what a network
//! of all timesteps, or of one, gives to the bit.

use std::collections::BTreeMap;

use litesnn_framework::data::{DataInfo, Normalisation, Split};
use litesnn_framework::ground::{Build, Parameters, Stream};
use litesnn_framework::network::{Compressor, Network, Pass, SearchSpace, TimestepSearcher, running};
use litesnn_framework::record::LayerRow;
use litesnn_framework::run::layer_costs;
use litesnn_framework::train::{Exit, Exits, Measured, Stopping, evaluate, evaluate_exits};
use litesnn_plugins as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const TIMESTEPS: i64 = 4;
/// More than one batch of an evaluation.
const IMAGES: i64 = 130;
const CLASSES: i64 = 5;

/// A network with sums of spikes, quantised and pruned, and the images that it classifies.
struct Case {
    network: Box<dyn Network>,
    split: Split,
    normalisation: Normalisation,
}

impl Case {
    fn new() -> Case {
        let space = json!({ "layers": { "layers": [
            { "conv": 6 }, { "average_pool": 2 }, { "conv": 8, "times": 2 }, { "global_average": true }, { "classifier": 1 },
        ] } });
        let space: Box<dyn SearchSpace> = serde_json::from_value(space).unwrap();
        let compressors: Vec<Box<dyn Compressor>> = serde_json::from_value(
            json!([{ "gaussian-quantize": { "bits": [2] } }, { "score-prune": { "rate": 0.5 } }]),
        )
        .unwrap();
        let named: Vec<(&str, &dyn Compressor)> =
            compressors.iter().map(|compressor| (compressor.typetag_name(), compressor.as_ref())).collect();
        let data = DataInfo::of_form(([2, 8, 8], CLASSES as usize));
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 3, Device::Cpu);
        let architecture = space.fixed().expect("a list of layers is one architecture");
        let network = space.network(&architecture, &Default::default(), false, &data, &named, &mut build).unwrap();
        tch::no_grad(|| {
            for parameter in parameters.trainable() {
                // So that some images are sure and others are not.
                if parameter.name.starts_with("classifier") {
                    let _ = parameter.tensor.shallow_clone().g_mul_scalar_(6.0);
                }
            }
        });
        let mut stream = Stream::open(4, "images", 0);
        let images = stream.normal(&[IMAGES, 2, 8, 8]);
        let labels = Tensor::arange(IMAGES, (Kind::Int64, Device::Cpu)).remainder(CLASSES);
        let normalisation = Normalisation { mean: vec![0.0; 2], std: vec![1.0; 2] };
        Case { network, split: Split { images, labels }, normalisation }
    }

    fn pass(timesteps: i64) -> Pass<'static> {
        Pass { measure: true, maps: true, ..Pass::new(timesteps) }
    }

    fn exits(&self, settings: Value) -> Exits {
        let searcher: Box<dyn TimestepSearcher> = serde_json::from_value(json!({ "early-exit": settings })).unwrap();
        let exit = searcher.early_exit().unwrap();
        let pass = Case::pass(TIMESTEPS);
        evaluate_exits(self.network.as_ref(), &self.split, &self.normalisation, pass, Device::Cpu, (exit, None))
            .unwrap()
    }

    fn at(&self, rule: &str, average: &str, threshold: f64) -> Exit {
        let settings = json!({
            "max": TIMESTEPS, "threshold": threshold, "rule": rule, "average": average, "thresholds": [threshold],
        });
        let mut exits = self.exits(settings);
        assert_eq!(exits.thresholds.len(), 1);
        exits.thresholds.remove(0)
    }

    /// Without early exit.
    fn whole(&self, timesteps: i64) -> Measured {
        let pass = Case::pass(timesteps);
        evaluate(self.network.as_ref(), &self.split, &self.normalisation, pass, Device::Cpu, None).unwrap()
    }

    fn rows(&self, exit: &Exit) -> Vec<LayerRow> {
        layer_costs::running_layers(self.network.as_ref(), &exit.measured.activity, &running(&exit.stopped))
    }
}

/// Equal to the bit: NaN too.
fn same_rows(found: &[LayerRow], expected: &[LayerRow], timesteps: usize) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let numbers = |row: &LayerRow| {
            operations(row)
                .into_iter()
                .chain(row.firing_rate.iter().copied().take(timesteps))
                .map(f64::to_bits)
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(found), numbers(expected), "{}", found.layer);
        assert!(found.firing_rate.iter().skip(timesteps).all(|rate| *rate == 0.0), "{}", found.layer);
    }
}

#[test]
fn the_ends_of_the_scale_are_networks_of_all_timesteps_and_of_one_to_the_bit() {
    let case = Case::new();
    for (rule, threshold, timesteps) in
        [("entropy", 0.0, TIMESTEPS), ("confidence", 1.0, TIMESTEPS), ("entropy", 1.5, 1), ("confidence", 0.0, 1)]
    {
        let (exit, whole) = (case.at(rule, "mean", threshold), case.whole(timesteps));
        let what = format!("{rule} {threshold}");
        assert_eq!(exit.measured.accuracy.to_bits(), whole.accuracy.to_bits(), "{what}");
        assert_eq!(exit.measured.loss.to_bits(), whole.loss.to_bits(), "{what}");
        assert_eq!(exit.mean_timesteps(), timesteps as f64, "{what}");
        let expected = layer_costs::layers(case.network.as_ref(), &whole.activity, timesteps);
        same_rows(&case.rows(&exit), &expected, timesteps as usize);
        assert!(expected.iter().any(|row| row.syn_ops_counted > 0.0), "{what}: nobody spikes");
    }
}

/// The logits of one image, `[T][K]`, in f64.
fn logits_of(case: &Case, image: i64) -> Vec<Vec<f64>> {
    let one = case.split.images.narrow(0, image, 1);
    let logits = tch::no_grad(|| case.network.forward(&one, &Pass::new(TIMESTEPS)).logits);
    (0..TIMESTEPS).map(|step| Vec::<f64>::try_from(logits.get(step).get(0).to_kind(Kind::Double)).unwrap()).collect()
}

/// What the rule compares with its threshold after each timestep of an image, in plain loops.
fn compared(logits: &[Vec<f64>], rule: &str, average: &str) -> Vec<f64> {
    let mut sum = vec![0.0; CLASSES as usize];
    let after = |(index, of_step): (usize, &Vec<f64>)| {
        sum.iter_mut().zip(of_step).for_each(|(sum, logit)| *sum += logit);
        let divisor = if average == "mean" { (index + 1) as f64 } else { 1.0 };
        let powers: Vec<f64> = sum.iter().map(|sum| (sum / divisor).exp()).collect();
        let total: f64 = powers.iter().sum();
        let probabilities = powers.iter().map(|power| power / total);
        match rule {
            "entropy" => probabilities.map(|p| -p * p.ln()).sum::<f64>() / (CLASSES as f64).ln(),
            _ => probabilities.fold(0.0, f64::max),
        }
    };
    logits.iter().enumerate().map(after).collect()
}

/// Halfway between two of the values in the middle: about half of the images are on each side.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2 - 1] + values[values.len() / 2]) / 2.0
}

#[test]
fn every_image_alone_gives_the_same_timesteps_answers_and_operations() {
    let case = Case::new();
    let all: Vec<Vec<Vec<f64>>> = (0..IMAGES).map(|image| logits_of(&case, image)).collect();
    let mut alone: BTreeMap<(i64, usize), Measured> = BTreeMap::new();
    for (rule, average) in [("entropy", "mean"), ("entropy", "sum"), ("confidence", "mean"), ("confidence", "sum")] {
        let compared: Vec<Vec<f64>> = all.iter().map(|logits| compared(logits, rule, average)).collect();
        let threshold = middle(compared.iter().map(|of_image| of_image[2]).collect());
        let what = format!("{rule} of the {average}, {threshold}");
        let sure = |value: &f64| if rule == "entropy" { *value < threshold } else { *value > threshold };
        let stop = |of_image: &Vec<f64>| of_image.iter().position(sure).map_or(TIMESTEPS as usize, |index| index + 1);
        let steps: Vec<usize> = compared.iter().map(stop).collect();
        let exit = case.at(rule, average, threshold);
        let expected: Vec<f64> = (1..=TIMESTEPS as usize)
            .map(|step| steps.iter().filter(|it| **it == step).count() as f64 / IMAGES as f64)
            .collect();
        assert_eq!(exit.stopped, expected, "{what}");
        assert!(expected.iter().filter(|part| **part > 0.0).count() >= 2, "{what}: all stop alike: {expected:?}");
        let mean = steps.iter().sum::<usize>() as f64 / IMAGES as f64;
        assert!((exit.mean_timesteps() - mean).abs() < 1e-12, "{what}");

        // Each image as a split of its own, for as many timesteps as it runs.
        let (mut right, mut loss) = (0.0, 0.0);
        let mut sums: Vec<[f64; 6]> = Vec::new();
        for (image, step) in (0..).zip(&steps) {
            // The rule does not matter then.
            let alone = alone.entry((image, *step)).or_insert_with(|| {
                let [images, labels] = [&case.split.images, &case.split.labels].map(|all| all.narrow(0, image, 1));
                let (split, pass) = (Split { images, labels }, Case::pass(*step as i64));
                evaluate(case.network.as_ref(), &split, &case.normalisation, pass, Device::Cpu, None).unwrap()
            });
            right += alone.accuracy;
            loss += alone.loss;
            let rows = layer_costs::layers(case.network.as_ref(), &alone.activity, *step as i64);
            sums.resize(rows.len(), [0.0; 6]);
            for (sum, row) in sums.iter_mut().zip(&rows) {
                sum.iter_mut().zip(operations(row)).for_each(|(sum, number)| *sum += number);
            }
        }
        let count = IMAGES as f64;
        assert!((exit.measured.accuracy - right / count).abs() < 1e-12, "{what}");
        assert!((exit.measured.loss - loss / count).abs() < 1e-6, "{what}");
        for (row, sum) in case.rows(&exit).iter().zip(&sums) {
            for (found, sum) in operations(row).into_iter().zip(sum) {
                let expected = sum / count;
                let error = (found - expected).abs();
                assert!(error <= 1e-6 * expected.abs(), "{what}, {}: {found}, alone {expected}", row.layer);
            }
        }
    }
}

fn operations(row: &LayerRow) -> [f64; 6] {
    [
        row.syn_ops,
        row.bit_syn_ops,
        row.multiplications,
        row.syn_ops_counted,
        row.bit_syn_ops_counted,
        row.multiplications_counted,
    ]
}

#[test]
fn a_sweep_has_the_result_and_every_number_of_timesteps_beside_it() {
    let case = Case::new();
    let exits = case.exits(json!({ "max": TIMESTEPS, "threshold": 0.9, "thresholds": [0.0, 0.5, 1.0, 1.5] }));
    let thresholds: Vec<Stopping> = exits.thresholds.iter().map(|exit| exit.stopping).collect();
    assert_eq!(thresholds, [0.0, 0.5, 0.9, 1.0, 1.5].map(Stopping::Threshold));
    // The larger the entropy that is enough, the earlier.
    let means: Vec<f64> = exits.thresholds.iter().map(Exit::mean_timesteps).collect();
    assert!(means.windows(2).all(|pair| pair[0] >= pair[1]) && means[0] > means[4], "{means:?}");
    for (timesteps, exit) in (1..).zip(&exits.fixed) {
        let whole = case.whole(timesteps);
        assert_eq!(exit.stopping, Stopping::Timesteps(timesteps));
        assert_eq!(exit.measured.accuracy, whole.accuracy);
        assert_eq!(exit.measured.loss, whole.loss);
    }
    // AET, by the plain definition.
    let labels = Vec::<i64>::try_from(&case.split.labels).unwrap();
    let first_right = |(image, label): (i64, &i64)| {
        let mut sum = vec![0.0; CLASSES as usize];
        let logits = logits_of(&case, image);
        let right = |of_step: &Vec<f64>| {
            sum.iter_mut().zip(of_step).for_each(|(sum, logit)| *sum += logit);
            (0..CLASSES).all(|class| class == *label || sum[class as usize] < sum[*label as usize])
        };
        logits.iter().position(right).map_or(TIMESTEPS as f64, |index| (index + 1) as f64)
    };
    let earliest = (0..).zip(&labels).map(first_right).sum::<f64>() / IMAGES as f64;
    assert!((exits.earliest - earliest).abs() < 1e-12, "{} {earliest}", exits.earliest);
}
