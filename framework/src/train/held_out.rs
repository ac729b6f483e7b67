//! Training images that the weights of a search never see, for the parameters that decide.
//!
//! Source: the bi-level optimisation of DARTS (Liu et al., ICLR 2019): weights are trained on one part
//! of the training images, and architecture on another one.
//!
//! `samples` of the section says how many images the weights are trained on; all others are held out.
//! They come in batches of the stage's size, in an order of their own, augmented alike. A search makes
//! as many steps as the weights' images have batches, and begins the held-out images again when they
//! are through. Step number k of a stage gets the same batch, interrupted or not.

use std::cell::RefCell;

use tch::Device;

use super::course::Course;
use super::{Batch, Batches, StageSpec};
use crate::data::Splits;
use crate::{Error, Result};

/// The held-out images of a stage.
pub struct HeldOut<'a> {
    splits: &'a Splits,
    device: Device,
    seed: u64,
    spec: StageSpec,
    /// Steps of an epoch of the stage, and batches of an epoch of the held-out images.
    steps: usize,
    batches: usize,
    /// The epoch of the held-out images that is under way, and the batch that comes next.
    at: RefCell<Option<(usize, usize, Batches<'a>)>>,
}

impl<'a> HeldOut<'a> {
    /// What the stage of `spec` does not train on; `section` is where `samples` stands.
    pub(super) fn new(
        splits: &'a Splits,
        device: Device,
        seed: u64,
        spec: StageSpec,
        section: &str,
    ) -> Result<HeldOut<'a>> {
        let all = splits.train.len();
        let trained = spec.samples.unwrap_or(all).min(all);
        if trained == all {
            let message = format!(
                "the weights are trained on all {all} images, and none is held out; set `samples` to those that the \
                 weights are to see, such as {}",
                all / 2
            );
            return Err(Error::Plugin { kind: "section", name: section.to_owned(), message });
        }
        let steps = trained.div_ceil(spec.batch_size);
        let batches = (all - trained).div_ceil(spec.batch_size);
        Ok(HeldOut { splits, device, seed, spec, steps, batches, at: RefCell::default() })
    }

    /// The batch of a step: of this number (from 0) in an epoch (from 0).
    pub fn batch(&self, epoch: usize, number: usize) -> Batch {
        let step = epoch * self.steps + number;
        let (epoch, number) = (step / self.batches, step % self.batches);
        let mut at = self.at.borrow_mut();
        let mut batches = match at.take() {
            Some((under_way, next, batches)) if (under_way, next) == (epoch, number) => batches,
            _ => Course::held_out(self.splits, self.device, self.seed, &self.spec).batches(epoch).after(number),
        };
        let batch = batches.next().expect("the number is below that of the batches");
        *at = Some((epoch, number + 1, batches));
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tch::{Kind, Tensor};

    use super::*;
    use crate::data::{DataInfo, Normalisation, Split};
    use crate::record::Stage;
    use crate::train::Augment;

    /// Twenty images, each of which is its own number.
    fn splits() -> Splits {
        let split = |count: i64| Split {
            images: Tensor::arange(count, (Kind::Float, Device::Cpu)).view([-1, 1, 1, 1]),
            labels: Tensor::arange(count, (Kind::Int64, Device::Cpu)),
        };
        Splits {
            info: DataInfo::of_form(([1, 1, 1], 20)),
            train: split(20),
            validation: split(0),
            test: split(0),
            normalisation: Normalisation { mean: vec![0.0], std: vec![1.0] },
            preparation: None,
            measured: None,
        }
    }

    fn spec(samples: Option<usize>) -> StageSpec {
        let stage = Stage::named("search");
        StageSpec { stage, epochs: 3, samples, batch_size: 4, augment: Augment::default(), varies: false }
    }

    fn numbers(batch: &Batch) -> Vec<i64> {
        Vec::<i64>::try_from(&batch.labels).unwrap()
    }

    #[test]
    fn no_image_is_both_trained_on_and_held_out() {
        let splits = splits();
        let spec = spec(Some(13));
        let trained: BTreeSet<i64> =
            Course::new(&splits, Device::Cpu, 7, &spec, 4).batches(0).flat_map(|batch| numbers(&batch)).collect();
        let held_out = HeldOut::new(&splits, Device::Cpu, 7, spec, "search").unwrap();
        // Four steps an epoch, and two batches of seven held-out images.
        let seen: BTreeSet<i64> = (0..2).flat_map(|number| numbers(&held_out.batch(0, number))).collect();
        assert_eq!((trained.len(), seen.len()), (13, 7));
        assert!(trained.is_disjoint(&seen));
        let again: BTreeSet<i64> = (2..4).flat_map(|number| numbers(&held_out.batch(0, number))).collect();
        assert_eq!(again, seen, "the second half of the epoch is the held-out images again");
    }

    #[test]
    fn a_step_has_the_same_batch_whenever_it_is_asked_for() {
        let splits = splits();
        let held_out = || HeldOut::new(&splits, Device::Cpu, 7, spec(Some(13)), "search").unwrap();
        let all = held_out();
        for (epoch, number) in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 3), (1, 1)] {
            assert_eq!(numbers(&all.batch(epoch, number)), numbers(&held_out().batch(epoch, number)));
        }
    }

    #[test]
    fn without_an_image_left_it_is_refused() {
        let splits = splits();
        for samples in [None, Some(20), Some(50)] {
            let error = HeldOut::new(&splits, Device::Cpu, 7, spec(samples), "search").err().unwrap().to_string();
            assert!(error.contains("all 20 images, and none is held out; set `samples`"), "{error}");
            assert!(error.contains("such as 10"), "{error}");
        }
    }
}
