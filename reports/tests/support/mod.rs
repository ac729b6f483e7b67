//! Records of trials, written here as `litesnn run` writes them.

#![allow(dead_code)] // Each test program uses a part of it.

use std::path::{Path, PathBuf};

use litesnn_framework::network::{Decision, Decisions, Design, Edge};
use litesnn_framework::record::{
    self, EpochRow, LayerRow, Outcome, Point, RowNames, Stage, StageRow, WeightBin, files,
};
use litesnn_reports::paper::{PaperManifest, PaperRow};
use litesnn_reports::published;
use serde_json::Value;

/// The settings of every trial that a test does not change, as its folder keeps them.
pub const SETTINGS: &str = "\
version = 1

[experiment]
name = \"any\"
seeds = [3]

[dataset.pictures]
train = 50000
validation = 0

[space.cells]
channels = { search = 12, retrain = 48 }

[[compressor]]
quantize = { bits = [1, 2, 4] }

[[compressor]]
prune = { rate = 0.5 }

[retrain]
epochs = 200
learning_rate = 0.025

[checkpoint]
epochs = 1
";

/// The settings of a manifest.
pub fn settings(manifest: &str) -> Value {
    toml_edit::de::from_str(manifest).unwrap()
}

/// The paper's manifests as the tests have them: every row has [`SETTINGS`].
pub fn paper() -> Vec<PaperManifest> {
    let manifests = published::all().iter().flat_map(|publication| {
        let of_rows = publication.rows.iter().flat_map(|row| &row.variant);
        let of_schemes = publication.schemes.iter().flat_map(|schemes| &schemes.scheme).flat_map(|it| &it.variants);
        let variants: Vec<&String> = of_rows.chain(of_schemes).collect();
        publication.parts.iter().flat_map(move |part| {
            let variants = variants.clone();
            publication.manifests(part).into_iter().map(move |path| {
                let elsewhere = publication.rows.iter().filter_map(|row| row.elsewhere(part));
                let of_system = elsewhere.filter(|it| it.manifest == path).map(|it| &it.variant);
                let own = variants.iter().copied().filter(|_| path == part.manifest);
                let rows = own.chain(of_system).map(|variant| row(variant, SETTINGS)).collect();
                PaperManifest { path: path.to_owned(), rows: Ok(rows) }
            })
        })
    });
    manifests.collect()
}

/// A point of a sweep over settings of the joint optimizer.
pub fn point(values: &[(&str, f64)]) -> Point {
    Point::of(values.iter().map(|(key, value)| (format!("optimizer.joint.{key}"), Value::from(*value))).collect())
}

/// A row of a manifest of the paper.
pub fn row(variant: &str, manifest: &str) -> PaperRow {
    PaperRow { variant: variant.to_owned(), settings: settings(manifest), design: None }
}

/// A finished trial: what differs from [`Made::searched`] or [`Made::dense`] is changed by the
/// test.
pub struct Made {
    pub outcome: Outcome,
    /// The manifest that its folder keeps.
    pub manifest: String,
    /// Stages of the search, with their epochs.
    pub search: Vec<(&'static str, i64)>,
    pub edges: Vec<(usize, &'static str, &'static str)>,
    /// No neuron fires.
    pub silent: bool,
}

impl Made {
    /// A trial that searched: few bits, two timesteps.
    pub fn searched(experiment: &str, variant: &str, seed: i64) -> Made {
        Made::new(experiment, variant, seed, 2.0, 2, vec![("search", 4)])
    }

    /// A trial in full precision that took its design over.
    pub fn dense(experiment: &str, variant: &str, seed: i64) -> Made {
        Made::new(experiment, variant, seed, 32.0, 4, vec![])
    }

