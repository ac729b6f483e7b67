//! Lets the command and its tests find libtorch, and tells the command the revision of its source.

use std::path::Path;
use std::process::Command;

/// What the command is built from. When one of these changes, it is linked anew anyway.
const SOURCES: [&str; 17] = [
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "experiments/cli",
    "experiments/designs",
    "experiments/paper",
    "framework/Cargo.toml",
    "framework/build.rs",
    "framework/cpp",
    "framework/kernels",
    "framework/src",
    "plugins/Cargo.toml",
    "plugins/build.rs",
    "plugins/src",
    "reports/Cargo.toml",
    "reports/published",
    "reports/src",
];

fn main() {
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency");
    // The first place is that of torch beside this program in a wheel, which erases the second one.
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath,$ORIGIN/../torch/lib:{lib}");
    link_to_older_glibc();
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    // Not LITESNN_*: `cargo run` hands it on, and variables of that name are settings.
    println!("cargo:rustc-env=SOURCE_REVISION={}", revision().unwrap_or_else(|| "unknown".into()));
}

/// `OLDER_GLIBC` names a folder that `experiments/python/build-wheel` makes: stubs and start files of
/// an older glibc, which a wheel is linked to, and what the C++ library of that time lacks.
fn link_to_older_glibc() {
    println!("cargo:rerun-if-env-changed=OLDER_GLIBC");
    if let Ok(folder) = std::env::var("OLDER_GLIBC") {
        // libtorch and libstdc++ of this machine may need a newer glibc than the stubs have.
        let undefined = "-Wl,--allow-shlib-undefined".to_owned();
        for argument in [format!("-B{folder}"), format!("-L{folder}"), format!("{folder}/glibcxx.o"), undefined] {
            println!("cargo:rustc-link-arg-bin=litesnn={argument}");
        }
    }
}

/// The commit, with `+changes` where sources differ from it; nothing where this folder is not the
/// root of a clone.
fn revision() -> Option<String> {
    let root = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if std::fs::canonicalize(top).ok()? != std::fs::canonicalize(root).ok()? {
        return None;
    }
    // Written to by every commit, checkout and rebase.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let status = git(&[["--no-optional-locks", "status", "--porcelain", "--"].as_slice(), &SOURCES].concat())?;
    Some(if status.is_empty() { commit } else { format!("{commit}+changes") })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
