//! The built command on a pretended CUDA device: it trains every manifest of the paper, resumes to
//! the bit, and asks no more of the device in a step than it promises.
//!
//! `docs/pretended-device.md` says what this device can show. The counts of a step are a part of
//! this program's output.

#![allow(clippy::print_stdout)] // For who reads the log of the tests.

#[path = "../framework/tests/pretended_device/built.rs"]
mod built;
#[path = "../framework/tests/pretended_device/counts.rs"]
mod counts;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

use built::PretendedDevice;
use counts::{Counts, Report};
use libtest_mimic::{Arguments, Trial as Test};
use support::{
    all_numbers, assert_all_same, floats, folders, litesnn, manifest, root, run, run_until, signal, stderr, stdout,
    strings, succeed, table, trial,
};

/// What a steady step of the paper's network may ask of a device, by its work.
struct Limits {
    work: &'static str,
    /// Launches and copies.
    operations: u64,
    /// Copies and reads for which the processor waits.
    waits: u64,
    /// Both as they were before there were kernels (docs/SPEED.md), for who reads the output.
    before: [u64; 2],
}

const LIMITS: [Limits; 2] = [
    Limits { work: "search-step", operations: 6_000, waits: 0, before: [59_554, 357] },
    Limits { work: "retrain-step", operations: 1_500, waits: 0, before: [7_873, 4] },
];

/// Operators that may differ from one call to the next, and do not as they are used here.
const SAME_EVERY_TIME: [(&str, &str); 2] = [
    ("cumsum", "of a few timesteps, which one block of threads adds in one order"),
    ("scatter_add_", "the gradient of `gather` with one index a row, where nothing is added twice"),
];

/// Compressors with a state that a step on the device reads, between the steps of which it changes.
const CHANGING: [&str; 5] = [
    "{ evolve-prune = { rate = 0.5, interval = 1 } }, { rescale-quantize = { bits = [4, 8] } }",
    "{ spine-prune = { threshold = 0.05 } }, { admm-prune = { rate = 0.5 } }, { gaussian-quantize = { bits = [4] } }",
    "{ admm-quantize = { bits = 4 } }, { evolve-prune = { rate = 0.5, interval = 1, grow = \"random\" } }",
    "{ channel-rank-prune = { rate = 0.5, when = 0.5, batches = 2 } }, { rescale-quantize = { bits = [4] } }",
    "{ taylor-prune = { rate = 0.5, interval = 1 } }, { learned-step-quantize = { bits = 4 } }",
];

/// Settings with which a stage holds most of a trial's memory.
const STAGES: [(&str, [&str; 3]); 2] = [
    (
        "search",
        ["space.spike-dhs.channels={ search = 16, retrain = 1 }", "search.batch_size=50", "retrain.batch_size=1"],
    ),
    (
        "retrain",
        ["space.spike-dhs.channels={ search = 1, retrain = 16 }", "search.batch_size=2", "retrain.batch_size=50"],
    ),
];

