//! Where a loss diverged: the trial is repeated from its last checkpoint, batch by batch.
//!
//! One step spreads a NaN over the whole network: gradients are clipped by their common norm. So it
//! is not seen afterwards where it began. But every step can be repeated to the bit, from a
//! checkpoint that is there at every stage's start:
//!
//! 1. the batches since the checkpoint are run again, one at a time, until the loss or a tensor is
//!    NaN or infinite;
//! 2. the tensors are put back to what they were before that batch, and the step is done once more
//!    with nothing moved;
//! 3. running statistics are in the order of the network and change in the forward pass alone: the
//!    first that is not finite is in the layer where it began. Where all are finite, it is the
//!    gradient of a layer, and of several the last, where a backward pass begins. Where these tell
//!    nothing, and the loss is a number, the step moved a weight too far; else it is the loss
//!    itself. The largest weight is told.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Kind, Tensor};

use super::course::Course;
use super::stage::Step;
use super::{Checkpoint, Descent, Schedules, StageSpec};
use crate::Error;
use crate::ground::{Parameters, Role};
use crate::network::Progress;

/// A cross-entropy is near ln(classes) at the start. None that is larger than this has ever come
/// back.
const EXPLODED: f64 = 1e6;

/// Whether a loss is NaN, or exploded.
pub(super) fn diverged(loss: f64) -> bool {
    loss.is_nan() || loss >= EXPLODED
}

/// The stage that diverged.
pub(super) struct Watched<'a> {
    pub(super) course: &'a Course<'a, 'a>,
    pub(super) spec: &'a StageSpec,
    pub(super) parameters: &'a Parameters,
    pub(super) schedules: &'a Schedules<'a>,
    pub(super) stop: &'a AtomicBool,
}

/// The first tensor in the order of the network that is NaN or infinite, in words; running
/// statistics come before the weights, since a forward pass alone changes them.
pub fn broken_tensor(parameters: &Parameters) -> Option<String> {
    let weights = parameters.trainable().iter().map(|parameter| (&parameter.name, &parameter.tensor));
    let all = parameters.buffers().iter().map(|(name, tensor)| (name, tensor)).chain(weights);
    // One read of the device for all of them.
    let (names, flags): (Vec<&String>, Vec<Tensor>) =
        all.map(|(name, tensor)| (name, tensor.detach().isfinite().all())).unzip();
    if flags.is_empty() {
        return None;
    }
    let sound = Vec::<bool>::try_from(Tensor::stack(&flags, 0)).expect("flags in one dimension");
    let name = names[sound.iter().position(|sound| !sound)?];
    Some(format!("`{name}` of layer `{}` is NaN or infinite", layer(name)))
}

/// Finds where it began; `None` where that cannot be said. Tensors and descents are of no more use
/// afterwards.
pub(super) fn diagnose(
    watched: &Watched,
    checkpoints: &Path,
    descents: &mut [Descent],
    step: &mut Step,
    noticed: f64,
) -> Option<Error> {
    let Watched { course, spec, parameters, schedules, stop } = watched;
    let checkpoint = Checkpoint::newest(checkpoints).0.filter(|checkpoint| checkpoint.stage == spec.stage)?;
    checkpoint.restore_parameters(parameters).ok()?;
    for descent in descents.iter_mut() {
        descent.restore(&checkpoint.descent);
    }
    let mut done = checkpoint.begun.batches;
    for epoch in checkpoint.epochs..spec.epochs {
        for descent in descents.iter_mut() {
            descent.begin_epoch(epoch, spec.epochs);
        }
        for batch in course.batches(epoch).after(done) {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            done += 1;
            let before: Vec<Tensor> = parameters.named().map(|(_, tensor)| tensor.detach().copy()).collect();
            let progress = Progress::after(done, course.len(), epoch, spec.epochs);
            schedules.watch(progress);
            let loss = step(&batch, epoch, descents).ok()?.loss.double_value(&[]);
            schedules.advance(progress, descents);
            if !diverged(loss) && parameters.named().all(|(_, tensor)| finite(tensor)) {
                continue;
            }
            let moved = largest(parameters);
            for ((_, tensor), value) in parameters.named().zip(&before) {
                tch::no_grad(|| tensor.shallow_clone().copy_(value));
            }
            descents.iter_mut().for_each(Descent::hold);
            let again = step(&batch, epoch, descents).ok()?.loss.double_value(&[]);
            return Some(Error::Diverged {
                stage: spec.stage.to_string(),
                epoch: epoch + 1,
                batch: done,
                loss: if diverged(again) { again } else { noticed },
                learning_rate: descents.first().map_or(0.0, Descent::rate),
                place: place(parameters, diverged(again), moved),
            });
        }
        done = 0;
    }
    None
}

/// Where the first number that is not finite is, after a step that moved nothing. `loss`: whether
/// its loss diverged; `moved`: the largest weight after the step that moved them.
fn place(parameters: &Parameters, loss: bool, moved: Option<(f64, String)>) -> String {
    if let Some((name, _)) = parameters.buffers().iter().find(|(_, tensor)| !finite(tensor)) {
        return format!("it begins in layer `{}`, in the forward pass (`{name}` is NaN or infinite)", layer(name));
    }
    let with_gradient: Vec<_> = parameters.trainable().iter().filter(|it| it.tensor.grad().defined()).collect();
    let broken: Vec<_> = with_gradient.iter().filter(|it| !finite(&it.tensor.grad())).collect();
    if let Some(last) = broken.last().filter(|_| broken.len() < with_gradient.len()) {
        let name = &last.name;
        return format!("it begins in layer `{}`, in the backward pass (the gradient of `{name}`)", layer(name));
    }
    let (words, weight) = match loss {
        true => ("the loss itself overflows; the largest weight is", largest(parameters)),
        false => ("it begins with the step of that batch: the largest weight became", moved),
    };
    weight.map_or_else(String::new, |(value, name)| {
        format!("{words} {value:.1e}, in layer `{}` (`{name}`)", layer(&name))
    })
}

/// The largest weight, and the tensor that it is in; NaN is larger than any.
fn largest(parameters: &Parameters) -> Option<(f64, String)> {
    let weights = parameters.of(&[Role::Weight]);
    let sizes = weights.map(|it| (it.tensor.detach().abs().max().double_value(&[]), it.name.clone()));
    sizes.reduce(|most, other| if other.0.total_cmp(&most.0).is_gt() { other } else { most })
}

/// `cells.0.stem.weight` is a tensor of the layer `cells.0.stem`.
fn layer(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}

fn finite(tensor: &Tensor) -> bool {
    tensor.detach().isfinite().all().to_kind(Kind::Int64).int64_value(&[]) == 1
}
