//! Training-free search: of many random architectures, the one whose spikes tell images apart best
//! before it is trained.
//!
//! Source: SNASNet (Kim et al., Neural Architecture Search for Spiking Neural Networks, ECCV 2022),
//! whose score weighs the Hamming distance of NASWOT (Mellor et al., ICML 2021) by how sparse the
//! spikes are.
//!
//! ```text
//! x_i in {0, 1}^N     the spikes of a layer of N neurons at one timestep for image i; r_i is their mean
//! d_ij                the Hamming distance of x_i and x_j
//! e_ij = N (r_i (1 - r_j) + (1 - r_i) r_j)      what d_ij would be if the neurons were independent
//!
//! K_ij = mean over layers and timesteps of N - d_ij / (2 (e_ij + 0.001))      sparsity-aware
//! K_ij = mean over layers and timesteps of N - d_ij                           hamming, the control
//! score = ln |det K|, mean over the batches
//! ```
//!
//! K is `[images, images]`. Where all images make the same spikes, det K is 0 and the score is
//! minus infinity. Without the weight 1/e, a layer that fires rarely has small distances whatever
//! it tells apart.
//!
//! The candidates are drawn by `SearchSpace::sample`, and each is scored once, however often it is
//! drawn. A candidate is the final network with the first weights that the seed gives, without
//! compression, at the largest number of timesteps, normalised by the statistics of the batch. All
//! of them see the same batches of training images. Every layer of neurons in the network's body
//! counts, as `Pass::fired` tells it.
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

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use litesnn_framework::ground::Role;
use litesnn_framework::network::{Architecture, Compression, Pass, SpikeTap, Techniques};
use litesnn_framework::spiking::unfold_time;
use litesnn_framework::train::{AtRandom, Batch, Found, OpenDecisions, Optimizer, Search};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

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