/// What the estimate has for kernels and workspaces of a real device, in bytes.
const LOADED: u64 = 512 << 20;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut tests: Vec<Test> = Vec::new();
    let mut add = |name: String, test: Box<dyn FnOnce() + Send>| {
        tests.push(Test::test(name, move || {
            test();
            Ok(())
        }));
    };
    for limits in LIMITS {
        add(format!("a_steady_{}_asks_no_more_than_promised", limits.work), Box::new(move || steady(&limits)));
    }
    for manifest in paper() {
        let name = manifest.file_stem().unwrap().to_string_lossy().into_owned();
        add(format!("runs::{name}"), Box::new(move || runs(&manifest)));
    }
    add("a_stopped_trial_resumes_to_the_bit".into(), Box::new(resumes));
    add("a_trial_learns_what_it_learns_on_the_cpu".into(), Box::new(|| learns_the_same(&[])));
    add("a_trial_in_other_settings_learns_what_it_learns_on_the_cpu".into(), Box::new(|| learns_the_same(&OTHERWISE)));
    let all = "a_trial_with_all_operations_of_a_cell_learns_what_it_learns_on_the_cpu";
    add(all.into(), Box::new(|| learns_the_same(&OPERATIONS)));
    for (number, compressors) in CHANGING.into_iter().enumerate() {
        let set = format!("compressor=[{compressors}]");
        let learns = move || learns_the_same(&[&set, "search.epochs=3"]);
        add(format!("compressors_that_change_with_training_do_on_the_device::{number}"), Box::new(learns));
    }
    for (stage, settings) in STAGES {
        add(
            format!("memory_is_at_most_twice_or_half_of_its_estimate::{stage}"),
            Box::new(move || estimated(&settings)),
        );
    }
    add("evaluation_is_timed".into(), Box::new(evaluation));
    add("a_step_that_cannot_be_a_graph_runs_by_operations_and_says_so".into(), Box::new(without_graphs));
    add("images_that_do_not_fit_stay_on_the_host_and_train_alike".into(), Box::new(images_on_the_host));
    add("every_method_of_design_and_a_teacher_run".into(), Box::new(methods));
    add("early_exit_decides_as_on_the_cpu_and_trains_alike".into(), Box::new(early_exit));
    add("a_kernel_that_is_not_compiled_ends_a_trial_with_what_the_compiler_said".into(), Box::new(broken_kernel));
    add(
        "without_a_compiler_for_the_device_tensor_operations_train_and_the_run_says_so".into(),
        Box::new(without_kernels),
    );
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// Built by the first test that wants it.
fn device() -> &'static PretendedDevice {
    static BUILT: OnceLock<PretendedDevice> = OnceLock::new();
    BUILT.get_or_init(|| PretendedDevice::built(&root().join("framework"), Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

/// The command before which the device is loaded.
fn on_device() -> Command {
    let mut command = litesnn();
    device().before(&mut command);
    command
}

fn run_on_device(manifest: &Path, runs: &Path) -> Command {
    let mut command = on_device();
    command.arg("run").arg(manifest).arg("--runs").arg(runs).args(["--threads", "1", "--device", "cuda"]);
    command
}

/// The manifests of the paper.
fn paper() -> Vec<PathBuf> {
    let folder = root().join("experiments/paper");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut manifests: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    manifests.sort();
    manifests
}

/// `litesnn bench` of the paper's network on images so small that they cost no time: what a step
/// asks for does not depend on their size.
fn bench(work: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let small = ["--batch", "2", "--size", "8", "--repeats", "2", "--threads", "1", "--device", "cuda", "--json"];
    succeed(on_device().args(["bench", work]).args(small).env("PRETENDED_REPORT", &file));
    Report::read(&file)
}

fn told(Limits { work, before: [operations, waits], .. }: &Limits, step: &Counts) -> String {
    let head = format!(
        "{work}: {} device operations (before there were kernels {operations}), {} waits (before {waits})",
        step.operations(),
        step.waits()
    );
    format!("{head}\n{}{}", step.places(), step.most(20))
}

fn steady(limits: &Limits) {
    let step = bench(limits.work).steady_step();
    println!("{}", told(limits, &step));
    let (operations, waits) = (step.operations(), step.waits());
    assert!(operations <= limits.operations, "{operations} operations, and {} are promised", limits.operations);
    assert!(waits <= limits.waits, "{waits} waits, and {} are promised", limits.waits);
    let varying = step.varying();
    let named = |name: &String| SAME_EVERY_TIME.iter().any(|(known, _)| known == name);
    assert!(varying.keys().all(named), "a step may not be the same twice: {varying:?}");
}

/// Every part of a trial, on as few images as the manifest lets be set from outside.
fn runs(manifest: &Path) {
    let name = manifest.file_stem().unwrap();
    let mut sets = vec!["space.spike-dhs.cells=[0, 1]"];
    // A variant of its own says how many images it trains on.
    sets.extend(match name == "table2-cifar100" {
        true => ["dataset.fashion-mnist.test=4", "retrain.batch_size=150"],
        false => ["dataset.fashion-mnist={ train = 12, validation = 4, test = 4 }", "retrain.batch_size=6"],
    });
    // It searches nothing: its variants are given designs.
    if name != "table5-energy" {
        sets.extend(["search.samples=8", "search.batch_size=4"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = run_on_device(manifest, folder.path());
    command.args(["--profile", "smoke"]);
    for set in sets {
        command.args(["--set", set]);
    }
    succeed(&mut command);
}

fn resumes() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    succeed(&mut run_on_device(&manifest("long.toml"), &whole));
    for words in ["search  3/8", "retrain  2/16"] {
        let (mut child, mut lines) = run_until(&mut run_on_device(&manifest("long.toml"), &stopped), words);
        signal(&child, "INT");
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    }
    let output = succeed(&mut run_on_device(&manifest("long.toml"), &stopped));
    assert!(stderr(&output).contains("resuming after epoch"), "{}", stderr(&output));
    assert_all_same(&all_numbers(&stopped, "tiny"), &all_numbers(&whole, "tiny"));
}

/// Other neurons, losses, rules and temperatures than the paper's.
const OTHERWISE: [&str; 12] = [
    "search.algorithm=adam",
    "search.loss=rate-mse",
    "retrain.algorithm=adamw",
    "retrain.ema=0.9",
    "retrain.warmup=1",
    "retrain.learning_rate=0.001",
    "retrain.loss=timestep-cross-entropy",
    "retrain.label_smoothing=0.1",
    "space.spike-dhs.learn_decay=true",
    "space.spike-dhs.learn_threshold=true",
    "space.spike-dhs.surrogate=atan",
    "optimizer.joint.temperature={ from = 1.0, to = 0.1 }",
];

/// Kernels of every size, depthwise convolutions and pooling; weights of one channel have no standard
/// deviation.
const OPERATIONS: [&str; 2] = [
    "space.spike-dhs.operations=['skip', 'conv3x3', 'conv5x5', 'conv1x1', 'separable3x3', 'average-pool3x3', 'none']",
    "space.spike-dhs.channels={ search = 2, retrain = 2 }",
];

/// The operations of the device round otherwise than the kernels of the CPU, so that a spike may
/// differ now and then.
fn learns_the_same(settings: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let [here, there] = ["cpu", "device"].map(|name| folder.path().join(name));
    let set = |mut command: Command| {
        for setting in settings {
            command.args(["--set", setting]);
        }
        command
    };
    succeed(&mut set(run(&manifest("tiny.toml"), &here)));
    succeed(&mut set(run_on_device(&manifest("tiny.toml"), &there)));
    let losses = |runs: &Path| {
        let folders = ["lite-snn", "dense"].map(|variant| trial(runs, "tiny", variant));
        folders.map(|folder| floats(&table(&folder.join("history.parquet")), "train_loss")).concat()
    };
    let (cpu, device) = (losses(&here), losses(&there));
    assert_eq!(cpu.len(), device.len());
    for (cpu, device) in cpu.iter().zip(&device) {
        assert!((cpu - device).abs() < 2e-2 * cpu, "{cpu} and {device}");
    }
}

fn evaluation() {
    let report = bench("evaluate");
    assert!(report.all().operations() > 0);
    assert!(report.peak_bytes() > 1 << 20);
}

/// The device offers graphs, and refuses to record one.
fn without_graphs() {
    let version = litesnn_framework::ground::device::libtorch();
    let numbers: Vec<u32> = version.split('.').filter_map(|number| number.parse().ok()).collect();
    if numbers < vec![2, 13] {
        println!("test skipped: graphs of libtorch {version} are CUDA's own, which nothing else can offer");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [plain, refused] = ["plain", "refused"].map(|name| folder.path().join(name));
    let five_steps = |runs: &Path| {
        let mut command = run_on_device(&manifest("tiny.toml"), runs);
        command.args(["--set", "search.batch_size=8", "--set", "retrain.batch_size=8"]);
        command
    };
    let without = stderr(&succeed(&mut five_steps(&plain)));
    let said = stderr(&succeed(five_steps(&refused).env("PRETENDED_GRAPH", "1")));
    let note = "steps run one operation at a time, since they cannot be a graph: libtorch: CUDA error: operation not supported";
    // Every stage of both trials, once for all of its epochs.
    let stages: usize = ["lite-snn", "dense"]
        .map(|variant| strings(&table(&trial(&refused, "tiny", variant).join("history.parquet")), "stage"))
        .map(|stages| stages.into_iter().collect::<BTreeSet<String>>().len())
        .iter()
        .sum();
    assert_eq!((without.matches(note).count(), said.matches(note).count()), (0, stages), "{said}");
    assert_all_same(&all_numbers(&refused, "tiny"), &all_numbers(&plain, "tiny"));
    // Where graphs are offered, memory for one is needed.
    let needs = |graph: bool| {
        let mut command = on_device();
        command.arg("plan").arg(manifest("tiny.toml")).args(["--device", "cuda", "--json"]).arg("--runs").arg(&plain);
        // A batch that outweighs the evaluation of 100 images.
        command.args(["--set", "retrain.batch_size=1000", "--set", "dataset.fashion-mnist.train=1000"]);
        if graph {
            command.env("PRETENDED_GRAPH", "1");
        }
        let planned: serde_json::Value = serde_json::from_str(&stdout(&succeed(&mut command))).unwrap();
        planned[0]["memory_bytes"].as_u64().unwrap() - LOADED
    };
    let ratio = needs(true) as f64 / needs(false) as f64;
    assert!((1.8..2.0).contains(&ratio), "activations are most of it: {ratio}");
}

/// A quarter of the device's memory is less than the 1.5 MB of images.
fn images_on_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let [device, host] = ["device", "host"].map(|name| folder.path().join(name));
    let few_of_many = |runs: &Path| {
        let mut command = run_on_device(&manifest("tiny.toml"), runs);
        let data = "dataset.fashion-mnist={ train = 2000, validation = 20, test = 20 }";
        command.args(["--force", "--set", data, "--set", "search.samples=40", "--set", "retrain.samples=40"]);
        command
    };
    let without = stderr(&succeed(&mut few_of_many(&device)));
    let said = stderr(&succeed(few_of_many(&host).env("PRETENDED_MEMORY", "5")));
    let note = "images stay on the host, which gathers each batch";
    assert!(!without.contains(note) && said.contains(note), "{said}");
    assert_all_same(&all_numbers(&host, "tiny"), &all_numbers(&device, "tiny"));
}

/// Tickets, Hessians, evolution, random and training-free search, and what a teacher teaches.
fn methods() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = run_on_device(&root().join("experiments/methods.toml"), folder.path());
    command.args(["--profile", "smoke"]);
    let data = "dataset.fashion-mnist={ train = 30, validation = 10, test = 10 }";
    for set in
        [data, "space.spike-dhs.cells=[0, 1]", "search.samples=26", "search.batch_size=13", "retrain.batch_size=15"]
    {
        command.args(["--set", set]);
    }
    succeed(&mut command);
}

/// A network that looks at an image for fewer timesteps where it is sure.
fn early_exit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits.toml");
    std::fs::write(&path, EXITS).unwrap();
    let [here, there] = ["cpu", "device"].map(|name| folder.path().join(name));
    succeed(&mut run(&path, &here));
    succeed(&mut run_on_device(&path, &there));
    let [here, there] = [here, there].map(|runs| trial(&runs, "exits", "exits"));
    let column = |folder: &Path, file: &str, name: &str| floats(&table(&folder.join(file)), name);
    let losses = [&here, &there].map(|folder| column(folder, "history.parquet", "train_loss"));
    assert!(losses[0].iter().zip(&losses[1]).all(|(cpu, device)| (cpu - device).abs() < 2e-2 * cpu), "{losses:?}");
    let timesteps = [&here, &there].map(|folder| column(folder, "result.parquet", "mean_timesteps")[0]);
    assert!(timesteps[0] < 3.0 && (timesteps[0] - timesteps[1]).abs() < 0.2, "some images stop: {timesteps:?}");
}

const EXITS: &str = r#"
[experiment]
name = "exits"
seeds = [0]

[dataset.fashion-mnist]
train = 60
validation = 20
test = 40

[space.layers]
layers = [{ conv = 4 }, { max_pool = 2 }, { conv = 6, stride = 2 }, { global_average = true }, { classifier = 1 }]

[timesteps.early-exit]
max = 3
threshold = 0.995
thresholds = [0.0, 0.99, 1.5]

[retrain]
epochs = 4
batch_size = 20
learning_rate = 0.2
loss = "prefix-cross-entropy"
"#;

/// NVRTC compiles other kernels, and not this one.
fn broken_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let prelude = folder.path().join("prelude.h");
    let host = root().join("framework/kernels/host.h");
    std::fs::write(&prelude, format!("#include \"{}\"\n#pragma GCC poison node_forward\n", host.display())).unwrap();
    let runs = folder.path().join("runs");
    let mut command = run_on_device(&manifest("tiny.toml"), &runs);
    let output = command.args(["--set", "variant=[]"]).env("PRETENDED_PRELUDE", &prelude).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("failed: kernel `node_forward` of `node.cu` cannot be used on cuda:0: NVRTC 13."), "{said}");
    assert!(said.contains("attempt to use poisoned") && !said.contains("libtorch: "), "{said}");
    assert!(!said.contains("no kernels on cuda:0"), "others are compiled: {said}");
    let [folder] = folders(&runs.join("tiny")).into_iter().collect::<Vec<_>>().try_into().expect("one trial");
    let failed = std::fs::read_to_string(runs.join("tiny").join::<String>(folder).join("failed.json")).unwrap();
    assert!(failed.contains("attempt to use poisoned") && failed.contains("litesnn doctor"), "{failed}");
}

