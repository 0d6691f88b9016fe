"""The demo set: synthetic songs as MSD and last.fm files and as recordings, with an oracle; a seed sets every byte."""

import io
import json
import os
import tempfile
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import soundfile
from joblib import Parallel, delayed

from helpers import lastfm, msd, paths
from helpers.demo import songs, sound
from helpers.demo.songs import tag_probabilities
from helpers.tags import CHOI_TOP50

ABOUT = {"note": "Synthetic demo data: no real song, artist or listener.", "version": 2}


def ensure(folder: Path = paths.DEMO, num_tracks: int | None = None, seed: int | None = None, sound=False) -> Path:
    """Return `folder` with the demo set; it is made if it is missing, of another version or of other settings.

    `num_tracks`, `seed`: None takes those of the set that is there, else 1,400 songs and seed 1. The two trees have
    the real layout and quirks, and four files broken on purpose; `oracle.csv` has each song's style. With `sound`,
    `audio` has 30 s (12 kHz, MP3) of each song with a tag of `CHOI_TOP50`, and `tags.csv`: `path`, `artist`, `tags`
    (joined by "|"), `split`. Whole or not at all; raises FileExistsError rather than touch a folder of other files.
    """
    folder, given = Path(folder), {"num_tracks": num_tracks, "seed": seed}
    about = {"num_tracks": 1400, "seed": 1} | _marker(folder) | ABOUT
    about |= {name: value for name, value in given.items() if value is not None}
    _make(folder, about, _write_files)
    if sound:
        _make(folder / "audio", about, partial(_write_sound, demo=folder))
    return folder


