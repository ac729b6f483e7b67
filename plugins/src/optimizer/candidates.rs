//! Candidates that a search tries one after another: how each is believed, and what the search may
//! spend.
//!
//! Source and formulas are those of `evolution`.

use std::num::NonZeroUsize;
use std::path::Path;

use litesnn_framework::Result;
use litesnn_framework::ground::{Role, Stream};
use litesnn_framework::network::{Architecture, Design};
use litesnn_framework::record::CandidateRow;
use litesnn_framework::train::{
    Batch, Found, OpenDecisions, Refused, Regime, Search, SearchParts, Searched, TrainedCandidates,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::two_passes::{TwoPasses, Way};

/// By what a candidate is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fitness {
    /// The final network of the candidate is trained for `[search] epochs`, from new weights.
    Training,
    /// A supernet is trained for `[search] epochs`, one random path in each step. A candidate is its
    /// path, and is not trained.
    Supernet,
}

/// What the fitness of a candidate falls with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// Spikes of all neurons between the image and the classifier per image (AutoSNN).
    Spikes,
    /// Bit-SynOps per image.
    BitSynOps,
    /// The model size of the final network.
    ModelSize,
}

/// What a search may spend: it ends before the candidate that one of the limits has no room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Candidates that are tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<NonZeroUsize>,
    /// Epochs of training in all, of a supernet too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<NonZeroUsize>,
    /// Seconds of the device, as `history.parquet` has them. How many candidates these are depends on
    /// the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub device_seconds: Option<f64>,
}

impl Budget {
    /// So many candidates.
    pub fn of_evaluations(count: usize) -> Budget {
        Budget { evaluations: NonZeroUsize::new(count), ..Budget::default() }
    }

    /// Whether there is room for a candidate of `epochs` after what was spent.
    fn affords(&self, epochs: usize, tried: usize, (trained, seconds): (usize, f64)) -> bool {
        self.evaluations.is_none_or(|most| tried < most.get())
            && self.epochs.is_none_or(|most| trained + epochs <= most.get())
            && self.device_seconds.is_none_or(|most| seconds < most)
    }
}

/// How a search believes its candidates.
#[derive(Debug, Clone)]
pub struct Judge {
    /// How networks are trained.
    pub passes: TwoPasses,
    /// By what a candidate is believed.
    pub fitness: Fitness,
    /// What the fitness falls with.
    pub cost: Cost,
    /// The power of the cost.
    pub lambda: f64,
    /// What may be spent.
    pub budget: Budget,
}

/// The roles that training a candidate moves beside the weights.
const OTHERS: [Role; 3] = [Role::Score, Role::BitLogit, Role::TimestepLogit];
/// Draws until an architecture that was not tried yet is taken not to exist.
const ATTEMPTS: usize = 1000;
/// Candidates of a rehearsal.
pub(super) const REHEARSED: usize = 2;

/// The first architecture that `draw` gives and that was not tried yet; `None` where there is none in a
/// thousand draws. `draws` is the number of the next draw.
pub(super) fn untried(
    tried: &[Architecture],
    draws: &mut u64,
    draw: impl Fn(u64) -> Architecture,
) -> Option<Architecture> {
    (0..ATTEMPTS).find_map(|_| {
        let architecture = draw(*draws);
        *draws += 1;
        (!tried.contains(&architecture)).then_some(architecture)
    })
}

impl Judge {
    /// Refuses what the search cannot do, in the settings of optimizer `name`.
    pub fn check(&self, name: &str, open: &OpenDecisions) -> Result<(), Refused> {
        let refuse = |key: &str, message: String, help: &str| {
            Err(Refused { key: format!("optimizer.{name}.{key}"), message, help: help.into() })
        };
        if self.cost != Cost::Spikes && self.lambda == 0.0 {
            let why = "`lambda` is 0, so that the accuracy alone counts";
            return Err(Refused::unread(name, "cost", why, "choose another `lambda`"));
        }
        if self.budget == Budget::default() {
            let help = "give `evaluations`, `epochs` or `device_seconds`: `budget = { evaluations = 200 }`";
            return refuse("budget", "the budget is empty: the search would not end".into(), help);
        }
        if self.passes.controls().contains(&Role::ArchitectureLogit) {
            let help = "take the \"A\" out; [optimizer.random-search] with one evaluation draws an architecture";
            return refuse("at_random", "the architecture is what the search tries out".into(), help);
        }
        if self.fitness == Fitness::Supernet {
            if !open.paths {
                let message = "the supernet of this space does not run the path of one architecture".into();
                return refuse("fitness", message, "say `fitness = \"training\"`, or use another space");
            }
            if self.budget.evaluations.is_none() && self.budget.device_seconds.is_none() {
                let message = "a path in the supernet is not trained, so that epochs never end the search".into();
                return refuse("budget", message, "limit `evaluations` or `device_seconds`");
            }
        }
        let (needed, epochs) = (open.search.epochs, self.budget.epochs.map(NonZeroUsize::get));
        if let Some(most) = epochs.filter(|most| *most < needed) {
            let message = format!("a budget of {most} epochs has no room for the first {needed} (`search.epochs`)");
            return refuse("budget", message, "allow more epochs, or search for fewer");
        }
        let mut others = open.clone();
        others.roles.retain(|role| *role != Role::ArchitectureLogit);
        self.passes.check(name, &others)?;
        others.check_warmup(&self.passes.controls())
    }

