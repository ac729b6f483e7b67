//! Costs that a search keeps below a target, in place of weights that have to be guessed.
//!
//! Source: the augmented Lagrangian of an inequality (Nocedal and Wright, Numerical Optimization,
//! 2006, Section 17.3), with a multiplier that moves at every step.
//!
//! ```text
//! g = C / target - 1                  C: expected bytes in a file, or Bit-SynOps of an image
//! loss of a step: + max(0, mu + g) · g     the factor without a gradient
//! after the step: mu = max(0, mu + rate · g)
//! ```
//!
//! While the cost is above its target mu grows, and with it the weight of the cost; below, mu falls to
//! 0 and the cost has no weight. mu is in units of the cross-entropy.
//!
//! C is of the network that would be retrained now: the final network of the architecture that the
//! supernet decodes to, at the widths of retraining ([`RetrainedCosts`]). Its bytes are all that a
//! file holds: values, masks, stem, classifier, and four bytes for each parameter outside of weights;
//! the auxiliary head is in no file. Kept fractions, expected bits and firing rates are those of the
//! supernet's layers of the same names. The retrained network fires at other rates than the supernet:
//! its Bit-SynOps were two thirds of what the search expected, 0.26 to 0.29 M of 0.39 to 0.43 M
//! (`litesnn run experiments/better-search.toml --profile bench`, row `targets`, three seeds).
//!
//! A target is a bound and no aim. Nothing draws a cost up to it, and one that cannot be met lets mu
//! grow for as long as the search goes: the note at its end says so.
//!
//! The gradient of C is that of the supernet's own cost C_s, of the layers that are decoded, in
//! proportion: dC = C / C_s · dC_s. What no search decides about, such as the bytes of the stem, has
//! none.

use litesnn_framework::Result;
use litesnn_framework::network::Response;
use litesnn_framework::train::{Regime, RetrainedCosts, Search, SearchParts};
use tch::{Device, Kind, Tensor};

/// The targets of a search, and their multipliers.
pub struct Targets<'a> {
    /// Stored bytes and Bit-SynOps.
    all: Vec<Target>,
    costs: RetrainedCosts<'a>,
    /// How fast a multiplier moves.
    rate: f64,
}

struct Target {
    name: &'static str,
    cost: Cost,
    at_most: f64,
    /// mu, a buffer of the checkpoint; then C at the last step. Scalars in f64.
    multiplier: Tensor,
    last: Tensor,
}

enum Cost {
    StoredBytes,
    BitSynOps,
}

impl<'a> Targets<'a> {
    /// The targets that are given; `None` without any. It is called before the first stage.
    pub fn new(
        search: &mut Search<'a, '_>,
        stored_bytes: Option<f64>,
        bit_syn_ops: Option<f64>,
        rate: f64,
    ) -> Result<Option<Targets<'a>>> {
        let stored_bytes = stored_bytes.map(|at_most| ("stored_bytes", Cost::StoredBytes, at_most));
        let bit_syn_ops = bit_syn_ops.map(|at_most| ("bit_syn_ops", Cost::BitSynOps, at_most));
        let given: Vec<_> = stored_bytes.into_iter().chain(bit_syn_ops).collect();
        if given.is_empty() {
            return Ok(None);
        }
        let zero =
            |kept: &str, name: &str| (format!("targets.{name}.{kept}"), Tensor::zeros([], (Kind::Double, Device::Cpu)));
        let names = given.iter().flat_map(|(name, ..)| [zero("multiplier", name), zero("last", name)]);
        let mut buffers = search.keep(names.collect())?.into_iter();
        let mut next = || buffers.next().expect("a buffer for each name");
        let all = given.into_iter();
        let all = all.map(|(name, cost, at_most)| Target { name, cost, at_most, multiplier: next(), last: next() });
        Ok(Some(Targets { all: all.collect(), costs: search.retrained_costs(), rate }))
    }

    /// What a step costs for what is above a target, in f32, and the multipliers of the next step.
    pub fn penalty(&self, parts: &SearchParts, response: &Response, epoch: usize, regime: Regime) -> Result<Tensor> {
        let (stored_bytes, bit_syn_ops) = self.costs.of(parts, response, epoch, regime)?;
        let of = |target: &Target| {
            let cost = match target.cost {
                Cost::StoredBytes => &stored_bytes,
                Cost::BitSynOps => &bit_syn_ops,
            };
            target.penalty(cost, self.rate)
        };
        Ok(self.all.iter().map(of).reduce(|all, next| all + next).expect("a target was given"))
    }

    /// What the network that would be retrained costs by the last step, and was to cost, in words.
    pub fn reached(&self) -> String {
        let of = |target: &Target| {
            let [last, multiplier] = [&target.last, &target.multiplier].map(|number| number.double_value(&[]));
            let Target { name, at_most, .. } = target;
            let missed = if last > *at_most { ", and it is not met" } else { "" };
            format!("target_{name}: {last:.0} expected, at most {at_most:.0}{missed}; multiplier {multiplier:.3}")
        };
        self.all.iter().map(of).collect::<Vec<String>>().join("; ")
    }
}

