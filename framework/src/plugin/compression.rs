//! Compressors: transforms of a layer's weight, and the stack of them that a layer applies.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::{Build, Role};
use crate::design::{Compression, Decision, Decisions};
use crate::spiking::custom_function;
use crate::{Error, Result};

/// Bits of a weight that nothing quantises.
pub const FULL_PRECISION: f64 = 32.0;

/// What a compressor does: the P and the Q of sequential A, P, Q, T.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Sets weights to zero.
    Prune,
    /// Restricts weights to few values.
    Quantize,
}

/// Which stages of compression act in a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// Pruners act.
    pub prune: bool,
    /// Quantisers act.
    pub quantize: bool,
}

impl Stages {
    /// Everything acts.
    pub const ALL: Stages = Stages { prune: true, quantize: true };
    /// Nothing acts.
    pub const NONE: Stages = Stages { prune: false, quantize: false };

    /// Whether `stage` acts.
    pub fn contains(self, stage: Stage) -> bool {
        match stage {
            Stage::Prune => self.prune,
            Stage::Quantize => self.quantize,
        }
    }
}

/// Where in the network a layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The first convolution, which reads the image.
    Stem,
    /// A cell, from 0.
    Cell(usize),
    /// The head that turns features into logits.
    Classifier,
    /// A head that is used in training only.
    Auxiliary,
}

impl Place {
    /// The name under which layers of this place share decisions: `stem`, `cell0`, ...
    pub fn group(self) -> String {
        match self {
            Place::Stem => "stem".into(),
            Place::Cell(index) => format!("cell{index}"),
            Place::Classifier => "classifier".into(),
            Place::Auxiliary => "auxiliary".into(),
        }
    }
}

/// The layer a compressor is attached to.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// Name of the layer, unique in the network.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

/// A compressor: any number of them act on every weight, in the order of the manifest.
#[typetag::serde]
pub trait Compressor: std::fmt::Debug + Send + Sync {
    /// What sequential optimisation switches it on with.
    fn stage(&self) -> Stage;

    /// Roles whose gradient is a rule of its own (a straight-through estimator) and not the derivative of the value. To all
    /// other parameters the conformance kit compares it with finite differences.
    fn straight_through(&self) -> &'static [Role] {
        &[]
    }

    /// Creates the transform of one layer's `weight` (`[out, in, kh, kw]` or `[out, in]`).
    ///
    /// `decided` is `None` in a search; afterwards it holds what this compressor decided (empty for a network that was not
    /// searched), by the names that [`WeightTransform::decide`] gave.
    fn attach(
        &self,
        layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>>;
}

/// Refuses a design that pruner `name` found, in any group, at another rate than the manifest says.
pub fn same_rate(name: &str, decided: Option<&Decisions>, rate: f64) -> Result<()> {
    let mut rates = decided.into_iter().flat_map(Decisions::values).filter_map(|decision| decision.rate);
    match rates.find(|found| *found != rate) {
        Some(found) => Err(Error::Plugin {
            kind: "compressor",
            name: name.to_owned(),
            message: format!(
                "the design was found at rate {found}, and the manifest says {rate}; use the same, \
                 or leave `compression` out of `design.keep`"
            ),
        }),
        _ => Ok(()),
    }
}

/// A mask, as one autograd node, for a pruner whose removed weights are trained on: with V the weight after all transforms,
/// W' = mask · V, and
///
/// ```text
/// dL/dW = mask · (dL/dW through V) + (1 - mask) · dL/dW' + added
/// ```
///
/// so that kept weights have the gradient that the transforms give them, and removed ones that of the product, straight through.
/// `weight` is the trained tensor, `transformed` is V, `mask` holds ones and zeros, and `added` is a term of its own for every weight
/// (a decay, a prior); all have one shape. A value of V that is zero has no gradient where it is removed.
pub fn straight_through_mask(weight: &Tensor, transformed: &Tensor, mask: &Tensor, added: Tensor) -> Tensor {
    let forward = || {
        let value = transformed.detach();
        // The node is handed dL/dmask = V · dL/dW'.
        let inverse = value.reciprocal().where_self(&value.ne(0.0), &value.zeros_like());
        (vec![mask.shallow_clone()], vec![(mask.ones_like() - mask) * inverse, added])
    };
    let backward = |gradients: &[Tensor], saved: &[Tensor]| vec![Some(&gradients[0] * &saved[0] + &saved[1])];
    custom_function(&[weight], forward, backward).pop().expect("one output was given")
}

/// What a compressor does to one layer's weight.
pub trait WeightTransform {
    /// The new value of the weight, of the same shape.
    fn transform(&self, weight: &Tensor) -> Tensor {
        weight.shallow_clone()
    }

    /// Ones where a weight stays, zeros where it is removed. Masks are applied after all transforms, so that a later
    /// quantiser without a zero level cannot bring a removed weight back.
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        None
    }

    /// The step of the values that [`WeightTransform::transform`] gives: a scalar over which each of them has at most 8 significant
    /// bits, so that bf16 holds it exactly; `None` where they have none in common. Without gradient.
    fn step(&self, _weight: &Tensor) -> Option<Tensor> {
        None
    }

    /// Expected bits of a weight, a differentiable scalar; `None` leaves them as they are.
    fn bits(&self) -> Option<Tensor> {
        None
    }

    /// Fraction of the weights that stays, a scalar; `None` when all stay.
    fn density(&self) -> Option<Tensor> {
        None
    }

    /// Told when it is switched on with a weight that was trained without it; a network that begins with it is not told.
    fn switch_on(&self, _weight: &Tensor) {}

    /// Told when a search is over whose trained tensors the final network takes over by name: what was decided for moves into
    /// the tensors that the final network has.
    fn conclude(&self, _weight: &Tensor) {}

    /// The forms among which a search chooses, by name (`2 bits`), each of the weight's shape: for the record only.
    fn forms(&self, _weight: &Tensor) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// What the search decided here, and the group of layers it holds for; `None` when there was nothing to decide.
    fn decide(&self) -> Option<(String, Decision)> {
        None
    }
}

