"""Inputs that stay on the disk: rows of HDF5 files, read when a batch asks for them.

`audio.extract` writes such a file, `shards.write` many. A row is a chunk, so any order reads no more than its rows.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

PACK_BYTES = 64 * 2**20  # of float32 values that are read ahead at a time when all rows are passed through


class Rows:
    """Rows of one data set in one or more HDF5 files, in their order, as if they were one float32 array.

    `shape` is (rows, ..., 1): a last axis of one channel is added, as the networks want it. Indexing as in NumPy
    reads and returns an array; `take` returns Rows. Raises FileNotFoundError, or ValueError if a file lacks the data
    set or differs in shape.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, files: list[Path], name: str, rows: np.ndarray | None = None):
        self.name, self.files = name, [Path(file) for file in files]
        opened = [_open(file, name, "ids") for file in self.files]
        self.datasets = [file[name] for file in opened]
        shapes = {data.shape[1:] for data in self.datasets}
        if len(shapes) != 1:
            raise ValueError(f"{name} has rows of shapes {sorted(shapes)} in {self.files[0].parent}; write them anew.")
        self.starts = np.cumsum([0, *(len(data) for data in self.datasets)])
        self.rows = np.arange(self.starts[-1]) if rows is None else np.asarray(rows)
        self.shape = (len(self.rows), *shapes.pop(), 1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> np.ndarray:
        rows = self.rows[index]
        if rows.ndim == 0:
            return self[[index]][0]
        out = np.empty((len(rows), *self.shape[1:]), np.float32)
        for i in np.argsort(rows):  # in the order of the disk
            file = np.searchsorted(self.starts, rows[i], side="right") - 1
            out[i, ..., 0] = self.datasets[file][rows[i] - self.starts[file]]
        return out

    def take(self, index: np.ndarray) -> "Rows":
        """Return the rows at `index` (integers or a mask) as Rows, without reading any."""
        return Rows(self.files, self.name, self.rows[index])

    def fingerprint(self) -> list:
        """Return what tells these rows from others, for `joblib.hash`: each file's path, size and time, row numbers."""
        states = [(path.resolve(), path.stat()) for path in self.files]
        return [[(str(path), state.st_size, state.st_mtime_ns) for path, state in states], self.name, self.rows]


def labels(files: list[Path]) -> pd.DataFrame:
    """Return the labels beside the rows of `files`, uint8 (rows, tags), a column a tag, by id; they fit in memory.

    Raises ValueError if a file has none or another vocabulary.
    """
    tables = []
    for path in files:
        with _open(path, "labels", "ids", "tags") as file:
            tags = file["tags"].asstr()[()]
            tables.append(pd.DataFrame(file["labels"][()], file["ids"].asstr()[()], tags))
        if list(tags) != list(tables[0]):
            raise ValueError(f"{path} has other tags than {files[0]}; write them anew with one vocabulary.")
    return pd.concat(tables)


def blocks(num_rows: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices that pass through all rows, each of about `PACK_BYTES`."""
    step = max(1, PACK_BYTES // row_bytes)
    yield from (slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step))


def _open(path, name, *others):
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing; extract or write it anew.")
    try:
        file = h5py.File(path)
    except OSError as error:
        raise ValueError(f"{path} is no HDF5 file that can be read ({error}); write it anew.") from None
    if name not in file:
        raise ValueError(f"{path} has no {name!r}; it holds {sorted(file)}.")
    datasets = [file.get(each) for each in (name, *others)]
    if not all(isinstance(data, h5py.Dataset) for data in datasets) or len(datasets[0]) != len(datasets[1]):
        raise ValueError(f"{path} is damaged; write it anew.")
    return file
