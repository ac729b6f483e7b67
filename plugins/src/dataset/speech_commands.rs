//! Google Speech Commands v1 and v2: one second of sound with a spoken word, as mel-frequency
//! cepstral coefficients.
//!
//! Source: Warden, *Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition*,
//! arXiv:1804.03209, 2018. CC BY 4.0.
//!
//! The folder is the unpacked archive, `speech_commands_v0.02` or `speech_commands_v0.01` in the
//! data store, or what `root` names:
//!
//! | path | what |
//! |---|---|
//! | `WORD/*.wav` | recordings of a word, 16 kHz, mono, 16 bit; shorter than a second they are padded with zeros, longer they are cut |
//! | `testing_list.txt`, `validation_list.txt` | the clips of these splits, `word/file.wav` in a line; all others are trained on |
//! | `_background_noise_/*.wav` | recordings that silence and noise are cut from |
//!
//! **Other files.** Tables call the data `Speech Commands v1` or `v2` where the folder was unpacked
//! from the published archive by `litesnn data fetch`, which leaves the checksums of the archive and
//! of every file, and the files in use are as they were. Any other folder is called by its name.
//!
//! **Classes.** The `words`, `_silence_` and `_unknown_`: 12 by default, as in the example program
//! that TensorFlow has for the set. `silence` and `unknown` are fractions of the number of clips of
//! `words` in a split, rounded up: 0.1 of each gives the usual splits.
//!
//! - `_unknown_` is a part of the clips of all other words in the split, or all of them where there
//!   are fewer.
//! - `_silence_` is a second of background noise, anywhere in any recording, times a volume from
//!   U(0, 1). A split's pieces are the same in every trial.
//!
//! **Parts.** `train`, `validation` and `test` take a part with the same fractions, balanced over
//! the words. Clips are taken in the order of a hash of their names, so a part holds many speakers,
//! its words are in every larger part, and it is the same everywhere.
//!
//! **Features.** `[1, coefficients, frames]`, `[1, 40, 98]` by default: see
//! `speech_commands/mfcc.rs` for the definition. A network gets (c - its mean) / deviation: each
//! coefficient has a mean of its own, and all have one deviation in common, so that the small high
//! coefficients, which are mostly noise, stay small. Both are taken over the training clips as they
//! were recorded, at most 2,000 evenly spaced ones.
//!
//! **Augmentation**, training only, anew for each clip in each epoch: a shift of U(-`shift_ms`,
//! `shift_ms`) with zeros where nothing was recorded; then, with the `probability` of `noise`, a
//! second of background noise times U(0, `volume`) is added, and what exceeds full scale is
//! clipped. The features are computed from that sound. Without shift and noise they are computed
//! once.
//!
//! **A sound of a user's** (`litesnn infer --sound`) becomes an input by the code that makes those of
//! the splits, with the means and the deviation of the training clips, which lie in the packed file.
//! `speech_commands/clip.rs` says which WAV files are heard, and what becomes of other rates, channels
//! and lengths.

use std::path::Path;
use std::rc::Rc;

use litesnn_framework::data::{
    Archive, DataInfo, DataStore, Dataset, Edition, Form, Heard, Normalisation, Preparation, Source, Splits,
};
use litesnn_framework::{Error, Result, register};
use serde_json::Value;

mod choice;
mod clip;
mod folder;
mod mfcc;
mod settings;
mod sounds;
mod wav;

use folder::{Background, Folder};
use mfcc::{Extractor, SECOND};
use settings::{NAME, refusal};
use sounds::{Augmentation, Features, digest};

pub use mfcc::Mfcc;
pub use settings::{Noise, SpeechCommands};

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
        let Background { clips, recordings: background } = match noisy || self.silence > 0.0 {
            true => folder.background()?,
            false => Background::default(),
        };
        let used =
            [&train, &validation, &test].into_iter().flat_map(|choice| choice.clips.iter().map(|(_, clip)| clip));
        let source = self.source();
        let files = folder.edition(source, used.chain(&clips).map(String::as_str))?;
        let title = source.title(files, folder.path(), None);
        let part = [self.train, self.validation, self.test].iter().any(Option::is_some);
        let edition = if part && files == Edition::Official { Edition::Subset } else { files };
        let classes = self.classes();
        let train = train.read(&folder, &background, &classes)?;
        let validation = validation.read(&folder, &background, &classes)?;
        let test = test.read(&folder, &background, &classes)?;

        let features = Features::new(Extractor::new(&self.mfcc), &train);
        let [coefficients, frames] = self.mfcc.shape().map(|size| size as i64);
        let [trained, validated, tested] = [&train, &validation, &test].map(|sounds| sounds.labels.len());
        Ok(Splits {
            info: DataInfo {
                shape: [1, coefficients, frames],
                digest: digest(&classes, &[&train, &validation, &test], &background),
                title: format!("{title}, {} classes ({trained}/{validated}/{tested})", classes.len()),
                classes,
                edition,
            },
            // The features are normalised already: the means belong to the coefficients, not to the
            // channel.
            normalisation: Normalisation { mean: vec![0.0], std: vec![1.0] },
            validation: validation.inputs(&features)?,
            test: test.inputs(&features)?,
            measured: Some(features.measured()),
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

    fn hear(&self, clip: &Path, measured: &Value) -> Result<Heard> {
        let features = Features::with(Extractor::new(&self.mfcc), measured)?;
        let clip = clip::read(clip, self.mfcc.highest_hz)?;
        Ok(Heard { input: features.of_second(&clip.samples), notes: clip.notes })
    }
}

impl SpeechCommands {
    /// The published set of the version.
    fn source(&self) -> &'static Source {
        if self.version == 1 { &VERSION_V1 } else { &VERSION_V2 }
    }

    /// The folder that `root` names, or that of the published set.
    fn folder(&self, store: &DataStore) -> Result<Folder> {
        let fetch = format!("`litesnn data fetch {NAME}-v{}` gets the published set", self.version);
        if let Some(root) = &self.root {
            let path = store.resolve(root);
            // `root` may also name the folder around it.
            let inner = path.join(self.source().folder);
            let path = if inner.is_dir() { inner } else { path };
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
}

/// Address and SHA-256 are those in torchaudio (`torchaudio/datasets/speechcommands.py`).
const VERSION_V1: Source = Source {
    name: "speech-commands-v1",
    title: "Speech Commands v1",
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

/// Address and SHA-256 are those in torchaudio (`torchaudio/datasets/speechcommands.py`), size and
/// SHA-256 those in TensorFlow Datasets (`url_checksums/speech_commands.txt`).
const VERSION_V2: Source = Source {
    name: "speech-commands-v2",
    title: "Speech Commands v2",
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
mod tests;
