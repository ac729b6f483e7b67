//! Gradient descent with a state that can be kept in a checkpoint (tch's own optimizers cannot hand
//! theirs out).

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::multi_tensor::{self, Moved};
use crate::ground::{Parameters, Role};
use crate::spiking::changed;
use crate::spiking::parallel::{Pointer, for_blocks, simd};

/// The update rule, as in PyTorch; weight decay is an L2 term of the gradient.
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
        }
    }
}

impl Algorithm {
    /// The state of a parameter before its first step: a velocity; or two moments and the number of
    /// steps, which stays on the CPU.
    fn state(self, parameter: &Tensor, by_kernels: bool) -> Vec<Tensor> {
        match self {
            Algorithm::Sgd { .. } => vec![parameter.zeros_like()],
            Algorithm::Adam { .. } => {
                let steps = steps_beside(parameter, &Tensor::zeros([1], (Kind::Double, Device::Cpu)), by_kernels);
                vec![parameter.zeros_like(), parameter.zeros_like(), steps]
            }
        }
    }

    /// Tensors of a parameter's state.
    fn slots(self) -> usize {
        match self {
            Algorithm::Sgd { .. } => 1,
            Algorithm::Adam { .. } => 3,
        }
    }
}

/// Descends all parameters of some roles by one rule.
pub struct Descent {
    name: String,
    algorithm: Algorithm,
    schedule: Rate,
    rate: f64,
    parameters: Vec<(String, Tensor)>,
    state: BTreeMap<String, Vec<Tensor>>,
    /// Whether kernels of this program make the steps, and not operations of libtorch.
    by_kernels: bool,
    held: bool,
}

impl Descent {
    /// Descends the tensors of `roles` in `parameters`. `name` tells it apart in the checkpoint.
    pub fn new(name: &str, parameters: &Parameters, roles: &[Role], algorithm: Algorithm, schedule: Rate) -> Descent {
        let parameters: Vec<(String, Tensor)> =
            parameters.of(roles).map(|p| (p.name.clone(), p.tensor.shallow_clone())).collect();
        let walks =
            |tensor: &Tensor| tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous();
        Descent {
            name: name.to_owned(),
            algorithm,
            schedule,
            rate: schedule.at(0, 1),
            by_kernels: parameters.iter().all(|(_, tensor)| walks(tensor)),
            parameters,
            state: BTreeMap::new(),
            held: false,
        }
    }

    /// The tensors that it moves.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.parameters.iter().map(|(_, tensor)| tensor)
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
        if !self.held {
            tch::no_grad(|| match self.algorithm {
                Algorithm::Sgd { momentum, weight_decay } => self.step_by_sgd(momentum, weight_decay),
                Algorithm::Adam { weight_decay } => self.step_by_adam(weight_decay),
            });
        }
    }

    fn step_by_sgd(&mut self, momentum: f64, weight_decay: f64) {
        let (moved, _) = self.moved();
        if !self.by_kernels {
            return multi_tensor::sgd(&moved, self.rate, momentum, weight_decay);
        }
        let Moved { parameters, gradients, first, .. } = &moved;
        for (tensor, (gradient, velocity)) in parameters.iter().zip(gradients.iter().zip(first)) {
            sgd(tensor, gradient, velocity, [self.rate, momentum, weight_decay]);
            changed(tensor);
        }
    }

    fn step_by_adam(&mut self, weight_decay: f64) {
        let (moved, mut counts) = self.moved();
        if !self.by_kernels {
            // On the device, so that a graph of the step counts as well.
            multi_tensor::count(&counts);
            return multi_tensor::adam(&moved, &counts, self.rate, BETAS, weight_decay, EPSILON);
        }
        let Moved { parameters, gradients, first, second } = &moved;
        for (index, count) in counts.iter_mut().enumerate() {
            let count = count.g_add_scalar_(1.0).double_value(&[0]);
            let step = self.rate / (1.0 - BETAS.0.powf(count));
            let correction = (1.0 - BETAS.1.powf(count)).sqrt();
            let moments = [&first[index], &second[index]];
            adam(&parameters[index], &gradients[index], moments, BETAS, [step, correction, weight_decay]);
            changed(&parameters[index]);
        }
    }

    /// The parameters with a gradient, and the third slot of each one's state, where there is one.
    fn moved(&mut self) -> (Moved, Vec<Tensor>) {
        let (mut moved, mut counts) = (Moved::default(), Vec::new());
        for (name, tensor) in &self.parameters {
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

    /// The state by name, for a checkpoint.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.state.iter().flat_map(move |(parameter, tensors)| {
            tensors.iter().enumerate().map(move |(slot, tensor)| (format!("{}/{slot}/{parameter}", self.name), tensor))
        })
    }

    /// Takes the state back from a checkpoint.
    pub fn restore(&mut self, stored: &BTreeMap<String, Tensor>) {
        self.state.clear();
        let slots = self.algorithm.slots();
        for (parameter, tensor) in &self.parameters {
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
/// root and weight decay.
fn adam(tensor: &Tensor, gradient: &Tensor, moments: [&Tensor; 2], betas: (f64, f64), numbers: [f64; 3]) {
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
        p: *mut f32, g: *const f32, m: *mut f32, v: *mut f32, begin: usize, end: usize, decays: [f32; 4], numbers: [f32; 3],
    ) {
        let length = end - begin;
        let p = std::slice::from_raw_parts_mut(p.add(begin), length);
        let g = std::slice::from_raw_parts(g.add(begin), length);
        let m = std::slice::from_raw_parts_mut(m.add(begin), length);
        let v = std::slice::from_raw_parts_mut(v.add(begin), length);
        let [step, correction, decay] = numbers;
        for i in 0..length {
            let gradient = g[i] + p[i] * decay;
            m[i] = m[i] * decays[0] + gradient * decays[1];
            v[i] = v[i] * decays[2] + gradient * gradient * decays[3];
            p[i] -= m[i] / (v[i].sqrt() / correction + EPSILON as f32) * step;
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
    use crate::ground::Build;
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
        ];
        for (algorithm, by_kernels) in rules.into_iter().flat_map(|rule| [(rule, true), (rule, false)]) {
            let start = Tensor::randn([37, 91], (Kind::Float, Device::Cpu));
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
                let gradient = &want * 2.1;
                match algorithm {
                    Algorithm::Sgd { momentum, .. } => {
                        first = &first * momentum + gradient;
                        want -= &first * 0.01;
                    }
                    Algorithm::Adam { .. } => {
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
        for algorithm in [Algorithm::Sgd { momentum: 0.9, weight_decay: 0.1 }, Algorithm::Adam { weight_decay: 0.1 }] {
            let run = |by_kernels: bool, resume: bool| {
                let mut parameters = Parameters::default();
                let mut build = Build::new(&mut parameters, 7, Device::Cpu);
                let all =
                    ["a", "b", "c"].map(|name| build.parameter(name, Role::Weight, |stream| stream.normal(&[3, 5])));
                let begin = || {
                    let mut descent = Descent::new("w", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.01));
                    descent.by_kernels = by_kernels;
                    descent
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
                Tensor::cat(&all, 0).detach()
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
