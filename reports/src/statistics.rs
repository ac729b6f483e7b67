//! Statistics of differences: Student's t over pairs, its power, and Holm's correction.
//!
//! For differences d_1, ..., d_n of n pairs with mean D, and S² = Σ (d_i − D)² / (n − 1):
//!
//! ```text
//! interval at 1 − α    D ± t(1 − α/2; n − 1) · S / √n
//! p                    P(|T| ≥ |D| · √n / S), T Student's t with n − 1 degrees of freedom
//! power of a true      P(|Z + δ·√n/σ| > t(1 − α/2; n − 1) · X), Z normal, and X² · (n − 1)
//! difference δ         chi-squared with n − 1 degrees of freedom: the noncentral t distribution
//! ```
//!
//! All of it takes the pairs as independent and the differences as normal. With few pairs the
//! second cannot be checked. The power takes S for σ, which is an estimate itself: what follows
//! from it plans an experiment, and is no result of one.
//!
//! Holm's correction (1979) of m values of p, the smallest first: p_(k) becomes the largest of
//! min(1, (m − j + 1) · p_(j)) over j ≤ k. Where a corrected p is at most α, the chance that any
//! true hypothesis of the m is rejected is at most α, however they depend on each other.

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::erf::erfc;
use statrs::function::gamma::ln_gamma;

/// The level α of all tests and intervals.
pub const LEVEL: f64 = 0.05;
/// The power that is planned for.
pub const POWER: f64 = 0.8;
/// No more pairs than these are planned.
pub const MOST_PAIRS: usize = 1000;

/// Differences of two pairs or more, as far as Student's t knows them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Number of pairs.
    pub count: usize,
    /// Mean difference.
    pub mean: f64,
    /// Sample standard deviation of the differences.
    pub deviation: f64,
}

impl Paired {
    /// `None` for fewer than two differences.
    pub fn of(differences: &[f64]) -> Option<Paired> {
        let count = differences.len();
        let mean = differences.iter().sum::<f64>() / count as f64;
        let squares = differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>();
        (count > 1).then(|| Paired { count, mean, deviation: (squares / (count - 1) as f64).sqrt() })
    }

    /// Whether all differences are the same but for rounding: then there is nothing to test.
    pub fn is_constant(&self) -> bool {
        self.deviation <= 1e-9 * self.mean.abs()
    }

    /// Half the length of the interval at 1 − `level` around the mean.
    pub fn half_interval(&self, level: f64) -> f64 {
        critical(level, self.count) * self.deviation / (self.count as f64).sqrt()
    }

    /// The two-sided p of a true difference of 0.
    pub fn p(&self) -> f64 {
        let t = self.mean.abs() * (self.count as f64).sqrt() / self.deviation;
        2.0 * student(self.count).sf(t)
    }

    /// The smallest true difference that as many pairs show with [`POWER`].
    pub fn detectable(&self, level: f64) -> f64 {
        detectable(self.count, level) * self.deviation
    }

    /// As many pairs show a true difference as large as the mean with [`POWER`]; `None` where it
    /// would be more than [`MOST_PAIRS`].
    pub fn needed(&self, level: f64) -> Option<usize> {
        needed(self.mean / self.deviation, level)
    }
}

/// Holm's correction, in the order of the values.
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let (mut corrected, mut largest) = (vec![1.0; values.len()], 0.0f64);
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max((values.len() - rank) as f64 * values[index]).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

/// Standard error of a fraction of `count` independent cases: sqrt(p · (1 − p) / count); `None`
/// where their number is not known.
pub fn binomial_error(fraction: f64, count: f64) -> Option<f64> {
    let error = (fraction * (1.0 - fraction) / count).sqrt();
    (count > 0.0 && error.is_finite()).then_some(error)
}

/// The median; NaN of no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The median of three values or more: that of two is their mean.
pub fn median_of_several(values: &[f64]) -> Option<f64> {
    (values.len() > 2).then(|| median(values))
}

/// Student's t of the mean of so many pairs.
fn student(count: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, (count - 1) as f64).expect("two pairs leave a degree of freedom")
}

/// t with `level` / 2 above it.
fn critical(level: f64, count: usize) -> f64 {
    -student(count).inverse_cdf(level / 2.0)
}

/// The chance that a true difference, in standard deviations of the differences, is told from 0.
fn power(count: usize, difference: f64, level: f64) -> f64 {
    let shift = difference.abs() * (count as f64).sqrt();
    of_shift(count, shift, critical(level, count))
}

/// The mean over X of the chance that |Z + shift| exceeds critical · X, by the midpoint rule.
fn of_shift(count: usize, shift: f64, critical: f64) -> f64 {
    const STEPS: usize = 2000;
    let freedom = (count - 1) as f64;
    let constant = 2f64.ln() + freedom / 2.0 * (freedom / 2.0).ln() - ln_gamma(freedom / 2.0);
    let density = |x: f64| (constant + (freedom - 1.0) * x.ln() - freedom * x * x / 2.0).exp();
    // Ten deviations of X on both sides of 1; beyond the second bound nothing is told from 0.
    let reach = 10.0 / (2.0 * freedom).sqrt();
    let (low, high) = ((1.0 - reach).max(0.0), (1.0 + reach).min((shift + 9.0) / critical));
    let step = (high - low).max(0.0) / STEPS as f64;
    let sum: f64 = (0..STEPS)
        .map(|index| low + step * (index as f64 + 0.5))
        .map(|x| density(x) * (normal(shift - critical * x) + normal(-shift - critical * x)))
        .sum();
    sum * step
}

