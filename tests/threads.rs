//! Threads that OpenMP does not give, and processes that do not end by themselves.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use support::{integers, litesnn, manifest, read_until, run_until, signal, stderr, succeed, table, trial};

fn two_threads(runs: &Path, options: &[&str]) -> Command {
    let mut command = litesnn();
    command.arg("run").arg(manifest("tiny.toml")).arg("--runs").arg(runs).args(["--device", "cpu"]).args(options);
    command.args(["--set", "retrain.epochs=1"]);
    command
}

/// Waits for a process; false where it goes on for longer.
fn ends_within(child: &mut Child, seconds: u64) -> bool {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(seconds) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Guards against oneDNN's barrier, which waits for as many threads as libtorch has: where OpenMP
/// gave fewer, the first convolution waited forever.
#[test]
fn a_limit_of_openmp_is_kept_and_said() {
    for (name, value) in [("OMP_THREAD_LIMIT", "1"), ("OMP_MAX_ACTIVE_LEVELS", "0")] {
        for jobs in [&[][..], &["--jobs", "1"]] {
            let runs = tempfile::tempdir().unwrap();
            let mut child = two_threads(runs.path(), &["--threads", "2"]).args(jobs).env(name, value).spawn().unwrap();
            let ended = ends_within(&mut child, 60);
            if !ended {
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            assert!(ended && output.status.success(), "{name}: {}", stderr(&output));
            let threads = integers(&table(&trial(runs.path(), "tiny", "lite-snn").join("result.parquet")), "threads");
            assert_eq!(threads, [1]);
            let words = format!("2 threads were asked for, and OpenMP gives 1 ({name}={value})");
            assert!(stderr(&output).contains(&words), "{}", stderr(&output));
        }
    }
}

/// Threads that wait for each other sleep, for which the command starts itself once more.
#[test]
fn one_thread_does_not_start_the_command_again() {
    for (threads, sleeps) in [("1", false), ("2", true)] {
        let runs = tempfile::tempdir().unwrap();
        let mut command = two_threads(runs.path(), &["--threads", threads]);
        let (mut child, _lines) = run_until(&mut command, " epochs");
        let environment = fs::read(format!("/proc/{}/environ", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let found = environment.split(|byte| *byte == 0).any(|variable| variable == b"OMP_WAIT_POLICY=passive");
        assert_eq!(found, sleeps, "{threads}");
    }
}

/// `--jobs` divides the cores, and takes no more of them than the environment allows.
#[test]
fn the_environment_says_how_many_threads_a_trial_has_in_any_process() {
    for jobs in [&[][..], &["--jobs", "1"]] {
        let runs = tempfile::tempdir().unwrap();
        succeed(two_threads(runs.path(), jobs).env("OMP_NUM_THREADS", "1"));
        let threads = integers(&table(&trial(runs.path(), "tiny", "lite-snn").join("result.parquet")), "threads");
        assert_eq!(threads, [1], "{jobs:?}");
    }
}

/// Another number gives other bits. Three are more than most machines that test have, so that nobody
/// chooses them by chance.
#[test]
fn a_trial_that_is_resumed_has_the_threads_that_it_began_with() {
    let runs = tempfile::tempdir().unwrap();
    let long = ["--set", "search.epochs=60", "--set", "checkpoint.seconds=0"];
    let (mut child, _lines) = run_until(two_threads(runs.path(), &["--threads", "3"]).args(long), "search  3/60");
    signal(&child, "INT");
    assert!(ends_within(&mut child, 60));
    let resumed = succeed(two_threads(runs.path(), &[]).args(long).env_remove("OMP_NUM_THREADS"));
    let told = stderr(&resumed);
    assert!(told.contains("began with 3 threads and goes on with as many"), "{told}");
    let result = trial(runs.path(), "tiny", "lite-snn").join("result.parquet");
    assert_eq!(integers(&table(&result), "threads"), [3]);
}

/// A neighbour that spins on every core that this process may use.
#[test]
fn cores_that_others_keep_busy_are_left_to_them() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut neighbours: Vec<Child> =
        (0..cores).map(|_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap()).collect();
    let runs = tempfile::tempdir().unwrap();
    let output = two_threads(runs.path(), &[]).env_remove("OMP_NUM_THREADS").output();
    for neighbour in &mut neighbours {
        neighbour.kill().unwrap();
        neighbour.wait().unwrap();
    }
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output);
    let line = told.lines().find(|line| line.starts_with("device: ")).unwrap();
    assert!(line.contains("1 thread: "), "{line}");
    assert!(cores == 1 || line.contains("other programs keep"), "{line}");
}

#[test]
fn a_trial_of_small_layers_has_one_thread_and_says_why() {
    let runs = tempfile::tempdir().unwrap();
    let output = succeed(two_threads(runs.path(), &[]).env_remove("OMP_NUM_THREADS"));
    let result = trial(runs.path(), "tiny", "lite-snn").join("result.parquet");
    assert_eq!(integers(&table(&result), "threads"), [1]);
    let told = stderr(&output);
    let first = told.lines().find(|line| line.starts_with("device: ")).unwrap();
    // Other tests may keep all cores but one busy, which is then the reason.
    assert!(
        first.contains("1 thread: ") || told.contains("1 thread: its layers are too small to be divided among "),
        "{told}"
    );
}

/// A library whose `fsync` never returns in the process that trains: it hangs where no request to
/// stop is looked at.
const HANGS: &str = r#"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
extern "C" int fsync(int) {
    char line[4096] = {};
    FILE* file = fopen("/proc/self/cmdline", "r");
    size_t length = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file) fclose(file);
    for (size_t at = 0; at < length; at++) if (!line[at]) line[at] = ' ';
    const char* word = getenv("HANGS_IN");
    if (word && strstr(line, word)) { write(2, "it hangs\n", 9); for (;;) pause(); }
    return 0;
}
"#;

fn hanging_library(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("hangs.cpp"), folder.join("hangs.so"));
    fs::write(&source, HANGS).unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let status = Command::new(compiler).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(status.success());
    library
}

