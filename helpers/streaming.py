"""Data larger than memory: rows of HDF5 files that a batch reads when it asks for them, and joined songs as such."""

import json
from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path

import h5py
import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers import joining, lastfm, msd, paths, reading


class Rows:
    """Rows of data set `name` of HDF5 files, like one float32 array (rows, ..., 1). ValueError if they do not fit."""

    def __init__(self, files: list[Path], name: str, rows: np.ndarray | None = None):
        self.name, self.files = name, list(map(Path, files))
        self.datasets = [_open(file, name, "ids")[name] for file in self.files]
        shapes = {data.shape[1:] for data in self.datasets}
        if len(shapes) != 1:
            raise ValueError(f"{name} has rows of shapes {sorted(shapes)} in {list(map(str, files))}; write them anew.")
        self.starts = np.cumsum([0, *map(len, self.datasets)])
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
        """Return what tells these rows from others, for `joblib.hash`: what the files were made of; row numbers."""
        made_of = [data.file.attrs.get("inputs") or _state(Path(data.file.filename)) for data in self.datasets]
        return [made_of, self.name, self.rows]


def labels(files: list[Path]) -> pd.DataFrame:
    """Return the labels beside the rows of `files`: uint8, a column a tag, by id. ValueError for other vocabularies."""
    tables = []
    for path in files:
        with _open(path, "labels", "ids", "tags") as file:
            tags = file["tags"].asstr()[()]
            tables.append(pd.DataFrame(file["labels"][()], file["ids"].asstr()[()], tags))
        if list(tags) != list(tables[0]):
            raise ValueError(f"{path} has other tags than {files[0]}; write them anew with one vocabulary.")
    return pd.concat(tables)


def write(dataset, vocabulary, segments, folder, match="exact", files_per_shard=8000, num_workers=None):
    """Join all songs below `dataset` into HDF5 files in `folder`, on a cluster if there is one (see `reading`).

    Returns (shards, report): `steps` of `join`, summed, and `broken`. JSON files must be named after the track ids.
    A shard of 8,000 files takes 0.4 GB of memory, and is made again only if its files or an argument changed.
    """
    parts, shard_of, tags, folder = defaultdict(list), {}, defaultdict(list), Path(folder).absolute()  # for workers
    for i, path in enumerate(reading.find_files(dataset, ".h5")):
        parts[shard_of.setdefault(path.stem, i // files_per_shard)].append(path)  # copies meet, and are found out
    for path in reading.find_files(dataset, ".json"):
        tags[shard_of.get(path.stem)].append(path)
    how = {"vocabulary": list(vocabulary), "segments": int(segments), "match": match}
    make = partial(_make, how | {"mismatches": sorted(joining.read_mismatches(dataset))}, paths.provenance(dataset))
    work = [(folder / f"{i:04}-of-{len(parts):04}.h5", files, tags[i]) for i, files in parts.items()]
    done = map(make, work) if num_workers == 1 else reading.spread(make, work, num_workers)
    # Where a file has killed the process, this one makes the shard, and lets others read each file alone.
    reports = [report or make(item, 2) for item, report in zip(work, tqdm(done, "shards", len(work)), strict=True)]
    steps = pd.DataFrame(reports[0]["steps"])
    steps[["kept", "dropped"]] = sum(pd.DataFrame(report["steps"])[["kept", "dropped"]] for report in reports)
    broken = pd.DataFrame([row for report in reports for row in report["broken"]], columns=["path", "reason"])
    return [shard for shard, *_ in work], {"steps": steps, "broken": broken}


def _make(how, provenance, item, num_workers=1):
    shard, files, tag_files = item
    inputs = joblib.hash([how, provenance, list(map(_state, files)), list(map(_state, tag_files))])
    with suppress(OSError, KeyError, ValueError), h5py.File(shard) as file:  # else missing, half written, another's
        if file.attrs["inputs"] == inputs:
            return json.loads(file["report"][()])
    tracks, broken = msd.read_tracks(files, num_workers)
    tags, broken_tags = lastfm.read_tags(tag_files, num_workers)
    songs, report = joining.join(tracks, tags, **how)
    report = {"steps": report["steps"].to_dict("list"), "broken": pd.concat([broken, broken_tags]).values.tolist()}
    pitches = joining.pitches(songs)[..., 0]
    with paths.atomic(shard) as temporary, h5py.File(temporary, "w") as file:
        # A row a chunk, not compressed: that would save a quarter, and double the time of a read in random order.
        row = pitches.shape[1:]
        file.create_dataset("segments_pitches", data=pitches, chunks=(1, *row), maxshape=(None, *row))
        file["labels"], file["tags"] = joining.label_matrix(songs), how["vocabulary"]
        for name, column in {"ids": "track_id", "title": "title", "artist_name": "artist_name"}.items():
            texts = [text.replace("\0", "") for text in songs[column]]  # HDF5 has no zeros in texts
            file.create_dataset(name, data=texts, dtype=h5py.string_dtype())
        file["report"] = json.dumps(report)
        file.attrs.update(inputs=inputs, segments=how["segments"], match=how["match"], **provenance)
    return report


def _state(path):
    stat = path.stat() if path.exists() else path.lstat()  # a link to nowhere is listed as broken
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


def _open(path, *names):
    try:
        file = h5py.File(path)
    except OSError as error:
        raise type(error)(f"{path} cannot be read ({error}); write it anew.") from None
    if missing := set(names) - set(file):
        raise ValueError(f"{path} has no {', '.join(sorted(missing))}; it holds {sorted(file)}. Write it anew.")
    return file
