//! What a user sees while trials run: bars on a terminal, lines elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, TableComponent, presets};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use litesnn_framework::ground::counted;
use litesnn_framework::record::{End, EpochRow, Event, How, Observer, Stage, TrialLabel};

use crate::output::say;

/// A table for stdout: a rule below the header, and lines that fit the terminal, or 120 characters
/// elsewhere.
pub fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
    table.set_header(header);
    if table.width().is_none() {
        table.set_width(120);
    }
    table
}

/// A display on stderr: on a terminal a bar for all trials and one for each that is at work, lines
/// elsewhere.
pub struct Display {
    live: bool,
    quiet: bool,
    /// Trials run in other processes, maybe several at once, so that each line names its trial.
    together: bool,
    bars: MultiProgress,
    whole: ProgressBar,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// The trials at work, by their index.
    at_work: BTreeMap<usize, AtWork>,
    failed: usize,
}

/// A trial at work.
struct AtWork {
    bar: ProgressBar,
    stage: String,
    epochs: usize,
    /// Batches of an epoch; 1 where the trial does not tell of them.
    batches: usize,
    /// What was last said of an epoch.
    last: String,
}

impl Display {
    /// A display of so many trials, of which some are finished already.
    pub fn new(quiet: bool, together: bool, trials: usize, finished: usize) -> Display {
        let live = !quiet && std::io::stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let display = Display::on(target, quiet, together, trials, finished);
        Display { live, ..display }
    }

    /// A live display that draws elsewhere.
    fn on(target: ProgressDrawTarget, quiet: bool, together: bool, trials: usize, finished: usize) -> Display {
        let bars = MultiProgress::with_draw_target(target);
        let whole = match together || trials > 1 {
            true => bars.add(ProgressBar::new(trials as u64)),
            false => ProgressBar::hidden(),
        };
        let noun = if trials == 1 { "trial" } else { "trials" };
        style(&whole, &format!("{{bar:24}} {{pos}}/{{len}} {noun}  {{wide_msg}}  {{elapsed}}"));
        whole.set_position(finished as u64);
        Display { live: true, quiet, together, bars, whole, state: RefCell::default() }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        if self.quiet {
        } else if self.live {
            // Not `suspend`, which ends the program where the terminal is gone.
            let _ = self.bars.println(text);
        } else {
            say!("{text}");
        }
    }

    /// Removes the bars.
    pub fn end(&self) {
        for (_, trial) in std::mem::take(&mut self.state.borrow_mut().at_work) {
            trial.bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
    }

    /// Says something of a trial: by a line, or, of one of several on a terminal, by its bar alone.
    fn progress(&self, trial: TrialLabel, words: &str) {
        if self.live && self.together {
            let title = shortened(trial.title);
            let name = name(TrialLabel { title: &title, ..trial });
            self.with(trial, |at_work| at_work.bar.set_message(format!("{name}: {words}")));
        } else {
            self.line(&format!("{}: {words}", name(trial)));
        }
    }

    /// Changes what is known of a trial at work.
    fn with<T>(&self, trial: TrialLabel, change: impl FnOnce(&mut AtWork) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let at_work = state.at_work.entry(trial.index).or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new(1));
            // The message is cut where the line would be longer than the terminal is wide.
            style(&bar, "{wide_msg} {bar:8} {percent:>3}% {eta:>4}");
            AtWork { bar, stage: String::new(), epochs: 0, batches: 1, last: String::new() }
        });
        change(at_work)
    }

    fn stage_started(&self, trial: TrialLabel, stage: &Stage, epochs: usize, done: usize, batches: usize) {
        let resumed = if done > 0 { format!(", resuming after epoch {done}") } else { String::new() };
        self.progress(trial, &format!("{stage}, {}{resumed}", counted(epochs, "epoch")));
        self.with(trial, |at_work| {
            (at_work.stage, at_work.epochs, at_work.batches) = (stage.to_string(), epochs, batches);
            at_work.last.clear();
            at_work.bar.reset();
            at_work.bar.set_length((epochs * batches) as u64);
            at_work.bar.set_position((done * batches) as u64);
            at_work.bar.reset_eta();
        });
    }

    fn batch(&self, trial: TrialLabel, done: usize, batches: usize, epoch: usize, images_per_second: f64) {
        self.with(trial, |at_work| {
            let AtWork { bar, stage, epochs, last, .. } = at_work;
            bar.set_position(((epoch - 1) * batches + done) as u64);
            // A GPU has not been asked yet.
            let speed = match images_per_second.is_nan() {
                true => String::new(),
                false => format!("{images_per_second:.0} images/s  "),
            };
            bar.set_message(format!("{stage} {epoch}/{epochs}  {speed}{last}"));
        });
    }

    fn epoch(&self, trial: TrialLabel, row: &EpochRow, epochs: usize) {
        let (described, speed) = (describe(row), row.images_per_second);
        let words = format!("{} {:>2}/{epochs}  {described}  {speed:.0} images/s", row.stage, row.epoch);
        self.with(trial, |at_work| {
            at_work.last = described;
            let done = usize::try_from(row.epoch).unwrap_or(0) * at_work.batches;
            at_work.bar.set_position(done as u64);
        });
        match self.together {
            true => self.progress(trial, &words),
            false => self.line(&format!("  {words}")),
        }
    }

    fn ended(&self, trial: TrialLabel, end: &End) {
        let mut state = self.state.borrow_mut();
        if let Some(at_work) = state.at_work.remove(&trial.index) {
            at_work.bar.finish_and_clear();
        }
        if end.has_result() {
            self.whole.inc(1);
        }
        if end.is_failure() {
            state.failed += 1;
            self.whole.set_message(format!("{} failed", state.failed));
        }
        drop(state);
        let words = match end.how {
            How::Finished => "done".to_owned(),
            How::Cached => "finished before".to_owned(),
            How::Stopped => "stopped at a checkpoint".to_owned(),
            How::Failed | How::Killed => format!("failed: {}", end.reason),
            How::TimedOut | How::Preempted => end.reason.clone(),
        };
        self.line(&format!("{}: {words}", name(trial)));
    }
}

