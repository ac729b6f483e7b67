//! Fronts of test accuracy against a cost: which rows another row dominates, and how much of the
//! plane the rest covers.
//!
//! A row is dominated where another one is at least as accurate and costs no more, and is better in
//! one of the two, by their means over seeds, and both have one profile. The front is the rest.
//!
//! The hypervolume of points (cost c, accuracy a) for the reference (C, A) is the area that is worse
//! than one of them and better than the reference, over the cost in decades, as in the figures:
//!
//! ```text
//! HV = ∫ max(0, max { a : log10 c ≤ x } − A) dx  from the least log10 c to log10 C
//! ```
//!
//! in points · decades. The reference is the worst that any trial of the experiment has: the largest
//! cost and the least accuracy. So hypervolumes compare within one experiment, and a point as bad as
//! the reference adds nothing.
//!
//! A set of rows has a hypervolume for each seed that all its rows have. The mean over seeds has an
//! interval by Student's t. All rows together are a set, and so are the points of a sweep that a
//! variant has. The rows of two methods that a manifest compares are two sets of
//! [`rival_fronts`](crate::rival_fronts).

use crate::metric::{self, Metric};
use crate::statistics::{LEVEL, Paired};
use crate::trials::{ExperimentResults, FinishedTrial, SeedGroup};

/// What accuracy is set against.
pub const COSTS: [Metric; 2] = [metric::STORED_SIZE, metric::BIT_SYN_OPS];

/// With fewer rows than these, the comparison says it all.
pub const FEWEST_ROWS: usize = 3;

/// Cost and accuracy in percent.
pub type Place = (f64, f64);

/// The rows that dominate a row, in the order of the experiment.
pub fn dominating<'a>(experiment: &'a ExperimentResults, group: &SeedGroup, cost: &Metric) -> Vec<&'a SeedGroup> {
    let place = |group: &SeedGroup| (group.measured(cost).0, group.measured(&metric::ACCURACY).0);
    let (own, profile) = (place(group), &group.first().profile);
    let alike = experiment.groups.iter().filter(|other| other.first().profile == *profile);
    alike.filter(|other| dominates(place(other), own)).collect()
}

fn dominates(one: Place, other: Place) -> bool {
    one.0 <= other.0 && one.1 >= other.1 && one != other
}

/// The hypervolume of some rows against a cost.
pub struct Hypervolume {
    /// `all rows`, or the variant whose points of a sweep they are.
    pub rows: String,
    /// Mean over seeds.
    pub mean: f64,
    /// Half the interval at 95 %; `None` for one seed.
    pub half_interval: Option<f64>,
    /// Number of seeds.
    pub seeds: usize,
}

/// The reference of an experiment: the largest cost and the least accuracy of a trial.
pub fn reference(experiment: &ExperimentResults, cost: &Metric) -> Place {
    let places = || experiment.trials().map(|trial| place(trial, cost));
    (places().map(|place| place.0).fold(0.0, f64::max), places().map(|place| place.1).fold(f64::INFINITY, f64::min))
}

/// The hypervolumes of an experiment against a cost. A set whose rows share no seed, or one of whose
/// trials costs nothing, has none, and neither has an experiment of several profiles.
pub fn hypervolumes(experiment: &ExperimentResults, cost: &Metric) -> Vec<Hypervolume> {
    if !is_of_one_profile(experiment) {
        return Vec::new();
    }
    let mut sets: Vec<(String, Vec<&SeedGroup>)> = vec![("all rows".to_owned(), experiment.groups.iter().collect())];
    for group in experiment.groups.iter().filter(|group| !group.first().point.is_empty()) {
        let variant = &group.first().variant;
        match sets[1..].iter_mut().find(|(name, _)| name == variant) {
            Some((_, groups)) => groups.push(group),
            None => sets.push((variant.clone(), vec![group])),
        }
    }
    // One variant with all points of the sweep is all rows.
    let all = experiment.groups.len();
    sets.retain(|(name, groups)| groups.len() > 1 && (name == "all rows" || groups.len() < all));
    let reference = reference(experiment, cost);
    sets.into_iter().filter_map(|(rows, groups)| of_rows(rows, &groups, cost, reference)).collect()
}

