"""Where things are: the only module that knows the project's folders.

Data comes from `CRNN_DATA` if that is set, else from the synthetic demo set in `data/demo`.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
FIGURES = ROOT / "figures"
RESULTS = ROOT / "results"
SNAPSHOTS = DATA / "snapshots"
DEMO = DATA / "demo"
DEMO_MARKER = "SYNTHETIC_DEMO_DATA.txt"


def preset() -> str:
    """Return the preset named by `CRNN_PRESET`: "demo" (default), "paper", or "test" (seconds, for the tests)."""
    name = os.environ.get("CRNN_PRESET", "demo")
    if name not in ("demo", "paper", "test"):
        raise ValueError(f"CRNN_PRESET is {name!r}; use 'demo', 'paper' or 'test'.")
    return name


def data_folder() -> Path:
    """Return the folder with the MSD and last.fm files: `CRNN_DATA`, or `data/demo`.

    Raises FileNotFoundError if `CRNN_DATA` names no folder.
    """
    chosen = os.environ.get("CRNN_DATA")
    if not chosen:
        return DEMO
    folder = Path(chosen).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"CRNN_DATA={chosen!r} is not a folder; set it to the folder with the data.")
    return folder


def is_synthetic(folder: Path) -> bool:
    """Return True if `folder` was written by `helpers.demo_data`."""
    return (folder / DEMO_MARKER).is_file()


def provenance(folder: Path) -> dict:
    """Return what every result and figure must carry on: `dataset` (the folder's name) and `synthetic`."""
    folder, synthetic = Path(folder), is_synthetic(Path(folder))
    if synthetic and is_synthetic(folder.parent):
        folder = folder.parent  # the demo's recordings go by the name of the demo set they lie in
    return {"dataset": folder.name, "synthetic": synthetic}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any error.

    A reader sees the old file or the whole new one, never half of it, also if the process is killed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name keeps the suffix (some writers choose the format by it) and is unique to this process.
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    umask = os.umask(0)
    os.umask(umask)
    try:
        with naming(path):
            yield temporary
        # mkstemp makes private files; give the result the permissions any new file would have.
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add `path` to an OSError that names no file, as those of a full disk do."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def free_bytes(folder: Path) -> int:
    """Return the free space, in bytes, on the disk that `folder` is or will be on."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
