//! How well what a search believed of architectures orders what training them gave: Kendall's tau.
//!
//! For N architectures with beliefs x and trained accuracies y, of which C pairs stand in the same
//! order in both and D in the opposite one, and where t runs over the sizes of groups of equal x,
//! and u of equal y:
//!
//! ```text
//! tau-b       (C − D) / √((n0 − n1) (n0 − n2)),  n0 = N (N−1) / 2,  n1 = Σ t (t−1) / 2,  n2 = Σ u (u−1) / 2
//! p           P(|Z| ≥ |C − D| / √v), where without any relation C − D has the variance
//!             v = (v(N) − Σ v(t) − Σ v(u)) / 18 + n1 n2 / n0 + Σ w(t) Σ w(u) / (9 N (N−1) (N−2)),
//!             v(k) = k (k−1) (2k+5),  w(k) = k (k−1) (k−2)
//! interval    tanh(artanh(tau) ± z √(0.437 / (N − 4))),  z = 1.96 at 95 %
//! regret      max(y) − y of the architecture with the largest x, of equal ones the first
//! ```
//!
//! tau-b and p are as in Kendall, Rank Correlation Methods, 1970. The interval is Fieller, Hartley
//! and Pearson's (Biometrika, 1957). It needs no random numbers, stays within ±1, and beside a
//! bootstrap over architectures it makes no ties that the data do not have. docs/ranking.md says
//! how often it holds the true tau.

use std::path::Path;

use litesnn_framework::network::{Architecture, Design};
use litesnn_framework::record::CandidateRow;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::statistics::LEVEL;
use crate::trials::{FinishedTrial, SeedGroup};

/// Fewer architectures have no interval.
pub const FEWEST: usize = 5;

/// An architecture that was believed first and trained afterwards.
#[derive(Debug, Clone)]
pub struct Pair {
    architecture: Architecture,
    /// Validation accuracy of its path in the supernet, 0..1, or its score before training.
    pub believed: f64,
    /// Whether it is a score.
    pub scored: bool,
    /// Validation accuracy of its final network, 0..1.
    pub trained: f64,
}

/// The architectures of a trial that were believed and trained, in the order of the search; none of
/// a search that did only one of the two.
pub fn pairs(trial: &FinishedTrial) -> Vec<Pair> {
    let read = |row: &CandidateRow| Some((Design::parse(&row.design, Path::new("")).ok()?.architecture(), row.clone()));
    let all: Vec<(Architecture, CandidateRow)> = trial.candidates.iter().filter_map(read).collect();
    let (beliefs, networks): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, row)| row.epochs == 0);
    let pair = |(architecture, belief): (Architecture, CandidateRow)| {
        let (_, trained) = networks.iter().find(|(other, _)| *other == architecture)?;
        let scored = belief.validation_accuracy.is_nan();
        let believed = if scored { belief.fitness } else { belief.validation_accuracy };
        Some(Pair { architecture, believed, scored, trained: trained.validation_accuracy })
    };
    beliefs.into_iter().filter_map(pair).collect()
}

/// The agreement of beliefs with trained accuracies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Number of architectures.
    pub count: usize,
    /// Kendall's tau-b; NaN where all beliefs or all accuracies are equal.
    pub tau: f64,
    /// The two-sided p of no relation.
    pub p: f64,
}

impl Agreement {
    /// Of a value x and a value y for each architecture.
    pub fn of(values: &[(f64, f64)]) -> Agreement {
        let count = values.len();
        let mut score = 0.0;
        for (index, one) in values.iter().enumerate() {
            score += values[..index].iter().map(|other| order(one.0, other.0) * order(one.1, other.1)).sum::<f64>();
        }
        let of_ties = |value: fn(&(f64, f64)) -> f64| ties(values.iter().map(value).collect());
        let (t, u) = (of_ties(|pair| pair.0), of_ties(|pair| pair.1));
        let n = count as f64;
        let over = |groups: &[f64], value: fn(f64) -> f64| groups.iter().map(|size| value(*size)).sum::<f64>();
        let twos = |size: f64| size * (size - 1.0) / 2.0;
        let (n0, n1, n2) = (twos(n), over(&t, twos), over(&u, twos));
        let v = |size: f64| size * (size - 1.0) * (2.0 * size + 5.0);
        let w = |size: f64| size * (size - 1.0) * (size - 2.0);
        let of_threes = if count > 2 { over(&t, w) * over(&u, w) / (9.0 * w(n)) } else { 0.0 };
        let variance = (v(n) - over(&t, v) - over(&u, v)) / 18.0 + n1 * n2 / n0 + of_threes;
        let tau = score / ((n0 - n1) * (n0 - n2)).sqrt();
        let p = 2.0 * Normal::standard().sf(score.abs() / variance.sqrt());
        Agreement { count, tau: if tau.is_finite() { tau } else { f64::NAN }, p }
    }

