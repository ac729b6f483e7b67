//! Bit-widths: the candidates that a quantiser's settings name, and the choice that a search makes
//! among them.

use litesnn_framework::ground::{Build, Role, counted};
use litesnn_framework::network::{Decision, Decisions, Factor, Formula, LayerSpec, OpenBits};
use litesnn_framework::plugin::checked;
use litesnn_framework::{Error, Result};
use serde::Deserializer;
use tch::{Device, Kind, Tensor};

use super::gaussian_levels::{level, step};

/// Reads the candidates of the network's body.
pub fn candidates<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u32>, D::Error> {
    let ascending = |bits: &Vec<u32>| bits.windows(2).all(|pair| pair[0] < pair[1]);
    checked(input, ascending, "a list of bit-widths, ascending")
}

/// Which of several bit-widths the weights of a group of layers have: open in a search, decided
/// afterwards.
pub struct BitChoice {
    group: String,
    /// Bit-widths, ascending; one when nothing is open.
    pub candidates: Vec<u32>,
    /// beta; absent with one candidate.
    logits: Option<Tensor>,
    device: Device,
    /// Whether a search is to record its decision.
    searched: bool,
}

impl BitChoice {
    /// The choice of compressor `name` for a layer; `widths` are its candidates for the body
    /// of the network and its bit-width outside of it.
    ///
    /// # Errors
    ///
    /// A design whose decision is not among the candidates.
    pub fn attach(
        name: &str,
        layer: &LayerSpec,
        widths: (&[u32], u32),
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<BitChoice> {
        let refuse = |message: String| Error::Plugin { kind: "compressor", name: name.into(), message };
        let (bits, outside) = widths;
        let group = layer.place.group();
        let chosen = match (layer.place, decided) {
            (place, None) if place.is_body() => None,
            (place, Some(decisions)) if place.is_body() => {
                match decisions.get(&group).and_then(|decision| decision.bits) {
                    Some(found) if bits.contains(&found) => Some(found),
                    Some(found) => {
                        return Err(refuse(format!(
                            "the design gives {group} {}, and the manifest's candidates are {bits:?}",
                            counted(found, "bit")
                        )));
                    }
                    None if bits.len() == 1 => Some(bits[0]),
                    None => {
                        return Err(refuse(format!(
                            "the design has no bits for {group}, and the manifest leaves a choice of {bits:?}; \
                         name one candidate, or take a design with [compression.{name}]"
                        )));
                    }
                }
            }
            _ => Some(outside),
        };
        let candidates = chosen.map_or_else(|| bits.to_vec(), |bits| vec![bits]);
        let logits = (candidates.len() > 1).then(|| {
            let count = candidates.len() as i64;
            build
                .root()
                .at(name)
                .at(&group)
                .parameter("bit_logits", Role::BitLogit, |stream| stream.normal(&[count]) * 1e-3)
        });
        Ok(BitChoice { group, candidates, logits, device: build.device(), searched: decided.is_none() })
    }

    /// softmax(beta), `[candidates]`.
    pub fn probabilities(&self) -> Tensor {
        match &self.logits {
            Some(logits) => logits.softmax(0, Kind::Float),
            None => Tensor::ones([1], (Kind::Float, self.device)),
        }
    }

    /// The mixture of the candidates in terms that kernels know.
    pub fn formula(&self) -> Formula {
        let logits = self.logits.as_ref().map(Tensor::shallow_clone);
        Formula::Levels { logits, levels: self.candidates.iter().map(|&bits| level(bits)).collect() }
    }

    /// The step of the one candidate that is left.
    pub fn step(&self, weight: &Tensor) -> Option<Tensor> {
        let &[bits] = self.candidates.as_slice() else { return None };
        Some(step(&weight.std(true), bits))
    }

    /// Expected bits (paper, Eq. 19).
    pub fn expected(&self) -> Factor {
        let values: Vec<f64> = self.candidates.iter().map(|&bits| f64::from(bits)).collect();
        match &self.logits {
            Some(logits) => Factor::Expected { logits: logits.shallow_clone(), values },
            None => Factor::Constant(values[0]),
        }
    }

    /// What a search is to choose among.
    pub fn open(&self) -> Option<OpenBits> {
        let logits = self.logits.as_ref()?.shallow_clone();
        Some(OpenBits { group: self.group.clone(), bits: self.candidates.clone(), logits })
    }

    /// The candidate of the largest beta.
    pub fn chosen(&self) -> usize {
        self.logits.as_ref().map_or(0, |logits| logits.argmax(0, false).int64_value(&[]) as usize)
    }

    /// What a search decided for the group.
    pub fn decide(&self, rate: Option<f64>) -> Option<(String, Decision)> {
        let decision = Decision { bits: Some(self.candidates[self.chosen()]), rate };
        self.searched.then(|| (self.group.clone(), decision))
    }
}