    fn new(
        experiment: &str,
        variant: &str,
        seed: i64,
        bits: f64,
        timesteps: i64,
        search: Vec<(&'static str, i64)>,
    ) -> Made {
        let epochs: i64 = search.iter().map(|stage| stage.1).sum();
        let outcome = Outcome {
            experiment: experiment.into(),
            variant: variant.into(),
            seed,
            hash: format!("hash{seed}"),
            recipe: format!("recipe of {variant}"),
            profile: String::new(),
            point: Point::default(),
            reproduces: String::new(),
            compared_with: RowNames::default(),
            overrides: String::new(),
            dataset: "Fashion-MNIST (2000/500/1000)".into(),
            data_digest: "0123456789abcdef".into(),
            data_edition: "subset".into(),
            test_images: 1000.0,
            test_accuracy: 0.8,
            test_loss: 0.6,
            timesteps,
            mean_timesteps: timesteps as f64,
            earliest_timestep: f64::NAN,
            mean_bits: bits,
            weights: 1000,
            kept_weights: if epochs > 0 { 200 } else { 1000 },
            weight_bits: 200.0 * bits,
            model_size_bytes: 25.0 * bits + 400.0,
            stored_bytes: 25.0 * bits + if epochs > 0 { 500.0 } else { 400.0 },
            file_bytes: 25.0 * bits + if epochs > 0 { 1200.0 } else { 1100.0 },
            syn_ops: 4e5,
            bit_syn_ops: 4e5 * bits,
            multiplications: 1e4,
            energy_mj: 0.0004,
            syn_ops_counted: 3.6e5,
            bit_syn_ops_counted: 3.6e5 * bits,
            multiplications_counted: 9e3,
            energy_counted_mj: 0.00036,
            ann_operations: 5e6,
            ann_energy_mj: 0.023,
            search_seconds: epochs as f64,
            retrain_seconds: 6.0,
            evaluate_seconds: 0.5,
            search_epochs: epochs,
            retrain_epochs: 6,
            search_device_seconds: 2.0 * epochs as f64,
            retrain_device_seconds: 12.0,
            device: "cpu".into(),
            hardware: "A processor".into(),
            threads: 2,
            libtorch: "2.13.0".into(),
            precision: "f32".into(),
            by_levels: 1,
            peak_memory_bytes: 300_000_000,
            program: "0.1.0".into(),
            revision: "0123456789ab".into(),
            finished_at: 0,
        };
        let edges = vec![
            (0, "s0", "conv3x3"),
            (0, "s1", "conv3x3"),
            (1, "n0", "skip"),
            (1, "s1", "conv3x3"),
            (2, "n0", "conv3x3"),
            (2, "n1", "conv3x3"),
        ];
        let manifest = format!("# the <manifest> of the trial\n{SETTINGS}");
        Made { outcome, manifest, search, edges, silent: false }
    }

    /// Changes the result.
    pub fn with(mut self, change: impl FnOnce(&mut Outcome)) -> Made {
        change(&mut self.outcome);
        self
    }

    /// The same without spikes.
    pub fn silent(self) -> Made {
        Made { silent: true, ..self }
    }

    /// Changes the manifest.
    pub fn set(mut self, setting: &str, other: &str) -> Made {
        assert!(self.manifest.contains(setting), "{setting}");
        self.manifest = self.manifest.replace(setting, other);
        self
    }

    /// The folder that the trial is written to.
    pub fn folder(&self, runs: &Path) -> PathBuf {
        let o = &self.outcome;
        let kind = if self.search.is_empty() { "dense" } else { "searched" };
        let name: String = format!("{kind}-{}-{}-{}-{}-{}", o.variant, o.point.text(), o.profile, o.recipe, o.seed);
        runs.join(&o.experiment).join(name.replace(['/', '<', '>', '|', ' '], "_"))
    }

    /// Writes all files of the trial.
    pub fn write(&self, runs: &Path) {
        let folder = self.folder(runs);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(files::MANIFEST), &self.manifest).unwrap();
        std::fs::write(folder.join(files::DESIGN), self.design().to_toml()).unwrap();
        let timesteps = self.outcome.timesteps as usize;
        let mut history = Vec::new();
        let mut stages = Vec::new();
        for &(stage, epochs) in self.search.iter().chain([&("retrain", 6)]) {
            let count = if stage == "retrain" { timesteps } else { 4 };
            history.extend((1..=epochs).map(|number| epoch(stage, number, epochs, count)));
            let seconds = epochs as f64;
            stages.push(StageRow {
                stage: Stage::named(stage),
                epochs,
                seconds,
                device_seconds: 2.0 * seconds,
                device: "cpu".into(),
            });
        }
        stages.push(StageRow {
            stage: Stage::Evaluate,
            epochs: 0,
            seconds: 0.5,
            device_seconds: 1.0,
            device: "cpu".into(),
        });
        record::write(&folder.join(files::HISTORY), &history).unwrap();
        record::write(&folder.join(files::STAGES), &stages).unwrap();
        if !self.search.is_empty() {
            record::write(&folder.join(files::WEIGHTS), &bins()).unwrap();
        }
        let bits = self.outcome.mean_bits;
        let rates = |rates: [f64; 2]| rates.map(|rate| if self.silent { 0.0 } else { rate }).to_vec();
        let layers = [
            layer(0, "stem", "stem", 2.0 * bits, vec![]),
            layer(1, "cell0.n0.s0.conv3x3", "cell0", bits, rates([0.2, 0.3])),
            layer(2, "cell1.n0.s0.conv3x3", "cell1", bits, rates([0.1, 0.4])),
            layer(3, "classifier", "classifier", 2.0 * bits, vec![]),
        ];
        record::write(&folder.join(files::LAYERS), &layers).unwrap();
        record::write(&folder.join(files::RESULT), std::slice::from_ref(&self.outcome)).unwrap();
    }

