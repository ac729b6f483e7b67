//! LSQ: uniform levels, zero among them, whose step is trained with the weights.
//!
//! Source: Esser, McKinstry, Bablani, Appuswamy and Modha, Learned Step Size Quantization
//! (ICLR 2020).
//!
//! ```text
//! W'      = s · round(v),  v = clip(W / s, -Qn, Qp)            Qn = 2^(b-1), Qp = 2^(b-1) - 1: 2^b levels
//! dW'/dW  = 1 where -Qn < W / s < Qp, else 0
//! dW'/ds  = round(v) - W / s where -Qn < W / s < Qp, else -Qn or Qp
//! dL/ds   = g · sum(dL/dW' · dW'/ds),  g = 1 / sqrt(n · Qp)     n weights in the layer
//! s       = 2 · mean|W| / sqrt(Qp) at first
//! ```
//!
//! Shapes: W is `[out, in, kh, kw]` or `[out, in]`, and s a scalar of each layer. With g the step
//! moves, relative to its size, about as fast as the weights do. Ties are rounded to even.
//!
//! s has the role of a weight: it moves wherever weights do, by their optimizer, which in a search is
//! the first pass. Weight decay acts on it, because the paper names no exception. Nothing keeps s
//! above 0: below it the levels are mirrored, and an s of 0 is taken for the least positive number.
//!
//! The paper begins with trained weights of full precision. `sequential` does so, too: at its step Q
//! s is made anew from the weights trained so far. In `joint`, and where a network is retrained, both
//! begin at the random weights of the first step. The paper quantises activations the same way; here
//! they are spikes. There are no bits for a search to choose, and there is no formula for the kernels
//! of a GPU. The 32 bits of a layer's s are not counted.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{Compressor, Decisions, Factor, LayerSpec, Technique, WeightTransform};
use litesnn_framework::spiking::custom_function;
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

const NAME: &str = "learned-step-quantize";

/// Settings of `learned-step-quantize`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnedStepQuantize {
    /// Bits of a weight (paper: 2, 3, 4, 8).
    #[schemars(range(min = 2, max = 8), extend("x-unit" = "bits"))]
    pub bits: u32,
    /// Bit-width of the stem and the classifier (paper: 8).
    #[serde(default = "eight")]
    #[schemars(range(min = 2, max = 8), extend("x-unit" = "bits"))]
    pub outside_bits: u32,
}

fn eight() -> u32 {
    8
}

register! {
    kind: Compressor,
    name: "learned-step-quantize",
    settings: LearnedStepQuantize,
    version: 1,
    summary: "uniform levels whose step is trained with the weights",
    paper: "Esser et al., Learned Step Size Quantization, ICLR 2020",
    examples: [
        "[[compressor]]\nlearned-step-quantize = { bits = 2 }",
        "[[compressor]]\nlearned-step-quantize = { bits = 4, outside_bits = 4 }",
    ],
    file: "learned_step_quantize.rs",
}

#[typetag::serde(name = "learned-step-quantize")]
impl Compressor for LearnedStepQuantize {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    /// Of the weights, and of the step, which has their role.
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
        let levels = Levels::of(if layer.place.is_body() { self.bits } else { self.outside_bits });
        let scalar = Tensor::from(0f32);
        let step = build.at(NAME).parameter_like("step", Role::Weight, &scalar, || levels.first_step(weight));
        Ok(Box::new(LearnedStep { levels, step }))
    }
}

/// The levels of one bit-width, in steps.
#[derive(Clone, Copy)]
struct Levels {
    bits: u32,
    /// -Qn
    least: f64,
    /// Qp
    most: f64,
}

impl Levels {
    fn of(bits: u32) -> Levels {
        let half = f64::from(bits - 1).exp2();
        Levels { bits, least: -half, most: half - 1.0 }
    }

    /// s at first.
    fn first_step(self, weight: &Tensor) -> Tensor {
        weight.detach().abs().mean(Kind::Float) * (2.0 / self.most.sqrt())
    }

    /// W / s, and round(v).
    fn ratio_and_level(self, weight: &Tensor, step: &Tensor) -> (Tensor, Tensor) {
        let ratio = weight / step;
        let level = ratio.clamp(self.least, self.most).round();
        (ratio, level)
    }

