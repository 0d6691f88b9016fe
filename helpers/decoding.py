"""Recordings as samples: all that can be decoded, from the first to the last, whatever a header promises."""

import io
import math
import os
import re
import subprocess
import warnings
from itertools import pairwise
from pathlib import Path
from unicodedata import normalize

import numpy as np
import soundfile
import soxr

SR = 12_000  # Hz
NUM_SAMPLES = 349_440  # 29.12 s, which makes 1366 frames
MP3_DELAY = 529  # samples at the file's own rate, whatever it is: what every MP3 decoder adds at the start
MAX_HOURS = 6  # of a recording, which are 1 GB of samples
LOUDEST = 1e6  # times full amplitude: far beyond any recording, but its powers can still be computed
BLOCK = 2**15  # samples that are decoded at a time: what is lost at most before damage
# How a stream begins, also where several were joined: with an Ogg codec's first page, with an MP3's header frame.
OGG = re.compile(rb"OggS\0[\x02\x06].{22}(?:\x01vorbis|OpusHead|\x7fFLAC|Speex)", re.DOTALL)
MP3 = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]..(?:..)?\0{9,32}(?:Xing|Info)...(.)", re.DOTALL)


def load_clip(path: Path) -> np.ndarray:
    """Return the centre 29.12 s of a recording: float32 (349440,), 12 kHz, mono. Choi et al. 2017, section 3.

    Reads what libsndfile reads, whatever the file's name, and the rest with ffmpeg, if that is installed. Channels
    are averaged, soxr resamples ("HQ"), shorter recordings get zeros at the end; a warning names a file that breaks
    off. MP3: the decoder's delay, 529 samples, is cut from the start, but counts when the centre is found, as in the
    published spectrograms. With a LAME header libsndfile has removed the delay already.
    Raises FileNotFoundError, or ValueError if nothing can be decoded, if the recording lasts over 6 hours, or if the
    samples that are returned have NaN, infinity or absurdly large ones.
    """
    samples = _read(Path(path), NUM_SAMPLES)
    return np.pad(samples, (0, NUM_SAMPLES - len(samples)))


def load(path: Path) -> np.ndarray:
    """Return a whole recording, otherwise as `load_clip`: float32 (samples,), 12 kHz, mono."""
    return _read(Path(path), MAX_HOURS * 3600 * SR)


def as_on_disk(path: Path) -> Path:
    """Return `path` with its names in the Unicode form in which the disk has them."""
    if str(path).isascii() or path.exists() or path.parent == path:
        return path
    parent, name = as_on_disk(path.parent), normalize("NFC", path.name)
    same = [found for found in os.listdir(parent) if normalize("NFC", found) == name] if parent.is_dir() else []
    return parent / (same or [path.name])[0]