/// Whether all rows have one profile: the scales of several do not compare.
pub fn is_of_one_profile(experiment: &ExperimentResults) -> bool {
    experiment.groups.windows(2).all(|pair| pair[0].first().profile == pair[1].first().profile)
}

fn of_rows(rows: String, groups: &[&SeedGroup], cost: &Metric, reference: Place) -> Option<Hypervolume> {
    let volumes: Vec<f64> = volumes(groups, cost, reference).into_iter().map(|(_, volume)| volume).collect();
    if volumes.is_empty() || volumes.iter().any(|volume| !volume.is_finite()) {
        return None;
    }
    let mean = volumes.iter().sum::<f64>() / volumes.len() as f64;
    let half_interval = Paired::of(&volumes).map(|paired| paired.half_interval(LEVEL));
    Some(Hypervolume { rows, mean, half_interval, seeds: volumes.len() })
}

/// The seeds that all rows of a set have, each with its hypervolume; NaN where a trial costs
/// nothing.
pub fn volumes(groups: &[&SeedGroup], cost: &Metric, reference: Place) -> Vec<(i64, f64)> {
    let of_seed = |group: &SeedGroup, seed: i64| {
        group.trials.iter().find(|trial| trial.outcome.seed == seed).map(|trial| place(trial, cost))
    };
    let seeds = groups.first().into_iter().flat_map(|group| &group.trials).map(|trial| trial.outcome.seed);
    let places = seeds.filter_map(|seed| {
        let places: Option<Vec<Place>> = groups.iter().map(|group| of_seed(group, seed)).collect();
        Some((seed, places?))
    });
    places.map(|(seed, places)| (seed, hypervolume(&places, reference))).collect()
}

fn place(trial: &FinishedTrial, cost: &Metric) -> Place {
    ((cost.value)(&trial.outcome), (metric::ACCURACY.value)(&trial.outcome))
}

/// The hypervolume of some points in points · decades; NaN where one costs nothing.
fn hypervolume(places: &[Place], (most, least): Place) -> f64 {
    if places.iter().any(|(cost, accuracy)| !(*cost > 0.0 && accuracy.is_finite())) {
        return f64::NAN;
    }
    let mut places = places.to_vec();
    places.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut area, mut best) = (0.0, least);
    for (index, (cost, accuracy)) in places.iter().enumerate() {
        best = f64::max(best, *accuracy);
        let next = places.get(index + 1).map_or(most, |next| next.0);
        area += (best - least) * (next / cost).log10().max(0.0);
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_of_a_front_is_that_of_its_steps() {
        let reference = (1000.0, 50.0);
        // One decade at 70 %, one at 90 %.
        let front = [(100.0, 90.0), (10.0, 70.0)];
        assert!((hypervolume(&front, reference) - (20.0 + 40.0)).abs() < 1e-9);
        // A dominated point and one as bad as the reference add nothing.
        let more = [front.as_slice(), &[(200.0, 80.0), (1000.0, 50.0)]].concat();
        assert!((hypervolume(&more, reference) - 60.0).abs() < 1e-9);
        assert_eq!(hypervolume(&[reference], reference), 0.0);
        assert!(hypervolume(&[(0.0, 90.0)], reference).is_nan());
    }

    #[test]
    fn a_point_is_dominated_by_one_that_is_worse_in_nothing() {
        assert!(dominates((1.0, 90.0), (2.0, 90.0)) && dominates((1.0, 91.0), (1.0, 90.0)));
        assert!(!dominates((1.0, 90.0), (1.0, 90.0)));
        assert!(!dominates((1.0, 89.0), (2.0, 90.0)) && !dominates((3.0, 91.0), (2.0, 90.0)));
        assert!(!dominates((f64::NAN, 91.0), (2.0, 90.0)));
    }
}
