//! Averages of weights over the steps of a stage.
//!
//! ```text
//! m(0) = w(0)          m(n) = d · m(n-1) + (1 - d) · w(n) = d^n w(0) + (1 - d) · sum over k of d^(n-k) w(k)
//! ```
//!
//! w(n) are the weights after step n, and d is the decay (Polyak and Juditsky, 1992; an exponential
//! moving average as in Szegedy et al., CVPR 2016). The running statistics of normalisation are
//! averaged with the same decay: those of the weights themselves belong to other currents than the
//! averaged weights give, and lag behind the last weights alone.

use std::collections::BTreeMap;

use tch::Tensor;

use super::multi_tensor;

/// What stands between the name of a descent and that of a tensor in a checkpoint.
const STORED: &str = "average";

/// Exponential moving averages of tensors.
pub(super) struct Average {
    decay: f64,
    names: Vec<String>,
    tensors: Vec<Tensor>,
    averages: Vec<Tensor>,
    /// The tensors' own values, while the averages stand in their place.
    replaced: Option<Vec<Tensor>>,
}

impl Average {
    /// Averages of `tensors` by name, which begin as the tensors are now.
    pub(super) fn new<'a>(decay: f64, tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Average {
        let (names, tensors): (Vec<String>, Vec<Tensor>) =
            tensors.map(|(name, tensor)| (name.to_owned(), tensor.detach())).unzip();
        let averages = tensors.iter().map(Tensor::copy).collect();
        Average { decay, names, tensors, averages, replaced: None }
    }

    /// Takes the values after a step in.
    pub(super) fn update(&self) {
        multi_tensor::lerp(&self.averages, &self.tensors, 1.0 - self.decay);
    }

    /// Puts the averages in the place of the values.
    pub(super) fn put_in(&mut self) {
        let values = self.tensors.iter().map(Tensor::copy).collect();
        copy(&self.averages, &self.tensors);
        self.replaced = Some(values);
    }

    /// Puts the values back.
    pub(super) fn take_out(&mut self) {
        if let Some(values) = self.replaced.take() {
            copy(&values, &self.tensors);
        }
    }

    /// The averages by name, for the checkpoint of the descent `descent`.
    pub(super) fn state<'a>(&'a self, descent: &'a str) -> impl Iterator<Item = (String, &'a Tensor)> {
        self.names.iter().zip(&self.averages).map(move |(name, average)| (key(descent, name), average))
    }

    /// Takes the averages back from a checkpoint.
    pub(super) fn restore(&mut self, descent: &str, stored: &BTreeMap<String, Tensor>) {
        self.replaced = None;
        for (name, average) in self.names.iter().zip(&self.averages) {
            if let Some(value) = stored.get(&key(descent, name)) {
                tch::no_grad(|| average.shallow_clone().copy_(value));
            }
        }
    }
}

fn key(descent: &str, name: &str) -> String {
    format!("{descent}/{STORED}/{name}")
}

fn copy(from: &[Tensor], to: &[Tensor]) {
    tch::no_grad(|| from.iter().zip(to).for_each(|(from, to)| to.shallow_clone().copy_(from)));
}
