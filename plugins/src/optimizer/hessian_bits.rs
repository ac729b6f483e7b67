//! Bit-widths by the curvature of the loss: groups of layers whose weights matter most keep most
//! bits.
//!
//! Source: Lui and Neftci, Hessian Aware Quantization of Spiking Neural Networks (ICONS 2021), who
//! rank layers by the trace of the Hessian and choose bits by hand; Dong et al., HAWQ-V2 (NeurIPS
//! 2020), whose rule chooses them.
//!
//! ```text
//! train        the settled network in full precision, pruners acting
//! Tr(H_l)    = mean over draws of v_l · (H v)_l                     v = ±1 (Rademacher), for all layers at once
//! H v        = (g(W + e v) - g(W - e v)) / 2e                       g: the gradient of the loss on some training images
//! Omega(b)   = sum over groups of sum over layers l of max(Tr(H_l), 0) / n_l · |Q_b(W_l) - W_l|²
//! bits         the b of least Omega with sum of b_g c_g <= budget · sum of c_g
//! quantize     training goes on with these bits
//! ```
//!
//! (Hutchinson, 1989.) l runs over the layers whose quantiser leaves a choice of bits, n_l is their
//! number of weights, and a group is what shares its bits (a cell, a block). Biases, normalisations
//! and other layers are left out. Neurons have a surrogate gradient and no second derivative, so
//! that H v is a central difference of gradients: e has to be large enough for spikes to change,
//! and small against the weights. The passes normalise by the statistics of their batch, as in
//! training; running statistics and every other buffer are set back after each. Draws end after
//! `draws`, or when the mean of the sum of all traces changes by less than `tolerance` of itself.
//!
//! c_g is what a bit of a group costs: its weights that are kept (`of = "memory"`), or its synaptic
//! operations on the same images (`of = "compute"`). So `budget` is a mean bit-width, of the memory
//! or of the Bit-SynOps. Of choices that are equally good the cheapest is taken. The search keeps
//! all choices that no other one beats in both cost and Omega, and is exact up to 50,000 of them;
//! beyond, of choices that cost the same to a hundred-thousandth of the budget it keeps the best.
//!
//! With `ranked_bits` the bits are given by hand instead: the group of the largest trace has the
//! first one, and so on; the last one holds for all that are left.
//!
//! An architecture is searched before, in the epochs of `[search]` with nothing compressed. The
//! epochs of `[retrain]` are shared by `train`, `quantize`, and, where the number of timesteps is
//! open, `timesteps`, which decides it as `sequential` does. Scores of pruners move from the first
//! of them on. Weights are carried from stage to stage, and are the final ones. The authors take
//! the test images for the traces.

use litesnn_framework::ground::Role;
use litesnn_framework::network::{OpenBits, Technique, Techniques};
use litesnn_framework::train::{Found, Gating, OpenDecisions, Optimizer, Refused, Regime, Search};
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::shares::shares;
use super::two_passes::{TwoPasses, two_pass_settings};

two_pass_settings! {
    /// Settings of `hessian-bits`.
    pub struct HessianBits {
        /// Mean bits that the choice may cost.
        #[schemars(range(max = 32.0), extend("exclusiveMinimum" = 0.0, "x-unit" = "bits"))]
        pub budget: f64 = BUDGET,
        /// What the budget is a mean over.
        pub of: Cost = Cost::Memory,
        /// Bit-widths given by hand, in place of the budget: of the groups by the traces of their
        /// layers, the largest first; the last one holds for all that are left.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(extend("items" = { "type": "integer", "minimum": 1 }, "x-unit" = "bits"))]
        pub ranked_bits: Vec<u32> = Vec::new(),
        /// Most draws of v (authors' script: 10).
        #[schemars(range(min = 1))]
        pub draws: u32 = 10,
        /// Relative change of the mean trace below which no more are drawn (authors: 1e-3).
        #[schemars(range(min = 0.0))]
        pub tolerance: f64 = 1e-3,
        /// e: the length of the difference, for every weight.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        pub epsilon: f64 = 1e-3,
        /// Training images that the gradients are taken on, in whole batches; all where there are
        /// fewer.
        #[schemars(range(min = 1), extend("x-unit" = "images"))]
        pub images: usize = 500,
    }
}

