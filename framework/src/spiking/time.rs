//! Time as an axis: folded into the batch for convolutions, unfolded for neurons.

use tch::{Kind, Tensor};

use super::maps::channels_last;

/// `[T, B, ...]` to `[T·B, ...]`.
pub fn fold_time(x: &Tensor) -> Tensor {
    x.flatten(0, 1)
}

/// `[T·B, ...]` to `[T, B, ...]`.
pub fn unfold_time(x: &Tensor, timesteps: i64) -> Tensor {
    let mut shape = x.size();
    shape[0] /= timesteps;
    shape.insert(0, timesteps);
    x.view(shape.as_slice())
}

/// Mean spikes of a neuron at each timestep: `[T, ...]` to `[T]`, without gradient.
pub fn firing_rate(spikes: &Tensor) -> Tensor {
    tch::no_grad(|| spikes.flatten(1, -1).mean_dim(1, false, Kind::Float))
}

/// Maps `[B, C, H, W]` of one timestep as those `[T·B, C, H, W]` of all.
pub fn repeat_over_time(x: &Tensor, timesteps: i64) -> Tensor {
    channels_last(&fold_time(&x.unsqueeze(0).expand([timesteps, -1, -1, -1, -1], false)))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn folding_time_is_undone_by_unfolding() {
        let x = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([2, 3, 4]);
        assert!(unfold_time(&fold_time(&x), 2).equal(&x));
        let rates = firing_rate(&Tensor::from_slice(&[0f32, 1., 1., 1.]).view([2, 2]));
        assert_eq!(Vec::<f32>::try_from(rates).unwrap(), [0.5, 1.0]);
    }
}
