//! Sounds of one second: changed at random, and as features.

use litesnn_framework::Result;
use litesnn_framework::data::{Preparation, Split};
use litesnn_framework::ground::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::mfcc::{Extractor, SECOND};
use super::settings::{Noise, refusal};

/// Training clips that means and deviation are taken over, at most.
const MEASURED: usize = 2_000;

/// `N` draws from U(0, 1).
pub fn draw<const N: usize>(stream: &mut Stream) -> [f64; N] {
    let draws = Vec::<f64>::try_from(stream.uniform(&[N as i64], 0.0, 1.0).to_kind(Kind::Double));
    draws.ok().and_then(|draws| draws.try_into().ok()).expect("as many were asked for")
}

/// One of `0..count`, from a draw of U(0, 1).
fn pick(draw: f64, count: usize) -> usize {
    ((draw * count as f64) as usize).min(count - 1)
}

/// A second of background noise: which recording, and where in it, from draws of U(0, 1).
pub fn piece(background: &[Vec<i16>], recording: f64, place: f64) -> &[i16] {
    let recording = &background[pick(recording, background.len())];
    &recording[pick(place, recording.len() - SECOND + 1)..][..SECOND]
}

/// The sounds of a split, one second each.
pub struct Sounds {
    /// Clip after clip.
    pub samples: Vec<i16>,
    /// Its class, for each clip.
    pub labels: Vec<i64>,
}

impl Sounds {
    /// What a [`Preparation`] takes: `[N, 16000]`, i16.
    pub fn raw(&self) -> Result<Split> {
        let images = Tensor::f_from_slice(&self.samples)?.f_view([-1, SECOND as i64])?;
        Ok(Split { images, labels: Tensor::f_from_slice(&self.labels)? })
    }

    /// What a network takes: the features of the sounds as they are.
    pub fn inputs(&self, features: &Features) -> Result<Split> {
        let images = features.of(self.labels.len(), |index, sound| recorded(&self.samples, index, sound));
        Ok(Split { images, labels: Tensor::f_from_slice(&self.labels)? })
    }
}

/// Identifies the sounds in use, wherever they lie.
pub fn digest(classes: &[String], splits: &[&Sounds], background: &[Vec<i16>]) -> String {
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

/// Clip `index` of `samples` as numbers in -1..1.
fn recorded(samples: &[i16], index: usize, sound: &mut [f32]) {
    for (sound, &sample) in sound.iter_mut().zip(&samples[index * SECOND..]) {
        *sound = f32::from(sample) / 32768.0;
    }
}

/// Features around 0, of deviation 1.
#[derive(Debug)]
pub struct Features {
    extractor: Extractor,
    /// Mean of each coefficient.
    means: Vec<f32>,
    /// Deviation from these means, of all coefficients together.
    deviation: f32,
}

impl Features {
    /// With the statistics of training sounds.
    pub fn new(extractor: Extractor, train: &Sounds) -> Features {
        let count = train.labels.len().min(MEASURED);
        let evenly = |index: usize| index * train.labels.len() / count;
        let [coefficients, frames] = extractor.shape();
        let measured =
            extracted(&extractor, count, threads(), |index, sound| recorded(&train.samples, evenly(index), sound));
        let rows = || measured.chunks_exact(frames).enumerate().map(|(at, row)| (at % coefficients, row));
        let mut means = vec![0_f64; coefficients];
        for (coefficient, row) in rows() {
            means[coefficient] += row.iter().copied().map(f64::from).sum::<f64>() / (count * frames) as f64;
        }
        let squares = rows().flat_map(|(at, row)| row.iter().map(move |&value| (at, f64::from(value))));
        let squares: f64 = squares.map(|(coefficient, value)| (value - means[coefficient]).powi(2)).sum();
        let deviation = (squares / measured.len() as f64).sqrt();
        Features {
            extractor,
            means: means.into_iter().map(|mean| mean as f32).collect(),
            // Sounds that are all alike say nothing; they become 0.
            deviation: if deviation > 1e-6 { deviation as f32 } else { 1.0 },
        }
    }

    /// With statistics that [`measured`](Features::measured) told.
    pub fn with(extractor: Extractor, measured: &Value) -> Result<Features> {
        let Measured { means, deviation } = Measured::deserialize(measured)
            .map_err(|error| refusal(format!("the statistics of its training clips cannot be read: {error}")))?;
        let [coefficients, _] = extractor.shape();
        let finite = means.iter().all(|mean| mean.is_finite());
        if means.len() != coefficients || !finite || !(deviation.is_finite() && deviation > 0.0) {
            return Err(refusal(format!(
                "the statistics of its training clips are {} means and the deviation {deviation}; they are the means \
                 of {coefficients} coefficients and a deviation above 0",
                means.len()
            )));
        }
        Ok(Features { extractor, means, deviation })
    }

    /// The statistics, for those who have no training sounds.
    pub fn measured(&self) -> Value {
        json!(Measured { means: self.means.clone(), deviation: self.deviation })
    }

    /// The input `[1, 1, coefficients, frames]` of one second of samples in -1..1.
    pub fn of_second(&self, samples: &[f32]) -> Tensor {
        self.of(1, |_, sound| sound.copy_from_slice(samples))
    }

    /// Features `[count, 1, coefficients, frames]` of the sounds that `sound(index, samples)`
    /// writes.
    fn of(&self, count: usize, sound: impl Fn(usize, &mut [f32]) + Sync) -> Tensor {
        let [coefficients, frames] = self.extractor.shape();
        let mut features = extracted(&self.extractor, count, threads(), sound);
        for (row, mean) in features.chunks_exact_mut(frames).zip(self.means.iter().cycle()) {
            for value in row {
                *value = (*value - mean) / self.deviation;
            }
        }
        Tensor::from_slice(&features).view([count as i64, 1, coefficients as i64, frames as i64])
    }
}

/// The statistics of training sounds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    means: Vec<f32>,
    deviation: f32,
}

