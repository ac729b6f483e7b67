//! The settings of `slurm`, and how the launcher refuses.

use std::num::{NonZeroU16, NonZeroU32};

use litesnn_framework::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the plugin.
pub const NAME: &str = "slurm";

/// Settings of `slurm`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slurm {
    /// Longest time of a task, as `sbatch --time` takes it; a trial resumes in the next one.
    pub time: String,
    /// Memory of a task, as `sbatch --mem` takes it: `4G`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Processor cores of a task, which are the threads of its trial.
    #[serde(default = "one")]
    #[schemars(extend("x-unit" = "cores"))]
    pub cores: NonZeroU16,
    /// Other resources of a task, as `sbatch --gres` takes them: `gpu:1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gres: Option<String>,
    /// Partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Most tasks at once, %K of the array; without it as many as the cluster gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "tasks"))]
    pub at_once: Option<NonZeroU32>,
    /// Chains of trials in a task, one after another: for short ones.
    #[serde(default = "one")]
    #[schemars(extend("x-unit" = "chains"))]
    pub pack: NonZeroU16,
    /// Other options of sbatch, each as it would stand on a line of its own: `--qos=low`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Lines of shell before the trial: `module load cuda`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// Time that a trial has to checkpoint before its task ends.
    #[serde(default = "two_minutes")]
    #[schemars(extend("x-unit" = "s"))]
    pub warning: NonZeroU16,
    /// Time between two looks at the queue.
    #[serde(default = "half_a_minute")]
    #[schemars(extend("x-unit" = "s"))]
    pub poll: NonZeroU16,
    /// Time after which a task that is gone without a result counts as lost.
    #[serde(default = "one_minute")]
    #[schemars(extend("x-unit" = "s"))]
    pub grace: u16,
    /// Times that one waiting run submits the same trial.
    #[serde(default = "five")]
    #[schemars(extend("x-unit" = "times"))]
    pub submissions: NonZeroU16,
}

const fn nonzero(number: u16) -> NonZeroU16 {
    match NonZeroU16::new(number) {
        Some(number) => number,
        None => NonZeroU16::MIN,
    }
}

fn one() -> NonZeroU16 {
    NonZeroU16::MIN
}

fn five() -> NonZeroU16 {
    nonzero(5)
}

fn half_a_minute() -> NonZeroU16 {
    nonzero(30)
}

fn one_minute() -> u16 {
    60
}

fn two_minutes() -> NonZeroU16 {
    nonzero(120)
}

impl Slurm {
    /// Settings are lines of a script: one that holds a line break would be another line.
    pub fn check(&self) -> Result<()> {
        let words = [
            Some(&self.time),
            self.memory.as_ref(),
            self.gres.as_ref(),
            self.partition.as_ref(),
            self.account.as_ref(),
        ];
        let lines = words.into_iter().flatten().chain(&self.options);
        match lines.clone().find(|line| line.chars().any(char::is_control)) {
            Some(line) => {
                Err(wrong(format!("`{}` holds a line break or another control character", line.escape_debug())))
            }
            None => Ok(()),
        }
    }
}

/// An error of the launcher.
pub fn wrong(message: String) -> Error {
    Error::Plugin { kind: "launcher", name: NAME.into(), message }
}

#[cfg(test)]
mod tests {
    use litesnn_framework::launch::Launcher;

    use super::*;

    #[test]
    fn a_line_break_in_a_setting_is_refused() {
        let text = "[slurm]\ntime = \"1:00\\n#SBATCH --wrap=x\"\n";
        let plugin: Box<dyn Launcher> =
            serde_json::from_value(serde_json::json!({ "slurm": { "time": "1\n2" } })).unwrap();
        assert!(format!("{plugin:?}").contains("1\\n2"), "{text}");
        let slurm: Slurm = serde_json::from_value(serde_json::json!({ "time": "1\n2" })).unwrap();
        assert!(slurm.check().unwrap_err().to_string().contains("`1\\n2` holds a line break"));
    }
}
