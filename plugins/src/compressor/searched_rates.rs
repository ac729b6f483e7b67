//! Prune rates of layers that are searched, of which all together remove a given fraction.
//!
//! Every layer of the body has a logit r, and keeps the fraction k of its n weights:
//!
//! ```text
//! k_l = sigmoid(r_l + c)        with c such that  sum over l of n_l k_l = K,  K = N - floor(rate · N),  N = sum over l of n_l
//! ```
//!
//! n_l k_l is rounded down, and one weight more stays in the layers of the largest remainders, the
//! first ones where they are equal, until K weights stay. Logits begin at 0, so that every layer begins
//! at the rate, and L2 on logits pulls them back to it.
//!
//! A mask that keeps more keeps the weights at its threshold. With q the rank of a weight among those
//! of its layer by |S|, the largest first, from 0 to 1 in the middle of its place ((i + 1/2) / n), the
//! mask M = 1 where q < k has the derivative of one that falls linearly from 1 to 0 over a window w
//! (straight-through):
//!
//! ```text
//! M~ = clamp((k - q) / w + 1/2, 0, 1)                                w = 2 h / n,  h = max(1, round(n / 16))
//! dL/dk_l = 1/w · sum of dL/dM over the weights with |k - q| < w/2   2 h weights, fewer at the ends
//! dk_l/dr_j = s_l (δ_lj - n_j s_j / sum over m of n_m s_m)           s = k (1 - k);  the second term is dc/dr_j
//! ```
//!
//! So a logit grows where a weight more at the threshold lowers the loss by more than it does in other
//! layers. The costs of a search know k through the density, so that rates move to layers whose weights
//! have many bits or meet many spikes, too.
//!
//! A design has the removed fraction of each layer by its name. A final network has other layers than
//! the supernet (those of its architecture) and may have other widths: its logits are those of the
//! decided fractions, and c is found again, so that its layers together keep K of its own weights. So
//! a layer keeps somewhat more or less than in the search, whose costs count the supernet's fractions.
//! A layer that is alone has the rate, and its logit no gradient. A layer without a decision has the
//! logit of the rate. Layers outside of the body have the rate.

use std::cell::RefCell;
use std::rc::Rc;

use litesnn_framework::ground::{Build, Role};
use litesnn_framework::network::{Decision, Decisions, Factor};
use litesnn_framework::spiking::{custom_function, version};
use tch::{Kind, Tensor};

use super::mask::largest_mask;

/// The layers of a network that share one total.
pub struct Total {
    rate: f64,
    layers: RefCell<Vec<Layer>>,
    solved: RefCell<Option<Solved>>,
}

struct Layer {
    /// r, a scalar.
    logit: Tensor,
    count: i64,
}

/// What holds while no logit changes.
struct Solved {
    of: Made,
    /// k of each layer, `[L]` in f64, with its gradient to all logits.
    shares: Tensor,
    /// Weights that stay.
    kept: Vec<i64>,
}

/// What a solution was made from: the versions of all logits, their number, and whether they are
/// differentiated.
type Made = (i64, usize, bool);

impl Total {
    /// The total of a network, which all its layers ask for.
    pub fn new(rate: f64) -> Total {
        Total { rate, layers: RefCell::default(), solved: RefCell::default() }
    }

    /// The solution for the logits as they are now.
    fn with<T>(&self, see: impl FnOnce(&Solved) -> T) -> T {
        let layers = self.layers.borrow();
        let versions: i64 = layers.iter().map(|layer| version(&layer.logit)).sum();
        // Whether gradients are taken here at all shows in what is made of a logit.
        let differentiated = layers.first().is_some_and(|layer| (&layer.logit * 1.0).requires_grad());
        let of = (versions, layers.len(), differentiated);
        let mut solved = self.solved.borrow_mut();
        if solved.as_ref().is_none_or(|known| known.of != of) {
            *solved = Some(Solved::new(of, &layers, self.rate));
        }
        see(solved.as_ref().expect("it was just made"))
    }
}

impl Solved {
    fn new(of: Made, layers: &[Layer], rate: f64) -> Solved {
        let logits = Tensor::stack(&layers.iter().map(|layer| &layer.logit).collect::<Vec<_>>(), 0);
        let counts: Vec<i64> = layers.iter().map(|layer| layer.count).collect();
        let numbers = Vec::<f64>::try_from(logits.detach().to_kind(Kind::Double)).expect("logits in one dimension");
        let all: i64 = counts.iter().sum();
        let total = all - (rate * all as f64).floor() as i64;
        let shares = shares(&numbers, &counts, total as f64);
        let kept = rounded(&shares, &counts, total);
        let slopes: Vec<f64> = shares.iter().map(|share| share * (1.0 - share)).collect();
        let kind = logits.kind();
        let forward = || (vec![Tensor::from_slice(&shares).to_device(logits.device())], vec![]);
        let backward = move |gradients: &[Tensor], _: &[Tensor]| {
            let gradient = &gradients[0];
            let vector = |of: &[f64]| Tensor::from_slice(of).to_device(gradient.device());
            let weighed: Vec<f64> = slopes.iter().zip(&counts).map(|(slope, count)| slope * *count as f64).collect();
            let whole = weighed.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            let sloped = gradient * vector(&slopes);
            let common = sloped.sum(Kind::Double) / whole;
            vec![Some((sloped - vector(&weighed) * common).to_kind(kind))]
        };
        let shares = custom_function(&[&logits], forward, backward).pop().expect("one output was given");
        Solved { of, shares, kept }
    }
}

