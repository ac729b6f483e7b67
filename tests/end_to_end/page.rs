//! Tables, figures and the page.

use std::collections::BTreeSet;
use std::path::Path;

use litesnn_framework::record::{self, Outcome};

use crate::support::{files, floats, litesnn, manifest, root, run, stderr, stdout, succeed, table, trial};

#[test]
fn a_report_has_tables_figures_and_a_page_that_loads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, out) = (folder.path().join("runs"), folder.path().join("report"));
    succeed(&mut run(&manifest("tiny.toml"), &runs));
    let trials_before = files(&runs);
    let output = succeed(litesnn().arg("report").arg(&runs).arg("--out").arg(&out));
    assert_eq!(stdout(&output).trim(), out.join("index.html").to_string_lossy());
    assert!(trials_before == files(&runs), "a report changed a trial");

    let made = files(&out);
    let of_kind = |extension: &str| -> BTreeSet<String> {
        made.keys().filter_map(|name| name.strip_suffix(extension).map(str::to_owned)).collect()
    };
    for extension in [".md", ".csv", ".tex"] {
        assert!(of_kind(extension).contains("tiny/comparison"), "{extension}: {:?}", made.keys());
    }
    let figures = of_kind(".svg");
    assert_eq!(figures, of_kind(".png"));
    for figure in ["accuracy-size", "accuracy-synops", "training-curves", "layers", "cell", "weights"] {
        assert!(figures.contains(&format!("tiny/{figure}")), "{figure}: {figures:?}");
    }
    for (name, bytes) in &made {
        let whole = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
            Some("png") => bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() > 1000,
            Some("svg") => bytes.starts_with(b"<svg") && bytes.trim_ascii_end().ends_with(b"</svg>"),
            _ => !bytes.is_empty(),
        };
        assert!(whole, "{name}");
    }

    let page = std::str::from_utf8(&made["index.html"]).unwrap();
    assert!(page.trim_start().to_lowercase().starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for what in loads(page) {
        assert!(what.starts_with("data:") || what.starts_with('#'), "the page loads {what}");
    }
    for words in ["lite-snn", "dense", "<table", "<svg"] {
        assert!(page.contains(words), "{words}");
    }

    // The table says what the record says.
    let csv = std::str::from_utf8(&made["tiny/trials.csv"]).unwrap();
    let accuracy = floats(&table(&trial(&runs, "tiny", "lite-snn").join("result.parquet")), "test_accuracy")[0];
    let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    assert!(header.contains(&"test_accuracy"), "{header:?}");
    assert!(csv.lines().any(|line| line.split(',').any(|cell| cell.parse() == Ok(accuracy))), "{accuracy}\n{csv}");

    // A second report of the same trials is the same, to the byte.
    succeed(litesnn().arg("report").arg(&runs).arg("--out").arg(&out));
    let again = files(&out);
    let differing: Vec<&String> = made.keys().filter(|name| again.get(*name) != made.get(*name)).collect();
    assert!(differing.is_empty() && again.len() == made.len(), "{differing:?}");
}

