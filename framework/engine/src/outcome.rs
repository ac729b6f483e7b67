//! What a run hands back, and when an image stops.
//!
//! With O(t) the logits of timestep t, the answer after t timesteps is their mean
//!
//! f_t = (1/t) · (O(1) + ... + O(t))
//!
//! in f32, added in the order in which libtorch adds them: one after another within blocks of 16
//! timesteps, then the blocks, then what is left of the last block before them. The class is the
//! first largest of f_t.
//!
//! Early exit decides in f64, as `evaluate` does: with p = softmax(f_t), an image stops at the
//! first t with - sum p_k ln p_k / ln K below a threshold (entropy), or with max p_k above one
//! (confidence), and at T. exp and ln are those of `libm`, so that a rule that lies within rounding
//! of its threshold could be decided otherwise elsewhere.

use alloc::vec::Vec;
use core::fmt;

use crate::network::{EarlyExit, Network};

/// What a network answers for an image, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Mean over the timesteps that ran, `[K]`.
    pub logits: Vec<f32>,
    /// Of each timestep that ran, `[t, K]`.
    pub logits_by_timestep: Vec<Vec<f32>>,
    /// The largest logit, the first of equal ones: a place in [`Network::classes`].
    pub class: usize,
    /// Timesteps that ran: T, or fewer with early exit.
    pub timesteps: usize,
    /// The sum of the numbers of each map over these timesteps: its spikes.
    pub spikes: Vec<u64>,
    /// Of each layer, in the order of the maps and their currents; the layer of the logits is last.
    pub layers: Vec<Operations>,
}

impl Outcome {
    /// Operations of all layers.
    pub fn operations(&self) -> Operations {
        self.layers.iter().fold(Operations::default(), |sum, layer| Operations {
            additions: sum.additions + layer.additions,
            multiplications: sum.multiplications + layer.multiplications,
        })
    }
}

/// Synaptic operations, counted: a tap outside of the map is none, and neither is a weight that is
/// 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations {
    /// Spikes times the kept weights that they reach. A sum of n spikes counts n times.
    pub additions: u64,
    /// Pixels times the kept weights that they reach, once for all timesteps.
    pub multiplications: u64,
}

/// An image that is none for this network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BadImage {
    /// Not as many numbers as the network's image has.
    Size {
        /// Channels, height, width.
        shape: [usize; 3],
        /// What was given.
        numbers: usize,
    },
    /// A number that is NaN or infinite.
    NotFinite {
        /// Its place.
        place: usize,
    },
}

impl fmt::Display for BadImage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            BadImage::Size { shape: [channels, height, width], numbers } => {
                let wanted = channels * height * width;
                write!(f, "an image of {numbers} numbers; `[{channels}, {height}, {width}]` has {wanted}")
            }
            BadImage::NotFinite { place } => write!(f, "number {place} of the image is NaN or infinite"),
        }
    }
}

impl core::error::Error for BadImage {}

/// The input of a network: (pixel - mean) / std, two roundings, as libtorch normalises a batch.
pub(crate) fn normalised(network: &Network, pixels: &[f32]) -> Result<Vec<f32>, BadImage> {
    fits(network, pixels)?;
    let image = &network.image;
    let [_, height, width] = image.shape;
    let channels = pixels.chunks(height * width).zip(image.mean.iter().zip(&image.std));
    Ok(channels.flat_map(|(channel, (mean, std))| channel.iter().map(move |pixel| (pixel - mean) / std)).collect())
}

/// Whether `input` is as long as an image of the network, and finite.
pub(crate) fn fits(network: &Network, input: &[f32]) -> Result<(), BadImage> {
    let shape = network.image.shape;
    if input.len() != shape.iter().product::<usize>() {
        return Err(BadImage::Size { shape, numbers: input.len() });
    }
    match input.iter().position(|number| !number.is_finite()) {
        Some(place) => Err(BadImage::NotFinite { place }),
        None => Ok(()),
    }
}

/// The logits `[K]` of a timestep from the outputs `[K · votes]` of its layer: means over votes.
pub(crate) fn counted(outputs: &[f32], votes: usize) -> Vec<f32> {
    outputs.chunks(votes).map(|votes| votes.iter().sum::<f32>() / votes.len() as f32).collect()
}

