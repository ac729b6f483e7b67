//! What a search has to decide, and whether it will: known before anything runs.
//!
//! A decision is an argmax over logits that were drawn at random, 1e-3 · N(0, 1). Where training
//! does not move them, the argmax is that of the noise. So a search whose settings leave logits
//! where they are is refused, unless the manifest says that the decision is a control.

use super::{Beginning, Optimizer, Training};
use crate::data::DataInfo;
use crate::ground::{Build, Parameters, Role};
use crate::network::{Misfit, NamedCompressors, Network, SearchSpace, Techniques, TimestepSearcher};
use crate::{Error, Result};

/// The decisions that a search has to make, and the training that it has for them.
#[derive(Debug, Clone)]
pub struct OpenDecisions<'a> {
    /// Roles of the logits over two candidates or more.
    pub roles: Vec<Role>,
    /// Techniques of the compressors that act on the supernet.
    pub techniques: Techniques,
    /// Whether the supernet runs the path of one architecture.
    pub paths: bool,
    /// Whether a compressor of the supernet changes with training by a schedule.
    pub scheduled: bool,
    /// Why the final network cannot begin with the weights of the supernet; `None` where it can.
    pub uninheritable: Option<Misfit>,
    /// Epochs in which the timestep searcher keeps its logits where they are.
    pub warmup: usize,
    /// `[search]`
    pub search: &'a Training,
    /// `[retrain]`
    pub retrain: &'a Training,
}

/// A setting that would leave a decision to chance, that asks for what the search cannot do, or that
/// nothing reads: a row that has it would silently be another row once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Dotted path of the setting.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub help: String,
}

