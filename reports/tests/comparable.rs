//! `--check` compares what has the paper's data and settings, and names what the rest has instead.
//!
//! Rows used to be chosen by the name of their variant alone, and data by how their title begins.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::record::{Outcome, files};
use litesnn_reports::check::{Check, check};
use litesnn_reports::paper::PaperManifest;
use litesnn_reports::{Request, report, table, trials};
use support::{Made, SETTINGS, paper, row};

const MANIFEST: &str = "experiments/paper/table4-joint-vs-sequential.toml";

/// A result that is within the tolerance of the paper's `joint-large`, at the paper's settings.
fn reproduced(variant: &str) -> Made {
    Made::searched("table4-joint-vs-sequential", variant, 0).with(|outcome| {
        outcome.reproduces = "lite-snn/table4".into();
        outcome.dataset = "CIFAR-10 (50000/0/10000)".into();
        outcome.data_edition = "official".into();
        outcome.test_accuracy = 0.956;
        outcome.model_size_bytes = 3.6e6;
        outcome.bit_syn_ops = 2863e6;
    })
}

fn checked_against(runs: &Path, paper: &[PaperManifest]) -> Check {
    check(&trials::find(runs, paper).unwrap().experiments).unwrap()
}

fn checked(made: &[Made]) -> Check {
    let runs = tempfile::tempdir().unwrap();
    made.iter().for_each(|made| made.write(runs.path()));
    checked_against(runs.path(), &paper())
}

/// Why `joint-large` was not checked.
fn refused(check: &Check) -> &str {
    assert!(check.verdicts.is_empty(), "{check:?}");
    let found = check.unchecked.iter().find(|row| row.contains("LitE-SNN (large): "));
    found.unwrap_or_else(|| panic!("{check:?}"))
}

#[test]
fn the_papers_own_settings_are_comparable() {
    let check = checked(&[reproduced("joint-large")]);
    assert_eq!((check.verdicts.len(), check.outside().count()), (3, 0), "{check:?}");
    // Names, seeds, checkpoints, launchers, the folder of the data and the way that numbers are
    // written change nothing.
    let same = reproduced("joint-large")
        .set("seeds = [3]", "seeds = [7]\ndescription = \"mine\"")
        .set("epochs = 1\n", "epochs = 9\n[launcher.local]\njobs = 2\n")
        .set("train = 50000", "train = 50000\nroot = \"/data\"")
        .set("learning_rate = 0.025", "learning_rate = 2.5e-2")
        .set("rate = 0.5", "rate = 5e-1");
    // What was changed for the run counts only where it changed a setting.
    let same = same.with(|outcome| outcome.overrides = "retrain.epochs=200".into());
    assert_eq!(checked(&[same]).verdicts.len(), 3);
}

#[test]
fn a_manifest_that_extends_the_papers_and_changes_the_data_is_not_comparable() {
    let other = reproduced("joint-large").set("dataset.pictures", "dataset.others").with(|outcome| {
        outcome.dataset = "Others (50000/0/10000)".into();
    });
    assert_eq!(
        refused(&checked(&[other])),
        "lite-snn/table4, LitE-SNN (large): not comparable (dataset = others (paper: pictures))"
    );
    let fewer = reproduced("joint-large").set("train = 50000", "train = 45000");
    assert!(refused(&checked(&[fewer])).contains("(dataset.pictures.train = 45000 (paper: 50000))"));
}

#[test]
fn a_setting_that_differs_is_named_with_both_values() {
    for (setting, other, named) in [
        ("epochs = 200", "epochs = 4", "retrain.epochs = 4 (paper: 200)"),
        ("rate = 0.5", "rate = 0.8", "compressor.prune.rate = 0.8 (paper: 0.5)"),
        ("search = 12, ", "", "space.cells.channels.search = not set (paper: 12)"),
        ("epochs = 200", "epochs = 200\nmore = true", "retrain.more = true (paper: not set)"),
        ("bits = [1, 2, 4]", "bits = [1, 4, 2]", "compressor.quantize.bits = [1,4,2] (paper: [1,2,4])"),
    ] {
        let check = checked(&[reproduced("joint-large").set(setting, other)]);
        assert!(refused(&check).ends_with(&format!("not comparable ({named})")), "{check:?}");
    }
    // A profile shows in the settings, and is named; many differences are counted.
    let reduced = reproduced("joint-large")
        .with(|outcome| outcome.profile = "smoke".into())
        .set("epochs = 200", "epochs = 4")
        .set("train = 50000", "train = 200")
        .set("rate = 0.5", "rate = 0.8")
        .set("bits = [1, 2, 4]", "bits = [1]")
        .set("validation = 0", "validation = 50");
    assert!(refused(&checked(&[reduced])).contains(
        "(profile smoke: compressor.quantize.bits = [1] (paper: [1,2,4]), compressor.prune.rate = 0.8 (paper: 0.5), \
         dataset.pictures.train = 200 (paper: 50000) and 2 more)"
    ));
}

