//! Tables as CSV.

use super::{Table, TableRow};
use crate::Error;
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

/// Every trial with every column of its result, in full precision.
pub fn trials(experiment: &ExperimentResults) -> Result<String, Error> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    for trial in experiment.trials() {
        writer.serialize(&trial.outcome).map_err(|error| Error::Csv(error.to_string()))?;
    }
    finish(writer)
}
