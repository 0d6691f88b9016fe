"""Find files below a folder and read them on all cores; files that cannot be read are listed, never fatal.

Within `joblib.parallel_config("dask")` the workers of a Dask cluster read them, which must see the same files.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import joblib
import pandas as pd
from tqdm import tqdm

# What a damaged file can raise, in h5py or json. Anything else is a bug of ours and stops the run.
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError, MemoryError)
PROBE = 50  # files read in this process before deciding whether other processes are worth their start
CHUNK = 32  # files per task: sending one file at a time would cost more than reading it
WORTHWHILE = 2.0  # seconds of reading left that make up for starting processes (about one second)
DIED = "the reader process died on this file"


def find_files(root: Path, suffix: str) -> list[Path]:
    """Return the absolute paths of the files below `root` whose name ends with `suffix`, at any depth, sorted.

    Links to folders are followed. Names that begin with a dot are skipped: macOS leaves a `._x.h5` beside
    each `x.h5`. Raises FileNotFoundError if `root` is not a folder, PermissionError if one cannot be listed.
    """
    if not os.path.isdir(root):
        raise FileNotFoundError(f"{root} is not a folder; give the folder that holds the {suffix} files.")
    found, seen = [], set()
    for folder, folders, names in os.walk(os.path.abspath(root), onerror=_raise, followlinks=True):
        identity = os.stat(folder).st_dev, os.stat(folder).st_ino
        if identity in seen:  # a link back up the tree would go round for ever
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(folder, n) for n in names if n.endswith(suffix) and not n.startswith(".")]
    return [Path(path) for path in sorted(found)]


def read_all(
    read_one: Callable[[Path], dict], paths: list[Path], num_workers: int | None, description: str | None
) -> tuple[list[dict], pd.DataFrame]:
    """Map `read_one` over `paths`; return (rows, broken), each in the order of `paths`.

    Every path ends in one of the two: `rows` holds the dicts that `read_one` returned, `broken` has the
    columns `path` and `reason` (str) for the files on which it failed, for those that killed their process
    (a corrupt HDF5 file can), and for those that repeat the `track_id` of an earlier file.
    `num_workers`: processes; None takes all cores when there is enough to read. The result does not depend
    on it, except that a file which kills its reader kills the caller if it is read there: with 1, and with
    None if there is little to read. On a cluster, any other number than 1 means all workers.
    `description` stands beside the progress bar; None shows no bar.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}; use None (all cores) or 1 and above.")
    rows, broken, first = [], [], {}
    results = _results(read_one, paths, num_workers)
    if description is not None:
        results = tqdm(results, description, len(paths), unit="file")
    for path, (row, reason) in zip(paths, results, strict=True):
        if row is not None and (earlier := first.setdefault(row.get("track_id", path), path)) != path:
            reason = f"same track_id as {earlier}"
        if reason is None:
            rows.append(row)
        else:
            broken.append((str(path), reason))
    return rows, pd.DataFrame(broken, columns=["path", "reason"])


def spread(work: Callable, items: list, num_workers: int | None, rescue: Callable) -> Iterator:
    """Yield `work(item)` of each of `items`, in their order, computed in other processes.

    They are `num_workers` processes (None: all cores) of this machine, or the workers of the Dask cluster if this
    is within `joblib.parallel_config("dask")`. A cluster gives an item whose worker died to another worker. Where
    an item is given up, `rescue(item)` is called here instead; it may have been another item that did the killing.
    """
    done = 0
    while done < len(items):
        try:
            for result in _tasks(work, items[done:], num_workers):
                done += 1
                yield result
        except BrokenExecutor:
            done += 1
            yield rescue(items[done - 1])


def _results(read_one, paths, num_workers) -> Iterator[tuple[dict | None, str | None]]:
    """Yield (row, None) or (None, reason) for each of `paths`, in order."""
    start = time.perf_counter()
    undecided = num_workers is None and _dask_client() is None
    alone = len(paths) if num_workers == 1 else PROBE if undecided else 0
    for path in paths[:alone]:
        yield _attempt(read_one, path)
    rest = paths[alone:]
    if undecided:
        seconds_left = (time.perf_counter() - start) / PROBE * len(rest)
        num_workers = joblib.cpu_count() if seconds_left > WORTHWHILE else 1
    if num_workers == 1:
        yield from (_attempt(read_one, path) for path in rest)
    else:
        chunks = [rest[start : start + CHUNK] for start in range(0, len(rest), CHUNK)]
        work = partial(_attempt_all, read_one)
        for results in spread(work, chunks, num_workers, partial(_one_by_one, work, num_workers)):
            yield from results


def _one_by_one(work, num_workers, paths):
    """Find out which of `paths` kills its reader: only one is read at a time."""
    one_each = [spread(work, [[path]], num_workers, lambda _: [(None, DIED)]) for path in paths]
    return [result for results in one_each for [result] in results]


def _tasks(work, items, num_workers):
    client = _dask_client()
    if client is not None:
        yield from _on_cluster(client, work, items)
    else:
        parallel = joblib.Parallel(num_workers or -1, backend="loky", batch_size=1, return_as="generator")
        yield from parallel(joblib.delayed(work)(item) for item in items)


def _dask_client():
    """Return the client of the Dask cluster that `joblib.parallel_config("dask")` chose, or None."""
    return getattr(joblib.parallel.get_active_backend()[0], "client", None)


def _on_cluster(client, work, items):
    # Not through joblib.Parallel: it would wait for ever for a task that the cluster gives up.
    from distributed import KilledWorker

    items, waiting = iter(items), deque()
    ahead = max(8, 4 * sum(client.ncores().values()))  # more results than that do not pile up
    while True:
        waiting.extend(client.submit(work, item, pure=False) for item in islice(items, ahead - len(waiting)))
        if not waiting:
            return
        try:
            result = waiting.popleft().result()
        except KilledWorker as error:
            raise BrokenExecutor(str(error)) from None
        yield result


def _attempt_all(read_one, paths):
    return [_attempt(read_one, path) for path in paths]


def _attempt(read_one, path):
    try:
        return read_one(path), None
    except READ_ERRORS as error:
        # Our own checks raise ValueError and speak plainly; the rest comes from the libraries below.
        plain = isinstance(error, ValueError)
        return None, str(error) if plain else f"cannot be read: {str(error) or type(error).__name__}"


def _raise(error):
    raise error
