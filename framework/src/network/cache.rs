//! Compressed weights that are kept while no parameter changes.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::Tensor;

use super::compression::Techniques;

/// Compressed weights of one network by the layers that they belong to. Passes that are handed the
/// same cache compress each weight once.
#[derive(Debug, Default)]
pub struct WeightCache {
    kept: RefCell<HashMap<Key, Tensor>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Of the layer with this name.
    Weight(String, Techniques),
    /// Stacked, of the layers with these names.
    Stack(Vec<String>, Techniques),
}

impl WeightCache {
    /// The weight of a layer with the `active` techniques, which `compress` computes where it is
    /// not known.
    pub(super) fn weight(&self, layer: &str, active: Techniques, compress: impl FnOnce() -> Tensor) -> Tensor {
        self.get_or_insert(Key::Weight(layer.to_owned(), active), compress)
    }

    /// The stacked weights of several layers, which `stack` computes where they are not known.
    pub(super) fn stack<'n>(
        &self,
        layers: impl Iterator<Item = &'n str>,
        active: Techniques,
        stack: impl FnOnce() -> Tensor,
    ) -> Tensor {
        self.get_or_insert(Key::Stack(layers.map(str::to_owned).collect(), active), stack)
    }

    fn get_or_insert(&self, key: Key, compute: impl FnOnce() -> Tensor) -> Tensor {
        self.kept.borrow_mut().entry(key).or_insert_with(compute).shallow_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_computed_once_for_each_layer_and_techniques() {
        let cache = WeightCache::default();
        let weight =
            |layer: &str, active, value: f64| cache.weight(layer, active, || Tensor::from(value)).double_value(&[]);
        assert_eq!(weight("a", Techniques::ALL, 1.0), 1.0);
        assert_eq!(weight("b", Techniques::ALL, 2.0), 2.0);
        assert_eq!(weight("a", Techniques::NONE, 3.0), 3.0);
        assert_eq!(weight("a", Techniques::ALL, 4.0), 1.0);
        let stack = |layers: &[&str], value: f64| {
            let value = || Tensor::from(value);
            cache.stack(layers.iter().copied(), Techniques::ALL, value).double_value(&[])
        };
        assert_eq!(stack(&["a"], 5.0), 5.0, "a stack of one layer has another memory layout than its weight");
        assert_eq!(stack(&["a", "b"], 6.0), 6.0);
        assert_eq!(stack(&["a", "b"], 7.0), 6.0);
    }
}
