//! Who may know whom, and what every plugin owes.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use litesnn_framework::manifest::{Request, load};
use litesnn_framework::plugin::{Kind, registered};
use litesnn_plugins as _;
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
    assert_eq!(known_by("framework"), names(&[]));
    assert_eq!(known_by("plugins"), names(&["litesnn-framework"]));
    assert_eq!(known_by("reports"), names(&["litesnn-framework"]));
    assert_eq!(known_by("tests/outside"), names(&["litesnn", "litesnn-framework", "litesnn-plugins"]));
    assert_eq!(known_by("."), names(&["litesnn-framework", "litesnn-plugins", "litesnn-reports"]));
}

/// Rust sources below a folder, each with its lines of code: no comments, nothing after the unit tests begin.
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

/// Plugins that are defined as another one's method in another arrangement: they take its steps, and never its settings.
const BUILT_ON: [(&str, &[&str]); 2] =
    [("branch_wise.rs", &["gaussian_quantize::", "score_prune::"]), ("sequential.rs", &["joint::"])];

/// A plugin is one file (or one folder): it uses the framework, and no other plugin.
#[test]
fn plugins_do_not_know_each_other() {
    for (path, code) in sources(&root().join("plugins/src")).iter().filter(|(path, _)| !path.ends_with("lib.rs")) {
        let own = path.components().next().unwrap().as_os_str().to_string_lossy();
        let own = format!("crate::{}", own.trim_end_matches(".rs"));
        let outside = path.components().count() == 1;
        for line in code {
            for (at, _) in line.match_indices("crate::") {
                let allowed =
                    BUILT_ON.iter().find(|(file, _)| path.ends_with(file)).map_or(&[][..], |(_, others)| others);
                let known = allowed.iter().any(|other| line[at..].starts_with(&format!("crate::{other}")));
                assert!(known || line[at..].starts_with(&own), "plugins/src/{}: {}", path.display(), line.trim());
            }
            assert!(!(outside && line.contains("super::")), "plugins/src/{}: {}", path.display(), line.trim());
            assert!(!line.contains("litesnn_plugins"), "plugins/src/{}: {}", path.display(), line.trim());
        }
    }
}

/// Data flow one way through the engine: what comes later in this list may use what comes before, and not the other way round.
#[test]
fn the_manifest_runs_nothing_and_the_record_knows_no_network() {
    const MAY_NOT: [(&str, &[&str]); 4] = [
        ("manifest", &["run::", "record::", "spiking::", "cost::"]),
        ("spiking", &["manifest::", "train::", "run::", "record::", "cost::"]),
        ("cost", &["manifest::", "train::", "run::", "record::"]),
        ("record", &["manifest::", "train::", "plugin::", "spiking::", "cost::"]),
    ];
    for (module, refused) in MAY_NOT {
        for (path, code) in sources(&root().join("framework/src").join(module)) {
            for line in code {
                let used = line.match_indices("crate::").map(|(at, name)| &line[at + name.len()..]);
                for used in used {
                    let bad = refused.iter().find(|module| used.starts_with(**module));
                    assert!(bad.is_none(), "framework/src/{module}/{}: {}", path.display(), line.trim());
                }
            }
        }
    }
}

#[test]
fn reports_know_the_record_alone() {
    const ALLOWED: [&str; 5] = ["record", "design", "run::write_atomically", "run::attempt", "Error"];
    for (path, code) in sources(&root().join("reports/src")) {
        for line in code {
            for (at, name) in line.match_indices("litesnn_framework::") {
                let used = &line[at + name.len()..];
                let known = ALLOWED.iter().any(|allowed| used.starts_with(allowed));
                assert!(known, "reports/src/{}: {}", path.display(), line.trim());
            }
        }
    }
}

#[test]
fn every_file_of_plugins_is_the_plugin_of_its_name() {
    let files: BTreeSet<String> = std::fs::read_dir(root().join("plugins/src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("lib.rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().replace('_', "-"))
        .collect();
    let names: BTreeSet<String> = registered().iter().map(|plugin| plugin.name.to_owned()).collect();
    assert_eq!(files, names);
    assert_eq!(names.len(), registered().len(), "two plugins share a name");
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
