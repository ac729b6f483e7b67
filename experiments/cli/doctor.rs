//! `litesnn doctor`: what this program finds on this machine.

use litesnn_framework::ground::{counted, device, threads};

use crate::arguments::{Doctor, data_store};
use crate::exit::{Exit, Failure};
use crate::output::out;

pub fn doctor(options: &Doctor) -> Result<Exit, Failure> {
    let threads = threads::settle_beside_others(None);
    let choice = device::choose(&options.device)?;
    out!("program   litesnn {}", env!("CARGO_PKG_VERSION"));
    let seen = match options.device.as_str() {
        "cpu" => "CUDA not looked for".to_owned(),
        _ => format!("{} visible", counted(device::cuda_devices(), "CUDA device")),
    };
    out!("libtorch  {}, {seen}", device::libtorch());
    out!("device    {} ({})", device::name(choice.device), choice.reason);
    out!("hardware  {}", device::hardware(choice.device));
    out!("threads   {} ({})", threads.count, threads.reason);
    for folder in data_store().folders() {
        let state = if folder.is_dir() { "there" } else { "not there" };
        out!("data      {} ({state})", folder.display());
    }
    Ok(Exit::Done)
}
