//! Every registered plugin keeps every rule: one test for each plugin and rule.
//!
//! `cargo test --release --workspace --test conformance -- compressor::score-prune` runs those of
//! one plugin.

#![allow(clippy::print_stdout, clippy::print_stderr)] // For who reads the log of the tests.

use std::path::{Path, PathBuf};
use std::time::Instant;

use libtest_mimic::{Arguments, Trial};
use litesnn_conformance::{Surroundings, Verdict, checks};
use litesnn_framework::plugin::{check_registry, registered};
use litesnn_plugins as _;

/// Seconds after which the log names a rule.
const LONG: f64 = 5.0;

fn main() -> std::process::ExitCode {
    check_registry().expect("the plugins are linked, each once");
    // The tests run side by side.
    tch::set_num_threads(1);
    let beside = Surroundings { plugins: registered(), data: data() };
    let checks = registered().into_iter().flat_map(|plugin| checks(plugin, &beside));
    let trials = checks.map(|check| {
        Trial::test(check.name(), move || {
            let begin = Instant::now();
            if let Verdict::Skipped(why) = check.run().map_err(|broken| broken.to_string())? {
                eprintln!("test skipped: {}: {why}", check.name());
            }
            let seconds = begin.elapsed().as_secs_f64();
            if seconds > LONG {
                eprintln!("{}: {seconds:.1} s", check.name());
            }
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Where the command looks for data, and small files in their official form for data that are not
/// bundled.
fn data() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("LITESNN_DATA").map(PathBuf::from);
    named.into_iter().chain([here.join("../experiments/data"), here.join("tests/data")]).collect()
}
