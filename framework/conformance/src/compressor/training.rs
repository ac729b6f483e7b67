//! Rules about what a compressor becomes while the weight is trained: a pretended training of one
//! layer, which tells the compressor of its steps as a stage does.

use std::collections::BTreeMap;

use tch::{Kind as Element, Tensor};

use super::{Attached, Boxed, CONVOLUTION, ExampleLayer, LAYERS, attach, choose, promised_bits, searched, settled};
use crate::subject::{Made, Subject};
use crate::workbench::{self, finite, same, works};
use crate::{Kept, broken, require};
use litesnn_framework::Error;
use litesnn_framework::ground::{Role, Stream};
use litesnn_framework::network::{Place, Progress, Technique, Techniques};
use litesnn_framework::train::{Algorithm, Checkpoint, Descent, Rate, Schedules};

const EPOCHS: usize = 4;
const BATCHES: usize = 3;
const STEPS: usize = EPOCHS * BATCHES;

/// One layer in training.
struct Course {
    attached: Attached,
    descent: Descent,
    /// Steps that are done.
    done: usize,
}

impl Course {
    fn new(attached: Attached) -> Course {
        let momentum = Algorithm::Sgd { momentum: 0.9, weight_decay: 1e-3 };
        let roles = [Role::Weight, Role::Score];
        let descent = Descent::new("layer", &attached.parameters, &roles, momentum, Rate::Constant(0.02));
        Course { attached, descent, done: 0 }
    }

    /// Trains on a loss of its own for each step, up to so many of them.
    fn train(&mut self, until: usize) -> Kept {
        while self.done < until {
            let (epoch, batch) = (self.done / BATCHES, self.done % BATCHES + 1);
            let progress = Progress::after(batch, BATCHES, epoch, EPOCHS);
            let Course { attached, descent, .. } = self;
            let schedules = Schedules::over(vec![&attached.weight], Techniques::ALL, Techniques::NONE);
            schedules.watch(progress);
            attached.parameters.zero_grad();
            let value = attached.value();
            // Two timesteps of two images.
            let size = [4, value.size()[0], 4, 4];
            let potential = Stream::open(13, "conformance/spikes", self.done as u64).normal(&size);
            attached.weight.see(&potential.gt(0.5).to_kind(Element::Float), 2);
            let along = Stream::open(11, "conformance/step", self.done as u64).normal(&value.size());
            let loss = (&value * (along + &value)).sum(Element::Double);
            if loss.requires_grad() {
                works(loss.f_backward().map_err(Error::from), "in training, backward runs")?;
            }
            descent.step();
            schedules.advance(progress, std::slice::from_mut(descent));
            self.done += 1;
        }
        Ok(())
    }

    /// All that a checkpoint has of it.
    fn state(&self) -> BTreeMap<String, Tensor> {
        let tensors = self.attached.parameters.named().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy()));
        tensors.chain(self.descent.state().map(|(name, tensor)| (name, tensor.copy()))).collect()
    }
}

/// The first tensor that is not the same in both.
fn differs(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> Option<String> {
    let other = a.iter().find(|(name, tensor)| !b.get(*name).is_some_and(|other| same(tensor, other)));
    other.map(|(name, _)| name.clone())
}

pub(super) fn stays_as_it_says(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS {
            let mut course = Course::new(settled(&made, layer, 1)?);
            for step in 0..=STEPS {
                course.train(step)?;
                let what = format!("with {} on {:?}, after {step} of {STEPS} steps", made.shown, layer.shape);
                as_it_says(&course.attached, made.plugin.technique(), &what)?;
                untouched(&course, &what)?;
            }
        }
    }
    Ok(())
}

/// The value is finite, and has the density and the bits that it says.
fn as_it_says(attached: &Attached, stage: Technique, what: &str) -> Kept {
    require(finite(&attached.value()), format!("{what}, a finite value"), "it is not")?;
    let count = attached.weight.raw().numel() as f64;
    let (promised, reached) = (attached.density() * count, attached.nonzero() as f64);
    // What has just grown again is there, and is zero until its first step.
    let new = count - attached.weight.raw().count_nonzero(None::<i64>).int64_value(&[]) as f64;
    let holds = match stage {
        Technique::Prune => (reached - 0.5..=reached + new + 0.5).contains(&promised),
        Technique::Quantize => reached < promised + 0.5,
    };
    require(
        holds && (0.0..=count).contains(&promised),
        format!("{what}, {promised:.1} of {count} weights are not zero, as the density says"),
        format!("{reached} are not"),
    )?;
    promised_bits(attached, what)
}