    /// The candidates that the budget has room for, of `epochs` each, where they are trained.
    pub fn trains(&self, epochs: usize) -> Option<TrainedCandidates> {
        let Budget { evaluations, epochs: in_all, device_seconds } = self.budget;
        let by_epochs = in_all.map(|most| most.get() / epochs.max(1));
        let count = [evaluations.map(NonZeroUsize::get), by_epochs].into_iter().flatten().min();
        (self.fitness == Fitness::Training).then_some(TrainedCandidates {
            count: count.unwrap_or(usize::MAX),
            device_seconds: device_seconds.unwrap_or(f64::INFINITY),
        })
    }

    /// Prepares for candidates: trains the supernet where they are paths in it.
    pub fn prepare(&self, search: &mut Search) -> Result<()> {
        if self.fitness == Fitness::Training {
            return Ok(());
        }
        let (space, seed, epochs) = (search.space(), search.seed(), search.parts().training.epochs);
        let watched = search.path(&search.sample(0))?;
        let regime = Regime { path: Some(&watched), ..search.parts().whole() };
        let draw = |parts: &SearchParts, batch: &Batch, epoch: usize| {
            let Searched::Supernet(supernet) = &parts.open.network else { return Ok(None) };
            if space.fixed().is_some() {
                return Ok(None);
            }
            let mut random = Stream::open(seed, &format!("supernet/path/{epoch}"), batch.number as u64);
            supernet.path(&space.sample(&mut random)).map(Some)
        };
        let way = Way { draw: Some(&draw), ..Way::default() };
        self.passes.stage_by(search, "supernet", epochs, regime, &OTHERS, way)
    }

    /// Tries an architecture.
    fn evaluate(&self, search: &mut Search, architecture: &Architecture) -> Result<()> {
        match self.fitness {
            Fitness::Supernet => search.try_path(architecture),
            Fitness::Training => self.train(search, architecture, search.parts().training.epochs),
        }
    }

    /// Trains the final network of an architecture from new weights.
    pub fn train(&self, search: &mut Search, architecture: &Architecture, epochs: usize) -> Result<()> {
        search.train_candidate(architecture, |search, stage| {
            let regime = search.parts().whole();
            self.passes.stage(search, stage, epochs, regime, &OTHERS)
        })
    }

    /// The fitness of each candidate.
    pub fn fitness(&self, candidates: &[CandidateRow]) -> Vec<f64> {
        let cost = |row: &CandidateRow| match self.cost {
            Cost::Spikes => row.spikes,
            Cost::BitSynOps => row.bit_syn_ops,
            Cost::ModelSize => row.model_size_bytes,
        };
        let costs: Vec<f64> = candidates.iter().map(|row| cost(row).max(1.0)).collect();
        let average = costs.iter().sum::<f64>() / costs.len() as f64;
        let of = |(row, cost): (&CandidateRow, &f64)| fitness(row.validation_accuracy, cost / average, self.lambda);
        candidates.iter().zip(&costs).map(of).collect()
    }
}

/// accuracy · (cost / average)^lambda, where `relative` is the cost in units of the average.
pub fn fitness(accuracy: f64, relative: f64, lambda: f64) -> f64 {
    accuracy * relative.powf(lambda)
}

/// The candidates of a search at work.
pub struct Trials<'j> {
    judge: &'j Judge,
    tried: Vec<Architecture>,
    /// Draws so far: each has a random stream of its own.
    draws: u64,
}

