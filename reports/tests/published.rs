//! Published tables beside records that are written here, and `--check`.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::record::{Outcome, Point};
use litesnn_reports::figure::{self, Figure};
use litesnn_reports::table::{self, Table};
use litesnn_reports::trials::{self, ExperimentResults};
use litesnn_reports::{Request, check, report};
use serde_json::json;
use support::{Made, paper};

/// A result of CIFAR-10 in the units of the paper: percent, MB, M.
fn numbers(accuracy: f64, size: f64, operations: f64) -> impl Fn(&mut Outcome) {
    move |outcome| {
        outcome.dataset = "CIFAR-10 (50000/0/10000)".into();
        outcome.data_edition = "official".into();
        outcome.test_accuracy = accuracy / 100.0;
        outcome.model_size_bytes = size * 1e6;
        outcome.bit_syn_ops = operations * 1e6;
    }
}

fn of_table_4(variant: &str, seed: i64, numbers: impl Fn(&mut Outcome)) -> Made {
    Made::searched("table4-joint-vs-sequential", variant, seed).with(|outcome| {
        outcome.reproduces = "lite-snn/table4".into();
        outcome.search_device_seconds = 432_864.0;
        outcome.retrain_device_seconds = 172_800.0;
        numbers(outcome);
    })
}

/// Joint large at the paper's settings, twice; joint medium at a reduced profile; sequential in
/// steps; one control.
fn table_4(runs: &Path) -> ExperimentResults {
    of_table_4("joint-large", 0, numbers(95.4, 3.5, 2800.0)).write(runs);
    of_table_4("joint-large", 1, numbers(95.6, 3.6, 2900.0)).write(runs);
    of_table_4("joint-medium", 0, numbers(61.2, 0.0123, 9.13))
        .with(|outcome| outcome.profile = "bench".into())
        .set("epochs = 200", "epochs = 20")
        .write(runs);
    let mut sequential = of_table_4("sequential-large", 0, numbers(94.7, 3.43, 2426.0));
    sequential.search = vec![("search-A", 3), ("search-P", 1), ("search-Q", 2), ("search-T", 1)];
    sequential.write(runs);
    let mut control = Made::dense("table4-joint-vs-sequential", "sequential-retrained-large", 0);
    control.outcome.reproduces = "lite-snn/table4".into();
    control
        .with(|outcome| {
            numbers(95.1, 3.43, 2426.0)(outcome);
            outcome.search_device_seconds = 0.0;
            outcome.kept_weights = 200;
        })
        .write(runs);
    only(runs)
}

fn only(runs: &Path) -> ExperimentResults {
    let mut found = trials::find(runs, &paper()).unwrap();
    assert_eq!((found.experiments.len(), found.unfinished.len()), (1, 0));
    found.experiments.remove(0)
}

fn tables(experiment: &ExperimentResults) -> Vec<(String, Table)> {
    table::of_experiment(experiment, std::slice::from_ref(experiment)).unwrap()
}

fn named(figures: Vec<Figure>, name: &str) -> Figure {
    let names: Vec<String> = figures.iter().map(|figure| figure.name.clone()).collect();
    figures.into_iter().find(|figure| figure.name == name).unwrap_or_else(|| panic!("{name} is not in {names:?}"))
}

#[test]
fn table_4_has_every_form() {
    let runs = tempfile::tempdir().unwrap();
    let experiment = table_4(runs.path());
    for (name, content) in tables(&experiment).into_iter().filter(|(name, _)| name != "comparison") {
        insta::assert_snapshot!(format!("{name}.md"), table::markdown::render(&content));
        insta::assert_snapshot!(format!("{name}.tex"), table::latex::render(&content));
        insta::assert_snapshot!(format!("{name}.csv"), table::csv::render(&content).unwrap());
        insta::assert_snapshot!(format!("{name}.html"), table::html::render(&content));
    }
}

#[test]
fn every_published_row_is_in_every_table_whether_it_was_run_or_not() {
    for (reproduces, variant) in [
        ("lite-snn/table2-cifar10", "small"),
        ("lite-snn/table2-cifar100", "small"),
        ("lite-snn/table3", "lite-snn"),
        ("lite-snn/table5", "medium"),
    ] {
        let runs = tempfile::tempdir().unwrap();
        let made = Made::searched("mine", variant, 0).with(|outcome| outcome.reproduces = reproduces.into());
        made.with(numbers(92.0, 0.56, 300.0)).write(runs.path());
        let (name, content) = tables(&only(runs.path())).remove(0);
        assert_eq!(Some(name.as_str()), reproduces.strip_prefix("lite-snn/"));
        insta::assert_snapshot!(format!("{name}.md"), table::markdown::render(&content));
    }
}

