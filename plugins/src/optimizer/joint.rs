//! Joint optimisation of architecture, pruning, quantisation and timesteps.
//!
//! Source: LitE-SNN (Liu et al., IJCAI 2024), Section 3.4 and Algorithm 1, Eq. 15.
//!
//! Every step makes two passes over the same batch:
//!
//! ```text
//! 1.  L_CE                                                 moves the weights: SGD, clipped, cosine schedule
//! 2.  L_CE + lambda_memory · L_mem + lambda_compute · L_comp, with the new weights
//!                                                          moves scores and beta (Adam), alpha (Adam), psi (SGD or Adam)
//! ```
//!
//! L_mem is in bits, L_comp in bit-operations an image. The authors' program sums L_comp over its
//! batch of 30; their lambda of 5e-14 is 1.5e-12 here. With `lambda_unit = "relative"` both terms
//! are divided by what they are for the same layers in full precision, nothing pruned, every neuron
//! firing at every timestep: then a lambda travels between data sets and widths.
//!
//! psi: the authors' program moves it by SGD, which is the default here, and the paper's text says
//! Adam (`timestep_algorithm = "adam"`).
//!
//! What else differs from the authors' program: docs/authors-program.md.
//!
//! Logits that do not move would decide at random, so a rate of 0 is refused where there is
//! something to decide. The "joint without A" of an ablation is `at_random = ["A"]`: it decodes an
//! architecture from the random initial alpha.
//!
//! # Options that the paper does not have
//!
//! All are off by default, and then a search is the paper's to the bit.
//!
//! - `passes = "one"`: the gradient of the whole loss moves all parameters, the weights too, at about
//!   half the time of a step. L_comp then has no gradient to the weights either, since its firing
//!   rates are constants.
//! - `held_out`: the second pass reads the training images that `samples` of `[search]` leaves out, so
//!   that what decides is trained on images that the weights have not seen (bi-level, as DARTS).
//! - `target_stored_bytes`, `target_bit_syn_ops`: a cost of the retrained network at most, in place of
//!   a lambda for it, by a multiplier mu that moves at `multiplier_rate`; the formula is below. The
//!   cost is counted at the widths of retraining (`targets.rs`).
//! - `architecture_entropy`: adds that weight times the mean over edges of the entropy of
//!   softmax(alpha), -sum p ln p, so that an edge makes up its mind.
//! - `hardened_epochs`: the last epochs of the search, but not all, go on with the choices of
//!   architecture and bits that are made then, so that scores and timesteps are searched for what is
//!   decoded.
//! - `temperature`: softmax(alpha), softmax(beta) and softmax(psi) are of logits over a temperature that
//!   falls from epoch to epoch, so that the supernet ends near to what is decoded; `temperatures.rs` has
//!   the formulas. Meanwhile a target counts the network that softmax(alpha / tau) decodes to.
//!
//! ```text
//! g = C / target - 1                         C: what the retrained network is expected to cost
//! loss of a step: + max(0, mu + g) · g       the factor without a gradient
//! mu = 0, then max(0, mu + multiplier_rate · g) after each step
//! ```

use super::targets::Targets;
use super::temperatures::{Falling, Temperatures};
use super::two_passes::{LambdaUnit, Passes, Total, TwoPasses, Way, two_pass_settings};
use litesnn_framework::ground::Role;
use litesnn_framework::network::Response;
use litesnn_framework::train::{Found, Gating, Losses, OpenDecisions, Optimizer, Refused, Regime, Search, SearchParts};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tch::{Kind, Tensor};

