"""Read and write the Million Song Dataset's HDF5 files, one a song: the only module that knows their layout."""

import io
from functools import lru_cache, partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from h5py import h5d, h5f, h5fd, h5g, h5p, h5s, h5t  # about 1 ms a file; PyTables, a getter a field: some 9 ms

from helpers.paths import atomic
from helpers.reading import find_files, read_all

NAMES, PITCHES = ["track_id", "title", "artist_name"], "segments_pitches"
MAX_ROWS = 100_000  # a song has a few thousand segments; more is refused before memory is taken

# Where it is, type, chunk, names: columns of the tables, which have one row, and arrays of their own in a group.
LAYOUT = """
analysis/songs S32 37 audio_md5 track_id
analysis/songs i4 37 analysis_sample_rate key mode time_signature
analysis/songs f8 37 danceability duration end_of_fade_in energy key_confidence loudness mode_confidence
analysis/songs f8 37 start_of_fade_out tempo time_signature_confidence
metadata/songs S32 3 analyzer_version artist_id song_id
metadata/songs S40 3 artist_mbid
metadata/songs S1024 3 artist_location artist_name genre release title
metadata/songs i4 3 artist_7digitalid artist_playmeid release_7digitalid track_7digitalid
metadata/songs f8 3 artist_familiarity artist_hotttnesss artist_latitude artist_longitude song_hotttnesss
musicbrainz/songs i4 1024 year
analysis f8 1024 bars_confidence bars_start beats_confidence beats_start sections_confidence sections_start
analysis f8 1024 segments_confidence segments_loudness_max segments_loudness_max_time segments_loudness_start
analysis f8 1024 segments_start tatums_confidence tatums_start
analysis f8 85,12 segments_pitches segments_timbre
metadata S256 32 artist_terms
metadata f8 1024 artist_terms_freq artist_terms_weight
metadata S20 409 similar_artists
musicbrainz S256 32 artist_mbtags
musicbrainz i4 2048 artist_mbtags_count
"""
FIELDS = {
    name: (place, kind, tuple(map(int, chunk.split(","))))
    for place, kind, chunk, *names in map(str.split, LAYOUT.strip().splitlines())
    for name in names
}
SCALARS = {name: field for name, field in FIELDS.items() if "/" in field[0]}
ARRAYS = {name: (f"{group}/{name}", *rest) for name, (group, *rest) in FIELDS.items() if name not in SCALARS}
TABLES = {table: chunk for table, _, chunk in SCALARS.values()}
NO_INDEX = {"artist_terms_freq", "artist_terms_weight", "artist_mbtags_count"}  # the other arrays have a column idx_


def read_tracks(root: Path | list[Path], num_workers: int | None = None, fields=()):
    """Read the MSD files below `root`, or in this list; return (tracks, broken). FileNotFoundError without a folder.

    `tracks`: one row a song, sorted by path, with `track_id`, `title`, `artist_name` (str), `num_segments` (int),
    `segments_pitches` (float32 (num_segments, 12), the strength of each pitch class, 0 to 1), and the MSD fields
    named in `fields` (seconds, beats per minute) as stored. `broken`: `path` and `reason` of each file left out.
    """
    files = root if isinstance(root, list) else find_files(root, ".h5")
    if unknown := sorted(set(fields) - FIELDS.keys()):
        raise ValueError(f"MSD files have no field {unknown}; they have {sorted(FIELDS)}.")
    wanted = tuple(dict.fromkeys([*NAMES, "num_segments", PITCHES, *fields]))
    rows, broken = read_all(partial(_read_one, wanted=wanted), files, num_workers, "MSD songs")
    return pd.DataFrame(rows, columns=list(wanted)).astype({"num_segments": int}), broken


def write_track(path: Path, **fields) -> None:
    """Write a song's MSD file with the layout of a real one; `fields` are named as `read_tracks` names them.

    `track_id`, `title`, `artist_name` and `segments_pitches` must be given. Else texts are empty, numbers 0 (three
    NaN), segments_* zeros, other arrays empty. Raises ValueError for a wrong or missing name and for too long a text.
    """
    if wrong := (fields.keys() - FIELDS.keys()) | ({*NAMES, PITCHES} - fields.keys()):
        raise ValueError(f"{path} was not written: {sorted(wrong)} are missing or no fields of an MSD file.")
    fields = dict.fromkeys(("artist_latitude", "artist_longitude", "song_hotttnesss"), np.nan) | fields
    with atomic(path) as temporary:
        temporary.write_bytes(_template())
        with h5py.File(temporary, "r+") as file:
            for name, (dataset, kind, _) in ARRAYS.items():
                if name in fields or name.startswith("segments_"):  # zeros that are never written take no space
                    file[dataset].resize(len(fields.get(name, fields[PITCHES])), axis=0)
                if name in fields:
                    text = kind[0] == "S"
                    file[dataset][...] = [_encode(v, name, kind) for v in fields[name]] if text else fields[name]
            for table in TABLES:
                row = np.zeros(1, _row_type(table))
                for name in fields.keys() & row.dtype.fields.keys():
                    row[name] = _encode(fields[name], name, SCALARS[name][1])
                file[table][...] = row