def oracle(songs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the best ROC AUC that any model could expect on these songs: columns `tag`, `auc`, one row a tag.

    `songs`: their `track_id` in the demo set in `folder`, and `attrs["vocabulary"]`, of which each has a tag. The AUC
    is the chance that a song with the tag has a higher true probability of it than one without; a tie is half. NaN
    for a tag that no song lacks or that nobody knows, and of another set's songs. Their mean is where learning ends.
    """
    vocabulary = songs.attrs["vocabulary"]
    styles = pd.read_csv(Path(folder) / "oracle.csv").set_index("track_id")["style"].reindex(songs["track_id"])
    probability = tag_probabilities().reindex(index=styles, columns=vocabulary).to_numpy()
    # Only songs with at least one vocabulary tag were kept, which makes each tag of theirs more likely.
    kept = 1 - np.prod(1 - np.nan_to_num(probability), axis=1, keepdims=True)
    aucs = []
    for p in np.minimum(probability / kept, 1).T:
        weights = p[:, None] * (1 - p)  # of song i having the tag and song j not
        np.fill_diagonal(weights, 0)
        wins = (p[:, None] > p) + 0.5 * (p[:, None] == p)
        aucs.append((wins * weights).sum() / weights.sum() if weights.sum() > 0 else np.nan)
    return pd.DataFrame({"tag": vocabulary, "auc": aucs})


def _marker(folder):
    try:
        return json.loads((folder / paths.DEMO_MARKER).read_text())
    except (OSError, ValueError):
        return {}


def _make(folder, about, write):
    """Let `write(new, num_tracks, seed)` fill a new folder and put it at `folder`, unless such a one is there."""
    if _marker(folder) == about:
        return
    if folder.exists() and not paths.is_synthetic(folder) and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds files that are not demo data; move them elsewhere.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        write(new, about["num_tracks"], about["seed"])
        (new / paths.DEMO_MARKER).write_text(json.dumps(about) + "\n")
        stamp = int(joblib.hash(about)[:7], 16)  # so that snapshots know their files in a set made anew elsewhere
        for path in new.rglob("*"):
            os.utime(path, (stamp, stamp))
        if _marker(folder) != about:  # another process may have been faster
            if folder.exists():  # moved, not deleted: a run killed meanwhile must not leave half of it
                folder.rename(Path(temporary) / "old")
            new.rename(folder)


def _write_files(root, num_tracks, seed):
    table = songs.names(num_tracks, seed)
    jobs = [delayed(_write_songs)(root, table[start::8], seed) for start in range(8)]
    Parallel(n_jobs=-1 if num_tracks > 300 else 1)(jobs)
    table[["track_id", "style"]].to_csv(root / "oracle.csv", index=False)
    # Empty, cut and overwrite a few files, as happened to real ones.
    h5, json_files = sorted(root.rglob("*.h5")), sorted(root.rglob("*.json"))
    h5[5].write_bytes(b"")
    h5[-5].write_bytes(h5[-5].read_bytes()[:5000])
    h5[len(h5) // 2].write_text("<html><body>404 Not Found</body></html>\n")
    json_files[-3].write_text(json_files[-3].read_text()[:40])


def _write_songs(root, table, seed):
    probabilities = tag_probabilities()
    for song in table.itertuples():
        place = f"{'/'.join(song.track_id[2:5])}/{song.track_id}"
        msd.write_track(root / f"MillionSongSubset/{place}.h5", **_fields(song, seed))
        rng = np.random.default_rng([seed, song.number, 2])
        if rng.random() < songs.HAS_JSON:
            tagged = songs.lastfm_song(song, probabilities.loc[song.style], rng)
            lastfm.write_tags(root / f"lastfm_subset/{place}.json", song.track_id, *tagged)


def _fields(song, seed):
    """Return what the MSD file of a song says; numbers are rounded to what takes little space."""
    rng = np.random.default_rng([seed, song.number])
    num_segments, duration, plan = songs.draw_song(song.style, rng)
    pitches = songs.chroma_segments(song.style, plan, num_segments, rng)
    start = (np.arange(num_segments) + 0.5 * rng.random(num_segments)) * duration / num_segments
    # A style has a centre in timbre space, a song a place around it; the first value is loudness.
    centre = np.random.default_rng(list(songs.STYLES).index(song.style)).normal(0, 30, 12)
    timbre = centre + rng.normal(0, 15, 12) + rng.normal(0, 35, (num_segments, 12))
    timbre[:, 0] = np.clip(45 + 8 * rng.normal(size=num_segments), 0, 60)
    return {name: getattr(song, name) for name in ("track_id", "title", "artist_name", "artist_id")} | dict(
        song_id=f"SODEMO{song.number:012d}", duration=duration, year=int(rng.choice([0, rng.integers(1960, 2011)])),
        key=plan["key"], mode=plan["mode"], tempo=plan["tempo"], segments_pitches=pitches.astype(np.float32),
        segments_start=np.round(start * 32) / 32, segments_timbre=np.round(timbre / 8) * 8,
    )  # fmt: skip


def _write_sound(root, num_tracks, seed, demo):
    found = lastfm.read_tags(demo)[0].set_index("track_id")["tags"].map(dict)
    table = songs.names(num_tracks, seed).sort_values("track_id").rename(columns={"artist_name": "artist"})
    table["tags"] = ["|".join(tag for tag in CHOI_TOP50 if tag in found.get(i, {})) for i in table["track_id"]]
    table = table[table["tags"] != ""]
    # By artist, about 45, 15 and 40 % of the songs: testing is cheap.
    songs_of = table["artist"].value_counts().sort_index()
    share = songs_of.iloc[np.random.default_rng(seed).permutation(len(songs_of))].cumsum() / len(table)
    split = pd.cut(share, [0, 0.45, 0.6, 1], labels=["train", "valid", "test"]).astype(str)
    table = table.assign(path=table["track_id"] + ".mp3", split=table["artist"].map(split))
    jobs = (delayed(_record)(root / song.path, song.style, song.number, seed) for song in table.itertuples())
    Parallel(n_jobs=-1 if len(table) > 50 else 1)(jobs)
    table[["path", "artist", "tags", "split"]].to_csv(root / "tags.csv", index=False)


def _record(path, style, number, seed):
    song = songs.draw_song(style, np.random.default_rng([seed, number]))[2]
    samples = sound.render(style, song, np.random.default_rng([seed, number, 1]))
    encoded = io.BytesIO()  # libsndfile would not say that the disk is full
    soundfile.write(encoded, samples, sound.SR, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.7)
    path.write_bytes(encoded.getvalue())