#[test]
fn a_check_ends_with_an_exit_code_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    let text = std::fs::read_to_string(manifest("tiny.toml")).unwrap();
    let named = |reproduces: &str| text.replace("name = \"tiny\"", &format!("name = \"own\"\n{reproduces}"));
    let check = |manifest: &str, arguments: &[&str]| {
        let runs = tempfile::tempdir().unwrap();
        std::fs::write(&path, manifest).unwrap();
        succeed(run(&path, runs.path()).args(arguments));
        litesnn()
            .arg("report")
            .arg(runs.path())
            .arg("--check")
            .arg("--out")
            .arg(runs.path().join("out"))
            .output()
            .unwrap()
    };
    let nothing = check(&named(""), &[]);
    assert_eq!(nothing.status.code(), Some(4), "{}", stderr(&nothing));
    assert!(stderr(&nothing).contains("nothing was checked"), "{}", stderr(&nothing));

    let table3 = named("reproduces = \"lite-snn/table3\"");
    let reduced = check(&table3, &["--set", "retrain.epochs=1"]);
    assert_eq!(reduced.status.code(), Some(4), "{}", stderr(&reduced));
    for words in
        ["lite-snn/table3, LitE-SNN: not comparable (data = Fashion-MNIST", "(paper: speech-commands, official)"]
    {
        assert!(stderr(&reduced).contains(words), "{}", stderr(&reduced));
    }

    // At the manifest's own settings, and on other data than the paper's.
    let other_data = check(&table3, &[]);
    assert_eq!(other_data.status.code(), Some(4), "{}", stderr(&other_data));

    // The same result as if it had the paper's data and settings: the manifest as `explain`
    // resolves it. Where one setting is another, it is named.
    let runs = tempfile::tempdir().unwrap();
    std::fs::write(&path, &table3).unwrap();
    succeed(&mut run(&path, runs.path()));
    let folder = trial(runs.path(), "own", "lite-snn");
    let result = folder.join("result.parquet");
    let mut rows: Vec<Outcome> = record::read(&result).unwrap();
    rows[0].data_edition = "official".into();
    record::write(&result, &rows).unwrap();
    let paper = succeed(litesnn().arg("explain").arg(root().join("experiments/paper/table3-gsc.toml")));
    let judged = |manifest: &str| {
        std::fs::write(folder.join("manifest.toml"), manifest).unwrap();
        let out = runs.path().join("out");
        litesnn().arg("report").arg(runs.path()).arg("--check").arg("--out").arg(out).output().unwrap()
    };
    let shorter = judged(&stdout(&paper).replace("\nepochs = 200 ", "\nepochs = 2 "));
    assert_eq!(shorter.status.code(), Some(4), "{}", stderr(&shorter));
    let expected = "lite-snn/table3, LitE-SNN: not comparable (retrain.epochs = 2 (paper: 200))";
    assert!(stderr(&shorter).contains(expected), "{}", stderr(&shorter));
    let outside = judged(&stdout(&paper));
    assert_eq!(outside.status.code(), Some(3), "{}", stderr(&outside));
    assert!(stdout(&outside).contains("outside lite-snn/table3, LitE-SNN, Accuracy (%)"), "{}", stdout(&outside));
    assert!(stderr(&outside).contains("are outside of their tolerance"), "{}", stderr(&outside));

    // A name that no publication has is found before anything runs, and in a record all the same.
    std::fs::write(&path, named("reproduces = \"lite-snn/tabel4\"")).unwrap();
    for arguments in [["plan", "--device=cpu"], ["run", "--device=cpu"]] {
        let refused = litesnn().args(arguments).arg(&path).arg("--runs").arg(runs.path()).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("did you mean `lite-snn/table4`?"), "{}", stderr(&refused));
    }
    rows[0].reproduces = "lite-snn/table9".into();
    record::write(&result, &rows).unwrap();
    let unknown = judged(&stdout(&paper));
    assert_eq!(unknown.status.code(), Some(1), "{}", stderr(&unknown));
    assert!(stderr(&unknown).contains("`lite-snn/table4`"), "{}", stderr(&unknown));
}

/// Whatever a page would make a browser fetch: `src`, `srcset`, `href` of anything but a link to
/// click, `url(...)`, `@import`.
fn loads(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (attribute, always) in [("src=", true), ("srcset=", true), ("poster=", true), ("href=", false)] {
        for (at, _) in page.match_indices(attribute) {
            let tag = &page[page[..at].rfind('<').map_or(0, |start| start + 1)..at];
            let clicked = tag.starts_with("a ") || tag.starts_with("a\n");
            if always || !clicked {
                let value = page[at + attribute.len()..].trim_start_matches(['"', '\'']);
                found.push(value.split(['"', '\'', '>', ' ']).next().unwrap_or_default().to_owned());
            }
        }
    }
    for opening in ["url(", "@import", "fetch(", "XMLHttpRequest", "<iframe", "<object", "<embed"] {
        for (at, _) in page.match_indices(opening) {
            let value = page[at + opening.len()..].trim_start_matches(['"', '\'', ' ']);
            found.push(value.chars().take(40).collect());
        }
    }
    found
}

#[test]
fn what_a_page_would_load_is_found() {
    let page = r##"<a href="https://a">x</a><link rel="stylesheet" href="b.css"><img src='c.png'><style>@import "d";</style>
        <path fill="url(#e)"/><use href="#f"/>"##;
    assert_eq!(
        loads(page).iter().map(|it| it.split('"').next().unwrap()).collect::<Vec<_>>(),
        ["c.png", "b.css", "#f", "#e)", "d"]
    );
}
