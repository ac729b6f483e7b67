//! Tables as CSV.

use litesnn_framework::record::{Outcome, Row};
use serde_json::Value;

use super::{Table, TableRow};
use crate::Error;
use crate::metric::{self, Metric};
use crate::trials::ExperimentResults;

fn finish(writer: ::csv::Writer<Vec<u8>>) -> Result<String, Error> {
    let bytes = writer.into_inner().map_err(|error| Error::Csv(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::Csv(error.to_string()))
}

/// The table as it is shown, with the block that a row stands in as the first column where there
/// are blocks.
pub fn render(table: &Table) -> Result<String, Error> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let failed = |error: ::csv::Error| Error::Csv(error.to_string());
    let mut block = table.rows.iter().any(|row| matches!(row, TableRow::Block(_))).then(String::new);
    let heading = block.as_ref().map(|_| "Block");
    writer.write_record(heading.into_iter().chain(table.headings.iter().map(String::as_str))).map_err(failed)?;
    for row in &table.rows {
        match row {
            TableRow::Block(name) => block = Some(name.clone()),
            TableRow::Cells(cells) => {
                let cells = cells.iter().map(|cell| cell.text.as_str());
                writer.write_record(block.as_deref().into_iter().chain(cells)).map_err(failed)?;
            }
        }
    }
    finish(writer)
}

/// Every trial with every column of its result, in full precision. In front of what the search
/// cost stands what search and retraining cost together.
pub fn trials(experiment: &ExperimentResults) -> Result<String, Error> {
    let failed = |error: ::csv::Error| Error::Csv(error.to_string());
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let whole = |column: &str| WHOLE.iter().find(|(search, ..)| *search == column);
    let header =
        Outcome::COLUMNS.iter().flat_map(|(column, _)| whole(column).map(|it| it.1).into_iter().chain([*column]));
    writer.write_record(header).map_err(failed)?;
    for trial in experiment.trials() {
        let outcome = serde_json::to_value(&trial.outcome).map_err(|error| Error::Csv(error.to_string()))?;
        let cells = Outcome::COLUMNS.iter().flat_map(|(column, _)| {
            let sum = whole(column).map(|(.., metric)| number(metric, (metric.value)(&trial.outcome)));
            sum.into_iter().chain([cell(&outcome[*column])])
        });
        writer.write_record(cells).map_err(failed)?;
    }
    finish(writer)
}

/// Columns of the search's cost, the column of search and retraining together, and its value.
const WHOLE: [(&str, &str, Metric); 3] = [
    ("search_seconds", "search_retrain_seconds", metric::TIME),
    ("search_epochs", "search_retrain_epochs", metric::EPOCHS),
    ("search_device_seconds", "search_retrain_device_seconds", metric::DEVICE_TIME),
];

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NaN".to_owned(),
        Value::String(text) => text.clone(),
        // No point of a sweep.
        Value::Array(values) if values.is_empty() => String::new(),
        other => other.to_string(),
    }
}

/// A sum: of times with a fraction, of epochs without one.
fn number(metric: &Metric, value: f64) -> String {
    match (value.is_finite(), metric.is_time) {
        (false, _) => "NaN".to_owned(),
        (true, true) => Value::from(value).to_string(),
        (true, false) => value.to_string(),
    }
}
