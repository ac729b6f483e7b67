//! The record of a trial: its tables, written to and read from Parquet in this one place.
//!
//! | file | a row is | struct |
//! |---|---|---|
//! | `history.parquet` | one epoch of one stage | [`Epoch`] |
//! | `stages.parquet` | one stage of the trial | [`Stage`] |
//! | `weights.parquet` | one bin of the weights of a searched layer; absent without a search | [`WeightBin`] |
//! | `layers.parquet` | one layer of the final network | [`Layer`] |
//! | `result.parquet` | the trial (one row) | [`Outcome`] |
//!
//! Every table has a column `schema` with [`SCHEMA`]. A table of an older schema is read too: a column of words that it lacks is
//! empty, one of decimal numbers is NaN.

mod failed;
mod parquet;

pub use failed::Failed;
pub use parquet::{Row, from_bytes, read, to_bytes, write};

/// Version of the tables. A reader refuses a newer one.
pub const SCHEMA: u32 = 3;

/// File names in a trial folder.
pub mod files {
    /// Resolved manifest.
    pub const MANIFEST: &str = "manifest.toml";
    /// What the search decided.
    pub const DESIGN: &str = "design.toml";
    /// The design at the point where a sequential search went on with one architecture.
    pub const SETTLED: &str = "settled.toml";
    /// [`super::Epoch`] rows.
    pub const HISTORY: &str = "history.parquet";
    /// [`super::Stage`] rows.
    pub const STAGES: &str = "stages.parquet";
    /// [`super::WeightBin`] rows.
    pub const WEIGHTS: &str = "weights.parquet";
    /// [`super::Layer`] rows.
    pub const LAYERS: &str = "layers.parquet";
    /// One [`super::Outcome`] row; its presence means that the trial is finished.
    pub const RESULT: &str = "result.parquet";
    /// Folder of checkpoints.
    pub const CHECKPOINT: &str = "checkpoint";
    /// Log, one JSON object a line.
    pub const LOG: &str = "log.jsonl";
    /// Why a trial has no result ([`super::Failed`]); absent while it runs, and once it is finished.
    pub const FAILED: &str = "failed.json";
    /// Held while a process works here.
    pub const LOCK: &str = "lock";
}

parquet::table! {
    /// One epoch of one stage.
    pub struct Epoch {
        /// The name that the optimizer gave it; `retrain` after a search.
        pub stage: String,
        /// From 1.
        pub epoch: i64,
        /// Mean training loss: cross-entropy of the weights' pass.
        pub train_loss: f64,
        /// Training accuracy, 0..1.
        pub train_accuracy: f64,
        /// Cross-entropy on the validation split; NaN where it was not measured.
        pub validation_loss: f64,
        /// Accuracy on the validation split, 0..1; NaN where it was not measured.
        pub validation_accuracy: f64,
        /// Learning rate of the weights at the end of the epoch.
        pub learning_rate: f64,
        /// L_mem: expected bits of all searched weights (search), NaN elsewhere.
        pub memory_bits: f64,
        /// L_comp: expected Bit-SynOps an image over searched layers (search), NaN elsewhere.
        pub bit_syn_ops: f64,
        /// Mean expected bits of a weight over searched layers, NaN elsewhere.
        pub mean_bits: f64,
        /// Weight of each number of timesteps, from 1 (search); one-hot elsewhere.
        pub timestep_weights: Vec<f64>,
        /// Training images a second. A time column: not compared between runs.
        pub images_per_second: f64,
        /// Wall time of the epoch in seconds. A time column.
        pub seconds: f64,
        /// Time of the device in seconds: on a CPU the processor time of all threads, on a GPU the wall time, for which the
        /// trial holds it. A time column.
        pub device_seconds: f64,
    }
}

parquet::table! {
    /// One stage of a trial, in order. The search's stages together are the cost of designing.
    pub struct Stage {
        /// `search` (or its steps, `search-A`), `retrain`, `evaluate`.
        pub stage: String,
        /// Epochs; 0 for the evaluation.
        pub epochs: i64,
        /// Wall time in seconds. A time column.
        pub seconds: f64,
        /// Time of the device in seconds, see [`Epoch::device_seconds`]. A time column.
        pub device_seconds: f64,
        /// Device.
        pub device: String,
    }
}

parquet::table! {
    /// One bin of a distribution over the weights of a searched layer, at the end of the search. Bins without weights have no
    /// row.
    pub struct WeightBin {
        /// Name of the layer in the supernet.
        pub layer: String,
        /// `weight`: the trained tensor. `used`: what the layer computes with, all compressors applied. Otherwise a form that a
        /// compressor gives (`2 bits`).
        pub form: String,
        /// Standard deviation of the trained tensor: the unit of the edges.
        pub sigma: f64,
        /// Lower edge, in units of sigma. The outermost bins also hold what lies beyond them.
        pub low: f64,
        /// Upper edge, in units of sigma.
        pub high: f64,
        /// Weights whose value in this form lies in the bin.
        pub count: i64,
        /// Those of them that the layer uses as zero.
        pub removed: i64,
    }
}

