//! Evaluation of a network whose images stop at different timesteps.
//!
//! An image that stops at timestep t is answered by the mean of its first t logits. All answers come
//! from one run of all timesteps, since a spiking network's first t timesteps do not depend on the
//! later ones. What the neurons did is measured by running the images that stop at t for t
//! timesteps: nobody has computed the timesteps that an image did not run, so that spikes, counted
//! spikes and operations are those of the images still running, and no estimate.

use tch::{Device, Kind, Tensor};

use super::Batches;
use super::by_levels::Counted;
use super::evaluate::{BATCH, Measured, add, refuse_broken};
use super::placement::placed;
use crate::Result;
use crate::data::{Normalisation, Split};
use crate::network::{Activity, EarlyExit, Network, Pass, WeightCache, first_timestep, prefix_means};

/// How it is decided at which timestep an image stops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stopping {
    /// Where it is sure enough by this threshold.
    Threshold(f64),
    /// All images after so many timesteps.
    Timesteps(i64),
}

/// What was measured of images that stop.
#[derive(Debug)]
pub struct Exit {
    /// How they stop.
    pub stopping: Stopping,
    /// Fraction of images that stop after 1, 2, ..., T timesteps.
    pub stopped: Vec<f64>,
    /// Accuracy and loss of the answers that they stop with. The rate of a timestep is a mean over
    /// the images still running, zero where none is; a map is a mean over all images.
    pub measured: Measured,
}

impl Exit {
    /// Timesteps of an image, mean over images.
    pub fn mean_timesteps(&self) -> f64 {
        (1..).zip(&self.stopped).map(|(timestep, stopped)| f64::from(timestep) * stopped).sum()
    }
}

/// A network with early exit, measured over a split.
#[derive(Debug)]
pub struct Exits {
    /// At each threshold, ascending: those of the sweep and that of the result.
    pub thresholds: Vec<Exit>,
    /// Without early exit, where all images run 1, 2, ..., T timesteps.
    pub fixed: Vec<Exit>,
    /// The first timestep whose answer is right, or T, mean over images.
    pub earliest: f64,
}

/// Runs `network` over `split` with early exit; of `pass`, the timesteps are the largest number. Where
/// the network's [counted form](Counted) is given, logits are those of the engine.
///
/// The threshold at which no image stops early gives to the bit what [`evaluate`](super::evaluate)
/// gives.
///
/// # Errors
///
/// Logits of any timestep that are NaN or infinite.
pub fn evaluate_exits(
    network: &dyn Network,
    split: &Split,
    normalisation: &Normalisation,
    pass: Pass,
    device: Device,
    (exit, counted): (&dyn EarlyExit, Option<&Counted>),
) -> Result<Exits> {
    let mut thresholds = exit.thresholds().to_vec();
    thresholds.push(exit.threshold());
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    let fixed = (1..=pass.timesteps).map(Stopping::Timesteps);
    let mut answers: Vec<Answers> =
        thresholds.iter().copied().map(Stopping::Threshold).chain(fixed).map(|it| Answers::new(it, device)).collect();
    let runs = Runs { network, split: &placed(split, device).split, normalisation, pass, device, counted };
    let cache = WeightCache::default();
    tch::no_grad(|| {
        let earliest = runs.answer(exit, &mut answers, &cache)?;
        let mut exits: Vec<Exit> = Vec::new();
        let mut known: Vec<Vec<i64>> = Vec::new();
        for answers in answers {
            let steps = answers.steps();
            let activity = match known.iter().position(|other| *other == steps) {
                Some(same) => exits[same].measured.activity.iter().map(Activity::shallow_clone).collect(),
                None => runs.activity(&steps, &cache),
            };
            let count = steps.len() as f64;
            let stopped =
                (1..=pass.timesteps).map(|step| steps.iter().filter(|it| **it == step).count() as f64 / count);
            exits.push(Exit {
                stopping: answers.stopping,
                stopped: stopped.collect(),
                measured: Measured {
                    accuracy: answers.correct.double_value(&[]) / count,
                    loss: answers.loss.double_value(&[]) / count,
                    activity,
                },
            });
            known.push(steps);
        }
        let fixed = exits.split_off(thresholds.len());
        Ok(Exits { thresholds: exits, fixed, earliest })
    })
}

/// The answers that images stop with.
struct Answers {
    stopping: Stopping,
    /// The timestep at which each image stops, `[B]` for each batch.
    steps: Vec<Tensor>,
    correct: Tensor,
    loss: Tensor,
}

