"""Snapshots: the joined, filtered songs in one pickle file that opens in a second on a laptop or on Colab.

Mason 2020, "Execution speeds": thousands of small files load slowly from a network drive, one file does not.
A snapshot holds only Python's basic types and plain NumPy arrays, so it does not depend on the pandas version,
and `load` refuses every pickle that names anything else.
"""

import io
import pickle
import platform
import re
import zlib
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import joining, lastfm, msd, paths

FORMAT = "crnn-music-tagging snapshot 1"
ARRAYS = ("segments_pitches", "labels")


def _dtype(name, *_):
    if not (isinstance(name, str) and re.fullmatch("[biuf][1248]|O8", name)):
        raise pickle.UnpicklingError(f"it names the dtype {str(name)[:60]}, which no snapshot needs")
    return np.dtype(name)  # NumPy's own, which no state in a pickle can change


# What NumPy puts into a pickle of a plain array; NumPy 1 and 2 name the same functions differently. The array's size
# follows from the bytes that the file really holds: NumPy's `ndarray` and `_reconstruct` would take any that it claims.
FROMBUFFER = np.ndarray([0]).__reduce_ex__(5)[0]
ALLOWED = {
    ("numpy", "ndarray"): None,  # an argument of _reconstruct
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0, np.uint8),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: np.empty(0, np.uint8),
    ("numpy.core.numeric", "_frombuffer"): FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): FROMBUFFER,
}


class _AllowList(pickle._Unpickler):
    """Python's unpickler that is written in Python: the one in C takes gigabytes for a memo that nine bytes ask for."""

    dispatch = pickle._Unpickler.dispatch.copy()
    for opcode in (pickle.DUP, pickle.EMPTY_SET, pickle.FROZENSET):
        del dispatch[opcode[0]]

    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no snapshot needs")
        function = ALLOWED[module, name]
        return function and (lambda *arguments: function(*arguments))  # a new one: a pickle can set attributes

    def _set(self, items):
        # A short pickle can hold a key that takes for ever to hash, or that crashes Python.
        if not all(isinstance(key, str) for key in items[::2]):
            raise pickle.UnpicklingError("it has a key that is no string")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self):
        self._set(self.pop_mark())

    def load_dict(self):
        items = self.pop_mark()
        self.append({})
        self._set(items)

    dispatch[pickle.SETITEM[0]], dispatch[pickle.SETITEMS[0]] = load_setitem, load_setitems
    dispatch[pickle.DICT[0]] = load_dict


def path_of(dataset: Path, segments: int, match: str = "exact", folder: Path | None = None) -> Path:
    """Return where the snapshot of a data folder lies, such as `data/snapshots/demo_segments-252_exact.pkl`."""
    return Path(folder or paths.SNAPSHOTS) / f"{Path(dataset).name}_segments-{segments}_{match}.pkl"


def ensure(dataset: Path, vocabulary: list[str], segments: tuple[int, ...], folder: Path | None = None) -> list[Path]:
    """Return the snapshots of `dataset` at these segment counts, joined exactly; makes all if one is missing.

    Notebook 01 makes them step by step; this is for a reader who starts at a later one.
    """
    found = [path_of(dataset, count, folder=folder) for count in segments]
    if all(path.is_file() for path in found):
        return found
    tracks, tags = msd.read_tracks(dataset)[0], lastfm.read_tags(dataset)[0]
    joined = [joining.join(tracks, tags, vocabulary, count) for count in segments]
    return [save(songs, dataset, report, folder) for songs, report in joined]


def save(songs: pd.DataFrame, dataset: Path, report: dict | None = None, folder: Path | None = None) -> Path:
    """Write `songs` of `helpers.joining.join` to `<dataset>_segments-<S>_<match>.pkl` and return its path.

    `dataset` is the folder the songs were read from; its name is kept, and whether it is synthetic.
    `report` is the one that `join` returned; its counts become part of the provenance. `folder` is
    `data/snapshots` by default. The file appears whole or not at all.
    """
    attrs = songs.attrs
    content = {
        "format": FORMAT,
        "columns": {
            column: np.stack(songs[column]) if column in ARRAYS and len(songs) else songs[column].tolist()
            for column in songs
        },
        "vocabulary": list(attrs["vocabulary"]),
        "provenance": {
            **paths.provenance(dataset),
            "segments": int(attrs["segments"]),
            "match": attrs["match"],
            "num_songs": len(songs),
            "steps": report["steps"].to_dict("list") if report else {},
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in ("numpy", "pandas", "h5py")},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    path = path_of(dataset, attrs["segments"], attrs["match"], folder)
    data = pickle.dumps(content, protocol=5)
    with paths.atomic(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.write(_checksum(data))  # after its end, a pickle can hold anything
    return path


def load(path: Path) -> pd.DataFrame:
    """Return the songs of a snapshot: the DataFrame that was saved, with the same columns and dtypes.

    `songs.attrs` holds `vocabulary`, `segments`, `match` and `provenance` (data set, synthetic or not, counts
    of each join step, versions, date). Reading runs no code from the file.
    Raises FileNotFoundError, pickle.UnpicklingError for a pickle that names a function or class which is not
    on the allow-list, and ValueError for a damaged file or another kind of pickle.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No snapshot at {path}; notebook 01_join_and_pickle makes it.")
    try:
        data = path.read_bytes()
        if _checksum(memoryview(data)[:-4]) != data[-4:] and not data.endswith(pickle.STOP):  # older ones have none
            raise ValueError("its checksum does not fit")
        content = _AllowList(io.BytesIO(data)).load()
        foreign = not isinstance(content, dict) or content.get("format") != FORMAT
        songs = None if foreign else _songs(content)
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f"{path} was not loaded: {error}. Make it anew with notebook 01.") from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is damaged ({reason}); delete it and run notebook 01 again.") from error
    if foreign:
        raise ValueError(f"{path} is a pickle, but not a '{FORMAT}'; make it anew with notebook 01.")
    return songs


def _checksum(data) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _songs(content):
    """Return the table of a snapshot's content; raise ValueError, or what else its damage leads to."""
    columns, provenance, vocabulary = content["columns"], content["provenance"], content["vocabulary"]
    for name, kind in {"track_id": str, "title": str, "artist_name": str, "num_segments": int}.items():
        if not (isinstance(columns[name], list) and all(isinstance(value, kind) for value in columns[name])):
            raise ValueError(f"{name} is not a list of {kind.__name__}")
    num_songs, segments = len(columns["track_id"]), provenance["segments"]
    if any(len(values) != num_songs for values in columns.values()):
        raise ValueError("its columns differ in length")
    for name, dtype, shape in (("segments_pitches", "f4", (segments, 12)), ("labels", "u1", (len(vocabulary),))):
        values = columns[name] if num_songs else np.zeros((0, *shape), dtype)
        if not (isinstance(values, np.ndarray) and values.dtype == dtype and values.shape == (num_songs, *shape)):
            raise ValueError(f"{name} is no array of {dtype} {(num_songs, *shape)}")
        if num_songs and not (values.min() >= 0 and values.max() <= 1):  # false for NaN too
            raise ValueError(f"{name} has values outside [0, 1]")
    songs = pd.DataFrame({name: list(values) for name, values in columns.items()})
    songs.attrs = {
        "vocabulary": vocabulary,
        "segments": segments,
        "match": provenance["match"],
        "provenance": provenance,
    }
    return songs