/// A prelude that is nowhere is an NVRTC that compiles nothing for this device.
fn without_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = run_on_device(&manifest("tiny.toml"), folder.path());
    let said = stderr(&succeed(command.env("PRETENDED_PRELUDE", "/nowhere/host.h")));
    let note = "no kernels on cuda:0: neurons, normalisations and weights are computed by tensor operations";
    assert_eq!(said.matches(note).count(), 1, "once for two trials: {said}");
    assert!(said.contains("NVRTC 13.") && said.contains("/nowhere/host.h"), "who lacks what: {said}");
    let log = std::fs::read_to_string(trial(folder.path(), "tiny", "dense").join("log.jsonl")).unwrap();
    assert!(log.lines().next().unwrap().contains(note), "{log}");
    let kernels = |command: &mut Command| {
        let lines = stdout(&succeed(command.args(["doctor", "--device", "cuda"])));
        lines.lines().find(|line| line.starts_with("kernels")).unwrap_or_else(|| panic!("{lines}")).to_owned()
    };
    let without = kernels(on_device().env("PRETENDED_PRELUDE", "/nowhere/host.h"));
    assert!(without.starts_with("kernels   none, tensor operations in their place (NVRTC 13."), "{without}");
    let with = kernels(&mut on_device());
    assert!(
        with.starts_with("kernels   compiled by NVRTC 13.") && with.ends_with("for compute capability 9.0"),
        "{with}"
    );
}

