//! What a network costs: parameters, size, operations, energy. One implementation for the search's
//! differentiable terms, the `cost` of a design and the result row.
//!
//! | quantity | formula | unit | source |
//! |---|---|---|---|
//! | weights | kh kw C_in C_out | | |
//! | L_mem | sum of density · b · weights | bits | paper Eq. 18 |
//! | b | sum of softmax(beta)_i b_i | bits | paper Eq. 19 |
//! | s | sum over t of s(t) · P(T >= t) | spikes per input neuron and image | paper Eq. 13, 14 |
//! | SynOps | density · s · weights · H W | additions per image | paper Eq. 12 |
//! | L_comp | sum of b · SynOps | bit-operations per image | paper Eq. 20 |
//! | energy | 0.9 pJ · additions + 3.7 pJ · multiplications | | paper Table 5 |
//!
//! Quantities are f64 tensors, so that the same lines serve gradients and reports. Layers that read
//! the image do multiplications (weights · H W · T · density) and no SynOps; the classifier reads
//! pooled values and counts in the size alone.

use tch::{Kind, Tensor};

use super::compression::Techniques;
use super::layer::{Input, LayerShape};
use super::space::SynapseLayer;
use super::weight::FULL_PRECISION;

/// Energy of one addition (accumulate), in picojoule (45 nm; paper Table 5).
pub const ADDITION_PJ: f64 = 0.9;
/// Energy of one multiplication, in picojoule.
pub const MULTIPLICATION_PJ: f64 = 3.7;

/// The cost of one layer; scalars in f64 that carry gradients where their sources do.
#[derive(Debug)]
pub struct LayerCost {
    /// Dimensions.
    pub shape: LayerShape,
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
    /// Multiplications per image.
    pub multiplications: f64,
}

fn scalar(value: f64, like: &Tensor) -> Tensor {
    Tensor::from(value).to_device(like.device())
}

/// The cost of one layer. `activity` is `[T]`, mean spikes of an input neuron by timestep;
/// `counted` is `[T]`, P(T >= t).
pub fn layer(layer: &SynapseLayer, active: Techniques, activity: Option<&Tensor>, counted: &Tensor) -> LayerCost {
    let shape = layer.shape.clone();
    let double = |tensor: Tensor| tensor.to_kind(Kind::Double);
    let bits = double(layer.weight.bits(active));
    let density = double(layer.weight.density(active));
    let counted = double(counted.shallow_clone());
    let spikes = match (shape.reads, activity) {
        (Input::Spikes, Some(rate)) => (double(rate.detach()) * &counted).sum(Kind::Double),
        _ => scalar(0.0, &counted),
    };
    let presence =
        layer.presence.as_ref().map_or_else(|| scalar(1.0, &counted), |presence| double(presence.shallow_clone()));
    let syn_ops = &density * &spikes * presence * shape.macs();
    let multiplications = match shape.reads {
        Input::Image => {
            shape.macs() * density.detach().double_value(&[]) * counted.detach().sum(Kind::Double).double_value(&[])
        }
        _ => 0.0,
    };
    LayerCost {
        memory_bits: &density * &bits * shape.weights(),
        bit_syn_ops: &bits * &syn_ops,
        shape,
        bits,
        density,
        spikes,
        syn_ops,
        multiplications,
    }
}

/// L_mem (bits) and L_comp (bit-operations per image) over the layers that a search counts; f64
/// scalars with gradients to bit, architecture and timestep logits.
pub fn search_terms(
    layers: &[SynapseLayer],
    active: Techniques,
    activity: &[Tensor],
    counted: &Tensor,
) -> (Tensor, Tensor) {
    let (mut memory, mut compute) = (scalar(0.0, counted), scalar(0.0, counted));
    for (index, synapses) in layers.iter().enumerate().filter(|(_, synapses)| synapses.searched) {
        let cost = layer(synapses, active, activity.get(index), counted);
        memory += cost.memory_bits;
        compute += cost.bit_syn_ops;
    }
    (memory, compute)
}

/// [`search_terms`] of the same layers in full precision, with nothing pruned, fully present, and
/// every input neuron firing at each of `timesteps`: 32 · weights summed, and 32 · T · MACs summed.
pub fn dense_terms(layers: &[SynapseLayer], timesteps: i64) -> (f64, f64) {
    let searched = || layers.iter().filter(|synapses| synapses.searched).map(|synapses| synapses.shape);
    let weights: f64 = searched().map(LayerShape::weights).sum();
    let macs: f64 = searched().map(LayerShape::macs).sum();
    (FULL_PRECISION * weights, FULL_PRECISION * timesteps as f64 * macs)
}

/// Energy of one image in millijoule.
pub fn energy_mj(additions: f64, multiplications: f64) -> f64 {
    (ADDITION_PJ * additions + MULTIPLICATION_PJ * multiplications) * 1e-9
}

/// Size of a stored model in bytes: weights at their bits, everything else in four bytes.
pub fn model_size_bytes(memory_bits: f64, full_precision_parameters: u64) -> f64 {
    memory_bits / 8.0 + 4.0 * full_precision_parameters as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Place;

    #[test]
    fn energy_is_the_papers_table_5() {
        for (additions, multiplications, published) in
            [(705.01, 11.94, 0.68), (271.41, 4.78, 0.26), (129.74, 2.39, 0.13)]
        {
            let energy = energy_mj(additions * 1e6, multiplications * 1e6);
            assert!((energy - published).abs() < 0.005, "{energy} {published}");
        }
    }

    #[test]
    fn the_papers_stem_has_as_many_macs_as_published() {
        let stem = LayerShape {
            name: "stem".into(),
            place: Place::Stem,
            kernel: (3, 3),
            inputs: 3,
            outputs: 144,
            map: (32, 32),
            reads: Input::Image,
        };
        assert_eq!(stem.macs(), 3_981_312.0);
        assert_eq!((stem.macs() * 6.0 * 0.5 / 1e4).round() / 100.0, 11.94);
    }
}
