//! ReScaW: uniform quantisation over a range that is rescaled to the weights, of few bits, without a
//! zero level.
//!
//! Source: Wei et al., QP-SNN: Quantized and Pruned Spiking Neural Networks
//! (ICLR 2025).
//!
//! With n = (2^b - 1) / 2 and gamma the scale, a constant for gradients:
//!
//! ```text
//! Q_b(w) = gamma · (round((clip(w / gamma, -1, 1) + 1) · n) / n - 1)        2^b levels, gamma · (2k - 2n) / 2n
//! W'     = sum_b softmax(beta)_b · Q_b(W)                                    beta is shared by the layers of a cell
//! ```
//!
//! At 2 bits the levels are gamma times -1, -1/3, 1/3 and 1. gamma is the mean |w|, the largest |w|,
//! or the larger magnitude of the 1st and the 99th percentile (linear between two values); of the
//! layer, as the paper says, or of each output channel, as the authors' program has it.
//! Straight-through: dW'/dW = 1 everywhere, also where w is clipped. The authors' program has
//! dW'/dW = 1 / gamma (`gradient = "ratio"`). Shapes are kept.
//!
//! Stem and classifier stay in 32 bits, unless `outside_bits` says otherwise. The authors train at
//! one bit-width; several are a search over them by cell, as in `gaussian-quantize`. A weight of
//! gamma or more has the same value at every bit-width, so that a search with the largest |w| for
//! gamma sees more of the weights. Values of one
//! layer have a step of gamma / (2^b - 1), which bf16 holds; with a scale for each channel there is
//! no common step, and no bf16, and a trained network leaves with a step of each channel. There is no formula for the kernels of a GPU.

use litesnn_framework::ground::{Build, Role, counted};
use litesnn_framework::network::{
    Compressor, Decision, Decisions, FULL_PRECISION, Factor, LayerSpec, OpenBits, Technique, WeightTransform,
};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::bits::{BitChoice, candidates};
use super::mixture::mixture;

const NAME: &str = "rescale-quantize";
const WIDTHS: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const OUTSIDE: [u32; 9] = [1, 2, 3, 4, 5, 6, 7, 8, FULL];
const FULL: u32 = FULL_PRECISION as u32;

/// Settings of `rescale-quantize`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RescaleQuantize {
    /// Candidate bit-widths of the cells' weights, ascending; one candidate is uniform quantisation
    /// (paper: 8, 4 or 2).
    #[serde(deserialize_with = "candidates")]
    #[schemars(length(min = 1), extend("items" = { "type": "integer", "enum": WIDTHS }, "x-unit" = "bits"))]
    pub bits: Vec<u32>,
    /// Bit-width of the stem and the classifier in the final network; 32 leaves them as they are
    /// (paper: 32).
    #[serde(default = "full")]
    #[schemars(extend("enum" = OUTSIDE, "x-unit" = "bits"))]
    pub outside_bits: u32,
    /// What gamma is.
    #[serde(default)]
    pub scale: Scale,
    /// Which weights share a gamma.
    #[serde(default)]
    pub per: Per,
    /// What the gradient passes through.
    #[serde(default)]
    pub gradient: Through,
}

fn full() -> u32 {
    FULL
}

/// What gamma is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// The mean |w|.
    #[default]
    Mean,
    /// The largest |w|.
    Max,
    /// The larger magnitude of the 1st and the 99th percentile of w.
    Percentile,
}

/// Which weights share a gamma.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Those of a layer.
    #[default]
    Layer,
    /// Those of an output channel.
    Channel,
}

/// What the gradient passes through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Through {
    /// The weight: dW'/dW = 1.
    #[default]
    Weight,
    /// The ratio W / gamma: dW'/dW = 1 / gamma.
    Ratio,
}

register! {
    kind: Compressor,
    name: "rescale-quantize",
    settings: RescaleQuantize,
    version: 2,
    summary: "uniform levels over a range that is rescaled to the weights",
    paper: "Wei et al., QP-SNN: Quantized and Pruned Spiking Neural Networks, ICLR 2025",
    examples: [
        "[[compressor]]\nrescale-quantize = { bits = [2] }",
        "[[compressor]]\nrescale-quantize = { bits = [2, 4, 8], outside_bits = 8, scale = \"max\" }",
        "[[compressor]]\nrescale-quantize = { bits = [4], per = \"channel\", gradient = \"ratio\" }",
    ],
    file: "rescale_quantize.rs",
}

