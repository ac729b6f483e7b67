//! What the documents quote is what the project holds, and what they tell users to type works.
//!
//! In `docs/`, every block of ```` ```console ```` is run, in the order of its page, in a folder that holds `experiments/` and
//! the manifests of the page's ```` ```toml ```` blocks (those that begin with `# NAME.toml`). A comment before a block says what
//! it needs: `<!-- needs: PATH, plugin NAME, command WORDS -->`. Until the project has all of it the block is skipped.
//! `<!-- not run: WHY -->` is for what cannot be run by a test.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use litesnn_framework::manifest::{Request, load};
use litesnn_framework::plugin::registered;
use litesnn_plugins as _;
use support::{litesnn, root, stderr, stdout};

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
    let expected =
        [("cluster.toml", 2), ("experiment.toml", 2), ("ablation.toml", 15), ("sweep.toml", 6), ("magnitude.toml", 2)];
    assert_eq!(loaded, expected.map(|(name, trials)| (name.to_owned(), trials)));
}

#[test]
fn the_list_of_plugins_has_a_row_for_every_one() {
    let list = read("plugins/README.md");
    let rows: Vec<&str> = list.lines().filter(|line| line.starts_with("| [`")).collect();
    let expected: Vec<String> = registered()
        .into_iter()
        .map(|plugin| {
            let (name, file) = (plugin.name, plugin.name.replace('-', "_"));
            format!("| [`{name}`](src/{file}.rs) | {} | {} | {} |", plugin.kind, plugin.summary, plugin.paper)
        })
        .collect();
    assert_eq!(rows, expected, "plugins/README.md: the table of plugins should be\n{}", expected.join("\n"));
}

/// What a crate outside of this repository needs is quoted from one that is built.
#[test]
fn the_list_of_plugins_quotes_the_crate_outside() {
    let list = read("plugins/README.md");
    let quoted: Vec<String> = blocks(&list, "rust").into_iter().map(|block| format!("{block}\n")).collect();
    assert_eq!(quoted, [read("tests/outside/build.rs"), read("tests/outside/src/main.rs")]);
    let [manifest] = blocks(&list, "toml")[..] else { panic!("plugins/README.md has one block of TOML") };
    let keys = |text: &str| {
        let document: toml_edit::DocumentMut = text.parse().expect("it is TOML");
        let table = document["dependencies"].as_table_like().expect("it has dependencies");
        table.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(manifest), keys(&read("tests/outside/Cargo.toml")));
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    // The picture of the page is made by a run.
    let made = ["docs/report.png"];
    let pages = pages().into_iter().map(|page| format!("docs/{page}"));
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "plugins/README.md"];
    for document in others.map(str::to_owned).into_iter().chain(pages) {
        let text = read(&document);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&document);
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

/// The pages for users, by name. What was measured takes minutes, and is no page to follow.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut pages: Vec<String> = entries
        .map(|name| name.into_string().unwrap())
        .filter(|name| name.ends_with(".md") && !["RELIABILITY.md", "SPEED.md"].contains(&name.as_str()))
        .collect();
    pages.sort();
    pages
}

/// A fenced block of a page.
struct Block {
    line: usize,
    language: String,
    text: String,
    /// What is there before it can be run.
    needs: Vec<String>,
    runs: bool,
}

fn fenced(page: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut comment = "";
    while let Some((index, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let needs = comment.strip_prefix("<!-- needs: ").and_then(|rest| rest.strip_suffix(" -->"));
            all.push(Block {
                line: index + 1,
                language: language.to_owned(),
                text: text.join("\n") + "\n",
                needs: needs.map(|list| list.split(", ").map(str::to_owned).collect()).unwrap_or_default(),
                runs: !comment.starts_with("<!-- not run: "),
            });
        }
        comment = line;
    }
    all
}

/// Whether the project has what a block needs: a file, `plugin NAME`, `command WORDS`.
fn is_there(need: &str) -> bool {
    if let Some(name) = need.strip_prefix("plugin ") {
        return registered().iter().any(|plugin| plugin.name == name);
    }
    match need.strip_prefix("command ") {
        Some(words) => {
            let help = litesnn().args(words.split(' ')).arg("--help").output().unwrap();
            stdout(&help).contains(&format!("Usage: litesnn {words}"))
        }
        None => root().join(need).exists(),
    }
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in support::files(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// A folder for a user to stand in: the manifests, the data, the plugins.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    for folder in ["experiments", "plugins"] {
        copy(&root().join(folder), &desk.path().join(folder));
    }
    desk
}

