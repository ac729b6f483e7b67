//! `[[compare]]`: pairs of rows whose differences a report tests, paired by seed.
//!
//! ```toml
//! [[compare]]
//! a = "joint-medium"
//! b = "sequential-medium"
//!
//! [[compare]]
//! baseline = "dense (search.epochs = 3)"              # every other row against this one
//! ```
//!
//! - A name is a variant's, or a row's as `litesnn plan` prints it, without the seed. A variant's
//!   name stands for all its points of the sweep, and a name with placeholders for a comparison at
//!   each combination of the [axes](super::axes). Where both names are variants', the points are
//!   compared that agree in every swept key which both have.
//! - A layer that replaces the variants leaves the comparisons of the layers below it behind, and
//!   names its own: a profile with a `[[variant]]`, or a manifest that extends another one.
//! - A comparison changes no trial and no hash. A result keeps the names of the rows that its own
//!   row is compared with, and takes those that its manifest has now like its other names.
//! - Names are looked up when all trials are laid out, so that a manifest with other problems says
//!   nothing of them yet.

use std::collections::HashSet;

use serde_json::Value;

use super::axes::{Axes, Choice, Unfilled};
use super::file::Mark;
use super::overlay::Overlay;
use super::spelling::{did_you_mean, listed};
use super::stack::Stack;
use super::tree::{Tree, path};
use super::trial::Trial;
use crate::ground::Problem;
use crate::record::{Point, order};

/// Two rows of a plan that are compared: what `a` has more or less than `b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The first trial of one row, as an index into [`Plan::trials`](super::Plan::trials).
    pub a: usize,
    /// The first trial of the other.
    pub b: usize,
}

/// The comparisons of a manifest, each pair of rows once.
pub(super) fn comparisons(
    base: &Stack,
    merged: &Tree,
    trials: &[Trial],
    problems: &mut Vec<Problem>,
) -> Vec<Comparison> {
    let section = path(["compare"]);
    let elements = match merged.get("compare") {
        None => return Vec::new(),
        Some(Value::Array(elements)) => elements,
        Some(_) => {
            let message = "`compare` is not an array".into();
            problems.push(base.problem(&section, Mark::Value, message, Some(FORM.into())));
            return Vec::new();
        }
    };
    if !hold(base) {
        return Vec::new();
    }
    let Some(origin) = base.origin(&section) else { return Vec::new() };
    // What is wrong with the axes is told where the variants are read.
    let axes = Axes::of(base, merged, &mut Vec::new());
    let mut reader = Reader { origin, problems };
    let mut asked: Vec<(usize, Asked)> = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        if let Some(pattern) = reader.read(index, element) {
            asked.extend(reader.filled(index, &pattern, &axes).into_iter().map(|asked| (index, asked)));
        }
    }
    if !reader.problems.is_empty() {
        return Vec::new();
    }
    let rows = rows(trials);
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for (index, asked) in &asked {
        let pairs = reader.pairs(*index, asked, &rows);
        let before = all.len();
        for (a, b) in &pairs {
            if seen.insert((a.trial.min(b.trial), a.trial.max(b.trial))) {
                all.push(Comparison { a: a.trial, b: b.trial });
            }
        }
        // A baseline may meet a pair that stands by itself; a pair that stands twice is a mistake.
        if let (Asked::Pair(..), [(a, b), ..]) = (asked, pairs.as_slice())
            && all.len() == before
        {
            let message = format!("`{}` and `{}` are compared twice", a.name, b.name);
            reader.report(&[&index.to_string()], Mark::Value, message, Some("take one of the two out".into()));
        }
    }
    all
}

/// Whether the comparisons are of the layer that has the variants, or of one above it.
pub(super) fn hold(base: &Stack) -> bool {
    let layer = |section: &str| base.rank(&path([section])).0;
    layer("compare") >= layer("variant")
}

const FORM: &str = "write [[compare]], and below it `a = \"ROW\"` and `b = \"ROW\"`, or `baseline = \"ROW\"` alone";

/// What an element of `[[compare]]` names.
enum Asked {
    Pair(String, String),
    Baseline(String),
}

/// A row of the plan.
struct Row<'a> {
    /// Its first trial.
    trial: usize,
    name: String,
    variant: &'a str,
    point: &'a Point,
}

