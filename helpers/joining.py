"""Join songs with their tags and keep those that can be used for training (Mason 2020, "Joining and filtering")."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np
import pandas as pd


def plain(text: str) -> str:
    """Return `text` without case, diacritics, punctuation and blanks, and with "&" written "and"."""
    return _without_punctuation(unicodedata.normalize("NFKD", text))


def _without_punctuation(text):
    text = text.casefold().replace("&", "and")
    # A name like "!!!" is all punctuation: leave it, or it would equal every other such name.
    return "".join(c for c in text if c.isalnum()) or text


# The form in which two names are compared, by the way to match.
MATCHES: dict[str, Callable[[str], str]] = {"exact": str, "normalized": plain, "track_id": lambda name: ""}
# Forms from strict to lenient: the first in which two names agree says what kind of difference they have.
KINDS = {"case": str.casefold, "punctuation": _without_punctuation, "diacritics": plain}
NAMES = ["title", "artist_name", "lastfm_title", "lastfm_artist"]


def read_mismatches(path: Path) -> set[str]:
    """Return the track ids in the MSD's list of songs known to be matched to the wrong track.

    `path`: the data set's `sid_mismatches.txt`, with lines like `ERROR: <song_id track_id> ...`.
    Raises ValueError if it holds no such line.
    """
    ids = set(re.findall(r"<SO\w{16} (TR\w{16})>", Path(path).read_text(encoding="utf-8", errors="replace")))
    if not ids:
        raise ValueError(f"{path} has no line like 'ERROR: <song_id track_id> ...'; is it sid_mismatches.txt?")
    return ids


def join(
    tracks: pd.DataFrame,
    tags: pd.DataFrame,
    vocabulary: list[str],
    segments: int,
    match: str = "exact",
    mismatches: Collection[str] = (),
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Join MSD tracks with last.fm tags; return (songs, report). Mason 2020, "Joining and filtering".

    `tracks` and `tags` come from `helpers.msd.read_tracks` and `helpers.lastfm.read_tags`. If the tags are from the
    last.fm database, which knows no names, `match` must be "track_id" and no mismatches are reported.
    `match`: what must agree beside the track_id: "exact" (title and artist, letter by letter: Mason's inner
    merge on three keys), "normalized" (title and artist but for case, diacritics and punctuation) or
    "track_id" (nothing). `mismatches`: track ids to leave out, see `read_mismatches`.
    Kept are songs with at least one tag of `vocabulary` (as spelt there, whatever its count) and at least
    `segments` segments; more than `segments` are cut off.

    `songs`: in the order of `tracks`, with the columns of `tracks` (`num_segments` is that of the whole
    song, `segments_pitches` float32 (segments, 12)) and `labels`, uint8 (num_tags,), 1 where the song has the
    tag. `songs.attrs` holds `vocabulary`, `segments` and `match`.
    `report["steps"]`: `step`, `kept`, `dropped` (songs), `why`. `report["mismatches"]`: the songs with the
    same track_id but other names, both names, the `kind` of difference, and whether they were `kept`.
    Raises ValueError for an unknown `match` or one that the tags have no names for, an empty or repeating
    vocabulary, fewer than 12 segments, or a repeated track_id.
    """
    if match not in MATCHES:
        raise ValueError(f"match is {match!r}; use one of {sorted(MATCHES)}.")
    named = {"title", "artist_name"} <= set(tags)
    if not named and match != "track_id":
        raise ValueError(f"These tags hold no names to compare (match={match!r}); use the JSON files or 'track_id'.")
    if isinstance(vocabulary, str) or not len(vocabulary) or len(set(vocabulary)) < len(vocabulary):
        raise ValueError("The vocabulary must be a list of at least one tag, without repeats.")
    if segments < 12:
        raise ValueError(f"segments is {segments}; the network needs at least 12.")
    for table, name in ((tracks, "tracks"), (tags, "tags")):
        if not table["track_id"].is_unique:
            repeated = table["track_id"][table["track_id"].duplicated()].iloc[0]
            raise ValueError(f"{name} holds the track_id {repeated} twice; keep one row a song.")

    steps = [("read", len(tracks), 0, "MSD files that could be read")]

    def keep(songs, mask, step, why):
        kept = songs[np.asarray(mask, bool)]
        steps.append((step, len(kept), len(songs) - len(kept), why))
        return kept

    known = ~tracks["track_id"].isin(list(mismatches))
    songs = keep(tracks, known, "not a known mismatch", "the MSD lists the song as matched to the wrong track")
    found = songs["track_id"].isin(tags["track_id"])
    songs = keep(songs, found, "in last.fm", "no last.fm file has the track_id")
    lastfm = tags.set_index("track_id").loc[songs["track_id"]]
    names = lastfm if named else songs  # none to compare: every pair counts as the same
    pairs = songs[["track_id", "title", "artist_name"]].assign(
        lastfm_title=names["title"].array, lastfm_artist=names["artist_name"].array
    )
    same = [_same(*names, MATCHES[match]) for names in pairs[NAMES].itertuples(index=False)]
    songs = songs.assign(labels=_labels(lastfm["tags"], vocabulary))
    songs = keep(songs, same, "names match", f"title or artist differ (match={match!r})")
    tagged = [labels.any() for labels in songs["labels"]]
    songs = keep(songs, tagged, "has a vocabulary tag", f"none of its tags is among the {len(vocabulary)}")
    long = songs["num_segments"] >= segments
    songs = keep(songs, long, "long enough", f"fewer than {segments} segments").reset_index(drop=True)
    # Copies, so that the whole songs can be freed.
    songs["segments_pitches"] = [song[:segments].copy() for song in songs["segments_pitches"]]
    songs.attrs = {"vocabulary": list(vocabulary), "segments": int(segments), "match": match}
    report = {
        "steps": pd.DataFrame(steps, columns=["step", "kept", "dropped", "why"]),
        "mismatches": _mismatches(pairs.assign(kept=same)),
    }
    return songs, report