#[test]
fn of_two_manifests_with_one_experiment_name_only_the_one_that_reproduces_is_compared() {
    let recipe = |recipe: &'static str| move |outcome: &mut Outcome| outcome.recipe = recipe.into();
    let mine = reproduced("joint-large").with(recipe("mine")).with(|outcome| {
        outcome.reproduces = String::new();
        outcome.test_accuracy = 0.5;
    });
    let check = checked(&[reproduced("joint-large").with(recipe("paper")), mine]);
    assert_eq!((check.verdicts.len(), check.outside().count()), (3, 0), "{check:?}");

    // Alone in an experiment whose other rows reproduce the table, it is not compared either.
    let mine = reproduced("joint-large").with(|outcome| outcome.reproduces = String::new());
    let check = checked(&[mine, reproduced("joint-medium").set("epochs = 200", "epochs = 4")]);
    assert!(refused(&check).ends_with("not comparable (its manifest does not say that it reproduces lite-snn/table4)"));

    // It says that it reproduces the table, and has settings of its own.
    let check = checked(&[reproduced("joint-large"), {
        let other = reproduced("joint-large").with(recipe("other")).set("epochs = 200", "epochs = 4");
        other.with(|outcome| outcome.test_accuracy = 0.5)
    }]);
    assert_eq!((check.verdicts.len(), check.outside().count()), (3, 0), "{check:?}");
}

#[test]
fn only_the_whole_official_data_are_the_papers() {
    let of = |title: &'static str, edition: &'static str| {
        checked(&[reproduced("joint-large").with(|outcome| {
            outcome.dataset = title.into();
            outcome.data_edition = edition.into();
        })])
    };
    for (title, edition) in [
        ("CIFAR-10 (2000/500/1000)", "subset"),
        ("CIFAR-10, JPEG q75 (50000/0/10000)", "other"),
        // A title alone does not make data official.
        ("CIFAR-10 (50000/0/10000)", "other"),
    ] {
        let check = of(title, edition);
        let expected = format!("not comparable (data = {title}, {edition} (paper: pictures, official))");
        assert!(refused(&check).ends_with(&expected), "{check:?}");
    }
    // Records that do not say which edition it was: the whole title does, not its beginning.
    assert_eq!(of("CIFAR-10 (50000/0/10000)", "").verdicts.len(), 3);
    for title in ["CIFAR-10 (2000/500/1000)", "CIFAR-10 (50000/0/10000), mine", ""] {
        assert!(refused(&of(title, "")).contains("data = "), "{title}");
    }
}

/// The manifest of a trial that takes a design over, and that of the paper.
fn taking(manifest: &str, design: &str) -> String {
    format!("{manifest}\n[design]\nkeep = [\"architecture\", \"compression\", \"timesteps\"]\n{design}\n")
}

#[test]
fn a_design_has_to_come_from_a_trial_with_the_papers_settings() {
    let paper = [PaperManifest {
        path: MANIFEST.into(),
        rows: Ok(vec![
            row("joint-large", &taking(SETTINGS, "from = \"search\"")),
            row("search", &SETTINGS.replace("epochs = 200", "epochs = 1")),
        ]),
    }];
    let search = || reproduced("search").set("epochs = 200", "epochs = 1");
    let checked = |source: &Made, file: &str, more: &str| {
        let runs = tempfile::tempdir().unwrap();
        source.write(runs.path());
        let mut taker = reproduced("joint-large");
        taker.manifest = taking(&taker.manifest, &format!("file = \"{file}\"\n{more}"));
        taker.write(runs.path());
        checked_against(runs.path(), &paper)
    };
    let beside = |made: &Made| {
        let folder = made.folder(Path::new(""));
        format!("../{}/design.toml", folder.file_name().unwrap().to_string_lossy())
    };
    let file = beside(&search());
    assert_eq!(checked(&search(), &file, "").verdicts.len(), 3);
    // The folder of runs was moved: the path is another one, the trial stands beside this one.
    let moved = file.replace("..", "/elsewhere/table4-joint-vs-sequential");
    assert_eq!(checked(&search(), &moved, "").verdicts.len(), 3);

    let shorter = search().set("learning_rate = 0.025", "learning_rate = 0.1");
    let check = checked(&shorter, &beside(&shorter), "");
    let expected = "(design of search: retrain.learning_rate = 0.1 (paper: 0.025))";
    assert!(refused(&check).ends_with(expected), "{check:?}");
    let subset = search().with(|outcome| outcome.data_edition = "subset".into());
    let check = checked(&subset, &beside(&subset), "");
    assert!(refused(&check).contains("(design of search: data = CIFAR-10 (50000/0/10000), subset"), "{check:?}");
    let check = checked(&search(), "/designs/mine.toml", "");
    let expected = "(design = /designs/mine.toml, which no trial found (paper: found by search))";
    assert!(refused(&check).ends_with(expected), "{check:?}");
    let check = checked(&search(), &file, "redraw = true");
    assert!(refused(&check).ends_with("(design.redraw = true (paper: not set))"), "{check:?}");

    // The paper's row searches, this one takes a design over.
    let runs = tempfile::tempdir().unwrap();
    let mut taker = reproduced("joint-large");
    taker.manifest = taking(&taker.manifest, "file = \"d.toml\"");
    taker.write(runs.path());
    let check = checked_against(runs.path(), &support::paper());
    assert!(refused(&check).ends_with("(design = set (paper: not set))"), "{check:?}");
}

