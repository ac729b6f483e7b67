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
//! | A | alpha | the edges; the search goes on with the final network of these, from new weights, as `[retrain]` says |
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
//! A step that the manifest has nothing for (no pruner, no quantiser, `[timesteps.fixed]`) has no
//! epochs. Scores of a pruner that is switched on start from the weights trained so far, as in
//! HYDRA. The timestep searcher has no warm-up: the weights were trained before.

use litesnn_framework::ground::Role;
use litesnn_framework::network::Techniques;
use litesnn_framework::plugin::checked;
use litesnn_framework::train::{Found, Gating, Optimizer, Regime, Search, SearchParts};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

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

register! {
    kind: Optimizer,
    name: "sequential",
    settings: Sequential,
    version: 1,
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

    /// The parameters that it moves beside the weights.
    fn role(self) -> Option<Role> {
        match self {
            Step::Architecture => Some(Role::ArchitectureLogit),
            Step::Train => None,
            Step::Prune => Some(Role::Score),
            Step::Quantize => Some(Role::BitLogit),
            Step::Timesteps => Some(Role::TimestepLogit),
        }
    }

    /// The stages of compression that act from here on.
    fn switches_on(self) -> Techniques {
        match self {
            Step::Prune => Techniques { prune: true, ..Techniques::NONE },
            Step::Quantize => Techniques { quantize: true, ..Techniques::NONE },
            _ => Techniques::NONE,
        }
    }

    /// Whether the network has something for it to do.
    fn concerns(self, parts: &SearchParts) -> bool {
        match self {
            Step::Architecture | Step::Train => true,
            Step::Prune | Step::Quantize => {
                parts.network().layers().iter().any(|layer| layer.weight.is_compressed(self.switches_on()))
            }
            Step::Timesteps => parts.parameters().of(&[Role::TimestepLogit]).next().is_some(),
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

/// `epochs` in equal shares over `count` stages; the first ones get what is left over.
fn shares(epochs: usize, count: usize) -> Vec<usize> {
    (0..count).map(|index| epochs / count + usize::from(index < epochs % count)).collect()
}

#[typetag::serde(name = "sequential")]
impl Optimizer for Sequential {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let passes = two_pass_settings!(of self);
        let mut regime = Regime { active: Techniques::NONE, gating: Gating::Off, ..search.parts().whole() };
        let mut timesteps = None;

        let settling = self.order.iter().position(|letter| *letter == 'A').unwrap_or(0);
        let (before, after) = self.order.split_at(settling + 1);
        let before: Vec<Step> = before.iter().map(|letter| Step::of(*letter)).collect();
        self.phase(&passes, search, &before, search.parts().training.epochs, &mut regime, &mut timesteps)?;
        search.settle(regime.active)?;
        let after: Vec<Step> =
            std::iter::once(Step::Train).chain(after.iter().map(|letter| Step::of(*letter))).collect();
        self.phase(&passes, search, &after, search.retrain().epochs, &mut regime, &mut timesteps)?;

        let mut design = search.decode();
        if let Some(timesteps) = timesteps {
            design.timesteps = timesteps;
        }
        Ok(Found { design, trained: Some(search.take_parameters()) })
    }
}

impl Sequential {
    /// The steps of one network. `regime` and `timesteps` hold what was switched on and decided so
    /// far.
    fn phase(
        &self,
        passes: &TwoPasses,
        search: &mut Search,
        steps: &[Step],
        epochs: usize,
        regime: &mut Regime,
        timesteps: &mut Option<i64>,
    ) -> Result<()> {
        let trains: Vec<bool> = steps.iter().map(|step| step.concerns(search.parts())).collect();
        let count = trains.iter().filter(|trains| **trains).count().max(1);
        if epochs < count {
            let section = if steps.contains(&Step::Architecture) { "search" } else { "retrain" };
            let names: Vec<&str> = steps.iter().map(|step| step.name()).collect();
            return Err(Error::Plugin {
                kind: "optimizer",
                name: "sequential".into(),
                message: format!(
                    "`{section}.epochs` is {epochs}, and {count} steps share it ({}): a step without an epoch would decide at random",
                    names.join(", ")
                ),
            });
        }
        let mut epochs = shares(epochs, count).into_iter();
        for (step, trains) in steps.iter().zip(trains) {
            let new = step.switches_on();
            regime.active.prune |= new.prune;
            regime.active.quantize |= new.quantize;
            search.switch_on(new, step.name());
            if trains {
                let gating = if *step == Step::Timesteps { Gating::Warm } else { Gating::Off };
                let roles: Vec<Role> = step.role().into_iter().collect();
                let here = Regime { gating, ..*regime };
                passes.stage(search, step.name(), epochs.next().unwrap_or(0), here, &roles)?;
            }
            match step {
                Step::Quantize => search.harden(Role::BitLogit),
                Step::Timesteps => {
                    regime.timesteps = search.decode().timesteps;
                    *timesteps = Some(regime.timesteps);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!(shares(10, 4), [3, 3, 2, 2]);
        assert_eq!(shares(4, 4), [1, 1, 1, 1]);
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
