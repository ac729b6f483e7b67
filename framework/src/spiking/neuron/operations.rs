//! Neurons of any form by tensor operations, as one autograd node over all timesteps.

use tch::{Kind, Tensor};

use super::super::function::custom_function;
use super::settings::Reset;
use super::surrogate::Surrogate;

/// A form of neurons, without its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Dynamics {
    /// Whether the input is scaled by 1 - lambda.
    pub(in super::super) scaled_input: bool,
    pub(in super::super) reset: Reset,
    /// Whether no gradient passes through the reset.
    pub(in super::super) detached: bool,
    pub(in super::super) surrogate: Surrogate,
}

/// A number of a layer of neurons.
#[derive(Debug)]
pub(in super::super) enum Number {
    Fixed(f64),
    /// A tensor `[1]` with its gradient.
    Learned(Tensor),
}

impl Number {
    /// The value; none where it is learned.
    fn fixed(&self) -> Option<f64> {
        match self {
            Number::Fixed(value) => Some(*value),
            Number::Learned(_) => None,
        }
    }

    fn learned(&self) -> Option<&Tensor> {
        match self {
            Number::Fixed(_) => None,
            Number::Learned(tensor) => Some(tensor),
        }
    }

    fn times(&self, x: &Tensor) -> Tensor {
        match self {
            Number::Fixed(value) => x * *value,
            Number::Learned(tensor) => x * tensor,
        }
    }

    /// x - self
    fn from(&self, x: &Tensor) -> Tensor {
        match self {
            Number::Fixed(value) => x - *value,
            Number::Learned(tensor) => x - tensor,
        }
    }

    /// Where x is more, as 1 and 0.
    fn below(&self, x: &Tensor) -> Tensor {
        match self {
            Number::Fixed(value) => x.gt(*value),
            Number::Learned(tensor) => x.gt_tensor(tensor),
        }
        .to_kind(x.kind())
    }

    fn complement(&self) -> Number {
        match self {
            Number::Fixed(value) => Number::Fixed(1.0 - value),
            Number::Learned(tensor) => Number::Learned(1.0 - tensor),
        }
    }
}

/// Spikes `[T, ...]` of currents `[T, ...]`, or `[...]` where they are `constant`, in the type of the
/// currents. Potentials are computed in f32 or f64.
pub(in super::super) fn spikes(
    dynamics: Dynamics,
    [decay, threshold]: [&Number; 2],
    current: &Tensor,
    timesteps: i64,
    constant: bool,
) -> Tensor {
    let kind = if current.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let fixed = [decay, threshold].map(Number::fixed);
    let layer = move |kept: &[Tensor]| {
        let mut learned = kept[1..].iter();
        let [decay, threshold] = fixed.map(|fixed| match fixed {
            Some(value) => Number::Fixed(value),
            None => Number::Learned(learned.next().expect("what is learned is kept").to_kind(kind)),
        });
        let scale = dynamics.scaled_input.then(|| decay.complement());
        Layer { dynamics, decay, threshold, scale, x: kept[0].to_kind(kind), timesteps, constant }
    };
    let learned = [decay, threshold].into_iter().filter_map(Number::learned);
    let inputs: Vec<&Tensor> = std::iter::once(current).chain(learned).collect();
    let forward = || {
        let kept: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
        (vec![Tensor::stack(&layer(&kept).run().spikes, 0).to_kind(current.kind())], kept)
    };
    let backward = move |gradients: &[Tensor], kept: &[Tensor]| {
        let found = layer(kept).backward(&gradients[0].to_kind(kind));
        let as_kept = |(gradient, kept): (Tensor, &Tensor)| Some(gradient.to_kind(kept.kind()));
        found.into_iter().zip(kept).map(as_kept).collect()
    };
    custom_function(&inputs, forward, backward).pop().expect("one output was given")
}

/// A layer of neurons and its currents.
struct Layer {
    dynamics: Dynamics,
    decay: Number,
    threshold: Number,
    /// kappa, where it is not 1.
    scale: Option<Number>,
    x: Tensor,
    timesteps: i64,
    constant: bool,
}

