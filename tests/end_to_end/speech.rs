//! A trial on sounds that are changed at random in every epoch, and a network on a user's sound.

use std::f64::consts::PI;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{all_numbers, assert_all_same, litesnn, manifest, run, stderr, stdout, succeed, trial};

/// A second at 16 kHz, mono, 16 bit.
fn wave(path: &Path, sample: impl Fn(f64) -> f64) {
    const RATE: u32 = 16_000;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + 2 * RATE).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend([16_u32.to_le_bytes(), [1, 0, 1, 0], RATE.to_le_bytes(), (2 * RATE).to_le_bytes()].concat());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend((2 * RATE).to_le_bytes());
    bytes.extend((0..RATE).flat_map(|n| ((sample(f64::from(n) / f64::from(RATE)) * 16_000.0) as i16).to_le_bytes()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Three words as tones of different pitch, ten clips each, in the layout of Google Speech
/// Commands.
fn data(folder: &Path) {
    let mut lists = [String::new(), String::new()];
    for (word, pitch) in [("yes", 400.0), ("no", 900.0), ("cat", 2000.0)] {
        for clip in 0..10 {
            let name = format!("{word}/{clip}.wav");
            wave(&folder.join(&name), |t| 0.5 * (2.0 * PI * (pitch + 10.0 * f64::from(clip)) * t).sin());
            if clip >= 7 {
                lists[usize::from(clip > 7)] += &format!("{name}\n");
            }
        }
    }
    wave(&folder.join("_background_noise_/hum.wav"), |t| 0.1 * (2.0 * PI * 3000.0 * t * t).sin());
    fs::write(folder.join("validation_list.txt"), &lists[0]).unwrap();
    fs::write(folder.join("testing_list.txt"), &lists[1]).unwrap();
}

#[test]
fn an_interrupted_trial_on_augmented_sound_goes_on_to_the_same_numbers_with_the_data_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    data(&here);
    let path = folder.path().join("speech.toml");
    let tiny = manifest("tiny.toml");
    let text = format!(
        "extends = {tiny:?}\n[dataset.speech-commands]\nwords = [\"yes\", \"no\"]\n[search]\nbatch_size = 5\n\
         [retrain]\nepochs = 12\nbatch_size = 5\n"
    );
    fs::write(&path, text).unwrap();
    let trials = |runs: &str, root: &Path| -> Command {
        let mut command = run(&path, &folder.path().join(runs));
        command.args(["--set", &format!("dataset.speech-commands.root={}", root.display())]);
        command
    };

    succeed(&mut trials("whole", &here));
    let mut child = trials("stopped", &here).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("retrain  3/12")), "it trains");
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was stopped before its end");
    fs::rename(&here, &there).unwrap();
    let output = succeed(&mut trials("stopped", &there));
    assert!(stderr(&output).contains("resuming after epoch "), "it resumes");
    // The title is the name of the folder, which was another one when the second trial began, and a
    // file of the network names it.
    let without_title = |runs: &str| {
        let mut all = all_numbers(&folder.path().join(runs), "tiny");
        all.values_mut().for_each(|numbers| {
            numbers.retain(|name, _| !name.starts_with("result.dataset") && !name.starts_with("result.file_bytes"))
        });
        all
    };
    assert_all_same(&without_title("stopped"), &without_title("whole"));
}

const HEARING: &str = r#"
[experiment]
name = "hearing"

[dataset.speech-commands]
words = ["yes", "no"]
mfcc = { coefficients = 20 }

[space.layers]
layers = [{ conv = 4, stride = 4 }, { conv = 8, stride = 2 }, { global_average = true }, { classifier = 1 }]

[[compressor]]
rescale-quantize = { bits = [2] }

[timesteps.fixed]
steps = 3

[retrain]
epochs = 1
batch_size = 5
learning_rate = 0.1

[[variant]]
name = "words"
"#;

