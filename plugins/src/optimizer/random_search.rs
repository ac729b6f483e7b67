//! Random search: architectures that are drawn from the space, each tried once.
//!
//! Source: Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI
//! 2019, the control that a search has to beat.
//!
//! ```text
//! a_1, a_2, ...  drawn by the space, none twice          best = argmax over i of fitness(a_i)
//! ```
//!
//! How a candidate is tried, its fitness, the budget and the record are those of `evolution`, with
//! the same settings: with equal budgets the two differ in what they try, and in nothing else.

use litesnn_framework::ground::Role;
use litesnn_framework::train::{Found, OpenDecisions, Optimizer, Refused, Search, TrainedCandidates};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::candidates::{Budget, Cost, Fitness, Judge, Trials};
use super::two_passes::two_pass_settings;

two_pass_settings! {
    /// Settings of `random-search`.
    pub struct RandomSearch, choosing the architecture {
        /// By what a candidate is believed: `training` of its final network for `[search] epochs`, or
        /// its path in a `supernet` that was trained for `[search] epochs`.
        pub fitness: Fitness = Fitness::Training,
        /// What the fitness falls with.
        pub cost: Cost = Cost::Spikes,
        /// The power of the relative cost in the fitness; 0 leaves the accuracy alone (AutoSNN:
        /// -0.08).
        pub lambda: f64 = -0.08,
        /// What the search may spend: `evaluations`, `epochs`, `device_seconds`, or several of them.
        pub budget: Budget = Budget::of_evaluations(20),
    }
}

const NAME: &str = "random-search";

register! {
    kind: Optimizer,
    name: "random-search",
    settings: RandomSearch,
    version: 2,
    summary: "random architectures, each trained or run as a path of a supernet; the best one wins",
    paper: "Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI 2019",
    examples: [
        "[optimizer.random-search]\nbudget = { evaluations = 2 }",
        "[optimizer.random-search]\nfitness = \"supernet\"\ncost = \"bit-syn-ops\"\nbudget = { evaluations = 3 }",
    ],
    file: "random_search.rs",
}

impl RandomSearch {
    fn judge(&self) -> Judge {
        let RandomSearch { fitness, cost, lambda, budget, .. } = *self;
        Judge { passes: two_pass_settings!(of self, choosing the architecture), fitness, cost, lambda, budget }
    }
}

#[typetag::serde(name = "random-search")]
impl Optimizer for RandomSearch {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let judge = self.judge();
        let mut trials = Trials::begin(&judge, search)?;
        while trials.go_on(search) {
            if !trials.add(search, |search, random| search.space().sample(random))? {
                trials.exhausted(search);
                break;
            }
        }
        trials.conclude(search)
    }

    fn moves(&self) -> Vec<Role> {
        self.judge().passes.moves()
    }

    fn controls(&self) -> Vec<Role> {
        self.judge().passes.controls()
    }

    fn decides(&self) -> Vec<Role> {
        self.judge().passes.decides_by_choice()
    }

    fn trains(&self, epochs: usize) -> Option<TrainedCandidates> {
        self.judge().trains(epochs)
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        self.judge().check(NAME, open)
    }
}