/// P(Z ≤ z).
fn normal(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

/// The difference, in standard deviations of the differences, that so many pairs show with
/// [`POWER`].
fn detectable(count: usize, level: f64) -> f64 {
    let critical = critical(level, count);
    let (mut low, mut high) = (0.0, 1.0);
    while of_shift(count, high, critical) < POWER {
        (low, high) = (high, 2.0 * high);
    }
    while high - low > 1e-6 * high {
        let middle = (low + high) / 2.0;
        if of_shift(count, middle, critical) < POWER { low = middle } else { high = middle }
    }
    high / (count as f64).sqrt()
}

/// The fewest pairs that show a difference, in standard deviations of the differences.
fn needed(difference: f64, level: f64) -> Option<usize> {
    let shows = |count: usize| power(count, difference, level) >= POWER;
    if !shows(MOST_PAIRS) {
        return None;
    }
    let (mut too_few, mut enough) = (1, MOST_PAIRS);
    while enough - too_few > 1 {
        let middle = usize::midpoint(too_few, enough);
        if shows(middle) { enough = middle } else { too_few = middle }
    }
    Some(enough)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::Value;

    use super::*;

    /// What `reports/tests/reference/statistics.py` found by SciPy.
    static SCIPY: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("../tests/reference/statistics.json")).unwrap());

    fn rows<const N: usize>(key: &str) -> Vec<[f64; N]> {
        let row = |row: &Value| std::array::from_fn(|index| row[index].as_f64().unwrap());
        SCIPY[key].as_array().unwrap().iter().map(row).collect()
    }

    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance * expected.abs(), "{found} instead of {expected}");
    }

    #[test]
    fn quantiles_of_students_t_are_those_of_scipy() {
        let quantiles = rows::<3>("quantiles");
        assert_eq!(quantiles.len(), 18);
        for [level, freedom, t] in quantiles {
            near(critical(level, freedom as usize + 1), t, 1e-7);
        }
    }

    #[test]
    fn means_intervals_and_p_are_those_of_scipy() {
        let pairs = SCIPY["pairs"].as_array().unwrap();
        assert_eq!(pairs.len(), 12);
        for pair in pairs {
            let number = |key: &str| pair[key].as_f64().unwrap();
            let differences: Vec<f64> =
                pair["differences"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
            let paired = Paired::of(&differences).unwrap();
            near(paired.mean, number("mean"), 1e-12);
            near(paired.deviation, number("deviation"), 1e-12);
            near(paired.p(), number("p"), 1e-9);
            let half = paired.half_interval(number("level"));
            near(paired.mean + half, number("high"), 1e-6);
            near(paired.mean - half, number("low"), 1e-6);
        }
    }

    #[test]
    fn powers_are_those_of_the_noncentral_t_distribution() {
        for [count, difference, level, expected] in rows::<4>("powers") {
            let found = power(count as usize, difference, level);
            assert!((found - expected).abs() < 2e-5, "{count} {difference} {level}: {found} instead of {expected}");
        }
        for [count, level, expected] in rows::<3>("detectable") {
            near(detectable(count as usize, level), expected, 1e-3);
        }
        for [difference, level, expected] in rows::<3>("needed") {
            assert_eq!(needed(difference, level), Some(expected as usize), "{difference} {level}");
        }
        assert_eq!(needed(1e-3, LEVEL), None);
        assert_eq!(needed(0.0, LEVEL), None);
    }

    #[test]
    fn a_single_pair_has_no_deviation_and_equal_differences_have_none_to_test() {
        assert_eq!(Paired::of(&[]), None);
        assert_eq!(Paired::of(&[1.0]), None);
        // Differences of accuracies that are equal but for rounding.
        let equal = [100.0 * 0.57 - 100.0 * 0.56, 100.0 * 0.29 - 100.0 * 0.28, 1.0];
        assert!(equal[0] != equal[1] && Paired::of(&equal).unwrap().is_constant());
        assert!(Paired::of(&[0.0, 0.0]).unwrap().is_constant());
        assert!(!Paired::of(&[-1.0, 1.0]).unwrap().is_constant());
    }

    #[test]
    fn an_accuracy_has_the_error_of_a_fraction_and_a_median_stands_in_the_middle() {
        assert_eq!(binomial_error(0.8, 1600.0), Some(0.01));
        assert_eq!(binomial_error(1.0, 10.0), Some(0.0));
        assert_eq!((binomial_error(0.8, f64::NAN), binomial_error(0.8, 0.0)), (None, None));
        assert_eq!(median(&[3.0, -1.0, 10.0]), 3.0);
        assert_eq!(median(&[3.0, -1.0, 10.0, 4.0]), 3.5);
        assert!(median(&[]).is_nan());
        assert_eq!((median_of_several(&[1.0, 9.0, 2.0]), median_of_several(&[1.0, 2.0])), (Some(2.0), None));
    }

    #[test]
    fn holm_multiplies_the_smallest_p_most_and_keeps_their_order() {
        let corrected = holm(&[0.04, 0.01, 0.03, 0.005]);
        let expected = [0.06, 0.03, 0.06, 0.02];
        assert!(
            corrected.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12),
            "{corrected:?}"
        );
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert_eq!(holm(&[0.03]), [0.03]);
        assert!(holm(&[]).is_empty());
    }
}
