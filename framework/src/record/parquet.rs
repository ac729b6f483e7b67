//! Rows of plain structs to Parquet and back.
//!
//! Parquet has no checksum of its own that every reader looks at. So the file's metadata has the
//! BLAKE3 digest of all its bytes, under the key `litesnn-blake3`; where the digest itself stands,
//! zeros are hashed. A flipped bit anywhere is noticed. Files of schema 2 and older have none.

use std::ops::Range;
use std::panic::catch_unwind;
use std::path::Path;

use polars::io::parquet::write::KeyValueMetadata;
use polars::prelude::*;
use serde_json::Value;

use crate::ground::file::{read_bounded, write_atomically};
use crate::{Error, Result};

/// Version of the tables. A reader refuses a newer one.
pub const SCHEMA: u32 = 9;

/// A struct that is a row of a table; declared with the `table!` macro of this module.
pub trait Row: Sized {
    /// What a row is: the documentation of the struct, in one line.
    const ABOUT: &'static str;
    /// Name and documentation of each column, in the order of the table. A column that holds a time
    /// or a memory, which differs between equal runs, is documented as "A time column".
    const COLUMNS: &'static [(&'static str, &'static str)];

    /// The columns of a table with these rows.
    fn to_columns(rows: &[Self]) -> Vec<Column>;
    /// The rows of a frame with these columns. An `older` frame may lack those that have a value
    /// for that.
    fn from_frame(frame: &DataFrame, older: bool) -> PolarsResult<Vec<Self>>;
    /// The row that serde wrote as a JSON object.
    fn of_json(object: &serde_json::Value) -> Option<Self>;
}

/// A type of field.
pub(super) trait Field: Sized {
    fn column(name: &str, values: Vec<&Self>) -> Column;
    fn values(column: &Column) -> PolarsResult<Vec<Self>>;
    /// The value that serde wrote as JSON.
    fn of_json(value: &Value) -> Option<Self>;

    /// What stands for a column that an older table lacks.
    fn absent() -> Option<Self> {
        None
    }

    /// The column of a frame.
    fn read(frame: &DataFrame, name: &str, older: bool) -> PolarsResult<Vec<Self>> {
        match (frame.column(name), Self::absent()) {
            (Err(_), Some(_)) if older => Ok((0..frame.height()).filter_map(|_| Self::absent()).collect()),
            (column, _) => Self::values(column?),
        }
    }
}

fn missing(column: &Column) -> PolarsError {
    PolarsError::NoData(format!("column `{}` has an empty cell", column.name()).into())
}

impl Field for i64 {
    fn of_json(value: &Value) -> Option<Self> {
        value.as_i64()
    }
    fn column(name: &str, values: Vec<&Self>) -> Column {
        Column::new(name.into(), values.into_iter().copied().collect::<Vec<i64>>())
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        column.i64()?.iter().map(|value| value.ok_or_else(|| missing(column))).collect()
    }
}

/// Written as 1 and 0.
impl Field for bool {
    fn of_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
    fn column(name: &str, values: Vec<&Self>) -> Column {
        i64::column(name, values.into_iter().map(|value| if *value { &1 } else { &0 }).collect())
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        Ok(i64::values(column)?.into_iter().map(|value| value != 0).collect())
    }
    fn absent() -> Option<Self> {
        Some(false)
    }
}

impl Field for f64 {
    fn of_json(value: &Value) -> Option<Self> {
        // JSON has no NaN: it is written as null.
        if value.is_null() { Some(f64::NAN) } else { value.as_f64() }
    }
    fn column(name: &str, values: Vec<&Self>) -> Column {
        Column::new(name.into(), values.into_iter().copied().collect::<Vec<f64>>())
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        column.f64()?.iter().map(|value| value.ok_or_else(|| missing(column))).collect()
    }
    fn absent() -> Option<Self> {
        Some(f64::NAN)
    }
}

impl Field for String {
    fn of_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn column(name: &str, values: Vec<&Self>) -> Column {
        Column::new(name.into(), values.into_iter().map(String::as_str).collect::<Vec<&str>>())
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        column.str()?.iter().map(|value| value.map(str::to_owned).ok_or_else(|| missing(column))).collect()
    }
    fn absent() -> Option<Self> {
        Some(String::new())
    }
}

