//! Batches of a split in a given order, augmented where they are trained on, normalised, on the
//! device.
//!
//! Where the split lies on the device, a batch is made there: the order of the epoch and the numbers
//! of its augmentation are moved at once, and no batch waits for the host. Where it lies on the
//! host, its samples are gathered there and moved. The numbers are those of the CPU to the bit,
//! wherever they are computed.

use tch::{Device, Kind, Tensor};

use super::Augmentation;
use crate::data::{Normalisation, Preparation, Split};
use crate::ground::{Stream, transfer};

/// One batch.
pub struct Batch {
    /// `[B, C, H, W]`, normalised f32 on the device.
    pub images: Tensor,
    /// `[B]`, i64 on the device.
    pub labels: Tensor,
    /// Its number in the epoch, from 0.
    pub number: usize,
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
    /// Samples of the split, on the device or on the host.
    images: Tensor,
    /// Labels of the split, on the device.
    labels: Tensor,
    /// Indices into the split, on the device, `[N]`.
    order: Tensor,
    /// The same where the samples are.
    gathered: Tensor,
    /// What bytes are divided by. A tensor: libtorch's GPU kernels multiply by the inverse of a
    /// number, which rounds to other bits.
    brightest: Tensor,
    mean: Tensor,
    std: Tensor,
    device: Device,
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
    pub fn new(split: &Split, normalisation: &Normalisation, order: Vec<i64>, size: usize, device: Device) -> Self {
        let channel = |values: &[f32]| transfer(&Tensor::from_slice(values).view([1, -1, 1, 1]), device);
        let order = Tensor::from_slice(&order);
        let there = transfer(&order, device);
        let here = split.images.device() != device;
        Batches {
            images: split.images.shallow_clone(),
            labels: transfer(&split.labels, device),
            gathered: if here { order } else { there.shallow_clone() },
            order: there,
            brightest: Tensor::full([] as [i64; 0], 255.0, (Kind::Float, device)),
            mean: channel(&normalisation.mean),
            std: channel(&normalisation.std),
            device,
            size,
            next: 0,
            prepared: None,
            augmentation: None,
        }
    }

    /// The same batches with every image changed as drawn.
    pub fn augmented(self, augmentation: Augmentation) -> Self {
        let augmentation = Some(augmentation.on(self.device));
        Batches { augmentation, ..self }
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
        self.samples().div_ceil(self.size)
    }

    fn samples(&self) -> usize {
        self.order.size()[0] as usize
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.next >= self.samples() {
            return None;
        }
        let (number, begin) = (self.next / self.size, self.next as i64);
        self.next = (self.next + self.size).min(self.samples());
        let of_batch = |order: &Tensor| order.narrow(0, begin, self.next as i64 - begin);
        let index = of_batch(&self.order);
        let mut images = self.images.index_select(0, &of_batch(&self.gathered));
        if let Some(Prepared { preparation, seed, purpose }) = &self.prepared {
            images = preparation.prepare(&images, &mut Stream::open(*seed, purpose, number as u64));
        }
        images = transfer(&images, self.device);
        if let Some(augmentation) = &self.augmentation {
            images = augmentation.cropped_and_mirrored(images, &index);
        }
        let bytes = images.kind() == Kind::Uint8;
        images = images.to_kind(Kind::Float);
        if bytes {
            images /= &self.brightest;
        }
        images -= &self.mean;
        images /= &self.std;
        if let Some(augmentation) = &self.augmentation {
            images = augmentation.erased(images, &index);
        }
        Some(Batch { images, labels: self.labels.index_select(0, &index), number })
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

    /// The device that a GPU's way is tried on: a CUDA device where the process has one, real or
    /// pretended.
    fn device() -> Device {
        if crate::ground::device::cuda_devices() > 0 { Device::Cuda(0) } else { Device::Cpu }
    }

    /// Guards the way of a GPU: images that are gathered, cut, mirrored, normalised and erased on
    /// the device, or gathered on the host, are those of the CPU to the bit.
    #[test]
    fn batches_are_the_same_wherever_the_split_lies() {
        use crate::ground::transfer;
        use crate::train::Augment;
        let mut stream = Stream::open(0, "split", 0);
        let bytes = (stream.uniform(&[23, 3, 9, 7], 0.0, 256.0)).to_kind(Kind::Uint8);
        let host = Split { images: bytes, labels: Tensor::arange(23, (Kind::Int64, Device::Cpu)) };
        let there = Split { images: transfer(&host.images, device()), labels: transfer(&host.labels, device()) };
        let normalisation = Normalisation { mean: vec![0.49, 0.48, 0.45], std: vec![0.2, 0.3, 0.26] };
        let settings = Augment { crop: 2, flip: true, cutout: 3 };
        let made = |split: &Split, device: Device| -> Vec<(Tensor, Tensor)> {
            let order = Stream::open(1, "order", 0).permutation(23);
            let drawn = Augmentation::draw(&settings, split, 4, "retrain", 1);
            let batches = Batches::new(split, &normalisation, order, 10, device).augmented(drawn);
            let host = |tensor: Tensor| tensor.to_device(Device::Cpu);
            batches.map(|batch| (host(batch.images), host(batch.labels))).collect()
        };
        let want = made(&host, Device::Cpu);
        for split in [&host, &there] {
            let got = made(split, device());
            assert_eq!(got.len(), 3);
            for ((images, labels), (as_images, as_labels)) in got.iter().zip(&want) {
                assert!(images.equal(as_images) && labels.equal(as_labels));
            }
        }
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
