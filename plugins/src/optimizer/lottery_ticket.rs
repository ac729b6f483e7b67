//! Lottery tickets: rounds of training, of which each removes the smallest weights of the whole
//! network and begins again from early weights.
//!
//! Source: Kim, Li, Park, Venkatesha, Yin and Panda, Exploring Lottery Ticket Hypothesis in Spiking
//! Neural Networks (ECCV 2022): iterative magnitude pruning (Frankle and Carbin, ICLR 2019) with
//! late rewinding (Frankle et al., ICML 2020), and Early-Time.
//!
//! ```text
//! round k = 1 ... rounds:   train; M <- M without the floor(fraction · n) smallest |W| of the n that M keeps;
//!                           W <- W_rewind
//! final:                    train once more
//! ```
//!
//! The smallest |W| are found over the weights of all layers together, stem and classifier
//! included, and no normalisation or bias. W is what is trained, before any quantiser. Of equal
//! magnitudes at the threshold all stay. So round k leaves (1 - fraction)^k of the weights.
//! W_rewind are the weights, normalisations and biases after `rewind_epoch` epochs of the first
//! training; running statistics go on as they are. A weight that is removed has no gradient.
//!
//! The masks act through the compressor `ticket`, and travel with the design as its ticket. In a
//! manifest without that compressor nothing could be removed: the network is then trained once, and
//! the trial says so. A quantiser beside it acts in all rounds. The rounds also decide what else is
//! open, as `joint` does: bit-widths in all rounds but the last training, which has the widths
//! decided; the number of timesteps in the last training. An architecture is searched before, in
//! the epochs of `[search]` with nothing compressed. In a space with one architecture alone nothing
//! reads `[search]`.
//!
//! # Epochs
//!
//! All trainings are as `[retrain]` says, each with its own schedule of the learning rate and
//! momentum from zero. Its epochs E are
//!
//! | `epochs` | first training | later trainings |
//! |---|---|---|
//! | `each` | E | E - `rewind_epoch` |
//! | `shared` | an equal share of E, what is left over goes to the first ones | likewise |
//!
//! The paper has `each`; with `shared` the whole costs as much as another optimizer's trial. The
//! first training has to be longer than `rewind_epoch`.
//!
//! # Early-Time
//!
//! All trainings but the last run fewer timesteps where these say nearly the same. After two epochs
//! of training at T timesteps, with P_t = softmax of the summed logits of the first t timesteps on
//! some 1000 training images,
//!
//! ```text
//! D_t = KL(P_t || P_T), a mean over images          T_early = the least t of 2 ... T-1 with D_t / D_2 < early_time, else T
//! ```
//!
//! The two epochs are a stage of their own, `early-time`; then the first training begins from the
//! initial weights. The authors' program has KL(P_T || P_t) and divides by the largest. The last
//! training takes over nothing but weights after `rewind_epoch` epochs, and running statistics.
//!
//! # Early-Bird
//!
//! With `early_bird`, a round's training ends as soon as the mask that it would leave has settled
//! (You et al., Drawing Early-Bird Tickets, ICLR 2020; Kim et al. with 0.02): after an epoch e, with
//! m_e the mask of the round by the weights as they are then,
//!
//! ```text
//! max over i = 1 ... 5 of  |m_e - m_(e-i)| / n  <  early_bird          n weights of all layers
//! ```
//!
//! So a round has six epochs at the least, and at most those that it would have without it; the
//! learning rate falls as over all of them. The first round also reaches `rewind_epoch`. Kim et al.
//! have one round, and restart from the initial weights: `rounds = 1`, `rewind_epoch = 0`.

use litesnn_framework::ground::{Role, counted};
use litesnn_framework::network::Techniques;
use litesnn_framework::train::{Found, Gating, OpenDecisions, Optimizer, Refused, Regime, Search};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::shares::shares;
use super::two_passes::{TwoPasses, Way, two_pass_settings};

