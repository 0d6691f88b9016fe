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
    samples, total = _decode(path)
    clip = samples[max(0, (total - NUM_SAMPLES) // 2) :][:NUM_SAMPLES]
    return np.pad(clip, (0, NUM_SAMPLES - len(clip)))


def load(path: Path) -> np.ndarray:
    """Return a whole recording, otherwise as `load_clip`: float32 (samples,), 12 kHz, mono."""
    return _decode(path)[0]


def as_on_disk(path: Path) -> Path:
    """Return `path` with its names in NFC or NFD, whichever the disk has."""
    if str(path).isascii() or os.path.exists(path) or path.parent == path:
        return path
    parent = as_on_disk(path.parent)
    forms = (parent / normalize(form, path.name) for form in ("NFC", "NFD"))
    return next((file for file in forms if os.path.exists(file)), parent / path.name)  # a name too long is none


def _decode(path):
    """Return a recording's float32 mono samples at 12 kHz, and how many they are with the delay of an MP3's decoder."""
    path = as_on_disk(Path(path))
    if not path.stat().st_size:
        raise ValueError(f"{path} is an empty file; copy or download it again, or leave it out.")
    try:
        source, delay = bytes(path), 0  # a name need not be UTF-8
        if soundfile.info(source).format == "MP3":
            content, at = path.read_bytes(), 0
            while tag := ID3.match(content, at):
                at = tag.end() + sum(byte << shift for byte, shift in zip(tag[1], (21, 14, 7, 0), strict=True))
            # The first frame comes after any ID3 tags, zeros and other things.
            first = re.compile(rb"\xff[\xe2-\xfe]|\Z").search(content, at).start()
            delay = 0 if LAME.match(content, first) else MP3_DELAY
            source = (_Endless if delay else io.BytesIO)(content[first:])
        with soundfile.SoundFile(source) as file:
            samples, total = _mono(file, path, delay)
    except (soundfile.SoundFileError, TypeError) as error:  # it may hold nothing but tags; TypeError: named .raw
        samples, total = _convert(path, error)
    if not len(samples) or not np.abs(samples).max() < 1e6:  # times full amplitude; true for NaN, too
        raise ValueError(f"{path} has no samples, or NaN, infinite or absurdly large ones; repair it or leave it out.")
    return samples, total


class _Endless(io.BytesIO):
    """Bytes that claim to go on for ever: libsndfile guesses from their number how long an MP3 without header is."""

    def seek(self, offset, whence=0):
        return super().seek(2**40 if (offset, whence) == (0, io.SEEK_END) else offset, whence)


def _mono(file, path, delay):
    """Decode all that can be; return float32 (samples,) at 12 kHz, without `delay`, and how many they are with it."""
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
        warnings.warn(f"{path}: only {count / file.samplerate:.1f} s can be decoded, not all.", stacklevel=4)
    return np.concatenate(parts), math.ceil(count * SR / file.samplerate)


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
