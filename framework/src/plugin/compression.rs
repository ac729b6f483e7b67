//! Compressors: transforms of a layer's weight, and the stack of them that a layer applies.

use tch::Tensor;

use super::{Build, Role};
use crate::design::{Decision, Decisions};
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

/// Refuses a design that pruner `name` found, under the group `all`, at another rate than the manifest says.
pub fn same_rate(name: &str, decided: Option<&Decisions>, rate: f64) -> Result<()> {
    match decided.and_then(|decisions| decisions.get("all")).and_then(|decision| decision.rate) {
        Some(found) if found != rate => Err(Error::Plugin {
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

    /// Ones where a weight stays, zeros where it is removed. Masks are applied after all transforms, so that a later
    /// quantiser without a zero level cannot bring a removed weight back.
    fn mask(&self, _weight: &Tensor) -> Option<Tensor> {
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

    /// What the search decided here, and the group of layers it holds for; `None` when there was nothing to decide.
    fn decide(&self) -> Option<(String, Decision)> {
        None
    }
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
    /// `decided` gives each compressor's decisions by its name, or is `None` in a search.
    pub fn new<'a>(
        layer: LayerSpec,
        init: impl FnOnce(&mut crate::random::Stream) -> Tensor,
        compressors: impl IntoIterator<Item = (&'a str, &'a dyn Compressor)>,
        decided: Option<&std::collections::BTreeMap<String, Decisions>>,
        build: &mut Build,
    ) -> Result<CompressedWeight> {
        let weight = build.parameter("weight", Role::Weight, init);
        let none = Decisions::new();
        let mut stack = Vec::new();
        for (name, compressor) in compressors {
            let decided = decided.map(|all| all.get(name).unwrap_or(&none));
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

    /// Expected bits of a weight, a scalar.
    pub fn bits(&self, active: Stages) -> Tensor {
        let last = self.stack.iter().rev().filter(|attached| active.contains(attached.stage));
        last.filter_map(|attached| attached.transform.bits())
            .next()
            .unwrap_or_else(|| Tensor::from(FULL_PRECISION).to_device(self.weight.device()))
    }

    /// Fraction of the weights that stays, a scalar: the product over the stack.
    pub fn density(&self, active: Stages) -> Tensor {
        let all = self.stack.iter().filter(|attached| active.contains(attached.stage));
        all.filter_map(|attached| attached.transform.density())
            .reduce(|product, density| product * density)
            .unwrap_or_else(|| Tensor::from(1.0).to_device(self.weight.device()))
    }

    /// What every compressor decided here: compressor, group, decision.
    pub fn decisions(&self) -> impl Iterator<Item = (&str, String, Decision)> {
        self.stack.iter().filter_map(|attached| {
            attached.transform.decide().map(|(group, decision)| (attached.compressor.as_str(), group, decision))
        })
    }
}
