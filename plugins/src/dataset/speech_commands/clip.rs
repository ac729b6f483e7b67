//! A recording of a user's as one of the data set: one second, 16 kHz, mono, samples in -1..1.
//!
//! | of the recording | what becomes of it |
//! |---|---|
//! | samples | integers of 8, 16, 24 and 32 bits are divided by their full scale, floats of 32 and 64 bits stay as they are |
//! | channels | their mean |
//! | rate | from twice `highest_hz` to 384 kHz; resampled where it is not 16 kHz |
//! | length | zeros are put behind a shorter one; of a longer one the first second is heard, as of the data set's clips |
//!
//! A recording of 16 kHz, mono, 16 bit goes through unchanged, so that a clip of the data set has the
//! same input here as in its split.
//!
//! **Resampling.** The first second and a half, and zeros up to two seconds, become a spectrum whose
//! bins are 0.5 Hz apart. Those below half of both rates make 32,000 samples, of which the first
//! 16,000 are the second: sinc interpolation of a periodic sound, whose period ends in silence.

use std::path::Path;

use litesnn_framework::{Error, Result};
use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::mfcc::SECOND;
use super::wav::{self, Format, Recording};

/// The highest rate that sound cards have.
const FASTEST: u32 = 384_000;

/// A second of sound.
pub struct Clip {
    /// `SECOND` samples.
    pub samples: Vec<f32>,
    /// What was done, each the rest of a sentence that begins with the file.
    pub notes: Vec<String>,
}

/// The clip of a WAV file, for features that reach up to `highest_hz`.
pub fn read(path: &Path, highest_hz: f64) -> Result<Clip> {
    let wrong = |message: String| Error::Content {
        path: path.to_owned(),
        message,
        hint: format!("`ffmpeg -i RECORDING -ac 1 -ar {SECOND} clip.wav` makes a WAV file of any recording"),
    };
    let wanted = |format: &Format| {
        let rates = (2.0 * highest_hz).ceil().max(1.0) as u32..=FASTEST;
        let bits = if format.integers { [8, 16, 24, 32].as_slice() } else { &[32, 64] };
        if !rates.contains(&format.rate) {
            let (slowest, fastest) = rates.into_inner();
            return Err(format!(
                "has {format}; the features reach to {highest_hz} Hz, and so rates from {slowest} to {fastest} Hz are read"
            ));
        }
        if !bits.contains(&format.bits) || format.channels == 0 {
            return Err(format!(
                "has {format}; integers of 8, 16, 24 and 32 bits and floats of 32 and 64 are read, of 1 channel or more"
            ));
        }
        Ok(format.rate as usize * 3 / 2)
    };
    let Recording { format, bytes, samples } = wav::read(path, wanted, wrong)?;
    let mut sound: Vec<f64> = bytes.chunks_exact(format.block()).map(|block| mean(block, &format)).collect();
    if sound.iter().any(|sample| !sample.is_finite()) {
        return Err(wrong("has a sample that is NaN or infinite".into()));
    }
    let rate = format.rate as usize;
    let mut notes = Vec::new();
    if format.channels > 1 {
        notes.push(format!("has {} channels, and their mean is heard", format.channels));
    }
    if rate != SECOND {
        notes.push(format!("has {rate} Hz, and is resampled to {SECOND} Hz"));
        sound = resampled(sound, rate);
    }
    if samples > rate as u64 {
        notes.push(format!("lasts {:.2} s, of which the first second is heard", samples as f64 / rate as f64));
    }
    sound.resize(SECOND, 0.0);
    Ok(Clip { samples: sound.into_iter().map(|sample| sample as f32).collect(), notes })
}

/// The mean of the channels of one sample.
fn mean(block: &[u8], format: &Format) -> f64 {
    let channels = block.chunks_exact(usize::from(format.bits / 8)).map(|bytes| number(bytes, format.integers));
    channels.sum::<f64>() / f64::from(format.channels)
}

