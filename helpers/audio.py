"""From mono samples at 12 kHz, -1 to 1, to log-mel-spectrograms (Choi et al. 2017) and MSD-like chroma segments."""

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize

import h5py
import joblib
import numba
import numpy as np
import pandas as pd
import scipy.fft
import scipy.sparse
from tqdm import tqdm

from helpers import paths
from helpers.decoding import NUM_SAMPLES, SR, as_on_disk, load, load_clip  # noqa: F401
from helpers.reading import READ_ERRORS, explain, find_files

try:
    import librosa.onset
except RuntimeError:  # numba may not write its cache beside librosa
    numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="numba-")
    import librosa.onset

N_FFT, HOP_LENGTH, N_MELS = 512, 256, 96
AMIN, TOP_DB = 1e-10, 80.0
CHROMA_N_FFT = 2048  # 0.17 s: shorter than most segments, long enough to tell semitones apart from 197 Hz up
ONSETS = dict(delta=0.1, wait=6)  # librosa's peak picking, set to give about as many segments as MSD songs have
BLOCK = 256  # frames: their spectra fit into the processor's cache
SUFFIXES = set(".aac .aif .aifc .aiff .au .caf .flac .m4a .mp3 .mp4 .oga .ogg .opus .w64 .wav .wma".split())
FRONT_END = SR, NUM_SAMPLES, N_FFT, HOP_LENGTH, N_MELS, AMIN, TOP_DB
WINDOW = librosa.filters.get_window("hann", N_FFT)
FILTERS = scipy.sparse.csr_array(librosa.filters.mel(sr=SR, n_fft=N_FFT, n_mels=N_MELS))  # 2 % are not zero