fn rows(trials: &[Trial]) -> Vec<Row<'_>> {
    let mut seen = HashSet::new();
    let rows = trials.iter().enumerate().map(|(trial, of)| Row {
        trial,
        name: of.row(),
        variant: &of.variant,
        point: &of.point,
    });
    rows.filter(|row| seen.insert((row.variant, row.point.text()))).collect()
}

/// The rows that a name stands for: one, or all points of a variant.
fn named<'a>(rows: &'a [Row], name: &str) -> Vec<&'a Row<'a>> {
    rows.iter().filter(|row| row.variant == name || row.name == name).collect()
}

/// Whether two points have the same value of every swept key that both have.
fn agree(one: &Point, other: &Point) -> bool {
    one.values().all(|(key, value)| {
        let mut same_key = other.values().filter(|(other, _)| *other == key);
        same_key.all(|(_, other)| order(value, other).is_eq())
    })
}

struct Reader<'a> {
    origin: &'a Overlay,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn report(&mut self, below: &[&str], mark: Mark, message: String, help: Option<String>) {
        let at: Vec<String> = ["compare"].iter().chain(below).map(|segment| (*segment).to_owned()).collect();
        self.problems.push(self.origin.problem(&at, mark, message, help));
    }

    /// An element as it is written; nothing where it is wrong.
    fn read(&mut self, index: usize, element: &Value) -> Option<Asked> {
        let index = index.to_string();
        let Value::Object(table) = element else {
            self.report(&[&index], Mark::Value, "a comparison is not a table".into(), Some(FORM.into()));
            return None;
        };
        let known = ["a", "b", "baseline"].map(str::to_owned);
        for (key, value) in table {
            if !known.contains(key) {
                let message = format!("unknown key `{key}` in [[compare]]{}", did_you_mean(key, &known));
                self.report(&[&index, key], Mark::Key, message, Some(format!("known keys: {}", listed(&known))));
            } else if !value.is_string() {
                let message = format!("`{key}` of a comparison is not the name of a row");
                self.report(&[&index, key], Mark::Value, message, Some(FORM.into()));
            }
        }
        let name = |key: &str| table.get(key).map(|name| name.as_str().unwrap_or_default().to_owned());
        match (name("a"), name("b"), name("baseline")) {
            (Some(a), Some(b), None) => Some(Asked::Pair(a, b)),
            (None, None, Some(baseline)) => Some(Asked::Baseline(baseline)),
            _ => {
                let message = "a comparison has either `a` and `b`, or `baseline` alone".into();
                self.report(&[&index], Mark::Value, message, Some(FORM.into()));
                None
            }
        }
    }

    /// What an element asks for, for each combination of the axes in its names.
    fn filled(&mut self, index: usize, pattern: &Asked, axes: &Axes) -> Vec<Asked> {
        let names: Vec<(&str, &str)> = match pattern {
            Asked::Pair(a, b) => vec![("a", a), ("b", b)],
            Asked::Baseline(baseline) => vec![("baseline", baseline)],
        };
        for (key, name) in &names {
            if let Err(Unfilled { message, help }) = axes.choices(&[name]) {
                self.report(&[&index.to_string(), key], Mark::Value, message, help);
                return Vec::new();
            }
        }
        let names: Vec<&str> = names.into_iter().map(|(_, name)| name).collect();
        let fill = |choice: &Choice| {
            Ok(match pattern {
                Asked::Pair(a, b) => Asked::Pair(choice.text(a)?, choice.text(b)?),
                Asked::Baseline(baseline) => Asked::Baseline(choice.text(baseline)?),
            })
        };
        match axes.choices(&names).and_then(|choices| choices.iter().map(fill).collect()) {
            Ok(asked) => asked,
            Err(Unfilled { message, help }) => {
                self.report(&[&index.to_string()], Mark::Value, message, help);
                Vec::new()
            }
        }
    }

    /// The pairs of rows that an element asks for.
    fn pairs<'a>(&mut self, index: usize, asked: &Asked, rows: &'a [Row]) -> Vec<(&'a Row<'a>, &'a Row<'a>)> {
        let at = index.to_string();
        let is_variant = |name: &str| rows.iter().any(|row| row.variant == name);
        let (ours, theirs, by_point) = match asked {
            Asked::Pair(a, b) => {
                let found = (self.rows(&at, "a", a, rows), self.rows(&at, "b", b, rows));
                let (Some(ours), Some(theirs)) = found else { return Vec::new() };
                if a == b {
                    let message = format!("`{a}` is compared with itself");
                    let help = Some("name another row as `b`".to_owned());
                    self.report(&[&at, "b"], Mark::Value, message, help);
                    return Vec::new();
                }
                (ours, theirs, is_variant(a) && is_variant(b))
            }
            Asked::Baseline(baseline) => {
                let Some(theirs) = self.rows(&at, "baseline", baseline, rows) else { return Vec::new() };
                let other = |row: &&Row| theirs.iter().all(|theirs| theirs.trial != row.trial);
                (rows.iter().filter(other).collect(), theirs, is_variant(baseline))
            }
        };
        let mut pairs = Vec::new();
        for a in ours {
            let fits = |b: &&&Row| b.trial != a.trial && (!by_point || agree(a.point, b.point));
            pairs.extend(theirs.iter().filter(fits).map(|b| (a, *b)));
        }
        if pairs.is_empty() {
            let message = match asked {
                Asked::Pair(a, b) => format!("no point of `{a}` agrees with one of `{b}`"),
                Asked::Baseline(baseline) => format!("there is no row beside `{baseline}` to compare with it"),
            };
            self.report(&[&at], Mark::Value, message, None);
        }
        pairs
    }

    /// The rows of a name that stands at `key`; an unknown name is a problem.
    fn rows<'a>(&mut self, index: &str, key: &str, name: &str, rows: &'a [Row]) -> Option<Vec<&'a Row<'a>>> {
        let found = named(rows, name);
        if found.is_empty() {
            let mut known: Vec<String> = Vec::new();
            for row in rows {
                known.extend([row.variant.to_owned(), row.name.clone()]);
            }
            let mut seen = HashSet::new();
            known.retain(|name| seen.insert(name.clone()));
            let message = format!("no row is named `{name}`{}", did_you_mean(name, &known));
            known.truncate(MOST_NAMES);
            let help = match seen.len() > MOST_NAMES {
                true => format!("rows: {} and more; `litesnn plan` lists all", listed(&known)),
                false => format!("rows: {}", listed(&known)),
            };
            self.report(&[index, key], Mark::Value, message, Some(help));
            return None;
        }
        Some(found)
    }
}

