//! Temperatures that fall: what a search chooses by softmax gets more decided from epoch to epoch.
//!
//! Source: SNAS (Xie et al., ICLR 2019) lets the temperature of its choices fall towards 0. The fall by
//! a constant factor an epoch is that of FBNet (Wu et al., CVPR 2019). Both draw Gumbel noise besides;
//! here there is none.
//!
//! ```text
//! p = softmax(x / tau)      tau_e = from^(1 - e / (E - 1)) · to^(e / (E - 1)),    e = 0 ... E - 1      a search of one epoch has `from`
//! dL/dx = dL/dy / tau       y = x / tau,  dL/dy: what libtorch makes of p = softmax(y)
//! ```
//!
//! x are the logits over two candidates or more that the search moves: alpha, beta and psi, each of its
//! own shape. E counts all epochs of the search, hardened ones too.
//!
//! No other plugin knows of temperatures. While the search trains, a space, a compressor or a timestep
//! searcher finds y in the place of its logits, so that weights, expected costs, the entropy and what
//! is measured after an epoch all have the same p. What moves is x, with dL/dx, by the same rates,
//! momentum and L2 penalty as without temperatures; it is a buffer of the checkpoint. In a step tau is
//! a number, as the learning rates are, and a graph of a GPU has it for one epoch.
//!
//! At the end, x is put back in the place of y, so that a search decodes as without temperatures. The
//! weights softmax(x / tau) of several edges would be 1 in f32 at a low temperature, and a space that
//! compares edges could not tell them apart.

use litesnn_framework::Result;
use litesnn_framework::ground::Role;
use litesnn_framework::train::Search;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// How a temperature falls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Falling {
    /// Temperature of the softmax over operations, bits and timesteps in the first epoch.
    #[schemars(range(min = LEAST, max = MOST))]
    pub from: f64,
    /// Temperature of the same softmax in the last epoch; `from` or less.
    #[schemars(range(min = LEAST, max = MOST))]
    pub to: f64,
}

/// Bounds within which logits over a temperature are numbers of f32.
const LEAST: f64 = 1e-4;
const MOST: f64 = 1e4;

impl Falling {
    /// tau in an epoch (from 0) of so many.
    fn at(self, epoch: usize, epochs: usize) -> f64 {
        let passed = epoch as f64 / epochs.saturating_sub(1).max(1) as f64;
        self.from.powf(1.0 - passed) * self.to.powf(passed)
    }
}

/// The temperatures of a search.
pub struct Temperatures {
    falling: Falling,
    epochs: usize,
    choices: Vec<Choice>,
}

struct Choice {
    /// y, what the network has.
    logits: Tensor,
    /// x, what moves.
    moved: Tensor,
}

impl Temperatures {
    /// Temperatures of the logits of `roles`. It is called before the first stage.
    pub fn new(search: &mut Search, falling: Falling, roles: &[Role]) -> Result<Temperatures> {
        let (parts, decides) = (search.parts(), |logits: &Tensor| logits.size().last().is_some_and(|many| *many > 1));
        let logits = parts.parameters().of(roles).filter(|parameter| decides(&parameter.tensor));
        let logits: Vec<_> =
            logits.map(|it| (format!("temperatures.{}", it.name), it.tensor.shallow_clone())).collect();
        let epochs = parts.training.epochs;
        let begun = logits.iter().map(|(name, logits)| (name.clone(), logits.detach().copy()));
        let moved = search.keep(begun.collect())?;
        let choices = logits.into_iter().zip(moved).map(|((_, logits), moved)| Choice { logits, moved }).collect();
        Ok(Temperatures { falling, epochs, choices })
    }

    /// Puts y in the place of the logits, for the passes of a step in an epoch (from 0) of the search.
    pub fn apply(&self, epoch: usize) {
        let tau = self.falling.at(epoch, self.epochs);
        self.choices.iter().for_each(|choice| choice.apply(tau));
    }

    /// Makes a `step` of the descents along the gradients there are, by which x moves.
    pub fn step(&self, epoch: usize, step: impl FnOnce()) {
        let tau = self.falling.at(epoch, self.epochs);
        for choice in &self.choices {
            let mut gradient = choice.logits.grad();
            if gradient.defined() {
                let _ = tch::no_grad(|| gradient.g_div_scalar_(tau));
            }
        }
        self.lift();
        step();
        self.adopt();
        self.apply(epoch);
    }

