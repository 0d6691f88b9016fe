"""MSD files: what a good one gives, the reason given for each kind of bad one, and that ours are like real ones."""

import h5py
import numpy as np
import pytest

from helpers import msd
from helpers.msd import read_tracks

PITCHES = "analysis/segments_pitches"


@pytest.fixture
def song(tmp_path, write_song):
    return write_song(tmp_path / "msd" / "A" / "song.h5")


def only_reason(folder, fields=()):
    tracks, broken = read_tracks(folder, 1, fields)
    assert len(tracks) == 0 and len(broken) == 1
    return broken["reason"][0]


def test_a_good_file_and_what_it_has_where_nothing_was_given(tmp_path, write_song):
    path = write_song(tmp_path / "ü" / "song.H5", title="Étude № 3", artist_name="Björk & 何韻詩", num_segments=100)
    fields = ("tempo", "year", "artist_terms", "segments_start", "release", "song_hotttnesss", "bars_start")
    tracks, broken = read_tracks(tmp_path, 1, fields)
    assert broken.empty and list(tracks.columns) == [*msd.NAMES, "num_segments", "segments_pitches", *fields]
    row = tracks.iloc[0]
    assert row[msd.NAMES].tolist() == ["TRAAAAA128F0000001", "Étude № 3", "Björk & 何韻詩"]
    assert (row["num_segments"], row["tempo"], row["year"], row["segments_start"][-1]) == (100, 120.5, 1999, 99 / 4)
    assert list(row["artist_terms"]) == ["glück", "rock"]
    assert row["release"] == "" and np.isnan(row["song_hotttnesss"]) and len(row["bars_start"]) == 0
    with h5py.File(path) as file:
        np.testing.assert_array_equal(row["segments_pitches"], file[PITCHES][:].astype("f4"), strict=True)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    good = dict(track_id="TR1", title="a", artist_name="b", segments_pitches=np.ones((3, 12)))
    with pytest.raises(ValueError, match=r"x\.h5 was not written: \['tempi'\]"):
        msd.write_track(tmp_path / "x.h5", **good, tempi=1)
    with pytest.raises(ValueError, match="track_id has room for 32 bytes, not for 34"):
        msd.write_track(tmp_path / "x.h5", **good | {"track_id": "é" * 17})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"no field \['tempi'\].*'tempo'"):
        msd.read_tracks([], None, ("tempi", "title"))


def test_files_that_are_not_whole(song):
    raw = song.read_bytes()
    damaged = {"empty file": b"", "not an HDF5 file": b"<html>404</html>" * 99, "truncated file": raw[: len(raw) // 2]}
    for reason, content in damaged.items():
        song.write_bytes(content)
        assert reason in only_reason(song.parent)


def replaced(name, *arguments, **how):
    def change(file):
        del file[name]
        file.create_dataset(name, *arguments, **how)

    return change


def table(name, num_rows=1, **texts):
    return replaced(name, data=np.array([tuple(texts.values())] * num_rows, [(column, "S99") for column in texts]))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: f.pop("analysis"), "no analysis/songs with track_id"),
        (lambda f: f.pop(PITCHES), f"no {PITCHES}"),
        (table("metadata/songs", title=b"x"), "no metadata/songs with title and artist_name"),
        (table("analysis/songs", 3, track_id=b"TR"), "analysis/songs has shape (3,), not (1,)"),
        (table("analysis/songs", track_id=b""), "the track_id is empty"),
        (table("metadata/songs", title=b"\xe9t\xe9", artist_name=b"x"), "'utf-8' codec"),
        (replaced(PITCHES, data=np.ones((20, 11))), f"{PITCHES} has shape (20, 11), not ('rows', 12)"),
        (replaced(PITCHES, data=np.ones((0, 12))), "the song has no segments"),
        (replaced(PITCHES, (2**40, 12), "f8", chunks=(85, 12)), f"{PITCHES} has shape (1099511627776, 12)"),
        (replaced("analysis/segments_start", data=np.zeros(3)), "segments_start has 3 segments, segments_pitches 20"),
        *[
            (replaced(PITCHES, data=np.vstack([np.ones((19, 12)), [wrong] * 12])), "segments_pitches has values")
            for wrong in (np.nan, -0.01, 1.01)
        ],
    ],
)
def test_reasons(song, damage, reason):
    with h5py.File(song, "r+") as file:
        damage(file)
    assert only_reason(song.parent, ["segments_start"]).startswith(reason)


def test_damaged_copies_give_a_sound_row_or_a_reason(song):
    rng, raw = np.random.default_rng(0), song.read_bytes()
    for number in range(200):
        damaged = bytearray(raw)
        for place in rng.integers(len(raw), size=number % 20):
            damaged[place] ^= 1 << rng.integers(8)
        song.write_bytes(damaged[: rng.integers(len(raw)) if number % 4 == 0 else None])
        tracks, broken = read_tracks(song.parent, 1, ("tempo", "segments_start"))
        assert len(tracks) + len(broken) == 1 and broken["reason"].str.len().gt(5).all()
        for pitches in tracks["segments_pitches"]:
            assert pitches.shape[1] == 12 and pitches.min() >= 0 and pitches.max() <= 1


def layout(path):
    """Describe every data set of a file, and the tables' attributes; values of data and row counts aside."""
    found = {}

    def describe(name, item):
        if isinstance(item, h5py.Dataset):
            attrs = {k: v for k, v in item.attrs.items() if k != "TITLE"} if item.dtype.names else None
            found[name] = (item.dtype, item.shape[1:], item.maxshape, item.chunks, item.compression,
                           item.compression_opts, item.shuffle, attrs)  # fmt: skip

    with h5py.File(path) as file:
        file.visititems(describe)
    return found


def test_written_files_have_the_layout_of_real_ones(song, real_data):
    ours, real = layout(song), layout(next((real_data / "msd_real" / "MillionSongSubset").rglob("*.h5")))
    assert ours == real and len(ours) == 24


def test_real_files(real_data, tmp_path):
    tracks, broken = read_tracks(real_data / "msd_real", None, tuple(msd.FIELDS))
    assert len(tracks) == 164 and tracks["tempo"].between(0, 300).all()
    assert len(broken) == 3 and broken["path"].str.contains("broken_h5").all()
    song = tracks.iloc[7]  # written again, it says the same
    msd.write_track(tmp_path / "copy.h5", **song.drop("num_segments"))
    copy = read_tracks(tmp_path, 1, tuple(msd.FIELDS))[0].iloc[0]
    for name in msd.FIELDS:
        np.testing.assert_array_equal(copy[name], song[name])
