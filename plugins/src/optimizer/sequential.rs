//! Sequential optimisation: architecture, pruning, quantisation and timesteps one after another.
//!
//! Source: the comparison of LitE-SNN (Liu et al., IJCAI 2024), Section 4.4, Table 4. How epochs
//! were divided there is not published.
//!
//! Every step is that of `joint` with only its own parameters moving beside the weights, and what
//! it decides holds from then on:
//!
//! | step | moves | decides |
//! |---|---|---|
//! | A | alpha | the edges; the search continues with the final network of these, from new weights, as `[retrain]` says |
//! | P | scores; the pruners are switched on | the masks |
//! | Q | beta; the quantisers are switched on | bits of each cell |
//! | T | psi; before, all timesteps count | the number of timesteps |
//!
//! ```text
//! order A, P, Q, T:    [search] epochs: A        [retrain] epochs in equal shares: train, P, Q, T
//! order P, A, Q, T:    [search] epochs: P, A     [retrain] epochs: train, Q, T
//! ```
//!
//! So the total of epochs is that of `joint` by construction. Steps up to A share `[search]`, the
//! others share `[retrain]` with a first stage that trains the architecture as it is. Weights are
//! carried from step to step and are the final ones: nothing is retrained afterwards. A design
//! found this way and retrained from new weights is another experiment: `[design] from`.
//!
//! What a step before A decides:
//!
//! - **P** decides that the supernet is pruned while its architecture is chosen. Masks belong to
//!   weights, and the final network has new ones: it is pruned from its first stage on, and `train`
//!   moves its scores beside its weights, as P did in the supernet.
//! - **Q** decides the bits of each cell: the final network has them from its first stage on.
//! - **T** decides the number of timesteps: the supernet and the final network run no more of them.
//!
//! A quantiser that prunes as well (`branch-wise`) is switched on at Q; where nothing else prunes,
//! Q moves its scores beside beta.
//!
//! A step that the manifest has nothing for (no pruner, no quantiser, `[timesteps.fixed]`) has no
//! epochs. In a space with one architecture alone there is no A, wherever it stands in the order:
//! all other steps share `[retrain]`, and nothing reads the epochs of `[search]`. Scores of a pruner that is switched on start from the weights trained so far, as in
//! HYDRA. The timestep searcher has no warm-up: the weights were trained before. When T is the last
//! step that trains, the running statistics of normalisation were taken over all timesteps, and are
//! estimated again at T (see `Search::take_parameters`).

use litesnn_framework::ground::Role;
use litesnn_framework::network::{Technique, Techniques};
use litesnn_framework::plugin::checked;
use litesnn_framework::train::{Found, Gating, OpenDecisions, Optimizer, Refused, Regime, Search};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::shares::shares;
use super::two_passes::{TwoPasses, two_pass_settings};

two_pass_settings! {
    /// Settings of `sequential`.
    pub struct Sequential {
        /// The steps: A, P, Q, T, each once (paper: A, P, Q, T).
        #[serde(deserialize_with = "order")]
        pub order: Vec<char> = vec!['A', 'P', 'Q', 'T'],
    }
}

fn order<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<char>, D::Error> {
    let holds = |order: &Vec<char>| {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted == ['A', 'P', 'Q', 'T']
    };
    checked(input, holds, "the letters A, P, Q, T in any order, each once")
}

const NAME: &str = "sequential";

register! {
    kind: Optimizer,
    name: "sequential",
    settings: Sequential,
    version: 3,
    summary: "architecture, pruning, bits and timesteps one after another, in any order",
    paper: "the comparison in Liu et al., LitE-SNN, IJCAI 2024, Table 4",
    examples: ["[optimizer.sequential]\norder = [\"A\", \"P\", \"Q\", \"T\"]"],
    file: "sequential.rs",
}

/// A stage of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Architecture,
    /// Trains the settled architecture as it is.
    Train,
    Prune,
    Quantize,
    Timesteps,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Architecture => "architecture",
            Step::Train => "train",
            Step::Prune => "prune",
            Step::Quantize => "quantize",
            Step::Timesteps => "timesteps",
        }
    }

    /// The parameters that it moves beside the weights, where compressors of the techniques
    /// `attached` are there and those of `before` were switched on earlier.
    fn roles(self, attached: Techniques, before: Techniques) -> &'static [Role] {
        // Without a pruner, scores are those of a quantiser.
        let masked = if attached.prune { before.prune } else { before.quantize };
        match self {
            Step::Architecture => &[Role::ArchitectureLogit],
            // Masks that were learned for other weights are learned anew.
            Step::Train if masked => &[Role::Score],
            Step::Train => &[],
            Step::Prune => &[Role::Score],
            Step::Quantize if !attached.prune => &[Role::BitLogit, Role::Score],
            Step::Quantize => &[Role::BitLogit],
            Step::Timesteps => &[Role::TimestepLogit],
        }
    }

    /// The techniques of compression that act from here on.
    fn switches_on(self) -> Techniques {
        match self {
            Step::Prune => Techniques::only(Technique::Prune),
            Step::Quantize => Techniques::only(Technique::Quantize),
            _ => Techniques::NONE,
        }
    }

    /// Whether the manifest has something for it to do.
    fn concerns(self, techniques: Techniques, timesteps: bool) -> bool {
        match self {
            Step::Architecture | Step::Train => true,
            Step::Prune => techniques.prune,
            Step::Quantize => techniques.quantize,
            Step::Timesteps => timesteps,
        }
    }

    fn of(letter: char) -> Step {
        match letter {
            'A' => Step::Architecture,
            'P' => Step::Prune,
            'Q' => Step::Quantize,
            _ => Step::Timesteps,
        }
    }
}