/// sigmoid(r + c) of each layer, with c such that they keep `total` of their weights.
fn shares(logits: &[f64], counts: &[i64], total: f64) -> Vec<f64> {
    let of = |c: f64| logits.iter().map(|r| 1.0 / (1.0 + (-(r + c)).exp())).collect::<Vec<f64>>();
    let kept = |c: f64| of(c).iter().zip(counts).map(|(share, count)| share * *count as f64).sum::<f64>();
    let furthest = logits.iter().fold(0.0, |most: f64, r| most.max(r.abs())) + 50.0;
    let (mut low, mut high) = (-furthest, furthest);
    // The interval ends as two neighbours of f64.
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return of(high);
        }
        *if kept(middle) < total { &mut low } else { &mut high } = middle;
    }
}

/// Whole numbers of weights that stay, `total` in all.
fn rounded(shares: &[f64], counts: &[i64], total: i64) -> Vec<i64> {
    let exact: Vec<f64> = shares.iter().zip(counts).map(|(share, count)| share * *count as f64).collect();
    let mut kept: Vec<i64> =
        exact.iter().zip(counts).map(|(exact, count)| (exact.floor() as i64).min(*count)).collect();
    let mut order: Vec<usize> = (0..kept.len()).collect();
    // Stable: of equal remainders the first.
    order.sort_by(|a, b| (exact[*b] - exact[*b].floor()).total_cmp(&(exact[*a] - exact[*a].floor())));
    let mut left = total - kept.iter().sum::<i64>();
    while left > 0 {
        for &layer in order.iter().filter(|layer| kept[**layer] < counts[**layer]).collect::<Vec<_>>() {
            if left == 0 {
                break;
            }
            kept[layer] += 1;
            left -= 1;
        }
    }
    kept
}

/// A layer's part of the total.
pub struct Share {
    total: Rc<Total>,
    index: usize,
    layer: String,
    /// Whether a search is to record its decision.
    searched: bool,
}

impl Share {
    /// The part of the layer called `layer`, whose `count` weights are pruned; all layers of the network
    /// are attached before the first is asked.
    pub fn attach(
        name: &str,
        layer: &str,
        rate: f64,
        count: i64,
        decided: Option<&Decisions>,
        build: &mut Build,
    ) -> Share {
        let total: Rc<Total> = build.root().at(name).shared("total", || Total::new(rate));
        let logit = match decided {
            None => build.parameter("rate_logit", Role::Score, |_| Tensor::zeros([], (Kind::Float, tch::Device::Cpu))),
            Some(decided) => {
                let removed = decided.get(layer).and_then(|decision| decision.rate).unwrap_or(rate);
                // A whole layer that is removed, or kept, has a logit all the same.
                let kept = (1.0 - removed).clamp(1e-9, 1.0 - 1e-9);
                Tensor::from((kept / (1.0 - kept)).ln()).to_device(build.device())
            }
        };
        let mut layers = total.layers.borrow_mut();
        let index = layers.len();
        layers.push(Layer { logit, count });
        drop(layers);
        Share { total, index, layer: layer.to_owned(), searched: decided.is_none() }
    }

    /// Number of weights that stay.
    pub fn kept(&self) -> i64 {
        self.total.with(|solved| solved.kept[self.index])
    }

    fn count(&self) -> i64 {
        self.total.layers.borrow()[self.index].count
    }

    /// Fraction of the weights that stays, with the gradient of k.
    pub fn density(&self) -> Factor {
        let share = self.share();
        let exact = self.kept() as f64 / self.count() as f64;
        Factor::Scalar(&share - share.detach() + exact)
    }

    /// k, a scalar in f64.
    fn share(&self) -> Tensor {
        self.total.with(|solved| solved.shares.get(self.index as i64))
    }

    /// `mask`, which keeps the largest scores, with its gradients to the scores that it was made from
    /// and to k.
    pub fn straight_through(&self, scores: &Tensor, mask: &Tensor) -> Tensor {
        let (kept, count) = (self.kept(), self.count());
        let forward = || (vec![mask.shallow_clone()], vec![scores.detach()]);
        let backward = move |gradients: &[Tensor], saved: &[Tensor]| {
            let of_share = threshold_gradient(&gradients[0], &saved[0], kept, count);
            vec![Some(&gradients[0] * saved[0].sign()), Some(of_share)]
        };
        custom_function(&[scores, &self.share()], forward, backward).pop().expect("one output was given")
    }

    /// What a search decided for the layer.
    pub fn decide(&self) -> Option<(String, Decision)> {
        let removed = || 1.0 - self.share().double_value(&[]);
        self.searched.then(|| (self.layer.clone(), Decision { bits: None, rate: Some(removed()) }))
    }
}

