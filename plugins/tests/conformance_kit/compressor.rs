//! Compressors with faults.
//!
//! ```text
//! W' = (floor(W / d) + 1/2) d, d = max|W| / 2^(b-1)          dW'/dW = 1
//! ```

use std::cell::Cell;

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{
    Compressor, Decision, Decisions, Factor, Formula, LayerSpec, Level, Progress, Schedule, Technique, WeightTransform,
};
use litesnn_framework::plugin::Descriptor;
use litesnn_framework::{Result, descriptor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{each_breaks, keeps_all, with};

/// A uniform quantiser over the weight's range.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Faulty {
    /// Bits of a weight.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 8))]
    bits: u32,
    /// What is wrong with it.
    #[serde(default)]
    #[schemars(with = "String")]
    fault: Fault,
}

fn four() -> u32 {
    4
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    DoublePrecision,
    UnseededNoise,
    ScaleOfTheBeginning,
    CutOff,
    UndeclaredStraightThrough,
    PromisesHalf,
    PromisesOneBit,
    AlwaysEightBits,
    WrongStep,
    WrongFormula,
    ForgetsItsDecision,
    CommonName,
    RefusesTheFinalNetwork,
    PanicsOnOneWeight,
    OutgrowsItsBits,
    CountsOnTheHost,
    StartsAnew,
}

impl Fault {
    /// Whether it shows in training alone.
    fn changes(self) -> bool {
        matches!(self, Fault::OutgrowsItsBits | Fault::CountsOnTheHost | Fault::StartsAnew)
    }
}

pub const FAULTY: Descriptor = descriptor! {
    kind: Compressor,
    name: "faulty",
    settings: Faulty,
    version: 1,
    summary: "a uniform quantiser with a fault",
    paper: "none",
    examples: ["[[compressor]]\nfaulty = { bits = 4 }", "[[compressor]]\nfaulty = { bits = 1 }"],
    file: "compressor.rs",
};

/// Each fault with the rules that it breaks.
pub const BROKEN: &[(&str, &[&str])] = &[
    ("double-precision", &["shape-and-kind"]),
    (
        "unseeded-noise",
        &[
            "same-seed",
            "save-and-load",
            "bits",
            "step",
            "decisions",
            "training",
            "resume",
            "final-state",
            "composition",
            "extremes",
        ],
    ),
    ("scale-of-the-beginning", &["save-and-load", "resume"]),
    ("cut-off", &["gradients", "composition"]),
    ("undeclared-straight-through", &["finite-differences"]),
    ("promises-half", &["density", "training", "composition", "extremes"]),
    ("promises-one-bit", &["bits", "cost", "decisions", "training", "composition", "extremes"]),
    ("always-eight-bits", &["cost", "decisions"]),
    ("wrong-step", &["step"]),
    ("wrong-formula", &["formula"]),
    ("forgets-its-decision", &["decisions", "final-state"]),
    ("common-name", &["composition"]),
    ("refuses-the-final-network", &["search"]),
    ("panics-on-one-weight", &["extremes"]),
    ("outgrows-its-bits", &["training"]),
    ("counts-on-the-host", &["resume", "final-state"]),
    ("starts-anew", &["final-state"]),
];

#[typetag::serde(name = "faulty")]
impl Compressor for Faulty {
    fn technique(&self) -> Technique {
        Technique::Quantize
    }

