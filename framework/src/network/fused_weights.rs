//! The weights of convolutions that read the same input, compressed and stacked by kernels: what
//! [`CompressedWeight::value`](super::CompressedWeight::value) and
//! [`stack_weights`](crate::spiking::stack_weights) give one after another, as one autograd node.
//!
//! With q = sum_b p_b Q_b(W) and the mask M (see [`Formula`]), and g the gradient to W',
//!
//! ```text
//! W' = M · q        dL/dW = M · g        dL/dS = g · q · sign(S)        dL/dp_b = sum M · g · Q_b(W)
//! ```
//!
//! Sums are of f64, in an order that does not change. The largest scores are found anew where the
//! scores have changed.

mod bounds;
mod group;
#[cfg(test)]
mod tests;

use tch::{Kind, Tensor};

use super::formula::{Formula, Level};
use crate::spiking::custom_function;
use bounds::{Largest, find_bounds};
use group::Group;

pub(super) use bounds::Bound;

/// Weights that one launch takes: their addresses are handed over by value, 4 KB at most.
const GROUP: usize = 16;
/// Forms that a weight may have.
const FORMS: usize = 8;

/// How a weight becomes what its layer uses.
pub(super) struct Recipe<'a> {
    weight: Tensor,
    logits: Option<Tensor>,
    levels: Vec<Level>,
    largest: Option<Largest<'a>>,
}

impl<'a> Recipe<'a> {
    /// What transforms with these formulas make of `weight`, where kernels can.
    pub(super) fn new(
        weight: &Tensor,
        formulas: impl Iterator<Item = Option<Formula>>,
        bound: &'a Bound,
    ) -> Option<Recipe<'a>> {
        let plain = |tensor: &Tensor| tensor.kind() == Kind::Float && tensor.is_contiguous();
        let mut recipe = Recipe { weight: weight.shallow_clone(), logits: None, levels: Vec::new(), largest: None };
        for formula in formulas {
            match formula? {
                Formula::Levels { logits, levels } if recipe.levels.is_empty() => {
                    (recipe.logits, recipe.levels) = (logits, levels)
                }
                Formula::Largest { scores, kept, learned } if recipe.largest.is_none() => {
                    recipe.largest = Some(Largest { scores, kept, learned, bound });
                }
                _ => return None,
            }
        }
        let forms = recipe.levels.len() <= FORMS && (recipe.logits.is_some() || recipe.levels.len() <= 1);
        let scores = recipe.largest.as_ref().is_none_or(|largest| plain(&largest.scores));
        let shape = matches!(weight.dim(), 2 | 4) && weight.numel() < 1 << 31;
        (forms && scores && shape && plain(weight)).then_some(recipe)
    }

    /// Whether it makes anything else of the weight.
    pub(super) fn changes(&self) -> bool {
        !self.levels.is_empty() || self.largest.is_some()
    }
}

/// The weights of these recipes, one after another: `[sum of out, in, kh, kw]`, the channels last
/// in memory, or `[sum of out, in]`.
pub(super) fn compressed(recipes: &[Recipe]) -> Tensor {
    joined(recipes.chunks(GROUP).map(compressed_group).collect())
}

/// The step of each output channel of these weights, `[sum of out]`, where each has one form.
pub(super) fn steps(recipes: &[Recipe]) -> Option<Tensor> {
    let one = |recipe: &Recipe| recipe.levels.len() == 1;
    let group = |recipes: &[Recipe]| {
        let mut tensors = Vec::new();
        let group = Group::new(recipes, &mut tensors);
        group.steps(&tensors)
    };
    recipes.iter().all(one).then(|| joined(recipes.chunks(GROUP).map(group).collect()))
}

/// Parts one after another; a part alone is not copied.
fn joined(mut parts: Vec<Tensor>) -> Tensor {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(&parts, 0),
    }
}

fn compressed_group(recipes: &[Recipe]) -> Tensor {
    find_bounds(recipes);
    let mut tensors = Vec::new();
    let group = Group::new(recipes, &mut tensors);
    let inputs: Vec<Tensor> = group.inputs.iter().map(|(input, _)| tensors[*input].shallow_clone()).collect();
    let mut saved: Vec<Tensor> = tensors.iter().map(Tensor::detach).collect();
    let (stacked, sums) = tch::no_grad(|| group.forward(&saved));
    saved.push(sums);
    let backward = move |gradients: &[Tensor], saved: &[Tensor]| {
        let (sums, tensors) = saved.split_last().expect("sums were kept");
        group.backward(&gradients[0], tensors, sums)
    };
    let references: Vec<&Tensor> = inputs.iter().collect();
    custom_function(&references, || (vec![stacked], saved), backward).pop().expect("one output was given")
}

/// The bytes of structures that are handed over by value.
fn bytes<T: Copy>(all: &[T; GROUP]) -> &[u8] {
    // SAFETY: structures of numbers alone, without gaps.
    unsafe { std::slice::from_raw_parts(all.as_ptr().cast(), size_of_val(all)) }
}
