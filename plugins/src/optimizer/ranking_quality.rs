//! Ranking quality: how well the paths of a supernet order architectures, against training each.
//!
//! Source: Yu et al., Evaluating the Search Phase of Neural Architecture Search, ICLR 2020, who ask
//! it by Kendall's tau.
//!
//! ```text
//! a_1, ..., a_N    `architectures` that the space draws, none twice
//! belief_i         validation accuracy of the path a_i in a supernet of `[search] epochs`
//! trained_i        validation accuracy of the final network of a_i after `training_epochs`
//! ```
//!
//! The supernet is trained as by `random-search` with `fitness = "supernet"`, along one random path
//! in each step. The final networks start from new weights and are trained otherwise as `[search]`
//! says, by the two passes of `joint` where compression or timesteps are open.
//!
//! `candidates.parquet` gets two rows of an architecture: its path, with 0 epochs, and its training.
//! All paths stand before all trainings. The report pairs the two and says how well they agree
//! (docs/ranking.md).
//!
//! The architectures are drawn by `draw_seed` and not by the trial's seed, so that all seeds of a
//! row train the same ones: how well two seeds agree is as well as any belief could.
//!
//! The design is the one that is believed best, of equal ones the first. So the trial's result is
//! what a random search in this supernet would have found. `litesnn plan --time` rehearses two
//! architectures, and its estimate leaves the others out.

use std::path::Path;

use litesnn_framework::ground::{Role, Stream};
use litesnn_framework::network::{Architecture, Design};
use litesnn_framework::train::{AtRandom, Found, OpenDecisions, Optimizer, Search};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::candidates::{Budget, Cost, Fitness, Judge, REHEARSED, untried};
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
        /// What the draw of the architectures starts from. It is the same for all seeds of a row.
        pub draw_seed: u32 = 0,
    }
}

const NAME: &str = "ranking-quality";

register! {
    kind: Optimizer,
    name: "ranking-quality",
    settings: RankingQuality,
    version: 2,
    summary: "how well the paths of a supernet order architectures, against training each",
    paper: "Yu et al., Evaluating the Search Phase of Neural Architecture Search, ICLR 2020",
    examples: ["[optimizer.ranking-quality]\narchitectures = 2\ntraining_epochs = 1"],
    file: "ranking_quality.rs",
}

impl RankingQuality {
    fn judge(&self) -> Judge {
        Judge {
            passes: two_pass_settings!(of self, choosing the architecture),
            fitness: Fitness::Supernet,
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
        for architecture in &architectures {
            search.try_path(architecture)?;
        }
        for architecture in &architectures {
            judge.train(search, architecture, self.training_epochs)?;
        }
        let accuracies: Vec<f64> = search.candidates().iter().map(|row| row.validation_accuracy).collect();
        search.rate(&accuracies)?;
        let paths = search.candidates()[..architectures.len()].iter();
        let best = paths.rev().max_by(|a, b| a.fitness.total_cmp(&b.fitness)).expect("a space has an architecture");
        Ok(Design::parse(&best.design, Path::new("candidates.parquet"))?.into())
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
        true
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), AtRandom> {
        self.judge().check(NAME, open)
    }
}