/// Runs what is typed, as bash does, with this project's command first in the path.
fn bash(desk: &Path, script: &str) -> std::process::Output {
    let built = litesnn();
    let program = Path::new(built.get_program());
    let mut path = PathBuf::from(program.parent().unwrap()).into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(desk);
    for (name, value) in built.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("PATH", path).env("OMP_NUM_THREADS", "1").output().unwrap()
}

/// Runs a page from top to bottom.
fn follow(page: &str) {
    let desk = desk();
    let mut ran = 0;
    for block in fenced(&read(&format!("docs/{page}"))) {
        let at = format!("docs/{page}:{}", block.line);
        let missing: Vec<&String> = block.needs.iter().filter(|need| !is_there(need)).collect();
        if !block.runs {
            continue;
        }
        if !missing.is_empty() {
            // Not `eprintln!`, which the harness keeps to itself.
            #[allow(clippy::explicit_write)]
            writeln!(io::stderr(), "block skipped: {at} needs {missing:?}").unwrap();
            continue;
        }
        match block.language.as_str() {
            "toml" => {
                let name = block.text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("`# NAME.toml`");
                fs::write(desk.path().join(name), &block.text).unwrap();
            }
            "console" => {
                let typed = block.text.lines().map(|line| {
                    line.strip_prefix("$ ").unwrap_or_else(|| panic!("{at}: `{line}` does not begin with `$ `"))
                });
                let output = bash(desk.path(), &typed.collect::<Vec<_>>().join("\n"));
                assert!(output.status.success(), "{at}: {}\n{}{}", output.status, stdout(&output), stderr(&output));
                ran += 1;
            }
            other => panic!("{at}: a block of `{other}` is neither run nor read by a test"),
        }
    }
    assert!(ran > 0, "docs/{page} has nothing to run");
}

#[test]
fn reproduce_a_table_works_as_written() {
    follow("reproduce-a-table.md");
}

#[test]
fn joint_against_sequential_works_as_written() {
    follow("joint-against-sequential.md");
}

#[test]
fn add_a_compressor_works_as_written() {
    follow("add-a-compressor.md");
}

#[test]
fn every_page_is_followed() {
    // What was survived is no page to follow.
    let followed: Vec<String> = pages().into_iter().filter(|page| page != "RELIABILITY.md").collect();
    assert_eq!(followed, ["add-a-compressor.md", "joint-against-sequential.md", "reproduce-a-table.md"]);
}

/// Lines of README.md that are typed, indented by four spaces. Its runs take minutes: `litesnn run` is planned instead, which reads
/// the same arguments and manifest, and what is done with a run is done with one of the smoke profile.
#[test]
fn commands_of_the_readme_are_understood() {
    let desk = desk();
    let smoke =
        "litesnn run experiments/quickstart.toml --profile smoke --quiet --set search.epochs=1 --set retrain.epochs=1";
    let output = bash(desk.path(), smoke);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = read("README.md");
    for block in blocks(&text, "toml").into_iter().filter(|block| block.starts_with("# cluster.toml")) {
        fs::write(desk.path().join("experiments/cluster.toml"), block).expect("it can be written");
    }
    let typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    litesnn ")).collect();
    assert!(typed.len() >= 3, "{typed:?}");
    // Nothing can be fetched here.
    for line in typed.into_iter().filter(|line| !line.starts_with("data fetch")) {
        // Two spaces and `#` begin a remark.
        let line = line.split("  #").next().unwrap_or_default();
        // `plan` takes all options of `run` but the one that says how.
        let line = line.replace("--jobs 2 ", "");
        let line = line.strip_prefix("run ").map_or_else(|| line.clone(), |rest| format!("plan {rest}"));
        let output = bash(desk.path(), &format!("litesnn {line}"));
        assert!(output.status.success(), "litesnn {line}: {}", stderr(&output));
    }
}
