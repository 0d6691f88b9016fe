"""Recordings as samples: all that can be decoded, from the first to the last, whatever a header promises."""

import io
import math
import os
import re
import subprocess
import warnings
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from unicodedata import normalize

import numpy as np
import soundfile
import soxr

SR, NUM_SAMPLES = 12_000, 349_440  # Hz; 29.12 s, which makes 1366 frames
MP3_DELAY = 529  # samples at the file's own rate, whatever it is: what every MP3 decoder adds at the start
# How a stream begins, also where several were joined: with an Ogg codec's first page, with an MP3's header frame.
OGG = re.compile(rb"OggS\0[\x02\x06].{22}(?:\x01vorbis|OpusHead|\x7fFLAC|Speex)", re.DOTALL)
MP3 = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]..(?:..)?\0{9,32}(?:Xing|Info)", re.DOTALL)
LAME = re.compile(MP3.pattern + rb"\0\0\0\x0f.{112}[^\0]", re.DOTALL)  # this frame tells the encoder's delay
ID3 = re.compile(rb"(?:3DI.{7})?\0*ID3...(.{4})", re.DOTALL)  # the size: four bytes of seven bits


def load_clip(path: Path) -> np.ndarray:
    """Return the centre 29.12 s of a recording: float32 (349440,), 12 kHz, mono. Choi et al. 2017, section 3.

    Reads what libsndfile reads, else what ffmpeg does, if installed. Channels are averaged; zeros follow a shorter one.
    An MP3 decoder's delay is cut, but counts when the centre is found, as in published spectrograms; with a LAME header
    libsndfile has cut it. FileNotFoundError; ValueError if nothing can be decoded, or NaN, infinite or absurd samples.
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
    mono, rate, delay = _decode(path := as_on_disk(path))
    total = math.ceil((len(mono) + delay) * SR / rate)
    limit = limit or total
    first = max(0, (total - limit) // 2)
    samples = (mono if rate == SR else soxr.resample(mono, rate, SR, "HQ"))[first : first + limit]
    if not len(samples) or not np.abs(samples).max() < 1e6:  # times full amplitude; true for NaN, too
        raise ValueError(f"{path} has no samples, or NaN, infinite or absurdly large ones; repair it or leave it out.")
    return samples


def _decode(path):
    """Return (float32 mono samples, their rate, how many were cut as MP3 delay) of all streams in the file."""
    if not path.stat().st_size:
        raise ValueError(f"{path} is an empty file; copy or download it again, or leave it out.")
    try:
        start = {"OGG": OGG, "MP3": MP3}.get(soundfile.info(bytes(path)).format)  # a name need not be UTF-8
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: named .raw
        return _convert(path, error)
    content = path.read_bytes() if start else b""
    begins = {match.start() for match in start.finditer(content)} if start else set()
    at = 0  # an MP3's first frame comes after any ID3 tags, zeros and other things
    while start is MP3 and (tag := ID3.match(content, at)):
        at = tag.end() + sum(byte << shift for byte, shift in zip(tag[1], (21, 14, 7, 0), strict=True))
    begins.add(re.compile(rb"\xff[\xe2-\xfe]|\Z").search(content, at).start() if start is MP3 else 0)
    parts, cut, rate = [], 0, None
    for begin, end in pairwise([*sorted(begins), len(content)]):
        delay = MP3_DELAY if start is MP3 and not LAME.match(content, begin) else 0
        stream = (_Endless if delay else io.BytesIO)(content[begin:end]) if start else bytes(path)
        with suppress(soundfile.SoundFileError), soundfile.SoundFile(stream) as file:  # it may hold nothing but tags
            mono, rate = _mono(file, path)[delay:], rate or file.samplerate
            parts.append(mono if file.samplerate == rate else soxr.resample(mono, file.samplerate, rate))
            cut += delay
    if not parts:
        return _convert(path, "no stream can be decoded")
    return parts[0] if len(parts) == 1 else np.concatenate(parts), rate, cut


class _Endless(io.BytesIO):
    """Bytes that claim to go on for ever: libsndfile guesses from their number how long an MP3 without header is."""

    def seek(self, offset, whence=0):
        return super().seek(2**40 if (offset, whence) == (0, io.SEEK_END) else offset, whence)


def _mono(file, path):
    """Decode all that can be; return float32 (samples,)."""
    file.seekable = lambda: False  # else soundfile believes the header's length, and seeks after each block
    parts = [np.empty(0, np.float32)]
    with suppress(soundfile.SoundFileError):
        while len(block := file.read(2**15, "float32", always_2d=True)):  # so much is lost at most before damage
            parts.append(sum(block.T) / np.float32(file.channels))  # faster than mean(axis=1)
    samples = np.concatenate(parts)
    if len(samples) < file.frames < 2**32:  # larger numbers stand for an unknown length
        warnings.warn(f"{path}: only {len(samples) / file.samplerate:.1f} s can be decoded, not all.", stacklevel=5)
    return samples


def _convert(path, problem):
    """Let ffmpeg decode what libsndfile cannot; return what `_decode` does."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"file:{path}", "-vn", "-ac", "1", "-ar", str(SR)]
    try:
        done = subprocess.run([*command, "-f", "f32le", "-"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"not found; if the file plays, install ffmpeg").decode(errors="replace")
        reason = f"{getattr(problem, 'error_string', problem)}); ffmpeg: {' '.join(reason.split())[-200:]}"
        raise ValueError(f"{path} is no audio that libsndfile reads ({reason}; else leave it out.") from None
    return np.frombuffer(bytearray(done.stdout), "<f4"), SR, 0