#[typetag::serde(name = "rescale-quantize")]
impl Compressor for RescaleQuantize {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn straight_through(&self) -> &'static [Role] {
        &[Role::Weight]
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        _weight: &Tensor,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let choice = BitChoice::attach(NAME, layer, (&self.bits, self.outside_bits), decided, build)?;
        Ok(Box::new(Rescaled { range: Range { scale: self.scale, per: self.per }, gradient: self.gradient, choice }))
    }
}

/// How gamma is found.
#[derive(Clone, Copy)]
struct Range {
    scale: Scale,
    per: Per,
}

impl Range {
    /// gamma, `[out or 1, 1, ...]`, more than zero.
    fn gamma(self, weight: &Tensor) -> Tensor {
        let rows = match self.per {
            Per::Layer => weight.detach().reshape([1, -1]),
            Per::Channel => weight.detach().flatten(1, -1),
        };
        let gamma = match self.scale {
            Scale::Mean => rows.abs().mean_dim(1, false, Kind::Float),
            Scale::Max => rows.abs().amax(1, false),
            Scale::Percentile => {
                let (sorted, _) = rows.sort(1, false);
                percentile(&sorted, 0.01).abs().maximum(&percentile(&sorted, 0.99).abs())
            }
        };
        let shape: Vec<i64> = std::iter::once(-1).chain(weight.size()[1..].iter().map(|_| 1)).collect();
        gamma.clamp_min(f64::from(f32::MIN_POSITIVE)).view(shape.as_slice())
    }

    /// Q_b(w)
    fn quantize(self, weight: &Tensor, bits: u32) -> Tensor {
        if bits == FULL {
            return weight.shallow_clone();
        }
        let (gamma, n) = (self.gamma(weight), (f64::from(bits).exp2() - 1.0) / 2.0);
        // The levels as whole odd numbers, which are exact, over 2n.
        let level = (((weight / &gamma).clamp(-1.0, 1.0) + 1.0) * n).round() * 2.0 - 2.0 * n;
        level * (gamma / (2.0 * n))
    }
}

/// Of each row, ascending, linear between two values.
fn percentile(sorted: &Tensor, part: f64) -> Tensor {
    let place = part * (sorted.size()[1] - 1) as f64;
    let (below, above) = (place.floor(), place.ceil());
    let [low, high] = [below, above].map(|at| sorted.select(1, at as i64));
    &low + (high - &low) * (place - below)
}

struct Rescaled {
    range: Range,
    gradient: Through,
    choice: BitChoice,
}

impl WeightTransform for Rescaled {
    fn transform(&self, weight: &Tensor) -> Tensor {
        let (range, through, bits) = (self.range, self.gradient, self.choice.candidates.clone());
        if bits == [FULL] {
            return weight.shallow_clone();
        }
        let forms = move |weight: &Tensor| {
            Tensor::stack(&bits.iter().map(|&bits| range.quantize(weight, bits)).collect::<Vec<_>>(), 0)
        };
        let passed = move |gradient: &Tensor, weight: &Tensor| match through {
            Through::Weight => gradient.shallow_clone(),
            Through::Ratio => gradient / range.gamma(weight),
        };
        mixture(weight, &self.choice.probabilities(), forms, passed)
    }

    fn step(&self, weight: &Tensor) -> Option<Tensor> {
        match self.range.per {
            Per::Layer => self.packed_step(weight).map(|step| step.reshape([] as [i64; 0])),
            Per::Channel => None,
        }
    }

    fn packed_step(&self, weight: &Tensor) -> Option<Tensor> {
        match self.choice.candidates[..] {
            [bits] if bits != FULL => Some(self.range.gamma(weight).flatten(0, -1) / (f64::from(bits).exp2() - 1.0)),
            _ => None,
        }
    }

    fn bits(&self) -> Option<Factor> {
        Some(self.choice.expected())
    }

    fn open_bits(&self) -> Option<OpenBits> {
        self.choice.open()
    }