/// A hint names no more rows than these.
const MOST_NAMES: usize = 12;

#[cfg(test)]
mod tests {
    use crate::manifest::Plan;
    use crate::manifest::fixtures::Desk;

    const ROWS: &str = r#"
[[variant]]
name = "small"
[[variant]]
name = "plain"
set = { compressor = [] }
[[variant]]
name = "large"
[sweep]
compressor.test-prune.rate = [0.1, 0.2]
"#;

    fn desk(compare: &str) -> Desk {
        Desk::good(&format!("{ROWS}{compare}"))
    }

    fn pairs(plan: &Plan) -> Vec<String> {
        let name = |index: usize| plan.trials[index].row().replace("compressor.test-prune.", "");
        plan.comparisons.iter().map(|pair| format!("{} - {}", name(pair.a), name(pair.b))).collect()
    }

    #[test]
    fn a_pair_of_variants_is_compared_point_by_point() {
        let plan = desk("[[compare]]\na = \"large\"\nb = \"small\"\n").set("experiment.seeds=[0, 1]").plan();
        assert_eq!(
            pairs(&plan),
            ["large (rate = 0.1) - small (rate = 0.1)", "large (rate = 0.2) - small (rate = 0.2)"]
        );
        let plan = desk("[[compare]]\na = \"plain\"\nb = \"small\"\n").plan();
        assert_eq!(pairs(&plan), ["plain - small (rate = 0.1)", "plain - small (rate = 0.2)"]);
        let text = "[[compare]]\na = \"small (compressor.test-prune.rate = 0.1)\"\nb = \"large\"\n";
        assert_eq!(
            pairs(&desk(text).plan()),
            ["small (rate = 0.1) - large (rate = 0.1)", "small (rate = 0.1) - large (rate = 0.2)"]
        );
    }

    #[test]
    fn a_baseline_is_compared_with_every_other_row_and_no_pair_twice() {
        let text = "[[compare]]\na = \"plain\"\nb = \"small (compressor.test-prune.rate = 0.2)\"\n\
                    [[compare]]\nbaseline = \"plain\"\n";
        assert_eq!(
            pairs(&desk(text).plan()),
            [
                "plain - small (rate = 0.2)",
                "small (rate = 0.1) - plain",
                "large (rate = 0.1) - plain",
                "large (rate = 0.2) - plain"
            ]
        );
        let text = "[[compare]]\nbaseline = \"small\"\n";
        assert_eq!(
            pairs(&desk(text).plan()),
            [
                "plain - small (rate = 0.1)",
                "plain - small (rate = 0.2)",
                "large (rate = 0.1) - small (rate = 0.1)",
                "large (rate = 0.2) - small (rate = 0.2)"
            ]
        );
    }