/// A trial of a compared system, an experiment of its own.
fn of_system(experiment: &str, variant: &str, numbers: impl Fn(&mut Outcome)) -> Made {
    Made::dense(experiment, variant, 0).with(|outcome| {
        outcome.reproduces = "lite-snn/table2-cifar10".into();
        numbers(outcome);
    })
}

#[test]
fn a_compared_system_is_measured_beside_its_published_row_whatever_its_experiment() {
    let runs = tempfile::tempdir().unwrap();
    let stds =
        || of_system("stds", "stds-5", numbers(40.3, 0.02, 3.0)).with(|outcome| outcome.profile = "bench".into());
    stds().set("epochs = 200", "epochs = 20").write(runs.path());
    of_system("esl-snn", "esl-snn", numbers(91.2, 25.1, 900.0)).write(runs.path());
    // It does not say that it reproduces the table.
    let silent = of_system("admm", "admm-1-bit", numbers(87.0, 2.9, 900.0));
    silent.with(|outcome| outcome.reproduces = String::new()).write(runs.path());
    let table_2 = |experiments: &[ExperimentResults], name: &str| {
        let experiment = experiments.iter().find(|experiment| experiment.name == name).unwrap();
        let tables = table::of_experiment(experiment, experiments).unwrap();
        tables.into_iter().find(|(name, _)| name == "table2-cifar10").map(|(_, table)| table::markdown::render(&table))
    };
    // Without a run of LitE-SNN, the table stands with the first system, once.
    let experiments = trials::find(runs.path(), &paper()).unwrap().experiments;
    assert_eq!(["admm", "stds"].map(|name| table_2(&experiments, name)), [None, None]);
    let text = table_2(&experiments, "esl-snn").unwrap();
    insta::assert_snapshot!("table2-of-systems.md", text);

    // With one, it stands there.
    let own = Made::searched("table2-cifar10", "small", 0).with(numbers(92.0, 0.56, 300.0));
    own.with(|outcome| outcome.reproduces = "lite-snn/table2-cifar10".into()).write(runs.path());
    let experiments = trials::find(runs.path(), &paper()).unwrap().experiments;
    assert_eq!(["admm", "esl-snn", "stds"].map(|name| table_2(&experiments, name)), [None, None, None]);
    let text = table_2(&experiments, "table2-cifar10").unwrap();
    for measured in ["| measured, 1 seed, profile bench | 40.30† |", "| measured, 1 seed | 91.20 |", "| 92.00 |"] {
        assert!(text.contains(measured), "{measured}: {text}");
    }

    // What a system's manifest repeats is checked where it ran at full scale, and is not missed elsewhere.
    let check = check::check(&experiments).unwrap();
    let named = |system: &str| {
        let texts = check.verdicts.iter().map(|verdict| &verdict.text).chain(&check.unchecked);
        texts.filter(|text| text.contains(system)).count()
    };
    assert_eq!(
        (named("Shen et al."), named("Chen et al. (2022)"), named("Chen et al. (2021)")),
        (3, 1, 0),
        "{check:?}"
    );
    assert_eq!(named("LitE-SNN (large)"), 1, "{check:?}");
    let reason = check.unchecked.iter().find(|text| text.contains("Chen et al. (2022)")).unwrap();
    assert!(reason.ends_with("not comparable (profile bench: retrain.epochs = 20 (paper: 200))"), "{reason}");
}

#[test]
fn the_figures_of_the_paper_are_as_they_were() {
    let runs = tempfile::tempdir().unwrap();
    let experiment = table_4(runs.path());
    for name in ["accuracy-size", "accuracy-synops", "joint-sequential", "weights-joint-large"] {
        let svg = named(figure::of_experiment(&experiment).unwrap(), name).svg().unwrap();
        insta::assert_snapshot!(format!("{name}.svg"), svg);
    }
    let texts = named(figure::of_experiment(&experiment).unwrap(), "accuracy-size").svg().unwrap();
    assert!(texts.contains("A + P + Q + T (small)"), "published systems are named");
}

