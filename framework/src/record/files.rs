//! File names in a trial folder.

/// Resolved manifest.
pub const MANIFEST: &str = "manifest.toml";
/// What the search decided.
pub const DESIGN: &str = "design.toml";
/// The masks that an optimizer has written ([`crate::network::Ticket`]); absent where none has.
pub const TICKET: &str = "design.ticket";
/// The design at the point where a sequential search went on with one architecture.
pub const SETTLED: &str = "settled.toml";
/// [`super::EpochRow`] rows.
pub const HISTORY: &str = "history.parquet";
/// [`super::StageRow`] rows.
pub const STAGES: &str = "stages.parquet";
/// [`super::CandidateRow`] rows; absent where the search tried no candidates.
pub const CANDIDATES: &str = "candidates.parquet";
/// [`super::WeightBin`] rows.
pub const WEIGHTS: &str = "weights.parquet";
/// [`super::LayerRow`] rows.
pub const LAYERS: &str = "layers.parquet";
/// [`super::ExitRow`] rows; absent without early exit.
pub const EXITS: &str = "exits.parquet";
/// The trained network as a packed file; absent until it is exported.
pub const NETWORK: &str = "network.packed";
/// One [`super::Outcome`] row; its presence means that the trial is finished.
pub const RESULT: &str = "result.parquet";
/// Folder of checkpoints.
pub const CHECKPOINT: &str = "checkpoint";
/// Log, one JSON object a line.
pub const LOG: &str = "log.jsonl";
/// Why a trial has no result ([`super::Failed`]); absent while it runs, and once it is finished.
pub const FAILED: &str = "failed.json";
/// The trial is run anew: results of the same work elsewhere are not taken for it
/// ([`super::earlier`]).
pub const AGAIN: &str = "again";
/// How many threads of libtorch the trial has, if nobody asks for another number.
pub const THREADS: &str = "threads";
/// Held while a process works here.
pub const LOCK: &str = "lock";

/// What a finished trial is made of beside its log and its result, in the order in which it is copied.
/// A trial without a search has no weights, one without early exit no exits, and few have a ticket or
/// candidates.
pub const PARTS: [&str; 9] = [TICKET, DESIGN, SETTLED, HISTORY, STAGES, CANDIDATES, WEIGHTS, LAYERS, EXITS];
