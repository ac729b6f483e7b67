//! `litesnn bench`: how long a step takes, beside its convolutions alone.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use litesnn_framework::design::Design;
use litesnn_framework::device;
use litesnn_framework::manifest::{self, Plan, Trial};
use litesnn_framework::run::benchmark::{Benchmark, Work, median};
use litesnn_framework::spiking::{Lif, Precision, custom_function};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::arguments::{Bench, BenchWork};
use crate::display;
use crate::exit::{Exit, Failure};
use crate::growth::{self, growth};

/// What is measured where no manifest is given: the paper's network for CIFAR-10 at its medium scale.
const MANIFEST: &str = "experiments/paper/table2-cifar10.toml";
const VARIANT: &str = "medium";
const DESIGN: &str = "experiments/designs/lite-snn-medium.toml";
/// Passes of neurons that only warm up.
const WARM: usize = 30;

pub fn bench(options: &Bench) -> Result<Exit, Failure> {
    if let Some(threads) = options.threads {
        tch::set_num_threads(i32::from(threads));
    }
    let only = |option: &str, works: &str| {
        let message = format!("`{option}` is for `litesnn bench {works}`");
        Err(Failure::new(Exit::Usage, message, None))
    };
    if options.figure.is_some() && options.work != Some(BenchWork::Growth) {
        return only("--figure", "growth");
    }
    if options.save.is_some() && !matches!(options.work, Some(BenchWork::RetrainStep | BenchWork::Evaluate)) {
        return only("--save", "retrain-step` and `litesnn bench evaluate");
    }
    let choice = device::choose(&options.device)?;
    let result = match options.work {
        Some(work @ BenchWork::SearchStep) => step(options, work.name(), Work::SearchStep, choice.device)?,
        Some(work @ BenchWork::RetrainStep) => step(options, work.name(), Work::RetrainStep, choice.device)?,
        Some(work @ BenchWork::Evaluate) => step(options, work.name(), Work::Evaluate, choice.device)?,
        Some(work @ BenchWork::Lif) => lif(options, work.name(), choice.device),
        Some(BenchWork::Growth) => growth(options)?,
        None => {
            let works = [BenchWork::SearchStep, BenchWork::RetrainStep, BenchWork::Evaluate, BenchWork::Lif];
            works.into_iter().map(|work| in_own_process(options, work, None)).collect::<Result<Value, Failure>>()?
        }
    };
    match (&result, options.work) {
        _ if options.json => println!("{}", serde_json::to_string_pretty(&result).unwrap_or_default()),
        (_, Some(BenchWork::Growth)) => growth::print(&result),
        (Value::Array(all), _) => all.iter().for_each(print),
        _ => print(&result),
    }
    Ok(Exit::Done)
}

/// What `litesnn bench WORK` with these options prints, and with another size of a shape: the memory of a process is its own.
pub fn in_own_process(options: &Bench, work: BenchWork, size: Option<(&str, i64)>) -> Result<Value, Failure> {
    let failed =
        |message: &str| Failure::new(Exit::Failed, format!("`litesnn bench {}`: {message}", work.name()), None);
    let program = std::env::current_exe().map_err(|error| failed(&error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["bench", work.name(), "--json", "--device", &options.device]);
    command.args(&options.manifest).args(options.layers.arguments());
    command.args(options.variant.iter().flat_map(|name| ["--variant", name]));
    command.args(options.design.iter().flat_map(|file| [OsStr::new("--design"), file.as_os_str()]));
    let shape = [
        ("repeats", Some(options.repeats)),
        ("timesteps", options.timesteps),
        ("batch", options.batch),
        ("channels", options.channels),
        ("cells", options.cells),
        ("nodes", options.nodes),
        ("size", options.size),
        ("threads", options.threads.map(i64::from)),
    ];
    let given = shape.into_iter().filter_map(|(option, value)| Some((option, value?)));
    for (option, value) in given.filter(|(option, _)| size.is_none_or(|(other, _)| other != *option)).chain(size) {
        command.args([format!("--{option}"), value.to_string()]);
    }
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(&error.to_string()))
}

/// Images of a step: few, as where a network of paper scale is measured in seconds.
fn batch_of(options: &Bench) -> i64 {
    options.batch.unwrap_or(4)
}

/// A file of the project, from the working directory or from where the program was built.
fn bundled(path: &str) -> PathBuf {
    let here = PathBuf::from(path);
    if here.exists() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join(path) }
}