/// Asked for its value, bits and density, as an evaluation does, it stays as it is.
fn untouched(course: &Course, what: &str) -> Kept {
    let (before, first) = (course.state(), course.attached.value());
    let _ = (course.attached.bits(), course.attached.density());
    let changed = differs(&before, &course.state());
    let name = changed.unwrap_or_default();
    require(
        name.is_empty(),
        format!("{what}, to be asked for its value changes nothing"),
        format!("`{name}` changed"),
    )?;
    require(same(&first, &course.attached.value()), format!("{what}, asked again, the same value"), "another one")
}

pub(super) fn goes_on(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in [CONVOLUTION, LAYERS[3]] {
            let mut whole = Course::new(searched(&made, layer, 1)?);
            whole.train(STEPS)?;
            for stop in [1, BATCHES, STEPS / 2 - 1, STEPS - 1] {
                resumed(&made, layer, stop, &whole)?;
            }
        }
    }
    Ok(())
}

fn resumed(made: &Made<Boxed>, layer: ExampleLayer, stop: usize, whole: &Course) -> Kept {
    let what = format!("with {} on {:?}, stopped after {stop} of {STEPS} steps", made.shown, layer.shape);
    let mut first = Course::new(searched(made, layer, 1)?);
    first.train(stop)?;
    let folder = workbench::folder()?;
    let mut checkpoint = Checkpoint::default();
    checkpoint.take_parameters(&first.attached.parameters);
    checkpoint.descent = first.descent.state().map(|(name, tensor)| (name, tensor.copy())).collect();
    works(checkpoint.write(folder.path()), "a checkpoint is written")?;
    // Of another seed: nothing but the checkpoint says how far it was.
    let mut rest = Course { done: stop, ..Course::new(searched(made, layer, 2)?) };
    let stored = Checkpoint::newest(folder.path()).0.ok_or_else(|| broken("a checkpoint", "there is none"))?;
    let restored = stored.restore_parameters(&rest.attached.parameters);
    restored.map_err(|why| broken("the tensors do not depend on the seed in name and shape", why))?;
    rest.descent.restore(&stored.descent);
    rest.train(STEPS)?;
    let name = differs(&whole.state(), &rest.state()).unwrap_or_default();
    require(
        name.is_empty(),
        format!("{what}, it ends with the tensors of a training without a stop: all of its state is in buffers"),
        format!("another `{name}`"),
    )?;
    let (value, bits, density) = (rest.attached.value(), rest.attached.bits(), rest.attached.density());
    let alike =
        same(&value, &whole.attached.value()) && bits == whole.attached.bits() && density == whole.attached.density();
    require(alike, format!("{what}, it ends with the same value, bits and density: its state is in buffers"), "others")
}

pub(super) fn takes_over(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        for layer in LAYERS.into_iter().filter(|layer| matches!(layer.place, Place::Cell(_))) {
            let search = searched(&made, layer, 1)?;
            choose(&search, 0);
            let mut course = Course::new(search);
            course.train(STEPS)?;
            let search = course.attached;
            let what = format!("with {} on {:?}, the final network of trained tensors", made.shown, layer.shape);
            let (value, bits, density) = (search.value(), search.bits(), search.density());
            let stack = [(made.name, made.plugin.as_ref())];
            let network = works(attach(&stack, layer, 1, Some(&search.decisions())), what.clone())?;
            search.weight.conclude();
            let taken = network.parameters.copy_from(&search.parameters);
            taken.map_err(|why| broken(format!("{what} finds them"), why))?;
            let apart = (value - network.value()).abs().max().double_value(&[]);
            require(apart < 1e-4, format!("{what} has their value"), format!("weights that differ by {apart}"))?;
            require(
                (bits - network.bits()).abs() < 1e-3 && (density - network.density()).abs() < 1e-6,
                format!("{what} has {bits} bits and density {density}"),
                format!("{} and {}", network.bits(), network.density()),
            )?;
        }
    }
    Ok(())
}