    /// W' as one autograd node.
    fn quantize(self, weight: &Tensor, step: &Tensor) -> Tensor {
        let forward = || {
            let used = nonzero(step);
            (vec![self.ratio_and_level(weight, &used).1 * &used], vec![weight.detach(), used])
        };
        let backward = move |gradients: &[Tensor], saved: &[Tensor]| {
            let (gradient, weight) = (&gradients[0], &saved[0]);
            let (ratio, level) = self.ratio_and_level(weight, &saved[1]);
            let inside = ratio.gt(self.least).logical_and(&ratio.lt(self.most));
            // Where W / s is infinite, no product with 0 makes it finite.
            let by_step = level - ratio.where_self(&inside, &ratio.zeros_like());
            let scale = 1.0 / (weight.numel() as f64 * self.most).sqrt();
            vec![Some(gradient * inside), Some((gradient * by_step).sum(Kind::Float) * scale)]
        };
        custom_function(&[weight, step], forward, backward).pop().expect("one output was given")
    }
}

/// A step that weights can be divided by.
fn nonzero(step: &Tensor) -> Tensor {
    step.detach().masked_fill(&step.eq(0.0), f64::from(f32::MIN_POSITIVE))
}

struct LearnedStep {
    levels: Levels,
    /// s, a scalar.
    step: Tensor,
}

impl WeightTransform for LearnedStep {
    fn transform(&self, weight: &Tensor) -> Tensor {
        self.levels.quantize(weight, &self.step)
    }

    fn step(&self, _weight: &Tensor) -> Option<Tensor> {
        Some(nonzero(&self.step))
    }

    fn bits(&self) -> Option<Factor> {
        Some(Factor::Constant(f64::from(self.levels.bits)))
    }

