"""Recordings of the demo set's songs: what the MSD file says, played by a synthetic band that fits the style."""

import re
from functools import cache

import numpy as np
import scipy.signal

from helpers.demo import songs

SR = 12_000  # Hz, as helpers.audio.SR
STEPS = 16  # of a bar
OFFSET = 0.1  # seconds: the first beat, as in the MSD files of the demo set
TABLE = 2048  # samples of one period of a waveform

# slope: how fast the harmonics fall, amplitude = k ** -slope. odd: what is left of the even ones.
# attack, decay: seconds (to 1/e). dark: seconds until the upper harmonics are gone. spread: detuning of two more
# voices, cents. vibrato: cents. drive: distortion. formants: resonances, Hz.
INSTRUMENTS = {
    "bass": dict(slope=1.6, decay=0.7, dark=0.15), "guitar": dict(slope=1.0, decay=2.5, dark=0.8, spread=6, drive=9),
    "synth bass": dict(slope=1.1, decay=0.6, dark=0.1), "clean guitar": dict(slope=1.2, decay=0.7, dark=0.15, spread=3),
    "upright": dict(slope=1.8, attack=0.012, decay=0.45, dark=0.08),
    "808": dict(slope=3.0, decay=0.5, dark=0.2), "piano": dict(slope=1.5, attack=0.004, decay=0.8, dark=0.12, spread=2),
    "electric piano": dict(slope=1.9, odd=0.5, attack=0.004, decay=0.9, dark=0.06, vibrato=4),
    "organ": dict(slope=0.9, odd=0.7, attack=0.01, decay=9, dark=9, vibrato=12, formants=(500, 1400)),
    "steel strings": dict(slope=0.9, attack=0.002, decay=0.9, dark=0.12, spread=2),
    "saw": dict(slope=1.0, decay=3, dark=0.25, spread=14),
    "pluck": dict(slope=0.8, attack=0.002, decay=0.25, dark=0.05, spread=9),
    "pad": dict(slope=1.3, attack=0.7, decay=9, dark=2.5, spread=11),
    "flute": dict(slope=2.4, odd=0.4, attack=0.09, decay=9, dark=9, vibrato=14),
    "voice": dict(slope=0.9, attack=0.06, decay=4, dark=9, vibrato=30, formants=(650, 1100, 2600)),
    "sax": dict(slope=0.8, attack=0.03, decay=3, dark=1.5, vibrato=18, formants=(500, 900, 1700)),
}  # fmt: skip
# Tone, Hz; how much above it the stroke begins, Hz; ring, seconds; share of noise; rattle of it, seconds; how often
# the noise is differentiated, which leaves the treble.
DRUMS = {
    "kick": (52, 160, 0.13, 0.05, 0.008, 1), "snare": (185, 90, 0.07, 0.5, 0.09, 1),
    "hat": (4100, 0, 0.02, 0.9, 0.03, 2), "open hat": (4100, 0, 0.1, 0.9, 0.14, 2),
    "ride": (3350, 0, 0.15, 0.9, 0.25, 2), "crash": (3700, 0, 0.3, 0.9, 0.6, 1),
    "clap": (900, 0, 0.01, 0.6, 0.07, 0), "brush": (250, 0, 0.02, 0.6, 0.12, 0),
    "shaker": (5000, 0, 0.01, 0.9, 0.05, 2),
}  # fmt: skip
# swing: where in a beat its second half begins. level: loudness. room: seconds of reverberation. hiss: noise floor,
# dB. pump: how far the beat pushes the others down. parts: instrument, lowest MIDI note (0: a drum), gain, pattern of
# one bar or two: x is a chord or a stroke, a digit a note of the chord (0 the root), m one of the tune, - goes on.
STYLES = {
    "rock": dict(level=0.24, room=0.4, hiss=-60, parts="""kick 0 1.0 x.....x.x.......|snare 0 0.9 ....x.......x...|
        hat 0 0.30 x.x.x.x.x.x.x.x.|bass 31 0.9 0.0.0.0.0.0.0.0.|guitar 40 0.6 x--.x.x---x-x-x-|
        voice 55 0.5 m---m-m-m-----..m-m-m---m-------"""),
    "metal": dict(level=0.28, room=0.3, hiss=-60, parts="""kick 0 0.8 xxx.xxx.xxx.xxxx|snare 0 0.9 ....x.......x...|
        crash 0 0.35 x.......x.......|bass 28 0.6 0000000000000000|guitar 36 0.9 x.00x.00x.00x-00|
        guitar 60 0.4 m-m-m-m-m-m-m-m-"""),
    "pop": dict(level=0.22, room=0.6, hiss=-66, pump=0.2, parts="""kick 0 1.0 x.......x.x.....|
        clap 0 0.8 ....x.......x...|hat 0 0.25 x.xxx.x.x.xxx.x.|bass 33 0.8 0-....0-0-....1-|
        saw 57 0.5 x---..x---..x---|voice 60 0.8 m-m-m---m-m-----..m-m-m-m---...."""),
    "electronic": dict(level=0.26, room=0.7, hiss=-68, pump=0.7, parts="""kick 0 1.1 x...x...x...x...|
        open hat 0 0.3 ..x...x...x...x.|clap 0 0.5 ....x.......x...|synth bass 33 0.9 ..0...0...0...00|
        saw 57 0.6 x--x--x-----x---|pluck 69 0.4 0.1.2.1.3.2.1.2."""),
    "hip-hop": dict(swing=0.56, level=0.24, room=0.3, hiss=-56, pump=0.3, parts="""
        kick 0 1.2 x.....x...x.....x..x......x.....|snare 0 0.8 ....x.......x...|hat 0 0.2 x.x.x.xxx.x.x.x.|
        808 29 1.1 0-----0---0-----0--0------0-----|electric piano 57 0.5 x-----..x-......|
        pluck 64 0.25 ..m.......m.m..."""),
    "jazz": dict(swing=0.66, level=0.16, room=0.6, hiss=-60, parts="""ride 0 0.20 x...x.x.x...x.x.|
        hat 0 0.15 ....x.......x...|brush 0 0.25 x...x...x...x...|upright 33 1.0 0---1---2---1---0---2---1---2---|
        piano 53 0.4 ..x-......x---..|sax 55 0.6 m-m-m---m-m-....m-m-m-m-m-------"""),
    "folk": dict(swing=0.52, level=0.15, room=0.4, hiss=-60, parts="""steel strings 45 0.7 0-2-1-2-0-2-1-3-|
        steel strings 52 0.35 x---------x---x-|upright 36 0.4 0-------2-------|
        voice 52 0.6 m---m---m-m-m-------m---m-m-m---|shaker 0 0.10 ..x...x...x...x."""),
    "soul": dict(swing=0.58, level=0.20, room=0.5, hiss=-58, parts="""kick 0 0.9 x..x....x.x.....|
        snare 0 0.7 ....x..x....x...|hat 0 0.25 x.x.x.x.x.x.x.x.|bass 31 1.0 0--0..2-0..1..2-|
        electric piano 55 0.5 x-----x---------|organ 60 0.25 x---------------|clean guitar 62 0.35 ....x.......x...|
        voice 57 0.5 ..m-m-m-m---....m-m-m-----......"""),
    "ambient": dict(level=0.15, room=2.0, hiss=-58, parts="""pad 48 0.6 x---------------|pad 36 0.5 0---------------|
        flute 67 0.25 m-------m-----------------------|pluck 72 0.12 ..0.....2....1..........3......."""),
}  # fmt: skip


