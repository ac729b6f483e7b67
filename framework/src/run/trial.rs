//! One trial: search, design, retrain, evaluate, record.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use serde_json::json;
use tch::Device;

use super::division::divided;
use super::measure::measure;
use super::method::Method;
use super::names::kept_manifest;
use super::reuse::{self, KnownWork};
use super::survey::needs_of;
use crate::data::{DataStore, Edition, Normalisation, Splits};
use crate::ground::file::{set_aside, write_atomically};
use crate::ground::threads::Threads;
use crate::ground::{counted, guarded, kernel};
use crate::launch::Task;
use crate::manifest::Trial;
use crate::network::{Design, Ticket};
use crate::record::{self, Event, Failed, Log, Observer, Outcome, TrialFolder, attempt, files};
use crate::train::{Found, Phase, Session, SessionSpec, Teacher};
use crate::{Error, Result};

/// With what trials run in this process.
pub struct Context<'a> {
    /// Where data sets are looked for.
    pub store: DataStore,
    /// Device of all tensors.
    pub device: Device,
    /// Threads of libtorch, for a trial that has none of its own yet.
    pub threads: Threads,
    /// Revision of the program's source.
    pub revision: &'a str,
    /// Told what happens.
    pub observer: &'a dyn Observer,
    /// Set to stop at the next batch.
    pub stop: &'a AtomicBool,
}

/// What became of a trial.
#[derive(Debug)]
pub struct Finished {
    /// `variant seed 0`.
    pub title: String,
    /// The result, or why there is none.
    pub outcome: Result<Outcome>,
    /// It was finished before.
    pub cached: bool,
}

/// Runs a trial in this process, or finds its result. `trial` has the settings of `task`. With a
/// token it runs in a folder of its own ([`attempt`]).
pub(super) fn run(task: &Task, trial: &Trial, known: &KnownWork, token: Option<&str>, context: &Context) -> Finished {
    let (outcome, cached) = match Job::open(task, trial, context) {
        Ok(job) => job.finish(known, token),
        Err(error) => (Err(error), false),
    };
    Finished { title: task.title.clone(), outcome, cached }
}

/// A trial that runs in this process.
pub(super) struct Job<'a> {
    pub(super) task: &'a Task,
    pub(super) trial: &'a Trial,
    pub(super) splits: Rc<Splits>,
    pub(super) context: &'a Context<'a>,
}

