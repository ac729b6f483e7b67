//! Mixed-precision quantisation with the Gaussian quantiser: the Q of CompConv.
//!
//! Source: LitE-SNN (Liu et al., IJCAI 2024), Eq. 8-9 and 19; quantiser of Cai et al. (HWGQ, CVPR 2017) in the form of Cai and
//! Vasconcelos (EdMIPS, CVPR 2020).
//!
//! With sigma the standard deviation of the layer's weight (unbiased, the mean not subtracted, a constant for gradients) and
//! the step d_b = c_b · sigma, where c_b is the uniform step of least squared error for N(0, 1):
//!
//! ```text
//! Q_b(w) = clamp((round(w / d_b + 1/2) - 1/2) · d_b, ±(2^b / 2 - 1/2) · d_b)        2^b levels, none of them zero
//! W'     = sum_b softmax(beta)_b · Q_b(W)                                            beta is shared by the layers of a cell
//! ```
//!
//! Straight-through: dW'/dW = 1 everywhere, dW'/d beta_b through Q_b(W) and the softmax. Shapes are kept.

use litesnn_framework::design::{Decision, Decisions};
use litesnn_framework::plugin::{Build, Compressor, LayerSpec, Place, Role, Stage, WeightTransform, checked};
use litesnn_framework::spiking::custom_function;
use litesnn_framework::spiking::parallel::{BLOCK, Pointer, for_blocks, for_parts, parts, simd};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use tch::{Device, Kind, Tensor};

const NAME: &str = "gaussian-quantize";

/// Settings of `gaussian-quantize`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GaussianQuantize {
    /// Candidate bit-widths of the cells' weights, ascending; one candidate is uniform quantisation. From 1, 2, 3, 4, 5, 6, 8.
    #[serde(default = "paper_bits", deserialize_with = "candidates")]
    #[schemars(length(min = 1), inner(range(min = 1, max = 8)), extend("x-unit" = "bits"))]
    pub bits: Vec<u32>,
    /// Bit-width of the stem and the classifier in the final network.
    #[serde(default = "paper_outside_bits", deserialize_with = "width")]
    #[schemars(range(min = 1, max = 8), extend("x-unit" = "bits"))]
    pub outside_bits: u32,
}

fn paper_bits() -> Vec<u32> {
    vec![1, 2, 4]
}

fn paper_outside_bits() -> u32 {
    4
}

/// Bit-widths with the uniform step of least squared error for N(0, 1).
const STEPS: [(u32, f64); 7] = [(1, 1.596), (2, 0.996), (3, 0.586), (4, 0.336), (5, 0.188), (6, 0.104), (8, 0.0307)];

fn step_of(bits: u32) -> Option<f64> {
    STEPS.iter().find(|(known, _)| *known == bits).map(|(_, step)| *step)
}

pub(crate) fn candidates<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u32>, D::Error> {
    let rule = "a list of bit-widths, ascending, each one of 1, 2, 3, 4, 5, 6, 8";
    let ascending = |bits: &[u32]| bits.windows(2).all(|pair| pair[0] < pair[1]);
    let holds =
        |bits: &Vec<u32>| !bits.is_empty() && ascending(bits) && bits.iter().all(|&bits| step_of(bits).is_some());
    checked(input, holds, rule)
}

pub(crate) fn width<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    checked(input, |&bits| step_of(bits).is_some(), "a bit-width of 1, 2, 3, 4, 5, 6, 8")
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
    fn stage(&self) -> Stage {
        Stage::Quantize
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
        let choice = BitChoice::attach(NAME, layer, weight, (&self.bits, self.outside_bits), decided, build)?;
        Ok(Box::new(MixedQuantizer { choice }))
    }
}

/// Which of several bit-widths the weights of a group of layers have: open in a search, decided afterwards.
pub(crate) struct BitChoice {
    group: String,
    /// Bit-widths, ascending; one when nothing is open.
    pub(crate) candidates: Vec<u32>,
    /// beta; absent with one candidate.
    logits: Option<Tensor>,
    device: Device,
    /// Whether a search is to record its decision.
    pub(crate) searched: bool,
}

