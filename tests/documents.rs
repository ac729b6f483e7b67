//! What the documents say is what the project holds, and what they tell users to type works.
//!
//! In the followed pages of `docs/`, every block of ```` ```console ```` is run, in the order of its page, in a folder that holds
//! `experiments/`, `plugins/` and the manifests of the page's ```` ```toml ```` blocks, which begin with `# NAME.toml`. A comment
//! before a block says what the block needs: `<!-- needs: PATH, plugin NAME, command WORDS -->`. Until the project has all of it
//! the block is skipped. `<!-- not run: WHY -->` is for what a test cannot run.

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use litesnn_framework::manifest::{Request, load};
use litesnn_framework::network::SearchSpace;
use litesnn_framework::plugin::registered;
use litesnn_framework::record::{
    CandidateRow, EpochRow, ExitRow, LayerRow, Outcome, Row, SCHEMA, StageRow, WeightBin, files,
};
use litesnn_plugins as _;
use support::{litesnn, root, stderr, stdout, succeed};

/// The longest line of prose, in characters.
const WIDEST: usize = 100;
/// The most words of README.md, counted as `wc -w` counts them.
const MOST_WORDS: usize = 1200;
/// Pages that a reader follows from top to bottom.
const FOLLOWED: [&str; 8] = [
    "add-a-compressor.md",
    "clusters.md",
    "commands.md",
    "data.md",
    "export.md",
    "joint-against-sequential.md",
    "manifests.md",
    "reproduce-a-table.md",
];

fn read(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of `docs/`, by name.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut pages: Vec<String> =
        entries.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".md")).collect();
    pages.sort();
    pages
}

/// The documents of the project, by their path.
fn documents() -> Vec<String> {
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "plugins/README.md",
        "experiments/RESULTS.md",
    ];
    others.map(str::to_owned).into_iter().chain(pages().into_iter().map(|page| format!("docs/{page}"))).collect()
}

/// The lines of a document outside of fenced blocks, each with its number.
fn unfenced(document: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (index, line) in document.lines().enumerate() {
        let fence = line.starts_with("```");
        if !inside && !fence {
            lines.push((index + 1, line));
        }
        inside ^= fence;
    }
    lines
}

/// The fenced blocks of one language.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("\n```{language}\n");
    let rest = document.split(opening.as_str()).skip(1);
    rest.map(|block| block.split_once("\n```").expect("a fence is closed").0).collect()
}

/// The file name in the first line of a block, `# ablation.toml`: the block is a whole manifest.
fn manifest_name(block: &str) -> Option<&str> {
    block.lines().next()?.strip_prefix("# ").filter(|name| name.ends_with(".toml"))
}

/// Fails with the lines that a document has to have, so that they can be copied into it.
fn assert_lines(document: &str, what: &str, found: &[&str], expected: &[String]) {
    assert!(found == expected, "{document}: {what} should be\n{}\n\nand is\n{}", expected.join("\n"), found.join("\n"));
}

#[test]
fn the_readme_is_short() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= MOST_WORDS, "README.md has {words} words, and {MOST_WORDS} are allowed; the manual is docs/");
}

#[test]
fn prose_is_wrapped() {
    let mut wide = Vec::new();
    for document in documents() {
        for (number, line) in unfenced(&read(&document)) {
            let is_code = line.starts_with("    ") || line.starts_with('|');
            if !is_code && line.chars().count() > WIDEST {
                wide.push(format!("{document}:{number}: {} columns", line.chars().count()));
            }
        }
    }
    assert!(wide.is_empty(), "lines of prose have at most {WIDEST} columns:\n{}", wide.join("\n"));
}

/// The links of a document outside of its code: the file, as the document names it, and the heading
/// in the file.
fn links(document: &str) -> Vec<(String, Option<String>)> {
    let text = read(document);
    let prose: Vec<&str> = unfenced(&text).into_iter().map(|(_, line)| line).collect();
    let prose = prose.join("\n");
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    targets
        .filter(|link| !link.starts_with("http"))
        .map(|link| match link.split_once('#') {
            Some((file, heading)) => (file.to_owned(), Some(heading.to_owned())),
            None => (link.to_owned(), None),
        })
        .collect()
}