    fn forms(&self, weight: &Tensor) -> Vec<(String, Tensor)> {
        let quantised = self.choice.candidates.iter().filter(|bits| **bits != FULL);
        quantised.map(|&bits| (counted(bits, "bit"), self.range.quantize(weight, bits))).collect()
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.choice.decide(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::network::Techniques;

    fn settings(bits: u32) -> RescaleQuantize {
        RescaleQuantize {
            bits: vec![bits],
            outside_bits: FULL,
            scale: Scale::Mean,
            per: Per::Layer,
            gradient: Through::Weight,
        }
    }

    fn close(found: &Tensor, wanted: &[f32]) {
        for (found, wanted) in values(found).into_iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
    }

    #[test]
    fn two_bits_have_the_levels_of_the_paper() {
        // gamma = 1: -2 is clipped, 0.2 is nearest to 1/3, -0.5 to -1/3, 1.3 is clipped.
        let weight = compressed(NAME, &settings(2), Tensor::from_slice(&[-2.0f32, 0.2, -0.5, 1.3]).view([2, 2]));
        close(&weight.value(Techniques::ALL), &[-1.0, 1.0 / 3.0, -1.0 / 3.0, 1.0]);
        weight.value(Techniques::ALL).sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [1.0; 4], "clipped weights have a gradient, too");
    }

    #[test]
    fn one_bit_is_a_sign_and_eight_bits_have_two_hundred_and_fifty_six_levels() {
        let signs = compressed(NAME, &settings(1), Tensor::from_slice(&[-2.0f32, 0.2, -0.5, 1.3]).view([1, 4]));
        close(&signs.value(Techniques::ALL), &[-1.0, 1.0, -1.0, 1.0]);
        let many = Tensor::linspace(-3.0, 3.0, 6001, (Kind::Float, tch::Device::Cpu)).view([1, -1]);
        let mut levels = values(&compressed(NAME, &settings(8), many).value(Techniques::ALL));
        levels.dedup();
        assert_eq!(levels.len(), 256);
        // gamma = 1.5 up to the mean of 6001 points, and levels are gamma · 2 / 255 apart.
        assert!((levels[255] - 1.5).abs() < 1e-3 && (levels[1] - levels[0] - 3.0 / 255.0).abs() < 1e-5);
    }

    #[test]
    fn scales_are_of_a_layer_or_of_a_channel() {
        let weights = || Tensor::from_slice(&[1f32, -3., 0.5, 0.25]).view([2, 2]);
        let gamma = |scale, per| values(&Range { scale, per }.gamma(&weights()));
        assert_eq!(gamma(Scale::Mean, Per::Layer), [1.1875]);
        assert_eq!(gamma(Scale::Mean, Per::Channel), [2.0, 0.375]);
        assert_eq!(gamma(Scale::Max, Per::Channel), [3.0, 0.5]);
        // Percentiles of (-3, 0.25, 0.5, 1): -3 + 0.03 · 3.25 and 0.5 + 0.97 · 0.5.
        assert!((gamma(Scale::Percentile, Per::Layer)[0] - 2.9025).abs() < 1e-6);
    }

    #[test]
    fn the_gradient_of_the_ratio_is_divided_by_its_scale() {
        let plugin = RescaleQuantize { per: Per::Channel, gradient: Through::Ratio, ..settings(2) };
        let weight = compressed(NAME, &plugin, Tensor::from_slice(&[1f32, -3., 0.5, 0.25]).view([2, 2]));
        weight.value(Techniques::ALL).sum(Kind::Float).backward();
        close(&weight.raw().grad(), &[0.5, 0.5, 1.0 / 0.375, 1.0 / 0.375]);
    }

    /// QP-SNN's ResNet-20 for CIFAR-10: 6,212,466 quantised weights, all else in 32 bits.
    #[test]
    fn printed_sizes_differ_by_the_bits_of_the_quantised_weights() {
        let quantised: f64 = 6_212_466.0;
        for (bits, fewer, megabytes) in [(8.0, 4.0, 6.267 - 3.161), (4.0, 2.0, 3.161 - 1.608)] {
            assert!((quantised * (bits - fewer) / 8e6 - megabytes).abs() < 1.5e-3);
        }
    }
}
