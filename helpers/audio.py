"""From recordings to the networks' input: log-mel-spectrograms (Choi et al. 2017) and MSD-like chroma segments.

Everything works on mono samples at 12 kHz, on the scale on which full amplitude is 1.
"""

import json
import math
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path

import h5py
import joblib
import numpy as np
import pandas as pd
import scipy.fft
import scipy.sparse
import soundfile
import soxr
from tqdm import tqdm

from helpers import paths
from helpers.reading import READ_ERRORS, find_files

SR = 12_000  # Hz
NUM_SAMPLES = 349_440  # 29.12 s, which makes 1366 frames
N_FFT, HOP_LENGTH, N_MELS = 512, 256, 96
AMIN, TOP_DB = 1e-10, 80.0
CHROMA_N_FFT = 2048  # 0.17 s: shorter than most segments, long enough to tell semitones apart from 130 Hz up
MP3_DELAY = 529  # samples at the file's own rate, whatever it is: what every MP3 decoder adds at the start
MAX_VALUES = 2**30  # samples times channels that a file may ask for: 3 hours of stereo at 48 kHz, 4 GB
LOUDEST = 1e6  # times full amplitude: far beyond any recording, but its powers can still be computed
MARGIN = 256  # samples at 12 kHz that the resampler may look beyond the clip's ends
ONSETS = dict(delta=0.05, wait=6)  # librosa's peak picking, set to give about as many segments as MSD songs have
BLOCK = 256  # frames: their spectra fit into the processor's cache
SUFFIXES = set(".aac .aif .aifc .aiff .au .caf .flac .m4a .mp3 .mp4 .oga .ogg .opus .w64 .wav .wma".split())


def load_clip(path: Path) -> np.ndarray:
    """Return the centre 29.12 s of a recording: float32 (349440,), 12 kHz, mono. Choi et al. 2017, section 3.

    Reads what libsndfile reads (WAV, FLAC, OGG, MP3, ...; the content decides, not the name) and the rest with
    ffmpeg, if that is installed. Channels are averaged; soxr resamples ("HQ", librosa's choice); shorter
    recordings get zeros at the end. Values beyond 1 are kept. Long files are not read whole, MP3s without a
    LAME header excepted.

    MP3: the decoder's delay, 529 samples at the file's rate, is cut from the start, but still counts when the
    centre is found: this is what gave the published spectrograms. If a LAME header tells the encoder's delay
    too, libsndfile has removed both already and nothing is cut here. (In an MP3 of variable bitrate without any
    header libsndfile, and so librosa, guesses the length and may stop early.)

    Raises FileNotFoundError, or ValueError if the file is empty, cannot be decoded, holds no samples, is said to be
    many hours long, or has NaN, infinite or absurdly large samples in the part that is read.
    """
    samples = _read(Path(path), NUM_SAMPLES)
    return np.pad(samples, (0, NUM_SAMPLES - len(samples)))


def load(path: Path) -> np.ndarray:
    """Return a whole recording, otherwise as `load_clip`: float32 (samples,), 12 kHz, mono."""
    return _read(Path(path), None)