    fn straight_through(&self) -> &'static [Role] {
        if self.fault == Fault::UndeclaredStraightThrough { &[] } else { &[Role::Weight, Role::Score] }
    }

    fn attach(
        &self,
        layer: &LayerSpec,
        weight: &Tensor,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Result<Box<dyn WeightTransform>> {
        if self.fault == Fault::PanicsOnOneWeight && weight.numel() == 1 {
            panic!("index out of bounds");
        }
        // A layer of a real network, which no weight of the kit's own is.
        if self.fault == Fault::RefusesTheFinalNetwork && decided.is_some() && layer.name != "layer" {
            let message = "the final network is not supported".into();
            return Err(litesnn_framework::Error::Plugin { kind: "compressor", name: "faulty".into(), message });
        }
        let starts_anew = self.fault == Fault::StartsAnew && decided.is_some();
        let forgets = self.fault == Fault::ForgetsItsDecision && decided.is_some();
        // `score-prune` has its scores under this name.
        let shift = (self.fault == Fault::CommonName)
            .then(|| build.parameter("scores", Role::Score, |_| weight.detach().zeros_like()));
        Ok(Box::new(Uniform {
            bits: if forgets { 1.max(self.bits / 2) } else { self.bits },
            fault: self.fault,
            scale: scale(weight),
            weight: weight.shallow_clone(),
            shift,
            steps: (self.fault.changes() && !starts_anew)
                .then(|| build.at("faulty").buffer("steps", Tensor::from(0f32))),
            host: Cell::new(0),
            searched: decided.is_none(),
        }))
    }
}

fn scale(weight: &Tensor) -> Tensor {
    weight.detach().abs().max()
}

struct Uniform {
    bits: u32,
    fault: Fault,
    scale: Tensor,
    weight: Tensor,
    shift: Option<Tensor>,
    /// Steps that are done, in a buffer and on the host.
    steps: Option<Tensor>,
    host: Cell<usize>,
    searched: bool,
}

impl WeightTransform for Uniform {
    #[expect(clippy::disallowed_methods, reason = "the fault is what the rule has to find")]
    fn transform(&self, weight: &Tensor) -> Tensor {
        let scale = if self.fault == Fault::ScaleOfTheBeginning { self.scale.shallow_clone() } else { scale(weight) };
        let half = 2f64.powi(self.bits as i32 - 1);
        let step = scale / half;
        let value = ((weight.detach() / &step).floor().clamp(-half, half - 1.0) + 0.5) * step;
        let value = weight + (value - weight).detach();
        let steps = self.steps.as_ref().map_or(0, |steps| steps.double_value(&[]) as usize);
        match (self.fault, &self.shift) {
            (Fault::OutgrowsItsBits, _) if steps > 5 => weight.shallow_clone(),
            (Fault::CountsOnTheHost, _) => value / (1.0 + self.host.get() as f64),
            (Fault::StartsAnew, _) => value / (1.0 + steps as f64),
            (Fault::DoublePrecision, _) => value.to_kind(Kind::Double),
            (Fault::UnseededNoise, _) => &value + value.randn_like() * 1e-3,
            (Fault::CutOff, _) => value.detach(),
            (_, Some(shift)) => &value + (shift - shift.detach()),
            _ => value,
        }
    }

    fn step(&self, weight: &Tensor) -> Option<Tensor> {
        let wrong = if self.fault == Fault::WrongStep { 0.3 } else { 1.0 };
        Some(scale(weight) * (wrong / 2f64.powi(self.bits as i32 - 1)))
    }

    /// Half of the levels are out of reach.
    fn formula(&self) -> Option<Formula> {
        let step = || self.step(&self.weight).expect("it has one").double_value(&[]);
        let unit = || step() / self.weight.detach().to_kind(Kind::Double).std(true).double_value(&[]);
        let levels = || vec![Level { unit: unit(), limit: 2f64.powi(self.bits as i32 - 2) - 0.5 }];
        (self.fault == Fault::WrongFormula).then(|| Formula::Levels { logits: None, levels: levels() })
    }

    fn bits(&self) -> Option<Factor> {
        Some(Factor::Constant(match self.fault {
            Fault::PromisesOneBit => 1.0,
            Fault::AlwaysEightBits => 8.0,
            _ => f64::from(self.bits),
        }))
    }

    fn density(&self) -> Option<Factor> {
        (self.fault == Fault::PromisesHalf).then_some(Factor::Constant(0.5))
    }

    fn schedule(&self) -> Option<&dyn Schedule> {
        self.fault.changes().then_some(self as &dyn Schedule)
    }

    fn decide(&self) -> Option<(String, Decision)> {
        self.searched.then(|| ("all".to_owned(), Decision { bits: Some(self.bits), rate: None }))
    }
}

