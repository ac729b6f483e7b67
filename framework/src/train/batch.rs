//! Batches of a split in a given order, augmented where they are trained on, normalised, on the
//! device.

use tch::{Device, Kind, Tensor};

use super::Augmentation;
use crate::data::{Normalisation, Preparation, Split};
use crate::ground::Stream;

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
    augmentation: Option<Augmentation>,
    prepared: Option<Prepared<'a>>,
}

/// How raw samples become inputs, and the address of the random numbers for it: the batch's number
/// is the index.
struct Prepared<'a> {
    preparation: &'a dyn Preparation,
    seed: u64,
    purpose: String,
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
            prepared: None,
            augmentation: None,
        }
    }

    /// The same batches with every image changed as drawn.
    pub fn augmented(self, augmentation: Augmentation) -> Self {
        Batches { augmentation: Some(augmentation), ..self }
    }

    /// Makes the inputs of each batch by `preparation`, with random numbers that depend on `seed`,
    /// `purpose` (stage and epoch) and the number of the batch alone.
    pub fn prepared(self, preparation: Option<&'a dyn Preparation>, seed: u64, purpose: String) -> Self {
        let prepared = preparation.map(|preparation| Prepared { preparation, seed, purpose });
        Batches { prepared, ..self }
    }

    /// Without the first batches: an epoch that is resumed.
    pub fn after(self, batches: usize) -> Self {
        Batches { next: batches.saturating_mul(self.size), ..self }
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
        let number = self.next / self.size;
        let end = (self.next + self.size).min(self.order.len());
        let index = Tensor::from_slice(&self.order[self.next..end]);
        self.next = end;
        let images = self.split.images.index_select(0, &index);
        let images = match &self.prepared {
            Some(Prepared { preparation, seed, purpose }) => {
                preparation.prepare(&images, &mut Stream::open(*seed, purpose, number as u64))
            }
            None => images,
        };
        let images = move_to(images, self.device);
        let images = match &self.augmentation {
            Some(augmentation) => augmentation.cropped_and_mirrored(images, &index),
            None => images,
        };
        let bytes = images.kind() == Kind::Uint8;
        let mut images = images.to_kind(Kind::Float);
        if bytes {
            images /= 255.0;
        }
        let labels = move_to(self.split.labels.index_select(0, &index), self.device);
        images -= &self.mean;
        images /= &self.std;
        let images = match &self.augmentation {
            Some(augmentation) => augmentation.erased(images, &index),
            None => images,
        };
        Some(Batch { images, labels })
    }
}

/// Moves a batch to a device. To a GPU from pinned memory, so that the processor need not wait for
/// the copy and prepares the next batch while the GPU works.
fn move_to(tensor: Tensor, device: Device) -> Tensor {
    match device {
        Device::Cuda(_) => tensor.pin_memory(device).to_device_(device, tensor.kind(), true, false),
        _ => tensor.to_device(device),
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

    /// Raw samples of two numbers become an input of one: their sum and a random number.
    #[derive(Debug)]
    struct NoisySum;

    impl Preparation for NoisySum {
        fn prepare(&self, raw: &Tensor, random: &mut Stream) -> Tensor {
            let sum = raw.to_kind(Kind::Float).sum_dim_intlist(1, true, Kind::Float);
            (&sum + random.uniform(&sum.size(), 0.0, 1.0)).view([-1, 1, 1, 1])
        }
    }

    #[test]
    fn raw_samples_are_prepared_before_normalisation_with_numbers_of_their_batch() {
        let split = Split {
            images: Tensor::from_slice(&[1i16, 2, 10, 20, 100, 200]).view([3, 2]),
            labels: Tensor::from_slice(&[0i64, 1, 2]),
        };
        let normalisation = Normalisation { mean: vec![3.0], std: vec![0.5] };
        let inputs = |purpose: &str, skipped: usize| -> Vec<f64> {
            let batches = Batches::new(&split, &normalisation, vec![2, 1, 0], 2, Device::Cpu);
            let batches = batches.prepared(Some(&NoisySum), 0, purpose.to_owned());
            batches
                .after(skipped)
                .flat_map(|batch| Vec::<f64>::try_from(batch.images.flatten(0, -1)).unwrap())
                .collect()
        };
        let first = inputs("retrain/prepare/0", 0);
        let drawn: Vec<f64> = first.iter().zip([300.0, 30.0, 3.0]).map(|(x, sum)| x * 0.5 + 3.0 - sum).collect();
        assert!(drawn.iter().all(|draw| (0.0..1.0).contains(draw)), "{drawn:?}");
        assert!((drawn[0] - drawn[2]).abs() > 1e-3, "two batches draw the same number: {drawn:?}");
        assert_eq!(inputs("retrain/prepare/0", 0), first);
        assert_eq!(inputs("retrain/prepare/0", 1), first[2..]);
        assert!(inputs("retrain/prepare/0", 2).is_empty());
        assert_ne!(inputs("retrain/prepare/1", 0), first);
    }
}
