//! A fixed number of timesteps: nothing is searched.
//!
//! Source: the usual practice; the mean of logits over timesteps is LitE-SNN's (Liu et al., IJCAI
//! 2024), Eq. 16.
//!
//! ```text
//! w_T = 1, all other w_i = 0          L_CE = CE((1/T) sum_t O(t), y)
//! ```

use litesnn_framework::ground::Build;
use litesnn_framework::network::{TimestepGate, TimestepSearcher};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::last::LastTimestep;

/// Settings of `fixed`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// Number of timesteps.
    #[schemars(range(min = 1), extend("x-unit" = "timesteps"))]
    pub steps: std::num::NonZeroU16,
}

register! {
    kind: Timesteps,
    name: "fixed",
    settings: Fixed,
    version: 1,
    summary: "a fixed number of timesteps",
    paper: "the usual practice; mean of logits over timesteps as in Liu et al., IJCAI 2024, Eq. 16",
    examples: ["[timesteps.fixed]\nsteps = 4"],
    file: "fixed.rs",
}

#[typetag::serde(name = "fixed")]
impl TimestepSearcher for Fixed {
    fn max(&self) -> i64 {
        i64::from(self.steps.get())
    }

    fn fixed(&self) -> Option<i64> {
        Some(self.max())
    }

    fn attach(&self, build: &mut Build) -> Result<Box<dyn TimestepGate>> {
        Ok(Box::new(LastTimestep { steps: self.max(), device: build.device() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::Parameters;
    use tch::Device;

    #[test]
    fn all_weight_is_on_the_last_timestep_and_nothing_is_trained() {
        let steps = std::num::NonZeroU16::new(3).unwrap();
        let mut parameters = Parameters::default();
        let gate = Fixed { steps }.attach(&mut Build::new(&mut parameters, 0, Device::Cpu)).unwrap();
        assert_eq!(Vec::<f32>::try_from(gate.weights(0)).unwrap(), [0., 0., 1.]);
        assert_eq!(gate.decide(), 3);
        assert!(parameters.trainable().is_empty());
    }
}
