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
//! | counted operations | sum over c, y, x of S[c, y, x] · F[c, y, x] | operations per image | |
//! | model size | L_mem / 8 + 4 · other parameters | bytes | paper Table 2 |
//! | stored size | kept values and masks, see [`stored_weight_bytes`], + 4 · other parameters | bytes | |
//!
//! The search's quantities are f64 tensors, so that the same lines serve gradients and reports.
//! Layers that read the image do multiplications (weights · H W · T · density) and no SynOps; the
//! classifier reads pooled values and counts in the size alone.
//!
//! The paper's formulas are estimates. Eq. 12 lets every tap of a kernel count, those on the padding
//! too, and takes all neurons for equally active; [`counted_operations`] counts what a spike really
//! reaches. The model size leaves out how a file says which weights are kept.

use tch::{Kind, Tensor};

use super::activity::Activity;
use super::compression::Techniques;
use super::layer::{Input, LayerShape};
use super::mask_code::StoredMask;
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

/// The cost of one layer by the paper's formulas. `counted` is `[T]`, P(T >= t).
pub fn layer(layer: &SynapseLayer, active: Techniques, activity: Option<&Activity>, counted: &Tensor) -> LayerCost {
    let shape = layer.shape.clone();
    let double = |tensor: Tensor| tensor.to_kind(Kind::Double);
    let bits = double(layer.weight.bits(active));
    let density = double(layer.weight.density(active));
    let counted = double(counted.shallow_clone());
    let spikes = match (shape.reads, activity) {
        (Input::Spikes, Some(activity)) => (double(activity.rate.detach()) * &counted).sum(Kind::Double),
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
    activity: &[Activity],
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
    let kept = weight.detach().reshape([shape.outputs, channels, kernel.0, kernel.1]).ne(0.0);
    let kept = kept.to_kind(Kind::Double).sum_dim_intlist(0, false, Kind::Double);
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
mod tests {
    use super::*;
    use crate::ground::Stream;
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
            input_map: (32, 32),
            stride: 1,
            padding: 1,
            map: (32, 32),
            reads: Input::Image,
        };
        assert_eq!(stem.convolved_map(), stem.map);
        assert_eq!(stem.macs(), 3_981_312.0);
        assert_eq!((stem.macs() * 6.0 * 0.5 / 1e4).round() / 100.0, 11.94);
    }
    /// Each spike of each neuron is followed to each place of the output map that it reaches.
    #[test]
    fn counted_operations_are_those_of_plain_loops() {
        let mut random = Stream::open(3, "counted", 0);
        for (index, (kernel, stride, padding, input_map)) in [
            ((3, 3), 1, 1, (5, 7)),
            ((3, 3), 2, 1, (8, 8)),
            ((3, 3), 2, 1, (7, 6)),
            ((3, 3), 4, 1, (9, 12)),
            ((3, 3), 1, 0, (6, 5)),
            ((2, 2), 1, 0, (2, 2)),
            ((1, 1), 1, 0, (3, 3)),
            ((5, 3), 3, 2, (8, 11)),
        ]
        .into_iter()
        .enumerate()
        {
            let mut shape = LayerShape {
                name: format!("layer {index}"),
                place: Place::Cell(0),
                kernel,
                inputs: 3,
                outputs: 4,
                input_map,
                stride,
                padding,
                map: (0, 0),
                reads: Input::Spikes,
            };
            shape.map = shape.convolved_map();
            let weight = random.normal(&[4, 3, kernel.0, kernel.1]);
            let weight = &weight * weight.abs().gt(0.8).to_kind(Kind::Float);
            // Up to six spikes.
            let map = random.uniform(&[3, input_map.0, input_map.1], 0.0, 7.0).floor();
            let mut operations = 0.0;
            for (out, channel) in (0..4).flat_map(|out| (0..3).map(move |channel| (out, channel))) {
                for (row, column) in (0..shape.map.0).flat_map(|row| (0..shape.map.1).map(move |column| (row, column)))
                {
                    for (ky, kx) in (0..kernel.0).flat_map(|ky| (0..kernel.1).map(move |kx| (ky, kx))) {
                        let (y, x) = (row * stride + ky - padding, column * stride + kx - padding);
                        let inside = (0..input_map.0).contains(&y) && (0..input_map.1).contains(&x);
                        if inside && weight.double_value(&[out, channel, ky, kx]) != 0.0 {
                            operations += map.double_value(&[channel, y, x]);
                        }
                    }
                }
            }
            assert!(operations > 0.0);
            assert_eq!(counted_operations(&shape, &weight, &map), operations, "{shape:?}");
        }
    }

    #[test]
    fn a_layer_is_stored_in_whole_bytes_of_values_and_of_mask() {
        let mask = StoredMask { bits: 9, ..StoredMask::NONE };
        assert_eq!(stored_weight_bytes(3, 4.0, mask), 2.0 + 2.0);
        assert_eq!(stored_weight_bytes(3, 32.0, StoredMask::NONE), 12.0);
        assert_eq!(stored_bytes(12.0, 5), 32.0);
    }
}