impl<'j> Trials<'j> {
    /// Begins, with the training of a supernet where the judge needs one.
    pub fn begin(judge: &'j Judge, search: &mut Search) -> Result<Trials<'j>> {
        search.require_validation()?;
        judge.prepare(search)?;
        Ok(Trials { judge, tried: Vec::new(), draws: 0 })
    }

    /// The architectures so far, best first; of equal ones the earlier is first.
    pub fn ranked(&self, search: &Search) -> Vec<Architecture> {
        let fitness = self.judge.fitness(search.candidates());
        let mut order: Vec<usize> = (0..fitness.len()).collect();
        order.sort_by(|a, b| fitness[*b].total_cmp(&fitness[*a]));
        order.into_iter().map(|index| self.tried[index].clone()).collect()
    }

    /// Tries an architecture that `draw` gives and that was not tried before. False where it gives
    /// none, in a thousand draws.
    pub fn add(&mut self, search: &mut Search, draw: impl Fn(&Search, &mut Stream) -> Architecture) -> Result<bool> {
        let drawn = |number| draw(search, &mut search.stream("candidate", number));
        let Some(architecture) = untried(&self.tried, &mut self.draws, drawn) else { return Ok(false) };
        self.judge.evaluate(search, &architecture)?;
        self.tried.push(architecture);
        Ok(true)
    }

    /// Whether the budget has room for another candidate. There is one at least.
    pub fn go_on(&self, search: &Search) -> bool {
        let epochs = match self.judge.fitness {
            Fitness::Training => search.parts().training.epochs,
            Fitness::Supernet => 0,
        };
        let rehearsed = search.is_rehearsal() && self.tried.len() >= REHEARSED;
        self.tried.is_empty() || (!rehearsed && self.judge.budget.affords(epochs, self.tried.len(), search.spent()))
    }

    /// Says that every architecture was tried.
    pub fn exhausted(&self, search: &Search) {
        search.note(&format!("{} candidates were tried, and the space has no other one", self.tried.len()));
    }

    /// Keeps the fitness of all candidates, and hands out the design of the best.
    pub fn conclude(self, search: &mut Search) -> Result<Found> {
        let fitness = self.judge.fitness(search.candidates());
        search.rate(&fitness)?;
        let rows = search.candidates().iter();
        let best = rows.rev().max_by(|a, b| a.fitness.total_cmp(&b.fitness)).expect("a candidate was tried");
        Ok(Design::parse(&best.design, Path::new("candidates.parquet"))?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published example of AutoSNN's fitness: an accuracy of 0.9 at the average number of spikes, at
    /// half and at twice as many.
    #[test]
    fn fitness_is_accuracy_times_a_power_of_the_relative_cost() {
        for (relative, expected) in [(1.0, 0.9), (0.5, 0.9513), (2.0, 0.8515)] {
            let found = fitness(0.9, relative, -0.08);
            assert!((found - expected).abs() < 5e-5, "{relative}: {found}, and not {expected}");
        }
    }

    fn judge(cost: Cost, budget: Budget) -> Judge {
        Judge { passes: TwoPasses::default(), fitness: Fitness::Training, cost, lambda: -0.08, budget }
    }

    #[test]
    fn the_average_is_that_of_the_candidates_and_costs_below_one_count_as_one() {
        let row = |validation_accuracy, spikes| CandidateRow { validation_accuracy, spikes, ..CandidateRow::default() };
        let judge = judge(Cost::Spikes, Budget::default());
        let found = judge.fitness(&[row(0.9, 100.0), row(0.9, 300.0)]);
        assert!((found[0] - 0.9513).abs() < 5e-5 && (found[1] - 0.9 * 1.5f64.powf(-0.08)).abs() < 1e-12, "{found:?}");
        // A network that never fires.
        assert_eq!(judge.fitness(&[row(0.1, 0.0), row(0.1, 1.0)]), [0.1, 0.1]);
    }

    #[test]
    fn the_trainings_that_a_budget_has_room_for_are_known_before() {
        let budget = |evaluations: usize, epochs: usize| Budget {
            evaluations: NonZeroUsize::new(evaluations),
            epochs: NonZeroUsize::new(epochs),
            device_seconds: None,
        };
        let trains = |budget| judge(Cost::Spikes, budget).trains(3).expect("candidates are trained").count;
        assert_eq!([budget(20, 0), budget(20, 10), budget(2, 10)].map(trains), [20, 3, 2]);
        let seconds = judge(Cost::Spikes, Budget { device_seconds: Some(9.0), ..Budget::default() }).trains(3);
        assert_eq!(seconds, Some(TrainedCandidates { count: usize::MAX, device_seconds: 9.0 }));
        let paths = Judge { fitness: Fitness::Supernet, ..judge(Cost::Spikes, budget(20, 0)) };
        assert_eq!(paths.trains(3), None);
    }

    #[test]
    fn a_budget_ends_before_the_candidate_that_it_has_no_room_for() {
        let budget = |evaluations: usize, epochs: usize| Budget {
            evaluations: NonZeroUsize::new(evaluations),
            epochs: NonZeroUsize::new(epochs),
            device_seconds: Some(10.0),
        };
        assert!(budget(3, 9).affords(3, 2, (6, 9.9)));
        assert!(!budget(2, 9).affords(3, 2, (6, 9.9)), "evaluations");
        assert!(!budget(3, 8).affords(3, 2, (6, 9.9)), "epochs");
        assert!(!budget(3, 9).affords(3, 2, (6, 10.0)), "seconds");
    }
}
