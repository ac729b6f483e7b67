//! Launchers with faults.
//!
//! Each runs one trial after another, in processes of their own; what is wrong with it is its
//! setting.

use std::collections::BTreeMap;

use litesnn_framework::launch::{Launch, Launcher, Record, Standing};
use litesnn_framework::plugin::Descriptor;
use litesnn_framework::{Error, Result, descriptor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{each_breaks, keeps_all, with};

/// One trial after another.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Faulty {
    /// What is wrong with it.
    #[serde(default)]
    #[schemars(with = "String")]
    fault: Fault,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    LeavesTheLast,
    RunsAgain,
    LastFirst,
    IgnoresTeachers,
    StopsAtAFailure,
}

const FAULTY: Descriptor = descriptor! {
    kind: Launcher,
    name: "faulty",
    settings: Faulty,
    version: 1,
    summary: "one trial after another with a fault",
    paper: "none",
    examples: ["[launcher.faulty]"],
    file: "launcher.rs",
};

/// Each fault with the rules that it breaks.
pub const BROKEN: &[(&str, &[&str])] = &[
    ("leaves-the-last", &["every-trial", "failure"]),
    ("runs-again", &["every-trial"]),
    ("last-first", &["every-trial", "failure"]),
    ("ignores-teachers", &["failure"]),
    ("stops-at-a-failure", &["failure"]),
];

#[typetag::serde(name = "faulty")]
impl Launcher for Faulty {
    fn launch(&self, launch: &Launch) -> Result<()> {
        let mut order: Vec<usize> = (0..launch.tasks.len()).collect();
        match self.fault {
            Fault::LeavesTheLast => drop(order.pop()),
            Fault::LastFirst => order.reverse(),
            _ => {}
        }
        for index in order {
            let mut sources = launch.tasks[index].waits_for();
            let ready = match self.fault {
                Fault::LastFirst => true,
                Fault::IgnoresTeachers => launch.tasks[index].after.is_none_or(|source| launch.finished(source)),
                _ => sources.all(|source| launch.finished(source)),
            };
            if !ready || (launch.finished(index) && self.fault != Fault::RunsAgain) {
                continue;
            }
            launch.run(index)?;
            if self.fault == Fault::StopsAtAFailure && !launch.finished(index) {
                return Err(Error::Record("a trial failed".into()));
            }
        }
        Ok(())
    }

    fn standings(&self, _: &Record) -> Result<BTreeMap<usize, Standing>> {
        Ok(BTreeMap::new())
    }

    fn cancel(&self, _: &Record) -> Result<usize> {
        Ok(0)
    }
}

#[test]
fn a_launcher_without_fault_keeps_every_rule() {
    keeps_all(&FAULTY);
}

#[test]
fn a_launcher_with_a_fault_breaks_the_rules_about_it() {
    each_breaks(BROKEN, &[], |fault| with(&FAULTY, format!("[launcher.faulty]\nfault = \"{fault}\"")));
}