/// Mean logits of the timesteps so far.
pub(crate) fn mean(by_timestep: &[Vec<f32>]) -> Vec<f32> {
    let classes = by_timestep.first().map_or(0, Vec::len);
    (0..classes).map(|class| sum_over_time(by_timestep, class) / by_timestep.len() as f32).collect()
}

/// The sum of a class over fewer than 256 timesteps, in the order of libtorch's `sum` over the
/// outermost axis.
fn sum_over_time(by_timestep: &[Vec<f32>], class: usize) -> f32 {
    let mut blocks = by_timestep.chunks_exact(16);
    let add = |sum: f32, logits: &Vec<f32>| sum + logits[class];
    let whole = blocks.by_ref().fold(0.0, |sum, block| sum + block.iter().fold(0.0, add));
    blocks.remainder().iter().fold(0.0, add) + whole
}

/// The first largest.
pub(crate) fn largest(logits: &[f32]) -> usize {
    (0..logits.len()).fold(0, |best, class| if logits[class] > logits[best] { class } else { best })
}

/// Whether an image with these logits so far stops.
pub(crate) fn stops(exit: EarlyExit, by_timestep: &[Vec<f32>]) -> bool {
    let classes = by_timestep.first().map_or(0, Vec::len);
    let mean = |class: usize| {
        let sum: f64 = by_timestep.iter().map(|logits| f64::from(logits[class])).sum();
        sum / by_timestep.len() as f64
    };
    let means: Vec<f64> = (0..classes).map(mean).collect();
    let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = means.iter().map(|mean| libm::exp(mean - most)).sum();
    match exit {
        EarlyExit::Confidence(threshold) => 1.0 / total > threshold,
        EarlyExit::Entropy(threshold) => {
            let logs = means.iter().map(|mean| mean - most - libm::log(total));
            let entropy: f64 = logs.map(|log| -libm::exp(log) * log).sum();
            // One class alone is sure: 0 by any divisor but 0.
            entropy / libm::log(classes as f64).max(f64::MIN_POSITIVE) < threshold
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    /// Logits (a, 0, ..., 0) of ten classes; with Z = e^a + 9 the entropy is ln Z - a e^a / Z over
    /// ln 10 and the confidence e^a / Z. The golden values are those of DT-SNN's and SEENN's rules.
    #[test]
    fn entropy_and_confidence_have_their_golden_values() {
        for (a, uncertain, sure) in [(0f32, 1.0, 0.1), (1.0, 0.9681, 0.2320), (5.0, 0.1497, 0.9428)] {
            let mut logits = vec![0f32; 10];
            logits[0] = a;
            let stops = |exit| stops(exit, core::slice::from_ref(&logits));
            assert!(stops(EarlyExit::Entropy(uncertain + 1e-4)) && !stops(EarlyExit::Entropy(uncertain - 1e-4)), "{a}");
            assert!(stops(EarlyExit::Confidence(sure - 1e-4)) && !stops(EarlyExit::Confidence(sure + 1e-4)), "{a}");
        }
    }

    /// 2^24 + 1 rounds to 2^24. So sixteen ones after 2^24, each added alone, would be lost: but
    /// the first block is 2^24 and fifteen ones that are lost, and the second is a whole 16.
    #[test]
    fn timesteps_are_added_in_blocks_of_sixteen() {
        let mut logits = vec![vec![1f32]; 32];
        logits[0][0] = 16_777_216.0;
        assert_eq!(sum_over_time(&logits, 0), 16_777_216.0 + 16.0);
        logits.truncate(17);
        assert_eq!(sum_over_time(&logits, 0), 16_777_216.0);
        assert_eq!(mean(&[vec![1.0, 3.0], vec![2.0, 3.0]]), [1.5, 3.0]);
    }

    #[test]
    fn the_first_of_equal_logits_is_the_class_and_votes_are_averaged() {
        assert_eq!(largest(&[1.0, 2.0, 2.0]), 1);
        assert_eq!(counted(&[1.0, 0.0, 1.0, 1.0], 2), [0.5, 1.0]);
    }

    #[test]
    fn bad_images_are_refused_in_words() {
        let size = BadImage::Size { shape: [3, 2, 2], numbers: 5 };
        assert_eq!(size.to_string(), "an image of 5 numbers; `[3, 2, 2]` has 12");
        assert_eq!(BadImage::NotFinite { place: 7 }.to_string(), "number 7 of the image is NaN or infinite");
    }
}
