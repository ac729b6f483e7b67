//! `litesnn plugins`: the descriptions as JSON, and new plugins.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use litesnn_framework::plugin::{Kind, registered};
use litesnn_plugins as _;
use serde_json::Value;
use support::{litesnn, root, stderr, stdout, succeed};

#[test]
fn everything_is_there_as_json() {
    let list: Value = serde_json::from_str(&stdout(&succeed(litesnn().args(["plugins", "--json"])))).unwrap();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    assert_eq!(names, registered().iter().map(|plugin| plugin.name).collect::<Vec<_>>());
    for plugin in registered() {
        let told = stdout(&succeed(litesnn().args(["plugins", plugin.name, "--json"])));
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["kind"], plugin.kind.section());
        assert_eq!(told["paper"], plugin.paper);
        assert_eq!(told["examples"].as_array().unwrap().len(), plugin.examples.len());
        assert!(told["documentation"].as_str().unwrap().len() > 100);
        for setting in told["settings"].as_array().unwrap() {
            for key in ["key", "type", "meaning", "required"] {
                assert!(setting.get(key).is_some_and(|value| *value != ""), "{}: {setting}", plugin.name);
            }
        }
    }
    let rate: Value =
        serde_json::from_str(&stdout(&succeed(litesnn().args(["plugins", "score-prune", "--json"])))).unwrap();
    assert_eq!(rate["settings"][0]["key"], "rate");
    assert_eq!(rate["settings"][0]["type"], "float");
    assert_eq!(rate["settings"][0]["unit"], "of the weights");
    assert_eq!(rate["settings"][0]["required"], true);
    assert_eq!(rate["settings"][0]["range"], "0 or more and below 1");
    assert!(rate["formulas"][0].as_str().unwrap().starts_with("S_0 = sqrt(6 / fan_in)"));
}

/// A folder with as much of a clone as `new` looks at.
fn clone() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        fs::create_dir_all(folder.path().join(format!("plugins/src/{kind}"))).unwrap();
        let file = format!("plugins/src/{kind}/mod.rs");
        fs::copy(root().join(&file), folder.path().join(file)).unwrap();
    }
    for file in ["plugins/src/lib.rs", "plugins/README.md", "rustfmt.toml"] {
        fs::copy(root().join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn template(kind: Kind) -> String {
    fs::read_to_string(root().join(format!("plugins/templates/template_{kind}.rs"))).unwrap()
}

/// Without what rustfmt changes when a name gets shorter or longer.
fn bare(text: &str) -> String {
    let words = text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    words.replace(",}", "}").replace(",)", ")").replace(",]", "]")
}

#[test]
fn a_new_plugin_is_the_template_with_its_names_replaced() {
    let clone = clone();
    for kind in Kind::ALL {
        let longer = (kind == Kind::Compressor).then(|| "a-much-longer-compressor".to_owned());
        for name in [format!("quicksil-{kind}")].into_iter().chain(longer) {
            let said = succeed(litesnn().args(["plugins", "new", kind.section(), &name]).current_dir(clone.path()));
            let (snake, from) = (name.replace('-', "_"), format!("template-{kind}"));
            let file = clone.path().join(format!("plugins/src/{kind}/{snake}.rs"));
            assert_eq!(stdout(&said).trim(), file.display().to_string());
            let camel =
                |name: &str| name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>();
            let wanted = template(kind).replace(&from, &name).replace(&from.replace('-', "_"), &snake);
            let wanted = wanted.replace(&camel(&from), &camel(&name));
            assert_eq!(bare(&fs::read_to_string(&file).unwrap()), bare(&wanted), "{name}");
            let declared = fs::read_to_string(clone.path().join(format!("plugins/src/{kind}/mod.rs"))).unwrap();
            let modules: Vec<&str> =
                declared.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
            assert!(modules.contains(&snake.as_str()) && modules.is_sorted(), "{declared}");
            if name.starts_with("quicksil") {
                assert_eq!(
                    fs::read_to_string(&file).unwrap(),
                    wanted,
                    "a name as long as the template's needs no formatting"
                );
            }
        }
    }
    let list = fs::read_to_string(clone.path().join("plugins/README.md")).unwrap();
    let rows: Vec<(Kind, &str)> = list
        .lines()
        .filter(|line| line.starts_with("| [`"))
        .map(|line| {
            let kind = line.split('|').nth(2).unwrap().trim();
            let kind = Kind::ALL.into_iter().find(|known| known.section() == kind).unwrap();
            (kind, line.split('`').nth(1).unwrap())
        })
        .collect();
    assert_eq!(rows.len(), registered().len() + 7);
    assert!(rows.is_sorted(), "{rows:?}");
    let row = "| [`quicksil-compressor`](src/compressor/quicksil_compressor.rs) | compressor | removes the smallest weights of every output channel \
               | Han et al., Learning both Weights and Connections, NeurIPS 2015 |";
    assert!(list.contains(row), "{list}");
}

fn refused(arguments: &[&str], folder: &Path) -> String {
    let output = litesnn().args(arguments).current_dir(folder).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn nothing_is_overwritten_and_nothing_is_written_elsewhere() {
    let clone = clone();
    let inside = clone.path().join("plugins/src/compressor");
    let before = fs::read_dir(&inside).unwrap().count();
    let file = inside.join("my_prune.rs");
    fs::write(&file, "mine").unwrap();
    let said = refused(&["plugins", "new", "compressor", "my-prune"], &inside);
    assert!(said.contains("my_prune.rs` is there already"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let said = refused(&["plugins", "new", "compressor", "My-Prune"], &inside);
    assert!(said.contains("`My-Prune` is not the name of a plugin"), "{said}");
    let elsewhere = tempfile::tempdir().unwrap();
    let said = refused(&["plugins", "new", "compressor", "other-prune"], elsewhere.path());
    assert!(said.contains("is not in a clone of litesnn"), "{said}");
    let said = refused(&["plugins", "new", "compresor", "other-prune"], &inside);
    assert!(said.contains("compressor"), "{said}");
    assert_eq!(fs::read_dir(&inside).unwrap().count(), before + 1, "nothing was written");
}

/// `magnitude-prune` states the range of its rate and does not check it.
#[test]
fn a_setting_outside_of_its_stated_range_is_refused_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = fs::read_to_string(root().join("tests/manifests/tiny.toml")).unwrap();
    let wrong = tiny.replace("score-prune = { rate = 0.8 }", "magnitude-prune = { rate = 1.0 }");
    assert_ne!(wrong, tiny);
    fs::write(folder.path().join("wrong.toml"), wrong).unwrap();
    let said = refused(&["plan", "wrong.toml"], folder.path());
    let told = "`compressor.magnitude-prune.rate` is 1, and has to be 0 or more and below 1";
    let line = 1 + tiny.lines().position(|line| line.starts_with("score-prune")).unwrap();
    assert!(said.contains(told) && said.contains(&format!("wrong.toml:{line}:28")), "{said}");
}
