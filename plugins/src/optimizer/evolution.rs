//! Evolution of architectures: the best ones so far are changed and crossed.
//!
//! Source: Na et al., AutoSNN: Towards Energy-Efficient Spiking Neural Networks, ICML 2022; the
//! single-path supernet is that of Guo et al., Single Path One-Shot, ECCV 2020.
//!
//! ```text
//! fitness = accuracy · (S / S_avg)^lambda
//!
//! pool 0       `pool` random architectures
//! pool r       `mutations` of a random parent: each node's edges drawn anew with `mutation_rate`
//!              `crossings` of two random parents: the nodes before a random cut, and those after it
//!              random architectures, up to `pool`
//! parents      the best `parents` of all that were tried
//! ```
//!
//! | | unit |
//! |---|---|
//! | accuracy | of the validation images, 0..1 |
//! | S | `cost` of the candidate: spikes an image over all neurons and timesteps, Bit-SynOps an image, or bytes; less than 1 counts as 1 |
//! | S_avg | its mean over all candidates |
//!
//! Nothing is tried twice. An architecture is that of the space, by its edges: two that compute the
//! same by other names are two.
//!
//! **A candidate is believed by training** (`fitness = "training"`): its final network, at the width
//! of the final network, is trained from new weights for the epochs of `[search]`. Or **by a
//! supernet** (`fitness = "supernet"`): the supernet is trained for the epochs of `[search]`, along
//! one random path in each step, and a candidate is its path with the supernet's weights, by the
//! running statistics that all paths share.
//!
//! Both train by the two passes of `joint`: compression and timesteps that are open move on the
//! second pass, and where all is fixed there is none. No alpha moves. The validation rows of the
//! supernet in the history are those of one path, which stays the same.
//!
//! The best candidate's edges, decisions and timesteps are the design, which is retrained from new
//! weights. `candidates.parquet` has what was believed of every candidate. A budget in
//! `device_seconds` ends after other candidates on another machine, or on a busier one, so that the
//! trial is not the same to the bit; the table has those that were tried. The search ends with the
//! first candidate after the budget: it takes more by one candidate at the most, or by the training
//! of the supernet, which is not cut short. `litesnn plan --time` rehearses two candidates: its
//! estimate counts all trainings that the budget has room for, and of paths, whose measuring is
//! short, those two alone.
//!
//! What differs from AutoSNN: S_avg was there the mean over the supernet's training, which changes
//! the unit of the fitness and no order; classes are not voted for by ten neurons each, unless the
//! space says so.

use litesnn_framework::ground::{Role, Stream};
use litesnn_framework::network::Architecture;
use litesnn_framework::train::{Found, OpenDecisions, Optimizer, Refused, Search, TrainedCandidates};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::candidates::{Budget, Cost, Fitness, Judge, Trials};
use super::two_passes::two_pass_settings;

two_pass_settings! {
    /// Settings of `evolution`.
    pub struct Evolution, choosing the architecture {
        /// By what a candidate is believed: `training` of its final network for `[search] epochs`, or
        /// its path in a `supernet` that was trained for `[search] epochs` (AutoSNN: `supernet`).
        pub fitness: Fitness = Fitness::Supernet,
        /// What the fitness falls with (AutoSNN: `spikes`).
        pub cost: Cost = Cost::Spikes,
        /// The power of the relative cost in the fitness; 0 leaves the accuracy alone (AutoSNN:
        /// -0.08).
        pub lambda: f64 = -0.08,
        /// What the search may spend: `evaluations`, `epochs`, `device_seconds`, or several of them.
        pub budget: Budget = Budget::of_evaluations(220),
        /// Architectures of a pool.
        #[schemars(range(min = 1))]
        pub pool: usize = 20,
        /// Pools after the first.
        pub rounds: usize = 10,
        /// The best architectures so far, which the next pool comes from.
        #[schemars(range(min = 1))]
        pub parents: usize = 10,
        /// Architectures of a pool that are a parent with changes.
        pub mutations: usize = 10,
        /// Probability that a mutation draws the edges of a node anew.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub mutation_rate: f64 = 0.2,
        /// Architectures of a pool that come from two parents.
        pub crossings: usize = 10,
    }
}

const NAME: &str = "evolution";