two_pass_settings! {
    /// Settings of `lottery-ticket`.
    pub struct LotteryTicket {
        /// Trainings that are followed by a removal; one more training comes last (paper: up to
        /// 14).
        #[schemars(range(min = 1, max = 50))]
        pub rounds: u32 = 14,
        /// Fraction of the weights that are left which a round removes (paper: 0.25).
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "x-unit" = "of the weights"))]
        pub fraction: f64 = 0.25,
        /// Epochs of the first training after whose end weights are as each later training begins
        /// with; 0: the initial weights (paper: 20).
        #[schemars(extend("x-unit" = "epochs"))]
        pub rewind_epoch: usize = 20,
        /// What the epochs of `[retrain]` are.
        pub epochs: Epochs = Epochs::Each,
        /// lambda of Early-Time: part of the divergence of two timesteps below which a number of
        /// timesteps is enough for all trainings but the last (paper: 0.6); without it, all run all
        /// timesteps.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        pub early_time: Option<f64> = None,
        /// Fraction of the weights in which the masks of six epochs on end differ at most where a
        /// round ends early (paper: 0.02); without it, all rounds have all of their epochs.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0, "x-unit" = "of the weights"))]
        pub early_bird: Option<f64> = None,
    }
}

/// What the epochs of `[retrain]` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Epochs {
    /// Those of each training.
    Each,
    /// Those of all trainings together.
    Shared,
}

const NAME: &str = "lottery-ticket";

register! {
    kind: Optimizer,
    name: "lottery-ticket",
    settings: LotteryTicket,
    version: 1,
    summary: "iterative magnitude pruning over all layers, with late rewinding, Early-Time and Early-Bird",
    paper: "Kim et al., Exploring Lottery Ticket Hypothesis in Spiking Neural Networks, ECCV 2022",
    examples: [
        "[optimizer.lottery-ticket]\nrounds = 2\nrewind_epoch = 1\nepochs = \"shared\"",
        "[optimizer.lottery-ticket]\nrounds = 1\nrewind_epoch = 1\nearly_time = 0.6",
    ],
    file: "lottery_ticket.rs",
}

/// The stage that finds the number of timesteps of Early-Time, and its epochs.
const EARLY: (&str, usize) = ("early-time", 2);
/// Images on which timesteps are compared.
const COMPARED: usize = 1000;
/// Epochs whose masks Early-Bird compares with the present one.
const WINDOW: usize = 5;

#[typetag::serde(name = "lottery-ticket")]
impl Optimizer for LotteryTicket {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let passes = self.passes();
        passes.settle(search)?;
        let tickets = tickets(search);
        let trainings = match tickets.is_empty() {
            true => {
                search.note(&format!(
                    "nothing is removed and the network is trained once: `{NAME}` removes weights through the compressor \
                     `ticket`, which the manifest does not have"
                ));
                vec![search.retrain().epochs]
            }
            false => self.trainings(search.retrain().epochs),
        };
        let last = trainings.len() - 1;
        let early = Rewound::keep(search)?;
        let bird = match self.early_bird.filter(|_| last > 0) {
            Some(most) => Some(EarlyBird::new(search, &tickets, self.fraction, most)?),
            None => None,
        };
        let compressed =
            Regime { active: Techniques::ALL, timesteps: search.timesteps(), gating: Gating::Off, path: None };
        let timesteps = match self.early_time.filter(|_| last > 0) {
            Some(lambda) => early.timesteps(&passes, search, compressed, lambda)?,
            None => compressed.timesteps,
        };
        for (round, epochs) in trainings.into_iter().enumerate() {
            let name = if round == last { "final".to_owned() } else { format!("round{}", round + 1) };
            if round > 0 && !search.has_begun(&name) {
                remove_smallest(&tickets, self.fraction);
                early.put_back();
                bird.iter().for_each(EarlyBird::begin);
            }
            if round > 0 && round == last {
                search.harden(Role::BitLogit);
            }
            let (regime, roles): (_, &[Role]) = match round == last {
                false => (Regime { timesteps, ..compressed }, &[Role::Score, Role::BitLogit]),
                true if last == 0 => {
                    let roles = &[Role::Score, Role::BitLogit, Role::TimestepLogit];
                    (Regime { gating: Gating::Warm, ..compressed }, roles)
                }
                true => (Regime { gating: Gating::Warm, ..compressed }, &[Role::Score, Role::TimestepLogit]),
            };
            // The last step of an epoch overwrites what the others have kept.
            let keeps = |epoch: usize| {
                if round == 0 && epoch + 1 == self.rewind_epoch {
                    early.keep_now();
                }
            };
            let first = if round == 0 { self.rewind_epoch } else { 0 };
            let settles = |epoch: usize| bird.as_ref().is_some_and(|bird| bird.settles() && epoch + 1 > first);
            let ends: Option<&dyn Fn(usize) -> bool> = if round < last { Some(&settles) } else { None };
            let way = Way { after_step: Some(&keeps), ends, ..Way::default() };
            passes.stage_by(search, &name, epochs, regime, roles, way)?;
        }
        search.harden(Role::BitLogit);
        search.decide_timesteps();
        let (design, ticket) = (search.decode(), search.ticket());
        Ok(Found { trained: Some(search.take_parameters()?), ticket, ..design.into() })
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

