//! Gradient descent with a state that can be kept in a checkpoint (tch's own optimizers cannot hand
//! theirs out).

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::average::Average;
use super::multi_tensor::{self, Moved};
use crate::ground::{Parameters, Role};
use crate::spiking::changed;
use crate::spiking::parallel::{Pointer, for_blocks, simd};

/// The update rule, as in PyTorch. Weight decay leaves parameters alone that were created without.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Algorithm {
    /// v = momentum · v + g; p -= rate · v
    Sgd {
        /// Momentum.
        momentum: f64,
        /// L2 penalty.
        weight_decay: f64,
    },
    /// Adam with betas (0.9, 0.999), epsilon 1e-8.
    Adam {
        /// L2 penalty.
        weight_decay: f64,
    },
    /// AdamW: Adam after p -= rate · weight decay · p, with the same betas and epsilon.
    AdamW {
        /// The share of a parameter that a step takes, in units of the rate.
        weight_decay: f64,
    },
}

/// The learning rate over a stage's epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// The same throughout.
    Constant(f64),
    /// end + (start - end) (1 + cos(pi · epoch / epochs)) / 2, epoch from 0.
    Cosine {
        /// At the first epoch.
        start: f64,
        /// After the last.
        end: f64,
    },
    /// start (epoch + 1) / (warmup + 1) in the first epochs, and the cosine over those that are left.
    WarmCosine {
        /// Epochs before the cosine; a stage of no more epochs has one less than it has.
        warmup: usize,
        /// At the first epoch of the cosine.
        start: f64,
        /// After the last.
        end: f64,
    },
}

impl Rate {
    /// The rate in `epoch` (from 0) of `epochs`.
    pub fn at(self, epoch: usize, epochs: usize) -> f64 {
        match self {
            Rate::Constant(rate) => rate,
            Rate::Cosine { start, end } => {
                let turn = std::f64::consts::PI * epoch as f64 / epochs.max(1) as f64;
                end + (start - end) * (1.0 + turn.cos()) / 2.0
            }
            Rate::WarmCosine { warmup, start, end } => {
                let warmup = warmup.min(epochs.saturating_sub(1));
                match epoch.checked_sub(warmup) {
                    None => start * (epoch + 1) as f64 / (warmup + 1) as f64,
                    Some(epoch) => Rate::Cosine { start, end }.at(epoch, epochs - warmup),
                }
            }
        }
    }
}

impl Algorithm {
    /// The state of a parameter before its first step: a velocity; or two moments and the number of
    /// steps, which stays on the CPU.
    fn state(self, parameter: &Tensor, by_kernels: bool) -> Vec<Tensor> {
        match self {
            Algorithm::Sgd { .. } => vec![parameter.zeros_like()],
            Algorithm::Adam { .. } | Algorithm::AdamW { .. } => {
                let steps = steps_beside(parameter, &Tensor::zeros([1], (Kind::Double, Device::Cpu)), by_kernels);
                vec![parameter.zeros_like(), parameter.zeros_like(), steps]
            }
        }
    }

    /// Tensors of a parameter's state.
    fn slots(self) -> usize {
        match self {
            Algorithm::Sgd { .. } => 1,
            Algorithm::Adam { .. } | Algorithm::AdamW { .. } => 3,
        }
    }

    /// Those that are as large as the parameter.
    pub(super) fn moments(self) -> usize {
        self.slots().min(2)
    }

    /// The same without weight decay.
    fn without_decay(self) -> Algorithm {
        match self {
            Algorithm::Sgd { momentum, .. } => Algorithm::Sgd { momentum, weight_decay: 0.0 },
            Algorithm::Adam { .. } => Algorithm::Adam { weight_decay: 0.0 },
            Algorithm::AdamW { .. } => Algorithm::AdamW { weight_decay: 0.0 },
        }
    }
}

/// Descends all parameters of some roles by one rule.
pub struct Descent {
    name: String,
    algorithm: Algorithm,
    schedule: Rate,
    rate: f64,
    parameters: Vec<Descended>,
    average: Option<Average>,
    state: BTreeMap<String, Vec<Tensor>>,
    /// Whether kernels of this program make the steps, and not operations of libtorch.
    by_kernels: bool,
    held: bool,
}

