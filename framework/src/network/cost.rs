//! What a network costs: parameters, size, operations, energy. One implementation for the search's
//! differentiable terms, the `cost` of a design and the result row.
//!
//! | quantity | formula | unit | source |
//! |---|---|---|---|
//! | weights | kh kw C_in C_out / groups | | |
//! | L_mem | sum of density · b · weights | bits | paper Eq. 18 |
//! | b | sum of softmax(beta)_i b_i | bits | paper Eq. 19 |
//! | s | sum over t of s(t) · P(T >= t) | spikes per input neuron and image | paper Eq. 13, 14 |
//! | SynOps | density · s · weights · H W | additions per image | paper Eq. 12 |
//! | L_comp | sum of b · SynOps | bit-operations per image | paper Eq. 20 |
//! | energy | 0.9 pJ · additions + 3.7 pJ · multiplications | | paper Table 5 |
//! | counted operations | sum over c, y, x of S[c, y, x] · F[c, y, x] | operations per image | |
//! | model size | L_mem / 8 + 4 · other parameters | bytes | paper Table 2 |
//! | stored size | kept values and masks, see [`stored_weight_bytes`], + 4 · other parameters | bytes | |
//!
//! The search's quantities are f64 tensors, so that the same lines serve gradients and reports.
//! They are vectors over layers: a step of a search counts a network of any depth by some 25
//! operations.
//! Layers that read the image, or real numbers, do multiplications (weights · H W · T · density) and no SynOps. A sum
//! of spikes ([`Sums`]) counts as the spikes in it. A classifier that reads spikes averaged
//! over the whole map ([`Pooled`]) counts in the size alone, as in the paper.
//!
//! A layer that reads a map of which whole channels are removed ([`Channels`]) has the input neurons
//! that are there: s is the mean over these, and density leaves out the weights of the others. So a
//! network with channels removed costs what the narrower network does.
//!
//! [`Channels`]: super::Channels
//! [`Sums`]: super::layer::Input::Sums
//! [`Pooled`]: super::layer::Input::Pooled
//!
//! The paper's formulas are estimates. Eq. 12 lets every tap of a kernel count, those on the padding
//! too, and takes all neurons for equally active; [`counted_operations`] counts what a spike really
//! reaches. The model size leaves out how a file says which weights are kept.

mod retrained;

use tch::{Kind, Tensor};

use super::activity::Activity;
use super::compression::Techniques;
use super::constants::CostConstants;
use super::factor::{self, Factor};
use super::layer::LayerShape;
use super::mask_code::StoredMask;
use super::space::{Network, SynapseLayer};
use super::weight::FULL_PRECISION;

pub use retrained::Retrained;

/// Energy of one addition (accumulate), in picojoule (45 nm; paper Table 5).
pub const ADDITION_PJ: f64 = 0.9;
/// Energy of one multiplication, in picojoule.
pub const MULTIPLICATION_PJ: f64 = 3.7;

/// How the layers of a network are counted.
pub struct CostModel<'a> {
    /// Techniques of compression that act.
    pub active: Techniques,
    /// How far each operation is there, `[choices]`: [`Network::presence`].
    pub presence: Option<Tensor>,
    /// How far each timestep counts, P(T >= t), `[T]`.
    pub counted: &'a Tensor,
    /// What is kept from step to step.
    pub constants: &'a CostConstants,
}

/// The cost of L layers: vectors `[L]` in f64 that carry gradients where their sources do.
#[derive(Debug)]
pub struct LayerCosts {
    /// Bits of a weight.
    pub bits: Tensor,
    /// Fraction of weights kept.
    pub density: Tensor,
    /// Weight storage: density · b · weights, in bits.
    pub memory_bits: Tensor,
    /// Spikes of an input neuron over all timesteps; zero where nothing was measured or no spikes
    /// are read.
    pub spikes: Tensor,
    /// Additions per image.
    pub syn_ops: Tensor,
    /// b · SynOps.
    pub bit_syn_ops: Tensor,
    /// Multiplications per image, without gradient.
    pub multiplications: Tensor,
}

/// A layer, and what its input neurons did.
type Counted<'a> = (&'a SynapseLayer<'a>, Option<&'a Activity>);

