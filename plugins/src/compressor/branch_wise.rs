//! The branch-wise form of mixed-precision pruning: every candidate bit-width has a weight and a
//! mask of its own.
//!
//! Source: LitE-SNN (Liu et al., IJCAI 2024), Section 3.2, Eq. 4-7 and Figure 2(a): the form that
//! CompConv (`gaussian-quantize`, then `score-prune`) replaces. It is here to be compared with: a
//! search holds and trains as many weights and scores as there are candidates.
//!
//! ```text
//! W'_i = M_i · Q_i(W_i)                         quantiser of `gaussian-quantize`, mask of `score-prune`, for each candidate i
//! out  = sum_i softmax(beta)_i · conv(W'_i, x)  = conv(sum_i softmax(beta)_i · W'_i, x)
//! ```
//!
//! A convolution is linear in its weight, so that the branches are summed before it and not after:
//! the same numbers in one convolution. Straight-through as in the two plugins: dL/dW_i =
//! softmax(beta)_i · M_i · dL/dW', and so on. Shapes are kept.
//!
//! The first branch is the layer's own weight; the others start from draws of their own with the
//! same standard deviation. The final network has the branch of the largest beta alone. It
//! quantises and prunes at once: `sequential` switches all of it on at Q. The paper's formulas are
//! lost in its text form; Eq. 4-7 are restored from its words.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, LayerSpec, OpenBits, Technique, WeightTransform,
};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::bits::{BitChoice, candidates};
use super::gaussian_levels::{WIDTHS, mixed_quantize, named_form, require_deviation};
use super::rate::LayerRate;
use super::scores::{initial_scores, top_mask};

const NAME: &str = "branch-wise";

/// Settings of `branch-wise`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchWise {
    /// Bit-widths of the branches in cells, ascending (paper: 1, 2, 4).
    #[serde(deserialize_with = "candidates")]
    #[schemars(length(min = 1), extend("items" = { "type": "integer", "enum": WIDTHS }, "x-unit" = "bits"))]
    pub bits: Vec<u32>,
    /// Bit-width of the stem and the classifier in the final network.
    #[serde(default = "paper_outside_bits")]
    #[schemars(extend("enum" = WIDTHS, "x-unit" = "bits"))]
    pub outside_bits: u32,
    /// Fraction of each branch's weights that is removed (paper: 0.5, 0.8, 0.9).
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
    pub rate: f64,
}

fn paper_outside_bits() -> u32 {
    4
}

register! {
    kind: Compressor,
    name: "branch-wise",
    settings: BranchWise,
    version: 1,
    summary: "mixed precision with a weight and a mask for every bit-width",
    paper: "Liu et al., LitE-SNN, IJCAI 2024, Figure 2(a)",
    examples: [
        "[[compressor]]\nbranch-wise = { bits = [1, 2, 4], rate = 0.8 }",
        "[[compressor]]\nbranch-wise = { bits = [2], rate = 0.5 }",
    ],
    file: "branch_wise.rs",
}

#[typetag::serde(name = "branch-wise")]
impl Compressor for BranchWise {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn straight_through(&self) -> &'static [Role] {
        &[Role::Weight, Role::Score]
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        let rate = LayerRate::attach(NAME, self.rate, weight, decided)?;
        require_deviation(NAME, layer, weight)?;
        let choice = BitChoice::attach(NAME, layer, (&self.bits, self.outside_bits), decided, build)?;
        let mut own = build.at(NAME);
        let mut branches = Vec::new();
        for (index, bits) in choice.candidates.iter().enumerate() {
            let mut at = if index == 0 { own.at("first") } else { own.at(format!("{bits}-bit")) };
            let weight = match index {
                0 => weight.shallow_clone(),
                _ => at.parameter("weight", Role::Weight, |stream| {
                    stream.normal(&weight.size()).to_device(weight.device()) * weight.detach().std(true)
                }),
            };
            let scores = at.parameter_like("scores", Role::Score, &weight, || initial_scores(&weight));
            branches.push(Branch { weight, scores });
        }
        Ok(Box::new(Branches { choice, branches, rate }))
    }
}

