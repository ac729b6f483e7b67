//! `litesnn completions`: a script for a shell.

use clap::CommandFactory;

use crate::arguments::{Arguments, Completions};
use crate::exit::{Exit, Failure};
use crate::output::out;

pub fn completions(options: &Completions) -> Result<Exit, Failure> {
    // Into memory first: the generator ends the program where a write fails.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "litesnn", &mut script);
    out!("{}", String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Done)
}
