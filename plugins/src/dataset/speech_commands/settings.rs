//! The settings of `speech-commands`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use litesnn_framework::Error;
use litesnn_framework::plugin::checked;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::mfcc::Mfcc;

/// The name of the plugin.
pub const NAME: &str = "speech-commands";
const WORDS: [&str; 10] = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"];
/// Class of pieces of background noise.
pub const SILENCE: &str = "_silence_";
/// Class of all other words.
const UNKNOWN: &str = "_unknown_";

/// Settings of `speech-commands`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpeechCommands {
    /// Which published set: 1 (v0.01, 2017) or 2 (v0.02, 2018). With `root` it only chooses the set
    /// that messages name and that the folder is compared with.
    #[schemars(range(min = 1, max = 2))]
    pub version: u32,
    /// Folder in the official layout; absent: `speech_commands_v0.02` (or `v0.01`) in a folder for
    /// data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// The words that are told apart, in the order of their classes; all others are `_unknown_`.
    #[serde(deserialize_with = "words")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub words: Vec<String>,
    /// Pieces of background noise for each clip of `words`; 0: no class `_silence_`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub silence: f64,
    /// Clips of other words for each clip of `words`; 0: no class `_unknown_`.
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
    /// Training clips are shifted by at most this many ms, forwards or backwards; 0: not at all.
    #[schemars(range(max = 1000))]
    pub shift_ms: usize,
}

/// Settings of the background noise that is added to training clips.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Fraction of the clips that get noise; 0: none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
    /// Largest factor that noise is multiplied with; 0: no noise.
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

fn words<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let is_word = |word: &String| word.starts_with(char::is_alphanumeric) && !word.contains(['/', '\\']);
    checked(input, |words: &Vec<String>| words.iter().all(is_word), "a list of names of folders")
}

fn mfcc_that_works<'de, D: Deserializer<'de>>(input: D) -> Result<Mfcc, D::Error> {
    let mfcc = Mfcc::deserialize(input)?;
    mfcc.problem().map_or(Ok(mfcc), |problem| Err(serde::de::Error::custom(problem)))
}

impl SpeechCommands {
    /// The names of the classes, in their order.
    pub fn classes(&self) -> Vec<String> {
        let mut classes = self.words.clone();
        classes.extend((self.silence > 0.0).then(|| SILENCE.to_owned()));
        classes.extend((self.unknown > 0.0).then(|| UNKNOWN.to_owned()));
        classes
    }
}

/// An error of the data set.
pub fn refusal(message: String) -> Error {
    Error::Plugin { kind: "dataset", name: NAME.into(), message }
}
