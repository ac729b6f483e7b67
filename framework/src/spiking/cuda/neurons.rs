//! Layers of neurons alone.

use tch::Tensor;

use super::super::lif::Lif;
use super::{BLOCK, Neuron, blocks, dimensions};
use crate::ground::kernel::{Argument, Kernel};

static LIF: Kernel = Kernel::new(
    "lif",
    concat!(
        include_str!("../../../kernels/neuron.h"),
        "\n#line 1 \"lif.cu\"\n",
        include_str!("../../../kernels/lif.cu")
    ),
);

/// Fills `spikes` `[T, ...]` of a current of the same order in memory, with T timesteps or one for
/// all.
pub(in super::super) fn lif_forward(neuron: &Lif, current: &Tensor, spikes: &Tensor, constant: bool) {
    launch(neuron, "lif_forward", &[current, spikes], spikes, constant);
}

/// Fills `gradient`, the gradient to the current, from that to the spikes.
pub(in super::super) fn lif_backward(
    neuron: &Lif,
    upstream: &Tensor,
    current: &Tensor,
    gradient: &Tensor,
    constant: bool,
) {
    launch(neuron, "lif_backward", &[upstream, current, gradient], upstream, constant);
}

fn launch(neuron: &Lif, entry: &str, tensors: &[&Tensor], spikes: &Tensor, constant: bool) {
    let steps = spikes.size()[0];
    let neurons = spikes.numel() as i64 / steps.max(1);
    let neuron = Neuron::of(neuron);
    let mut arguments: Vec<Argument> = tensors.iter().map(|tensor| Argument::Tensor(tensor)).collect();
    let advance = if constant { 0 } else { neurons };
    arguments.extend([Argument::I64(neurons), Argument::I64(advance), neuron.argument()]);
    let grid = dimensions([blocks(neurons, BLOCK), 1, 1]);
    LIF.launch(entry, &[("STEPS", steps)], grid, dimensions([BLOCK, 1, 1]), &arguments);
}