struct Branch {
    /// Of the first branch the layer's own.
    weight: Tensor,
    scores: Tensor,
}

struct Branches {
    choice: BitChoice,
    /// One for each candidate.
    branches: Vec<Branch>,
    rate: LayerRate,
}

impl WeightTransform for Branches {
    fn transform(&self, weight: &Tensor) -> Tensor {
        let certain = Tensor::ones([1], (Kind::Float, weight.device()));
        let quantised = |index: usize, bits: u32| {
            let weight = if index == 0 { weight } else { &self.branches[index].weight };
            mixed_quantize(weight, &certain, &[bits])
        };
        // One branch alone: `mask` removes its weights.
        if let [bits] = self.choice.candidates[..] {
            return quantised(0, bits);
        }
        let probabilities = self.choice.probabilities();
        let mut sum = weight.zeros_like();
        for (index, bits) in self.choice.candidates.iter().enumerate() {
            let masked = quantised(index, *bits) * top_mask(&self.branches[index].scores, self.rate.kept);
            sum += masked * probabilities.get(index as i64);
        }
        sum
    }

    fn step(&self, weight: &Tensor) -> Option<Tensor> {
        self.choice.step(weight)
    }

    /// Of several branches, where any one keeps a weight; what each removes is gone from the sum
    /// already.
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        let masks = || self.branches.iter().map(|branch| top_mask(&branch.scores, self.rate.kept));
        match self.branches.len() {
            1 => masks().next(),
            _ => tch::no_grad(|| masks().reduce(|any, mask| any.maximum(&mask))),
        }
    }

    fn bits(&self) -> Option<Factor> {
        Some(self.choice.expected())
    }

    fn open_bits(&self) -> Option<OpenBits> {
        self.choice.open()
    }

    /// Of the branch that will be left.
    fn density(&self) -> Option<Factor> {
        Some(self.rate.density())
    }

    /// Every branch starts from the weight that was trained without them.
    fn switch_on(&self, weight: &Tensor) {
        tch::no_grad(|| {
            for branch in &self.branches {
                if branch.weight.data_ptr() != weight.data_ptr() {
                    branch.weight.shallow_clone().copy_(weight);
                }
                branch.scores.shallow_clone().copy_(&initial_scores(weight));
            }
        });
    }

    /// The final network has one branch, under the first one's names.
    fn conclude(&self, weight: &Tensor) {
        let chosen = &self.branches[self.choice.chosen()];
        tch::no_grad(|| {
            weight.shallow_clone().copy_(&chosen.weight);
            self.branches[0].scores.shallow_clone().copy_(&chosen.scores);
        });
    }

    fn forms(&self, _weight: &Tensor) -> Vec<(String, Tensor)> {
        let branches = self.choice.candidates.iter().zip(&self.branches);
        branches.map(|(&bits, Branch { weight, .. })| named_form(weight, bits)).collect()
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.choice.decide(Some(self.rate.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gaussian_levels::quantize;
    use super::*;
    use litesnn_framework::ground::{Parameters, Stream};
    use litesnn_framework::network::{CompressedWeight, Place, Techniques};
    use tch::Device;

    fn searched(parameters: &mut Parameters) -> CompressedWeight {
        let mut root = Build::new(parameters, 3, Device::Cpu);
        let layer = LayerSpec { name: "a".into(), place: Place::Cell(0), population: None };
        let plugin = BranchWise { bits: vec![1, 2, 4], outside_bits: 4, rate: 0.5 };
        let stack: [(&str, &dyn Compressor); 1] = [(NAME, &plugin)];
        let init = |stream: &mut Stream| stream.normal(&[4, 3, 3, 3]);
        CompressedWeight::new(layer, init, stack, &Default::default(), true, &mut root.at("a")).unwrap()
    }

    fn named<'a>(parameters: &'a Parameters, name: &str) -> &'a Tensor {
        let found = parameters.trainable().iter().find(|parameter| parameter.name == name);
        &found.unwrap_or_else(|| panic!("no tensor `{name}`")).tensor
    }

    #[test]
    fn the_sum_of_three_convolutions_is_the_convolution_with_the_sum() {
        let mut parameters = Parameters::default();
        let weight = searched(&mut parameters);
        let x = Stream::open(1, "images", 0).normal(&[2, 3, 8, 8]);
        let convolved = |weight: &Tensor| x.conv2d(weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
        let beta = named(&parameters, "branch-wise.cell0.bit_logits").softmax(0, Kind::Float);
        let mut sum = convolved(weight.raw()).zeros_like();
        for (index, (bits, of)) in
            [(1, "a.weight"), (2, "a.branch-wise.2-bit.weight"), (4, "a.branch-wise.4-bit.weight")]
                .into_iter()
                .enumerate()
        {
            let branch = named(&parameters, of);
            let scores =
                if index == 0 { "a.branch-wise.first.scores".to_owned() } else { of.replace("weight", "scores") };
            // The half of largest magnitude, counted by sorting.
            let scores = named(&parameters, &scores).abs();
            let threshold = scores.flatten(0, -1).sort(0, true).0.double_value(&[53]);
            let mask = scores.ge(threshold).to_kind(Kind::Float);
            sum += convolved(&(quantize(branch, &branch.std(true), bits) * mask)) * beta.get(index as i64);
        }
        let apart = (convolved(&weight.value(Techniques::ALL)) - sum).abs().max().double_value(&[]);
        assert!(apart < 1e-4, "{apart}");
    }

    #[test]
    fn every_branch_has_a_gradient_in_proportion_to_its_beta() {
        let mut parameters = Parameters::default();
        let weight = searched(&mut parameters);
        let beta = named(&parameters, "branch-wise.cell0.bit_logits");
        tch::no_grad(|| beta.shallow_clone().copy_(&Tensor::from_slice(&[0f32, 1.0, 2.0])));
        weight.value(Techniques::ALL).sum(Kind::Float).backward();
        let probabilities = Vec::<f64>::try_from(beta.softmax(0, Kind::Double)).unwrap();
        for (name, probability) in
            ["a.weight", "a.branch-wise.2-bit.weight", "a.branch-wise.4-bit.weight"].into_iter().zip(probabilities)
        {
            let gradient = named(&parameters, name).grad();
            assert!((gradient.max().double_value(&[]) - probability).abs() < 1e-6, "{name}");
            assert_eq!(gradient.count_nonzero(None::<i64>).int64_value(&[]), 54, "{name}");
        }
    }

    #[test]
    fn the_chosen_branch_is_what_the_final_network_takes_over() {
        let mut parameters = Parameters::default();
        let weight = searched(&mut parameters);
        let beta = named(&parameters, "branch-wise.cell0.bit_logits");
        tch::no_grad(|| beta.shallow_clone().copy_(&Tensor::from_slice(&[-1e4f32, -1e4, 0.0])));
        let value = weight.value(Techniques::ALL);
        let chosen = named(&parameters, "a.branch-wise.4-bit.weight").copy();
        assert!(!weight.raw().equal(&chosen));
        weight.conclude();
        assert!(weight.raw().equal(&chosen));
        let scores = named(&parameters, "a.branch-wise.first.scores");
        assert!(scores.equal(named(&parameters, "a.branch-wise.4-bit.scores")));

        let decisions: std::collections::BTreeMap<String, Decisions> = weight
            .decisions(Techniques::ALL)
            .map(|(name, group, decision)| (name.into(), [(group, decision)].into()))
            .collect();
        let mut taken = Parameters::default();
        let mut root = Build::new(&mut taken, 3, Device::Cpu);
        let plugin = BranchWise { bits: vec![1, 2, 4], outside_bits: 4, rate: 0.5 };
        let stack: [(&str, &dyn Compressor); 1] = [(NAME, &plugin)];
        let layer = LayerSpec { name: "a".into(), place: Place::Cell(0), population: None };
        let init = |stream: &mut Stream| stream.normal(&[4, 3, 3, 3]);
        let last = CompressedWeight::new(layer, init, stack, &decisions, false, &mut root.at("a")).unwrap();
        taken.copy_from(&parameters).unwrap();
        assert!(last.value(Techniques::ALL).equal(&value));
    }
}
