//! A teacher: another network, trained before, whose answers a network is trained towards.
//!
//! ```text
//! L   = (1 - alpha) L_y + alpha tau² KL
//! KL  = mean over the batch of  sum_k p_k (ln p_k - ln q_k)
//! p   = softmax(z_T / tau)      what the teacher answers
//! q   = softmax(z_S / tau)      what the student answers
//! z   = (1/T) sum_{t<=T} O(t)   of each network over its own T timesteps, [B, K]
//! ```
//!
//! L_y is the loss towards the classes that [`Loss`](super::Loss) names. O(t) are the outputs
//! `[B, K]` of timestep t. The temperature tau flattens both answers, so that the classes which the
//! teacher takes for possible count as well. The gradient of KL to z_S is (q - p) / tau, and p - q
//! shrinks as 1 / tau, too: tau² makes it as large as the gradient of L_y at every temperature. An
//! auxiliary head of the student is taught as its classifier is.
//!
//! The teacher sees the very batch that the student is trained on, augmented as drawn. It is
//! evaluated: without gradients, with its running statistics, all its compressors at work and no
//! early exit. No tensor of it changes, so that each of its weights is compressed once in a
//! retraining, and nothing of it is in the student's checkpoints.
//!
//! `features` adds a distance between hidden maps of the two networks; `features.rs` has the formula.
//!
//! Source: Hinton et al., Distilling the Knowledge in a Neural Network, arXiv:1503.02531, 2015; for
//! spiking students KDSNN, Xu et al., Constructing Deep Spiking Neural Networks from Artificial
//! Neural Networks with Knowledge Distillation, CVPR 2023. KDSNN's teachers are networks without
//! spikes, which `activation = "relu"` makes of the neurons of a space; dense, wider or longer spiking
//! networks teach as well.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::features::Features;
use super::final_network::final_network;
use crate::data::DataInfo;
use crate::ground::{Build, Parameters};
use crate::network::{Design, Network, Pass, Response, SpikeTap, WeightCache};
use crate::record::{self, files};
use crate::spiking::Precision;
use crate::{Error, Result};

/// `[retrain.teacher]`: the network is also trained towards the answers of another trial's network.
/// Exactly one of `from` and `trial` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Teaching {
    /// A variant of this manifest: the network that it trains with the same seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The folder of a finished trial; a relative path is relative to the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<PathBuf>,
    /// Share alpha of the teacher's answers in the loss; the classes have the rest.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
    /// What the outputs of both networks are divided by before their softmax: tau.
    #[serde(default = "four")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub temperature: f64,
    /// Weight of the distance between hidden maps; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0.0), extend("default" = 0.0))]
    pub features: f64,
}

fn is_zero(weight: &f64) -> bool {
    *weight == 0.0
}

fn half() -> f64 {
    0.5
}

fn four() -> f64 {
    4.0
}

impl Teaching {
    /// The loss of outputs `[T, B, K]` whose loss towards the classes is `of_classes`, where a
    /// teacher gives the `answers` `[B, K]`: a scalar.
    pub fn loss(&self, of_classes: Tensor, outputs: &Tensor, answers: &Tensor) -> Tensor {
        let tau = self.temperature;
        let logs = |logits: &Tensor| (logits / tau).log_softmax(1, None::<Kind>);
        let (teacher, student) = (logs(answers), logs(&outputs.mean_dim(0, false, None::<Kind>)));
        let of_images = (teacher.exp() * (&teacher - student)).sum_dim_intlist(1, false, None::<Kind>);
        of_classes * (1.0 - self.alpha) + of_images.mean(None::<Kind>) * (self.alpha * tau * tau)
    }

    /// What a teacher of this design cannot teach about `data`, of which the shape and the number
    /// of classes count; `None` where it can.
    pub fn misfit(design: &Design, data: &DataInfo) -> Option<String> {
        let Some(network) = &design.network else {
            return Some("its design does not say how wide its network is ([network])".into());
        };
        mismatch((network.input, network.classes), (data.shape, data.classes.len()))
    }
}

/// How the input and the classes of a teacher differ from those of its student.
pub fn mismatch(teacher: ([i64; 3], usize), student: ([i64; 3], usize)) -> Option<String> {
    let shown = |[channels, height, width]: [i64; 3]| format!("{channels} x {height} x {width}");
    if teacher.0 != student.0 {
        let (teacher, student) = (shown(teacher.0), shown(student.0));
        return Some(format!("it reads inputs of {teacher}, and those of this trial are {student}"));
    }
    let (teacher, student) = (teacher.1, student.1);
    (teacher != student).then(|| format!("it answers for {teacher} classes, and this trial has {student}"))
}

/// A network that teaches.
pub struct Teacher<'a> {
    teaching: &'a Teaching,
    network: Box<dyn Network>,
    timesteps: i64,
    precision: Precision,
    cache: WeightCache,
    /// What its hidden maps teach; see [`Teacher::attach`].
    features: Option<Features>,
}

