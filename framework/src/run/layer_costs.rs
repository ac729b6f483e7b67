//! The account of a whole network: its layers as rows, and their totals.

use litesnn_engine::{self as engine, file};
use tch::{Device, Kind, Tensor};

use crate::network::cost::{
    CostModel, counted_operations, energy_mj, model_size_bytes, stored_bytes, stored_weight_bytes,
};
use crate::network::{
    Activity, CostConstants, Input, LayerShape, Network, Place, StoredMask, SynapseLayer, Techniques,
};
use crate::record::LayerRow;

/// What a network costs in all.
///
/// A head that is used in training only counts in the paper's model size and in the weights, and
/// neither in what is stored nor in operations.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Totals {
    /// Weights, removed ones too, and normalisation and biases of the channels that are there.
    pub parameters: i64,
    /// Weights of synapses.
    pub weights: i64,
    /// Weights that are not zero.
    pub kept_weights: i64,
    /// Storage of the weights in bits.
    pub weight_bits: f64,
    /// Bits of a weight, mean over those that are not removed, zeros of a quantiser among them; NaN
    /// where all are removed.
    pub mean_bits: f64,
    /// The paper's model size in bytes: weights at their bits, everything else in four bytes.
    pub model_size_bytes: f64,
    /// What a file needs beside its graph, in bytes: kept weights at their bits, masks, everything
    /// else in four bytes.
    pub stored_bytes: f64,
    /// Dense multiply-accumulate operations of one pass over the convolutions.
    pub macs: f64,
    /// Operations of the same network as an ANN, pruned alike: density · MACs over all layers with
    /// the classifier, the layer that reads the image counted twice. This is how Table 5 of the
    /// paper counts.
    pub ann_operations: f64,
    /// Multiplications an image: density · MACs · T of layers that read the image.
    pub multiplications: f64,
    /// Additions an image.
    pub syn_ops: f64,
    /// Bits · SynOps an image.
    pub bit_syn_ops: f64,
    /// Energy an image in millijoule.
    pub energy_mj: f64,
    /// Multiplications an image, counted one by one.
    pub multiplications_counted: f64,
    /// Additions an image, counted one by one; NaN where nothing was measured.
    pub syn_ops_counted: f64,
    /// Bits · counted additions an image; NaN where nothing was measured.
    pub bit_syn_ops_counted: f64,
    /// Energy of the counted operations an image in millijoule; NaN where nothing was measured.
    pub energy_counted_mj: f64,
}

/// The layers of a network with their cost, for a network that runs `timesteps`. `activity` has an
/// entry for each layer; it is empty where nothing was measured.
pub fn layers(network: &dyn Network, activity: &[Activity], timesteps: i64) -> Vec<LayerRow> {
    running_layers(network, activity, &vec![1.0; timesteps as usize])
}

/// [`layers`] of a network with early exit: `running` is the fraction of images that run each
/// timestep, and the rates of `activity` are means over those.
pub fn running_layers(network: &dyn Network, activity: &[Activity], running: &[f64]) -> Vec<LayerRow> {
    tch::no_grad(|| {
        let counted = Tensor::from_slice(running);
        let layers = network.layers();
        let activity: Vec<Activity> = activity.iter().map(|layer| layer.to_device(Device::Cpu)).collect();
        let constants = CostConstants::default();
        let costs = CostModel::of(network, Techniques::ALL, &counted, &constants).layers(&layers, &activity);
        let rows = layers.iter().enumerate().map(|(index, synapses)| {
            let number = |of: &Tensor| of.double_value(&[index as i64]);
            let (shape, activity) = (synapses.shape, activity.get(index));
            let value = synapses.weight.value(Techniques::ALL);
            let bits = number(&costs.bits);
            let operations = counted_by_kind(shape, &value, activity, &counted);
            let kept_weights = value.count_nonzero(None::<i64>).int64_value(&[]);
            let (values, mask) = stored(synapses, &value, kept_weights);
            LayerRow {
                index: index as i64,
                place: shape.place.group(),
                kernel_height: shape.kernel.0,
                kernel_width: shape.kernel.1,
                inputs: shape.inputs,
                outputs: shape.outputs,
                map_height: shape.map.0,
                map_width: shape.map.1,
                weights: shape.weights() as i64,
                kept_weights,
                bits,
                memory_bits: number(&costs.memory_bits),
                mask_coding: mask.coding.to_string(),
                mask_bits: mask.bits as f64,
                stored_bytes: stored_weight_bytes(values, bits, mask),
                macs: shape.macs(),
                firing_rate: match (shape.reads, activity) {
                    (reads, Some(Activity { rate, .. })) if reads.is_spiking() => {
                        let there = synapses.weight.inputs_there(Techniques::ALL).map_or(1.0, |there| there.number());
                        Vec::<f64>::try_from(rate.to_kind(Kind::Double) / there.max(f64::MIN_POSITIVE))
                            .unwrap_or_default()
                    }
                    _ => Vec::new(),
                },
                syn_ops: number(&costs.syn_ops),
                bit_syn_ops: number(&costs.bit_syn_ops),
                multiplications: number(&costs.multiplications),
                syn_ops_counted: operations.additions,
                bit_syn_ops_counted: bits * operations.additions,
                multiplications_counted: operations.multiplications,
                layer: shape.name.clone(),
            }
        });
        rows.collect()
    })
}

