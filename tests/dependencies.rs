//! Who may know whom, and what every plugin owes.

#![allow(clippy::print_stdout, clippy::print_stderr)] // For who reads the log of the tests.

#[path = "support/mod.rs"]
mod support;

#[path = "support/paths.rs"]
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use litesnn_framework::manifest::{Request, load};
use litesnn_framework::plugin::{Kind, registered};
use litesnn_plugins as _;
use paths::{Sources, Use};
use proc_macro2::{TokenStream, TokenTree};
use support::{manifest, root};
use toml_edit::{DocumentMut, Item, TableLike};

/// The packages of this workspace that a package of it depends on, for whatever purpose.
fn known_by(package: &str) -> BTreeSet<String> {
    let path = root().join(package).join("Cargo.toml");
    let document: DocumentMut = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let mut tables: Vec<&dyn TableLike> = vec![document.as_table()];
    if let Some(targets) = document.get("target").and_then(Item::as_table_like) {
        tables.extend(targets.iter().filter_map(|(_, target)| target.as_table_like()));
    }
    let mut names = BTreeSet::new();
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in table.get(kind).and_then(Item::as_table_like).into_iter().flat_map(TableLike::iter) {
                let renamed = value.as_table_like().and_then(|it| it.get("package")).and_then(Item::as_str);
                let name = renamed.unwrap_or(name);
                if name.starts_with("litesnn") {
                    names.insert(name.to_owned());
                }
            }
        }
    }
    names
}

#[test]
fn packages_know_whom_they_may() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(known_by("framework"), names(&["litesnn-engine"]));
    assert_eq!(known_by("framework/conformance"), names(&["litesnn-framework"]));
    // Itself, with the features that its tests run.
    assert_eq!(known_by("framework/engine"), names(&["litesnn-engine"]));
    assert_eq!(known_by("framework/exchange"), names(&["litesnn-engine"]));
    assert_eq!(known_by("plugins"), names(&["litesnn-conformance", "litesnn-framework"]));
    assert_eq!(known_by("framework/engine/wasm"), names(&["litesnn-engine"]));
    assert_eq!(known_by("framework/engine/microcontroller"), names(&["litesnn-engine"]));
    assert_eq!(known_by("reports"), names(&["litesnn-engine", "litesnn-framework"]));
    assert_eq!(
        known_by("tests/outside"),
        names(&["litesnn", "litesnn-conformance", "litesnn-framework", "litesnn-plugins"])
    );
    let all = ["litesnn-engine", "litesnn-exchange", "litesnn-framework", "litesnn-plugins", "litesnn-reports"];
    assert_eq!(known_by("."), names(&all));
}

