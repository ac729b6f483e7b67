//! The normalised output of a convolution, parts of whose channels drive nodes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::Tensor;

use super::super::batch_norm::BatchNorm;
use super::super::maps::empty_channels_last;
use super::super::moments::Moments;
use super::super::parallel::{Pointer, for_parts, simd};

/// What the kernels know of a convolution's output and of its normalisation.
pub(super) struct NormalisedOutput {
    /// `[C]`
    gamma: Vec<f32>,
    beta: Vec<f32>,
    /// `[S, C]` with S = T, or 1 where all timesteps are alike.
    mean: Vec<f32>,
    /// 1 / sqrt(var + eps), `[S, C]`.
    inverse: Vec<f32>,
    /// The row of mean and inverse for each timestep.
    statistics: Vec<usize>,
    /// Timesteps that x holds: T, or 1 for all of them.
    pub(super) maps: usize,
    pub(super) channels: usize,
    training: bool,
    /// A LIF layer on the normalised currents.
    pub(super) spiking: bool,
    /// Nodes that read a part.
    readers: usize,
    pending: Mutex<PendingGradient>,
}

/// The gradient of a convolution's output while its readers run backward one after another.
#[derive(Default)]
struct PendingGradient {
    /// Readers that have run.
    done: usize,
    /// Of the normalised currents, then of x: `[T·B, C, H, W]`.
    gradient: Option<Tensor>,
    /// Sums over the rows of a timestep: of the gradient, and of the gradient times (x - mean):
    /// `[T, C]`.
    sums: Vec<f64>,
    products: Vec<f64>,
    /// The scale of each channel where it multiplies currents, else 1: `[C]`.
    scales: Vec<f32>,
}

/// factor, shift and mean of a part, each `[T, width]`: y = factor · x + shift.
pub(super) type Coefficients = [Vec<f32>; 3];

/// What a reader found in its backward pass for the channels that it reads.
pub(super) struct ReaderSums {
    /// Sums of the gradient over the rows of a timestep, `[T, width]`.
    pub(super) sums: Vec<f64>,
    /// Sums of the gradient times (x - mean), `[T, width]`.
    pub(super) products: Vec<f64>,
    /// The gradient to the scale of the channels.
    pub(super) to_scale: f64,
}

impl NormalisedOutput {
    /// Normalises `x` `[T·B, C, H, W]`, channels-last, or `[B, C, H, W]` where it is `constant`
    /// over time.
    pub(super) fn new(
        x: &Tensor,
        norm: &BatchNorm,
        timesteps: usize,
        constant: bool,
        training: bool,
        spiking: bool,
        readers: usize,
    ) -> NormalisedOutput {
        let channels = x.size()[1] as usize;
        let maps = if constant { 1 } else { timesteps };
        let training = training && norm.can_observe(x, maps as i64);
        let (mut mean, mut variance) = match training {
            true => {
                let moments = Moments::of(&x.detach(), maps).repeated(timesteps / maps);
                norm.observe(&moments, timesteps, x.numel() / maps / channels)
            }
            false => norm.running(),
        };
        if constant {
            mean.truncate(channels);
            variance.truncate(channels);
        }
        let inverse = variance.iter().map(|variance| 1.0 / (variance + BatchNorm::EPSILON as f32).sqrt()).collect();
        let rows = mean.len() / channels;
        NormalisedOutput {
            gamma: values(norm.gamma()).to_vec(),
            beta: values(norm.beta()).to_vec(),
            mean,
            inverse,
            statistics: (0..timesteps).map(|step| if rows == 1 { 0 } else { step }).collect(),
            maps,
            channels,
            training,
            spiking,
            readers,
            pending: Mutex::default(),
        }
    }

    /// The coefficients of `width` channels from `first` on, times `scale`.
    pub(super) fn coefficients(&self, first: usize, width: usize, scale: f32) -> Coefficients {
        let mut all = [(); 3].map(|()| Vec::with_capacity(self.statistics.len() * width));
        for row in &self.statistics {
            for channel in first..first + width {
                let at = row * self.channels + channel;
                let factor = self.gamma[channel] * self.inverse[at];
                all[0].push(factor * scale);
                all[1].push((self.beta[channel] - self.mean[at] * factor) * scale);
                all[2].push(self.mean[at]);
            }
        }
        all
    }

    fn pending(&self) -> MutexGuard<'_, PendingGradient> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tensor to which each reader writes the gradient of its channels of `x`.
    pub(super) fn gradient(&self, x: &Tensor) -> Tensor {
        self.pending().gradient.get_or_insert_with(|| empty_channels_last(&x.size())).shallow_clone()
    }

    /// Takes what the reader of the channels from `first` on found. Returns the gradient to the
    /// reader's scale and, to the last reader, the gradients to x, gamma and beta.
    pub(super) fn receive(
        &self,
        x: &Tensor,
        first: usize,
        scale: f32,
        found: &ReaderSums,
    ) -> (f64, Option<[Tensor; 3]>) {
        let (channels, width) = (self.channels, found.sums.len() / self.statistics.len());
        let mut to_scale = found.to_scale;
        let mut pending = self.pending();
        if pending.sums.is_empty() {
            pending.sums = vec![0.0; self.maps * channels];
            pending.products = vec![0.0; self.maps * channels];
            pending.scales = vec![1.0; channels];
        }
        for step in 0..self.maps {
            let (from, to) = (step * width, step * channels + first);
            pending.sums[to..to + width].copy_from_slice(&found.sums[from..from + width]);
            pending.products[to..to + width].copy_from_slice(&found.products[from..from + width]);
        }
        if !self.spiking {
            pending.scales[first..first + width].fill(scale);
            to_scale = self.add_to_scale(to_scale, first, width, found);
        }
        pending.done += 1;
        let whole = (pending.done == self.readers).then(|| std::mem::take(&mut *pending));
        drop(pending);
        (to_scale, whole.map(|whole| self.finish(x, whole)))
    }