#[typetag::serde(name = "sequential")]
impl Optimizer for Sequential {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let passes = self.passes();
        let mut active = Techniques::NONE;
        let architecture = search.parts().parameters().has_choice(Role::ArchitectureLogit);
        for (section, steps) in self.sections(architecture) {
            let epochs = match section {
                Section::Search => search.parts().training.epochs,
                Section::Retrain => {
                    search.settle(active)?;
                    search.retrain().epochs
                }
            };
            run_steps(&passes, search, &steps, epochs, &mut active)?;
        }
        Ok(Found { trained: Some(search.take_parameters()?), ..search.decode().into() })
    }

    fn moves(&self) -> Vec<Role> {
        self.passes().moves()
    }

    fn controls(&self) -> Vec<Role> {
        self.passes().controls()
    }

    fn retrains(&self) -> bool {
        false
    }

    /// Every step needs an epoch.
    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        self.passes().check(NAME, open)?;
        let timesteps = open.roles.contains(&Role::TimestepLogit);
        for (section, mut steps) in self.sections(open.roles.contains(&Role::ArchitectureLogit)) {
            steps.retain(|step| step.concerns(open.techniques, timesteps));
            let (name, epochs) = match section {
                Section::Search => ("search", open.search.epochs),
                Section::Retrain => ("retrain", open.retrain.epochs),
            };
            if epochs < steps.len() {
                let names: Vec<&str> = steps.iter().map(|step| step.name()).collect();
                return Err(Refused {
                    key: format!("{name}.epochs"),
                    message: format!(
                        "`{name}.epochs` is {epochs}, and {} steps of `{NAME}` share it ({}): a step without an epoch would decide at random",
                        steps.len(),
                        names.join(", ")
                    ),
                    help: format!("train for {} epochs or more", steps.len()),
                });
            }
        }
        Ok(())
    }
}

/// The section whose epochs steps share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// The supernet, up to A.
    Search,
    /// The final network, after A.
    Retrain,
}

impl Sequential {
    fn passes(&self) -> TwoPasses {
        two_pass_settings!(of self)
    }

    /// The steps of each section, where the architecture is to decide and where it is not.
    fn sections(&self, architecture: bool) -> [(Section, Vec<Step>); 2] {
        let steps = |letters: &[char]| letters.iter().map(|letter| Step::of(*letter)).collect::<Vec<_>>();
        let (before, after) = if architecture {
            let settling = self.order.iter().position(|letter| *letter == 'A').unwrap_or(0);
            let (before, after) = self.order.split_at(settling + 1);
            (steps(before), steps(after))
        } else {
            let mut all = steps(&self.order);
            all.retain(|step| *step != Step::Architecture);
            (Vec::new(), all)
        };
        [(Section::Search, before), (Section::Retrain, [vec![Step::Train], after].concat())]
    }
}

/// The steps of one network. `active` is what was switched on so far.
fn run_steps(
    passes: &TwoPasses,
    search: &mut Search,
    steps: &[Step],
    epochs: usize,
    active: &mut Techniques,
) -> Result<()> {
    let attached = search.parts().network().techniques();
    let timesteps = search.parts().parameters().has_choice(Role::TimestepLogit);
    let count = steps.iter().filter(|step| step.concerns(attached, timesteps)).count();
    let mut epochs = shares(epochs, count).into_iter();
    for step in steps {
        let roles = step.roles(attached, *active);
        let new = step.switches_on();
        *active = active.and(new);
        search.switch_on(new, step.name());
        if step.concerns(attached, timesteps) {
            let gating = if *step == Step::Timesteps { Gating::Warm } else { Gating::Off };
            let regime = Regime { active: *active, timesteps: search.timesteps(), gating, path: None };
            passes.stage(search, step.name(), epochs.next().unwrap_or(0), regime, roles)?;
        }
        match step {
            Step::Quantize => search.harden(Role::BitLogit),
            Step::Timesteps => search.decide_timesteps(),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_architecture_to_decide_all_steps_are_of_the_final_network() {
        let steps = |order: [char; 4], architecture| {
            let sequential = Sequential { order: order.into(), ..Sequential::default() };
            sequential.sections(architecture).map(|(_, steps)| steps.into_iter().map(Step::name).collect::<Vec<_>>())
        };
        let order = ['P', 'A', 'Q', 'T'];
        assert_eq!(steps(order, true), [vec!["prune", "architecture"], vec!["train", "quantize", "timesteps"]]);
        assert_eq!(steps(order, false), [vec![], vec!["train", "prune", "quantize", "timesteps"]]);
    }

    #[test]
    fn an_order_is_a_permutation() {
        let read = |order: &str| serde_json::from_str::<Sequential>(&format!("{{ \"order\": {order} }}"));
        assert_eq!(read(r#"["T", "Q", "P", "A"]"#).unwrap().order, ['T', 'Q', 'P', 'A']);
        for wrong in [r#"["A", "P", "Q"]"#, r#"["A", "A", "Q", "T"]"#, r#"["A", "P", "Q", "X"]"#] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("is not the letters A, P, Q, T in any order, each once"), "{error}");
        }
    }
}
