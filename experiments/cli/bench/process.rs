//! A work in a process of its own: the memory of a process is its own.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::OF_A_DESIGN;
use super::axis::{Axis, Point};
use crate::arguments::{Bench, BenchWork};
use crate::exit::{Exit, Failure};

/// What `litesnn bench WORK` with these options prints, at a point of an axis where one is given.
pub fn in_own_process(options: &Bench, work: BenchWork, at: Option<(&Axis, &Point)>) -> Result<Value, Failure> {
    let failed =
        |message: &str| Failure::new(Exit::Failed, format!("`litesnn bench {}`: {message}", work.name()), None);
    let program = std::env::current_exe().map_err(|error| failed(&error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["bench", work.name(), "--json", "--device", &options.device]);
    command.args(&options.manifest).args(options.layers.arguments());
    command.args(options.variant.iter().flat_map(|name| ["--variant", name]));
    let of_a_design = OF_A_DESIGN.contains(&work);
    if of_a_design {
        command.args(options.design.iter().flat_map(|file| [OsStr::new("--design"), file.as_os_str()]));
    }
    let neurons = work == BenchWork::Lif;
    let sizes = [
        ("repeats", Some(options.repeats)),
        ("batch", options.batch),
        ("size", options.size),
        ("timesteps", options.timesteps.filter(|_| of_a_design || neurons)),
        ("channels", options.channels.filter(|_| neurons)),
        ("threads", options.threads.map(i64::from)),
    ];
    for (option, value) in sizes {
        let replaced = at.is_some_and(|(axis, _)| axis.key == option);
        if let Some(value) = value.filter(|_| !replaced) {
            command.args([format!("--{option}"), value.to_string()]);
        }
    }
    if let Some((axis, point)) = at {
        command.args(axis.arguments(point));
    }
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(&error.to_string()))
}
