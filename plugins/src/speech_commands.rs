//! Google Speech Commands v1 and v2: one second of sound with a spoken word, as mel-frequency cepstral coefficients.
//!
//! Source: Warden, *Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition*, arXiv:1804.03209, 2018. CC BY 4.0.
//!
//! The folder is the unpacked archive, `speech_commands_v0.02` or `speech_commands_v0.01` in the data store, or what `root` names:
//!
//! | path | what |
//! |---|---|
//! | `WORD/*.wav` | recordings of a word, 16 kHz, mono, 16 bit; shorter than a second they are padded with zeros, longer they are cut |
//! | `testing_list.txt`, `validation_list.txt` | the clips of these splits, `word/file.wav` in a line; all others are trained on |
//! | `_background_noise_/*.wav` | recordings that silence and noise are cut from |
//!
//! **Classes.** The `words`, `_silence_` and `_unknown_`: 12 by default, as in the example program that TensorFlow has for the set.
//! `silence` and `unknown` are fractions of the number of clips of `words` in a split, rounded up: 0.1 of each gives the usual splits.
//!
//! - `_unknown_` is a part of the clips of all other words in the split, or all of them where there are fewer.
//! - `_silence_` is a second of background noise, anywhere in any recording, times a volume from U(0, 1). A split's pieces are the
//!   same in every trial.
//!
//! **Parts.** `train`, `validation` and `test` take a part with the same fractions, balanced over the words. Clips are taken in the
//! order of a hash of their names, so a part holds many speakers, its words are in every larger part, and it is the same everywhere.
//!
//! **Features.** `[1, coefficients, frames]`, `[1, 40, 98]` by default: see `speech_commands/mfcc.rs` for the definition. A network
//! gets (c - its mean) / deviation: each coefficient has a mean of its own, and all have one deviation in common, so that the small
//! high coefficients, which are mostly noise, stay small. Both are taken over the training clips as they were recorded, at most 2,000
//! evenly spaced ones.
//!
//! **Augmentation**, training only, anew for each clip in each epoch: a shift of U(-`shift_ms`, `shift_ms`) with zeros where nothing
//! was recorded; then, with the `probability` of `noise`, a second of background noise times U(0, `volume`) is added, and what
//! exceeds full scale is clipped. The features are computed from that sound. Without shift and noise they are computed once.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;

use litesnn_framework::plugin::{
    Archive, DataInfo, DataStore, Dataset, Form, Normalisation, Preparation, Source, Splits, checked,
};
use litesnn_framework::random::Stream;
use litesnn_framework::{Error, Result, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

#[path = "speech_commands/folder.rs"]
mod folder;
#[path = "speech_commands/mfcc.rs"]
mod mfcc;
#[path = "speech_commands/sounds.rs"]
mod sounds;

use folder::{Folder, TESTING_LIST, VALIDATION_LIST};
use mfcc::{Extractor, SECOND};
use sounds::{Augmentation, Features, Sounds, draw, piece};

pub use mfcc::Mfcc;

const NAME: &str = "speech-commands";
const WORDS: [&str; 10] = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"];
const SILENCE: &str = "_silence_";
const UNKNOWN: &str = "_unknown_";

/// Settings of `speech-commands`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpeechCommands {
    /// Which published set: 1 (v0.01, 2017) or 2 (v0.02, 2018). With `root` it only chooses the set that messages name.
    #[serde(deserialize_with = "version")]
    pub version: u32,
    /// Folder in the official layout; absent: `speech_commands_v0.02` (or `v0.01`) in a folder for data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// The words that are told apart, in the order of their classes; all others are `_unknown_`.
    #[serde(deserialize_with = "words")]
    pub words: Vec<String>,
    /// Pieces of background noise for each clip of `words`, 0 to 1; 0: no class `_silence_`.
    #[serde(deserialize_with = "fraction")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub silence: f64,
    /// Clips of other words for each clip of `words`, 0 to 1; 0: no class `_unknown_`.
    #[serde(deserialize_with = "fraction")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub unknown: f64,
    /// Number of clips to train on, silence and unknown among them; absent: all there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<NonZeroUsize>,
    /// Number of clips to validate on; absent: all there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<NonZeroUsize>,
    /// Number of clips to test on; absent: all there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<NonZeroUsize>,
    /// The features: frames, filters, coefficients.
    #[serde(deserialize_with = "mfcc_that_works")]
    pub mfcc: Mfcc,
    /// Background noise added to training clips.
    pub noise: Noise,
    /// Training clips are shifted by at most this many ms, forwards or backwards, 0 to 1000; 0: not at all.
    #[serde(deserialize_with = "shift")]
    pub shift_ms: usize,
}

