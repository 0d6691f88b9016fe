"""Join songs with their tags and keep those that can be used for training (Mason 2020, "Joining and filtering")."""

import re
import unicodedata
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from helpers.tags import nfc

# How two songs' names can differ, from not at all to most, and what each way to match allows.
KINDS = ("none", "case", "punctuation", "diacritics", "title differs", "artist differs", "title and artist differ")
MATCHES = {"exact": KINDS[:1], "normalized": KINDS[:4], "track_id": KINDS}


def plain(text: str, bare: tuple[str, ...] = ("LATIN", "GREEK", "CYRILLIC")) -> str:
    """Return `text` without case, punctuation and blanks, and without diacritics of letters of the scripts `bare`."""
    text, kept, letter = unicodedata.normalize("NFKD", text), "", ""
    for char in text.casefold().replace("&", "and"):
        mark = unicodedata.category(char).startswith("M")
        letter = letter if mark else char
        if letter.isalnum() and not (mark and unicodedata.name(letter, "").startswith(bare)):
            kept += char
    return kept or text  # a name like "!!!" would else equal every other such name


def read_mismatches(data_folder: Path) -> set[str]:
    """Return the track ids in `sid_mismatches.txt`, the MSD's list of wrongly matched songs; none if it is absent."""
    if not (path := Path(data_folder, "sid_mismatches.txt")).is_file():
        return set()
    if not (ids := set(re.findall(r"<SO\w{16} (TR\w{16})>", path.read_text(encoding="utf-8", errors="replace")))):
        raise ValueError(f"{path} has no line like 'ERROR: <song_id track_id> ...'; download it again or delete it.")
    return ids


def join(tracks, tags, vocabulary, segments, match="exact", mismatches=()) -> tuple[pd.DataFrame, dict]:
    """Join `msd.read_tracks` with `lastfm.read_tags`; return (songs, report). Raises ValueError for bad arguments.

    `match`: what must agree beside the track_id: "exact" (title and artist, letter by letter), "normalized" (the same
    but for case, diacritics and punctuation) or "track_id" (nothing). `mismatches`: track ids to leave out.
    `songs`: the tracks with a tag of `vocabulary` (whatever its count) and at least `segments` segments, with
    `segments_pitches` cut to float32 (segments, 12), and `labels`, uint8 (num_tags,). `songs.attrs` says how.
    `report["steps"]`: `step`, `kept`, `dropped`, `why`. `report["mismatches"]`: the songs whose names differ.
    """
    if isinstance(vocabulary, str) or not len(vocabulary) or len(set(map(nfc, vocabulary))) < len(vocabulary):
        raise ValueError("The vocabulary must be a list of at least one tag, without repeats.")
    if match not in MATCHES or segments < 12:
        raise ValueError(f"match is {match!r} and segments is {segments}; use one of {list(MATCHES)} and at least 12.")
    known = tracks[~tracks["track_id"].isin(list(mismatches))]
    tags = tags.rename(columns={"title": "lastfm_title", "artist_name": "lastfm_artist"})
    pairs = known.merge(tags, on="track_id", validate="one_to_one")
    columns = ["title", "artist_name", "lastfm_title", "lastfm_artist"]
    names = pairs[["track_id", *columns]].assign(kind=[_kind(*row) for row in pairs[columns].itertuples(index=False)])
    names["kept"] = names["kind"].isin(MATCHES[match])
    carried = [{nfc(tag) for tag, _ in row} for row in pairs["tags"]]
    labels = np.array([[tag in row for row in carried] for tag in map(nfc, vocabulary)], np.uint8).T
    songs = pairs[tracks.columns].assign(labels=list(np.ascontiguousarray(labels)))
    named = names["kept"].to_numpy(bool)
    tagged = named & labels.any(axis=1)
    keep = tagged & (songs["num_segments"] >= segments).to_numpy(bool)
    steps = [
        ("read", len(tracks), "MSD files that could be read"),
        ("not a known mismatch", len(known), "the MSD lists the song as matched to the wrong track"),
        ("in last.fm", len(songs), "no last.fm file has the track_id"),
        ("names match", int(named.sum()), f"title or artist differ (match={match!r})"),
        ("has a vocabulary tag", int(tagged.sum()), f"none of its tags is among the {len(vocabulary)}"),
        ("long enough", int(keep.sum()), f"fewer than {segments} segments"),
    ]
    steps = pd.DataFrame(steps, columns=["step", "kept", "why"])
    steps.insert(2, "dropped", -steps["kept"].diff().fillna(0).astype(int))
    songs = songs[keep].reset_index(drop=True)
    songs["segments_pitches"] = [song[:segments].copy() for song in songs["segments_pitches"]]  # frees the rest
    songs.attrs = {"vocabulary": list(map(str, vocabulary)), "segments": int(segments), "match": match}
    songs.attrs |= {"mismatches": joblib.hash(sorted(mismatches)), "num_songs": len(songs)}
    return songs, {"steps": steps, "mismatches": names[names["kind"] != "none"].reset_index(drop=True)}


def _kind(title, artist, lastfm_title, lastfm_artist):
    for kind, form in zip(KINDS, (nfc, lambda t: nfc(t).casefold(), lambda t: plain(t, ()), plain), strict=False):
        same = form(title) == form(lastfm_title), form(artist) == form(lastfm_artist)
        if all(same):
            return kind
    return {(False, True): "title differs", (True, False): "artist differs"}.get(same, "title and artist differ")


def label_matrix(songs: pd.DataFrame) -> np.ndarray:
    """Return the labels of `songs` as uint8 (num_songs, num_tags), one column per vocabulary tag."""
    return np.stack(list(songs["labels"])) if len(songs) else np.zeros((0, len(songs.attrs["vocabulary"])), np.uint8)


def pitches(songs: pd.DataFrame) -> np.ndarray:
    """Return the network's input, float32 (num_songs, 12, segments, 1): an image per song (Mason 2020)."""
    arrays = list(songs["segments_pitches"])
    return crops(arrays, len(arrays[0]) if arrays else songs.attrs["segments"])


def crops(arrays: list[np.ndarray], segments: int, place: float | np.ndarray = 0.0) -> np.ndarray:
    """Return `segments` segments of each song, (num_segments, rows), as float32 (num_songs, rows, segments, 1).

    `place`, one number or one a song: where in it, from 0 (start) to 1 (end). Zeros follow a shorter song.
    """
    images = np.zeros((len(arrays), arrays[0].shape[1] if arrays else 12, segments, 1), np.float32)
    for image, song, share in zip(images, arrays, np.broadcast_to(place, len(arrays)), strict=True):
        start = round(share * max(0, len(song) - segments))
        image[:, : len(song), 0] = song[start : start + segments].T
    return images
