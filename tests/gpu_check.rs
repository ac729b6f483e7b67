//! `litesnn gpu-check` where there is no GPU and on a pretended one, and the script that builds for a
//! machine with one.

#[path = "../framework/tests/pretended_device/built.rs"]
mod built;
#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Output};

use built::PretendedDevice;
use serde_json::Value;
use support::{litesnn, root, stderr, stdout};

fn check(arguments: &[&str]) -> Output {
    // Where the tests' machine has a GPU, it is not seen here.
    litesnn().arg("gpu-check").args(arguments).env("CUDA_VISIBLE_DEVICES", "").output().unwrap()
}

#[test]
fn without_a_gpu_the_first_line_says_so_and_the_exit_code_is_that_of_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    for arguments in [vec![], vec!["--quick", "--device", "cuda:7"], vec!["--out", file.to_str().unwrap()]] {
        let output = check(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        let text = match arguments.first() {
            Some(&"--out") => std::fs::read_to_string(&file).unwrap(),
            _ => stdout(&output),
        };
        let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&line["part"], &line["ok"]), (&Value::from("device"), &Value::Null), "{line}");
        assert!(line["message"].as_str().unwrap().starts_with("needs a GPU: "), "{line}");
        assert!(stderr(&output).contains("help:"), "{}", stderr(&output));
    }
}

#[test]
fn a_cpu_is_refused_by_name() {
    let output = check(&["--device", "cpu"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert!(stderr(&output).contains("checks a GPU, and the device is `cpu`"), "{}", stderr(&output));
}

fn on_pretended_device(arguments: &[&str]) -> (Output, Vec<Value>) {
    let mut command = litesnn();
    PretendedDevice::built(&root().join("framework"), Path::new(env!("CARGO_TARGET_TMPDIR"))).before(&mut command);
    let output = command.arg("gpu-check").args(arguments).env("OMP_NUM_THREADS", "1").output().unwrap();
    let lines = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output, lines)
}

/// Every part runs on the pretended device. Those that tell of hardware do not say that it is right.
#[test]
fn every_part_ends_in_a_line_and_hardware_is_not_made_up() {
    let (output, lines) = on_pretended_device(&["--quick"]);
    let parts: Vec<&str> = lines.iter().map(|line| line["part"].as_str().unwrap()).collect();
    assert_eq!(parts.len(), 14, "{parts:?} {}", stderr(&output));
    assert_eq!(parts.last(), Some(&"summary"));
    for line in &lines {
        assert_ne!(line["ok"], false, "{line}");
        assert_eq!(line["gpu"], "pretended CUDA device", "{line}");
    }
    for of_hardware in ["device", "numerics", "ceilings", "node-times", "step-times", "convolution-times"] {
        let line = lines.iter().find(|line| line["part"] == of_hardware).unwrap();
        assert!(line["ok"].is_null(), "{line}");
        assert!(line["message"].as_str().unwrap().starts_with("needs a GPU: "), "{line}");
    }
    for shown in ["neurons", "nodes", "weights", "search-step", "retrain-step", "repeatability", "blocking-copies"] {
        assert_eq!(lines.iter().find(|line| line["part"] == shown).unwrap()["ok"], true, "{shown}");
    }
    assert_eq!(output.status.code(), Some(0));
}

/// A prelude that is nowhere is an NVRTC that compiles nothing for this device.
#[test]
fn what_no_kernel_computed_is_not_told_as_right_of_kernels() {
    let mut command = litesnn();
    PretendedDevice::built(&root().join("framework"), Path::new(env!("CARGO_TARGET_TMPDIR"))).before(&mut command);
    command.args(["gpu-check", "--quick", "--part", "neurons"]).env("PRETENDED_PRELUDE", "/nowhere/host.h");
    let output = command.env("OMP_NUM_THREADS", "1").output().unwrap();
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["ok"].is_null() && lines[0]["kernels"] == false, "{lines:?}");
    assert!(lines[0]["message"].as_str().unwrap().starts_with("no kernel has run, "), "{lines:?}");
    assert!(lines[1]["ok"].is_null() && lines[1]["not_told"] == serde_json::json!(["neurons"]), "{lines:?}");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
}

#[test]
fn a_summary_of_nothing_told_says_neither_right_nor_wrong() {
    let (output, lines) = on_pretended_device(&["--part", "device", "--here"]);
    assert!(lines[1]["ok"].is_null() && lines[1]["right"] == serde_json::json!([]), "{lines:?}");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
}

/// A device whose memory is full fails the part that needs it, and no other.
#[test]
fn a_part_that_fails_says_why_and_the_next_one_runs() {
    let mut command = litesnn();
    PretendedDevice::built(&root().join("framework"), Path::new(env!("CARGO_TARGET_TMPDIR"))).before(&mut command);
    command.args(["gpu-check", "--quick", "--part", "neurons", "--part", "device"]);
    let output = command.env("PRETENDED_MEMORY", "1").env("OMP_NUM_THREADS", "1").output().unwrap();
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!((&lines[0]["part"], &lines[0]["ok"]), (&Value::from("neurons"), &Value::from(false)), "{lines:?}");
    assert!(lines[0]["message"].as_str().unwrap().contains("memory"), "{lines:?}");
    assert!(lines[1]["ok"].is_null() && lines[2]["wrong"] == serde_json::json!(["neurons"]), "{lines:?}");
    assert_eq!(output.status.code(), Some(1));
}

fn build_for_torch(arguments: &[&str]) -> Command {
    let mut command = Command::new(root().join("experiments/build-for-torch"));
    command.args(arguments).env_remove("LIBTORCH");
    command
}

/// Nothing of these fetches or builds.
#[test]
fn the_script_for_other_torches_says_what_it_needs() {
    for (arguments, said) in [
        (vec![], "which torch?"),
        (vec!["2.11.0"], "where to?"),
        (vec!["2.11.0", "--out"], "--out needs a value"),
        (vec!["2.11", "--out", "x"], "`2.11` is no version of torch"),
        (vec!["2.11.0", "2.12.0", "--out", "x"], "one version at most"),
        (vec!["1.0.0", "--out", "x"], "which tch is written for torch 1.0.0 is not known"),
        (vec!["2.11.0", "--outt", "x"], "unknown option `--outt`"),
    ] {
        let output = build_for_torch(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("build-for-torch: error: "), "{}", stderr(&output));
    }
    let help = build_for_torch(&["--help"]).output().unwrap();
    assert!(help.status.success() && stdout(&help).contains("usage: experiments/build-for-torch VERSION --out FOLDER"));
}

#[test]
fn the_script_for_other_torches_refuses_another_torch() {
    let folder = tempfile::tempdir().unwrap();
    for part in
        ["lib/libtorch.so", "lib/libtorch_cpu.so", "lib/libc10.so", "include/torch/csrc/api/include/torch/torch.h"]
    {
        let path = folder.path().join(part);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    std::fs::write(folder.path().join("version.py"), "__version__ = '2.10.0+cu130'\n").unwrap();
    let out = folder.path().join("out");
    let mut command = build_for_torch(&["2.11.0", "--out", out.to_str().unwrap()]);
    let output = command.env("LIBTORCH", folder.path()).output().unwrap();
    assert!(stderr(&output).contains("found version 2.10.0, needed 2.11.0"), "{}", stderr(&output));
    assert!(!out.exists());
}