/// What a bit costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// Memory: the weights that are kept.
    Memory,
    /// Bit-SynOps: the synaptic operations of an image.
    Compute,
}

const NAME: &str = "hessian-bits";
/// `budget` where a manifest has none.
const BUDGET: f64 = 4.0;

register! {
    kind: Optimizer,
    name: "hessian-bits",
    settings: HessianBits,
    version: 1,
    summary: "bit-widths by the trace of the loss's Hessian, under a budget of memory or operations",
    paper: "Lui and Neftci, Hessian Aware Quantization of SNNs, ICONS 2021; Dong et al., HAWQ-V2, NeurIPS 2020",
    examples: [
        "[optimizer.hessian-bits]\nbudget = 2.0\ndraws = 2",
        "[optimizer.hessian-bits]\nranked_bits = [4, 2]\ndraws = 2",
    ],
    file: "hessian_bits.rs",
}

/// Choices that are kept one by one while a budget is spent.
const EXACT: usize = 50_000;
/// Parts of the budget to which choices are told apart beyond.
const PARTS: f64 = 1e5;

/// Layers that share their bits.
struct Group {
    choice: OpenBits,
    layers: Vec<Layer>,
}

/// A layer whose bits are open.
struct Layer {
    name: String,
    weight: Tensor,
    /// Its place among the network's layers.
    index: usize,
}

/// What can be chosen for a group.
struct Options {
    /// Ascending.
    bits: Vec<u32>,
    /// What a bit costs.
    cost: f64,
    /// Omega of each of the bits.
    lost: Vec<f64>,
}

#[typetag::serde(name = "hessian-bits")]
impl Optimizer for HessianBits {
    fn search(&self, search: &mut Search) -> Result<Found> {
        let passes = self.passes();
        passes.settle(search)?;
        let of = |active| Regime { active, timesteps: search.timesteps(), gating: Gating::Off, path: None };
        let (train, quantize) = (of(Techniques::only(Technique::Prune)), of(Techniques::ALL));
        let timesteps = search.parts().parameters().has_choice(Role::TimestepLogit);
        let epochs = shares(search.retrain().epochs, stages(timesteps));
        passes.stage(search, "train", epochs[0], train, &[Role::Score])?;
        search.switch_on(Techniques::only(Technique::Quantize), "quantize");
        if !search.has_begun("quantize") && !passes.controls().contains(&Role::BitLogit) {
            self.decide(search, train)?;
        }
        passes.stage(search, "quantize", epochs[1], quantize, &[Role::Score])?;
        search.harden(Role::BitLogit);
        if timesteps {
            let weighed = Regime { gating: Gating::Warm, ..quantize };
            passes.stage(search, "timesteps", epochs[2], weighed, &[Role::TimestepLogit])?;
        }
        search.decide_timesteps();
        Ok(Found { trained: Some(search.take_parameters()?), ..search.decode().into() })
    }

    fn moves(&self) -> Vec<Role> {
        let controls = self.passes().controls();
        let own = (!controls.contains(&Role::BitLogit)).then_some(Role::BitLogit);
        self.passes().moves().into_iter().filter(|role| *role != Role::BitLogit).chain(own).collect()
    }

    fn controls(&self) -> Vec<Role> {
        self.passes().controls()
    }

    fn retrains(&self) -> bool {
        false
    }

    fn check(&self, open: &OpenDecisions) -> Result<(), Refused> {
        if self.budget != BUDGET && !self.ranked_bits.is_empty() {
            return Err(Refused {
                key: format!("optimizer.{NAME}.budget"),
                message: "`budget` has no effect where `ranked_bits` gives the bits".into(),
                help: "keep one of the two".into(),
            });
        }
        if self.of != Cost::Memory && !self.ranked_bits.is_empty() {
            return Err(Refused::unread(NAME, "of", "`ranked_bits` gives the bits, and no budget", "leave that out"));
        }
        // No rate moves the bits.
        let roles: Vec<Role> = open.roles.iter().copied().filter(|role| *role != Role::BitLogit).collect();
        let (epochs, count) = (open.retrain.epochs, stages(roles.contains(&Role::TimestepLogit)));
        self.passes().check(NAME, &OpenDecisions { roles, ..open.clone() })?;
        if epochs < count {
            return Err(Refused {
                key: "retrain.epochs".into(),
                message: format!("`retrain.epochs` is {epochs}, and {count} stages of `{NAME}` share it"),
                help: format!("train for {count} epochs or more"),
            });
        }
        Ok(())
    }
}

