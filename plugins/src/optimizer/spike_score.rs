//! How well the spikes of a network tell images apart before it is trained: the score of an
//! architecture.
//!
//! Source: SNASNet (Kim et al., Neural Architecture Search for Spiking Neural Networks, ECCV 2022),
//! whose score weighs the Hamming distance of NASWOT (Mellor et al., ICML 2021) by how sparse the
//! spikes are.
//!
//! ```text
//! x_i in {0, 1}^N     the spikes of a layer of N neurons at one timestep for image i; r_i is their mean
//! d_ij                the Hamming distance of x_i and x_j
//! e_ij = N (r_i (1 - r_j) + (1 - r_i) r_j)      what d_ij would be if the neurons were independent
//!
//! K_ij = mean over layers and timesteps of N - d_ij / (2 (e_ij + 0.001))      sparsity-aware
//! K_ij = mean over layers and timesteps of N - d_ij                           hamming, the control
//! score = ln |det K|, mean over the batches
//! ```
//!
//! K is `[images, images]`. Where all images make the same spikes, det K is 0 and the score is
//! minus infinity. Without the weight 1/e, a layer that fires rarely has small distances whatever
//! it tells apart.
//!
//! An architecture is scored as the final network with the first weights that the seed gives,
//! without compression, at the largest number of timesteps, normalised by the statistics of the
//! batch. All architectures of a trial see the same batches of training images. Every layer of
//! neurons in the network's body counts, as `Pass::fired` tells it.

use std::cell::{Cell, RefCell};

use litesnn_framework::Result;
use litesnn_framework::network::{Architecture, Compression, Pass, SpikeTap, Techniques};
use litesnn_framework::spiking::unfold_time;
use litesnn_framework::train::{Batch, Search};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// What an architecture is scored on, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpikeScore {
    /// Images of a batch (paper: 256).
    #[schemars(range(min = 2))]
    pub images: usize,
    /// Batches (paper: 2).
    #[schemars(range(min = 1))]
    pub batches: usize,
    /// How the distance of two images' spikes counts.
    pub distance: Distance,
}

impl Default for SpikeScore {
    fn default() -> Self {
        SpikeScore { images: 256, batches: 2, distance: Distance::SparsityAware }
    }
}

/// How the distance of two images' spikes counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// In units of what independent neurons of the same rates would have (SNASNet).
    SparsityAware,
    /// As it is: the number of neurons that differ (NASWOT), the control.
    Hamming,
}

impl SpikeScore {
    /// The images that every architecture is scored on, the same for all of a trial.
    pub fn show(&self, search: &Search) -> Result<Vec<Batch>> {
        search.batches("training-free", self.images, self.batches)
    }

    /// The score of an architecture, mean over the batches.
    pub fn of(&self, search: &Search, architecture: &Architecture, batches: &[Batch]) -> Result<f64> {
        let candidate = search.build(architecture, &Compression::new())?;
        let timesteps = search.timesteps();
        let of_batch = |batch: &Batch| {
            let likeness = Likeness::new(self.distance, timesteps);
            let see = |spikes: &Tensor| likeness.add(spikes);
            let precision = search.parts().training.precision;
            let (active, tap) = (Techniques::NONE, Some(SpikeTap(&see)));
            let pass = Pass { training: true, active, precision, tap, ..Pass::new(timesteps) };
            tch::no_grad(|| drop(candidate.network.network().forward(&batch.images, &pass)));
            likeness.score()
        };
        Ok(batches.iter().map(of_batch).sum::<f64>() / batches.len() as f64)
    }
}

/// How alike the spikes of each two images of a batch are: K.
struct Likeness {
    distance: Distance,
    timesteps: i64,
    /// Sum over layers and timesteps, `[B, B]`, f64.
    sum: RefCell<Option<Tensor>>,
    /// Layers and timesteps so far.
    count: Cell<i64>,
}

impl Likeness {
    fn new(distance: Distance, timesteps: i64) -> Likeness {
        Likeness { distance, timesteps, sum: RefCell::default(), count: Cell::default() }
    }

    /// Adds the spikes `[T·B, ...]` of a layer of neurons.
    fn add(&self, spikes: &Tensor) {
        let spikes = unfold_time(&spikes.detach(), self.timesteps).flatten(2, -1).gt(0.0).to_kind(Kind::Float);
        let neurons = spikes.size()[2] as f64;
        // Whole numbers, which f32 holds up to 2^24.
        let both = spikes.matmul(&spikes.transpose(1, 2)).to_kind(Kind::Double);
        let fired = spikes.sum_dim_intlist(2, false, Kind::Double);
        let (one, other) = (fired.unsqueeze(2), fired.unsqueeze(1));
        let distance = &one + &other - both * 2.0;
        let unlike = match self.distance {
            Distance::Hamming => distance,
            Distance::SparsityAware => {
                let expected = &one + &other - &one * &other * (2.0 / neurons);
                distance / ((expected + 1e-3) * 2.0)
            }
        };
        let alike = (neurons - unlike).sum_dim_intlist(0, false, Kind::Double);
        let sum = self.sum.take();
        *self.sum.borrow_mut() = Some(sum.map_or_else(|| alike.shallow_clone(), |sum| sum + &alike));
        self.count.set(self.count.get() + self.timesteps);
    }

