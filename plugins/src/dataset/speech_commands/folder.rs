//! The official folder: a subfolder of recordings for each word, two lists of clips, and background
//! noise.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec};
use litesnn_framework::data::{Edition, Source, published_checksums};
use litesnn_framework::ground::file::read_text;
use litesnn_framework::{Error, Result};

use super::mfcc::SECOND;
use crate::dataset::sha256::sha256;

/// Names the clips of the validation split.
pub const VALIDATION_LIST: &str = "validation_list.txt";
/// Names the clips of the test split.
pub const TESTING_LIST: &str = "testing_list.txt";
/// Holds the recordings that silence and noise are cut from.
pub const BACKGROUND: &str = "_background_noise_";

/// A folder in the official layout.
pub struct Folder {
    path: PathBuf,
    /// What would mend it.
    hint: String,
}

/// The recordings of background noise.
#[derive(Default)]
pub struct Background {
    /// Their files in the folder.
    pub clips: Vec<String>,
    /// Their samples.
    pub recordings: Vec<Vec<i16>>,
}

impl Folder {
    /// A folder that exists.
    pub fn new(path: PathBuf, hint: String) -> Folder {
        Folder { path, hint }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the folder is, as far as `used` of its files are concerned: the published one where it
    /// was unpacked from the published archive (`litesnn data fetch` leaves the checksums of the
    /// archive and of its files), names no recording that the archive does not have, and every used
    /// file is as it was. A part of it where recordings of the archive are gone.
    pub fn edition<'a>(&self, source: &Source, used: impl Iterator<Item = &'a str>) -> Result<Edition> {
        let Some(published) = published_checksums(&self.path, source)? else { return Ok(Edition::Other) };
        let mut there = BTreeSet::new();
        for word in self.entries(Path::new(""), |path| path.is_dir() && !is_hidden(path))? {
            there.extend(self.entries(Path::new(&word), is_wave)?.into_iter().map(|file| format!("{word}/{file}")));
        }
        if there.iter().any(|clip| !published.contains_key(clip)) {
            return Ok(Edition::Other);
        }
        for file in used.chain([VALIDATION_LIST, TESTING_LIST]) {
            let path = self.path.join(file);
            let content = fs::read(&path).map_err(Error::file("read", &path))?;
            if published.get(file).is_none_or(|published| sha256(&content) != *published) {
                return Ok(Edition::Other);
            }
        }
        let recordings = published.keys().filter(|file| is_wave(Path::new(file)));
        Ok(if recordings.count() == there.len() { Edition::Official } else { Edition::Subset })
    }

    /// An error about the folder itself.
    pub fn lacks(&self, message: String) -> Error {
        Error::Content { path: self.path.clone(), message, hint: self.hint.clone() }
    }

    /// An error about `path` below the folder.
    pub fn wrong(&self, path: impl AsRef<Path>, message: String) -> Error {
        Error::Content { path: self.path.join(path), message, hint: self.hint.clone() }
    }

    /// All words, in alphabetical order.
    pub fn words(&self) -> Result<Vec<String>> {
        let mut words: Vec<String> = self.entries(Path::new(""), Path::is_dir)?;
        words.retain(|word| !word.starts_with(['_', '.']));
        Ok(words)
    }

    /// The clips of a word as `word/file.wav`, in alphabetical order.
    pub fn clips(&self, word: &str) -> Result<Vec<String>> {
        let files = self.entries(Path::new(word), is_wave)?;
        if files.is_empty() {
            return Err(self.wrong(word, "has no recording `*.wav`".into()));
        }
        Ok(files.into_iter().map(|file| format!("{word}/{file}")).collect())
    }

