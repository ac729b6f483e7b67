use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavSpec, WavWriter};
use litesnn_framework::data::{Checksums, Input, Split, write_checksums};
use litesnn_framework::plugin::Kind;
use tch::Tensor;
use tempfile::TempDir;

use super::folder::{TESTING_LIST, VALIDATION_LIST};
use super::*;
use crate::dataset::sha256::sha256;

const SPEC: WavSpec =
    WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format: SampleFormat::Int };

fn write(path: &Path, spec: WavSpec, samples: impl Iterator<Item = i16>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = WavWriter::create(path, spec).unwrap();
    samples.for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

/// Ten clips of each of four words: clip `i` of word `w` begins with the sample `100 w + i` and
/// goes on as a tone of its own. The last three are in the lists. Two seconds and one and a half of
/// noise.
fn official() -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut lists = [String::new(), String::new()];
    for (w, word) in ["yes", "no", "cat", "dog"].into_iter().enumerate() {
        for i in 0..10 {
            let clip = format!("{word}/{i:08x}_nohash_0.wav");
            let tone = |n: usize| match n {
                0 => (100 * w + i) as i16,
                n => (8000.0 * (n as f64 * (0.05 + 0.02 * w as f64 + 0.003 * i as f64)).sin()) as i16,
            };
            write(&folder.path().join(&clip), SPEC, (0..SECOND).map(tone));
            if i >= 7 {
                lists[usize::from(i > 7)] += &format!("{clip}\n");
            }
        }
    }
    fs::write(folder.path().join(VALIDATION_LIST), &lists[0]).unwrap();
    fs::write(folder.path().join(TESTING_LIST), &lists[1]).unwrap();
    let noise = |seed: usize| move |n: usize| ((n * n * seed + n) % 2003) as i16 - 1000;
    write(&folder.path().join("_background_noise_/a.wav"), SPEC, (0..2 * SECOND).map(noise(7)));
    write(&folder.path().join("_background_noise_/b.wav"), SPEC, (0..3 * SECOND / 2).map(noise(11)));
    fs::write(folder.path().join("_background_noise_/README.md"), "not a recording").unwrap();
    fs::write(folder.path().join("LICENSE"), "not a word").unwrap();
    folder
}

fn settings(json: &str) -> SpeechCommands {
    let settings = serde_json::from_str(json).unwrap();
    SpeechCommands { words: vec!["yes".into(), "no".into()], ..settings }
}

fn open(folder: &TempDir, json: &str) -> Result<Splits> {
    let settings = SpeechCommands { root: Some(folder.path().to_owned()), ..settings(json) };
    settings.open(&DataStore::new(Vec::new()))
}