/// As many as libtorch uses.
fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
}

/// Features of `count` sounds, one after the other.
fn extracted(
    extractor: &Extractor,
    count: usize,
    threads: usize,
    sound: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let size: usize = extractor.shape().iter().product();
    let mut features = vec![0.0; count * size];
    let share = count.div_ceil(threads).max(1);
    let work = |first: usize, features: &mut [f32]| {
        let mut samples = vec![0.0; SECOND];
        for (index, features) in features.chunks_exact_mut(size).enumerate() {
            sound(first + index, &mut samples);
            extractor.extract(&samples, features);
        }
    };
    let (own, others) = features.split_at_mut(size * share.min(count));
    std::thread::scope(|scope| {
        for (number, features) in others.chunks_mut(size * share).enumerate() {
            let work = &work;
            scope.spawn(move || work((number + 1) * share, features));
        }
        work(0, own);
    });
    features
}

/// Changes each sound at random, then computes its features.
#[derive(Debug)]
pub struct Augmentation {
    /// What is computed from the changed sound.
    pub features: Features,
    /// Most samples that a sound is shifted by.
    pub shift: usize,
    /// How often noise is added, and how much.
    pub noise: Noise,
    /// What it is cut from; empty: no noise.
    pub background: Vec<Vec<i16>>,
}

impl Preparation for Augmentation {
    fn prepare(&self, raw: &Tensor, random: &mut Stream) -> Tensor {
        let samples = Vec::<i16>::try_from(raw.flatten(0, -1)).expect("raw sounds are i16");
        let count = samples.len() / SECOND;
        let draws: Vec<[f64; 5]> = (0..count).map(|_| draw(random)).collect();
        self.features.of(count, |index, sound| self.change(&samples[index * SECOND..][..SECOND], draws[index], sound))
    }
}

