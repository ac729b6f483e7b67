//! A layer's weight, and the stack of compressors that it goes through.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use tch::{Kind, Tensor};

use super::compression::{Compressor, Technique, Techniques, WeightTransform};
use super::design::{Compression, Decision, Decisions};
use super::factor::Factor;
use super::fused_weights::{Bound, Recipe, compressed};
use super::layer::LayerSpec;
use super::schedule::{Progress, Schedule};
use crate::Result;
use crate::ground::kernel::has_kernels;
use crate::ground::{Build, Role, Stream};
use crate::spiking::{custom_function, straight_through};

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
    watch: RefCell<Watch>,
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
        Ok(CompressedWeight { layer, weight, stack, bound: Bound::default(), watch: RefCell::default() })
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
        // Kernels tell nobody the gradient to the value.
        if !has_kernels(self.weight.device()) || !matches!(*self.watch.borrow(), Watch::Off) {
            return None;
        }
        let all = self.stack.iter().filter(|attached| active.contains(attached.technique));
        Recipe::new(&self.weight, all.map(|attached| attached.transform.formula()), &self.bound)
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

    /// Whether a compressor of `stages` changes with training.
    pub fn is_scheduled(&self, stages: Techniques) -> bool {
        self.scheduled(stages).next().is_some()
    }

    fn scheduled(&self, stages: Techniques) -> impl Iterator<Item = &dyn Schedule> {
        let all = self.stack.iter().filter(move |attached| stages.contains(attached.technique));
        all.filter_map(|attached| attached.transform.schedule())
    }

    /// Prepares for the step that leads to `progress`: whether a compressor of `stages` needs its
    /// gradient, so that the step has to be made one operation at a time.
    pub fn watch(&self, stages: Techniques, progress: Progress) -> bool {
        let needed = self.scheduled(stages).any(|schedule| schedule.needs_gradient(progress));
        *self.watch.borrow_mut() = if needed { Watch::Waiting } else { Watch::Off };
        needed
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
        tch::no_grad(|| {
            let grown = self.scheduled(stages).filter_map(|schedule| schedule.advance(progress, gradient.as_ref()));
            grown.reduce(|all, next| all.maximum(&next))
        })
    }

    /// The step of [`CompressedWeight::value`], a scalar, where a quantiser gives one: see
    /// [`WeightTransform::step`].
    pub fn step(&self, active: Techniques) -> Option<Tensor> {
        tch::no_grad(|| {
            let (mut weight, mut step) = (self.weight.shallow_clone(), None);
            for attached in self.stack.iter().filter(|attached| active.contains(attached.technique)) {
                step = attached.transform.step(&weight).or(step);
                weight = attached.transform.transform(&weight);
            }
            step
        })
    }

    /// Expected bits of a weight.
    pub fn bits(&self, active: Techniques) -> Factor {
        let last = self.stack.iter().rev().filter(|attached| active.contains(attached.technique));
        last.filter_map(|attached| attached.transform.bits()).next().unwrap_or(Factor::Constant(FULL_PRECISION))
    }

    /// Fraction of the weights that stays. Where several compressors remove weights, it is counted:
    /// what one of them removes another one may remove, too.
    pub fn density(&self, active: Techniques) -> Factor {
        let all = self.stack.iter().filter(|attached| active.contains(attached.technique));
        let mut promised: Vec<Factor> = all.filter_map(|attached| attached.transform.density()).collect();
        match promised.len() {
            0 => Factor::Constant(1.0),
            1 => promised.remove(0),
            _ => Factor::Scalar(tch::no_grad(|| self.value(active).ne(0.0).mean(Kind::Double))),
        }
    }

    /// Whether a compressor that acts removes weights.
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
