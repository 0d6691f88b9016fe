"""From recordings to the networks' input: log-mel-spectrograms (Choi et al. 2017) and MSD-like chroma segments.

Everything works on mono samples at 12 kHz, on the scale on which full amplitude is 1.
"""

import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from unicodedata import normalize

import h5py
import joblib
import numpy as np
import pandas as pd
import scipy.fft
import scipy.sparse
from tqdm import tqdm

from helpers import paths
from helpers.decoding import NUM_SAMPLES, SR, as_on_disk, load, load_clip  # noqa: F401
from helpers.reading import READ_ERRORS, find_files

N_FFT, HOP_LENGTH, N_MELS = 512, 256, 96
AMIN, TOP_DB = 1e-10, 80.0
CHROMA_N_FFT = 2048  # 0.17 s: shorter than most segments, long enough to tell semitones apart from 130 Hz up
ONSETS = dict(delta=0.05, wait=6)  # librosa's peak picking, set to give about as many segments as MSD songs have
BLOCK = 256  # frames: their spectra fit into the processor's cache
SUFFIXES = set(".aac .aif .aifc .aiff .au .caf .flac .m4a .mp3 .mp4 .oga .ogg .opus .w64 .wav .wma".split())
FRONT_END = SR, NUM_SAMPLES, N_FFT, HOP_LENGTH, N_MELS, AMIN, TOP_DB


def log_mel(samples: np.ndarray, squared_twice: bool = False) -> np.ndarray:
    """Return the log-mel-spectrogram in dB: float32 (96, frames), 1366 frames for a clip. Choi et al. 2017, section 3.

    Frames of 512 samples every 256, the first centred on sample 0, zeros beyond the ends; periodic Hann window; 96
    triangular filters of equal area (Slaney) from 0 to 6 kHz on the power; 10 log10(max(mel, 1e-10)), and nothing
    below the maximum - 80. As librosa's `melspectrogram` and `power_to_db`. `squared_twice`: square the mel power
    first, as the released extractor did by mistake; the published spectrograms and the 2016 weights need this.
    Raises ValueError if `samples` is not 1-D, is empty or is not finite.
    """
    samples = _checked(samples)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, N_FFT // 2), N_FFT)[::HOP_LENGTH]
    window, filters = _window_and_filters()
    mel = np.empty((N_MELS, len(frames)), np.float32)
    for start in range(0, len(frames), BLOCK):
        # In float64: float32 rounding would show 70 dB below a loud tone.
        spectrum = scipy.fft.rfft(frames[start : start + BLOCK] * window)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        mel[:, start : start + BLOCK] = filters @ power.T
    decibel = 10 * np.log10(np.maximum(mel**2 if squared_twice else mel, np.float32(AMIN)))
    return np.maximum(decibel, decibel.max() - np.float32(TOP_DB))


def chroma(samples: np.ndarray) -> np.ndarray:
    """Return the strength of each pitch class (C first) in the frames of `log_mel`: float32 (12, frames), 0 to 1.

    Each frame is divided by its maximum; silent ones are 0. The tuning is estimated. Raises ValueError as `log_mel`.
    """
    energy = _chroma_energy(_checked(samples))
    peak = energy.max(axis=0)
    return np.where(peak > AMIN, energy / np.maximum(peak, AMIN), 0).astype(np.float32)


def segments_pitches(samples: np.ndarray) -> np.ndarray:
    """Imitate the MSD field `segments_pitches`: float32 (segments, 12), C first, each row's maximum exactly 1.

    A segment lasts from one onset to the next, some 2 to 5 a second; its row is the mean chroma energy divided by its
    maximum, and 1 throughout in silence. The Echo Nest's own algorithm is not public. Raises ValueError as `log_mel`.
    """
    samples, onset = _checked(samples), _librosa().onset
    novelty = onset.onset_strength(S=log_mel(samples), sr=SR, hop_length=HOP_LENGTH)
    onsets = onset.onset_detect(onset_envelope=novelty, sr=SR, hop_length=HOP_LENGTH, **ONSETS)
    energy = _chroma_energy(samples)
    starts = np.unique([0, *onsets])
    rows = np.add.reduceat(energy, starts, axis=1).T / np.diff([*starts, energy.shape[1]])[:, None]
    rows[rows.max(axis=1) <= AMIN] = 1
    return (rows / rows.max(axis=1, keepdims=True)).astype(np.float32)


