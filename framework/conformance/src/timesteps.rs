//! Rules for timestep searchers.

use tch::{Device, Kind as Element};

use crate::subject::{Made, Subject, clear, first_of};
use crate::workbench::{self, Extent, finite, number, same, works};
use crate::{Kept, Law, broken, guarded, require};
use litesnn_framework::ground::{Build, Parameters, Role, Stream};
use litesnn_framework::network::{TimestepGate, TimestepSearcher, exceedance};
use litesnn_framework::plugin::Kind;
use litesnn_framework::train::{Algorithm, Checkpoint, Descent, Optimizer, Rate};
use litesnn_framework::{Error, Result};

/// The rules.
pub const LAWS: &[Law] = &[
    Law {
        name: "weights",
        says: "the weights of 1..=max timesteps are 0 or more and sum to 1 in every epoch",
        check: weights,
    },
    Law {
        name: "exceedance",
        says: "a timestep counts with a weight of 0 to 1, the first fully, none more than the one before",
        check: counted,
    },
    Law { name: "decides", says: "the decision is within 1..=max, and follows the weights", check: decides },
    Law {
        name: "gradients",
        says: "after the warm-up the weights' gradient arrives at the trainable tensors, and is their derivative",
        check: gradients,
    },
    Law { name: "same-seed", says: "the same seed gives the same weights to the bit", check: same_seed },
    Law {
        name: "save-and-load",
        says: "with its tensors from a checkpoint the weights are the same to the bit",
        check: save_and_load,
    },
    Law {
        name: "early-exit",
        says: "whether an image stops early depends on its own logits up to that timestep alone, by a list of thresholds",
        check: early_exit,
    },
    Law {
        name: "search",
        says: "with every optimizer, a whole trial with it runs and decides within 1..=max",
        check: search,
    },
    Law {
        name: "extremes",
        says: "settings at the edge work, or are refused with an error that says why",
        check: extremes,
    },
];

type Boxed = Box<dyn TimestepSearcher>;

/// An epoch that no warm-up of an example reaches.
const LATE: usize = 1000;

struct Attached {
    gate: Box<dyn TimestepGate>,
    parameters: Parameters,
}

fn attach(made: &Made<Boxed>, seed: u64) -> Result<Attached> {
    let mut parameters = Parameters::default();
    let gate = made.plugin.attach(&mut Build::new(&mut parameters, seed, Device::Cpu).at("timesteps"))?;
    Ok(Attached { gate, parameters })
}

fn attached(made: &Made<Boxed>, seed: u64) -> Kept<Attached> {
    works(attach(made, seed), format!("with {} it attaches", made.shown))
}

/// Moves the trainable tensors by so much.
fn disturb(attached: &Attached, seed: u64, by: f64) {
    let mut noise = Stream::open(seed, "conformance/training", 0);
    tch::no_grad(|| {
        for parameter in attached.parameters.trainable() {
            let step = noise.normal(&parameter.tensor.size()) * by;
            let _ = parameter.tensor.shallow_clone().g_add_(&step);
        }
    });
}

fn weights(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let attached = attached(&made, 1)?;
        for epoch in (0..12).chain([LATE]) {
            distribution(&attached, made.plugin.max(), epoch, &made.shown)?;
            disturb(&attached, epoch as u64, 1.0);
        }
    }
    Ok(())
}

fn distribution(attached: &Attached, max: i64, epoch: usize, shown: &str) -> Kept {
    let weights = attached.gate.weights(epoch);
    let what = format!("with {shown}, in epoch {epoch}");
    require(weights.size() == [max], format!("{what}, weights [{max}]"), format!("{:?}", weights.size()))?;
    let (least, sum) = (number(&weights.min()), number(&weights.sum(Element::Double)));
    require(least >= 0.0, format!("{what}, weights of 0 or more"), format!("{least}"))?;
    require((sum - 1.0).abs() < 1e-5, format!("{what}, a sum of 1"), format!("{sum}"))
}

fn counted(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let attached = attached(&made, 1)?;
        for epoch in [0, 1, LATE] {
            disturb(&attached, epoch as u64, 1.0);
            let counted = Vec::<f64>::try_from(exceedance(&attached.gate.weights(epoch)).to_kind(Element::Double));
            let counted = counted.map_err(|error| broken("a vector of weights", error.to_string()))?;
            let within = counted.iter().all(|weight| (-1e-6..=1.0 + 1e-6).contains(weight));
            let falling = counted.windows(2).all(|pair| pair[1] <= pair[0] + 1e-6);
            let first = counted.first().is_some_and(|first| (first - 1.0).abs() < 1e-5);
            require(
                within && falling && first,
                format!("with {}, from 1, never rising, never below 0", made.shown),
                format!("{counted:?}"),
            )?;
        }
    }
    Ok(())
}