    /// Weights that were trained without it are what the step starts from.
    fn switch_on(&self, weight: &Tensor) {
        tch::no_grad(|| self.step.shallow_clone().copy_(&self.levels.first_step(weight)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::values;
    use super::*;
    use litesnn_framework::ground::{Parameters, Stream};
    use litesnn_framework::network::Place;
    use tch::Device;

    /// What is attached to `weight` in a place, and its step.
    fn attached(bits: u32, place: Place, weight: &Tensor) -> (Box<dyn WeightTransform>, Tensor) {
        let layer = LayerSpec { name: "a".into(), place, population: None };
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let plugin = LearnedStepQuantize { bits, outside_bits: 8 };
        let transform = plugin.attach(&layer, weight, None, &mut build).unwrap();
        (transform, parameters.of(&[Role::Weight]).next().unwrap().tensor.shallow_clone())
    }

    fn set(step: &Tensor, value: f64) {
        tch::no_grad(|| {
            let _ = step.shallow_clone().fill_(value);
        });
    }

    fn close(found: &Tensor, wanted: &[f64]) {
        assert_eq!(found.numel(), wanted.len());
        for (found, wanted) in values(found).into_iter().zip(wanted) {
            assert!((f64::from(found) - wanted).abs() < 1e-6, "{found} {wanted}");
        }
    }

    #[test]
    fn three_bits_have_four_levels_below_zero_and_three_above() {
        let weight = Tensor::from_slice(&[0.3f32, -0.6, 1.2, -1.4]).view([2, 2]).set_requires_grad(true);
        let (transform, step) = attached(3, Place::Cell(0), &weight);
        set(&step, 0.25);
        // W / s = 1.2, -2.4, 4.8, -5.6: the last two are clipped.
        let value = transform.transform(&weight);
        close(&value, &[0.25, -0.5, 0.75, -1.0]);
        close(&(&value / transform.step(&weight).unwrap()), &[1.0, -2.0, 3.0, -4.0]);
        (value * Tensor::from_slice(&[1f32, 2., 3., 4.]).view([2, 2])).sum(Kind::Float).backward();
        close(&weight.grad(), &[1.0, 2.0, 0.0, 0.0]);
        let sum = 1.0 * (1.0 - 1.2) + 2.0 * (-2.0 + 2.4) + 3.0 * 3.0 + 4.0 * -4.0;
        close(&step.grad(), &[sum / (4.0f64 * 3.0).sqrt()]);
    }

    #[test]
    fn the_step_starts_from_the_mean_magnitude_of_the_weights() {
        // mean|W| = 0.5; Qp is 1 at 2 bits, 7 at 4 bits and 127 at the 8 bits of a classifier.
        let weight = Tensor::from_slice(&[0.3f32, -0.6, 0.8, -0.3]).view([2, 2]);
        for (bits, place, most) in [
            (2, Place::Cell(0), 1.0f64),
            (4, Place::Cell(0), 7.0),
            (2, Place::Classifier, 127.0),
            (2, Place::Stem, 127.0),
        ] {
            let (transform, step) = attached(bits, place, &weight);
            close(&step, &[1.0 / most.sqrt()]);
            assert_eq!(transform.bits().unwrap().number(), (2.0 * most + 2.0).log2());
            // As step Q of `sequential` does, after weights were trained without it.
            transform.switch_on(&(&weight * 3.0));
            close(&step, &[3.0 / most.sqrt()]);
        }
    }

    /// As in the appendix of the paper: the value of one thing with the gradient of another, by what
    /// is a constant for autograd.
    fn operation_by_operation(weight: &Tensor, step: &Tensor, levels: Levels) -> Tensor {
        let valued_as = |value: Tensor, gradient: Tensor| (value - &gradient).detach() + gradient;
        let scale = 1.0 / (weight.numel() as f64 * levels.most).sqrt();
        let step = valued_as(step.shallow_clone(), step * scale);
        let clipped = (weight / &step).clamp(levels.least, levels.most);
        valued_as(clipped.round(), clipped) * step
    }

    #[test]
    fn value_and_gradients_are_those_of_the_operations_of_the_paper() {
        for bits in [2, 3, 4, 8] {
            let mut stream = Stream::open(0, "lsq", u64::from(bits));
            let weight = stream.normal(&[6, 5, 3, 3]).set_requires_grad(true);
            let upstream = stream.normal(&[6, 5, 3, 3]);
            let (transform, step) = attached(bits, Place::Cell(0), &weight);
            let value = transform.transform(&weight);
            (&value * &upstream).sum(Kind::Float).backward();
            // In f64: the two sums that autograd makes of the step's gradient cancel each other.
            let [doubled, doubled_step] =
                [&weight, &step].map(|tensor| tensor.detach().to_kind(Kind::Double).set_requires_grad(true));
            let wanted = operation_by_operation(&doubled, &doubled_step, Levels::of(bits));
            (&wanted * &upstream).sum(Kind::Double).backward();
            for (found, wanted) in
                [(value, wanted), (weight.grad(), doubled.grad()), (step.grad(), doubled_step.grad())]
            {
                let largest = wanted.abs().max().double_value(&[]);
                let apart = (found - &wanted).abs().max().double_value(&[]);
                assert!(largest > 0.0 && apart < 1e-4 * largest, "{bits} bits: {apart} of {largest}");
            }
        }
    }

    /// Levels that are too fine clip all weights, and grow to where they clip fewer.
    #[test]
    fn training_finds_a_step_that_fits_the_weights() {
        let weight = Stream::open(0, "lsq", 0).normal(&[32, 32]).set_requires_grad(true);
        let (transform, mut step) = attached(4, Place::Cell(0), &weight);
        let apart = || (transform.transform(&weight) - weight.detach()).square().mean(Kind::Float);
        set(&step, 0.01);
        let before = apart().double_value(&[]);
        for _ in 0..200 {
            step.zero_grad();
            apart().backward();
            tch::no_grad(|| {
                let gradient = step.grad();
                let _ = step.g_sub_(&(gradient * 3.0));
            });
        }
        // A uniform quantiser of 16 levels has an error of 0.0115 on N(0, 1) at its best step, 0.3352.
        let (after, found) = (apart().double_value(&[]), step.double_value(&[]));
        assert!(before > 0.8 && after < 0.0135, "an error of {after} after {before}");
        assert!((0.27..0.40).contains(&found), "a step of {found}");
    }

    #[test]
    fn weights_of_zero_have_a_finite_value_and_gradient() {
        let weight = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (transform, step) = attached(2, Place::Cell(0), &weight);
        assert_eq!(step.double_value(&[]), 0.0);
        let value = transform.transform(&weight);
        assert_eq!(values(&value), [0.0; 6]);
        value.sum(Kind::Float).backward();
        assert_eq!(values(&weight.grad()), [1.0; 6]);
        assert_eq!(values(&step.grad()), [0.0]);
    }

    #[test]
    fn weights_that_a_step_of_zero_makes_infinite_have_a_finite_gradient() {
        let weight = Tensor::from_slice(&[1f32, -1.0]).view([1, 2]).set_requires_grad(true);
        let (transform, step) = attached(2, Place::Cell(0), &weight);
        set(&step, 0.0);
        (transform.transform(&weight) * Tensor::from_slice(&[1f32, -1.0])).sum(Kind::Float).backward();
        assert_eq!(values(&weight.grad()), [0.0; 2]);
        // (Qp + Qn) / sqrt(2 · Qp)
        close(&step.grad(), &[3.0 / 2f64.sqrt()]);
    }
}
