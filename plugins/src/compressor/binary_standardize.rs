//! Q-SNN's weights: one bit, of weights that are standardised first so that both signs are alike
//! often, with a gradient that sharpens with training.
//!
//! Source: Wei et al., Q-SNNs: Quantized Spiking Neural Networks (ACM MM 2024); the gradient is that
//! of Qin et al., IR-Net (CVPR 2020).
//!
//! Of each output channel of the weight `[out, in, kh, kw]` or `[out, in]`:
//!
//! ```text
//! v  = (W - mean) / std                                        std with n - 1
//! W' = sign(v) · 2^round(log2 mean|v|)                         the power of two is a constant for gradients
//! dsign(v)/dv = k · t · (1 - tanh²(t · v))                     k = max(1 / t, 1)
//! t  = from · (to / from)^(e / E)                              after e of the E epochs of a stage
//! ```
//!
//! The gradient goes on through mean and std. With `from` = 0.1 and `to` = 10, t is 10^(-1 + 2 e/E).
//! Stem and classifier have a uniform quantiser of `outside_bits`:
//!
//! ```text
//! W' = d · round(W / d), d = max|W| / (2^(b-1) - 1)            dW'/dW = 1
//! ```
//!
//! The authors' program has max W in place of max|W| there, by which levels can be more than 2^b,
//! and leaves its 1x1 shortcuts at k = 10, t = 0.2. Membranes of few bits and the loss on firing
//! rates, which Q-SNN has beside its weights, are no part of a compressor. A later stage of the same
//! network keeps t; a network that is trained anew begins at `from`. Channels have scales of their
//! own, so there is no step for bf16, and no formula for the kernels of a GPU. A trained network
//! leaves with the signs as levels, and with the power of two of each channel as their step.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decisions, Factor, LayerSpec, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::spiking::{custom_function, straight_through};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::signs::signs;

const NAME: &str = "binary-standardize";

/// Settings of `binary-standardize`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BinaryStandardize {
    /// t at the start (paper: 0.1).
    #[serde(default = "start")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub from: f64,
    /// t at the end (paper: 10).
    #[serde(default = "end")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub to: f64,
    /// Bit-width of the stem and the classifier (paper: 8).
    #[serde(default = "eight")]
    #[schemars(range(min = 2, max = 8), extend("x-unit" = "bits"))]
    pub outside_bits: u32,
}

fn start() -> f64 {
    0.1
}

fn end() -> f64 {
    10.0
}

fn eight() -> u32 {
    8
}

register! {
    kind: Compressor,
    name: "binary-standardize",
    settings: BinaryStandardize,
    version: 3,
    summary: "signs of standardised weights, with a gradient that sharpens",
    paper: "Wei et al., Q-SNNs: Quantized Spiking Neural Networks, ACM MM 2024",
    examples: ["[[compressor]]\nbinary-standardize = {}"],
    file: "binary_standardize.rs",
}

#[typetag::serde(name = "binary-standardize")]
impl Compressor for BinaryStandardize {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn straight_through(&self) -> &'static [Role] {
        &[Role::Weight]
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        weight: &Tensor,
        _decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        if !layer.place.is_body() {
            return Ok(Box::new(Even { bits: self.outside_bits }));
        }
        if weight.size()[1..].iter().product::<i64>() < 2 {
            let message =
                format!("an output channel of layer `{}` has one weight, which has no standard deviation", layer.name);
            return Err(Error::Plugin { kind: "compressor", name: NAME.into(), message });
        }
        let sharpness = build.at(NAME).buffer("sharpness", Tensor::from(self.from as f32));
        Ok(Box::new(Standardised { settings: self.clone(), sharpness }))
    }
}

/// The weight of a cell or a block.
struct Standardised {
    settings: BinaryStandardize,
    /// t, a scalar.
    sharpness: Tensor,
}

