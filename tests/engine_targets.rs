//! The engine on machines that are not this one: the file that a page runs, and a microcontroller.

#[path = "support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use litesnn_engine::{Network, Reference, sample};
use support::root;

/// Whether there is what a test needs; where there is not, the test is skipped.
fn there(is: bool, why: &str) -> bool {
    if !is {
        // Not `eprintln!`, which the harness keeps to itself.
        #[allow(clippy::explicit_write)]
        writeln!(io::stderr(), "test skipped: {why}").unwrap();
    }
    is
}

/// Whether the compiler in PATH has the standard library of a target.
fn has_target(target: &str) -> bool {
    let told = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    told.is_ok_and(|told| Path::new(String::from_utf8_lossy(&told.stdout).trim()).is_dir())
}

fn compiler() -> String {
    let told = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}

/// A program in an environment whose settings of cargo are ours, with outputs beside the tests'.
fn building(program: impl AsRef<std::ffi::OsStr>, target: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join(target));
    command
}

/// What it said; a failure is one of the test.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [said, told] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{said}{told}", output.status);
    said + &told
}

#[test]
fn the_engine_of_the_page_is_what_its_script_builds() {
    let kept = root().join("reports/src/try_it");
    let facts: toml_edit::DocumentMut = std::fs::read_to_string(kept.join("engine.toml")).unwrap().parse().unwrap();
    let wanted = facts["compiler"].as_str().unwrap();
    let (has, compiler) = (has_target("wasm32-unknown-unknown"), compiler());
    if !there(has, "rustc has no standard library of wasm32-unknown-unknown (`rustup target add` adds it)")
        || !there(compiler == wanted, &format!("engine.wasm was built by {wanted}, and this is {compiler}"))
    {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let mut build = building(root().join("framework/engine/wasm/build"), "engine-wasm");
    succeed(build.arg("--out").arg(out.path()));
    for name in ["engine.toml", "engine.wasm"] {
        let [kept, built] = [&kept, out.path()].map(|folder| std::fs::read(folder.join(name)).unwrap());
        assert!(kept == built, "reports/src/try_it/{name} is of another engine; run framework/engine/wasm/build");
    }
}

/// What the program of the microcontroller says of a packed file, in QEMU.
fn on_a_microcontroller(file: &Path) -> Option<String> {
    let qemu = Command::new("qemu-system-arm").arg("--version").output().is_ok();
    if !there(has_target("thumbv7em-none-eabihf"), "rustc has no standard library of thumbv7em-none-eabihf")
        || !there(qemu, "there is no `qemu-system-arm`")
    {
        return None;
    }
    let cargo = |command: &str| {
        let mut cargo = building("cargo", "microcontroller");
        cargo.current_dir(root().join("framework/engine/microcontroller")).args([command, "--quiet", "--locked"]);
        cargo.env("LITESNN_NETWORK", file);
        cargo
    };
    let fetched = cargo("fetch").output().is_ok_and(|output| output.status.success());
    there(fetched, "the crates of the microcontroller could not be fetched")
        .then(|| succeed(cargo("run").arg("--release")))
}

/// The ramp that the program runs: pixel i of n is i / n.
fn ramp(network: &Network) -> Vec<f32> {
    let pixels: usize = network.image.shape.iter().product();
    (0..pixels).map(|pixel| pixel as f32 / pixels as f32).collect()
}

#[test]
fn a_microcontroller_answers_as_this_machine_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("network.packed");
    let network = sample::network();
    std::fs::write(&file, sample::file()).unwrap();
    let Some(said) = on_a_microcontroller(&file) else { return };
    let outcome = Reference::new(&network).run(&ramp(&network)).unwrap();
    let told: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("logit ")?.split(' ').next()).collect();
    let wanted: Vec<String> = outcome.logits.iter().map(|logit| format!("{:08x}", logit.to_bits())).collect();
    assert_eq!(told, wanted, "{said}");
    assert!(said.contains(&format!("class {}\n", network.classes[outcome.class])), "{said}");
}