    fn epochs(&self, search: usize, retrain: usize) -> usize {
        let early = if self.early_time.is_some() { EARLY.1 } else { 0 };
        search + early + self.trainings(retrain).iter().sum::<usize>()
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        self.passes().check(NAME, open)?;
        let (epochs, trainings) = (open.retrain.epochs, self.trainings(open.retrain.epochs));
        if trainings[0] > 0 && self.rewind_epoch >= trainings[0] {
            return Err(Refused {
                key: format!("optimizer.{NAME}.rewind_epoch"),
                message: format!(
                    "`optimizer.{NAME}.rewind_epoch` is {}, and the first training has {}: later ones would begin where \
                     it ends",
                    self.rewind_epoch,
                    counted(trainings[0], "epoch")
                ),
                help: "rewind to an earlier epoch, or train for more".into(),
            });
        }
        let longest = trainings[..trainings.len() - 1].iter().max().copied().unwrap_or_default();
        if self.early_bird.is_some() && longest <= WINDOW {
            return Err(Refused {
                key: format!("optimizer.{NAME}.early_bird"),
                message: format!(
                    "`optimizer.{NAME}.early_bird` compares the masks of {} epochs, and a round has {}: none would end early",
                    WINDOW + 1,
                    counted(longest, "epoch")
                ),
                help: "train for more epochs, or leave it out".into(),
            });
        }
        if trainings[trainings.len() - 1] == 0 {
            return Err(Refused {
                key: "retrain.epochs".into(),
                message: format!(
                    "`retrain.epochs` is {epochs}, and {} trainings of `{NAME}` share it",
                    trainings.len()
                ),
                help: format!("train for {} epochs or more, or for fewer rounds", trainings.len()),
            });
        }
        Ok(())
    }
}

impl LotteryTicket {
    fn passes(&self) -> TwoPasses {
        two_pass_settings!(of self)
    }

    /// The epochs of each training, the last one included.
    fn trainings(&self, epochs: usize) -> Vec<usize> {
        let later = self.rounds as usize;
        match self.epochs {
            Epochs::Each => {
                std::iter::once(epochs).chain(vec![epochs.saturating_sub(self.rewind_epoch); later]).collect()
            }
            Epochs::Shared => shares(epochs, later + 1),
        }
    }
}

/// The trained tensor and the mask of each layer that holds a ticket.
fn tickets(search: &Search) -> Vec<(Tensor, Tensor)> {
    let layers = search.parts().network().layers();
    layers.iter().filter_map(|layer| Some((layer.weight.raw().detach(), layer.weight.ticket()?))).collect()
}

/// Removes the fraction of smallest magnitude of all weights that the masks keep; of those that are
/// as small as the least that stays, all stay.
fn remove_smallest(tickets: &[(Tensor, Tensor)], fraction: f64) {
    let left = masks_left(tickets, fraction);
    tch::no_grad(|| tickets.iter().zip(left).for_each(|((_, mask), left)| mask.shallow_clone().copy_(&left)));
}