/// Counted operations of a layer per image.
struct Operations {
    additions: f64,
    multiplications: f64,
}

/// Spikes are added, numbers of the image multiplied; a layer that reads pooled values counts in the
/// size alone. Additions are NaN where no map of spikes is known.
fn counted_by_kind(shape: &LayerShape, weight: &Tensor, activity: Option<&Activity>, counted: &Tensor) -> Operations {
    let count = |map: &Tensor| counted_operations(shape, weight, map);
    match shape.reads {
        Input::Image | Input::Reals => {
            // Every number counts at every timestep, whatever was measured.
            let map = Activity::uniform(counted.shallow_clone(), shape.input_neurons()).map;
            Operations { additions: 0.0, multiplications: map.as_ref().map_or(f64::NAN, count) }
        }
        Input::Spikes | Input::Sums => {
            let map = activity.and_then(|activity| activity.map.as_ref());
            Operations { additions: map.map_or(f64::NAN, count), multiplications: 0.0 }
        }
        Input::Pooled => Operations { additions: 0.0, multiplications: 0.0 },
    }
}

/// How many values of a layer a file holds, and its mask. Where nothing removes weights all values
/// are held, zeros of a quantiser too. Of removed channels a file holds nothing.
fn stored(synapses: &SynapseLayer, value: &Tensor, kept: i64) -> (u64, StoredMask) {
    let there = synapses.weight.narrowed(Techniques::ALL, value);
    match synapses.weight.is_pruned(Techniques::ALL) {
        true => (kept as u64, StoredMask::of(&there)),
        false => (there.numel() as u64, StoredMask::NONE),
    }
}

/// density · MACs over the layers that work outside of training, the one that reads the image
/// twice: Table 5 of the paper.
pub fn ann_operations(layers: &[LayerRow], density: impl Fn(&LayerRow) -> f64) -> f64 {
    let works = layers.iter().filter(|row| row.place != Place::Auxiliary.group());
    let times = |row: &LayerRow| if row.place == Place::Stem.group() { 2.0 } else { 1.0 };
    works.map(|row| times(row) * density(row) * row.macs).sum()
}

/// Gives rows what their layers take in the packed file of their network.
pub(super) fn as_stored(rows: &mut [LayerRow], packed: &engine::Network) {
    for (synapses, _) in packed.layers() {
        let Some(row) = rows.iter_mut().find(|row| row.layer == synapses.name) else { continue };
        let stored = file::stored(synapses);
        row.mask_coding = stored.coding.to_string();
        row.mask_bits = stored.mask_bits as f64;
        row.stored_bytes = stored.weights as f64;
    }
}

/// The totals of the layers of `network`.
pub fn totals(layers: &[LayerRow], network: &dyn Network) -> Totals {
    let full_precision_parameters = network.full_precision_parameters();
    let works = |row: &&LayerRow| row.place != Place::Auxiliary.group();
    let sum = |value: fn(&LayerRow) -> f64| layers.iter().filter(works).map(value).sum::<f64>();
    let weights = layers.iter().map(|row| row.weights).sum::<i64>();
    let weight_bits = layers.iter().map(|row| row.memory_bits).sum::<f64>();
    // density · weights of each layer.
    let stay: f64 = layers.iter().filter(|row| row.bits > 0.0).map(|row| row.memory_bits / row.bits).sum();
    let (syn_ops, multiplications) = (sum(|row| row.syn_ops), sum(|row| row.multiplications));
    let syn_ops_counted = sum(|row| row.syn_ops_counted);
    let multiplications_counted = sum(|row| row.multiplications_counted);
    let left = full_precision_parameters - network.auxiliary_parameters();
    Totals {
        parameters: weights + full_precision_parameters as i64,
        weights,
        kept_weights: layers.iter().map(|row| row.kept_weights).sum(),
        weight_bits,
        mean_bits: if stay > 0.0 { weight_bits / stay } else { f64::NAN },
        model_size_bytes: model_size_bytes(weight_bits, full_precision_parameters),
        stored_bytes: stored_bytes(sum(|row| row.stored_bytes), left),
        macs: sum(|row| if row.place == Place::Classifier.group() { 0.0 } else { row.macs }),
        ann_operations: ann_operations(layers, |row| row.kept_weights as f64 / row.weights.max(1) as f64),
        multiplications,
        syn_ops,
        bit_syn_ops: sum(|row| row.bit_syn_ops),
        energy_mj: energy_mj(syn_ops, multiplications),
        multiplications_counted,
        syn_ops_counted,
        bit_syn_ops_counted: sum(|row| row.bit_syn_ops_counted),
        energy_counted_mj: energy_mj(syn_ops_counted, multiplications_counted),
    }
}