/// How the distance of two images' spikes counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// In units of what independent neurons of the same rates would have (SNASNet).
    SparsityAware,
    /// As it is: the number of neurons that differ (NASWOT), the control.
    Hamming,
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
        search.settle_on(Techniques::NONE, |search| self.best(search))?;
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

    fn check(&self, open: &OpenDecisions) -> Result<(), AtRandom> {
        if self.at_random.contains(&'A') {
            return Err(AtRandom {
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
        let batches = search.batches("training-free", self.images, self.batches)?;
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
            let score = self.score(search, &architecture, &batches)?;
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

    /// The score of an architecture, mean over the batches.
    fn score(&self, search: &Search, architecture: &Architecture, batches: &[Batch]) -> Result<f64> {
        let candidate = search.build(architecture, &Compression::new())?;
        let timesteps = search.timesteps();
        let of_batch = |batch: &Batch| {
            let likeness = Likeness::new(self.distance, timesteps);
            let see = |spikes: &Tensor| likeness.add(spikes);
            let precision = search.parts().training.precision;
            let (active, tap) = (Techniques::NONE, Some(SpikeTap(&see)));
            let pass = Pass { training: true, active, precision, tap, ..Pass::new(timesteps) };
            tch::no_grad(|| drop(candidate.network.network().forward(&batch.images, &pass)));
            likeness.score()
        };
        Ok(batches.iter().map(of_batch).sum::<f64>() / batches.len() as f64)
    }
}

/// How alike the spikes of each two images of a batch are: K.
struct Likeness {
    distance: Distance,
    timesteps: i64,
    /// Sum over layers and timesteps, `[B, B]`, f64.
    sum: RefCell<Option<Tensor>>,
    /// Layers and timesteps so far.
    count: Cell<i64>,
}

impl Likeness {
    fn new(distance: Distance, timesteps: i64) -> Likeness {
        Likeness { distance, timesteps, sum: RefCell::default(), count: Cell::default() }
    }

    /// Adds the spikes `[T·B, ...]` of a layer of neurons.
    fn add(&self, spikes: &Tensor) {
        let spikes = unfold_time(&spikes.detach(), self.timesteps).flatten(2, -1).gt(0.0).to_kind(Kind::Float);
        let neurons = spikes.size()[2] as f64;
        // Whole numbers, which f32 holds up to 2^24.
        let both = spikes.matmul(&spikes.transpose(1, 2)).to_kind(Kind::Double);
        let fired = spikes.sum_dim_intlist(2, false, Kind::Double);
        let (one, other) = (fired.unsqueeze(2), fired.unsqueeze(1));
        let distance = &one + &other - both * 2.0;
        let unlike = match self.distance {
            Distance::Hamming => distance,
            Distance::SparsityAware => {
                let expected = &one + &other - &one * &other * (2.0 / neurons);
                distance / ((expected + 1e-3) * 2.0)
            }
        };
        let alike = (neurons - unlike).sum_dim_intlist(0, false, Kind::Double);
        let sum = self.sum.take();
        *self.sum.borrow_mut() = Some(sum.map_or_else(|| alike.shallow_clone(), |sum| sum + &alike));
        self.count.set(self.count.get() + self.timesteps);
    }

    /// ln |det K|.
    fn score(self) -> f64 {
        let Some(sum) = self.sum.into_inner() else { return f64::NEG_INFINITY };
        let (_, logarithm) = (sum / self.count.get() as f64).to_device(Device::Cpu).slogdet();
        logarithm.double_value(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The score of layers of spikes, each `[T·B, N]` in rows.
    fn score(distance: Distance, timesteps: i64, layers: &[Tensor]) -> f64 {
        let likeness = Likeness::new(distance, timesteps);
        layers.iter().for_each(|layer| likeness.add(layer));
        likeness.score()
    }

    fn spikes(rows: &[[f32; 4]]) -> Tensor {
        Tensor::from_slice(&rows.concat()).view([rows.len() as i64, 4])
    }

    /// By hand, for two images and four neurons: (1, 1, 0, 0) and (1, 0, 1, 0) differ in 2, and
    /// independent neurons that fire half of the time differ in 2 of 4. K is 4 where i = j, else
    /// 4 - 2 = 2, or 4 - 2/(2 · 2.001).
    #[test]
    fn two_images_have_the_closed_score() {
        let pair = [[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]];
        let hamming = score(Distance::Hamming, 1, &[spikes(&pair)]);
        assert!((hamming - 12f64.ln()).abs() < 1e-12, "{hamming}");
        let aware = score(Distance::SparsityAware, 1, &[spikes(&pair)]);
        let want = (16.0 - (4.0 - 1.0 / 2.001f64).powi(2)).ln();
        assert!((aware - want).abs() < 1e-12, "{aware}, not {want}");
        // Rates of 3/4 and 1/4, which differ in 2: independent neurons would in 4 (9/16 + 1/16) =
        // 2.5.
        let uneven = [[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]];
        let aware = score(Distance::SparsityAware, 1, &[spikes(&uneven)]);
        let want = (16.0 - (4.0 - 1.0 / 2.501f64).powi(2)).ln();
        assert!((aware - want).abs() < 1e-12, "{aware}, not {want}");
        // A second layer, or a second timestep, in which all images are alike: K is the mean, 4 and
        // 3.
        let still = [[0.0; 4]; 2];
        for (timesteps, layers) in
            [(1, vec![spikes(&pair), spikes(&still)]), (2, vec![spikes(&[pair, still].concat())])]
        {
            let hamming = score(Distance::Hamming, timesteps, &layers);
            assert!((hamming - 7f64.ln()).abs() < 1e-12, "{timesteps}: {hamming}");
        }
    }

    #[test]
    fn images_that_make_the_same_spikes_have_the_least_score() {
        for distance in [Distance::SparsityAware, Distance::Hamming] {
            assert_eq!(score(distance, 1, &[spikes(&[[1.0, 0.0, 1.0, 0.0]; 3])]), f64::NEG_INFINITY);
            assert_eq!(score(distance, 1, &[]), f64::NEG_INFINITY);
        }
    }

    /// plugins/tests/reference/training_free.py computes the same neuron by neuron, in Python.
    #[test]
    fn scores_are_those_of_a_plain_script() {
        let spike = |layer: i64, t: i64, image: i64, n: i64| {
            f32::from(u8::from((n * n * (3 + t) + 7 * image * (n + 1) + 5 * layer + 2 * t * image) % 5 < 2))
        };
        let layer = |index: i64, neurons: i64| {
            let rows = (0..2).flat_map(|t| (0..4).map(move |image| (t, image)));
            let all: Vec<f32> =
                rows.flat_map(|(t, image)| (0..neurons).map(move |n| spike(index, t, image, n))).collect();
            Tensor::from_slice(&all).view([8, neurons])
        };
        let layers = [layer(0, 10), layer(1, 6)];
        let reference = include_str!("../../tests/reference/training_free.txt");
        let wanted: Vec<(&str, f64)> = reference
            .lines()
            .map(|line| line.split_once(' ').expect("a name and a score"))
            .map(|(name, score)| (name, score.parse().expect("a number")))
            .collect();
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["sparsity-aware", "hamming"]);
        for ((name, want), distance) in wanted.into_iter().zip([Distance::SparsityAware, Distance::Hamming]) {
            let found = score(distance, 2, &layers);
            assert!((found - want).abs() < 1e-10, "{name}: {found}, not {want}");
        }
    }

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
