"""Uploads and downloads, without a person who chooses a file."""

import os
from pathlib import Path


def upload() -> dict[str, bytes]:
    """Return the files in the folder `COLAB_UPLOAD`, and save them here, as the dialog does; none if it was closed."""
    files = {path.name: path.read_bytes() for path in Path(os.environ.get("COLAB_UPLOAD", "none")).glob("*")}
    for name, data in files.items():
        Path(name).write_bytes(data)
    return files


def download(filename: str) -> None:
    """Do nothing."""
