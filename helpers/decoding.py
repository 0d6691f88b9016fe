"""Recordings as samples: all of a stream that can be decoded, whatever its header promises."""

import io
import math
import os
import re
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize

import numpy as np
import soundfile
import soxr

SR, NUM_SAMPLES = 12_000, 349_440  # Hz; 29.12 s, which makes 1366 frames
MP3_DELAY = 529  # samples at the file's own rate, whatever it is: what every MP3 decoder adds at the start
# An MP3's first frame, where it tells the encoder's delay; an ID3 tag with its size, four bytes of seven bits.
LAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]..(?:..)?\0{9,32}(?:Xing|Info)\0\0\0\x0f.{112}[^\0]", re.DOTALL)
ID3 = re.compile(rb"(?:3DI.{7})?\0*ID3...(.{4})", re.DOTALL)


def load_clip(path: Path) -> np.ndarray:
    """Return the centre 29.12 s of a recording: float32 (349440,), 12 kHz, mono. Choi et al. 2017, section 3.

    Reads what libsndfile reads, else what ffmpeg does, if installed. Channels are averaged; zeros follow a shorter one.
    An MP3 decoder's delay is cut, but counts when the centre is found, as in published spectrograms; with a LAME header
    libsndfile has cut it. Where files were joined into one, the first is read. FileNotFoundError; ValueError if nothing
    can be decoded, or NaN, infinite or absurd samples.
    """
    samples = _read(Path(path), NUM_SAMPLES)
    return np.pad(samples, (0, NUM_SAMPLES - len(samples)))


def load(path: Path) -> np.ndarray:
    """Return a whole recording, otherwise as `load_clip`: float32 (samples,), 12 kHz, mono."""
    return _read(Path(path), None)


def as_on_disk(path: Path) -> Path:
    """Return `path` with its names in NFC or NFD, whichever the disk has."""
    if str(path).isascii() or os.path.exists(path) or path.parent == path:
        return path
    parent = as_on_disk(path.parent)
    forms = (parent / normalize(form, path.name) for form in ("NFC", "NFD"))
    return next((file for file in forms if os.path.exists(file)), parent / path.name)  # a name too long is none


def _read(path, limit):
    """Return the centre `limit` samples at 12 kHz, or all; fewer if the recording is shorter."""
    samples, total = _decode(path := as_on_disk(path))
    limit = limit or total
    first = max(0, (total - limit) // 2)
    samples = samples[first : first + limit]
    if not len(samples) or not np.abs(samples).max() < 1e6:  # times full amplitude; true for NaN, too
        raise ValueError(f"{path} has no samples, or NaN, infinite or absurdly large ones; repair it or leave it out.")
    return samples


def _decode(path):
    """Return a file's float32 mono samples at 12 kHz, and how many they are with the delay of an MP3's decoder."""
    if not path.stat().st_size:
        raise ValueError(f"{path} is an empty file; copy or download it again, or leave it out.")
    try:
        is_mp3 = soundfile.info(bytes(path)).format == "MP3"  # a name need not be UTF-8
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: named .raw
        return _convert(path, error)
    content, at = path.read_bytes() if is_mp3 else b"", 0
    while tag := ID3.match(content, at):
        at = tag.end() + sum(byte << shift for byte, shift in zip(tag[1], (21, 14, 7, 0), strict=True))
    # An MP3's first frame comes after any ID3 tags, zeros and other things.
    first = re.compile(rb"\xff[\xe2-\xfe]|\Z").search(content, at).start()
    delay = MP3_DELAY if is_mp3 and not LAME.match(content, first) else 0
    stream = (_Endless if delay else io.BytesIO)(content[first:]) if is_mp3 else bytes(path)
    try:
        with soundfile.SoundFile(stream) as file:
            mono, count = _mono(file, path, delay)
            return mono, math.ceil(count * SR / file.samplerate)
    except soundfile.SoundFileError as error:  # it may hold nothing but tags
        return _convert(path, error)


class _Endless(io.BytesIO):
    """Bytes that claim to go on for ever: libsndfile guesses from their number how long an MP3 without header is."""

    def seek(self, offset, whence=0):
        return super().seek(2**40 if (offset, whence) == (0, io.SEEK_END) else offset, whence)


def _mono(file, path, delay):
    """Decode all that can be; return float32 (samples,) at 12 kHz, without `delay`, and how many the file has."""
    file.seekable = lambda: False  # else soundfile believes the header's length, and seeks after each block
    resampler = soxr.ResampleStream(file.samplerate, SR, 1, "float32", "HQ")  # hours at 48 kHz would fill the memory
    parts, count = [], 0
    with suppress(soundfile.SoundFileError):
        while len(block := file.read(2**15, "float32", always_2d=True)):  # so much is lost at most before damage
            mono = sum(block.T) / np.float32(file.channels)  # faster than mean(axis=1)
            parts.append(resampler.resample_chunk(mono[max(0, delay - count) :]))
            count += len(block)
    parts.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    if count < file.frames < 2**32:  # larger numbers stand for an unknown length
        warnings.warn(f"{path}: only {count / file.samplerate:.1f} s can be decoded, not all.", stacklevel=5)
    return np.concatenate(parts), count


def _convert(path, problem):
    """Let ffmpeg decode what libsndfile cannot; return what `_decode` does."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"file:{path}", "-vn", "-ac", "1", "-ar", str(SR)]
    try:
        done = subprocess.run([*command, "-f", "f32le", "-"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"not found; if the file plays, install ffmpeg").decode(errors="replace")
        reason = f"{getattr(problem, 'error_string', problem)}); ffmpeg: {' '.join(reason.split())[-200:]}"
        raise ValueError(f"{path} is no audio that libsndfile reads ({reason}; else leave it out.") from None
    return (samples := np.frombuffer(bytearray(done.stdout), "<f4")), len(samples)
