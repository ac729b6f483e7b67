//! The conformance kit: the rules that every plugin keeps, each with the program that checks it.
//!
//! [`checks`] gives the checks of one plugin; a test runs them over all registered ones, so that a
//! plugin is under test as soon as it is registered:
//!
//! ```text
//! use litesnn_conformance::{Surroundings, checks};
//! use litesnn_framework::plugin::registered;
//!
//! let beside = Surroundings { plugins: registered(), data: vec![] };
//! for plugin in registered() {
//!     for check in checks(plugin, &beside) {
//!         check.run().unwrap();
//!     }
//! }
//! ```
//!
//! The lists [`GENERAL`], [`dataset::LAWS`], [`space::LAWS`], [`compressor::LAWS`],
//! [`timesteps::LAWS`], [`optimizer::LAWS`] and [`launcher::LAWS`] say what is checked. Whoever
//! breaks a rule is told the rule, what was expected and what happened.
//!
//! What needs other plugins (a search needs a data set, a space, a timestep searcher and an
//! optimizer) takes the first registered one of each kind; the data are a few images that the kit
//! makes itself. Another plugin is taken as in its first example, hundreds of times in all: the first
//! example of a space is its smallest.

pub mod compressor;
pub mod dataset;
pub mod launcher;
pub mod optimizer;
pub mod space;
pub mod timesteps;

mod subject;
mod workbench;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use litesnn_framework::plugin::{Descriptor, Kind};
pub use subject::GENERAL;
use subject::Subject;

/// A rule.
#[derive(Clone, Copy)]
pub struct Law {
    /// Its name.
    pub name: &'static str,
    /// What it says, as a sentence.
    pub says: &'static str,
    check: fn(&Subject) -> Kept,
}

impl fmt::Debug for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.says)
    }
}

/// What a plugin is checked beside.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Other plugins: those that it is composed with, and those that a search needs.
    pub plugins: Vec<&'static Descriptor>,
    /// Where data sets are looked for.
    pub data: Vec<PathBuf>,
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The plugin keeps the rule.
    Kept,
    /// The check could not be made here, and why.
    Skipped(String),
}

/// A broken rule.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The plugin: kind and name.
    pub plugin: String,
    /// The rule.
    pub law: Law,
    /// What was expected.
    pub expected: String,
    /// What happened.
    pub found: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { plugin, law, expected, found } = self;
        writeln!(f, "{plugin} breaks the rule `{}`: {}", law.name, law.says)?;
        write!(f, "  expected: {expected}\n  found:    {found}")
    }
}

impl std::error::Error for Broken {}

/// One rule for one plugin.
#[derive(Debug, Clone)]
pub struct Check {
    subject: Subject,
    law: Law,
}

impl Check {
    /// `compressor::score-prune::same-seed`
    pub fn name(&self) -> String {
        format!("{}::{}::{}", self.subject.plugin.kind, self.subject.plugin.name, self.law.name)
    }

    /// The rule.
    pub fn law(&self) -> &Law {
        &self.law
    }

    /// Makes the check. A panic of the plugin breaks the rule.
    pub fn run(&self) -> Result<Verdict, Broken> {
        let plugin = self.subject.plugin;
        let broken = |expected, found| Broken {
            plugin: format!("{} `{}`", plugin.kind, plugin.name),
            law: self.law,
            expected,
            found,
        };
        match guarded(|| (self.law.check)(&self.subject)) {
            Ok(Ok(())) => Ok(Verdict::Kept),
            Ok(Err(Stop::Skipped(why))) => Ok(Verdict::Skipped(why)),
            Ok(Err(Stop::Broken { expected, found })) => Err(broken(expected, found)),
            Err(panic) => Err(broken("no panic".into(), format!("it panicked: {panic}"))),
        }
    }
}

/// The checks of a plugin of any kind.
pub fn checks(plugin: &'static Descriptor, beside: &Surroundings) -> Vec<Check> {
    let subject = Subject { plugin, beside: beside.clone() };
    let laws = GENERAL.iter().chain(laws(plugin.kind));
    laws.map(|law| Check { subject: subject.clone(), law: *law }).collect()
}

/// The rules of one kind, beside the general ones.
pub fn laws(kind: Kind) -> &'static [Law] {
    match kind {
        Kind::Dataset => dataset::LAWS,
        Kind::Space => space::LAWS,
        Kind::Compressor => compressor::LAWS,
        Kind::Timesteps => timesteps::LAWS,
        Kind::Optimizer => optimizer::LAWS,
        Kind::Launcher => launcher::LAWS,
    }
}

/// Why a check ended early.
enum Stop {
    Broken { expected: String, found: String },
    Skipped(String),
}

/// The outcome of a check.
type Kept<T = ()> = Result<T, Stop>;

fn broken(expected: impl Into<String>, found: impl Into<String>) -> Stop {
    Stop::Broken { expected: expected.into(), found: found.into() }
}

/// Ends the check unless `holds`.
fn require(holds: bool, expected: impl Into<String>, found: impl Into<String>) -> Kept {
    if holds { Ok(()) } else { Err(broken(expected, found)) }
}

/// Runs `work`; the first line of a panic is the error, without the stack of a refused tensor
/// operation.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("without a word");
        let refused = text.split_once("Torch(\"").map_or(text, |(_, refused)| refused);
        refused.split("\\n").next().unwrap_or(refused).lines().next().unwrap_or_default().to_owned()
    })
}