impl Field for Vec<f64> {
    fn of_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(f64::of_json).collect()
    }
    fn column(name: &str, values: Vec<&Self>) -> Column {
        let mut builder =
            ListPrimitiveChunkedBuilder::<Float64Type>::new(name.into(), values.len(), 8, DataType::Float64);
        for value in values {
            builder.append_slice(value);
        }
        builder.finish().into_column()
    }
    fn values(column: &Column) -> PolarsResult<Vec<Self>> {
        let lists = column.list()?;
        (0..lists.len())
            .map(|index| {
                let cell = lists.get_as_series(index).ok_or_else(|| missing(column))?;
                cell.f64()?.iter().map(|value| value.ok_or_else(|| missing(column))).collect()
            })
            .collect()
    }
}

/// Declares a row struct with its columns: one per field, of the field's name. The documentation of
/// the struct and of its fields is kept as data, since `docs/record.md` shows it to users.
macro_rules! table {
    ($(#[doc = $about:literal])* pub struct $name:ident {
        $($(#[doc = $doc:literal])* pub $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $type),* }

        impl $crate::record::Row for $name {
            // Each line of a documentation begins with a space, which joins it to the line before.
            const ABOUT: &'static str = concat!($($about),*).trim_ascii();
            const COLUMNS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), concat!($($doc),*).trim_ascii())),*];

            fn to_columns(rows: &[Self]) -> Vec<polars::prelude::Column> {
                vec![$($crate::record::parquet::Field::column(
                    stringify!($field), rows.iter().map(|row| &row.$field).collect())),*]
            }
            fn from_frame(
                frame: &polars::prelude::DataFrame,
                older: bool,
            ) -> polars::prelude::PolarsResult<Vec<Self>> {
                $(let mut $field = <$type as $crate::record::parquet::Field>::read(
                    frame, stringify!($field), older)?.into_iter();)*
                Ok((0..frame.height())
                    .map(|_| $name { $($field: $field.next().expect("columns of a frame are equally long")),* })
                    .collect())
            }
            fn of_json(object: &serde_json::Value) -> Option<Self> {
                Some($name { $($field: $crate::record::parquet::Field::of_json(object.get(stringify!($field))?)?),* })
            }
        }
    };
}
pub(super) use table;

/// The key of the digest in a file's metadata.
const DIGEST: &str = "litesnn-blake3";
/// The digest in hexadecimal.
const DIGITS: usize = 64;
/// The first schema whose files have a digest.
const DIGEST_SINCE: u32 = 3;
/// No table of a trial is larger: what is, is not read. (A row of a history has a hundred bytes.)
const LARGEST: u64 = 1 << 30;

/// Writes `rows` to `path`; the file appears whole or not at all.
pub fn write<R: Row>(path: &Path, rows: &[R]) -> Result<()> {
    write_atomically(path, &to_bytes(rows)?)
}

/// The content of a file with `rows`.
pub fn to_bytes<R: Row>(rows: &[R]) -> Result<Vec<u8>> {
    let mut columns = vec![Column::new("schema".into(), vec![SCHEMA; rows.len()])];
    columns.extend(R::to_columns(rows));
    let mut frame = DataFrame::new(rows.len(), columns)?;
    let mut bytes = Vec::new();
    let metadata = KeyValueMetadata::from_static(vec![(DIGEST.to_owned(), "0".repeat(DIGITS))]);
    // A table is a few kilobytes of columns: to make ready for decompressing each takes longer than to
    // read it.
    let writer = ParquetWriter::new(&mut bytes).with_compression(ParquetCompression::Uncompressed);
    writer.with_key_value_metadata(Some(metadata)).finish(&mut frame)?;
    let place = digest_place(&bytes).expect("the key was just written");
    let digest = blake3::hash(&bytes).to_hex();
    bytes[place].copy_from_slice(digest.as_bytes());
    Ok(bytes)
}

