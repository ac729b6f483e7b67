//! A slow-down in the middle of a run: said once, with what else the machine does.

use tch::Device;

use crate::ground::neighbours;
use crate::record::{EpochRow, Stage};

/// An epoch that is this many times slower than the fastest one of its stage is told.
const SLOWER: f64 = 2.0;
/// Shorter epochs, in seconds, vary by themselves.
const SHORTEST: f64 = 1.0;

/// The speed of the epochs that this process has done.
#[derive(Debug, Default)]
pub struct Pace {
    stage: Option<Stage>,
    /// Images a second of the fastest epoch of the stage.
    best: f64,
    told: bool,
}

impl Pace {
    /// Looks at an epoch; what is to be said of it, the first time that one is much slower than
    /// others of its stage.
    pub fn notice(&mut self, row: &EpochRow, device: Device) -> Option<String> {
        if self.stage.as_ref() != Some(&row.stage) {
            (self.stage, self.best) = (Some(row.stage.clone()), 0.0);
        }
        let slower = self.is_slower(row.images_per_second, row.seconds);
        self.best = self.best.max(row.images_per_second);
        if !slower {
            return None;
        }
        self.told = true;
        let busy = neighbours::busy_cores().filter(|busy| device == Device::Cpu && *busy >= 0.5);
        let why = busy.map_or_else(String::new, |busy| format!(": other programs keep {busy:.1} cores busy"));
        Some(format!(
            "epoch {} of {} was {:.1} times slower than the fastest before it ({:.0} images a second, and it was {:.0}){why}",
            row.epoch,
            row.stage,
            self.best / row.images_per_second,
            row.images_per_second,
            self.best
        ))
    }

    fn is_slower(&self, images_per_second: f64, seconds: f64) -> bool {
        !self.told && seconds >= SHORTEST && images_per_second * SLOWER < self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slow_epoch_of_a_stage_is_told_and_no_other() {
        let row = |stage: &str, epoch, images_per_second| EpochRow {
            stage: Stage::named(stage),
            epoch,
            images_per_second,
            seconds: 2.0,
            ..EpochRow::default()
        };
        let mut pace = Pace::default();
        let mut told = |row: EpochRow| pace.notice(&row, Device::Cuda(0));
        assert_eq!(told(row("search", 1, 900.0)), None);
        // Another stage does other work.
        assert_eq!(told(row("retrain", 1, 300.0)), None);
        assert_eq!(told(row("retrain", 2, 160.0)), None);
        let text = told(row("retrain", 3, 100.0)).unwrap();
        assert_eq!(
            text,
            "epoch 3 of retrain was 3.0 times slower than the fastest before it (100 images a second, and it was 300)"
        );
        assert_eq!(told(row("retrain", 4, 50.0)), None);
        let short = EpochRow { seconds: 0.4, ..row("search", 2, 1.0) };
        assert_eq!(Pace { best: 900.0, ..Pace::default() }.notice(&short, Device::Cpu), None);
    }
}
