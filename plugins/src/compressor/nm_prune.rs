//! N:M semi-structured pruning: of every M weights that follow each other along the input channels,
//! N stay.
//!
//! Source: Zhou et al., Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch
//! (ICLR 2021); NVIDIA's sparse tensor cores run 2:4.
//!
//! ```text
//! group g = M consecutive input channels of one output channel and kernel position
//! mask = 1 on the N largest |W| of each group, 0 elsewhere          W' = mask · W
//! dL/dW = mask · dL/dW'                                             plain:  a removed weight has no gradient
//! dL/dW = dL/dW' + lambda · (1 - mask) · W                          SR-STE: straight-through, removed weights decay
//! ```
//!
//! Shapes: W is `[out, in, kh, kw]` or `[out, in]`. Where M does not divide the input channels, the
//! rest is a group of r < M channels, of which ceil(r · N / M) stay. A layer with fewer than M
//! input channels, such as a stem that reads one grey image, stays dense: hardware could not use
//! the pattern there.
//!
//! W is the trained weight itself, wherever the plugin stands among the compressors.

use super::mask::straight_through_mask;
use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{Compressor, Decision, Decisions, Factor, LayerSpec, Technique, WeightTransform};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

const NAME: &str = "nm-prune";

/// Settings of `nm-prune`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NmPrune {
    /// Weights of a group that stay; not more than `m`.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "weights"))]
    pub n: u32,
    /// Weights of a group.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "weights"))]
    pub m: u32,
    /// Weight of SR-STE's decay of removed weights (paper: 2e-4); absent: removed weights have no
    /// gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub sr_ste: Option<f64>,
}

register! {
    kind: Compressor,
    name: "nm-prune",
    settings: NmPrune,
    version: 2,
    summary: "keeps N of every M consecutive weights along the input channels",
    paper: "Zhou et al., Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch, ICLR 2021",
    examples: [
        "[[compressor]]\nnm-prune = { n = 2, m = 4 }",
        "[[compressor]]\nnm-prune = { n = 1, m = 4, sr_ste = 2e-4 }",
    ],
    file: "nm_prune.rs",
}

#[typetag::serde(name = "nm-prune")]
impl Compressor for NmPrune {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn straight_through(&self) -> &'static [Role] {
        if self.sr_ste.is_some() { &[Role::Weight] } else { &[] }
    }

    fn attach(
        &self,
        _layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        _build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        if self.n > self.m {
            let message = format!("n = {} is more than m = {}; of every m weights n stay", self.n, self.m);
            return Err(Error::Plugin { kind: "compressor", name: NAME.into(), message });
        }
        let pattern = self.pattern();
        if let Some(other) = decided.and_then(|decisions| decisions.keys().find(|other| **other != pattern)) {
            let message = format!(
                "the design was found with {other}, and the manifest says {pattern}; use the same, or leave \
                 `compression` out of `design.keep`"
            );
            return Err(Error::Plugin { kind: "compressor", name: NAME.into(), message });
        }
        Ok(Box::new(Groups { settings: self.clone(), weight: weight.shallow_clone(), searched: decided.is_none() }))
    }
}

impl NmPrune {
    /// `2:4`: the name under which a design keeps it. Its rate alone is that of 1:2, too.
    fn pattern(&self) -> String {
        format!("{}:{}", self.n, self.m)
    }
}

struct Groups {
    settings: NmPrune,
    /// The trained tensor: it shares its memory with the layer's weight.
    weight: Tensor,
    searched: bool,
}

impl Groups {
    /// Input channels in whole groups, those in the rest, and how many of the rest stay.
    fn split(&self) -> (i64, i64, i64) {
        let (n, m) = (i64::from(self.settings.n), i64::from(self.settings.m));
        let rest = self.weight.size()[1] % m;
        (self.weight.size()[1] - rest, rest, (rest * n + m - 1) / m)
    }

    fn is_dense(&self) -> bool {
        self.weight.size()[1] < i64::from(self.settings.m)
    }

    /// Ones on the `kept` largest of every `of` input channels, of equal ones on the first; `magnitude` is `[out, in, ...]`.
    fn largest(magnitude: &Tensor, of: i64, kept: i64) -> Tensor {
        let mut grouped = magnitude.size();
        grouped.splice(1..2, [magnitude.size()[1] / of, of]);
        let magnitude = magnitude.reshape(grouped.as_slice());
        // `topk` keeps any of equal ones.
        let (_, order) = magnitude.sort_stable(true, 2, true);
        magnitude.zeros_like().scatter_value(2, &order.narrow(2, 0, kept), 1.0).flatten(1, 2)
    }