impl<'a> OpenDecisions<'a> {
    /// The decisions that are open in a supernet with these parameters.
    pub fn of(
        space: &dyn SearchSpace,
        network: &dyn Network,
        parameters: &Parameters,
        timesteps: &dyn TimestepSearcher,
        (search, retrain): (&'a Training, &'a Training),
    ) -> OpenDecisions<'a> {
        let decided = [Role::ArchitectureLogit, Role::BitLogit, Role::TimestepLogit];
        OpenDecisions {
            roles: decided.into_iter().filter(|role| parameters.has_choice(*role)).collect(),
            techniques: network.techniques(),
            paths: space.runs_paths(),
            scheduled: network.layers().iter().any(|layer| layer.weight.is_scheduled(Techniques::ALL)),
            uninheritable: space.refuses_inheritance(),
            warmup: timesteps.warmup(),
            search,
            retrain,
        }
    }

    /// The same, of a supernet that is built in outline for data of this form.
    ///
    /// # Errors
    ///
    /// What the plugins refuse.
    pub fn outline(
        space: &dyn SearchSpace,
        compressors: &NamedCompressors,
        timesteps: &dyn TimestepSearcher,
        info: &DataInfo,
        training: (&'a Training, &'a Training),
    ) -> Result<OpenDecisions<'a>> {
        let mut parameters = Parameters::default();
        let mut build = Build::outline(&mut parameters);
        timesteps.attach(&mut build.at("timesteps"))?;
        let supernet = space.supernet(info, compressors, &mut build)?;
        let network: &dyn Network = supernet.as_ref();
        Ok(OpenDecisions::of(space, network, &parameters, timesteps, training))
    }

    /// Refuses a space without the paths that the optimizer needs, what the optimizer itself refuses,
    /// retraining that cannot begin as the manifest says, and an open decision whose logits the
    /// optimizer does not move and that is no control.
    pub fn check(&self, optimizer: &dyn Optimizer) -> Result<(), Refused> {
        let (decides, controls, name) = (optimizer.decides(), optimizer.controls(), optimizer.typetag_name());
        if optimizer.needs_paths() && !self.paths {
            return Err(Refused {
                key: format!("optimizer.{name}"),
                message: "the supernet of this space does not run the path of one architecture".into(),
                help: "take a space whose supernet does".into(),
            });
        }
        optimizer.check(self)?;
        self.check_held_out(optimizer)?;
        self.check_beginning(optimizer)?;
        match self.roles.iter().find(|role| !controls.contains(role) && !decides.contains(role)) {
            None => Ok(()),
            Some(role) => Err(Refused {
                key: format!("optimizer.{name}"),
                message: format!(
                    "[optimizer.{name}] leaves {} to chance: it does not move their logits",
                    decision(*role)
                ),
                help: "use an optimizer that decides it, or leave one candidate".into(),
            }),
        }
    }

    /// Refuses a search on images that the weights do not see, where they see all.
    fn check_held_out(&self, optimizer: &dyn Optimizer) -> Result<(), Refused> {
        let Some(setting) = optimizer.holds_out().filter(|_| self.search.samples.is_none()) else { return Ok(()) };
        Err(Refused {
            key: format!("optimizer.{}.{setting}", optimizer.typetag_name()),
            message: format!(
                "`{setting}` takes images that the weights are not trained on, and there are none: [search] has no `samples`"
            ),
            help: "set `search.samples` to the images that the weights are to see, such as half of them".into(),
        })
    }

    /// Refuses retraining that is to begin with weights of the search, where none are left that fit.
    fn check_beginning(&self, optimizer: &dyn Optimizer) -> Result<(), Refused> {
        if self.retrain.from == Beginning::New {
            return Ok(());
        }
        let name = optimizer.typetag_name();
        let (why, help) = if !optimizer.retrains() {
            (format!("`{name}` trains the final weights in its own stages, and nothing is retrained"), None)
        } else if !optimizer.keeps_supernet() {
            (format!("`{name}` leaves no trained supernet"), None)
        } else if let Some(Misfit { message, help, .. }) = &self.uninheritable {
            (message.clone(), help.clone())
        } else if self.scheduled {
            let why = "a compressor follows a schedule, which would begin again on weights that it has compressed";
            (why.to_owned(), None)
        } else {
            return Ok(());
        };
        let new = "retrain from new weights: take `from` out of [retrain]".to_owned();
        Err(Refused {
            key: "retrain.from".into(),
            message: format!("`retrain.from` is \"search\", and {why}"),
            help: help.map_or_else(|| new.clone(), |help| format!("{help}; or {new}")),
        })
    }

    /// Refuses a search that ends with the warm-up of its timesteps, unless their number is among
    /// the `controls`.
    pub fn check_warmup(&self, controls: &[Role]) -> Result<(), Refused> {
        self.check_warmup_of(("search.epochs", self.search.epochs), controls)
    }

    /// The same of another training than that of `[search]`, which has the epochs of the setting `key`.
    pub fn check_warmup_of(&self, (key, epochs): (&str, usize), controls: &[Role]) -> Result<(), Refused> {
        let open = self.roles.contains(&Role::TimestepLogit) && !controls.contains(&Role::TimestepLogit);
        if !open || epochs > self.warmup {
            return Ok(());
        }
        let warmup = match self.warmup {
            1 => "the first epoch is".to_owned(),
            count => format!("the first {count} epochs are"),
        };
        Err(Refused {
            key: key.into(),
            message: format!(
                "`{key}` is {epochs}, and {warmup} the warm-up of the timesteps: their number would be decided at random"
            ),
            help: format!(
                "{} for {} epochs or more, or make the warm-up shorter",
                if key.starts_with("search") { "search" } else { "train" },
                self.warmup + 1
            ),
        })
    }
}

/// What logits of a role decide.
pub fn decision(role: Role) -> &'static str {
    match role {
        Role::ArchitectureLogit => "the architecture",
        Role::BitLogit => "the bit-widths",
        Role::TimestepLogit => "the number of timesteps",
        Role::Score => "the masks",
        Role::Weight => "the weights",
    }
}

impl Refused {
    /// A setting of the optimizer `name` that nothing reads.
    pub fn unread(name: &str, setting: &str, why: &str, help: &str) -> Refused {
        let key = format!("optimizer.{name}.{setting}");
        Refused { message: format!("nothing reads `{key}`: {why}"), help: format!("{help}, or take it out"), key }
    }

    /// The same as an error of the optimizer plugin of that name.
    pub fn into_error(self, name: &str) -> Error {
        Error::Plugin { kind: "optimizer", name: name.to_owned(), message: format!("{}; {}", self.message, self.help) }
    }
}
