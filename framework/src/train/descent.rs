//! Gradient descent with a state that can be kept in a checkpoint (tch's own optimizers cannot hand
//! theirs out).

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

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

/// Descends all parameters of some roles by one rule.
pub struct Descent {
    name: String,
    algorithm: Algorithm,
    schedule: Rate,
    rate: f64,
    parameters: Vec<(String, Tensor)>,
    state: BTreeMap<String, Vec<Tensor>>,
    held: bool,
}

impl Descent {
    /// Descends the tensors of `roles` in `parameters`. `name` tells it apart in the checkpoint.
    pub fn new(name: &str, parameters: &Parameters, roles: &[Role], algorithm: Algorithm, schedule: Rate) -> Descent {
        Descent {
            name: name.to_owned(),
            algorithm,
            schedule,
            rate: schedule.at(0, 1),
            parameters: parameters.of(roles).map(|p| (p.name.clone(), p.tensor.shallow_clone())).collect(),
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
        if self.held {
            return;
        }
        let rate = self.rate;
        tch::no_grad(|| {
            for (name, tensor) in &mut self.parameters {
                let gradient = tensor.grad();
                if !gradient.defined() {
                    continue;
                }
                match self.algorithm {
                    Algorithm::Sgd { momentum, weight_decay } => {
                        let state = self.state.entry(name.clone()).or_default();
                        let begun = !state.is_empty();
                        if !begun {
                            state.push(tensor.zeros_like());
                        }
                        if in_step([&*tensor, &gradient, &state[0]]) {
                            sgd(tensor, &gradient, &state[0], [rate, momentum, weight_decay], begun);
                            changed(tensor);
                            continue;
                        }
                        let gradient = gradient + &*tensor * weight_decay;
                        let _ = state[0].g_mul_scalar_(momentum).g_add_(&gradient);
                        let _ = tensor.g_sub_(&(&state[0] * rate));
                    }
                    Algorithm::Adam { weight_decay } => {
                        let state = self.state.entry(name.clone()).or_insert_with(|| {
                            vec![
                                tensor.zeros_like(),
                                tensor.zeros_like(),
                                Tensor::zeros([1], (Kind::Double, Device::Cpu)),
                            ]
                        });
                        let _ = state[2].g_add_scalar_(1.0);
                        let count = state[2].double_value(&[0]);
                        let step = rate / (1.0 - BETAS.0.powf(count));
                        let correction = (1.0 - BETAS.1.powf(count)).sqrt();
                        if in_step([&*tensor, &gradient, &state[0], &state[1]]) {
                            adam(tensor, &gradient, [&state[0], &state[1]], BETAS, [step, correction, weight_decay]);
                            changed(tensor);
                            continue;
                        }
                        let gradient = gradient + &*tensor * weight_decay;
                        let _ = state[0].g_mul_scalar_(BETAS.0).g_add_(&(&gradient * (1.0 - BETAS.0)));
                        let _ = state[1].g_mul_scalar_(BETAS.1).g_add_(&(gradient.square() * (1.0 - BETAS.1)));
                        let root = state[1].sqrt() / correction + EPSILON;
                        let _ = tensor.g_sub_(&(&state[0] / root * step));
                    }
                }
            }
        });
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
        let slots = match self.algorithm {
            Algorithm::Sgd { .. } => 1,
            Algorithm::Adam { .. } => 3,
        };
        for (parameter, tensor) in &self.parameters {
            let found: Vec<Tensor> = (0..slots)
                .filter_map(|slot| stored.get(&format!("{}/{slot}/{parameter}", self.name)))
                .map(|value| match value.kind() {
                    Kind::Double => value.copy(),
                    _ => value.to_device(tensor.device()).copy(),
                })
                .collect();
            if found.len() == slots {
                self.state.insert(parameter.clone(), found);
            }
        }
    }
}

/// Adam's decay of both moments.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// Whether a kernel may walk through these tensors side by side.
fn in_step<const N: usize>(tensors: [&Tensor; N]) -> bool {
    let walks =
        |tensor: &Tensor| tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous();
    tensors.into_iter().all(walks)
}

/// One step of SGD in one pass over memory; `numbers` are rate, momentum and weight decay.
fn sgd(tensor: &Tensor, gradient: &Tensor, velocity: &Tensor, numbers: [f64; 3], begun: bool) {
    let [p, g, v] = [tensor, gradient, velocity].map(Pointer::of);
    let [rate, momentum, decay] = numbers.map(|number| number as f32);
    let momentum = if begun { momentum } else { 0.0 };
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
        let norms: Vec<Tensor> = gradients.iter().map(|gradient| gradient.norm()).collect();
        // As PyTorch's clip_grad_norm_, and without reading the norm back from the device.
        let factor = (Tensor::stack(&norms, 0).norm() + 1e-6).reciprocal() * limit;
        let factor = factor.clamp_max(1.0);
        for mut gradient in gradients {
            let _ = gradient.g_mul_(&factor);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Build;

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

    /// Written out in f64, as PyTorch's documentation of both algorithms has it.
    #[test]
    fn many_values_step_as_the_formulas_say() {
        for algorithm in [Algorithm::Sgd { momentum: 0.9, weight_decay: 0.1 }, Algorithm::Adam { weight_decay: 0.1 }] {
            let start = Tensor::randn([37, 91], (Kind::Float, Device::Cpu));
            let mut parameters = Parameters::default();
            let p = Build::new(&mut parameters, 0, Device::Cpu).parameter("p", Role::Weight, |_| start.copy());
            let mut descent = Descent::new("w", &parameters, &[Role::Weight], algorithm, Rate::Constant(0.01));
            let mut want = start.to_kind(Kind::Double);
            let (mut first, mut second) = (want.zeros_like(), want.zeros_like());
            for step in 1..=4 {
                parameters.zero_grad();
                p.square().sum(Kind::Float).backward();
                descent.step();
                let gradient = &want * 2.1;
                match algorithm {
                    Algorithm::Sgd { .. } => {
                        first = &first * 0.9 + gradient;
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
            assert!(error < 1e-5, "{algorithm:?}: {error}");
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
