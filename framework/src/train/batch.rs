//! Batches of a split in a given order, normalised, on the device.

use tch::{Device, Kind, Tensor};

use crate::plugin::{Normalisation, Split};

/// One batch.
pub struct Batch {
    /// `[B, C, H, W]`, normalised f32 on the device.
    pub images: Tensor,
    /// `[B]`, i64 on the device.
    pub labels: Tensor,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.size()[0] as usize
    }

    /// Whether it holds no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Batches over a split.
pub struct Batches<'a> {
    split: &'a Split,
    mean: Tensor,
    std: Tensor,
    device: Device,
    order: Vec<i64>,
    size: usize,
    next: usize,
}

impl<'a> Batches<'a> {
    /// Batches of `size` images in the given `order` of indices; a last smaller batch is kept.
    pub fn new(split: &'a Split, normalisation: &Normalisation, order: Vec<i64>, size: usize, device: Device) -> Self {
        let channel = |values: &[f32]| Tensor::from_slice(values).view([1, -1, 1, 1]).to_device(device);
        Batches {
            split,
            mean: channel(&normalisation.mean),
            std: channel(&normalisation.std),
            device,
            order,
            size,
            next: 0,
        }
    }

    /// Number of batches.
    pub fn count_all(&self) -> usize {
        self.order.len().div_ceil(self.size)
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.next >= self.order.len() {
            return None;
        }
        let end = (self.next + self.size).min(self.order.len());
        let index = Tensor::from_slice(&self.order[self.next..end]);
        self.next = end;
        let images = self.split.images.index_select(0, &index).to_device(self.device);
        let images = match images.kind() {
            Kind::Uint8 => images.to_kind(Kind::Float) / 255.0,
            _ => images.to_kind(Kind::Float),
        };
        let labels = self.split.labels.index_select(0, &index).to_device(self.device);
        Some(Batch { images: (images - &self.mean) / &self.std, labels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_the_order_are_normalised_and_keep_the_remainder() {
        let split = Split {
            images: Tensor::from_slice(&[0u8, 51, 102, 255, 204]).view([5, 1, 1, 1]),
            labels: Tensor::from_slice(&[0i64, 1, 2, 3, 4]),
        };
        let normalisation = Normalisation { mean: vec![0.2], std: vec![0.4] };
        let batches = Batches::new(&split, &normalisation, vec![4, 3, 2, 1, 0], 2, Device::Cpu);
        assert_eq!(batches.count_all(), 3);
        let all: Vec<Batch> = batches.collect();
        assert_eq!(all.iter().map(Batch::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(Vec::<i64>::try_from(&all[0].labels).unwrap(), [4, 3]);
        assert!((all[0].images.double_value(&[0, 0, 0, 0]) - 1.5).abs() < 1e-6);
        assert!((all[2].images.double_value(&[0, 0, 0, 0]) + 0.5).abs() < 1e-6);
    }
}
