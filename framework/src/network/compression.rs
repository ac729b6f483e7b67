//! Compressors: transforms of a layer's weight.

use tch::Tensor;

use super::design::{Decision, Decisions};
use super::factor::Factor;
use super::formula::Formula;
use super::layer::LayerSpec;
use super::schedule::Schedule;
use crate::ground::{Build, Role};
use crate::{Error, Result};

/// What a compressor does: the P and the Q of sequential A, P, Q, T.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Technique {
    /// Sets weights to zero.
    Prune,
    /// Restricts weights to few values.
    Quantize,
}

/// Which stages of compression act in a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Techniques {
    /// Pruners act.
    pub prune: bool,
    /// Quantisers act.
    pub quantize: bool,
}

impl Techniques {
    /// Everything acts.
    pub const ALL: Techniques = Techniques { prune: true, quantize: true };
    /// Nothing acts.
    pub const NONE: Techniques = Techniques { prune: false, quantize: false };

    /// One technique acts.
    pub fn only(technique: Technique) -> Techniques {
        Techniques { prune: technique == Technique::Prune, quantize: technique == Technique::Quantize }
    }

    /// What acts in either of two.
    pub fn and(self, other: Techniques) -> Techniques {
        Techniques { prune: self.prune || other.prune, quantize: self.quantize || other.quantize }
    }

    /// What acts here and not in another one.
    pub fn without(self, other: Techniques) -> Techniques {
        Techniques { prune: self.prune && !other.prune, quantize: self.quantize && !other.quantize }
    }

    /// Whether `technique` acts.
    pub fn contains(self, technique: Technique) -> bool {
        match technique {
            Technique::Prune => self.prune,
            Technique::Quantize => self.quantize,
        }
    }
}

/// Bit-widths that a search is to choose among for a group of layers.
#[derive(Debug)]
pub struct OpenBits {
    /// The group of layers that share the choice, as [`WeightTransform::decide`] names it.
    pub group: String,
    /// The candidates, ascending.
    pub bits: Vec<u32>,
    /// Their logits, a tensor that all layers of the group share.
    pub logits: Tensor,
}

impl OpenBits {
    /// Makes the candidate at this place the only one: the softmax of all other logits is zero.
    pub fn choose(&self, place: usize) {
        tch::no_grad(|| {
            let logits = self.logits.shallow_clone().fill_(NEVER);
            let _ = logits.get(place as i64).fill_(0.0);
        });
    }
}

/// The logit of what is never chosen: exp(-1e4) is zero in f32.
pub const NEVER: f64 = -1e4;

/// A compressor: any number of them act on every weight, in the order of the manifest.
#[typetag::serde]
pub trait Compressor: std::fmt::Debug + Send + Sync {
    /// What sequential optimisation switches it on with.
    fn technique(&self) -> Technique;

    /// Roles whose gradient is a rule of its own (a straight-through estimator) and not the
    /// derivative of the value. To all other parameters the conformance kit compares it with finite
    /// differences.
    fn straight_through(&self) -> &'static [Role] {
        &[]
    }

    /// Creates the transform of one layer's `weight` (`[out, in, kh, kw]` or `[out, in]`).
    ///
    /// `decided` is `None` in a search; afterwards it holds what this compressor decided (empty for
    /// a network that was not searched), by the names that [`WeightTransform::decide`] gave.
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

/// What a compressor does to one layer's weight.
pub trait WeightTransform {
    /// The new value of the weight, of the same shape.
    fn transform(&self, weight: &Tensor) -> Tensor {
        weight.shallow_clone()
    }

    /// Ones where a weight stays, zeros where it is removed. Masks are applied after all
    /// transforms, so that a later quantiser without a zero level cannot bring a removed weight
    /// back.
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
        None
    }

    /// The buffer of a mask that an optimizer writes, ones and zeros of the weight's shape; `None`
    /// where the compressor itself says what is removed. [`WeightTransform::mask`] gives it, too. It
    /// travels with the design, as a [`Ticket`](super::Ticket).
    fn ticket(&self) -> Option<Tensor> {
        None
    }

    /// Ones where an output channel stays, zeros where it is removed as a whole, `[out]`; `None`
    /// where channels are never removed as a whole.
    ///
    /// It is a buffer, changed in place. The search space leaves the removed neurons without
    /// current: their weights, their normalisation and bias, and the weights of the layers that
    /// read them are neither stored nor counted. So the layer has to drive a
    /// [`Population`](super::Population), and all layers that drive one have one buffer
    /// ([`Build::shared_buffer`]). [`WeightTransform::mask`] and [`WeightTransform::density`] are
    /// of the weights that are removed one by one, besides.
    fn channels(&self) -> Option<Tensor> {
        None
    }

    /// Whether removed weights are trained on: the product with [`WeightTransform::mask`] passes the
    /// gradient to all weights, straight through, as if none were removed.
    fn trains_removed(&self) -> bool {
        false
    }

    /// How it changes with training; `None` where only its trained tensors change.
    fn schedule(&self) -> Option<&dyn Schedule> {
        None
    }

    /// The same as [`WeightTransform::transform`] and [`WeightTransform::mask`] do, with the same
    /// gradients, in terms that the kernels of a GPU know; `None` where it has none, and is
    /// computed by tensor operations there, too.
    fn formula(&self) -> Option<Formula> {
        None
    }

    /// The step of the values that [`WeightTransform::transform`] gives: a scalar over which each
    /// of them has at most 8 significant bits, so that bf16 holds it exactly; `None` where they
    /// have none in common. Without gradient.
    fn step(&self, _weight: &Tensor) -> Option<Tensor> {
        None
    }

    /// The step that the values of a trained network leave with, a scalar or one for each output
    /// channel, `[out]`: each value is a whole number of its half, the level of the weight in a
    /// file, within the rounding of f32. `None` where the values have no levels, or have none
    /// yet. Nothing asks for it while a network trains, so that it may read buffers.
    fn packed_step(&self, weight: &Tensor) -> Option<Tensor> {
        self.step(weight)
    }

    /// Expected bits of a weight; `None` leaves them as they are.
    fn bits(&self) -> Option<Factor> {
        None
    }

    /// The bit-widths among which a search is to choose; `None` where nothing is open.
    fn open_bits(&self) -> Option<OpenBits> {
        None
    }

    /// Fraction of the weights that stays; `None` when all stay.
    fn density(&self) -> Option<Factor> {
        None
    }

    /// Told when it is switched on with a weight that was trained without it; a network that begins
    /// with it is not told.
    fn switch_on(&self, _weight: &Tensor) {}

    /// Told when a search is over whose trained tensors the final network takes over by name: what
    /// was decided for moves into the tensors that the final network has.
    fn conclude(&self, _weight: &Tensor) {}

    /// The forms among which a search chooses, by name (`2 bits`), each of the weight's shape: for
    /// the record only.
    fn forms(&self, _weight: &Tensor) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// What the search decided here, and the group of layers it holds for; `None` when there was
    /// nothing to decide.
    fn decide(&self) -> Option<(String, Decision)> {
        None
    }
}
