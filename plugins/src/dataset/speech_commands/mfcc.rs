//! Mel-frequency cepstral coefficients of one second of sound.
//!
//! Source: Davis and Mermelstein, *Comparison of Parametric Representations for Monosyllabic Word
//! Recognition in Continuously Spoken Sentences*, IEEE TASSP 28(4), 1980. Definitions differ; this
//! is librosa's with the options of `plugins/tests/reference/speech_mfcc.py`, whose numbers it is
//! compared with:
//!
//! ```text
//! x[n] = sample / 32768                                                  no pre-emphasis, no dither
//! X_f[b] = sum_n w[n] x[f·S + n] exp(-2 pi i b n / N)                    w[n] = (1 - cos(2 pi n / N)) / 2     (periodic Hann)
//! E_f[m] = sum_b H_m[b] |X_f[b]|^2                                       power, not divided by N
//! c_f[k] = sum_m a_k cos(pi k (m + 1/2) / M) ln(E_f[m] + 1e-6)           a_0 = sqrt(1/M), a_k = sqrt(2/M)     (orthonormal DCT-II)
//! ```
//!
//! N is the frame and the size of the Fourier transform, without zero padding; S is the shift; only
//! whole frames count, so there are 1 + floor((16000 - N) / S) of them: 98. H_m are M triangles of
//! height 1, straight in hertz, with corners evenly spaced in mel(f) = 2595 log10(1 + f / 700)
//! (HTK's scale). c_0 is kept, nothing is liftered.
//!
//! Shape: 16,000 samples in, `[coefficients, frames]` out.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Samples of one second.
pub const SECOND: usize = 16_000;
const PER_MILLISECOND: usize = SECOND / 1000;
/// Most milliseconds of a frame, which is a part of the second.
const LONGEST: usize = 1000;
/// Highest frequency of the sound, in Hz.
const NYQUIST: f64 = SECOND as f64 / 2.0;
/// Added to the energy of a filter: digital silence has a logarithm.
const FLOOR: f64 = 1e-6;

/// Settings of the features.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mfcc {
    /// Length of a frame in ms; it is the size of the Fourier transform too.
    #[schemars(range(min = 1, max = LONGEST))]
    pub frame_ms: usize,
    /// From one frame to the next in ms.
    #[schemars(range(min = 1, max = LONGEST))]
    pub shift_ms: usize,
    /// Coefficients that are kept, the first of the cosine transform.
    #[schemars(range(min = 1))]
    pub coefficients: usize,
    /// Filters on the mel scale, at least as many as coefficients.
    #[schemars(range(min = 1))]
    pub filters: usize,
    /// Where the first filter begins, in Hz.
    #[schemars(range(min = 0.0))]
    pub lowest_hz: f64,
    /// Where the last filter ends, in Hz.
    #[schemars(range(max = NYQUIST))]
    pub highest_hz: f64,
}

impl Default for Mfcc {
    fn default() -> Mfcc {
        Mfcc { frame_ms: 30, shift_ms: 10, coefficients: 40, filters: 40, lowest_hz: 20.0, highest_hz: 4000.0 }
    }
}

impl Mfcc {
    /// Why these settings cannot be together. Ranges of single settings are the schema's.
    pub fn problem(&self) -> Option<String> {
        let Mfcc { frame_ms, coefficients, filters, lowest_hz, highest_hz, .. } = *self;
        if coefficients > filters {
            return Some(format!(
                "`coefficients` = {coefficients} is not a part of the {filters} that `filters` = {filters} gives, 1 to {filters}"
            ));
        }
        let spans = lowest_hz < highest_hz;
        if !spans {
            return Some(format!(
                "`lowest_hz` = {lowest_hz} and `highest_hz` = {highest_hz} do not span a band, lowest_hz < highest_hz"
            ));
        }
        if frame_ms == 0 || frame_ms > LONGEST || lowest_hz < 0.0 || highest_hz > NYQUIST {
            // There is no bank of filters to look at, and the range of that setting says why.
            return None;
        }
        let empty = self.bank().iter().position(|filter| filter.weights.is_empty())?;
        let corners = self.corners();
        Some(format!(
            "`filters` = {filters} is too many: filter {} from {:.0} to {:.0} Hz holds no frequency of a {frame_ms} ms frame, \
             which are {:.1} Hz apart; fewer filters, a wider band or a longer frame are possible",
            empty + 1,
            corners[empty],
            corners[empty + 2],
            1000.0 / frame_ms as f64
        ))
    }