fn step(options: &Bench, name: &str, work: Work, device: Device) -> Result<Value, Failure> {
    let given = options.manifest.is_some();
    let source = options.manifest.clone().unwrap_or_else(|| bundled(MANIFEST));
    let variant = options.variant.as_deref().or((!given).then_some(VARIANT));
    let plain = manifest::load(&options.layers.request(source.clone()))?;
    let request = {
        let mut request = options.layers.request(source);
        request.set.extend(shape_settings(options, &plain.trials[trial_of(&plain, variant, work)?], work)?);
        request
    };
    let plan = manifest::load(&request)?;
    let index = trial_of(&plan, variant, work)?;
    let trial = &plan.trials[index];
    let file = match (&options.design, &trial.manifest.design) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(design)) => design.file.clone(),
        (None, None) => (!given).then(|| bundled(DESIGN)),
    };
    let mut design = file.filter(|_| work != Work::SearchStep).map(|file| Design::read(&file)).transpose()?;
    if let (Some(design), Some(timesteps)) = (&mut design, options.timesteps) {
        design.timesteps = timesteps;
    }
    let timesteps = design.as_ref().map_or(trial.manifest.timesteps.max(), |design| design.timesteps);
    let batch = batch_of(options) as usize;
    let (size, repeats) = (options.size, options.repeats as usize);
    let save = options.save.clone();
    let benchmark = Benchmark { work, plan: &plan, index, design, batch, size, repeats, device, save };
    let measured = benchmark.run()?;
    let ratios = measured.ratios();
    if ratios.is_empty() {
        return Err(Failure::internal("no step was measured"));
    }
    let ([channels, height, width], _) = trial.manifest.dataset.form();
    let macs: f64 = measured.calls.iter().map(|call| call.macs()).sum();
    // Forward, and each gradient that the step needs.
    let passes = |call: &litesnn_framework::spiking::convolution::Call| {
        call.macs() * (1 + call.gradients.iter().filter(|needed| **needed).count()) as f64
    };
    let images = match work {
        Work::Evaluate => format!("batch of {batch} of a split"),
        _ => format!("step of {batch}"),
    };
    Ok(json!({
        "work": name,
        "what": format!("{}, {images}", trial.title()),
        "shape": {
            "timesteps": timesteps,
            "batch": batch,
            "image": [channels, size.unwrap_or(height), size.unwrap_or(width)],
            "space": trial.settings["space"],
        },
        "device": device::name(device),
        "threads": tch::get_num_threads(),
        "repeats": ratios.len(),
        "ratio_to_convolutions": median(&ratios),
        "ratio_least": least(&ratios),
        "ratio_largest": largest(&ratios),
        "ratio_to_default_layout": median(&measured.default_ratios()),
        "seconds": spread(&measured.step),
        "convolution_seconds": spread(&measured.convolutions),
        "default_layout_seconds": spread(&measured.default_layout),
        "convolutions": measured.calls.len(),
        "convolutions_in_bf16": measured.calls.iter().filter(|call| call.precision == Precision::Bf16).count(),
        "forward_macs": macs,
        "macs": measured.calls.iter().map(passes).sum::<f64>(),
        "idle_memory_bytes": measured.idle_memory,
        "peak_memory_bytes": measured.peak_memory,
    }))
}

