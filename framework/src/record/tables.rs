//! The tables: what a row of each one is.

use super::parquet::table;
use super::{Point, RowNames, Stage};

table! {
    /// One epoch of one stage.
    pub struct EpochRow {
        /// The name that the optimizer gave it; `retrain` after a search.
        pub stage: Stage,
        /// Number of the epoch in its stage, from 1.
        pub epoch: i64,
        /// Mean training loss, of the pass that trains the weights.
        pub train_loss: f64,
        /// Training accuracy, 0..1.
        pub train_accuracy: f64,
        /// Cross-entropy on the validation split; NaN where nothing was validated.
        pub validation_loss: f64,
        /// Accuracy on the validation split, 0..1; NaN where nothing was validated.
        pub validation_accuracy: f64,
        /// Learning rate of the weights at the end of the epoch.
        pub learning_rate: f64,
        /// L_mem, the expected bits of all searched weights; NaN outside of a search.
        pub memory_bits: f64,
        /// L_comp, the expected Bit-SynOps per image of all searched layers; NaN outside of a
        /// search.
        pub bit_syn_ops: f64,
        /// Expected bits of a weight, mean over the searched layers; NaN outside of a search.
        pub mean_bits: f64,
        /// Weight of each number of timesteps, from 1 timestep on; one-hot outside of a search.
        pub timestep_weights: Vec<f64>,
        /// Training images per second. A time column.
        pub images_per_second: f64,
        /// Wall time of the epoch in seconds. A time column.
        pub seconds: f64,
        /// Time of the device in seconds: on a CPU the processor time of all threads, on a GPU the
        /// wall time during which the trial holds the GPU. A time column.
        pub device_seconds: f64,
    }
}

table! {
    /// One stage of a trial, in the order in which the stages ran. The stages of the search
    /// together are the cost of designing.
    pub struct StageRow {
        /// `search` (or its steps, `search-A`), `deciding`, `retrain`, `evaluate`. `deciding` is what
        /// a search takes outside of its epochs, if it does: to measure candidates, scores, traces.
        pub stage: Stage,
        /// Epochs of the stage; 0 for the evaluation and for `deciding`.
        pub epochs: i64,
        /// Wall time of the stage in seconds. A time column.
        pub seconds: f64,
        /// Time of the device in seconds, as in `history.parquet`. A time column.
        pub device_seconds: f64,
        /// Device: `cpu` or `cuda:N`, joined as in `result.parquet`.
        pub device: String,
    }
}

table! {
    /// One architecture that the search tried, in the order in which they were tried, and what it
    /// believes of the architecture.
    pub struct CandidateRow {
        /// Number of the candidate, from 1.
        pub candidate: i64,
        /// The design that the candidate stands for, as in `design.toml`.
        pub design: String,
        /// Epochs that the candidate alone was trained for; 0 where it has the weights of a
        /// supernet, or none that were trained.
        pub epochs: i64,
        /// Cross-entropy on the validation split. Of a candidate that was scored before training, this
        /// and the four numbers below are NaN.
        pub validation_loss: f64,
        /// Accuracy on the validation split, 0..1.
        pub validation_accuracy: f64,
        /// Spikes of all neurons between the image and the classifier per image, mean over the
        /// validation split.
        pub spikes: f64,
        /// Bit-SynOps per image by the paper's formula, over the validation split.
        pub bit_syn_ops: f64,
        /// Model size of the final network in bytes as the paper counts it: kept weights at their
        /// bits, normalisation and biases in 32 bits.
        pub model_size_bytes: f64,
        /// What the search ranks candidates by: the more, the better. NaN until the search ends, but
        /// for a score before training.
        pub fitness: f64,
        /// Time of the device in seconds that measuring the candidate took, without its training,
        /// which `history.parquet` has. A time column.
        pub device_seconds: f64,
    }
}

table! {
    /// One bin of the distribution of a searched layer's weights at the end of the search. A bin
    /// without weights has no row.
    pub struct WeightBin {
        /// Name of the layer in the supernet.
        pub layer: String,
        /// `weight` is the trained tensor, and `used` the weight after all compressors, with which
        /// the layer computes. Any other name is a form that a compressor chooses from, such as
        /// `2 bits`.
        pub form: String,
        /// Standard deviation of the trained tensor, which is the unit of `low` and `high`.
        pub sigma: f64,
        /// Lower edge of the bin, in units of sigma. The first and the last bin also hold the
        /// weights beyond them.
        pub low: f64,
        /// Upper edge of the bin, in units of sigma.
        pub high: f64,
        /// Number of weights whose value in this form lies in the bin.
        pub count: i64,
        /// Number of weights among `count` that the layer uses as zero.
        pub removed: i64,
    }
}