/// Stages that share `[retrain]`.
fn stages(timesteps: bool) -> usize {
    2 + usize::from(timesteps)
}

impl HessianBits {
    fn passes(&self) -> TwoPasses {
        two_pass_settings!(of self)
    }

    /// Decides the bits of every group, with the weights as they are now.
    fn decide(&self, search: &Search, regime: Regime) -> Result<()> {
        let groups = groups(search);
        if groups.is_empty() {
            search.note(&format!("`{NAME}` has no bit-widths to choose: no quantiser leaves a choice"));
            return Ok(());
        }
        let traces = self.traces(search, &groups, regime)?;
        let chosen = match self.ranked_bits.as_slice() {
            [] => self.within_budget(&self.options(search, &groups, &traces, regime)?)?,
            bits => by_rank(&groups, &traces, bits)?,
        };
        let mut said = Vec::new();
        for ((group, traces), index) in groups.iter().zip(traces).zip(chosen) {
            let OpenBits { group: name, bits, .. } = &group.choice;
            said.push(format!("{name} {} (trace {:.3e})", bits[index], traces.iter().sum::<f64>()));
            group.choice.choose(index);
        }
        search.note(&format!("bits by the Hessian: {}", said.join(", ")));
        Ok(())
    }

    /// Batches of training images that are looked at.
    fn batches(&self, search: &Search) -> usize {
        self.images.min(search.images()).div_ceil(search.retrain().batch_size)
    }

    /// The trace of each layer's Hessian, by group.
    fn traces(&self, search: &Search, groups: &[Group], regime: Regime) -> Result<Vec<Vec<f64>>> {
        let layers: Vec<&Layer> = groups.iter().flat_map(|group| &group.layers).collect();
        let weights: Vec<Tensor> = layers.iter().map(|layer| layer.weight.shallow_clone()).collect();
        let draw = |index: u64| {
            let of_layer = |layer: &&Layer| {
                let mut stream = search.stream(&format!("{NAME}/{}", layer.name), index);
                signs(&stream.uniform(&layer.weight.size(), 0.0, 1.0)).to_device(layer.weight.device())
            };
            layers.iter().map(of_layer).collect()
        };
        let mut found = hutchinson(self, &weights, draw, || self.gradient(search, &weights, regime))?.into_iter();
        Ok(groups.iter().map(|group| found.by_ref().take(group.layers.len()).collect()).collect())
    }

    /// The gradient of the loss to `weights`, a mean over batches. All buffers stay as they are.
    fn gradient(&self, search: &Search, weights: &[Tensor], regime: Regime) -> Result<Vec<Tensor>> {
        let parameters = search.parts().parameters();
        let kept: Vec<Tensor> = parameters.buffers().iter().map(|(_, buffer)| buffer.copy()).collect();
        parameters.zero_grad();
        parameters.train_only(&[Role::Weight]);
        let (mut batches, mut done) = (0, Ok(()));
        search.show(NAME, self.batches(search), |parts, batch| {
            let response = parts.forward(batch, regime, false);
            let backward = parts.cross_entropy(&response, batch, 0, regime).f_backward();
            (batches, done) = (batches + 1, std::mem::replace(&mut done, Ok(())).and(backward));
        })?;
        done?;
        let mean = |weight: &Tensor| match weight.grad() {
            gradient if gradient.defined() => gradient / f64::from(batches),
            _ => weight.zeros_like(),
        };
        let gradients = weights.iter().map(mean).collect();
        parameters.zero_grad();
        parameters.train_only(&Role::ALL);
        tch::no_grad(|| {
            for ((_, buffer), kept) in parameters.buffers().iter().zip(&kept) {
                buffer.shallow_clone().copy_(kept);
            }
        });
        Ok(gradients)
    }