two_pass_settings! {
    /// Settings of `joint`.
    pub struct Joint {
        /// How many passes over a batch a step makes.
        #[serde(skip_serializing_if = "Passes::is_default")]
        pub passes: Passes = Passes::Two,
        /// Whether the second pass reads the training images that `samples` leaves out.
        #[serde(skip_serializing_if = "is_off")]
        pub held_out: bool = false,
        /// What the file of the retrained network takes at most, masks included, in place of
        /// `lambda_memory`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "f64", extend("exclusiveMinimum" = 0.0, "x-unit" = "bytes"))]
        pub target_stored_bytes: Option<f64> = None,
        /// Bit-SynOps of an image in the retrained network at most, in place of `lambda_compute`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "f64", extend("exclusiveMinimum" = 0.0, "x-unit" = "bit-operations of an image"))]
        pub target_bit_syn_ops: Option<f64> = None,
        /// How fast the multiplier mu of a target moves: by this times C / target - 1 in a step, C
        /// being the cost.
        #[serde(skip_serializing_if = "is_default_rate")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        pub multiplier_rate: f64 = MULTIPLIER_RATE,
        /// Weight of the entropy of the architecture logits.
        #[serde(skip_serializing_if = "is_zero")]
        #[schemars(range(min = 0.0))]
        pub architecture_entropy: f64 = 0.0,
        /// Epochs, of those of the search, at the end of which architecture and bits are decided.
        #[serde(skip_serializing_if = "is_none")]
        pub hardened_epochs: usize = 0,
        /// A temperature that falls over the epochs of the search, by the same factor from each to the
        /// next.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Falling")]
        pub temperature: Option<Falling> = None,
    }
}

/// `multiplier_rate` where a manifest has none.
const MULTIPLIER_RATE: f64 = 0.02;

fn is_default_rate(rate: &f64) -> bool {
    *rate == MULTIPLIER_RATE
}

fn is_off(option: &bool) -> bool {
    !option
}

fn is_zero(weight: &f64) -> bool {
    *weight == 0.0
}

fn is_none(epochs: &usize) -> bool {
    *epochs == 0
}

register! {
    kind: Optimizer,
    name: "joint",
    settings: Joint,
    version: 4,
    summary: "architecture, pruning, bits and timesteps together, in two passes a step",
    paper: "Liu et al., LitE-SNN, IJCAI 2024",
    examples: [
        "[optimizer.joint]\nlambda_memory = 5e-10\nlambda_compute = 1.5e-12",
        "[optimizer.joint]\nlambda_memory = 0.5\nlambda_compute = 1.0\nlambda_unit = \"relative\"",
        "[optimizer.joint]\npasses = \"one\"\ntarget_stored_bytes = 20_000\ntarget_bit_syn_ops = 1e6",
        "[optimizer.joint]\nhardened_epochs = 1\ntemperature = { from = 1.0, to = 0.1 }",
    ],
    file: "joint.rs",
}

#[typetag::serde(name = "joint")]
impl Optimizer for Joint {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let (epochs, regime, hardened) = (search.parts().training.epochs, search.parts().whole(), self.hardened_epochs);
        let roles = [Role::Score, Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];
        let targets = Targets::new(search, self.target_stored_bytes, self.target_bit_syn_ops, self.multiplier_rate)?;
        let passes = self.two_passes();
        let temperatures = self.temperature.map(|falling| Temperatures::new(search, falling, &self.cooled()));
        let temperatures = temperatures.transpose()?;
        let lambdas = passes.lambdas(search.parts());
        let total = |parts: &SearchParts, losses: &Losses, response: &Response, epoch: usize, regime: Regime| {
            let total = self.weighed(lambdas, parts, losses);
            Ok(match &targets {
                Some(targets) => total + targets.penalty(parts, response, epoch, regime)?,
                None => total,
            })
        };
        let stage = |search: &mut Search, name: &str, epochs: Range<usize>, regime: Regime, roles: &[Role]| {
            let held_out = self.held_out.then(|| search.held_out(name)).transpose()?;
            let temperatures = temperatures.as_ref().map(|temperatures| (temperatures, epochs.start));
            let (total, held_out): (Option<&Total>, _) = (Some(&total), held_out.as_ref());
            let way = Way { passes: self.passes, total, held_out, temperatures, ..Way::default() };
            passes.stage_by(search, name, epochs.len(), regime, roles, way)
        };
        stage(search, "search", 0..epochs - hardened, regime, &roles)?;
        if hardened > 0 {
            if !search.has_begun("hardened") {
                temperatures.iter().for_each(Temperatures::lift);
                [Role::ArchitectureLogit, Role::BitLogit].into_iter().for_each(|role| search.harden(role));
                temperatures.iter().for_each(Temperatures::adopt);
            }
            let regime = Regime { gating: Gating::Warm, ..regime };
            stage(search, "hardened", epochs - hardened..epochs, regime, &[Role::Score, Role::TimestepLogit])?;
        }
        temperatures.iter().for_each(Temperatures::lift);
        if let Some(targets) = &targets {
            search.note(&targets.reached());
        }
        Ok(search.decode().into())
    }

    fn moves(&self) -> Vec<Role> {
        self.two_passes().moves()
    }

    fn controls(&self) -> Vec<Role> {
        self.two_passes().controls()
    }

    fn keeps_supernet(&self) -> bool {
        true
    }

    fn holds_out(&self) -> Option<&'static str> {
        self.held_out.then_some("held_out")
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        self.refuse_two_weights()?;
        self.refuse_one_pass_over_two_batches()?;
        self.refuse_a_temperature_that_rises()?;
        self.refuse_hardening_from_the_start(open.search.epochs)?;
        self.refuse_unread(open)?;
        self.two_passes().check("joint", open)?;
        open.check_warmup(&self.controls())
    }
}

