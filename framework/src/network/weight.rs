//! A layer's weight, and the stack of compressors that it goes through.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use tch::{Kind, Tensor};

use super::channels::Channels;
use super::compression::{Compressor, OpenBits, Technique, Techniques, WeightTransform};
use super::design::{Compression, Decision, Decisions};
use super::factor::Factor;
use super::formula::Formula;
use super::fused_weights::{Bound, Recipe, compressed};
use super::layer::LayerSpec;
use super::schedule::{Progress, Schedule};
use crate::Result;
use crate::ground::kernel::has_kernels;
use crate::ground::{Build, Role, Stream};
use crate::spiking::{custom_function, straight_through, unfold_time};

/// Bits of a weight that nothing quantises.
pub const FULL_PRECISION: f64 = 32.0;

struct Attached {
    compressor: String,
    technique: Technique,
    transform: Box<dyn WeightTransform>,
}

/// A weight and the stack of transforms that it goes through: CompConv (paper, Eq. 8-11) when these
/// are the mixed quantiser and the score pruner.
pub struct CompressedWeight {
    /// The layer.
    pub layer: LayerSpec,
    weight: Tensor,
    stack: Vec<Attached>,
    bound: Bound,
    /// The output channels that are there, and the input channels.
    channels: Channels,
    reads: Channels,
    /// Whether an output channel reads the input channel of its own number alone.
    depthwise: bool,
    watch: RefCell<Watch>,
    spikes: RefCell<Spikes>,
}

/// Whether the gradient to the weight as the layer uses it is kept.
#[derive(Default)]
enum Watch {
    #[default]
    Off,
    /// Of the next value that is trained.
    Waiting,
    /// Here, after the backward pass, which may run on another thread.
    On(Arc<Mutex<Option<Tensor>>>),
}

/// Whether the spikes of the neurons that the layer drives are kept.
#[derive(Default)]
enum Spikes {
    #[default]
    Off,
    /// Of the next pass that trains.
    Waiting,
    /// Here, `[T, B, C, H, W]`.
    Seen(Tensor),
}