impl<'a> CostModel<'a> {
    /// Counts the layers of `network`.
    pub fn of(
        network: &dyn Network,
        active: Techniques,
        counted: &'a Tensor,
        constants: &'a CostConstants,
    ) -> CostModel<'a> {
        CostModel { active, presence: network.presence(), counted, constants }
    }

    /// The cost of each layer by the paper's formulas. `activity` has an entry for each layer; it
    /// is empty where nothing was measured.
    pub fn layers(&self, layers: &[SynapseLayer], activity: &[Activity]) -> LayerCosts {
        let all: Vec<Counted> = layers.iter().enumerate().map(|(index, layer)| (layer, activity.get(index))).collect();
        self.costs(&all)
    }

    /// [`CostModel::layers`] of the layers that a search counts.
    pub fn searched(&self, layers: &[SynapseLayer], activity: &[Activity]) -> LayerCosts {
        let all = layers.iter().enumerate().filter(|(_, layer)| layer.searched);
        let all: Vec<Counted> = all.map(|(index, layer)| (layer, activity.get(index))).collect();
        self.costs(&all)
    }

    /// L_mem (bits) and L_comp (bit-operations per image) over the layers that a search counts; f64
    /// scalars with gradients to bit, architecture and timestep logits.
    pub fn search_terms(&self, layers: &[SynapseLayer], activity: &[Activity]) -> (Tensor, Tensor) {
        let costs = self.searched(layers, activity);
        (costs.memory_bits.sum(Kind::Double), costs.bit_syn_ops.sum(Kind::Double))
    }

    /// What a file needs for the layers that a search counts, masks included, in bits, and L_comp,
    /// both of what is there: f64 scalars with the gradients of [`CostModel::search_terms`] and, for
    /// the bits, to architecture logits.
    ///
    /// ```text
    /// sum of presence · (density · b + m(density)) · weights
    /// ```
    ///
    /// m is the expected length of a random mask, 0 where nothing prunes.
    ///
    /// [`expected_mask_bits`](super::expected_mask_bits) has its formula.
    pub fn stored_terms(&self, layers: &[SynapseLayer], activity: &[Activity]) -> (Tensor, Tensor) {
        let all = layers.iter().enumerate().filter(|(_, layer)| layer.searched);
        let all: Vec<Counted> = all.map(|(index, layer)| (layer, activity.get(index))).collect();
        let costs = self.costs(&all);
        let mask = |layer: &SynapseLayer| retrained::mask_bits(layer, self.active) * layer.shape.weights();
        let masks = all.iter().map(|(layer, _)| mask(layer)).collect();
        let stored = &costs.memory_bits + self.constants.vector("masks", masks, self.counted.device());
        let stored = match self.presences(&all) {
            Some(presence) => stored * presence,
            None => stored,
        };
        (stored.sum(Kind::Double), costs.bit_syn_ops.sum(Kind::Double))
    }

    fn costs(&self, layers: &[Counted]) -> LayerCosts {
        let device = self.counted.device();
        let of_shape = |name: &'static str, number: &dyn Fn(&LayerShape) -> f64| {
            self.constants.vector(name, layers.iter().map(|(layer, _)| number(layer.shape)).collect(), device)
        };
        let factors = |name: &'static str, factor: &dyn Fn(&SynapseLayer) -> Factor| {
            let all: Vec<Factor> = layers.iter().map(|(layer, _)| factor(layer)).collect();
            factor::vector(name, &all, self.constants, device)
        };
        let (weights, macs) = (of_shape("weights", &LayerShape::weights), of_shape("macs", &LayerShape::macs));
        let bits = factors("bits", &|layer| layer.weight.bits(self.active));
        let density = factors("density", &|layer| layer.weight.density(self.active));
        let counted = self.counted.to_kind(Kind::Double);
        let spikes = self.spikes(layers, &counted);
        let spikes = match layers.iter().any(|(layer, _)| layer.weight.inputs_there(self.active).is_some()) {
            // Removed neurons never fire: those that are there have all the spikes.
            true => {
                let there =
                    |layer: &SynapseLayer| layer.weight.inputs_there(self.active).unwrap_or(Factor::Constant(1.0));
                spikes / factors("inputs", &there).clamp_min(f64::MIN_POSITIVE)
            }
            false => spikes,
        };
        let read = match self.presences(layers) {
            Some(presence) => &density * &spikes * presence,
            None => &density * &spikes,
        };
        let syn_ops = read * &macs;
        let of_images = of_shape("images", &|shape| f64::from(u8::from(shape.reads.is_real())));
        let multiplications = match layers.iter().any(|(layer, _)| layer.shape.reads.is_real()) {
            true => tch::no_grad(|| &macs * &density * counted.sum(Kind::Double) * of_images),
            false => of_images,
        };
        LayerCosts {
            memory_bits: &density * &bits * weights,
            bit_syn_ops: &bits * &syn_ops,
            bits,
            density,
            spikes,
            syn_ops,
            multiplications,
        }
    }

    /// Spikes of an input neuron of each layer over all timesteps, `[L]`.
    fn spikes(&self, layers: &[Counted], counted: &Tensor) -> Tensor {
        let rate = |(layer, activity): &Counted<'_>| match layer.shape.reads {
            reads if reads.is_spiking() => activity.map(|activity| activity.rate.shallow_clone()),
            _ => None,
        };
        let rates: Vec<Option<Tensor>> = layers.iter().map(rate).collect();
        if rates.iter().all(Option::is_none) {
            return self.constants.vector("no spikes", vec![0.0; layers.len()], counted.device());
        }
        let rates = tch::no_grad(|| {
            let silent = counted.zeros_like();
            let rates: Vec<Tensor> =
                rates.into_iter().map(|rate| rate.unwrap_or_else(|| silent.shallow_clone())).collect();
            Tensor::cat(&rates, 0).view([layers.len() as i64, -1]).to_kind(Kind::Double)
        });
        (rates * counted).sum_dim_intlist(1, false, Kind::Double)
    }

    /// How far each layer is there, `[L]`; `None` where all are.
    fn presences(&self, layers: &[Counted]) -> Option<Tensor> {
        if layers.iter().all(|(layer, _)| layer.choice.is_none()) {
            return None;
        }
        let presence = self.presence.as_ref().expect("a network with choices has a presence for each of them");
        let choices = presence.size()[0] as usize;
        let places: Vec<usize> = layers.iter().map(|(layer, _)| layer.choice.unwrap_or(choices)).collect();
        let presence = presence.to_kind(Kind::Double).to_device(self.counted.device());
        let presence = match places.contains(&choices) {
            true => Tensor::cat(&[&presence, &presence.new_ones([1], (Kind::Double, presence.device()))], 0),
            false => presence,
        };
        Some(self.constants.select("choices", &presence, &places))
    }
}

