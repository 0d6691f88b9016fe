"""Snapshots: complete, portable, atomic, and safe to load."""

import os
import pickle
import pickletools

import numpy as np
import pandas as pd
import pytest

from helpers import joining, snapshots


def make_songs(num_songs=5, segments=24):
    rng = np.random.default_rng(0)
    tracks = pd.DataFrame(
        {
            "track_id": [f"TRAAAAA128F000000{i}" for i in range(num_songs)],
            "title": [f"Títle {i}" for i in range(num_songs)],
            "artist_name": ["a"] * num_songs,
            "num_segments": [segments + i for i in range(num_songs)],
            "segments_pitches": [rng.random((segments + i, 12), dtype=np.float32) for i in range(num_songs)],
        }
    )
    tags = tracks[["track_id", "title", "artist_name"]].assign(tags=[[("rock", 100), ("jazz", 1)]] * num_songs)
    return joining.join(tracks, tags, ["rock", "pop", "jazz"], segments)


def test_a_snapshot_gives_back_what_was_saved(tmp_path):
    songs, report = make_songs()
    path = snapshots.save(songs, tmp_path / "msd-subset", report, tmp_path)
    assert path.name == "msd-subset_segments-24_exact.pkl"
    loaded = snapshots.load(path)
    pd.testing.assert_frame_equal(
        loaded.drop(columns=list(snapshots.ARRAYS)), songs.drop(columns=list(snapshots.ARRAYS)), check_dtype=True
    )
    np.testing.assert_array_equal(joining.pitches(loaded), joining.pitches(songs))
    np.testing.assert_array_equal(joining.label_matrix(loaded), joining.label_matrix(songs))
    assert loaded["segments_pitches"][0].dtype == np.float32 and loaded["labels"][0].dtype == np.uint8
    provenance = loaded.attrs["provenance"]
    assert provenance["num_songs"] == 5 and not provenance["synthetic"] and provenance["steps"]["kept"][-1] == 5
    assert loaded.attrs["vocabulary"] == ["rock", "pop", "jazz"]


def test_an_empty_snapshot_works(tmp_path):
    songs, report = make_songs()
    empty = songs.iloc[:0]
    empty.attrs = songs.attrs
    loaded = snapshots.load(snapshots.save(empty, tmp_path / "none", report, tmp_path))
    assert joining.label_matrix(loaded).shape == (0, 3) and joining.pitches(loaded).shape == (0, 12, 24, 1)


def test_a_snapshot_names_nothing_of_pandas(tmp_path):
    # Pandas' own pickles do not open across its major versions; NumPy's plain arrays do.
    path = snapshots.save(*make_songs()[:1], tmp_path / "x", None, tmp_path)
    strings = [arg for _, arg, _ in pickletools.genops(path.read_bytes()) if isinstance(arg, str)]
    assert not any(text.startswith("pandas.") for text in strings) and "numpy" in " ".join(strings)


@pytest.mark.parametrize("old", [b"numpy.core", b"numpy._core"])
def test_arrays_of_numpy_1_and_2_open(old, tmp_path):
    songs, _ = make_songs()
    path = snapshots.save(songs, tmp_path / "x", None, tmp_path)
    content = pickle.loads(path.read_bytes())
    data = pickle.dumps(content, protocol=3)  # names are stored as lines of text
    assert b"numpy._core" in data or b"numpy.core" in data
    path.write_bytes(data.replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", old))
    np.testing.assert_array_equal(joining.pitches(snapshots.load(path)), joining.pitches(songs))


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "hostile",
    [
        Call(os.system, "touch {}"),
        Call(eval, "open({!r}, 'w')"),
        Call(os.mkdir, "{}"),
        pd.DataFrame({"a": [1]}),
        np.load,
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_names_anything_else_is_refused_and_runs_nothing(hostile, protocol, tmp_path):
    victim = tmp_path / "victim"
    if isinstance(hostile, Call):
        hostile = Call(hostile.call[0], *[str(a).format(str(victim)) for a in hostile.call[1]])
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps({"format": snapshots.FORMAT, "columns": hostile}, protocol=protocol))
    with pytest.raises(pickle.UnpicklingError, match=r"hostile\.pkl was not loaded: it names"):
        snapshots.load(path)
    assert not victim.exists()


def test_damaged_or_foreign_files_say_so(tmp_path):
    path = snapshots.save(make_songs()[0], tmp_path / "x", None, tmp_path)
    whole = path.read_bytes()
    for data in (b"", whole[:10], whole[: len(whole) // 2], whole[:-1], b"not a pickle", b"\x80\x05."):
        path.write_bytes(data)
        with pytest.raises((ValueError, pickle.UnpicklingError), match="segments-24_exact"):
            snapshots.load(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match="not a 'crnn"):
        snapshots.load(path)
    with pytest.raises(FileNotFoundError, match="notebook 01"):
        snapshots.load(tmp_path / "absent.pkl")


def test_a_failed_write_keeps_the_old_snapshot(tmp_path, monkeypatch):
    songs, _ = make_songs()
    path = snapshots.save(songs, tmp_path / "x", None, tmp_path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        snapshots.save(songs.assign(title="changed"), tmp_path / "x", None, tmp_path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