def log_mel(samples: np.ndarray, squared_twice: bool = False) -> np.ndarray:
    """Return the log-mel-spectrogram in dB: float32 (96, frames), 1366 frames for a clip. Choi et al. 2017, section 3.

    STFT: frames of 512 samples every 256, the first centred on sample 0 with zeros beyond the ends, so there
    are 1 + len(samples) // 256; periodic Hann window. Mel: 96 triangular filters of equal area (Slaney's scale
    and norm) from 0 to 6 kHz, on the power |STFT|^2. dB: 10 log10(max(mel, 1e-10)), then nothing below the
    clip's maximum - 80. So silence is -100 throughout. The same as librosa's `melspectrogram` and `power_to_db`.

    `squared_twice`: square the mel power before taking dB, as the released extractor did by mistake. The
    published spectrograms and the 2016 weights need this. (They also mirrored the samples beyond the ends: the
    first and the last frame differ.) Raises ValueError if `samples` is not 1-D, is empty or is not finite.
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
    """Return the strength of each pitch class (C first) in each frame: float32 (12, frames), 0 to 1.

    The frames are those of `log_mel`, but 2,048 samples long. Each is divided by its maximum; silent ones are 0.
    The tuning is estimated from the recording. Raises ValueError as `log_mel`.
    """
    energy = _chroma_energy(_checked(samples))
    peak = energy.max(axis=0)
    return np.where(peak > AMIN, energy / np.maximum(peak, AMIN), 0).astype(np.float32)


def segments_pitches(samples: np.ndarray) -> np.ndarray:
    """Imitate the MSD field `segments_pitches`: float32 (segments, 12), C first, each row's maximum exactly 1.

    A segment lasts from one onset to the next; its row is the mean chroma energy divided by its maximum. As in
    the MSD, music has some 2 to 5 segments a second (MSD median: 3.4), and a silent segment is 1 throughout.
    The Echo Nest's own algorithm is not public, so single values differ. Raises ValueError as `log_mel`.
    """
    import librosa

    samples = _checked(samples)
    novelty = librosa.onset.onset_strength(S=log_mel(samples), sr=SR, hop_length=HOP_LENGTH)
    onsets = librosa.onset.onset_detect(onset_envelope=novelty, sr=SR, hop_length=HOP_LENGTH, **ONSETS)
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

    `out` gets `mel`, `dtype` (clips, 96, 1366), one clip a chunk; `ids`, the paths relative to `folder`, sorted;
    `broken`, the returned table as JSON. `labels`: a table indexed by such paths, a column a tag, that chooses the
    files; `out` then also has `labels`, uint8 (clips, tags), and `tags`. `num_workers`: threads; None takes all cores.

    Can be killed at any time and called again with the same arguments to go on: finished clips are kept in a
    file beside `out`, whose name ends with `.partial`, and `out` appears only when it is whole. (That takes
    twice the space until the end.) If `out` is there already, nothing is done; if another process is making it,
    this one waits (not on Windows: there, run one at a time). Raises FileNotFoundError if `folder` is no folder,
    ValueError if no file can be read or `labels` has a file twice, FileExistsError if `out` holds others.
    """
    if labels is not None and not labels.index.is_unique:
        raise ValueError(f"labels has several rows for {labels.index[labels.index.duplicated()][0]}; keep one.")
    folder, out = Path(folder).resolve(), Path(out)
    ids = _find_audio(folder) if labels is None else sorted(labels.index)
    settings = json.dumps([str(folder), bool(squared_twice), np.dtype(dtype).name])
    # One record a clip, only ever appended: after a kill, all but the last are whole. Other settings, other file.
    partial = out.with_name(f"{out.name}.{zlib.crc32(settings.encode()):08x}.partial")
    table = "" if labels is None else labels.sort_index().to_csv()
    sizes = [(folder / i).stat().st_size if (folder / i).is_file() else None for i in ids]
    inputs = zlib.crc32(json.dumps([settings, ids, sizes, table]).encode())
    with nullcontext() if out.exists() else _alone(partial):
        if out.exists():
            broken = _already_done(out, inputs)
        else:
            record = np.dtype([("id", "S4096"), ("mel", dtype, (N_MELS, 1 + NUM_SAMPLES // HOP_LENGTH))])
            broken = _append_missing(folder, ids, partial, record, squared_twice, num_workers)
            _pack(partial, record, ids, out, labels, broken, settings=settings, inputs=inputs)
        partial.unlink(missing_ok=True)
    return pd.DataFrame([(str(folder / i), reason) for i, reason in broken], columns=["path", "reason"])


def _read(path, limit):
    """Return the centre `limit` samples at 12 kHz, or all; fewer if the recording is shorter."""
    with _open(path) as file:
        rate, length, whole = file.samplerate, file.frames, None
        if file.format == "MP3" and not _has_delay_header(path):
            whole = file.read(dtype="float32", always_2d=True)  # without a header, file.frames is a guess
            length, whole = len(whole), whole[MP3_DELAY:]
        total = math.ceil(length * SR / rate)
        limit = limit or total
        first = max(0, (total - limit) // 2)
        # Begin where the samples of both rates coincide: resampling a part then gives the same as the whole.
        common = math.gcd(rate, SR)
        periods = max(0, (first - MARGIN) // (SR // common))
        begin = periods * (rate // common)
        end = min(length, math.ceil((first + limit + MARGIN) * rate / SR))
        if max(limit, (end - begin) * file.channels) > MAX_VALUES:
            raise ValueError(f"{path} is said to last {length / rate / 3600:,.1f} hours; cut it or leave it out.")
        if whole is None:
            file.seek(begin)
            part = file.read(end - begin, dtype="float32", always_2d=True)
        else:
            part = whole[begin:end]
    part = part[:, 0] if part.shape[1] == 1 else sum(part.T) / np.float32(part.shape[1])
    samples = part if rate == SR else soxr.resample(part, rate, SR, "HQ")
    samples = samples[first - periods * (SR // common) :][:limit]
    if not len(samples):
        raise ValueError(f"{path} holds no samples; copy or download it again, or leave it out.")
    if not np.abs(samples).max() < LOUDEST:  # true for NaN too
        raise ValueError(f"{path} has NaN or infinite samples, or absurdly large ones; repair it or leave it out.")
    return samples


@contextmanager
def _open(path) -> Iterator[soundfile.SoundFile]:
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is an empty file; copy or download it again, or leave it out.")
    try:
        file = soundfile.SoundFile(os.fsencode(path))  # a name need not be valid UTF-8
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: named .raw
        with tempfile.TemporaryDirectory() as folder, soundfile.SoundFile(_convert(path, folder, error)) as file:
            yield file
    else:
        try:
            with file:
                yield file
        except soundfile.SoundFileError as error:
            raise ValueError(f"{path} is damaged ({error}); copy or download it again, or leave it out.") from None


def _convert(path, folder, error):
    """Let ffmpeg write the audio to a file that libsndfile reads; return its path."""
    ffmpeg, wave = shutil.which("ffmpeg"), Path(folder) / "audio.w64"
    if ffmpeg is None:
        raise ValueError(f"{path} is no audio that libsndfile reads ({error}); if it plays, install ffmpeg.")
    command = [ffmpeg, "-v", "error", "-nostdin", "-i", f"file:{path}", "-vn", "-c:a", "pcm_f32le", wave]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        reason = " ".join(done.stderr.split())[-200:]
        raise ValueError(f"{path} is no audio that libsndfile or ffmpeg reads ({reason}); leave it out.")
    return wave


def _has_delay_header(path):
    """Return True if the MP3's first frame is a Xing or Info header that goes on with LAME's fields."""
    with open(path, "rb") as file:
        start = file.read(10)
        # An ID3 tag may come first; its size is given in four bytes of seven bits.
        size = 10 + sum(byte << 7 * i for i, byte in enumerate(start[:5:-1])) if start[:3] == b"ID3" else 0
        file.seek(size)
        frame = file.read(256)
    at = max(frame[:64].find(b"Xing"), frame[:64].find(b"Info"))
    if at < 0:
        return False
    flags = frame[at + 7]  # they say which of four optional fields precede LAME's
    lame = at + 8 + sum(length for bit, length in enumerate((4, 4, 100, 4)) if flags >> bit & 1)
    return any(frame[lame : lame + 1])


def _checked(samples):
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise ValueError(f"samples of shape {samples.shape}: need (samples,), not empty, without NaN or infinity.")
    return samples


@lru_cache
def _window_and_filters():
    import librosa  # takes a second

    filters = librosa.filters.mel(sr=SR, n_fft=N_FFT, n_mels=N_MELS)
    return librosa.filters.get_window("hann", N_FFT), scipy.sparse.csr_array(filters)  # 2 % are not zero


def _chroma_energy(samples):
    import librosa

    padded = np.pad(samples, (0, max(0, CHROMA_N_FFT - len(samples))))  # librosa warns of anything shorter
    spectrum = librosa.stft(padded, n_fft=CHROMA_N_FFT, hop_length=HOP_LENGTH)
    power = np.abs(spectrum[:, : 1 + len(samples) // HOP_LENGTH]) ** 2
    if power.max() <= AMIN:
        return np.zeros((12, power.shape[1]), np.float32)  # there is no tuning to estimate
    return librosa.feature.chroma_stft(S=power, sr=SR, n_fft=CHROMA_N_FFT, norm=None)


def _find_audio(folder):
    found = [path for path in find_files(folder, "") if path.suffix.lower() in SUFFIXES]
    return sorted(path.relative_to(folder).as_posix() for path in found)


@contextmanager
def _alone(partial):
    """Wait until no other process is within this, where the system can tell."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    with open(partial, "ab") as file, paths.naming(partial):
        # ImportError: Windows. OSError: some network drives.
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)  # ends with the process, however that ends
        yield


def _append_missing(folder, ids, partial, record, squared_twice, num_workers):
    """Append a record for each of `ids` that has none in `partial`; return [(id, reason)] for those that fail."""
    with open(partial, "ab") as file:
        file.truncate(file.tell() // record.itemsize * record.itemsize)
    done = set(_records(partial, record)["id"].tolist())
    missing = [i for i in ids if os.fsencode(i) not in done]
    # Threads do: decoding, resampling and FFT all release Python's lock. And they start at once.
    parallel = joblib.Parallel(num_workers or -1, backend="threading", return_as="generator")
    results = parallel(joblib.delayed(_attempt)(folder / i, squared_twice) for i in missing)
    broken = []
    with open(partial, "ab") as file:
        for i, (mel, reason) in zip(missing, tqdm(results, "clips", len(missing), unit="clip"), strict=True):
            if reason:
                broken.append((i, reason))
            else:
                file.write(np.array((os.fsencode(i), mel), record).tobytes())
                file.flush()
    return broken


def _records(partial, record):
    # A file without records cannot be mapped.
    return np.memmap(partial, record, "r") if partial.stat().st_size else np.empty(0, record)


def _attempt(path, squared_twice):
    try:
        return log_mel(load_clip(path), squared_twice), None
    except READ_ERRORS as error:
        return None, str(error) or type(error).__name__


def _pack(partial, record, ids, out, labels, broken, **attributes):
    records = _records(partial, record)
    rows = {os.fsdecode(name): row for row, name in enumerate(records["id"].tolist())}
    ids = [i for i in ids if i in rows]  # a file may have been deleted since its record was written
    if not ids:
        raise ValueError(f"no recording could be read: {broken[:3] or 'none found'}; nothing was written to {out}.")
    with paths.atomic(out) as temporary, h5py.File(temporary, "w") as file:
        shape = records["mel"].shape[1:]
        mel = file.create_dataset("mel", (len(ids), *shape), record["mel"].base, chunks=(1, *shape))
        for row, i in enumerate(ids):
            mel.id.write_direct_chunk((row, 0, 0), records["mel"][rows[i]].tobytes())
        file["ids"], file["broken"] = ids, json.dumps(broken)
        file.attrs.update(attributes)
        if labels is not None:
            file["labels"], file["tags"] = labels.loc[ids].to_numpy(np.uint8), [str(tag) for tag in labels]


def _already_done(out, inputs):
    try:
        with h5py.File(out) as file:
            found, broken = file.attrs.get("inputs"), json.loads(file["broken"][()])
    except READ_ERRORS as error:
        raise ValueError(f"{out} is damaged ({error}); remove it to extract again.") from None
    if found != inputs:
        raise FileExistsError(f"{out} holds other clips, labels or settings; remove it to extract again.")
    return broken