    /// Where the true tau lies, at 95 %; `None` for few architectures, and where all pairs agree or
    /// none does.
    pub fn interval(&self) -> Option<(f64, f64)> {
        if self.count < FEWEST || self.tau.abs() >= 1.0 - 1e-12 || self.tau.is_nan() {
            return None;
        }
        let half = Normal::standard().inverse_cdf(1.0 - LEVEL / 2.0) * (0.437 / (self.count as f64 - 4.0)).sqrt();
        let middle = self.tau.atanh();
        Some(((middle - half).tanh(), (middle + half).tanh()))
    }
}

/// The best trained accuracy, minus the accuracy of the architecture that is believed best and
/// minus the mean of all: what a choice by belief and a choice by chance lose.
pub fn regrets(pairs: &[Pair]) -> (f64, f64) {
    let best = pairs.iter().map(|pair| pair.trained).fold(f64::NEG_INFINITY, f64::max);
    let chosen =
        pairs.iter().rev().max_by(|a, b| a.believed.total_cmp(&b.believed)).map_or(f64::NAN, |pair| pair.trained);
    let mean = pairs.iter().map(|pair| pair.trained).sum::<f64>() / pairs.len() as f64;
    (best - chosen, best - mean)
}

/// The mean tau between the trained accuracies of each two seeds of a row, over the architectures
/// that both trained: as far as training orders architectures alike. `None` of one seed.
pub fn of_trainings(group: &SeedGroup) -> Option<f64> {
    let trials: Vec<Vec<Pair>> = group.trials.iter().map(pairs).filter(|pairs| !pairs.is_empty()).collect();
    let mut taus = Vec::new();
    for (index, one) in trials.iter().enumerate() {
        for other in &trials[..index] {
            let both = |pair: &Pair| {
                let same = other.iter().find(|other| other.architecture == pair.architecture)?;
                Some((pair.trained, same.trained))
            };
            taus.push(Agreement::of(&one.iter().filter_map(both).collect::<Vec<_>>()).tau);
        }
    }
    taus.retain(|tau| tau.is_finite());
    (!taus.is_empty()).then(|| taus.iter().sum::<f64>() / taus.len() as f64)
}

/// −1, 0 or 1: whether a value is smaller than another one, equal or larger. Scores may be infinite.
fn order(one: f64, other: f64) -> f64 {
    f64::from(i8::from(one > other) - i8::from(one < other))
}

/// How many values are equal, for each group of equal values.
fn ties(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values.chunk_by(|one, other| one == other).map(|group| group.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `reports/tests/reference/ranking.py` found by SciPy.
    const SCIPY: &str = include_str!("../tests/reference/ranking.json");

    #[test]
    fn tau_and_p_are_those_of_scipy() {
        let rows: Vec<serde_json::Value> = serde_json::from_str(SCIPY).unwrap();
        assert_eq!(rows.len(), 6);
        for row in rows {
            let list =
                |key: &str| row[key].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect::<Vec<_>>();
            let values: Vec<(f64, f64)> = list("x").into_iter().zip(list("y")).collect();
            let found = Agreement::of(&values);
            let (tau, p) = (row["tau"].as_f64().unwrap(), row["p"].as_f64().unwrap());
            assert!((found.tau - tau).abs() < 1e-12, "{row}: tau {}", found.tau);
            assert!((found.p - p).abs() < 1e-9, "{row}: p {}", found.p);
        }
    }

    #[test]
    fn an_interval_is_that_of_fieller_and_few_or_perfect_orders_have_none() {
        // artanh(0.5) = 0.549306; 1.959964 · sqrt(0.437 / 16) = 0.323912.
        let (low, high) = Agreement { count: 20, tau: 0.5, p: 0.0 }.interval().unwrap();
        assert!((low - 0.225394f64.tanh()).abs() < 1e-5 && (high - 0.873218f64.tanh()).abs() < 1e-5, "{low} {high}");
        assert_eq!(Agreement { count: 4, tau: 0.5, p: 0.0 }.interval(), None);
        assert_eq!(Agreement::of(&[1.0, 2.0, 3.0, 4.0, 5.0].map(|x| (x, x))).interval(), None);
        let flat = Agreement::of(&[1.0, 2.0, 3.0, 4.0, 5.0].map(|x| (x, 0.5)));
        assert!(flat.tau.is_nan() && flat.interval().is_none());
    }

    #[test]
    fn a_choice_loses_what_the_best_has_more_and_of_equal_beliefs_the_first_is_chosen() {
        let architecture = Design::parse("version = 1\nspace = \"layers\"\ntimesteps = 4\n", Path::new(""))
            .map(|design| design.architecture())
            .unwrap();
        let pair = |(believed, trained)| Pair { scored: false, architecture: architecture.clone(), believed, trained };
        let (chosen, chance) = regrets(&[(0.1, 0.9), (0.4, 0.5), (0.4, 0.7)].map(pair));
        assert!((chosen - 0.4).abs() < 1e-12 && (chance - 0.2).abs() < 1e-12, "{chosen} {chance}");
    }
}
