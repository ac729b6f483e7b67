//! What drives a node: parts of normalised currents, and spikes.

use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::super::batch_norm::BatchNorm;
use super::super::cuda::has_kernels_for;
use super::super::lif::Lif;
use super::super::maps::channels_last;
use super::super::time::{fold_time, repeat_over_time, unfold_time};
use super::device::NormalisedMaps;
use super::normalised::NormalisedOutput;

/// What drives a node.
pub enum Term {
    /// Channels of currents, times `alpha[scale]`.
    Part {
        /// The currents.
        of: Rc<Currents>,
        /// The first of the channels.
        first: i64,
        /// Index into alpha.
        scale: Option<i64>,
    },
    /// Spikes of another node, times `alpha[scale]`.
    Spikes {
        /// `[T·B, C, H, W]`
        spikes: Tensor,
        /// Index into alpha.
        scale: Option<i64>,
    },
}

/// Normalised currents from one convolution, `[T·B, C, H, W]`; `readers` parts of whose channels
/// drive nodes.
pub struct Currents {
    pub(super) backend: Backend,
    /// `[C]`
    pub(super) gamma: Tensor,
    pub(super) beta: Tensor,
    /// `[T·B, C, H, W]`: the output of the convolution for the kernels, the currents themselves for
    /// tensor operations.
    pub(super) x: Tensor,
}

/// What computes a node.
pub(super) enum Backend {
    /// The kernels, on the CPU in f32.
    Kernel(Arc<NormalisedOutput>),
    /// The kernels of a CUDA device.
    Device(Arc<NormalisedMaps>),
    /// Tensor operations.
    Operations,
}

impl Currents {
    /// Normalises the output `[T·B, C, H, W]` of a convolution, `readers` parts of which drive
    /// nodes. With `candidate`, a layer of such neurons follows. The gradient arrives once all
    /// readers have one: each of them has to lead to the loss, or none.
    ///
    /// With `constant`, x is `[B, C, H, W]`: the same at every timestep, convolved once.
    pub fn new(
        x: &Tensor,
        norm: &BatchNorm,
        timesteps: i64,
        constant: bool,
        training: bool,
        candidate: Option<&Lif>,
        readers: usize,
    ) -> Currents {
        if x.dim() == 4 && has_kernels_for(x, &[Kind::Float, Kind::BFloat16], timesteps) {
            return Currents::by_kernels(x, norm, timesteps, constant, training, candidate, readers);
        }
        if x.device() != Device::Cpu || x.kind() != Kind::Float || x.dim() != 4 {
            return Currents::by_operations(x, norm, timesteps, constant, training, candidate);
        }
        let (x, steps, spiking) = (channels_last(x), timesteps as usize, candidate.is_some());
        let output = NormalisedOutput::new(&x, norm, steps, constant, training, spiking, readers);
        Currents::of(Backend::Kernel(Arc::new(output)), x, norm)
    }

    /// [`Currents::new`] by the kernels of a device.
    pub(in super::super) fn by_kernels(
        x: &Tensor,
        norm: &BatchNorm,
        timesteps: i64,
        constant: bool,
        training: bool,
        candidate: Option<&Lif>,
        readers: usize,
    ) -> Currents {
        let x = channels_last(x);
        let maps = NormalisedMaps::new(&x, norm, timesteps, constant, training, candidate.is_some(), readers);
        Currents::of(Backend::Device(Arc::new(maps)), x, norm)
    }

    /// [`Currents::new`] by tensor operations.
    pub(super) fn by_operations(
        x: &Tensor,
        norm: &BatchNorm,
        timesteps: i64,
        constant: bool,
        training: bool,
        candidate: Option<&Lif>,
    ) -> Currents {
        // Copies of one value are one value.
        let training = training && norm.can_observe(x, if constant { 1 } else { timesteps });
        let x = if constant { repeat_over_time(x, timesteps) } else { x.shallow_clone() };
        let mut currents = norm.forward(&x, None, timesteps, training);
        if let Some(neuron) = candidate {
            currents = fold_time(&neuron.spikes(&unfold_time(&currents, timesteps)));
        }
        Currents::of(Backend::Operations, currents, norm)
    }

    fn of(backend: Backend, x: Tensor, norm: &BatchNorm) -> Currents {
        Currents { backend, gamma: norm.gamma().shallow_clone(), beta: norm.beta().shallow_clone(), x }
    }
}