def extract(
    folder: Path,
    out: Path,
    labels: pd.DataFrame | None = None,
    squared_twice: bool = False,
    dtype: str = "float16",
    num_workers: int | None = None,
) -> pd.DataFrame:
    """Write `log_mel` of every recording below `folder` to one HDF5 file; return `broken` (`path`, `reason`).

    `out` gets `mel`, `dtype` (clips, 96, 1366); `ids`, the paths relative to `folder`, sorted; `broken` as JSON.
    `labels` (0 or 1, a column a tag, by such paths) chooses the files; `out` then has `labels`, uint8, and `tags`, too.
    `num_workers`: threads; None takes all cores. After a kill, the same call goes on: finished clips wait in the
    folder `<out>.partial`. A finished `out` of the same files, labels and settings is kept.
    Raises FileNotFoundError if `folder` is no folder, ValueError if no file can be read or `labels` is not as said,
    FileExistsError if `out` holds anything else.
    """
    folder, out, partial = Path(folder).resolve(), Path(out), Path(f"{out}.partial")
    ids = _find_audio(folder) if labels is None else _checked_ids(labels)
    files = [as_on_disk(folder / i) for i in ids]
    settings = bool(squared_twice), np.dtype(dtype).name
    keys = [joblib.hash((FRONT_END, settings, _identity(file))) for file in files]
    clips = pd.DataFrame({"file": files, "kept": [partial / f"{key}.npy" for key in keys]}, ids)
    table = pd.DataFrame(index=ids) if labels is None else labels.loc[ids].astype(np.uint8)
    inputs = joblib.hash((ids, keys, list(map(str, table)), table.to_numpy()))
    try:
        if not out.exists():
            broken = _compute_missing(clips, *settings, num_workers)
            _pack(clips.drop(list(broken)), table, broken, inputs, out)
    except FileNotFoundError:
        if not out.exists():  # else another process did the same, was faster, and has removed what it had kept
            raise
    broken = _finished(out, inputs)
    shutil.rmtree(partial, ignore_errors=True)
    return pd.DataFrame([(str(folder / i), reason) for i, reason in broken.items()], columns=["path", "reason"])


def _checked(samples):
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise ValueError(f"samples of shape {samples.shape}: need (samples,), not empty, without NaN or infinity.")
    return samples


@lru_cache
def _librosa():
    """Import librosa, late: it takes a second. Where numba may not write its cache, give it a temporary folder."""
    try:
        import librosa.onset
    except RuntimeError:
        import numba

        numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="numba-")
        import librosa.onset
    return librosa


@lru_cache
def _window_and_filters():
    filters = _librosa().filters.mel(sr=SR, n_fft=N_FFT, n_mels=N_MELS)
    return _librosa().filters.get_window("hann", N_FFT), scipy.sparse.csr_array(filters)  # 2 % are not zero


def _chroma_energy(samples):
    padded = np.pad(samples, (0, max(0, CHROMA_N_FFT - len(samples))))  # librosa warns of anything shorter
    spectrum = _librosa().stft(padded, n_fft=CHROMA_N_FFT, hop_length=HOP_LENGTH)
    power = np.abs(spectrum[:, : 1 + len(samples) // HOP_LENGTH]) ** 2
    if power.max() <= AMIN:
        return np.zeros((12, power.shape[1]), np.float32)  # there is no tuning to estimate
    return _librosa().feature.chroma_stft(S=power, sr=SR, n_fft=CHROMA_N_FFT, norm=None)


def _find_audio(folder):
    found = [path for path in find_files(folder, "") if path.suffix.lower() in SUFFIXES]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _checked_ids(labels):
    names = pd.Index([normalize("NFC", name) for name in labels.index])
    if not names.is_unique:
        raise ValueError(f"labels has several rows for {names[names.duplicated()][0]}; keep one.")
    if len(wrong := labels.columns[~labels.isin([0, 1]).all().to_numpy()]):
        raise ValueError(f"labels has values other than 0 and 1 for {wrong[0]!r}; say which count as 1.")
    return sorted(labels.index)


def _identity(file):
    found = file.stat() if file.is_file() else None
    return str(file), found and (found.st_size, found.st_mtime_ns)


def _compute_missing(clips, squared_twice, dtype, num_workers):
    """Keep the spectrogram of each clip that has none yet; return {id: reason} of those that fail."""
    _window_and_filters()  # here, so that what is wrong with librosa is not taken for a broken recording
    missing = clips[[not kept.exists() for kept in clips["kept"]]]
    # Threads do: decoding, resampling and FFT all release Python's lock. And they start at once.
    parallel = joblib.Parallel(num_workers or -1, backend="threading", return_as="generator")
    jobs = (joblib.delayed(_keep)(clip.file, clip.kept, squared_twice, dtype) for clip in missing.itertuples())
    reasons = tqdm(parallel(jobs), "clips", len(missing), unit="clip")
    return {i: reason for i, reason in zip(missing.index, reasons, strict=True) if reason}


def _keep(file, kept, squared_twice, dtype):
    try:
        mel = log_mel(load_clip(file), squared_twice)
    except READ_ERRORS as error:
        return str(error) or type(error).__name__
    with paths.atomic(kept) as temporary:
        np.save(temporary, mel.astype(dtype))


def _pack(clips, table, broken, inputs, out):
    if clips.empty:
        reasons = list(broken.items())[:3] or "none found"
        raise ValueError(f"no recording could be read: {reasons}; nothing was written to {out}.")
    with paths.atomic(out) as temporary, h5py.File(temporary, "w") as file:
        for row, mel in enumerate(map(np.load, clips["kept"])):
            if row == 0:
                file.create_dataset("mel", (len(clips), *mel.shape), mel.dtype, chunks=(1, *mel.shape))
            file["mel"][row] = mel
        file["ids"], file["broken"], file.attrs["inputs"] = list(clips.index), json.dumps(broken), inputs
        if len(table.columns):
            file["labels"], file["tags"] = table.loc[clips.index].to_numpy(), list(map(str, table))


def _finished(out, inputs):
    """Return {id: reason} of the broken recordings, if `out` was made of just these inputs."""
    try:
        with h5py.File(out) as file:
            if file.attrs["inputs"] == inputs:
                return json.loads(file["broken"][()])
    except READ_ERRORS as error:
        raise FileExistsError(f"{out} is there, but damaged ({error}); remove it to extract again.") from None
    raise FileExistsError(f"{out} holds other clips, labels or settings; remove it to extract again.")