impl Standardised {
    /// v, `[out, rest]`, and the power of two of each channel, `[out, 1]`, without gradient.
    fn standardised(weight: &Tensor) -> (Tensor, Tensor) {
        // Less than a weight's rounding: a channel of equal weights has a gradient.
        const LEAST: f64 = 1e-12;
        let rows = weight.flatten(1, -1);
        let centred = &rows - rows.mean_dim(1, true, Kind::Float);
        let count = rows.size()[1] as f64;
        let variance = centred.square().sum_dim_intlist(1, true, Kind::Float) / (count - 1.0);
        let v = centred / (variance + LEAST).sqrt();
        let scale = v.detach().abs().mean_dim(1, true, Kind::Float).clamp_min(LEAST).log2().round().exp2();
        (v, scale)
    }
}

impl WeightTransform for Standardised {
    fn transform(&self, weight: &Tensor) -> Tensor {
        let (v, scale) = Standardised::standardised(weight);
        (sharpened_sign(&v, &self.sharpness) * scale).view_as(weight)
    }

    fn packed_step(&self, weight: &Tensor) -> Option<Tensor> {
        let (_, scale) = Standardised::standardised(weight);
        Some(scale.flatten(0, -1))
    }

    fn bits(&self) -> Option<Factor> {
        Some(Factor::Constant(1.0))
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        Some(self)
    }
}

impl Schedule for Standardised {
    fn advance(&self, progress: Progress, _gradient: Option<&Tensor>) -> Option<Tensor> {
        let BinaryStandardize { from, to, .. } = self.settings;
        let _ = self.sharpness.shallow_clone().fill_(from * (to / from).powf(progress.fraction_of_epochs()));
        None
    }
}

/// sign(v) with the gradient k · t · (1 - tanh²(t · v)).
fn sharpened_sign(v: &Tensor, t: &Tensor) -> Tensor {
    let forward = || (vec![signs(v)], vec![v.detach(), t.copy()]);
    let backward = |gradients: &[Tensor], saved: &[Tensor]| {
        let (v, t) = (&saved[0], &saved[1]);
        // k · t = max(1, t)
        let slope = ((v * t).tanh().square() * -1.0 + 1.0) * t.clamp_min(1.0);
        vec![Some(&gradients[0] * slope)]
    };
    custom_function(&[v], forward, backward).pop().expect("one output was given")
}

/// The weight of the stem or of the classifier.
struct Even {
    bits: u32,
}

impl Even {
    fn distance(&self, weight: &Tensor) -> Tensor {
        let levels = f64::from(self.bits - 1).exp2() - 1.0;
        weight.detach().abs().max().clamp_min(f64::from(f32::MIN_POSITIVE)) / levels
    }
}

impl WeightTransform for Even {
    fn transform(&self, weight: &Tensor) -> Tensor {
        straight_through(weight, || {
            let distance = self.distance(weight);
            (weight / &distance).round() * distance
        })
    }

    fn step(&self, weight: &Tensor) -> Option<Tensor> {
        Some(self.distance(weight))
    }

