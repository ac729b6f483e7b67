//! `litesnn run`: the trials of manifests, in this process or in others.
//!
//! One road for all: plans become tasks, an executor runs them, one display follows, and what
//! became of them is told.

mod until;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use litesnn_framework::data::DataStore;
use litesnn_framework::ground::device::{self, Choice};
use litesnn_framework::ground::signal::stop_on_request;
use litesnn_framework::ground::threads::{self, Threads};
use litesnn_framework::ground::{Machine, counted, kernel};
use litesnn_framework::launch::{Launch, Launched, Launcher, Pool, ProcessSettings, Task};
use litesnn_framework::manifest::{self, Plan};
use litesnn_framework::record::earlier;
use litesnn_framework::run::{Agenda, Asked, Context, Finished, outcomes, run_here, survey};
use litesnn_framework::{Error, Result};

use crate::arguments::{RunOptions, data_store};
use crate::conclusion;
use crate::display::Display;
use crate::exit::{Exit, Failure};
use crate::plan::refuse_what_does_not_fit;

pub fn run(options: &RunOptions) -> Result<Exit, Failure> {
    let threads = threads::settle_beside_others(options.threads);
    // All manifests first: a mistake in the last one costs nothing.
    let plans = options.manifests.iter().map(|manifest| load(options, manifest)).collect::<Result<Vec<_>>>()?;
    match options.until_interval {
        None => run_plans(options, plans, &threads),
        Some(width) => until::run_until(options, plans, width, &threads),
    }
}

fn load(options: &RunOptions, manifest: &Path) -> Result<Plan> {
    manifest::load(&options.layers.request(manifest.to_owned()))
}

fn run_plans(options: &RunOptions, mut plans: Vec<Plan>, threads: &Threads) -> Result<Exit, Failure> {
    worst(parts(options, &mut plans).into_iter().map(|(plans, executor)| {
        let elsewhere = executor.elsewhere();
        tell(options, &run_part(options, plans, executor, threads)?, elsewhere)
    }))
}

/// The last exit that is not "done"; what is refused ends it.
fn worst(exits: impl Iterator<Item = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let mut worst = Exit::Done;
    for exit in exits {
        let exit = exit?;
        if exit != Exit::Done {
            worst = exit;
        }
    }
    Ok(worst)
}

/// Says what became of trials; an error where someone asked to stop.
fn tell(options: &RunOptions, all: &[Option<Finished>], elsewhere: bool) -> Result<Exit, Failure> {
    conclusion::tell(options, all, elsewhere);
    let open = all.iter().any(Option::is_none);
    match open && !elsewhere && stop_on_request().load(Ordering::Relaxed) {
        true if options.again => {
            let help = "the same command without `--again` goes on; with it, what is finished would run once more";
            Err(Failure::new(Exit::Interrupted, Error::Interrupted.to_string(), Some(help.into())))
        }
        true => Err(Error::Interrupted.into()),
        false => Ok(conclusion::exit(all)),
    }
}

/// Who runs tasks.
enum Executor {
    /// This process, one after another.
    Here,
    /// Processes on this machine.
    Processes(Pool),
    /// What the manifest's [launcher] says.
    Launcher(Box<dyn Launcher>),
}

impl Executor {
    /// Whether trials run on other machines.
    fn elsewhere(&self) -> bool {
        matches!(self, Executor::Launcher(launcher) if launcher.elsewhere())
    }

    /// How many trials run at once on this machine.
    fn at_once(&self) -> usize {
        match self {
            Executor::Here => 1,
            Executor::Processes(pool) => pool.jobs,
            Executor::Launcher(launcher) => launcher.at_once(),
        }
    }
}

/// The plans that run together, and who runs them: all by `--jobs` or in this process, or, where
/// one of them has a launcher, each in its own way.
fn parts<'a>(options: &RunOptions, plans: &'a mut [Plan]) -> Vec<(&'a [Plan], Executor)> {
    if let Some(jobs) = options.jobs {
        let pool = Pool { jobs: usize::from(jobs), threads: options.threads };
        let plans: &[Plan] = plans;
        return vec![(plans, Executor::Processes(pool))];
    }
    // Variants cannot change it, so that all trials have the same.
    let launcher = |plan: &mut Plan| plan.trials.iter_mut().find_map(|trial| trial.manifest.launcher.take());
    let launchers: Vec<Option<Box<dyn Launcher>>> = plans.iter_mut().map(launcher).collect();
    let plans: &[Plan] = plans;
    if launchers.iter().all(Option::is_none) {
        return vec![(plans, Executor::Here)];
    }
    let executors = launchers.into_iter().map(|launcher| launcher.map_or(Executor::Here, Executor::Launcher));
    plans.iter().map(std::slice::from_ref).zip(executors).collect()
}

