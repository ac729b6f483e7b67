//! `litesnn completions`: a script for a shell.

use clap::CommandFactory;

use crate::arguments::{Arguments, Completions};
use crate::exit::{Exit, Failure};

pub fn completions(options: &Completions) -> Result<Exit, Failure> {
    clap_complete::generate(options.shell, &mut Arguments::command(), "litesnn", &mut std::io::stdout());
    Ok(Exit::Done)
}
