//! A trial that another one teaches.

use std::path::{Path, PathBuf};
use std::process::Command;

use litesnn_framework::data::{DataStore, Splits};
use litesnn_framework::manifest::{Manifest, Request, load};
use litesnn_framework::spiking::Precision;
use litesnn_framework::train::{Batches, Teacher, Teaching};
use litesnn_plugins as _;
use tch::{Device, Kind};

use crate::support::{
    all_numbers, assert_all_same, floats, litesnn, numbers, run, run_until, signal, stderr, stdout, succeed, table,
    trial,
};

/// The student stands before its teacher, whose network is wider, dense and longer.
const STUDENTS: &str = r#"
[experiment]
name = "taught"
description = "a compressed network with and without a teacher"

[dataset.fashion-mnist]
train = 40
validation = 20
test = 50

[space.layers]
layers = [{ conv = 3, stride = 2 }, { conv = 4, stride = 2 }, { global_average = true }, { classifier = 1 }]

[[compressor]]
magnitude-prune = { rate = 0.5 }

[timesteps.fixed]
steps = 2

[retrain]
epochs = 4
batch_size = 8

[[variant]]
name = "student"
set = { retrain.teacher = { from = "wide", alpha = 0.7, temperature = 2 } }

[[variant]]
name = "wide"
set = { "compressor" = [], "timesteps.fixed.steps" = 3, "space.layers.layers" = [{ conv = 6, stride = 2 }, { conv = 8, stride = 2 }, { global_average = true }, { classifier = 1 }] }

[[variant]]
name = "deaf"
set = { retrain.teacher = { from = "wide", alpha = 0 } }

[[variant]]
name = "plain"
"#;

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        desk.write("taught.toml", STUDENTS);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn run(&self, runs: &str) -> Command {
        run(&self.path("taught.toml"), &self.path(runs))
    }
}