    #[test]
    fn what_cannot_be_compared_is_told_with_its_place() {
        let headline = |text: &str| desk(text).headline();
        assert_eq!(
            headline("[[compare]]\na = \"smal\"\nb = \"plain\"\n"),
            "a.toml:39:5: no row is named `smal`; did you mean `small`?"
        );
        assert_eq!(
            headline("[[compare]]\nbaseline = \"small (compressor.test-prune.rate = 0.3)\"\n"),
            "a.toml:39:12: no row is named `small (compressor.test-prune.rate = 0.3)`; did you mean \
             `small (compressor.test-prune.rate = 0.1)`?"
        );
        assert_eq!(
            headline("[[compare]]\na = \"small\"\nb = \"small\"\n"),
            "a.toml:40:5: `small` is compared with itself"
        );
        assert_eq!(
            headline("[[compare]]\na = \"small\"\nbasline = \"plain\"\nb = \"plain\"\n"),
            "a.toml:40:1: unknown key `basline` in [[compare]]; did you mean `baseline`?"
        );
        let either = "a comparison has either `a` and `b`, or `baseline` alone";
        assert!(headline("[[compare]]\na = \"small\"\n").ends_with(either));
        assert!(headline("[[compare]]\na = \"small\"\nb = \"plain\"\nbaseline = \"large\"\n").ends_with(either));
        assert!(
            headline("[[compare]]\na = 1\nb = \"plain\"\n").ends_with("`a` of a comparison is not the name of a row")
        );
        assert!(headline("[compare]\na = \"small\"\nb = \"plain\"\n").ends_with("`compare` is not an array"));
        let twice = "[[compare]]\na = \"small\"\nb = \"large\"\n[[compare]]\na = \"large\"\nb = \"small\"\n";
        assert!(headline(twice).ends_with(
            "`large (compressor.test-prune.rate = 0.1)` and `small (compressor.test-prune.rate = 0.1)` are compared twice"
        ));
        let set = desk("").set("compare=[{ a = \"small\", b = \"plan\" }]").headline();
        assert_eq!(set, "command line:1:29: no row is named `plan`; did you mean `plain`?");
        let alone = Desk::good("[[compare]]\nbaseline = \"good\"\n").headline();
        assert!(alone.ends_with("there is no row beside `good` to compare with it"), "{alone}");
    }

    #[test]
    fn comparisons_hold_for_the_variants_of_their_own_layer() {
        let text = "[[compare]]\na = \"large\"\nb = \"plain\"\n\
                    [profile.smoke]\nsearch.epochs = 2\n[[profile.other.variant]]\nname = \"one\"\n\
                    [[profile.own.variant]]\nname = \"one\"\n[[profile.own.variant]]\nname = \"two\"\n\
                    [[profile.own.compare]]\nbaseline = \"one\"\n";
        assert_eq!(desk(text).profile("smoke").plan().comparisons.len(), 2);
        assert!(desk(text).profile("other").plan().comparisons.is_empty());
        let own = desk(text).profile("own").plan();
        assert_eq!(pairs(&own), ["two (rate = 0.1) - one (rate = 0.1)", "two (rate = 0.2) - one (rate = 0.2)"]);
    }

    #[test]
    fn a_comparison_is_no_part_of_a_trial() {
        let (with, without) = (desk("[[compare]]\na = \"large\"\nb = \"small\"\n").plan(), desk("").plan());
        let settings =
            |plan: &Plan| plan.trials.iter().map(|trial| trial.manifest_toml(None, None)).collect::<Vec<_>>();
        assert_eq!(settings(&with), settings(&without));
        let none = desk("[[compare]]\na = \"large\"\nb = \"small\"\n").set("compare=[]").plan();
        assert!(none.comparisons.is_empty());
        let refused =
            desk("[[compare]]\na = \"large\"\nb = \"small\"\n[[variant]]\nname = \"x\"\nset = { compare = [] }\n");
        assert!(refused.headline().ends_with("a variant cannot change `compare`"), "{}", refused.headline());
    }
}