table! {
    /// One layer of the final network.
    pub struct LayerRow {
        /// Position of the layer in the network, from 0.
        pub index: i64,
        /// Name of the layer.
        pub layer: String,
        /// Part of the network that the layer belongs to: `stem`, `cell0` or `block1`, ...,
        /// `classifier`.
        pub place: String,
        /// Kernel height.
        pub kernel_height: i64,
        /// Kernel width.
        pub kernel_width: i64,
        /// Input channels.
        pub inputs: i64,
        /// Output channels.
        pub outputs: i64,
        /// Height of the output map.
        pub map_height: i64,
        /// Width of the output map.
        pub map_width: i64,
        /// Number of weights.
        pub weights: i64,
        /// Number of weights that are not zero, counted in the final weight tensor.
        pub kept_weights: i64,
        /// Bits of a weight.
        pub bits: f64,
        /// Storage of the weights in bits: density · bits · weights, without a mask.
        pub memory_bits: f64,
        /// How a file says which weights are kept: `none` where all of them are, `bit-mask`, or
        /// `golomb-rice-K` with parameter K, whichever is shorter.
        pub mask_coding: String,
        /// Length of that mask in bits.
        pub mask_bits: f64,
        /// What a file needs for the weights, in bytes: kept weights at their bits and the mask,
        /// both in whole bytes. From schema 9 on, as the packed file holds them: it takes fewer bits
        /// where fewer levels are left.
        pub stored_bytes: f64,
        /// Multiply-accumulate operations of one timestep with nothing pruned.
        pub macs: f64,
        /// Mean spikes of an input neuron at each timestep, over the test split, with early exit over
        /// the images still running; more than 1 is possible where the layer reads sums of spikes,
        /// empty where it reads no spikes.
        pub firing_rate: Vec<f64>,
        /// SynOps: additions per image by the paper's formula, which counts taps on the padding too.
        pub syn_ops: f64,
        /// Bit-SynOps per image: bits · SynOps.
        pub bit_syn_ops: f64,
        /// Multiplications per image by the paper's formula.
        pub multiplications: f64,
        /// Additions per image, counted: for each spike the kept weights that it reaches. NaN where
        /// spikes were not counted.
        pub syn_ops_counted: f64,
        /// bits · counted additions per image.
        pub bit_syn_ops_counted: f64,
        /// Multiplications per image, counted: for each number of the image the kept weights that it
        /// reaches, at every timestep.
        pub multiplications_counted: f64,
    }
}

table! {
    /// One way for the images of the test split to stop, where the trial has early exit: at the first
    /// timestep that is sure enough by a threshold, or all after equally many timesteps. Operations
    /// of a timestep are those of the images still running.
    pub struct ExitRow {
        /// Threshold; NaN where all images run equally many timesteps.
        pub threshold: f64,
        /// 1 in the row whose numbers the result has, and 0 in all others.
        pub result: i64,
        /// Accuracy of the answers that images stop with, 0..1.
        pub test_accuracy: f64,
        /// Cross-entropy of those answers.
        pub test_loss: f64,
        /// Timesteps of an image, mean over images.
        pub mean_timesteps: f64,
        /// Fraction of images that stop after each number of timesteps, from 1 timestep on.
        pub stopped: Vec<f64>,
        /// SynOps per image.
        pub syn_ops: f64,
        /// Bit-SynOps per image.
        pub bit_syn_ops: f64,
        /// Multiplications per image.
        pub multiplications: f64,
        /// Energy per image in millijoule.
        pub energy_mj: f64,
        /// Additions per image, counted.
        pub syn_ops_counted: f64,
        /// Bits · counted additions per image.
        pub bit_syn_ops_counted: f64,
        /// Multiplications per image, counted.
        pub multiplications_counted: f64,
        /// Energy of the counted operations per image in millijoule.
        pub energy_counted_mj: f64,
    }
}

