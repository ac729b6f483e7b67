//! Trials in processes of their own: what `litesnn run --jobs` and a [launcher] do.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use litesnn_framework::launch::{self, End, Event, How, Launch, Launcher, Observer, Pool, Record, Settings};
use litesnn_framework::manifest::Plan;
use litesnn_framework::run::{Finished, Task, reuse, survey, tasks};
use litesnn_framework::{Error, device};
use serde_json::Value;

use crate::arguments::{Run, data_store};
use crate::exit::{Exit, Failure};
use crate::plan::refuse_what_does_not_fit;
use crate::run::conclude;
use crate::signals::stop_on_request;

/// Runs the trials of all plans side by side on this machine.
pub fn here(options: &Run, plans: &[Plan]) -> Result<Exit, Failure> {
    let pool = Pool { jobs: usize::from(options.jobs.unwrap_or(1)), threads: options.threads };
    let device = device_for(options, plans, pool.jobs)?;
    launched(options, plans, Some(&device), None, stop_on_request(), |launch| pool.run(launch))
}

/// Runs the trials of each plan as its [launcher] does; a plan without one is run here, one trial at a time.
pub fn by_launchers(options: &Run, plans: &mut [Plan]) -> Result<Exit, Failure> {
    let stop = stop_on_request();
    let mut worst = Exit::Done;
    for plan in plans {
        // Variants cannot change it, so that all trials have the same.
        let launcher = plan.trials.iter_mut().find_map(|trial| trial.manifest.launcher.take());
        let plan = std::slice::from_ref(plan);
        let at_once = launcher.as_ref().map_or(1, |launcher| launcher.at_once());
        let device = match launcher.as_ref().is_some_and(|launcher| launcher.elsewhere()) {
            true => None,
            false => Some(device_for(options, plan, at_once)?),
        };
        let exit =
            launched(options, plan, device.as_deref(), launcher, stop, |launch| match &launch.record.launcher {
                Some(launcher) => launcher.launch(launch),
                None => Pool { jobs: 1, threads: options.threads }.run(launch),
            })?;
        if exit != Exit::Done {
            worst = exit;
        }
    }
    Ok(worst)
}

/// The device of this machine, in words, after a check that so many trials at once fit its memory.
fn device_for(options: &Run, plans: &[Plan], at_once: usize) -> Result<String, Failure> {
    let choice = device::choose(&options.device)?;
    let store = data_store();
    for plan in plans.iter().filter(|_| !options.force) {
        refuse_what_does_not_fit(plan, &survey(plan, &options.runs, &store), choice.device, at_once)?;
    }
    Ok(format!("{} ({})", device::name(choice.device), choice.reason))
}

fn launched(
    options: &Run,
    plans: &[Plan],
    device: Option<&str>,
    launcher: Option<Box<dyn Launcher>>,
    stop: &AtomicBool,
    run: impl FnOnce(&Launch) -> Result<(), Error>,
) -> Result<Exit, Failure> {
    let store = data_store();
    let mut all: Vec<Task> = Vec::new();
    for plan in plans {
        let before = all.len();
        for mut task in tasks(plan, &options.runs, &store)? {
            task.after = task.after.map(|source| source + before);
            all.push(task);
        }
    }
    let before: Vec<bool> = all.iter().map(launch::finished).collect();
    let display = Display::new(options.quiet, &all, &before);
    if let Some(device) = device {
        display.line(&format!("device: {device}"));
    }
    let wait = options.wait || launcher.as_ref().is_none_or(|launcher| !launcher.elsewhere());
    let launch = Launch {
        record: Record::create(&options.runs, launcher, settings(options)?, &all)?,
        tasks: all,
        wait,
        stop,
        observer: &display,
    };
    let ran = run(&launch);
    display.end();
    ran?;
    report(options, &launch, &before)
}

fn settings(options: &Run) -> Result<Settings, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::internal(&format!("the program does not know where it lies: {error}")))?;
    Ok(Settings { program, device: options.device.clone(), threads: options.threads })
}