/// The packed file alone makes the input of a clip, by the code that makes the split's.
#[test]
fn a_clip_of_the_test_split_has_the_same_logits_by_its_file_and_by_the_data_set() {
    let desk = tempfile::tempdir().unwrap();
    let (store, elsewhere) = (desk.path().join("store"), desk.path().join("elsewhere"));
    data(&store.join("speech_commands_v0.02"));
    fs::create_dir(&elsewhere).unwrap();
    let manifest = desk.path().join("hearing.toml");
    fs::write(&manifest, HEARING).unwrap();
    let (runs, packed) = (desk.path().join("runs"), desk.path().join("network.packed"));
    succeed(run(&manifest, &runs).env("LITESNN_DATA", &store));
    let of = |command: &str| {
        let mut litesnn = litesnn();
        litesnn.env("LITESNN_DATA", &store).arg(command);
        litesnn
    };
    succeed(of("export").arg(trial(&runs, "hearing", "words")).arg("--out").arg(&packed));

    let logits = desk.path().join("logits.safetensors");
    let output =
        succeed(of("infer").arg(&packed).args(["--dataset", "speech-commands", "--json", "--logits"]).arg(&logits));
    assert_eq!(stderr(&output), "", "the data are those of the training");
    let file = fs::read(&logits).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let floats = |name: &str, shape: &[usize]| -> Vec<f32> {
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.shape(), shape, "{name}");
        tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    // Two clips of each word, silence, and an unknown word, of four classes.
    let (means, by_timestep) = (floats("logits", &[6, 4]), floats("by_timestep", &[6, 3, 4]));
    let mean = |at: usize| -> f32 { (0..3).map(|t| by_timestep[at / 4 * 12 + t * 4 + at % 4]).sum::<f32>() / 3.0 };
    assert!((0..24).all(|at| means[at] == mean(at)), "{means:?}, {by_timestep:?}");

    // The data are not looked at: another store has none.
    let hear = |clip: &Path| -> (Value, String) {
        let mut infer = litesnn();
        let output = succeed(infer.env("LITESNN_DATA", &elsewhere).arg("infer").arg(&packed).arg("--sound").arg(clip));
        let said = stdout(&output) + &stderr(&output);
        (serde_json::from_str(&stdout(&succeed(infer.arg("--json")))).unwrap(), said)
    };
    let mut found: Vec<Vec<f32>> = Vec::new();
    for name in ["yes/8.wav", "yes/9.wav", "no/8.wav", "no/9.wav"] {
        let (heard, said) = hear(&store.join("speech_commands_v0.02").join(name));
        let logits: Vec<f32> =
            heard["logits"].as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap() as f32).collect();
        assert!(means.chunks(4).any(|row| row == logits), "{name}: {logits:?} is not in {means:?}");
        assert!(heard.get("notes").is_none() && said.contains("yes") && said.contains("3 timesteps"), "{said}");
        found.push(logits);
    }
    assert_ne!(found[0], found[2], "a word is heard, and not the same for all");

    // The same second twice: what is behind the first is not heard, and the command says so.
    let long = desk.path().join("long.wav");
    let mut bytes = fs::read(store.join("speech_commands_v0.02/no/9.wav")).unwrap();
    bytes.extend_from_within(44..);
    bytes[40..44].copy_from_slice(&64_000_u32.to_le_bytes());
    fs::write(&long, bytes).unwrap();
    let (heard, said) = hear(&long);
    assert_eq!(heard["logits"][0].as_f64().unwrap() as f32, found[3][0]);
    assert_eq!(heard["notes"][0], "lasts 2.00 s, of which the first second is heard");
    assert!(said.contains("note: `") && said.contains("long.wav` lasts 2.00 s"), "{said}");

    let picture = desk.path().join("grey.png");
    image::GrayImage::from_pixel(8, 8, image::Luma([90])).save(&picture).unwrap();
    let refused = of("infer").arg(&packed).arg("--image").arg(&picture).output().unwrap();
    assert!(!refused.status.success() && stderr(&refused).contains("has a network for sounds"), "{}", stderr(&refused));

    // Other training clips have other means, and the inputs of the split are others.
    wave(&store.join("speech_commands_v0.02/yes/0.wav"), |t| 0.1 * (2.0 * PI * 3000.0 * t).sin());
    let said = stderr(&succeed(of("infer").arg(&packed).args(["--dataset", "speech-commands"])));
    assert!(said.contains("note: `speech-commands` has other training clips here than the network had"), "{said}");
}