fn decides(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let max = made.plugin.max();
        if let Some(fixed) = made.plugin.fixed() {
            let decided = attached(&made, 1)?.gate.decide();
            require(
                decided == fixed,
                format!("with {}, {fixed} timesteps as `fixed` says", made.shown),
                decided.to_string(),
            )?;
        }
        let wild = attached(&made, 1)?;
        for step in 0..20 {
            let decided = wild.gate.decide();
            let within = (1..=max).contains(&decided);
            require(within, format!("with {}, 1 to {max} timesteps", made.shown), decided.to_string())?;
            disturb(&wild, step, 2.0);
        }
        if wild.parameters.trainable().is_empty() {
            continue;
        }
        for wanted in 1..=max {
            let attached = attached(&made, 1)?;
            let reached = drive(&attached, wanted - 1)?;
            let decided = attached.gate.decide();
            require(
                reached < 0.9 || decided == wanted,
                format!("with {}, {wanted} where its weight is {reached:.2}", made.shown),
                decided.to_string(),
            )?;
        }
    }
    Ok(())
}

/// Raises one weight by descent; the weight that was reached.
fn drive(attached: &Attached, index: i64) -> Kept<f64> {
    const ROLES: [Role; 5] = [Role::Weight, Role::Score, Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];
    let adam = Algorithm::Adam { weight_decay: 0.0 };
    let mut descent = Descent::new("drive", &attached.parameters, &ROLES, adam, Rate::Constant(0.3));
    for _ in 0..60 {
        attached.parameters.zero_grad();
        let loss = -attached.gate.weights(LATE).get(index).log();
        works(loss.f_backward().map_err(Error::from), "backward runs after the warm-up")?;
        descent.step();
    }
    Ok(number(&attached.gate.weights(LATE).get(index)))
}

fn gradients(subject: &Subject) -> Kept {
    const STEP: f64 = 2e-3;
    for made in subject.examples::<Boxed>()? {
        let attached = attached(&made, 1)?;
        if made.plugin.fixed().is_some() {
            let none = attached.parameters.trainable().is_empty();
            require(
                none,
                format!("with {}, nothing to train, as `fixed` says", made.shown),
                "there are trainable tensors",
            )?;
            continue;
        }
        require(
            !attached.parameters.trainable().is_empty(),
            format!("with {}, something to train, or a number of timesteps from `fixed`", made.shown),
            "there is neither",
        )?;
        disturb(&attached, 4, 0.5);
        let along = Stream::open(5, "conformance/loss", 0).normal(&[made.plugin.max()]).to_kind(Element::Double);
        let loss = || (attached.gate.weights(LATE).to_kind(Element::Double) * &along).sum(Element::Double);
        require(
            loss().requires_grad(),
            format!("with {}, a gradient in a late epoch", made.shown),
            "the weights are constant",
        )?;
        attached.parameters.zero_grad();
        works(loss().f_backward().map_err(Error::from), "backward runs")?;
        for parameter in attached.parameters.trainable() {
            let gradient = parameter.tensor.grad();
            let expected = format!("with {}, a gradient at `{}`", made.shown, parameter.name);
            require(gradient.defined() && finite(&gradient), &*expected, "none, or one that is not finite")?;
            require(gradient.count_nonzero(None::<i64>).int64_value(&[]) > 0, &*expected, "it is all zero")?;
            for index in 0..(parameter.tensor.numel() as i64).min(16) {
                let at = |by: f64| {
                    tch::no_grad(|| {
                        let mut element = parameter.tensor.view(-1).get(index);
                        let before = element.copy();
                        let _ = element.g_add_scalar_(by);
                        let value = number(&loss());
                        element.copy_(&before);
                        value
                    })
                };
                let seen = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let told = gradient.view(-1).double_value(&[index]);
                require(
                    (told - seen).abs() < 1e-2 * seen.abs() + 1e-3,
                    format!(
                        "with {}, the derivative by element {index} of `{}` is {seen:.5}",
                        made.shown, parameter.name
                    ),
                    format!("a gradient of {told:.5}"),
                )?;
            }
        }
    }
    Ok(())
}

fn same_seed(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let (first, second) = (attached(&made, 7)?, attached(&made, 7)?);
        for epoch in [0, LATE] {
            let weights = first.gate.weights(epoch);
            let alike = same(&weights, &second.gate.weights(epoch)) && same(&weights, &first.gate.weights(epoch));
            require(alike, format!("with {}, the same weights in epoch {epoch}", made.shown), "others")?;
        }
    }
    Ok(())
}

