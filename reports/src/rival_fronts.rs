//! The front of one method against the front of another: hypervolumes of compared rows, paired by
//! seed.
//!
//! A manifest that compares `joint-{scale}` with `sequential-{scale}` compares two methods at
//! several scales. What the names of two compared rows have in common, word by word from both ends
//! (`large`), is where they are compared, and so is the point of a sweep. The rest (`joint`,
//! `sequential`) is what is compared. The pairs of one rest are the rows of one method and the rows
//! of the other; two pairs of them or more make two fronts.
//!
//! A seed s that all rows of both methods have gives the difference HV_s(first) − HV_s(second),
//! with the hypervolume and the reference of [`fronts`](crate::fronts). What follows from the
//! differences is what follows for two rows ([`comparisons`]); the pairs of fronts of a cost are
//! corrected together.

use crate::comparisons::{self, Finding, Terms, correct};
use crate::fronts::{is_of_one_profile, reference, volumes};
use crate::metric::Metric;
use crate::trials::{ExperimentResults, SeedGroup};

/// How a difference of hypervolumes is said.
pub const TERMS: Terms = Terms::new("points · decades", ["worse", "better"], 2);

/// Two methods, each with its front.
pub struct RivalFronts<'a> {
    /// What the methods are called.
    pub names: [String; 2],
    /// Their rows, in the order of the comparisons.
    pub rows: [Vec<&'a SeedGroup>; 2],
    /// Means of both hypervolumes over the seeds that all rows have.
    pub means: [f64; 2],
    /// Number of these seeds.
    pub seeds: usize,
    /// What is to be said of the difference.
    pub finding: Finding,
}

/// The methods that an experiment's manifests compare at two places or more, by their hypervolumes
/// against a cost; none where several profiles have scales of their own.
pub fn of_experiment<'a>(experiment: &'a ExperimentResults, cost: &Metric) -> Vec<RivalFronts<'a>> {
    let Some(comparisons) = comparisons::of_experiment(experiment).filter(|_| is_of_one_profile(experiment)) else {
        return Vec::new();
    };
    let mut methods: Vec<([String; 2], [Vec<&SeedGroup>; 2])> = Vec::new();
    for pair in &comparisons.pairs {
        let names = apart(&pair.a.first().variant, &pair.b.first().variant);
        let known = methods.iter_mut().find(|(other, _)| *other == names);
        let rows = match known {
            Some((_, rows)) => rows,
            None => {
                methods.push((names, [Vec::new(), Vec::new()]));
                &mut methods.last_mut().expect("it was just added").1
            }
        };
        for (rows, row) in rows.iter_mut().zip([pair.a, pair.b]) {
            if !rows.iter().any(|other| std::ptr::eq(*other, row)) {
                rows.push(row);
            }
        }
    }
    // Many rows against the same one are no two fronts.
    methods.retain(|(_, [a, b])| a.len() > 1 && a.len() == b.len());
    let reference = reference(experiment, cost);
    let mut all: Vec<RivalFronts> =
        methods.into_iter().map(|(names, rows)| against(names, rows, cost, reference)).collect();
    correct(all.iter_mut().map(|one| &mut one.finding));
    all
}

fn against<'a>(
    names: [String; 2],
    rows: [Vec<&'a SeedGroup>; 2],
    cost: &Metric,
    reference: (f64, f64),
) -> RivalFronts<'a> {
    let [a, b] = [0, 1].map(|side: usize| volumes(&rows[side], cost, reference));
    let both = a.iter().filter_map(|(seed, a)| Some([*a, b.iter().find(|(other, _)| other == seed)?.1]));
    let values: Vec<[f64; 2]> = both.collect();
    let means = [0, 1].map(|side: usize| values.iter().map(|pair| pair[side]).sum::<f64>() / values.len() as f64);
    let differences: Vec<f64> = values.iter().map(|[a, b]| a - b).collect();
    // Over the logarithm of a cost, a trial that costs nothing has no place.
    let is_whole = differences.iter().all(|difference| difference.is_finite());
    let finding = if is_whole { Finding::of(&differences) } else { Finding::Unmeasured("a trial costs nothing") };
    RivalFronts { names, rows, means, seeds: values.len(), finding }
}

/// What two names have not in common, word by word from both ends. A name that is all in common
/// stays whole: then the rows differ in the point of a sweep.
fn apart(a: &str, b: &str) -> [String; 2] {
    let is_sign = |letter: char| !letter.is_alphanumeric();
    let [of_a, of_b] = [a, b].map(|name| name.split_inclusive(is_sign).collect::<Vec<&str>>());
    let plain = |word: &str| word.trim_end_matches(is_sign).to_owned();
    let shorter = of_a.len().min(of_b.len());
    let same = |pair: (&&str, &&str)| plain(pair.0) == plain(pair.1);
    let first = of_a.iter().zip(&of_b).take_while(|pair| same(*pair)).count();
    let last = of_a.iter().rev().zip(of_b.iter().rev()).take(shorter - first).take_while(|pair| same(*pair)).count();
    let rest = |words: &[&str], whole: &str| match words[first..words.len() - last].concat() {
        rest if rest.is_empty() => whole.to_owned(),
        rest => plain(&rest),
    };
    [rest(&of_a, a), rest(&of_b, b)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_have_in_common_at_their_ends_is_where_they_are_compared() {
        for (a, b, expected) in [
            ("joint-large", "sequential-large", ["joint", "sequential"]),
            ("joint-large", "sequential-retrained-large", ["joint", "sequential-retrained"]),
            ("wide joint_3", "wide random_3", ["joint", "random"]),
            ("one-pass", "paper", ["one-pass", "paper"]),
            // Of the whole of a name nothing is taken, so that it keeps a name.
            ("joint", "joint", ["joint", "joint"]),
            ("joint", "joint-retrained", ["joint", "retrained"]),
            ("a-a", "a", ["a", "a"]),
        ] {
            assert_eq!(apart(a, b), expected, "{a} {b}");
        }
    }
}
