"""Where things are: the only module that knows the project's folders.

Data comes from `CRNN_DATA` if that is set, else from the synthetic demo set in `data/demo`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parent.parent
# On Colab a project on Drive has its data on the local disk: thousands of small files are slow on Drive.
DATA = Path("/content/data") if ROOT.is_relative_to("/content/drive") else ROOT / "data"
FIGURES = ROOT / "figures"
RESULTS = ROOT / "results"
SNAPSHOTS = ROOT / "data" / "snapshots"
DEMO = DATA / "demo"
DEMO_MARKER = "SYNTHETIC_DEMO_DATA.txt"
PRESET = "demo"  # a notebook's form may choose another, where `CRNN_PRESET` is not set


def preset() -> str:
    """Return the preset: `CRNN_PRESET`, or else `PRESET`, of "demo", "paper" and "test" (seconds, for the tests)."""
    name = os.environ.get("CRNN_PRESET", PRESET)
    if name not in ("demo", "paper", "test"):
        raise ValueError(f"The preset is {name!r}; use 'demo', 'paper' or 'test'.")
    return name


def data_folder() -> Path:
    """Return the folder with the MSD and last.fm files: `CRNN_DATA`, or `data/demo`.

    A relative `CRNN_DATA` starts at the current folder. Raises FileNotFoundError if it names no folder.
    """
    chosen = os.environ.get("CRNN_DATA")
    if not chosen:
        return DEMO
    folder = Path(chosen).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"CRNN_DATA={chosen!r}: {folder} is not a folder; set it to the data's full path.")
    return folder


def is_synthetic(folder: Path) -> bool:
    """Return True if `folder` was written by `helpers.demo`."""
    return (Path(folder) / DEMO_MARKER).is_file()


def provenance(folder: Path) -> dict:
    """Return what every result and figure must carry on: `dataset` (the folder's name) and `synthetic`."""
    folder, synthetic = Path(folder), is_synthetic(folder)
    if synthetic and is_synthetic(folder.parent):
        folder = folder.parent  # the demo's recordings go by the name of the demo set they lie in
    return {"dataset": folder.name, "synthetic": synthetic}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any error.

    A reader sees the old file or the whole new one, never half of it, also if the process is killed. An OSError
    that names no file, as those of a full disk do, gets `path` as its `filename`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")  # some writers choose the format by the suffix
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # it is renamed, was never made, or cannot be removed: not the error to report
            temporary.unlink()