def render(style: str, song: dict, rng: np.random.Generator, seconds: float = 30.0) -> np.ndarray:
    """Play the beginning of a song of `songs.compose`, again if it is short: float32 (samples,), 12 kHz, -1 to 1."""
    spec, size = STYLES[style], round(seconds * SR)
    drums, others = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for part in _band(style, rng):
        bus = drums if part[0] in DRUMS else others
        bus += part[2] * rng.lognormal(0, 0.4) * _play(song, style, part, size, rng)
    beat = 60 / song["tempo"] * SR
    since_beat = (np.arange(size, dtype=np.float32) - OFFSET * SR) % beat
    mix = drums + others * (1 - spec.get("pump", 0) * np.exp(-since_beat / (0.3 * beat)))
    return _master(mix, spec, rng)


def _band(style, rng):
    """Return a song's parts as (instrument, lowest, gain, pattern); guests from another style replace some."""
    guest, share = rng.choice(list(STYLES)), rng.beta(0.7, 5)  # an eighth on average
    parts = []
    while sum(lowest > 0 for _, lowest, _, _ in parts) < 2:  # somebody must play the chords
        words = [text.split() for text in STYLES[style]["parts"].split("|") if rng.random() > share]
        words += [text.split() for text in STYLES[guest]["parts"].split("|") if rng.random() < share]
        parts = [(" ".join(name), int(lowest), float(gain), pattern) for *name, lowest, gain, pattern in words]
    return parts