impl CompressedWeight {
    /// Creates the weight from `init` and attaches `compressors` (name and plugin) to it.
    ///
    /// A compressor finds its decisions in `compression`; where it has none, they are still
    /// searched if `open`.
    pub fn new<'a>(
        layer: LayerSpec,
        init: impl FnOnce(&mut Stream) -> Tensor,
        compressors: impl IntoIterator<Item = (&'a str, &'a dyn Compressor)>,
        compression: &Compression,
        open: bool,
        build: &mut Build,
    ) -> Result<CompressedWeight> {
        let weight = build.parameter("weight", Role::Weight, init);
        let none = Decisions::new();
        let mut stack = Vec::new();
        for (name, compressor) in compressors {
            let decided = compression.get(name).or_else(|| (!open).then_some(&none));
            let transform = compressor.attach(&layer, &weight, decided, build)?;
            stack.push(Attached { compressor: name.to_owned(), technique: compressor.technique(), transform });
        }
        let removed = stack.iter().filter_map(|attached| attached.transform.channels()).map(Channels::kept);
        let channels = removed.fold(Channels::default(), |all, next| all.of_product(&next));
        Ok(CompressedWeight {
            layer,
            weight,
            stack,
            bound: Bound::default(),
            channels,
            reads: Channels::default(),
            depthwise: false,
            watch: RefCell::default(),
            spikes: RefCell::default(),
        })
    }

    /// The same weight of a layer that reads these channels: what would read a removed one is
    /// removed, too.
    pub fn reading(self, reads: Channels) -> CompressedWeight {
        CompressedWeight { reads, ..self }
    }

    /// The same weight `[C, 1, kh, kw]` of a depthwise convolution that reads these channels: where
    /// one is removed, the output channel that reads it is removed, too.
    pub fn reading_each(self, reads: Channels) -> CompressedWeight {
        CompressedWeight { channels: self.channels.of_product(&reads), reads, depthwise: true, ..self }
    }

    /// The output channels that its compressors leave.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The trained tensor itself.
    pub fn raw(&self) -> &Tensor {
        &self.weight
    }

    /// The weight as the layer uses it, with the `active` stages of compression. In a forward pass,
    /// [`Pass::weight`] gives it.
    ///
    /// [`Pass::weight`]: super::Pass::weight
    pub fn value(&self, active: Techniques) -> Tensor {
        match self.recipe(active) {
            Some(recipe) if recipe.changes() => compressed(&[recipe]),
            _ => self.by_operations(active),
        }
    }

    /// How kernels compress it, where the device has them and the compressors that act are known
    /// to them.
    pub(super) fn recipe(&self, active: Techniques) -> Option<Recipe<'_>> {
        // Kernels tell nobody the gradient to the value, and remove no channels.
        if self.channel_mask(active).is_some()
            || !has_kernels(self.weight.device())
            || !matches!(*self.watch.borrow(), Watch::Off)
        {
            return None;
        }
        Recipe::new(&self.weight, self.formulas(active), &self.bound)
    }

    /// What the compressors that act do, in their order; a compressor that kernels do not know has
    /// no formula.
    pub fn formulas(&self, active: Techniques) -> impl Iterator<Item = Option<Formula>> {
        let all = self.stack.iter().filter(move |attached| active.contains(attached.technique));
        all.map(|attached| attached.transform.formula())
    }

    /// [`CompressedWeight::value`] by what each compressor does.
    fn by_operations(&self, active: Techniques) -> Tensor {
        let mut weight = self.weight.shallow_clone();
        let [mut mask, mut passing]: [Option<Tensor>; 2] = [None, None];
        for attached in self.stack.iter().filter(|attached| active.contains(attached.technique)) {
            weight = attached.transform.transform(&weight);
            if let Some(next) = attached.transform.mask(&weight) {
                let all = if attached.transform.trains_removed() { &mut passing } else { &mut mask };
                *all = Some(match all.take() {
                    Some(mask) => mask * next,
                    None => next,
                });
            }
        }
        if let Some(mask) = passing {
            weight = straight_through(&weight, || &weight * mask);
        }
        if let Some(channels) = self.channel_mask(active) {
            mask = Some(mask.map_or_else(|| channels.shallow_clone(), |mask| mask * &channels));
        }
        let mut weight = match mask {
            Some(mask) => weight * mask,
            None => weight,
        };
        let mut watch = self.watch.borrow_mut();
        if matches!(*watch, Watch::Waiting) && weight.requires_grad() {
            let seen = Arc::default();
            weight = watched(&weight, Arc::clone(&seen));
            *watch = Watch::On(seen);
        }
        weight
    }

    /// Ones where the output channel and the input channel are there, `[out or 1, in or 1, 1, ...]`;
    /// `None` where nothing removes channels.
    fn channel_mask(&self, active: Techniques) -> Option<Tensor> {
        let along = |axis: usize, mask: Tensor| {
            let mut shape = vec![1; self.weight.dim()];
            shape[axis] = -1;
            mask.view(shape.as_slice())
        };
        let rows = self.channels.mask(active).map(|mask| along(0, mask));
        let columns = self.columns().and_then(|reads| reads.mask(active)).map(|mask| along(1, mask));
        match (rows, columns) {
            (Some(rows), Some(columns)) => Some(rows * columns),
            (rows, columns) => rows.or(columns),
        }
    }

    /// The channels along the second axis of the weight; none are there of a depthwise convolution.
    fn columns(&self) -> Option<&Channels> {
        (!self.depthwise).then_some(&self.reads)
    }

    /// `value` `[out, in, ...]` of this weight without the channels that are removed.
    pub fn narrowed(&self, active: Techniques, value: &Tensor) -> Tensor {
        let narrow = |value: Tensor, axis: i64, channels: &Channels| match channels.mask(active) {
            Some(mask) => value.index_select(axis, &mask.nonzero().reshape([-1])),
            None => value,
        };
        let rows = narrow(value.shallow_clone(), 0, &self.channels);
        match self.columns() {
            Some(reads) => narrow(rows, 1, reads),
            None => rows,
        }
    }

    /// Fraction of the input channels that is there; `None` where nothing removes channels.
    pub fn inputs_there(&self, active: Techniques) -> Option<Factor> {
        self.reads.mask(active).map(|mask| Factor::Scalar(mask.mean(Kind::Double)))
    }

    /// Whether a compressor of `stages` changes with training.
    pub fn is_scheduled(&self, stages: Techniques) -> bool {
        self.scheduled(stages).next().is_some()
    }

    fn scheduled(&self, stages: Techniques) -> impl Iterator<Item = &dyn Schedule> {
        let all = self.stack.iter().filter(move |attached| stages.contains(attached.technique));
        all.filter_map(|attached| attached.transform.schedule())
    }

    /// Prepares for the step that leads to `progress`: whether a compressor of `stages` needs its
    /// gradient or its spikes, so that the step has to be made one operation at a time.
    pub fn watch(&self, stages: Techniques, progress: Progress) -> bool {
        let gradient = self.scheduled(stages).any(|schedule| schedule.needs_gradient(progress));
        *self.watch.borrow_mut() = if gradient { Watch::Waiting } else { Watch::Off };
        let spikes = self.scheduled(stages).any(|schedule| schedule.needs_spikes(progress));
        *self.spikes.borrow_mut() = if spikes { Spikes::Waiting } else { Spikes::Off };
        gradient || spikes
    }

    /// Keeps the `spikes` `[T·B, C, H, W]` of a step that they are needed of. In a forward pass,
    /// [`Pass::fired`] tells it.
    ///
    /// [`Pass::fired`]: super::Pass::fired
    pub fn see(&self, spikes: &Tensor, timesteps: i64) {
        let mut kept = self.spikes.borrow_mut();
        if matches!(*kept, Spikes::Waiting) {
            *kept = Spikes::Seen(unfold_time(&spikes.detach(), timesteps));
        }
    }

    /// Tells the compressors of `stages` that a step of a later stage is done; see
    /// [`Schedule::maintain`].
    pub fn maintain(&self, stages: Techniques) {
        tch::no_grad(|| self.scheduled(stages).for_each(Schedule::maintain));
    }

    /// Tells the compressors of `stages` that a step is done; see [`Schedule::advance`]. Ones where
    /// weights have grown again.
    pub fn advance(&self, stages: Techniques, progress: Progress) -> Option<Tensor> {
        let gradient = match self.watch.take() {
            Watch::On(seen) => seen.lock().expect("no backward pass panics with the lock").take(),
            _ => None,
        };
        let spikes = match self.spikes.take() {
            Spikes::Seen(spikes) => Some(spikes),
            _ => None,
        };
        tch::no_grad(|| {
            if let Some(spikes) = spikes {
                let needed = self.scheduled(stages).filter(|schedule| schedule.needs_spikes(progress));
                needed.for_each(|schedule| schedule.observe(progress, &spikes));
            }
            let grown = self.scheduled(stages).filter_map(|schedule| schedule.advance(progress, gradient.as_ref()));
            grown.reduce(|all, next| all.maximum(&next))
        })
    }

    /// The step of [`CompressedWeight::value`], a scalar, where a quantiser gives one: see
    /// [`WeightTransform::step`].
    pub fn step(&self, active: Techniques) -> Option<Tensor> {
        self.last_step(active, |transform, weight| transform.step(weight))
    }

    /// The step that [`CompressedWeight::value`] leaves with, a scalar or `[out]`, where a quantiser
    /// gives one: see [`WeightTransform::packed_step`].
    pub fn packed_step(&self, active: Techniques) -> Option<Tensor> {
        self.last_step(active, |transform, weight| transform.packed_step(weight))
    }

    /// The step of the last transform that gives one of the weight that reaches it.
    fn last_step(
        &self,
        active: Techniques,
        step_of: impl Fn(&dyn WeightTransform, &Tensor) -> Option<Tensor>,
    ) -> Option<Tensor> {
        tch::no_grad(|| {
            let (mut weight, mut step) = (self.weight.shallow_clone(), None);
            for attached in self.stack.iter().filter(|attached| active.contains(attached.technique)) {
                step = step_of(attached.transform.as_ref(), &weight).or(step);
                weight = attached.transform.transform(&weight);
            }
            step
        })
    }

    /// The bit-widths that are open here; see [`WeightTransform::open_bits`].
    pub fn open_bits(&self) -> Option<OpenBits> {
        self.stack.iter().find_map(|attached| attached.transform.open_bits())
    }

    /// The buffer of the mask that an optimizer writes, where a compressor has one; see
    /// [`WeightTransform::ticket`].
    pub fn ticket(&self) -> Option<Tensor> {
        self.stack.iter().find_map(|attached| attached.transform.ticket())
    }

    /// Expected bits of a weight.
    pub fn bits(&self, active: Techniques) -> Factor {
        let last = self.stack.iter().rev().filter(|attached| active.contains(attached.technique));
        last.filter_map(|attached| attached.transform.bits()).next().unwrap_or(Factor::Constant(FULL_PRECISION))
    }

    /// Fraction of the weights that stays. Where several compressors remove weights, or one besides
    /// whole channels, it is counted: what one of them removes another one may remove, too.
    pub fn density(&self, active: Techniques) -> Factor {
        let all = self.stack.iter().filter(|attached| active.contains(attached.technique));
        let mut promised: Vec<Factor> = all.filter_map(|attached| attached.transform.density()).collect();
        match (promised.len(), self.channel_mask(active)) {
            (0, None) => Factor::Constant(1.0),
            (0, Some(mask)) => Factor::Scalar(mask.mean(Kind::Double)),
            (1, None) => promised.remove(0),
            _ => Factor::Scalar(tch::no_grad(|| self.value(active).ne(0.0).mean(Kind::Double))),
        }
    }

    /// Whether a compressor that acts removes weights one by one.
    pub fn is_pruned(&self, active: Techniques) -> bool {
        let mut all = self.stack.iter().filter(|attached| active.contains(attached.technique));
        all.any(|attached| attached.transform.density().is_some())
    }

    /// Whether a compressor of these stages is attached.
    pub fn is_compressed(&self, stages: Techniques) -> bool {
        self.stack.iter().any(|attached| stages.contains(attached.technique))
    }

    /// Tells the transforms of `stages` that they are switched on; see
    /// [`WeightTransform::switch_on`].
    pub fn switch_on(&self, stages: Techniques) {
        for attached in self.stack.iter().filter(|attached| stages.contains(attached.technique)) {
            attached.transform.switch_on(&self.weight);
        }
    }

    /// Tells the transforms that the search is over; see [`WeightTransform::conclude`].
    pub fn conclude(&self) {
        for attached in &self.stack {
            attached.transform.conclude(&self.weight);
        }
    }

    /// The forms that every compressor makes of the weight that reaches it.
    pub fn forms(&self) -> Vec<(String, Tensor)> {
        let mut weight = self.weight.shallow_clone();
        let mut all = Vec::new();
        for attached in &self.stack {
            all.extend(attached.transform.forms(&weight));
            weight = attached.transform.transform(&weight);
        }
        all
    }

    /// What the compressors of these stages decided here: compressor, group, decision.
    pub fn decisions(&self, stages: Techniques) -> impl Iterator<Item = (&str, String, Decision)> {
        self.stack.iter().filter(move |attached| stages.contains(attached.technique)).filter_map(|attached| {
            attached.transform.decide().map(|(group, decision)| (attached.compressor.as_str(), group, decision))
        })
    }
}

/// The weight itself; the backward pass leaves its gradient in `seen`.
fn watched(weight: &Tensor, seen: Arc<Mutex<Option<Tensor>>>) -> Tensor {
    let backward = move |gradients: &[Tensor], _: &[Tensor]| {
        *seen.lock().expect("nothing panics with the lock") = Some(gradients[0].shallow_clone());
        vec![Some(gradients[0].shallow_clone())]
    };
    custom_function(&[weight], || (vec![weight.copy()], vec![]), backward).pop().expect("one output was given")
}