/// A sample of one channel, little-endian; integers in -1..1.
fn number(bytes: &[u8], integers: bool) -> f64 {
    match (bytes, integers) {
        // Alone without a sign: 128 is silence.
        (&[byte], _) => (f64::from(byte) - 128.0) / 128.0,
        (&[a, b, c, d], false) => f32::from_le_bytes([a, b, c, d]).into(),
        (&[a, b, c, d, e, f, g, h], _) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        (bytes, _) => {
            let high = bytes.iter().rev().zip((0..4).rev());
            let word = high.fold(0u32, |word, (&byte, place)| word | u32::from(byte) << (8 * place));
            f64::from(word as i32) / 2f64.powi(31)
        }
    }
}

/// The first two seconds or fewer at `rate` Hz, as two seconds at 16 kHz.
fn resampled(mut sound: Vec<f64>, rate: usize) -> Vec<f64> {
    sound.resize(2 * rate, 0.0);
    let mut planner = RealFftPlanner::new();
    let (forth, back) = (planner.plan_fft_forward(2 * rate), planner.plan_fft_inverse(2 * SECOND));
    let (mut spectrum, mut result) = (forth.make_output_vec(), back.make_output_vec());
    forth.process(&mut sound, &mut spectrum).expect("the buffers have the transform's sizes");
    spectrum.truncate(rate.min(SECOND));
    spectrum.resize(SECOND + 1, Complex::new(0.0, 0.0));
    back.process(&mut spectrum, &mut result).expect("the first bin is real, and the last one is 0");
    result.iter_mut().for_each(|sample| *sample /= 2.0 * rate as f64);
    result
}

#[cfg(test)]
mod tests {
    use hound::{SampleFormat, WavSpec, WavWriter};

    use super::*;

