//! What drives a node: parts of normalised currents, and spikes.

use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::super::batch_norm::BatchNorm;
use super::super::convolution::Convolved;
use super::super::cuda::has_kernels_for;
use super::super::maps::channels_last;
use super::super::neuron::Neurons;
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

/// The neurons that currents drive.
#[derive(Clone, Copy)]
pub enum Drives<'a> {
    /// The neurons of the nodes.
    Nodes(&'a Neurons),
    /// Neurons on the currents themselves, whose spikes drive the nodes.
    Candidates(&'a Neurons),
}

impl<'a> Drives<'a> {
    /// The neurons on the currents themselves.
    fn candidates(self) -> Option<&'a Neurons> {
        match self {
            Drives::Nodes(_) => None,
            Drives::Candidates(neurons) => Some(neurons),
        }
    }

    /// Whether kernels compute the neurons.
    fn fused(self) -> bool {
        let (Drives::Nodes(neurons) | Drives::Candidates(neurons)) = self;
        neurons.are_fused()
    }
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
    /// nodes. The gradient arrives once all readers have one: each of them has to lead to the loss,
    /// or none. Neurons on the currents and those of the nodes have the same settings.
    ///
    /// With `constant`, x is `[B, C, H, W]`: the same at every timestep, convolved once.
    pub fn new(
        x: impl Into<Convolved>,
        norm: &BatchNorm,
        timesteps: i64,
        constant: bool,
        training: bool,
        drives: Drives,
        readers: usize,
    ) -> Currents {
        let x = x.into();
        let fused = drives.fused() && x.maps.dim() == 4;
        if fused && has_kernels_for(&x.maps, &[Kind::Float, Kind::BFloat16], timesteps) {
            return Currents::by_kernels(x, norm, timesteps, constant, training, drives, readers);
        }
        // All others compute in f32, as the kernels do.
        let x = x.currents();
        if !fused || x.device() != Device::Cpu || x.kind() != Kind::Float {
            return Currents::by_operations(&x, norm, timesteps, constant, training, drives);
        }
        let (x, steps, spiking) = (channels_last(&x), timesteps as usize, drives.candidates().is_some());
        let output = NormalisedOutput::new(&x, norm, steps, constant, training, spiking, readers);
        Currents::of(Backend::Kernel(Arc::new(output)), x, norm)
    }

    /// [`Currents::new`] by the kernels of a device.
    pub(in super::super) fn by_kernels(
        x: impl Into<Convolved>,
        norm: &BatchNorm,
        timesteps: i64,
        constant: bool,
        training: bool,
        drives: Drives,
        readers: usize,
    ) -> Currents {
        let x = x.into();
        let x = Convolved { maps: channels_last(&x.maps), ..x };
        let spiking = drives.candidates().is_some();
        let maps = NormalisedMaps::new(&x, norm, timesteps, constant, training, spiking, readers);
        Currents::of(Backend::Device(Arc::new(maps)), x.maps, norm)
    }

    /// [`Currents::new`] by tensor operations.
    pub(super) fn by_operations(
        x: &Tensor,
        norm: &BatchNorm,
        timesteps: i64,
        constant: bool,
        training: bool,
        drives: Drives,
    ) -> Currents {
        // Copies of one value are one value.
        let training = training && norm.can_observe(x, if constant { 1 } else { timesteps });
        let x = if constant { repeat_over_time(x, timesteps) } else { x.shallow_clone() };
        let mut currents = norm.forward(&x, None, timesteps, training);
        if let Some(neurons) = drives.candidates() {
            currents = fold_time(&neurons.spikes(&unfold_time(&currents, timesteps)));
        }
        Currents::of(Backend::Operations, currents, norm)
    }

    fn of(backend: Backend, x: Tensor, norm: &BatchNorm) -> Currents {
        Currents { backend, gamma: norm.gamma().shallow_clone(), beta: norm.beta().shallow_clone(), x }
    }
}