    /// Coefficients and frames.
    pub fn shape(&self) -> [usize; 2] {
        [self.coefficients, 1 + (SECOND - self.frame()) / (self.shift_ms * PER_MILLISECOND)]
    }

    /// Samples of a frame.
    fn frame(&self) -> usize {
        self.frame_ms * PER_MILLISECOND
    }

    /// Corners of the triangles in Hz: filter m rises from corner m to m + 1 and falls to m + 2.
    fn corners(&self) -> Vec<f64> {
        let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
        let hertz = |mel: f64| 700.0 * (10_f64.powf(mel / 2595.0) - 1.0);
        let (low, high) = (mel(self.lowest_hz), mel(self.highest_hz));
        let step = (high - low) / (self.filters + 1) as f64;
        (0..self.filters + 2).map(|corner| hertz(low + step * corner as f64)).collect()
    }

    fn bank(&self) -> Vec<Filter> {
        let spacing = SECOND as f64 / self.frame() as f64;
        let filter = |corner: &[f64]| {
            let height = |bin: usize| {
                let hertz = bin as f64 * spacing;
                let rise = (hertz - corner[0]) / (corner[1] - corner[0]);
                let fall = (corner[2] - hertz) / (corner[2] - corner[1]);
                rise.min(fall).max(0.0)
            };
            let inside: Vec<usize> = (0..=self.frame() / 2).filter(|&bin| height(bin) > 0.0).collect();
            Filter {
                first: inside.first().copied().unwrap_or_default(),
                weights: inside.into_iter().map(height).collect(),
            }
        };
        self.corners().windows(3).map(filter).collect()
    }
}

/// One triangle: the weights of the bins from `first` on.
struct Filter {
    first: usize,
    weights: Vec<f64>,
}

/// The computation, prepared for its settings.
pub struct Extractor {
    settings: Mfcc,
    window: Vec<f64>,
    transform: Arc<dyn RealToComplex<f64>>,
    bank: Vec<Filter>,
    /// `[filters, coefficients]`
    cosines: Vec<f32>,
}