register! {
    kind: Optimizer,
    name: "evolution",
    settings: Evolution,
    version: 2,
    summary: "architectures by mutation and crossing, each trained or run as a path of a supernet",
    paper: "Na et al., AutoSNN: Towards Energy-Efficient Spiking Neural Networks, ICML 2022",
    examples: [
        "[optimizer.evolution]\nfitness = \"training\"\npool = 2\nrounds = 1\nmutations = 1\ncrossings = 1\nbudget = { evaluations = 3 }",
        "[optimizer.evolution]\nfitness = \"supernet\"\ncost = \"model-size\"\nlambda = -0.16\npool = 2\nrounds = 2\nbudget = { evaluations = 5 }",
    ],
    file: "evolution.rs",
}

/// How an architecture of a pool comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Mutation,
    Crossing,
    Random,
}

impl Evolution {
    fn judge(&self) -> Judge {
        let Evolution { fitness, cost, lambda, budget, .. } = *self;
        Judge { passes: two_pass_settings!(of self, choosing the architecture), fitness, cost, lambda, budget }
    }

    /// The origins of the architectures of pool `round`, from 0.
    fn pool(&self, round: usize) -> Vec<Origin> {
        let mut pool = Vec::new();
        if round > 0 {
            pool.extend(std::iter::repeat_n(Origin::Mutation, self.mutations));
            pool.extend(std::iter::repeat_n(Origin::Crossing, self.crossings));
        }
        pool.resize(self.pool.max(pool.len()), Origin::Random);
        pool
    }

    /// Refuses settings of pools or parents that there are none of.
    fn refuse_unread(&self) -> Result<(), Refused> {
        let (default, later) = (Evolution::default(), self.rounds > 0);
        let given = [
            ("parents", self.parents != default.parents, self.mutations + self.crossings > 0),
            ("mutations", self.mutations != default.mutations, true),
            ("mutation_rate", self.mutation_rate != default.mutation_rate, self.mutations > 0),
            ("crossings", self.crossings != default.crossings, true),
        ];
        let unread = given.into_iter().find(|(_, given, read)| *given && !(later && *read));
        unread.map_or(Ok(()), |(setting, ..)| {
            let (why, help) = match later {
                true => ("no architecture of a pool comes about by it", "say `mutations = 1` or more"),
                false => ("no pool comes after the first", "say `rounds = 1` or more"),
            };
            Err(Refused::unread(NAME, setting, why, help))
        })
    }

    fn draw(&self, search: &Search, origin: Origin, parents: &[Architecture], random: &mut Stream) -> Architecture {
        let space = search.space();
        let parent = |random: &mut Stream| &parents[random.integers(1, parents.len() as i64)[0] as usize];
        match origin {
            Origin::Random => space.sample(random),
            Origin::Mutation => {
                let parent = parent(random);
                space.mutate(parent, self.mutation_rate, random)
            }
            Origin::Crossing => {
                let (first, second) = (parent(random), parent(random));
                space.cross(first, second, random)
            }
        }
    }
}

#[typetag::serde(name = "evolution")]
impl Optimizer for Evolution {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let judge = self.judge();
        let mut trials = Trials::begin(&judge, search)?;
        for round in 0..=self.rounds {
            let mut parents = trials.ranked(search);
            parents.truncate(self.parents);
            for origin in self.pool(round) {
                if !trials.go_on(search) {
                    return trials.conclude(search);
                }
                // Parents that have no new children leave their place to a random architecture.
                if !trials.add(search, |search, random| self.draw(search, origin, &parents, random))?
                    && !trials.add(search, |search, random| search.space().sample(random))?
                {
                    trials.exhausted(search);
                    return trials.conclude(search);
                }
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
        let pools = (0..=self.rounds).map(|round| self.pool(round).len()).sum();
        let trained = self.judge().trains(epochs)?;
        Some(TrainedCandidates { count: trained.count.min(pools), ..trained })
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        self.refuse_unread()?;
        self.judge().check(NAME, open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pool_is_random_and_later_ones_are_filled_up_with_random_architectures() {
        let evolution = Evolution { pool: 4, mutations: 2, crossings: 1, ..Evolution::default() };
        assert_eq!(evolution.pool(0), [Origin::Random; 4]);
        assert_eq!(evolution.pool(1), [Origin::Mutation, Origin::Mutation, Origin::Crossing, Origin::Random]);
        let published = Evolution::default();
        assert_eq!((published.pool(0).len(), published.pool(1).len(), published.rounds), (20, 20, 10));
    }
}
