"""Shared fixtures: the folder with real data, and a writer of small MSD files."""

import os
from pathlib import Path

import numpy as np
import pytest

from helpers import msd

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder with real MSD and last.fm files, or skip: their licences keep them out of the repository."""
    folder = Path(os.environ.get("CRNN_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "msd_real").is_dir():
        pytest.skip(f"no real data: {folder / 'msd_real'} is not a folder (set CRNN_REAL_DATA to change it)")
    return folder


@pytest.fixture(scope="session")
def write_song():
    """Return `write(path, track_id, title, artist_name, num_segments)`, which writes an MSD file and returns `path`."""
    return _write_song


def _write_song(path, track_id="TRAAAAA128F0000001", title="A Title", artist_name="An Artist", num_segments=20):
    pitches = np.random.default_rng(num_segments).random((num_segments, 12))
    msd.write_track(
        path,
        track_id=track_id,
        title=title,
        artist_name=artist_name,
        segments_pitches=pitches / pitches.max(axis=1, keepdims=True),
        segments_start=np.arange(num_segments) / 4,
        artist_terms=["glück", "rock"],
        song_id="SO",
        tempo=120.5,
        year=1999,
    )
    return path