/// The masks that [`remove_smallest`] would leave.
fn masks_left(tickets: &[(Tensor, Tensor)], fraction: f64) -> Vec<Tensor> {
    tch::no_grad(|| {
        let alive = |(weight, mask): &(Tensor, Tensor)| weight.abs().masked_select(&mask.ne(0.0));
        let alive = Tensor::cat(&tickets.iter().map(alive).collect::<Vec<_>>(), 0);
        let count = removed(alive.numel(), fraction);
        if count == 0 {
            return tickets.iter().map(|(_, mask)| mask.copy()).collect();
        }
        let (threshold, _) = alive.kthvalue(count as i64 + 1, 0, false);
        let left = |(weight, mask): &(Tensor, Tensor)| mask * weight.abs().ge_tensor(&threshold).to_kind(Kind::Float);
        tickets.iter().map(left).collect()
    })
}

/// Whether the mask of a round has settled: the masks of the last epochs, kept in every checkpoint.
struct EarlyBird<'a> {
    tickets: &'a [(Tensor, Tensor)],
    fraction: f64,
    /// The largest part of the weights in which masks may differ.
    most: f64,
    /// Masks of all layers, `[WINDOW, weights]`, as bytes: that of epoch e at e modulo WINDOW.
    masks: Tensor,
    /// Epochs of the round whose mask is there, `[1]`.
    seen: Tensor,
}

impl<'a> EarlyBird<'a> {
    fn new(search: &mut Search, tickets: &'a [(Tensor, Tensor)], fraction: f64, most: f64) -> Result<EarlyBird<'a>> {
        let weights = tickets.iter().map(|(weight, _)| weight.numel() as i64).sum();
        let zeros = |name: &str, shape: &[i64], kind: Kind| {
            (format!("{NAME}.{name}"), Tensor::zeros(shape, (kind, tch::Device::Cpu)))
        };
        let buffers =
            vec![zeros("masks", &[WINDOW as i64, weights], Kind::Uint8), zeros("masks_seen", &[1], Kind::Int64)];
        let mut kept = search.keep(buffers)?.into_iter();
        let [masks, seen] = [(); 2].map(|()| kept.next().expect("two buffers were given"));
        Ok(EarlyBird { tickets, fraction, most, masks, seen })
    }

    /// A round begins.
    fn begin(&self) {
        let _ = self.seen.shallow_clone().fill_(0);
    }

    /// Keeps the mask after one more epoch, and says whether it is near those of all epochs before it
    /// in the window.
    fn settles(&self) -> bool {
        let layers: Vec<Tensor> =
            masks_left(self.tickets, self.fraction).iter().map(|mask| mask.flatten(0, -1)).collect();
        let mask = Tensor::cat(&layers, 0).to_kind(Kind::Uint8);
        let seen = self.seen.int64_value(&[0]);
        let differs = self.masks.ne_tensor(&mask).to_kind(Kind::Double).mean_dim(1, false, Kind::Double);
        self.masks.get(seen % WINDOW as i64).copy_(&mask);
        let _ = self.seen.shallow_clone().fill_(seen + 1);
        seen >= WINDOW as i64 && differs.max().double_value(&[]) < self.most
    }
}

/// How many of `alive` weights a round removes.
fn removed(alive: usize, fraction: f64) -> usize {
    (fraction * alive as f64).floor() as usize
}

/// The weights that later trainings begin with, and the number of timesteps that is enough for
/// them: kept in every checkpoint of the network.
struct Rewound {
    /// Each trained tensor and its copy.
    copies: Vec<(Tensor, Tensor)>,
    /// A number of timesteps, `[1]`.
    enough: Tensor,
}

impl Rewound {
    /// A copy of all weights, normalisations and biases of the network that `search` has now.
    fn keep(search: &mut Search) -> Result<Rewound> {
        let (mut trained, mut buffers) = (Vec::new(), Vec::new());
        for parameter in search.parts().parameters().of(&[Role::Weight]) {
            trained.push(parameter.tensor.detach());
            buffers.push((format!("{NAME}.{}", parameter.name), parameter.tensor.detach().copy()));
        }
        buffers.push((format!("{NAME}.timesteps"), Tensor::from_slice(&[search.timesteps()])));
        let mut copies = search.keep(buffers)?;
        let enough = copies.pop().expect("a number of timesteps was given");
        Ok(Rewound { copies: trained.into_iter().zip(copies).collect(), enough })
    }

