//! One path of a supernet: the operations of a single architecture, and no other.
//!
//! ```text
//! I_j = sum over the edges e of the architecture that lead to node j of  o_e(x_e)
//! ```
//!
//! A pass along a path ([`Pass::path`](super::Pass::path)) computes o_e alone, unweighted: it costs
//! what the architecture costs, at the widths of the supernet. Training draws a path for each step,
//! all alike (single path one-shot: Guo et al., ECCV 2020); then the weights of a supernet serve
//! every architecture of the space.

use tch::{Device, Tensor};

/// Which operations of a supernet a pass computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// By choice, in the order of [`Network::presence`](super::Network::presence).
    there: Vec<bool>,
}

impl Path {
    /// The operations that are `there`, in the order of
    /// [`Network::presence`](super::Network::presence).
    pub fn new(there: Vec<bool>) -> Path {
        Path { there }
    }

    /// The only path of a network without choices.
    pub fn whole() -> Path {
        Path { there: Vec::new() }
    }

    /// Whether the operation of a choice is on the path.
    pub fn has(&self, choice: usize) -> bool {
        self.there.is_empty() || self.there[choice]
    }

    /// 1 for each operation on the path and 0 for all others, `[choices]`; `None` without choices.
    pub fn presence(&self, device: Device) -> Option<Tensor> {
        let there: Vec<f32> = self.there.iter().map(|&there| f32::from(u8::from(there))).collect();
        (!there.is_empty()).then(|| Tensor::from_slice(&there).to_device(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_operations_and_a_network_without_choices_has_all() {
        let path = Path::new(vec![false, true]);
        assert_eq!((path.has(0), path.has(1)), (false, true));
        assert_eq!(Vec::<f32>::try_from(path.presence(Device::Cpu).unwrap()).unwrap(), [0.0, 1.0]);
        assert!(Path::whole().has(7) && Path::whole().presence(Device::Cpu).is_none());
    }
}
