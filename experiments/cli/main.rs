//! The `litesnn` command. Results go to stdout, everything else to stderr.

mod arguments;
mod display;
mod doctor;
mod exit;
mod explain;
mod plan;
mod plugins;
mod report;
mod run;

use clap::Parser;
use litesnn_plugins as _;

use arguments::{Arguments, Command};
use exit::{Exit, Failure};

fn main() -> std::process::ExitCode {
    litesnn_framework::device::prepare_process();
    // A refused tensor operation panics in tch; trials catch it, and the message reaches the user as an error.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = Arguments::parse();
    let outcome = std::panic::catch_unwind(|| dispatch(arguments)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Failure::internal(text.unwrap_or("unknown failure")))
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => failure.print().into(),
    }
}

fn dispatch(arguments: Arguments) -> Result<Exit, Failure> {
    litesnn_framework::plugin::check_registry()?;
    match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Plan(options) => plan::plan(&options),
        Command::Explain(options) => explain::explain(&options),
        Command::Report(options) => report::report(&options),
        Command::Plugins(options) => plugins::plugins(&options),
        Command::Doctor(options) => doctor::doctor(&options),
    }
}