    /// Puts x in the place of the logits: the temperature is 1 again.
    pub fn lift(&self) {
        self.choices.iter().for_each(|choice| copy(&choice.moved, &choice.logits));
    }

    /// Takes the logits as they are now for x, as after a decision that was written into them.
    pub fn adopt(&self) {
        self.choices.iter().for_each(|choice| copy(&choice.logits, &choice.moved));
    }
}

impl Choice {
    fn apply(&self, tau: f64) {
        copy(&(self.moved.detach() / tau), &self.logits);
    }
}

/// Writes the values of one tensor into another one.
fn copy(from: &Tensor, to: &Tensor) {
    tch::no_grad(|| to.shallow_clone().copy_(from));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn temperatures(falling: Falling, epochs: usize, x: &[f32]) -> Temperatures {
        let moved = Tensor::from_slice(x);
        Temperatures { falling, epochs, choices: vec![Choice { logits: moved.copy().set_requires_grad(true), moved }] }
    }

    #[test]
    fn a_temperature_falls_by_one_factor_an_epoch_between_its_two_values() {
        let falling = Falling { from: 2.0, to: 0.125 };
        let found: Vec<f64> = (0..5).map(|epoch| falling.at(epoch, 5)).collect();
        for (found, want) in found.iter().zip([2.0, 1.0, 0.5, 0.25, 0.125]) {
            assert!((found - want).abs() < 1e-12, "{found}, not {want}");
        }
        // The ends to the bit, whatever the values.
        let falling = Falling { from: 0.7, to: 0.1 };
        assert_eq!([0, 11].map(|epoch| falling.at(epoch, 12)), [0.7, 0.1]);
        assert_eq!(falling.at(0, 1), 0.7, "a search of one epoch has `from`");
    }

    /// p_i = exp(x_i / tau) / sum over j of exp(x_j / tau), and a step of rate r leaves
    /// x_i - r · dL/dx_i for L = sum of v_i p_i, with dL/dx_i by central differences in f64.
    #[test]
    fn a_step_follows_the_gradient_at_the_temperature() {
        const RATE: f64 = 0.1;
        let (x, v) = ([0.3f64, -0.2, 0.1], [1.0f64, 2.0, 4.0]);
        let all = temperatures(Falling { from: 1.0, to: 0.25 }, 3, &x.map(|x| x as f32));
        let logits = &all.choices[0].logits;
        for (epoch, tau) in [(0, 1.0), (1, 0.5), (2, 0.25)] {
            copy(&Tensor::from_slice(&x), &all.choices[0].moved);
            all.apply(epoch);
            let softmax = |x: [f64; 3]| {
                let powers = x.map(|x| (x / tau).exp());
                powers.map(|power| power / powers.iter().sum::<f64>())
            };
            let loss = |x: [f64; 3]| softmax(x).iter().zip(v).map(|(p, v)| p * v).sum::<f64>();
            let probabilities = logits.softmax(0, Kind::Float);
            let found = Vec::<f64>::try_from(probabilities.detach().to_kind(Kind::Double)).unwrap();
            for (found, want) in found.iter().zip(softmax(x)) {
                assert!((found - want).abs() < 1e-6, "at {tau}: a probability is {found}, not {want}");
            }

            (probabilities * Tensor::from_slice(&v.map(|v| v as f32))).sum(Kind::Float).backward();
            all.step(epoch, || tch::no_grad(|| logits.shallow_clone().copy_(&(logits - logits.grad() * RATE))));
            let moved = Vec::<f64>::try_from(all.choices[0].moved.to_kind(Kind::Double)).unwrap();
            let held = Vec::<f64>::try_from(logits.detach().to_kind(Kind::Double)).unwrap();
            for index in 0..3 {
                let at = |by: f64| {
                    let mut x = x;
                    x[index] += by;
                    loss(x)
                };
                let want = x[index] - RATE * (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((moved[index] - want).abs() < 1e-6, "at {tau}: x is {}, not {want}", moved[index]);
                assert!((held[index] - want / tau).abs() < 1e-5, "at {tau}: y is {}", held[index]);
            }
            let _ = logits.grad().zero_();
        }
        all.lift();
        assert!(logits.equal(&all.choices[0].moved), "the temperature is 1 again");
    }
}
