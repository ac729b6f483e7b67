//! How many spikes the neurons of a network fire.

use std::cell::RefCell;

use tch::{Kind, Tensor};

/// How many spikes the neurons of a network's body fired, in all passes whose
/// [tap](super::SpikeTap) adds to it.
#[derive(Debug, Default)]
pub struct SpikeCount {
    /// A scalar in f64 on the device of the spikes; `None` before the first.
    spikes: RefCell<Option<Tensor>>,
}

impl SpikeCount {
    /// Adds the spikes of a layer of neurons.
    pub fn add(&self, spikes: &Tensor) {
        let more = tch::no_grad(|| spikes.sum(Kind::Double));
        let mut sum = self.spikes.borrow_mut();
        *sum = Some(match sum.take() {
            Some(sum) => sum + more,
            None => more,
        });
    }

    /// The spikes so far.
    pub fn total(&self) -> f64 {
        self.spikes.borrow().as_ref().map_or(0.0, |sum| sum.double_value(&[]))
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn spikes_of_all_layers_are_added() {
        let count = SpikeCount::default();
        assert_eq!(count.total(), 0.0);
        count.add(&Tensor::from_slice(&[1f32, 0., 1.]));
        count.add(&Tensor::ones([2, 2], (Kind::Float, Device::Cpu)));
        assert_eq!(count.total(), 6.0);
    }
}