impl fmt::Debug for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extractor").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Extractor {
    /// For settings that have no [`problem`](Mfcc::problem).
    pub fn new(settings: &Mfcc) -> Extractor {
        let (frame, filters) = (settings.frame(), settings.filters);
        let window = (0..frame).map(|n| 0.5 - 0.5 * (2.0 * PI * n as f64 / frame as f64).cos());
        let cosine = move |k: usize, m: usize| {
            let scale = if k == 0 { 1.0 } else { 2.0 };
            let angle = PI * k as f64 * (m as f64 + 0.5) / filters as f64;
            ((scale / filters as f64).sqrt() * angle.cos()) as f32
        };
        Extractor {
            window: window.collect(),
            transform: RealFftPlanner::new().plan_fft_forward(frame),
            bank: settings.bank(),
            cosines: (0..filters).flat_map(|m| (0..settings.coefficients).map(move |k| cosine(k, m))).collect(),
            settings: settings.clone(),
        }
    }

    /// Coefficients and frames.
    pub fn shape(&self) -> [usize; 2] {
        self.settings.shape()
    }

    /// Writes the features `[coefficients, frames]` of one second of samples in -1..1.
    pub fn extract(&self, samples: &[f32], features: &mut [f32]) {
        let [_, frames] = self.shape();
        let shift = self.settings.shift_ms * PER_MILLISECOND;
        let mut framed = self.transform.make_input_vec();
        let mut spectrum = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        let mut column = vec![0_f32; self.settings.coefficients];
        for frame in 0..frames {
            let sound = &samples[frame * shift..][..self.window.len()];
            for ((framed, sample), weight) in framed.iter_mut().zip(sound).zip(&self.window) {
                *framed = f64::from(*sample) * weight;
            }
            self.transform
                .process_with_scratch(&mut framed, &mut spectrum, &mut scratch)
                .expect("the buffers have the transform's sizes");
            column.fill(0.0);
            for (filter, cosines) in self.bank.iter().zip(self.cosines.chunks_exact(column.len())) {
                let bins = spectrum[filter.first..].iter().zip(&filter.weights);
                let energy = (bins.map(|(bin, weight)| bin.norm_sqr() * weight).sum::<f64>() + FLOOR).ln() as f32;
                for (coefficient, cosine) in column.iter_mut().zip(cosines) {
                    *coefficient += cosine * energy;
                }
            }
            for (row, coefficient) in features.chunks_exact_mut(frames).zip(&column) {
                row[frame] = *coefficient;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use tch::Tensor;

    use super::*;

    fn features(settings: &Mfcc, samples: &[f32]) -> Vec<f32> {
        let [coefficients, frames] = settings.shape();
        let mut features = vec![f32::NAN; coefficients * frames];
        Extractor::new(settings).extract(samples, &mut features);
        features
    }

    /// `reference/speech_mfcc.py` says what was computed, in f64, by librosa.
    #[test]
    fn the_features_are_those_of_an_independent_implementation() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/speech_mfcc.safetensors");
        let stored: BTreeMap<String, Tensor> = Tensor::read_safetensors(&file).unwrap().into_iter().collect();
        let narrow =
            Mfcc { frame_ms: 25, shift_ms: 20, coefficients: 13, filters: 26, lowest_hz: 300.0, highest_hz: 7600.0 };
        for (name, settings) in [("default", Mfcc::default()), ("narrow", narrow)] {
            for signal in ["chirp", "noise", "word"] {
                let samples = Vec::<i16>::try_from(&stored[signal]).unwrap();
                let samples: Vec<f32> = samples.into_iter().map(|sample| f32::from(sample) / 32768.0).collect();
                let expected = &stored[&format!("{name}/{signal}")];
                assert_eq!(expected.size(), settings.shape().map(|size| size as i64), "{name}/{signal}");
                let expected = Vec::<f32>::try_from(expected.flatten(0, -1)).unwrap();
                let found = features(&settings, &samples);
                let differences = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
                let largest = differences.fold(0.0, f32::max);
                assert!(largest < 1e-4, "{name}/{signal}: {largest}");
                // The comparison means something: these numbers are not near 0.
                let spread = expected.iter().fold(0.0, |largest, value| f32::max(largest, value.abs()));
                assert!(spread > 2.0, "{name}/{signal}: {spread}");
            }
        }
    }

    /// ln(0 + 1e-6) in every filter: c_0 = sqrt(M) ln 1e-6, and a constant has no other
    /// coefficient.
    #[test]
    fn digital_silence_has_the_floor_in_the_first_coefficient_alone() {
        let found = features(&Mfcc::default(), &[0.0; SECOND]);
        let (first, others) = found.split_at(98);
        let floor = 40_f32.sqrt() * 1e-6_f32.ln();
        assert!(first.iter().all(|value| (value - floor).abs() < 1e-4), "{first:?}");
        assert!(others.iter().all(|value| value.abs() < 1e-4));
    }

    #[test]
    fn settings_that_give_no_features_are_refused_with_what_would_be_right() {
        let problem = |change: fn(&mut Mfcc)| {
            let mut settings = Mfcc::default();
            change(&mut settings);
            settings.problem().unwrap_or_default()
        };
        assert_eq!(Mfcc::default().problem(), None);
        assert_eq!(Mfcc::default().shape(), [40, 98]);
        for (found, expected) in [
            (problem(|it| it.coefficients = 41), "`coefficients` = 41 is not a part of the 40"),
            (problem(|it| it.lowest_hz = 4000.0), "do not span a band"),
            (problem(|it| it.lowest_hz = f64::NAN), "do not span a band"),
            (problem(|it| it.filters = 200), "is too many: filter 3 from 34 to 47 Hz holds no frequency"),
        ] {
            assert!(found.contains(expected), "`{expected}` is not in: {found}");
        }
    }
}
