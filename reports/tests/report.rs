//! Reports made from records that are written here: every form of table and every figure is a snapshot.

use std::path::Path;

use litesnn_framework::design::{Decision, Decisions, Design, Edge};
use litesnn_framework::record::{self, Epoch, Layer, Outcome, files};
use litesnn_reports::{Request, report, table, trials};

fn epoch(stage: &str, number: i64, epochs: i64, timesteps: usize) -> Epoch {
    let progress = number as f64 / epochs as f64;
    let search = stage == "search";
    Epoch {
        stage: stage.into(),
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
    }
}

fn layer(index: i64, name: &str, place: &str, bits: f64, firing_rate: Vec<f64>) -> Layer {
    Layer {
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
        macs: 7056.0,
        syn_ops: 1000.0,
        bit_syn_ops: 1000.0 * bits,
        multiplications: 0.0,
        firing_rate,
    }
}

/// Writes a finished trial of `variant`; a searched one has few bits.
fn trial(runs: &Path, variant: &str, seed: i64, accuracy: f64, searched: bool, recipe: &str) {
    let folder = runs.join(format!("trial-{}-{seed}-{recipe}", if searched { "searched" } else { "dense" }));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(files::MANIFEST), "").unwrap();
    let (bits, timesteps) = if searched { (2.0, 2) } else { (32.0, 4) };
    let edges = [
        (0, "s0", "conv3x3"),
        (0, "s1", "conv3x3"),
        (1, "n0", "skip"),
        (1, "s1", "conv3x3"),
        (2, "n0", "conv3x3"),
        (2, "n1", "conv3x3"),
    ];
    let design = Design {
        version: 1,
        space: "spike-dhs".into(),
        timesteps,
        edges: edges
            .iter()
            .map(|(node, from, operation)| Edge { node: *node, from: (*from).into(), operation: (*operation).into() })
            .collect(),
        compression: [(
            "gaussian-quantize".to_owned(),
            Decisions::from([("cell0".to_owned(), Decision { bits: Some(2), rate: None })]),
        )]
        .into(),
    };
    std::fs::write(folder.join(files::DESIGN), design.to_toml()).unwrap();
    let mut history: Vec<Epoch> =
        if searched { (1..=4).map(|number| epoch("search", number, 4, 4)).collect() } else { Vec::new() };
    history.extend((1..=6).map(|number| epoch("retrain", number, 6, timesteps as usize)));
    record::write(&folder.join(files::HISTORY), &history).unwrap();
    let layers = [
        layer(0, "stem", "stem", 2.0 * bits, vec![]),
        layer(1, "cell0.n0.s0.conv3x3", "cell0", bits, vec![0.2, 0.3]),
        layer(2, "cell1.n0.s0.conv3x3", "cell1", bits, vec![0.1, 0.4]),
        layer(3, "classifier", "classifier", 2.0 * bits, vec![]),
    ];
    record::write(&folder.join(files::LAYERS), &layers).unwrap();
    let outcome = Outcome {
        experiment: "a_b & 50%".into(),
        variant: variant.into(),
        seed,
        hash: format!("hash{seed}"),
        recipe: recipe.into(),
        profile: String::new(),
        point: String::new(),
        dataset: "Fashion-MNIST (2000/500/1000)".into(),
        data_digest: "0123456789abcdef".into(),
        test_accuracy: accuracy,
        test_loss: 0.6,
        timesteps,
        mean_bits: bits,
        weights: 1000,
        kept_weights: 200,
        weight_bits: 200.0 * bits,
        model_size_bytes: 25.0 * bits + 400.0,
        syn_ops: 4e5,
        bit_syn_ops: 4e5 * bits,
        multiplications: 1e4,
        energy_mj: 0.0004,
        search_seconds: if searched { 4.0 } else { 0.0 },
        retrain_seconds: 6.0,
        evaluate_seconds: 0.5,
        search_epochs: if searched { 4 } else { 0 },
        retrain_epochs: 6,
        device: "cpu".into(),
        threads: 2,
        peak_memory_bytes: 300_000_000,
        program: "0.1.0".into(),
        finished_at: 0,
    };
    record::write(&folder.join(files::RESULT), &[outcome]).unwrap();
}

