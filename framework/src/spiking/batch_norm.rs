//! Batch normalisation of time-folded tensors `[T·B, C, H, W]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::moments::Moments;
use crate::ground::{Build, Role};

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
/// y = gamma · (x - mean) / sqrt(var + eps) + beta, each per channel; eps 1e-5, running statistics
/// with momentum 0.1.
///
/// A mean and a variance need two values. A training pass that has one value for them (a batch of
/// one image, on maps of one pixel, at one timestep) normalises by the running statistics and
/// leaves them as they are. The unbiased variance of one value would be 0/0, and would make the
/// running variance NaN.
#[derive(Debug)]
pub struct BatchNorm {
    statistics: Statistics,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
}

impl BatchNorm {
    /// Stored parameters of a channel: gamma and beta.
    pub const PARAMETERS: u64 = 2;
    pub(super) const EPSILON: f64 = 1e-5;
    pub(super) const MOMENTUM: f64 = 0.1;

    /// For `channels` channels.
    pub fn new(channels: i64, statistics: Statistics, build: &mut Build) -> BatchNorm {
        let options = (Kind::Float, build.device());
        BatchNorm {
            statistics,
            gamma: build.parameter("gamma", Role::Weight, |_| Tensor::ones([channels], options)),
            beta: build.parameter("beta", Role::Weight, |_| Tensor::zeros([channels], options)),
            running_mean: build.statistic("running_mean", Tensor::zeros([channels], options)),
            running_variance: build.statistic("running_variance", Tensor::ones([channels], options)),
        }
    }

    /// The same normalisation, whose output is zero where `kept` `[C]` is: of a channel that is
    /// removed.
    pub fn keeping(&self, kept: Option<&Tensor>) -> BatchNorm {
        let keep = |tensor: &Tensor| kept.map_or_else(|| tensor.shallow_clone(), |kept| tensor * kept);
        BatchNorm {
            statistics: self.statistics,
            gamma: keep(&self.gamma),
            beta: keep(&self.beta),
            running_mean: self.running_mean.shallow_clone(),
            running_variance: self.running_variance.shallow_clone(),
        }
    }

    /// The normalisation of `count` channels from `first` on: the same numbers, running statistics
    /// too.
    pub fn narrow(&self, first: i64, count: i64) -> BatchNorm {
        let part = |tensor: &Tensor| tensor.narrow(0, first, count);
        BatchNorm {
            statistics: self.statistics,
            gamma: part(&self.gamma),
            beta: part(&self.beta),
            running_mean: part(&self.running_mean),
            running_variance: part(&self.running_variance),
        }
    }

    /// Normalises `[T·B, C, ...]`. `scale` (`[C]`) multiplies the output of each channel: it costs
    /// nothing here, because it goes into gamma and beta.
    pub fn forward(&self, x: &Tensor, scale: Option<&Tensor>, timesteps: i64, training: bool) -> Tensor {
        let (gamma, beta) = match scale {
            Some(scale) => (&self.gamma * scale, &self.beta * scale),
            None => (self.gamma.shallow_clone(), self.beta.shallow_clone()),
        };
        // By running statistics all timesteps are alike.
        let maps = if self.statistics == Statistics::AllTimesteps || !training { 1 } else { timesteps };
        let training = training && self.can_observe(x, maps);
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
        if maps == 1 {
            return normalised(x);
        }
        let steps: Vec<Tensor> = x.chunk(maps, 0).iter().map(normalised).collect();
        Tensor::cat(&steps, 0)
    }

    /// Whether statistics can be taken over `x`, `[maps·B, C, ...]` with a mean and a variance for
    /// each of `maps` timesteps or for all of them: each needs two values or more.
    pub(super) fn can_observe(&self, x: &Tensor, maps: i64) -> bool {
        let values = x.numel() as i64 / x.size()[1];
        match self.statistics {
            Statistics::AllTimesteps => values > 1,
            Statistics::EachTimestep => values > maps,
        }
    }

    /// gamma, `[C]`.
    pub(super) fn gamma(&self) -> &Tensor {
        &self.gamma
    }

    /// beta, `[C]`.
    pub(super) fn beta(&self) -> &Tensor {
        &self.beta
    }

    /// Whether the statistics are one for all timesteps.
    pub(super) fn all_alike(&self) -> bool {
        self.statistics == Statistics::AllTimesteps
    }

    /// Running mean and variance, `[C]`, where they are.
    pub(super) fn running_tensors(&self) -> [&Tensor; 2] {
        [&self.running_mean, &self.running_variance]
    }

