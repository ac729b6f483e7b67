//! `litesnn report`: tables, figures and the page.

use crate::arguments::Report;
use crate::exit::{Exit, Failure};

pub fn report(options: &Report) -> Result<Exit, Failure> {
    let request = litesnn_reports::Request { runs: options.runs.clone(), out: options.out.clone() };
    let summary = litesnn_reports::report(&request)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string(), error.hint()))?;
    eprintln!("{} tables and {} figures; open the page:", summary.tables, summary.figures);
    println!("{}", summary.page.display());
    Ok(Exit::Done)
}
