//! Neurons and their normalisation on a CUDA device: launches of the kernels in
//! `framework/kernels`.
//!
//! Nothing is read back: statistics, scales and sums stay on the device, and a step waits for none
//! of them. Every sum has one order, so that a step repeated gives the same bits.

mod maps;
mod neurons;
mod node;
mod normalisation;
#[cfg(test)]
mod tests;

use tch::{Device, Kind, Tensor};

pub(super) use maps::side_by_side;
pub(super) use neurons::{lif_backward, lif_forward};
pub(super) use node::{NodeOnDevice, TermGradient, TermOnDevice};
pub(super) use normalisation::Normalisation;

use super::lif::Lif;
use crate::ground::kernel::{Argument, has_kernels, room};

/// A potential takes a register, and the sums of a block lie in 48 KB of shared memory: more
/// timesteps are left to tensor operations.
const MOST_TIMESTEPS: i64 = 16;

/// Whether kernels compute neurons that `x` drives for so many timesteps, of one of these types.
pub(super) fn has_kernels_for(x: &Tensor, kinds: &[Kind], timesteps: i64) -> bool {
    kinds.contains(&x.kind()) && timesteps <= MOST_TIMESTEPS && has_kernels(x.device())
}

/// Threads of a block.
const BLOCK: i64 = 256;

/// How rows of channels are laid over blocks: a block has neighbouring channels of several rows.
#[derive(Clone, Copy)]
struct Tiling {
    /// Channels of a block.
    lanes: i64,
    /// Rows of a block.
    rows: i64,
    /// Blocks that the channels take.
    spans: i64,
}

impl Tiling {
    fn of(channels: i64) -> Tiling {
        let spans = blocks(channels, BLOCK);
        let lanes = blocks(channels, spans);
        Tiling { lanes, rows: (BLOCK / lanes).max(1), spans }
    }

    fn block(self) -> [u32; 3] {
        dimensions([self.lanes, self.rows, 1])
    }
}

/// [`room`] for maps `[N, C, H, W]`, channels-last.
pub(super) fn room_for_maps(shape: &[i64], options: (Kind, Device)) -> Tensor {
    room(&[shape[0], shape[2], shape[3], shape[1]], options).permute([0, 3, 1, 2])
}

/// Blocks that cover `count` with `size` each.
fn blocks(count: i64, size: i64) -> i64 {
    (count + size - 1) / size.max(1)
}

fn dimensions(of: [i64; 3]) -> [u32; 3] {
    of.map(|count| u32::try_from(count).expect("a grid has less than 2^32 blocks along an axis"))
}

/// `Neuron` of neuron.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct Neuron {
    tau: f32,
    threshold: f32,
    fall: f32,
    height: f32,
}

impl Neuron {
    fn of(neuron: &Lif) -> Neuron {
        let surrogate = neuron.surrogate;
        let numbers = [neuron.tau, neuron.threshold, -2.0 * surrogate.temperature, 4.0 * surrogate.peak()];
        let [tau, threshold, fall, height] = numbers.map(|value| value as f32);
        Neuron { tau, threshold, fall, height }
    }

    fn argument(&self) -> Argument<'_> {
        Argument::Bytes(bytes(std::slice::from_ref(self)))
    }
}

/// Structures as a kernel takes them.
fn bytes<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: the types are `repr(C)` without padding, and every byte of them is set.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

/// The address on the device of a tensor's value that lies so many values after the first.
fn address(tensor: &Tensor, values: i64) -> u64 {
    let size = tensor.kind().elt_size_in_bytes() as u64;
    tensor.data_ptr() as u64 + values.cast_unsigned() * size
}