/// A parameter that a descent moves.
struct Descended {
    name: String,
    tensor: Tensor,
    /// Whether weight decay acts on it.
    decays: bool,
}

impl Descent {
    /// Descends the tensors of `roles` in `parameters`. `name` tells it apart in the checkpoint.
    pub fn new(name: &str, parameters: &Parameters, roles: &[Role], algorithm: Algorithm, schedule: Rate) -> Descent {
        let descended = parameters.of(roles).map(|parameter| Descended {
            name: parameter.name.clone(),
            tensor: parameter.tensor.shallow_clone(),
            decays: parameter.decays,
        });
        let parameters: Vec<Descended> = descended.collect();
        let walks =
            |tensor: &Tensor| tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous();
        Descent {
            name: name.to_owned(),
            algorithm,
            schedule,
            rate: schedule.at(0, 1),
            by_kernels: parameters.iter().all(|parameter| walks(&parameter.tensor)),
            parameters,
            average: None,
            state: BTreeMap::new(),
            held: false,
        }
    }

    /// Averages what it moves and the running statistics among `parameters` over its steps, with
    /// this decay; 0 for no average. What is measured after an epoch, and what a stage leaves, are
    /// the averages.
    pub fn averaged(mut self, decay: f64, parameters: &Parameters) -> Descent {
        let moved = self.parameters.iter().map(|parameter| (parameter.name.as_str(), &parameter.tensor));
        self.average = (decay > 0.0).then(|| Average::new(decay, moved.chain(parameters.statistics())));
        self
    }

    /// The averages of what it moves, if there are any.
    pub(super) fn average(&mut self) -> Option<&mut Average> {
        self.average.as_mut()
    }

