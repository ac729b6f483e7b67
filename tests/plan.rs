//! `litesnn plan` says what `litesnn run` then does.

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::path::Path;

use litesnn_framework::manifest::{Request, load};
use litesnn_plugins as _;
use serde_json::Value;
use support::{files, floats, integers, litesnn, manifest, run, stderr, stdout, succeed, table};

/// The trials of the tiny manifest as `litesnn plan --json` prints them.
fn plan(runs: &Path, options: &[&str]) -> Vec<Value> {
    let mut command = litesnn();
    command.arg("plan").arg(manifest("tiny.toml")).arg("--runs").arg(runs);
    let output = succeed(command.args(["--json", "--threads", "1", "--device", "cpu"]).args(options));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn states(trials: &[Value]) -> Vec<&str> {
    trials.iter().map(|trial| trial["state"].as_str().unwrap()).collect()
}

#[test]
fn hashes_states_and_parameters_are_those_of_the_run() {
    let runs = tempfile::tempdir().unwrap();
    let before = plan(runs.path(), &[]);
    assert_eq!(states(&before), ["new", "new"]);
    assert!(files(runs.path()).is_empty(), "a plan leaves nothing behind");
    // The dense network's edges are not known before the search; its size does not depend on which
    // convolutions it keeps.
    assert_eq!(before[1]["network_is_known"], false);

    succeed(&mut run(&manifest("tiny.toml"), runs.path()));
    let after = plan(runs.path(), &[]);
    assert_eq!(states(&after), ["done", "done"]);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before["hash"], &before["recipe"]), (&after["hash"], &after["recipe"]));
        let folder = Path::new(after["folder"].as_str().unwrap());
        let result = table(&folder.join("result.parquet"));
        assert_eq!(support::strings(&result, "hash"), [after["hash"].as_str().unwrap()]);
        assert_eq!(after["network_is_known"], true);
        // Beside the synapses: scale and shift of each normalised channel, and the classifier's
        // bias.
        let normalised: i64 = integers(&table(&folder.join("layers.parquet")), "outputs").iter().sum();
        let classes = 10;
        let weights = integers(&result, "weights")[0] + 2 * (normalised - classes) + classes;
        assert_eq!(after["network"]["weights"], weights, "{after}");
        let seconds: f64 =
            ["search_seconds", "retrain_seconds", "evaluate_seconds"].map(|it| floats(&result, it)[0]).iter().sum();
        // As text, the sum can differ in its last digit.
        assert!((after["seconds"].as_f64().unwrap() - seconds).abs() < 1e-9, "{after}");
    }

    // Without its result a trial resumes; while another process holds its lock, it runs.
    let folder = Path::new(after[1]["folder"].as_str().unwrap());
    fs::remove_file(folder.join("result.parquet")).unwrap();
    assert_eq!(states(&plan(runs.path(), &[])), ["done", "interrupted, 2 of 2 epochs"]);
    let lock = File::options().write(true).open(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(states(&plan(runs.path(), &[])), ["done", "running"]);
}

/// Other processes share the machine while tests run, so that the better of a few attempts counts.
#[test]
fn time_is_right_within_a_factor_of_two() {
    let options = ["--set", "search.epochs=4", "--set", "retrain.epochs=8", "--set", "dataset.fashion-mnist.train=200"];
    let mut ratios = Vec::new();
    for _ in 0..4 {
        let runs = tempfile::tempdir().unwrap();
        let planned = plan(runs.path(), &[&options[..], &["--time"]].concat());
        succeed(run(&manifest("tiny.toml"), runs.path()).args(options));
        let ratio: Vec<f64> = planned
            .iter()
            .map(|trial| {
                let log = fs::read_to_string(Path::new(trial["folder"].as_str().unwrap()).join("log.jsonl")).unwrap();
                let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let at =
                    |event: &str| lines.iter().find(|line| line["event"] == event).unwrap()["time"].as_f64().unwrap();
                trial["seconds"].as_f64().unwrap() / (at("finished") - at("start"))
            })
            .collect();
        if ratio.iter().all(|ratio| (0.5..2.0).contains(ratio)) {
            return;
        }
        ratios.push(ratio);
    }
    panic!("estimate / run, for both trials, four times: {ratios:.2?}");
}

