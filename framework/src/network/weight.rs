//! A layer's weight, and the stack of compressors that it goes through.

use tch::{Kind, Tensor};

use super::compression::{Compressor, Technique, Techniques, WeightTransform};
use super::design::{Compression, Decision, Decisions};
use super::factor::Factor;
use super::fused_weights::{Bound, Recipe, compressed};
use super::layer::LayerSpec;
use crate::Result;
use crate::ground::kernel::has_kernels;
use crate::ground::{Build, Role, Stream};

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
        Ok(CompressedWeight { layer, weight, stack, bound: Bound::default() })
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
        if !has_kernels(self.weight.device()) {
            return None;
        }
        let all = self.stack.iter().filter(|attached| active.contains(attached.technique));
        Recipe::new(&self.weight, all.map(|attached| attached.transform.formula()), &self.bound)
    }

    /// [`CompressedWeight::value`] by what each compressor does.
    fn by_operations(&self, active: Techniques) -> Tensor {
        let mut weight = self.weight.shallow_clone();
        let mut mask: Option<Tensor> = None;
        for attached in self.stack.iter().filter(|attached| active.contains(attached.technique)) {
            weight = attached.transform.transform(&weight);
            if let Some(next) = attached.transform.mask(&weight) {
                mask = Some(match mask {
                    Some(mask) => mask * next,
                    None => next,
                });
            }
        }
        match mask {
            Some(mask) => weight * mask,
            None => weight,
        }
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
