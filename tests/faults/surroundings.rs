//! Disks, permissions, clocks and memory that fail a trial.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use litesnn_framework::record::Failed;
use litesnn_framework::train::Checkpoint;

use crate::support::{files, litesnn, manifest, run, run_until, stderr, stdout, succeed};
use crate::tally::{FAULTS, count};
use crate::trials::{SHORT, command, fails, folder, goes_on, stopped};

/// A small file system in memory; only root can make one.
struct Disk {
    place: tempfile::TempDir,
}

impl Disk {
    fn of(size: &str) -> Option<Disk> {
        let place = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], place.path()).then_some(Disk { place })
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], self.place.path()));
    }

    fn runs(&self) -> PathBuf {
        self.place.path().join("runs")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.place.path()).status();
    }
}

fn mount(options: &[&str], place: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount.args(options).arg(place).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Written past the harness, for `make test` to count.
fn skipped(why: &str) {
    eprintln!("test skipped: {why}");
}

/// A process that has to ask before it reads and writes: root does not.
fn without_privilege(mut command: Command) -> Command {
    // SAFETY: prctl is async-signal-safe. Without privilege it fails, and there is nothing to drop.
    unsafe {
        command.pre_exec(|| {
            for capability in [1, 2] {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            Ok(())
        });
    }
    command
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

pub fn disk_full() {
    // The manifest fits or not, the first checkpoint, the second beside it, the tables.
    let sizes: &[u32] = if crate::full() { &[1, 2, 4, 6, 8, 10, 12, 16, 20, 25, 30] } else { &[8, 30] };
    for pages in sizes {
        let Some(disk) = Disk::of(&format!("{}k", 4 * pages)) else {
            return skipped("only root can make a disk that is full");
        };
        let output = command(&disk.runs(), &SHORT).output().unwrap();
        fails(&output, &["No space left on device", "free some space and run the same command again"]);
        count(FAULTS, "disk full", 1);
        disk.remount("size=50m");
        goes_on(&disk.runs(), &SHORT);
    }
}

pub fn size_limit() {
    // In units of 512 bytes; the signal that would end the process is ignored, so that the write
    // fails.
    for blocks in if crate::full() { [2, 10, 40, 64].as_slice() } else { &[40] } {
        let runs = tempfile::tempdir().unwrap();
        let limited = command(runs.path(), &SHORT);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
        shell.arg(limited.get_program()).args(limited.get_args());
        for (name, value) in limited.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        fails(&shell.output().unwrap(), &["File too large", "free some space"]);
        count(FAULTS, "file larger than allowed", 1);
        goes_on(runs.path(), &SHORT);
    }
}

pub fn no_permission() {
    let runs = stopped();
    let trial = folder(runs.path());
    for place in [trial.join("checkpoint"), trial.clone(), runs.path().join("tiny")] {
        mode(&place, 0o555);
        let output = without_privilege(command(runs.path(), &SHORT)).output().unwrap();
        let other = without_privilege(command(runs.path(), &["--set", "experiment.seeds=[7]"])).output().unwrap();
        mode(&place, 0o755);
        let failed = if place.ends_with("tiny") { other } else { output };
        fails(&failed, &["Permission denied", "needs to be allowed to"]);
        count(FAULTS, "folder that may not be written", 1);
        let _ = fs::remove_dir_all(of_seed_7(runs.path()));
    }
    goes_on(runs.path(), &SHORT);
}

/// The folder of the trial with seed 7.
fn of_seed_7(runs: &Path) -> PathBuf {
    let mut all = fs::read_dir(runs.join("tiny")).unwrap().map(|entry| entry.unwrap().path());
    all.find(|path| path.to_string_lossy().contains("-s7-")).unwrap_or_else(|| runs.join("none"))
}

/// It may be whole, so that nothing is started again.
pub fn unreadable_checkpoint() {
    let runs = stopped();
    let latest = folder(runs.path()).join("checkpoint/latest.safetensors");
    mode(&latest, 0o000);
    let output = without_privilege(command(runs.path(), &SHORT)).output().unwrap();
    mode(&latest, 0o644);
    fails(&output, &["cannot read", "latest.safetensors", "Permission denied"]);
    count(FAULTS, "checkpoint that may not be read", 1);
    goes_on(runs.path(), &SHORT);
}

pub fn read_only() {
    let Some(disk) = Disk::of("50m") else { return skipped("only root can make a disk read-only") };
    crate::support::copy_folder(stopped().path(), &disk.runs());
    disk.remount("ro");
    let output = command(&disk.runs(), &SHORT).output().unwrap();
    fails(&output, &["Read-only file system", "`--runs` names another folder"]);
    count(FAULTS, "read-only file system", 1);
    disk.remount("rw");
    goes_on(&disk.runs(), &SHORT);
}

pub fn deleted() {
    for below in ["checkpoint", ""] {
        let runs = tempfile::tempdir().unwrap();
        let long = ["--set", "experiment.seeds=[0, 1]", "--set", "search.epochs=4", "--set", "retrain.epochs=6"];
        let (mut child, mut lines) = run_until(&mut command(runs.path(), &long), "seed 1: retrain");
        let trials: Vec<PathBuf> =
            fs::read_dir(runs.path().join("tiny")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let second = trials.iter().find(|path| path.to_string_lossy().contains("-s1-")).unwrap();
        let first = trials.iter().find(|path| path.to_string_lossy().contains("-s0-")).unwrap();
        let before = files(first);
        // The process may be writing into it at this moment.
        while fs::remove_dir_all(second.join(below)).is_err() {}
        let mut said = String::new();
        lines.read_to_string(&mut said).unwrap();
        let code = child.wait().unwrap().code();
        if below.is_empty() {
            assert_eq!(code, Some(1), "{said}");
            assert!(
                said.contains("No such file or directory") && said.contains("was removed in the meantime"),
                "{said}"
            );
        }
        count(FAULTS, "folder deleted while it is used", 1);
        assert!(before == files(first), "the finished trial changed");
        let again = succeed(&mut command(runs.path(), &long));
        assert!(stdout(&again).contains("finished before"), "{}", stdout(&again));
        // The first is compared; the second, begun anew, is there.
        fs::remove_dir_all(second).unwrap();
        crate::trials::compare(runs.path(), &SHORT);
    }
}

/// A library that answers every question for the date with one ten years earlier, and a second
/// earlier each time.
const CLOCK: &str = r#"
#include <dlfcn.h>
#include <time.h>
static long asked = 0;
extern "C" int clock_gettime(clockid_t clock, struct timespec* time) {
    static auto real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec -= 315360000 + __sync_fetch_and_add(&asked, 1);
    return status;
}
"#;

pub fn clock_set_back() {
    let place = tempfile::tempdir().unwrap();
    let (source, library) = (place.path().join("clock.cpp"), place.path().join("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let mut compile = Command::new(compiler);
    let status = compile.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status().unwrap();
    assert!(status.success());
    let runs = stopped();
    let mut back = command(runs.path(), &SHORT);
    let output = back.env("LD_PRELOAD", &library).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let log = fs::read_to_string(folder(runs.path()).join("log.jsonl")).unwrap();
    let time = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["time"].as_f64().unwrap();
    let times: Vec<f64> = log.lines().map(time).collect();
    assert!(times[times.len() - 1] < times[0] - 3e8, "the clock was not set back: {times:?}");
    count(FAULTS, "clock set back by ten years", 1);
    crate::trials::compare(runs.path(), &SHORT);
}

pub fn out_of_memory() {
    // A weight that is larger than the memory of the process, and activations that are.
    for (channels, gigabytes) in [(65_536, 4), (300, 1)] {
        let runs = tempfile::tempdir().unwrap();
        let setting = format!("space.spike-dhs.channels.search={channels}");
        let mut limited = command(runs.path(), &["--force", "--set", &setting]);
        // SAFETY: setrlimit is async-signal-safe and reads the struct it is given.
        unsafe {
            limited.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: gigabytes << 30, rlim_max: gigabytes << 30 };
                libc::setrlimit(libc::RLIMIT_DATA, &raw const limit);
                Ok(())
            });
        }
        fails(&limited.output().unwrap(), &["memory", "smaller `batch_size`"]);
        count(FAULTS, "memory exhausted", 1);
    }
}

pub fn diverged() {
    let place = tempfile::tempdir().unwrap();
    let runs = place.path().join("runs");
    let text = format!(
        "extends = \"{}\"\n[sweep]\n\"search.learning_rate\" = [1e38, 0.05]\n[search]\nepochs = 4\n[retrain]\nepochs = 6\n",
        manifest("long.toml").display()
    );
    let sweep = place.path().join("sweep.toml");
    fs::write(&sweep, text).unwrap();
    let output = run(&sweep, &runs).output().unwrap();
    let said =
        fails(&output, &["the loss became", "in search, epoch 1, batch ", "learning rate 1.00e38", "in layer `"]);
    count(FAULTS, "loss that is no number", 1);
    let trials: Vec<PathBuf> = fs::read_dir(runs.join("tiny")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let (done, failed): (Vec<_>, Vec<_>) = trials.into_iter().partition(|trial| trial.join("result.parquet").exists());
    assert_eq!((done.len(), failed.len()), (1, 1), "the other trial ran");
    let mark = Failed::read(&failed[0]).expect("it is marked");
    assert!(said.contains(&mark.error), "{said}\n{mark:?}");
    let checkpoint = Checkpoint::newest(&failed[0].join("checkpoint")).0.expect("there is a checkpoint before it");
    assert!(checkpoint.tensors.values().all(|tensor| tensor.isfinite().all().int64_value(&[]) == 1));
    let mut plan = litesnn();
    let plan = plan.arg("plan").arg(&sweep).arg("--runs").arg(&runs).args(["--device", "cpu", "--json"]);
    let plan = stdout(&succeed(plan));
    assert!(plan.contains("\"state\": \"failed, 0 of 10 epochs\"") && plan.contains("\"state\": \"done\""), "{plan}");
    let again = run(&sweep, &runs).output().unwrap();
    assert!(stdout(&again).contains("finished before"), "{}", stdout(&again));
    assert!(fails(&again, &[]).contains(&mark.error), "it fails in the same way");
}

/// A shared library of a few lines of C++.
fn library(folder: &Path, name: &str, source: &str) -> PathBuf {
    let (file, library) = (folder.join(format!("{name}.cpp")), folder.join(name));
    fs::write(&file, source).unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let status = Command::new(compiler).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&file).status().unwrap();
    assert!(status.success());
    library
}

/// As NFS without its lock service and Lustre without `flock` are.
pub fn no_locks() {
    const NO_LOCKS: &str = "#include <cerrno>\nextern \"C\" int flock(int, int) { errno = ENOLCK; return -1; }\n";
    let place = tempfile::tempdir().unwrap();
    let library = library(place.path(), "no_locks.so", NO_LOCKS);
    let runs = stopped();
    let output = command(runs.path(), &SHORT).env("LD_PRELOAD", &library).output().unwrap();
    fails(&output, &["is on a file system without locks", "No locks available", "`--runs DIR`"]);
    let listed = stdout(&succeed(litesnn().arg("runs").arg(runs.path()).env("LD_PRELOAD", &library)));
    assert!(listed.contains("interrupted") && !listed.contains("running"), "{listed}");
    count(FAULTS, "file system without locks", 1);
    goes_on(runs.path(), &SHORT);
}

/// An active environment of Python has its own libtorch there.
pub fn other_libtorch() {
    let place = tempfile::tempdir().unwrap();
    for name in ["libtorch_cpu.so", "libtorch.so", "libc10.so"] {
        library(place.path(), name, "int nothing_of_torch;\n");
    }
    let output = succeed(litesnn().arg("doctor").args(["--device", "cpu"]).env("LD_LIBRARY_PATH", place.path()));
    assert!(stdout(&output).contains("libtorch  "), "{}", stdout(&output));
    count(FAULTS, "another libtorch in LD_LIBRARY_PATH", 3);
}

/// A full disk has led to a link in the place of an experiment's folder.
pub fn linked_record() {
    let (place, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let runs = place.path().join("runs");
    succeed(&mut command(&runs, &SHORT));
    fs::rename(runs.join("tiny"), elsewhere.path().join("tiny")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("tiny"), runs.join("tiny")).unwrap();
    // A second way to it, and a circle.
    std::os::unix::fs::symlink("tiny", runs.join("again")).unwrap();
    std::os::unix::fs::symlink(&runs, elsewhere.path().join("circle")).unwrap();
    let again = stderr(&succeed(&mut command(&runs, &SHORT)));
    assert!(again.contains("finished before") || again.contains("done"), "{again}");
    let listed = stdout(&succeed(litesnn().arg("runs").arg(&runs)));
    assert!(listed.contains("lite-snn"), "{listed}");
    let out = place.path().join("report");
    succeed(litesnn().arg("report").arg(&runs).arg("--out").arg(&out));
    let table = fs::read_to_string(out.join("tiny/trials.csv")).unwrap();
    assert_eq!(table.lines().filter(|line| line.contains("lite-snn")).count(), 1, "{table}");
    count(FAULTS, "links to an experiment, two and a circle", 3);
}