/// Settings of the background noise that is added to training clips.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Fraction of the clips that get noise, 0 to 1; 0: none.
    #[serde(deserialize_with = "fraction")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
    /// Largest factor that noise is multiplied with, 0 to 1; 0: no noise.
    #[serde(deserialize_with = "fraction")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub volume: f64,
}

impl Default for SpeechCommands {
    fn default() -> SpeechCommands {
        SpeechCommands {
            version: 2,
            root: None,
            words: WORDS.map(str::to_owned).to_vec(),
            silence: 0.1,
            unknown: 0.1,
            train: None,
            validation: None,
            test: None,
            mfcc: Mfcc::default(),
            noise: Noise::default(),
            shift_ms: 100,
        }
    }
}

impl Default for Noise {
    fn default() -> Noise {
        Noise { probability: 0.8, volume: 0.1 }
    }
}

fn version<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    checked(input, |version| matches!(version, 1 | 2), "a published version, 1 or 2")
}

fn fraction<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    checked(input, |fraction| (0.0..=1.0).contains(fraction), "a fraction, 0 to 1")
}

fn shift<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    checked(input, |shift| *shift <= 1000, "a number of milliseconds, 0 to 1000")
}

fn words<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let are_words = |words: &Vec<String>| {
        let distinct: BTreeSet<&String> = words.iter().collect();
        let is_word =
            |word: &String| word.chars().next().is_some_and(char::is_alphanumeric) && !word.contains(['/', '\\']);
        !words.is_empty() && distinct.len() == words.len() && words.iter().all(is_word)
    };
    checked(input, are_words, "a list of different words, one or more, each the name of a folder")
}

fn mfcc_that_works<'de, D: Deserializer<'de>>(input: D) -> Result<Mfcc, D::Error> {
    let mfcc = Mfcc::deserialize(input)?;
    mfcc.problem().map_or(Ok(mfcc), |problem| Err(serde::de::Error::custom(problem)))
}

register! {
    kind: Dataset,
    name: "speech-commands",
    settings: SpeechCommands,
    version: 1,
    summary: "spoken words, silence and unknown words as 40 x 98 MFCC; Google Speech Commands v1 and v2",
    paper: "Warden, Speech Commands, arXiv:1804.03209, 2018",
    examples: [
        "[dataset.speech-commands]",
        "[dataset.speech-commands]\nversion = 1\ntrain = 3000\nvalidation = 600\ntest = 1200",
        "[dataset.speech-commands]\nwords = [\"yes\", \"no\"]\nmfcc = { coefficients = 20 }\nnoise = { probability = 0 }\nshift_ms = 0",
    ],
    file: "speech_commands.rs",
}

#[typetag::serde(name = "speech-commands")]
impl Dataset for SpeechCommands {
    fn form(&self) -> ([i64; 3], usize) {
        let [coefficients, frames] = self.mfcc.shape().map(|size| size as i64);
        ([1, coefficients, frames], self.classes().len())
    }

    fn open(&self, store: &DataStore) -> Result<Splits> {
        let folder = self.folder(store)?;
        let [train, validation, test] = self.choose(&folder)?;
        let noisy = self.noise.probability > 0.0 && self.noise.volume > 0.0;
        let background = match noisy || self.silence > 0.0 {
            true => folder.background()?,
            false => Vec::new(),
        };
        let classes = self.classes();
        let train = train.read(&folder, &background, &classes)?;
        let validation = validation.read(&folder, &background, &classes)?;
        let test = test.read(&folder, &background, &classes)?;

        let features = Features::new(Extractor::new(&self.mfcc), &train);
        let [coefficients, frames] = self.mfcc.shape().map(|size| size as i64);
        let title = match &self.root {
            None => format!("Speech Commands v{}", self.version),
            Some(_) => folder.name(),
        };
        let [trained, validated, tested] = [&train, &validation, &test].map(|sounds| sounds.labels.len());
        Ok(Splits {
            info: DataInfo {
                shape: [1, coefficients, frames],
                digest: digest(&classes, &[&train, &validation, &test], &background),
                title: format!("{title}, {} classes ({trained}/{validated}/{tested})", classes.len()),
                classes,
            },
            // The features are normalised already: the means belong to the coefficients, not to the channel.
            normalisation: Normalisation { mean: vec![0.0], std: vec![1.0] },
            validation: validation.inputs(&features)?,
            test: test.inputs(&features)?,
            train: match noisy || self.shift_ms > 0 {
                true => train.raw()?,
                false => train.inputs(&features)?,
            },
            preparation: (noisy || self.shift_ms > 0).then(|| {
                let shift = self.shift_ms * SECOND / 1000;
                let background = if noisy { background } else { Vec::new() };
                Rc::new(Augmentation { features, shift, noise: self.noise.clone(), background }) as Rc<dyn Preparation>
            }),
        })
    }
}