    fn bits(&self) -> Option<Factor> {
        Some(Factor::Constant(f64::from(self.bits)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::ground::{Parameters, Stream};
    use litesnn_framework::network::{CompressedWeight, Place, Techniques};

    fn layer(weight: Tensor) -> CompressedWeight {
        compressed(NAME, &BinaryStandardize { from: 0.1, to: 10.0, outside_bits: 8 }, weight)
    }

    #[test]
    fn gaussian_weights_of_any_mean_and_scale_become_plus_and_minus_one() {
        // mean|v| of a Gaussian is 0.798, which is nearest to 2^0.
        let weight = layer(Stream::open(0, "weight", 0).normal(&[3, 400]) * 0.01 + 0.5);
        let value = weight.value(Techniques::ALL);
        assert!(values(&value).iter().all(|value| value.abs() == 1.0));
        let mean = value.mean(Kind::Float).double_value(&[]);
        assert!(mean.abs() < 0.1, "{mean}");
        // One of nine is large: v = (8, -1, ..., -1) / sqrt(9), and the mean |v| is 16/27, nearest to 2^-1... by log2.
        let peak = layer(Tensor::from_slice(&[9f32, 0., 0., 0., 0., 0., 0., 0., 0.]).view([1, 9]));
        let half = [0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5];
        assert_eq!(values(&peak.value(Techniques::ALL)), half);
        assert_eq!(values(&peak.packed_step(Techniques::ALL).unwrap()), [0.5]);
        assert_eq!(values(&weight.packed_step(Techniques::ALL).unwrap()), [1.0; 3]);
    }

    #[test]
    fn the_gradient_sharpens_from_epoch_to_epoch() {
        let v = || Tensor::from_slice(&[0.5f32, -2.0]).set_requires_grad(true);
        let slope = |t: f64| {
            let v = v();
            sharpened_sign(&v, &Tensor::from(t as f32)).sum(Kind::Float).backward();
            values(&v.grad())
        };
        for t in [0.1f64, 1.0, 10.0] {
            for (found, v) in slope(t).into_iter().zip([0.5, -2.0]) {
                let wanted = (1.0 / t).max(1.0) * t * (1.0 - (t * v).tanh().powi(2));
                assert!((f64::from(found) - wanted).abs() < 1e-5, "{t} {found} {wanted}");
            }
        }
        let transform = Standardised {
            settings: BinaryStandardize { from: 0.1, to: 10.0, outside_bits: 8 },
            sharpness: Tensor::from(0.1f32),
        };
        for (epoch, wanted) in [(0, 0.316_228), (1, 1.0), (2, 3.162_278), (3, 10.0)] {
            transform.advance(Progress::after(5, 5, epoch, 4), None);
            assert!((transform.sharpness.double_value(&[]) - wanted).abs() < 1e-5);
        }
        transform.advance(Progress::after(4, 5, 2, 4), None);
        assert!((transform.sharpness.double_value(&[]) - 1.0).abs() < 1e-6, "it changes between epochs alone");
    }

    /// Op by op: the same composition with autograd through mean and deviation.
    #[test]
    fn the_gradient_goes_on_through_mean_and_deviation() {
        let weights = Stream::open(0, "weight", 0).normal(&[2, 6]);
        let upstream = Stream::open(1, "upstream", 0).normal(&[2, 6]);
        let weight = layer(weights.copy());
        (weight.value(Techniques::ALL) * &upstream).sum(Kind::Float).backward();
        let w = weights.set_requires_grad(true);
        let v = (&w - w.mean_dim(1, true, Kind::Float)) / w.std_dim(1, true, true);
        // A function with the slope of the sign at t = 0.1: tanh(t v) / t.
        let scale = v.detach().abs().mean_dim(1, true, Kind::Float).log2().round().exp2();
        ((&v * 0.1).tanh() / 0.1 * scale * upstream).sum(Kind::Float).backward();
        let apart = (w.grad() - weight.raw().grad()).abs().max().double_value(&[]);
        assert!(apart < 1e-5, "{apart}");
    }

    /// A layer of a network without cells is as one of a cell.
    #[test]
    fn the_body_has_one_bit_and_its_ends_have_eight() {
        for (place, bits) in
            [(Place::Cell(1), 1.0), (Place::Block(1), 1.0), (Place::Stem, 8.0), (Place::Classifier, 8.0)]
        {
            let (mut parameters, spec) =
                (Parameters::default(), LayerSpec { name: "a".into(), place, population: None });
            let weight = Stream::open(0, "weight", 0).normal(&[2, 6]);
            let mut build = Build::new(&mut parameters, 0, weight.device());
            let plugin: BinaryStandardize = serde_json::from_str("{}").unwrap();
            let transform = plugin.attach(&spec, &weight, None, &mut build).unwrap();
            assert_eq!(transform.bits().unwrap().number(), bits, "{place:?}");
        }
    }

    #[test]
    fn eight_bits_at_stem_and_classifier_are_even_steps_of_the_largest_weight() {
        let even = Even { bits: 3 };
        let weight = Tensor::from_slice(&[3f32, -1.4, 0.6, -2.6]).view([1, 4]);
        assert_eq!(values(&even.transform(&weight)), [3., -1., 1., -3.]);
        assert_eq!(even.step(&weight).unwrap().double_value(&[]), 1.0);
    }
}