impl Target {
    /// The penalty of a cost, and the multiplier of the next step.
    fn penalty(&self, cost: &Tensor, rate: f64) -> Tensor {
        let above = cost / self.at_most - 1.0;
        let factor = tch::no_grad(|| {
            let (mut multiplier, mut last) = (self.multiplier.shallow_clone(), self.last.shallow_clone());
            let factor = (&multiplier + &above).clamp_min(0.0);
            last.copy_(cost);
            let next = (&multiplier + &above * rate).clamp_min(0.0);
            multiplier.copy_(&next);
            factor
        });
        (factor * above).to_kind(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(at_most: f64) -> Target {
        let zero = || Tensor::zeros([], (Kind::Double, Device::Cpu));
        Target { name: "bit_syn_ops", cost: Cost::BitSynOps, at_most, multiplier: zero(), last: zero() }
    }

    /// C = 30, at most 20: g = 1/2. With mu = 0 the penalty is 1/4, its slope in C is 1/2 / 20, and
    /// mu becomes rate / 2. At C = 10, g = -1/2: nothing, until mu is back at 0.
    #[test]
    fn a_step_has_its_closed_values() {
        let target = target(20.0);
        let cost = Tensor::from(30.0f64).set_requires_grad(true);
        let penalty = target.penalty(&cost, 0.1);
        penalty.backward();
        assert_eq!(penalty.double_value(&[]), 0.25);
        assert!((cost.grad().double_value(&[]) - 0.5 / 20.0).abs() < 1e-9);
        assert!((target.multiplier.double_value(&[]) - 0.05).abs() < 1e-12);
        for multiplier in [0.0, 0.0] {
            assert_eq!(target.penalty(&Tensor::from(10.0f64), 0.1).double_value(&[]), 0.0);
            assert!((target.multiplier.double_value(&[]) - multiplier).abs() < 1e-12);
        }
    }

    /// min (x - 3)² with x² at most 4 has its minimum at x = 2, where the multiplier of g = x²/4 - 1 is
    /// 2 (3 - x) / (2 x / 4) = 2.
    #[test]
    fn the_multiplier_finds_the_weight_of_a_cost() {
        let target = target(4.0);
        let mut x = Tensor::from(0.5f64).set_requires_grad(true);
        for _ in 0..2000 {
            x.zero_grad();
            let loss = (&x - 3.0).square() + target.penalty(&x.square(), 0.05);
            loss.backward();
            tch::no_grad(|| x -= x.grad() * 0.05);
        }
        assert!((x.double_value(&[]) - 2.0).abs() < 1e-3, "{x}");
        assert!((target.multiplier.double_value(&[]) - 2.0).abs() < 0.01, "{}", target.multiplier);
    }
}