impl SpeechCommands {
    /// The folder that `root` names, or that of the published set.
    fn folder(&self, store: &DataStore) -> Result<Folder> {
        let fetch = format!("`litesnn data fetch {NAME}-v{}` gets the published set", self.version);
        if let Some(root) = &self.root {
            let path = store.resolve(root);
            return match path.is_dir() {
                true => Ok(Folder::new(path, format!("`root` is a folder in the official layout; {fetch}"))),
                false => Err(Error::Content {
                    path,
                    message: "is not a folder that exists".into(),
                    hint: format!("`root` is a folder in the official layout; {fetch}, which needs no `root`"),
                }),
            };
        }
        let name = format!("speech_commands_v0.0{}", self.version);
        store.find(&name).map(|path| Folder::new(path, fetch.clone())).ok_or_else(|| {
            let folders: Vec<_> = store.folders().iter().map(|folder| format!("`{}`", folder.display())).collect();
            let folders = if folders.is_empty() { "any folder for data".to_owned() } else { folders.join(" or ") };
            refusal(format!(
                "there is no folder `{name}` in {folders}; {fetch}, or `root` names a folder in its layout"
            ))
        })
    }

    fn classes(&self) -> Vec<String> {
        let mut classes = self.words.clone();
        classes.extend((self.silence > 0.0).then(|| SILENCE.to_owned()));
        classes.extend((self.unknown > 0.0).then(|| UNKNOWN.to_owned()));
        classes
    }

    /// The clips of the training, validation and test splits.
    fn choose(&self, folder: &Folder) -> Result<[Choice; 3]> {
        let there = folder.words()?;
        if let Some(missing) = self.words.iter().find(|word| !there.contains(word)) {
            return Err(folder.lacks(format!("has no folder `{missing}` with the recordings of that word")));
        }
        let mut clips: Vec<(Option<usize>, Vec<String>)> = Vec::new();
        for word in &there {
            let class = self.words.iter().position(|it| it == word);
            clips.push((class, folder.clips(word)?));
        }
        let all: BTreeSet<&String> = clips.iter().flat_map(|(_, clips)| clips).collect();
        let tested = folder.list(TESTING_LIST, &all)?;
        let validated = folder.list(VALIDATION_LIST, &all)?;
        if let Some(twice) = tested.intersection(&validated).next() {
            return Err(folder.wrong(
                VALIDATION_LIST,
                format!("names `{twice}`, and `{TESTING_LIST}` does too; a clip is in one split"),
            ));
        }
        let split_of = |clip: &String| {
            if tested.contains(clip) {
                "test"
            } else if validated.contains(clip) {
                "validation"
            } else {
                "train"
            }
        };
        let choose = |split: &'static str, wanted: Option<NonZeroUsize>| {
            let mut keywords = vec![Vec::new(); self.words.len()];
            let mut others = Vec::new();
            for (class, clips) in &clips {
                let of_split = clips.iter().filter(|&clip| split == split_of(clip)).cloned();
                match class {
                    Some(class) => keywords[*class].extend(of_split),
                    None => others.extend(of_split),
                }
            }
            self.take(split, keywords, others, wanted.map(NonZeroUsize::get))
        };
        Ok([choose("train", self.train)?, choose("validation", self.validation)?, choose("test", self.test)?])
    }

    /// Takes as many clips of a split as are wanted: of the words, of the others, and silence.
    fn take(
        &self,
        split: &'static str,
        keywords: Vec<Vec<String>>,
        mut others: Vec<String>,
        wanted: Option<usize>,
    ) -> Result<Choice> {
        let mut ranked: Vec<(usize, usize, String)> = Vec::new();
        for (class, mut clips) in keywords.into_iter().enumerate() {
            clips.sort_by_cached_key(|clip| scattered(clip));
            ranked.extend(clips.into_iter().enumerate().map(|(rank, clip)| (rank, class, clip)));
        }
        ranked.sort_unstable();
        others.sort_by_cached_key(|clip| scattered(clip));
        if ranked.is_empty() {
            return Err(refusal(format!("no clip of `words` is in the {split} split")));
        }
        if self.unknown > 0.0 && others.is_empty() {
            return Err(refusal(format!(
                "`unknown` = {} needs clips of other words than `words`, and the {split} split has none; 0 does without",
                self.unknown
            )));
        }

        // Rounded up as in TensorFlow's program, but not for what is lost in binary fractions, as in 0.07 · 100 = 7.000000000000001.
        let part = |fraction: f64, count: usize| (fraction * count as f64 - 1e-9).ceil().max(0.0) as usize;
        let parts = |count: usize| (part(self.unknown, count).min(others.len()), part(self.silence, count));
        let total = |count: usize| count + parts(count).0 + parts(count).1;
        let (count, unknown, silence) = match wanted {
            None => (ranked.len(), parts(ranked.len()).0, parts(ranked.len()).1),
            Some(wanted) => {
                if wanted > total(ranked.len()) {
                    let there = total(ranked.len());
                    return Err(refusal(format!(
                        "`{split}` = {wanted} is more than there is: {there} clips are available"
                    )));
                }
                let count = (0..=ranked.len()).rev().find(|&count| total(count) <= wanted).unwrap_or_default();
                let (unknown, silence) = parts(count);
                // One more clip of a word can make three more in all. What is missing then is unknown, as long as there is any.
                let missing = wanted - total(count);
                let more = if self.unknown > 0.0 { missing.min(others.len() - unknown) } else { 0 };
                (count, unknown + more, silence + missing - more)
            }
        };
        ranked.truncate(count);
        others.truncate(unknown);
        let mut clips: Vec<(usize, String)> = ranked.into_iter().map(|(_, class, clip)| (class, clip)).collect();
        clips.sort_unstable();
        others.sort_unstable();
        let class = self.words.len() + usize::from(self.silence > 0.0);
        clips.extend(others.into_iter().map(|clip| (class, clip)));
        Ok(Choice { split, clips, silence })
    }
}