#[test]
fn a_second_signal_ends_a_command_that_hangs_and_the_trials_that_it_launched() {
    let place = tempfile::tempdir().unwrap();
    let library = hanging_library(place.path());
    // What is known of the data is kept now, so that nothing is written before the run listens.
    succeed(litesnn().arg("plan").arg(manifest("tiny.toml")).args(["--device", "cpu"]));
    for (jobs, word) in [(&[][..], " run "), (&["--jobs", "1"], " trial ")] {
        let runs = tempfile::tempdir().unwrap();
        let mut command = two_threads(runs.path(), jobs);
        command.env("LD_PRELOAD", &library).env("HANGS_IN", word);
        let mut child = if jobs.is_empty() {
            run_until(&mut command, "it hangs").0
        } else {
            let child = command.spawn().unwrap();
            wait_for_log(runs.path());
            child
        };
        let trials = children(child.id());
        assert_eq!(trials.len(), usize::from(!jobs.is_empty()));
        signal(&child, "TERM");
        // The same request by another way, as `timeout` sends it.
        signal(&child, "TERM");
        assert!(!ends_within(&mut child, 1), "the first request is waited for");
        signal(&child, "TERM");
        assert!(ends_within(&mut child, 5), "the second request ends it");
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        let begin = Instant::now();
        while trials.iter().any(|trial| is_there(*trial)) {
            assert!(begin.elapsed() < Duration::from_secs(5), "a trial outlives its launcher");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Waits until the trial of a launch says that it hangs.
fn wait_for_log(runs: &Path) {
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < Duration::from_secs(60));
        for launch in fs::read_dir(runs.join(".launches")).into_iter().flatten().flatten() {
            for log in fs::read_dir(launch.path().join("log")).into_iter().flatten().flatten() {
                let mut lines = std::io::BufReader::new(fs::File::open(log.path()).unwrap());
                if read_until(&mut lines, "it hangs", &mut String::new()) {
                    return;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn children(process: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Whether a process is at work; one that ended and is not waited for is not.
fn is_there(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
