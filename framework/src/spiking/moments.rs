//! Mean and variance of every channel of a map at every timestep, in one pass over it.

use tch::Tensor;

use super::parallel::{Pointer, TILE, for_parts, parts, simd};

/// Mean and (biased) variance of every channel at every timestep, each `[T, C]`.
pub(super) struct Moments {
    pub(super) mean: Vec<f64>,
    pub(super) variance: Vec<f64>,
}

impl Moments {
    /// The moments of maps `[T·B, C, H, W]`, channels-last, over batch and space of each timestep.
    /// They are computed from sums and sums of squares around a shift, the first row of the
    /// timestep.
    pub(super) fn of(x: &Tensor, steps: usize) -> Moments {
        let channels = x.size()[1] as usize;
        let rows = x.numel() / steps / channels;
        let x = Pointer::of(x);
        // SAFETY: the first row of a timestep is there.
        let shift = |step: usize| unsafe { std::slice::from_raw_parts(x.get().add(step * rows * channels), channels) };
        let width = 2 * steps * channels;
        let mut sums = vec![0f64; parts() * width];
        let slots = Pointer::to(&mut sums);
        for_parts(rows, |part, begin, end| {
            // SAFETY: each part has a slot of its own.
            let own = unsafe { std::slice::from_raw_parts_mut(slots.get().cast::<f64>().add(part * width), width) };
            let mut tile_sums = vec![0f32; 2 * channels];
            for (step, own) in own.chunks_exact_mut(2 * channels).enumerate() {
                for tile in (begin..end).step_by(TILE) {
                    let (first, last) = (step * rows + tile, step * rows + (tile + TILE).min(end));
                    tile_sums.fill(0.0);
                    // SAFETY: rows of the timestep, `channels` values each.
                    unsafe { sum_rows(x.get(), first, last, channels, shift(step).as_ptr(), tile_sums.as_mut_ptr()) };
                    own.iter_mut().zip(&tile_sums).for_each(|(sum, value)| *sum += f64::from(*value));
                }
            }
        });
        let mean_of = |at: usize| (0..parts()).map(|part| sums[part * width + at]).sum::<f64>() / rows as f64;
        let (mut mean, mut variance) = (Vec::with_capacity(width / 2), Vec::with_capacity(width / 2));
        for step in 0..steps {
            for channel in 0..channels {
                let first = mean_of(2 * step * channels + channel);
                let second = mean_of((2 * step + 1) * channels + channel);
                mean.push(first + f64::from(shift(step)[channel]));
                variance.push((second - first * first).max(0.0));
            }
        }
        Moments { mean, variance }
    }

    /// The same moments for `times` copies of the maps.
    pub(super) fn repeated(self, times: usize) -> Moments {
        Moments { mean: self.mean.repeat(times), variance: self.variance.repeat(times) }
    }

    /// The moments over all `steps` timesteps together, `[1, C]`.
    pub(super) fn over_timesteps(&self, steps: usize) -> Moments {
        let channels = self.mean.len() / steps;
        let over = |channel: usize, value: &dyn Fn(usize) -> f64| {
            (0..steps).map(|step| value(step * channels + channel)).sum::<f64>() / steps as f64
        };
        let mean: Vec<f64> = (0..channels).map(|channel| over(channel, &|at| self.mean[at])).collect();
        let variance = (0..channels)
            .map(|channel| over(channel, &|at| self.variance[at] + (self.mean[at] - mean[channel]).powi(2)))
            .collect();
        Moments { mean, variance }
    }
}

simd! {
    /// Adds up x - shift and its square over rows: `[2, channels]`.
    unsafe fn sum_rows(
        x: *const f32, begin: usize, end: usize, channels: usize, shift: *const f32, sums: *mut f32,
    ) {
        let shift = std::slice::from_raw_parts(shift, channels);
        let first = std::slice::from_raw_parts_mut(sums, channels);
        let second = std::slice::from_raw_parts_mut(sums.add(channels), channels);
        for row in begin..end {
            let x = std::slice::from_raw_parts(x.add(row * channels), channels);
            for i in 0..channels {
                let value = x[i] - shift[i];
                first[i] += value;
                second[i] += value * value;
            }
        }
    }
}
