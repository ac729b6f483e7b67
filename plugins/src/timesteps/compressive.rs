//! Compressive timestep search: trainable weights over the number of timesteps.
//!
//! Source: LitE-SNN (Liu et al., IJCAI 2024), Section 3.3, Eq. 14 and 17.
//!
//! ```text
//! w = softmax(psi), psi in R^T        L_CE = sum_i w_i · CE((1/i) sum_{t<=i} O(t), y)        s = sum_t s(t) · sum_{i>=t} w_i
//! ```
//!
//! During the warm-up epochs w is uniform and psi does not move. The search ends with T = argmax w.
//! A search with no epoch after the warm-up is refused: T would be the argmax of the noise that psi
//! begins with.
//! What differs from the authors' program: docs/authors-program.md.

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{TimestepGate, TimestepSearcher};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Settings of `compressive`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compressive {
    /// Largest number of timesteps; the candidates are 1..=max (paper: 6).
    #[schemars(range(min = 1), extend("x-unit" = "timesteps"))]
    pub max: std::num::NonZeroU16,
    /// Epochs with uniform weights before psi moves (paper: 5).
    #[serde(default = "paper_warmup")]
    #[schemars(extend("x-unit" = "epochs"))]
    pub warmup: usize,
}

fn paper_warmup() -> usize {
    5
}

register! {
    kind: Timesteps,
    name: "compressive",
    settings: Compressive,
    version: 1,
    summary: "searches the number of timesteps by trainable weights",
    paper: "Liu et al., LitE-SNN, IJCAI 2024",
    examples: ["[timesteps.compressive]\nmax = 4\nwarmup = 1"],
    file: "compressive.rs",
}

#[typetag::serde(name = "compressive")]
impl TimestepSearcher for Compressive {
    fn max(&self) -> i64 {
        i64::from(self.max.get())
    }

    fn warmup(&self) -> usize {
        self.warmup
    }

    fn attach(&self, build: &mut Build) -> Result<Box<dyn TimestepGate>> {
        let count = self.max();
        let logits = build.parameter("logits", Role::TimestepLogit, |stream| stream.normal(&[count]) * 1e-3);
        Ok(Box::new(Gate { logits, warmup: self.warmup, device: build.device() }))
    }
}

struct Gate {
    logits: Tensor,
    warmup: usize,
    device: Device,
}

impl TimestepGate for Gate {
    fn weights(&self, epoch: usize) -> Tensor {
        if epoch < self.warmup {
            let count = self.logits.size()[0];
            return Tensor::full([count], 1.0 / count as f64, (Kind::Float, self.device));
        }
        self.logits.softmax(0, Kind::Float)
    }

    fn decide(&self) -> i64 {
        self.logits.argmax(0, false).int64_value(&[]) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::{Parameters, Stream};
    use litesnn_framework::network::{exceedance, prefix_cross_entropy};

    #[test]
    fn the_gradient_to_psi_has_the_closed_form() {
        // dL/dpsi_i = w_i (v_i - sum_j w_j v_j), v_i = CE_i + lambda · (cumulative Bit-SynOps at i)
        let mut parameters = Parameters::default();
        let gate = Compressive { max: std::num::NonZeroU16::new(4).unwrap(), warmup: 1 }
            .attach(&mut Build::new(&mut parameters, 3, Device::Cpu))
            .unwrap();
        let psi = &parameters.trainable()[0].tensor;
        tch::no_grad(|| psi.shallow_clone().copy_(&Tensor::from_slice(&[0.3f32, -0.5, 0.1, 0.7])));
        let logits = Stream::numbered(1).normal(&[4, 6, 5]);
        let labels = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 0]);
        let (rates, lambda) = (Tensor::from_slice(&[0.4f32, 0.2, 0.3, 0.1]), 2.0);

        assert!(!gate.weights(0).requires_grad(), "psi is frozen in a warm-up epoch");
        let weights = gate.weights(1);
        let entropies = prefix_cross_entropy(&logits, &labels);
        let loss = (&entropies * &weights).sum(Kind::Float) + (&rates * exceedance(&weights)).sum(Kind::Float) * lambda;
        loss.backward();

        let value = entropies + rates.cumsum(0, Kind::Float) * lambda;
        let w = psi.detach().softmax(0, Kind::Float);
        let want = &w * (&value - (&w * &value).sum(Kind::Float));
        assert!((psi.grad() - want).abs().max().double_value(&[]) < 1e-6);
        assert_eq!(gate.decide(), 4);
    }
}
