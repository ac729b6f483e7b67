//! Reports made from records that are written here: every form of table and every figure is a
//! snapshot.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use litesnn_framework::record::files;
use litesnn_reports::{Request, report, table, trials};
use support::Made;

/// Writes a finished trial of `variant`; a searched one has few bits.
fn trial(runs: &Path, variant: &str, seed: i64, accuracy: f64, searched: bool, recipe: &str) -> Made {
    let made = if searched { Made::searched } else { Made::dense };
    let made = made("a_b & 50%", variant, seed).with(|outcome| {
        outcome.test_accuracy = accuracy;
        outcome.recipe = recipe.into();
    });
    made.write(runs);
    made
}

/// Two seeds of a searched variant with a hostile name, one dense trial.
fn example(runs: &Path) -> Made {
    trial(runs, "<script>|lite_1", 0, 0.78, true, "aaaa");
    trial(runs, "<script>|lite_1", 1, 0.80, true, "aaaa");
    trial(runs, "dense", 0, 0.83, false, "bbbb")
}

#[test]
fn every_form_of_the_tables_is_as_it_was() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    let found = trials::find(runs.path(), &[]).unwrap();
    for (name, content) in table::of_experiment(&found.experiments[0], &found.experiments).unwrap() {
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
    let found = trials::find(runs.path(), &[]).unwrap();
    let figures = litesnn_reports::figure::of_experiment(&found.experiments[0]).unwrap();
    assert_eq!(figures.len(), 8);
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
    let damaged = example(runs.path()).folder(runs.path()).join(files::LAYERS);
    let unfinished = runs.path().join("interrupted");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join(files::MANIFEST), "").unwrap();
    let stopped = Made::searched("stopped", "half", 0);
    stopped.write(runs.path());
    std::fs::remove_file(stopped.folder(runs.path()).join(files::RESULT)).unwrap();
    let request = Request { runs: runs.path().into(), out: out.path().into(), paper: Vec::new() };
    let summary = report(&request).unwrap();
    assert_eq!((summary.tables, summary.figures), (4, 8));
    let page = std::fs::read_to_string(&summary.page).unwrap();
    assert!(!page.contains("<script"), "a name from a manifest is markup");
    assert!(page.contains("&lt;script&gt;"));
    for outside in ["src=", "@import", "url(", "<link"] {
        assert!(!page.contains(outside), "the page loads something: {outside}");
    }
    assert!(page.contains("interrupted") && page.contains("not finished: stopped after epoch 6 of retrain"));
    for name in ["accuracy-size", "accuracy-synops", "training-curves", "search", "layers", "cell", "weights"] {
        let png = std::fs::read(out.path().join("a_b & 50%").join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 5_000, "{name}.png has {} bytes", png.len());
    }

    // Every cell that was measured leads to the trials it comes from, and they are there.
    let links: Vec<&str> = page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.len() > 30, "{}", links.len());
    for link in links {
        assert!(page.contains(&format!("id=\"{link}\"")), "nothing has the id {link}");
    }
    for words in [
        "0123456789ab",
        "hash1",
        "A processor",
        "search + retrain 10.0 s, device 20.0 s (10 epochs)",
        "search 4.0 s, device 8.0 s (4 epochs)",
        "# the &lt;manifest&gt; of the trial",
    ] {
        assert!(page.contains(words), "{words}");
    }

    std::fs::write(&damaged, b"PAR1").unwrap();
    report(&request).unwrap();
    let page = std::fs::read_to_string(&summary.page).unwrap();
    assert!(
        page.contains("layers.parquet") && page.contains("is not a whole table of the record"),
        "a damaged file is named"
    );
}

#[test]
fn means_and_deviations_are_over_repetitions_only() {
    let runs = tempfile::tempdir().unwrap();
    example(runs.path());
    // The same variant with other settings is a row of its own.
    trial(runs.path(), "<script>|lite_1", 0, 0.10, true, "cccc");
    let found = trials::find(runs.path(), &[]).unwrap();
    let groups = &found.experiments[0].groups;
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["<script>|lite_1 [aaaa]", "<script>|lite_1 [cccc]", "dense"]);
    let (mean, deviation) = groups[0].mean_of(|trial| trial.outcome.test_accuracy);
    assert!((mean - 0.79).abs() < 1e-12);
    // Sample standard deviation of 0.78 and 0.80.
    assert!((deviation.unwrap() - 0.02 / 2f64.sqrt()).abs() < 1e-12);
    assert_eq!(groups[2].mean_of(|trial| trial.outcome.test_accuracy), (0.83, None));
}

#[test]
fn a_folder_without_trials_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error =
        report(&Request { runs: folder.path().into(), out: folder.path().join("out"), paper: Vec::new() }).unwrap_err();
    assert!(error.to_string().starts_with("no finished trial lies under"));
    assert!(error.hint().unwrap().contains("litesnn run"));
}
