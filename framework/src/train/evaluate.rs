//! Accuracy, loss and firing rates over a split.

use tch::{Device, Kind, Tensor};

use super::Batches;
use crate::data::{Normalisation, Split};
use crate::network::{Activity, Network, Pass, WeightCache};

/// What was measured over a split.
#[derive(Debug)]
pub struct Measured {
    /// Fraction of images whose largest mean logit is their class; NaN for a split without images.
    pub accuracy: f64,
    /// Cross-entropy of the mean logits; NaN for a split without images.
    pub loss: f64,
    /// What the input neurons of each layer did, mean over images, in f64; empty unless asked for,
    /// and for a split without images.
    pub activity: Vec<Activity>,
}

/// Runs `network` over `split` by running statistics; `pass` says how many timesteps, which stages
/// of compression, and whether firing rates and maps are measured. Logits are averaged over timesteps
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
        let mut activity: Vec<Activity> = Vec::new();
        for batch in Batches::new(split, normalisation, order, size, device) {
            let response = network.forward(&batch.images, &pass);
            let logits = response.logits.mean_dim(0, false, None::<Kind>);
            correct += logits.argmax(1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
            let size = batch.len() as f64;
            loss += logits.cross_entropy_for_logits(&batch.labels).to_kind(Kind::Double) * size;
            for (index, layer) in response.activity.iter().enumerate() {
                let of_batch = layer.scaled(size);
                match activity.get_mut(index) {
                    Some(sum) => sum.add(&of_batch),
                    None => activity.push(of_batch),
                }
            }
        }
        // Of no images: NaN, "not measured", and not a wrong answer.
        let count = split.len() as f64;
        Measured {
            accuracy: correct.double_value(&[]) / count,
            loss: loss.double_value(&[]) / count,
            activity: activity.iter().map(|sum| sum.scaled(1.0 / count)).collect(),
        }
    })
}