/// The peak of a process is that of its largest trial: each one runs in a process of its own.
#[test]
fn memory_is_right_within_a_factor_of_two() {
    let peak = |options: &[&str]| {
        let runs = tempfile::tempdir().unwrap();
        let planned = plan(runs.path(), options);
        succeed(run(&manifest("tiny.toml"), runs.path()).args(options));
        let largest = planned.iter().map(|trial| trial["memory_bytes"].as_f64().unwrap()).fold(0.0, f64::max);
        let measured = planned.iter().map(|trial| {
            let folder = Path::new(trial["folder"].as_str().unwrap());
            integers(&table(&folder.join("result.parquet")), "peak_memory_bytes")[0] as f64
        });
        (largest, measured.fold(0.0, f64::max))
    };
    let one = |key: &'static str| ["--set", key];
    let alone = ["--set", "search.epochs=2", "--set", "retrain.epochs=1", "--set", "variant=[{ name = \"lite-snn\" }]"];
    let wide = [
        one("space.spike-dhs.channels={ search = 4, retrain = 4 }"),
        one("space.spike-dhs.stem_stride=1"),
        one("search.batch_size=40"),
        one("retrain.batch_size=40"),
        one("timesteps={ fixed = { steps = 5 } }"),
    ];
    let (small, small_measured) = peak(&alone);
    let (large, large_measured) = peak(&[&alone[..], &wide.concat()].concat());
    for (estimate, measured) in [(small, small_measured), (large, large_measured)] {
        assert!((0.5..2.0).contains(&(estimate / measured)), "{estimate} {measured}");
    }
    // What the program itself takes hides the networks: the difference is theirs alone.
    let (estimate, measured) = (large - small, large_measured - small_measured);
    assert!(measured > 50e6, "{measured} is too little to tell");
    assert!((0.5..2.0).contains(&(estimate / measured)), "{estimate} {measured}");
}

/// A candidate is trained as a final network is, on the batches of the search.
#[test]
fn a_search_that_trains_candidates_needs_what_its_larger_network_needs() {
    let memory = |fitness: &str, batch: u32| {
        let runs = tempfile::tempdir().unwrap();
        let optimizer = format!("optimizer={{ random-search = {{ fitness = \"{fitness}\" }} }}");
        let retrain = format!("retrain.batch_size={batch}");
        let wide = "space.spike-dhs={ channels = { search = 1, retrain = 64 }, stem_stride = 1 }";
        let fixed = "timesteps={ fixed = { steps = 5 } }";
        let alone = "variant=[{ name = \"lite-snn\" }]";
        let sets = [optimizer.as_str(), &retrain, wide, fixed, alone, "search.batch_size=40"];
        let options: Vec<&str> = sets.into_iter().flat_map(|set| ["--set", set]).collect();
        plan(runs.path(), &options)[0]["memory_bytes"].as_f64().unwrap()
    };
    let (trained, along_paths, retrained) = (memory("training", 1), memory("supernet", 1), memory("supernet", 40));
    assert!(trained > along_paths + 50e6, "{trained} {along_paths}");
    // Each plan is made by a process of its own, which itself is not always equally large.
    assert!((trained - retrained).abs() < 10e6, "{trained} {retrained}");
}

