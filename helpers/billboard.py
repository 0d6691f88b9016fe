"""Turn the McGill Billboard collection into files that the notebooks read: `python -m helpers.billboard FOLDER OUT`."""

import gzip
import io
import re
import sys
import tarfile
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers import lastfm, msd
from helpers.reading import READ_ERRORS

INDEX, CHROMA, CHORDS = "billboard-2.0-index.csv", "bothchroma.csv", "salami_chords.txt"
ARCHIVES = {CHROMA: "billboard-2.0-chordino.tar.gz", CHORDS: "billboard-2.0-salami_chords.tar.gz"}
SLOT = "[0-9][0-9][0-9][0-9]"  # the folder of a row of the index: a place in the charts of one week
FRAMES, STEP = 6, 2048 / 44100  # frames averaged, seconds a frame: 0.279 s together, like a segment of the MSD
MIN_SONGS = 15  # with a tag, else the vocabulary leaves it out
SPELLINGS = {"bass guitar": "bass", "drum kit": "drums", "tenor saxophone": "saxophone", "synth": "synthesizer"}
SPELLINGS |= dict.fromkeys(["acoustic guitar", "electric guitar", "rhythm guitar", "steel guitar"], "guitar")
SPELLINGS |= dict.fromkeys(["horn", "horns", "trombone", "trumpet", "trumpets"], "brass")
SPELLINGS |= dict.fromkeys(["fiddle", "violin", "violins"], "strings") | {"synthesiser": "synthesizer"}
LEADING = re.compile(r",\s*\(([a-z ]+?)\s*\)?\s*(?=,|$)", re.MULTILINE)  # ", (guitar" where it takes the lead
TRIPLE = re.compile(r"^# metre: (3|6|9|12)/", re.MULTILINE)  # or compound


def convert(source: Path | str, out: Path | str) -> Path:
    """Write an MSD file and a last.fm file a song, and `vocabulary.txt`, to the new folder `out`; return it.

    `source`: the folder with the index and the two archives, or with what they unpack to. Each song is taken once;
    damaged files are printed. Raises FileExistsError if `out` is there, ValueError if an archive is damaged.
    """
    source, out = Path(source).expanduser(), Path(out).expanduser().absolute()
    if out.exists():
        raise FileExistsError(f"{out} is there already; delete it or name another folder.")
    slots = pd.read_csv(source / INDEX, index_col="id", keep_default_na=False)[["title", "artist", "chart_date"]]
    chords, songs, broken = dict(_contents(source, CHORDS)), {}, []
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        new = Path(scratch, out.name)
        for slot, raw in tqdm(_contents(source, CHROMA), "Billboard songs", unit=" slots"):
            title, artist, date = slots.loc[slot] if slot in slots.index else ("", "", "")  # some have no song
            if not title or slot not in chords or (title, artist) in songs:
                continue
            try:
                arrays, tags = _segments(raw) | {"year": int(date[:4])}, _tags(date, chords[slot].decode())
            except READ_ERRORS as error:
                broken.append(f"  {slot:04d} ({title}): {error}")
                continue
            songs[title, artist] = tags
            name = f"TRMCGBB{slot:011d}"
            msd.write_track(new / "songs" / f"{name}.h5", track_id=name, title=title, artist_name=artist, **arrays)
            lastfm.write_tags(new / "tags" / f"{name}.json", name, title, artist, [(tag, 100) for tag in tags])
        counts = Counter(tag for tags in songs.values() for tag in tags).most_common()
        if not (vocabulary := [tag for tag, count in counts if count >= MIN_SONGS]):
            raise ValueError(f"{source}: no tag has {MIN_SONGS} songs; are the archives there, and whole? {broken[:3]}")
        print("\n".join([f"{len(songs)} songs, {len(vocabulary)} tags, {len(broken)} broken files", *broken]))
        (new / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        new.rename(out)
    return out


def _contents(source, name):
    """Yield (slot, bytes) of each file `<slot>/<name>` in its archive or below `source`; nothing is unpacked."""
    if not (archive := source / ARCHIVES[name]).is_file():
        yield from ((int(p.parent.name), p.read_bytes()) for p in sorted(source.glob(f"**/{SLOT}/{name}")))
        return
    try:
        with gzip.open(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as members:
            for member in members:
                if member.isfile() and (slot := re.search(rf"(?:^|/)({SLOT})/{name}$", member.name)):
                    yield int(slot[1]), members.extractfile(member).read()
            unpacked.read()  # only padding is left, but at its end gzip verifies its checksum
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{archive} is damaged ({error}); download it again.") from None


def _segments(raw):
    """Return the arrays of a song from its frames: a time in seconds, 12 bass and 12 treble bins, each from A."""
    frames = pd.read_csv(io.BytesIO(raw), header=None, usecols=[1, *range(14, 26)], dtype=float).to_numpy()
    if len(frames) < FRAMES or not (np.isfinite(frames) & (frames >= 0)).all():
        raise ValueError(f"{CHROMA} is cut short, or its numbers are no chroma")
    groups = frames[: len(frames) // FRAMES * FRAMES].reshape(-1, FRAMES, 13)
    pitches = np.roll(groups[:, :, 1:].mean(axis=1), -3, axis=1)  # the MSD begins with C
    pitches[pitches.max(axis=1) == 0] = 1  # silence, as in the MSD
    pitches /= pitches.max(axis=1, keepdims=True)
    return {"segments_pitches": pitches, "segments_start": groups[:, 0, 0], "duration": len(frames) * STEP}


def _tags(date, text):
    """Return the decade, the leading instruments, and "triple metre". A voice leads in nearly every song: no tag."""
    instruments = {SPELLINGS.get(name, name) for name in LEADING.findall(text)} - {"voice", "vocal"}
    return [f"{date[2]}0s", *sorted(instruments), *["triple metre"] * bool(TRIPLE.search(text))]


if __name__ == "__main__":
    convert(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
