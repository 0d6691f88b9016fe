"""Snapshots: the joined songs in one pickle of nothing but Python's basic types (Mason 2020, "Execution speeds")."""

import io
import os
import pickle
import zlib
from contextlib import suppress
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from helpers import joining, lastfm, msd, paths, reading

FORMAT = b"crnn-music-tagging snapshot 2"


class _Refusing(pickle.Unpickler):
    def find_class(self, module, name):
        raise ValueError(f"it names {module}.{name}, but a snapshot names no function or class")


def path_of(dataset: Path, segments: int, match: str = "exact", folder: Path | None = None) -> Path:
    """Return where the snapshot of a data folder lies, such as `data/snapshots/demo_segments-252_exact.pkl`."""
    return Path(folder or paths.SNAPSHOTS) / f"{Path(dataset).name}_segments-{segments}_{match}.pkl"


def ensure(dataset: Path, vocabulary: list[str], segments: tuple[int, ...], folder: Path | None = None) -> list[Path]:
    """Return `dataset`'s snapshots, joined exactly, without `sid_mismatches.txt`; all made anew if one is outdated."""
    found = [path_of(dataset, count, folder=folder) for count in segments]
    files, wrong, expected = _files(dataset), joining.read_mismatches(dataset), {"vocabulary": list(vocabulary)}
    expected |= {"files": files, "mismatches": joblib.hash(sorted(wrong))} if files else {}
    with suppress(FileNotFoundError, pickle.UnpicklingError):
        if all(expected.items() <= load(path).attrs.items() for path in found):
            return found
    (tracks, broken), (tags, broken_tags) = msd.read_tracks(dataset), lastfm.read_tags(dataset)
    for path, reason in pd.concat([broken, broken_tags]).head(1).to_numpy():
        print(f"{len(broken) + len(broken_tags)} files cannot be read and are left out: {path} ({reason}) ...")
    joined = (joining.join(tracks, tags, vocabulary, count, mismatches=wrong) for count in segments)
    return [save(songs, dataset, report, folder, files) for songs, report in joined]


def save(songs: pd.DataFrame, dataset: Path, report: dict | None = None, folder: Path | None = None, files="") -> Path:
    """Write `songs` and `report` of `joining.join`; ValueError for any column but text, numbers and arrays of them."""
    files = files or songs.attrs.get("files") or _files(dataset)  # of before the reading: none that came meanwhile
    attrs = songs.attrs | {"files": files if len(songs) == songs.attrs.get("num_songs") else "some songs"}
    attrs["provenance"] = paths.provenance(dataset) | {key: attrs[key] for key in ("segments", "match")}
    attrs["provenance"] |= {"num_songs": len(songs), "steps": report["steps"].to_dict("list") if report else {}}
    columns = {name: [_packed(name, value) for value in songs[name].tolist()] for name in songs}
    data = pickle.dumps({"columns": columns, "attrs": attrs}, protocol=5)
    path = path_of(dataset, attrs["segments"], attrs["match"], folder)
    with paths.atomic(path) as temporary:
        temporary.write_bytes(data + zlib.crc32(FORMAT + data).to_bytes(4))
    return path


def load(path: Path) -> pd.DataFrame:
    """Return the songs of a snapshot; pickle.UnpicklingError for a damaged or foreign file, of which nothing is run."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"No snapshot at {path}; notebook 01 makes it. On Drive? Then set USE_DRIVE = True.")
    raw = Path(path).read_bytes()
    try:
        if zlib.crc32(FORMAT + raw[:-4]) != int.from_bytes(raw[-4:]):
            raise ValueError("its checksum is wrong: it is damaged, or no snapshot of this version")
        content = _Refusing(io.BytesIO(raw)).load()
        songs = pd.DataFrame({name: list(map(_unpacked, values)) for name, values in content["columns"].items()})
        songs.attrs = content["attrs"]
    except Exception as error:
        raise pickle.UnpicklingError(f"{path} was not loaded: {error}. Make it anew with notebook 01.") from error
    return songs


def _packed(name, value):
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufSU":
        return value.dtype.str, value.shape, value.tobytes()
    if type(value) not in (str, int, float, bool, bytes):
        raise ValueError(f"A snapshot cannot hold the {type(value).__name__} in column {name!r}; drop or convert it.")
    return value


def _unpacked(value):
    return np.frombuffer(value[2], value[0]).reshape(value[1]).copy() if isinstance(value, tuple) else value


def _files(dataset):
    """Return a hash of path, size and time of each file that a snapshot is made of, or "" if there are none."""
    found = reading.find_files(dataset, "") if Path(dataset).is_dir() else []
    files = [path for path in found if path.suffix.lower() in (".h5", ".json") and path.exists()]
    stats = [(os.path.relpath(path, dataset), path.stat()) for path in files]
    return joblib.hash([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]) if files else ""
