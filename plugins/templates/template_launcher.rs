//! Trials one after another, each in a process of its own.
//!
//! Source: the simplest way there is. A trial that fails is left, and so are those that take its
//! design or that it teaches.

use std::collections::BTreeMap;

use litesnn_framework::launch::{Launch, Launcher, Record, Standing};
use litesnn_framework::{Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of `template-launcher`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateLauncher {}

register! {
    kind: Launcher,
    name: "template-launcher",
    settings: TemplateLauncher,
    version: 1,
    summary: "trials one after another, each in a process of its own",
    paper: "the usual practice",
    examples: ["[launcher.template-launcher]"],
    file: "template_launcher.rs",
}

#[typetag::serde(name = "template-launcher")]
impl Launcher for TemplateLauncher {
    fn launch(&self, launch: &Launch) -> Result<()> {
        for (index, task) in launch.tasks.iter().enumerate() {
            let ready = task.waits_for().all(|source| launch.finished(source));
            if ready && !launch.finished(index) && !launch.stopping() {
                launch.run(index)?;
            }
        }
        Ok(())
    }

    fn standings(&self, record: &Record) -> Result<BTreeMap<usize, Standing>> {
        record.standings_here()
    }

    fn cancel(&self, record: &Record) -> Result<usize> {
        record.cancel_here()
    }
}
