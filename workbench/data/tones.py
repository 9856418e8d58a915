"""Spoken words' little cousins: eight figures of tones, in noise, as spectrograms for a keyword spotter."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

WORDS = ("noise", "steady", "rise", "fall", "hill", "valley", "step up", "step down")
RATE, SECONDS = 8000, 0.8
WINDOW, HOP, STEPS, BANDS = 256, 128, 48, 10
LOW, HIGH = 300.0, 2400.0  # Hz, what the figures span
NOISE = (-6.0, 14.0)  # dB against the tone, in the whole of the spectrum
#: Mean and standard deviation of the logarithms of the bands' energy in the training split.
MEAN, STD = 0.65, 2.0


def synthesise(count: int, seed: int) -> tuple[Array, Array]:
    """`count` spectrograms (count, 1, 48, 10) float32, time by band, and the numbers of their words (count,) int64.

    Pitch, span, length, loudness and beginning of a figure vary; the noise is white.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(WORDS), size=count)
    sounds = np.stack([_sound(WORDS[label], rng) for label in labels])
    return ((_bands(sounds) - MEAN) / STD).astype(np.float32)[:, None], labels.astype(np.int64)


def _sound(word: str, rng: np.random.Generator) -> Array:
    """One figure in noise, (samples,)."""
    samples = int(RATE * SECONDS)
    noise = rng.standard_normal(samples)
    if word == "noise":
        return noise * rng.uniform(0.05, 0.5)
    length = int(samples * rng.uniform(0.5, 0.9))
    pitch = _pitch(word, np.linspace(0, 1, length), rng)
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.hanning(length) ** 0.25
    level = 10 ** (rng.uniform(*NOISE) / 20)
    sound = noise * level
    start = rng.integers(0, samples - length + 1)
    sound[start : start + length] += np.sqrt(2) * tone
    return sound * rng.uniform(0.3, 1.0)


def _pitch(word: str, time: Array, rng: np.random.Generator) -> Array:
    """Hertz over time from 0 to 1, within `LOW` and `HIGH`."""
    span = rng.uniform(0.25, 1.0)
    shapes: dict[str, Array] = {
        "steady": np.full_like(time, 0.5),
        "rise": time,
        "fall": 1 - time,
        "hill": 1 - np.abs(2 * time - 1),
        "valley": np.abs(2 * time - 1),
        "step up": (time > 0.5).astype(float),
        "step down": (time <= 0.5).astype(float),
    }
    shape = (shapes[word] - 0.5) * span
    place = rng.uniform(span / 2, 1 - span / 2)
    pitch: Array = LOW * (HIGH / LOW) ** (place + shape)
    return pitch


def _bands(sounds: Array) -> Array:
    """Logarithms of the energy in triangular bands, evenly apart on a logarithmic scale, (N, 48, 10)."""
    frames = np.lib.stride_tricks.sliding_window_view(sounds, WINDOW, axis=1)[:, ::HOP][:, :STEPS]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=2)) ** 2 / WINDOW
    centres = np.geomspace(LOW, HIGH, BANDS)[:, None] * WINDOW / RATE
    widths = np.maximum(centres * ((HIGH / LOW) ** (1 / (BANDS - 1)) - 1), 1.5)  # in bins; low bands would fall between
    weights = np.maximum(0, 1 - np.abs(np.arange(power.shape[2]) - centres) / widths)
    logs: Array = np.log(power @ weights.T + 1e-6)
    return logs
