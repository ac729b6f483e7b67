"""Mel-frequency cepstral coefficients by librosa: the numbers that `plugins/src/speech_commands/mfcc.rs` is compared with.

    python3 -m venv .venv
    .venv/bin/pip install librosa==0.11.0 safetensors
    .venv/bin/python speech_mfcc.py          # writes speech_mfcc.safetensors beside this file

Everything is float64 until it is stored.

Keys of the file:

    chirp, noise, word         one second at 16 kHz, int16, made below: no recording
    default/NAME               its features with the settings of the plugin, float32 [coefficients, frames]
    narrow/NAME                the same with other settings
"""

from pathlib import Path

import librosa
import numpy as np
from safetensors.numpy import save_file

RATE = 16_000
FLOOR = 1e-6
SETTINGS = {
    "default": dict(frame_ms=30, shift_ms=10, coefficients=40, filters=40, lowest_hz=20, highest_hz=4000),
    "narrow": dict(frame_ms=25, shift_ms=20, coefficients=13, filters=26, lowest_hz=300, highest_hz=7600),
}


def signals():
    random = np.random.default_rng(7)
    t = np.arange(RATE) / RATE
    chirp = 0.5 * np.sin(2 * np.pi * (100 * t + 0.5 * 3900 * t**2))
    noise = 0.05 * random.standard_normal(RATE)
    # A hum of six harmonics with some noise, in the middle of digital silence, and clipped at its loudest.
    hum = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 7)) + 0.02 * random.standard_normal(RATE)
    word = np.where((t > 0.3) & (t < 0.7), 1.2 * np.sin(np.pi * (t - 0.3) / 0.4) * hum, 0.0)
    for name, signal in {"chirp": chirp, "noise": noise, "word": word}.items():
        yield name, np.clip(np.round(signal * 32768), -32768, 32767).astype(np.int16)


def mfcc(samples, frame_ms, shift_ms, coefficients, filters, lowest_hz, highest_hz):
    frame, shift = frame_ms * RATE // 1000, shift_ms * RATE // 1000
    spectrum = librosa.stft(
        samples / 32768, n_fft=frame, hop_length=shift, window="hann", center=False, dtype=np.complex128
    )
    bank = librosa.filters.mel(
        sr=RATE, n_fft=frame, n_mels=filters, fmin=lowest_hz, fmax=highest_hz, htk=True, norm=None, dtype=np.float64
    )
    energy = np.log(bank @ np.abs(spectrum) ** 2 + FLOOR)
    return librosa.feature.mfcc(S=energy, n_mfcc=coefficients, dct_type=2, norm="ortho", lifter=0)


def main():
    stored = {}
    for name, samples in signals():
        stored[name] = samples
        for settings, values in SETTINGS.items():
            features = mfcc(samples.astype(np.float64), **values)
            stored[f"{settings}/{name}"] = np.ascontiguousarray(features, dtype=np.float32)
            print(f"{settings}/{name}: {features.shape}, {features.min():.4f} to {features.max():.4f}")
    save_file(stored, Path(__file__).parent / "speech_mfcc.safetensors")


if __name__ == "__main__":
    main()
