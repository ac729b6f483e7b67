//! Pruning by magnitude in every output channel: what each channel keeps is the same number of
//! weights.
//!
//! Source: Han et al. (NeurIPS 2015), with the ranking within a channel instead of a layer, so that
//! no channel is lost.
//!
//! ```text
//! M = 1 on the largest |W| of an output channel, 0 on its floor(rate · n) smallest          W' = M · W, dW'/dW = M
//! ```
//!
//! Shapes: W is `[out, in, kh, kw]` or `[out, in]`; n = in · kh · kw.

use litesnn_framework::ground::Build;
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, LayerSpec, Technique, WeightTransform, same_rate,
};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

const NAME: &str = "template-compressor";

/// Settings of `template-compressor`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateCompressor {
    /// Fraction of each output channel's weights that is removed.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: f64,
}

register! {
    kind: Compressor,
    name: "template-compressor",
    settings: TemplateCompressor,
    version: 1,
    summary: "removes the smallest weights of every output channel",
    paper: "Han et al., Learning both Weights and Connections, NeurIPS 2015",
    examples: ["[[compressor]]\ntemplate-compressor = { rate = 0.5 }"],
    file: "template_compressor.rs",
}

#[typetag::serde(name = "template-compressor")]
impl Compressor for TemplateCompressor {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn attach(
        &self,
        _layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        _build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        same_rate(NAME, decided, self.rate)?;
        let channel = weight.numel() as i64 / weight.size()[0];
        let removed = (self.rate * channel as f64).floor() as i64;
        let weight = weight.shallow_clone();
        Ok(Box::new(ChannelMask { weight, channel, removed, rate: self.rate, searched: decided.is_none() }))
    }
}

struct ChannelMask {
    /// The trained tensor: it shares its memory with the layer's weight.
    weight: Tensor,
    /// Weights of an output channel.
    channel: i64,
    removed: i64,
    rate: f64,
    searched: bool,
}

impl WeightTransform for ChannelMask {
    fn mask(&self, _transformed: &Tensor) -> Option<Tensor> {
        let magnitude = self.weight.detach().abs().flatten(1, -1);
        let (_, kept) = magnitude.topk(self.channel - self.removed, 1, true, false);
        Some(magnitude.zeros_like().scatter_value(1, &kept, 1.0).view_as(&self.weight))
    }

    fn density(&self) -> Option<Factor> {
        Some(Factor::Constant((self.channel - self.removed) as f64 / self.channel as f64))
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.searched.then(|| ("all".to_owned(), Decision { bits: None, rate: Some(self.rate) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::Parameters;
    use litesnn_framework::network::Place;
    use tch::Device;

    #[test]
    fn every_channel_keeps_its_largest_weights() {
        let weight = Tensor::from_slice(&[0.1f32, -0.9, 0.5, -0.2, 3.0, 1.0, -2.0, 4.0]).view([2, 4]);
        let layer = LayerSpec { name: "a".into(), place: Place::Cell(0), population: None };
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let transform = TemplateCompressor { rate: 0.5 }.attach(&layer, &weight, None, &mut build).unwrap();
        let mask = Vec::<f32>::try_from(transform.mask(&weight).unwrap().flatten(0, -1)).unwrap();
        assert_eq!(mask, [0., 1., 1., 0., 1., 0., 0., 1.]);
    }
}