/// dL/dk from dL/dM: a scalar in f64.
fn threshold_gradient(gradient: &Tensor, scores: &Tensor, kept: i64, count: i64) -> Tensor {
    let half = half_window(count);
    let [more, fewer] = [(kept + half).min(count), (kept - half).max(0)].map(|kept| largest_mask(scores, kept));
    let window = (gradient * (more - fewer)).sum(Kind::Double);
    window * (count as f64 / (2 * half) as f64)
}

/// h, of n weights.
fn half_window(count: i64) -> i64 {
    ((count as f64 / 16.0).round() as i64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use litesnn_framework::ground::Stream;

    #[test]
    fn all_layers_together_keep_the_total_whatever_their_logits() {
        let counts = [10, 100, 37, 1];
        for (logits, total) in
            [([0.0; 4], 30), ([3.0, -2.0, 0.5, 9.0], 30), ([40.0, -40.0, 0.0, 0.0], 75), ([0.0; 4], 148)]
        {
            let shares = shares(&logits, &counts, f64::from(total));
            let exact: f64 = shares.iter().zip(counts).map(|(share, count)| share * count as f64).sum();
            assert!((exact - f64::from(total)).abs() < 1e-9, "{exact} of {total}");
            let kept = rounded(&shares, &counts, i64::from(total));
            assert_eq!(kept.iter().sum::<i64>(), i64::from(total));
            for ((kept, share), count) in kept.iter().zip(&shares).zip(counts) {
                assert!((*kept as f64 - share * count as f64).abs() < 1.0 + 1e-9, "{kept} of {share} · {count}");
            }
        }
    }

    /// k = e^r e^c / (1 + e^r e^c): of two equal layers with logits ± r, k is sigmoid(± r) at one half.
    #[test]
    fn two_layers_have_their_closed_shares() {
        let found = shares(&[1.5, -1.5], &[8, 8], 8.0);
        let closed = 1.0 / (1.0 + (-1.5f64).exp());
        assert!((found[0] - closed).abs() < 1e-12 && (found[1] - (1.0 - closed)).abs() < 1e-12, "{found:?}");
        // All logits alike: everything is at the rate.
        assert!(shares(&[7.0; 3], &[5, 50, 7], 0.2 * 62.0).iter().all(|share| (share - 0.2).abs() < 1e-12));
    }

    fn total(logits: &[f32], counts: &[i64]) -> Total {
        let total = Total::new(0.5);
        let layer =
            |(logit, count): (&f32, &i64)| Layer { logit: Tensor::from(*logit).set_requires_grad(true), count: *count };
        total.layers.borrow_mut().extend(logits.iter().zip(counts).map(layer));
        total
    }

    /// Against finite differences of `shares`, in f64.
    #[test]
    fn the_gradient_of_the_shares_is_that_of_finite_differences() {
        let (logits, counts, weigh) = ([0.5f32, -1.0, 0.25], [30i64, 8, 100], [2.0, -3.0, 0.7]);
        let total = total(&logits, &counts);
        let loss = total.with(|solved| (&solved.shares * Tensor::from_slice(&weigh)).sum(Kind::Double));
        loss.backward();
        let of = |logits: &[f64]| shares(logits, &counts, 69.0).iter().zip(weigh).map(|(k, by)| k * by).sum::<f64>();
        let numbers = logits.map(f64::from);
        for (index, layer) in total.layers.borrow().iter().enumerate() {
            let [mut up, mut down] = [numbers, numbers];
            (up[index], down[index]) = (up[index] + 1e-5, down[index] - 1e-5);
            let expected = (of(&up) - of(&down)) / 2e-5;
            let found = layer.logit.grad().double_value(&[]);
            assert!((found - expected).abs() < 1e-6, "logit {index}: {found}, and not {expected}");
        }
    }

    /// Against finite differences of M~, written by its formula.
    #[test]
    fn the_gradient_of_a_share_is_that_of_the_linear_mask() {
        let (count, mut stream) = (64i64, Stream::numbered(8));
        let (scores, gradient) = (stream.normal(&[count]), stream.normal(&[count]));
        let by_rank = |values: &Tensor| {
            let (_, order) = scores.abs().sort(0, true);
            Vec::<f64>::try_from(values.index_select(0, &order).to_kind(Kind::Double)).unwrap()
        };
        let gradients = by_rank(&gradient);
        let window = 2.0 * half_window(count) as f64 / count as f64;
        let linear = |share: f64| {
            let value = |(place, gradient): (usize, &f64)| {
                let rank = (place as f64 + 0.5) / count as f64;
                gradient * ((share - rank) / window + 0.5).clamp(0.0, 1.0)
            };
            gradients.iter().enumerate().map(value).sum::<f64>()
        };
        for kept in [1, 2, 20, 32, 63] {
            let share = kept as f64 / count as f64;
            // No rank comes to an end of the window within a step.
            let expected = (linear(share + 1e-4) - linear(share - 1e-4)) / 2e-4;
            let found = threshold_gradient(&gradient, &scores, kept, count).double_value(&[]);
            assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{kept}: {found}, and not {expected}");
        }
    }
}
