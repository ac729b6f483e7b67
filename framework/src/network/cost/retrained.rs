//! What the network costs that would be retrained, from what a search knows of its layers.
//!
//! A search may run a narrower network than the one that is retrained, so that what it counts of
//! itself is not what its design takes. With W and M the weights and MACs of a layer of the final
//! network, d, b and s the density, the expected bits and the spikes of an input neuron of the searched
//! layer of that name, and m the expected length of a random mask for each weight
//! ([`expected_mask_bits`], 0 where nothing prunes):
//!
//! ```text
//! stored bytes = sum over the body of (d b + m(d)) W / 8 + sum over other layers of (d' b' + m(d')) W / 8 + 4 · other parameters
//! Bit-SynOps   = sum over the body of d b s M            + sum over other layers of d' b' s M
//! ```
//!
//! The other layers are stem and classifier, which a supernet may leave uncompressed: d' and b' are
//! what their compressors say before training. Layers of [`Place::Auxiliary`] and their parameters
//! are in no file and count nothing. A layer of the body that the searched network has under no such
//! name is counted by the first searched layer of its place.
//!
//! The widths are those of the final network, and gradients are those of the searched network, which
//! alone has what is trained: with C the body's sum and C_s that of the searched network
//! ([`CostModel::stored_terms`]),
//!
//! ```text
//! dC = C / C_s · dC_s
//! ```
//!
//! so that a step that takes a hundredth of the one cost takes a hundredth of the other.

use tch::{Kind, Tensor};

use super::{CostModel, Counted, stored_bytes};
use crate::network::{Activity, CostConstants, Network, Place, SynapseLayer, Techniques, expected_mask_bits};
use crate::{Error, Result};

/// A network that would be retrained, as its costs count it.
pub struct Retrained {
    body: Vec<OfBody>,
    /// Of other layers that read spikes: their place among the searched layers, and d' b' M.
    others: Vec<(usize, f64)>,
    settled_bytes: f64,
    constants: CostConstants,
}

/// A layer of the body: its place among the searched layers, its weights and MACs.
struct OfBody {
    searched: usize,
    weights: f64,
    macs: f64,
}

impl Retrained {
    /// The final network `network`, which is built with everything open, in outline or whole;
    /// `searched` are the layers of the network that is searched.
    ///
    /// # Errors
    ///
    /// A layer whose place the searched network does not have.
    pub fn of(network: &dyn Network, searched: &[SynapseLayer]) -> Result<Retrained> {
        let named = |layer: &SynapseLayer| searched.iter().position(|other| other.shape.name == layer.shape.name);
        let in_place = |layer: &SynapseLayer| {
            searched.iter().position(|other| other.searched && other.shape.place == layer.shape.place)
        };
        let (mut body, mut others, mut settled_bits) = (Vec::new(), Vec::new(), 0.0);
        for layer in network.layers() {
            let (shape, weight) = (layer.shape, layer.weight);
            if layer.searched {
                let searched = named(&layer).or_else(|| in_place(&layer)).ok_or_else(|| {
                    let (name, place) = (&shape.name, shape.place.group());
                    Error::design(format!(
                        "the network that is searched has no layer in the place `{place}` of `{name}`"
                    ))
                })?;
                body.push(OfBody { searched, weights: shape.weights(), macs: shape.macs() });
            } else if shape.place != Place::Auxiliary {
                let density = weight.density(Techniques::ALL).number();
                let kept_bits = density * weight.bits(Techniques::ALL).number();
                settled_bits += (kept_bits + mask_bits(&layer, Techniques::ALL)) * shape.weights();
                if shape.reads.is_spiking() {
                    others.extend(named(&layer).map(|searched| (searched, kept_bits * shape.macs())));
                }
            }
        }
        let parameters = network.full_precision_parameters() - network.auxiliary_parameters();
        let settled_bytes = stored_bytes(settled_bits / 8.0, parameters);
        Ok(Retrained { body, others, settled_bytes, constants: CostConstants::default() })
    }

    /// Stored bytes and Bit-SynOps of an image, f64 scalars. `model` counts the searched network, whose
    /// `layers` and measured `activity` these are; its presence is that of the architecture.
    pub fn costs(&self, model: &CostModel, layers: &[SynapseLayer], activity: &[Activity]) -> (Tensor, Tensor) {
        let (stored, compute) = tch::no_grad(|| self.body_terms(model, layers, activity));
        let (own_stored, own_compute) = model.stored_terms(layers, activity);
        let bytes = scaled(&own_stored, &stored) / 8.0 + self.settled_bytes;
        let compute = scaled(&own_compute, &compute);
        if self.others.is_empty() {
            return (bytes, compute);
        }
        (bytes, compute + tch::no_grad(|| self.of_others(model, layers, activity)))
    }

    /// Bits in a file and Bit-SynOps of the body.
    fn body_terms(&self, model: &CostModel, layers: &[SynapseLayer], activity: &[Activity]) -> (Tensor, Tensor) {
        let all: Vec<Counted> = self.body.iter().map(|of| (&layers[of.searched], activity.get(of.searched))).collect();
        let own = self.counted_by(model);
        let costs = own.costs(&all);
        let vector = |name: &'static str, number: &dyn Fn(&OfBody) -> f64| {
            self.constants.vector(name, self.body.iter().map(number).collect(), model.counted.device())
        };
        let weights = vector("weights of the final network", &|of| of.weights);
        let macs = vector("macs of the final network", &|of| of.macs);
        let masks =
            vector("masks of the final network", &|of| mask_bits(&layers[of.searched], model.active) * of.weights);
        let kept_bits = costs.density * costs.bits;
        let compute = &kept_bits * costs.spikes * macs;
        ((kept_bits * weights + masks).sum(Kind::Double), compute.sum(Kind::Double))
    }

    /// Bit-SynOps of the other layers.
    fn of_others(&self, model: &CostModel, layers: &[SynapseLayer], activity: &[Activity]) -> Tensor {
        let all: Vec<Counted> =
            self.others.iter().map(|(searched, _)| (&layers[*searched], activity.get(*searched))).collect();
        let spikes = self.counted_by(model).spikes(&all, &model.counted.to_kind(Kind::Double));
        let operations = self.others.iter().map(|(_, operations)| *operations).collect();
        (spikes * self.constants.vector("other operations", operations, model.counted.device())).sum(Kind::Double)
    }

    /// The same model with constants of its own: those of the searched network stay as they are.
    fn counted_by<'m>(&'m self, model: &CostModel<'m>) -> CostModel<'m> {
        let presence = model.presence.as_ref().map(Tensor::shallow_clone);
        CostModel { active: model.active, presence, counted: model.counted, constants: &self.constants }
    }
}

/// Expected bits of a layer's mask for each of its weights.
pub(super) fn mask_bits(layer: &SynapseLayer, active: Techniques) -> f64 {
    match layer.weight.is_pruned(active) {
        true => expected_mask_bits(layer.weight.density(active).number()),
        false => 0.0,
    }
}

/// `cost`, with the gradient of `own` in proportion. An `own` cost of less than one leads nowhere.
fn scaled(own: &Tensor, cost: &Tensor) -> Tensor {
    let change = own - own.detach();
    change * (cost / own.detach().clamp_min(1.0)) + cost
}
