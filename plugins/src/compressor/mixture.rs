//! A mixture of several forms of a weight as one autograd node.
//!
//! ```text
//! W' = sum_i p_i · Q_i(W)          dW'/dp_i = Q_i(W)          dW'/dW by a rule of its own
//! ```

use litesnn_framework::spiking::custom_function;
use tch::{Kind, Tensor};

/// The mixture of `forms(W)`, `[forms, ...]`, by `probabilities`, `[forms]`. `passed` makes dL/dW of
/// dL/dW' and W. The forms are computed again for the gradient to the probabilities, and never kept.
pub fn mixture(
    weight: &Tensor,
    probabilities: &Tensor,
    forms: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static,
    passed: impl Fn(&Tensor, &Tensor) -> Tensor + Send + Sync + 'static,
) -> Tensor {
    let (probable, learned) = (probabilities.detach(), probabilities.requires_grad());
    let mixed = {
        let shape: Vec<i64> = std::iter::once(-1).chain(weight.size().iter().map(|_| 1)).collect();
        tch::no_grad(|| (forms(weight) * probable.view(shape.as_slice())).sum_dim_intlist(0, false, Kind::Float))
    };
    let backward = move |gradients: &[Tensor], saved: &[Tensor]| {
        let (gradient, weight) = (&gradients[0], &saved[0]);
        let to_probabilities = learned.then(|| {
            let products = forms(weight) * gradient.unsqueeze(0);
            products.flatten(1, -1).sum_dim_intlist(1, false, Kind::Float)
        });
        vec![Some(passed(gradient, weight)), to_probabilities]
    };
    let forward = || (vec![mixed], vec![weight.detach()]);
    custom_function(&[weight, probabilities], forward, backward).pop().expect("one output was given")
}