def label_matrix(songs: pd.DataFrame) -> np.ndarray:
    """Return the labels of `songs` as uint8 (num_songs, num_tags), one column per vocabulary tag."""
    if songs.empty:
        return np.zeros((0, len(songs.attrs["vocabulary"])), np.uint8)
    return np.stack(songs["labels"].tolist())


def pitches(songs: pd.DataFrame) -> np.ndarray:
    """Return the network's input, float32 (num_songs, 12, segments, 1): an image per song (Mason 2020)."""
    if songs.empty:
        return np.zeros((0, 12, songs.attrs["segments"], 1), np.float32)
    images = np.empty((len(songs), 12, len(songs["segments_pitches"].iloc[0])), np.float32)
    np.stack([song.T for song in songs["segments_pitches"]], out=images)
    return images[..., np.newaxis]


def crops(arrays: Iterable[np.ndarray], segments: int, place: float | np.ndarray = 0.0) -> np.ndarray:
    """Return `segments` segments of each song as the network's input, float32 (num_songs, rows, segments, 1).

    `arrays`: one (num_segments, rows) a song, pitches or timbre or both. `place`, one number or one a song: where in
    the song, from 0 (the start) to 1 (the end). A song with fewer segments is taken whole, with zeros after its end,
    which `helpers.models.masked` passes over.
    """
    arrays = list(arrays)
    images = np.zeros((len(arrays), arrays[0].shape[1], segments, 1), np.float32)
    for image, song, share in zip(images, arrays, np.broadcast_to(place, len(arrays)), strict=True):
        start = round(share * max(0, len(song) - segments))
        cut = song[start : start + segments]
        image[:, : len(cut), 0] = cut.T
    return images


def _same(title, artist, lastfm_title, lastfm_artist, form):
    return form(title) == form(lastfm_title) and form(artist) == form(lastfm_artist)


def _labels(tag_lists, vocabulary):
    index = {tag: i for i, tag in enumerate(vocabulary)}
    labels = np.zeros((len(tag_lists), len(vocabulary)), np.uint8)
    for row, tags in zip(labels, tag_lists, strict=True):
        row[[index[tag] for tag, _ in tags if tag in index]] = 1
    return list(labels)


def _mismatches(pairs):
    """Return the rows of `pairs` whose names differ, with the `kind` of difference."""
    kinds = [_kind(*names) for names in pairs[NAMES].itertuples(index=False)]
    pairs.insert(5, "kind", pd.Series(kinds, pairs.index, dtype=object))
    return pairs[pairs["kind"] != "none"].reset_index(drop=True)


def _kind(*names):
    for kind, form in {"none": str, **KINDS}.items():
        if _same(*names, form):
            return kind
    title, artist, lastfm_title, lastfm_artist = map(plain, names)
    if title != lastfm_title and artist != lastfm_artist:
        return "title and artist differ"
    return "title differs" if title != lastfm_title else "artist differs"
