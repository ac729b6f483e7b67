//! A bell over the number of timesteps, whose middle is trained.
//!
//! Source: the discretised Gaussian, here a search that has one parameter however many timesteps
//! there are.
//!
//! ```text
//! w_i = exp(-((i - mu) / width)^2 / 2) / sum_j exp(-((j - mu) / width)^2 / 2)          T = argmax w, i = 1..max
//! ```

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{TimestepGate, TimestepSearcher};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU16;
use tch::{Kind, Tensor};

/// Settings of `template-timesteps`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateTimesteps {
    /// Largest number of timesteps; the candidates are 1..=max.
    #[schemars(extend("x-unit" = "timesteps"))]
    pub max: NonZeroU16,
    /// Width of the bell.
    #[serde(default = "default_width")]
    #[schemars(range(min = 0.1), extend("x-unit" = "timesteps"))]
    pub width: f64,
}

fn default_width() -> f64 {
    1.0
}

register! {
    kind: Timesteps,
    name: "template-timesteps",
    settings: TemplateTimesteps,
    version: 1,
    summary: "searches the number of timesteps by the middle of a bell",
    paper: "the discretised Gaussian",
    examples: ["[timesteps.template-timesteps]\nmax = 4"],
    file: "template_timesteps.rs",
}

#[typetag::serde(name = "template-timesteps")]
impl TimestepSearcher for TemplateTimesteps {
    fn max(&self) -> i64 {
        i64::from(self.max.get())
    }

    fn attach(&self, build: &mut Build) -> Result<Box<dyn TimestepGate>> {
        let options = (Kind::Float, build.device());
        let middle = (self.max() + 1) as f64 / 2.0;
        let mu = build.parameter("mu", Role::TimestepLogit, |_| Tensor::full([1], middle, options));
        Ok(Box::new(Bell { mu, counts: Tensor::arange_start(1, self.max() + 1, options), width: self.width }))
    }
}

struct Bell {
    mu: Tensor,
    /// 1..=max
    counts: Tensor,
    width: f64,
}

impl TimestepGate for Bell {
    fn weights(&self, _epoch: usize) -> Tensor {
        let distance = (&self.counts - &self.mu) / self.width;
        (distance.square() * -0.5).softmax(0, Kind::Float)
    }

    fn decide(&self) -> i64 {
        self.weights(0).argmax(0, false).int64_value(&[]) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::Parameters;
    use tch::Device;

    #[test]
    fn the_bell_is_symmetric_about_its_middle() {
        let mut parameters = Parameters::default();
        let searcher = TemplateTimesteps { max: NonZeroU16::new(3).unwrap(), width: 1.0 };
        let gate = searcher.attach(&mut Build::new(&mut parameters, 0, Device::Cpu)).unwrap();
        let weights = Vec::<f32>::try_from(gate.weights(0)).unwrap();
        // exp(-1/2) beside 1.
        assert!((weights[1] - 1.0 / (1.0 + 2.0 * 0.606_530_7)).abs() < 1e-6 && weights[0] == weights[2], "{weights:?}");
        assert_eq!(gate.decide(), 2);
    }
}
