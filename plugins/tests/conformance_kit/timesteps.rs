//! Timestep searchers with faults.
//!
//! ```text
//! w = softmax(psi)
//! ```

use std::num::NonZeroU16;

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{EarlyExit, TimestepGate, TimestepSearcher};
use litesnn_framework::plugin::Descriptor;
use litesnn_framework::{Result, descriptor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{each_breaks, keeps_all, with};

/// Weights by a softmax.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Faulty {
    /// Largest number of timesteps.
    max: NonZeroU16,
    /// What is wrong with it.
    #[serde(default)]
    #[schemars(with = "String")]
    fault: Fault,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    NotNormalised,
    CountsFromZero,
    CutOff,
    UnseededStart,
    KeepsACopy,
    StopsInTheSecondEpoch,
    PanicsWithOne,
    NoThresholds,
    WaitsForTheLast,
    LooksAtTheBatch,
}

const FAULTY: Descriptor = descriptor! {
    kind: Timesteps,
    name: "faulty",
    settings: Faulty,
    version: 1,
    summary: "a softmax with a fault",
    paper: "none",
    examples: ["[timesteps.faulty]\nmax = 3"],
    file: "timesteps.rs",
};

/// Each fault with the rules that it breaks.
pub const BROKEN: &[(&str, &[&str])] = &[
    ("not-normalised", &["weights", "exceedance", "extremes"]),
    ("counts-from-zero", &["decides", "extremes"]),
    ("cut-off", &["decides", "gradients"]),
    ("unseeded-start", &["same-seed"]),
    ("keeps-a-copy", &["gradients", "save-and-load"]),
    ("stops-in-the-second-epoch", &["weights", "exceedance", "search", "extremes"]),
    ("panics-with-one", &["extremes"]),
    ("no-thresholds", &["early-exit"]),
    ("waits-for-the-last", &["early-exit"]),
    ("looks-at-the-batch", &["early-exit"]),
];

#[typetag::serde(name = "faulty")]
impl TimestepSearcher for Faulty {
    fn max(&self) -> i64 {
        i64::from(self.max.get())
    }

    fn early_exit(&self) -> Option<&dyn EarlyExit> {
        Some(self)
    }

    #[expect(clippy::disallowed_methods, reason = "the fault is what the rule has to find")]
    fn attach(&self, build: &mut Build) -> Result<Box<dyn TimestepGate>> {
        let max = self.max();
        if self.fault == Fault::PanicsWithOne && max == 1 {
            panic!("division by zero");
        }
        let logits = build.parameter("logits", Role::TimestepLogit, |stream| match self.fault {
            Fault::UnseededStart => Tensor::randn([max], (Kind::Float, Device::Cpu)),
            _ => stream.normal(&[max]),
        });
        let logits = if self.fault == Fault::KeepsACopy { &logits * 1.0 } else { logits };
        Ok(Box::new(Gate { logits, fault: self.fault }))
    }
}

/// Stops where the largest logit is larger than the threshold.
impl EarlyExit for Faulty {
    fn threshold(&self) -> f64 {
        1.0
    }

    fn thresholds(&self) -> &[f64] {
        if self.fault == Fault::NoThresholds { &[] } else { &[0.5, 2.0] }
    }

    fn stops(&self, logits: &Tensor, threshold: f64) -> Tensor {
        let largest = logits.amax(2, false);
        let compared = match self.fault {
            Fault::WaitsForTheLast => largest.amax(0, true).expand_as(&largest),
            Fault::LooksAtTheBatch => &largest - largest.mean_dim(1, true, None::<Kind>),
            _ => largest,
        };
        compared.gt(threshold)
    }
}

struct Gate {
    logits: Tensor,
    fault: Fault,
}

impl TimestepGate for Gate {
    fn weights(&self, epoch: usize) -> Tensor {
        if self.fault == Fault::StopsInTheSecondEpoch && epoch == 1 {
            panic!("the schedule has one epoch");
        }
        match self.fault {
            Fault::NotNormalised => self.logits.sigmoid(),
            Fault::CutOff => self.logits.detach().softmax(0, Kind::Float),
            _ => self.logits.softmax(0, Kind::Float),
        }
    }

    fn decide(&self) -> i64 {
        self.logits.argmax(0, false).int64_value(&[]) + i64::from(self.fault != Fault::CountsFromZero)
    }
}

#[test]
fn a_timestep_searcher_without_fault_keeps_every_rule() {
    keeps_all(&FAULTY);
}

#[test]
fn a_timestep_searcher_with_a_fault_breaks_the_rules_about_it() {
    each_breaks(BROKEN, &["search"], |fault| {
        with(&FAULTY, format!("[timesteps.faulty]\nmax = 3\nfault = \"{fault}\""))
    });
}