impl Joint {
    fn two_passes(&self) -> TwoPasses {
        two_pass_settings!(of self)
    }

    /// L_CE, each cost that has no target times its lambda, and the entropy of the architecture.
    fn weighed(&self, (memory, compute): (f64, f64), parts: &SearchParts, losses: &Losses) -> Tensor {
        let costs =
            [(&losses.memory, memory, self.target_stored_bytes), (&losses.compute, compute, self.target_bit_syn_ops)];
        let costs = costs.into_iter().filter(|(_, _, target)| target.is_none());
        let costs = costs.map(|(term, lambda, _)| term.to_kind(Kind::Float) * lambda);
        let alphas = parts.parameters().of(&[Role::ArchitectureLogit]);
        let entropies = alphas.filter(|_| self.architecture_entropy > 0.0);
        let entropies = entropies.map(|alpha| entropy(&alpha.tensor) * self.architecture_entropy);
        // Not `+=`, which would change the cross-entropy itself, and with it the loss that is told.
        costs.chain(entropies).fold(losses.cross_entropy.shallow_clone(), |total, term| total + term)
    }

    /// Refuses options that nothing reads, and a target that nothing which is searched brings nearer.
    fn refuse_unread(&self, open: &OpenDecisions) -> Result<(), Refused> {
        let unread = |setting, why, help| Err(Refused::unread("joint", setting, why, help));
        let targets = [self.target_stored_bytes, self.target_bit_syn_ops];
        if self.multiplier_rate != MULTIPLIER_RATE && targets == [None, None] {
            let help = "give `target_stored_bytes` or `target_bit_syn_ops`";
            return unread("multiplier_rate", "no cost has a target", help);
        }
        if self.lambda_unit != LambdaUnit::Absolute && targets.iter().all(Option::is_some) {
            return unread("lambda_unit", "both costs have a target, and no lambda", "leave one cost its lambda");
        }
        let moves = self.moves();
        let searched = |role: &Role| open.roles.contains(role) && moves.contains(role);
        if self.architecture_entropy > 0.0 && !searched(&Role::ArchitectureLogit) {
            return unread("architecture_entropy", "no architecture is searched", "search one");
        }
        if self.temperature.is_some() && !self.cooled().iter().any(searched) {
            let help = "search an architecture, bit-widths or timesteps";
            return unread("temperature", "the search moves nothing that is chosen by softmax", help);
        }
        // A pruner may have rates that are searched, which change the operations of an image.
        let stored = [Role::ArchitectureLogit, Role::BitLogit].iter().any(searched);
        let operations = stored || searched(&Role::TimestepLogit) || open.techniques.prune;
        if self.target_stored_bytes.is_some() && !stored {
            let why = "neither an architecture nor bit-widths are searched, so that what is stored is fixed";
            return unread("target_stored_bytes", why, "search one of them");
        }
        if self.target_bit_syn_ops.is_some() && !operations {
            return unread("target_bit_syn_ops", "nothing that is searched changes the operations", "search something");
        }
        Ok(())
    }

    /// Refuses choices that are made before the first epoch of a search of so many.
    fn refuse_hardening_from_the_start(&self, epochs: usize) -> Result<(), Refused> {
        if self.hardened_epochs < epochs || self.hardened_epochs == 0 {
            return Ok(());
        }
        Err(Refused {
            key: "optimizer.joint.hardened_epochs".into(),
            message: format!(
                "`optimizer.joint.hardened_epochs` is {}, and `search.epochs` is {epochs}: architecture and bits would be \
                 decided at random, before the first epoch",
                self.hardened_epochs
            ),
            help: format!("it is 0 to {}; or search for more epochs", epochs.saturating_sub(1)),
        })
    }

