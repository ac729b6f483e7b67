//! The settings of `slurm`, and how the launcher refuses.

use std::num::{NonZeroU16, NonZeroU32};

use litesnn_framework::Error;
use litesnn_framework::plugin::checked;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::option::SbatchOption;

/// The name of the plugin.
pub const NAME: &str = "slurm";

/// Settings of `slurm`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slurm {
    /// Longest time of a task, as `sbatch --time` takes it; a trial resumes in the next one.
    #[serde(deserialize_with = "word")]
    pub time: String,
    /// Memory of a task, as `sbatch --mem` takes it: `4G`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_word")]
    pub memory: Option<String>,
    /// Processor cores of a task, which are the threads of its trial.
    #[serde(default = "one")]
    #[schemars(extend("x-unit" = "cores"))]
    pub cores: NonZeroU16,
    /// Other resources of a task, as `sbatch --gres` takes them: `gpu:1`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_word")]
    pub gres: Option<String>,
    /// Partition.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_word")]
    pub partition: Option<String>,
    /// Account.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_word")]
    pub account: Option<String>,
    /// Most tasks at once, %K of the array; without it as many as the cluster gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "tasks"))]
    pub at_once: Option<NonZeroU32>,
    /// Chains of trials in a task, one after another: for short ones.
    #[serde(default = "one")]
    #[schemars(extend("x-unit" = "chains"))]
    pub pack: NonZeroU16,
    /// Other options of sbatch, each as it would stand on a line of its own: `--qos=low`. Options that
    /// the launcher sets itself are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", extend("default" = []))]
    pub options: Vec<SbatchOption>,
    /// Lines of shell before the trial: `module load cuda`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
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

/// A word of a command line: not empty, and without blanks and control characters.
fn word<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let holds = |text: &String| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    checked(input, holds, "one word without blanks")
}

fn some_word<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    word(input).map(Some)
}

/// An error of the launcher.
pub fn wrong(message: String) -> Error {
    Error::Plugin { kind: "launcher", name: NAME.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_or_a_line_break_in_a_setting_is_refused() {
        for (key, value) in [("time", "1\n#SBATCH --wrap=x"), ("memory", "4 G"), ("partition", ""), ("gres", "gpu: 1")]
        {
            let mut settings = serde_json::json!({ "time": "1:00" });
            settings[key] = value.into();
            let error = serde_json::from_value::<Slurm>(settings).unwrap_err().to_string();
            assert!(error.contains(&format!("{value:?} is not one word without blanks")), "{error}");
        }
    }
}