fn refusal(message: String) -> Error {
    Error::Plugin { kind: "dataset", name: NAME.into(), message }
}

/// Where a clip stands in an order that has nothing to do with words and speakers.
fn scattered(clip: &str) -> [u8; 32] {
    *blake3::hash(clip.as_bytes()).as_bytes()
}

/// Identifies the sounds in use, wherever they lie.
fn digest(classes: &[String], splits: &[&Sounds], background: &[Vec<i16>]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let bytes = |samples: &[i16]| samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>();
    for class in classes {
        part(class.as_bytes());
    }
    for sounds in splits {
        part(&sounds.labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>());
        for clip in sounds.samples.chunks_exact(SECOND) {
            part(&bytes(clip));
        }
    }
    for recording in background {
        part(&bytes(recording));
    }
    hasher.finalize().to_hex().to_string()
}

/// What a split is made of.
struct Choice {
    split: &'static str,
    /// Class and `word/file.wav`.
    clips: Vec<(usize, String)>,
    /// Pieces of silence.
    silence: usize,
}

impl Choice {
    fn read(&self, folder: &Folder, background: &[Vec<i16>], classes: &[String]) -> Result<Sounds> {
        let mut samples = Vec::with_capacity((self.clips.len() + self.silence) * SECOND);
        let mut labels = Vec::with_capacity(self.clips.len() + self.silence);
        for (class, clip) in &self.clips {
            samples.extend(folder.second(clip)?);
            labels.push(*class as i64);
        }
        let class = classes.iter().position(|class| class == SILENCE);
        for (index, class) in class.into_iter().cycle().take(self.silence).enumerate() {
            // The same seed for every trial: what is measured on a split must not depend on a trial's own.
            let mut stream = Stream::open(0, &format!("{NAME}/silence/{}", self.split), index as u64);
            let [recording, place, volume] = draw(&mut stream);
            let piece = piece(background, recording, place);
            samples.extend(piece.iter().map(|&sample| (f64::from(sample) * volume).round() as i16));
            labels.push(class as i64);
        }
        Ok(Sounds { samples, labels })
    }
}

/// Address and SHA-256 are those in torchaudio (`torchaudio/datasets/speechcommands.py`).
const VERSION_V1: Source = Source {
    name: "speech-commands-v1",
    title: "Speech Commands v0.01",
    folder: "speech_commands_v0.01",
    licence: "CC BY 4.0",
    citation: "Warden, Speech Commands, arXiv:1804.03209, 2018",
    page: "https://arxiv.org/abs/1804.03209",
    archives: &[Archive {
        url: "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.01.tar.gz",
        bytes: 1_489_096_277,
        sha256: "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        form: Form::TarGz { root: "" },
    }],
    files: &[],
};

