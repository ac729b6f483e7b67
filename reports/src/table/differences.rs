//! Differences between the rows that a manifest compares, with intervals and in words.

use super::{Cell, NOTHING, Table, TableRow};
use crate::comparisons::{Difference, Finding, Pair, QUANTITIES, of_experiment};
use crate::metric::fine_decimals;
use crate::trials::ExperimentResults;

/// A block for each comparison, with a row for each quantity; `None` where nothing is compared.
pub fn table(experiment: &ExperimentResults) -> Option<Table> {
    let comparisons = of_experiment(experiment)?;
    let rows = comparisons.pairs.iter().flat_map(|pair| {
        let rows = (0..QUANTITIES.len()).map(|quantity| TableRow::Cells(cells(quantity, pair)));
        std::iter::once(TableRow::Block(pair.name())).chain(rows)
    });
    let headings =
        ["Quantity", "In words", "Difference", "95 % interval", "p, corrected", "Seeds", "First row", "Second row"];
    Some(Table {
        title: "Differences, paired by seed".into(),
        headings: headings.map(str::to_owned).to_vec(),
        names: 2,
        rows: rows.collect(),
        notes: comparisons.notes().into_iter().chain(experiment.mixed_note()).collect(),
        references: Vec::new(),
    })
}

fn cells(index: usize, pair: &Pair) -> Vec<Cell> {
    let quantity = &QUANTITIES[index];
    let metric = &quantity.metric;
    let Difference { means: [a, b], by_seed, finding } = &pair.differences[index];
    let Shown { mut change, interval, p } = Shown::of(finding, quantity.terms.decimals);
    // A cost is smaller by a part of the other.
    if let Some(mean) = finding.mean().filter(|_| metric.higher_is_better != Some(true) && *b > 0.0) {
        change.push_str(&format!(" ({} %)", signed(100.0 * mean / b, 1)));
    }
    let seeds = if by_seed.is_empty() { NOTHING.to_owned() } else { by_seed.len().to_string() };
    let texts = [quantity.title(), pair.words(index), change, interval, p, seeds];
    let own = texts.into_iter().chain([metric.format_finely(*a)]).map(|text| Cell::of(text, pair.a));
    own.chain([Cell::of(metric.format_finely(*b), pair.b)]).collect()
}

/// A finding in numbers.
pub(super) struct Shown {
    pub change: String,
    pub interval: String,
    pub p: String,
}

impl Shown {
    /// With `decimals` at least, and as many as the interval's length bears.
    pub fn of(finding: &Finding, decimals: usize) -> Shown {
        let [interval, p] = [NOTHING, NOTHING].map(str::to_owned);
        match finding {
            Finding::Tested(test) => {
                let [low, high] = test.interval();
                let decimals = fine_decimals((high - low) / 2.0, decimals);
                Shown {
                    change: signed(test.paired.mean, decimals),
                    interval: format!("{} to {}", signed(low, decimals), signed(high, decimals)),
                    p: if test.p < 0.001 { "< 0.001".to_owned() } else { format!("{:.3}", test.p) },
                }
            }
            finding => {
                let shown = |mean: f64| signed(mean, fine_decimals(mean, decimals));
                Shown { change: finding.mean().map_or(NOTHING.to_owned(), shown), interval, p }
            }
        }
    }
}

/// A difference with its sign; none where it is shown as 0.
fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{value:+.decimals$}");
    let zero = !text.contains(|digit| matches!(digit, '1'..='9'));
    if zero { text[1..].to_owned() } else { text }
}