    fn kept(&self) -> Tensor {
        let magnitude = self.weight.detach().abs();
        if self.is_dense() {
            return magnitude.ones_like();
        }
        let (whole, rest, of_rest) = self.split();
        let (n, m) = (i64::from(self.settings.n), i64::from(self.settings.m));
        let mut parts = vec![Groups::largest(&magnitude.narrow(1, 0, whole), m, n)];
        if rest > 0 {
            parts.push(Groups::largest(&magnitude.narrow(1, whole, rest), rest, of_rest));
        }
        Tensor::cat(&parts, 1)
    }
}

impl WeightTransform for Groups {
    fn mask(&self, transformed: &Tensor) -> Option<Tensor> {
        let kept = self.kept();
        Some(match self.settings.sr_ste {
            Some(decay) => {
                let decayed = self.weight.detach() * (kept.ones_like() - &kept) * decay;
                straight_through_mask(&self.weight, transformed, &kept, decayed)
            }
            None => kept,
        })
    }

    fn density(&self) -> Option<Factor> {
        let (whole, _, of_rest) = self.split();
        let kept = whole * i64::from(self.settings.n) / i64::from(self.settings.m) + of_rest;
        let density = if self.is_dense() { 1.0 } else { kept as f64 / self.weight.size()[1] as f64 };
        Some(Factor::Constant(density))
    }

    fn decide(&self) -> Option<(String, Decision)> {
        let rate = 1.0 - f64::from(self.settings.n) / f64::from(self.settings.m);
        self.searched.then(|| (self.settings.pattern(), Decision { bits: None, rate: Some(rate) }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::ground::Parameters;
    use litesnn_framework::network::{CompressedWeight, Place, Techniques};
    use tch::{Device, Kind};

    /// A layer of these weights, of which two of four stay.
    fn two_of_four(weights: &[f32], shape: &[i64], sr_ste: Option<f64>) -> CompressedWeight {
        compressed(NAME, &NmPrune { n: 2, m: 4, sr_ste }, Tensor::from_slice(weights).view(shape))
    }

    #[test]
    fn two_of_four_stay_along_the_input_channels() {
        // [1, 4, 1, 2]: two kernel positions, each a group of four channels.
        let weights = [0.1, 8.0, -0.9, 7.0, 0.5, -6.0, -0.2, 5.0];
        let weight = two_of_four(&weights, &[1, 4, 1, 2], None);
        assert_eq!(values(&weight.value(Techniques::ALL)), [0., 8., -0.9, 7., 0.5, 0., 0., 0.]);
        assert_eq!(weight.density(Techniques::ALL).number(), 0.5);
        weight.value(Techniques::ALL).sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [0., 1., 1., 1., 1., 0., 0., 0.]);
    }

    #[test]
    fn channels_beyond_the_last_whole_group_are_a_smaller_group() {
        let weight = two_of_four(&[1., 2., 3., 4., 5., 6., 7.], &[1, 7], None);
        // 2 of 4, then ceil(3 · 2 / 4) = 2 of 3.
        assert_eq!(values(&weight.value(Techniques::ALL)), [0., 0., 3., 4., 0., 6., 7.]);
        assert_eq!(weight.density(Techniques::ALL).number(), 4.0 / 7.0);
        let few = two_of_four(&[1., 2., 3.], &[1, 3], None);
        assert_eq!(values(&few.value(Techniques::ALL)), [1., 2., 3.]);
    }

    #[test]
    fn a_design_of_another_pattern_is_refused() {
        let decided = Decisions::from([("2:4".to_owned(), Decision { bits: None, rate: Some(0.5) })]);
        let layer = LayerSpec { name: "a".into(), place: Place::Cell(0), population: None };
        let weight = Tensor::ones([1, 4], (Kind::Float, Device::Cpu));
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let same = NmPrune { n: 2, m: 4, sr_ste: None }.attach(&layer, &weight, Some(&decided), &mut build);
        assert!(same.is_ok());
        let error = NmPrune { n: 1, m: 2, sr_ste: None }.attach(&layer, &weight, Some(&decided), &mut build);
        let error = error.err().unwrap().to_string();
        assert!(error.contains("the design was found with 2:4, and the manifest says 1:2"), "{error}");
    }

    #[test]
    fn sr_ste_passes_the_gradient_straight_through_and_decays_removed_weights() {
        let weight = two_of_four(&[0.5, -1.0, 2.0, 0.25], &[1, 4], Some(0.5));
        let value = weight.value(Techniques::ALL);
        assert_eq!(values(&value), [0., -1., 2., 0.]);
        (value * Tensor::from_slice(&[1f32, 2., 3., 4.])).sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [1.25, 2., 3., 4.125]);
    }
}