#[test]
fn what_does_not_fit_the_memory_is_refused_before_anything_starts() {
    for (command, stdout_is_empty) in [("run", true), ("plan", false)] {
        let runs = tempfile::tempdir().unwrap();
        let output = litesnn()
            .arg(command)
            .arg(manifest("tiny.toml"))
            .arg("--runs")
            .arg(runs.path())
            .args(["--device", "cpu", "--set", "timesteps.compressive.max=65535", "--set", "search.batch_size=40"])
            .args(["--set", "space.spike-dhs.channels={ search = 64, retrain = 2 }"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert_eq!(stdout(&output).is_empty(), stdout_is_empty);
        let said = stderr(&output);
        for part in ["trial lite-snn seed 0 needs about", "of memory, and cpu has", "litesnn run --force"] {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
        assert!(files(runs.path()).is_empty());
    }
}

#[test]
fn without_its_data_a_trial_is_still_shown() {
    let runs = tempfile::tempdir().unwrap();
    let trials = plan(runs.path(), &["--set", "dataset.fashion-mnist.root=elsewhere"]);
    assert_eq!(states(&trials), ["data not here", "data not here"]);
    assert!(trials[0]["hash"].is_null() && trials[0]["trial"] == "lite-snn seed 0");
}

/// A network without cells, of which nothing is searched.
const PLAIN: &str = r#"
[experiment]
name = "plain"
[dataset.fashion-mnist]
[space.layers]
layers = [{ conv = 4 }, { max_pool = 2 }, { basic = 6, stride = 2 }, { global_average = true }, { classifier = 1 }]
[timesteps.fixed]
steps = 2
[retrain]
epochs = 3
"#;

#[test]
fn a_network_without_cells_needs_no_search() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |text: String| {
        let path = folder.path().join("plain.toml");
        fs::write(&path, text).unwrap();
        let mut command = litesnn();
        command.arg("plan").arg(path).arg("--runs").arg(folder.path());
        command.args(["--json", "--threads", "1", "--device", "cpu"]);
        command
    };
    let output = succeed(&mut plan(PLAIN.into()));
    let trials: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let [trial] = trials.as_slice() else { panic!("{trials:?}") };
    assert_eq!((&trial["network_is_known"], &trial["supernet"]), (&true.into(), &Value::Null), "{trial}");
    assert_eq!((&trial["search_epochs"], &trial["retrain_epochs"]), (&0.into(), &3.into()), "{trial}");
    // By hand: stem 1 · 4, block 4 · 6 and 6 · 6 of 3x3, its projection 4 · 6, classifier 6 · 10; normalisation
    // of 4 and three times 6 channels, and ten biases.
    assert_eq!(trial["network"]["weights"], 9 * (4 + 24 + 36) + 24 + 60 + 2 * (4 + 18) + 10, "{trial}");

    for (from, to, said) in [
        (
            "max_pool = 2",
            "max_pool = 3",
            "windows of 3 at a stride of 3 and a padding of 0 do not fill the map of 28 x 28",
        ),
        (
            "{ basic = 6, stride = 2 }",
            "{ basic = 6, strid = 2 }",
            "unknown key `strid` in [space.layers.layers.2]; did you mean `stride`?",
        ),
        (
            "[timesteps.fixed]\nsteps = 2",
            "[timesteps.compressive]\nmax = 2",
            "nothing decides the number of timesteps: the manifest has no [optimizer.NAME]",
        ),
        (
            "[retrain]",
            "[[compressor]]\ngaussian-quantize = { bits = [1, 2] }\n[retrain]",
            "nothing decides the bit-widths: the manifest has no [optimizer.NAME]",
        ),
        ("[retrain]", "[optimizer.joint]\n[retrain]", "missing section [search]"),
    ] {
        let output = plan(PLAIN.replace(from, to)).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{to}");
        let text = stderr(&output);
        // A message may be broken into lines.
        let text: Vec<&str> = text.split_whitespace().filter(|word| *word != "│").collect();
        assert!(text.join(" ").contains(said), "{said}: {}", text.join(" "));
    }
}

/// The names of Table 4 are those of folders with finished results: its axes have to give the trials
/// that its variants were when each was written out.
#[test]
fn table_4_has_its_rows_with_every_profile() {
    let path = support::root().join("experiments/paper/table4-joint-vs-sequential.toml");
    let trials = |profile: Option<&str>| {
        let request = Request { manifest: path.clone(), profile: profile.map(str::to_owned), ..Request::default() };
        load(&request).unwrap().trials
    };
    let parts = ["a", "p", "q", "t"].map(|part| format!("joint-without-{part}"));
    let ways = ["joint", "sequential", "sequential-retrained", "random"];
    let rows = |scales: &[&str]| -> Vec<String> {
        let named = |way: &&str| scales.iter().map(|scale| format!("{way}-{scale}")).collect::<Vec<_>>();
        ways.iter().flat_map(named).chain(parts.clone()).collect()
    };
    let all = ["large", "medium", "small"];
    for (profile, scales, seeds) in
        [(None, all.as_slice(), 3), (Some("bench"), &all, 1), (Some("smoke"), &["medium"], 1)]
    {
        let names: Vec<String> = trials(profile).iter().map(|trial| trial.variant.clone()).collect();
        let wanted: Vec<String> = rows(scales).into_iter().flat_map(|row| vec![row; seeds]).collect();
        assert_eq!(names, wanted, "profile {profile:?}");
    }
    let bench = trials(Some("bench"));
    let setting = |variant: &str, pointer: &str| {
        let trial = bench.iter().find(|trial| trial.variant == variant).unwrap();
        trial.settings.pointer(pointer).cloned().unwrap_or_default()
    };
    assert_eq!(setting("sequential-large", "/optimizer/sequential/lambda_memory"), 2e-7);
    assert_eq!(setting("sequential-large", "/optimizer/sequential/architecture_rate"), 0.01);
    assert_eq!(setting("joint-small", "/optimizer/joint/lambda_compute"), 2e-8);
    assert_eq!(setting("joint-without-a", "/optimizer/joint/lambda_memory"), 1e-6);
    assert_eq!(setting("random-large", "/design/from"), "joint-large");
    assert_eq!(setting("random-large", "/compressor/1/score-prune/rate"), 0.5);
    assert_eq!(setting("joint-without-t", "/timesteps/fixed/steps"), 4);
}
