//! Differences between rows that a manifest compares (`[[compare]]`), paired by seed.
//!
//! A result keeps the names of the rows that its row is compared with, so that a report needs no
//! manifest, and several manifests of one experiment add up. Both rows of a pair have to be there,
//! with one profile. Trials of a seed that only one of them has are left out and named.
//!
//! The difference of a quantity is the first row's value minus the second's, for each seed that both
//! have; `statistics` says what follows from it. Each quantity is a family of
//! tests of its own: its values of p are corrected for the number N of its comparisons (Holm), and
//! what is said of it ("by at least") rests on an interval at 1 − α/N, which holds for all N at
//! once (Bonferroni).
//!
//! Times are compared on one hardware. The cost of a search is compared where both rows searched.
//! Search and retraining together are compared everywhere, because that is what it takes to run a
//! row; of a row that did not search it is the retraining alone, and the words say so: what finding
//! a design cost that was taken over belongs to the row that found it.

use crate::metric::{self, Metric, fine_decimals};
use crate::statistics::{LEVEL, MOST_PAIRS, POWER, Paired, holm};
use crate::trials::{ExperimentResults, FinishedTrial, SeedGroup};
use litesnn_framework::ground::counted;
use litesnn_framework::record::RowName;

/// What is compared of two rows.
pub struct Quantity {
    /// The quantity of a trial.
    pub metric: Metric,
    /// How a difference is said.
    pub terms: Terms,
    /// Whether it is what the search costs, alone or together with retraining.
    cost: Option<Part>,
}

/// What a cost is of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Search,
    Whole,
}

/// How a difference is said.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Its unit.
    pub unit: &'static str,
    /// A difference below 0, and one above 0, in a word.
    words: [&'static str; 2],
    /// Decimals, where they are two significant digits at least.
    pub decimals: usize,
}

/// What is compared of two rows, in the order of the table.
pub const QUANTITIES: [Quantity; 5] = [
    Quantity::new(metric::ACCURACY, "points", ["worse", "better"]),
    Quantity::new(metric::STORED_SIZE, "kB", ["smaller", "larger"]),
    Quantity::new(metric::BIT_SYN_OPS, "M / image", ["fewer", "more"]),
    Quantity { cost: Some(Part::Search), ..Quantity::new(metric::SEARCH_DEVICE_TIME, "s", ["less", "more"]) },
    Quantity { cost: Some(Part::Whole), ..Quantity::new(metric::DEVICE_TIME, "s", ["less", "more"]) },
];

impl Quantity {
    const fn new(metric: Metric, unit: &'static str, words: [&'static str; 2]) -> Quantity {
        Quantity { metric, terms: Terms::new(unit, words, metric.decimals), cost: None }
    }

    /// What it is called in the table.
    pub fn title(&self) -> String {
        match self.metric.key {
            key if key == metric::SEARCH_DEVICE_TIME.key => "Search (device s)".to_owned(),
            key if key == metric::DEVICE_TIME.key => "Search + retraining (device s)".to_owned(),
            _ => self.metric.heading(),
        }
    }

    /// What an axis calls a difference: `Test accuracy (points)`.
    pub fn short_title(&self) -> String {
        let title = self.title();
        format!("{} ({})", title.split(" (").next().unwrap_or(&title), self.terms.unit)
    }

    /// Why two rows cannot be compared in it.
    fn unlike(&self, a: &SeedGroup, b: &SeedGroup) -> Option<&'static str> {
        if self.cost == Some(Part::Search) && !(a.searched() && b.searched()) {
            Some("not both rows searched")
        } else if self.metric.is_time && !a.times_compare_with(b) {
            Some("measured on different hardware")
        } else {
            None
        }
    }

    /// What a reader has to know of a difference beside the words: which row did not search.
    fn remark(&self, a: &SeedGroup, b: &SeedGroup) -> Option<&'static str> {
        match (self.cost, a.searched(), b.searched()) {
            (Some(Part::Whole), false, true) => Some("first row: retraining alone"),
            (Some(Part::Whole), true, false) => Some("second row: retraining alone"),
            (Some(Part::Whole), false, false) => Some("both rows: retraining alone"),
            _ => None,
        }
    }
}