    pub fn design(&self) -> Design {
        let edge = |(node, from, operation): &(usize, &str, &str)| Edge {
            node: *node,
            from: (*from).into(),
            operation: (*operation).into(),
        };
        let decisions = Decisions::from([("cell0".to_owned(), Decision { bits: Some(2), rate: None })]);
        Design {
            version: 1,
            space: "spike-dhs".into(),
            timesteps: self.outcome.timesteps,
            edges: self.edges.iter().map(edge).collect(),
            compression: [("gaussian-quantize".to_owned(), decisions)].into(),
            network: None,
            ticket: None,
            accounting: None,
        }
    }
}

fn epoch(stage: &str, number: i64, epochs: i64, timesteps: usize) -> EpochRow {
    let progress = number as f64 / epochs as f64;
    let search = stage != "retrain";
    EpochRow {
        stage: Stage::named(stage),
        epoch: number,
        train_loss: 2.3 - 1.5 * progress,
        train_accuracy: 0.1 + 0.7 * progress,
        validation_loss: 2.3 - 1.4 * progress,
        validation_accuracy: 0.1 + 0.65 * progress,
        learning_rate: 0.1,
        memory_bits: if search { 1e5 } else { f64::NAN },
        bit_syn_ops: if search { 1e6 } else { f64::NAN },
        mean_bits: if search { 2.3 - 0.4 * progress } else { f64::NAN },
        timestep_weights: (0..timesteps)
            .map(|index| if search { 0.25 + 0.01 * progress * (1.5 - index as f64) } else { 0.0 })
            .collect(),
        images_per_second: 100.0,
        seconds: 1.0,
        device_seconds: 2.0,
    }
}

fn layer(index: i64, name: &str, place: &str, bits: f64, firing_rate: Vec<f64>) -> LayerRow {
    LayerRow {
        index,
        layer: name.into(),
        place: place.into(),
        kernel_height: 3,
        kernel_width: 3,
        inputs: 4,
        outputs: 4,
        map_height: 7,
        map_width: 7,
        weights: 144,
        kept_weights: 29,
        bits,
        memory_bits: 29.0 * bits,
        mask_coding: "golomb-rice-2".into(),
        mask_bits: 106.0,
        stored_bytes: (29.0 * bits / 8.0).ceil() + 14.0,
        macs: 7056.0,
        syn_ops: 1000.0,
        bit_syn_ops: 1000.0 * bits,
        multiplications: 0.0,
        syn_ops_counted: 900.0,
        bit_syn_ops_counted: 900.0 * bits,
        multiplications_counted: 0.0,
        firing_rate,
    }
}

/// Two layers whose weights are normal, with their one-bit form; the smaller half is removed.
fn bins() -> Vec<WeightBin> {
    let mut rows = Vec::new();
    for layer in ["cell0.n0.s0.conv3x3", "cell0.n0.s1.conv3x3"] {
        let mut row = |form: &str, index: i64, count: i64, removed: i64| {
            let edge = |index: i64| index as f64 / 20.0;
            let (low, high) = (edge(index), edge(index + 1));
            rows.push(WeightBin { layer: layer.into(), form: form.into(), sigma: 0.1, low, high, count, removed });
        };
        let mut halves = [0, 0];
        for index in -60i64..60 {
            let middle = (index as f64 + 0.5) / 20.0;
            let count = (400.0 * (-middle * middle / 2.0).exp()).round() as i64;
            halves[usize::from(index >= 0)] += count;
            row("weight", index, count, if middle.abs() < 0.7 { count } else { count / 5 });
        }
        row("1 bit", -16, halves[0], 0);
        row("1 bit", 15, halves[1], 0);
    }
    rows
}