    /// What each bit-width of each group costs and loses.
    fn options(&self, search: &Search, groups: &[Group], traces: &[Vec<f64>], regime: Regime) -> Result<Vec<Options>> {
        let costs = self.costs(search, regime)?;
        let layers = search.parts().network().layers();
        let value = |layer: &Layer, active| layers[layer.index].weight.value(active).to_kind(Kind::Double);
        let of_group = |(group, traces): (&Group, &Vec<f64>)| {
            let OpenBits { bits, logits, .. } = &group.choice;
            let (before, logits) = (logits.copy(), logits.shallow_clone());
            let lost = |index| {
                group.choice.choose(index);
                let of_layer = |(layer, trace): (&Layer, &f64)| {
                    let apart = value(layer, Techniques::ALL) - value(layer, regime.active);
                    perturbation(*trace, layer.weight.numel(), &apart)
                };
                group.layers.iter().zip(traces).map(of_layer).sum()
            };
            let lost = (0..bits.len()).map(lost).collect();
            logits.shallow_clone().copy_(&before);
            Options { bits: bits.clone(), cost: group.layers.iter().map(|layer| costs[layer.index]).sum(), lost }
        };
        Ok(tch::no_grad(|| groups.iter().zip(traces).map(of_group).collect()))
    }

    /// What a bit of each layer of the network costs.
    fn costs(&self, search: &Search, regime: Regime) -> Result<Vec<f64>> {
        let layers = search.parts().network().layers();
        if self.of == Cost::Memory {
            let kept = layers.iter().map(|layer| layer.weight.density(regime.active).number() * layer.shape.weights());
            return Ok(kept.collect());
        }
        let mut operations = Tensor::zeros([layers.len() as i64], (Kind::Double, Device::Cpu));
        search.show(NAME, self.batches(search), |parts, batch| {
            operations += parts.syn_ops(batch, regime).to_device(Device::Cpu);
        })?;
        Ok(Vec::try_from(operations).expect("numbers in one dimension"))
    }

    /// The chosen width of each group, by its place: least Omega within the budget.
    fn within_budget(&self, options: &[Options]) -> Result<Vec<usize>> {
        let least = |of: &Options| of.cost * f64::from(of.bits[0]);
        let whole: f64 = options.iter().map(|of| of.cost).sum();
        cheapest(options, self.budget * whole).ok_or_else(|| {
            let least = options.iter().map(least).sum::<f64>() / whole;
            refused(format!(
                "`budget` is {}, and the smallest bit-widths of all groups cost {least:.3}; raise it, or offer the quantiser \
                 smaller ones",
                self.budget
            ))
        })
    }
}

fn refused(message: String) -> Error {
    Error::Plugin { kind: "optimizer", name: NAME.into(), message }
}

/// The layers whose bits are open, by their groups, in the order of the network.
fn groups(search: &Search) -> Vec<Group> {
    let mut all: Vec<Group> = Vec::new();
    for (index, layer) in search.parts().network().layers().iter().enumerate() {
        let Some(choice) = layer.weight.open_bits() else { continue };
        let own = Layer { name: layer.shape.name.clone(), weight: layer.weight.raw().shallow_clone(), index };
        match all.iter_mut().find(|group| group.choice.group == choice.group) {
            Some(group) => group.layers.push(own),
            None => all.push(Group { choice, layers: vec![own] }),
        }
    }
    all
}

/// 1 where a number is 1/2 or more, else -1.
fn signs(uniform: &Tensor) -> Tensor {
    uniform.ge(0.5).to_kind(Kind::Float) * 2.0 - 1.0
}

