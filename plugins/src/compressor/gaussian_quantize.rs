//! Mixed-precision quantisation with the Gaussian quantiser: the Q of CompConv.
//!
//! Source: LitE-SNN (Liu et al., IJCAI 2024), Eq. 8-9 and 19; quantiser of Cai et al. (HWGQ, CVPR
//! 2017) in the form of Cai and Vasconcelos (EdMIPS, CVPR 2020).
//!
//! With sigma the standard deviation of the layer's weight (unbiased, the mean not subtracted, a
//! constant for gradients) and the step d_b = c_b · sigma, where c_b is the uniform step of least
//! squared error for N(0, 1):
//!
//! ```text
//! Q_b(w) = clamp((round(w / d_b + 1/2) - 1/2) · d_b, ±(2^b / 2 - 1/2) · d_b)        2^b levels, none of them zero
//! W'     = sum_b softmax(beta)_b · Q_b(W)                                            beta is shared by the layers of a cell
//! ```
//!
//! Straight-through: dW'/dW = 1 everywhere, dW'/d beta_b through Q_b(W) and the softmax. Shapes are
//! kept. What differs from the authors' program: docs/authors-program.md.

use super::bits::{BitChoice, candidates};
use super::gaussian_levels::{WIDTHS, mixed_quantize, named_form, require_deviation};
use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, Formula, LayerSpec, OpenBits, Technique, WeightTransform,
};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

const NAME: &str = "gaussian-quantize";

/// Settings of `gaussian-quantize`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GaussianQuantize {
    /// Candidate bit-widths of the cells' weights, ascending; one candidate is uniform
    /// quantisation.
    #[serde(default = "paper_bits", deserialize_with = "candidates")]
    #[schemars(length(min = 1), extend("items" = { "type": "integer", "enum": WIDTHS }, "x-unit" = "bits"))]
    pub bits: Vec<u32>,
    /// Bit-width of the stem and the classifier in the final network.
    #[serde(default = "paper_outside_bits")]
    #[schemars(extend("enum" = WIDTHS, "x-unit" = "bits"))]
    pub outside_bits: u32,
}

fn paper_bits() -> Vec<u32> {
    vec![1, 2, 4]
}

fn paper_outside_bits() -> u32 {
    4
}

register! {
    kind: Compressor,
    name: "gaussian-quantize",
    settings: GaussianQuantize,
    version: 2,
    summary: "mixed-precision weights, bit-width searched by cell",
    paper: "Liu et al., LitE-SNN, IJCAI 2024; Cai and Vasconcelos, EdMIPS, CVPR 2020",
    examples: [
        "[[compressor]]\ngaussian-quantize = { bits = [1, 2, 4] }",
        "[[compressor]]\ngaussian-quantize = { bits = [4] }",
    ],
    file: "gaussian_quantize.rs",
}

#[typetag::serde(name = "gaussian-quantize")]
impl Compressor for GaussianQuantize {
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
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        require_deviation(NAME, layer, weight)?;
        let choice = BitChoice::attach(NAME, layer, (&self.bits, self.outside_bits), decided, build)?;
        Ok(Box::new(MixedQuantizer { choice }))
    }
}

struct MixedQuantizer {
    choice: BitChoice,
}

impl WeightTransform for MixedQuantizer {
    fn transform(&self, weight: &Tensor) -> Tensor {
        mixed_quantize(weight, &self.choice.probabilities(), &self.choice.candidates)
    }

    fn formula(&self) -> Option<Formula> {
        Some(self.choice.formula())
    }

    fn step(&self, weight: &Tensor) -> Option<Tensor> {
        self.choice.step(weight)
    }

    fn bits(&self) -> Option<Factor> {
        Some(self.choice.expected())
    }

    fn open_bits(&self) -> Option<OpenBits> {
        self.choice.open()
    }

    fn forms(&self, weight: &Tensor) -> Vec<(String, Tensor)> {
        self.choice.candidates.iter().map(|&bits| named_form(weight, bits)).collect()
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.choice.decide(None)
    }
}

#[cfg(test)]
mod tests {
    use litesnn_framework::plugin::{Kind, find};
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused_with_the_known_ones() {
        let plugin = find(Kind::Compressor, NAME).unwrap();
        for (settings, why) in [
            (json!({ "bits": [7] }), "is 7, and has to be 1, 2, 3, 4, 5, 6 or 8"),
            (json!({ "bits": [] }), "is empty, and has to hold 1 or more"),
            (json!({ "outside_bits": 9 }), "is 9, and has to be 1, 2, 3, 4, 5, 6 or 8"),
        ] {
            assert_eq!(plugin.out_of_range(&settings)[0].1, why);
        }
        let error = serde_json::from_value::<GaussianQuantize>(json!({ "bits": [4, 2] })).unwrap_err().to_string();
        assert!(error.starts_with("[4, 2] is not a list of bit-widths, ascending"), "{error}");
    }
}