impl Terms {
    /// `words`: of a difference below 0, and of one above 0.
    pub const fn new(unit: &'static str, words: [&'static str; 2], decimals: usize) -> Terms {
        Terms { unit, words, decimals }
    }

    /// `better`, `smaller`: the word for a difference.
    fn word(&self, difference: f64) -> &'static str {
        self.words[usize::from(difference > 0.0)]
    }

    /// A number with two significant digits at least, and its unit.
    fn amount(&self, value: f64) -> String {
        format!("{value:.*} {}", fine_decimals(value, self.decimals), self.unit)
    }
}

/// Two rows that are compared.
pub struct Pair<'a> {
    /// One row.
    pub a: &'a SeedGroup,
    /// The other.
    pub b: &'a SeedGroup,
    /// Seeds that one of the two alone has.
    pub left_out: Vec<i64>,
    /// The differences, in the order of [`QUANTITIES`].
    pub differences: Vec<Difference>,
}

/// A quantity of one row minus the same of another.
pub struct Difference {
    /// Means of both rows over the seeds that both have.
    pub means: [f64; 2],
    /// For each seed that both have; empty where nothing was measured.
    pub by_seed: Vec<f64>,
    /// What is to be said of it.
    pub finding: Finding,
}

/// What is to be said of a difference.
pub enum Finding {
    /// It was not measured, and why.
    Unmeasured(&'static str),
    /// One seed alone.
    OneSeed(f64),
    /// The same with every seed.
    Constant(f64),
    /// It varies over seeds.
    Tested(Test),
}

/// A test of a difference.
pub struct Test {
    /// The differences.
    pub paired: Paired,
    /// p after Holm's correction.
    pub p: f64,
    /// As many comparisons of the quantity are tested at once.
    pub family: usize,
}

impl Test {
    /// Whether the difference is told from 0.
    pub fn is_decided(&self) -> bool {
        self.p <= LEVEL
    }

    /// The interval of this difference alone.
    pub fn interval(&self) -> [f64; 2] {
        self.around(LEVEL)
    }

    /// The interval that holds for the whole family at once.
    pub fn joint_interval(&self) -> [f64; 2] {
        self.around(self.joint_level())
    }

    fn joint_level(&self) -> f64 {
        LEVEL / self.family as f64
    }

    fn around(&self, level: f64) -> [f64; 2] {
        let half = self.paired.half_interval(level);
        [self.paired.mean - half, self.paired.mean + half]
    }
}

impl Finding {
    /// The mean difference.
    pub fn mean(&self) -> Option<f64> {
        match self {
            Finding::Unmeasured(_) => None,
            Finding::OneSeed(mean) | Finding::Constant(mean) => Some(*mean),
            Finding::Tested(test) => Some(test.paired.mean),
        }
    }

    /// What differences, one for each seed, tell before they are corrected for other tests.
    pub fn of(by_seed: &[f64]) -> Finding {
        if by_seed.iter().any(|difference| !difference.is_finite()) {
            return Finding::Unmeasured("not recorded");
        }
        match (by_seed, Paired::of(by_seed)) {
            ([one], _) => Finding::OneSeed(*one),
            (_, Some(paired)) if paired.is_constant() => Finding::Constant(paired.mean),
            (_, Some(paired)) => Finding::Tested(Test { p: paired.p(), family: 1, paired }),
            (_, None) => Finding::Unmeasured("no seed in common"),
        }
    }

