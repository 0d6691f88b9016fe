"""A data set larger than memory: joined songs in many HDF5 files, which training reads through `streaming.Rows`.

Each file, a shard, is read, joined and written on its own, and only counts come back. So memory stays small, a run
that was stopped goes on where it was, and within `joblib.parallel_config("dask")` a cluster does the work, if all its
workers see the same folders.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection
from functools import partial
from pathlib import Path

import h5py
import pandas as pd
from tqdm import tqdm

from helpers import joining, lastfm, msd, paths, reading

FILES = 8_000  # MSD files a shard: 0.4 GB while it is made, and 125 shards in all, which one process can keep open


def write(
    dataset: Path,
    vocabulary: list[str],
    segments: int,
    folder: Path,
    match: str = "exact",
    mismatches: Collection[str] = (),
    files_per_shard: int = FILES,
    num_workers: int | None = None,
) -> tuple[list[Path], dict[str, pd.DataFrame]]:
    """Join all songs below `dataset` into shards in `folder`; return (shards, report). Mason 2020, "Joining".

    The songs are those of `msd.read_tracks`, `lastfm.read_tags` and `joining.join` with the same arguments, in the
    same order. The files must be named after their track ids, as in both data sets. A shard that is there is not made
    again, unless its files, by name and size, or the arguments changed. `num_workers`: as `reading.spread`, 1 for none
    but this process.

    A shard holds `segments_pitches`, float32 (songs, 12, segments), a song a chunk; `labels`, uint8 (songs, tags);
    `tags`; `ids`, the track ids; `title`, `artist_name`; `report`; and as attributes `segments`, `match`, `dataset`
    and `synthetic`. `report["steps"]` is that of `join`, summed; `report["broken"]` has `path` and `reason`.
    Raises FileNotFoundError if `dataset` is no folder, ValueError if it has no MSD files or `join` refuses an
    argument, FileExistsError if `folder` has HDF5 files that this call does not make.
    """
    dataset, folder = Path(dataset), Path(folder)
    parts = _parts(dataset, files_per_shard)
    shards = [folder / f"{i:04}-of-{len(parts):04}.h5" for i in range(len(parts))]
    if strangers := sorted({path.name for path in folder.glob("[!.]*.h5")} - {path.name for path in shards}):
        raise FileExistsError(f"{folder} has other files, {strangers[0]} first; delete them or choose another folder.")
    how = dict(vocabulary=list(vocabulary), segments=int(segments), match=match, mismatches=sorted(mismatches))
    make = partial(_make, how, paths.provenance(dataset))
    work = list(zip(shards, parts, strict=True))
    spread = map(make, work) if num_workers == 1 else reading.spread(make, work, num_workers, partial(_rescue, make))
    reports = list(tqdm(spread, "shards", len(work), unit="shard"))
    for half in folder.glob(".*-of-*.h5"):  # what a process that died left behind
        half.unlink()
    steps = [pd.DataFrame(report["steps"]) for report in reports]
    counts = sum(table[["kept", "dropped"]] for table in steps)
    broken = pd.DataFrame([row for report in reports for row in report["broken"]], columns=["path", "reason"])
    return shards, {"steps": steps[0].assign(**counts), "broken": broken}


def songs(shards: list[Path]) -> pd.DataFrame:
    """Return `title` and `artist_name` of the rows of `shards`, by track id, for splits by artist and their leakage."""
    tables = []
    for path in shards:
        with h5py.File(path) as file:
            columns = {name: file[name].asstr()[()] for name in ("ids", "title", "artist_name")}
            tables.append(pd.DataFrame(columns, dtype=object).set_index("ids"))
    return pd.concat(tables)


def _parts(dataset, files_per_shard):
    """Return the parts of the work: (MSD files, JSON files, database or None) each."""
    files, copies, tags = defaultdict(list), {}, defaultdict(list)
    for i, path in enumerate(reading.find_files(dataset, ".h5")):
        # Copies of a song go into the same shard, where the reader sees that they are.
        files[copies.setdefault(path.stem, i // files_per_shard)].append(path)
    if not files:
        raise ValueError(f"{dataset} holds no .h5 file; give the folder with the data.")
    for path in reading.find_files(dataset, ".json"):
        tags[copies.get(path.stem)].append(path)
    database = None if tags else next(iter(reading.find_files(dataset, lastfm.DATABASE)), None)
    return [(files[i], tags[i], database) for i in files]


def _make(how, provenance, item, deadly=()):
    """Make one shard, unless it is there; return its report. `deadly` files are not read."""
    shard, (files, tag_files, database) = item
    sources = [*files, *tag_files, *([database] if database else [])]
    sources = [(path.name, path.stat().st_size if path.exists() else None) for path in sources]
    inputs = hashlib.sha256(json.dumps([how, provenance, sources]).encode()).hexdigest()
    if shard.is_file() and (report := _report(shard, inputs)):
        return report
    tracks, broken = msd.read_files([path for path in files if str(path) not in deadly], 1, progress=False)
    if database:
        tags, broken_tags = lastfm.read_database(database, tracks["track_id"])
    else:
        tags, broken_tags = lastfm.read_files(tag_files, 1, progress=False)
    table, report = joining.join(tracks, tags, **how)
    broken = [*((path, reading.DIED) for path in deadly), *broken.to_numpy(), *broken_tags.to_numpy()]
    report = {"steps": report["steps"].to_dict("list"), "broken": [list(row) for row in broken]}
    with paths.atomic(shard) as temporary, h5py.File(temporary, "w") as file:
        _fill(file, table)
        file["report"] = json.dumps(report)
        file.attrs.update(inputs=inputs, segments=how["segments"], match=how["match"], **provenance)
    return report


def _fill(file, table):
    pitches = joining.pitches(table)[..., 0]
    row = pitches.shape[1:]
    # Not compressed: that would save a quarter, and double the time of a read in random order.
    file.create_dataset("segments_pitches", data=pitches, chunks=(1, *row), maxshape=(None, *row))
    file["labels"] = joining.label_matrix(table)
    file["tags"] = table.attrs["vocabulary"]
    for name, column in {"ids": "track_id", "title": "title", "artist_name": "artist_name"}.items():
        texts = [text.replace("\0", "") for text in table[column]]  # HDF5 has no zeros in texts
        file.create_dataset(name, data=texts, dtype=h5py.string_dtype())


def _report(shard, inputs):
    """Return the report of a whole shard that was made of `inputs`, else None."""
    try:
        with h5py.File(shard) as file:
            return json.loads(file["report"][()]) if file.attrs["inputs"] == inputs else None
    except (OSError, KeyError, ValueError):
        return None


def _rescue(make, item):
    """Make the shard whose process died: find the files that kill a reader, and go without them."""
    _, (files, *_) = item
    _, broken = msd.read_files(files, 2, progress=False)
    return make(item, deadly=broken["path"][broken["reason"] == reading.DIED].tolist())
