//! Optimizers with faults.
//!
//! ```text
//! L_CE + 1e-6 (L_mem + L_comp) moves everything
//! ```

use std::sync::atomic::{AtomicI64, Ordering};

use litesnn_framework::ground::Role;
use litesnn_framework::plugin::Descriptor;
use litesnn_framework::train::{Algorithm, Found, Optimizer, Rate, Search, StepReport};
use litesnn_framework::{Error, Result, descriptor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Kind;

use super::{each_breaks, keeps_all, with};

/// Everything in one pass.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Faulty {
    /// Learning rate of everything but the weights.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0))]
    rate: f64,
    /// What is wrong with it.
    #[serde(default)]
    #[schemars(with = "String")]
    fault: Fault,
}

fn tenth() -> f64 {
    0.1
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    NoTimesteps,
    CountsCalls,
    ForgetsScores,
    MovesMoreThanItSays,
    StateOutsideOfTheCheckpoint,
    NeedsBits,
    PanicsWithoutRate,
}

const FAULTY: Descriptor = descriptor! {
    kind: Optimizer,
    name: "faulty",
    settings: Faulty,
    version: 1,
    summary: "one pass with a fault",
    paper: "none",
    examples: ["[optimizer.faulty]\nrate = 0.1"],
    file: "optimizer.rs",
};

/// Each fault with the rules that it breaks.
pub const BROKEN: &[(&str, &[&str])] = &[
    ("no-timesteps", &["search"]),
    ("counts-calls", &["same-seed"]),
    ("forgets-scores", &["roles"]),
    ("moves-more-than-it-says", &["roles"]),
    ("state-outside-of-the-checkpoint", &["resume"]),
    ("needs-bits", &["without-compressors"]),
    ("panics-without-rate", &["extremes"]),
];

const OTHERS: [Role; 4] = [Role::Score, Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];

#[typetag::serde(name = "faulty")]
impl Optimizer for Faulty {
    fn search(&self, search: &mut Search) -> Result<Found> {
        static CALLS: AtomicI64 = AtomicI64::new(0);
        let fault = self.fault;
        if fault == Fault::PanicsWithoutRate && self.rate == 0.0 {
            panic!("attempt to divide by zero");
        }
        let bits = search.parts().parameters().of(&[Role::BitLogit]).count();
        if fault == Fault::NeedsBits && bits == 0 {
            let message = "there is nothing to quantise".into();
            return Err(Error::Plugin { kind: "optimizer", name: "faulty".into(), message });
        }
        let moved = if fault == Fault::ForgetsScores { &OTHERS[1..] } else { &OTHERS[..] };
        let adam = Algorithm::Adam { weight_decay: 0.0 };
        let mut descents = [search.weight_descent(), search.descent("others", moved, adam, Rate::Constant(self.rate))];
        let epochs = search.parts().training.epochs;
        let regime = search.parts().whole();
        let mut steps = 0.0;
        search.stage("search", epochs, regime, &mut descents, |parts, batch, epoch, descents| {
            steps += 1.0;
            parts.parameters().zero_grad();
            let response = parts.forward(batch, regime, true);
            let losses = parts.losses(&response, batch, epoch, regime);
            let mut loss = losses.cross_entropy + (losses.memory + losses.compute).to_kind(Kind::Float) * 1e-6;
            if fault == Fault::StateOutsideOfTheCheckpoint {
                loss /= steps;
            }
            loss.f_backward()?;
            descents.iter_mut().for_each(|descent| descent.step());
            let logits = response.logits.detach().mean_dim(0, false, None::<Kind>);
            Ok(StepReport { loss: loss.detach(), logits })
        })?;
        let mut design = search.decode();
        match fault {
            Fault::NoTimesteps => design.timesteps = 0,
            Fault::CountsCalls => design.timesteps = 1 + CALLS.fetch_add(1, Ordering::Relaxed) % 2,
            _ => {}
        }
        Ok(design.into())
    }

    fn moves(&self) -> Vec<Role> {
        let unsaid = (self.fault == Fault::MovesMoreThanItSays).then_some(Role::Score);
        Role::ALL.into_iter().filter(|role| Some(*role) != unsaid).collect()
    }
}

#[test]
fn an_optimizer_without_fault_keeps_every_rule() {
    keeps_all(&FAULTY);
}

/// A search is a whole trial, so that only the rules of the table are checked.
#[test]
fn an_optimizer_with_a_fault_breaks_the_rule_about_it() {
    let slow = ["search", "same-seed", "roles", "resume", "without-compressors", "extremes"];
    each_breaks(BROKEN, &slow, |fault| with(&FAULTY, format!("[optimizer.faulty]\nrate = 0.1\nfault = \"{fault}\"")));
}
