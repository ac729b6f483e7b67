//! Accuracy, loss and firing rates over a split.

use tch::{Device, Kind, Tensor};

use super::Batches;
use super::by_levels::Counted;
use super::placement::placed;
use crate::data::{Normalisation, Split};
use crate::network::{Activity, Network, Pass, WeightCache};
use crate::{Error, Result};

/// Images at a time.
pub(super) const BATCH: usize = 100;

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
/// (paper, Eq. 16). Where the network's [counted form](Counted) is given, logits are those
/// of the engine.
///
/// # Errors
///
/// Logits that are NaN or infinite: the class of the largest one would be a class at random.
pub fn evaluate(
    network: &dyn Network,
    split: &Split,
    normalisation: &Normalisation,
    pass: Pass,
    device: Device,
    counted: Option<&Counted>,
) -> Result<Measured> {
    evaluate_in_batches(network, split, normalisation, pass, device, (BATCH, counted))
}

/// [`evaluate`] with another number of images at a time.
pub fn evaluate_in_batches(
    network: &dyn Network,
    split: &Split,
    normalisation: &Normalisation,
    pass: Pass,
    device: Device,
    (size, counted): (usize, Option<&Counted>),
) -> Result<Measured> {
    let split = &placed(split, device).split;
    let order = (0..split.len() as i64).collect();
    let cache = WeightCache::default();
    let pass = Pass { training: false, cache: Some(&cache), ..pass };
    tch::no_grad(|| {
        let mut correct = Tensor::zeros([], (Kind::Int64, device));
        let mut loss = Tensor::zeros([], (Kind::Double, device));
        let mut sound: Vec<Tensor> = Vec::new();
        let mut activity: Vec<Activity> = Vec::new();
        for batch in Batches::new(split, normalisation, order, size, device) {
            let response = network.forward(&batch.images, &pass);
            let logits = counted.map_or(response.logits, |counted| counted.logits(&batch.images));
            let logits = logits.mean_dim(0, false, None::<Kind>);
            sound.push(logits.isfinite().all_dim(1, false));
            correct += logits.argmax(1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
            let size = batch.len() as f64;
            loss += logits.cross_entropy_for_logits(&batch.labels).to_kind(Kind::Double) * size;
            add(&mut activity, response.activity.iter().map(|layer| layer.scaled(size)));
        }
        refuse_broken(&sound)?;
        // Of no images: NaN, "not measured", and not a wrong answer.
        let count = split.len() as f64;
        Ok(Measured {
            accuracy: correct.double_value(&[]) / count,
            loss: loss.double_value(&[]) / count,
            activity: activity.iter().map(|sum| sum.scaled(1.0 / count)).collect(),
        })
    })
}

/// Adds the activity of each layer on other images.
pub(super) fn add(sums: &mut Vec<Activity>, others: impl Iterator<Item = Activity>) {
    for (index, other) in others.enumerate() {
        match sums.get_mut(index) {
            Some(sum) => sum.add(&other),
            None => sums.push(other),
        }
    }
}

/// Fails unless all logits of every image are finite; `sound` says so of each batch's images.
pub(super) fn refuse_broken(sound: &[Tensor]) -> Result<()> {
    if sound.is_empty() {
        return Ok(());
    }
    let broken = Tensor::cat(sound, 0).logical_not();
    let count = broken.sum(Kind::Int64).int64_value(&[]);
    if count == 0 {
        return Ok(());
    }
    let first = broken.to_kind(Kind::Int64).argmax(0, false).int64_value(&[]);
    let what = format!("the logits of {count} of {} images are NaN or infinite", broken.numel());
    Err(Error::NotFinite { when: String::new(), what: format!("{what}, of image {first} first") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Response, SynapseLayer};

    /// Its logits are the two pixels of an image.
    struct Pixels;

    impl Network for Pixels {
        fn forward(&self, images: &Tensor, _: &Pass) -> Response {
            Response { logits: images.view([1, -1, 2]), auxiliary: None, activity: Vec::new() }
        }

        fn layers(&self) -> Vec<SynapseLayer<'_>> {
            Vec::new()
        }

        fn full_precision_parameters(&self) -> u64 {
            0
        }
    }

    fn measure(pixels: &[f32]) -> Result<Measured> {
        let images = Tensor::from_slice(pixels).view([-1, 1, 1, 2]);
        let split = Split { labels: Tensor::zeros([images.size()[0]], (Kind::Int64, Device::Cpu)), images };
        let normalisation = Normalisation { mean: vec![0.0], std: vec![1.0] };
        evaluate_in_batches(&Pixels, &split, &normalisation, Pass::new(1), Device::Cpu, (2, None))
    }

    /// Guards against "10 %": the largest of NaN logits is the first class.
    #[test]
    fn nan_logits_are_an_error_and_no_accuracy() {
        let measured = measure(&[1.0, 0.0, 0.0, 1.0, 3.0, 2.0]).unwrap();
        assert!((measured.accuracy - 2.0 / 3.0).abs() < 1e-12);
        for broken in [f32::NAN, f32::INFINITY] {
            let error = measure(&[1.0, 0.0, 0.0, 1.0, broken, 2.0]).unwrap_err().to_string();
            assert_eq!(error, "the logits of 1 of 3 images are NaN or infinite, of image 2 first");
        }
        assert!(measure(&[]).unwrap().accuracy.is_nan());
    }
}