    const SPEC: WavSpec =
        WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format: SampleFormat::Int };

    /// A file of `seconds`, whose channels have the values of `sound` at each time, of full scale 1.
    fn file(spec: WavSpec, seconds: f64, sound: impl Fn(f64, usize) -> f64) -> tempfile::TempPath {
        let path = tempfile::Builder::new().suffix(".wav").tempfile().unwrap().into_temp_path();
        let mut writer = WavWriter::create(&path, spec).unwrap();
        for n in 0..(seconds * f64::from(spec.sample_rate)).round() as usize {
            for channel in 0..usize::from(spec.channels) {
                let value = sound(n as f64 / f64::from(spec.sample_rate), channel);
                match spec.sample_format {
                    SampleFormat::Float => writer.write_sample(value as f32).unwrap(),
                    SampleFormat::Int => {
                        let full = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
                        writer.write_sample((value * full).round().min(full - 1.0) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        path
    }

    /// A tone of 1 kHz that swells and fades within the second, so that no rate cuts its spectrum.
    fn burst(time: f64, _: usize) -> f64 {
        let swell =
            if (0.1..0.9).contains(&time) { (std::f64::consts::PI * (time - 0.1) / 0.8).sin().powi(4) } else { 0.0 };
        0.5 * swell * (2.0 * std::f64::consts::PI * 1000.0 * time).sin()
    }

    fn far_from_burst(clip: &Clip) -> f64 {
        assert_eq!(clip.samples.len(), SECOND);
        let off = |(n, sample): (usize, &f32)| (f64::from(*sample) - burst(n as f64 / SECOND as f64, 0)).abs();
        clip.samples.iter().enumerate().map(off).fold(0.0, f64::max)
    }

    #[test]
    fn every_rate_and_form_of_samples_is_the_same_sound() {
        for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000] {
            let spec = WavSpec { sample_rate: rate, bits_per_sample: 32, sample_format: SampleFormat::Float, ..SPEC };
            let clip = read(&file(spec, 1.0, burst), 4000.0).unwrap();
            let off = far_from_burst(&clip);
            assert!(off < 1e-6, "{rate} Hz: {off}");
            assert_eq!(clip.notes.len(), usize::from(rate != 16_000), "{:?}", clip.notes);
        }
        for (bits, step) in [(8, 0.5f64.powi(7)), (16, 0.5f64.powi(15)), (24, 0.5f64.powi(23)), (32, 0.5f64.powi(24))] {
            let off =
                far_from_burst(&read(&file(WavSpec { bits_per_sample: bits, ..SPEC }, 1.0, burst), 4000.0).unwrap());
            assert!(off <= 0.51 * step, "{bits} bits: {off}, of steps of {step}");
        }
    }

    #[test]
    fn sixteen_bits_of_the_right_rate_go_through_unchanged() {
        let sample = |n: usize| (n * 7919 % 65536) as i32 - 32768;
        let path = file(SPEC, 1.0, |time, _| f64::from(sample((time * 16_000.0).round() as usize)) / 32768.0);
        let clip = read(&path, 4000.0).unwrap();
        assert!(clip.samples.iter().enumerate().all(|(n, found)| *found == sample(n) as f32 / 32768.0));
        assert!(clip.notes.is_empty());
    }

    #[test]
    fn channels_are_averaged_short_clips_padded_and_long_ones_cut() {
        let stereo = WavSpec { channels: 2, sample_rate: 48_000, ..SPEC };
        // Left twice the burst, right silence; and what is behind the first second is not heard.
        let sound = |time: f64, channel: usize| match time < 1.0 {
            true => 2.0 * burst(time, 0) * f64::from(channel == 0),
            false => 0.3 * (time * 5000.0).sin() * ((time - 1.0) * 10.0).min(1.0),
        };
        let clip = read(&file(stereo, 3.25, sound), 4000.0).unwrap();
        // 16 bits, and what the sound after the second rings into it.
        assert!(far_from_burst(&clip) < 2e-3, "{}", far_from_burst(&clip));
        let [channels, rate, length] = [0, 1, 2].map(|at| clip.notes[at].as_str());
        assert_eq!(channels, "has 2 channels, and their mean is heard");
        assert_eq!(rate, "has 48000 Hz, and is resampled to 16000 Hz");
        assert_eq!(length, "lasts 3.25 s, of which the first second is heard");

        let short = read(&file(SPEC, 0.25, |_, _| 0.5), 4000.0).unwrap();
        assert!(short.samples[..4000].iter().all(|sample| *sample == 0.5));
        assert!(short.samples[4000..].iter().all(|sample| *sample == 0.0) && short.notes.is_empty());
    }

    #[test]
    fn what_cannot_be_heard_is_refused_with_what_can() {
        let said = |path: &Path, highest: f64| {
            let error = read(path, highest).err().expect("it cannot be heard");
            assert!(error.hint().unwrap().contains("ffmpeg"), "{error}");
            error.to_string()
        };
        let slow = file(WavSpec { sample_rate: 8000, ..SPEC }, 0.1, burst);
        let error = said(&slow, 7600.0);
        assert!(
            error.contains("has 8000 Hz, mono, 16 bit; the features reach to 7600 Hz, and so rates from 15200"),
            "{error}"
        );
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&text, "ID3 and what an MP3 has behind it").unwrap();
        let error = said(text.path(), 4000.0);
        assert!(error.contains("is no WAV file: it does not begin with `RIFF` and `WAVE`"), "{error}");
        let mut bytes = std::fs::read(file(SPEC, 1.0, burst)).unwrap();
        bytes.truncate(20_000);
        std::fs::write(&text, &bytes).unwrap();
        let error = said(text.path(), 4000.0);
        assert!(error.contains("promises 16000 samples in its header and holds only 9978"), "{error}");
        let floats = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..SPEC };
        let error = said(&file(floats, 0.1, |_, _| f64::NAN), 4000.0);
        assert!(error.contains("NaN"), "{error}");
        // 12 bits in a container of 16.
        std::fs::write(&text, [&bytes[..34], &[12, 0], &bytes[36..]].concat()).unwrap();
        let error = said(text.path(), 4000.0);
        assert!(error.contains("has 16000 Hz, mono, 12 bit; integers of 8, 16, 24 and 32 bits"), "{error}");
    }
}