def log_mel(samples: np.ndarray, squared_twice: bool = False) -> np.ndarray:
    """Return the log-mel-spectrogram in dB: float32 (96, frames), 1366 frames for a clip. Choi et al. 2017, section 3.

    As librosa's `melspectrogram` and `power_to_db`: frames of 512 samples every 256, the first centred on sample 0,
    zeros beyond the ends; 96 triangular filters of equal area (Slaney) from 0 to 6 kHz on the power; 10 log10(max(mel,
    1e-10)), nothing below the maximum - 80. `squared_twice`: square the mel power first, as the released extractor did
    by mistake: for its spectrograms and the 2016 weights. ValueError if `samples` is not 1-D, empty or not finite.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(_checked(samples), N_FFT // 2), N_FFT)[::HOP_LENGTH]
    mel = np.empty((N_MELS, len(frames)), np.float32)
    for start in range(0, len(frames), BLOCK):
        spectrum = scipy.fft.rfft(frames[start : start + BLOCK] * WINDOW)  # float64: else rounding shows at -70 dB
        mel[:, start : start + BLOCK] = FILTERS @ (spectrum.real**2 + spectrum.imag**2).astype(np.float32).T
    return librosa.power_to_db(mel**2 if squared_twice else mel, amin=AMIN, top_db=TOP_DB)


def published_mel(path: Path, squared_twice: bool = False) -> np.ndarray:
    """Return the centre 1366 frames of a spectrogram that MTG-Jamendo published (`.npy`), on the scale of `log_mel`.

    Theirs are of whole tracks, squared twice, without a floor. Raises ValueError for any other array.
    """
    mel, frames = np.lib.format.open_memmap(path, mode="r"), 1 + NUM_SAMPLES // HOP_LENGTH
    if mel.ndim != 2 or len(mel) != N_MELS or not mel.size or not np.isfinite(mel).all():
        raise ValueError(f"{path} holds {mel.dtype} {mel.shape}, not 96 bands of finite dB; download it again.")
    centre = mel[:, max(0, (mel.shape[1] - frames) // 2) :][:, :frames].astype(np.float32) / (1 if squared_twice else 2)
    lowest = np.float32(10 * np.log10(AMIN))  # silence, which also follows a shorter track
    centre = np.pad(centre, ((0, 0), (0, frames - centre.shape[1])), constant_values=lowest)
    return np.maximum(centre, max(centre.max() - np.float32(TOP_DB), lowest))


def chroma(samples: np.ndarray) -> np.ndarray:
    """Return the strength of each pitch class (C first) in the frames of `log_mel`: float32 (12, frames), 0 to 1.

    Each frame is divided by its maximum; silent ones are 0. The tuning is estimated. Raises ValueError as `log_mel`.
    """
    return librosa.util.normalize(_chroma_energy(samples), threshold=AMIN)


def segments_pitches(samples: np.ndarray) -> np.ndarray:
    """Imitate the MSD field `segments_pitches`: float32 (segments, 12), C first, each row's maximum exactly 1.

    A segment lasts from one onset to the next, some 2 to 5 a second; its row is the mean chroma energy divided by its
    maximum, and 1 throughout in silence. The Echo Nest's own algorithm is not public. Raises ValueError as `log_mel`.
    """
    novelty = librosa.onset.onset_strength(S=log_mel(samples), sr=SR, hop_length=HOP_LENGTH)
    novelty = np.minimum(novelty, novelty.mean() + 4 * novelty.std())  # a start in silence would set the scale for all
    onsets = librosa.onset.onset_detect(onset_envelope=novelty, sr=SR, hop_length=HOP_LENGTH, **ONSETS)
    rows = librosa.util.sync(_chroma_energy(samples), [0, *onsets]).T
    return librosa.util.normalize(rows, axis=1, threshold=AMIN, fill=True)


def recordings(folder: Path) -> list[Path]:
    """Return the files below `folder` that are named like recordings, sorted."""
    return [path for path in find_files(folder, "") if path.suffix.lower() in SUFFIXES]


def extract(folder, out, labels=None, squared_twice=False, dtype="float16", num_workers=None) -> pd.DataFrame:
    """Write `log_mel` of every recording below `folder` to one HDF5 file; return `broken` (`path`, `reason`).

    `out` gets `mel`, `dtype` (clips, 96, 1366); `ids`, the paths relative to `folder`, sorted; `broken` as JSON.
    `labels` (0 or 1, a column a tag, by such paths) chooses the files; `out` then has `labels`, uint8, and `tags`, too.
    `num_workers`: threads, None: all cores. A killed call goes on from `<out>.partial`. Without `labels`
    FileNotFoundError if there is no `folder`; ValueError if nothing can be read or `labels` are wrong; FileExistsError
    if `out` holds anything else.
    """
    folder, out, partial = Path(folder).resolve(), Path(out), Path(f"{out}.partial")
    if labels is None:
        labels = pd.DataFrame(index=[path.relative_to(folder).as_posix() for path in recordings(folder)])
    names = pd.Index([normalize("NFC", name) for name in labels.index])
    if not names.is_unique:
        raise ValueError(f"labels has several rows for {names[names.duplicated()][0]}; keep one.")
    if len(wrong := labels.columns[~labels.isin([0, 1]).all().to_numpy()]):
        raise ValueError(f"labels has values other than 0 and 1 for {wrong[0]!r}; say which count as 1.")
    labels, settings = labels.astype(np.uint8).sort_index(), (bool(squared_twice), np.dtype(dtype).name)
    files = [as_on_disk(folder / name) for name in labels.index]  # or the published spectrogram in a file's place:
    files = [mel if not file.is_file() and (mel := file.with_suffix(".npy")).is_file() else file for file in files]
    states = [(str(f), ((stat := f.stat()).st_size, stat.st_mtime_ns) if f.is_file() else None) for f in files]
    keys = [joblib.hash((FRONT_END, settings, state)) for state in states]
    inputs = joblib.hash((list(labels.index), keys, list(map(str, labels)), labels.to_numpy()))
    if not out.exists():
        kept = [partial / f"{key}.npy" for key in keys]
        # Threads do: decoding, resampling and FFT all release Python's lock. And they start at once.
        parallel = joblib.Parallel(num_workers or -1, backend="threading", return_as="generator")
        reasons = parallel(joblib.delayed(_keep)(*clip, *settings) for clip in zip(files, kept, strict=True))
        try:
            _pack(labels, kept, list(tqdm(reasons, "clips", len(files), unit="clip")), inputs, out)
        except FileNotFoundError:
            if not out.exists():  # else another process extracts the same, and was first
                raise
    with suppress(*READ_ERRORS), h5py.File(out) as file:
        broken = json.loads(file["broken"][()])
        if file.attrs["inputs"] == inputs and not (broken and file.attrs["no_ffmpeg"] and shutil.which("ffmpeg")):
            shutil.rmtree(partial, ignore_errors=True)
            return pd.DataFrame([(str(folder / i), why) for i, why in broken.items()], columns=["path", "reason"])
    raise FileExistsError(f"{out} is damaged, made without ffmpeg or of other clips, labels or settings; remove it.")


def _checked(samples):
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise ValueError(f"samples of shape {samples.shape}: need (samples,), not empty, without NaN or infinity.")
    return samples


def _chroma_energy(samples):
    power = np.abs(librosa.stft(_checked(samples), n_fft=CHROMA_N_FFT, hop_length=HOP_LENGTH)) ** 2
    if power.max() <= AMIN:
        return np.zeros((12, power.shape[1]), np.float32)  # silence, in which there is no tuning to estimate
    return librosa.feature.chroma_stft(S=power, sr=SR, n_fft=CHROMA_N_FFT, norm=None)


def _keep(file, kept, squared_twice, dtype):
    """Write the spectrogram of `file` to `kept` if it is not there; return why that cannot be read, or None."""
    if kept.exists():
        return None
    try:
        if any("\ud800" <= character <= "\udfff" for character in str(file)):  # what stands for other bytes
            raise ValueError(f"{file}: its name is not in UTF-8; rename it.")
        mel = log_mel(load_clip(file), squared_twice) if file.suffix != ".npy" else published_mel(file, squared_twice)
    except READ_ERRORS as error:
        return explain(error)
    with paths.atomic(kept) as temporary:
        np.save(temporary, mel.astype(dtype))


def _pack(labels, kept, reasons, inputs, out):
    broken = {name: reason for name, reason in zip(labels.index, reasons, strict=True) if reason}
    good = [path for path, reason in zip(kept, reasons, strict=True) if not reason]
    if not good:
        raise ValueError(f"no recording could be read: {list(broken.items())[:3]}; nothing was written to {out}.")
    labels, one = labels.drop(index=list(broken)), np.load(good[0])
    packed = good[0].with_name("packed.h5")  # in the folder that is removed in the end, also if this is killed
    with paths.atomic(packed) as temporary, h5py.File(temporary, "w") as file:
        mel = file.create_dataset("mel", (len(good), *one.shape), one.dtype, chunks=(1, *one.shape))
        for row, path in enumerate(good):
            mel[row] = np.load(path)
        file["ids"], file["broken"], file.attrs["inputs"] = list(labels.index), json.dumps(broken), inputs
        file.attrs["no_ffmpeg"] = shutil.which("ffmpeg") is None  # if it is installed later, more can be read
        if len(labels.columns):
            file["labels"], file["tags"] = labels.to_numpy(), list(map(str, labels))
    packed.replace(out)
