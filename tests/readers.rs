//! Readers that end before the command does, disks that are full, and terminals that go away: none
//! of them ends the work.

#[path = "support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{all_numbers, assert_all_same, folders, litesnn, manifest, read_until, run, stderr, succeed};

/// Both ends of a pipe.
fn pipe() -> (File, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors that belong to nobody else.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

/// Both ends of a new terminal.
fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let none: *mut libc::c_void = std::ptr::null_mut();
    // SAFETY: writes two descriptors that belong to nobody else, and reads nothing.
    unsafe {
        assert_eq!(libc::openpty(&raw mut master, &raw mut slave, none.cast(), none.cast(), none.cast()), 0);
        (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}

/// What a command does whose stdout nobody reads.
fn unread(command: &mut Command) -> Output {
    let (reader, writer) = pipe();
    drop(reader);
    command.stdout(writer).output().unwrap()
}

/// Each command that prints results, with a finished run to print.
fn printing(runs: &Path) -> Vec<Command> {
    let tiny = manifest("tiny.toml");
    let page = runs.join("page");
    let (tiny, page, runs) = (tiny.to_str().unwrap(), page.to_str().unwrap(), runs.to_str().unwrap());
    let lines: [&[&str]; 16] = [
        &["schema"],
        &["plugins"],
        &["plugins", "joint"],
        &["plugins", "--json"],
        &["doctor", "--device", "cpu"],
        &["completions", "bash"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
        &["data"],
        &["plan", tiny, "--device", "cpu", "--runs", runs],
        &["plan", tiny, "--device", "cpu", "--runs", runs, "--json"],
        &["explain", tiny],
        &["explain", tiny, "search.epochs"],
        &["runs", runs],
        &["report", runs, "--out", page],
    ];
    let command = |line: &[&str]| {
        let mut command = litesnn();
        command.args(line);
        command
    };
    let cost = std::fs::read_dir(Path::new(runs).join("tiny")).unwrap().map(|trial| trial.unwrap().path());
    let cost = cost.filter(|trial| trial.join("design.toml").exists()).take(1).map(|trial| {
        let mut command = litesnn();
        command.arg("cost").arg(trial.join("design.toml"));
        command
    });
    lines.iter().map(|line| command(line)).chain(cost).collect()
}

#[test]
fn a_reader_that_ends_ends_the_command_without_a_word_and_a_full_disk_is_an_error() {
    let runs = tempfile::tempdir().unwrap();
    succeed(run(&manifest("tiny.toml"), runs.path()).args(["--set", "retrain.epochs=1"]));
    for mut command in printing(runs.path()) {
        let output = unread(&mut command);
        assert_eq!(output.status.signal(), Some(libc::SIGPIPE), "{command:?}: {}\n{}", output.status, stderr(&output));
        assert!(!stderr(&output).contains("error"), "{command:?}: {}", stderr(&output));
    }
    for mut command in printing(runs.path()) {
        let output = command.stdout(File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("cannot write to stdout: No space left on device"), "{command:?}: {said}");
        assert!(!said.contains("internal error"), "{command:?}: {said}");
    }
}

/// The work is done before anybody is told that nobody reads its result.
#[test]
fn a_run_whose_result_nobody_reads_trains_to_its_end() {
    for jobs in [&[][..], &["--jobs", "2"]] {
        let runs = tempfile::tempdir().unwrap();
        let output = unread(run(&manifest("tiny.toml"), runs.path()).args(["--set", "retrain.epochs=1"]).args(jobs));
        assert_eq!(output.status.signal(), Some(libc::SIGPIPE), "{}", stderr(&output));
        assert!(!stderr(&output).contains("internal error"), "{}", stderr(&output));
        assert_eq!(finished(runs.path()), 2);
    }
    // A mistake stays a mistake, and is told.
    let output = unread(litesnn().args(["plan", "nowhere.toml"]));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    // What is removed is removed as a whole, however far somebody reads.
    let runs = tempfile::tempdir().unwrap();
    succeed(run(&manifest("tiny.toml"), runs.path()).args(["--set", "retrain.epochs=1"]));
    unread(litesnn().args(["runs", "rm"]).arg(runs.path().join("tiny")));
    assert_eq!(finished(runs.path()), 0);
}

fn finished(runs: &Path) -> usize {
    let trials = folders(&runs.join("tiny"));
    trials.iter().filter(|trial| runs.join("tiny").join(trial).join("result.parquet").exists()).count()
}

#[test]
fn a_trial_does_not_care_whether_anybody_reads_what_it_says() {
    let expected = tempfile::tempdir().unwrap();
    succeed(&mut run(&manifest("tiny.toml"), expected.path()));
    for jobs in [&[][..], &["--jobs", "2"]] {
        let runs = tempfile::tempdir().unwrap();
        let (reader, writer) = pipe();
        let mut child = run(&manifest("tiny.toml"), runs.path()).args(jobs).stderr(writer).spawn().unwrap();
        let mut lines = BufReader::new(reader);
        read_until(&mut lines, "[1/2]", &mut String::new());
        drop(lines);
        let mut results = String::new();
        child.stdout.take().unwrap().read_to_string(&mut results).unwrap();
        assert!(child.wait().unwrap().success(), "{results}");
        assert_all_same(&all_numbers(runs.path(), "tiny"), &all_numbers(expected.path(), "tiny"));
    }
}

/// As `nohup`, `disown` and `tmux` leave a process: both streams are a terminal that is closed.
#[test]
fn a_trial_does_not_care_whether_its_terminal_is_there() {
    let expected = tempfile::tempdir().unwrap();
    succeed(&mut run(&manifest("tiny.toml"), expected.path()));
    for jobs in [&[][..], &["--jobs", "2"]] {
        let runs = tempfile::tempdir().unwrap();
        let (master, slave) = terminal();
        let mut command = run(&manifest("tiny.toml"), runs.path());
        command.args(jobs).env("TERM", "xterm").stdout(slave.try_clone().unwrap()).stderr(slave);
        // SAFETY: both calls are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut lines = BufReader::new(master);
        lines.read_line(&mut String::new()).unwrap();
        drop(lines);
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}");
        assert_all_same(&all_numbers(runs.path(), "tiny"), &all_numbers(expected.path(), "tiny"));
    }
}

/// A terminal that is closed asks to stop, and the trial stops at a checkpoint, though it cannot say
/// so.
#[test]
fn the_end_of_a_terminal_stops_a_trial_at_a_checkpoint() {
    let runs = tempfile::tempdir().unwrap();
    let (reader, writer) = pipe();
    let long = ["--set", "search.epochs=400", "--set", "experiment.seeds=[0]"];
    let mut child = run(&manifest("tiny.toml"), runs.path()).args(long).stderr(writer).spawn().unwrap();
    let mut lines = BufReader::new(reader);
    read_until(&mut lines, "search  1/400", &mut String::new());
    drop(lines);
    support::signal(&child, "HUP");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let trial = support::trial(runs.path(), "tiny", "lite-snn");
    assert!(trial.join("checkpoint/latest.safetensors").exists() && !trial.join("failed.json").exists());
}

#[test]
fn a_command_without_a_stdout_works() {
    let mut command = litesnn();
    // SAFETY: close is async-signal-safe.
    unsafe {
        command.stdout(Stdio::null()).arg("schema").pre_exec(|| {
            libc::close(1);
            Ok(())
        });
    }
    assert!(command.output().unwrap().status.success());
}