def _encode(value, name, kind):
    raw = value.encode() if isinstance(value, str) else value
    if isinstance(raw, bytes) and len(raw) > int(kind[1:]):
        raise ValueError(f"{name} has room for {kind[1:]} bytes, not for {len(raw)}: {value[:60]!r}")
    return raw


@lru_cache
def _row_type(table):
    columns = [(name, kind) for name, (place, kind, _) in SCALARS.items() if place == table]
    columns += [(f"idx_{name}", "i4") for name in ARRAYS if table.startswith(FIELDS[name][0]) and name not in NO_INDEX]
    return np.dtype(sorted(columns))  # PyTables sorts by name


@lru_cache
def _template():
    """Return the bytes of a file without a song, its tables with PyTables' attributes: each song begins as a copy."""
    access, options = h5p.create(h5p.FILE_ACCESS), h5p.create(h5p.DATASET_CREATE)
    creation, group = h5p.create(h5p.FILE_CREATE), h5p.create(h5p.GROUP_CREATE)
    access.set_fileobj_driver(h5fd.fileobj_driver, memory := io.BytesIO())
    access.set_libver_bounds(h5f.LIBVER_V110, h5f.LIBVER_V110)  # half the overhead of older formats
    for settings in (creation, group, options):
        settings.set_obj_track_times(False)  # the same song, the same bytes
    options.set_attr_phase_change(200, 100)  # 60 attributes, little space
    options.set_shuffle()
    options.set_deflate(1)
    file = h5py.File(h5f.create(b"template", h5f.ACC_TRUNC, creation, access))
    for table in TABLES:
        h5g.create(file.id, table.split("/")[0].encode(), None, group)
    arrays = [(dataset, np.dtype(kind), chunk) for dataset, kind, chunk in ARRAYS.values()]
    for name, dtype, chunk in [(table, _row_type(table), chunk) for table, chunk in TABLES.items()] + arrays:
        options.set_chunk(chunk)
        space = h5s.create_simple((name in TABLES, *chunk[1:]), (h5s.UNLIMITED, *chunk[1:]))
        attrs = h5py.Dataset(h5d.create(file.id, name.encode(), h5t.py_create(dtype), space, options)).attrs
        if name in TABLES:
            attrs.update(CLASS=np.bytes_("TABLE"), NROWS=np.int64(1), TITLE=np.bytes_(name), VERSION=np.bytes_("2.6"))
        for i, column in enumerate(dtype.names or ()):
            attrs[f"FIELD_{i}_NAME"] = np.bytes_(column)
            attrs[f"FIELD_{i}_FILL"] = np.zeros((), dtype[column])[()]
    file.close()
    return memory.getvalue()


def _read_one(path, wanted):
    try:
        file, row = h5f.open(bytes(path), h5f.ACC_RDONLY), dict.fromkeys(wanted)
    except OSError as error:
        if "signature" in str(error):
            raise ValueError("not an HDF5 file" if path.stat().st_size else "empty file") from None
        raise  # truncated files say so themselves
    for table in TABLES:
        if columns := {name: SCALARS[name][1] for name in wanted if name in SCALARS and SCALARS[name][0] == table}:
            values = zip(columns, _read(file, table, np.dtype([*columns.items()]), rows=1).item(), strict=True)
            row |= {name: value.decode() if isinstance(value, bytes) else value for name, value in values}
    for name in [name for name in wanted if name in ARRAYS]:
        dataset, kind, chunk = ARRAYS[name]
        values = _read(file, dataset, np.dtype(kind), chunk[1:])
        row[name] = values if kind[0] != "S" else np.array([value.decode() for value in values.tolist()], object)
    if not row["track_id"] or not len(row[PITCHES]):
        raise ValueError("the song has no segments" if row["track_id"] else "the track_id is empty")
    for name in row:
        if name.startswith("segments_") and len(row[name]) != len(row[PITCHES]):
            raise ValueError(f"{name} has {len(row[name])} segments, {PITCHES} {len(row[PITCHES])}")
    if not (row[PITCHES].min() >= 0 and row[PITCHES].max() <= 1):  # false for NaN too
        raise ValueError(f"{PITCHES} has values that are not from 0 to 1")
    return row | {"num_segments": len(row[PITCHES]), PITCHES: row[PITCHES].astype(np.float32)}


def _read(file, name, dtype, width=(), rows=None):
    """Return a data set of this type; of `rows` rows, or as many as there are, each of this width."""
    try:
        data = h5d.open(file, name.encode())
        for column in dtype.names or ():
            data.get_type().get_member_index(column.encode())  # HDF5 would leave a missing one empty
    except (KeyError, RuntimeError, AttributeError):
        raise ValueError(f"no {name}" + (f" with {' and '.join(dtype.names)}" if dtype.names else "")) from None
    shape = data.shape or ()  # None if it is empty by its type
    if len(shape) != 1 + len(width) or shape[1:] != width or shape[0] > MAX_ROWS or rows not in (None, shape[0]):
        raise ValueError(f"{name} has shape {shape}, not {(rows or 'rows', *width)}")
    values = np.empty(shape, dtype)
    data.read(h5s.ALL, h5s.ALL, values)
    return values