def _read(path, limit):
    """Return the centre `limit` samples at 12 kHz; fewer if the recording is shorter."""
    path = as_on_disk(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is an empty file; copy or download it again, or leave it out.")
    parts = _decode_all(path)
    total = sum(length for _, length in parts)
    if total > MAX_HOURS * 3600 * SR:
        raise ValueError(f"{path} lasts over {MAX_HOURS} hours; cut it or leave it out.")
    samples = np.concatenate([part for part, _ in parts])[max(0, (total - limit) // 2) :][:limit]
    if not len(samples):
        raise ValueError(f"{path} holds no samples; copy or download it again, or leave it out.")
    if not np.abs(samples).max() < LOUDEST:  # true for NaN too
        raise ValueError(f"{path} has NaN or infinite samples, or absurdly large ones; repair it or leave it out.")
    return samples


def _decode_all(path):
    """Return [(samples at 12 kHz, their number with the MP3 delay)], one for each stream in the file."""
    name, parts, problem = os.fsencode(path), [], None  # a name need not be valid UTF-8
    try:
        with soundfile.SoundFile(name) as file:
            start = {"OGG": OGG, "MP3": MP3}.get(file.format)
            if start is None:
                return [_decode(file, path)]
        for stream, delay in _streams(path.read_bytes(), start):
            try:
                with soundfile.SoundFile(stream) as file:
                    parts.append(_decode(file, path, delay))
            except soundfile.SoundFileError as error:  # also where only tags stand before the first stream
                problem = error
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: named .raw
        problem = error
    return parts or [_convert(path, problem)]


class _Endless(io.BytesIO):
    """Bytes that claim to go on for ever: libsndfile guesses from their number how long an MP3 without header is."""

    def seek(self, offset, whence=0):
        return super().seek(2**40 if (offset, whence) == (0, io.SEEK_END) else offset, whence)


def _streams(content, start):
    """Yield (file, MP3 delay to cut) for each of the streams that follow each other."""
    begins = {match.start() for match in start.finditer(content)}
    begins.add(_first_frame(content) if start is MP3 else 0)
    for begin, end in pairwise([*sorted(begins), len(content)]):
        piece = content[begin:end]
        known = start is OGG or _tells_delay(piece)
        yield (io.BytesIO(piece), 0) if known else (_Endless(piece), MP3_DELAY)


def _first_frame(content):
    """Return where an MP3's first frame begins: after any ID3 tags, zeros and other things."""
    at = 0
    while tag := re.compile(rb"\0*ID3..(.)(.{4})", re.DOTALL).match(content, at):
        size = sum(byte << 7 * i for i, byte in enumerate(reversed(tag[2])))  # in four bytes of seven bits
        at = tag.end() + size + (10 if tag[1][0] & 16 else 0)  # the flag of a footer
    frame = re.compile(rb"\xff[\xe2-\xfe]").search(content, at)
    return frame.start() if frame else 0


def _tells_delay(piece):
    """Return True if the header frame goes on with LAME's fields, after four that its flags announce."""
    match = MP3.match(piece)
    lame = match and match.end() + sum(size for bit, size in enumerate((4, 4, 100, 4)) if match[1][0] >> bit & 1)
    return match is not None and any(piece[lame : lame + 1])


def _decode(file, path, delay=0):
    file.seekable = lambda: False  # else soundfile believes the header's length, and seeks after each block
    rate, length, parts, problem = file.samplerate, 0, [], "the header promises more"
    resampler = soxr.ResampleStream(rate, SR, 1, "float32", "HQ")
    try:
        while len(block := file.read(BLOCK, "float32", always_2d=True)) and length <= MAX_HOURS * 3600 * rate:
            mono = sum(block.T) / np.float32(file.channels)
            parts.append(resampler.resample_chunk(mono[max(0, delay - length) :]))
            length += len(block)
    except soundfile.SoundFileError as error:
        if not length:
            raise
        problem = error
    parts.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    if length < file.frames < MAX_HOURS * 3600 * rate:  # larger numbers stand for an unknown length
        warnings.warn(f"{path}: only {length / rate:.1f} s can be decoded ({problem}); they are used.", stacklevel=5)
    return np.concatenate(parts), math.ceil(length * SR / rate)


def _convert(path, error):
    """Let ffmpeg decode what libsndfile cannot; return what `_decode` does."""
    error = getattr(error, "error_string", error)
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"file:{path}", "-vn", "-t", str(MAX_HOURS * 3600 + 1)]
    try:
        done = subprocess.run([*command, "-ac", "1", "-ar", str(SR), "-f", "f32le", "-"], capture_output=True)
    except FileNotFoundError:
        reason = f"{path} is no audio that libsndfile reads ({error}); if it plays, install ffmpeg."
        raise ValueError(reason) from None
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())[-200:]
        raise ValueError(f"{path} is no audio that libsndfile or ffmpeg reads ({reason}); leave it out.")
    samples = np.frombuffer(done.stdout, "<f4")
    return samples, len(samples)