fn save_and_load(subject: &Subject) -> Kept {
    for made in subject.examples::<Boxed>()? {
        let trained = attached(&made, 1)?;
        disturb(&trained, 3, 0.5);
        let mut checkpoint = Checkpoint::default();
        checkpoint.take_parameters(&trained.parameters);
        let folder = workbench::folder()?;
        works(checkpoint.write(folder.path()), "a checkpoint is written")?;
        let loaded = attached(&made, 2)?;
        let stored = Checkpoint::newest(folder.path()).0.ok_or_else(|| broken("a checkpoint", "there is none"))?;
        stored
            .restore_parameters(&loaded.parameters)
            .map_err(|why| broken("the tensors do not depend on the seed in name and shape", why))?;
        let (kept, found) = (trained.gate.weights(LATE), loaded.gate.weights(LATE));
        let what = "what the weights depend on is a tensor of `build`, and is read when they are asked for";
        require(same(&kept, &found), what, "other weights after loading")?;
        require(trained.gate.decide() == loaded.gate.decide(), what, "another decision after loading")?;
    }
    Ok(())
}

fn early_exit(subject: &Subject) -> Kept {
    const SHAPE: [i64; 3] = [4, 12, 5];
    let logits = Stream::open(6, "conformance/logits", 0).normal(&SHAPE) * 3.0;
    for made in subject.examples::<Boxed>()? {
        let Some(exit) = made.plugin.early_exit() else { continue };
        let thresholds = exit.thresholds();
        let usable = !thresholds.is_empty() && thresholds.iter().all(|threshold| threshold.is_finite());
        require(usable, format!("with {}, finite thresholds, one or more", made.shown), format!("{thresholds:?}"))?;
        for &threshold in thresholds.iter().chain([&exit.threshold()]) {
            let what = format!("with {}, at threshold {threshold}", made.shown);
            let all = exit.stops(&logits, threshold);
            let found = format!("{:?} {:?}", all.kind(), all.size());
            require(
                all.kind() == Element::Bool && all.size() == SHAPE[..2],
                format!("{what}, booleans [T, B]"),
                found,
            )?;
            for count in 1..=SHAPE[0] {
                let early = exit.stops(&logits.narrow(0, 0, count), threshold);
                let alike = same(&early, &all.narrow(0, 0, count));
                require(
                    alike,
                    format!("{what}, the same answers without later timesteps"),
                    format!("others at {count}"),
                )?;
            }
            for image in 0..SHAPE[1] {
                let alone = exit.stops(&logits.narrow(1, image, 1), threshold);
                let alike = same(&alone, &all.narrow(1, image, 1));
                require(
                    alike,
                    format!("{what}, the same answers without other images"),
                    format!("others for {image}"),
                )?;
            }
        }
    }
    Ok(())
}

fn search(subject: &Subject) -> Kept {
    let spaces = subject.spaces()?;
    subject.beside::<Box<dyn Optimizer>>(Kind::Optimizer)?;
    let made = subject.examples::<Boxed>()?.remove(0);
    let pairs =
        subject.others(Kind::Optimizer).flat_map(|optimizer| spaces.iter().map(move |space| (optimizer, space)));
    for (optimizer, space) in pairs {
        let optimizer = first_of::<Box<dyn Optimizer>>(optimizer)?;
        if optimizer.plugin.needs_paths() && !space.plugin.runs_paths() {
            continue;
        }
        let sections = workbench::Sections {
            space: space.named(),
            compressor: Vec::new(),
            timesteps: made.named(),
            optimizer: optimizer.named(),
        };
        let folder = workbench::folder()?;
        let what =
            format!("a trial with {} and the optimizer `{}` in `{}` runs", made.shown, optimizer.name, space.name);
        let ran = works(workbench::trial(&sections, 0, Extent::SHORT, folder.path()), what)?;
        let (found, max) = (ran.design.timesteps, made.plugin.max());
        require((1..=max).contains(&found), format!("a design of 1 to {max} timesteps"), found.to_string())?;
    }
    Ok(())
}

fn extremes(subject: &Subject) -> Kept {
    for (setting, made) in subject.extremes::<Boxed>()? {
        let tried = guarded(|| {
            let max = made.plugin.max();
            require(max >= 1, format!("{setting} allows one timestep or more"), format!("max() is {max}"))?;
            let attached = match attach(&made, 1) {
                Ok(attached) => attached,
                Err(error) => return clear(&setting, &error.to_string()),
            };
            for epoch in [0, 1, LATE] {
                distribution(&attached, max, epoch, &setting)?;
            }
            let decided = attached.gate.decide();
            require((1..=max).contains(&decided), format!("{setting}: 1 to {max} timesteps"), decided.to_string())
        });
        tried.map_err(|panic| broken(format!("{setting} works or is refused"), format!("it panicked: {panic}")))??;
    }
    Ok(())
}