/// Compressed weights by the address of what they belong to and the stages (prune, quantise) that act.
type Held = HashMap<(usize, bool, bool), Tensor>;

thread_local! {
    /// What weights are compressed to, inside of [`held`].
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// What `compute` makes of compressed weights with the `active` stages; inside of [`held`] it is computed once for each `address`,
/// that of what the weights belong to.
pub fn hold(address: usize, active: Stages, compute: impl FnOnce() -> Tensor) -> Tensor {
    let key = (address, active.prune, active.quantize);
    let known = HELD.with_borrow(|held| Some(held.as_ref()?.get(&key)?.shallow_clone()));
    known.unwrap_or_else(|| {
        let value = compute();
        HELD.with_borrow_mut(|held| {
            if let Some(held) = held {
                held.insert(key, value.shallow_clone());
            }
        });
        value
    })
}

/// Runs `work`, in which no parameter changes and nothing is differentiated: every weight is compressed once.
pub fn held<T>(work: impl FnOnce() -> T) -> T {
    /// Forgets the values, also when `work` panics.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            HELD.set(None);
        }
    }
    if HELD.with_borrow(Option::is_some) {
        return tch::no_grad(work);
    }
    HELD.set(Some(HashMap::new()));
    let _forget = Forget;
    tch::no_grad(work)
}

struct Attached {
    compressor: String,
    stage: Stage,
    transform: Box<dyn WeightTransform>,
}

/// A weight and the stack of transforms that it goes through: CompConv (paper, Eq. 8-11) when these are the mixed quantiser
/// and the score pruner.
pub struct CompressedWeight {
    /// The layer.
    pub layer: LayerSpec,
    weight: Tensor,
    stack: Vec<Attached>,
}

impl CompressedWeight {
    /// Creates the weight from `init` and attaches `compressors` (name and plugin) to it.
    ///
    /// A compressor finds its decisions in `compression`; where it has none, they are still searched if `open`.
    pub fn new<'a>(
        layer: LayerSpec,
        init: impl FnOnce(&mut crate::random::Stream) -> Tensor,
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
            stack.push(Attached { compressor: name.to_owned(), stage: compressor.stage(), transform });
        }
        Ok(CompressedWeight { layer, weight, stack })
    }

    /// The trained tensor itself.
    pub fn raw(&self) -> &Tensor {
        &self.weight
    }

    /// The weight as the layer uses it, with the `active` stages of compression.
    pub fn value(&self, active: Stages) -> Tensor {
        hold(self.weight.data_ptr() as usize, active, || self.compress(active))
    }

    fn compress(&self, active: Stages) -> Tensor {
        let mut weight = self.weight.shallow_clone();
        let mut mask: Option<Tensor> = None;
        for attached in self.stack.iter().filter(|attached| active.contains(attached.stage)) {
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

    /// The step of [`CompressedWeight::value`], a scalar, where a quantiser gives one: see [`WeightTransform::step`].
    pub fn step(&self, active: Stages) -> Option<Tensor> {
        tch::no_grad(|| {
            let (mut weight, mut step) = (self.weight.shallow_clone(), None);
            for attached in self.stack.iter().filter(|attached| active.contains(attached.stage)) {
                step = attached.transform.step(&weight).or(step);
                weight = attached.transform.transform(&weight);
            }
            step
        })
    }

    /// Expected bits of a weight, a scalar.
    pub fn bits(&self, active: Stages) -> Tensor {
        let last = self.stack.iter().rev().filter(|attached| active.contains(attached.stage));
        last.filter_map(|attached| attached.transform.bits())
            .next()
            .unwrap_or_else(|| Tensor::from(FULL_PRECISION).to_device(self.weight.device()))
    }

    /// Fraction of the weights that stays, a scalar. Where several compressors remove weights, it is counted: what one of them
    /// removes another one may remove, too.
    pub fn density(&self, active: Stages) -> Tensor {
        let all = self.stack.iter().filter(|attached| active.contains(attached.stage));
        let mut promised: Vec<Tensor> = all.filter_map(|attached| attached.transform.density()).collect();
        match promised.len() {
            0 => Tensor::from(1.0).to_device(self.weight.device()),
            1 => promised.remove(0),
            _ => tch::no_grad(|| self.value(active).ne(0.0).mean(Kind::Double)),
        }
    }

    /// Whether a compressor of these stages is attached.
    pub fn is_compressed(&self, stages: Stages) -> bool {
        self.stack.iter().any(|attached| stages.contains(attached.stage))
    }

    /// Tells the transforms of `stages` that they are switched on; see [`WeightTransform::switch_on`].
    pub fn switch_on(&self, stages: Stages) {
        for attached in self.stack.iter().filter(|attached| stages.contains(attached.stage)) {
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
    pub fn decisions(&self, stages: Stages) -> impl Iterator<Item = (&str, String, Decision)> {
        self.stack.iter().filter(move |attached| stages.contains(attached.stage)).filter_map(|attached| {
            attached.transform.decide().map(|(group, decision)| (attached.compressor.as_str(), group, decision))
        })
    }
}
