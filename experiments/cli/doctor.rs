//! `litesnn doctor`: what this program finds on this machine.

use std::path::Path;

use litesnn_framework::ground::{counted, device, kernel, threads};
use litesnn_framework::record::trial_folders;
use tch::Device;

use crate::arguments::{Doctor, cache, data_store};
use crate::bundled;
use crate::exit::{Exit, Failure};
use crate::output::out;
use crate::runs::size;

pub fn doctor(options: &Doctor) -> Result<Exit, Failure> {
    let threads = threads::settle_beside_others(None);
    let choice = device::choose(&options.device)?;
    let program = std::env::current_exe().map_or_else(|_| "not found".to_owned(), |path| path.display().to_string());
    out!("program   litesnn {} ({program})", env!("CARGO_PKG_VERSION"));
    let seen = match options.device.as_str() {
        "cpu" => "CUDA not looked for".to_owned(),
        _ => format!("{} visible", counted(device::cuda_devices(), "CUDA device")),
    };
    out!("libtorch  {}, {seen}", device::libtorch());
    out!("device    {} ({})", device::name(choice.device), choice.reason);
    out!("hardware  {}", device::hardware(choice.device));
    if choice.device != Device::Cpu {
        let none =
            || kernel::missing(choice.device).map(|why| format!("none, tensor operations in their place ({why})"));
        out!("kernels   {}", kernel::compiler(choice.device).or_else(none).unwrap_or_default());
    }
    out!("threads   {} ({})", threads.count, threads.reason);
    for folder in data_store().folders() {
        let state = if folder.is_dir() { "there" } else { "not there" };
        out!("data      {} ({state})", folder.display());
    }
    out!("manifests {}", bundled::folder().display());
    let runs = std::path::absolute(&options.runs).unwrap_or_else(|_| options.runs.clone());
    out!("runs      {} ({})", runs.display(), written(&runs, Some(trial_folders(&runs).len())));
    match cache() {
        Some(cache) => out!("cache     {} ({})", cache.display(), written(&cache, None)),
        None => out!("cache     none (no HOME, XDG_CACHE_HOME or LITESNN_CACHE)"),
    }
    Ok(Exit::Done)
}

/// How much a folder holds.
fn written(folder: &Path, trials: Option<usize>) -> String {
    if !folder.is_dir() {
        return "not there".into();
    }
    let trials = trials.map_or_else(String::new, |trials| format!("{}, ", counted(trials, "trial")));
    format!("{trials}{:.1} MB", size(folder) as f64 / 1e6)
}