    /// Keeps the weights as they are now.
    fn keep_now(&self) {
        tch::no_grad(|| self.copies.iter().for_each(|(trained, copy)| copy.shallow_clone().copy_(trained)));
    }

    /// Sets the weights back to what is kept.
    fn put_back(&self) {
        tch::no_grad(|| self.copies.iter().for_each(|(trained, copy)| trained.shallow_clone().copy_(copy)));
    }

    /// Finds the number of timesteps of all trainings but the last, on the network trained for two
    /// epochs, and sets its weights back.
    fn timesteps(&self, passes: &TwoPasses, search: &mut Search, regime: Regime, lambda: f64) -> Result<i64> {
        let (name, epochs) = EARLY;
        passes.stage(search, name, epochs, regime, &[Role::Score, Role::BitLogit])?;
        if !search.has_begun("round1") {
            let mut divergence = Tensor::zeros([regime.timesteps], (Kind::Double, tch::Device::Cpu));
            let batches = COMPARED.min(search.images()).div_ceil(search.retrain().batch_size);
            search.show(name, batches, |parts, batch| {
                divergence += divergences(&parts.evaluate(batch, regime)).to_device(tch::Device::Cpu);
            })?;
            let divergence = Vec::try_from(divergence).expect("numbers in one dimension");
            let enough = early_timesteps(&divergence, lambda);
            self.enough.shallow_clone().copy_(&Tensor::from_slice(&[enough]));
            search
                .note(&format!("{enough} of {} timesteps are enough for all trainings but the last", regime.timesteps));
            self.put_back();
        }
        Ok(self.enough.int64_value(&[0]))
    }
}

/// KL(P_t || P_T) for each t, summed over the batch, of logits `[T, B, K]`: `[T]` in f64.
fn divergences(logits: &Tensor) -> Tensor {
    let logs = logits.to_kind(Kind::Double).cumsum(0, Kind::Double).log_softmax(2, Kind::Double);
    let whole = logs.narrow(0, logs.size()[0] - 1, 1);
    (logs.exp() * (&logs - whole)).sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double)
}

