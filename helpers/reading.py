"""Find files and read them on all cores, or on the cluster of `joblib.parallel_config("dask")`; list broken ones."""

import errno
import os
import warnings
from concurrent.futures import BrokenExecutor
from functools import partial
from pathlib import Path

import joblib
import pandas as pd
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

# What a damaged file can raise, in h5py, json or a decoder. Anything else is a bug of ours and stops the run.
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError, MemoryError)
CHUNK, FEW = 32, 2_000  # files that a process reads at a time; files that one has read before others have started
DIED = "the process that read this file died"


def find_files(root: Path, suffix: str) -> list[Path]:
    """Return paths below `root` that end with `suffix` (any case), sorted; FileNotFoundError if none, but for ""."""
    found, folders, first = [], [os.path.abspath(root)], {}
    for folder in folders:  # which grows; a link may lead back up, and some drives give every folder the inode 0
        if folder != folders[0] and not os.access(folder, os.R_OK | os.X_OK):  # such as a disk's lost+found
            warnings.warn(f"{folder} may not be read; what is in it is left out.", stacklevel=2)
        elif first.setdefault(os.path.realpath(folder), folder) == folder:
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                if not entry.name.startswith(".") and (entry.is_dir() or entry.name.lower().endswith(suffix.lower())):
                    (folders if entry.is_dir() else found).append(entry.path)  # not macOS's `._x.h5` beside `x.h5`
    if suffix and not found:
        raise FileNotFoundError(f"{root} holds no {suffix} file; is it the right folder?")
    return [Path(path) for path in sorted(found)]


def read_all(read_one, paths: list[Path], num_workers: int | None = None, description: str | None = None):
    """Return (rows, broken): `read_one` of all `paths`; `path`, `reason` of those that fail or repeat a `track_id`."""
    work, chunks = partial(_try, read_one), [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    here = num_workers == 1 or (num_workers is None and len(paths) < FEW)  # None: all cores, if it pays
    done = map(work, chunks) if here else spread(work, chunks, num_workers)
    rows, broken, first = [], [], {}
    for chunk, results in zip(chunks, tqdm(done, description, len(chunks), unit=f" x {CHUNK} files"), strict=True):
        if results is None:  # one of the files may have killed the process: each alone
            results = [row for path in chunk for row in next(spread(work, [[path]], num_workers)) or [DIED]]
        for path, row in zip(chunk, results, strict=True):
            earlier = first.setdefault(row["track_id"], path) if isinstance(row, dict) else None
            if earlier == path:
                rows.append(row)
            else:
                broken.append((str(path), f"same track_id as {earlier}" if earlier else row))
    return rows, pd.DataFrame(broken, columns=["path", "reason"])


def _try(read_one, paths):
    results = []
    for path in paths:
        try:
            results.append(read_one(path))
        except READ_ERRORS as error:  # our own checks raise ValueError and speak plainly
            results.append(("" if isinstance(error, ValueError) else "cannot be read: ") + explain(error))
    return results


def explain(error: Exception) -> str:
    """Return what `error` says of a file; raise it anew if none is to blame: the drive is gone, too many are open."""
    if getattr(error, "errno", None) in {errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE}:
        raise error
    return str(error) or type(error).__name__


def spread(work, items: list, num_workers: int | None = None):
    """Yield `work(item)` of each of `items`, in order, from other processes; None where one died of it or another."""
    died, done, client = BrokenExecutor, 0, getattr(joblib.parallel.get_active_backend()[0], "client", None)
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