parquet::table! {
    /// One layer of the final network.
    pub struct Layer {
        /// Order in the network, from 0.
        pub index: i64,
        /// Name.
        pub layer: String,
        /// `stem`, `cell0`, ..., `classifier`.
        pub place: String,
        /// Kernel height.
        pub kernel_height: i64,
        /// Kernel width.
        pub kernel_width: i64,
        /// Input channels.
        pub inputs: i64,
        /// Output channels.
        pub outputs: i64,
        /// Output map height.
        pub map_height: i64,
        /// Output map width.
        pub map_width: i64,
        /// Number of weights.
        pub weights: i64,
        /// Number of weights that are not zero, counted in the final weight itself.
        pub kept_weights: i64,
        /// Bits of a weight.
        pub bits: f64,
        /// density · bits · weights.
        pub memory_bits: f64,
        /// Dense multiply-accumulate operations of one pass.
        pub macs: f64,
        /// Mean spikes of an input neuron at each timestep, over the test split; empty where no spikes are read.
        pub firing_rate: Vec<f64>,
        /// Additions per image.
        pub syn_ops: f64,
        /// bits · SynOps.
        pub bit_syn_ops: f64,
        /// Multiplications per image.
        pub multiplications: f64,
    }
}

parquet::table! {
    /// A finished trial.
    pub struct Outcome {
        /// Name of the experiment.
        pub experiment: String,
        /// Row of the table.
        pub variant: String,
        /// Seed.
        pub seed: i64,
        /// Hash that names the trial's folder.
        pub hash: String,
        /// Hash of the same work without its seed: trials that differ in it are not comparable as repetitions.
        pub recipe: String,
        /// Profile of the manifest, or empty.
        pub profile: String,
        /// Swept keys and their values, `key=value`, joined by `, `; empty outside a sweep.
        pub point: String,
        /// The published table that the manifest says it reproduces (`experiment.reproduces`), or empty.
        pub reproduces: String,
        /// Settings that the command line or the environment changed, `key=value`, joined by `, `. Seeds, names and where data
        /// lie (`root`) are not among them.
        pub overrides: String,
        /// Title of the data set with its subset.
        pub dataset: String,
        /// Digest of the data.
        pub data_digest: String,
        /// Accuracy on the test split, 0..1.
        pub test_accuracy: f64,
        /// Cross-entropy on the test split.
        pub test_loss: f64,
        /// Number of timesteps.
        pub timesteps: i64,
        /// Bits of a weight, mean over all weights that are kept.
        pub mean_bits: f64,
        /// Number of weights.
        pub weights: i64,
        /// Number of weights that are kept.
        pub kept_weights: i64,
        /// Storage of all weights in bits.
        pub weight_bits: f64,
        /// Stored model in bytes: weights, normalisation, biases.
        pub model_size_bytes: f64,
        /// Additions per image.
        pub syn_ops: f64,
        /// Bit-SynOps per image.
        pub bit_syn_ops: f64,
        /// Multiplications per image.
        pub multiplications: f64,
        /// Energy per image in millijoule.
        pub energy_mj: f64,
        /// Operations of an ANN with the same kept weights: each does one multiplication and one addition at every place of its
        /// map (paper, Table 5).
        pub ann_operations: f64,
        /// Energy of these in millijoule.
        pub ann_energy_mj: f64,
        /// Wall time of the search, 0 without one. A time column.
        pub search_seconds: f64,
        /// Wall time of retraining. A time column.
        pub retrain_seconds: f64,
        /// Wall time of the final evaluation. A time column.
        pub evaluate_seconds: f64,
        /// Epochs of all search stages.
        pub search_epochs: i64,
        /// Epochs of retraining.
        pub retrain_epochs: i64,
        /// Time of the device in the search, see [`Epoch::device_seconds`]. A time column.
        pub search_device_seconds: f64,
        /// Device.
        pub device: String,
        /// Model of the processor, or of the GPU; empty where it is not known.
        pub hardware: String,
        /// Threads of libtorch.
        pub threads: i64,
        /// Peak resident memory of the process in bytes. A time column.
        pub peak_memory_bytes: i64,
        /// Version of the program.
        pub program: String,
        /// Revision of the program's source, with `+changes` where it was built from changed files; `unknown` outside of a clone.
        pub revision: String,
        /// When it finished, seconds since 1970. A time column.
        pub finished_at: i64,
    }
}
