//! Early exit: an image stops at the first timestep whose answer is sure enough.
//!
//! Sources: DT-SNN (Li et al., DAC 2023), rule `entropy`; SEENN-I (Li et al., NeurIPS 2023), rule
//! `confidence`.
//!
//! With f_t the mean or the sum of the logits O(1), ..., O(t) `[K]` of an image and
//! p = softmax(f_t), the image stops at the first t with
//!
//! ```text
//! entropy       E(p) < threshold        E(p) = - sum_k p_k log p_k / log K, 0 to 1
//! confidence    max_k p_k > threshold   1/K to 1
//! ```
//!
//! or at T = `max`. Entropy with threshold 0, or confidence with threshold 1, stops no image early,
//! and gives to the bit what `fixed` gives. Entropy with a threshold above 1 stops every image at
//! its first timestep, and so does confidence with threshold 0.
//!
//! Nothing is trained for it: the network is trained as with `fixed`, on all T timesteps.
//! `[retrain]` has the losses of the papers: `prefix-cross-entropy` (DT-SNN) and
//! `timestep-cross-entropy` (TET, which SEENN takes). Images stop in the test of the final network,
//! where the record gets a row for each threshold (docs/early-exit.md).
//!
//! SEENN's program computes the confidence of the sum, DT-SNN the entropy of the mean. Both compare
//! by < and > as here; SEENN's paper stops at max p >= threshold.

use litesnn_framework::ground::Build;
use litesnn_framework::network::engine;
use litesnn_framework::network::{EarlyExit as Rules, TimestepGate, TimestepSearcher};
use litesnn_framework::plugin::checked;
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use tch::{Kind, Tensor};

use super::last::LastTimestep;

/// Settings of `early-exit`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyExit {
    /// Number of timesteps T of the network, after which every image stops.
    #[schemars(range(min = 1), extend("x-unit" = "timesteps"))]
    pub max: std::num::NonZeroU16,
    /// Threshold of the trial's result.
    #[serde(deserialize_with = "threshold")]
    #[schemars(range(min = 0.0, max = 2.0))]
    pub threshold: f64,
    /// What is compared with the threshold.
    #[serde(default)]
    pub rule: Rule,
    /// How the logits of the timesteps so far are joined for the rule. The answer is the largest in
    /// both.
    #[serde(default)]
    pub average: Average,
    /// Thresholds of the sweep, ascending: the record says for each what the result would be.
    #[serde(default = "sweep", deserialize_with = "thresholds")]
    #[schemars(length(min = 1), inner(range(min = 0.0, max = 2.0)))]
    pub thresholds: Vec<f64>,
}

/// When an image is sure enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Its normalised entropy is less than the threshold (DT-SNN).
    #[default]
    Entropy,
    /// Its largest probability is more than the threshold (SEENN-I).
    Confidence,
}

/// How logits of several timesteps are joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    /// Their mean (DT-SNN).
    #[default]
    Mean,
    /// Their sum, which is surer at later timesteps (the program of SEENN).
    Sum,
}

/// Dense at both ends, for either rule.
fn sweep() -> Vec<f64> {
    vec![0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0]
}

/// Beyond 1, entropy stops always and confidence never; 2 is far enough to say so.
fn is_threshold(threshold: &f64) -> bool {
    (0.0..=2.0).contains(threshold)
}

fn threshold<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    checked(
        input,
        is_threshold,
        "a number from 0 to 2: entropy and confidence are 0 to 1, and above 1 is always or never",
    )
}

fn thresholds<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<f64>, D::Error> {
    let holds = |all: &Vec<f64>| {
        !all.is_empty() && all.iter().all(is_threshold) && all.windows(2).all(|pair| pair[0] < pair[1])
    };
    checked(input, holds, "a list of one or more thresholds from 0 to 2, ascending")
}

register! {
    kind: Timesteps,
    name: "early-exit",
    settings: EarlyExit,
    version: 1,
    summary: "each image stops at the first timestep that is sure enough",
    paper: "Li et al., DT-SNN, DAC 2023; Li et al., SEENN, NeurIPS 2023",
    examples: [
        "[timesteps.early-exit]\nmax = 4\nthreshold = 0.2",
        "[timesteps.early-exit]\nmax = 4\nthreshold = 0.9\nrule = \"confidence\"\naverage = \"sum\"\nthresholds = [0.5, 0.9, 1.0]",
    ],
    file: "early_exit.rs",
}

#[typetag::serde(name = "early-exit")]
impl TimestepSearcher for EarlyExit {
    fn max(&self) -> i64 {
        i64::from(self.max.get())
    }

    fn fixed(&self) -> Option<i64> {
        Some(self.max())
    }

    fn early_exit(&self) -> Option<&dyn Rules> {
        Some(self)
    }

    fn attach(&self, build: &mut Build) -> Result<Box<dyn TimestepGate>> {
        Ok(Box::new(LastTimestep { steps: self.max(), device: build.device() }))
    }
}

impl Rules for EarlyExit {
    fn packed(&self) -> Option<engine::EarlyExit> {
        match (self.rule, self.average) {
            (_, Average::Sum) => None,
            (Rule::Entropy, Average::Mean) => Some(engine::EarlyExit::Entropy(self.threshold)),
            (Rule::Confidence, Average::Mean) => Some(engine::EarlyExit::Confidence(self.threshold)),
        }
    }

    fn threshold(&self) -> f64 {
        self.threshold
    }

    fn thresholds(&self) -> &[f64] {
        &self.thresholds
    }