impl<'a> Job<'a> {
    /// Opens the data of a task. `trial` has the task's settings.
    fn open(task: &'a Task, trial: &'a Trial, context: &'a Context<'a>) -> Result<Job<'a>> {
        let splits = context.store.open(trial.manifest.dataset.as_ref())?;
        if splits.info.digest != task.data_digest {
            return Err(Error::Record(format!(
                "the data of {} have changed since the trial was planned (digest `{}`, and it was `{}`)",
                task.title, splits.info.digest, task.data_digest
            )));
        }
        Ok(Job { task, trial, splits, context })
    }

    /// The trial's result, and whether it was there already: in its folder, or in that of the same
    /// work elsewhere.
    fn finish(&self, known: &KnownWork, token: Option<&str>) -> (Result<Outcome>, bool) {
        let folder = &self.task.folder;
        attempt::settle(folder);
        if let Some(outcome) = record::result(folder) {
            return (Ok(outcome), true);
        }
        if let Some(found) = known.find(&self.task.hash, folder) {
            let (info, text) = (&self.splits.info, self.manifest_text(folder));
            return (reuse::reuse(self.task, info, &text, found, self.context.observer), true);
        }
        let outcome = guarded(|| match token {
            Some(token) => self.attempt(token),
            None => self.run(folder),
        });
        (outcome, false)
    }

    /// Runs the trial in a folder of its own ([`attempt`]). The result is that of the attempt which
    /// finished first.
    fn attempt(&self, token: &str) -> Result<Outcome> {
        let folder = &self.task.folder;
        let own = attempt::begin(folder, token, self.manifest_text(folder).as_bytes())?;
        self.run(&own)?;
        attempt::publish(folder, &own, token)
    }

    /// The manifest that the trial's folder keeps.
    fn manifest_text(&self, folder: &Path) -> String {
        kept_manifest(self.task, self.trial, folder)
    }

    fn run(&self, path: &Path) -> Result<Outcome> {
        let folder = TrialFolder::lock(path)?;
        write_atomically(&folder.file(files::MANIFEST), self.manifest_text(path).as_bytes())?;
        Failed::clear(path)?;
        let log = Log::open(&folder.file(files::LOG), self.context.observer)?;
        let mut start = json!({ "trial": self.task.title, "program": env!("CARGO_PKG_VERSION"), "revision": self.context.revision, "process": std::process::id() });
        // The program says it once for all trials.
        if let Some(without) = kernel::fallback(self.context.device) {
            start["kernels"] = without.into();
        }
        log.line("start", start);
        if let Some(owner) = folder.left_by() {
            self.note(&log, &format!("`{}` was left by {owner}; this process resumes it", path.display()));
        }
        let Splits { info, normalisation: Normalisation { mean, std }, .. } = self.splits.as_ref();
        if info.edition == Edition::Other {
            let title = &info.title;
            let text = format!(
                "the data are no published data set, nor a part of one: tables call them `{title}`, and inputs are \
                 normalised by the mean {mean:?} and the deviation {std:?}"
            );
            self.note(&log, &text);
        }
        self.take_threads(&folder, &log)?;
        let outcome = guarded(|| {
            self.put_away_damaged(&folder.file(files::RESULT), &log)?;
            self.stages(&folder, &log)
        });
        match &outcome {
            Ok(outcome) => log.line("finished", json!(outcome)),
            Err(Error::Interrupted) => log.line("stopped", json!(Error::Interrupted.to_string())),
            Err(error) => {
                log.line("failed", json!(error.to_string()));
                // The error itself says more than that it could not be marked, on a full disk for
                // example.
                let _ = Failed::write(path, error);
            }
        }
        outcome
    }

    /// Takes as many threads as the trial has had from its beginning, since another number gives other
    /// bits, unless somebody asks for a number. A trial that begins has as many as it can use.
    fn take_threads(&self, folder: &TrialFolder, log: &Log) -> Result<()> {
        let (path, present) = (folder.file(files::THREADS), &self.context.threads);
        let threads = self.usable_threads();
        let kept = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let Some(kept) = kept.filter(|kept| !threads.asked && *kept != threads.count) else {
            threads.take();
            if threads != *present {
                self.note(log, &threads.to_string());
            }
            return write_atomically(&path, format!("{}\n", threads.count).as_bytes());
        };
        // Where OpenMP gives fewer, the session tells that the machine is another one.
        let threads = Threads { count: kept, ..threads };
        if threads.take() == kept {
            let kept = counted(usize::from(kept), "thread");
            self.note(
                log,
                &format!("the trial began with {kept} and goes on with as many; `--threads N` changes that"),
            );
        }
        Ok(())
    }

    /// Those of the threads that are there that the trial can use. What cannot be built says so
    /// later, where it is built.
    fn usable_threads(&self) -> Threads {
        let Context { threads, store, device, .. } = self.context;
        let needs = || {
            let data = store.summary(self.trial.manifest.dataset.as_ref())?;
            needs_of(self.trial, self.task, &data, *device)
        };
        match *device {
            Device::Cpu if !threads.asked && threads.count > 1 => needs().map_or(threads.clone(), |needs| {
                divided(threads, &self.trial.manifest, &needs, self.splits.train.len())
            }),
            _ => threads.clone(),
        }
    }

    fn note(&self, log: &Log, text: &str) {
        log.event(&Event::Note { trial: Some(self.task.label()), text });
    }

    /// Renames a result that cannot be used: it is made again.
    fn put_away_damaged(&self, result: &Path, log: &Log) -> Result<()> {
        match record::read::<Outcome>(result) {
            Err(error @ Error::Content { .. }) => {
                let aside = set_aside(result)?;
                self.note(log, &format!("{error}; it is kept as `{}`", aside.display()));
                Ok(())
            }
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    fn stages(&self, folder: &TrialFolder, log: &Log) -> Result<Outcome> {
        let manifest = &self.trial.manifest;
        for (section, training) in [("search", manifest.search.as_ref()), ("retrain", Some(&manifest.retrain))] {
            if let Some(training) = training {
                training.augment.check(section, &self.splits.train)?;
                training.precision.check(section, self.context.device)?;
            }
        }
        let spec = SessionSpec {
            splits: &self.splits,
            device: self.context.device,
            seed: self.trial.seed,
            folder: folder.path(),
            trial: &self.task.hash,
            interval: manifest.checkpoint,
            graphs: true,
        };
        let mut session = Session::open(spec, self.task.label(), log, self.context.stop)?;
        let method = Method { trial: self.trial, splits: &self.splits, device: self.context.device, recorder: None };
        let Found { design, trained, ticket, inheritance } =
            self.design(method, &mut session, &folder.file(files::DESIGN))?;
        let (network, mut parameters) = method.build(&design)?;
        match trained {
            Some(trained) => {
                parameters.copy_from(&trained).map_err(Error::Record)?;
                session.keep(&design.to_toml(), &parameters)?;
            }
            None => {
                if let Some(inheritance) = inheritance {
                    session.note(&inheritance.give(network.as_ref(), &parameters).map_err(Error::Record)?);
                }
                match ticket {
                    Some(ticket) => {
                        let found = folder.file(files::DESIGN);
                        ticket.give(network.as_ref(), self.task.design_file.as_ref().unwrap_or(&found))?;
                    }
                    // A checkpoint of retraining holds the masks, and a search has said what is missing.
                    None if session.resumed_in(Phase::Retrain) || manifest.search.is_some() => {}
                    None if Ticket::is_needed(network.as_ref()) => return Err(Ticket::missing(network.as_ref())),
                    None => {}
                }
                let mut teacher = self.teacher()?;
                if let Some(teacher) = &mut teacher {
                    method.attach(teacher, (network.as_ref(), &mut parameters), &design)?;
                }
                method.retrain(&mut session, (network.as_ref(), &parameters), &design, teacher.as_ref())?;
            }
        }
        measure(method, self.task, self.context.revision, &session, (network.as_ref(), &parameters), &design)
    }

    /// The teacher of the final network.
    fn teacher(&self) -> Result<Option<Teacher<'_>>> {
        let retrain = &self.trial.manifest.retrain;
        let Some(teaching) = &retrain.teacher else { return Ok(None) };
        let folder = self.task.teacher.as_ref().ok_or_else(|| Error::design("no trial is known that teaches it"))?;
        Teacher::open(teaching, folder, &self.splits.info, self.context.device, retrain.precision).map(Some)
    }

    /// The design: the one that is retrained already, the one that is taken over, or the one that a
    /// search finds. It is kept in the file `written`.
    fn design(&self, method: Method, session: &mut Session, written: &Path) -> Result<Found> {
        // Only a checkpoint of retraining vouches for the design beside it. With any other, what is
        // left of the search is done (nothing, where its last stage is finished), so that its
        // epochs are in the history.
        if let Some(text) = session.resumed_design(Phase::Retrain) {
            return Ok(Design::restore(written, text, |message| session.note(message))?.into());
        }
        if session.resumed_in(Phase::Retrain) {
            return Ok(Design::read(written)?.into());
        }
        let found: Found = match &self.task.design_file {
            Some(file) => {
                let design = method.take_over(Design::read(file)?)?;
                let ticket = design.ticket_beside(file)?;
                Found { ticket, ..design.into() }
            }
            None => method.search(session)?,
        };
        if let Some(ticket) = &found.ticket {
            ticket.write(written)?;
        }
        write_atomically(written, found.design.to_toml().as_bytes())?;
        Ok(found)
    }
}