def _play(song, style, part, size, rng):
    name = part[0]
    sound_of = cache(_drum(DRUMS[name], rng) if name in DRUMS else _instrument(INSTRUMENTS[name], rng))
    sound = np.zeros(size, np.float32)
    for time, seconds, pitch, strength in _notes(song, style, part, size / SR, rng):
        begin = int(np.clip(time * SR, 0, size))
        note = sound_of(pitch, round(seconds * SR))[: size - begin]
        sound[begin : begin + len(note)] += strength * note
    if drive := INSTRUMENTS.get(name, {}).get("drive"):
        sound = _filter(np.tanh(drive * sound), 3500).astype(np.float32)
    return sound


def _notes(song, style, part, seconds, rng):
    """Yield the time (s), length (s), MIDI pitch and strength of a part's notes, as exact as people play them."""
    name, lowest, _, pattern = part
    step, form, starts = 15 / song["tempo"], songs.STYLES[style]["form"], song["section_starts"]
    num_bars, lag = int((seconds - OFFSET) / step / STEPS) + 1, rng.normal(0, 0.004)
    # A wandering line, 4 bars long, for each kind of section; the tune takes the notes closest to it.
    lines = 6 + 6 * np.sin(rng.normal(0, 0.4, (3, 4, STEPS)).cumsum(axis=2))
    steps = np.arange(STEPS)
    swung = steps // 4 * 4 + np.interp(steps % 4, (0, 2, 4), (0, 4 * STYLES[style].get("swing", 0.5), 4))
    rests = rng.random(num_bars) < 0.1  # now and then a part is silent for 4 bars
    for bar in range(num_bars):
        at = bar % len(song["roots"])
        section = np.searchsorted(starts, at, side="right") - 1
        line = lines["ABC".index(form[section % len(form)]), (at - starts[section]) % 4]
        text = (pattern * 2)[bar % 2 * STEPS :][:STEPS]
        if name == "snare" and at % 4 == 3:
            text = text[:12] + "x.xx"  # a fill leads to the next 4 bars
        for match in re.finditer(r"[^.-]-*", "" if rests[bar // 4] else text):
            first, last = match.span()
            time = OFFSET + (bar * STEPS + swung[first]) * step
            accent = 1.15 if first % 8 == 0 else 0.9
            for i, pitch in enumerate(_pitches(match[0][0], song, at, lowest, line[first])):
                late = lag + 0.006 * i + np.clip(rng.normal(0, 0.004), -0.01, 0.01)
                yield time + late, (last - first) * step, pitch, accent * rng.lognormal(0, 0.12)


def _pitches(symbol, song, bar, lowest, line):
    """Return the MIDI pitches that a symbol of a pattern stands for; a drum has none, which is one stroke."""
    if not lowest:
        return [0]
    root = song["roots"][bar]
    chord = np.flatnonzero(np.roll(song["chords"][bar], -root))
    bottom = lowest + (root - lowest) % 12
    if symbol == "m":
        scale = np.union1d(chord, [2, 7])
        pitches = (bottom - 12 + scale[:, None] + 12 * np.arange(4)).ravel()
        return [pitches[np.abs(pitches - lowest - line).argmin()]]
    which = range(max(3, len(chord))) if symbol == "x" else [int(symbol)]
    return [bottom + chord[i % len(chord)] + 12 * (i // len(chord)) for i in which]


def _instrument(spec, rng):
    """Return a function of MIDI pitch and length in samples that plays a note; each song has its own instrument."""
    spec = dict(odd=1, attack=0.005, spread=0, vibrato=0, formants=()) | spec
    names, blur = ("slope", "decay", "dark", "spread"), (0.15, 0.3, 0.5, 0.3)
    slope, decay, dark, spread = np.array([spec[name] for name in names]) * rng.lognormal(0, blur)

    def note(pitch, length):
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        bright, dull = _periods(frequency, slope, spec["odd"], spec["formants"])
        release = round(max(0.05, spec["attack"]) * SR)
        t = np.arange(length + release, dtype=np.float32) / SR
        wobble = np.log(2) / 1200 * spec["vibrato"] * np.sin(2 * np.pi * 5.5 * t) / (2 * np.pi * 5.5)
        phase = frequency * TABLE * (t + wobble * np.minimum(1, t / 0.3))
        upper, sound = np.exp(-t / dark), 0
        for cents in (0, -spread, spread) if spread else (0,):
            index = (phase * 2 ** (cents / 1200) + cents * 100).astype(np.int32) % TABLE
            sound = sound + dull[index] + upper * (bright - dull)[index]
        envelope = np.minimum(1, t / spec["attack"]) * np.exp(-t / decay) * np.minimum(1, (t[-1] - t) * SR / release)
        return (sound * envelope / (1.7 if spread else 1)).astype(np.float32)

    return note


def _periods(frequency, slope, odd, formants):
    """Return one period of a tone and of the same tone without its treble, float32 (2, TABLE), free of aliasing."""
    k = np.arange(1, max(2, int(0.45 * SR / frequency)))
    amplitudes = k**-slope * np.where(k % 2, 1, odd)
    if formants:
        amplitudes *= 0.1 + np.exp(-(((k * frequency - np.array(formants)[:, None]) / 200) ** 2)).sum(axis=0)
    amplitudes /= np.sqrt((amplitudes**2).sum())
    tables = np.zeros((2, TABLE // 2 + 1), complex)
    tables[:, 1 : len(k) + 1] = np.array([amplitudes, amplitudes * k**-1.5]) * np.exp(2j * k**2)
    return np.fft.irfft(tables).astype(np.float32) * TABLE / 2


def _drum(spec, rng):
    """Return a function, with the arguments of `note`, that gives the stroke of a drum."""
    tone, sweep, ring, share, rattle, order = spec
    tone, ring, rattle = np.array([tone, ring, rattle]) * rng.lognormal(0, (0.08, 0.2, 0.2))
    t = np.arange(round(6 * max(ring, rattle) * SR), dtype=np.float32) / SR
    body = np.sin(2 * np.pi * (tone * t + sweep * 0.03 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / ring)
    noise = np.diff(rng.standard_normal(len(t) + order, np.float32), order) * np.exp(-t / rattle)
    stroke = ((1 - share) * body + share * noise / 2).astype(np.float32)
    return lambda pitch, length: stroke


def _filter(sound, frequency, kind="lowpass"):
    return scipy.signal.lfilter(*scipy.signal.butter(1, frequency, kind, fs=SR), sound)


def _master(mix, spec, rng):
    """Return the mix in a room, with the tape's brightness, hiss and loudness."""
    t = np.arange(round(spec["room"] * SR), dtype=np.float32) / SR
    echo = rng.standard_normal(len(t), np.float32) * np.exp(-6.9 * t / spec["room"])
    wet = scipy.signal.fftconvolve(mix, echo / np.sqrt((echo**2).sum()))[: len(mix)]
    mix = mix + 0.25 * rng.lognormal(0, 0.4) * wet
    low = _filter(mix, 1200)
    mix = _filter(low + rng.lognormal(0, 0.5) * (mix - low), 25, "highpass")  # a stroke has a mean
    mix *= spec["level"] * rng.lognormal(0, 0.35) / np.sqrt(np.mean(mix**2))
    mix += 10 ** ((spec["hiss"] + rng.normal(0, 6)) / 20) * rng.standard_normal(len(mix), np.float32)
    # tanh rounds off what is too loud; the ends are faded so that they do not click.
    fade = np.minimum(1, np.arange(len(mix), dtype=np.float32) / (0.02 * SR))
    return (np.tanh(mix) * fade * fade[::-1]).astype(np.float32)
