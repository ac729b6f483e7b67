//! `litesnn doctor`: what this program finds on this machine.

use litesnn_framework::ground::{counted, device};

use crate::arguments::{Doctor, data_store};
use crate::exit::{Exit, Failure};

pub fn doctor(options: &Doctor) -> Result<Exit, Failure> {
    let choice = device::choose(&options.device)?;
    println!("program   litesnn {}", env!("CARGO_PKG_VERSION"));
    let seen = match options.device.as_str() {
        "cpu" => "CUDA not looked for".to_owned(),
        _ => format!("{} visible", counted(device::cuda_devices(), "CUDA device")),
    };
    println!("libtorch  {}, {seen}", device::libtorch());
    println!("device    {} ({})", device::name(choice.device), choice.reason);
    println!("hardware  {}", device::hardware(choice.device));
    println!("threads   {}", tch::get_num_threads());
    for folder in data_store().folders() {
        let state = if folder.is_dir() { "there" } else { "not there" };
        println!("data      {} ({state})", folder.display());
    }
    Ok(Exit::Done)
}