/// What becomes of the trials of some plans, in their order; `None` for those that are open.
fn run_part(
    options: &RunOptions,
    plans: &[Plan],
    executor: Executor,
    threads: &Threads,
) -> Result<Vec<Option<Finished>>, Failure> {
    let elsewhere = executor.elsewhere();
    let store = data_store();
    let choice = match elsewhere {
        true => None,
        false => Some(fitting_device(options, plans, executor.at_once(), &store)?),
    };
    let asked = asked(options, &executor, choice.as_ref(), threads);
    let agenda = match &executor {
        // A trial of this process records the data that it has opened.
        Executor::Here => Agenda::of(plans, &options.runs, |dataset| Ok(store.open(dataset)?.info.digest.clone()))?,
        _ => {
            let runs = std::path::absolute(&options.runs).map_err(Error::file("find", &options.runs))?;
            Agenda::of(plans, &runs, |dataset| Ok(store.summary(dataset)?.info.digest))?
        }
    };
    let aside = if options.again { set_aside(&agenda)? } else { Vec::new() };
    let before: Vec<bool> = agenda.tasks.iter().map(Task::is_finished).collect();
    let together = !matches!(executor, Executor::Here);
    let display = Display::new(options.quiet, together, before.len(), before.iter().filter(|done| **done).count());
    if let Some(Choice { device, reason }) = &choice {
        // Processes divide them, and say themselves how many they have.
        let fewer = options.threads.is_some_and(|asked| threads.count < asked);
        let threads = if together && !fewer { String::new() } else { format!(", {threads}") };
        display.line(&format!("device: {} ({reason}){threads}", device::name(*device)));
        kernel::fallback(*device).iter().for_each(|note| display.line(note));
    }
    match aside.first() {
        Some(first) => display.line(&format!(
            "{} set aside, such as `{}`",
            counted(aside.len(), "finished result"),
            first.display()
        )),
        None => agenda.tell_other_machines(&asked, &display),
    }
    agenda.rename_finished(|dataset| Ok(store.summary(dataset)?.info), &display);
    let stop = stop_on_request();
    let done = match (executor, choice) {
        (Executor::Here, Some(choice)) => {
            let revision = env!("SOURCE_REVISION");
            let (device, threads, observer) = (choice.device, threads.clone(), &display);
            let context = Context { store, device, threads, revision, observer, stop };
            Ok(run_here(&agenda, &context))
        }
        (executor, _) => {
            // The processes open the data themselves.
            drop(store);
            launch(options, &agenda, &before, executor, &display, stop)
        }
    };
    display.end();
    Ok(agenda.conclude(done?))
}

/// The device of this machine, after a check that so many trials at once fit its memory.
fn fitting_device(options: &RunOptions, plans: &[Plan], at_once: usize, store: &DataStore) -> Result<Choice, Failure> {
    let choice = device::choose(&options.device)?;
    for plan in plans {
        let request = options.layers.request(plan.source.clone());
        manifest::check_device(plan, &request, choice.device)?;
        manifest::check_images(plan, &request, store)?;
    }
    for plan in plans.iter().filter(|_| !options.force) {
        let surveyed = survey(plan, &options.runs, store, choice.device);
        refuse_what_does_not_fit(plan, &surveyed, options.again, choice.device, at_once)?;
    }
    Ok(choice)
}

/// What the trials of this run use, as far as that is known here.
fn asked(options: &RunOptions, executor: &Executor, choice: Option<&Choice>, threads: &Threads) -> Asked {
    let here = choice.map(|choice| Machine::here(choice.device));
    match (executor, here) {
        (Executor::Here, Some(here)) if threads.asked => here.into(),
        // The threads are what the machine has free, or divided among the trials, unless someone says how many each has.
        (_, Some(here)) => Asked { threads: options.threads.map(i64::from), ..here.into() },
        (_, None) => Asked {
            device: Some(options.device.clone()).filter(|device| device != "auto"),
            threads: options.threads.map(i64::from),
            ..Asked::default()
        },
    }
}

/// Sets aside every finished result, so that all trials run anew; the new places.
fn set_aside(agenda: &Agenda) -> Result<Vec<PathBuf>> {
    let mut aside = Vec::new();
    for task in &agenda.tasks {
        aside.extend(earlier::begin_anew(&task.folder)?);
    }
    Ok(aside)
}

/// Runs tasks in processes of their own.
fn launch(
    options: &RunOptions,
    agenda: &Agenda,
    before: &[bool],
    executor: Executor,
    display: &Display,
    stop: &AtomicBool,
) -> Result<Vec<Option<Finished>>> {
    let elsewhere = executor.elsewhere();
    let (pool, launcher) = match executor {
        Executor::Launcher(launcher) => (None, Some(launcher)),
        Executor::Processes(pool) => (Some(pool), None),
        Executor::Here => (Some(Pool { jobs: 1, threads: options.threads }), None),
    };
    let launched = Launched::create(&options.runs, launcher, process_settings(options)?, &agenda.tasks)?;
    let launch = Launch {
        record: launched.record,
        tasks: &agenda.tasks,
        wait: options.wait || !elsewhere,
        stop,
        observer: display,
    };
    if let Some(pool) = pool {
        pool.run(&launch)?;
    }
    if let Some(launcher) = &launched.launcher {
        launcher.launch(&launch)?;
    }
    let done = outcomes(&launch, before);
    if !elsewhere && done.iter().all(|trial| trial.as_ref().is_some_and(|trial| trial.outcome.is_ok())) {
        // Nothing in it is of use any more.
        let _ = std::fs::remove_dir_all(&launch.record.folder);
    }
    Ok(done)
}

fn process_settings(options: &RunOptions) -> Result<ProcessSettings> {
    let program = std::env::current_exe().map_err(Error::file("find", &PathBuf::from("the program itself")))?;
    Ok(ProcessSettings { program, device: options.device.clone(), threads: options.threads })
}
