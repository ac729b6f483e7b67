//! `litesnn doctor`: what this program finds on this machine.

use litesnn_framework::ground::{counted, device, threads};

use crate::arguments::{Doctor, data_store};
use crate::exit::{Exit, Failure};
use crate::output::out;

pub fn doctor(options: &Doctor) -> Result<Exit, Failure> {
    threads::settle(None);
    let choice = device::choose(&options.device)?;
    out!("program   litesnn {}", env!("CARGO_PKG_VERSION"));
    out!(
        "libtorch  for tch 0.26, {} visible",
        counted(if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 }, "CUDA device")
    );
    out!("device    {} ({})", device::name(choice.device), choice.reason);
    out!("threads   {}", tch::get_num_threads());
    for folder in data_store().folders() {
        let state = if folder.is_dir() { "there" } else { "not there" };
        out!("data      {} ({state})", folder.display());
    }
    Ok(Exit::Done)
}