impl Observer for Display {
    fn event(&self, event: &Event) {
        match event {
            // Without a process to wait for, its first stage is told at once.
            Event::Started { trial } if self.together => self.progress(*trial, "begins"),
            Event::Started { .. } | Event::StageEnded { .. } => {}
            Event::StageStarted { trial, stage, epochs, done, batches, .. } => {
                self.stage_started(*trial, stage, *epochs, *done, batches.unwrap_or(1));
            }
            Event::Batch { trial, done, batches, epoch, images_per_second } => {
                self.batch(*trial, *done, *batches, *epoch, *images_per_second);
            }
            Event::Epoch { trial, row, epochs } => self.epoch(*trial, row, *epochs),
            Event::Ended { trial, end } => self.ended(*trial, end),
            Event::Count { finished, running, queued, failed } => {
                self.whole.set_position(*finished as u64);
                let words = format!("{finished} finished, {running} at work, {queued} waiting, {failed} failed");
                if self.live { self.whole.set_message(words) } else { self.line(&words) }
            }
            Event::Note { trial: Some(trial), text } if self.together => {
                self.line(&format!("{}: note: {text}", name(*trial)));
            }
            Event::Note { text, .. } => self.line(&format!("note: {text}")),
        }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(500));
    }
}

/// `[3/12] lite-snn seed 0`
fn name(trial: TrialLabel) -> String {
    format!("[{}/{}] {}", trial.index + 1, trial.count, trial.title)
}

/// A title with its middle left out, where it is long: the begin is the variant, the end the seed
/// or what is swept.
fn shortened(title: &str) -> String {
    const BEGIN: usize = 11;
    const END: usize = 12;
    let characters: Vec<char> = title.chars().collect();
    match characters.len() {
        0..=24 => title.to_owned(),
        length => characters[..BEGIN].iter().chain(&['…']).chain(&characters[length - END..]).collect(),
    }
}

fn describe(row: &EpochRow) -> String {
    let mut text = format!("loss {:.3}  train {:.1}%", row.train_loss, 100.0 * row.train_accuracy);
    if row.validation_accuracy.is_finite() {
        text.push_str(&format!("  validation {:.1}%", 100.0 * row.validation_accuracy));
    }
    if row.mean_bits.is_finite() {
        let weights: Vec<String> = row.timestep_weights.iter().map(|weight| format!("{weight:.2}")).collect();
        text.push_str(&format!("  bits {:.2}  timesteps [{}]", row.mean_bits, weights.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    /// The lines on a terminal of 80 columns while two trials with long names are at work.
    fn lines(together: bool) -> Vec<String> {
        let terminal = InMemoryTerm::new(20, 80);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let display = Display::on(target, true, together, 120, 7);
        let title = "lite-snn-with-four-timesteps-and-everything-else seed 11 (search.learning_rate = 0.025)";
        let stage = Stage::Search("search-architecture".into());
        let row = EpochRow {
            stage: stage.clone(),
            epoch: 999,
            train_loss: 12.5,
            train_accuracy: 1.0,
            validation_accuracy: 1.0,
            mean_bits: 3.25,
            timestep_weights: vec![0.125; 8],
            images_per_second: 123_456.0,
            ..EpochRow::default()
        };
        for index in [10, 118] {
            let trial = TrialLabel { index, count: 120, title };
            display.event(&Event::Started { trial });
            let (epochs, batches) = (1000, Some(1200));
            display.event(&Event::StageStarted { trial, stage: &stage, epochs, done: 0, batches, samples: None });
            display.event(&Event::Epoch { trial, row: &row, epochs });
            if !together {
                let images_per_second = row.images_per_second;
                display.event(&Event::Batch { trial, done: 700, batches: 1200, epoch: 1000, images_per_second });
            }
        }
        display.event(&Event::Count { finished: 7, running: 100, queued: 13, failed: 0 });
        for at_work in display.state.borrow().at_work.values() {
            at_work.bar.tick();
        }
        display.whole.tick();
        terminal.contents().lines().map(str::to_owned).collect()
    }

    #[test]
    fn no_bar_is_longer_than_a_line_of_80_columns() {
        for together in [false, true] {
            let lines = lines(together);
            assert_eq!(lines.len(), 3, "{lines:#?}");
            assert!(lines[0].contains("7/120 trials  7 finished, 100 at work"), "{lines:#?}");
            for line in &lines[1..] {
                assert!(line.contains("search-arch") && line.contains('%'), "{lines:#?}");
            }
        }
    }

    #[test]
    fn a_trial_is_told_by_its_place_and_title() {
        assert_eq!(name(TrialLabel { index: 2, count: 12, title: "a seed 0" }), "[3/12] a seed 0");
        assert_eq!(shortened("lite-snn seed 0"), "lite-snn seed 0");
        assert_eq!(shortened("lite-snn-with-everything seed 11"), "lite-snn-wi…hing seed 11");
    }
}
