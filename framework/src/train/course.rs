//! The batches of a stage, epoch by epoch: the same whenever they are asked for.

use tch::Device;

use super::placement::{Placed, placed};
use super::{Augmentation, Batches, StageSpec};
use crate::data::{Split, Splits};
use crate::ground::Stream;

/// The batches of every epoch of a stage.
pub(super) struct Course<'a, 's> {
    splits: &'a Splits,
    /// The training split, on the device where it fits.
    train: Split,
    /// Why it is not there, where that costs time.
    pub(super) left: Option<String>,
    device: Device,
    seed: u64,
    spec: &'s StageSpec,
    samples: usize,
    batch_size: usize,
    /// Where not all samples are trained on: all of them in random order, of which the first ones
    /// are.
    chosen: Option<Vec<i64>>,
    /// The purpose of the random numbers that order an epoch.
    order: &'static str,
}

impl<'a, 's> Course<'a, 's> {
    /// The course of a stage over some data. `batch_size` is the stage's, or a smaller one.
    pub(super) fn new(
        splits: &'a Splits,
        device: Device,
        seed: u64,
        spec: &'s StageSpec,
        batch_size: usize,
    ) -> Course<'a, 's> {
        let all = splits.train.len();
        let samples = spec.samples.unwrap_or(all).min(all);
        // Which ones does not depend on the seed, as a smaller data set would not.
        let chosen = (samples < all).then(|| Self::permutation(all, samples));
        let Placed { split: train, left } = match &splits.preparation {
            // Its samples are made on the host.
            Some(_) => placed(&splits.train, Device::Cpu),
            None => placed(&splits.train, device),
        };
        Course { splits, train, left, device, seed, spec, samples, batch_size, chosen, order: "order" }
    }

    /// The course over the images that the stage is not trained on.
    pub(super) fn held_out(splits: &'a Splits, device: Device, seed: u64, spec: &'s StageSpec) -> Course<'a, 's> {
        let whole = Course::new(splits, device, seed, spec, spec.batch_size);
        let chosen = whole.chosen.as_ref().map_or(&[][..], |all| &all[whole.samples..]).to_vec();
        Course { samples: chosen.len(), chosen: Some(chosen), order: "held-out", ..whole }
    }

    /// All images in the order in which `samples` of them are chosen.
    fn permutation(all: usize, samples: usize) -> Vec<i64> {
        Stream::open(0, "samples", samples as u64).permutation(all)
    }

    /// Batches of an epoch.
    pub(super) fn len(&self) -> usize {
        self.samples.div_ceil(self.batch_size)
    }

    /// The batches of an epoch (from 0).
    pub(super) fn batches(&self, epoch: usize) -> Batches<'a> {
        let Course { splits, spec, order: purpose, .. } = self;
        let stage = spec.stage.name();
        let mut order = Stream::open(self.seed, &format!("{stage}/{purpose}"), epoch as u64).permutation(self.samples);
        if let Some(chosen) = &self.chosen {
            order.iter_mut().for_each(|index| *index = chosen[*index as usize]);
        }
        let preparation = splits.preparation.as_deref();
        let batches = Batches::new(&self.train, &splits.normalisation, order, self.batch_size, self.device).prepared(
            preparation,
            self.seed,
            format!("{stage}/prepare/{epoch}"),
        );
        match preparation {
            Some(_) => batches,
            None => batches.augmented(Augmentation::draw(&spec.augment, &splits.train, self.seed, stage, epoch)),
        }
    }
}