    /// The tensors that it moves.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.parameters.iter().map(|parameter| &parameter.tensor)
    }

    /// Sets the rate for an epoch (from 0) of a stage.
    pub fn begin_epoch(&mut self, epoch: usize, epochs: usize) {
        self.rate = self.schedule.at(epoch, epochs);
    }

    /// The current learning rate.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Makes steps move nothing from here on, so that a step can be looked at.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// One step along the gradients there are; a parameter without gradient stays.
    pub fn step(&mut self) {
        if self.held {
            return;
        }
        tch::no_grad(|| {
            for (decays, algorithm) in [(true, self.algorithm), (false, self.algorithm.without_decay())] {
                let (moved, counts) = self.moved(decays);
                self.step_by(algorithm, &moved, counts);
            }
            self.average.iter().for_each(Average::update);
        });
    }

    fn step_by(&self, algorithm: Algorithm, moved: &Moved, counts: Vec<Tensor>) {
        match algorithm {
            Algorithm::Sgd { momentum, weight_decay } => self.step_by_sgd(moved, momentum, weight_decay),
            Algorithm::Adam { weight_decay } => self.step_by_adam(moved, counts, weight_decay, false),
            Algorithm::AdamW { weight_decay } => self.step_by_adam(moved, counts, weight_decay, true),
        }
    }

    fn step_by_sgd(&self, moved: &Moved, momentum: f64, weight_decay: f64) {
        if !self.by_kernels {
            return multi_tensor::sgd(moved, self.rate, momentum, weight_decay);
        }
        let Moved { parameters, gradients, first, .. } = moved;
        for (tensor, (gradient, velocity)) in parameters.iter().zip(gradients.iter().zip(first)) {
            sgd(tensor, gradient, velocity, [self.rate, momentum, weight_decay]);
            changed(tensor);
        }
    }

    /// By Adam, or by AdamW if the decay is `decoupled` from the gradient.
    fn step_by_adam(&self, moved: &Moved, mut counts: Vec<Tensor>, weight_decay: f64, decoupled: bool) {
        if !self.by_kernels {
            // On the device, so that a graph of the step counts as well.
            multi_tensor::count(&counts);
            let numbers =
                multi_tensor::Adam { rate: self.rate, betas: BETAS, weight_decay, epsilon: EPSILON, decoupled };
            return multi_tensor::adam(moved, &counts, numbers);
        }
        let (decay, kept) = if decoupled { (0.0, 1.0 - self.rate * weight_decay) } else { (weight_decay, 1.0) };
        let Moved { parameters, gradients, first, second } = moved;
        for (index, count) in counts.iter_mut().enumerate() {
            let count = count.g_add_scalar_(1.0).double_value(&[0]);
            let step = self.rate / (1.0 - BETAS.0.powf(count));
            let correction = (1.0 - BETAS.1.powf(count)).sqrt();
            let moments = [&first[index], &second[index]];
            adam(&parameters[index], &gradients[index], moments, BETAS, [step, correction, decay, kept]);
            changed(&parameters[index]);
        }
    }

    /// The parameters with a gradient that weight decay acts on, or those that it does not act on,
    /// and the third slot of each one's state, where there is one.
    fn moved(&mut self, decays: bool) -> (Moved, Vec<Tensor>) {
        let (mut moved, mut counts) = (Moved::default(), Vec::new());
        for Descended { name, tensor, .. } in self.parameters.iter().filter(|parameter| parameter.decays == decays) {
            let gradient = tensor.grad();
            if !gradient.defined() {
                continue;
            }
            let state = self.state.entry(name.clone()).or_insert_with(|| self.algorithm.state(tensor, self.by_kernels));
            moved.parameters.push(tensor.shallow_clone());
            moved.gradients.push(laid_out_as(tensor, gradient));
            moved.first.push(state[0].shallow_clone());
            moved.second.extend(state.get(1).map(Tensor::shallow_clone));
            counts.extend(state.get(2).map(Tensor::shallow_clone));
        }
        (moved, counts)
    }

    /// Sets the state of a tensor, if it is moved here, to zero where `entries` has ones: momentum and
    /// moments of what begins anew.
    pub(super) fn forget(&mut self, tensor: &Tensor, entries: &Tensor) {
        let own = self.parameters.iter().find(|own| own.tensor.data_ptr() == tensor.data_ptr());
        let Some(state) = own.and_then(|own| self.state.get(&own.name)) else { return };
        let entries = entries.to_kind(Kind::Bool);
        // Adam's number of steps has no entries.
        for slot in state.iter().filter(|slot| slot.size() == tensor.size()) {
            tch::no_grad(|| {
                let _ = slot.shallow_clone().masked_fill_(&entries, 0.0);
            });
        }
    }

    /// The state by name, for a checkpoint.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let moments = self.state.iter().flat_map(move |(parameter, tensors)| {
            tensors.iter().enumerate().map(move |(slot, tensor)| (format!("{}/{slot}/{parameter}", self.name), tensor))
        });
        moments.chain(self.average.iter().flat_map(|average| average.state(&self.name)))
    }

    /// Takes the state back from a checkpoint.
    pub fn restore(&mut self, stored: &BTreeMap<String, Tensor>) {
        if let Some(average) = &mut self.average {
            average.restore(&self.name, stored);
        }
        self.state.clear();
        let slots = self.algorithm.slots();
        for Descended { name: parameter, tensor, .. } in &self.parameters {
            let found: Vec<Tensor> = (0..slots)
                .filter_map(|slot| stored.get(&format!("{}/{slot}/{parameter}", self.name)))
                .enumerate()
                .map(|(slot, value)| match slot {
                    2 => steps_beside(tensor, value, self.by_kernels),
                    _ => laid_out_as(tensor, value.to_device(tensor.device()).copy()),
                })
                .collect();
            if found.len() == slots {
                self.state.insert(parameter.clone(), found);
            }
        }
    }
}

/// Adam's number of steps of a parameter: for kernels a number of the host, for libtorch an f32 scalar
/// beside the parameter.
fn steps_beside(parameter: &Tensor, steps: &Tensor, by_kernels: bool) -> Tensor {
    match by_kernels {
        true => steps.to_device(Device::Cpu).to_kind(Kind::Double).reshape([1]).copy(),
        false => steps.to_kind(Kind::Float).to_device(parameter.device()).reshape([] as [i64; 0]).copy(),
    }
}