/// Two seeds of a searched variant with a hostile name, one dense trial.
fn example(runs: &Path) {
    trial(runs, "<script>|lite_1", 0, 0.78, true, "aaaa");
    trial(runs, "<script>|lite_1", 1, 0.80, true, "aaaa");
    trial(runs, "dense", 0, 0.83, false, "bbbb");
}

#[test]
fn every_form_of_the_tables_is_as_it_was() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    let found = trials::find(runs.path()).unwrap();
    for (name, content) in table::of_experiment(&found.experiments[0]) {
        insta::assert_snapshot!(format!("{name}.md"), table::markdown::render(&content));
        insta::assert_snapshot!(format!("{name}.tex"), table::latex::render(&content));
        insta::assert_snapshot!(format!("{name}.csv"), table::csv::render(&content).unwrap());
        insta::assert_snapshot!(format!("{name}.html"), table::html::render(&content));
    }
    insta::assert_snapshot!("trials.csv", table::csv::trials(&found.experiments[0]).unwrap());
}

#[test]
fn every_figure_is_as_it_was_and_the_same_from_run_to_run() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    let found = trials::find(runs.path()).unwrap();
    let figures = litesnn_reports::figure::of_experiment(&found.experiments[0]);
    assert_eq!(figures.len(), 5);
    for figure in figures {
        let svg = figure.svg().unwrap();
        assert_eq!(svg, figure.svg().unwrap());
        assert!(!svg.contains("<script"), "names from manifests are escaped");
        insta::assert_snapshot!(format!("{}.svg", figure.name), svg);
    }
}

#[test]
fn the_page_is_self_contained_and_escapes_names() {
    let (runs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    example(runs.path());
    let unfinished = runs.path().join("interrupted");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join(files::MANIFEST), "").unwrap();
    let damaged = runs.path().join("trial-dense-0-bbbb").join(files::LAYERS);
    let request = Request { runs: runs.path().into(), out: out.path().into() };
    let summary = report(&request).unwrap();
    assert_eq!((summary.tables, summary.figures), (2, 5));
    let page = std::fs::read_to_string(&summary.page).unwrap();
    assert!(!page.contains("<script"), "a name from a manifest is markup");
    assert!(page.contains("&lt;script&gt;"));
    for outside in ["src=", "@import", "url(", "<link"] {
        assert!(!page.contains(outside), "the page loads something: {outside}");
    }
    assert!(page.contains("interrupted") && page.contains("not finished"));
    for name in ["accuracy-size", "training-curves", "search", "layers", "cell"] {
        let png = std::fs::read(out.path().join("a_b & 50%").join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 5_000, "{name}.png has {} bytes", png.len());
    }

    std::fs::write(&damaged, b"PAR1").unwrap();
    report(&request).unwrap();
    let page = std::fs::read_to_string(&summary.page).unwrap();
    assert!(
        page.contains("layers.parquet") && page.contains("is not a table of the record"),
        "a damaged file is named"
    );
}

#[test]
fn means_and_deviations_are_over_repetitions_only() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    // The same variant with other settings is a row of its own.
    trial(runs.path(), "<script>|lite_1", 0, 0.10, true, "cccc");
    let found = trials::find(runs.path()).unwrap();
    let groups = &found.experiments[0].groups;
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["<script>|lite_1 [aaaa]", "<script>|lite_1 [cccc]", "dense"]);
    let (mean, deviation) = groups[0].mean(|outcome| outcome.test_accuracy);
    assert!((mean - 0.79).abs() < 1e-12);
    // Sample standard deviation of 0.78 and 0.80.
    assert!((deviation.unwrap() - 0.02 / 2f64.sqrt()).abs() < 1e-12);
    assert_eq!(groups[2].mean(|outcome| outcome.test_accuracy), (0.83, None));
}

#[test]
fn a_folder_without_trials_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = report(&Request { runs: folder.path().into(), out: folder.path().join("out") }).unwrap_err();
    assert!(error.to_string().starts_with("no finished trial lies under"));
    assert!(error.hint().unwrap().contains("litesnn run"));
}