    /// ln |det K|.
    fn score(self) -> f64 {
        let Some(sum) = self.sum.into_inner() else { return f64::NEG_INFINITY };
        let (_, logarithm) = (sum / self.count.get() as f64).to_device(Device::Cpu).slogdet();
        logarithm.double_value(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The score of layers of spikes, each `[T·B, N]` in rows.
    fn score(distance: Distance, timesteps: i64, layers: &[Tensor]) -> f64 {
        let likeness = Likeness::new(distance, timesteps);
        layers.iter().for_each(|layer| likeness.add(layer));
        likeness.score()
    }

    fn spikes(rows: &[[f32; 4]]) -> Tensor {
        Tensor::from_slice(&rows.concat()).view([rows.len() as i64, 4])
    }

    /// By hand, for two images and four neurons: (1, 1, 0, 0) and (1, 0, 1, 0) differ in 2, and
    /// independent neurons that fire half of the time differ in 2 of 4. K is 4 where i = j, else
    /// 4 - 2 = 2, or 4 - 2/(2 · 2.001).
    #[test]
    fn two_images_have_the_closed_score() {
        let pair = [[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]];
        let hamming = score(Distance::Hamming, 1, &[spikes(&pair)]);
        assert!((hamming - 12f64.ln()).abs() < 1e-12, "{hamming}");
        let aware = score(Distance::SparsityAware, 1, &[spikes(&pair)]);
        let want = (16.0 - (4.0 - 1.0 / 2.001f64).powi(2)).ln();
        assert!((aware - want).abs() < 1e-12, "{aware}, not {want}");
        // Rates of 3/4 and 1/4, which differ in 2: independent neurons would in 4 (9/16 + 1/16) =
        // 2.5.
        let uneven = [[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]];
        let aware = score(Distance::SparsityAware, 1, &[spikes(&uneven)]);
        let want = (16.0 - (4.0 - 1.0 / 2.501f64).powi(2)).ln();
        assert!((aware - want).abs() < 1e-12, "{aware}, not {want}");
        // A second layer, or a second timestep, in which all images are alike: K is the mean, 4 and
        // 3.
        let still = [[0.0; 4]; 2];
        for (timesteps, layers) in
            [(1, vec![spikes(&pair), spikes(&still)]), (2, vec![spikes(&[pair, still].concat())])]
        {
            let hamming = score(Distance::Hamming, timesteps, &layers);
            assert!((hamming - 7f64.ln()).abs() < 1e-12, "{timesteps}: {hamming}");
        }
    }

    #[test]
    fn images_that_make_the_same_spikes_have_the_least_score() {
        for distance in [Distance::SparsityAware, Distance::Hamming] {
            assert_eq!(score(distance, 1, &[spikes(&[[1.0, 0.0, 1.0, 0.0]; 3])]), f64::NEG_INFINITY);
            assert_eq!(score(distance, 1, &[]), f64::NEG_INFINITY);
        }
    }

    /// plugins/tests/reference/training_free.py computes the same neuron by neuron, in Python.
    #[test]
    fn scores_are_those_of_a_plain_script() {
        let spike = |layer: i64, t: i64, image: i64, n: i64| {
            f32::from(u8::from((n * n * (3 + t) + 7 * image * (n + 1) + 5 * layer + 2 * t * image) % 5 < 2))
        };
        let layer = |index: i64, neurons: i64| {
            let rows = (0..2).flat_map(|t| (0..4).map(move |image| (t, image)));
            let all: Vec<f32> =
                rows.flat_map(|(t, image)| (0..neurons).map(move |n| spike(index, t, image, n))).collect();
            Tensor::from_slice(&all).view([8, neurons])
        };
        let layers = [layer(0, 10), layer(1, 6)];
        let reference = include_str!("../../tests/reference/training_free.txt");
        let wanted: Vec<(&str, f64)> = reference
            .lines()
            .map(|line| line.split_once(' ').expect("a name and a score"))
            .map(|(name, score)| (name, score.parse().expect("a number")))
            .collect();
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["sparsity-aware", "hamming"]);
        for ((name, want), distance) in wanted.into_iter().zip([Distance::SparsityAware, Distance::Hamming]) {
            let found = score(distance, 2, &layers);
            assert!((found - want).abs() < 1e-10, "{name}: {found}, not {want}");
        }
    }
}
