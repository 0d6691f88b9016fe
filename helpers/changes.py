"""What may happen to a recording before somebody tags it (notebook 11): functions from a clip to one as long."""

import tempfile
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr

from helpers.decoding import SR, load_clip


def noise(clip: np.ndarray, below: float) -> np.ndarray:
    """Add white noise, always the same, whose power is `below` dB below the clip's."""
    return clip + np.random.default_rng(0).normal(0, clip.std() * 10 ** (-below / 20), len(clip))


def mp3(clip: np.ndarray) -> np.ndarray:
    """Pass a clip of 29.12 s through an MP3 file of 44.1 kHz, mono, 32 kbit/s."""
    with tempfile.TemporaryDirectory() as folder:
        file, lowest = Path(folder, "clip.mp3"), {"bitrate_mode": "CONSTANT", "compression_level": 0.99}
        soundfile.write(file, soxr.resample(clip, SR, 44_100), 44_100, format="MP3", **lowest)
        return load_clip(file)


CHANGES = {
    "6 dB quieter": lambda clip: clip / 2,
    "20 dB quieter": lambda clip: clip / 10,
    "MP3, 32 kbit/s": mp3,
    "noise, 40 dB below": partial(noise, below=40),
    "noise, 20 dB below": partial(noise, below=20),
    "a semitone higher": partial(librosa.effects.pitch_shift, sr=SR, n_steps=1),
    "5 % slower": lambda clip: librosa.effects.time_stretch(clip, rate=1 / 1.05)[: len(clip)],
}