    fn stops(&self, logits: &Tensor, threshold: f64) -> Tensor {
        let (steps, _, classes) = logits.size3().expect("logits are [T, B, K]");
        let sums = logits.to_kind(Kind::Double).cumsum(0, Kind::Double);
        let prefixes = match self.average {
            Average::Mean => {
                sums / Tensor::arange_start(1, steps + 1, (Kind::Double, logits.device())).view([-1, 1, 1])
            }
            Average::Sum => sums,
        };
        match self.rule {
            Rule::Entropy => entropy(&prefixes, classes).lt(threshold),
            Rule::Confidence => prefixes.softmax(2, Kind::Double).amax(2, false).gt(threshold),
        }
    }
}

/// - sum_k p_k log p_k / log K of p = softmax over the last axis.
fn entropy(logits: &Tensor, classes: i64) -> Tensor {
    let logs = logits.log_softmax(-1, Kind::Double);
    // One class alone is sure: 0 by any divisor but 0.
    let most = (classes as f64).ln().max(f64::MIN_POSITIVE);
    -(logs.exp() * logs).sum_dim_intlist(-1, false, Kind::Double) / most
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::Stream;

    fn rules(settings: &str) -> EarlyExit {
        serde_json::from_str(&format!("{{ \"max\": 4, \"threshold\": 0.5{settings} }}")).unwrap()
    }

    /// Logits (a, 0, ..., 0) of ten classes, one timestep.
    fn peak(a: f64) -> Tensor {
        let logits = Tensor::zeros([1, 1, 10], (Kind::Double, tch::Device::Cpu));
        let _ = logits.narrow(2, 0, 1).fill_(a);
        logits
    }

    /// Golden values of DT-SNN's and SEENN's rules, and their closed forms with
    /// Z = e^a + 9: log Z - a e^a / Z, and e^a / Z.
    #[test]
    fn entropy_and_confidence_have_their_golden_values() {
        let wanted = [(0.0, 1.0, 0.1), (1.0, 0.9681, 0.2320), (5.0, 0.1497, 0.9428), (10.0, 0.00195, 0.9996)];
        for (a, uncertain, sure) in wanted {
            let z = f64::exp(a) + 9.0;
            let closed = ((z.ln() - a * a.exp() / z) / 10f64.ln(), a.exp() / z);
            let got = entropy(&peak(a), 10).double_value(&[0, 0]);
            assert!((got - uncertain).abs() < 5e-5 && (got - closed.0).abs() < 1e-12, "{a}: {got}");
            let probability = peak(a).softmax(2, Kind::Double).amax(2, false).double_value(&[0, 0]);
            assert!((probability - sure).abs() < 5e-5 && (probability - closed.1).abs() < 1e-12, "{a}: {probability}");
            // Both rules stop on one side of their golden value, and not on the other.
            let stops =
                |settings: &str, threshold: f64| rules(settings).stops(&peak(a), threshold).int64_value(&[0, 0]) == 1;
            assert!(stops("", uncertain + 1e-4) && !stops("", uncertain - 1e-4), "{a}");
            let confidence = r#", "rule": "confidence""#;
            assert!(stops(confidence, sure - 1e-4) && !stops(confidence, sure + 1e-4), "{a}");
        }
    }

    /// Timesteps (a, 0, ...), (a, 0, ...): their mean is the first, and their sum twice as sure.
    #[test]
    fn the_sum_is_surer_than_the_mean() {
        let logits = peak(5.0).repeat([2, 1, 1]);
        let at = |settings: &str, threshold| {
            Vec::<bool>::try_from(rules(settings).stops(&logits, threshold).reshape([-1])).unwrap()
        };
        assert_eq!(at("", 0.1), [false, false]);
        assert_eq!(at(r#", "average": "sum""#, 0.1), [false, true]);
        assert_eq!(at(r#", "average": "sum", "rule": "confidence""#, 0.99), [false, true]);
    }

    #[test]
    fn the_ends_of_the_scale_stop_nobody_and_everybody() {
        let wild = Stream::numbered(1).normal(&[4, 50, 10]) * 40.0;
        let certain = Tensor::zeros([4, 1, 10], (Kind::Float, tch::Device::Cpu));
        let _ = certain.narrow(2, 3, 1).fill_(1e4);
        let even = Tensor::zeros([4, 1, 10], (Kind::Float, tch::Device::Cpu));
        let logits = Tensor::cat(&[wild, certain, even], 1);
        let count =
            |settings: &str, threshold| rules(settings).stops(&logits, threshold).sum(Kind::Int64).int64_value(&[]);
        let confidence = r#", "rule": "confidence""#;
        assert_eq!((count("", 0.0), count("", 1.1)), (0, 4 * 52));
        assert_eq!((count(confidence, 1.0), count(confidence, 0.0)), (0, 4 * 52));
    }

    #[test]
    fn bad_settings_are_refused_in_words() {
        let refused = |settings: &str| serde_json::from_str::<EarlyExit>(settings).unwrap_err().to_string();
        for (settings, words) in [
            (r#"{ "max": 4, "threshold": 90 }"#, "a number from 0 to 2"),
            (r#"{ "max": 4, "threshold": -0.1 }"#, "a number from 0 to 2"),
            (r#"{ "max": 4, "threshold": 0.5, "thresholds": [] }"#, "one or more thresholds"),
            (r#"{ "max": 4, "threshold": 0.5, "thresholds": [0.5, 0.1] }"#, "ascending"),
            (r#"{ "max": 4, "threshold": 0.5, "rule": "margin" }"#, "expected `entropy` or `confidence`"),
            (r#"{ "max": 4, "threshold": 0.5, "average": "max" }"#, "expected `mean` or `sum`"),
            (r#"{ "max": 4 }"#, "missing field `threshold`"),
        ] {
            let error = refused(settings);
            assert!(error.contains(words), "{error}");
        }
    }
}