impl Augmentation {
    /// Shifts the recorded second and adds noise to it; `draws` are from U(0, 1).
    fn change(&self, recorded: &[i16], draws: [f64; 5], sound: &mut [f32]) {
        let [shift, chance, recording, place, volume] = draws;
        let shift = pick(shift, 2 * self.shift + 1);
        for (n, sound) in sound.iter_mut().enumerate() {
            let sample = (n + self.shift).checked_sub(shift).and_then(|source| recorded.get(source));
            *sound = sample.map_or(0.0, |&sample| f32::from(sample) / 32768.0);
        }
        if chance < self.noise.probability && !self.background.is_empty() {
            let volume = (volume * self.noise.volume / 32768.0) as f32;
            for (sound, &noise) in sound.iter_mut().zip(piece(&self.background, recording, place)) {
                *sound = (*sound + volume * f32::from(noise)).clamp(-1.0, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mfcc::Mfcc;
    use super::*;

    fn extractor() -> Extractor {
        Extractor::new(&Mfcc::default())
    }

    fn floats(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    #[test]
    fn a_piece_lies_anywhere_in_any_recording() {
        let background = [(0..2 * SECOND as i16).collect::<Vec<i16>>(), vec![-1; SECOND]];
        assert_eq!(piece(&background, 0.0, 0.0)[..2], [0, 1]);
        assert_eq!(piece(&background, 0.49, 1.0).last(), Some(&(2 * SECOND as i16 - 1)));
        assert_eq!(piece(&background, 1.0, 1.0), [-1; SECOND]);
    }

    fn augmentation(shift: usize, probability: f64, volume: f64, noise: i16) -> Augmentation {
        let train = Sounds { samples: (0..SECOND).map(|n| (n * n % 30_011) as i16).collect(), labels: vec![0] };
        let features = Features::new(extractor(), &train);
        Augmentation { features, shift, noise: Noise { probability, volume }, background: vec![vec![noise; SECOND]] }
    }

    #[test]
    fn a_sound_is_shifted_then_mixed_with_noise_and_clipped() {
        let recorded: Vec<i16> = (0..SECOND).map(|n| n as i16 + 1).collect();
        let changed = |augmentation: &Augmentation, draws| -> Vec<f32> {
            let mut sound = vec![f32::NAN; SECOND];
            augmentation.change(&recorded, draws, &mut sound);
            sound.into_iter().map(|sample| sample * 32768.0).collect()
        };
        let quiet = augmentation(3, 0.0, 1.0, 1000);
        let earlier = changed(&quiet, [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!((earlier[0], earlier[SECOND - 4], earlier[SECOND - 3]), (4.0, SECOND as f32, 0.0));
        let same = changed(&quiet, [0.5, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!((same[0], same[SECOND - 1]), (1.0, SECOND as f32));
        let later = changed(&quiet, [1.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!((later[2], later[3], later[SECOND - 1]), (0.0, 1.0, SECOND as f32 - 3.0));

        let noisy = augmentation(0, 0.8, 0.1, 1000);
        let with = |chance, volume| changed(&noisy, [0.5, chance, 0.0, 0.0, volume]);
        assert!((with(0.79, 0.5)[0] - 51.0).abs() < 1e-3);
        assert_eq!(with(0.81, 0.5)[0], 1.0);
        let loud = changed(&augmentation(0, 1.0, 1.0, i16::MAX), [0.5, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(loud[SECOND - 1], 32768.0);
    }

    #[test]
    fn a_batch_is_changed_by_its_stream_and_nothing_else() {
        let raw =
            Tensor::from_slice(&(0..3 * SECOND).map(|n| (n * n % 20_011) as i16).collect::<Vec<_>>()).view([3, -1]);
        let prepared = |augmentation: &Augmentation, index| {
            let features = augmentation.prepare(&raw, &mut Stream::open(1, "retrain/prepare/0", index));
            assert_eq!(features.size(), [3, 1, 40, 98]);
            floats(&features)
        };
        let random = augmentation(1600, 0.8, 0.1, 1000);
        assert_eq!(prepared(&random, 0), prepared(&random, 0));
        assert_ne!(prepared(&random, 0), prepared(&random, 1));
        let still = augmentation(0, 0.0, 0.0, 0);
        let samples = Vec::<i16>::try_from(raw.flatten(0, -1)).unwrap();
        let inputs = Sounds { samples, labels: vec![0; 3] }.inputs(&still.features).unwrap();
        assert_eq!(prepared(&still, 0), floats(&inputs.images));
    }

    #[test]
    fn the_features_do_not_depend_on_the_number_of_threads() {
        let extractor = extractor();
        let sound = |index: usize, sound: &mut [f32]| {
            sound.iter_mut().enumerate().for_each(|(n, it)| *it = ((n * (index + 1)) as f32 * 0.01).sin());
        };
        let alone = extracted(&extractor, 5, 1, sound);
        assert_ne!(alone[..3920], alone[3920..7840]);
        for threads in [2, 3, 5, 8] {
            assert_eq!(extracted(&extractor, 5, threads, sound), alone);
        }
        assert!(extracted(&extractor, 0, 2, sound).is_empty());
    }
}
