//! Timestep searchers: how many timesteps the network runs.

use tch::{Kind, Tensor};

use super::early_exit::EarlyExit;
use crate::Result;
use crate::ground::Build;

/// Chooses among 1..=[`max`](TimestepSearcher::max) timesteps.
#[typetag::serde]
pub trait TimestepSearcher: std::fmt::Debug + Send + Sync {
    /// The largest number of timesteps, which the supernet runs.
    fn max(&self) -> i64;

    /// The number of timesteps, when there is nothing to search.
    fn fixed(&self) -> Option<i64> {
        None
    }

    /// Epochs of a search in which the trainable part stays as it was drawn.
    fn warmup(&self) -> usize {
        0
    }

    /// When an image stops before the last timestep, in the test of the final network; `None` where
    /// all images run all timesteps.
    fn early_exit(&self) -> Option<&dyn EarlyExit> {
        None
    }

    /// Creates the trainable part.
    fn attach(&self, build: &mut Build) -> Result<Box<dyn TimestepGate>>;
}

/// The trainable part of a timestep searcher.
pub trait TimestepGate {
    /// Relative weight of each number of timesteps 1..=T, `[T]`, summing to 1; differentiable
    /// unless `epoch` (from 0) is a warm-up epoch.
    fn weights(&self, epoch: usize) -> Tensor;

    /// The number of timesteps to keep.
    fn decide(&self) -> i64;
}

/// Weight with which timestep t counts: P(T >= t) = sum of w_i over i >= t. `[T]` to `[T]` (paper,
/// Eq. 14).
///
/// With w = [0, 0, 0, 0, 0.6, 0.4], the first five timesteps count fully and the sixth by 0.4.
pub fn exceedance(weights: &Tensor) -> Tensor {
    weights.flip([0]).cumsum(0, None::<Kind>).flip([0])
}

/// Cross-entropy of the mean over the first i timesteps' logits, for every i: `[T, B, K]` and `[B]`
/// to `[T]`.
///
/// The inner part of paper Eq. 17: CE_i = CE((1/i) sum_{t<=i} O(t), y).
pub fn prefix_cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    let (steps, batch, _) = logits.size3().expect("logits are [T, B, K]");
    let counts = Tensor::arange_start(1, steps + 1, (logits.kind(), logits.device())).view([steps, 1, 1]);
    let mean = logits.cumsum(0, None::<Kind>) / counts;
    let index = labels.view([1, batch, 1]).expand([steps, batch, 1], false);
    -mean.log_softmax(2, None::<Kind>).gather(2, &index, false).mean_dim([1i64, 2].as_slice(), false, None::<Kind>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Stream;

    #[test]
    fn exceedance_is_the_papers_example() {
        let weights = Tensor::from_slice(&[0f32, 0., 0., 0., 0.6, 0.4]);
        let counted = Vec::<f32>::try_from(exceedance(&weights)).unwrap();
        for (got, want) in counted.iter().zip([1., 1., 1., 1., 1., 0.4]) {
            assert!((got - want).abs() < 1e-6, "{counted:?}");
        }
    }

    #[test]
    fn prefix_cross_entropy_agrees_with_one_cross_entropy_for_each_prefix() {
        let logits = Stream::numbered(1).normal(&[4, 5, 3]).to_kind(Kind::Double);
        let labels = Tensor::from_slice(&[0i64, 1, 2, 1, 0]);
        let all = prefix_cross_entropy(&logits, &labels);
        for count in 1..=4 {
            let want = logits
                .narrow(0, 0, count)
                .mean_dim(0, false, None::<Kind>)
                .log_softmax(1, None::<Kind>)
                .nll_loss(&labels);
            let got = all.double_value(&[count - 1]);
            assert!((got - want.double_value(&[])).abs() < 1e-12, "{count}: {got} {want:?}");
        }
    }
}