fn of_history(folder: &Path) -> Vec<(String, String)> {
    let names = ["history.", "layers.", "result.test_accuracy", "result.test_loss"];
    numbers(folder).into_iter().filter(|(name, _)| names.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[test]
fn a_teacher_changes_what_is_learned_and_one_without_a_share_nothing() {
    let desk = Desk::new();
    let said = succeed(&mut desk.run("runs"));
    let order = ["[1/4] wide", "[2/4] student", "[3/4] deaf", "[4/4] plain"];
    assert!(order.iter().all(|title| stderr(&said).contains(title)), "{}", stderr(&said));
    let folder = |variant: &str| trial(&desk.path("runs"), "taught", variant);
    assert_eq!(of_history(&folder("deaf")), of_history(&folder("plain")));
    let losses = |variant: &str| floats(&table(&folder(variant).join("history.parquet")), "train_loss");
    assert_ne!(losses("student"), losses("plain"));

    // Side by side, each in a process of its own, they have the same numbers.
    succeed(desk.run("jobs").args(["--jobs", "2"]));
    assert_all_same(&all_numbers(&desk.path("jobs"), "taught"), &all_numbers(&desk.path("runs"), "taught"));

    // Its manifest names the folder of the teacher, and is the same work.
    let kept = folder("student").join("manifest.toml");
    let text = std::fs::read_to_string(&kept).unwrap();
    assert!(text.contains("trial = \"../wide-s0-") && !text.contains("from ="), "{text}");
    let again = succeed(&mut run(&kept, &desk.path("runs")));
    assert!(stdout(&again).contains("finished before"), "{}", stdout(&again));

    // A teacher is not removed behind its student's back.
    let removed = litesnn().args(["runs", "rm"]).arg(folder("wide")).output().unwrap();
    assert!(stderr(&removed).contains("teaches other trials; nothing was removed"), "{}", stderr(&removed));
}

#[test]
fn the_plan_shows_who_teaches_whom_and_counts_the_teachers_memory() {
    let desk = Desk::new();
    let plan = |options: &[&str]| {
        let mut command = litesnn();
        command.arg("plan").arg(desk.path("taught.toml")).arg("--runs").arg(desk.path("runs")).args(options);
        stdout(&succeed(command.args(["--threads", "1", "--device", "cpu"])))
    };
    let table = plan(&["--set", "retrain.batch_size=40"]);
    let row = |title: &str| table.lines().find(|line| line.contains(title)).unwrap_or_else(|| panic!("{table}"));
    assert!(row(" student seed 0").contains("as written, taught by wide seed 0"), "{table}");
    assert!(!row(" plain seed 0").contains("taught"), "{table}");
    let all: Vec<serde_json::Value> = serde_json::from_str(&plan(&["--json"])).unwrap();
    let of = |title: &str| all.iter().find(|trial| trial["trial"] == title).unwrap();
    assert_eq!(of("student seed 0")["taught_by"], "wide seed 0");
    let [taught, plain, wide] = ["student seed 0", "plain seed 0", "wide seed 0"].map(of);
    assert!(plain["taught_by"].is_null());
    let bytes = |trial: &serde_json::Value| trial["memory_bytes"].as_u64().unwrap();
    // Two copies of the teacher's weights, its running statistics (of 6 and 8 channels), and of a
    // batch of 8 the 28 x 28 pixels and three times the largest of its maps, 6 x 14 x 14, over 3
    // timesteps.
    let weights = wide["network"]["weights"].as_u64().unwrap();
    let teacher = 4 * (2 * weights + 2 * (6 + 8) + 8 * (3 * 3 * 6 * 14 * 14 + 28 * 28));
    let difference = bytes(taught) - bytes(plain);
    assert_eq!(difference, teacher, "{taught} {wide}");
    let timed = plan(&["--time"]);
    assert!(timed.lines().any(|line| line.contains(" student seed 0") && line.contains(" s ")), "{timed}");
}

#[test]
fn a_student_that_is_interrupted_resumes_to_the_bit() {
    let desk = Desk::new();
    let many = [
        "--set",
        "retrain.epochs=12",
        "--set",
        "variant=[{ name = \"wide\" }, { name = \"student\", set = { retrain.teacher = { from = \"wide\", features = 0.5 } } }]",
    ];
    succeed(desk.run("whole").args(many));
    for _ in 0..2 {
        let mut command = desk.run("runs");
        let (child, _lines) = run_until(command.args(many), "student");
        signal(&child, "INT");
        child.wait_with_output().unwrap();
    }
    succeed(desk.run("runs").args(many));
    assert_all_same(&all_numbers(&desk.path("runs"), "taught"), &all_numbers(&desk.path("whole"), "taught"));
}

/// KDSNN's teacher: neurons that do not spike, one timestep, hidden maps.
#[test]
fn a_network_without_spikes_teaches_by_its_hidden_maps() {
    let desk = Desk::new();
    let ann = "compressor = [], timesteps.fixed.steps = 1, space.layers.activation = \"relu\"";
    let variants = format!(
        "variant=[{{ name = \"ann\", set = {{ {ann} }} }}, {{ name = \"by-answers\", set = {{ retrain.teacher.from = \"ann\" }} }}, \
         {{ name = \"by-maps\", set = {{ retrain.teacher = {{ from = \"ann\", features = 1 }} }} }}]"
    );
    succeed(desk.run("runs").args(["--set", &variants]));
    let folder = |variant: &str| trial(&desk.path("runs"), "taught", variant);
    let losses = |variant: &str| floats(&table(&folder(variant).join("history.parquet")), "train_loss");
    let (answers, maps) = (losses("by-answers"), losses("by-maps"));
    assert!(answers.iter().zip(&maps).all(|(answers, maps)| answers < maps), "{answers:?} and with maps {maps:?}");

    // Every connection is a multiplication, and none waits for a spike.
    let layers = table(&folder("ann").join("layers.parquet"));
    let [macs, multiplications, syn_ops] = ["macs", "multiplications", "syn_ops"].map(|name| floats(&layers, name));
    assert_eq!((macs, vec![0.0; 3]), (multiplications, syn_ops));

    // Maps that nothing pairs.
    let strided = "space.layers.layers=[{ conv = 4, stride = 3 }, { global_average = true }, { classifier = 1 }]";
    let apart = variants.replace(ann, &format!("{ann}, {}", strided.replace("layers=", "layers = ")));
    let failed = desk.run("apart").args(["--set", &apart]).output().unwrap();
    let said = stderr(&failed);
    assert!(said.contains("the teacher's maps are 10 x 10 and those of this network 14 x 14, 7 x 7"), "{said}");
}

/// The accuracy of a teacher's answers on the test images, whose classes they are.
fn accuracy(teacher: &Teacher, splits: &Splits) -> f64 {
    let order = (0..splits.test.len() as i64).collect();
    let batches = Batches::new(&splits.test, &splits.normalisation, order, 20, Device::Cpu);
    let right = batches.map(|batch| {
        let right = teacher.lesson(&batch.images).answers.argmax(1, false).eq_tensor(&batch.labels);
        right.sum(Kind::Int64).int64_value(&[])
    });
    right.sum::<i64>() as f64 / splits.test.len() as f64
}

/// Its weights are those that its result was measured with: of a network that was retrained, of one
/// whose result was taken from another experiment, and of one that a search has trained.
#[test]
fn a_teacher_answers_as_its_result_says() {
    let desk = Desk::new();
    succeed(&mut desk.run("runs"));
    let elsewhere = desk.write("again.toml", &STUDENTS.replace("name = \"taught\"", "name = \"again\""));
    succeed(&mut run(&elsewhere, &desk.path("runs")));
    let searched = "[timesteps.compressive]\nmax = 2\n\n[optimizer.sequential]\n\n[search]\nepochs = 2\n";
    let sequential = STUDENTS
        .split("[[variant]]")
        .next()
        .unwrap()
        .replace("name = \"taught\"", "name = \"searched\"")
        .replace("[timesteps.fixed]\nsteps = 2\n", searched)
        .replace("magnitude-prune", "score-prune");
    succeed(&mut run(&desk.write("searched.toml", &sequential), &desk.path("runs")));
    let teaching = Teaching { from: None, trial: None, alpha: 0.5, temperature: 4.0, features: 0.0 };
    let plan = load(&Request { manifest: desk.path("taught.toml"), ..Request::default() }).unwrap();
    let Manifest { dataset, .. } = &plan.trials[0].manifest;
    let splits = DataStore::new(vec![crate::support::root().join("experiments/data")]).open(dataset.as_ref()).unwrap();
    let open = |folder: &Path| Teacher::open(&teaching, folder, &splits.info, Device::Cpu, Precision::F32);
    for (experiment, variant) in
        [("taught", "wide"), ("taught", "student"), ("again", "wide"), ("searched", "searched")]
    {
        let folder = trial(&desk.path("runs"), experiment, variant);
        let result = floats(&table(&folder.join("result.parquet")), "test_accuracy")[0];
        let found = accuracy(&open(&folder).unwrap(), &splits);
        assert!((found - result).abs() < 1e-12, "{experiment} {variant}: {found}, and the result says {result}");
    }

    // Without its weights, it says where they are gone.
    succeed(litesnn().args(["runs", "gc"]).arg(desk.path("runs")));
    let error = open(&trial(&desk.path("runs"), "taught", "wide")).err().expect("its weights are gone");
    assert!(error.to_string().contains("has no final weights to teach with"), "{error}");
    assert!(error.hint().unwrap().contains("`litesnn runs gc` removes"), "{error:?}");
    let other = desk.write("other.toml", &STUDENTS.replace("alpha = 0.7", "alpha = 0.6"));
    let failed = run(&other, &desk.path("runs")).output().unwrap();
    assert!(stderr(&failed).contains("has no final weights to teach with"), "{}", stderr(&failed));
}

#[test]
fn a_teacher_that_cannot_teach_is_refused_before_anything_runs() {
    let desk = Desk::new();
    succeed(&mut desk.run("runs"));
    let wide = trial(&desk.path("runs"), "taught", "wide");
    let words = "[dataset.speech-commands]\n";
    let other = STUDENTS
        .replace("[dataset.fashion-mnist]\ntrain = 40\nvalidation = 20\ntest = 50\n", words)
        .replace("from = \"wide\", alpha = 0.7", &format!("trial = \"{}\", alpha = 0.7", wide.display()));
    let output = run(&desk.write("other.toml", &other), &desk.path("runs")).output().unwrap();
    let said = stderr(&output);
    assert!(
        said.contains("cannot teach this trial: it reads inputs of 1 x 28 x 28, and those of this trial are "),
        "{said}"
    );
    let cifar = "set = { dataset = { cifar10 = {} }, ";
    let mixed = STUDENTS.replace("name = \"wide\"\nset = { ", &format!("name = \"wide\"\n{cifar}"));
    let output = run(&desk.write("mixed.toml", &mixed), &desk.path("runs")).output().unwrap();
    let said = stderr(&output);
    assert!(said.contains("variant `wide` cannot teach this one: it reads inputs of 3 x 32 x 32"), "{said}");
    let sequential = STUDENTS
        .replace(
            "[timesteps.fixed]\nsteps = 2\n",
            "[timesteps.compressive]\nmax = 2\n\n[optimizer.sequential]\n\n[search]\nepochs = 2\n",
        )
        .replace("\"timesteps.fixed.steps\" = 3, ", "");
    let output = run(&desk.write("sequential.toml", &sequential), &desk.path("runs")).output().unwrap();
    let said = stderr(&output);
    assert!(said.contains("nothing reads [retrain.teacher]: `sequential` trains the final weights"), "{said}");
}