    /// The finding in words.
    pub fn words(&self, terms: &Terms) -> String {
        match self {
            Finding::Unmeasured(why) => format!("not compared: {why}"),
            Finding::OneSeed(_) => "one seed: no interval".to_owned(),
            Finding::Constant(mean) if *mean == 0.0 => "equal with every seed".to_owned(),
            Finding::Constant(mean) => {
                format!("{} by {} with every seed", terms.word(*mean), terms.amount(mean.abs()))
            }
            Finding::Tested(test) if test.is_decided() => {
                let word = terms.word(test.paired.mean);
                let [low, high] = test.joint_interval();
                let least = if low > 0.0 { low } else { -high };
                match least > 0.0 {
                    true => format!("{word} by at least {}", terms.amount(down(least, terms.decimals))),
                    // Holm's correction decides more than intervals that hold together can bound.
                    false => format!("{word}; by how much at least is open"),
                }
            }
            Finding::Tested(test) => undecided(test, terms),
        }
    }
}

/// What cannot be seen with these seeds, and how many would do.
fn undecided(test: &Test, terms: &Terms) -> String {
    let Test { paired, .. } = test;
    let level = test.joint_level();
    let seeds = match paired.needed(level) {
        Some(seeds) => format!("to see one as large as observed takes about {seeds}"),
        None => format!("to see one as large as observed takes more than {MOST_PAIRS}"),
    };
    format!(
        "not distinguishable: with {} a difference below {} is likely missed; {seeds}",
        counted(paired.count, "seed"),
        terms.amount(paired.detectable(level)),
    )
}

/// Rounded towards 0 to the digits that are shown: "at least" stays true.
fn down(value: f64, decimals: usize) -> f64 {
    let scale = 10f64.powi(fine_decimals(value, decimals) as i32);
    (value * scale).floor() / scale
}

/// Half the 95 % interval of differences that are paired by seed; `None` for fewer than two.
pub fn half_interval(differences: &[f64]) -> Option<f64> {
    Some(Paired::of(differences)?.half_interval(LEVEL))
}

/// The comparisons of an experiment.
pub struct Comparisons<'a> {
    /// The pairs, in the order of their rows.
    pub pairs: Vec<Pair<'a>>,
    /// Comparisons of which one row has no finished trial.
    pub missing: Vec<String>,
}

impl Comparisons<'_> {
    /// As many comparisons of a quantity are tested.
    pub fn family(&self, quantity: usize) -> usize {
        let tested = |pair: &&Pair| matches!(pair.differences[quantity].finding, Finding::Tested(_));
        self.pairs.iter().filter(tested).count()
    }

    /// The rows that are compared and did not search, in a sentence.
    pub fn without_search(&self) -> Option<String> {
        let mut rows: Vec<&str> = Vec::new();
        for row in self.pairs.iter().flat_map(|pair| [pair.a, pair.b]).filter(|row| !row.searched()) {
            if !rows.contains(&row.name.as_str()) {
                rows.push(&row.name);
            }
        }
        let some_searched = self.pairs.iter().any(|pair| pair.a.searched() || pair.b.searched());
        (!rows.is_empty() && some_searched).then(|| {
            format!(
                "Of rows that did not search, search + retraining is retraining alone, and what finding their designs took \
                 stands in the rows that found them: {}.",
                rows.join(", ")
            )
        })
    }

    /// What the words rest on, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "First row minus second, paired by seed. Intervals and p: Student's t over the differences, which it takes \
             as independent and normal."
                .to_owned(),
        ];
        let several: Vec<String> = (0..QUANTITIES.len())
            .filter(|quantity| self.family(*quantity) > 1)
            .map(|quantity| {
                format!("{} of {}", self.family(quantity), metric::within_sentence(&QUANTITIES[quantity].title()))
            })
            .collect();
        if !several.is_empty() {
            notes.push(format!(
                "Several comparisons at once are corrected, each quantity for itself ({}): p by Holm, and what is said in \
                 words by intervals that hold together (Bonferroni). The 95 % interval is that of its comparison alone.",
                several.join(", ")
            ));
        }
        let undecided =
            |difference: &Difference| matches!(&difference.finding, Finding::Tested(test) if !test.is_decided());
        if self.pairs.iter().flat_map(|pair| &pair.differences).any(undecided) {
            notes.push(format!(
                "Not distinguishable is not equal. \"Likely missed\" and the number of seeds: a power of {:.0} % at the same \
                 level, with the observed deviation, which few seeds estimate badly.",
                100.0 * POWER
            ));
        }
        if let Some(note) = self.without_search() {
            notes.push(note);
        }
        for pair in self.pairs.iter().filter(|pair| !pair.left_out.is_empty()) {
            let seeds: Vec<String> = pair.left_out.iter().map(i64::to_string).collect();
            notes.push(format!("{}: left out, because one row lacks them: seeds {}.", pair.name(), seeds.join(", ")));
        }
        notes.extend(self.missing.iter().map(|pair| format!("{pair}: not compared, because one row has no result.")));
        notes
    }
}

