//! The levels of the Gaussian quantiser, and a mixture of several bit-widths as one autograd node.
//!
//! Sources and formulas are those of `gaussian-quantize`: levels are d_b = c_b · sigma apart, and
//! W' = sum_b p_b · Q_b(W).

use litesnn_framework::network::{LayerSpec, Level};
use litesnn_framework::spiking::custom_function;
use litesnn_framework::spiking::parallel::{BLOCK, Pointer, for_blocks, for_parts, parts, simd};
use litesnn_framework::{Error, Result};
use tch::{Device, Kind, Tensor};

use super::mixture::mixture;

/// Bit-widths with the uniform step of least squared error for N(0, 1).
const STEPS: [(u32, f64); 7] = [(1, 1.596), (2, 0.996), (3, 0.586), (4, 0.336), (5, 0.188), (6, 0.104), (8, 0.0307)];

/// The bit-widths that have levels, ascending: what a setting can name.
pub const WIDTHS: [u32; STEPS.len()] = {
    let mut widths = [0; STEPS.len()];
    let mut at = 0;
    while at < STEPS.len() {
        widths[at] = STEPS[at].0;
        at += 1;
    }
    widths
};

/// c_b.
fn unit_step(bits: u32) -> f64 {
    let known = STEPS.iter().find(|(known, _)| *known == bits);
    known.expect("settings name bit-widths that have levels").1
}

/// The largest level, in steps.
fn limit(bits: u32) -> f64 {
    f64::from(2u32.pow(bits)) / 2.0 - 0.5
}

/// d_b for a weight of standard deviation `sigma` (a scalar tensor).
pub fn step(sigma: &Tensor, bits: u32) -> Tensor {
    sigma * unit_step(bits)
}

/// The levels of a bit-width in terms that kernels know.
pub fn level(bits: u32) -> Level {
    Level { unit: unit_step(bits), limit: limit(bits) }
}

/// Q_b(w) for a weight of standard deviation `sigma` (a scalar tensor).
pub fn quantize(weight: &Tensor, sigma: &Tensor, bits: u32) -> Tensor {
    let (step, limit) = (step(sigma, bits), limit(bits));
    ((weight / &step + 0.5).round() - 0.5).clamp(-limit, limit) * step
}

/// Refuses a layer of one weight, on which compressor `name` would divide by zero.
pub fn require_deviation(name: &str, layer: &LayerSpec, weight: &Tensor) -> Result<()> {
    if weight.numel() > 1 {
        return Ok(());
    }
    let message = format!("layer `{}` has one weight, which has no standard deviation", layer.name);
    Err(Error::Plugin { kind: "compressor", name: name.into(), message })
}

/// A form of a weight as the record has it: its name, `2 bits`, and Q_b(W).
pub fn named_form(weight: &Tensor, bits: u32) -> (String, Tensor) {
    let name = format!("{bits} bit{}", if bits == 1 { "" } else { "s" });
    (name, quantize(weight, &weight.std(true), bits))
}

/// sum_b p_b Q_b(W) as one autograd node with the straight-through gradient. The forms Q_b(W) are
/// computed again for the gradient to the probabilities, and never kept.
pub fn mixed_quantize(weight: &Tensor, probabilities: &Tensor, candidates: &[u32]) -> Tensor {
    if weight.device() != Device::Cpu || weight.kind() != Kind::Float {
        let candidates = candidates.to_vec();
        let forms = move |weight: &Tensor| forms(weight, &candidates);
        return mixture(weight, probabilities, forms, |gradient, _| gradient.shallow_clone());
    }
    let (widths, again) = (candidates.to_vec(), candidates.to_vec());
    let (probable, learned) = (probabilities.detach(), probabilities.requires_grad());
    let forward = || {
        let weight = weight.detach();
        let probable = Vec::<f32>::try_from(&probable).expect("probabilities are f32");
        let contiguous = weight.contiguous();
        (vec![mix(&contiguous, &levels(&contiguous, &widths), &probable)], vec![weight])
    };
    let backward = move |gradients: &[Tensor], saved: &[Tensor]| {
        let gradient = &gradients[0];
        let to_probabilities = learned.then(|| {
            let weight = saved[0].contiguous();
            products(&gradient.contiguous(), &weight, &levels(&weight, &again))
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
    let level = |&bits: &u32| (sigma * unit_step(bits) as f32, limit(bits) as f32);
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
    use litesnn_framework::ground::Stream;

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
        let values = Stream::numbered(1).normal(&[6, 4, 3, 3]);
        let (a, b) = (leaf(values.copy()), leaf(values.copy()));
        let logits = Tensor::from_slice(&[0.3f32, -0.2, 0.1]);
        let (p, q) = (leaf(logits.copy()), leaf(logits.copy()));
        let upstream = Stream::numbered(2).normal(&values.size());

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
}
