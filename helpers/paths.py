"""Where things are: the only module that knows the project's folders. Presets. Atomic writing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parent.parent
# On Colab a project on Drive has its data on the local disk: thousands of small files are slow on Drive.
DATA = Path("/content/data") if ROOT.is_relative_to("/content/drive") else ROOT / "data"
FIGURES, RESULTS, SNAPSHOTS = ROOT / "figures", ROOT / "results", ROOT / "data" / "snapshots"
DEMO, DEMO_MARKER = DATA / "demo", "SYNTHETIC_DEMO_DATA.txt"
PRESET = "demo"  # a notebook's form may choose another, where `CRNN_PRESET` is not set


def preset() -> str:
    """Return the preset: `CRNN_PRESET`, or else `PRESET`, of "demo", "paper" and "test" (seconds, for the tests)."""
    name = os.environ.get("CRNN_PRESET", PRESET)
    if name not in ("demo", "paper", "test"):
        raise ValueError(f"The preset is {name!r}; use 'demo', 'paper' or 'test'.")
    return name


def data_folder() -> Path:
    """Return `CRNN_DATA`, from here or the project (FileNotFoundError if it is no folder), or else `data/demo`."""
    if not (chosen := os.path.expanduser(os.environ.get("CRNN_DATA", ""))):
        return DEMO
    folder = next(filter(Path.is_dir, (Path(chosen), ROOT / chosen)), Path(chosen)).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"CRNN_DATA={chosen!r}: {folder} is not a folder; set it to the data's full path.")
    if folder.name in ("demo", "models") and not is_synthetic(folder):
        raise ValueError(f"CRNN_DATA={chosen!r}: figures/{folder.name}/ is the project's own; rename your folder.")
    return folder


def is_synthetic(folder: Path) -> bool:
    """Return True if `folder` was written by `helpers.demo`."""
    return (Path(folder) / DEMO_MARKER).is_file()


def provenance(folder: Path) -> dict:
    """Return what every result and figure must carry on: `dataset` (the folder's name) and `synthetic`."""
    folder, synthetic = Path(folder), is_synthetic(folder)
    inside = synthetic and is_synthetic(folder.parent)  # the demo's recordings go by the name of the set they lie in
    return {"dataset": (folder.parent if inside else folder).name, "synthetic": synthetic}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any error.

    No reader sees half a file, even after a kill. An OSError without `filename`, such as a full disk's, gets `path`.
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
