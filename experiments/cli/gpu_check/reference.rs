//! Nodes in f64, by tensor operations and autograd: normalised currents, candidates with neurons of
//! their own, the weighted sum, the neurons. Nothing of it is shared with the code that is checked.

use litesnn_framework::spiking::Lif;
use tch::{Kind, Tensor};

/// The batch normalisation's own.
const EPSILON: f64 = 1e-5;

/// Normalised currents `[T, B, C, H, W]` of x `[T, B, C, H, W]`, by the statistics of each timestep
/// or of all of them; `running` mean and variance take their place outside of training.
pub fn normalised(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    each_timestep: bool,
    running: Option<(&Tensor, &Tensor)>,
) -> Tensor {
    let over: &[i64] = if each_timestep { &[1, 3, 4] } else { &[0, 1, 3, 4] };
    let channel = |tensor: &Tensor| tensor.view([1, 1, -1, 1, 1]);
    let (mean, variance) = match running {
        Some((mean, variance)) => (channel(mean), channel(variance)),
        None => {
            let mean = x.mean_dim(over, true, Kind::Double);
            let variance = (x - &mean).square().mean_dim(over, true, Kind::Double);
            (mean, variance)
        }
    };
    (x - mean) / (variance + EPSILON).sqrt() * channel(gamma) + channel(beta)
}

/// Spikes of currents `[T, ...]`, op by op: a step forward and Dspike backward, by the detach trick.
pub fn spikes(neuron: &Lif, current: &Tensor) -> Tensor {
    let b = neuron.surrogate.temperature;
    let half = (b / 2.0).tanh();
    let (mut spikes, mut potential) = (Vec::<Tensor>::new(), None::<Tensor>);
    for step in 0..current.size()[0] {
        let u = match (&potential, spikes.last()) {
            (Some(u), Some(s)) => u * neuron.tau * (1.0 - s) + current.get(step),
            _ => current.get(step),
        };
        // At the edge of its window itself, where the potential of a node without currents lies, the
        // surrogate is 0: `clamp` would hand on the gradient there.
        let distance = &u - neuron.threshold;
        let outside = distance.detach().clamp(-0.5, 0.5);
        let distance = distance.where_self(&distance.abs().lt(0.5), &outside);
        let smooth = ((distance * b).tanh() + half) / (2.0 * half);
        let hard = u.detach().gt(neuron.threshold).to_kind(u.kind());
        spikes.push(hard - smooth.detach() + smooth);
        potential = Some(u);
    }
    Tensor::stack(&spikes, 0)
}
