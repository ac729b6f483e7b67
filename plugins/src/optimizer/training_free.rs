//! Training-free search: of many random architectures, the one whose spikes tell images apart best
//! before it is trained.
//!
//! Source: SNASNet (Kim et al., Neural Architecture Search for Spiking Neural Networks, ECCV 2022).
//!
//! ```text
//! a_1, ..., a_N     `architectures` that the space draws          best = argmax over i of score(a_i)
//! ```
//!
//! `spike_score.rs` has the score. Each architecture is scored once, however often it is drawn, and
//! of equal scores the first one wins.
//!
//! What the score does not decide is searched afterwards: bits and the number of timesteps, if they
//! are open, and masks move by the two passes of `joint` in a network of the best architecture, for
//! the epochs of `[search]` and trained otherwise as `[retrain]` says. Where neither bits nor
//! timesteps are open, nothing is trained before `[retrain]`, and nobody reads the epochs.
//!
//! What differs from the authors' program:
//!
//! - Edges lead forwards only. SNASNet also draws backward edges, from a later node at one timestep to
//!   an earlier node at the next one. A network here runs all timesteps of a layer at once, because
//!   time is an axis, and such an edge would need a loop over timesteps.
//! - Membrane potentials begin at 0 with every batch.
//! - The space is the manifest's.
//!
//! No checkpoint holds scores: a trial that is interrupted before it has chosen scores its
//! candidates again, and comes to the same choice. A rehearsal (`litesnn plan --time`) scores one
//! candidate, so that its estimate leaves the others out.

use std::collections::HashSet;

use litesnn_framework::ground::Role;
use litesnn_framework::network::{Architecture, Techniques};
use litesnn_framework::train::{Found, OpenDecisions, Optimizer, Refused, Search};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::spike_score::{Distance, SpikeScore};
use super::two_passes::{TwoPasses, two_pass_settings};

two_pass_settings! {
    /// Settings of `training-free`.
    pub struct TrainingFree, choosing the architecture {
        /// Architectures that are drawn (paper: 5000).
        #[schemars(range(min = 1))]
        pub architectures: usize = 5000,
        /// Images of a batch that a candidate is scored on (paper: 256).
        #[schemars(range(min = 2))]
        pub images: usize = 256,
        /// Batches that a candidate is scored on (paper: 2).
        #[schemars(range(min = 1))]
        pub batches: usize = 2,
        /// How the distance of two images' spikes counts.
        pub distance: Distance = Distance::SparsityAware,
    }
}

const NAME: &str = "training-free";

register! {
    kind: Optimizer,
    name: "training-free",
    settings: TrainingFree,
    version: 2,
    summary: "the best of many random architectures by their spikes before training",
    paper: "Kim et al., SNASNet, ECCV 2022",
    examples: [
        "[optimizer.training-free]\narchitectures = 6\nimages = 8",
        "[optimizer.training-free]\narchitectures = 6\nimages = 8\ndistance = \"hamming\"",
    ],
    file: "training_free.rs",
}

#[typetag::serde(name = "training-free")]
impl Optimizer for TrainingFree {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let epochs = search.parts().training.epochs;
        search.settle_on(Techniques::NONE, |search| search.count_deciding(|| self.best(search)))?;
        let open = [Role::BitLogit, Role::TimestepLogit];
        if open.into_iter().any(|role| search.parts().parameters().has_choice(role)) {
            let regime = search.parts().whole();
            self.passes().stage(
                search,
                "search",
                epochs,
                regime,
                &[Role::Score, Role::BitLogit, Role::TimestepLogit],
            )?;
        }
        Ok(search.decode().into())
    }

    fn moves(&self) -> Vec<Role> {
        self.passes().moves()
    }

    fn decides(&self) -> Vec<Role> {
        self.passes().decides_by_choice()
    }

    fn controls(&self) -> Vec<Role> {
        self.passes().controls()
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        if self.at_random.contains(&'A') {
            return Err(Refused {
                key: format!("optimizer.{NAME}.at_random"),
                message: format!("`{NAME}` has no architecture logits to leave as they were drawn"),
                help: "a random architecture is `architectures = 1`".into(),
            });
        }
        let mut moved = open.clone();
        moved.roles.retain(|role| *role != Role::ArchitectureLogit);
        self.passes().check(NAME, &moved)?;
        open.check_warmup(&self.controls())
    }
}

impl TrainingFree {
    fn passes(&self) -> TwoPasses {
        two_pass_settings!(of self, choosing the architecture)
    }

    /// The architecture with the largest score, of several the one that was drawn first.
    fn best(&self, search: &Search) -> Result<Architecture> {
        let score = SpikeScore { images: self.images, batches: self.batches, distance: self.distance };
        let batches = score.show(search)?;
        let mut seen = HashSet::new();
        let mut best: Option<(f64, u64, Architecture)> = None;
        // One tells how long the others take.
        let draws = if search.is_rehearsal() { 1 } else { self.architectures as u64 };
        for index in 0..draws {
            search.go_on()?;
            let architecture = search.sample(index);
            if !seen.insert(format!("{:?}", architecture.edges)) {
                continue;
            }
            let score = score.of(search, &architecture, &batches)?;
            if best.as_ref().is_none_or(|(most, ..)| score > *most) {
                best = Some((score, index, architecture));
            }
        }
        let (score, index, architecture) = best.expect("at least one architecture is drawn and scored");
        let text =
            format!("of {} architectures in {draws} draws, draw {index} has the best score: {score:.3}", seen.len());
        search.note(&text);
        Ok(architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_architecture_is_a_draw_and_no_control() {
        let plugin: TrainingFree = serde_json::from_str(r#"{ "at_random": ["A"] }"#).unwrap();
        let training = serde_json::from_str(r#"{ "epochs": 3 }"#).unwrap();
        let open = OpenDecisions {
            paths: false,
            roles: vec![Role::ArchitectureLogit],
            techniques: Techniques::NONE,
            scheduled: false,
            uninheritable: None,
            warmup: 0,
            search: &training,
            retrain: &training,
        };
        let refused = open.check(&plugin).unwrap_err();
        assert_eq!(refused.key, "optimizer.training-free.at_random");
        assert!(refused.help.contains("`architectures = 1`"));
        // The score decides the architecture, and no rate.
        assert_eq!(open.check(&TrainingFree::default()), Ok(()));
    }
}
