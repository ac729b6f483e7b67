//! What the tests share: the built command in a clean environment, and the record as numbers.

#![allow(dead_code)] // Each test program uses a part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use polars::prelude::{AnyValue, DataFrame, ParquetReader, SerReader};

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A manifest of `tests/manifests`.
pub fn manifest(name: &str) -> PathBuf {
    root().join("tests/manifests").join(name)
}

/// The command, without what the user's environment would change: settings, colours, the width of a
/// terminal.
pub fn litesnn() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_litesnn"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LITESNN_") {
            command.env_remove(name);
        }
    }
    command.env("LITESNN_CACHE", env!("CARGO_TARGET_TMPDIR"));
    // The Makefile's is for tests that compute in their own process.
    command.env_remove("OMP_WAIT_POLICY");
    command.env("NO_COLOR", "1").env("COLUMNS", "100").env_remove("CLICOLOR_FORCE").env_remove("FORCE_COLOR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    hear_signals(&mut command);
    command
}

/// A process of this command ignores none of the signals that ask to stop, even if the tests do and
/// would hand that on: a shell has what it starts in the background ignore SIGINT, and the command
/// keeps an ignored signal ignored.
pub fn hear_signals(command: &mut Command) {
    // SAFETY: between fork and exec the closure calls `signal` alone, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}

/// `litesnn run` on one thread of the CPU, so that trials are alike on every machine.
pub fn run(manifest: &Path, runs: &Path) -> Command {
    let mut command = litesnn();
    command.arg("run").arg(manifest).arg("--runs").arg(runs).args(["--threads", "1", "--device", "cpu"]);
    command
}

/// Waits for a command that has to succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, stderr(&output));
    output
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The folder of the only trial of a variant.
pub fn trial(runs: &Path, experiment: &str, variant: &str) -> PathBuf {
    let prefix = format!("{variant}-s");
    let mut found: Vec<PathBuf> = std::fs::read_dir(runs.join(experiment))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// All files below a folder with their content, by relative path.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                all.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// The names of the folders in a folder.
pub fn folders(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    for (name, bytes) in files(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Runs until a line on stderr has `words`.
pub fn run_until(command: &mut Command, words: &str) -> (Child, BufReader<ChildStderr>) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    if !read_until(&mut lines, words, &mut said) {
        let status = child.wait().unwrap();
        panic!("it ended ({status}) without `{words}`:\n{said}");
    }
    (child, lines)
}

/// Reads on, into `said`, until a line has `words`; whether one had.
pub fn read_until(lines: &mut impl BufRead, words: &str, said: &mut String) -> bool {
    loop {
        let from = said.len();
        if lines.read_line(said).unwrap() == 0 {
            return false;
        }
        if said[from..].contains(words) {
            return true;
        }
    }
}

/// Sends a signal by its name: `INT`.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status().unwrap();
    assert!(status.success());
}

/// A table of the record, read as any user of Parquet would.
pub fn table(path: &Path) -> DataFrame {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    ParquetReader::new(file).finish().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn floats(table: &DataFrame, column: &str) -> Vec<f64> {
    table.column(column).unwrap().f64().unwrap().iter().map(Option::unwrap).collect()
}

pub fn integers(table: &DataFrame, column: &str) -> Vec<i64> {
    table.column(column).unwrap().i64().unwrap().iter().map(Option::unwrap).collect()
}

pub fn strings(table: &DataFrame, column: &str) -> Vec<String> {
    table.column(column).unwrap().str().unwrap().iter().map(|value| value.unwrap().to_owned()).collect()
}

/// A column of lists of numbers.
pub fn lists(table: &DataFrame, column: &str) -> Vec<Vec<f64>> {
    let column = table.column(column).unwrap().list().unwrap();
    let row = |index| column.get_as_series(index).unwrap().f64().unwrap().iter().map(Option::unwrap).collect();
    (0..table.height()).map(row).collect()
}

/// Columns that measure time or the machine: they differ between runs of the same work.
pub const TIME_COLUMNS: [&str; 10] = [
    "images_per_second",
    "seconds",
    "device_seconds",
    "search_seconds",
    "search_device_seconds",
    "retrain_seconds",
    "retrain_device_seconds",
    "evaluate_seconds",
    "peak_memory_bytes",
    "finished_at",
];

/// Every value of a table in words that are equal only if the values are equal to the bit, column
/// by column.
pub fn exact(table: &DataFrame, without: &[&str]) -> BTreeMap<String, Vec<String>> {
    let columns = table.columns().iter().filter(|column| !without.contains(&column.name().as_str()));
    columns
        .map(|column| {
            let cells = (0..table.height()).map(|row| word(column.get(row).unwrap())).collect();
            (column.name().to_string(), cells)
        })
        .collect()
}

fn word(value: AnyValue) -> String {
    match value {
        AnyValue::Float64(value) => format!("{:016x} ({value})", value.to_bits()),
        AnyValue::Float32(value) => format!("{:08x} ({value})", value.to_bits()),
        AnyValue::List(series) => series.iter().map(word).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Every value of a trial's tables, time columns aside, by `table.column[row]`.
pub type Numbers = BTreeMap<String, String>;

pub fn numbers(folder: &Path) -> Numbers {
    let mut all = Numbers::new();
    for name in ["history", "stages", "weights", "layers", "exits", "result"] {
        if matches!(name, "weights" | "exits") && !folder.join(format!("{name}.parquet")).exists() {
            continue;
        }
        for (column, cells) in exact(&table(&folder.join(format!("{name}.parquet"))), &TIME_COLUMNS) {
            all.extend(cells.into_iter().enumerate().map(|(row, cell)| (format!("{name}.{column}[{row}]"), cell)));
        }
    }
    all
}

/// Fails with the first values that differ.
pub fn assert_same(found: &Numbers, expected: &Numbers) {
    let keys: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| found.get(*key) != expected.get(*key))
        .map(|key| format!("{key} is {:?}, expected {:?}", found.get(key), expected.get(key)))
        .collect();
    let shown = differing.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(differing.is_empty(), "{} values differ:\n{shown}", differing.len());
}

/// [`assert_same`] for every trial.
pub fn assert_all_same(found: &BTreeMap<String, Numbers>, expected: &BTreeMap<String, Numbers>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, numbers) in found {
        assert_same(numbers, &expected[name]);
    }
}

/// The numbers of every trial under a folder, by the name of its folder.
pub fn all_numbers(runs: &Path, experiment: &str) -> BTreeMap<String, Numbers> {
    let trials = std::fs::read_dir(runs.join(experiment)).unwrap().map(|entry| entry.unwrap().path());
    trials.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), numbers(&path))).collect()
}