/// What a teacher says of a batch.
pub struct Lesson {
    /// Mean outputs over its timesteps, `[B, K]`.
    pub answers: Tensor,
    /// Mean maps of the layers that are paired.
    maps: Vec<Tensor>,
}

impl<'a> Teacher<'a> {
    /// The network of a design as it is before training: its answers cost what a trained one's
    /// cost. `precision` is the student's.
    pub fn untrained(
        teaching: &'a Teaching,
        design: &Design,
        device: Device,
        precision: Precision,
    ) -> Result<Teacher<'a>> {
        let network = design.build(&mut Build::new(&mut Parameters::default(), 0, device))?;
        Ok(Teacher::new(teaching, network, design.timesteps, precision))
    }

    fn new(teaching: &'a Teaching, network: Box<dyn Network>, timesteps: i64, precision: Precision) -> Teacher<'a> {
        Teacher { teaching, network, timesteps, precision, cache: WeightCache::default(), features: None }
    }

    /// Pairs its hidden maps with those of its student, which runs so many timesteps, where the manifest
    /// asks for it. What makes the maps of one of those of the other is trained with the student, and
    /// so belongs to its parameters.
    ///
    /// # Errors
    ///
    /// No map of the one has the height and width of a map of the other.
    pub fn attach(&mut self, student: &dyn Network, timesteps: i64, data: &DataInfo, build: &mut Build) -> Result<()> {
        if self.teaching.features > 0.0 {
            let pair = ((student, timesteps), (self.network.as_ref(), self.timesteps));
            self.features = Some(Features::new(pair.0, pair.1, data.shape, build)?);
        }
        Ok(())
    }

    /// The network of the finished trial in `folder`, with its final weights, for a student on
    /// `data`.
    pub fn open(
        teaching: &'a Teaching,
        folder: &Path,
        data: &DataInfo,
        device: Device,
        precision: Precision,
    ) -> Result<Teacher<'a>> {
        let refused = |message: String, hint: &str| Error::Content { path: folder.into(), message, hint: hint.into() };
        let Some(outcome) = record::result(folder) else {
            return Err(refused("teaches no trial before it is finished".into(), "run its manifest first"));
        };
        let design = Design::read(&folder.join(files::DESIGN))?;
        if let Some(why) = Teaching::misfit(&design, data) {
            return Err(refused(format!("cannot teach this trial: {why}"), "name a trial on data of the same form"));
        }
        let weights = (" to teach with", FORGOTTEN);
        let network = final_network(folder, (&design, outcome.seed), device, weights)?;
        Ok(Teacher::new(teaching, network, design.timesteps, precision))
    }

    /// What it says of images `[B, C, H, W]`, without a gradient.
    pub fn lesson(&self, images: &Tensor) -> Lesson {
        let pass = Pass { precision: self.precision, cache: Some(&self.cache), ..Pass::new(self.timesteps) };
        let answer = |pass: &Pass| self.network.forward(images, pass).logits.mean_dim(0, false, None::<Kind>);
        tch::no_grad(|| match &self.features {
            Some(features) => {
                let (answers, maps) =
                    features.of_teacher(self.timesteps, |tap| answer(&Pass { tap: Some(tap), ..pass }));
                Lesson { answers, maps }
            }
            None => Lesson { answers: answer(&pass), maps: Vec::new() },
        })
    }

    /// A training pass of the student over images, and what its hidden maps cost beside those of the
    /// lesson, where they cost something.
    pub fn listen(
        &self,
        student: &dyn Network,
        images: &Tensor,
        pass: &Pass,
        lesson: &Lesson,
    ) -> (Response, Option<Tensor>) {
        let Some(features) = &self.features else { return (student.forward(images, pass), None) };
        let (response, maps) = features.of_student(pass.timesteps, |tap: SpikeTap| {
            let pass = Pass { tap: Some(tap), ..*pass };
            student.forward(images, &pass)
        });
        let distance = features.distance(&maps, &lesson.maps) * self.teaching.features;
        (response, Some(distance))
    }

    /// How much its answers count.
    pub fn teaching(&self) -> &Teaching {
        self.teaching
    }
}

/// Where final weights can be missing, and what brings them back.
const FORGOTTEN: &str = "`litesnn runs gc` removes the weights of finished trials; move the teacher's folder away, and the \
                         same command trains it again";

#[cfg(test)]
mod tests {
    use super::*;

    fn teaching(alpha: f64, temperature: f64) -> Teaching {
        Teaching { from: None, trial: None, alpha, temperature, features: 0.0 }
    }

    fn rows(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([-1, 3])
    }

    fn none() -> Tensor {
        Tensor::from(0.0f64)
    }