/// The trace of the Hessian of each of `weights` alone. `draw` gives the v of a draw, and
/// `gradient` the gradient with the weights as they are.
fn hutchinson(
    settings: &HessianBits,
    weights: &[Tensor],
    draw: impl Fn(u64) -> Vec<Tensor>,
    gradient: impl Fn() -> Result<Vec<Tensor>>,
) -> Result<Vec<f64>> {
    let HessianBits { draws, tolerance, epsilon, .. } = *settings;
    let kept: Vec<Tensor> = weights.iter().map(|weight| weight.detach().copy()).collect();
    let shift = |by: f64, along: &[Tensor]| {
        tch::no_grad(|| {
            for ((weight, kept), along) in weights.iter().zip(&kept).zip(along) {
                weight.shallow_clone().copy_(&(kept + along * by));
            }
        });
    };
    let mut sums = vec![0.0; weights.len()];
    let mut before = f64::INFINITY;
    for index in 0..draws {
        let along = draw(u64::from(index));
        shift(epsilon, &along);
        let above = gradient();
        shift(-epsilon, &along);
        let below = gradient();
        shift(0.0, &along);
        for (sum, ((above, below), along)) in sums.iter_mut().zip(above?.iter().zip(&below?).zip(&along)) {
            let product = (along * (above - below)).sum(Kind::Double).double_value(&[]);
            *sum += product / (2.0 * epsilon);
        }
        let mean = sums.iter().sum::<f64>() / f64::from(index + 1);
        if (mean - before).abs() < tolerance * mean.abs() || index + 1 == draws {
            sums.iter_mut().for_each(|sum| *sum /= f64::from(index + 1));
            break;
        }
        before = mean;
    }
    Ok(sums)
}

/// max(Tr, 0) / n · |Q(W) - W|².
fn perturbation(trace: f64, count: usize, apart: &Tensor) -> f64 {
    trace.max(0.0) / count as f64 * apart.square().sum(Kind::Double).double_value(&[])
}

/// The bits of each group by the rank of its trace, by their place among its candidates.
fn by_rank(groups: &[Group], traces: &[Vec<f64>], bits: &[u32]) -> Result<Vec<usize>> {
    let ranks = ranks(&traces.iter().map(|of_group| of_group.iter().sum()).collect::<Vec<f64>>());
    let of_group = |(group, rank): (&Group, usize)| {
        let wanted = bits[rank.min(bits.len() - 1)];
        let OpenBits { group, bits: candidates, .. } = &group.choice;
        candidates.iter().position(|candidate| *candidate == wanted).ok_or_else(|| {
            refused(format!("`ranked_bits` gives {group} {wanted} bits, and its candidates are {candidates:?}"))
        })
    };
    groups.iter().zip(ranks).map(of_group).collect()
}

/// The rank of each number, 0 for the largest; of equal ones the first is before.
fn ranks(numbers: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]));
    let mut ranks = vec![0; numbers.len()];
    order.into_iter().enumerate().for_each(|(rank, index)| ranks[index] = rank);
    ranks
}

/// Widths of the first groups.
#[derive(Clone)]
struct Chosen {
    cost: f64,
    lost: f64,
    widths: Vec<u8>,
}

