//! `litesnn report`: tables, figures and the page.

use litesnn_reports::check::Check;

use crate::arguments::Report;
use crate::exit::{Exit, Failure};
use crate::output::{out, say};
use crate::paper;

pub fn report(options: &Report) -> Result<Exit, Failure> {
    let paper = paper::manifests();
    let request = litesnn_reports::Request { runs: options.runs.clone(), out: options.out.clone(), paper };
    let summary = litesnn_reports::report(&request)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string(), error.hint()))?;
    say!("{} tables and {} figures; open the page:", summary.tables, summary.figures);
    out!("{}", summary.page.display());
    if options.check { judge(&summary.check) } else { Ok(Exit::Done) }
}

/// Says of every published number whether it was reproduced.
fn judge(check: &Check) -> Result<Exit, Failure> {
    for verdict in &check.verdicts {
        out!("{} {}", if verdict.inside { "inside " } else { "outside" }, verdict.text);
    }
    for row in &check.unchecked {
        say!("not checked: {row}");
    }
    if check.verdicts.is_empty() {
        return Err(Failure::new(
            Exit::NothingToCheck,
            "nothing was checked: no result has the paper's settings".into(),
            Some(
                "run a manifest of experiments/paper as it is, without a profile, on the paper's data; above stands how each \
                 result differs"
                    .into(),
            ),
        ));
    }
    let outside: Vec<&str> = check.outside().map(|verdict| verdict.text.as_str()).collect();
    if !outside.is_empty() {
        let message = format!(
            "{} of {} numbers are outside of their tolerance:\n{}",
            outside.len(),
            check.verdicts.len(),
            outside.join("\n")
        );
        return Err(Failure::new(Exit::OutsideTolerance, message, None));
    }
    say!("all {} numbers are within their tolerance", check.verdicts.len());
    Ok(Exit::Done)
}