    /// By hand, for z_T = (2, 0, 0), z_S = (1, 0, -1) and tau = 4: the softmax of (1/2, 0, 0) is
    /// (e^½, 1, 1) / (e^½ + 2), and ln q = z/4 - ln(e^¼ + 1 + e^-¼). tau² KL is 0.10311.
    #[test]
    fn the_divergence_has_its_closed_value() {
        let loss = teaching(1.0, 4.0).loss(none(), &rows(&[1.0, 0.0, -1.0]).unsqueeze(0), &rows(&[2.0, 0.0, 0.0]));
        let teacher = [0.5f64, 0.0, 0.0].map(|z| z - (0.5f64.exp() + 2.0).ln());
        let student = [0.25f64, 0.0, -0.25].map(|z| z - (0.25f64.exp() + 1.0 + (-0.25f64).exp()).ln());
        let want = 16.0 * teacher.iter().zip(student).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        assert!((want - 0.10311).abs() < 5e-6, "{want}");
        assert!((loss.double_value(&[]) - want).abs() < 1e-12, "{loss:?}, not {want}");
    }

    /// The mean over the batch and over the student's timesteps, and the share of the classes'
    /// loss.
    #[test]
    fn images_and_timesteps_count_on_the_mean() {
        let answers = rows(&[2.0, 0.0, 0.0, 1.0, -1.0, 3.0]);
        // The means over two timesteps are (1, 0, -1), and the teacher's own answer.
        let outputs = Tensor::from_slice(&[3.0, 1.0, 0.0, 0.0, -2.0, 4.0, -1.0, -1.0, -2.0, 2.0, 0.0, 2.0]);
        let loss = teaching(0.25, 4.0).loss(Tensor::from(2.0f64), &outputs.view([2, 2, 3]), &answers);
        let one = teaching(1.0, 4.0).loss(none(), &rows(&[1.0, 0.0, -1.0]).unsqueeze(0), &rows(&[2.0, 0.0, 0.0]));
        let want = 0.75 * 2.0 + 0.25 * one.double_value(&[]) / 2.0;
        assert!((loss.double_value(&[]) - want).abs() < 1e-12, "{loss:?}, not {want}");
    }

    #[test]
    fn gradients_are_the_differences_of_the_loss() {
        let (teaching, answers) = (teaching(0.7, 2.5), rows(&[2.0, 0.0, 0.0, 1.0, -1.0, 3.0]));
        let values = [0.3, 1.0, 0.0, 0.2, -2.0, 1.0, -1.0, 0.5, -0.2, 2.0, 0.0, 0.4];
        let loss = |values: &[f64]| {
            let outputs = Tensor::from_slice(values).view([2, 2, 3]).set_requires_grad(true);
            (teaching.loss(outputs.square().mean(None::<Kind>), &outputs, &answers), outputs)
        };
        let (whole, outputs) = loss(&values);
        whole.backward();
        let gradient = Vec::<f64>::try_from(outputs.grad().flatten(0, -1)).unwrap();
        for (index, gradient) in gradient.iter().enumerate() {
            let [more, less] = [1e-5, -1e-5].map(|step| {
                let mut moved = values;
                moved[index] += step;
                loss(&moved).0.double_value(&[])
            });
            let difference = (more - less) / 2e-5;
            assert!((gradient - difference).abs() < 1e-8, "output {index}: {gradient}, not {difference}");
        }
    }

    /// tau² keeps the gradient as large at every temperature: for large tau it is that of
    /// |z_S - z_T|² / (2 K), for outputs whose mean over classes is 0.
    #[test]
    fn a_high_temperature_draws_outputs_to_the_teachers() {
        let (student, teacher) = (rows(&[1.0, 0.0, -1.0]).set_requires_grad(true), rows(&[2.0, -1.0, -1.0]));
        teaching(1.0, 1e3).loss(none(), &student.unsqueeze(0), &teacher).backward();
        let want = (student.detach() - teacher) / 3.0;
        let error = (student.grad() - want).abs().max().double_value(&[]);
        assert!(error < 2e-3, "{error}");
    }

    #[test]
    fn without_a_share_the_teacher_changes_nothing() {
        let outputs = rows(&[1.0, 0.3, -1.0]).to_kind(Kind::Float).unsqueeze(0).set_requires_grad(true);
        let labels = Tensor::from_slice(&[1i64]);
        let of_classes = || outputs.mean_dim(0, false, None::<Kind>).cross_entropy_for_logits(&labels);
        let gradients = |loss: Tensor| Tensor::run_backward(&[loss], &[&outputs], false, false).remove(0);
        let plain = of_classes();
        let taught = teaching(0.0, 4.0).loss(of_classes(), &outputs, &rows(&[2.0, 0.0, 0.0]).to_kind(Kind::Float));
        assert!(taught.equal(&plain));
        assert!(gradients(taught).equal(&gradients(plain)));
    }

    #[test]
    fn a_teacher_of_other_data_is_told_apart() {
        let student = ([3, 32, 32], 10);
        assert_eq!(mismatch(student, student), None);
        let classes = mismatch(([3, 32, 32], 100), student).unwrap();
        assert_eq!(classes, "it answers for 100 classes, and this trial has 10");
        let input = mismatch(([1, 28, 28], 10), student).unwrap();
        assert_eq!(input, "it reads inputs of 1 x 28 x 28, and those of this trial are 3 x 32 x 32");
    }
}
