//! Which clips are in a split: those of the words, those of other words, and pieces of silence.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use litesnn_framework::Result;
use litesnn_framework::ground::Stream;

use super::folder::{Folder, TESTING_LIST, VALIDATION_LIST};
use super::mfcc::SECOND;
use super::settings::{NAME, SILENCE, SpeechCommands, refusal};
use super::sounds::{Sounds, draw, piece};

/// What a split is made of.
pub struct ClipChoice {
    split: &'static str,
    /// Class and `word/file.wav`.
    pub clips: Vec<(usize, String)>,
    /// Pieces of silence.
    pub silence: usize,
}

impl ClipChoice {
    /// Reads the clips, and cuts the pieces of silence out of `background`.
    pub fn read(&self, folder: &Folder, background: &[Vec<i16>], classes: &[String]) -> Result<Sounds> {
        let mut samples = Vec::with_capacity((self.clips.len() + self.silence) * SECOND);
        let mut labels = Vec::with_capacity(self.clips.len() + self.silence);
        for (class, clip) in &self.clips {
            samples.extend(folder.second(clip)?);
            labels.push(*class as i64);
        }
        let class = classes.iter().position(|class| class == SILENCE);
        for (index, class) in class.into_iter().cycle().take(self.silence).enumerate() {
            // The same seed for every trial: what is measured on a split must not depend on a
            // trial's own.
            let mut stream = Stream::open(0, &format!("{NAME}/silence/{}", self.split), index as u64);
            let [recording, place, volume] = draw(&mut stream);
            let piece = piece(background, recording, place);
            samples.extend(piece.iter().map(|&sample| (f64::from(sample) * volume).round() as i16));
            labels.push(class as i64);
        }
        Ok(Sounds { samples, labels })
    }
}

impl SpeechCommands {
    /// The clips of the training, validation and test splits.
    pub fn choose(&self, folder: &Folder) -> Result<[ClipChoice; 3]> {
        let there = folder.words(&self.words)?;
        if let Some(missing) = self.words.iter().find(|word| !there.contains(word)) {
            return Err(folder.lacks_word(missing));
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
    pub fn take(
        &self,
        split: &'static str,
        keywords: Vec<Vec<String>>,
        mut others: Vec<String>,
        wanted: Option<usize>,
    ) -> Result<ClipChoice> {
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

        // Rounded up as in TensorFlow's program, but not for what is lost in binary fractions, as
        // in 0.07 · 100 = 7.000000000000001.
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
                // One more clip of a word can make three more in all. What is missing then is
                // unknown, as long as there is any.
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
        Ok(ClipChoice { split, clips, silence })
    }
}

/// Where a clip stands in an order that has nothing to do with words and speakers.
fn scattered(clip: &str) -> [u8; 32] {
    *blake3::hash(clip.as_bytes()).as_bytes()
}
