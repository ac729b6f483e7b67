//! In f64, by tensor operations and autograd: the parts of nodes (normalised currents, neurons),
//! and compressed weights by the formulas of their compressors. Nothing of it is shared with the
//! code that is checked.

use litesnn_framework::network::Formula;
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

/// A weight as its layer uses it, f64, by [`Formula`]s, with their gradients: straight through a
/// mixture of levels, and of a score by the sign of it.
pub fn compressed(weight: &Tensor, formulas: &[Formula]) -> Tensor {
    let without_gradient = |tensor: &Tensor| tensor - tensor.detach();
    let mut value = weight.to_kind(Kind::Double);
    let mut mask = None;
    for formula in formulas {
        match formula {
            Formula::Levels { logits, levels } => {
                let plain = value.detach();
                let deviation = plain.std(true);
                let forms = levels.iter().enumerate().map(|(form, level)| {
                    let step = &deviation * level.unit;
                    let levels = ((&plain / &step + 0.5).round() - 0.5).clamp(-level.limit, level.limit) * step;
                    match logits {
                        Some(logits) => levels * logits.to_kind(Kind::Double).softmax(0, Kind::Double).get(form as i64),
                        None => levels,
                    }
                });
                let mixture = forms.reduce(|sum, next| sum + next);
                value = without_gradient(&value) + mixture.expect("a quantiser has a form");
            }
            Formula::Largest { scores, kept, learned } => {
                let size = scores.to_kind(Kind::Double).abs();
                let (_, order) = size.detach().flatten(0, -1).sort_stable(true, 0, true);
                let ones = size.detach().flatten(0, -1).zeros_like().index_fill(0, &order.narrow(0, 0, *kept), 1.0);
                let ones = ones.view_as(scores);
                mask = Some(if *learned { ones + without_gradient(&size) } else { ones });
            }
        }
    }
    mask.map_or(value.shallow_clone(), |mask| value * mask)
}

#[cfg(test)]
mod tests {
    use litesnn_framework::network::Level;

    use super::*;

    /// By hand: the deviation of -1, 1, 3 is 2; levels of one bit lie at ±1, those of two at ±1,
    /// ±3.
    #[test]
    fn compressed_weights_are_levels_times_masks_with_their_gradients() {
        let leaf = |values: &[f32]| Tensor::from_slice(values).set_requires_grad(true);
        let (weight, logits, scores) = (leaf(&[-1.0, 1.0, 3.0]), leaf(&[0.0, 0.0]), leaf(&[2.0, -3.0, -3.0]));
        let levels = vec![Level { unit: 1.0, limit: 0.5 }, Level { unit: 1.0, limit: 1.5 }];
        let formulas = [
            Formula::Levels { logits: Some(logits.shallow_clone()), levels },
            Formula::Largest { scores: scores.shallow_clone(), kept: 2, learned: true },
        ];
        let value = compressed(&weight, &formulas);
        let numbers = |tensor: &Tensor| Vec::<f64>::try_from(tensor.to_kind(Kind::Double)).unwrap();
        // 3 is 1 by one bit and 3 by two, half of each.
        assert_eq!(numbers(&value.detach()), [0.0, 1.0, 2.0]);
        (value * Tensor::from_slice(&[1.0, 10.0, 100.0])).sum(Kind::Double).backward();
        assert_eq!(numbers(&weight.grad()), [0.0, 10.0, 100.0]);
        // What is masked has a gradient to its score, by the mixture: -1, 1, 2.
        assert_eq!(numbers(&scores.grad()), [-1.0, -10.0, -200.0]);
        // dL/dp is 110 and 310, and softmax is half of half of the difference.
        assert_eq!(numbers(&logits.grad()), [-50.0, 50.0]);
    }
}
