"""Shared fixtures: the folder with real data, and a writer of small MSD files."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

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
    """Return `write(path, track_id, title, artist_name, num_segments)`, which writes an MSD-like file.

    It has the real layout, but only some of the fields.
    """
    return _write_song


def _write_song(path, track_id="TRAAAAA128F0000001", title="A Title", artist_name="An Artist", num_segments=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(num_segments)
    pitches = rng.random((num_segments, 12))
    with h5py.File(path, "w") as file:
        write_table(file, "analysis/songs", tempo=120.5, track_id=track_id.encode(), idx_segments_pitches=0)
        write_table(file, "metadata/songs", artist_name=artist_name.encode(), title=title.encode(), song_id=b"SO")
        write_table(file, "musicbrainz/songs", idx_artist_mbtags=0, year=1999)
        packed = dict(maxshape=(None, 12), chunks=(85, 12), compression=1, shuffle=True)
        file.create_dataset("analysis/segments_pitches", data=pitches / pitches.max(1, keepdims=True), **packed)
        file["analysis/segments_start"] = np.arange(num_segments) / 4
        file["metadata/artist_terms"] = np.array(["glück".encode(), b"rock"], "S256")
    return path


def write_table(file, name, num_rows=1, **columns):
    kinds = {bytes: "S1024", float: "f8", int: "i4"}
    table = np.zeros(num_rows, [(column, kinds[type(value)]) for column, value in columns.items()])
    for column, value in columns.items():
        table[column] = value
    if name in file:
        del file[name]
    file.create_dataset(name, data=table, maxshape=(None,), chunks=(4,), compression=1, shuffle=True)
