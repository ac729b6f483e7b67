//! What training a network will need, before anything runs: memory by a formula over its layers.
//!
//! ```text
//! memory = program + data + max over search and retraining of (state + max(activations, evaluation, checkpoint) + teacher)
//!
//! state       = 4 ((2 + s) weights + 4 others + buffers)          value, gradient, and what a descent keeps
//! activations = 4 B T (k maps + 2 largest) + 4 B image       twice where steps become a CUDA graph
//! evaluation  = 4 · 100 T · 3 largest                             one place at a time, nothing is kept
//! checkpoint  = 4 ((3 + 2 s) weights + 7 others + 3 buffers)      a copy, its bytes, and the file before it is written
//! teacher     = 4 (2 weights + others + buffers)                  of the network that teaches in retraining, if one does:
//!             + 4 B (3 T largest + image)                         its tensors, its compressed weights, and a pass
//! ```
//!
//! B is the batch (no more than the training split), T the largest number of timesteps, `maps` the
//! numbers in the output maps of all layers (and in [`Network::other_maps`]) for one image and
//! timestep, `largest` those of the place (a cell) that has most. A teacher runs its own T and the
//! student's batch. Of each weight a descent keeps s numbers: the velocity of SGD or the two
//! moments of Adam, and an average. A layer of neurons keeps the output maps of its convolutions
//! and its spikes, and the copy of them in the cell's output; gradients of a cell live beside them,
//! and buffers of convolutions. So k is 3, which peak resident memory supports: a retraining of
//! `spike-dhs` takes 3, a search 2 (docs/SPEED.md). On a GPU, where nothing but tensors is counted,
//! k is 2. Where neurons are tensor operations, on a device without kernels or in a form without
//! any, autograd keeps potentials and factors of the surrogate besides, and k is 4: a search of
//! `spike-dhs` takes 4, and a retraining 2. Everything is f32.
//!
//! On a GPU the steps of an epoch become a graph where libtorch can record one, which is the
//! default. A graph has memory of its own, and what the steps before it took stays with the
//! process. So a pass is there twice: on an H100 a search step of 120 images peaked at 10.5 GB with
//! a graph, and at 5.3 GB without (docs/SPEED.md). No other step was measured so. An epoch of two
//! batches or fewer has no graph, and a step that cannot be recorded has none: both need less than
//! this.

use tch::Device;

use super::layer::{Input, Place};
use super::space::Network;
use crate::ground::kernel::has_kernels;
use crate::ground::{Graph, Parameters, Role};

/// Copies of the maps of all layers that a training pass keeps, with the kernels of a processor.
const KEPT: f64 = 3.0;
/// The same with the kernels of a GPU.
const KEPT_ON_GPU: f64 = 2.0;
/// The same where neurons are tensor operations.
const KEPT_BY_OPERATIONS: f64 = 4.0;

/// Passes that are there at once where steps become a graph: its own, and that of the steps before
/// it.
const PASSES_WITH_A_GRAPH: f64 = 2.0;

/// Images of a batch in which a split is evaluated.
const EVALUATED: usize = 100;

/// The size of a network, before it is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSize {
    /// Trainable numbers of the role `Weight`: synapses, normalisation, biases.
    pub weights: u64,
    /// Trainable numbers of all other roles: scores and logits.
    pub others: u64,
    /// Running statistics.
    pub buffers: u64,
    /// Layers with weights.
    pub layers: usize,
    /// Multiply-accumulate operations of one image and timestep, dense.
    pub macs: f64,
    /// Numbers in the output maps of all layers and in [`Network::other_maps`], for one image and
    /// timestep.
    pub maps: f64,
    /// The same for the place that has most of them.
    pub largest_place: f64,
    /// Whether its neurons have a form that kernels compute.
    pub fused: bool,
}

impl NetworkSize {
    /// The size of a network with these parameters.
    pub fn of(network: &dyn Network, parameters: &Parameters) -> NetworkSize {
        let count = |weights: bool| {
            let of_role = parameters.trainable().iter().filter(|one| (one.role == Role::Weight) == weights);
            of_role.map(|one| one.tensor.numel() as u64).sum()
        };
        let mut places = std::collections::BTreeMap::<Place, f64>::new();
        let (mut macs, mut maps) = (0.0, 0.0);
        let layers = network.layers();
        for layer in &layers {
            let map = (layer.shape.outputs * layer.shape.map.0 * layer.shape.map.1) as f64;
            *places.entry(layer.shape.place).or_default() += map;
            maps += map;
            // The image is the same at every timestep, and so is what a layer makes of it.
            if layer.shape.reads != Input::Image {
                macs += layer.shape.macs();
            }
        }
        for (place, map) in network.other_maps() {
            *places.entry(place).or_default() += map;
            maps += map;
        }
        NetworkSize {
            weights: count(true),
            others: count(false),
            buffers: parameters.buffers().iter().map(|(_, tensor)| tensor.numel() as u64).sum(),
            layers: layers.len(),
            macs,
            maps,
            largest_place: places.into_values().fold(0.0, f64::max),
            fused: network.has_fused_neurons(),
        }
    }