/// `value` with its numbers in the order in memory that `tensor` has them in.
fn laid_out_as(tensor: &Tensor, value: Tensor) -> Tensor {
    let (size, wanted, found) = (tensor.size(), tensor.stride(), value.stride());
    if size.iter().zip(wanted.iter().zip(&found)).all(|(side, (wanted, found))| *side == 1 || wanted == found) {
        return value;
    }
    let mut laid_out = tensor.empty_like();
    laid_out.copy_(&value);
    laid_out
}

/// Adam's decay of both moments.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// One step of SGD in one pass over memory; `numbers` are rate, momentum and weight decay.
fn sgd(tensor: &Tensor, gradient: &Tensor, velocity: &Tensor, numbers: [f64; 3]) {
    let [p, g, v] = [tensor, gradient, velocity].map(Pointer::of);
    let [rate, momentum, decay] = numbers.map(|number| number as f32);
    for_blocks(tensor.numel(), |begin, end| {
        // SAFETY: all have as many values; blocks do not overlap.
        unsafe { sgd_block(p.get(), g.get(), v.get(), begin, end, rate, momentum, decay) };
    });
}

/// One step of Adam in one pass over memory; `numbers` are step, correction of the second moment's
/// root, weight decay in the gradient, and what decay beside it leaves of the parameter.
fn adam(tensor: &Tensor, gradient: &Tensor, moments: [&Tensor; 2], betas: (f64, f64), numbers: [f64; 4]) {
    let [p, g, m, v] = [tensor, gradient, moments[0], moments[1]].map(Pointer::of);
    let numbers = numbers.map(|number| number as f32);
    let decays = [betas.0, 1.0 - betas.0, betas.1, 1.0 - betas.1].map(|number| number as f32);
    for_blocks(tensor.numel(), |begin, end| {
        // SAFETY: as above.
        unsafe { adam_block(p.get(), g.get(), m.get(), v.get(), begin, end, decays, numbers) };
    });
}

simd! {
    #[allow(clippy::too_many_arguments)]
    unsafe fn sgd_block(
        p: *mut f32, g: *const f32, v: *mut f32, begin: usize, end: usize, rate: f32, momentum: f32, decay: f32,
    ) {
        let length = end - begin;
        let p = std::slice::from_raw_parts_mut(p.add(begin), length);
        let g = std::slice::from_raw_parts(g.add(begin), length);
        let v = std::slice::from_raw_parts_mut(v.add(begin), length);
        for i in 0..length {
            v[i] = momentum * v[i] + (g[i] + p[i] * decay);
            p[i] -= v[i] * rate;
        }
    }
}

simd! {
    #[allow(clippy::too_many_arguments)]
    unsafe fn adam_block(
        p: *mut f32, g: *const f32, m: *mut f32, v: *mut f32, begin: usize, end: usize, decays: [f32; 4], numbers: [f32; 4],
    ) {
        let length = end - begin;
        let p = std::slice::from_raw_parts_mut(p.add(begin), length);
        let g = std::slice::from_raw_parts(g.add(begin), length);
        let m = std::slice::from_raw_parts_mut(m.add(begin), length);
        let v = std::slice::from_raw_parts_mut(v.add(begin), length);
        let [step, correction, decay, kept] = numbers;
        for i in 0..length {
            let gradient = g[i] + p[i] * decay;
            m[i] = m[i] * decays[0] + gradient * decays[1];
            v[i] = v[i] * decays[2] + gradient * gradient * decays[3];
            p[i] = p[i] * kept - m[i] / (v[i].sqrt() / correction + EPSILON as f32) * step;
        }
    }
}

