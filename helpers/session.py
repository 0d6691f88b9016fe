"""What every notebook does first: print versions, hardware and data, fix the seed, set the figure style."""

import logging
import os
import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from helpers import demo, paths, plots

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "h5py", "scikit-learn", "librosa")
_started = time.monotonic()


def start(seed: int = 0) -> Path:
    """Print what this notebook runs on and return the data folder; makes the demo set if there is no other data."""
    global _started
    _started = time.monotonic()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes say nothing to a reader
    # Take a GPU's memory as it is needed, or a second notebook finds none left (TensorFlow, JAX).
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # Not by the logger's level: TensorFlow sets that itself when it runs interactively.
    logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
    plots.style()
    np.random.seed(seed)  # noqa: NPY002 - the legacy generator is what third-party code may use
    print(f"Python {platform.python_version()}, " + ", ".join(map(_version, PACKAGES)))
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


def use_drive(folder: str = "/content/drive/MyDrive/crnn-music-tagging-data") -> None:
    """Mount Google Drive on Colab and keep snapshots and results there, so that they outlive the session."""
    from google.colab import drive  # exists on Colab only

    drive.mount("/content/drive")
    paths.SNAPSHOTS, paths.RESULTS = Path(folder, "snapshots"), Path(folder, "results")


def _version(package):
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"
