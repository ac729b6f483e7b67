//! Results of different machines in one row: it says so, and their times have no mean.
//!
//! One and two threads gave test losses of 2.0470 and 2.0411 for the same work, and a report
//! averaged them, and their times, without a word.

#[path = "support/mod.rs"]
mod support;

use litesnn_framework::record::Outcome;
use litesnn_reports::table::{self, Table};
use litesnn_reports::trials::{self, ExperimentResults};
use litesnn_reports::{figure, metric};
use support::{Made, paper};

type Change = fn(&mut Outcome);

/// A row of two seeds; the second was measured otherwise. Another row is of one machine.
fn mixed(other: Change) -> ExperimentResults {
    let runs = tempfile::tempdir().unwrap();
    let table_4 = |variant: &str, seed| {
        Made::searched("mixed", variant, seed).with(|outcome| {
            outcome.reproduces = "lite-snn/table4".into();
            outcome.test_accuracy = 0.80 + 0.02 * seed as f64;
        })
    };
    table_4("joint-large", 0).write(runs.path());
    table_4("joint-large", 1).with(other).write(runs.path());
    table_4("joint-small", 0).write(runs.path());
    trials::find(runs.path(), &paper()).unwrap().experiments.remove(0)
}

fn text(experiment: &ExperimentResults, name: &str) -> String {
    let tables: Vec<(String, Table)> = table::of_experiment(experiment, std::slice::from_ref(experiment)).unwrap();
    table::markdown::render(&tables.iter().find(|(known, _)| known == name).unwrap().1)
}

fn line<'a>(text: &'a str, begins: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("{begins}\n{text}"))
}

#[test]
fn a_row_that_mixes_machines_says_what_differs() {
    let cases: [(Change, &str, bool); 8] = [
        (|outcome| outcome.threads = 1, "threads: 1 and 2", false),
        (|outcome| outcome.hardware = "Another".into(), "processor: A processor and Another", false),
        (|outcome| outcome.device = "cuda:0".into(), "device: cpu and cuda:0", false),
        (|outcome| outcome.libtorch = "2.12.0".into(), "libtorch: 2.12.0 and 2.13.0", true),
        (|outcome| outcome.libtorch = String::new(), "libtorch: 2.13.0 and not recorded", true),
        (|outcome| outcome.precision = "bf16".into(), "precision: bf16 and f32", true),
        // A trial that resumed elsewhere mixes within itself.
        (|outcome| outcome.threads = 0, "threads: 2 and several", false),
        (|outcome| outcome.device = "cpu + cuda:0".into(), "device: cpu and cpu + cuda:0", false),
    ];
    for (change, differs, times) in cases {
        let experiment = mixed(change);
        let group = &experiment.groups[0];
        assert_eq!((group.mixed().as_deref(), group.is_of_one_hardware()), (Some(differs), times));
        assert_eq!(experiment.groups[1].mixed(), None);
        for name in ["table4", "comparison", "design-cost"] {
            let text = text(&experiment, name);
            let note =
                format!("‡ Holds results of different machines, which round differently: joint-large ({differs}).");
            assert!(text.contains(&note), "{text}");
        }
        // Accuracy is shown, with the mark.
        assert!(line(&text(&experiment, "comparison"), "| joint-large").contains("81.0 ± 1.4‡"), "{differs}");
        assert!(line(&text(&experiment, "table4"), "|  | measured, 2 seeds").contains("81.00 ± 1.41†‡"), "{differs}");
    }
}

#[test]
fn times_of_different_hardware_are_not_averaged() {
    let experiment = mixed(|outcome| outcome.threads = 1);
    assert!(experiment.groups[0].measured(&metric::TIME).0.is_nan());
    assert!(experiment.groups[0].measured(&metric::EPOCHS).0 == 10.0);
    let comparison = text(&experiment, "comparison");
    let cells = |begins: &str| -> Vec<String> {
        line(&comparison, begins).trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    assert_eq!(cells("| joint-large")[10..], ["10 (4 + 6)", "–‡", "–‡", "–‡"]);
    assert_eq!(cells("| joint-small")[10..], ["10 (4 + 6)", "10 (4 + 6)", "20 (8 + 12)", "0.5"]);
    let whole = text(&experiment, "design-cost");
    assert!(line(&whole, "| joint-large | search + retraining").ends_with("| 10 | –‡ | –‡ | –‡ | – |"), "{whole}");
    let published = text(&experiment, "table4");
    assert!(line(&published, "|  | measured, 2 seeds").ends_with("| –‡ | –‡ | –‡ |"), "{published}");
    // Another libtorch rounds differently on the same hardware: its times have a mean.
    let experiment = mixed(|outcome| outcome.libtorch = "2.12.0".into());
    assert_eq!(experiment.groups[0].measured(&metric::TIME).0, 10.0);
}

#[test]
fn tables_with_times_say_which_hardware_gave_them() {
    let experiment = mixed(|_| {});
    for name in ["table4", "comparison", "design-cost"] {
        let text = text(&experiment, name);
        assert!(text.contains("Measured on cpu (A processor), 2 threads.") && !text.contains('‡'), "{text}");
    }
    let experiment = mixed(|outcome| outcome.threads = 1);
    assert!(text(&experiment, "comparison").contains(
        "Measured on different hardware, whose times do not compare: joint-large on cpu (A processor), 1 thread; \
         joint-large, joint-small on cpu (A processor), 2 threads."
    ));
}

#[test]
fn figures_mark_a_mixed_row_and_leave_its_times_out() {
    let of = |change: Change| {
        let figures = figure::of_experiment(&mixed(change)).unwrap();
        let named = |name: &str| figures.iter().find(|figure| figure.name == name).unwrap();
        let [size, schemes] = ["accuracy-size", "joint-sequential"].map(named);
        (
            size.svg().unwrap().contains("joint-large‡"),
            schemes.caption.contains("threads: 1 and 2"),
            schemes.svg().unwrap(),
        )
    };
    let (marked, named, mixed) = of(|outcome| outcome.threads = 1);
    assert!(marked && named);
    let (marked, named, whole) = of(|_| {});
    assert!(!marked && !named);
    // Three panels of costs have a mark less.
    assert!(mixed.matches("<circle").count() < whole.matches("<circle").count());
}
