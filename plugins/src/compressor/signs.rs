//! The signs of weights, which is all that one bit keeps of them.

use tch::{Kind, Tensor};

/// 1 where a weight is 0 or more, else -1; without gradient.
pub fn signs(weight: &Tensor) -> Tensor {
    weight.detach().ge(0.0).to_kind(Kind::Float) * 2.0 - 1.0
}