/// Where a link of a document leads, from the root of the project.
fn target(document: &str, link: &str) -> String {
    if link.is_empty() {
        return document.to_owned();
    }
    let mut path = PathBuf::new();
    for part in Path::new(document).parent().expect("a document lies in a folder").join(link).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{document} links to `{link}`, outside of the project"),
            part => path.push(part),
        }
    }
    path.to_string_lossy().into_owned()
}

/// The name under which a page of GitHub links to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for document in documents() {
        for (link, heading) in links(&document) {
            let target = target(&document, &link);
            assert!(root().join(&target).exists(), "{document} links to `{link}`, which is not there");
            if let Some(heading) = heading {
                let text = read(&target);
                let headings = unfenced(&text).into_iter().filter(|(_, line)| line.starts_with('#'));
                let mut anchors = headings.map(|(_, line)| anchor(line.trim_start_matches('#').trim()));
                assert!(anchors.any(|found| found == heading), "{document}: {target} has no heading `#{heading}`");
            }
        }
    }
}

#[test]
fn everything_in_docs_is_reachable_from_the_readme() {
    let mut reached = BTreeSet::new();
    let mut open = vec!["README.md".to_owned()];
    while let Some(document) = open.pop() {
        if reached.insert(document.clone()) && document.ends_with(".md") && root().join(&document).is_file() {
            open.extend(links(&document).into_iter().map(|(link, _)| target(&document, &link)));
        }
    }
    let there: BTreeSet<String> =
        support::files(&root().join("docs")).into_keys().map(|name| format!("docs/{name}")).collect();
    let unreached: Vec<&String> = there.difference(&reached).collect();
    assert!(unreached.is_empty(), "README.md leads to {unreached:?} by no link");
}

/// ARCHITECTURE.md has the engine's floors as the engine's own documentation has them.
#[test]
fn the_architecture_lists_the_floors() {
    let engine = read("framework/src/lib.rs");
    let expected: Vec<String> = engine
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"))
        .filter_map(|line| line.split_once("`] | "))
        .map(|(floor, about)| {
            format!(
                "| [`{floor}`](framework/src/{floor}) | {} |",
                about.trim_end_matches(" |").replace("[`manifest::Plan`]", "`Plan`")
            )
        })
        .collect();
    assert!(expected.len() > 5, "framework/src/lib.rs has a table of floors");
    let architecture = read("ARCHITECTURE.md");
    let found: Vec<&str> =
        architecture.lines().filter(|line| line.contains("](framework/src/") && line.starts_with("| [")).collect();
    assert_lines("ARCHITECTURE.md", "the table of floors", &found, &expected);
}

#[test]
fn the_list_of_plugins_has_a_row_for_every_one() {
    let list = read("plugins/README.md");
    let rows: Vec<&str> = list.lines().filter(|line| line.starts_with("| [`")).collect();
    let expected: Vec<String> = registered()
        .into_iter()
        .map(|plugin| {
            let (name, file) = (plugin.name, plugin.name.replace('-', "_"));
            let kind = plugin.kind;
            format!("| [`{name}`](src/{kind}/{file}.rs) | {kind} | {} | {} |", plugin.summary, plugin.paper)
        })
        .collect();
    assert_lines("plugins/README.md", "the table of plugins", &rows, &expected);
}

/// docs/authors-program.md lists every setting of the space that the manifests of the paper's tables
/// take from the authors' program, with both values, and the plugins lead there.
#[test]
fn the_list_of_differences_has_every_setting_that_the_papers_manifest_changes() {
    let json = serde_json::json!({ "spike-dhs": {} });
    let default: Box<dyn SearchSpace> = serde_json::from_value(json).expect("all settings have defaults");
    let default = &serde_json::to_value(&default).expect("settings are JSON")["spike-dhs"];
    let manifest = root().join("experiments/paper/table2-cifar10.toml");
    let plan = load(&Request { manifest, ..Request::default() }).expect("it loads");
    let paper = plan.trials[0].settings["space"]["spike-dhs"].as_object().expect("it has settings");
    let changed = paper.iter().filter(|(key, value)| default[key.as_str()] != **value);
    let mut expected: Vec<String> =
        changed.map(|(key, value)| format!("| `{key}` | `{}` | `{value}` |", default[key.as_str()])).collect();
    let page = read("docs/authors-program.md");
    let listed = page.lines().filter(|line| line.starts_with("| `") && line.matches(" | `").count() == 2);
    let mut found: Vec<&str> = listed.map(|line| &line[..line.rfind("` | ").map_or(0, |end| end + 3)]).collect();
    expected.sort();
    found.sort();
    assert_lines("docs/authors-program.md", "the settings", &found, &expected);

    for name in ["spike-dhs", "compressive", "score-prune", "gaussian-quantize", "joint"] {
        let plugin = registered().into_iter().find(|plugin| plugin.name == name).expect("it is registered");
        assert!(plugin.documentation().contains("docs/authors-program.md"), "{name} does not lead to the list");
    }
}

