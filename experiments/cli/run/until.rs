//! `litesnn run --until-interval`: more seeds of the rows that are compared, round by round, until
//! their differences are known well enough.
//!
//! The first round runs the manifest as it is. After each round the differences of test accuracy
//! are paired by seed. A comparison is settled when both of its rows have three seeds in common and
//! half of the 95 % interval of the difference is at most the width that was asked for. Of the
//! others, the one with the widest interval gets one seed more: the lowest that one of its rows
//! lacks. What has less than three seeds has no interval yet, and is wider than all that have one;
//! comparisons that are as wide as each other get their seeds in the same round. A row has no more
//! than `--max-seeds`, and where the widest comparison has no room the next one goes on. Finished
//! trials are found again, so that the same command resumes.
//!
//! Only the width ends it. A rule that stopped as soon as a difference can be told from 0 would look
//! for a lucky moment, and would find one in more than 5 % of equal pairs.

use std::collections::{BTreeMap, BTreeSet};

use litesnn_framework::ground::counted;
use litesnn_framework::ground::threads::Threads;
use litesnn_framework::manifest::{self, Plan, Trial};
use litesnn_framework::run::Finished;
use litesnn_reports::comparisons::half_interval;

use super::{parts, run_part, tell, worst};
use crate::arguments::RunOptions;
use crate::exit::{Exit, Failure};
use crate::output::say;

/// Two or less say too little of a spread to stop by it.
const LEAST: usize = 3;

/// Runs each plan until its comparisons are settled, `width` points on either side, or the seeds are
/// used up.
pub fn run_until(options: &RunOptions, plans: Vec<Plan>, width: f64, threads: &Threads) -> Result<Exit, Failure> {
    if let Some(plan) = plans.iter().find(|plan| plan.comparisons.is_empty()) {
        let message = format!("`{}` compares no rows, so that no interval says when to stop", plan.source.display());
        let help = "add [[compare]] with `a = \"ROW\"` and `b = \"ROW\"`, or leave --until-interval out";
        return Err(Failure::new(Exit::Usage, message, Some(help.into())));
    }
    worst(plans.into_iter().map(|plan| settle(options, plan, width, threads)))
}

/// Runs rounds of one plan.
fn settle(options: &RunOptions, first: Plan, width: f64, threads: &Threads) -> Result<Exit, Failure> {
    let source = first.source.clone();
    let mut seeds: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for trial in &first.trials {
        seeds.entry(trial.row()).or_default().insert(trial.seed);
    }
    let mut plans = vec![first];
    for round in 1u32.. {
        let (plan, executor) = parts(options, &mut plans).pop().expect("one plan is one part");
        let elsewhere = executor.elsewhere();
        if elsewhere && !options.wait {
            let message = "a round of seeds begins when the round before it is finished".to_owned();
            return Err(Failure::new(
                Exit::Usage,
                message,
                Some("add --wait: its trials run on other machines".into()),
            ));
        }
        let all = run_part(options, plan, executor, threads)?;
        let pairs = pairs(&plan[0], &all);
        let open = pairs.iter().filter(|pair| !pair.is_settled(width)).count();
        let wanted = wanted(&pairs, &seeds, width, usize::from(options.max_seeds));
        // A trial that failed would fail again, and an open one was interrupted.
        let went_well = all.iter().all(|trial| trial.as_ref().is_some_and(|trial| trial.outcome.is_ok()));
        let ends = !went_well || wanted.is_empty();
        let exit = if ends { Some(tell(options, &all, elsewhere)?) } else { None };
        if !options.quiet {
            pairs.iter().for_each(|pair| say!("round {round}: {}", pair.words(width)));
        }
        if let Some(exit) = exit {
            if went_well && open > 0 {
                let open = counted(open, "comparison");
                say!(
                    "not settled with {} a row: {open}; --max-seeds allows more",
                    counted(usize::from(options.max_seeds), "seed")
                );
            }
            return Ok(exit);
        }
        for (row, seed) in wanted {
            seeds.entry(row).or_default().insert(seed);
        }
        let every: BTreeSet<u64> = seeds.values().flatten().copied().collect();
        let mut request = options.layers.request(source.clone());
        request.set.push(format!("experiment.seeds={:?}", Vec::from_iter(every)));
        let has = |trial: &Trial| seeds.get(&trial.row()).is_some_and(|seeds| seeds.contains(&trial.seed));
        plans = vec![manifest::load(&request)?.only(has)];
    }
    unreachable!("some round ends it")
}

