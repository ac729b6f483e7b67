//! Accuracy, loss and firing rates over a split.

use tch::{Device, Kind, Tensor};

use super::Batches;
use crate::data::{Normalisation, Split};
use crate::network::{Network, Pass, WeightCache};

/// What was measured over a split.
#[derive(Debug)]
pub struct Measured {
    /// Fraction of images whose largest mean logit is their class; NaN for a split without images.
    pub accuracy: f64,
    /// Cross-entropy of the mean logits; NaN for a split without images.
    pub loss: f64,
    /// Mean spikes of an input neuron at each timestep, `[T]` f64, for each layer; empty unless
    /// asked for, and for a split without images.
    pub activity: Vec<Tensor>,
}

/// Runs `network` over `split` by running statistics; `pass` says how many timesteps, which stages
/// of compression, and whether firing rates are measured. Logits are averaged over timesteps
/// (paper, Eq. 16).
pub fn evaluate(
    network: &dyn Network,
    split: &Split,
    normalisation: &Normalisation,
    pass: Pass,
    device: Device,
) -> Measured {
    const BATCH: usize = 100;
    evaluate_in_batches(network, split, normalisation, pass, device, BATCH)
}

/// [`evaluate`] with another number of images at a time.
pub fn evaluate_in_batches(
    network: &dyn Network,
    split: &Split,
    normalisation: &Normalisation,
    pass: Pass,
    device: Device,
    size: usize,
) -> Measured {
    let order = (0..split.len() as i64).collect();
    let cache = WeightCache::default();
    let pass = Pass { training: false, cache: Some(&cache), ..pass };
    tch::no_grad(|| {
        let mut correct = Tensor::zeros([], (Kind::Int64, device));
        let mut loss = Tensor::zeros([], (Kind::Double, device));
        let mut activity: Vec<Tensor> = Vec::new();
        for batch in Batches::new(split, normalisation, order, size, device) {
            let response = network.forward(&batch.images, &pass);
            let logits = response.logits.mean_dim(0, false, None::<Kind>);
            correct += logits.argmax(1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
            let size = batch.len() as f64;
            loss += logits.cross_entropy_for_logits(&batch.labels).to_kind(Kind::Double) * size;
            for (index, rate) in response.activity.iter().enumerate() {
                let rate = rate.to_kind(Kind::Double) * size;
                match activity.get_mut(index) {
                    Some(sum) => *sum += rate,
                    None => activity.push(rate),
                }
            }
        }
        // Of no images: NaN, "not measured", and not a wrong answer.
        let count = split.len() as f64;
        Measured {
            accuracy: correct.double_value(&[]) / count,
            loss: loss.double_value(&[]) / count,
            activity: activity.into_iter().map(|sum| sum / count).collect(),
        }
    })
}