    /// The clips that a list names; each of them has to be one of `there`.
    pub fn list(&self, name: &str, there: &BTreeSet<&String>) -> Result<BTreeSet<String>> {
        let path = self.path.join(name);
        if !path.is_file() {
            return Err(self.lacks(format!("has no file `{name}`, which names the clips of a split")));
        }
        let text = read_text(&path).map_err(Error::file("read", &path))?;
        let mut named = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let clip = line.trim();
            if clip.is_empty() {
                continue;
            }
            let line = number + 1;
            if !clip.split_once('/').is_some_and(|(_, file)| is_wave(Path::new(file))) {
                return Err(self.wrong(name, format!("has `{clip}` in line {line}; a line reads `word/file.wav`")));
            }
            if !there.contains(&clip.to_owned()) {
                return Err(self.wrong(clip, format!("is not there, and line {line} of `{name}` names it")));
            }
            named.insert(clip.to_owned());
        }
        match named.is_empty() {
            true => Err(self.wrong(name, "names no clip; a line reads `word/file.wav`".into())),
            false => Ok(named),
        }
    }

    /// The recordings of background noise, each of one second or more.
    pub fn background(&self) -> Result<Background> {
        if !self.path.join(BACKGROUND).is_dir() {
            return Err(self.lacks(format!(
                "has no folder `{BACKGROUND}`, which silence and noise are cut from \
                 (`silence = 0` and `noise = {{ probability = 0 }}` do without it)"
            )));
        }
        let clips = self.clips(BACKGROUND)?;
        let mut recordings = Vec::new();
        for clip in &clips {
            let recording = self.recording(clip, usize::MAX)?;
            if recording.len() < SECOND {
                return Err(self.wrong(
                    clip,
                    format!("has {} samples; background noise has one second, {SECOND}, or more", recording.len()),
                ));
            }
            recordings.push(recording);
        }
        Ok(Background { clips, recordings })
    }

    /// The first second of a clip; a shorter one is followed by zeros.
    pub fn second(&self, clip: &str) -> Result<Vec<i16>> {
        let mut samples = self.recording(clip, SECOND)?;
        samples.resize(SECOND, 0);
        Ok(samples)
    }

    /// At most `most` samples of a recording, 16 kHz, mono, 16 bit.
    fn recording(&self, clip: &str, most: usize) -> Result<Vec<i16>> {
        const RIGHT: WavSpec =
            WavSpec { channels: 1, sample_rate: SECOND as u32, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let path = self.path.join(clip);
        let file = fs::File::open(&path).map_err(Error::file("open", &path))?;
        let size = file.metadata().map_err(Error::file("read", &path))?.len();
        let reader = WavReader::new(std::io::BufReader::new(file)).map_err(|error| {
            let why = match error {
                _ if size == 0 => "it is empty".to_owned(),
                hound::Error::IoError(_) => format!("it ends after {size} bytes, within the header"),
                other => other.to_string(),
            };
            self.wrong(clip, format!("is no WAV file: {why}"))
        })?;
        if reader.spec() != RIGHT {
            return Err(self.wrong(clip, format!("has {}; expected {}", in_words(reader.spec()), in_words(RIGHT))));
        }
        let promised = reader.duration() as usize;
        let mut samples = Vec::with_capacity(promised.min(most).min(size as usize / 2));
        for sample in reader.into_samples::<i16>().take(most) {
            let sample = sample.map_err(|error| match error {
                hound::Error::IoError(_) => self.wrong(
                    clip,
                    format!(
                        "promises {promised} samples in its header and holds only {}: it was cut short",
                        samples.len()
                    ),
                ),
                other => self.wrong(clip, format!("is damaged: {other}")),
            })?;
            samples.push(sample);
        }
        match samples.is_empty() {
            true => Err(self.wrong(clip, "holds no sound: it has 0 samples".into())),
            false => Ok(samples),
        }
    }

    /// Names of what lies in a subfolder and fits, in alphabetical order.
    fn entries(&self, subfolder: &Path, fits: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
        let folder = self.path.join(subfolder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::file("list", &folder))? {
            let path = entry.map_err(Error::file("list", &folder))?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| fits(&path)) {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn is_wave(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wav")
}

fn in_words(spec: WavSpec) -> String {
    let channels = match spec.channels {
        1 => "mono".to_owned(),
        channels => format!("{channels} channels"),
    };
    let float = if spec.sample_format == SampleFormat::Float { " float" } else { "" };
    format!("{} Hz, {channels}, {} bit{float}", spec.sample_rate, spec.bits_per_sample)
}
