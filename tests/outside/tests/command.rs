//! The command of another crate has that crate's plugin, and the plugin keeps the rules of the
//! conformance kit.

use std::path::Path;
use std::process::{Command, Output};

use litesnn_conformance::{Surroundings, Verdict, checks};
use litesnn_framework::plugin::{Kind, find, registered};
use litesnn_plugins as _;
use outside as _;

fn run(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outside"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1").env("COLUMNS", "100");
    command.env("LITESNN_CACHE", env!("CARGO_TARGET_TMPDIR"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn the_command_lists_and_describes_the_plugin_beside_the_others() {
    let here = Path::new(".");
    let list = String::from_utf8(run(&["plugins"], here).stdout).unwrap();
    for name in ["ternary", "score-prune", "spike-dhs"] {
        assert!(list.contains(name), "{name} is not in\n{list}");
    }
    let described = String::from_utf8(run(&["plugins", "ternary"], here).stdout).unwrap();
    assert!(described.contains("delta = threshold · mean |W|") && described.contains("threshold"), "{described}");
    let schema = String::from_utf8(run(&["schema"], here).stdout).unwrap();
    assert!(schema.contains("\"compressor.ternary\""));
}

#[test]
fn a_manifest_uses_it() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/tiny.toml");
    let manifest = format!(
        "extends = {tiny:?}\n[[compressor]]\nternary = {{}}\n[[compressor]]\nscore-prune = {{ rate = 0.5 }}\n\
         [[variant]]\nname = \"ternary\"\n"
    );
    std::fs::write(folder.path().join("ternary.toml"), manifest).unwrap();
    let ran = run(&["run", "ternary.toml", "--device", "cpu", "--threads", "1"], folder.path());
    let table = String::from_utf8(ran.stdout).unwrap();
    let row = table.lines().find(|line| line.contains("ternary seed 0")).unwrap();
    // Two bits on every weight.
    assert!(row.contains(" 2.00 "), "{table}");
}

#[test]
fn it_keeps_every_rule() {
    tch::set_num_threads(1);
    let plugin = find(Kind::Compressor, "ternary").unwrap();
    let beside = Surroundings { plugins: registered(), data: Vec::new() };
    for check in checks(plugin, &beside) {
        match check.run() {
            Ok(verdict) => assert_eq!(verdict, Verdict::Kept, "{}", check.name()),
            Err(broken) => panic!("{broken}"),
        }
    }
}