/// The peak of what tensors hold, beside the estimate of it.
fn estimated(settings: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let set = |command: &mut Command| {
        // A batch: the peak is that of one step.
        command.args(["--set", "dataset.fashion-mnist={ train = 50, validation = 20, test = 20 }"]);
        for setting in settings.iter().chain(&["variant=[]", "retrain.epochs=1"]) {
            command.args(["--set", setting]);
        }
    };
    let mut plan = on_device();
    plan.arg("plan").arg(manifest("tiny.toml")).args(["--device", "cuda", "--json"]).arg("--runs").arg(folder.path());
    set(&mut plan);
    let planned: serde_json::Value = serde_json::from_str(&stdout(&succeed(&mut plan))).unwrap();
    let estimate = planned[0]["memory_bytes"].as_u64().unwrap() - LOADED;
    let mut run = run_on_device(&manifest("tiny.toml"), folder.path());
    set(&mut run);
    succeed(run.env("PRETENDED_REPORT", &file));
    let held = Report::read(&file).peak_bytes();
    let ratio = estimate as f64 / held as f64;
    println!("estimate {estimate}, held {held}: {ratio:.2}");
    assert!((0.5..=2.0).contains(&ratio), "the estimate is {estimate} bytes, and tensors held {held}: {ratio:.2}");
}
