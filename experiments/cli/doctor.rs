//! `litesnn doctor`: what this program finds on this machine.

use litesnn_framework::ground::{counted, device};

use crate::arguments::{Doctor, data_store};
use crate::exit::{Exit, Failure};

pub fn doctor(options: &Doctor) -> Result<Exit, Failure> {
    let choice = device::choose(&options.device)?;
    println!("program   litesnn {}", env!("CARGO_PKG_VERSION"));
    println!(
        "libtorch  for tch 0.26, {} visible",
        counted(if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 }, "CUDA device")
    );
    println!("device    {} ({})", device::name(choice.device), choice.reason);
    println!("threads   {}", tch::get_num_threads());
    for folder in data_store().folders() {
        let state = if folder.is_dir() { "there" } else { "not there" };
        println!("data      {} ({state})", folder.display());
    }
    Ok(Exit::Done)
}
