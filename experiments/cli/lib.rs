//! The `litesnn` command as a library, so that a program with plugins of its own is two `use` lines
//! and a call:
//!
//! ```text
//! use litesnn_plugins as _;       // the plugins of this repository, if it wants them
//! use my_plugins as _;            // its own: the linker drops a crate that nothing names
//!
//! fn main() -> std::process::ExitCode {
//!     litesnn::command()
//! }
//! ```
//!
//! Results go to stdout, everything else to stderr.

mod arguments;
mod bench;
mod bundled;
mod cancel;
mod completions;
mod conclusion;
mod cost;
mod data;
mod display;
mod doctor;
mod exit;
mod explain;
mod export;
mod gpu_check;
mod infer;
mod new;
mod output;
mod paper;
mod plan;
mod plugins;
mod report;
mod run;
mod runs;
mod schema;
mod trial;
mod work;

use clap::Parser;
use litesnn_framework::ground::threads;

use arguments::{Arguments, Command};
use exit::{Exit, Failure};

/// Runs the command line of this process, with the plugins that are linked into it, and ends the
/// process. Call it first thing in `main`.
pub fn command() -> ! {
    litesnn_framework::ground::device::prepare_process();
    // A refused tensor operation panics in tch; trials catch it, and the message reaches the user
    // as an error.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => answered(&answer).end(),
    };
    let outcome = std::panic::catch_unwind(|| dispatch(arguments)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Failure::internal(text.unwrap_or("unknown failure")))
    });
    output::conclude(outcome.unwrap_or_else(Failure::print)).end()
}

/// What clap itself says: help and the version on stdout, a mistake in the command line on stderr.
fn answered(answer: &clap::Error) -> Exit {
    let written = answer.print();
    match answer.use_stderr() {
        true => Exit::Usage,
        false => {
            output::remember(written);
            output::conclude(Exit::Done)
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<Exit, Failure> {
    let threads = match &arguments.command {
        Command::Run(options) => Some(options.threads),
        Command::Trial(options) => Some(options.threads),
        Command::Bench(options) => Some(options.threads),
        _ => None,
    };
    // One thread waits for no other.
    if threads.is_some_and(|threads| threads != Some(1)) {
        threads::sleep_while_waiting();
    }
    litesnn_framework::plugin::check_registry()?;
    match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Plan(options) => plan::plan(&options),
        Command::Explain(options) => explain::explain(&options),
        Command::Cost(options) => cost::cost(&options),
        Command::Export(options) => export::export(&options),
        Command::Infer(options) => infer::infer(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Report(options) => report::report(&options),
        Command::Plugins(options) => plugins::plugins(&options),
        Command::Data(options) => data::data(&options),
        Command::Schema => schema::schema(),
        Command::Doctor(options) => doctor::doctor(&options),
        Command::GpuCheck(options) => gpu_check::gpu_check(&options),
        Command::Runs(options) => runs::runs(&options),
        Command::Cancel(options) => cancel::cancel(&options),
        Command::Work(options) => work::work(&options),
        Command::Trial(options) => trial::trial(&options),
        Command::Completions(options) => completions::completions(&options),
    }
}