/// What a crate outside of this repository needs is quoted from one that is built.
#[test]
fn the_list_of_plugins_quotes_the_crate_outside() {
    let list = read("plugins/README.md");
    let quoted: Vec<String> = blocks(&list, "rust").into_iter().map(|block| format!("{block}\n")).collect();
    assert_eq!(quoted, [read("tests/outside/build.rs"), read("tests/outside/src/main.rs")]);
    let [manifest] = blocks(&list, "toml")[..] else { panic!("plugins/README.md has one block of TOML") };
    let keys = |text: &str, table: &str| {
        let document: toml_edit::DocumentMut = text.parse().expect("it is TOML");
        let table = document[table].as_table_like().expect("it has dependencies");
        table.iter().map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>()
    };
    let built = read("tests/outside/Cargo.toml");
    assert_eq!(keys(manifest, "dependencies"), keys(&built, "dependencies"));
    // The crate's own test of its command takes a temporary folder, which others do not need.
    assert!(keys(manifest, "dev-dependencies").is_subset(&keys(&built, "dev-dependencies")));
}

/// What `--help` says of a command; each is asked once.
fn help(arguments: &[&str]) -> String {
    static SAID: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut said = SAID.lock().unwrap();
    let of_command = || stdout(&succeed(litesnn().args(arguments).arg("--help")));
    said.entry(arguments.join(" ")).or_insert_with(of_command).clone()
}

/// The commands of a `--help`, with their summaries.
fn commands(arguments: &[&str]) -> Vec<(String, String)> {
    let help = help(arguments);
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let mut found: Vec<(String, String)> = Vec::new();
    for line in list.lines().take_while(|line| !line.is_empty()) {
        match (line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')), found.last_mut()) {
            (Some(rest), _) => {
                let (name, summary) = rest.split_once(' ').expect("a command has a summary");
                found.push((name.to_owned(), summary.trim().to_owned()));
            }
            // A long summary goes on in the next line.
            (None, Some((_, summary))) => *summary = format!("{summary} {}", line.trim()),
            (None, None) => panic!("`{line}` is no command"),
        }
    }
    found.retain(|(name, _)| name != "help");
    found
}

#[test]
fn every_command_is_listed_as_its_help_says() {
    let mut expected = Vec::new();
    for (command, summary) in commands(&[]) {
        expected.push(format!("| [`litesnn {command}`](#litesnn-{command}) | {summary} |"));
        for (inner, summary) in commands(&[&command]) {
            expected.push(format!("| [`litesnn {command} {inner}`](#litesnn-{command}) | {summary} |"));
        }
    }
    assert!(expected.len() > 10, "{expected:?}");
    let page = read("docs/commands.md");
    let found: Vec<&str> = page.lines().filter(|line| line.starts_with("| [`litesnn ")).collect();
    assert_lines("docs/commands.md", "the list of commands", &found, &expected);
}

/// An option in a command's section of docs/commands.md is one that its `--help` lists.
#[test]
fn every_documented_option_is_there() {
    let page = read("docs/commands.md");
    let (sections, mut checked) = (page.split("\n## litesnn ").skip(1), 0);
    for section in sections {
        let command = section.lines().next().expect("a section has a heading");
        let text = section.split("\n## ").next().expect("a section has a text");
        let mut help = help(&[command]);
        for (inner, _) in commands(&[command]) {
            help += &self::help(&[command, &inner]);
        }
        let words = |text: &str| -> BTreeSet<String> {
            let is_option =
                |word: &&str| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic));
            let ends = |c: char| !(c.is_ascii_lowercase() || c == '-');
            text.split(ends).filter(is_option).map(str::to_owned).collect()
        };
        let known = words(&help);
        for option in words(text) {
            assert!(known.contains(&option), "docs/commands.md: `litesnn {command}` has no option `{option}`");
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} options");
}