    /// Refuses held-out images for a second pass that there is none of.
    fn refuse_one_pass_over_two_batches(&self) -> Result<(), Refused> {
        if !self.held_out || self.passes == Passes::Two {
            return Ok(());
        }
        Err(Refused {
            key: "optimizer.joint.held_out".into(),
            message: "`held_out` gives images to a second pass, and `passes` is \"one\"".into(),
            help: "leave one of the two out".into(),
        })
    }

    /// The roles whose choices have a temperature: those that the search moves.
    fn cooled(&self) -> Vec<Role> {
        let chosen = [Role::BitLogit, Role::ArchitectureLogit, Role::TimestepLogit];
        self.moves().into_iter().filter(|role| chosen.contains(role)).collect()
    }

    fn refuse_a_temperature_that_rises(&self) -> Result<(), Refused> {
        let Some(Falling { from, to }) = self.temperature.filter(|falling| falling.to > falling.from) else {
            return Ok(());
        };
        Err(Refused {
            key: "optimizer.joint.temperature.to".into(),
            message: format!("`to` is {to}, and the temperature begins at {from}: it would rise"),
            help: format!("`to` has to be `from` or less, here {from}"),
        })
    }

    /// Refuses a cost that has both a lambda, other than the default, and a target.
    fn refuse_two_weights(&self) -> Result<(), Refused> {
        let default = TwoPasses::default();
        let both = [
            ("memory", self.lambda_memory != default.lambda_memory, "target_stored_bytes", self.target_stored_bytes),
            ("compute", self.lambda_compute != default.lambda_compute, "target_bit_syn_ops", self.target_bit_syn_ops),
        ];
        let Some((cost, _, target, _)) = both.into_iter().find(|(_, given, _, target)| *given && target.is_some())
        else {
            return Ok(());
        };
        Err(Refused {
            key: format!("optimizer.joint.lambda_{cost}"),
            message: format!("`lambda_{cost}` and `{target}` both weigh the same cost"),
            help: format!("keep one: `{target}` finds the weight itself"),
        })
    }
}

/// Mean over the rows of alpha `[edges, operations]` of -sum p ln p, p = softmax: a scalar.
fn entropy(alpha: &Tensor) -> Tensor {
    let (p, logarithm) = (alpha.softmax(-1, Kind::Float), alpha.log_softmax(-1, Kind::Float));
    // p ln p is 0 where p is, and not NaN.
    -(p * logarithm.clamp_min(f64::from(f32::MIN))).sum_dim_intlist(-1, false, Kind::Float).mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln 4 of four equal ones, and -(3/4 ln 3/4 + 1/4 ln 1/4) of two that are ln 3 apart.
    #[test]
    fn the_entropy_of_an_edge_has_its_closed_values() {
        let of = |rows: &[f32], columns: i64| entropy(&Tensor::from_slice(rows).view([-1, columns])).double_value(&[]);
        assert!((of(&[0.0; 8], 4) - 4f64.ln()).abs() < 1e-6);
        let unequal = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((of(&[3f32.ln(), 0.0], 2) - unequal).abs() < 1e-6);
        assert_eq!(of(&[0.0, litesnn_framework::network::NEVER as f32], 2), 0.0);
    }

    #[test]
    fn a_cost_has_a_lambda_or_a_target() {
        let read = |settings: &str| serde_json::from_str::<Joint>(settings).unwrap();
        assert!(read(r#"{ "target_stored_bytes": 1e4 }"#).refuse_two_weights().is_ok());
        assert!(read(r#"{ "lambda_memory": 1e-9, "target_bit_syn_ops": 1e6 }"#).refuse_two_weights().is_ok());
        let refused =
            read(r#"{ "lambda_compute": 1e-9, "target_bit_syn_ops": 1e6 }"#).refuse_two_weights().unwrap_err();
        assert_eq!(refused.key, "optimizer.joint.lambda_compute");
        assert!(
            refused.message.contains("`lambda_compute` and `target_bit_syn_ops` both weigh"),
            "{}",
            refused.message
        );
    }
}
