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

from helpers import paths

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


def save(songs: pd.DataFrame, dataset: str, report: dict | None = None, folder: Path | None = None) -> Path:
    """Write `songs` of `helpers.joining.join` to `<dataset>_segments-<S>_<match>.pkl` and return its path.

    `dataset` is a folder of source files (a path: its name is kept, and whether it is synthetic) or a name.
    `report` is the one that `join` returned; its counts become part of the provenance. `folder` is
    `data/snapshots` by default. The file appears whole or not at all.
    """
    source, attrs = Path(dataset), songs.attrs
    name = f"{source.name}_segments-{attrs['segments']}_{attrs['match']}.pkl"
    content = {
        "format": FORMAT,
        "columns": {
            column: np.stack(songs[column]) if column in ARRAYS and len(songs) else songs[column].tolist()
            for column in songs
        },
        "vocabulary": list(attrs["vocabulary"]),
        "provenance": {
            "dataset": source.name,
            "synthetic": paths.is_synthetic(source),
            "segments": int(attrs["segments"]),
            "match": attrs["match"],
            "num_songs": len(songs),
            "steps": report["steps"].to_dict("list") if report else {},
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in ("numpy", "pandas", "h5py")},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    path = Path(folder or paths.SNAPSHOTS) / name
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