#[test]
fn published_points_are_drawn_only_where_a_row_compares_with_them() {
    let runs = tempfile::tempdir().unwrap();
    let scatter = || {
        let figure = named(figure::of_experiment(&only(runs.path())).unwrap(), "accuracy-size");
        (figure.svg().unwrap(), figure.caption)
    };
    for (variant, accuracy) in [("joint-large", 61.2), ("joint-small", 59.0)] {
        let made = of_table_4(variant, 0, numbers(accuracy, 0.0123, 9.13)).set("epochs = 200", "epochs = 20");
        made.write(runs.path());
    }
    let (svg, caption) = scatter();
    assert!(!svg.contains("A + P + Q + T") && svg.contains("Stored size (kB)"), "{svg}");
    assert!(caption.contains("Published points are left out: no row has the paper's"), "{caption}");
    // Print has the model size, so that it is the size beside print.
    of_table_4("joint-medium", 0, numbers(94.0, 1.2, 900.0)).write(runs.path());
    let (svg, caption) = scatter();
    assert!(svg.contains("A + P + Q + T (small)") && svg.contains("Model size (MB)"), "{svg}");
    assert!(caption.contains("counted as in print") && !caption.contains("left out: no row"), "{caption}");
}

#[test]
fn a_sweep_is_a_figure_in_the_order_of_its_numbers() {
    let runs = tempfile::tempdir().unwrap();
    for (memory, size) in [("1e-9", 0.6), ("5e-9", 0.5), ("1e-8", 0.4), ("1e-10", 0.7)] {
        for seed in 0..2 {
            let made = Made::searched("figure3-lambda", "small", seed).with(numbers(92.0 - seed as f64, size, 300.0));
            made.with(|outcome| {
                outcome.reproduces = "lite-snn/figure3".into();
                outcome.point =
                    support::point(&[("lambda_memory", memory.parse::<f64>().unwrap()), ("lambda_compute", 0.0)]);
                outcome.recipe = memory.into();
            })
            .write(runs.path());
        }
    }
    let experiment = only(runs.path());
    let names: Vec<&str> = experiment.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(
        names,
        ["1e-10", "1e-9", "5e-9", "1e-8"].map(|memory| format!("small (lambda_memory={memory}, lambda_compute=0.0)"))
    );
    insta::assert_snapshot!("sweep.svg", named(figure::of_experiment(&experiment).unwrap(), "sweep").svg().unwrap());
}

/// Guards lists in a sweep: their text was cut at its commas, in names, in the order of rows and in
/// the figure.
#[test]
fn a_sweep_over_lists_has_their_names_and_their_order() {
    let runs = tempfile::tempdir().unwrap();
    for (bits, rate) in
        [(vec![2, 4], 1e-8), (vec![1, 10], 5e-9), (vec![1, 2, 4], 5e-9), (vec![1, 2], 1e-8), (vec![1, 2], 5e-9)]
    {
        let made = Made::searched("mine", "small", 0).with(numbers(92.0, 0.5, 300.0));
        made.with(|outcome| {
            let keys = ["compressor.q.bits", "search.learning_rate"].map(str::to_owned);
            outcome.recipe = format!("{bits:?} {rate}");
            outcome.point = Point::of(keys.into_iter().zip([json!(bits), json!(rate)]).collect());
        })
        .write(runs.path());
    }
    let experiment = only(runs.path());
    let names: Vec<&str> = experiment.groups.iter().map(|group| group.name.as_str()).collect();
    let points = [("1, 2", "5e-9"), ("1, 2", "1e-8"), ("1, 2, 4", "5e-9"), ("1, 10", "5e-9"), ("2, 4", "1e-8")];
    assert_eq!(names, points.map(|(bits, rate)| format!("small (bits=[{bits}], learning_rate={rate})")));
    assert_eq!(experiment.swept().unwrap(), "bits, learning_rate");
    let svg = named(figure::of_experiment(&experiment).unwrap(), "sweep").svg().unwrap();
    let place = |text: &str| svg.find(&format!("\n{text}\n")).unwrap_or_else(|| panic!("no {text}: {svg}"));
    assert!(
        place("[1, 2]") < place("[1, 2, 4]")
            && place("[1, 2, 4]") < place("[1, 10]")
            && place("[1, 10]") < place("[2, 4]")
    );
    assert!(place("bits / learning_rate") > 0);
}