/// The place of each group's bits among its candidates: the least sum of Omega of all choices that
/// cost no more than `limit`, of equal ones the cheapest; `None` where none is so cheap.
fn cheapest(options: &[Options], limit: f64) -> Option<Vec<usize>> {
    // Sums of bits times costs are rounded.
    let most = limit * (1.0 + 1e-12);
    let mut front = vec![Chosen { cost: 0.0, lost: 0.0, widths: Vec::new() }];
    for (index, own) in options.iter().enumerate() {
        // What all groups after this one cost at least.
        let ahead: f64 = options[index + 1..].iter().map(|of| of.cost * f64::from(of.bits[0])).sum();
        let longer = front.iter().flat_map(|chosen| {
            own.bits.iter().zip(&own.lost).enumerate().map(|(place, (bits, lost))| {
                let widths = [chosen.widths.as_slice(), &[place as u8]].concat();
                Chosen { cost: chosen.cost + own.cost * f64::from(*bits), lost: chosen.lost + lost, widths }
            })
        });
        let mut next: Vec<Chosen> = longer.filter(|chosen| chosen.cost + ahead <= most).collect();
        next.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.lost.total_cmp(&b.lost)));
        let mut best = f64::INFINITY;
        next.retain(|chosen| {
            chosen.lost < best && {
                best = chosen.lost;
                true
            }
        });
        if next.len() > EXACT {
            // The cheapest of all stays: it always leads to a choice.
            let part = |chosen: &Chosen| (chosen.cost / limit * PARTS).floor();
            let cheapest = next[0].clone();
            next.reverse();
            next.dedup_by(|a, b| part(a) == part(b));
            next.push(cheapest);
            next.reverse();
            next.dedup_by(|a, b| a.widths == b.widths);
        }
        front = next;
    }
    let best = front.pop()?;
    Some(best.widths.into_iter().map(usize::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::Stream;

    fn settings(draws: u32) -> HessianBits {
        HessianBits { draws, tolerance: 0.0, ..HessianBits::default() }
    }

    /// v A v is the trace and what lies beside the diagonal, of which the mean over all signs is
    /// zero.
    #[test]
    fn over_all_vectors_of_signs_the_trace_of_a_quadratic_form_is_exact() {
        let weights = [Tensor::from_slice(&[0.3, -1.0]), Tensor::from_slice(&[2.0])];
        let matrix = Tensor::from_slice(&[4.0, 1.0, -2.0, 1.0, 3.0, 0.5, -2.0, 0.5, -1.5]).view([3, 3]);
        let draw = |index: u64| {
            let sign = |place: u64| if index >> place & 1 == 1 { 1.0 } else { -1.0 };
            vec![Tensor::from_slice(&[sign(0), sign(1)]), Tensor::from_slice(&[sign(2)])]
        };
        let gradient = || {
            let all = matrix.matmul(&Tensor::cat(&weights, 0));
            Ok(vec![all.narrow(0, 0, 2), all.narrow(0, 2, 1)])
        };
        let traces = hutchinson(&settings(8), &weights, draw, gradient).unwrap();
        assert!((traces[0] - 7.0).abs() < 1e-9 && (traces[1] + 1.5).abs() < 1e-9, "{traces:?}");
        assert_eq!(weights[0].double_value(&[1]), -1.0, "weights are as they were");
    }

    /// The cross-entropy of softmax(W x) has the Hessian (diag(p) - p p') times x x', the trace of
    /// which is (1 - sum of p²) |x|².
    #[test]
    fn the_trace_of_a_linear_classifier_is_near_its_closed_form() {
        let mut stream = Stream::open(0, "test", 0);
        let mut drawn = |shape: &[i64]| stream.normal(shape).to_kind(Kind::Double);
        let (images, weight) = (drawn(&[16, 6]), drawn(&[4, 6]).set_requires_grad(true));
        let labels = Tensor::arange(16, (Kind::Int64, Device::Cpu)).remainder(4);
        let p = images.matmul(&weight.detach().tr()).softmax(1, Kind::Double);
        let of_image = (-p.square().sum_dim_intlist(1, false, Kind::Double) + 1.0)
            * images.square().sum_dim_intlist(1, false, Kind::Double);
        let exact = of_image.mean(Kind::Double).double_value(&[]);
        let weights = [weight];
        let gradient = || {
            weights[0].shallow_clone().zero_grad();
            images.matmul(&weights[0].tr()).cross_entropy_for_logits(&labels).backward();
            Ok(vec![weights[0].grad().copy()])
        };
        let draw = |index| vec![signs(&Stream::open(1, "v", index).uniform(&[4, 6], 0.0, 1.0))];
        let found = hutchinson(&settings(200), &weights, draw, gradient).unwrap()[0];
        assert!((found / exact - 1.0).abs() < 0.05, "{found}, and exactly {exact}");
    }

    #[test]
    fn draws_end_where_the_mean_stays() {
        let (weights, asked) = ([Tensor::from_slice(&[1.0])], std::cell::Cell::new(0));
        let gradient = || {
            asked.set(asked.get() + 1);
            Ok(vec![&weights[0] * 2.0])
        };
        let enough = HessianBits { tolerance: 1e-3, ..settings(50) };
        let found = hutchinson(&enough, &weights, |_| vec![Tensor::from_slice(&[1.0])], gradient).unwrap();
        assert!((found[0] - 2.0).abs() < 1e-9);
        assert_eq!(asked.get(), 4, "two draws of two gradients");
    }

    /// Lui and Neftci's released settings: three convolutions of 7 x 7 at 8, 8 and 16 bits.
    #[test]
    fn bits_by_rank_save_what_the_authors_settings_save() {
        let weights = [2 * 64 * 49, 64 * 128 * 49, 128 * 128 * 49].map(f64::from);
        assert_eq!(weights, [6_272.0, 401_408.0, 802_816.0]);
        let ranks = ranks(&[0.5, 0.25, 3.0]);
        let bits = ranks.iter().map(|rank| [16.0, 8.0][(*rank).min(1)]);
        let stored: f64 = weights.iter().zip(bits).map(|(count, bits)| count * bits).sum();
        let saved = 1.0 - stored / (32.0 * weights.iter().sum::<f64>());
        assert!((100.0 * saved - 58.42).abs() < 0.005, "{saved}");
    }

    #[test]
    fn equal_numbers_are_ranked_in_their_order() {
        assert_eq!(ranks(&[1.0, 3.0, 1.0, -2.0]), [1, 0, 2, 3]);
        assert_eq!(perturbation(-3.0, 2, &Tensor::from_slice(&[1.0])), 0.0);
        assert_eq!(perturbation(3.0, 2, &Tensor::from_slice(&[1.0, 2.0])), 7.5);
    }

    fn options(costs: &[f64], lost: &[[f64; 3]]) -> Vec<Options> {
        let own = |(cost, lost): (&f64, &[f64; 3])| Options { bits: vec![1, 2, 4], cost: *cost, lost: lost.to_vec() };
        costs.iter().zip(lost).map(own).collect()
    }

    /// By hand: groups of 10 and 20 weights, a budget of 2 bits, 60 in all. (4, 1) costs 60 and
    /// loses 0 + 5; (2, 2) costs 60 and loses 4 + 2; (1, 2) costs 50 and loses 9 + 2.
    #[test]
    fn a_budget_is_spent_to_its_last_bit() {
        let all = options(&[10.0, 20.0], &[[9.0, 4.0, 0.0], [5.0, 2.0, 1.0]]);
        assert_eq!(cheapest(&all, 60.0), Some(vec![2, 0]));
        assert_eq!(cheapest(&all, 59.9), Some(vec![1, 0]), "10 · 2 + 20 · 1 = 40 loses 9, and (1, 2) 11");
        assert_eq!(cheapest(&all, 30.0), Some(vec![0, 0]));
        assert_eq!(cheapest(&all, 29.9), None);
        // What loses nothing is given no bits.
        assert_eq!(cheapest(&options(&[1.0], &[[0.0, 0.0, 0.0]]), 4.0), Some(vec![0]));
        let said = HessianBits { budget: 0.5, ..settings(1) }.within_budget(&all).unwrap_err().to_string();
        assert!(said.contains("`budget` is 0.5") && said.contains("cost 1.000"), "{said}");
    }

    #[test]
    fn no_choice_within_the_budget_is_better() {
        let mut stream = Stream::open(0, "options", 0);
        let mut drawn = |count: i64| Vec::<f64>::try_from(stream.uniform(&[count], 0.5, 4.0).to_kind(Kind::Double));
        for _ in 0..5 {
            let (costs, lost) = (drawn(6).unwrap(), drawn(18).unwrap());
            let lost: Vec<[f64; 3]> = lost.chunks(3).map(|of| [of[0] + of[1], of[1], of[1] * 0.3]).collect();
            let all = options(&costs, &lost);
            let limit = 2.2 * costs.iter().sum::<f64>();
            let of = |widths: &[usize]| {
                let own = |(of, place): (&Options, &usize)| (of.cost * f64::from(of.bits[*place]), of.lost[*place]);
                all.iter().zip(widths).map(own).fold((0.0, 0.0), |sum, own| (sum.0 + own.0, sum.1 + own.1))
            };
            let every = (0..3usize.pow(6)).map(|code| (0..6).map(|at| code / 3usize.pow(at) % 3).collect::<Vec<_>>());
            let best = every.map(|widths| of(&widths)).filter(|(cost, _)| *cost <= limit);
            let best = best.map(|(_, lost)| lost).fold(f64::INFINITY, f64::min);
            let (cost, found) = of(&cheapest(&all, limit).unwrap());
            assert!(cost <= limit && (found - best).abs() < 1e-9, "{found} at {cost}, and the best is {best}");
        }
    }
}