    /// Adds the gradient to a scale that multiplies normalised currents: y is the scale times what
    /// normalisation gives.
    fn add_to_scale(&self, mut to_scale: f64, first: usize, width: usize, found: &ReaderSums) -> f64 {
        for step in 0..self.maps {
            for lane in 0..width {
                let channel = first + lane;
                let (sum, product) = (found.sums[step * width + lane], found.products[step * width + lane]);
                let inverse = self.inverse[self.statistics[step] * self.channels + channel];
                to_scale += f64::from(self.gamma[channel] * inverse) * product + f64::from(self.beta[channel]) * sum;
            }
        }
        to_scale
    }

    /// The gradients to x, gamma and beta, once all parts have arrived.
    fn finish(&self, x: &Tensor, pending: PendingGradient) -> [Tensor; 3] {
        let (steps, channels) = (self.maps, self.channels);
        let (mut to_gamma, mut to_beta) = (vec![0f64; channels], vec![0f64; channels]);
        for (step, row) in self.statistics.iter().take(steps).enumerate() {
            for channel in 0..channels {
                let scale = f64::from(pending.scales[channel]);
                let at = step * channels + channel;
                let inverse = f64::from(self.inverse[row * channels + channel]);
                to_gamma[channel] += scale * pending.products[at] * inverse;
                to_beta[channel] += scale * pending.sums[at];
            }
        }
        let rows = x.numel() / steps / channels;
        let factors = self.factors(&pending, rows);
        let gradient = pending.gradient.expect("a reader has made it");
        let (g, x) = (Pointer::of(&gradient), Pointer::of(x));
        for_parts(steps * rows, |_, begin, end| {
            for step in begin / rows..=(end.max(1) - 1) / rows {
                let first = begin.max(step * rows);
                let last = end.min((step + 1) * rows);
                let [a, p, q] = [0, 1, 2].map(|which: usize| factors[which][step * channels..].as_ptr());
                // SAFETY: rows of this part alone, `channels` values each.
                unsafe { combine_rows(g.get(), x.get(), first, last, channels, a, p, q) };
            }
        });
        let vector = |values: &[f64]| Tensor::from_slice(&values.iter().map(|&value| value as f32).collect::<Vec<_>>());
        [gradient, vector(&to_gamma), vector(&to_beta)]
    }

    /// a, p and q, each `[T, C]`, by which the gradient g to the normalised currents becomes that
    /// to x: a · g + p · x + q. In training, mean and variance depend on x, too.
    fn factors(&self, pending: &PendingGradient, rows: usize) -> [Vec<f32>; 3] {
        let (steps, channels) = (self.maps, self.channels);
        let all_alike = self.mean.len() == channels;
        // Sums over what the statistics are taken over: `[S, C]`.
        let shared = |sums: &[f64], step: usize, channel: usize| match all_alike {
            true => (0..steps).map(|step| sums[step * channels + channel]).sum::<f64>(),
            false => sums[step * channels + channel],
        };
        let count = (if all_alike { rows * steps } else { rows }) as f64;
        let mut factors = [(); 3].map(|()| vec![0f32; steps * channels]);
        for (step, row) in self.statistics.iter().take(steps).enumerate() {
            for channel in 0..channels {
                let (mean, inverse) = (self.mean[row * channels + channel], self.inverse[row * channels + channel]);
                let scale = f64::from(pending.scales[channel]);
                let at = step * channels + channel;
                let factor = f64::from(self.gamma[channel]) * scale * f64::from(inverse);
                factors[0][at] = factor as f32;
                if self.training {
                    let sum = shared(&pending.sums, step, channel) / count;
                    let slope = shared(&pending.products, step, channel) / count * f64::from(inverse * inverse);
                    factors[1][at] = (-factor * slope) as f32;
                    factors[2][at] = (factor * (slope * f64::from(mean) - sum)) as f32;
                }
            }
        }
        factors
    }
}

fn values(tensor: &Tensor) -> &[f32] {
    // SAFETY: a contiguous f32 tensor on the CPU, which outlives the slice's use.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<f32>(), tensor.numel()) }
}

simd! {
    /// g = a · g + p · x + q over rows.
    #[allow(clippy::too_many_arguments)]
    unsafe fn combine_rows(
        g: *mut f32, x: *const f32, begin: usize, end: usize, channels: usize, a: *const f32, p: *const f32, q: *const f32,
    ) {
        let [a, p, q] = [a, p, q].map(|values| std::slice::from_raw_parts(values, channels));
        for row in begin..end {
            let g = std::slice::from_raw_parts_mut(g.add(row * channels), channels);
            let x = std::slice::from_raw_parts(x.add(row * channels), channels);
            for i in 0..channels {
                g[i] = a[i] * g[i] + p[i] * x[i] + q[i];
            }
        }
    }
}