impl Answers {
    fn new(stopping: Stopping, device: Device) -> Answers {
        let [correct, loss] = [Kind::Int64, Kind::Double].map(|kind| Tensor::zeros([], (kind, device)));
        Answers { stopping, steps: Vec::new(), correct, loss }
    }

    /// Takes those of a batch: its logits and their prefix means `[T, B, K]`, and its classes `[B]`.
    fn take(&mut self, exit: &dyn EarlyExit, logits: &Tensor, prefixes: &Tensor, labels: &Tensor) {
        let (_, batch, classes) = logits.size3().expect("logits are [T, B, K]");
        let steps = match self.stopping {
            Stopping::Threshold(threshold) => first_timestep(&exit.stops(logits, threshold)),
            Stopping::Timesteps(timesteps) => labels.full_like(timesteps),
        };
        let index = (&steps - 1).view([1, batch, 1]).expand([1, batch, classes], false);
        let last = prefixes.gather(0, &index, false).squeeze_dim(0);
        self.correct += last.argmax(1, false).eq_tensor(labels).sum(Kind::Int64);
        self.loss += last.cross_entropy_for_logits(labels).to_kind(Kind::Double) * batch as f64;
        self.steps.push(steps);
    }

    fn steps(&self) -> Vec<i64> {
        let of_batch = |steps: &Tensor| Vec::<i64>::try_from(steps).expect("timesteps are a vector of i64");
        self.steps.iter().flat_map(of_batch).collect()
    }
}

/// How a network runs over a split.
struct Runs<'a> {
    network: &'a dyn Network,
    split: &'a Split,
    normalisation: &'a Normalisation,
    pass: Pass<'a>,
    device: Device,
    counted: Option<&'a Counted<'a>>,
}

impl Runs<'_> {
    fn batches(&self, order: Vec<i64>) -> Batches<'_> {
        Batches::new(self.split, self.normalisation, order, BATCH, self.device)
    }

    /// Runs all images for all timesteps and takes their answers. Returns the first timestep whose
    /// answer is right, mean over images.
    fn answer(&self, exit: &dyn EarlyExit, answers: &mut [Answers], cache: &WeightCache) -> Result<f64> {
        let pass = Pass { training: false, measure: false, maps: false, cache: Some(cache), ..self.pass };
        let mut sound: Vec<Tensor> = Vec::new();
        let mut earliest = Tensor::zeros([], (Kind::Int64, self.device));
        for batch in self.batches((0..self.split.len() as i64).collect()) {
            let logits = match self.counted {
                Some(counted) => counted.logits(&batch.images),
                None => self.network.forward(&batch.images, &pass).logits,
            };
            sound.push(logits.isfinite().all_dim(2, false).all_dim(0, false));
            let prefixes = prefix_means(&logits);
            let right = prefixes.argmax(2, false).eq_tensor(&batch.labels);
            earliest += first_timestep(&right).sum(Kind::Int64);
            for answers in answers.iter_mut() {
                answers.take(exit, &logits, &prefixes, &batch.labels);
            }
        }
        refuse_broken(&sound)?;
        Ok(earliest.double_value(&[]) / self.split.len() as f64)
    }

    /// The activity of each layer where each image runs so many timesteps: those that run equally
    /// many run together.
    fn activity(&self, steps: &[i64], cache: &WeightCache) -> Vec<Activity> {
        let timesteps = self.pass.timesteps;
        let mut sums: Vec<Activity> = Vec::new();
        let mut running = vec![0.0; timesteps as usize];
        for count in 1..=timesteps {
            let group: Vec<i64> =
                (0..).zip(steps).filter(|(_, step)| **step == count).map(|(image, _)| image).collect();
            for images in &mut running[..count as usize] {
                *images += group.len() as f64;
            }
            let pass = Pass { training: false, timesteps: count, cache: Some(cache), ..self.pass };
            let mut of_group: Vec<Activity> = Vec::new();
            for batch in self.batches(group) {
                let activity = self.network.forward(&batch.images, &pass).activity;
                add(&mut of_group, activity.iter().map(|layer| layer.scaled(batch.len() as f64)));
            }
            let silent = |rate: &Tensor| rate.constant_pad_nd([0, timesteps - count]);
            add(&mut sums, of_group.into_iter().map(|Activity { rate, map }| Activity { rate: silent(&rate), map }));
        }
        // Where no image runs, the sum is zero already.
        let part = Tensor::from_slice(&running).clamp_min(1.0).reciprocal().to_device(self.device);
        let mean = |sum: &Activity| {
            let map = sum.map.as_ref().map(|map| map * (1.0 / steps.len() as f64));
            Activity { rate: &sum.rate * &part, map }
        };
        sums.iter().map(mean).collect()
    }
}
