"""Read the Million Song Dataset's HDF5 files, one per song, through h5py's low-level calls.

The usual way, PyTables and one getter per field, takes some 9 ms a file. Reading only the wanted members of
the two tables and one array takes well under 1 ms, most of it spent in decompression.
"""

import math
import os
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from h5py import h5d, h5f, h5l, h5s, h5t, h5z

from helpers.reading import find_files, read_all

COLUMNS = ["track_id", "title", "artist_name", "num_segments", "segments_pitches"]
MAX_SEGMENTS = 100_000  # a song has a few thousand at most
MAX_BYTES = 16 * 2**20  # what one array may claim to need; checked before any memory is taken
MAX_CHUNK = 2**18  # bytes of a chunk as it is stored: it may unpack to a thousand times as many, whatever it claims
FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
BLOCK = 10_000  # rows of a summary file that are read at a time


def _of(dataset: str, kind: str, names: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(names.split(), (dataset, kind))


# Every field of the data set but the idx_* ones, which only mean something in aggregate files:
# the tables (one row a song) by the type they are read as, then the arrays.
SCALARS = (
    _of("analysis/songs", "S1024", "audio_md5 track_id")
    | _of("analysis/songs", "i4", "analysis_sample_rate key mode time_signature")
    | _of("analysis/songs", "f8", "danceability duration end_of_fade_in energy key_confidence loudness")
    | _of("analysis/songs", "f8", "mode_confidence start_of_fade_out tempo time_signature_confidence")
    | _of("metadata/songs", "S1024", "analyzer_version artist_id artist_location artist_mbid artist_name")
    | _of("metadata/songs", "S1024", "genre release song_id title")
    | _of("metadata/songs", "i4", "artist_7digitalid artist_playmeid release_7digitalid track_7digitalid")
    | _of("metadata/songs", "f8", "artist_familiarity artist_hotttnesss artist_latitude artist_longitude")
    | _of("metadata/songs", "f8", "song_hotttnesss")
    | _of("musicbrainz/songs", "i4", "year")
)
ARRAYS = {
    name: f"{group}/{name}"
    for group, names in {
        "analysis": "bars_confidence bars_start beats_confidence beats_start sections_confidence sections_start "
        "segments_confidence segments_loudness_max segments_loudness_max_time segments_loudness_start "
        "segments_pitches segments_start segments_timbre tatums_confidence tatums_start",
        "metadata": "artist_terms artist_terms_freq artist_terms_weight similar_artists",
        "musicbrainz": "artist_mbtags artist_mbtags_count",
    }.items()
    for name in names.split()
}


def read_tracks(
    root: Path, num_workers: int | None = None, fields: tuple[str, ...] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read all MSD files below `root`; return (tracks, broken). Mason 2020, "Joining and filtering".

    `tracks`: one row a song, sorted by path, with `track_id`, `title`, `artist_name` (str), `num_segments`
    (int), `segments_pitches` (float32 array (num_segments, 12), the strength of each pitch class from 0 to
    1), and the MSD fields named in `fields`: str, int or float from the tables (`tempo` in beats per minute,
    `duration` in seconds), or arrays as they are stored (`segments_start` in seconds).
    `broken`: `path` and `reason` of each file that was left out.
    `num_workers`: processes; None takes all cores when there is enough to read.
    Raises FileNotFoundError if `root` is not a folder, ValueError if a field does not exist.
    """
    return read_files(find_files(root, ".h5"), num_workers, fields)


def read_files(
    paths: list[Path], num_workers: int | None = None, fields: tuple[str, ...] = (), progress: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read these MSD files, otherwise as `read_tracks`; without `progress` no bar is shown."""
    unknown = sorted(set(fields) - SCALARS.keys() - ARRAYS.keys())
    if unknown:
        raise ValueError(f"MSD files have no field {unknown}; they have {sorted([*SCALARS, *ARRAYS])}.")
    wanted = tuple(dict.fromkeys([*COLUMNS, *fields]))
    description = "MSD songs" if progress else None
    rows, broken = read_all(partial(_read_one, wanted=wanted), paths, num_workers, description)
    return pd.DataFrame(rows, columns=list(wanted)).astype({"num_segments": int}), broken


def read_summary(path: Path, fields: tuple[str, ...] = ("track_id", "title", "artist_name")) -> pd.DataFrame:
    """Return `fields` of all songs in `msd_summary_file.h5`, one row a song, as `read_tracks` gives them.

    The file has the tables of a million files but none of their arrays, so it knows every song's names, `duration`
    and `year`, and nothing of its segments. (Written from the published description; not tried on the real file.)
    Raises FileNotFoundError, or ValueError if a field is no column of the tables or the file is damaged.
    """
    unknown = sorted(set(fields) - SCALARS.keys())
    if unknown:
        raise ValueError(f"A summary file has no field {unknown}; it has {sorted(SCALARS)}.")
    try:
        file, columns = _open_file(path), {}
        for dataset, names in _tables(tuple(fields)):
            columns |= _read_columns(_open(file, dataset), dataset, names)
        if len({len(column) for column in columns.values()}) > 1:
            raise ValueError("its tables differ in length")
    except FileNotFoundError:
        raise
    except (ValueError, OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read: {error}; download it again.") from None
    return pd.DataFrame({name: columns[name] for name in fields})


def _read_one(path: Path, wanted: tuple[str, ...]) -> dict:
    """Return the `wanted` fields of one file; raise ValueError, OSError or RuntimeError saying what is wrong."""
    file = _open_file(path)
    row = dict.fromkeys(wanted)
    for dataset, names in _tables(wanted):
        row |= _read_table(_open(file, dataset), dataset, names)
    row["segments_pitches"] = _read_pitches(_open(file, ARRAYS["segments_pitches"]))
    row["num_segments"] = len(row["segments_pitches"])
    for name in wanted:
        if row[name] is None:
            row[name] = _read_array(_open(file, ARRAYS[name]), name)
            if name.startswith("segments_") and len(row[name]) != row["num_segments"]:
                raise ValueError(f"{name} has {len(row[name])} segments, segments_pitches {row['num_segments']}")
    if not row["track_id"]:
        raise ValueError("the track_id is empty")
    return row


def _open_file(path):
    if os.path.getsize(path) == 0:  # a pipe too, on which HDF5 would wait for ever
        raise ValueError("empty file")
    try:
        return h5f.open(os.fsencode(path), h5f.ACC_RDONLY)
    except OSError as error:
        if "signature not found" in str(error):
            reason = "not an HDF5 file"
        elif "truncated file" in str(error):
            reason = "truncated file: copy or download it again"
        else:
            raise
        raise ValueError(reason) from None


def _open(file, name):
    """Open a data set that really is in this file: a link or an outside store could lead anywhere on the disk."""
    for part in (name.split("/")[0], name):
        try:
            kind = file.links.get_info(part.encode()).type
        except (KeyError, RuntimeError):
            raise ValueError(f"{part} is missing") from None
        if kind != h5l.TYPE_HARD:
            raise ValueError(f"{part} is a link, perhaps to another file; links are not followed")
    try:
        return h5d.open(file, name.encode())
    except KeyError:
        raise ValueError(f"{name} is not a data set") from None


def _check_storage(data, shape, stored, name):
    storage = data.get_create_plist()
    layout = storage.get_layout()
    if layout == h5d.VIRTUAL or storage.get_external_count():
        raise ValueError(f"{name} keeps its data in other files; they are not read")
    chunk = storage.get_chunk() if layout == h5d.CHUNKED else ()
    num_bytes = max(math.prod(shape), math.prod(chunk)) * stored.get_size()
    if num_bytes > MAX_BYTES:
        raise ValueError(f"{name} has an implausible size: {num_bytes:,} bytes, shape {shape}")
    filters = [storage.get_filter(i)[0] for i in range(storage.get_nfilters())]
    if not FILTERS.issuperset(filters) or len(set(filters)) < len(filters):
        raise ValueError(f"{name} is compressed in another way than MSD files are")
    if chunk and data.get_storage_size() > MAX_CHUNK:
        sizes = []
        data.chunk_iter(lambda stored: sizes.append(stored.size))
        if max(sizes) > MAX_CHUNK:
            raise ValueError(f"{name} has a chunk of an implausible size: {max(sizes):,} bytes")


@lru_cache
def _tables(wanted):
    """Return [(dataset, names)]: what to read from which table."""
    tables = {}
    for name in wanted:
        if name in SCALARS:
            tables.setdefault(SCALARS[name][0], []).append(name)
    return [(dataset, tuple(names)) for dataset, names in tables.items()]


@lru_cache
def _record(names):
    """Return the NumPy and the HDF5 type of a row that holds only `names`: HDF5 skips the other members."""
    dtype = np.dtype([(name, SCALARS[name][1]) for name in names])
    return dtype, h5t.py_create(dtype)


def _read_table(data, dataset, names):
    num_rows = _check_table(data, dataset, names)
    if num_rows != 1:
        raise ValueError(f"{dataset} holds {num_rows:,} songs, not one; summary files are for msd.read_summary")
    dtype, record = _record(names)
    row = np.zeros(1, dtype)
    data.read(h5s.ALL, h5s.ALL, row, record)
    return {
        name: _decode(value, name) if isinstance(value, bytes) else value
        for name, value in zip(names, row.item(), strict=True)
    }


def _read_columns(data, dataset, names):
    """Return {name: values of all rows}."""
    num_rows = _check_table(data, dataset, names)
    dtype, record = _record(names)
    columns = {name: [] for name in names}
    for start in range(0, num_rows, BLOCK):
        rows = np.zeros(min(BLOCK, num_rows - start), dtype)
        chosen = data.get_space()
        chosen.select_hyperslab((start,), rows.shape)
        data.read(h5s.create_simple(rows.shape), chosen, rows, record)
        for name in names:
            values = rows[name].tolist()
            columns[name] += [_decode(value, name) for value in values] if dtype[name].kind == "S" else values
    return columns


def _check_table(data, dataset, names):
    """Return the number of rows, if it is a table that has `names`."""
    stored, shape = data.get_type(), data.shape or ()  # None if empty by its type
    if len(shape) != 1 or not isinstance(stored, h5t.TypeCompoundID):
        raise ValueError(f"{dataset} is not a table")
    _check_storage(data, (1,), stored, dataset)
    for name in names:
        try:
            stored.get_member_index(name.encode())
        except (ValueError, RuntimeError):
            raise ValueError(f"{dataset} has no {name}") from None
    return shape[0]


def _decode(value, name):
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8: {value[:60]!r}") from None


def _read_pitches(data):
    name, stored, shape = "segments_pitches", data.get_type(), data.shape or ()
    if not isinstance(stored, h5t.TypeFloatID):
        raise ValueError(f"{name} does not hold floating-point numbers")
    if len(shape) != 2 or shape[1] != 12:
        raise ValueError(f"{name} has shape {shape}, not (segments, 12)")
    if shape[0] == 0:
        raise ValueError("the song has no segments")
    if shape[0] > MAX_SEGMENTS:
        raise ValueError(f"{name} has an implausible size: {shape[0]:,} segments")
    _check_storage(data, shape, stored, name)
    values = np.empty(shape)
    data.read(h5s.ALL, h5s.ALL, values, h5t.NATIVE_DOUBLE)
    if not (values.min() >= 0 and values.max() <= 1):  # false for NaN too
        bad = "outside [0, 1]" if np.isfinite(values).all() else "that are not finite"
        raise ValueError(f"{name} has values {bad}")
    return values.astype(np.float32)


def _read_array(data, name):
    shape, dtype = data.shape or (), data.dtype
    width = (12,) if name == "segments_timbre" else ()
    if dtype.kind not in "fiS" or not shape or shape[1:] != width:
        raise ValueError(f"{name} holds {dtype} of shape {shape}, not an array of numbers or names")
    _check_storage(data, shape, data.get_type(), name)
    values = np.empty(shape, dtype)
    data.read(h5s.ALL, h5s.ALL, values)
    return values if dtype.kind != "S" else np.array([_decode(value, name) for value in values], object)