/// Where the digest stands: some bytes behind the last key of that name, which the metadata at the
/// end of the file has.
fn digest_place(bytes: &[u8]) -> Option<Range<usize>> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let key = bytes.windows(DIGEST.len()).rposition(|window| window == DIGEST.as_bytes())? + DIGEST.len();
    // Between key and value stand the type of the field and the length of the value: two or three
    // bytes.
    let start = (key..key + 4)
        .find(|start| bytes.get(*start..start + DIGITS).is_some_and(|digits| digits.iter().all(is_digit)))?;
    Some(start..start + DIGITS)
}

/// Reads a table; an error names the file.
pub fn read<R: Row>(path: &Path) -> Result<Vec<R>> {
    from_bytes(&read_bounded(path, LARGEST).map_err(Error::file("read", path))?, path)
}

/// The rows in the content of `path`.
pub fn from_bytes<R: Row>(bytes: &[u8], path: &Path) -> Result<Vec<R>> {
    let content = |message: String, hint: &str| Error::Content { path: path.into(), message, hint: hint.into() };
    let damaged = |message: String| {
        content(format!("is not a whole table of the record: {message}"), "move it away and run the manifest again")
    };
    let place = digest_place(bytes);
    if let Some(place) = place.clone() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..place.start]).update("0".repeat(DIGITS).as_bytes()).update(&bytes[place.end..]);
        if hasher.finalize().to_hex().as_bytes() != &bytes[place] {
            return Err(damaged("its digest does not match".into()));
        }
    }
    // The library checks less of a foreign file than it should, and panics where a check would have
    // to be. A table is so small that to wake threads for its columns would take longer than to read
    // them.
    let reader = || ParquetReader::new(std::io::Cursor::new(bytes)).read_parallel(ParallelStrategy::None).finish();
    let frame = catch_unwind(reader)
        .map_err(|_| damaged("its pages contradict its metadata".into()))?
        .map_err(|error| damaged(error.to_string()))?;
    let newest = frame
        .column("schema")
        .and_then(|column| column.u32().map(|schema| schema.max()))
        .map_err(|error| damaged(error.to_string()))?;
    if newest.is_some_and(|schema| schema > SCHEMA) {
        return Err(content(
            format!("has schema {}, and this program reads up to {SCHEMA}", newest.unwrap_or(0)),
            "upgrade litesnn",
        ));
    }
    if place.is_none() && newest.is_none_or(|schema| schema >= DIGEST_SINCE) {
        return Err(damaged("it has no digest".into()));
    }
    R::from_frame(&frame, newest.is_some_and(|schema| schema < SCHEMA)).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::{EpochRow, Outcome, Stage};
    use super::*;

    fn epoch(number: i64) -> EpochRow {
        EpochRow {
            stage: Stage::Search("search".into()),
            epoch: number,
            train_loss: 1.5,
            train_accuracy: 0.5,
            validation_loss: f64::NAN,
            validation_accuracy: 0.25,
            learning_rate: 0.1,
            memory_bits: 1e6,
            bit_syn_ops: 2e6,
            mean_bits: 2.5,
            timestep_weights: vec![0.25; 4],
            images_per_second: 100.0,
            seconds: 1.0,
            device_seconds: 2.0,
        }
    }

    #[test]
    fn rows_survive_writing_and_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.parquet");
        write(&path, &[epoch(1), epoch(2)]).unwrap();
        let rows: Vec<EpochRow> = read(&path).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].epoch, 2);
        assert!(rows[1].validation_loss.is_nan());
        assert_eq!(rows[0].timestep_weights, vec![0.25; 4]);
        write::<EpochRow>(&path, &[]).unwrap();
        assert_eq!(read::<EpochRow>(&path).unwrap(), vec![]);
    }

    #[test]
    fn every_column_is_documented_in_the_order_of_the_table() {
        let columns = EpochRow::to_columns(&[]);
        let names: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
        assert_eq!(names, EpochRow::COLUMNS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        assert_eq!(EpochRow::ABOUT, "One epoch of one stage.");
        let (_, about) = EpochRow::COLUMNS[EpochRow::COLUMNS.len() - 1];
        assert!(about.starts_with("Time of the device in seconds") && about.ends_with("A time column."), "{about}");
    }

    #[test]
    fn a_row_survives_json_with_what_json_has_no_number_for() {
        let row = EpochRow::of_json(&serde_json::to_value(epoch(3)).unwrap()).unwrap();
        assert!(row.validation_loss.is_nan());
        assert_eq!(EpochRow { validation_loss: 0.0, ..row }, EpochRow { validation_loss: 0.0, ..epoch(3) });
        assert_eq!(EpochRow::of_json(&serde_json::json!({ "stage": "search" })), None);
    }

    /// A table of that schema without some columns.
    fn write_older<R: Row>(path: &Path, rows: &[R], without: &[&str], schema: u32) {
        let mut columns = R::to_columns(rows);
        columns.retain(|found| !without.contains(&found.name().as_str()));
        columns.push(Column::new("schema".into(), vec![schema; rows.len()]));
        let mut frame = DataFrame::new(rows.len(), columns).unwrap();
        let metadata = (schema >= DIGEST_SINCE)
            .then(|| KeyValueMetadata::from_static(vec![(DIGEST.to_owned(), "0".repeat(DIGITS))]));
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).with_key_value_metadata(metadata).finish(&mut frame).unwrap();
        if let Some(place) = digest_place(&bytes) {
            let digest = blake3::hash(&bytes).to_hex();
            bytes[place].copy_from_slice(digest.as_bytes());
        }
        std::fs::write(path, bytes).unwrap();
    }

    /// A column that came later is documented with the last schema that lacks it, and a result without
    /// it is finished all the same.
    #[test]
    fn an_older_result_is_read_without_the_columns_that_came_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.parquet");
        let later: Vec<&str> =
            Outcome::COLUMNS.iter().filter(|(_, about)| about.contains("schema")).map(|(name, _)| *name).collect();
        assert!(["by_levels", "file_bytes", "test_images"].iter().all(|name| later.contains(name)), "{later:?}");
        let whole = Outcome { seed: 3, by_levels: true, file_bytes: 9.0, ..Outcome::default() };
        write_older(&path, &[whole], &later, SCHEMA - 1);
        let found = &read::<Outcome>(&path).unwrap()[0];
        assert_eq!((found.seed, found.by_levels, found.file_bytes.is_nan()), (3, false, true));
    }

    #[test]
    fn a_table_of_an_older_schema_lacks_what_came_later_and_one_of_this_schema_may_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.parquet");
        let rows = [epoch(1), epoch(2)];
        let write_without = |column: &str, schema: u32| write_older(&path, &rows, &[column], schema);
        write_without("device_seconds", SCHEMA - 1);
        let rows: Vec<EpochRow> = read(&path).unwrap();
        assert!(rows[1].device_seconds.is_nan() && rows[1].epoch == 2);
        write_without("stage", SCHEMA - 1);
        assert_eq!(read::<EpochRow>(&path).unwrap()[0].stage.name(), "");
        write_without("epoch", SCHEMA - 1);
        assert!(read::<EpochRow>(&path).unwrap_err().to_string().contains("epoch"));
        write_without("device_seconds", SCHEMA);
        assert!(read::<EpochRow>(&path).unwrap_err().to_string().contains("device_seconds"));
        write_without("", SCHEMA + 1);
        assert!(read::<EpochRow>(&path).unwrap_err().to_string().contains("reads up to"));
    }

    #[test]
    fn a_damaged_table_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.parquet");
        write(&path, &[epoch(1)]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            let error = from_bytes::<EpochRow>(bytes, &path).unwrap_err().to_string();
            assert!(error.contains("history.parquet` is not a whole table of the record"), "{error}");
        };
        refused(&whole[..whole.len() / 2]);
        refused(&[]);
        // A bit of every byte, the digest and its key among them.
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << (index % 8);
            refused(&bytes);
        }
    }

    #[test]
    fn a_table_of_this_schema_without_a_digest_is_foreign() {
        let mut columns = EpochRow::to_columns(&[epoch(1)]);
        columns.push(Column::new("schema".into(), vec![SCHEMA]));
        let mut frame = DataFrame::new(1, columns).unwrap();
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        let error = from_bytes::<EpochRow>(&bytes, Path::new("a.parquet")).unwrap_err().to_string();
        assert!(error.contains("it has no digest"), "{error}");
    }
}
