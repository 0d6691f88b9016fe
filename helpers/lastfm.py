"""Read the last.fm data set's JSON files, one per song: its names and its tags."""

import json
import os
from pathlib import Path

import pandas as pd

from helpers.reading import find_files, read_all

COLUMNS = ["track_id", "title", "artist_name", "tags"]
MAX_BYTES = 10_000_000  # a song's file has a few thousand
COUNTS = {str(count): count for count in range(101)}


def read_tags(root: Path, num_workers: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read all last.fm files below `root`; return (tags, broken). Mason 2020, "Joining and filtering".

    `tags`: one row a song, sorted by path, with `track_id`, `title`, `artist_name` (str) and `tags`, a list
    of (tag, count) in the file's order (most used first), where count is an int from 0 to 100 relative to
    the song's most used tag. A tag that a file repeats is kept once, with its higher count.
    `broken`: `path` and `reason` of each file that was left out.
    `num_workers`: processes; None takes all cores when there is enough to read.
    Raises FileNotFoundError if `root` is not a folder.
    """
    rows, broken = read_all(_read_one, find_files(root, ".json"), num_workers, "last.fm songs")
    return pd.DataFrame(rows, columns=COLUMNS), broken


def _read_one(path: Path) -> dict:
    """Return the row of one file; raise ValueError saying what is wrong with it."""
    size = os.path.getsize(path)
    if size == 0:
        raise ValueError("empty file")
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes: not the file of a single song")
    song = _parse(path.read_bytes())
    if not isinstance(song, dict):
        raise ValueError("not a JSON object")
    row = {
        "track_id": _typed(song, "track_id", str),
        "title": _typed(song, "title", str),
        "artist_name": _typed(song, "artist", str),
        "tags": _tags(_typed(song, "tags", list)),
    }
    if not row["track_id"]:
        raise ValueError("the track_id is empty")
    try:  # JSON can escape half a character (\ud800), which no file or table can hold
        "".join([row["track_id"], row["title"], row["artist_name"], *(tag for tag, _ in row["tags"])]).encode()
    except UnicodeEncodeError:
        raise ValueError("a name or tag is not UTF-8") from None
    return row


def _parse(raw):
    try:
        return json.loads(raw.decode())
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def _typed(song, key, kind):
    if key not in song:
        raise ValueError(f"no key {key!r}")
    if not isinstance(song[key], kind):
        raise ValueError(f"{key!r} is not a {'string' if kind is str else 'list'}")
    return song[key]


def _tags(pairs):
    kept = {}
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError(f"not a [tag, count] pair: {str(pair)[:60]}")
        tag, count = pair[0], COUNTS.get(str(pair[1]))
        if count is None:
            raise ValueError(f"the count of tag {tag[:60]!r} is not an integer from 0 to 100: {str(pair[1])[:60]}")
        kept[tag] = max(count, kept.get(tag, 0))
    return list(kept.items())
