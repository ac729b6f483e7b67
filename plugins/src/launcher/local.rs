//! Trials side by side on this machine, each in a process of its own.
//!
//! Source: GNU make's `--jobs`. The cores are divided among the trials, and the GPUs, where there
//! are several. A trial that fails or is killed harms no other one; Ctrl-C stops all of them at a
//! checkpoint. `litesnn run --jobs N` does the same without a section.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use litesnn_framework::launch::{Launch, Launcher, Pool, Record, Standing};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of `local`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// Trials at once.
    #[schemars(extend("x-unit" = "trials"))]
    pub jobs: NonZeroU16,
    /// Threads of a trial; without it the cores are divided among the trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "threads"))]
    pub threads: Option<NonZeroU16>,
}

register! {
    kind: Launcher,
    name: "local",
    settings: Local,
    version: 1,
    summary: "trials side by side on this machine, each in a process of its own",
    paper: "the usual practice; GNU make's --jobs",
    examples: ["[launcher.local]\njobs = 2", "[launcher.local]\njobs = 4\nthreads = 1"],
    file: "local.rs",
}

#[typetag::serde(name = "local")]
impl Launcher for Local {
    fn at_once(&self) -> usize {
        usize::from(self.jobs.get())
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        // What is said on the command line comes first.
        let threads = launch.record.threads.or(self.threads.map(NonZeroU16::get));
        Pool { jobs: self.at_once(), threads }.run(launch)
    }

    fn standings(&self, record: &Record) -> Result<BTreeMap<usize, Standing>> {
        record.standings_here()
    }

    fn cancel(&self, record: &Record) -> Result<usize> {
        record.cancel_here()
    }
}