impl Pair<'_> {
    /// The finding of a quantity in words, the quantity by its place in [`QUANTITIES`].
    pub fn words(&self, quantity: usize) -> String {
        let (of, finding) = (&QUANTITIES[quantity], &self.differences[quantity].finding);
        let words = finding.words(&of.terms);
        let remark = of.remark(self.a, self.b).filter(|_| finding.mean().is_some());
        remark.map_or(words.clone(), |remark| format!("{words} ({remark})"))
    }

    /// `joint against sequential`
    pub fn name(&self) -> String {
        format!("{} against {}", self.a.name, self.b.name)
    }
}

/// What an experiment's manifests compare; `None` where they compare nothing.
pub fn of_experiment(experiment: &ExperimentResults) -> Option<Comparisons<'_>> {
    let (mut pairs, mut missing): (Vec<Pair>, Vec<String>) = Default::default();
    for a in &experiment.groups {
        for name in rivals(a) {
            let is_rival = |b: &&SeedGroup| {
                let other = b.first();
                (&other.variant, &other.point, &other.recipe) == (&name.variant, &name.point, &name.recipe)
                    && other.profile == a.first().profile
            };
            let Some(b) = experiment.groups.iter().find(is_rival) else {
                missing.push(format!("{} against {}", a.name, name.title()));
                continue;
            };
            let same = |one: &SeedGroup, other: &SeedGroup| std::ptr::eq(one, other);
            let is_there = |pair: &Pair| (same(pair.a, a) && same(pair.b, b)) || (same(pair.a, b) && same(pair.b, a));
            if !same(a, b) && !pairs.iter().any(is_there) {
                pairs.push(pair(a, b));
            }
        }
    }
    if pairs.is_empty() && missing.is_empty() {
        return None;
    }
    for quantity in 0..QUANTITIES.len() {
        correct(pairs.iter_mut().map(|pair| &mut pair.differences[quantity].finding));
    }
    Some(Comparisons { pairs, missing })
}

/// The rows that a row is compared with, each once.
fn rivals(group: &SeedGroup) -> Vec<&RowName> {
    let mut all: Vec<&RowName> = Vec::new();
    for name in group.trials.iter().flat_map(|trial| trial.outcome.compared_with.iter()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn pair<'a>(a: &'a SeedGroup, b: &'a SeedGroup) -> Pair<'a> {
    let of_seed = |group: &'a SeedGroup, seed: i64| group.trials.iter().find(|trial| trial.outcome.seed == seed);
    let mut seeds: Vec<i64> = a.trials.iter().chain(&b.trials).map(|trial| trial.outcome.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let both = |seed: &i64| Some((of_seed(a, *seed)?, of_seed(b, *seed)?));
    let common: Vec<(&FinishedTrial, &FinishedTrial)> = seeds.iter().filter_map(both).collect();
    let left_out = seeds.iter().copied().filter(|seed| both(seed).is_none()).collect();
    let differences = QUANTITIES.iter().map(|quantity| difference(quantity, a, b, &common)).collect();
    Pair { a, b, left_out, differences }
}

fn difference(
    quantity: &Quantity,
    a: &SeedGroup,
    b: &SeedGroup,
    common: &[(&FinishedTrial, &FinishedTrial)],
) -> Difference {
    let value = |trial: &FinishedTrial| (quantity.metric.value)(&trial.outcome);
    let values: Vec<[f64; 2]> = common.iter().map(|(a, b)| [value(a), value(b)]).collect();
    let count = values.len() as f64;
    let means = [0, 1].map(|side| values.iter().map(|pair| pair[side]).sum::<f64>() / count);
    let unmeasured = |why| Difference { means, by_seed: Vec::new(), finding: Finding::Unmeasured(why) };
    if let Some(why) = quantity.unlike(a, b) {
        return unmeasured(why);
    }
    let by_seed: Vec<f64> = values.iter().map(|[a, b]| a - b).collect();
    match Finding::of(&by_seed) {
        Finding::Unmeasured(why) => unmeasured(why),
        finding => Difference { means, by_seed, finding },
    }
}

/// Corrects tests for their number.
pub fn correct<'a>(findings: impl Iterator<Item = &'a mut Finding>) {
    let tests = findings.filter_map(|finding| match finding {
        Finding::Tested(test) => Some(test),
        _ => None,
    });
    let mut tests: Vec<&mut Test> = tests.collect();
    let family = tests.len();
    let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<f64>>());
    for (test, p) in tests.iter_mut().zip(corrected) {
        (test.p, test.family) = (p, family);
    }
}