/// What neurons did, by timestep.
#[derive(Default)]
struct Run {
    potentials: Vec<Tensor>,
    spikes: Vec<Tensor>,
    /// What the reset left; of all but the last timestep.
    left: Vec<Tensor>,
}

impl Layer {
    fn current(&self, step: i64) -> Tensor {
        if self.constant { self.x.shallow_clone() } else { self.x.get(step) }
    }

    fn scaled(&self, x: Tensor) -> Tensor {
        match &self.scale {
            Some(scale) => scale.times(&x),
            None => x,
        }
    }

    fn run(&self) -> Run {
        let mut run = Run::default();
        for step in 0..self.timesteps {
            let input = self.scaled(self.current(step));
            let potential = match run.left.last() {
                Some(left) => self.decay.times(left) + input,
                None => input,
            };
            let spike = self.threshold.below(&potential);
            if step + 1 < self.timesteps {
                run.left.push(match self.dynamics.reset {
                    Reset::Hard => &potential * (1.0 - &spike),
                    Reset::Soft => &potential - self.threshold.times(&spike),
                });
            }
            run.potentials.push(potential);
            run.spikes.push(spike);
        }
        run
    }

    /// The gradients to the currents, and to decay and threshold where they are learned, from
    /// `upstream`, that to the spikes.
    fn backward(&self, upstream: &Tensor) -> Vec<Tensor> {
        let Run { potentials, spikes, left } = self.run();
        let Dynamics { reset, detached, surrogate, .. } = self.dynamics;
        let mut to_currents = Vec::new();
        let [mut to_decay, mut to_threshold] = [&self.decay, &self.threshold].map(|number| Sum::of(number.learned()));
        let mut after: Option<Tensor> = None;
        for step in (0..self.timesteps as usize).rev() {
            let (u, spike, mut to_spike) = (&potentials[step], &spikes[step], upstream.get(step as i64));
            let slope = surrogate.derivative(&self.threshold.from(u));
            let carried = after.as_ref().map(|after| self.decay.times(after));
            if let Some(carried) = carried.as_ref().filter(|_| !detached) {
                to_spike = match reset {
                    Reset::Hard => to_spike - carried * u,
                    Reset::Soft => to_spike - self.threshold.times(carried),
                };
            }
            let by_spike = to_spike * slope;
            to_threshold.subtract(|| by_spike.shallow_clone());
            let to_potential = match (carried, reset) {
                (Some(carried), Reset::Hard) => by_spike + carried * (1.0 - spike),
                (Some(carried), Reset::Soft) => {
                    to_threshold.subtract(|| &carried * spike);
                    by_spike + carried
                }
                (None, _) => by_spike,
            };
            if let Some(left) = step.checked_sub(1).map(|before| &left[before]) {
                to_decay.add(|| &to_potential * left);
            }
            if self.scale.is_some() {
                to_decay.subtract(|| &to_potential * self.current(step as i64));
            }
            to_currents.push(self.scaled(to_potential.shallow_clone()));
            after = Some(to_potential);
        }
        let to_current = match self.constant {
            true => to_currents.into_iter().reduce(|sum, next| sum + next).expect("there is a timestep"),
            false => {
                to_currents.reverse();
                Tensor::stack(&to_currents, 0)
            }
        };
        let numbers = [to_decay, to_threshold].into_iter().filter_map(|Sum(sum)| sum);
        std::iter::once(to_current).chain(numbers).collect()
    }
}

/// The gradient to a number, where it is learned: `[1]`.
struct Sum(Option<Tensor>);

impl Sum {
    fn of(learned: Option<&Tensor>) -> Sum {
        Sum(learned.map(Tensor::zeros_like))
    }

    fn add(&mut self, gradient: impl FnOnce() -> Tensor) {
        if let Some(sum) = &mut self.0 {
            *sum += gradient().sum(None::<Kind>);
        }
    }

    fn subtract(&mut self, gradient: impl FnOnce() -> Tensor) {
        if let Some(sum) = &mut self.0 {
            *sum -= gradient().sum(None::<Kind>);
        }
    }
}
