"""Find files and read them on all cores, or on the cluster of `joblib.parallel_config("dask")`; list broken ones."""

import os
import warnings
from concurrent.futures import BrokenExecutor
from functools import partial
from pathlib import Path

import joblib
import pandas as pd
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

# What a damaged file can raise, in h5py or json. Anything else is a bug of ours and stops the run.
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError, MemoryError)
CHUNK, FEW = 32, 2_000  # files that a process reads at a time; files that one has read before others have started
DIED = "the process that read this file died"


def find_files(root: Path, suffix: str) -> list[Path]:
    """Return the absolute paths of the files below `root` that end with `suffix` in either case, sorted; warn if none.

    Links to folders are followed; names that begin with a dot are skipped (macOS leaves a `._x.h5` beside `x.h5`).
    """
    found, folders, seen = [], [os.path.abspath(root)], set()
    for folder in folders:  # which grows
        place = os.path.realpath(folder)  # a link may lead back up; some drives give every folder the inode 0
        for entry in [] if place in seen else sorted(os.scandir(folder), key=lambda entry: entry.name):
            if not entry.name.startswith(".") and (entry.is_dir() or entry.name.lower().endswith(suffix.lower())):
                (folders if entry.is_dir() else found).append(entry.path)
        seen.add(place)
    if not found:
        warnings.warn(f"{root} holds no {suffix} file; is it the right folder?", stacklevel=2)
    return [Path(path) for path in sorted(found)]


def read_all(read_one, paths: list[Path], num_workers: int | None = None, description: str | None = None):
    """Map `read_one` (path -> dict) over `paths`; return (rows, broken), each in their order.

    `broken`: `path` and `reason` of the files that cannot be read, kill their process or repeat a `track_id`.
    `num_workers`: processes; None takes all cores if there is enough to read. No `description`, no progress bar.
    """
    work, chunks = partial(_try, read_one), [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    here = num_workers == 1 or (num_workers is None and len(paths) < FEW and _cluster() is None)
    rows, broken, first = [], [], {}
    hidden = {"disable": True} if description is None else {}  # else TQDM_DISABLE decides
    bar = tqdm(desc=description, total=len(paths), unit="file", **hidden)
    for chunk, results in zip(chunks, map(work, chunks) if here else spread(work, chunks, num_workers), strict=True):
        if results is None:  # one of the files may have killed the process: each alone
            results = [row for path in chunk for row in next(spread(work, [[path]], num_workers)) or [(None, DIED)]]
        for path, (row, reason) in zip(chunk, results, strict=True):
            if row is not None and (earlier := first.setdefault(row.get("track_id", path), path)) != path:
                reason = f"same track_id as {earlier}"
            if reason is None:
                rows.append(row)
            else:
                broken.append((str(path), reason))
        bar.update(len(chunk))
    bar.close()
    return rows, pd.DataFrame(broken, columns=["path", "reason"])


def _try(read_one, paths):
    results = []
    for path in paths:
        try:
            results.append((read_one(path), None))
        except READ_ERRORS as error:  # our own checks raise ValueError and speak plainly
            reason = str(error) or type(error).__name__
            results.append((None, reason if isinstance(error, ValueError) else f"cannot be read: {reason}"))
    return results


def spread(work, items: list, num_workers: int | None = None):
    """Yield `work(item)` of each of `items`, in order, from other processes; None where one died of it or another."""
    died, done, client = BrokenExecutor, 0, _cluster()
    if client:  # joblib would wait for ever for a task that the cluster gives up
        from distributed import KilledWorker as died
    executor = client.get_executor(pure=False) if client else get_reusable_executor(num_workers, timeout=300)
    try:
        for result in executor.map(work, items):
            yield result
            done += 1
    except died:
        yield None
        yield from spread(work, items[done + 1 :], num_workers)


def _cluster():
    return getattr(joblib.parallel.get_active_backend()[0], "client", None)
