//! What the documents quote is what the project holds.

use std::fs;
use std::path::Path;

use litesnn_framework::manifest::{Request, load};
use litesnn_framework::plugin::registered;
use litesnn_plugins as _;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of one language.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("\n```{language}\n");
    let rest = document.split(opening.as_str()).skip(1);
    rest.map(|block| block.split_once("\n```").expect("a fence is closed").0).collect()
}

#[test]
fn contributing_quotes_the_plugin_as_it_is() {
    let quoted = read("CONTRIBUTING.md");
    let [quoted] = blocks(&quoted, "rust")[..] else { panic!("CONTRIBUTING.md has one block of Rust") };
    assert_eq!(
        format!("{quoted}\n"),
        read("plugins/src/magnitude_prune.rs"),
        "copy plugins/src/magnitude_prune.rs into CONTRIBUTING.md"
    );
}

/// A block whose first line is a comment with a file name, `# ablation.toml`, is a whole manifest that lies beside the quick start.
#[test]
fn manifests_in_the_documents_load() {
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    fs::write(folder.path().join("quickstart.toml"), read("experiments/quickstart.toml")).expect("it can be written");
    let mut loaded = Vec::new();
    for document in ["README.md", "CONTRIBUTING.md"] {
        for block in blocks(&read(document), "toml") {
            let first = block.lines().next().unwrap_or_default();
            let Some(name) = first.strip_prefix("# ").filter(|name| name.ends_with(".toml")) else { continue };
            let manifest = folder.path().join(name);
            fs::write(&manifest, block).expect("it can be written");
            let plan = load(&Request { manifest, ..Request::default() })
                .unwrap_or_else(|error| panic!("{name} in {document}: {error}: {error:?}"));
            loaded.push((name.to_owned(), plan.trials.len()));
        }
    }
    let expected = [("experiment.toml", 2), ("ablation.toml", 15), ("sweep.toml", 6), ("magnitude.toml", 2)];
    assert_eq!(loaded, expected.map(|(name, trials)| (name.to_owned(), trials)));
}

#[test]
fn the_list_of_plugins_names_every_one_with_its_kind() {
    let list = read("plugins/README.md");
    for plugin in registered() {
        let row =
            format!("| [`{}`](src/{}.rs) | {} |", plugin.name, plugin.name.replace('-', "_"), plugin.kind.section());
        assert!(list.contains(&row), "plugins/README.md has no row that begins `{row}`");
    }
    let rows = list.lines().filter(|line| line.starts_with("| [`")).count();
    assert_eq!(rows, registered().len());
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    // The picture of the page is made by a run.
    let made = ["docs/report.png"];
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "plugins/README.md"] {
        let text = read(document);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        // Code has brackets too.
        let prose: String = text.split("```").step_by(2).collect();
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.starts_with("http") || made.contains(&link) {
                continue;
            }
            let target = folder.parent().expect("a file lies in a folder").join(link);
            assert!(target.exists(), "{document} links to `{link}`, which is not there");
        }
    }
}