fn labels(split: &Split) -> Vec<i64> {
    Vec::try_from(&split.labels).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

fn sounds(split: &Split) -> Vec<Vec<i16>> {
    Vec::<i16>::try_from(split.images.flatten(0, -1)).unwrap().chunks(SECOND).map(<[i16]>::to_vec).collect()
}

/// The first sample of each clip, which tells which one it is; silence left out.
fn clips(split: &Split) -> Vec<i16> {
    sounds(split).iter().zip(labels(split)).filter(|(_, label)| *label != 2).map(|(sound, _)| sound[0]).collect()
}

#[test]
fn clips_are_split_by_the_lists_and_silence_and_unknown_are_a_tenth() {
    let folder = official();
    let splits = open(&folder, "{}").unwrap();
    assert_eq!(splits.info.classes, ["yes", "no", "_silence_", "_unknown_"]);
    assert_eq!(splits.info.shape, [1, 40, 98]);
    let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(splits.info.title, format!("{name}, 4 classes (18/4/6)"));
    assert_eq!(splits.info.edition, Edition::Other);

    // 14 + ceil(1.4) + ceil(1.4): seven clips of a word, those that no list names.
    assert_eq!(splits.train.images.size(), [18, SECOND as i64]);
    assert_eq!(labels(&splits.train), [[0; 7].as_slice(), &[1; 7], &[3; 2], &[2; 2]].concat());
    let trained = clips(&splits.train);
    let words: Vec<i16> = (0..7).chain(100..107).collect();
    assert_eq!(trained[..14], words);
    assert!(trained[14..].iter().all(|clip| (200..207).contains(clip) || (300..307).contains(clip)), "{trained:?}");
    assert_ne!(trained[14], trained[15]);
    assert_eq!(splits.validation.images.size(), [4, 1, 40, 98]);
    assert_eq!(splits.validation.images.kind(), tch::Kind::Float);
    assert_eq!(labels(&splits.validation), [0, 1, 3, 2]);
    assert_eq!(labels(&splits.test), [0, 0, 1, 1, 3, 2]);
    assert!(splits.preparation.is_some());

    // Without augmentation the training split holds inputs too.
    let plain =
        open(&folder, r#"{ "shift_ms": 0, "noise": { "probability": 0 }, "silence": 0, "unknown": 0 }"#).unwrap();
    assert_eq!(plain.info.classes, ["yes", "no"]);
    assert_eq!(plain.train.images.size(), [14, 1, 40, 98]);
    assert!(plain.preparation.is_none());
}

/// The test archive of v0.02 has 4,890 clips, of which 4,074 are of the ten words.
#[test]
fn the_published_test_split_has_as_many_clips_as_its_archive() {
    let name = |word: usize| move |clip: usize| format!("{word}/{clip}.wav");
    let keywords = || (0..10).map(|word| (0..407 + usize::from(word < 4)).map(name(word)).collect()).collect();
    let others: Vec<String> = (0..6_931).map(name(10)).collect();
    let choice = SpeechCommands::default().take("test", keywords(), others.clone(), None).unwrap();
    assert_eq!((choice.clips.len(), choice.silence), (4_074 + 408, 408));
    for wanted in [1, 12, 119, 1_000, 4_889, 4_890] {
        let choice = SpeechCommands::default().take("test", keywords(), others.clone(), Some(wanted)).unwrap();
        let of = |class: usize| choice.clips.iter().filter(|clip| clip.0 == class).count();
        assert_eq!(choice.clips.len() + choice.silence, wanted);
        assert!((0..10).all(|class| of(class).abs_diff(wanted / 12) <= 1), "{wanted}");
        assert!(of(11).abs_diff(wanted / 12) <= 2 && choice.silence.abs_diff(wanted / 12) <= 1, "{wanted}");
    }
    let error = SpeechCommands::default().take("test", keywords(), others, Some(4_891)).err().unwrap().to_string();
    assert!(error.contains("`test` = 4891 is more than there is: 4890 clips"), "{error}");
}

#[test]
fn a_part_is_balanced_and_its_words_are_in_every_larger_one() {
    let folder = official();
    let all = open(&folder, "{}").unwrap();
    let mut before: Vec<i16> = Vec::new();
    for train in 1..=18 {
        let part = open(&folder, &format!(r#"{{ "train": {train} }}"#)).unwrap();
        assert_eq!(part.train.len(), train);
        let now = clips(&part.train);
        let of = |class| labels(&part.train).iter().filter(|&&label| label == class).count();
        assert!(of(0) - of(1) <= 1, "{train}");
        // Where one more clip of a word makes three more in all, unknown clips had stood in for
        // them.
        assert!(before.iter().filter(|&&clip| clip < 200).all(|clip| now.contains(clip)), "{before:?} {now:?}");
        assert_eq!(floats(&part.test.images).len(), floats(&all.test.images).len());
        assert_eq!(part.info.digest == all.info.digest, train == 18);
        before = now;
    }
    let error = open(&folder, r#"{ "train": 19 }"#).unwrap_err().to_string();
    assert!(error.contains("`train` = 19 is more than there is: 18 clips"), "{error}");
}

#[test]
fn the_same_content_gives_the_same_numbers_wherever_it_lies() {
    let (here, there) = (official(), official());
    let (a, b) = (open(&here, "{}").unwrap(), open(&there, "{}").unwrap());
    assert_eq!(a.info.digest, b.info.digest);
    assert_eq!(sounds(&a.train), sounds(&b.train));
    for (a, b) in [(&a.validation, &b.validation), (&a.test, &b.test)] {
        assert_eq!(floats(&a.images), floats(&b.images));
    }
    write(&there.path().join("yes/00000009_nohash_0.wav"), SPEC, [1, 2, 3].into_iter());
    assert_ne!(open(&there, "{}").unwrap().info.digest, a.info.digest);
}

#[test]
fn silence_is_a_piece_of_noise_of_its_own() {
    let splits = open(&official(), r#"{ "silence": 1.0 }"#).unwrap();
    let pieces: Vec<Vec<i16>> =
        sounds(&splits.train).into_iter().zip(labels(&splits.train)).filter(|it| it.1 == 2).map(|it| it.0).collect();
    assert_eq!(pieces.len(), 14);
    let distinct: BTreeSet<&Vec<i16>> = pieces.iter().collect();
    assert_eq!(distinct.len(), 14);
    let loudest: Vec<i16> = pieces.iter().map(|piece| piece.iter().map(|it| it.abs()).max().unwrap()).collect();
    assert!(loudest.iter().all(|it| (1..=1002).contains(it)), "{loudest:?}");
    assert!(loudest.iter().max().unwrap() - loudest.iter().min().unwrap() > 300, "{loudest:?}");
}

#[test]
fn a_short_clip_is_padded_and_a_long_one_cut() {
    let folder = official();
    write(&folder.path().join("yes/00000000_nohash_0.wav"), SPEC, [500, 600].into_iter());
    write(&folder.path().join("yes/00000001_nohash_0.wav"), SPEC, (0..2 * SECOND).map(|n| (n % 1000) as i16));
    let found = sounds(&open(&folder, "{}").unwrap().train);
    assert_eq!(found[0][..4], [500, 600, 0, 0]);
    assert_eq!(found[1].last(), Some(&999));
}

#[test]
fn each_coefficient_has_mean_0_and_all_together_have_deviation_1() {
    let splits = open(&official(), r#"{ "shift_ms": 0, "noise": { "volume": 0 } }"#).unwrap();
    let mean = floats(&splits.train.images.mean_dim([0, 3].as_slice(), false, tch::Kind::Float));
    assert_eq!(mean.len(), 40);
    assert!(mean.iter().all(|mean| mean.abs() < 1e-4), "{mean:?}");
    let deviation = splits.train.images.std(false).double_value(&[]);
    assert!((deviation - 1.0).abs() < 1e-3, "{deviation}");
}

/// Why settings are refused: by a range of the schema, or when they are read.
fn refused(json: &str) -> String {
    let given: serde_json::Value = serde_json::from_str(json).unwrap();
    let plugin = litesnn_framework::plugin::find(Kind::Dataset, NAME).unwrap();
    match plugin.out_of_range(&given).first() {
        Some((path, why)) => format!("`{}` {why}", path.join(".")),
        None => serde_json::from_value::<SpeechCommands>(given).unwrap_err().to_string(),
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (json, expected) in [
        (r#"{ "version": 3 }"#, "`version` is 3, and has to be 1 to 2"),
        (r#"{ "silence": 1.5 }"#, "`silence` is 1.5, and has to be 0 to 1"),
        (r#"{ "noise": { "probability": -0.1 } }"#, "`noise.probability` is -0.1, and has to be 0 to 1"),
        (r#"{ "shift_ms": 1001 }"#, "`shift_ms` is 1001, and has to be 0 to 1000"),
        (r#"{ "words": [] }"#, "`words` is empty, and has to hold 1 or more"),
        (r#"{ "words": ["yes", "yes"] }"#, "`words.1` is \"yes\" again, and has to differ from the others"),
        (r#"{ "words": ["../yes"] }"#, "[../yes] is not a list of names of folders"),
        (r#"{ "words": ["_background_noise_"] }"#, "is not a list of names of folders"),
        (r#"{ "mfcc": { "coefficients": 50 } }"#, "`coefficients` = 50"),
        (r#"{ "mfcc": { "coefficients": 0 } }"#, "`mfcc.coefficients` is 0, and has to be 1 or more"),
        (r#"{ "mfcc": { "frame_ms": 0 } }"#, "`mfcc.frame_ms` is 0, and has to be 1 to 1000"),
        (r#"{ "mfcc": { "frame_ms": 1001 } }"#, "`mfcc.frame_ms` is 1001, and has to be 1 to 1000"),
        (r#"{ "mfcc": { "shift_ms": 0 } }"#, "`mfcc.shift_ms` is 0, and has to be 1 to 1000"),
        (r#"{ "mfcc": { "lowest_hz": -1 } }"#, "`mfcc.lowest_hz` is -1, and has to be 0 or more"),
        (r#"{ "mfcc": { "highest_hz": 8001 } }"#, "`mfcc.highest_hz` is 8001, and has to be 8000 or less"),
        (r#"{ "mfcc": { "frames": 50 } }"#, "unknown field `frames`"),
        (r#"{ "train": 0 }"#, "`train` is 0, and has to be 1 or more"),
    ] {
        let error = refused(json);
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    let all = serde_json::to_value(SpeechCommands::default()).unwrap();
    assert_eq!(all["words"].as_array().unwrap().len(), 10);
    assert_eq!(all["mfcc"]["frame_ms"], 30);
    assert!(all.get("root").is_none());
}

#[test]
fn a_published_set_is_looked_for_by_its_version() {
    let store = TempDir::new().unwrap();
    let open = |version: u32| {
        let settings = SpeechCommands { version, ..settings("{}") };
        settings.open(&DataStore::new(vec![store.path().to_owned()]))
    };
    let error = open(2).unwrap_err().to_string();
    for part in ["`speech_commands_v0.02`", "litesnn data fetch speech-commands-v2", "`root`"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    let folder = store.path().join("speech_commands_v0.01");
    fs::rename(official().keep(), &folder).unwrap();
    let called = "speech_commands_v0.01, unofficial files, 4 classes (18/4/6)";
    assert_eq!(open(1).unwrap().info.title, called);
    fetched(&folder, &VERSION_V1);
    assert_eq!(open(1).unwrap().info.title, "Speech Commands v1, 4 classes (18/4/6)");
    assert!(open(2).is_err());
}

/// Leaves the checksums in a folder that `litesnn data fetch` leaves.
fn fetched(folder: &Path, source: &Source) {
    let mut sums = Checksums::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let below = match entry.is_dir() {
            true => fs::read_dir(&entry).unwrap().map(|entry| entry.unwrap().path()).collect(),
            false => vec![entry],
        };
        for path in below {
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            sums.insert(name, sha256(&fs::read(&path).unwrap()));
        }
    }
    write_checksums(folder, source, &sums).unwrap();
}

/// Data were called Speech Commands v2 wherever they came from.
#[test]
fn files_of_the_published_archive_are_official_and_all_others_have_the_name_of_their_folder() {
    let folder = official();
    fetched(folder.path(), &VERSION_V2);
    let edition = |json: &str| open(&folder, json).map(|splits| (splits.info.title, splits.info.edition)).unwrap();
    assert_eq!(edition("{}"), ("Speech Commands v2, 4 classes (18/4/6)".into(), Edition::Official));
    assert_eq!(edition(r#"{ "train": 9 }"#), ("Speech Commands v2, 4 classes (9/4/6)".into(), Edition::Subset));
    let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
    // The archive is that of version 2.
    assert_eq!(edition(r#"{ "version": 1 }"#), (format!("{name}, 4 classes (18/4/6)"), Edition::Other));

    let changed = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = folder.path().join(file);
        let whole = fs::read(&path).unwrap();
        let mut content = whole.clone();
        change(&mut content);
        fs::write(&path, content).unwrap();
        let found = edition("{}").1;
        fs::write(&path, whole).unwrap();
        found
    };
    for clip in ["yes/00000003_nohash_0.wav", "no/00000007_nohash_0.wav", "_background_noise_/b.wav"] {
        assert_eq!(changed(clip, &|content| *content.last_mut().unwrap() ^= 1), Edition::Other, "{clip}");
    }
    assert_eq!(changed(VALIDATION_LIST, &|content| content.push(b'\n')), Edition::Other);
    assert_eq!(changed("LICENSE", &|content| content.clear()), Edition::Official);

    // A recording more is other data, one less is a part.
    let (clip, more) = (folder.path().join("yes/00000003_nohash_0.wav"), folder.path().join("yes/one_more.wav"));
    fs::copy(&clip, &more).unwrap();
    assert_eq!(edition("{}").1, Edition::Other);
    fs::remove_file(&more).unwrap();
    fs::remove_file(&clip).unwrap();
    assert_eq!(edition("{}").1, Edition::Subset);
}

#[test]
fn what_is_missing_or_damaged_is_named_with_what_mends_it() {
    const CLIP: &str = "yes/00000003_nohash_0.wav";
    let remove = |path: &'static str| move |folder: &Path| fs::remove_file(folder.join(path)).unwrap();
    let as_spec = |spec: WavSpec| {
        move |folder: &Path| {
            let mut writer = WavWriter::create(folder.join(CLIP), spec).unwrap();
            for _ in 0..2 * SECOND {
                match spec.sample_format {
                    SampleFormat::Float => writer.write_sample(0.5_f32).unwrap(),
                    SampleFormat::Int => writer.write_sample(5_i8).unwrap(),
                }
            }
            writer.finalize().unwrap();
        }
    };
    let cut = |size: usize| {
        move |folder: &Path| {
            let whole = fs::read(folder.join(CLIP)).unwrap();
            fs::write(folder.join(CLIP), &whole[..size]).unwrap();
        }
    };
    let line = |list: &'static str, line: &'static str| {
        move |folder: &Path| {
            let path = folder.join(list);
            fs::write(&path, fs::read_to_string(&path).unwrap() + line).unwrap();
        }
    };
    type Damage = Box<dyn Fn(&Path)>;
    let cases: Vec<(Damage, &str)> = vec![
        (Box::new(remove(TESTING_LIST)), "has no file `testing_list.txt`"),
        (Box::new(remove(VALIDATION_LIST)), "has no file `validation_list.txt`"),
        (
            Box::new(remove("cat/00000008_nohash_0.wav")),
            "cat/00000008_nohash_0.wav` is not there, and line 5 of `testing_list.txt`",
        ),
        (Box::new(|it| fs::write(it.join(TESTING_LIST), "\n\n").unwrap()), "testing_list.txt` names no clip"),
        (
            Box::new(line(TESTING_LIST, "<html>\n")),
            "testing_list.txt` has `<html>` in line 9; a line reads `word/file.wav`",
        ),
        (
            Box::new(line(TESTING_LIST, "yes/00000007_nohash_0.wav")),
            "names `yes/00000007_nohash_0.wav`, and `testing_list.txt` does too",
        ),
        (
            Box::new(|it| fs::remove_dir_all(it.join("no")).unwrap()),
            "has no folder `no` with the recordings of that word",
        ),
        (
            Box::new(|it| {
                fs::remove_dir_all(it.join("yes")).unwrap();
                fs::create_dir(it.join("yes")).unwrap();
            }),
            "yes` has no recording `*.wav`; it is empty",
        ),
        (
            Box::new(|it| fs::remove_dir_all(it.join("cat")).unwrap()),
            "; 2 of its 8 clips are not there, and there is no folder `cat`: it has `LICENSE`,",
        ),
        (
            Box::new(|it| {
                for folder in ["_silence_", "_unknown_"] {
                    fs::create_dir(it.join(folder)).unwrap();
                }
                fs::remove_file(it.join(TESTING_LIST)).unwrap();
            }),
            "are those of the separate test archive",
        ),
        (
            Box::new(|it| fs::remove_dir_all(it.join("_background_noise_")).unwrap()),
            "has no folder `_background_noise_`",
        ),
        (
            Box::new(|it| write(&it.join("_background_noise_/a.wav"), SPEC, 0..SECOND as i16 - 1)),
            "a.wav` has 15999 samples; background noise has one second, 16000, or more",
        ),
        (
            Box::new(as_spec(WavSpec { sample_rate: 8000, ..SPEC })),
            "has 8000 Hz, mono, 16 bit; expected 16000 Hz, mono, 16 bit",
        ),
        (Box::new(as_spec(WavSpec { channels: 2, ..SPEC })), "has 16000 Hz, 2 channels, 16 bit; expected"),
        (Box::new(as_spec(WavSpec { bits_per_sample: 8, ..SPEC })), "has 16000 Hz, mono, 8 bit; expected"),
        (
            Box::new(as_spec(WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..SPEC })),
            "has 16000 Hz, mono, 32 bit float; expected",
        ),
        (Box::new(cut(20_000)), "promises 16000 samples in its header and holds only 9978: it was cut short"),
        (Box::new(cut(44)), "promises 16000 samples in its header and holds only 0"),
        (Box::new(cut(30)), "is no WAV file: it ends after 30 bytes, within the header"),
        (Box::new(cut(0)), "is no WAV file: it is empty"),
        (Box::new(|it| fs::write(it.join(CLIP), vec![b'<'; 1000]).unwrap()), "is no WAV file: "),
        (Box::new(|it| write(&it.join(CLIP), SPEC, [].into_iter())), "holds no sound: it has 0 samples"),
    ];
    for (damage, expected) in cases {
        let folder = official();
        damage(folder.path());
        let error = open(&folder, "{}").unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "`{expected}` is not in: {text}");
        assert!(text.contains(&folder.path().display().to_string()), "{text}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("`litesnn data fetch speech-commands-v2`"), "{hint}");
    }
    let error = settings(r#"{ "root": "/nowhere/at/all" }"#).open(&DataStore::new(Vec::new())).unwrap_err();
    assert!(error.to_string().contains("`/nowhere/at/all` is not a folder that exists"), "{error}");
    let folder = official();
    for other in ["cat", "dog"] {
        fs::remove_dir_all(folder.path().join(other)).unwrap();
    }
    for (list, clips) in [(VALIDATION_LIST, 7..8), (TESTING_LIST, 8..10)] {
        let lines = |word: &str| clips.clone().map(|i| format!("{word}/{i:08x}_nohash_0.wav\n")).collect::<String>();
        fs::write(folder.path().join(list), lines("yes") + &lines("no")).unwrap();
    }
    let error = open(&folder, "{}").unwrap_err().to_string();
    assert!(error.contains("`unknown` = 0.1 needs clips of other words"), "{error}");
    open(&folder, r#"{ "unknown": 0 }"#).unwrap();
}

/// Each clip of the test split, by the input that a packed file would have, as the split has it.
fn heard_as_in_the_split(settings: &SpeechCommands, folder: &Path, splits: &Splits) -> usize {
    let input = Input::parse(&Input::text(settings, splits).unwrap().unwrap()).unwrap();
    let [.., test] = settings.choose(&Folder::new(folder.to_owned(), String::new())).unwrap();
    for (index, (_, clip)) in test.clips.iter().enumerate() {
        let heard = input.of_sound(&folder.join(clip)).unwrap().input;
        assert_eq!(heard.size()[0], 1);
        assert!(heard.get(0).equal(&splits.test.images.get(index as i64)), "{clip}");
    }
    test.clips.len()
}

#[test]
fn a_clip_of_the_test_split_is_heard_as_the_split_has_it() {
    let folder = official();
    let clip = |word: &str| folder.path().join(word).join("00000008_nohash_0.wav");
    write(&clip("yes"), SPEC, (0..5000).map(|n| (n * 31 % 4001) as i16));
    write(&clip("no"), SPEC, (0..20_000).map(|n| (n * 37 % 4001) as i16));
    let settings =
        SpeechCommands { root: Some(folder.path().to_owned()), ..settings(r#"{ "mfcc": { "coefficients": 20 } }"#) };
    let splits = settings.open(&DataStore::new(Vec::new())).unwrap();
    assert_eq!(heard_as_in_the_split(&settings, folder.path(), &splits), 5);

    let text = Input::text(&settings, &splits).unwrap().unwrap();
    let input = Input::parse(&text).unwrap();
    let notes = |word: &str| input.of_sound(&clip(word)).unwrap().notes;
    assert!(notes("yes").is_empty());
    assert_eq!(notes("no"), ["lasts 1.25 s, of which the first second is heard"]);
    assert!(!text.contains("root") && text.contains(r#""coefficients":20"#), "{text}");
    let said = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        Input::parse(&changed)
            .and_then(|input| input.of_sound(&clip("no")).map_err(|error| error.to_string()))
            .unwrap_err()
    };
    for (from, to, expected) in [
        (r#""version":1}"#, r#""version":7}"#, "has inputs of version 7 of the data set `speech-commands`, and this"),
        (r#""frame_ms":30"#, r#""frame_ms":0"#, "whose `mfcc.frame_ms` is 0, and has to be 1 to 1000"),
        (r#""coefficients":20"#, r#""coefficients":60"#, "`coefficients` = 60"),
        (r#""coefficients":20"#, r#""coefficients":19"#, "are 20 means and the deviation"),
        (r#""means""#, r#""mean""#, "unknown field `mean`"),
        (r#""measured""#, r#""more""#, "unknown field `more`"),
    ] {
        let error = said(from, to);
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
}

/// Needs the folder `speech_commands_proxy`, 2,200 clips of the published test archive in the
/// official layout, in the folder that `LITESNN_DATA` names. What is written past the test harness
/// is counted by `make test`.
#[test]
fn real_recordings_are_read() {
    let store = std::env::var_os("LITESNN_DATA").map(PathBuf::from).unwrap_or_default();
    if !store.join("speech_commands_proxy").is_dir() {
        writeln!(io::stderr(), "test skipped: there is no folder speech_commands_proxy in LITESNN_DATA").unwrap();
        return;
    }
    let folder = store.join("speech_commands_proxy");
    let settings: SpeechCommands = serde_json::from_str(r#"{ "root": "speech_commands_proxy" }"#).unwrap();
    let splits = settings.open(&DataStore::new(vec![store])).unwrap();
    assert_eq!(splits.info.title, "speech_commands_proxy, 12 classes (1800/240/360)");
    assert_eq!(splits.info.classes[9..], ["go", "_silence_", "_unknown_"]);
    for (split, each) in [(&splits.train, 150), (&splits.validation, 20), (&splits.test, 30)] {
        assert!((0..12).all(|class| labels(split).iter().filter(|&&label| label == class).count() == each));
    }
    // The statistics of the training clips fit the others.
    let mean = splits.test.images.mean(tch::Kind::Float).double_value(&[]);
    let deviation = splits.test.images.std(false).double_value(&[]);
    assert!(mean.abs() < 0.1 && (deviation - 1.0).abs() < 0.1, "{mean} {deviation}");
    // All but the pieces of silence.
    assert_eq!(heard_as_in_the_split(&settings, &folder, &splits), 330);
}

/// What Macs, NAS, notebooks, Windows and repairs of a file system leave; each stopped everything or
/// took clips away without a word.
#[test]
fn what_others_left_in_the_folder_is_no_data_and_no_clip_is_lost() {
    let usual = official();
    let expected = open(&usual, "{}").unwrap();
    let there = official();
    let path = there.path();
    for folder in ["lost+found", "@eaDir", ".ipynb_checkpoints", "bird", "yes/@eaDir", "yes/a folder.wav"] {
        fs::create_dir(path.join(folder)).unwrap();
    }
    for file in ["yes/._00000000_nohash_0.wav", "yes/.DS_Store", "@eaDir/x.wav", "_background_noise_/._a.wav"] {
        fs::write(path.join(file), "no sound").unwrap();
    }
    for clip in 0..10 {
        let name = |ending| path.join(format!("no/{clip:08x}_nohash_0.{ending}"));
        fs::rename(name("wav"), name("WAV")).unwrap();
    }
    for list in [VALIDATION_LIST, TESTING_LIST] {
        let text = fs::read_to_string(path.join(list)).unwrap();
        let lines: String = text.lines().map(|line| format!("./{line}\r\n")).collect();
        fs::write(path.join(list), format!("\u{feff}{lines}").replace("./no/", ".\\no\\")).unwrap();
    }
    let splits = open(&there, r#"{ "unknown": 0 }"#).unwrap();
    let expected = (open(&usual, r#"{ "unknown": 0 }"#).unwrap().info.digest, expected.train.len());
    assert_eq!((splits.info.digest, open(&there, "{}").unwrap().train.len()), expected);
}

#[test]
fn recordings_of_unknown_length_and_with_odd_chunks_are_read_whole() {
    let folder = official();
    let path = folder.path().join("yes/00000003_nohash_0.wav");
    let whole = fs::read(&path).unwrap();
    let expected = open(&folder, "{}").unwrap().info.digest;
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let inserted = |chunk: &[u8]| [&whole[..36], chunk, &whole[36..]].concat();
    for (changed, what) in [
        (with(40, &[0; 4]), "a length of 0"),
        (with(40, &[0xff; 4]), "a length of 0xffffffff"),
        ([&with(4, &[0; 4])[..40], &[0; 4], &whole[44..]].concat(), "both lengths 0"),
        (inserted(b"LIST\x03\0\0\0abc\0"), "an odd chunk and its padding"),
        (inserted(b"LIST\x03\0\0\0abc"), "an odd chunk without padding"),
    ] {
        fs::write(&path, changed).unwrap();
        assert_eq!(open(&folder, "{}").unwrap().info.digest, expected, "{what}");
    }
    // No sound and a list behind it is no sound.
    fs::write(&path, [&with(40, &[0; 4])[..44], b"LIST\x04\0\0\0abcd"].concat()).unwrap();
    assert!(open(&folder, "{}").unwrap_err().to_string().contains("holds no sound"));
}