    /// Bytes that it takes as a teacher, on batches of `batch` images `[C, H, W]` over its own
    /// `timesteps`: its tensors, its compressed weights, and one place of a pass at a time.
    pub fn teaching_bytes(&self, batch: usize, timesteps: i64, image: [i64; 3]) -> u64 {
        let kept = (2 * self.weights + self.others + self.buffers) as f64;
        let pixels = image.iter().product::<i64>() as f64;
        let pass = batch as f64 * (timesteps as f64 * 3.0 * self.largest_place + pixels);
        (4.0 * (kept + pass)) as u64
    }

    /// Bytes that training it on a device takes at its peak, on batches of `batch` images
    /// `[C, H, W]` over `timesteps`, where a descent keeps so many numbers `beside` each weight.
    pub fn training_bytes(&self, batch: usize, timesteps: i64, image: [i64; 3], device: Device, beside: usize) -> u64 {
        let kept = match device {
            Device::Cpu if self.fused => KEPT,
            _ if self.fused && has_kernels(device) => KEPT_ON_GPU,
            _ => KEPT_BY_OPERATIONS,
        };
        let passes = if Graph::is_possible(device) { PASSES_WITH_A_GRAPH } else { 1.0 };
        self.peak_bytes(batch, timesteps, image, beside, (kept, passes))
    }

    /// [`NetworkSize::training_bytes`] where so many copies of all maps are kept, and so many
    /// passes are there at once.
    fn peak_bytes(
        &self,
        batch: usize,
        timesteps: i64,
        image: [i64; 3],
        beside: usize,
        (kept, at_once): (f64, f64),
    ) -> u64 {
        let beside = beside as f64;
        let (weights, others, buffers) = (self.weights as f64, self.others as f64, self.buffers as f64);
        let state = weights * (2.0 + beside) + others * 4.0 + buffers;
        let checkpoint = weights * (3.0 + 2.0 * beside) + others * 7.0 + buffers * 3.0;
        let pixels = image.iter().product::<i64>() as f64;
        let passes = |images: usize, maps: f64| images as f64 * (timesteps as f64 * maps + pixels);
        let activations = at_once * passes(batch, kept * self.maps + 2.0 * self.largest_place);
        let evaluation = passes(EVALUATED, 3.0 * self.largest_place);
        (4.0 * (state + activations.max(checkpoint).max(evaluation))) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_batch_and_timesteps_and_never_falls_below_the_state() {
        let size = NetworkSize {
            weights: 1000,
            others: 100,
            buffers: 10,
            layers: 3,
            macs: 0.0,
            maps: 5000.0,
            largest_place: 2000.0,
            fused: true,
        };
        let bytes = |batch, timesteps| size.training_bytes(batch, timesteps, [1, 2, 2], Device::Cpu, 1);
        let activations = |batch: u64, timesteps: u64| 4 * batch * (timesteps * (15_000 + 4_000) + 4);
        assert_eq!(bytes(100, 2), 4 * 3410 + activations(100, 2));
        assert_eq!(bytes(200, 4) - bytes(100, 4), activations(100, 4));
        // A GPU's kernels keep two maps, and tensor operations four.
        let gpu = Device::Cuda(0);
        let map = 4 * 100 * 2 * 5_000;
        let on_gpu = if has_kernels(gpu) { bytes(100, 2) - map } else { bytes(100, 2) + map };
        assert!(Graph::is_possible(gpu) || size.training_bytes(100, 2, [1, 2, 2], gpu, 1) == on_gpu);
        // A graph has another pass, and no other state.
        let with = |at_once| size.peak_bytes(100, 2, [1, 2, 2], 1, (KEPT_ON_GPU, at_once));
        assert_eq!(with(PASSES_WITH_A_GRAPH) - with(1.0), 4 * 100 * (2 * (2 * 5_000 + 2 * 2_000) + 4));
        // Neurons without kernels keep four, too; and Adam and an average keep 2 numbers more of a
        // weight.
        let other = NetworkSize { fused: false, ..size.clone() };
        assert_eq!(other.training_bytes(100, 2, [1, 2, 2], Device::Cpu, 1) - bytes(100, 2), 4 * 100 * 2 * 5_000);
        assert_eq!(size.training_bytes(100, 2, [1, 2, 2], Device::Cpu, 3) - bytes(100, 2), 4 * 2 * 1000);
        // A teacher keeps no gradient, no velocity and no maps of other places.
        assert_eq!(size.teaching_bytes(100, 2, [1, 2, 2]), 4 * (2 * 1000 + 100 + 10 + 100 * (2 * 3 * 2_000 + 4)));
        // One image is nothing beside the evaluation of a hundred.
        assert_eq!(bytes(1, 1), 4 * (3410 + 100 * (6000 + 4)));
    }
}
