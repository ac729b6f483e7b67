//! A forward pass: how it is made, and how layers take their weights and convolve in it.

use tch::Tensor;

use super::cache::WeightCache;
use super::compression::Techniques;
use super::fused_weights::{self, Recipe, compressed};
use super::path::Path;
use super::weight::CompressedWeight;
use crate::spiking::{Convolved, Precision, Recorder, stack_weights};

/// How a forward pass is made.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// Number of timesteps T.
    pub timesteps: i64,
    /// Normalise by the batch's statistics and update the running ones.
    pub training: bool,
    /// Measure firing rates.
    pub measure: bool,
    /// Where firing rates are measured, also keep how often each neuron spiked. It takes a sum over
    /// the maps that each layer reads, so that only a final evaluation asks for it.
    pub maps: bool,
    /// Techniques of compression that act.
    pub active: Techniques,
    /// The type of convolutions on spikes.
    pub precision: Precision,
    /// Where compressed weights are kept from one pass to the next. Only for passes between which
    /// no parameter changes, and in which nothing is differentiated.
    pub cache: Option<&'a WeightCache>,
    /// The operations of a supernet that are computed; `None` for all, weighted by the architecture
    /// logits. A network of one architecture does not read it.
    pub path: Option<&'a Path>,
    /// Told of every convolution.
    pub recorder: Option<&'a Recorder>,
    /// Told of the spikes of every layer of neurons.
    pub tap: Option<SpikeTap<'a>>,
}

/// Told of the spikes `[T·B, C, H, W]` of every layer of neurons in the body of a network, in the
/// order in which they fire.
#[derive(Clone, Copy)]
pub struct SpikeTap<'a>(pub &'a dyn Fn(&Tensor));

impl std::fmt::Debug for SpikeTap<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SpikeTap")
    }
}

impl Pass<'_> {
    /// An evaluation in f32 in which all compressors act: nothing is measured, kept or recorded.
    pub fn new(timesteps: i64) -> Self {
        Pass {
            timesteps,
            training: false,
            measure: false,
            maps: false,
            active: Techniques::ALL,
            precision: Precision::F32,
            cache: None,
            path: None,
            recorder: None,
            tap: None,
        }
    }

    /// A layer's weight as the layer uses it in this pass.
    pub fn weight(&self, weight: &CompressedWeight) -> Tensor {
        let compress = || weight.value(self.active);
        match self.cache {
            Some(cache) => cache.weight(&weight.layer.name, self.active, compress),
            None => compress(),
        }
    }

    /// The weights `[out, in, kh, kw]` of layers that read the same input, one after another:
    /// `[sum of out, in, kh, kw]`, the channels last in memory.
    pub fn stacked_weights(&self, weights: &[&CompressedWeight]) -> Tensor {
        let stack = || {
            let recipes: Option<Vec<Recipe>> = weights.iter().map(|weight| weight.recipe(self.active)).collect();
            if let Some(recipes) = recipes {
                return compressed(&recipes);
            }
            let values: Vec<Tensor> = weights.iter().map(|weight| weight.value(self.active)).collect();
            stack_weights(&values)
        };
        match self.cache {
            Some(cache) => cache.stack(weights.iter().map(|weight| weight.layer.name.as_str()), self.active, stack),
            None => stack(),
        }
    }

    /// The step of each output channel of [`Pass::stacked_weights`], `[sum of out]`, where all
    /// weights have one; see [`CompressedWeight::step`].
    pub fn steps(&self, weights: &[&CompressedWeight]) -> Option<Tensor> {
        let recipes: Option<Vec<Recipe>> = weights.iter().map(|weight| weight.recipe(self.active)).collect();
        if let Some(recipes) = recipes {
            return fused_weights::steps(&recipes);
        }
        let step = |weight: &&CompressedWeight| Some(weight.step(self.active)?.expand([weight.raw().size()[0]], false));
        let all: Option<Vec<Tensor>> = weights.iter().map(step).collect();
        Some(Tensor::cat(&all?, 0))
    }

    /// Takes note of the `spikes` `[T·B, C, H, W]` that a layer of neurons fired; `weight` is the
    /// first of those that drive it. A space calls it for every layer of neurons in its body; it
    /// costs nothing where nobody asked for the spikes.
    pub fn fired(&self, weight: &CompressedWeight, spikes: &Tensor) {
        if self.training {
            weight.see(spikes, self.timesteps);
        }
        self.fired_without_weight(spikes);
    }

    /// The same of a layer of neurons that no weight drives, as behind skips alone.
    pub fn fired_without_weight(&self, spikes: &Tensor) {
        if let Some(SpikeTap(see)) = self.tap {
            see(spikes);
        }
    }

    /// Convolves spikes `[T·B, C, H, W]` with `weight` `[out, C, kh, kw]`, or depthwise with
    /// `[C, 1, kh, kw]`, in this pass's precision; see [`Precision::convolve`]. The currents are f32.
    pub fn convolve(&self, spikes: &Tensor, weight: &Tensor, stride: i64, padding: i64) -> Tensor {
        self.precision.convolve(spikes, weight, None, stride, padding, self.recorder).currents()
    }

    /// Convolves spikes with these weights, one after another, for what
    /// [`Currents`](crate::spiking::Currents) make of them: quantised weights over their steps, where
    /// the precision rounds less so.
    pub fn convolved(&self, weights: &[&CompressedWeight], spikes: &Tensor, stride: i64, padding: i64) -> Convolved {
        let weight = self.stacked_weights(weights);
        let steps = self.precision.takes_steps().then(|| self.steps(weights)).flatten();
        self.precision.convolve(spikes, &weight, steps.as_ref(), stride, padding, self.recorder)
    }

    /// Convolves an image `[B, C, H, W]`, whose values bf16 does not hold, in f32.
    pub fn convolve_image(&self, image: &Tensor, weight: &Tensor, stride: i64, padding: i64) -> Tensor {
        Precision::F32.convolve(image, weight, None, stride, padding, self.recorder).currents()
    }
}