/// Guards against `inf×`, and against rows that leave a figure without a word.
#[test]
fn where_no_neuron_fires_a_dash_and_a_note_stand() {
    let runs = tempfile::tempdir().unwrap();
    Made::dense("mine", "dense", 0).write(runs.path());
    Made::searched("mine", "small", 0).write(runs.path());
    for seed in 0..2 {
        Made::searched("mine", "dead", seed)
            .with(|outcome| (outcome.bit_syn_ops, outcome.syn_ops, outcome.energy_mj) = (0.0, 0.0, 0.0))
            .silent()
            .write(runs.path());
    }
    let experiment = only(runs.path());
    let tables = tables(&experiment);
    let of = |name: &str| tables.iter().find(|(known, _)| known == name).map(|(_, table)| table).unwrap();
    for text in [
        table::markdown::render(of("savings")),
        table::latex::render(of("savings")),
        table::csv::render(of("savings")).unwrap(),
        table::html::render(of("savings")),
    ] {
        assert!(!text.contains("inf") && !text.contains("NaN"), "{text}");
    }
    let savings = table::markdown::render(of("savings"));
    assert!(savings.lines().any(|line| line.contains("dead") && line.matches('–').count() == 2), "{savings}");
    assert!(savings.contains("no ratio, because a cost is 0: Bit-SynOps of dead; Energy of dead"), "{savings}");
    let comparison = table::markdown::render(of("comparison"));
    let silent = "Layers that no spike ever reaches: dead: cell0.n0.s0.conv3x3, cell1.n0.s0.conv3x3.";
    assert!(comparison.contains(silent), "{comparison}");
    let figure = named(figure::of_experiment(&experiment).unwrap(), "accuracy-synops");
    assert!(figure.caption.contains("a logarithmic axis has no place for 0: dead."), "{}", figure.caption);
    let size = named(figure::of_experiment(&experiment).unwrap(), "accuracy-size");
    assert!(!size.caption.contains("Not drawn"), "{}", size.caption);
    let out = tempfile::tempdir().unwrap();
    report(&Request { runs: runs.path().into(), out: out.path().into(), paper: paper() }).unwrap();
    let page = std::fs::read_to_string(out.path().join("index.html")).unwrap();
    assert!(page.contains("2 layers that no spike ever reaches"));
}

#[test]
fn a_cell_of_four_nodes_with_skips_is_drawn() {
    let runs = tempfile::tempdir().unwrap();
    let mut made = Made::searched("cell", "four", 0);
    made.edges = vec![
        (0, "s0", "conv3x3"),
        (0, "s1", "skip"),
        (1, "s0", "conv3x3"),
        (1, "n0", "skip"),
        (2, "n0", "conv3x3"),
        (2, "s1", "conv3x3"),
        (3, "n0", "skip"),
        (3, "n1", "conv3x3"),
    ];
    made.write(runs.path());
    let cell = named(figure::of_experiment(&only(runs.path())).unwrap(), "cell");
    insta::assert_snapshot!("cell-of-four-nodes.svg", cell.svg().unwrap());
}

#[test]
fn a_cell_of_many_operations_has_a_line_for_each() {
    let runs = tempfile::tempdir().unwrap();
    let mut made = Made::searched("cell", "many", 0);
    made.edges = vec![
        (0, "s0", "separable3x3"),
        (0, "s1", "conv5x5"),
        (1, "s0", "average-pool3x3"),
        (1, "n0", "skip"),
        (2, "n0", "conv1x1"),
        (2, "n1", "conv3x3"),
    ];
    made.write(runs.path());
    let cell = named(figure::of_experiment(&only(runs.path())).unwrap(), "cell");
    let said = "Blue: 3x3 convolution; orange, dashed: skip; green: average-pool3x3; pink, dotted: conv1x1; yellow, \
                long dashes: conv5x5; light blue: separable3x3.";
    assert!(cell.caption.ends_with(said), "{}", cell.caption);
    let svg = cell.svg().unwrap();
    for colour in ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"] {
        assert!(svg.contains(colour), "no line of the colour {colour}");
    }
}

fn checked(runs: &Path) -> check::Check {
    check::check(&trials::find(runs, &paper()).unwrap().experiments).unwrap()
}