/// The least number t of timesteps from 2 on whose divergence is less than `lambda` of that of two;
/// all where none is. `divergences` has D_t at t - 1.
fn early_timesteps(divergences: &[f64], lambda: f64) -> i64 {
    let all = divergences.len();
    let enough = (2..all).find(|t| divergences[t - 1] < lambda * divergences[1]);
    enough.unwrap_or(all) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kim's ResNet-19 for ten classes: weights, and all other parameters.
    const RESNET19: (usize, usize) = (12_619_968, 10_890);

    /// The weights that are left after each round.
    fn alive(mut count: usize, fraction: f64, rounds: usize) -> Vec<usize> {
        let round = |_| {
            count -= removed(count, fraction);
            count
        };
        (0..rounds).map(round).collect()
    }

    /// Source: the sparsity of all parameters in the paper's tables.
    #[test]
    fn fourteen_rounds_remove_the_published_percentages() {
        let published =
            [24.98, 43.71, 57.76, 68.30, 76.20, 82.13, 86.58, 89.91, 92.41, 94.29, 95.69, 96.75, 97.54, 98.13];
        let of_weights =
            [25.0, 43.75, 57.81, 68.36, 76.27, 82.20, 86.65, 89.99, 92.49, 94.37, 95.78, 96.83, 97.62, 98.22];
        let (weights, others) = RESNET19;
        for (round, left) in alive(weights, 0.25, 14).into_iter().enumerate() {
            let percent = |of: usize| 100.0 * (weights - left) as f64 / of as f64;
            let (all, prunable) = (percent(weights + others), percent(weights));
            assert!((all - published[round]).abs() < 0.006, "round {}: {all}", round + 1);
            assert!((prunable - of_weights[round]).abs() < 0.006, "round {}: {prunable}", round + 1);
            assert!((prunable / 100.0 - (1.0 - 0.75f64.powi(round as i32 + 1))).abs() < 1e-6, "the closed form");
        }
    }

    /// Table 2 of LitE-SNN prints 12.02 and 2.88 MB: what is left by the rounded percentages.
    #[test]
    fn five_and_ten_rounds_leave_the_sizes_of_the_table() {
        let (weights, others) = RESNET19;
        let left = alive(weights, 0.25, 10);
        let megabytes = |kept: usize| 4e-6 * (kept + others) as f64;
        for (round, print, percent) in [(5, 12.02, 76.20), (10, 2.88, 94.29)] {
            let rounded = 4e-6 * (weights + others) as f64 * (1.0 - percent / 100.0);
            assert!((rounded - print).abs() < 0.005, "{rounded}");
            assert!((megabytes(left[round - 1]) - rounded).abs() < 4e-6 * 5e-5 * (weights + others) as f64 + 1e-6);
        }
    }

    fn weights(values: &[f32]) -> (Tensor, Tensor) {
        (Tensor::from_slice(values), Tensor::ones([values.len() as i64], (Kind::Float, tch::Device::Cpu)))
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor).unwrap()
    }

    #[test]
    fn a_round_removes_the_smallest_of_all_layers_that_are_left() {
        let layers = [weights(&[0.1, -3.0, 0.2, 5.0]), weights(&[-0.3, 4.0, -2.0, 0.05])];
        remove_smallest(&layers, 0.25);
        assert_eq!((values(&layers[0].1), values(&layers[1].1)), (vec![0., 1., 1., 1.], vec![1., 1., 1., 0.]));
        // Of the six that are left one goes: 0.2. A removed weight that has grown is not looked at.
        let _ = (layers[0].0.get(0).fill_(9.0), layers[1].0.get(3).fill_(0.0));
        remove_smallest(&layers, 0.25);
        assert_eq!((values(&layers[0].1), values(&layers[1].1)), (vec![0., 1., 0., 1.], vec![1., 1., 1., 0.]));
    }

    #[test]
    fn of_equal_magnitudes_at_the_threshold_all_stay() {
        let layers = [weights(&[1.0, -1.0, 1.0, 0.5])];
        remove_smallest(&layers, 0.5);
        assert_eq!(values(&layers[0].1), [1., 1., 1., 0.]);
    }

    #[test]
    fn rounds_have_their_epochs_or_share_them() {
        let each = LotteryTicket { rounds: 2, rewind_epoch: 20, ..LotteryTicket::default() };
        assert_eq!(each.trainings(300), [300, 280, 280]);
        let shared = LotteryTicket { epochs: Epochs::Shared, ..each };
        assert_eq!(shared.trainings(8), [3, 3, 2]);
    }

    /// Summed logits of t timesteps of class 0 are t ln 2, so that P_t = (2^t, 1) / (2^t + 1).
    #[test]
    fn the_divergence_has_its_closed_values() {
        let step = Tensor::from_slice(&[2f64.ln(), 0.0]).view([1, 1, 2]);
        let found = Vec::<f64>::try_from(divergences(&step.expand([4, 1, 2], false))).unwrap();
        for (index, found) in found.iter().enumerate() {
            let first = |t: i32| 2f64.powi(t) / (2f64.powi(t) + 1.0);
            let (p, q) = (first(index as i32 + 1), first(4));
            let closed = p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
            assert!((found - closed).abs() < 1e-12, "t = {}: {found}, and not {closed}", index + 1);
        }
        // KL of (4, 1) / 5 and (16, 1) / 17.
        assert!((found[1] - (0.8 * (0.8 * 17.0 / 16.0f64).ln() + 0.2 * 3.4f64.ln())).abs() < 1e-12);
    }

    #[test]
    fn the_least_number_of_timesteps_that_is_near_enough_is_taken() {
        assert_eq!(early_timesteps(&[9.0, 1.0, 0.59, 0.1, 0.0], 0.6), 3);
        assert_eq!(early_timesteps(&[9.0, 1.0, 0.61, 0.1, 0.0], 0.6), 4);
        assert_eq!(early_timesteps(&[9.0, 1.0, 0.9, 0.8, 0.0], 0.6), 5);
        assert_eq!(early_timesteps(&[9.0, 1.0, 0.0], 2.0), 2);
        assert_eq!((early_timesteps(&[0.0], 0.6), early_timesteps(&[1.0, 0.0], 0.6)), (1, 2));
    }
}