/// The rows that get a seed, and which: those of the comparisons with the widest interval of all that
/// are open and have room.
fn wanted(pairs: &[Pair], seeds: &BTreeMap<String, BTreeSet<u64>>, width: f64, most: usize) -> Vec<(String, u64)> {
    let open = pairs.iter().filter(|pair| !pair.is_settled(width));
    let next: Vec<_> = open.filter_map(|pair| Some((pair.reach(), pair.next(seeds, most)?))).collect();
    let widest = next.iter().map(|(reach, _)| *reach).fold(0.0, f64::max);
    next.into_iter().filter(|(reach, _)| *reach == widest).flat_map(|(_, next)| next).collect()
}

/// Two rows that are compared.
struct Pair {
    rows: [String; 2],
    /// Of test accuracy, in percentage points, by the seeds that both have.
    differences: BTreeMap<u64, f64>,
}

/// The comparisons of a plan, from what became of its trials.
fn pairs(plan: &Plan, all: &[Option<Finished>]) -> Vec<Pair> {
    let accuracies = |row: usize| -> BTreeMap<u64, f64> {
        let of_row = plan.trials.iter().zip(all).filter(|(trial, _)| trial.is_of_row(&plan.trials[row]));
        let accuracy = |(trial, finished): (&Trial, &Option<Finished>)| {
            Some((trial.seed, finished.as_ref()?.outcome.as_ref().ok()?.test_accuracy))
        };
        of_row.filter_map(accuracy).collect()
    };
    let pair = |rows: [usize; 2]| {
        let [a, b] = rows.map(accuracies);
        let differences = a.iter().filter_map(|(seed, a)| Some((*seed, 100.0 * (a - b.get(seed)?)))).collect();
        Pair { rows: rows.map(|row| plan.trials[row].row()), differences }
    };
    plan.comparisons.iter().map(|compared| pair([compared.a, compared.b])).collect()
}

impl Pair {
    /// Half of the 95 % interval, where there are seeds enough for one.
    fn half(&self) -> Option<f64> {
        half_interval(&Vec::from_iter(self.differences.values().copied()))
    }

    /// The same, without an end where there are too few seeds to believe it.
    fn reach(&self) -> f64 {
        self.half().filter(|_| self.differences.len() >= LEAST).unwrap_or(f64::INFINITY)
    }

    fn is_settled(&self, width: f64) -> bool {
        self.reach() <= width
    }

    /// The lowest seed that one of the rows lacks, for both of them, while they may have more.
    fn next(&self, seeds: &BTreeMap<String, BTreeSet<u64>>, most: usize) -> Option<[(String, u64); 2]> {
        let has = |row: &String, seed: u64| seeds.get(row).is_some_and(|seeds| seeds.contains(&seed));
        let lowest = (0..).find(|seed| !self.rows.iter().all(|row| has(row, *seed)))?;
        let room = |row: &String| has(row, lowest) || seeds.get(row).is_none_or(|seeds| seeds.len() < most);
        self.rows.iter().all(room).then(|| self.rows.clone().map(|row| (row, lowest)))
    }

