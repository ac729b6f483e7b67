//! What results were measured with, and rows that mix it.
//!
//! Another device, processor, number of threads, libtorch or precision rounds otherwise, so that
//! the same work ends with slightly other numbers. A row that mixes them says so. Times of
//! different hardware (device, processor, number of threads) measure different things, and have no
//! mean.

use litesnn_framework::ground::counted;
use litesnn_framework::record::Outcome;

use crate::trials::{ExperimentResults, SeedGroup};

/// What marks a number of a row that mixes results of different machines.
pub const MIXED: &str = "‡";

impl SeedGroup {
    /// Whether all trials ran on one device, processor and number of threads, each from its
    /// beginning to its end.
    pub fn is_of_one_hardware(&self) -> bool {
        let all = distinct(self.trials.iter().map(|trial| hardware(&trial.outcome)));
        all.len() == 1 && !self.trials.iter().any(|trial| moved(&trial.outcome))
    }

    /// Whether all its trials and those of another row ran on one hardware, so that their times
    /// compare.
    pub fn times_compare_with(&self, other: &SeedGroup) -> bool {
        let same = || hardware(self.first()) == hardware(other.first());
        self.is_of_one_hardware() && other.is_of_one_hardware() && same()
    }

    /// What its trials differ in, besides their seeds, or one of them within itself, because it
    /// resumed elsewhere: `threads: 1 and 2`.
    pub fn mixed(&self) -> Option<String> {
        let differing = ASPECTS.iter().enumerate().filter_map(|(index, name)| {
            let values = distinct(self.trials.iter().map(|trial| {
                let value = aspects(&trial.outcome)[index].clone();
                if value.is_empty() { "not recorded".to_owned() } else { value }
            }));
            let mixed = values.len() > 1 || values.iter().any(|value| value == SEVERAL || value.contains(JOINED));
            mixed.then(|| format!("{name}: {}", values.join(" and ")))
        });
        let differing: Vec<String> = differing.collect();
        (!differing.is_empty()).then(|| differing.join(", "))
    }

    /// The mark of a row that mixes results of different machines.
    pub fn mixed_mark(&self) -> &'static str {
        if self.mixed().is_some() { MIXED } else { "" }
    }
}

impl ExperimentResults {
    /// What the rows were measured with: one sentence where it is the same for all, else a part for
    /// each hardware.
    pub fn measured_on(&self) -> String {
        let all = distinct(self.trials().map(|trial| hardware(&trial.outcome)));
        if let [one] = all.as_slice() {
            return format!("Measured on {one}.");
        }
        let parts = all.iter().map(|one| {
            let has = |group: &&SeedGroup| group.trials.iter().any(|trial| hardware(&trial.outcome) == *one);
            let rows: Vec<&str> = self.groups.iter().filter(has).map(|group| group.name.as_str()).collect();
            format!("{} on {one}", rows.join(", "))
        });
        let parts: Vec<String> = parts.collect();
        format!("Measured on different hardware, whose times do not compare: {}.", parts.join("; "))
    }

    /// What the marks of its mixed rows say.
    pub fn mixed_note(&self) -> Option<String> {
        mixed_note(&self.groups)
    }
}

/// What the marks of mixed rows say.
pub fn mixed_note<'a>(groups: impl IntoIterator<Item = &'a SeedGroup>) -> Option<String> {
    let mixed = |group: &SeedGroup| Some(format!("{} ({})", group.name, group.mixed()?));
    let rows: Vec<String> = groups.into_iter().filter_map(mixed).collect();
    (!rows.is_empty()).then(|| {
        format!(
            "{MIXED} Holds results of different machines, which round differently: {}. Times of different \
             hardware are not averaged.",
            rows.join("; ")
        )
    })
}

/// What rounding depends on.
const ASPECTS: [&str; 5] = ["device", "processor", "threads", "libtorch", "precision"];

fn aspects(outcome: &Outcome) -> [String; 5] {
    let Outcome { device, hardware, threads, libtorch, precision, .. } = outcome;
    let threads = if *threads == 0 { SEVERAL.to_owned() } else { threads.to_string() };
    [device.clone(), hardware.clone(), threads, libtorch.clone(), precision.clone()]
}

/// What the record puts between the machines of a trial that resumed on another one.
const JOINED: &str = " + ";

/// What a trial with several numbers of threads has, which the record says by a 0.
const SEVERAL: &str = "several";

/// Whether a trial resumed on other hardware than it began on.
fn moved(outcome: &Outcome) -> bool {
    outcome.threads == 0 || outcome.device.contains(JOINED) || outcome.hardware.contains(JOINED)
}

/// `cpu (AMD EPYC 7B13), 2 threads`
fn hardware(outcome: &Outcome) -> String {
    let Outcome { device, hardware, threads, .. } = outcome;
    let model = if hardware.is_empty() { String::new() } else { format!(" ({hardware})") };
    let threads = if *threads == 0 { format!("{SEVERAL} numbers of threads") } else { counted(*threads, "thread") };
    format!("{device}{model}, {threads}")
}

fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut values: Vec<String> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