#[test]
fn a_design_of_a_file_is_compared_by_what_it_holds() {
    let made = || {
        let mut made = reproduced("joint-large");
        made.manifest = taking(&made.manifest, "file = \"/anywhere/lite-snn-large.toml\"");
        made
    };
    let mut design = made().design();
    let checked = |design: &litesnn_framework::network::Design| {
        let mut row = row("joint-large", &taking(SETTINGS, "file = \"/experiments/designs/lite-snn-large.toml\""));
        row.design = Some(design.clone());
        let runs = tempfile::tempdir().unwrap();
        made().write(runs.path());
        checked_against(runs.path(), &[PaperManifest { path: MANIFEST.into(), rows: Ok(vec![row]) }])
    };
    assert_eq!(checked(&design).verdicts.len(), 3);
    design.timesteps += 1;
    design.edges.pop();
    let check = checked(&design);
    let expected = "(design = another architecture, timesteps (paper: lite-snn-large.toml))";
    assert!(refused(&check).ends_with(expected), "{check:?}");
}

#[test]
fn what_the_program_cannot_resolve_is_not_comparable() {
    let runs = tempfile::tempdir().unwrap();
    reproduced("joint-large").write(runs.path());
    let unresolved = PaperManifest { path: MANIFEST.into(), rows: Err("unknown plugin `a`".into()) };
    for (paper, why) in [
        (vec![], format!("this program does not know the settings of {MANIFEST}")),
        (vec![unresolved], format!("{MANIFEST} is not to be resolved: unknown plugin `a`")),
    ] {
        assert!(refused(&checked_against(runs.path(), &paper)).ends_with(&format!("({why})")));
    }
    let check = checked(&[reproduced("joint-large").set("version = 1", "version = = 1")]);
    assert!(refused(&check).contains("manifest.toml is not a manifest: "), "{check:?}");
    let runs = tempfile::tempdir().unwrap();
    reproduced("mine").write(runs.path());
    let experiments = trials::find(runs.path(), &paper()).unwrap().experiments;
    assert!(experiments[0].groups[0].departures[0].starts_with("variant = mine (paper: "));
}

#[test]
fn a_table_and_a_page_name_the_first_differences_and_count_the_rest() {
    let (runs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let changed = |outcome: &mut Outcome| outcome.overrides = "retrain.epochs=4".into();
    reproduced("joint-large").set("epochs = 200", "epochs = 4").with(changed).write(runs.path());
    reproduced("joint-small").write(runs.path());
    let experiments = trials::find(runs.path(), &paper()).unwrap().experiments;
    let (_, content) = table::of_experiment(&experiments[0], &experiments).unwrap().remove(0);
    let text = table::markdown::render(&content);
    let note = format!(
        "† Not comparable with the published numbers, because data or settings are not those of {MANIFEST}: joint-large: \
         retrain.epochs = 4 (paper: 200)."
    );
    assert!(text.contains(&note.replace('_', "\\_")), "{text}");
    assert!(text.contains("95.60† |") && text.contains("95.60 |"), "{text}");
    report(&Request { runs: runs.path().into(), out: out.path().into(), paper: paper() }).unwrap();
    let page = std::fs::read_to_string(out.path().join("index.html")).unwrap();
    for words in ["changed for the run: retrain.epochs=4", "1 differs", "<li>retrain.epochs = 4 (paper: 200)</li>"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(
        std::fs::read_dir(runs.path().join("table4-joint-vs-sequential"))
            .unwrap()
            .all(|entry| { entry.unwrap().path().join(files::RESULT).is_file() })
    );
}
