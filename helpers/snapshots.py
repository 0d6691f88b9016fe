"""Snapshots: the joined, filtered songs in one pickle file that opens in a second on a laptop or on Colab.

Mason 2020, "Execution speeds": thousands of small files load slowly from a network drive, one file does not.
A snapshot holds only Python's basic types and plain NumPy arrays, so it does not depend on the pandas version,
and `load` refuses every pickle that names anything else.
"""

import pickle
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import joining, lastfm, msd, paths

FORMAT = "crnn-music-tagging snapshot 1"
ARRAYS = ("segments_pitches", "labels")
# What NumPy puts into a pickle of a plain array; NumPy 1 and 2 name the same functions differently.
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.ndarray([0]).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.ndarray([0]).__reduce__()[0],
    ("numpy.core.numeric", "_frombuffer"): np.ndarray([0]).__reduce_ex__(5)[0],
    ("numpy._core.numeric", "_frombuffer"): np.ndarray([0]).__reduce_ex__(5)[0],
}


class _AllowList(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no snapshot needs")
        return ALLOWED[module, name]


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
    with paths.atomic(path) as temporary:
        temporary.write_bytes(pickle.dumps(content, protocol=5))
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
        with path.open("rb") as file:
            content = _AllowList(file).load()
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f"{path} was not loaded: {error}. Make it anew with notebook 01.") from error
    except Exception as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run notebook 01 again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is a pickle, but not a '{FORMAT}'; make it anew with notebook 01.")
    songs = pd.DataFrame({name: list(values) for name, values in content["columns"].items()})
    provenance = content["provenance"]
    songs.attrs = {
        "vocabulary": content["vocabulary"],
        "segments": provenance["segments"],
        "match": provenance["match"],
        "provenance": provenance,
    }
    return songs