    fn words(&self, width: f64) -> String {
        let [a, b] = &self.rows;
        let count = self.differences.len();
        let mean = self.differences.values().sum::<f64>() / count as f64;
        let state = if self.is_settled(width) { "settled" } else { "open" };
        match self.half() {
            Some(half) => format!("{a} against {b}: {mean:+.2} ± {half:.2} points over {count} seeds, {state}"),
            None => format!("{a} against {b}: {}, no interval yet", counted(count, "seed in common")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(differences: &[(u64, f64)]) -> Pair {
        Pair { rows: ["a".into(), "b".into()], differences: differences.iter().copied().collect() }
    }

    fn seeds(a: &[u64], b: &[u64]) -> BTreeMap<String, BTreeSet<u64>> {
        [("a", a), ("b", b)].map(|(row, seeds)| (row.to_owned(), seeds.iter().copied().collect())).into()
    }

    #[test]
    fn the_width_settles_a_comparison_and_three_seeds_are_the_least() {
        // Deviation 1, t(0.975; 2) = 4.302653: 4.302653 / sqrt(3) = 2.484138.
        let three = pair(&[(0, 4.0), (1, 5.0), (2, 6.0)]);
        assert!((three.half().unwrap() - 2.484_138).abs() < 1e-6);
        assert!(three.is_settled(2.49) && !three.is_settled(2.48));
        assert_eq!(three.words(2.49), "a against b: +5.00 ± 2.48 points over 3 seeds, settled");
        let two = pair(&[(0, 5.0), (1, 5.0)]);
        assert!(!two.is_settled(1.0), "two equal differences are an accident");
        assert_eq!(pair(&[(4, 1.0)]).words(1.0), "a against b: 1 seed in common, no interval yet");
    }

    #[test]
    fn the_widest_comparison_gets_the_seed_while_it_has_room() {
        let named = |rows: [&str; 2], differences: &[(u64, f64)]| {
            let differences = differences.iter().copied().collect();
            Pair { rows: rows.map(str::to_owned), differences }
        };
        // Intervals of 2.48 and 4.97 points to either side; both end at the baseline `b`.
        let narrow = || named(["a", "b"], &[(0, 4.0), (1, 5.0), (2, 6.0)]);
        let wide = || named(["c", "b"], &[(0, 3.0), (1, 5.0), (2, 7.0)]);
        let young = || named(["d", "b"], &[(0, 3.0), (1, 3.0)]);
        let all: BTreeMap<String, BTreeSet<u64>> =
            ["a", "b", "c", "d"].map(|row| (row.to_owned(), (0..3).collect())).into();
        let next = |pairs: &[Pair], width: f64, most: usize| {
            wanted(pairs, &all, width, most).into_iter().map(|(row, seed)| format!("{row}{seed}")).collect::<Vec<_>>()
        };
        assert_eq!(next(&[narrow(), wide()], 1.0, 9), ["c3", "b3"]);
        assert_eq!(next(&[narrow(), wide()], 3.0, 9), ["c3", "b3"]);
        assert_eq!(next(&[narrow(), wide()], 5.0, 9), [""; 0]);
        assert_eq!(next(&[narrow(), wide(), young()], 1.0, 9), ["d3", "b3"], "two seeds are no interval yet");
        assert_eq!(next(&[narrow(), wide()], 1.0, 3), [""; 0], "no row has room");
        assert_eq!(next(&[wide(), wide()], 1.0, 9), ["c3", "b3", "c3", "b3"], "as wide as each other");
        // `c` has the seeds that it may have, and `a` goes on.
        let mut full = all.clone();
        full.insert("c".into(), (0..9).filter(|seed| *seed != 3).collect());
        let of_full: Vec<String> =
            wanted(&[narrow(), wide()], &full, 1.0, 8).into_iter().map(|(row, seed)| format!("{row}{seed}")).collect();
        assert_eq!(of_full, ["a3", "b3"]);
    }

    #[test]
    fn the_next_seed_is_the_lowest_that_a_row_lacks() {
        let pair = pair(&[]);
        let next = |a: &[u64], b: &[u64], most| pair.next(&seeds(a, b), most).map(|[(_, seed), _]| seed);
        assert_eq!(next(&[0, 1, 2], &[0, 1, 2], 20), Some(3));
        assert_eq!(next(&[0, 1, 2], &[0, 2], 20), Some(1));
        assert_eq!(next(&[7], &[7], 20), Some(0));
        assert_eq!(next(&[0, 1, 2], &[0, 1, 2], 3), None);
        assert_eq!(next(&[0, 1, 2], &[0, 1], 3), Some(2), "the second row has room, and the first has the seed");
    }
}