#[test]
fn the_exit_codes_are_those_of_the_command() {
    let source = syn::parse_file(&read("experiments/cli/exit.rs")).expect("it is Rust");
    let codes = source.items.iter().find_map(|item| match item {
        syn::Item::Enum(codes) if codes.ident == "Exit" => Some(codes),
        _ => None,
    });
    let expected: Vec<String> = codes
        .expect("exit.rs has the enum `Exit`")
        .variants
        .iter()
        .map(|variant| {
            let Some((_, syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(code), .. }))) = &variant.discriminant else {
                panic!("`{}` has a number", variant.ident)
            };
            let words = variant.attrs.iter().filter_map(|attribute| match &attribute.meta {
                syn::Meta::NameValue(syn::MetaNameValue {
                    value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
                    ..
                }) => Some(text.value().trim().to_owned()),
                _ => None,
            });
            format!("| {} | {} |", code.base10_digits(), words.collect::<Vec<_>>().join(" "))
        })
        .collect();
    let page = read("docs/commands.md");
    let is_code =
        |line: &&str| line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let found: Vec<&str> = page.lines().filter(is_code).collect();
    assert_lines("docs/commands.md", "the table of exit codes", &found, &expected);
}

/// The rows of a table's columns in docs/record.md.
fn columns<R: Row>() -> Vec<String> {
    let types: BTreeMap<String, String> =
        R::to_columns(&[]).iter().map(|column| (column.name().to_string(), column.dtype().to_string())).collect();
    R::COLUMNS.iter().map(|(name, about)| format!("| `{name}` | {} | {about} |", types[*name])).collect()
}

#[test]
fn every_column_of_the_record_is_documented_as_it_is_defined() {
    let tables = [
        (files::HISTORY, EpochRow::ABOUT, columns::<EpochRow>()),
        (files::STAGES, StageRow::ABOUT, columns::<StageRow>()),
        (files::CANDIDATES, CandidateRow::ABOUT, columns::<CandidateRow>()),
        (files::WEIGHTS, WeightBin::ABOUT, columns::<WeightBin>()),
        (files::LAYERS, LayerRow::ABOUT, columns::<LayerRow>()),
        (files::EXITS, ExitRow::ABOUT, columns::<ExitRow>()),
        (files::RESULT, Outcome::ABOUT, columns::<Outcome>()),
    ];
    let page = read("docs/record.md");
    let expected: Vec<String> =
        tables.iter().map(|(file, about, _)| format!("| [`{file}`](#{}) | {about} |", anchor(file))).collect();
    let found: Vec<&str> = page.lines().filter(|line| line.starts_with("| [`")).collect();
    assert_lines("docs/record.md", "the list of tables", &found, &expected);
    for (file, _, expected) in tables {
        let heading = format!("\n## {file}\n");
        let (_, section) = page.split_once(&heading).unwrap_or_else(|| panic!("docs/record.md has no `{heading}`"));
        let section = section.split("\n## ").next().expect("a section has a text");
        let found: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        assert_lines("docs/record.md", &format!("the columns of {file}"), &found, &expected);
    }
    let version = format!("`schema` | u32 | Version of the tables, now {SCHEMA}. |");
    assert!(page.contains(&version), "docs/record.md should have\n| {version}");
}

