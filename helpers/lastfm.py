"""Read and write the files of the last.fm data set: one JSON file a song, with its names and tags."""

import json
from pathlib import Path

import pandas as pd

from helpers import paths
from helpers.reading import find_files, read_all

COLUMNS = ["track_id", "title", "artist_name", "tags"]
COUNTS = {str(count): count for count in range(101)}


def read_tags(root: Path | list[Path], num_workers: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the last.fm files below `root`, or in this list; return (tags, broken). FileNotFoundError without a folder.

    `tags`: one row a song, sorted by path, with `track_id`, `title`, `artist_name` (str) and `tags`, a list of
    (tag, count) in the file's order, where count is an int from 0 to 100 relative to the song's most used tag. A tag
    that a file repeats is kept once, with its higher count. `broken`: `path` and `reason` of each file left out.
    """
    files = root if isinstance(root, list) else find_files(root, ".json")
    rows, broken = read_all(_read_one, files, num_workers, "last.fm songs")
    return pd.DataFrame(rows, columns=COLUMNS), broken


def write_tags(path: Path, track_id: str, title: str, artist: str, tags: list[tuple[str, int]]) -> None:
    """Write one song's file as the data set has them; ValueError for what `read_tags` would not read."""
    pairs = [[tag, str(count)] for tag, count in tags]
    song = {"artist": artist, "timestamp": "", "similars": [], "tags": pairs, "track_id": track_id, "title": title}
    _row(song)
    with paths.atomic(path) as temporary:
        temporary.write_text(json.dumps(song))


def _read_one(path):
    if not (raw := path.read_bytes()):
        raise ValueError("empty file")
    try:
        return _row(json.loads(raw.decode()))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON in UTF-8: {error}") from None


def _row(song):
    if not isinstance(song, dict):
        raise ValueError("not a JSON object")
    for key, kind in {"track_id": str, "title": str, "artist": str, "tags": list}.items():
        if not isinstance(song.get(key), kind):
            raise ValueError(f"{key!r} is missing or not a {kind.__name__}")
    kept = {}
    for pair in song["tags"]:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError(f"not a [tag, count] pair: {str(pair)[:60]}")
        if (count := COUNTS.get(str(pair[1]))) is None:
            raise ValueError(f"the count of tag {pair[0][:60]!r} is not an integer from 0 to 100: {str(pair[1])[:60]}")
        kept[pair[0]] = max(count, kept.get(pair[0], 0))
    try:  # JSON can escape half a character (\ud800), which no file or table can hold
        "".join([song["track_id"], song["title"], song["artist"], *kept]).encode()
    except UnicodeEncodeError:
        raise ValueError("a name or tag is not UTF-8") from None
    return dict(zip(COLUMNS, (song["track_id"], song["title"], song["artist"], list(kept.items())), strict=True))
