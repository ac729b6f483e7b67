//! Tables as CSV.

use super::Table;
use crate::Error;
use crate::trials::Experiment;

fn finish(writer: ::csv::Writer<Vec<u8>>) -> Result<String, Error> {
    let bytes = writer.into_inner().map_err(|error| Error::Csv(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::Csv(error.to_string()))
}

/// The table as it is shown.
pub fn render(table: &Table) -> Result<String, Error> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let failed = |error: ::csv::Error| Error::Csv(error.to_string());
    writer.write_record(&table.headings).map_err(failed)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(|cell| &cell.text)).map_err(failed)?;
    }
    finish(writer)
}

/// Every trial with every column of its result, in full precision.
pub fn trials(experiment: &Experiment) -> Result<String, Error> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    for trial in experiment.trials() {
        writer.serialize(&trial.outcome).map_err(|error| Error::Csv(error.to_string()))?;
    }
    finish(writer)
}
