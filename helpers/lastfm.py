"""Read the last.fm data set: a JSON file a song with its names and tags, or one SQLite database with the tags only."""

import json
import os
import sqlite3
import sys
from collections.abc import Collection
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pandas as pd

from helpers.reading import find_files, read_all

COLUMNS = ["track_id", "title", "artist_name", "tags"]
MAX_BYTES = 10_000_000  # a song's file has a few thousand
COUNTS = {str(count): count for count in range(101)}
DATABASE = "lastfm_tags.db"
# The numbers in `tid_tag` are row numbers of the other two tables. Each is gone through once: there may be no index.
SONGS = "SELECT rowid, tid FROM tids {only} ORDER BY tid"
TAGS = """
    SELECT tid_tag.tid, tid_tag.tag, tags.tag, tid_tag.val FROM tid_tag LEFT JOIN tags ON tags.rowid = tid_tag.tag
    {only} ORDER BY tid_tag.tid, tid_tag.val DESC, tid_tag.rowid
"""


def read_tags(root: Path, num_workers: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read all last.fm files below `root`; return (tags, broken). Mason 2020, "Joining and filtering".

    `tags`: one row a song, sorted by path, with `track_id`, `title`, `artist_name` (str) and `tags`, a list
    of (tag, count) in the file's order (most used first), where count is an int from 0 to 100 relative to
    the song's most used tag. A tag that a file repeats is kept once, with its higher count.
    `broken`: `path` and `reason` of each file that was left out.
    `num_workers`: processes; None takes all cores when there is enough to read.
    Where there is no such file, but the database `lastfm_tags.db`, that is read: see `read_database`.
    Raises FileNotFoundError if `root` is not a folder.
    """
    files = find_files(root, ".json")
    databases = [] if files else find_files(root, DATABASE)
    return read_database(databases[0]) if databases else read_files(files, num_workers)


def read_files(
    paths: list[Path], num_workers: int | None = None, progress: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read these JSON files, otherwise as `read_tags`; without `progress` no bar is shown."""
    rows, broken = read_all(_read_one, paths, num_workers, "last.fm songs" if progress else None)
    return pd.DataFrame(rows, columns=COLUMNS), broken


def read_database(path: Path, track_ids: Collection[str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the full data set's `lastfm_tags.db`, which is SQLite; return (tags, broken) as `read_tags`.

    It knows no names, so `tags` has no `title` and `artist_name`, and songs can only be joined by their track_id
    (match="track_id"): that keeps wrong artists, 20 of 281 real pairs, which an exact join drops. A count may be a
    fraction. `track_ids`: read these songs only. `broken`: a row for each song that is left out.
    (Written from the published description and queries; not tried on the real file.)
    Raises FileNotFoundError, or ValueError if it is not such a database.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; see data/README.md for where to get it.")
    rows, broken, tags = [], [], {}
    try:
        # Never written to, not even a journal: several processes, or a read-only disk, may share it.
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
            songs = dict(_select(connection, SONGS, "tid", track_ids))
            chosen = None if track_ids is None else songs
            for number, found in groupby(_select(connection, TAGS, "tid_tag.tid", chosen), itemgetter(0)):
                tags[number] = _database_tags(found)
    except sqlite3.Error as error:
        raise ValueError(f"{path} is no last.fm database that can be read ({error}); download it again.") from None
    for number, track_id in songs.items():
        found, reason = tags.get(number, ([], None))
        if reason is None:
            rows.append((track_id, found))
        else:
            broken.append((str(path), f"{track_id}: {reason}"))
    table = pd.DataFrame(rows, columns=["track_id", "tags"])
    repeated = table["track_id"].duplicated()
    broken += [(str(path), f"{track_id}: there is another row of it") for track_id in table["track_id"][repeated]]
    return table[~repeated].reset_index(drop=True), pd.DataFrame(broken, columns=["path", "reason"])


def _select(connection, query, column, chosen):
    """Run `query`, and if `chosen` is given, only for the rows whose `column` is among it."""
    only = "" if chosen is None else f"WHERE {column} IN (SELECT value FROM json_each(?))"
    return connection.execute(query.format(only=only), [] if chosen is None else [json.dumps(list(chosen))])


def _database_tags(rows):
    """Return (tags, None) or (None, reason)."""
    kept = {}
    for _, number, tag, count in rows:
        if not isinstance(tag, str):
            return None, f"there is no tag number {number}"
        if not (isinstance(count, int | float) and 0 <= count <= 100):
            return None, f"the count of tag {tag[:60]!r} is not a number from 0 to 100: {str(count)[:60]}"
        kept.setdefault(sys.intern(tag), int(count) if count == int(count) else count)  # the highest comes first
    try:
        _check_utf8(kept)
    except ValueError as error:
        return None, str(error)
    return list(kept.items()), None


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
    _check_utf8([row["track_id"], row["title"], row["artist_name"], *(tag for tag, _ in row["tags"])])
    return row


def _check_utf8(names):
    try:  # JSON can escape half a character (\ud800), which no file or table can hold
        "".join(names).encode()
    except UnicodeEncodeError:
        raise ValueError("a name or tag is not UTF-8") from None


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
