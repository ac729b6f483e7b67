//! Where the samples of a split lie while batches are made of them.

use tch::Device;

use crate::data::Split;
use crate::ground::device::{self, available_memory};
use crate::ground::transfer;

/// A split takes at most one part in so many of a GPU's free memory: the others are for what is
/// computed.
const PARTS: u64 = 4;

/// A split as batches for a device are made of it.
pub(super) struct Placed {
    /// On the device, or where it was.
    pub(super) split: Split,
    /// Why it is not on the device, in a sentence, where that costs time.
    pub(super) left: Option<String>,
}

/// Puts a split on the device that its batches are needed on, as it is: images stay bytes. One that
/// would take too much of a GPU's memory stays where it is, and its batches are gathered there.
pub(super) fn placed(split: &Split, device: Device) -> Placed {
    let here = || Split { images: split.images.shallow_clone(), labels: split.labels.shallow_clone() };
    let bytes = bytes(split);
    let free = match device {
        Device::Cuda(_) => available_memory(device).unwrap_or(0),
        _ => return Placed { split: here(), left: None },
    };
    if bytes <= free / PARTS {
        let [images, labels] = [&split.images, &split.labels].map(|tensor| transfer(tensor, device));
        return Placed { split: Split { images, labels }, left: None };
    }
    let left = format!(
        "the {} MB of images stay on the host, which gathers each batch: they are more than a quarter of the \
         {} MB that {} has free",
        bytes >> 20,
        free >> 20,
        device::name(device)
    );
    Placed { split: here(), left: Some(left) }
}

/// Bytes of the samples and labels of a split.
fn bytes(split: &Split) -> u64 {
    let of = |tensor: &tch::Tensor| (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
    of(&split.images) + of(&split.labels)
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn a_split_that_does_not_fit_stays_and_says_so() {
        let images = Tensor::zeros([3, 1, 2, 2], (Kind::Uint8, Device::Cpu));
        let split = Split { images, labels: Tensor::from_slice(&[0i64, 1, 2]) };
        assert_eq!(bytes(&split), 12 + 24);
        let here = placed(&split, Device::Cpu);
        assert!(here.left.is_none() && here.split.images.data_ptr() == split.images.data_ptr());
        // Of a device that is not there, nothing is free.
        let there = placed(&split, Device::Cuda(99));
        assert_eq!(there.split.images.device(), Device::Cpu);
        let left = there.left.unwrap();
        assert!(left.contains("stay on the host") && left.contains("cuda:99"), "{left}");
    }
}