/// [`CostModel::search_terms`] of the same layers in full precision, with nothing pruned, fully
/// present, and every input neuron firing at each of `timesteps`: 32 · weights summed, and
/// 32 · T · MACs summed.
pub fn dense_terms(layers: &[SynapseLayer], timesteps: i64) -> (f64, f64) {
    let searched = || layers.iter().filter(|synapses| synapses.searched).map(|synapses| synapses.shape);
    let weights: f64 = searched().map(LayerShape::weights).sum();
    let macs: f64 = searched().map(LayerShape::macs).sum();
    (FULL_PRECISION * weights, FULL_PRECISION * timesteps as f64 * macs)
}

/// Operations that the spikes `map` of a layer's input neurons cause, counted one by one:
///
/// ```text
/// sum over c, y, x of S[c, y, x] · F[c, y, x]
/// ```
///
/// S `[C_in, H, W]` is `map`, the spikes of each input neuron, and F the fan-out of the neuron: the
/// weights of `weight` that are not zero and lead from it to a place of the output map. So taps on
/// the padding, places that a stride passes over and removed weights count nothing. Identity edges,
/// resizing, pooling and the neurons themselves are no part of it.
///
/// The sum is taken by kernel taps: how many weights of a tap are kept, times the spikes that all
/// places of the output map read there.
pub fn counted_operations(shape: &LayerShape, weight: &Tensor, map: &Tensor) -> f64 {
    let (kernel, [channels, height, width]) = (shape.kernel, shape.input_neurons());
    let (groups, outputs) = (shape.groups, shape.outputs / shape.groups);
    let kept = weight.detach().reshape([groups, outputs, channels / groups, kernel.0, kernel.1]).ne(0.0);
    let kept = kept.to_kind(Kind::Double).sum_dim_intlist(1, false, Kind::Double);
    let kept = kept.view([channels, kernel.0, kernel.1]);
    let read = map
        .to_kind(Kind::Double)
        .to_device(weight.device())
        .reshape([1, channels, height, width])
        .im2col([kernel.0, kernel.1], [1, 1], [shape.padding; 2], [shape.stride; 2])
        .sum_dim_intlist(2, false, Kind::Double)
        .view_as(&kept);
    (kept * read).sum(Kind::Double).double_value(&[])
}

/// Bytes of a layer's weights in a file: the `values` that it holds at `bits` each, and their mask,
/// both in whole bytes.
pub fn stored_weight_bytes(values: u64, bits: f64, mask: StoredMask) -> f64 {
    (values as f64 * bits / 8.0).ceil() + (mask.bits as f64 / 8.0).ceil()
}

/// Energy of one image in millijoule.
pub fn energy_mj(additions: f64, multiplications: f64) -> f64 {
    (ADDITION_PJ * additions + MULTIPLICATION_PJ * multiplications) * 1e-9
}

/// The paper's model size in bytes: kept weights at their bits, everything else in four bytes.
pub fn model_size_bytes(memory_bits: f64, full_precision_parameters: u64) -> f64 {
    stored_bytes(memory_bits / 8.0, full_precision_parameters)
}

/// Bytes of weights and of everything else, which takes four bytes each: a factor and a shift for
/// each normalised channel, into which running statistics and a quantiser's step can be folded, and
/// biases.
pub fn stored_bytes(weight_bytes: f64, full_precision_parameters: u64) -> f64 {
    weight_bytes + 4.0 * full_precision_parameters as f64
}

#[cfg(test)]
mod tests;