impl BitChoice {
    /// The choice of compressor `name` for a layer; `widths` are its candidates for cells and its bit-width outside of them.
    pub(crate) fn attach(
        name: &str,
        layer: &LayerSpec,
        weight: &Tensor,
        widths: (&[u32], u32),
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<BitChoice> {
        let refuse = |message: String| Error::Plugin { kind: "compressor", name: name.into(), message };
        if weight.numel() < 2 {
            return Err(refuse(format!("layer `{}` has one weight, which has no standard deviation", layer.name)));
        }
        let (bits, outside) = widths;
        let group = layer.place.group();
        let chosen = match (layer.place, decided) {
            (Place::Cell(_), None) => None,
            (Place::Cell(_), Some(decisions)) => match decisions.get(&group).and_then(|decision| decision.bits) {
                Some(found) if bits.contains(&found) => Some(found),
                Some(found) => {
                    return Err(refuse(format!(
                        "the design gives {group} {found} bits, and the manifest's candidates are {bits:?}"
                    )));
                }
                None if bits.len() == 1 => Some(bits[0]),
                None => {
                    return Err(refuse(format!(
                        "the design has no bits for {group}, and the manifest leaves a choice of {bits:?}; \
                         name one candidate, or take a design with [compression.{name}]"
                    )));
                }
            },
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
        Ok(BitChoice { group, candidates, logits, device: weight.device(), searched: decided.is_none() })
    }

    /// softmax(beta), `[candidates]`.
    pub(crate) fn probabilities(&self) -> Tensor {
        match &self.logits {
            Some(logits) => logits.softmax(0, Kind::Float),
            None => Tensor::ones([1], (Kind::Float, self.device)),
        }
    }

    /// The step of the one candidate that is left.
    pub(crate) fn step(&self, weight: &Tensor) -> Option<Tensor> {
        let &[bits] = self.candidates.as_slice() else { return None };
        Some(weight.std(true) * step_of(bits).expect("settings were checked"))
    }

    /// Expected bits, a scalar (paper, Eq. 19).
    pub(crate) fn expected(&self) -> Tensor {
        let widths: Vec<f32> = self.candidates.iter().map(|&bits| bits as f32).collect();
        (self.probabilities() * Tensor::from_slice(&widths).to_device(self.device)).sum(Kind::Float)
    }

    /// The candidate of the largest beta.
    pub(crate) fn chosen(&self) -> usize {
        self.logits.as_ref().map_or(0, |logits| logits.argmax(0, false).int64_value(&[]) as usize)
    }

    /// What a search decided for the group.
    pub(crate) fn decide(&self, rate: Option<f64>) -> Option<(String, Decision)> {
        let decision = Decision { bits: Some(self.candidates[self.chosen()]), rate };
        self.searched.then(|| (self.group.clone(), decision))
    }
}

/// `2 bits`: how the record names a form of a weight.
pub(crate) fn form_name(bits: u32) -> String {
    format!("{bits} bit{}", if bits == 1 { "" } else { "s" })
}

struct MixedQuantizer {
    choice: BitChoice,
}

impl WeightTransform for MixedQuantizer {
    fn transform(&self, weight: &Tensor) -> Tensor {
        mixed_quantize(weight, &self.choice.probabilities(), &self.choice.candidates)
    }

    fn step(&self, weight: &Tensor) -> Option<Tensor> {
        self.choice.step(weight)
    }

    fn bits(&self) -> Option<Tensor> {
        Some(self.choice.expected())
    }

    fn forms(&self, weight: &Tensor) -> Vec<(String, Tensor)> {
        let sigma = weight.std(true);
        let form = |bits: u32| (form_name(bits), quantize(weight, &sigma, bits));
        self.choice.candidates.iter().map(|&bits| form(bits)).collect()
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.choice.decide(None)
    }
}

/// Q_b(w) for a weight of standard deviation `sigma` (a scalar tensor).
pub(crate) fn quantize(weight: &Tensor, sigma: &Tensor, bits: u32) -> Tensor {
    let step = sigma * step_of(bits).expect("settings were checked");
    let limit = f64::from(2u32.pow(bits)) / 2.0 - 0.5;
    ((weight / &step + 0.5).round() - 0.5).clamp(-limit, limit) * step
}

/// sum_b p_b Q_b(W) as one autograd node with the straight-through gradient. The forms Q_b(W) are computed again for the gradient to
/// the probabilities, and never kept.
pub(crate) fn mixed_quantize(weight: &Tensor, probabilities: &Tensor, candidates: &[u32]) -> Tensor {
    let kernel = weight.device() == Device::Cpu && weight.kind() == Kind::Float;
    let (widths, again) = (candidates.to_vec(), candidates.to_vec());
    let (probable, learned) = (probabilities.detach(), probabilities.requires_grad());
    let forward = || {
        let mixed = if kernel {
            let weight = weight.detach().contiguous();
            mix(&weight, &levels(&weight, &widths), &Vec::<f32>::try_from(&probable).expect("probabilities are f32"))
        } else {
            let shape: Vec<i64> = std::iter::once(-1).chain(weight.size().iter().map(|_| 1)).collect();
            (forms(weight, &widths) * probable.view(shape.as_slice())).sum_dim_intlist(0, false, Kind::Float)
        };
        (vec![mixed], vec![weight.detach()])
    };
    let backward = move |gradients: &[Tensor], saved: &[Tensor]| {
        let gradient = &gradients[0];
        let to_probabilities = learned.then(|| {
            if kernel {
                let weight = saved[0].contiguous();
                return products(&gradient.contiguous(), &weight, &levels(&weight, &again));
            }
            let products = forms(&saved[0], &again) * gradient.unsqueeze(0);
            products.flatten(1, -1).sum_dim_intlist(1, false, Kind::Float)
        });
        vec![Some(gradient.shallow_clone()), to_probabilities]
    };
    custom_function(&[weight, probabilities], forward, backward).pop().expect("one output was given")
}

/// Q_b(W) for every candidate, `[candidates, ...]`.
fn forms(weight: &Tensor, candidates: &[u32]) -> Tensor {
    let sigma = weight.std(true);
    let forms: Vec<Tensor> = candidates.iter().map(|&bits| quantize(weight, &sigma, bits)).collect();
    Tensor::stack(&forms, 0)
}

/// Step and largest level, in steps, of each candidate for a contiguous weight.
fn levels(weight: &Tensor, candidates: &[u32]) -> Vec<(f32, f32)> {
    let (count, values) = (weight.numel(), Pointer::of(weight));
    let mut sums = vec![[0f64; 2]; parts()];
    let slots = Pointer::to(&mut sums);
    for_parts(count, |part, begin, end| {
        let mut own = [0f64; 2];
        for first in (begin..end).step_by(BLOCK) {
            let mut block = [0f32; 2];
            // SAFETY: the values of this part.
            unsafe { square_sums(values.get(), first, (first + BLOCK).min(end), &mut block) };
            own[0] += f64::from(block[0]);
            own[1] += f64::from(block[1]);
        }
        // SAFETY: a slot for each part.
        unsafe { *slots.get().cast::<[f64; 2]>().add(part) = own };
    });
    let [sum, squares] = sums.iter().fold([0.0; 2], |all, part| [all[0] + part[0], all[1] + part[1]]);
    let variance = (squares - sum * sum / count as f64).max(0.0) / (count as f64 - 1.0);
    let sigma = variance.sqrt() as f32;
    let level = |&bits: &u32| {
        let step = sigma * step_of(bits).expect("settings were checked") as f32;
        (step, (f64::from(2u32.pow(bits)) / 2.0 - 0.5) as f32)
    };
    candidates.iter().map(level).collect()
}

fn mix(weight: &Tensor, levels: &[(f32, f32)], probabilities: &[f32]) -> Tensor {
    let mixed = weight.empty_like();
    let (w, out) = (Pointer::of(weight), Pointer::of(&mixed));
    for_blocks(weight.numel(), |begin, end| {
        // SAFETY: blocks do not overlap.
        unsafe { mix_block(w.get(), out.get(), begin, end, levels, probabilities) };
    });
    mixed
}

/// The sum of the gradient times Q_b(W) for every candidate.
fn products(gradient: &Tensor, weight: &Tensor, levels: &[(f32, f32)]) -> Tensor {
    let (g, w) = (Pointer::of(gradient), Pointer::of(weight));
    let mut sums = vec![0f64; parts() * levels.len()];
    let slots = Pointer::to(&mut sums);
    for_parts(weight.numel(), |part, begin, end| {
        // SAFETY: a slot for each part.
        let own =
            unsafe { std::slice::from_raw_parts_mut(slots.get().cast::<f64>().add(part * levels.len()), levels.len()) };
        for first in (begin..end).step_by(BLOCK) {
            for (sum, level) in own.iter_mut().zip(levels) {
                let mut block = [0f32; 1];
                // SAFETY: the values of this part.
                unsafe { product_block(g.get(), w.get(), first, (first + BLOCK).min(end), *level, &mut block) };
                *sum += f64::from(block[0]);
            }
        }
    });
    let of = |candidate: usize| (0..parts()).map(|part| sums[part * levels.len() + candidate]).sum::<f64>() as f32;
    Tensor::from_slice(&(0..levels.len()).map(of).collect::<Vec<_>>())
}

/// As [`quantize`], in its order of operations.
#[inline(always)]
fn level_of(value: f32, (step, limit): (f32, f32)) -> f32 {
    ((value / step + 0.5).round_ties_even() - 0.5).clamp(-limit, limit) * step
}

/// Partial sums of a block: as many as a vector has lanes.
const LANES: usize = 16;

simd! {
    unsafe fn square_sums(w: *const f32, begin: usize, end: usize, sums: &mut [f32; 2]) {
        let values = std::slice::from_raw_parts(w.add(begin), end - begin);
        let (mut first, mut second) = ([0f32; LANES], [0f32; LANES]);
        // Whole chunks become vectors.
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                first[i] += chunk[i];
                second[i] += chunk[i] * chunk[i];
            }
        }
        for (i, value) in rest.iter().enumerate() {
            first[i] += value;
            second[i] += value * value;
        }
        *sums = [first.iter().sum(), second.iter().sum()];
    }
}

