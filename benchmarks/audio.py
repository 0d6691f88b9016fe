"""Time the extraction of log-mel-spectrograms against the usual way; print both rates and the ratio.

    python benchmarks/audio.py [folder]

The usual way: `librosa.load(path, sr=12000)`, `librosa.feature.melspectrogram`, `librosa.power_to_db`, one file
after the other, results kept in memory. Ours: `helpers.audio.extract`, which also crops to 29.12 s, and writes
the HDF5 file. Both take the recordings below `folder`, repeated until there are at least 120 clips (links, so
the disk's cache is warm for both), or synthetic clips of 30 s, mono and stereo, in WAV, FLAC, OGG and MP3 at the
rates that data sets have. They run in turn; the ratio is that of the medians. Then the largest difference in dB
is printed, where librosa's values are above its floor, on the same samples.
"""

import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from helpers import audio
from helpers.reading import READ_ERRORS

CLIPS, ROUNDS = 120, 5
SYNTHETIC = [("wav", 44100, 2), ("flac", 22050, 1), ("ogg", 44100, 2), ("mp3", 44100, 2), ("mp3", 16000, 1)]


def usual(files: list[Path]) -> list[np.ndarray]:
    return [librosa_log_mel(librosa.load(path, sr=audio.SR)[0]) for path in files]


def librosa_log_mel(samples: np.ndarray) -> np.ndarray:
    return librosa.power_to_db(
        librosa.feature.melspectrogram(
            y=samples, sr=audio.SR, n_fft=audio.N_FFT, hop_length=audio.HOP_LENGTH, n_mels=audio.N_MELS
        )
    )


def write_synthetic(folder: Path) -> None:
    """Write decaying notes in noise: 30 s in each of the formats that this libsndfile writes."""
    for suffix, rate, channels in SYNTHETIC:
        if suffix.upper() in soundfile.available_formats():
            rng = np.random.default_rng(rate)
            seconds = np.arange(30 * rate) / rate
            note = 440 * 2 ** (np.repeat(rng.integers(-24, 24, 120), rate // 4) / 12)
            tone = 0.4 * np.sin(2 * np.pi * note * seconds[: len(note)]) * np.exp(-8 * (seconds[: len(note)] % 0.25))
            noise = rng.normal(0, 0.02, (len(note), channels))
            soundfile.write(folder / f"{rate}_{channels}.{suffix}", tone[:, None] + noise, rate)


def link(sources: list[Path], folder: Path) -> list[Path]:
    """Link to the sources, over and over, until there are enough; return the links in the order of their names."""
    for copy in range(-(-CLIPS // len(sources))):
        for number, source in enumerate(sources):
            (folder / f"{copy:03}_{number:03}{source.suffix}").symlink_to(source)
    return sorted(folder.iterdir())


def readable(path: Path) -> bool:
    try:
        audio.load_clip(path)
    except READ_ERRORS:
        return False
    return True


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for name in ("synthetic", "links"):
            (root / name).mkdir()
        source = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else root / "synthetic"
        if source == root / "synthetic":
            write_synthetic(source)
        suffixes = audio.SUFFIXES
        sources = [p for p in sorted(source.rglob("*")) if p.suffix.lower() in suffixes and readable(p)]
        if not sources:
            raise SystemExit(f"{source} holds no recording that can be read; give a folder that does.")
        files = link(sources, root / "links")
        print(f"{len(files)} clips: {len(sources)} recordings from {source}, repeated")
        usual(files[: len(sources)])  # both sides warm: imports, filters, the disk's cache
        seconds = {"usual": [], "ours": []}
        for turn in range(ROUNDS):
            start = time.perf_counter()
            usual(files)
            seconds["usual"].append(time.perf_counter() - start)
            start = time.perf_counter()
            broken = audio.extract(root / "links", root / f"{turn}.h5")
            seconds["ours"].append(time.perf_counter() - start)
            assert broken.empty
        differences = []
        for path in sources:
            samples = audio.load_clip(path)
            expected = librosa_log_mel(samples)
            differences.append(np.abs(audio.log_mel(samples) - expected)[expected > expected.min()].max())
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    for way, times in seconds.items():
        each = ", ".join(f"{t:.1f}" for t in times)
        print(f"{way:>6}: {len(files) / medians[way]:.1f} clips a second ({each} s)")
    print(f"ratio: {medians['usual'] / medians['ours']:.2f} on {os.cpu_count()} cores")
    print(f"largest difference: {max(differences):.1e} dB")


if __name__ == "__main__":
    logging.captureWarnings(True)
    main()
