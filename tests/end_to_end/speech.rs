//! A trial on sounds that are changed at random in every epoch.

use std::f64::consts::PI;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use crate::support::{all_numbers, assert_all_same, manifest, run, stderr, succeed};

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