impl Schedule for Uniform {
    fn advance(&self, progress: Progress, _gradient: Option<&Tensor>) -> Option<Tensor> {
        self.host.set(self.host.get() + 1);
        if let Some(steps) = &self.steps {
            let _ = steps.shallow_clone().fill_(progress.step as f64);
        }
        None
    }
}

#[test]
fn a_compressor_without_fault_keeps_every_rule() {
    keeps_all(&FAULTY);
}

#[test]
fn a_compressor_with_a_fault_breaks_the_rules_about_it() {
    each_breaks(BROKEN, &["search"], |fault| {
        with(&FAULTY, format!("[[compressor]]\nfaulty = {{ bits = 4, fault = \"{fault}\" }}"))
    });
}

#[test]
fn its_author_is_told_what_was_expected_and_what_happened() {
    for (fault, rule, told) in [
        (
            "double-precision",
            "shape-and-kind",
            "expected: [4, 3, 3, 3] of Float on Cpu\n  found:    [4, 3, 3, 3] of Double on Cpu",
        ),
        ("cut-off", "gradients", "the value is cut off from every trainable tensor"),
        ("undeclared-straight-through", "finite-differences", "`straight_through` names Weight"),
        ("promises-half", "density", "54.0 of 108 weights are not zero, as the density says\n  found:    108 are not"),
        (
            "promises-one-bit",
            "bits",
            "a width of 1 bit tells up to 2 values of a channel apart\n  found:    there are 16",
        ),
        ("wrong-step", "step", "levels that bf16 holds"),
        ("wrong-formula", "formula", "its formula gives the values that its operations give"),
        (
            "outgrows-its-bits",
            "training",
            "after 6 of 12 steps, a width of 4 bits tells up to 16 values of a channel apart",
        ),
        ("counts-on-the-host", "resume", "its state is in buffers"),
        ("common-name", "composition", "two that ask for one name share a tensor"),
        ("panics-on-one-weight", "extremes", "found:    it panicked: index out of bounds"),
    ] {
        let plugin = with(&FAULTY, format!("[[compressor]]\nfaulty = {{ bits = 4, fault = \"{fault}\" }}"));
        let found = super::broken(plugin, &["search"]);
        let (_, message) = found.iter().find(|(law, _)| *law == rule).unwrap();
        assert!(message.contains(told), "{told}\nis not in\n{message}");
    }
}

/// A compressor that does nothing, whatever its settings.
macro_rules! does_nothing {
    ($settings:ty, $name:literal) => {
        #[typetag::serde(name = $name)]
        impl Compressor for $settings {
            fn technique(&self) -> Technique {
                Technique::Quantize
            }

            fn attach(
                &self,
                _: &LayerSpec,
                _: &Tensor,
                _: Option<&Decisions>,
                _: &mut Build,
            ) -> Result<Box<dyn WeightTransform>> {
                Ok(Box::new(Nothing))
            }
        }
    };
}

struct Nothing;
impl WeightTransform for Nothing {}

/// Reads every key and keeps quiet.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Deaf {
    /// Bits of a weight.
    bits: u32,
}

does_nothing!(Deaf, "deaf");

/// A plugin that ignores a misspelt key.
pub fn deaf() -> &'static Descriptor {
    const DEAF: Descriptor = descriptor! {
        kind: Compressor,
        name: "deaf",
        settings: Deaf,
        version: 1,
        summary: "nothing",
        paper: "none",
        examples: ["[[compressor]]\ndeaf = { bits = 4 }"],
        file: "compressor.rs",
    };
    Box::leak(Box::new(DEAF))
}

/// Leaves what is off out, and does not tell that it is off without it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Secretive {
    /// Bits of a weight.
    bits: u32,
    /// Whether nothing is done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    off: bool,
}

does_nothing!(Secretive, "secretive");

/// A plugin whose schema does not tell a default.
pub fn secretive() -> &'static Descriptor {
    const SECRETIVE: Descriptor = descriptor! {
        kind: Compressor,
        name: "secretive",
        settings: Secretive,
        version: 1,
        summary: "nothing",
        paper: "none",
        examples: ["[[compressor]]\nsecretive = { bits = 4 }"],
        file: "compressor.rs",
    };
    Box::leak(Box::new(SECRETIVE))
}
