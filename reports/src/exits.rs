//! How the images of a row stop, mean over its trials: what the table and the figure of early exit
//! share.

use litesnn_framework::record::ExitRow;

use crate::trials::{FinishedTrial, SeedGroup};

/// When images stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stop {
    /// Each where it is sure enough by this threshold.
    Threshold(f64),
    /// All after so many timesteps.
    Timesteps(i64),
}

impl Stop {
    fn of(row: &ExitRow) -> Stop {
        match row.threshold.is_nan() {
            true => Stop::Timesteps(row.mean_timesteps.round() as i64),
            false => Stop::Threshold(row.threshold),
        }
    }

    fn row(self, trial: &FinishedTrial) -> Option<&ExitRow> {
        trial.exits.iter().find(|row| Stop::of(row) == self)
    }
}

/// One way to stop, of the trials of a row.
pub struct Way<'a> {
    group: &'a SeedGroup,
    pub stop: Stop,
    /// Whether the result is that of this threshold.
    pub is_result: bool,
}

impl Way<'_> {
    /// Mean and sample standard deviation over the trials.
    pub fn measured(&self, value: impl Fn(&ExitRow) -> f64) -> (f64, Option<f64>) {
        self.group.mean_of(|trial| self.stop.row(trial).map_or(f64::NAN, &value))
    }

    /// Fraction of images that stop after 1, 2, ..., T timesteps, mean over the trials.
    pub fn stopped(&self) -> Vec<f64> {
        let rows = self.group.trials.iter().filter_map(|trial| self.stop.row(trial));
        let most = rows.map(|row| row.stopped.len()).max().unwrap_or(0);
        (0..most).map(|index| self.measured(|row| row.stopped.get(index).copied().unwrap_or(0.0)).0).collect()
    }
}

/// The ways that all trials of a row have, thresholds first; none without early exit.
pub fn ways(group: &SeedGroup) -> Vec<Way<'_>> {
    let first = group.trials.first().map(|trial| trial.exits.as_slice()).unwrap_or_default();
    let of_all = |stop: Stop| group.trials.iter().all(|trial| stop.row(trial).is_some());
    let way = |row: &ExitRow| Way { group, stop: Stop::of(row), is_result: row.result == 1 };
    first.iter().map(way).filter(|way| of_all(way.stop)).collect()
}