#[test]
fn results_within_the_tolerance_pass_and_the_others_are_named() {
    let runs = tempfile::tempdir().unwrap();
    of_table_4("joint-large", 0, numbers(95.11, 3.3, 2400.0)).write(runs.path());
    let check = checked(runs.path());
    assert_eq!(check.verdicts.len(), 3, "{check:?}");
    assert!(check.outside().next().is_none(), "{check:?}");
    assert_eq!(check.unchecked.len(), 5, "{check:?}");
    assert!(check.unchecked[0].contains("A + P + Q + T (large): not run"), "{check:?}");

    // Each quantity just beyond its tolerance.
    for (accuracy, size, operations, heading) in [
        (95.09, 3.6, 2863.0, "Accuracy (%)"),
        (95.6, 3.97, 2863.0, "Model size (MB)"),
        (95.6, 3.6, 2200.0, "Bit-SynOps (M / image)"),
    ] {
        of_table_4("joint-large", 0, numbers(accuracy, size, operations)).write(runs.path());
        let check = checked(runs.path());
        let outside: Vec<&str> = check.outside().map(|verdict| verdict.text.as_str()).collect();
        assert_eq!(outside.len(), 1, "{check:?}");
        let expected = format!("lite-snn/table4, LitE-SNN (large), {heading}: measured ");
        assert!(outside[0].starts_with(&expected) && outside[0].contains("published"), "{outside:?}");
    }
    // A number that is not there is not within a tolerance.
    of_table_4("joint-large", 0, numbers(f64::NAN, 3.6, 2863.0)).write(runs.path());
    assert_eq!(checked(runs.path()).outside().count(), 1);
}

#[test]
fn the_mean_over_seeds_is_checked() {
    let runs = tempfile::tempdir().unwrap();
    for (seed, accuracy) in [(0, 94.9), (1, 96.1)] {
        of_table_4("joint-large", seed, numbers(accuracy, 3.6, 2863.0)).write(runs.path());
    }
    let check = checked(runs.path());
    assert!(check.outside().next().is_none(), "{check:?}");
    assert!(check.verdicts[0].text.contains("95.50 ± 0.85 (2 seeds), published 95.60"), "{check:?}");
}

#[test]
fn multiplications_are_checked_at_the_timesteps_that_are_run() {
    let runs = tempfile::tempdir().unwrap();
    let made = Made::searched("table5-energy", "medium", 0).with(numbers(94.52, 1.23, 913.0)).with(|outcome| {
        outcome.reproduces = "lite-snn/table5".into();
        outcome.syn_ops = 271.41e6;
        outcome.multiplications = 3.981_312e6 * 5.0 * 0.2;
        outcome.energy_mj = (0.9 * 271.41 + 3.7 * 3.98) * 1e-3;
        outcome.ann_operations = 413.5e6;
        outcome.ann_energy_mj = 4.6 * 413.5e-3;
    });
    made.write(runs.path());
    let check = checked(runs.path());
    assert_eq!(check.verdicts.len(), 6, "{check:?}");
    assert!(check.outside().next().is_none(), "{check:?}");
    assert!(check.verdicts.iter().any(|verdict| verdict.text.contains("published 4.78, expected 3.98")), "{check:?}");
}

#[test]
fn a_page_says_in_words_what_is_not_comparable() {
    let (runs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    table_4(runs.path());
    report(&Request { runs: runs.path().into(), out: out.path().into(), paper: paper() }).unwrap();
    let page = std::fs::read_to_string(out.path().join("index.html")).unwrap();
    for words in ["61.20†", "Not comparable with the published numbers", "profile bench", "not run", "Not in the paper"]
    {
        assert!(page.contains(words), "{words}");
    }
    for extension in ["md", "tex", "csv"] {
        assert!(out.path().join("table4-joint-vs-sequential").join(format!("table4.{extension}")).exists());
    }
}

#[test]
fn an_unknown_publication_is_an_error_that_names_the_known_ones() {
    let (runs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let unknown = |outcome: &mut Outcome| outcome.reproduces = "lite-snn/table44".into();
    of_table_4("joint-large", 0, numbers(95.6, 3.6, 2863.0)).with(unknown).write(runs.path());
    let error = report(&Request { runs: runs.path().into(), out: out.path().into(), paper: paper() }).unwrap_err();
    assert!(error.to_string().contains("`lite-snn/table44`"), "{error}");
    assert!(error.hint().unwrap().contains("`lite-snn/table4`"));
}
