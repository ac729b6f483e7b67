//! The official folder: a subfolder of recordings for each word, two lists of clips, and background
//! noise.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use litesnn_framework::data::{Edition, Source, published_checksums};
use litesnn_framework::ground::file::read_text;
use litesnn_framework::{Error, Result};

use super::mfcc::SECOND;
use super::wav::{self, Format};
use crate::dataset::sha256::sha256;
use crate::dataset::there::{is_data, named, there};

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
        for word in self.entries(Path::new(""), Path::is_dir)? {
            there
                .extend(self.entries(Path::new(&word), is_recording)?.into_iter().map(|file| format!("{word}/{file}")));
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

    /// All words, in alphabetical order: the folders that have recordings, and those of `wanted` in any
    /// case.
    pub fn words(&self, wanted: &[String]) -> Result<Vec<String>> {
        let mut words = Vec::new();
        for word in self.entries(Path::new(""), Path::is_dir)? {
            if !word.starts_with('_')
                && (wanted.contains(&word) || !self.entries(Path::new(&word), is_recording)?.is_empty())
            {
                words.push(word);
            }
        }
        Ok(words)
    }

    /// An error about a word that has no folder.
    pub fn lacks_word(&self, word: &str) -> Error {
        self.lacks(format!("has no folder `{word}` with the recordings of that word; {}", there(&self.path)))
    }

    /// The clips of a word as `word/file.wav`, in alphabetical order.
    pub fn clips(&self, word: &str) -> Result<Vec<String>> {
        let files = self.entries(Path::new(word), is_recording)?;
        if files.is_empty() {
            return Err(self.wrong(word, format!("has no recording `*.wav`; {}", there(&self.path.join(word)))));
        }
        Ok(files.into_iter().map(|file| format!("{word}/{file}")).collect())
    }

    /// The clips that a list names; each of them has to be one of `clips`, in any case where a file
    /// system without cases has written the name.
    pub fn list(&self, name: &str, clips: &BTreeSet<&String>) -> Result<BTreeSet<String>> {
        let path = self.path.join(name);
        if !path.is_file() {
            return Err(self.lacks_list(name));
        }
        let text = read_text(&path).map_err(Error::file("read", &path))?;
        let lowercase: BTreeMap<String, &String> = clips.iter().map(|clip| (clip.to_lowercase(), *clip)).collect();
        let (mut found, mut missing, mut all) = (BTreeSet::new(), Vec::new(), 0);
        for (number, written) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let Some(clip) = plain(written.trim()) else { continue };
            let line = number + 1;
            if !clip.split_once('/').is_some_and(|(_, file)| is_wave(Path::new(file))) {
                let written = written.trim();
                return Err(self.wrong(name, format!("has `{written}` in line {line}; a line reads `word/file.wav`")));
            }
            all += 1;
            match clips.get(&clip).or_else(|| lowercase.get(&clip.to_lowercase())) {
                Some(clip) => {
                    found.insert((*clip).clone());
                }
                None => missing.push((line, clip)),
            }
        }
        if let Some((line, clip)) = missing.first() {
            return Err(self.lacks_clips(name, *line, clip, &missing, all));
        }
        match found.is_empty() {
            true => Err(self.wrong(name, "names no clip; a line reads `word/file.wav`".into())),
            false => Ok(found),
        }
    }

    fn lacks_list(&self, name: &str) -> Error {
        const TEST_ARCHIVE: [&str; 2] = ["_silence_", "_unknown_"];
        let and = match TEST_ARCHIVE.iter().all(|folder| self.path.join(folder).is_dir()) {
            true => {
                "; its folders `_silence_` and `_unknown_` are those of the separate test archive \
                 (`speech_commands_test_set_*`), which has no clip to train on"
            }
            false => "",
        };
        let here = there(&self.path);
        self.lacks(format!("has no file `{name}`, which names the clips of a split; {here}{and}"))
    }

    /// An error about `all` clips of a list of which some are missing, the first of them in `line`.
    fn lacks_clips(&self, name: &str, line: usize, clip: &str, missing: &[(usize, String)], all: usize) -> Error {
        let word_of = |clip: &str| clip.split('/').next().unwrap_or_default().to_owned();
        let words: BTreeSet<String> = missing.iter().map(|(_, clip)| word_of(clip)).collect();
        let words: Vec<String> = words.into_iter().filter(|word| !self.path.join(word).is_dir()).collect();
        let count = missing.len();
        let counted = if count == 1 { String::new() } else { format!("; {count} of its {all} clips are not there") };
        let no_folder = match words.as_slice() {
            [] => String::new(),
            [word] => format!(", and there is no folder `{word}`: {}", there(&self.path)),
            _ => format!(
                ", and there is no folder for {} of its words: the list names `{}`, and the folder: {}",
                words.len(),
                words.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("`, `"),
                named(self.words(&[]).unwrap_or_default())
            ),
        };
        self.wrong(clip, format!("is not there, and line {line} of `{name}` names it{counted}{no_folder}"))
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
        const RIGHT: Format = Format { channels: 1, rate: SECOND as u32, bits: 16, integers: true };
        let path = self.path.join(clip);
        let wanted = |format: &Format| match *format == RIGHT {
            true => Ok(most),
            false => Err(format!("has {format}; expected {RIGHT}")),
        };
        let recording = wav::read(&path, wanted, |message| self.wrong(clip, message))?;
        Ok(recording.bytes.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect())
    }

    /// Names of the data in a subfolder that fit, in alphabetical order.
    fn entries(&self, subfolder: &Path, fits: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
        let folder = self.path.join(subfolder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::file("list", &folder))? {
            let path = entry.map_err(Error::file("list", &folder))?.path();
            if let Some(name) =
                path.file_name().and_then(|name| name.to_str()).filter(|name| is_data(name) && fits(&path))
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether it is a file with the name of a recording.
fn is_recording(path: &Path) -> bool {
    is_wave(path) && path.is_file()
}

/// Whether it has the name of a recording.
fn is_wave(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"))
}

/// A line of a list without `./`, doubled slashes and the backslashes of Windows; `None` of an empty
/// line.
fn plain(line: &str) -> Option<String> {
    let line = line.replace('\\', "/");
    let parts = Path::new(&line).components().filter(|part| *part != Component::CurDir);
    let plain: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    (!plain.is_empty()).then(|| plain.join("/"))
}
