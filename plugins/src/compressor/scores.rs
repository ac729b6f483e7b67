//! Trained importance scores: what they start from, and the mask that they give.
//!
//! Source and formulas are those of `score-prune`.

use litesnn_framework::spiking::custom_function;
use tch::Tensor;

use super::mask::largest_mask;

/// sqrt(6 / fan_in) · W / max|W|.
pub fn initial_scores(weight: &Tensor) -> Tensor {
    let fan_in = weight.size()[1..].iter().product::<i64>().max(1) as f64;
    let largest = weight.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
    weight.detach() * ((6.0 / fan_in).sqrt() / largest)
}

/// Ones on the `kept` scores of largest magnitude, as one autograd node with the straight-through
/// gradient.
pub fn top_mask(scores: &Tensor, kept: i64) -> Tensor {
    straight_through(scores, &largest_mask(scores, kept))
}

/// `mask` with the gradient to the scores that it was made from: dL/dS = dL/dM · sign(S).
pub fn straight_through(scores: &Tensor, mask: &Tensor) -> Tensor {
    let forward = || (vec![mask.shallow_clone()], vec![scores.detach()]);
    let backward = |gradients: &[Tensor], saved: &[Tensor]| vec![Some(&gradients[0] * saved[0].sign())];
    custom_function(&[scores], forward, backward).pop().expect("one output was given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_mask_keeps_the_largest_magnitudes_and_exactly_as_many_with_ties() {
        let scores = Tensor::from_slice(&[0.1f32, -0.9, 0.5, -0.2]);
        assert_eq!(Vec::<f32>::try_from(top_mask(&scores, 2)).unwrap(), [0., 1., 1., 0.]);
        let ties = Tensor::ones([7], (Kind::Float, Device::Cpu));
        assert_eq!(top_mask(&ties, 3).sum(Kind::Float).double_value(&[]), 3.0);
    }

    #[test]
    fn the_gradient_passes_straight_through_with_the_sign_of_the_score() {
        let scores = Tensor::from_slice(&[0.1f32, -0.9, 0.5, -0.2]).set_requires_grad(true);
        let upstream = Tensor::from_slice(&[1f32, 2., 3., 4.]);
        (top_mask(&scores, 2) * upstream).sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(scores.grad()).unwrap(), [1., -2., 3., -4.]);
    }
}
