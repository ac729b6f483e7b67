//! A mask that the optimizer writes: the place that an optimizer's ticket acts from.
//!
//! Source: lottery tickets, Frankle and Carbin (ICLR 2019); in spiking networks Kim et al. (ECCV
//! 2022).
//!
//! ```text
//! M = 1 on every weight until an optimizer removes some          W' = M · W, dW'/dW = M
//! ```
//!
//! What is removed is decided over all layers at once, by an optimizer that writes tickets
//! (`lottery-ticket`), so that a layer's density is an outcome. M is a buffer of the weight's
//! shape, and changes in no other way. It multiplies what all transforms make of the weight: a
//! quantiser before or after it acts on the whole weight, of which M removes a part. The cost of a
//! layer is that of any pruned one: density = sum of M over the number of weights.
//!
//! | how the trial comes to its network | M |
//! |---|---|
//! | a search by an optimizer that writes tickets | what it has written, in `design.ticket` beside `design.toml` |
//! | a search by another optimizer | 1 everywhere, and the trial says so |
//! | `[design]` with `compression` in `keep` | the ticket beside the design's file |
//! | `[design]` without a ticket, or no search at all | an error |
//!
//! The design also has the removed fraction of each layer, by the layer's name, so that a network in
//! outline has its density.

use litesnn_framework::ground::Build;
use litesnn_framework::network::{Compressor, Decision, Decisions, Factor, LayerSpec, Technique, WeightTransform};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

const NAME: &str = "ticket";

/// `ticket` has no settings: the optimizer decides what is removed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticket {}

register! {
    kind: Compressor,
    name: "ticket",
    settings: Ticket,
    version: 1,
    summary: "a mask that the optimizer writes and that travels with the design",
    paper: "Frankle and Carbin, The Lottery Ticket Hypothesis, ICLR 2019",
    examples: ["[[compressor]]\nticket = {}"],
    file: "ticket.rs",
}

#[typetag::serde(name = "ticket")]
impl Compressor for Ticket {
    fn technique(&self) -> Technique {
        Technique::Prune
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let mask = build.at(NAME).buffer_like("mask", weight, |_| weight.detach().ones_like());
        let removed = |decided: &Decisions| decided.get(&layer.name).and_then(|decision| decision.rate).unwrap_or(0.0);
        Ok(Box::new(Written { layer: layer.name.clone(), mask, removed: decided.map(removed) }))
    }
}

struct Written {
    layer: String,
    /// Ones where a weight is kept, of the weight's shape.
    mask: Tensor,
    /// The fraction of the weights that a search has removed; `None` in a search.
    removed: Option<f64>,
}

impl Written {
    /// The fraction of the weights that the mask keeps.
    fn kept(&self) -> Tensor {
        self.mask.mean(Kind::Double)
    }
}

impl WeightTransform for Written {
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        Some(self.mask.shallow_clone())
    }

    fn ticket(&self) -> Option<Tensor> {
        Some(self.mask.shallow_clone())
    }

    fn density(&self) -> Option<Factor> {
        let count = self.mask.numel() as f64;
        // A whole number of weights is kept, whatever the rounding of the fraction.
        Some(match self.removed {
            Some(removed) => Factor::Constant(((1.0 - removed) * count).round() / count),
            None => Factor::Scalar(self.kept()),
        })
    }

    fn decide(&self) -> Option<(String, Decision)> {
        let decision = || Decision { bits: None, rate: Some(1.0 - self.kept().double_value(&[])) };
        self.removed.is_none().then(|| (self.layer.clone(), decision()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_layer::{compressed, values};
    use super::*;
    use litesnn_framework::network::Techniques;

    #[test]
    fn what_is_written_to_the_mask_is_removed_counted_and_decided() {
        let weight = compressed(NAME, &Ticket {}, Tensor::from_slice(&[0.1f32, -0.9, 0.5, -0.2]).view([1, 4]));
        assert_eq!((values(&weight.value(Techniques::ALL)).len(), weight.density(Techniques::ALL).number()), (4, 1.0));
        weight.ticket().unwrap().copy_(&Tensor::from_slice(&[0f32, 1., 1., 1.]).view([1, 4]));
        let value = weight.value(Techniques::ALL);
        assert_eq!(values(&value), [0., -0.9, 0.5, -0.2]);
        value.sum(Kind::Float).backward();
        assert_eq!(values(&weight.raw().grad()), [0., 1., 1., 1.], "removed weights have no gradient");
        assert_eq!(weight.density(Techniques::ALL).number(), 0.75);
        let (compressor, layer, decision) = weight.decisions(Techniques::ALL).next().unwrap();
        assert_eq!((compressor, layer.as_str(), decision.rate), (NAME, "a", Some(0.25)));
    }
}