litesnn_framework::inventory::submit! { VERSION_V1 }

/// Address and SHA-256 are those in torchaudio (`torchaudio/datasets/speechcommands.py`), size and SHA-256 those in TensorFlow
/// Datasets (`url_checksums/speech_commands.txt`).
const VERSION_V2: Source = Source {
    name: "speech-commands-v2",
    title: "Speech Commands v0.02",
    folder: "speech_commands_v0.02",
    archives: &[Archive {
        url: "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        bytes: 2_428_923_189,
        sha256: "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        form: Form::TarGz { root: "" },
    }],
    ..VERSION_V1
};

litesnn_framework::inventory::submit! { VERSION_V2 }

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Write};
    use std::path::Path;

    use hound::{SampleFormat, WavSpec, WavWriter};
    use litesnn_framework::plugin::{Kind, Split};
    use tch::Tensor;
    use tempfile::TempDir;

    use super::*;

    const SPEC: WavSpec =
        WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format: SampleFormat::Int };

    fn write(path: &Path, spec: WavSpec, samples: impl Iterator<Item = i16>) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = WavWriter::create(path, spec).unwrap();
        samples.for_each(|sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
    }

    /// Ten clips of each of four words: clip `i` of word `w` begins with the sample `100 w + i` and goes on as a tone of its own.
    /// The last three are in the lists. Two seconds and one and a half of noise.
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
            // Where one more clip of a word makes three more in all, unknown clips had stood in for them.
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
        let pieces: Vec<Vec<i16>> = sounds(&splits.train)
            .into_iter()
            .zip(labels(&splits.train))
            .filter(|it| it.1 == 2)
            .map(|it| it.0)
            .collect();
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

    #[test]
    fn settings_are_checked_when_they_are_read() {
        for (json, expected) in [
            (r#"{ "version": 3 }"#, "3 is not a published version, 1 or 2"),
            (r#"{ "silence": 1.5 }"#, "1.5 is not a fraction, 0 to 1"),
            (r#"{ "noise": { "probability": -0.1 } }"#, "-0.1 is not a fraction"),
            (r#"{ "shift_ms": 1001 }"#, "1001 is not a number of milliseconds"),
            (r#"{ "words": [] }"#, "[] is not a list of different words"),
            (r#"{ "words": ["yes", "yes"] }"#, "[yes, yes] is not a list of different words"),
            (r#"{ "words": ["../yes"] }"#, "[../yes] is not a list"),
            (r#"{ "words": ["_background_noise_"] }"#, "is not a list"),
            (r#"{ "mfcc": { "coefficients": 50 } }"#, "`coefficients` = 50"),
            (r#"{ "mfcc": { "frames": 50 } }"#, "unknown field `frames`"),
            (r#"{ "train": 0 }"#, "nonzero"),
        ] {
            let error = serde_json::from_str::<SpeechCommands>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "`{expected}` is not in: {error}");
        }
        assert!(litesnn_framework::plugin::find(Kind::Dataset, NAME).is_some());
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
        fs::rename(official().keep(), store.path().join("speech_commands_v0.01")).unwrap();
        assert_eq!(open(1).unwrap().info.title, "Speech Commands v1, 4 classes (18/4/6)");
        assert!(open(2).is_err());
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
            (Box::new(|it| fs::create_dir(it.join("bird")).unwrap()), "bird` has no recording `*.wav`"),
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
            let lines =
                |word: &str| clips.clone().map(|i| format!("{word}/{i:08x}_nohash_0.wav\n")).collect::<String>();
            fs::write(folder.path().join(list), lines("yes") + &lines("no")).unwrap();
        }
        let error = open(&folder, "{}").unwrap_err().to_string();
        assert!(error.contains("`unknown` = 0.1 needs clips of other words"), "{error}");
        open(&folder, r#"{ "unknown": 0 }"#).unwrap();
    }

    /// Needs the folder `speech_commands_proxy`, 2,200 clips of the published test archive in the official layout, in the folder
    /// that `LITESNN_DATA` names. What is written past the test harness is counted by `make test`.
    #[test]
    fn real_recordings_are_read() {
        let store = std::env::var_os("LITESNN_DATA").map(PathBuf::from).unwrap_or_default();
        if !store.join("speech_commands_proxy").is_dir() {
            writeln!(io::stderr(), "test skipped: there is no folder speech_commands_proxy in LITESNN_DATA").unwrap();
            return;
        }
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
    }
}
