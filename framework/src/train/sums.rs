//! Loss, accuracy and time of an epoch, summed over its batches.

use tch::{Device, Kind, Tensor};

use super::{Batch, Begun, StepReport};
use crate::ground::device::Stopwatch;

/// Sums over the batches of an epoch, kept on the device.
pub(super) struct Sums {
    /// What the epoch had when this process resumed it, and the counts of now.
    pub(super) done: Begun,
    loss: Tensor,
    correct: Tensor,
    device: Device,
    watch: Stopwatch,
    /// Images that were done, and seconds, when a number was last read from the device: a GPU may
    /// be behind what it was asked since.
    read: (usize, f64),
}

impl Sums {
    pub(super) fn begin(done: Begun, device: Device) -> Sums {
        let scalar: [i64; 0] = [];
        Sums {
            done,
            loss: Tensor::full(scalar, done.loss, (Kind::Double, device)),
            correct: Tensor::full(scalar, done.correct, (Kind::Int64, device)),
            device,
            watch: Stopwatch::start(device),
            read: (done.images, 0.0),
        }
    }

    pub(super) fn add(&mut self, report: &StepReport, batch: &Batch) {
        tch::no_grad(|| {
            self.loss += report.loss.detach().to_kind(Kind::Double) * batch.len() as f64;
            self.correct += report.logits.argmax(1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
        });
        self.done.batches += 1;
        self.done.images += batch.len();
    }

    /// The mean so far, or the last batch's loss where that is larger or NaN: one read of the
    /// device, which waits for it.
    pub(super) fn worst_loss(&mut self, report: &StepReport) -> f64 {
        let both = Tensor::stack(&[&self.loss, &report.loss.detach().to_kind(Kind::Double)], 0).to_device(Device::Cpu);
        self.read = (self.done.images, self.watch.wall());
        let mean = both.double_value(&[0]) / self.done.images.max(1) as f64;
        let last = both.double_value(&[1]);
        if last.is_nan() || last > mean { last } else { mean }
    }

    pub(super) fn so_far(&self) -> Begun {
        Begun {
            loss: self.loss.double_value(&[]),
            correct: self.correct.int64_value(&[]),
            seconds: self.done.seconds + self.watch.wall(),
            device_seconds: self.done.device_seconds + self.watch.device(),
            ..self.done
        }
    }

    /// Of the images that are done, which on a GPU are those up to the last read; NaN before it.
    pub(super) fn images_per_second(&self) -> f64 {
        let (images, seconds) = match self.device {
            Device::Cpu => (self.done.images, self.watch.wall()),
            _ => self.read,
        };
        images as f64 / (self.done.seconds + seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the speed of a GPU: a step returns when it is launched, so that a rate is true when
    /// something was read, and not before.
    #[test]
    fn the_speed_of_a_gpu_is_that_of_the_last_read() {
        let mut sums = Sums::begin(Begun::default(), Device::Cpu);
        sums.device = Device::Cuda(0);
        let batch = Batch {
            images: Tensor::zeros([2], (Kind::Float, Device::Cpu)),
            labels: Tensor::from_slice(&[0i64, 1]),
            number: 0,
        };
        let logits = Tensor::from_slice(&[1f32, 0.0, 1.0, 0.0]).view([2, 2]);
        let report = StepReport { loss: Tensor::from(0.5f32), logits };
        sums.add(&report, &batch);
        assert!(sums.images_per_second().is_nan());
        assert_eq!(sums.worst_loss(&report), 0.5);
        let speed = sums.images_per_second();
        assert!(speed > 0.0 && speed.is_finite());
        sums.add(&report, &batch);
        assert_eq!(sums.images_per_second(), speed);
        let done = sums.so_far();
        assert_eq!((done.loss, done.correct, done.images), (2.0, 2, 4));
    }
}