table! {
    /// A finished trial.
    pub struct Outcome {
        /// Name of the experiment.
        pub experiment: String,
        /// Name of the variant.
        pub variant: String,
        /// Seed.
        pub seed: i64,
        /// Hash that names the trial's folder.
        pub hash: String,
        /// Hash of the same work without the seed. Trials with one recipe are repetitions of one
        /// another.
        pub recipe: String,
        /// Profile that the trial ran with, where it changes the trial; empty without one.
        pub profile: String,
        /// Swept keys and their values, an array of pairs in TOML: `[["search.epochs", 3]]`; empty
        /// without a sweep.
        pub point: Point,
        /// Published table that the manifest reproduces (`experiment.reproduces`); empty without
        /// one.
        pub reproduces: String,
        /// Rows that the manifest compares the trial's row with (`[[compare]]`), an array of tables
        /// in TOML: `[{ recipe = "0123", variant = "dense" }]`, with `point` in a sweep; empty
        /// without one.
        pub compared_with: RowNames,
        /// Settings that the command line or the environment changed, `key=value`, joined by `, `.
        /// What the manifest says anyway is left out, and so are seeds, names and the folder of the
        /// data (`root`).
        pub overrides: String,
        /// Title of the data set, with the subset that was used.
        pub dataset: String,
        /// Digest of the data.
        pub data_digest: String,
        /// `official`: all of the published data set; `subset`: a part of it; `other`: other data.
        pub data_edition: String,
        /// Number of images of the test split; NaN in tables of schema 6 and older.
        pub test_images: f64,
        /// Accuracy on the test split, 0..1.
        pub test_accuracy: f64,
        /// Cross-entropy on the test split.
        pub test_loss: f64,
        /// Number of timesteps; with early exit, the largest.
        pub timesteps: i64,
        /// Timesteps of an image, mean over the test split: fewer than `timesteps` with early exit.
        pub mean_timesteps: f64,
        /// The first timestep whose answer is right, or `timesteps` where none is, mean over the test
        /// split (AET of SEENN); NaN without early exit.
        pub earliest_timestep: f64,
        /// Bits of a weight, mean over those that are not removed, zeros of a quantiser among them; NaN
        /// where all are removed.
        pub mean_bits: f64,
        /// Number of weights.
        pub weights: i64,
        /// Number of kept weights: those that are not zero.
        pub kept_weights: i64,
        /// Storage of all weights in bits.
        pub weight_bits: f64,
        /// Model size in bytes as the paper counts it: kept weights at their bits, normalisation and
        /// biases in 32 bits. It leaves out how a file says which weights are kept.
        pub model_size_bytes: f64,
        /// What the packed file holds beside its graph, in bytes: kept weights at their bits, the mask
        /// of each layer in its shortest code, scales, biases and normalisation in 32 bits; a head
        /// for training alone is not in it. Where a network has no packed file, the same by formula.
        /// Tables up to schema 8 have the formula everywhere, with that head.
        pub stored_bytes: f64,
        /// The packed file that `litesnn export` writes, in bytes: `stored_bytes`, the graph (names,
        /// shapes, how maps are joined, classes, where it comes from) and the header; NaN where a
        /// network has none, and in tables up to schema 8.
        pub file_bytes: f64,
        /// SynOps: additions per image by the paper's formula, which counts taps on the padding too.
        pub syn_ops: f64,
        /// Bit-SynOps per image by the paper's formula.
        pub bit_syn_ops: f64,
        /// Multiplications per image by the paper's formula.
        pub multiplications: f64,
        /// Energy per image in millijoule: 0.9 pJ · SynOps + 3.7 pJ · multiplications.
        pub energy_mj: f64,
        /// Additions per image, counted over the test split: for each spike the kept weights that it
        /// reaches.
        pub syn_ops_counted: f64,
        /// Bits · counted additions per image.
        pub bit_syn_ops_counted: f64,
        /// Multiplications per image, counted: for each number of the image the kept weights that it
        /// reaches, at every timestep.
        pub multiplications_counted: f64,
        /// Energy of the counted operations per image in millijoule.
        pub energy_counted_mj: f64,
        /// Operations of an ANN with the same kept weights: each weight does one multiplication and
        /// one addition at every place of its map (paper, Table 5).
        pub ann_operations: f64,
        /// Energy of the ANN per image in millijoule.
        pub ann_energy_mj: f64,
        /// Wall time of the search in seconds, its `deciding` included; 0 without a search. A time
        /// column.
        pub search_seconds: f64,
        /// Wall time of retraining in seconds. A time column.
        pub retrain_seconds: f64,
        /// Wall time of the final evaluation in seconds. A time column.
        pub evaluate_seconds: f64,
        /// Epochs of all search stages.
        pub search_epochs: i64,
        /// Epochs of retraining.
        pub retrain_epochs: i64,
        /// Time of the device in the search, in seconds, its `deciding` included: the sum of its rows
        /// in `stages.parquet`. A time column.
        pub search_device_seconds: f64,
        /// Time of the device in retraining, in seconds, as in `history.parquet`. A time column.
        pub retrain_device_seconds: f64,
        /// Device: `cpu` or `cuda:N`. A trial that went on on another one after an interruption
        /// names all that it ran on, joined by ` + `.
        pub device: String,
        /// Model of the processor or of the GPU, joined like `device`; empty where the operating
        /// system does not name it.
        pub hardware: String,
        /// Threads of libtorch; 0 where the trial went on with another number of threads.
        pub threads: i64,
        /// Version of libtorch, joined like `device`.
        pub libtorch: String,
        /// Type that the convolutions of retraining and evaluation are computed in: `f32`, `tf32`
        /// or `bf16`.
        pub precision: String,
        /// 1 where test accuracy and loss are those of whole numbers, as the engine counts them:
        /// every layer that reads spikes has levels, that of the logits aside, in f32. 0 where
        /// libtorch added them up, and in tables up to schema 7.
        pub by_levels: i64,
        /// Largest memory of the device that the process held, in bytes: on a CPU resident memory,
        /// on a GPU what libtorch took of its memory. A time column.
        pub peak_memory_bytes: i64,
        /// Version of the program.
        pub program: String,
        /// Git revision of the program's source, with `+changes` where files had been changed;
        /// `unknown` outside of a clone.
        pub revision: String,
        /// Time at which the trial finished, in seconds since 1970. A time column.
        pub finished_at: i64,
    }
}