/// What the processes of a trial said: a file of its own, or, where a task runs several trials, the folder of those.
fn log_of(record: &Record, task: &Task) -> PathBuf {
    let folder = record.folder.join("log");
    let own = folder.join(format!("{}.log", task.hash));
    if own.exists() { own } else { folder }
}

/// Says what became of the trials of a launch. `before` says which were finished when it began.
fn report(options: &Run, launch: &Launch, before: &[bool]) -> Result<Exit, Failure> {
    let ends = launch.record.ends();
    let outcome = |index: usize, task: &Task| -> Option<Finished> {
        let end = ends.iter().rfind(|end| end.hash == task.hash);
        let cached = before[index] || end.is_some_and(|end| end.how == How::Cached);
        let outcome = match (reuse::result(&task.folder), end) {
            (Some(outcome), _) => Ok(outcome),
            (None, Some(end)) if !matches!(end.how, How::Failed | How::Killed) => return None,
            (None, Some(end)) => Err(Error::Ended { reason: end.reason.clone(), log: log_of(&launch.record, task) }),
            (None, None) => {
                let source = &launch.tasks[task.after?];
                let failed = |end: &&End| end.hash == source.hash && matches!(end.how, How::Failed | How::Killed);
                ends.iter().rfind(failed).filter(|_| reuse::result(&source.folder).is_none() && !launch.stopping())?;
                let message = "its trial failed".into();
                Err(Error::Plugin { kind: "design", name: source.title.clone(), message })
            }
        };
        Some(Finished { title: task.title.clone(), folder: task.folder.clone(), outcome, cached })
    };
    let all: Vec<Finished> = launch.tasks.iter().enumerate().filter_map(|(index, task)| outcome(index, task)).collect();
    let exit = conclude(options, &all);
    if !options.quiet {
        let count = |which: fn(&Finished) -> bool| all.iter().filter(|trial| which(trial)).count();
        eprintln!(
            "{} trials: {} done, {} finished before, {} failed, {} open",
            launch.tasks.len(),
            count(|trial| trial.outcome.is_ok() && !trial.cached),
            count(|trial| trial.outcome.is_ok() && trial.cached),
            count(|trial| trial.outcome.is_err()),
            launch.tasks.len() - all.len()
        );
    }
    let open = launch.tasks.len() - all.len();
    let elsewhere = launch.record.launcher.as_ref().is_some_and(|launcher| launcher.elsewhere());
    if open > 0 && elsewhere {
        if !options.quiet {
            eprintln!(
                "open trials are worked on elsewhere; `litesnn runs {}` lists them, the same command submits what is lost, with \
                 `--wait` until all are finished, and `litesnn cancel` ends them",
                options.runs.display()
            );
        }
    } else if open > 0 && launch.stopping() {
        return Err(Error::Interrupted.into());
    } else if exit == Exit::Done && !elsewhere {
        // Nothing in it is of use any more.
        let _ = std::fs::remove_dir_all(&launch.record.folder);
    }
    Ok(exit)
}

/// What a user sees of a launch: on a terminal a bar for all trials and a line for each that is at work, lines elsewhere.
struct Display {
    live: bool,
    quiet: bool,
    bars: MultiProgress,
    whole: ProgressBar,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Names of the trials, `[3/12] lite-snn seed 0`, by hash and folder.
    names: Vec<(Task, String)>,
    /// The trials at work with their line and the epochs of their stage.
    at_work: Vec<(usize, ProgressBar, u64)>,
    failed: usize,
}

