"""What every notebook does first: versions, hardware, data, seed, style; the form fields of its configuration cell."""

import logging
import os
import platform
import re
import shutil
import time
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import demo, paths, plots, snapshots, tags


def start(seed: int = 0) -> Path:
    """Print what this notebook runs on and return the data folder; makes the demo set if there is no other data."""
    global _started
    _started = time.monotonic()
    # No start-up notes; and a GPU's memory as it is needed, or a second notebook finds none left (TensorFlow, JAX).
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    os.environ.update(quiet | os.environ)
    # Not by the logger's level: TensorFlow sets that itself when it runs interactively.
    logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
    plots.style()
    np.random.seed(seed)  # noqa: NPY002 - the legacy generator is what third-party code may use
    packages = "tensorflow keras numpy pandas h5py scikit-learn librosa".split()
    found = {name: next((each.version for each in distributions(name=name)), "not installed") for name in packages}
    print(", ".join(f"{name} {version}" for name, version in {"Python": platform.python_version(), **found}.items()))
    gpu = "yes" if shutil.which("nvidia-smi") else "none found (fine for the demo; see 04 for Colab's)"
    print(f"Backend: {os.environ.get('KERAS_BACKEND', 'tensorflow')}. GPU: {gpu}. CPU cores: {os.cpu_count()}.")
    folder = paths.data_folder()
    if folder == paths.DEMO:
        demo.ensure()
    kind = "synthetic demo data, not real music" if paths.is_synthetic(folder) else "real files"
    print(f"Data: {folder.name} ({kind}). Preset: {paths.preset()}. Seed: {seed}.")
    return folder


def took() -> None:
    """Print how long the notebook has taken since `start`."""
    minutes, seconds = divmod(round(time.monotonic() - _started), 60)
    print(f"This notebook took {minutes} min {seconds} s on {os.cpu_count()} CPU cores, preset {paths.preset()}.")


def choose(preset: str, use_drive: bool = False) -> str:
    """Return the preset: `preset` unless `CRNN_PRESET` is set; `use_drive` keeps snapshots and results on Drive."""
    before, paths.PRESET = paths.preset(), preset
    if paths.preset() != before:
        print(f"Preset: {preset}.")
    if use_drive:
        from google.colab import drive  # not on Colab? Leave USE_DRIVE False: results are in results/ as it is

        drive.mount("/content/drive")
        folder = Path("/content/drive/MyDrive/crnn-music-tagging-data")
        paths.SNAPSHOTS, paths.RESULTS = folder / "snapshots", folder / "results"
    return paths.preset()


def songs(snapshot: str, dataset: Path, segments: tuple[int, ...]) -> dict[int, pd.DataFrame]:
    """Return the songs by number of `segments`: of `dataset`, or of the file `snapshot` and those named like it.

    FileNotFoundError or ValueError if the files are not there, or not of these segments and one data set.
    """
    files = [re.sub(r"segments-\d+(?=[^/]*$)", f"segments-{count}", os.path.expanduser(snapshot)) for count in segments]
    files = files if snapshot else snapshots.ensure(dataset, tags.vocabulary(dataset), segments)
    found = {table.attrs["segments"]: table for table in map(snapshots.load, files)}
    origins = {"{dataset} (synthetic: {synthetic})".format(**table.attrs["provenance"]) for table in found.values()}
    about = f"{list(found)} segments of {' and '.join(sorted(origins))} in {', '.join(map(str, files))}"
    if len(origins) > 1 or list(found) != list(segments):
        raise ValueError(f"SNAPSHOT has {about}; give {segments} of one data set: notebook 01 makes a file of each.")
    if snapshot:
        print(f"Songs: {about}")
    return found
