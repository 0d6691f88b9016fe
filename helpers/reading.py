"""Find files below a folder and read them on all cores; files that cannot be read are listed, never fatal."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import joblib
import pandas as pd
from tqdm import tqdm

# What a damaged file can raise, in h5py or json. Anything else is a bug of ours and stops the run.
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError, MemoryError)
PROBE = 50  # files read in this process before deciding whether other processes are worth their start
CHUNK = 32  # files per task: sending one file at a time would cost more than reading it
WORTHWHILE = 2.0  # seconds of reading left that make up for starting processes (about one second)


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
    read_one: Callable[[Path], dict], paths: list[Path], num_workers: int | None, description: str
) -> tuple[list[dict], pd.DataFrame]:
    """Map `read_one` over `paths`; return (rows, broken), each in the order of `paths`.

    Every path ends in one of the two: `rows` holds the dicts that `read_one` returned, `broken` has the
    columns `path` and `reason` (str) for the files on which it failed, for those that killed their process
    (a corrupt HDF5 file can), and for those that repeat the `track_id` of an earlier file.
    `num_workers`: processes; None takes all cores when there is enough to read. The result does not depend
    on it, except that a file which kills its reader kills the caller if it is read there: with 1, and with
    None if there is little to read.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}; use None (all cores) or 1 and above.")
    rows, broken, first = [], [], {}
    results = tqdm(_results(read_one, paths, num_workers), description, len(paths), unit="file")
    for path, (row, reason) in zip(paths, results, strict=True):
        if row is not None and (earlier := first.setdefault(row.get("track_id", path), path)) != path:
            reason = f"same track_id as {earlier}"
        if reason is None:
            rows.append(row)
        else:
            broken.append((str(path), reason))
    return rows, pd.DataFrame(broken, columns=["path", "reason"])


def _results(read_one, paths, num_workers) -> Iterator[tuple[dict | None, str | None]]:
    """Yield (row, None) or (None, reason) for each of `paths`, in order."""
    start = time.perf_counter()
    alone = {None: PROBE, 1: len(paths)}.get(num_workers, 0)
    for path in paths[:alone]:
        yield _attempt(read_one, path)
    rest = paths[alone:]
    if num_workers is None:
        seconds_left = (time.perf_counter() - start) / PROBE * len(rest)
        num_workers = joblib.cpu_count() if seconds_left > WORTHWHILE else 1
    if num_workers == 1:
        yield from (_attempt(read_one, path) for path in rest)
    else:
        yield from _in_processes(read_one, rest, num_workers)


def _in_processes(read_one, paths, num_workers):
    """Do the same in other processes, also if one of them dies."""
    done = 0
    while done < len(paths):
        chunks = [paths[start : start + CHUNK] for start in range(done, len(paths), CHUNK)]
        try:
            for results in _tasks(read_one, chunks, num_workers):
                done += len(results)
                yield from results
        except BrokenExecutor:
            # Some file killed its reader. Take the files of the next chunk one at a time to find out which,
            # then go on with the rest (if it was in a later chunk, this happens once more).
            for path in paths[done : done + CHUNK]:
                try:
                    yield from next(iter(_tasks(read_one, [[path]], num_workers)))
                except BrokenExecutor:
                    yield None, "the reader process died on this file"
            done += CHUNK


def _tasks(read_one, chunks, num_workers):
    parallel = joblib.Parallel(num_workers, backend="loky", batch_size=1, return_as="generator")
    return parallel(joblib.delayed(_attempt_chunk)(read_one, chunk) for chunk in chunks)


def _attempt_chunk(read_one, paths):
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
