//! The batches of a stage, epoch by epoch: the same whenever they are asked for.

use tch::Device;

use super::placement::{Placed, placed};
use super::{Augmentation, Batches, StageSpec};
use crate::data::{Split, Splits};
use crate::ground::Stream;

/// The batches of every epoch of a stage.
pub(super) struct Course<'a> {
    splits: &'a Splits,
    /// The training split, on the device where it fits.
    train: Split,
    /// Why it is not there, where that costs time.
    pub(super) left: Option<String>,
    device: Device,
    seed: u64,
    spec: &'a StageSpec,
    samples: usize,
    batch_size: usize,
    /// Where not all samples are trained on: all of them in random order, of which the first ones
    /// are.
    chosen: Option<Vec<i64>>,
}

impl<'a> Course<'a> {
    /// The course of a stage over some data. `batch_size` is the stage's, or a smaller one.
    pub(super) fn new(
        splits: &'a Splits,
        device: Device,
        seed: u64,
        spec: &'a StageSpec,
        batch_size: usize,
    ) -> Course<'a> {
        let all = splits.train.len();
        let samples = spec.samples.unwrap_or(all).min(all);
        // Which ones does not depend on the seed, as a smaller data set would not.
        let chosen = (samples < all).then(|| Stream::open(0, "samples", samples as u64).permutation(all));
        let Placed { split: train, left } = match &splits.preparation {
            // Its samples are made on the host.
            Some(_) => placed(&splits.train, Device::Cpu),
            None => placed(&splits.train, device),
        };
        Course { splits, train, left, device, seed, spec, samples, batch_size, chosen }
    }

    /// Batches of an epoch.
    pub(super) fn len(&self) -> usize {
        self.samples.div_ceil(self.batch_size)
    }

    /// The batches of an epoch (from 0).
    pub(super) fn batches(&self, epoch: usize) -> Batches<'_> {
        let Course { splits, spec, .. } = self;
        let stage = spec.stage.name();
        let mut order = Stream::open(self.seed, &format!("{stage}/order"), epoch as u64).permutation(self.samples);
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