/// A fenced block of a page.
struct Block {
    line: usize,
    language: String,
    text: String,
    /// What is there before the block can be run.
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

/// A folder for a user to stand in: the manifests, the data, the plugins.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    for folder in ["experiments", "plugins"] {
        support::copy_folder(&root().join(folder), &desk.path().join(folder));
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
    assert!(FOLLOWED.contains(&page), "{page} is not among the followed pages");
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
                let name = manifest_name(&block.text).unwrap_or_else(|| panic!("{at}: it begins with `# NAME.toml`"));
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
fn add_a_compressor_works_as_written() {
    follow("add-a-compressor.md");
}

#[test]
fn clusters_works_as_written() {
    follow("clusters.md");
}

#[test]
fn commands_works_as_written() {
    follow("commands.md");
}

#[test]
fn data_works_as_written() {
    follow("data.md");
}

#[test]
fn export_works_as_written() {
    follow("export.md");
}

#[test]
fn joint_against_sequential_works_as_written() {
    follow("joint-against-sequential.md");
}

#[test]
fn manifests_works_as_written() {
    follow("manifests.md");
}

#[test]
fn reproduce_a_table_works_as_written() {
    follow("reproduce-a-table.md");
}

#[test]
fn what_is_to_be_typed_stands_on_a_followed_page() {
    for page in pages().iter().filter(|page| !FOLLOWED.contains(&page.as_str())) {
        let text = read(&format!("docs/{page}"));
        assert!(blocks(&text, "console").is_empty(), "docs/{page} has commands, and no test follows it");
    }
}

/// A block whose first line is a comment with a file name is a whole manifest, which a user saves
/// at the root of the clone.
#[test]
fn manifests_in_the_documents_load() {
    let desk = desk();
    // `again.toml` retrains what the search of its page has found.
    fs::copy(root().join("experiments/designs/lite-snn-small.toml"), desk.path().join("design.toml")).unwrap();
    let mut loaded = BTreeMap::new();
    for document in documents() {
        for block in blocks(&read(&document), "toml") {
            let Some(name) = manifest_name(block) else { continue };
            let manifest = desk.path().join(name);
            fs::write(&manifest, block).expect("it can be written");
            let plan = load(&Request { manifest, ..Request::default() })
                .unwrap_or_else(|error| panic!("{name} in {document}: {error}: {error:?}"));
            loaded.insert(format!("{document}: {name}"), plan.trials.len());
        }
    }
    let expected = [
        ("docs/add-a-compressor.md: mine.toml", 2),
        ("docs/add-a-compressor.md: table4-mine.toml", 1),
        ("docs/clusters.md: cluster.toml", 2),
        ("docs/data.md: cifar.toml", 2),
        ("docs/joint-against-sequential.md: lambdas.toml", 4),
        ("docs/joint-against-sequential.md: order.toml", 3),
        ("docs/joint-against-sequential.md: parts.toml", 4),
        ("docs/manifests.md: ablation.toml", 15),
        ("docs/manifests.md: axes.toml", 7),
        ("docs/manifests.md: compare.toml", 9),
        ("docs/manifests.md: experiment.toml", 2),
        ("docs/manifests.md: plain.toml", 1),
        ("docs/manifests.md: sweep.toml", 6),
        ("docs/manifests.md: taught.toml", 2),
        ("docs/manifests.md: wider.toml", 2),
        ("docs/reproduce-a-table.md: again.toml", 1),
    ];
    assert_eq!(loaded, expected.map(|(name, trials)| (name.to_owned(), trials)).into());
}

/// Lines of README.md that are typed, indented by four spaces. Its runs take minutes: `litesnn run`
/// is planned instead, which reads the same arguments and manifest, and what is done with a run is
/// done with one of the smoke profile.
#[test]
fn commands_of_the_readme_are_understood() {
    let desk = desk();
    let smoke = "litesnn run experiments/quickstart.toml --profile smoke --quiet --set retrain.epochs=1";
    let output = bash(desk.path(), smoke);
    assert!(output.status.success(), "{}", stderr(&output));
    every_file_of_a_trial_is_documented(&desk.path().join("runs"));
    let text = read("README.md");
    let typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    litesnn ")).collect();
    assert!(typed.len() >= 3, "{typed:?}");
    for line in typed {
        // Two spaces and `#` begin a remark.
        let line = line.split("  #").next().unwrap_or_default();
        // `plan` takes all options of `run` but the one that says how.
        let line = line.replace("--jobs 2 ", "");
        let line = line.strip_prefix("run ").map_or_else(|| line.clone(), |rest| format!("plan {rest}"));
        let output = bash(desk.path(), &format!("litesnn {line}"));
        assert!(output.status.success(), "litesnn {line}: {}", stderr(&output));
    }
}

/// docs/record.md names every file that a finished trial leaves in its folder.
fn every_file_of_a_trial_is_documented(runs: &Path) {
    let page = read("docs/record.md");
    let folder = support::trial(runs, "quickstart", "lite-snn");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(page.contains(&format!("\n    {name}")), "docs/record.md does not name `{name}`");
    }
}