simd! {
    unsafe fn mix_block(
        w: *const f32, out: *mut f32, begin: usize, end: usize, levels: &[(f32, f32)], probabilities: &[f32],
    ) {
        let values = std::slice::from_raw_parts(w.add(begin), end - begin);
        let out = std::slice::from_raw_parts_mut(out.add(begin), end - begin);
        out.fill(0.0);
        for (level, probability) in levels.iter().zip(probabilities) {
            for (mixed, value) in out.iter_mut().zip(values) {
                *mixed += level_of(*value, *level) * probability;
            }
        }
    }
}

simd! {
    unsafe fn product_block(g: *const f32, w: *const f32, begin: usize, end: usize, level: (f32, f32), sum: &mut [f32; 1]) {
        let values = std::slice::from_raw_parts(w.add(begin), end - begin);
        let gradients = std::slice::from_raw_parts(g.add(begin), end - begin);
        let mut sums = [0f32; LANES];
        let ((values, rest), (gradients, of_rest)) = (values.as_chunks::<LANES>(), gradients.as_chunks::<LANES>());
        for (values, gradients) in values.iter().zip(gradients) {
            for i in 0..LANES {
                sums[i] += gradients[i] * level_of(values[i], level);
            }
        }
        for (i, (value, gradient)) in rest.iter().zip(of_rest).enumerate() {
            sums[i] += gradient * level_of(*value, level);
        }
        *sum = [sums.iter().sum()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_for_unit_variance_are_the_published_ones() {
        let weight = Tensor::linspace(-5.0, 5.0, 2001, (Kind::Double, Device::Cpu));
        let levels = |bits| {
            let (values, ..) =
                quantize(&weight, &Tensor::from(1f64), bits).unique_consecutive(false, false, None::<i64>);
            Vec::<f64>::try_from(values).unwrap()
        };
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-3, "{got} {want}");
        let one = levels(1);
        assert_eq!(one.len(), 2);
        close(one[1], 0.798);
        let two = levels(2);
        assert_eq!(two.len(), 4);
        close(two[2], 0.498);
        close(two[3], 1.494);
        let four = levels(4);
        assert_eq!(four.len(), 16);
        close(four[8], 0.168);
        close(four[15], 2.52);
    }

    #[test]
    fn zero_rounds_half_to_even_as_published() {
        // round(0.5) = 0, so Q(0) = -d/2.
        assert_eq!(quantize(&Tensor::from(0f64), &Tensor::from(1f64), 1).double_value(&[]), -0.798);
    }

    #[test]
    fn steps_have_the_least_squared_error_for_a_normal_weight() {
        let weight = Tensor::linspace(-6.0, 6.0, 24001, (Kind::Double, Device::Cpu));
        let density: Tensor = (weight.square() * -0.5).exp();
        let error = |bits: u32, step: f64| {
            let limit = f64::from(2u32.pow(bits)) / 2.0 - 0.5;
            let quantised: Tensor = ((&weight / step + 0.5).round() - 0.5).clamp(-limit, limit) * step;
            ((&weight - quantised).square() * &density).sum(Kind::Double).double_value(&[])
        };
        for (bits, step) in STEPS.into_iter().filter(|(bits, _)| *bits <= 6) {
            let here = error(bits, step);
            assert!(here <= error(bits, step * 1.02) && here <= error(bits, step * 0.98), "{bits} bits");
        }
    }

    #[test]
    fn the_fused_node_agrees_with_op_by_op_autograd() {
        tch::manual_seed(1);
        let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
        let values = Tensor::randn([6, 4, 3, 3], (Kind::Float, Device::Cpu));
        let (a, b) = (leaf(values.copy()), leaf(values.copy()));
        let logits = Tensor::from_slice(&[0.3f32, -0.2, 0.1]);
        let (p, q) = (leaf(logits.copy()), leaf(logits.copy()));
        let upstream = values.randn_like();

        let fused = mixed_quantize(&a, &p.softmax(0, Kind::Float), &[1, 2, 4]);
        let mut plain = Tensor::zeros_like(&values);
        let probabilities = q.softmax(0, Kind::Float);
        for (index, bits) in [1, 2, 4].into_iter().enumerate() {
            let quantised = quantize(&b.detach(), &b.detach().std(true), bits);
            let straight_through = &b + (quantised - &b).detach();
            plain += straight_through * probabilities.get(index as i64);
        }
        assert!((&fused - &plain).abs().max().double_value(&[]) < 1e-6);
        (fused * &upstream).sum(Kind::Float).backward();
        (plain * &upstream).sum(Kind::Float).backward();
        assert!((a.grad() - b.grad()).abs().max().double_value(&[]) < 1e-5);
        assert!((p.grad() - q.grad()).abs().max().double_value(&[]) < 1e-4, "{:?} {:?}", p.grad(), q.grad());
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_with_the_known_ones() {
        for bits in ["[7]", "[]", "[4, 2]"] {
            let error =
                serde_json::from_str::<GaussianQuantize>(&format!("{{ \"bits\": {bits} }}")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{bits} is not a list of bit-widths, ascending")), "{error}");
        }
    }
}
