//! Ranking quality: how well a belief orders architectures, against training each.
//!
//! Source: Yu et al., Evaluating the Search Phase of Neural Architecture Search, ICLR 2020, who ask
//! it by Kendall's tau.
//!
//! ```text
//! a_1, ..., a_N    `architectures` that the space draws, none twice
//! belief_i         validation accuracy of the path a_i in a supernet of `[search] epochs`      belief = "supernet"
//!                  the score of a_i before training (`spike_score.rs`)                        belief = { training-free = {} }
//! trained_i        validation accuracy of the final network of a_i after `training_epochs`
//! ```
//!
//! The supernet is trained as by `random-search` with `fitness = "supernet"`, along one random path
//! in each step. The final networks start from new weights and are trained otherwise as `[search]`
//! says, by the two passes of `joint` where compression or timesteps are open.
//!
//! A score is that of the optimizer `training-free`, to the bit. No supernet is trained for it, and
//! nothing reads `[search] epochs`.
//!
//! `candidates.parquet` gets two rows of an architecture: its belief, with 0 epochs, and its
//! training. All beliefs stand before all trainings. The report pairs the two and says how well they
//! agree (docs/ranking.md).
//!
//! The architectures are drawn by `draw_seed` and not by the trial's seed, so that all seeds of a
//! row train the same ones: how well two seeds agree is as well as any belief could.
//!
//! The design is the one that is believed best, of equal ones the first. So the trial's result is
//! what a random search by this belief would have found. A score decides no bits and no timesteps:
//! they are those of the architecture's training. `litesnn plan --time` rehearses two
//! architectures, and counts the trainings of all.

use std::path::Path;

use litesnn_framework::ground::{Role, Stream};
use litesnn_framework::network::{Architecture, Design};
use litesnn_framework::record::CandidateRow;
use litesnn_framework::train::{Found, OpenDecisions, Optimizer, Refused, Search, TrainedCandidates};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::candidates::{Budget, Cost, Fitness, Judge, REHEARSED, untried};
use super::spike_score::SpikeScore;
use super::two_passes::two_pass_settings;

two_pass_settings! {
    /// Settings of `ranking-quality`.
    pub struct RankingQuality, choosing the architecture {
        /// Architectures that are believed and trained; all of the space where it has fewer.
        #[schemars(range(min = 2))]
        pub architectures: usize = 20,
        /// Epochs that each architecture is trained for, from new weights.
        #[schemars(range(min = 1))]
        pub training_epochs: usize = 10,
        /// By what an architecture is believed before it is trained.
        pub belief: Belief = Belief::Supernet,
        /// What the draw of the architectures starts from. It is the same for all seeds of a row.
        pub draw_seed: u32 = 0,
    }
}

/// By what an architecture is believed before it is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Belief {
    /// The validation accuracy of its path in a supernet.
    Supernet,
    /// The score of its spikes before training, as `training-free` has it.
    TrainingFree(SpikeScore),
}

const NAME: &str = "ranking-quality";

register! {
    kind: Optimizer,
    name: "ranking-quality",
    settings: RankingQuality,
    version: 2,
    summary: "how well a supernet's paths or a score before training order architectures, against training each",
    paper: "Yu et al., Evaluating the Search Phase of Neural Architecture Search, ICLR 2020",
    examples: [
        "[optimizer.ranking-quality]\narchitectures = 2\ntraining_epochs = 2",
        "[optimizer.ranking-quality]\narchitectures = 2\ntraining_epochs = 2\nbelief = { training-free = { images = 8 } }",
    ],
    file: "ranking_quality.rs",
}

impl RankingQuality {
    fn judge(&self) -> Judge {
        Judge {
            passes: two_pass_settings!(of self, choosing the architecture),
            fitness: if self.needs_paths() { Fitness::Supernet } else { Fitness::Training },
            cost: Cost::Spikes,
            lambda: 0.0,
            budget: Budget::of_evaluations(self.architectures),
        }
    }

    /// The architectures, the same for every seed.
    fn draw(&self, search: &Search) -> Vec<Architecture> {
        let count = if search.is_rehearsal() { self.architectures.min(REHEARSED) } else { self.architectures };
        let draw =
            |number| search.space().sample(&mut Stream::open(u64::from(self.draw_seed), "ranking-quality", number));
        let (mut drawn, mut draws) = (Vec::new(), 0);
        while drawn.len() < count
            && let Some(architecture) = untried(&drawn, &mut draws, draw)
        {
            drawn.push(architecture);
        }
        if drawn.len() < count {
            search.note(&format!("the space has no more than {} architectures", drawn.len()));
        }
        drawn
    }
}

#[typetag::serde(name = "ranking-quality")]
impl Optimizer for RankingQuality {
    fn search(&self, search: &mut Search) -> Result<Found> {
        search.require_validation()?;
        let judge = self.judge();
        judge.prepare(search)?;
        let architectures = self.draw(search);
        match self.belief {
            Belief::Supernet => architectures.iter().try_for_each(|architecture| search.try_path(architecture))?,
            Belief::TrainingFree(score) => {
                let batches = score.show(search)?;
                for architecture in &architectures {
                    search.try_score(architecture, |search| score.of(search, architecture, &batches))?;
                }
            }
        }
        for architecture in &architectures {
            judge.train(search, architecture, self.training_epochs)?;
        }
        let rows = search.candidates().iter();
        let fitness = |row: &CandidateRow| match self.belief {
            Belief::TrainingFree(_) if row.epochs == 0 => row.fitness,
            _ => row.validation_accuracy,
        };
        let fitness: Vec<f64> = rows.map(fitness).collect();
        search.rate(&fitness)?;
        let (beliefs, trainings) = search.candidates().split_at(architectures.len());
        let best = (0..beliefs.len()).rev().max_by(|a, b| fitness[*a].total_cmp(&fitness[*b]));
        let best = best.expect("a space has an architecture");
        let chosen = match self.belief {
            Belief::Supernet => &beliefs[best],
            Belief::TrainingFree(_) => &trainings[best],
        };
        Ok(Design::parse(&chosen.design, Path::new("candidates.parquet"))?.into())
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

    fn needs_paths(&self) -> bool {
        self.belief == Belief::Supernet
    }

    fn trains(&self, _epochs: usize) -> Option<TrainedCandidates> {
        Some(TrainedCandidates { count: self.architectures, device_seconds: f64::INFINITY })
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        self.judge().check(NAME, open)?;
        let key = format!("optimizer.{NAME}.training_epochs");
        open.check_warmup_of((&key, self.training_epochs), &self.controls())
    }
}
