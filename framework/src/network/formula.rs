//! What a transform does, in terms that the kernels of a device know.

use tch::Tensor;

/// What a [`WeightTransform`](super::WeightTransform) does, in terms that the kernels of a device
/// know: they compress all weights that are convolved with one input at once. A transform that has
/// a formula gives the same without kernels.
#[derive(Debug)]
pub enum Formula {
    /// A mixture of levels that are even distances apart. With sigma the standard deviation of the
    /// weight (unbiased, a constant for gradients), d_b = `unit` · sigma, p = softmax(`logits`),
    ///
    /// ```text
    /// Q_b(w) = clamp(round(w / d_b + 1/2) - 1/2, ±limit) · d_b          ties to even
    /// W'     = sum_b p_b · Q_b(W)
    /// ```
    ///
    /// straight-through: dW'/dW = 1, dW'/dp_b = Q_b(W).
    Levels {
        /// `[levels]`, f32; absent where there is one form.
        logits: Option<Tensor>,
        /// The forms, 8 at most.
        levels: Vec<Level>,
    },
    /// A mask M of ones on the `kept` largest |scores|, of equal ones on the first.
    Largest {
        /// Of the weight's shape, f32.
        scores: Tensor,
        /// How many stay.
        kept: i64,
        /// Whether dL/dS = dL/dM · sign(S); else scores have no gradient.
        learned: bool,
    },
}

/// Levels of one form: see [`Formula::Levels`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Distance of two levels of a weight of standard deviation 1.
    pub unit: f64,
    /// The largest level, in such distances.
    pub limit: f64,
}
