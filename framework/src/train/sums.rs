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
    watch: Stopwatch,
}

impl Sums {
    pub(super) fn begin(done: Begun, device: Device) -> Sums {
        let scalar = |value: Tensor| value.to_device(device);
        Sums {
            done,
            loss: scalar(Tensor::from(done.loss)),
            correct: scalar(Tensor::from(done.correct)),
            watch: Stopwatch::start(device),
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

    /// The mean so far, or the last batch's loss where that is larger or NaN.
    pub(super) fn worst_loss(&self, report: &StepReport) -> f64 {
        let mean = self.loss.double_value(&[]) / self.done.images.max(1) as f64;
        let last = report.loss.double_value(&[]);
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

    pub(super) fn images_per_second(&self) -> f64 {
        self.done.images as f64 / (self.done.seconds + self.watch.wall())
    }
}
