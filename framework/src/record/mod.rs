//! The record of a trial: its tables, written to and read from Parquet in this one place.
//!
//! | file | a row is | struct |
//! |---|---|---|
//! | `history.parquet` | one epoch of one stage | [`EpochRow`] |
//! | `stages.parquet` | one stage of the trial | [`StageRow`] |
//! | `candidates.parquet` | one architecture that the search tried; absent where it tried none | [`CandidateRow`] |
//! | `weights.parquet` | one bin of the weights of a searched layer; absent without a search, and where candidates were trained | [`WeightBin`] |
//! | `layers.parquet` | one layer of the final network | [`LayerRow`] |
//! | `exits.parquet` | one way for images to stop; absent without early exit | [`ExitRow`] |
//! | `result.parquet` | the trial (one row) | [`Outcome`] |
//!
//! Every table has a column `schema` with [`SCHEMA`]. A table of an older schema is read too: a
//! column of words that it lacks is empty, one of decimal numbers is NaN. Rows belong to a
//! [`Stage`], and trials of a sweep to a [`Point`].
//!
//! Beside its tables a trial has a [`Log`]. It keeps the [`Event`]s that a display is told of, so
//! that a process which watches the trial from outside can tell of the same ones ([`Follower`]).

pub mod attempt;
pub mod earlier;
mod end;
mod event;
mod failed;
pub mod files;
mod folder;
mod log;
mod parquet;
mod point;
mod row_name;
mod stage;
mod state;
mod tables;

pub use end::{End, How};
pub use event::{Event, Observer, TrialLabel};
pub use failed::Failed;
pub use folder::{TrialFolder, result, trial_folders};
pub use log::{Follower, Log};
pub use parquet::{Row, SCHEMA, from_bytes, read, to_bytes, write};
pub use point::{Point, order};
pub use row_name::{RowName, RowNames};
pub use stage::Stage;
pub use state::State;
pub use tables::{CandidateRow, EpochRow, ExitRow, LayerRow, Outcome, StageRow, WeightBin};