/// Forward and backward of the neurons `[T, B, C, size, size]`.
fn lif(options: &Bench, name: &str, device: Device) -> Value {
    let size = options.size.unwrap_or(32);
    let shape =
        [options.timesteps.unwrap_or(6), options.batch.unwrap_or(32), options.channels.unwrap_or(48), size, size];
    let current = Tensor::randn(shape, (Kind::Float, device)) * 0.7 + 0.2;
    let current = current.set_requires_grad(true);
    let upstream = current.rand_like();
    let once = || {
        current.shallow_clone().zero_grad();
        let begin = Instant::now();
        let spikes = Lif::default().spikes(&current);
        // Hands the backward pass a gradient as it is: a product and its sum would take longer than the neurons.
        let seed = || (vec![Tensor::zeros([], (Kind::Float, device))], vec![upstream.shallow_clone()]);
        let loss = custom_function(&[&spikes], seed, |_, saved| vec![Some(saved[0].shallow_clone())]);
        Tensor::run_backward(&loss, &[&current], false, false);
        begin.elapsed().as_secs_f64()
    };
    // Until the allocator has the memory of a pass.
    (0..WARM).for_each(|_| {
        once();
    });
    let seconds: Vec<f64> = (0..options.repeats).map(|_| once()).collect();
    json!({
        "work": name,
        "what": "neurons forward and backward",
        "shape": { "timesteps": shape[0], "batch": shape[1], "channels": shape[2], "image": [size, size] },
        "device": device::name(device),
        "threads": tch::get_num_threads(),
        "repeats": seconds.len(),
        "ratio_to_convolutions": null,
        "seconds": spread(&seconds),
        "peak_memory_bytes": device::peak_memory(),
    })
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn spread(values: &[f64]) -> Value {
    json!({ "median": median(values), "least": least(values), "largest": largest(values) })
}

/// The trial of the named variant, or the first that does the work.
fn trial_of(plan: &Plan, variant: Option<&str>, work: Work) -> Result<usize, Failure> {
    let fits = |trial: &Trial| match variant {
        Some(name) => trial.variant == name,
        None => work != Work::SearchStep || trial.manifest.optimizer.is_some(),
    };
    plan.trials.iter().position(fits).ok_or_else(|| {
        let known: Vec<String> = plan.trials.iter().map(|trial| format!("`{}`", trial.variant)).collect();
        let message = match variant {
            Some(name) => format!("there is no variant `{name}`; known are {}", known.join(", ")),
            None => "no trial of the manifest searches".to_owned(),
        };
        Failure::new(Exit::Usage, message, None)
    })
}

/// `--set` for each option that names a shape, by the plugin that the trial has.
fn shape_settings(options: &Bench, trial: &Trial, work: Work) -> Result<Vec<String>, Failure> {
    let section = if work == Work::SearchStep { "search" } else { "retrain" };
    let mut all = vec![format!("{section}.batch_size={}", batch_of(options))];
    let stage = format!("channels.{section}");
    let levels = options.cells.map(|count| {
        // As the paper spreads eight cells over three levels.
        let level = |cell: i64| ((3 * cell + 2) / count).min(2);
        let levels: Vec<String> = (0..count).map(|cell| (level(cell) - level(0)).to_string()).collect();
        format!("[{}]", levels.join(", "))
    });
    let number = |value: Option<i64>| value.map(|value| value.to_string());
    let searched = options.timesteps.filter(|_| work == Work::SearchStep);
    let wanted: [(&str, &str, &[&str], Option<String>); 4] = [
        ("timesteps", "timesteps", &["max", "steps"], number(searched)),
        ("channels", "space", &[&stage, "channels"], number(options.channels)),
        ("nodes", "space", &["nodes"], number(options.nodes)),
        ("cells", "space", &["cells"], levels),
    ];
    for (option, section, keys, value) in wanted {
        let Some(value) = value else { continue };
        let settings = &trial.settings[section];
        let Some((plugin, own)) = settings.as_object().and_then(|plugins| plugins.iter().next()) else { continue };
        let has = |key: &&&str| own.pointer(&format!("/{}", key.replace('.', "/"))).is_some();
        let Some(key) = keys.iter().find(has) else {
            let message = format!("`--{option}` is no setting of {section} `{plugin}`");
            return Err(Failure::new(Exit::Usage, message, Some("change its settings with `--set`".into())));
        };
        all.push(format!("{section}.{plugin}.{key}={value}"));
    }
    Ok(all)
}

fn print(result: &Value) {
    let number = |pointer: &str| result.pointer(pointer).and_then(Value::as_f64);
    let times = |key: &str| {
        let part = |which: &str| number(&format!("/{key}/{which}")).unwrap_or(f64::NAN) * 1e3;
        format!("{:.1} ms ({:.1} to {:.1})", part("median"), part("least"), part("largest"))
    };
    println!("{}: {}", result["work"].as_str().unwrap_or_default(), result["what"].as_str().unwrap_or_default());
    let mut table = display::table(["", ""]);
    table.add_row(["time", &times("seconds")]);
    if let (Some(ratio), Some(least), Some(largest)) =
        (number("/ratio_to_convolutions"), number("/ratio_least"), number("/ratio_largest"))
    {
        table.add_row(["its convolutions alone", &times("convolution_seconds")]);
        table.add_row(["ratio", &format!("{ratio:.2} ({least:.2} to {largest:.2})")]);
        table.add_row(["in libtorch's default layout", &times("default_layout_seconds")]);
        table.add_row(["ratio", &format!("{:.2}", number("/ratio_to_default_layout").unwrap_or(f64::NAN))]);
        table.add_row(["convolutions", &result["convolutions"].to_string()]);
        table.add_row(["multiply-accumulates", &format!("{:.2} G", number("/macs").unwrap_or_default() / 1e9)]);
    }
    table.add_row(["peak memory", &format!("{:.0} MB", number("/peak_memory_bytes").unwrap_or_default() / 1e6)]);
    println!("{table}");
    println!(
        "  median (least to largest) of {} on {}, {} threads",
        result["repeats"], result["device"], result["threads"]
    );
}