    /// Running mean and variance, `[C]`, on the CPU.
    pub(super) fn running(&self) -> (Vec<f32>, Vec<f32>) {
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor).expect("running statistics are f32");
        (values(&self.running_mean), values(&self.running_variance))
    }

    /// By running statistics, y = factor · x + shift: factor = gamma / sqrt(var + eps) and shift =
    /// beta - mean · factor, `[C]` each, in the f32 operations of the kernels.
    pub fn coefficients(&self) -> (Vec<f32>, Vec<f32>) {
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach()).expect("gamma and beta are f32");
        let (mean, variance) = self.running();
        let inverse = variance.iter().map(|variance| 1.0 / (variance + Self::EPSILON as f32).sqrt());
        let (gamma, beta) = (values(&self.gamma), values(&self.beta));
        let factor: Vec<f32> = gamma.iter().zip(inverse).map(|(gamma, inverse)| gamma * inverse).collect();
        let products = mean.iter().zip(&factor).map(|(mean, factor)| mean * factor);
        let shift = beta.iter().zip(products).map(|(beta, product)| beta - product).collect();
        (factor, shift)
    }

    /// Mean and (biased) variance, `[T, C]` or `[1, C]`, by which maps with these `moments`
    /// `[T, C]` over `rows` values each are normalised. The running statistics are updated with the
    /// unbiased variance, at each timestep or once.
    pub(super) fn observe(&self, moments: &Moments, steps: usize, rows: usize) -> (Vec<f32>, Vec<f32>) {
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        match self.statistics {
            Statistics::EachTimestep => {
                self.update_running(moments, rows);
                (single(&moments.mean), single(&moments.variance))
            }
            Statistics::AllTimesteps => {
                let pooled = moments.over_timesteps(steps);
                self.update_running(&pooled, rows * steps);
                (single(&pooled.mean), single(&pooled.variance))
            }
        }
    }

    /// Moves the running statistics towards moments over `count` values, one timestep after
    /// another.
    fn update_running(&self, moments: &Moments, count: usize) {
        let unbiased = count as f64 / (count as f64 - 1.0);
        let step =
            |old: &mut f32, new: f64| *old = ((1.0 - Self::MOMENTUM) * f64::from(*old) + Self::MOMENTUM * new) as f32;
        let (mut running_mean, mut running_variance) = self.running();
        let channels = running_mean.len();
        for (at, (mean, variance)) in moments.mean.iter().zip(&moments.variance).enumerate() {
            step(&mut running_mean[at % channels], *mean);
            step(&mut running_variance[at % channels], variance * unbiased);
        }
        tch::no_grad(|| {
            self.running_mean.shallow_clone().copy_(&Tensor::from_slice(&running_mean));
            self.running_variance.shallow_clone().copy_(&Tensor::from_slice(&running_variance));
        });
    }

    /// Number of stored parameters: gamma and beta.
    pub fn parameters(&self) -> u64 {
        BatchNorm::PARAMETERS * self.gamma.numel() as u64
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::ground::{Parameters, Stream};
    use crate::spiking::time::unfold_time;

    #[test]
    fn a_scale_multiplies_the_normalised_channels_and_gets_a_gradient() {
        let mut parameters = Parameters::default();
        let norm = BatchNorm::new(2, Statistics::AllTimesteps, &mut Build::new(&mut parameters, 0, Device::Cpu));
        let x = Stream::numbered(1).normal(&[8, 2, 3, 3]);
        let scale = Tensor::from_slice(&[0.25f32, 2.0]).set_requires_grad(true);
        let scaled = norm.forward(&x, Some(&scale), 4, true);
        let want = norm.forward(&x, None, 4, true) * scale.view([1, 2, 1, 1]);
        assert!((&scaled - want).abs().max().double_value(&[]) < 1e-6);
        scaled.square().sum(Kind::Float).backward();
        assert!(scale.grad().defined());
    }

    /// Guards the running variance: the unbiased variance of one value is 0/0.
    #[test]
    fn one_value_leaves_the_running_statistics_as_they_are() {
        for (statistics, shape, timesteps) in [
            (Statistics::AllTimesteps, vec![1, 2], 1),
            (Statistics::AllTimesteps, vec![1, 2, 1, 1], 1),
            (Statistics::EachTimestep, vec![3, 2], 3),
            (Statistics::EachTimestep, vec![3, 2, 1, 1], 3),
        ] {
            let mut parameters = Parameters::default();
            let norm = BatchNorm::new(2, statistics, &mut Build::new(&mut parameters, 0, Device::Cpu));
            let x = Stream::numbered(2).normal(&shape).set_requires_grad(true);
            let (trained, evaluated) =
                (norm.forward(&x, None, timesteps, true), norm.forward(&x, None, timesteps, false));
            assert!(trained.equal(&evaluated), "{statistics:?} {shape:?}");
            trained.square().sum(Kind::Float).backward();
            assert!(x.grad().abs().min().double_value(&[]) > 0.0, "{statistics:?} {shape:?}");
            assert_eq!(norm.running(), (vec![0.0; 2], vec![1.0; 2]), "{statistics:?} {shape:?}");
        }
    }

    #[test]
    fn two_values_are_enough() {
        let mut parameters = Parameters::default();
        let norm = BatchNorm::new(1, Statistics::EachTimestep, &mut Build::new(&mut parameters, 0, Device::Cpu));
        let _ = norm.forward(&Tensor::from_slice(&[1f32, 3.0]).view([2, 1]), None, 1, true);
        // 0.9 · 0 + 0.1 · 2 and 0.9 · 1 + 0.1 · 2: the unbiased variance of 1 and 3 is 2.
        let (mean, variance) = norm.running();
        assert!((mean[0] - 0.2).abs() < 1e-6 && (variance[0] - 1.1).abs() < 1e-6, "{mean:?} {variance:?}");
    }

    #[test]
    fn each_timestep_can_have_its_own_statistics() {
        let x = Stream::numbered(3).normal(&[6, 2, 3, 3]) * 2.0
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
}