/// Scales the gradients of `tensors` so that their common L2 norm is at most `limit`.
pub fn clip_gradients<'a>(tensors: impl Iterator<Item = &'a Tensor>, limit: f64) {
    tch::no_grad(|| {
        let gradients: Vec<Tensor> = tensors.map(Tensor::grad).filter(Tensor::defined).collect();
        if gradients.is_empty() {
            return;
        }
        let norms = multi_tensor::norms(&gradients);
        // As PyTorch's clip_grad_norm_, and without reading the norm back from the device.
        let factor = (Tensor::stack(&norms, 0).norm() + 1e-6).reciprocal() * limit;
        multi_tensor::scale(&gradients, &factor.clamp_max(1.0));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::{Build, Stream};
    use crate::spiking::version;

    fn descend(algorithm: Algorithm, steps: usize) -> Vec<f64> {
        let mut parameters = Parameters::default();
        let p =
            Build::new(&mut parameters, 0, Device::Cpu).parameter("p", Role::Weight, |_| Tensor::from_slice(&[1.0f32]));
        let mut descent = Descent::new("w", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.1));
        (0..steps)
            .map(|_| {
                parameters.zero_grad();
                p.square().sum(Kind::Float).backward();
                descent.step();
                p.double_value(&[0])
            })
            .collect()
    }

    #[test]
    fn sgd_with_momentum_follows_the_hand_computed_path() {
        // g1 = 2 + 0.1 = 2.1, p = 0.79; g2 = 1.58 + 0.079 = 1.659, v = 0.9 * 2.1 + 1.659 = 3.549, p
        // = 0.4351
        let path = descend(Algorithm::Sgd { momentum: 0.9, weight_decay: 0.1 }, 2);
        assert!((path[0] - 0.79).abs() < 1e-6 && (path[1] - 0.4351).abs() < 1e-6, "{path:?}");
    }

    #[test]
    fn the_first_steps_of_adam_are_as_long_as_the_rate() {
        let path = descend(Algorithm::Adam { weight_decay: 0.0 }, 2);
        assert!((path[0] - 0.9).abs() < 1e-6 && (path[1] - 0.8).abs() < 1e-3, "{path:?}");
    }

    /// Written out in f64, as PyTorch's documentation of both algorithms has it; by the kernels of
    /// the CPU, and by the operations over all parameters that a GPU has.
    #[test]
    fn many_values_step_as_the_formulas_say() {
        let rules = [
            Algorithm::Sgd { momentum: 0.9, weight_decay: 0.1 },
            Algorithm::Sgd { momentum: 0.0, weight_decay: 0.1 },
            Algorithm::Adam { weight_decay: 0.1 },
            Algorithm::AdamW { weight_decay: 0.1 },
        ];
        for (algorithm, by_kernels) in rules.into_iter().flat_map(|rule| [(rule, true), (rule, false)]) {
            let start = Stream::numbered(1).normal(&[37, 91]);
            let mut parameters = Parameters::default();
            let p = Build::new(&mut parameters, 0, Device::Cpu).parameter("p", Role::Weight, |_| start.copy());
            let mut descent = Descent::new("w", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.01));
            assert!(descent.by_kernels);
            descent.by_kernels = by_kernels;
            let before = version(&p);
            let mut want = start.to_kind(Kind::Double);
            let (mut first, mut second) = (want.zeros_like(), want.zeros_like());
            for step in 1..=4 {
                parameters.zero_grad();
                p.square().sum(Kind::Float).backward();
                descent.step();
                let gradient = match algorithm {
                    Algorithm::AdamW { .. } => &want * 2.0,
                    _ => &want * 2.1,
                };
                match algorithm {
                    Algorithm::Sgd { momentum, .. } => {
                        first = &first * momentum + gradient;
                        want -= &first * 0.01;
                    }
                    Algorithm::Adam { .. } | Algorithm::AdamW { .. } => {
                        if matches!(algorithm, Algorithm::AdamW { .. }) {
                            want *= 1.0 - 0.01 * 0.1;
                        }
                        first = &first * 0.9 + &gradient * 0.1;
                        second = &second * 0.999 + gradient.square() * 0.001;
                        let corrected = |moment: &Tensor, beta: f64| moment / (1.0 - beta.powi(step));
                        want -= corrected(&first, 0.9) / (corrected(&second, 0.999).sqrt() + 1e-8) * 0.01;
                    }
                }
            }
            let error = (p.to_kind(Kind::Double) - want).abs().max().double_value(&[]);
            assert!(error < 1e-5, "{algorithm:?}, kernels {by_kernels}: {error}");
            assert_ne!(version(&p), before, "what was made from the values before is not valid any more");
        }
    }

    /// Three parameters, one without gradient in some steps, in one operation: as one by one.
    #[test]
    fn parameters_step_together_as_each_would_alone() {
        let rules = [
            Algorithm::Sgd { momentum: 0.9, weight_decay: 0.1 },
            Algorithm::Adam { weight_decay: 0.1 },
            Algorithm::AdamW { weight_decay: 0.1 },
        ];
        for algorithm in rules {
            let run = |by_kernels: bool, resume: bool| {
                let mut parameters = Parameters::default();
                let mut build = Build::new(&mut parameters, 7, Device::Cpu);
                let all =
                    ["a", "b", "c"].map(|name| build.parameter(name, Role::Weight, |stream| stream.normal(&[3, 5])));
                let begin = || {
                    let mut descent = Descent::new("w", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.01));
                    descent.by_kernels = by_kernels;
                    descent.averaged(0.7, &parameters)
                };
                let mut descent = begin();
                for step in 0..5 {
                    parameters.zero_grad();
                    let of = |index: usize| all[index].square().sum(Kind::Float) * (index as f64 + 1.0);
                    let loss = if step % 2 == 0 { of(0) + of(1) + of(2) } else { of(0) + of(2) };
                    loss.backward();
                    let before = all[1].copy();
                    descent.step();
                    assert_eq!(all[1].equal(&before), step % 2 == 1, "a parameter without gradient stays");
                    if resume && step == 2 {
                        let stored = descent.state().map(|(name, tensor)| (name, tensor.copy())).collect();
                        descent = begin();
                        descent.restore(&stored);
                    }
                }
                let values = Tensor::cat(&all, 0).detach();
                descent.average().unwrap().put_in();
                let averages = Tensor::cat(&all, 0).detach();
                assert!(!averages.equal(&values));
                descent.average().unwrap().take_out();
                assert!(Tensor::cat(&all, 0).equal(&values));
                Tensor::cat(&[values, averages], 0)
            };
            let alone = run(true, false);
            let together = run(false, false);
            let apart = (&alone - &together).abs().max().double_value(&[]);
            assert!(apart < 1e-6, "{algorithm:?}: {apart}");
            assert!(run(false, true).equal(&together), "{algorithm:?}: resumed to the bit");
            assert!(run(true, true).equal(&alone), "{algorithm:?}: resumed to the bit");
        }
    }

    #[test]
    fn weight_decay_leaves_parameters_without_it_alone() {
        let rules = [
            Algorithm::Sgd { momentum: 0.9, weight_decay: 0.5 },
            Algorithm::Adam { weight_decay: 0.5 },
            Algorithm::AdamW { weight_decay: 0.5 },
        ];
        for (algorithm, by_kernels) in rules.into_iter().flat_map(|rule| [(rule, true), (rule, false)]) {
            let run = |algorithm: Algorithm, decays: bool| {
                let mut parameters = Parameters::default();
                let mut build = Build::new(&mut parameters, 0, Device::Cpu);
                let init = |_: &mut crate::ground::Stream| Tensor::from_slice(&[1.0f32, -2.0]);
                let other = build.parameter("other", Role::Weight, init);
                let p = match decays {
                    true => build.parameter("p", Role::Weight, init),
                    false => build.parameter_without_decay("p", Role::Weight, init),
                };
                let mut descent = Descent::new("w", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.1));
                descent.by_kernels = by_kernels;
                for _ in 0..3 {
                    parameters.zero_grad();
                    (p.square() + other.square()).sum(Kind::Float).backward();
                    descent.step();
                }
                (p.detach(), other.detach())
            };
            let (kept, other) = run(algorithm, false);
            let (decayed, same) = run(algorithm, true);
            assert!(other.equal(&same) && !kept.equal(&decayed), "{algorithm:?}, kernels {by_kernels}");
            assert!(kept.equal(&run(algorithm.without_decay(), true).0), "{algorithm:?}, kernels {by_kernels}");
        }
    }

    /// m(n) = d^n w(0) + (1 - d) · sum over k of d^(n-k) w(k), of weights and of running statistics
    /// alone.
    #[test]
    fn an_average_has_its_closed_form() {
        let mut parameters = Parameters::default();
        let mut build = Build::new(&mut parameters, 0, Device::Cpu);
        let p = build.parameter("p", Role::Weight, |_| Tensor::from_slice(&[1.0f32]));
        let statistic = build.statistic("running", Tensor::from_slice(&[5.0f32]));
        let counter = build.buffer("counter", Tensor::from_slice(&[5.0f32]));
        let sgd = Algorithm::Sgd { momentum: 0.0, weight_decay: 0.0 };
        const DECAY: f64 = 0.8;
        let descent = Descent::new("w", &parameters, &[Role::Weight], sgd, Rate::Constant(0.1));
        let mut descent = descent.averaged(DECAY, &parameters);
        for step in 1..=4 {
            // w = 0.8^n, and the statistic is 5 + n.
            parameters.zero_grad();
            p.square().sum(Kind::Float).backward();
            tch::no_grad(|| [&statistic, &counter].map(|it| drop(it.shallow_clone().fill_(5.0 + f64::from(step)))));
            descent.step();
        }
        let closed = |value: &dyn Fn(i32) -> f64| {
            let sum: f64 = (1..=4).map(|k| DECAY.powi(4 - k) * value(k)).sum();
            DECAY.powi(4) * value(0) + (1.0 - DECAY) * sum
        };
        let values = || [&p, &statistic, &counter].map(|tensor| tensor.double_value(&[0]));
        let [w, ..] = values();
        assert!((w - 0.8f64.powi(4)).abs() < 1e-6);
        descent.average().unwrap().put_in();
        let [averaged, of_statistic, of_counter] = values();
        assert!((averaged - closed(&|k| 0.8f64.powi(k))).abs() < 1e-6, "{averaged}");
        assert!((of_statistic - closed(&|k| 5.0 + f64::from(k))).abs() < 1e-5, "{of_statistic}");
        assert_eq!(of_counter, 9.0);
        descent.average().unwrap().take_out();
        assert_eq!(values(), [w, 9.0, 9.0]);
        assert!(descent.averaged(0.0, &parameters).average().is_none());
    }

    #[test]
    fn a_warm_up_rises_in_equal_steps_to_the_start_of_the_cosine() {
        let rate = Rate::WarmCosine { warmup: 3, start: 0.4, end: 0.1 };
        let want = [0.1, 0.2, 0.3, 0.4, 0.325, 0.175];
        for (epoch, want) in want.into_iter().enumerate() {
            // The cosine of 3 epochs: 0.25 + 0.15 · (1, 1/2, -1/2).
            assert!((rate.at(epoch, 6) - want).abs() < 1e-12, "epoch {epoch}");
        }
        assert!((rate.at(6, 6) - 0.1).abs() < 1e-12);
        // A stage of two epochs has one of warm-up.
        assert_eq!([0, 1].map(|epoch| rate.at(epoch, 2)), [0.2, 0.4]);
        assert_eq!(rate.at(0, 1), 0.4);
    }

    #[test]
    fn the_cosine_schedule_goes_from_start_to_end() {
        let rate = Rate::Cosine { start: 0.1, end: 0.001 };
        assert_eq!(rate.at(0, 10), 0.1);
        assert!((rate.at(5, 10) - 0.0505).abs() < 1e-12);
        assert!((rate.at(10, 10) - 0.001).abs() < 1e-12);
    }

    #[test]
    fn clipping_bounds_the_common_norm_and_leaves_small_gradients() {
        let a = Tensor::from_slice(&[0f32]).set_requires_grad(true);
        let b = Tensor::from_slice(&[0f32]).set_requires_grad(true);
        (&a * 3.0 + &b * 4.0).sum(Kind::Float).backward();
        clip_gradients([&a, &b].into_iter(), 10.0);
        assert!((a.grad().double_value(&[0]) - 3.0).abs() < 1e-5);
        clip_gradients([&a, &b].into_iter(), 1.0);
        assert!((a.grad().double_value(&[0]) - 0.6).abs() < 1e-5 && (b.grad().double_value(&[0]) - 0.8).abs() < 1e-5);
    }
}
