//! The formulas that transforms give to kernels, against the transforms themselves.

use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::{Compressor, Formula, LayerSpec, Level, Place, WeightTransform};
use litesnn_plugins::compressor::gaussian_quantize::GaussianQuantize;
use litesnn_plugins::compressor::magnitude_prune::MagnitudePrune;
use litesnn_plugins::compressor::score_prune::{Rates, ScorePrune};
use tch::{Device, Kind, Tensor};

/// A transform of a random weight in a search, and what it trains.
fn attached(compressor: &dyn Compressor) -> (Tensor, Box<dyn WeightTransform>, Parameters) {
    tch::manual_seed(4);
    let weight = Stream::numbered(1).normal(&[6, 5, 3, 3]);
    let mut parameters = Parameters::default();
    let mut build = Build::new(&mut parameters, 0, Device::Cpu);
    let weight = build.parameter("weight", Role::Weight, |_| weight);
    let layer = LayerSpec { name: "a".into(), place: Place::Cell(0), population: None };
    let transform = compressor.attach(&layer, &weight, None, &mut build).unwrap();
    (weight, transform, parameters)
}

/// Q(w) of one level, number by number in f64.
fn level(weight: &[f64], level: Level) -> Vec<f64> {
    let (count, mean) = (weight.len() as f64, weight.iter().sum::<f64>() / weight.len() as f64);
    let sigma = (weight.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let step = level.unit * sigma;
    let of = |w: &f64| ((w / step + 0.5).round_ties_even() - 0.5).clamp(-level.limit, level.limit) * step;
    weight.iter().map(of).collect()
}

#[test]
fn a_mixture_of_levels_is_what_its_formula_says() {
    for bits in [vec![4], vec![1, 2, 4]] {
        let (weight, transform, parameters) = attached(&GaussianQuantize { bits, outside_bits: 4 });
        for parameter in parameters.trainable().iter().filter(|parameter| parameter.role == Role::BitLogit) {
            let logits = Tensor::from_slice(&[0.5f32, -1.0, 0.25]);
            tch::no_grad(|| parameter.tensor.shallow_clone().copy_(&logits));
        }
        let Some(Formula::Levels { logits, levels }) = transform.formula() else { panic!("no levels") };
        let probabilities = logits.map_or(vec![1.0], |logits| {
            Vec::<f64>::try_from(logits.detach().to_kind(Kind::Double).softmax(0, Kind::Double)).unwrap()
        });
        let numbers = Vec::<f64>::try_from(weight.detach().to_kind(Kind::Double).flatten(0, -1)).unwrap();
        let mut want = vec![0.0; numbers.len()];
        for (form, probability) in levels.into_iter().zip(probabilities) {
            let values = level(&numbers, form);
            want.iter_mut().zip(values).for_each(|(want, value)| *want += probability * value);
        }
        let got = transform.transform(&weight).detach().to_kind(Kind::Double).flatten(0, -1);
        assert!((got - Tensor::from_slice(&want)).abs().max().double_value(&[]) < 1e-6);
    }
}

#[test]
fn a_mask_of_the_largest_is_what_its_formula_says() {
    let pruners: [&dyn Compressor; 2] =
        [&ScorePrune { rate: 0.8, rates: Rates::Uniform }, &MagnitudePrune { rate: 0.8 }];
    for (pruner, trained) in pruners.into_iter().zip([true, false]) {
        let (weight, transform, _parameters) = attached(pruner);
        let Some(Formula::Largest { scores, kept, learned }) = transform.formula() else { panic!("no scores") };
        assert_eq!((kept, learned), (54, trained));
        let flat = scores.detach().flatten(0, -1);
        let (_, order) = flat.abs().sort_stable(true, 0, true);
        let want = flat.zeros_like().index_fill(0, &order.narrow(0, 0, kept), 1.0).view_as(&weight);
        let mask = transform.mask(&weight).unwrap();
        assert!(mask.equal(&want));
        if learned {
            let upstream = weight.detach() + 1.0;
            (mask * &upstream).sum(Kind::Float).backward();
            assert!(scores.grad().equal(&(upstream * scores.detach().sign())));
        }
    }
}
