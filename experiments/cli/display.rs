//! What a user sees while trials run: a bar on a terminal, a line for each epoch elsewhere.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, TableComponent, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use litesnn_framework::record::Epoch;
use litesnn_framework::train::{Event, Observer};

/// A table for stdout: a rule below the header, and lines that fit the terminal, or 120 characters elsewhere.
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

/// A display on stderr.
pub struct Display {
    bar: ProgressBar,
    live: bool,
    quiet: bool,
    stage: RefCell<Stage>,
}

#[derive(Default)]
struct Stage {
    name: String,
    epochs: usize,
    epoch: usize,
    /// Images a second, so far in this epoch.
    speed: f64,
    last: String,
}

impl Display {
    pub fn new(quiet: bool) -> Display {
        let live = !quiet && std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            None,
            if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {percent:>3}%  {msg}  {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        if live {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        Display { bar, live, quiet, stage: RefCell::default() }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        if self.quiet {
        } else if self.live {
            self.bar.suspend(|| eprintln!("{text}"));
        } else {
            eprintln!("{text}");
        }
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Display {
    fn event(&self, event: &Event) {
        match event {
            Event::StageStarted { trial, stage, epochs, done, batches, .. } => {
                *self.stage.borrow_mut() = Stage { name: (*stage).to_owned(), epochs: *epochs, ..Stage::default() };
                let resumed = if *done > 0 { format!(", going on after epoch {done}") } else { String::new() };
                self.line(&format!(
                    "[{}/{}] {}: {stage}, {epochs} epochs{resumed}",
                    trial.index + 1,
                    trial.count,
                    trial.title
                ));
                self.bar.reset();
                self.bar.set_length((epochs * batches) as u64);
                self.bar.set_position((done * batches) as u64);
                self.bar.reset_eta();
            }
            Event::Batch { done, batches, epoch, images_per_second } => {
                let mut stage = self.stage.borrow_mut();
                (stage.epoch, stage.speed) = (*epoch, *images_per_second);
                self.bar.set_position(((epoch - 1) * batches + done) as u64);
                self.bar.set_prefix(format!("{} {}/{}", stage.name, stage.epoch, stage.epochs));
                self.bar.set_message(format!("{:.0} images/s  {}", stage.speed, stage.last));
            }
            Event::Epoch { row, epochs, .. } => {
                let text = describe(row);
                self.line(&format!(
                    "  {} {:>2}/{epochs}  {text}  {:.0} images/s",
                    row.stage, row.epoch, row.images_per_second
                ));
                self.stage.borrow_mut().last = text;
            }
            Event::StageEnded { .. } => {}
            Event::Note(message) => self.line(&format!("note: {message}")),
        }
    }
}

fn describe(row: &Epoch) -> String {
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
