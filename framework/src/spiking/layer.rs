//! Layers over time-folded tensors `[T·B, C, H, W]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::node::Moments;
use crate::plugin::{Build, Role};

/// What the mean and variance of a batch normalisation are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Statistics {
    /// Batch, space and all timesteps together (Zheng et al., AAAI 2021).
    AllTimesteps,
    /// Batch and space of one timestep; running statistics are updated at each.
    EachTimestep,
}

/// Batch normalisation.
///
/// y = gamma · (x - mean) / sqrt(var + eps) + beta, each per channel; eps 1e-5, running statistics with momentum 0.1.
#[derive(Debug)]
pub struct BatchNorm {
    statistics: Statistics,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
}

impl BatchNorm {
    pub(super) const EPSILON: f64 = 1e-5;
    const MOMENTUM: f64 = 0.1;

    /// For `channels` channels.
    pub fn new(channels: i64, statistics: Statistics, build: &mut Build) -> BatchNorm {
        let options = (Kind::Float, build.device());
        BatchNorm {
            statistics,
            gamma: build.parameter("gamma", Role::Weight, |_| Tensor::ones([channels], options)),
            beta: build.parameter("beta", Role::Weight, |_| Tensor::zeros([channels], options)),
            running_mean: build.buffer("running_mean", Tensor::zeros([channels], options)),
            running_variance: build.buffer("running_variance", Tensor::ones([channels], options)),
        }
    }

    /// Normalises `[T·B, C, ...]`. `scale` (`[C]`) multiplies the output of each channel: it costs nothing here, because it
    /// goes into gamma and beta.
    pub fn forward(&self, x: &Tensor, scale: Option<&Tensor>, timesteps: i64, training: bool) -> Tensor {
        let (gamma, beta) = match scale {
            Some(scale) => (&self.gamma * scale, &self.beta * scale),
            None => (self.gamma.shallow_clone(), self.beta.shallow_clone()),
        };
        let normalised = |x: &Tensor| {
            x.batch_norm(
                Some(&gamma),
                Some(&beta),
                Some(&self.running_mean),
                Some(&self.running_variance),
                training,
                Self::MOMENTUM,
                Self::EPSILON,
                true,
            )
        };
        // By running statistics all timesteps are alike.
        if self.statistics == Statistics::AllTimesteps || !training || timesteps == 1 {
            return normalised(x);
        }
        let steps: Vec<Tensor> = x.chunk(timesteps, 0).iter().map(normalised).collect();
        Tensor::cat(&steps, 0)
    }

    /// gamma, `[C]`.
    pub(super) fn gamma(&self) -> &Tensor {
        &self.gamma
    }

    /// beta, `[C]`.
    pub(super) fn beta(&self) -> &Tensor {
        &self.beta
    }

