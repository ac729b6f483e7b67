//! Dropout in a spiking network: one mask for all timesteps of a sample.
//!
//! Source: Srivastava et al., JMLR 2014; the mask is drawn once for a sample and holds at each of
//! its timesteps, as in Lee et al., Frontiers in Neuroscience 2020, and in SpikingJelly.
//!
//! ```text
//! y(t) = x(t) · m / (1 - p)        m = 0 with probability p, else 1        m [B, ...] for x [T, B, ...]
//! ```
//!
//! The masks come from a counter-based generator, whose state is a tensor of 64 bits: a buffer, which
//! a checkpoint holds and which a CUDA graph advances as it is replayed. Pass k of a network has the
//! key s_k, and element i of its mask is the i-th number of SplitMix64 (Steele, Lea and Flood,
//! OOPSLA 2014) that begins there:
//!
//! ```text
//! s_{k+1} = s_k + STEP        m_i = 1 if (mix(mix(s_k) + (i + 1) · GOLDEN) >> 40) >= p · 2^24
//! ```
//!
//! All of it is arithmetic on integers, so that every device draws the same mask.

use tch::{Kind, Tensor};

use super::time::{fold_time, unfold_time};
use crate::ground::Build;

/// 2^64 over the golden ratio, odd: the step of SplitMix64 from one number to the next.
const GOLDEN: i64 = 0x9E37_79B9_7F4A_7C15_u64 as i64;
/// From the key of one pass to that of the next: odd, and another number than [`GOLDEN`], so that
/// one mask is not the mask before moved by a place.
const STEP: i64 = 0xD134_2543_DE82_EF95_u64 as i64;
/// Bits of a number that decide about an element.
const DECIDING: i64 = 24;

/// Dropout with the same mask at all timesteps.
#[derive(Debug)]
pub struct Dropout {
    rate: f64,
    /// The key of the next mask, `[1]`, i64.
    state: Tensor,
}

impl Dropout {
    /// Sets each element to zero with probability `rate`, at least 0 and below 1.
    pub fn new(rate: f64, build: &mut Build) -> Dropout {
        let state = Tensor::from_slice(&[build.key("state")]);
        Dropout { rate, state: build.buffer("state", state) }
    }

    /// Drops elements of `x` `[T·B, ...]`, and advances to the next mask; outside of training x as
    /// it is.
    pub fn forward(&self, x: &Tensor, timesteps: i64, training: bool) -> Tensor {
        if !training || self.rate == 0.0 {
            return x.shallow_clone();
        }
        let x = unfold_time(x, timesteps);
        let mask = tch::no_grad(|| {
            let mask = self.mask(&x.size()[1..]).to_kind(x.kind()) / (1.0 - self.rate);
            let _ = self.state.shallow_clone().g_add_scalar_(STEP);
            mask
        });
        fold_time(&(x * mask))
    }

    /// Where elements of this shape are kept in this pass.
    fn mask(&self, shape: &[i64]) -> Tensor {
        let count: i64 = shape.iter().product();
        let numbers = split_mix(&mixed(&self.state), count);
        let threshold = (self.rate * f64::from(1 << DECIDING)).round() as i64;
        shifted(&numbers, 64 - DECIDING).ge(threshold).view(shape)
    }
}

/// The first `count` numbers of SplitMix64 that begins at `state`, `[1]`.
fn split_mix(state: &Tensor, count: i64) -> Tensor {
    let places = Tensor::arange_start(1, count + 1, (Kind::Int64, state.device()));
    mixed(&(places * GOLDEN + state))
}

/// The finaliser of SplitMix64.
fn mixed(z: &Tensor) -> Tensor {
    let z = z.bitwise_xor_tensor(&shifted(z, 30)) * (0xBF58_476D_1CE4_E5B9_u64 as i64);
    let z = z.bitwise_xor_tensor(&shifted(&z, 27)) * (0x94D0_49BB_1331_11EB_u64 as i64);
    z.bitwise_xor_tensor(&shifted(&z, 31))
}

/// Bits moved to the right, zeros behind them: libtorch's own shift keeps the sign.
fn shifted(z: &Tensor, bits: i64) -> Tensor {
    z.bitwise_right_shift_tensor_scalar(bits).bitwise_and((1i64 << (64 - bits)) - 1)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::ground::Parameters;

    fn dropout(rate: f64) -> (Dropout, Parameters) {
        let mut parameters = Parameters::default();
        let dropout = Dropout::new(rate, &mut Build::new(&mut parameters, 5, Device::Cpu).at("drop"));
        (dropout, parameters)
    }

    /// Vigna's reference implementation of SplitMix64 begins so from the seed 1234567.
    #[test]
    fn numbers_are_those_of_split_mix() {
        let numbers = Vec::<i64>::try_from(split_mix(&Tensor::from_slice(&[1_234_567i64]), 5)).unwrap();
        let want: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(numbers, want.map(|number| number as i64));
    }

    #[test]
    fn a_sample_has_one_mask_for_all_timesteps_and_each_pass_another() {
        let (dropout, _parameters) = dropout(0.25);
        let x = Tensor::ones([3 * 4, 5, 40, 40], (Kind::Float, Device::Cpu));
        let first = unfold_time(&dropout.forward(&x, 3, true), 3);
        assert!(first.get(0).equal(&first.get(1)) && first.get(0).equal(&first.get(2)));
        assert!(!first.get(0).get(0).equal(&first.get(0).get(1)));
        let second = unfold_time(&dropout.forward(&x, 3, true), 3);
        for mask in [first.get(0), second.get(0)] {
            // 32,000 draws: a deviation of 0.0024 of the kept fraction, and 0.0032 of the mean.
            let kept = mask.ne(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
            assert!((kept - 0.75).abs() < 0.01, "{kept}");
            assert!((mask.max().double_value(&[]) - 1.0 / 0.75).abs() < 1e-6);
        }
        // Two independent masks keep an element both with probability 0.75².
        let both = (first.get(0).ne(0.0).logical_and(&second.get(0).ne(0.0))).to_kind(Kind::Double);
        assert!((both.mean(Kind::Double).double_value(&[]) - 0.5625).abs() < 0.01);
        assert!(dropout.forward(&x, 3, false).equal(&x));
    }

    #[test]
    fn the_state_is_a_tensor_that_a_checkpoint_holds_and_that_resumes_the_masks() {
        let x = Tensor::ones([4, 50], (Kind::Float, Device::Cpu));
        let (one, parameters) = dropout(0.5);
        let _ = one.forward(&x, 2, true);
        let (name, state) = &parameters.buffers()[0];
        assert_eq!((name.as_str(), state.kind()), ("drop.state", Kind::Int64));
        let kept = state.copy();
        let want = one.forward(&x, 2, true);
        let (again, parameters) = dropout(0.5);
        assert!(!again.forward(&x, 2, true).equal(&want));
        parameters.buffers()[0].1.shallow_clone().copy_(&kept);
        assert!(again.forward(&x, 2, true).equal(&want));
    }

    #[test]
    fn what_is_dropped_has_no_gradient() {
        let (dropout, _parameters) = dropout(0.5);
        let x = Tensor::ones([2 * 3, 20], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let y = dropout.forward(&x, 2, true);
        y.sum(Kind::Float).backward();
        assert!(x.grad().equal(&y.detach()));
    }
}
