//! Early exit: an image stops at the first timestep whose answer is sure enough.
//!
//! Sources: Li et al., DT-SNN, DAC 2023 (entropy of the mean prefix); Li et al., SEENN, NeurIPS 2023
//! (SEENN-I, confidence).

use tch::{Kind, Tensor};

/// When an image stops.
pub trait EarlyExit {
    /// The threshold of the trial's result.
    fn threshold(&self) -> f64;

    /// The thresholds at which the record says what the result would be.
    fn thresholds(&self) -> &[f64];

    /// Whether each image may stop after each timestep: logits O `[T, B, K]` to booleans `[T, B]`.
    ///
    /// The answer of timestep t depends on the image's own O(1), ..., O(t) and on nothing else. That
    /// of the last timestep is not asked for: every image stops there.
    fn stops(&self, logits: &Tensor, threshold: f64) -> Tensor;

    /// The same rule for the engine; `None` where it has none.
    fn packed(&self) -> Option<litesnn_engine::EarlyExit> {
        None
    }
}

/// Mean logits of every prefix, f_t = (1/t) sum_{i<=t} O(i): `[T, B, K]` to `[T, B, K]`. Each is to
/// the bit what a network of t timesteps answers.
pub fn prefix_means(logits: &Tensor) -> Tensor {
    let steps = logits.size()[0];
    let means: Vec<Tensor> =
        (1..=steps).map(|count| logits.narrow(0, 0, count).mean_dim(0, false, None::<Kind>)).collect();
    Tensor::stack(&means, 0)
}

/// The first timestep, from 1, at which each image has a yes, or T: booleans `[T, B]` to `[B]`.
pub fn first_timestep(yes: &Tensor) -> Tensor {
    let but_last = yes.narrow(0, 0, yes.size()[0] - 1).to_kind(Kind::Int64);
    but_last.cumsum(0, Kind::Int64).eq(0).sum_dim_intlist(0, false, Kind::Int64) + 1
}

/// Fraction of images that run each of timesteps 1, 2, ..., T, where these fractions of them stop
/// after each: r_t = sum_{i>=t} s_i.
pub fn running(stopped: &[f64]) -> Vec<f64> {
    let mut running = stopped.to_vec();
    for timestep in (1..running.len()).rev() {
        running[timestep - 1] += running[timestep];
    }
    running
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;

    #[test]
    fn the_first_yes_counts_and_the_last_timestep_needs_none() {
        let yes = |answers: &[[bool; 3]]| {
            let flat: Vec<bool> = answers.iter().flatten().copied().collect();
            Vec::<i64>::try_from(first_timestep(&Tensor::from_slice(&flat).view([-1, 3]))).unwrap()
        };
        assert_eq!(yes(&[[true, false, false], [false, true, false], [true, true, false]]), [1, 2, 3]);
        assert_eq!(yes(&[[false, true, false]]), [1, 1, 1]);
    }

    /// SEENN's AET of C/N = (.90, .93, .94, .95): (90 + 2·3 + 3·1 + 4·1 + 4·5)/100.
    #[test]
    fn the_mean_first_right_timestep_is_seenns() {
        let right = |of: &[i64]| {
            let rows: Vec<Tensor> =
                of.iter().map(|count| Tensor::arange(100, (Kind::Int64, tch::Device::Cpu)).lt(*count)).collect();
            first_timestep(&Tensor::stack(&rows, 0)).mean(Kind::Double).double_value(&[])
        };
        assert!((right(&[90, 93, 94, 95]) - 1.23).abs() < 1e-12);
    }

    #[test]
    fn an_image_runs_until_it_stops() {
        assert_eq!(running(&[0.5, 0.25, 0.0, 0.25]), [1.0, 0.5, 0.25, 0.25]);
        assert_eq!(running(&[0.0, 0.0, 1.0]), [1.0; 3]);
    }

    #[test]
    fn the_last_prefix_is_the_mean_to_the_bit_and_the_first_is_the_first_timestep() {
        let logits = Stream::numbered(1).normal(&[6, 40, 10]);
        let prefixes = prefix_means(&logits);
        assert!(prefixes.get(5).equal(&logits.mean_dim(0, false, None::<Kind>)));
        assert!(prefixes.get(0).equal(&logits.get(0)));
    }
}
