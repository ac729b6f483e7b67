//! Processes that are killed, or asked to stop.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use litesnn_framework::record::Stage;
use litesnn_framework::train::{Checkpoint, Phase};

use crate::support::{run_until, signal};
use crate::tally::{FAULTS, KILLS, count};
use crate::trials::{EVOLVING, GROWING, RANKED, SEQUENTIAL, SHORT, command, folder, goes_on, undisturbed};

/// Numbers that are the same in every run of the tests.
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub fn joint() {
    kill(&[], if crate::full() { 80 } else { 8 }, 1);
}

pub fn sequential() {
    kill(&SEQUENTIAL, if crate::full() { 40 } else { 4 }, 2);
}

/// Of trials whose compressors change with training.
pub fn schedules() {
    kill(&EVOLVING, if crate::full() { 20 } else { 3 }, 3);
    kill(&GROWING, if crate::full() { 20 } else { 3 }, 4);
    kill(&RANKED, if crate::full() { 20 } else { 3 }, 5);
}

/// Kills a trial with SIGKILL at random moments: after any line of what it says, within the time
/// that a line takes. Checkpoints are written after every batch, now and then, or after every
/// epoch.
fn kill(settings: &[&str], wanted: u64, seed: u64) {
    let whole = undisturbed(settings);
    let a_line = whole.seconds / whole.lines as f64;
    let mut random = Random(seed);
    let mut killed = 0;
    while killed < wanted {
        let runs = tempfile::tempdir().unwrap();
        let mut owner = None;
        loop {
            let interval = ["0", "0.02", "600"][(random.next() * 3.0) as usize];
            let mut trial = command(runs.path(), settings);
            let mut child = trial.args(["--set", &format!("checkpoint.seconds={interval}")]).spawn().unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap());
            let mut said = String::new();
            // A trial that resumes may say less than so many lines: it ends then.
            let wanted_lines = (random.next() * whole.lines as f64) as usize;
            let read = (0..wanted_lines).take_while(|_| lines.read_line(&mut said).unwrap() > 0).count();
            if read == wanted_lines {
                std::thread::sleep(Duration::from_secs_f64(random.next() * a_line));
                child.kill().unwrap();
            }
            let status = child.wait().unwrap();
            lines.read_to_string(&mut said).unwrap();
            if let Some(owner) = owner.take()
                && said.contains(&format!("was left by process {owner} on host"))
            {
                count(FAULTS, "lock of a dead owner, taken over", 1);
            }
            if status.signal() != Some(libc::SIGKILL) {
                assert!(status.success(), "{said}");
                break;
            }
            owner = Some(child.id());
            killed += 1;
            count(KILLS, format!("SIGKILL, {}", stage(runs.path())), 1);
            if killed == wanted {
                break;
            }
        }
        goes_on(runs.path(), settings);
    }
}

/// Where a killed trial was. Whatever moment that was, its checkpoints are whole.
fn stage(runs: &std::path::Path) -> &'static str {
    if !runs.join("tiny").exists() {
        return "before the first checkpoint";
    }
    let (checkpoint, unusable) = Checkpoint::newest(&folder(runs).join("checkpoint"));
    assert!(unusable.is_empty(), "{unusable:?}");
    match checkpoint.as_ref().map(|checkpoint| checkpoint.phase) {
        None => "before the first checkpoint",
        Some(Phase::Search) => "in the search",
        Some(Phase::Candidate(_)) => "in the training of a candidate",
        Some(Phase::Settled) => "in the search, after its architecture was settled",
        Some(Phase::Retrain) => "in retraining",
    }
}

/// Every signal that asks to stop is answered with a checkpoint within the epoch, a word on how to
/// resume, and exit code 130.
pub fn signals() {
    let all = ["USR1", "HUP", "TERM", "INT", "USR2"];
    let rare = ["--set", "checkpoint.epochs=1000"];
    for name in &all[..if crate::full() { 5 } else { 2 }] {
        let runs = tempfile::tempdir().unwrap();
        let (mut child, mut lines) = run_until(command(runs.path(), &SHORT).args(rare), "search  2/4");
        signal(&child, name);
        let mut said = String::new();
        lines.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
        assert!(said.contains("the same command resumes from the last checkpoint"), "{said}");
        let checkpoint = Checkpoint::newest(&folder(runs.path()).join("checkpoint")).0.unwrap();
        assert!(checkpoint.stage == Stage::Retrain || checkpoint.epochs >= 2, "at most the batch at work is lost");
        count(KILLS, format!("SIG{name}"), 1);
        goes_on(runs.path(), &SHORT);
    }
}