    /// Running mean and variance, `[C]`, on the CPU.
    pub(super) fn running(&self) -> (Vec<f32>, Vec<f32>) {
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor).expect("running statistics are f32");
        (values(&self.running_mean), values(&self.running_variance))
    }

    /// Mean and (biased) variance that `moments` `[T, C]` over `rows` values each normalise by, `[T, C]` or `[1, C]`; the running
    /// statistics are updated with the unbiased variance, at each timestep or once.
    pub(super) fn observe(&self, moments: &Moments, steps: usize, rows: usize) -> (Vec<f32>, Vec<f32>) {
        let channels = self.gamma.numel();
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let (mean, variance, count) = match self.statistics {
            Statistics::EachTimestep => (moments.mean.clone(), moments.variance.clone(), rows),
            Statistics::AllTimesteps => {
                let over = |channel: usize, value: &dyn Fn(usize) -> f64| {
                    (0..steps).map(|step| value(step * channels + channel)).sum::<f64>() / steps as f64
                };
                let mean: Vec<f64> = (0..channels).map(|channel| over(channel, &|at| moments.mean[at])).collect();
                let variance = (0..channels).map(|channel| {
                    over(channel, &|at| moments.variance[at] + (moments.mean[at] - mean[channel]).powi(2))
                });
                let variance = variance.collect();
                (mean, variance, rows * steps)
            }
        };
        let unbiased = count as f64 / (count as f64 - 1.0).max(1.0);
        tch::no_grad(|| {
            let (mut running_mean, mut running_variance) = self.running();
            for (at, (mean, variance)) in mean.iter().zip(&variance).enumerate() {
                let channel = at % channels;
                let step = |old: &mut f32, new: f64| {
                    *old = ((1.0 - Self::MOMENTUM) * f64::from(*old) + Self::MOMENTUM * new) as f32
                };
                step(&mut running_mean[channel], *mean);
                step(&mut running_variance[channel], variance * unbiased);
            }
            self.running_mean.shallow_clone().copy_(&Tensor::from_slice(&running_mean));
            self.running_variance.shallow_clone().copy_(&Tensor::from_slice(&running_variance));
        });
        (single(&mean), single(&variance))
    }

    /// Number of stored parameters: gamma and beta.
    pub fn parameters(&self) -> u64 {
        2 * self.gamma.numel() as u64
    }
}

/// Initial weight of a convolution `[out, in, kh, kw]`: N(0, 2 / (out · kh · kw)), Kaiming normal by fan out.
pub fn kaiming_fan_out(stream: &mut crate::random::Stream, shape: &[i64]) -> Tensor {
    let fan_out = (shape[0] * shape[2..].iter().product::<i64>()) as f64;
    stream.normal_of(shape, (2.0 / fan_out).sqrt())
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Parameters;
    use tch::Device;

    #[test]
    fn a_scale_multiplies_the_normalised_channels_and_gets_a_gradient() {
        let mut parameters = Parameters::default();
        let norm = BatchNorm::new(2, Statistics::AllTimesteps, &mut Build::new(&mut parameters, 0, Device::Cpu));
        let x = Tensor::randn([8, 2, 3, 3], (Kind::Float, Device::Cpu));
        let scale = Tensor::from_slice(&[0.25f32, 2.0]).set_requires_grad(true);
        let scaled = norm.forward(&x, Some(&scale), 4, true);
        let want = norm.forward(&x, None, 4, true) * scale.view([1, 2, 1, 1]);
        assert!((&scaled - want).abs().max().double_value(&[]) < 1e-6);
        scaled.square().sum(Kind::Float).backward();
        assert!(scale.grad().defined());
    }

    #[test]
    fn each_timestep_can_have_its_own_statistics() {
        let x = Tensor::randn([6, 2, 3, 3], (Kind::Float, Device::Cpu)) * 2.0
            + Tensor::arange(6, (Kind::Float, Device::Cpu)).view([6, 1, 1, 1]);
        let normalise = |statistics| {
            let mut parameters = Parameters::default();
            let norm = BatchNorm::new(2, statistics, &mut Build::new(&mut parameters, 0, Device::Cpu));
            norm.forward(&x, None, 3, true)
        };
        // Means over batch and space of each timestep, by channel.
        let means = |y: Tensor| unfold_time(&y, 3).mean_dim([1i64, 3, 4].as_slice(), false, Kind::Float).abs().max();
        assert!(means(normalise(Statistics::EachTimestep)).double_value(&[]) < 1e-6);
        assert!(means(normalise(Statistics::AllTimesteps)).double_value(&[]) > 0.1);
    }

    #[test]
    fn folding_time_is_undone_by_unfolding() {
        let x = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([2, 3, 4]);
        assert!(unfold_time(&fold_time(&x), 2).equal(&x));
        let rates = firing_rate(&Tensor::from_slice(&[0f32, 1., 1., 1.]).view([2, 2]));
        assert_eq!(Vec::<f32>::try_from(rates).unwrap(), [0.5, 1.0]);
    }
}