impl Display {
    fn new(quiet: bool, tasks: &[Task], before: &[bool]) -> Display {
        let live = !quiet && std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        let whole = if live { bars.add(ProgressBar::new(tasks.len() as u64)) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} trials  {msg}  {elapsed}") {
            whole.set_style(style.progress_chars("=> "));
        }
        if live {
            whole.enable_steady_tick(Duration::from_millis(500));
        }
        whole.set_position(before.iter().filter(|done| **done).count() as u64);
        let name =
            |(index, task): (usize, &Task)| (task.clone(), format!("[{}/{}] {}", index + 1, tasks.len(), task.title));
        let state = State { names: tasks.iter().enumerate().map(name).collect(), ..State::default() };
        Display { live, quiet, bars, whole, state: RefCell::new(state) }
    }

    fn line(&self, text: &str) {
        if self.quiet {
        } else if self.live {
            self.bars.suspend(|| eprintln!("{text}"));
        } else {
            eprintln!("{text}");
        }
    }

    fn end(&self) {
        self.whole.finish_and_clear();
    }

    /// What is said of a line that a trial wrote to its log.
    fn log(&self, index: usize, name: &str, event: &str, content: &Value) {
        let mut state = self.state.borrow_mut();
        let Some((_, bar, epochs)) = state.at_work.iter_mut().find(|(at_work, ..)| *at_work == index) else { return };
        let words = match event {
            "stage" => {
                *epochs = content["epochs"].as_u64().unwrap_or_default();
                let done = content["done"].as_u64().filter(|done| *done > 0);
                let going_on = done.map_or_else(String::new, |done| format!(", going on after epoch {done}"));
                format!("{}, {epochs} epochs{going_on}", content["stage"].as_str().unwrap_or_default())
            }
            "epoch" => {
                let number = |key: &str| content[key].as_f64().unwrap_or(f64::NAN);
                let mut words = format!(
                    "{} {:>2}/{epochs}  loss {:.3}  train {:.1}%",
                    content["stage"].as_str().unwrap_or_default(),
                    content["epoch"].as_u64().unwrap_or_default(),
                    number("train_loss"),
                    100.0 * number("train_accuracy")
                );
                if number("validation_accuracy").is_finite() {
                    words.push_str(&format!("  validation {:.1}%", 100.0 * number("validation_accuracy")));
                }
                words
            }
            "note" => format!("note: {}", content.as_str().unwrap_or_default()),
            _ => return,
        };
        if self.live && event != "note" {
            bar.set_message(words);
        } else {
            drop(state);
            self.line(&format!("{name}: {words}"));
        }
    }
}

impl Observer for Display {
    fn event(&self, event: &Event) {
        let named = |task: &Task| {
            let state = self.state.borrow();
            let found = state.names.iter().position(|(other, _)| other.folder == task.folder);
            found.map(|index| (index, state.names[index].1.clone())).unwrap_or_default()
        };
        match event {
            Event::Started(task) => {
                let (index, name) = named(task);
                let bar = if self.live { self.bars.add(ProgressBar::new_spinner()) } else { ProgressBar::hidden() };
                bar.set_prefix(name.clone());
                if let Ok(style) = ProgressStyle::with_template("  {prefix}: {msg}") {
                    bar.set_style(style);
                }
                bar.set_message("begins");
                self.state.borrow_mut().at_work.push((index, bar, 0));
                if !self.live {
                    self.line(&format!("{name}: begins"));
                }
            }
            Event::Log(task, kind, content) => {
                let (index, name) = named(task);
                self.log(index, &name, kind, content);
            }
            Event::Ended(task, end) => {
                let (index, name) = named(task);
                let mut state = self.state.borrow_mut();
                if let Some(place) = state.at_work.iter().position(|(at_work, ..)| *at_work == index) {
                    state.at_work.remove(place).1.finish_and_clear();
                }
                let words = match end.how {
                    How::Finished => "done".to_owned(),
                    How::Cached => "finished before".to_owned(),
                    How::Stopped => "stopped at a checkpoint".to_owned(),
                    How::Failed | How::Killed => {
                        state.failed += 1;
                        format!("failed: {}", end.reason)
                    }
                    How::TimedOut | How::Preempted => end.reason.clone(),
                };
                if matches!(end.how, How::Finished | How::Cached) {
                    self.whole.inc(1);
                }
                if state.failed > 0 {
                    self.whole.set_message(format!("{} failed", state.failed));
                }
                drop(state);
                self.line(&format!("{name}: {words}"));
            }
            Event::Count { finished, running, queued, failed } => {
                self.whole.set_position(*finished as u64);
                let words = format!("{finished} finished, {running} at work, {queued} waiting, {failed} failed");
                if self.live { self.whole.set_message(words) } else { self.line(&words) }
            }
            Event::Note(message) => self.line(&format!("note: {message}")),
        }
    }
}
