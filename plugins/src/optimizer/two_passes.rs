//! Two passes over every batch of a search: the first moves the weights, the second all other
//! parameters. A stage may also make one pass ([`Way`]).
//!
//! Source and formulas are those of `joint`.

use litesnn_framework::Result;
use litesnn_framework::ground::Role;
use litesnn_framework::network::{Path, Response, Techniques};
use litesnn_framework::train::{
    Algorithm, Batch, Descent, Gating, HeldOut, Losses, OpenDecisions, Rate, Refused, Regime, Search, SearchParts,
    StepReport, clip_gradients, decision,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::temperatures::Temperatures;

/// The settings of the two passes, written once for every plugin whose search makes them.
///
/// `two_pass_settings! { pub struct Name { ... } }` declares the settings of a plugin: its own,
/// each with its default, and those of the two passes. serde's `flatten` would do the same, but an
/// error in a flattened setting does not name the setting. The schema tells every default, of those
/// settings too that a trial's record leaves out. `two_pass_settings!(of settings)` takes the
/// [`TwoPasses`] out of the settings of a plugin. A plugin that chooses the architecture in
/// another way has no architecture logits to move: with `, choosing the architecture` in both places
/// it has no rate for them.
macro_rules! two_pass_settings {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        two_pass_settings! { @moving declare { $(#[$about])* $name { $($own)* } } }
    };
    ($(#[$about:meta])* pub struct $name:ident, choosing the architecture { $($own:tt)* }) => {
        two_pass_settings! { @choosing declare { $(#[$about])* $name { $($own)* } } }
    };
    (of $settings:expr) => { two_pass_settings! { @moving take { $settings } } };
    (of $settings:expr, choosing the architecture) => { two_pass_settings! { @choosing take { $settings } } };
    (@moving $what:ident { $($given:tt)* }) => {
        two_pass_settings! {
            @each $what { $($given)* }
            {
                /// Adam's learning rate for architecture logits (paper: 0.001).
                #[schemars(range(min = 0.0))]
                architecture_rate: f64 = 0.001,
            }
            {}
        }
    };
    (@choosing $what:ident { $($given:tt)* }) => {
        two_pass_settings! { @each $what { $($given)* } {} { architecture_rate: 0.0 } }
    };
    (@each $what:ident { $($given:tt)* } { $($architecture_rate:tt)* } { $($rest:tt)* }) => {
        two_pass_settings! {
            @$what { $($given)* } { $($rest)* }
            /// Weight of L_mem, per bit (paper, medium: 5e-10).
            #[schemars(range(min = 0.0))]
            lambda_memory: f64 = 5e-10,
            /// Weight of L_comp, per bit-operation of an image (paper, medium: 1.5e-12).
            #[schemars(range(min = 0.0))]
            lambda_compute: f64 = 1.5e-12,
            /// What the lambdas multiply: the terms themselves, or the terms relative to the
            /// network's own dense cost.
            lambda_unit: $crate::optimizer::two_passes::LambdaUnit =
                $crate::optimizer::two_passes::LambdaUnit::Absolute,
            /// Adam's learning rate for scores and bit logits (paper: 0.01).
            #[schemars(range(min = 0.0))]
            compression_rate: f64 = 0.01,
            $($architecture_rate)*
            /// Learning rate for timestep logits (paper: 0.025).
            #[schemars(range(min = 0.0))]
            timestep_rate: f64 = 0.025,
            /// The rule that moves timestep logits: the authors' program has `sgd`, the paper's text
            /// says `adam`.
            #[serde(skip_serializing_if = "crate::optimizer::two_passes::TimestepAlgorithm::is_default")]
            timestep_algorithm: $crate::optimizer::two_passes::TimestepAlgorithm =
                $crate::optimizer::two_passes::TimestepAlgorithm::Sgd,
            /// L2 penalty on scores, bit logits and architecture logits (paper: 1e-3).
            #[schemars(range(min = 0.0))]
            weight_decay: f64 = 1e-3,
            /// Decisions that are left to chance as a control of an ablation: "A" (architecture), "Q"
            /// (bits), "T" (timesteps). Their logits stay as they were drawn.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            #[schemars(extend("items" = { "type": "string", "enum": ["A", "Q", "T"] }, "uniqueItems" = true))]
            at_random: Vec<char> = Vec::new(),
        }
    };
    (
        @declare { $(#[$about:meta])* $name:ident {
            $($(#[$about_own:meta])* pub $own:ident: $own_type:ty = $own_default:expr,)*
        } } { $($rest:tt)* }
        $($(#[$about_pass:meta])* $pass:ident: $type:ty = $default:expr,)*
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(
                $(#[$about_own])*
                #[schemars(extend("default" = ::std::convert::identity::<$own_type>($own_default)))]
                pub $own: $own_type,
            )*
            $(
                $(#[$about_pass])*
                #[schemars(extend("default" = ::std::convert::identity::<$type>($default)))]
                pub $pass: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($own: $own_default,)* $($pass: $default,)* }
            }
        }
    };
    (@take { $settings:expr } { $($rest:tt)* } $($(#[$about:meta])* $pass:ident: $type:ty = $default:expr,)*) => {
        $crate::optimizer::two_passes::TwoPasses { $($pass: Clone::clone(&$settings.$pass),)* $($rest)* }
    };
}
pub(super) use two_pass_settings;

two_pass_settings! {
    /// Settings of the two passes.
    pub struct TwoPasses {}
}

/// What a lambda multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LambdaUnit {
    /// Bits, and bit-operations an image, as in the paper.
    Absolute,
    /// Fractions of the dense network's bits and bit-operations.
    Relative,
}

/// The rule that moves timestep logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimestepAlgorithm {
    /// SGD with momentum 0.9 and an L2 penalty of 3e-4; the rate falls by a cosine to a
    /// twenty-fifth.
    Sgd,
    /// Adam at a constant rate, with the L2 penalty of the architecture logits.
    Adam,
}

/// How many passes move the parameters of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Passes {
    /// The gradient of L_CE moves the weights; that of the whole loss, with the new weights, moves
    /// everything else (paper, Algorithm 1).
    #[default]
    Two,
    /// The gradient of the whole loss moves all parameters: about half the time of a step.
    One,
}

impl Passes {
    /// Whether a manifest need not name it.
    pub fn is_default(&self) -> bool {
        *self == Passes::default()
    }
}

/// The whole loss of a pass, in f32: of its terms, its response, the epoch (from 0) and the regime.
pub type Total<'a> = dyn Fn(&SearchParts, &Losses, &Response, usize, Regime) -> Result<Tensor> + 'a;

/// The path that both passes of a step in an epoch (from 0) take in a supernet; `None` for what the
/// regime has.
pub type Draw<'a> = dyn Fn(&SearchParts, &Batch, usize) -> Result<Option<Path>> + 'a;

/// How a stage differs from [`TwoPasses::stage`]: by default in nothing.
#[derive(Clone, Copy, Default)]
pub struct Way<'a, 'i> {
    /// How many passes a step makes.
    pub passes: Passes,
    /// The whole loss, in place of L_CE and the lambdas.
    pub total: Option<&'a Total<'a>>,
    /// Images for the second pass, in place of those of the first.
    pub held_out: Option<&'a HeldOut<'i>>,
    /// The paths that are taken.
    pub draw: Option<&'a Draw<'a>>,
    /// Done at the end of each step, and told the step's epoch (from 0).
    pub after_step: Option<&'a dyn Fn(usize)>,
    /// Whether the stage ends with an epoch (from 0), though others are left.
    pub ends: Option<&'a dyn Fn(usize) -> bool>,
    /// The temperatures of what is chosen, and the epochs of the search before the stage.
    pub temperatures: Option<(&'a Temperatures, usize)>,
}

/// The letter of a decision.
fn letter(role: Role) -> char {
    match role {
        Role::ArchitectureLogit => 'A',
        Role::TimestepLogit => 'T',
        _ => 'Q',
    }
}

impl TimestepAlgorithm {
    /// Whether a manifest need not name it.
    pub fn is_default(&self) -> bool {
        *self == TimestepAlgorithm::Sgd
    }
}

impl TwoPasses {
    /// The roles of parameters that move.
    pub fn moves(&self) -> Vec<Role> {
        let controls = self.controls();
        let moves = |role: &Role| *role == Role::Weight || (self.rate(*role).1 > 0.0 && !controls.contains(role));
        Role::ALL.into_iter().filter(moves).collect()
    }

    /// What an optimizer decides that chooses the architecture, and moves no logits of it.
    pub fn decides_by_choice(&self) -> Vec<Role> {
        [self.moves(), vec![Role::ArchitectureLogit]].concat()
    }

    /// The decisions that are left to chance, by the roles of their logits.
    pub fn controls(&self) -> Vec<Role> {
        let role = |letter: &char| match letter {
            'A' => Role::ArchitectureLogit,
            'Q' => Role::BitLogit,
            _ => Role::TimestepLogit,
        };
        self.at_random.iter().map(role).collect()
    }

    /// Refuses a rate of 0 for logits that decide something, in the settings of optimizer `name`.
    pub fn check(&self, name: &str, open: &OpenDecisions) -> Result<(), Refused> {
        let controls = self.controls();
        let stays = |role: &&Role| self.rate(**role).1 == 0.0 && !controls.contains(role);
        let Some(role) = open.roles.iter().find(stays) else { return Ok(()) };
        let (key, letter) = (format!("optimizer.{name}.{}", self.rate(*role).0), letter(*role));
        Err(Refused {
            message: format!("`{key}` is 0, so that {} would be decided at random", decision(*role)),
            help: format!("choose a rate above 0; a control of an ablation says so by `at_random = [\"{letter}\"]`"),
            key,
        })
    }

    /// The setting that is the learning rate of a role on the second pass, and its value.
    fn rate(&self, role: Role) -> (&'static str, f64) {
        match role {
            Role::ArchitectureLogit => ("architecture_rate", self.architecture_rate),
            Role::TimestepLogit => ("timestep_rate", self.timestep_rate),
            _ => ("compression_rate", self.compression_rate),
        }
    }

    /// Searches the architecture in the epochs of `[search]`, where there is one to decide, with
    /// nothing compressed, and continues with its final network, trained as `[retrain]` says.
    pub fn settle(&self, search: &mut Search) -> Result<()> {
        if search.parts().parameters().has_choice(Role::ArchitectureLogit) {
            let (epochs, timesteps) = (search.parts().training.epochs, search.timesteps());
            let regime = Regime { active: Techniques::NONE, timesteps, gating: Gating::Off, path: None };
            self.stage(search, "architecture", epochs, regime, &[Role::ArchitectureLogit])?;
        }
        search.settle(Techniques::NONE)
    }

    /// A stage of the search: every batch moves the weights on a first pass, and the parameters of
    /// `roles`, controls aside, on a second.
    pub fn stage(&self, search: &mut Search, name: &str, epochs: usize, regime: Regime, roles: &[Role]) -> Result<()> {
        self.stage_by(search, name, epochs, regime, roles, Way::default())
    }

    /// [`TwoPasses::stage`] in another way.
    pub fn stage_by(
        &self,
        search: &mut Search,
        name: &str,
        epochs: usize,
        regime: Regime,
        roles: &[Role],
        way: Way,
    ) -> Result<()> {
        let controls = self.controls();
        let roles: &[Role] = &roles.iter().copied().filter(|role| !controls.contains(role)).collect::<Vec<_>>();
        let mut descents = self.descents(search, roles);
        let (memory, compute) = self.lambdas(search.parts());
        let weighted = |_: &SearchParts, losses: &Losses, _: &Response, _: usize, _: Regime| {
            let terms = [(&losses.memory, memory), (&losses.compute, compute)];
            let terms = terms.map(|(term, lambda)| term.to_kind(Kind::Float) * lambda);
            Ok(terms.into_iter().fold(losses.cross_entropy.shallow_clone(), |total, term| total + term))
        };
        let total = way.total.unwrap_or(&weighted);
        let clip = search.parts().training.clip;
        let ends = |epoch: usize| way.ends.is_some_and(|ends| ends(epoch));
        search.stage_until(name, epochs, regime, &mut descents, ends, |parts, batch, epoch, descents| {
            let (weights, others) = descents.split_first_mut().expect("four descents were given");
            let cooled = way.temperatures.map(|(temperatures, before)| (temperatures, before + epoch));
            if let Some((temperatures, epoch)) = cooled {
                temperatures.apply(epoch);
            }
            let path = way.draw.map_or(Ok(None), |draw| draw(parts, batch, epoch))?;
            let regime = Regime { path: path.as_ref().or(regime.path), ..regime };
            let decides = others.iter().any(|descent| descent.tensors().next().is_some());
            let at_once = decides && way.passes == Passes::One;
            let forward = |roles: &[Role], batch: &Batch, measure: bool| {
                parts.parameters().zero_grad();
                parts.parameters().train_only(roles);
                parts.forward(batch, regime, measure)
            };

            let (response, loss) = if at_once {
                let response = forward(&[&[Role::Weight], roles].concat(), batch, true);
                let losses = parts.losses(&response, batch, epoch, regime);
                total(parts, &losses, &response, epoch, regime)?.f_backward()?;
                (response, losses.cross_entropy)
            } else {
                let response = forward(&[Role::Weight], batch, false);
                let loss = parts.cross_entropy(&response, batch, epoch, regime);
                loss.f_backward()?;
                (response, loss)
            };
            clip_gradients(weights.tensors(), clip);
            weights.step();

            if decides && !at_once {
                let other = way.held_out.map(|images| images.batch(epoch, batch.number));
                let batch = other.as_ref().unwrap_or(batch);
                let second = forward(roles, batch, true);
                let losses = parts.losses(&second, batch, epoch, regime);
                let loss = total(parts, &losses, &second, epoch, regime)?;
                // A compressor without scores, or one that does not act yet, leads to none of them.
                if loss.requires_grad() {
                    loss.f_backward()?;
                }
            }
            if decides {
                let mut step = || others.iter_mut().for_each(Descent::step);
                match cooled {
                    Some((temperatures, epoch)) => temperatures.step(epoch, step),
                    None => step(),
                }
            }

            parts.parameters().train_only(&Role::ALL);
            if let Some(after_step) = way.after_step {
                after_step(epoch);
            }
            let logits = response.logits.detach().mean_dim(0, false, None::<Kind>);
            Ok(StepReport { loss: loss.detach(), logits })
        })
    }

    /// The descents of the weights, and of those of `roles` that compression, architecture and
    /// timesteps have.
    fn descents(&self, search: &Search, roles: &[Role]) -> [Descent; 4] {
        let moving = |of: &[Role]| of.iter().copied().filter(|role| roles.contains(role)).collect::<Vec<_>>();
        let adam = Algorithm::Adam { weight_decay: self.weight_decay };
        let constant = Rate::Constant;
        let rate = self.timestep_rate;
        let (of_timesteps, timestep_rate) = match self.timestep_algorithm {
            TimestepAlgorithm::Sgd => {
                let sgd = Algorithm::Sgd { momentum: 0.9, weight_decay: 3e-4 };
                (sgd, Rate::Cosine { start: rate, end: rate / 25.0 })
            }
            TimestepAlgorithm::Adam => (adam, constant(rate)),
        };
        [
            search.weight_descent(),
            search.descent(
                "compression",
                &moving(&[Role::Score, Role::BitLogit]),
                adam,
                constant(self.compression_rate),
            ),
            search.descent("architecture", &moving(&[Role::ArchitectureLogit]), adam, constant(self.architecture_rate)),
            search.descent("timesteps", &moving(&[Role::TimestepLogit]), of_timesteps, timestep_rate),
        ]
    }

    /// What L_mem and L_comp, in bits and bit-operations, are multiplied with.
    pub fn lambdas(&self, parts: &SearchParts) -> (f64, f64) {
        let (memory_unit, compute_unit) = match self.lambda_unit {
            LambdaUnit::Absolute => (1.0, 1.0),
            LambdaUnit::Relative => parts.dense_cost(),
        };
        (self.lambda_memory / memory_unit, self.lambda_compute / compute_unit)
    }
}
