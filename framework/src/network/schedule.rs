//! How far training is, for transforms of a weight that change with it.

use tch::Tensor;

/// How far a stage of training is, after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps that are done, from 1.
    pub step: usize,
    /// Steps of the stage.
    pub steps: usize,
    /// Epochs that are done: from 0, and the number of the epoch that the next step belongs to.
    pub epoch: usize,
    /// Epochs of the stage.
    pub epochs: usize,
}

impl Progress {
    /// After `batch` (from 1) of the `batches` of an `epoch` (from 0) of `epochs`.
    pub fn after(batch: usize, batches: usize, epoch: usize, epochs: usize) -> Progress {
        let step = epoch * batches + batch;
        Progress { step, steps: epochs * batches, epoch: step / batches.max(1), epochs }
    }

    /// The part of the stage's steps that is done, up to 1.
    pub fn fraction(self) -> f64 {
        (self.step as f64 / self.steps.max(1) as f64).min(1.0)
    }

    /// The part of the stage's epochs that is done, up to 1.
    pub fn fraction_of_epochs(self) -> f64 {
        (self.epoch as f64 / self.epochs.max(1) as f64).min(1.0)
    }

    /// Whether an epoch ends with the step.
    pub fn ends_epoch(self) -> bool {
        self.step.is_multiple_of((self.steps / self.epochs.max(1)).max(1))
    }
}

/// A transform that changes with training: a threshold that grows, connections that are removed and
/// grow again.
///
/// It is told after each step of the descents, in the first stage in which its technique acts, and
/// to the end of that stage. In later stages of the same network nothing advances, and validation and
/// evaluation tell it nothing. A network that is trained anew has new tensors, and so begins anew.
///
/// What it changes lies in buffers of [`Build`](crate::ground::Build), which checkpoints hold, and
/// is changed in place: on a GPU a step is recorded once and repeated, and reads the same memory
/// again. So the value of a weight may depend on a buffer, and on no number that the host keeps.
pub trait Schedule {
    /// Whether [`Schedule::advance`] needs the gradient of the step that leads to `progress`. Such a
    /// step runs one operation at a time.
    fn needs_gradient(&self, _progress: Progress) -> bool {
        false
    }

    /// Whether [`Schedule::observe`] is to be told of the spikes of the step that leads to
    /// `progress`. Such a step runs one operation at a time.
    fn needs_spikes(&self, _progress: Progress) -> bool {
        false
    }

    /// Told of `spikes` `[T, B, C, H, W]`, without gradient, that the neurons of the layer fired in
    /// the step, in its first pass that trains; before [`Schedule::advance`]. Of the layers that
    /// drive the same neurons together one is told, and of those that drive neurons of their own,
    /// whose maps are added, each.
    fn observe(&self, _progress: Progress, _spikes: &Tensor) {}

    /// Told that a step is done.
    ///
    /// `gradient` is dL/dW' of the weight as the layer uses it, W', after all compressors: it is
    /// there for removed weights, too. It is `None` where it was not asked for, and where the step
    /// did not train the weight.
    ///
    /// Returns ones where weights have grown again, of the weight's shape: momentum and moments of
    /// the descents are set to zero there.
    fn advance(&self, progress: Progress, gradient: Option<&Tensor>) -> Option<Tensor>;

    /// Told that a step of a later stage is done: what has to hold of the trained weight after each
    /// step is to hold then, too.
    fn maintain(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_of_three_epochs_ends_each_after_four_steps() {
        let all: Vec<Progress> =
            (0..3).flat_map(|epoch| (1..=4).map(move |batch| Progress::after(batch, 4, epoch, 3))).collect();
        let numbers: Vec<(usize, usize)> = all.iter().map(|progress| (progress.step, progress.epoch)).collect();
        assert_eq!(numbers[..5], [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1)]);
        let ends: Vec<usize> = all.iter().filter(|it| it.ends_epoch()).map(|it| it.step).collect();
        assert_eq!(ends, [4, 8, 12]);
        assert_eq!((all[5].fraction(), all[5].fraction_of_epochs()), (0.5, 1.0 / 3.0));
        assert_eq!((all[11].fraction(), all[11].fraction_of_epochs()), (1.0, 1.0));
    }
}