/// Rust sources below a folder, each with its lines of code: no comments, nothing after the unit
/// tests begin.
fn sources(folder: &Path) -> Vec<(PathBuf, Vec<String>)> {
    let texts = support::files(folder).into_iter().filter(|(name, _)| name.ends_with(".rs"));
    texts
        .map(|(name, text)| {
            let text = String::from_utf8(text).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines();
            (PathBuf::from(name), code.filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn the_framework_the_reports_and_the_command_name_no_plugin() {
    for folder in ["framework/src", "reports/src", "experiments/cli"] {
        for (path, code) in sources(&root().join(folder)) {
            for plugin in registered() {
                let quoted = format!("\"{}\"", plugin.name);
                let found: Vec<&String> = code.iter().filter(|line| line.contains(&quoted)).collect();
                assert!(found.is_empty(), "{folder}/{}: {found:?}", path.display());
            }
        }
    }
}

/// Every token of a text, those within brackets too.
fn tokens(code: &str) -> Vec<TokenTree> {
    let mut all = Vec::new();
    let mut open: Vec<TokenStream> = vec![code.parse().unwrap()];
    while let Some(stream) = open.pop() {
        for token in stream {
            match token {
                TokenTree::Group(group) => open.push(group.stream()),
                other => all.push(other),
            }
        }
    }
    all
}

/// What a text could have of a plugin's settings: the parts of its strings that are no prose and no
/// file's name, and the fields of its structs, which are options of the command line.
fn names_of_settings(code: &str) -> BTreeSet<String> {
    let strings = tokens(code).into_iter().filter_map(|token| match token {
        TokenTree::Literal(literal) => match syn::parse_str(&literal.to_string()) {
            Ok(syn::Lit::Str(text)) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let words = |text: String| {
        let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned);
        parts.collect::<Vec<String>>()
    };
    let may_name = |text: &String| !text.contains(char::is_whitespace) && !text.ends_with(".toml");
    let mut names: BTreeSet<String> = strings.filter(may_name).flat_map(words).collect();
    for item in syn::parse_file(code).unwrap().items {
        if let syn::Item::Struct(item) = item {
            names.extend(item.fields.iter().filter_map(|field| Some(field.ident.as_ref()?.to_string())));
        }
    }
    names
}

/// A key that the framework's code has as a name, too, is a word of the framework: `threads`,
/// `steps`.
#[test]
fn the_command_names_no_setting_of_a_plugin() {
    let mut words = BTreeSet::new();
    for (_, code) in sources(&root().join("framework/src")) {
        words.extend(tokens(&code.join("\n")).into_iter().filter_map(|token| match token {
            TokenTree::Ident(name) => Some(name.to_string()),
            _ => None,
        }));
    }
    let plugins = registered();
    let settings = plugins.iter().flat_map(|plugin| plugin.settings());
    let keys = settings.flat_map(|setting| setting.key.split('.').map(str::to_owned).collect::<Vec<_>>());
    let own: BTreeSet<String> = keys.filter(|key| !words.contains(key)).collect();
    assert!(own.contains("cells") && own.contains("stem_stride") && !own.contains("threads"), "{own:?}");
    for seen in ["const KEY: &str = \"space.one.cells\";", "struct Bench { cells: Option<i64> }"] {
        assert!(!names_of_settings(seen).is_disjoint(&own), "{seen}");
    }
    for (path, code) in sources(&root().join("experiments/cli")) {
        let found: Vec<String> = names_of_settings(&code.join("\n")).intersection(&own).cloned().collect();
        assert!(found.is_empty(), "experiments/cli/{}: {found:?}", path.display());
    }
}

/// Floors of the framework, lowest first: each may use those before it in this list, and itself.
const FLOORS: [&str; 11] =
    ["ground", "spiking", "plugin", "data", "network", "record", "train", "launch", "manifest", "run", "benchmark"];

/// Uses of a higher floor by a lower one, and how many times each floor uses each other one.
fn upward(floors: &[&str], uses: &[Use]) -> (Vec<String>, BTreeMap<(usize, usize), usize>) {
    let floor = |module: &[String]| floors.iter().position(|floor| module.first().is_some_and(|name| name == floor));
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::new());
    for one in uses {
        // What stands at the root belongs to no floor: it can see all of them, and none may use it.
        let Some(from) = floor(&one.from) else { continue };
        let place = format!("{}:{}: `{}`", one.file.display(), one.line, one.path);
        match floor(&one.to) {
            Some(to) if to > from => wrong.push(format!("{place} is on the floor `{}`, above", floors[to])),
            Some(to) => *counts.entry((from, to)).or_default() += 1,
            None => wrong.push(format!("{place} is on no floor")),
        }
    }
    (wrong, counts)
}

#[test]
fn every_floor_of_the_framework_looks_down() {
    let root = root().join("framework/src/lib.rs");
    let folders = support::folders(root.parent().unwrap());
    assert_eq!(folders, FLOORS.iter().map(|floor| (*floor).to_owned()).collect(), "each folder is a floor");
    let (wrong, counts) = upward(&FLOORS, &Sources::read(&root).uses(&[]));
    println!("floors of the framework, lowest first, and how many times each names those below it:");
    for (from, floor) in FLOORS.iter().enumerate() {
        let below = (0..from).filter_map(|to| Some(format!("{} {}", FLOORS[to], counts.get(&(from, to))?)));
        println!("{floor:>10}: {}", below.collect::<Vec<_>>().join(", "));
    }
    println!("upward: {}", wrong.len());
    assert!(wrong.is_empty(), "{} upward:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_look_up_is_seen_in_whatever_way_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod high; pub mod low; pub use high::Top; pub use serde;");
    write("high/mod.rs", "mod inner; pub use inner::Thing; pub struct Top; pub fn make() {}");
    write("high/inner.rs", "pub struct Thing; use crate::low::middle::Fine;");
    write("low/mod.rs", "pub mod middle; mod detour; pub use super::high::make as hidden;");
    write("low/detour.rs", "use crate::low::hidden; use crate::serde::Serialize;");
    write(
        "low/middle.rs",
        "use crate::{high::{self, Thing as Renamed}, low};\n\
         use super::super::high::Top;
         pub struct Fine;\n\
         fn a() -> crate::high::Thing { crate::high::make(); panic!(\"{:?}\", crate::high::make()) }\n\
         mod tests { use super::super::super::high::*; }\n\
         use crate::Top as Again;
         fn b() { use crate::high::inner::Thing; }",
    );
    let (wrong, counts) = upward(&["low", "high"], &Sources::read(&folder.path().join("lib.rs")).uses(&[]));
    let places: Vec<&str> = wrong.iter().map(|text| text.split('`').next().unwrap().trim_end_matches(": ")).collect();
    assert_eq!(
        places,
        [
            "low/middle.rs:1",
            "low/middle.rs:1",
            "low/middle.rs:2",
            "low/middle.rs:4",
            "low/middle.rs:4",
            "low/middle.rs:4",
            "low/middle.rs:5",
            "low/middle.rs:6",
            "low/middle.rs:7",
            "low/detour.rs:1",
            "low/mod.rs:1",
        ],
        "{wrong:#?}"
    );
    assert_eq!(counts[&(1, 0)], 1);
}

/// The kinds' rooms in `plugins/src`: a plugin uses the framework and what its room shares, and no
/// other plugin.
#[test]
fn plugins_do_not_know_each_other() {
    let names: BTreeSet<String> = registered().iter().map(|plugin| plugin.name.replace('-', "_")).collect();
    for one in Sources::read(&root().join("plugins/src/lib.rs")).uses(&[]) {
        let ([room, file, ..], [other_room, other_file, ..]) = (one.from.as_slice(), one.to.as_slice()) else {
            continue;
        };
        let same_room = room == other_room;
        let another = file != other_file && names.contains(other_file);
        let place = format!("plugins/src/{}:{}: `{}`", one.file.display(), one.line, one.path);
        assert!(same_room, "{place} is in the room of another kind");
        assert!(!another, "{place} is another plugin; what both need is a file of its own in the room");
    }
}

#[test]
fn reports_know_the_record_alone() {
    const ALLOWED: [&[&str]; 7] = [
        &["record"],
        &["network", "Architecture"],
        &["network", "Design"],
        &["network", "Edge"],
        &["ground", "file"],
        &["ground", "counted"],
        &["Error"],
    ];
    for one in Sources::read(&root().join("reports/src/lib.rs")).uses(&["litesnn_framework"]) {
        if one.other.is_some() {
            let known = ALLOWED
                .iter()
                .any(|allowed| one.to.iter().zip(*allowed).filter(|(a, b)| a == *b).count() == allowed.len());
            assert!(known, "reports/src/{}:{}: `{}`", one.file.display(), one.line, one.path);
        }
    }
}

#[test]
fn every_plugin_is_a_file_of_its_kinds_room() {
    let names: BTreeSet<&str> = registered().iter().map(|plugin| plugin.name).collect();
    assert_eq!(names.len(), registered().len(), "two plugins share a name");
    assert_eq!(support::folders(&root().join("plugins/src")), Kind::ALL.map(|kind| kind.section().to_owned()).into());
    for plugin in registered() {
        let file = format!("plugins/src/{}/{}.rs", plugin.kind, plugin.name.replace('-', "_"));
        let text = std::fs::read_to_string(root().join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(text, plugin.source, "`{}` is registered elsewhere than in {file}", plugin.name);
    }
    for kind in Kind::ALL {
        assert!(registered().iter().any(|plugin| plugin.kind == kind), "no {kind}");
    }
}

/// The tiny manifest with one trial, in which the section of `kind` is an example.
fn with_example(kind: Kind, example: &str) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = std::fs::read_to_string(manifest("tiny.toml")).unwrap().parse()?;
    let example: DocumentMut = example.parse()?;
    document.remove("variant");
    let section = kind.section();
    assert_eq!(example.iter().map(|(key, _)| key).collect::<Vec<_>>(), [section], "it is one section");
    document.insert(section, example[section].clone());
    // As many steps as any optimizer has, and epochs after any warm-up.
    document["retrain"]["epochs"] = toml_edit::value(4);
    Ok(document.to_string())
}

#[test]
fn every_example_is_a_section_that_works() {
    let folder = tempfile::tempdir().unwrap();
    for plugin in registered() {
        for example in plugin.examples {
            let path = folder.path().join("example.toml");
            let text = with_example(plugin.kind, example).unwrap_or_else(|error| panic!("{example}\n{error}"));
            std::fs::write(&path, text).unwrap();
            let plan = load(&Request { manifest: path, ..Request::default() }).unwrap_or_else(|error| match error {
                litesnn_framework::Error::Manifest(problems) => {
                    panic!("{example}\n{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
                }
                other => panic!("{example}\n{other}"),
            });
            let section = &plan.trials[0].settings[plugin.kind.section()];
            let settings = section.get(0).unwrap_or(section).get(plugin.name);
            assert!(settings.is_some(), "{example}\nis not `{}`: {section}", plugin.name);
        }
    }
}
