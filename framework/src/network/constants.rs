//! Numbers of the cost model that stay the same from step to step, kept on a device.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

/// What the cost model multiplies with at every step, on the device: numbers of weights and of
/// operations, promised densities, which layers share a choice.
///
/// The cost model hands its numbers over at every step. They are copied to the device again only
/// where they differ from those of the step before, so that a steady step of a search copies
/// nothing.
#[derive(Debug, Default)]
pub struct CostConstants {
    held: RefCell<HashMap<(&'static str, usize), Held>>,
}

#[derive(Debug)]
struct Held {
    numbers: Vec<f64>,
    tensor: Tensor,
}

impl CostConstants {
    /// `numbers` as a tensor of this shape, kind and device. `name`, with a number where a name
    /// stands for several, says what they are.
    pub(super) fn tensor(
        &self,
        name: (&'static str, usize),
        numbers: Vec<f64>,
        shape: &[i64],
        (kind, device): (Kind, Device),
    ) -> Tensor {
        let mut all = self.held.borrow_mut();
        if let Some(held) = all.get(&name)
            && held.numbers == numbers
            && held.tensor.size() == shape
            && (held.tensor.kind(), held.tensor.device()) == (kind, device)
        {
            return held.tensor.shallow_clone();
        }
        let tensor = Tensor::from_slice(&numbers).view(shape).to_kind(kind).to_device(device);
        all.insert(name, Held { numbers, tensor: tensor.shallow_clone() });
        tensor
    }

    /// A vector of f64.
    pub(super) fn vector(&self, name: &'static str, numbers: Vec<f64>, device: Device) -> Tensor {
        let length = numbers.len() as i64;
        self.tensor((name, 0), numbers, &[length], (Kind::Double, device))
    }

    /// The elements of `sources` `[S]` (f64) at `places`, `[places]`.
    ///
    /// It is a sum over a row of ones and zeros, which is exact. The gradient of a source is
    /// therefore a sum in a fixed order; that of `index_select` is added atomically on a GPU.
    pub(super) fn select(&self, name: &'static str, sources: &Tensor, places: &[usize]) -> Tensor {
        let (rows, columns) = (places.len(), sources.size()[0] as usize);
        if rows == columns && places.iter().copied().eq(0..rows) {
            return sources.shallow_clone();
        }
        let mut ones = vec![0.0; rows * columns];
        for (row, place) in places.iter().enumerate() {
            assert!(*place < columns, "place {place} of `{name}` is one of {columns}");
            ones[row * columns + place] = 1.0;
        }
        let shape = [rows as i64, columns as i64];
        let ones = self.tensor((name, 0), ones, &shape, (Kind::Double, sources.device()));
        (ones * sources).sum_dim_intlist(1, false, Kind::Double)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_are_the_same_memory_and_others_are_copied_again() {
        let constants = CostConstants::default();
        let vector = |numbers: &[f64]| constants.vector("numbers", numbers.to_vec(), Device::Cpu);
        let first = vector(&[1.0, 2.0]);
        assert_eq!(vector(&[1.0, 2.0]).data_ptr(), first.data_ptr());
        let other = vector(&[1.0, 3.0]);
        assert_eq!(Vec::<f64>::try_from(&other).unwrap(), [1.0, 3.0]);
        assert_eq!(Vec::<f64>::try_from(&first).unwrap(), [1.0, 2.0]);
        assert_eq!(vector(&[]).size(), [0]);
    }

    #[test]
    fn a_selection_is_exact_and_its_gradient_a_sum() {
        let constants = CostConstants::default();
        let sources = Tensor::from_slice(&[0.1, 1e30, 0.3]).set_requires_grad(true);
        let selected = constants.select("places", &sources, &[2, 0, 0]);
        assert_eq!(Vec::<f64>::try_from(&selected).unwrap(), [0.3, 0.1, 0.1]);
        (selected * Tensor::from_slice(&[1.0, 2.0, 4.0])).sum(Kind::Double).backward();
        assert_eq!(Vec::<f64>::try_from(sources.grad()).unwrap(), [6.0, 0.0, 1.0]);
    }
}
