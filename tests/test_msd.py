"""MSD files: what a good one gives, the reason given for each kind of bad one, and that ours are like real ones."""

import re

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import msd
from helpers.msd import read_tracks

PITCHES = "analysis/segments_pitches"


@pytest.fixture
def song(tmp_path, write_song):
    return write_song(tmp_path / "msd" / "A" / "song.h5")


def only_reason(folder, fields=()):
    """Return why the only file below `folder` is broken."""
    tracks, broken = read_tracks(folder, 1, fields)
    assert len(tracks) == 0 and len(broken) == 1
    return broken["reason"][0]


def test_a_good_file(tmp_path, write_song):
    path = write_song(tmp_path / "ü" / "song.H5", title="Étude № 3", artist_name="Björk & 何韻詩", num_segments=100)
    tracks, broken = read_tracks(tmp_path, 1, ("tempo", "year", "song_id", "segments_start", "artist_terms"))
    assert broken.empty
    assert list(tracks.columns[:5]) == ["track_id", "title", "artist_name", "num_segments", "segments_pitches"]
    row = tracks.iloc[0]
    assert (row["track_id"], row["title"]) == ("TRAAAAA128F0000001", "Étude № 3")
    assert row["artist_name"] == "Björk & 何韻詩"
    assert (row["num_segments"], row["tempo"], row["year"], row["song_id"]) == (100, 120.5, 1999, "SO")
    assert list(row["artist_terms"]) == ["glück", "rock"] and row["segments_start"][-1] == 99 / 4
    with h5py.File(path) as file:
        expected = file[PITCHES][:]
    assert row["segments_pitches"].dtype == np.float32
    np.testing.assert_array_equal(row["segments_pitches"], expected.astype(np.float32))


def test_what_is_not_given_is_empty_zero_or_nan(song):
    fields = ("release", "key", "loudness", "song_hotttnesss", "segments_timbre", "bars_start", "similar_artists")
    row = read_tracks(song.parent, 1, fields)[0].iloc[0]
    assert (row["release"], row["key"], row["loudness"]) == ("", 0, 0) and np.isnan(row["song_hotttnesss"])
    assert row["segments_timbre"].shape == (20, 12) and not row["segments_timbre"].any()
    assert len(row["bars_start"]) == len(row["similar_artists"]) == 0


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    good = dict(track_id="TR1", title="a", artist_name="b", segments_pitches=np.ones((3, 12)))
    for change, reason in (
        ({"tempi": 1.0}, r"\['tempi'\]"),
        ({"track_id": "é" * 17}, "track_id has room for 32 bytes, not for 34"),
        ({"similar_artists": ["x" * 21]}, "similar_artists has room for 20"),
        ({"segments_pitches": np.ones((3, 11))}, None),
    ):
        with pytest.raises((ValueError, TypeError), match=reason):
            msd.write_track(tmp_path / "x.h5", **good | change)
    with pytest.raises(ValueError, match=r"no field \['tempi'\].*'tempo'"):
        msd.read_files([], None, ("tempi", "title"))
    del good["title"]
    with pytest.raises(ValueError, match=r"x\.h5 was not written: \['title'\] are missing"):
        msd.write_track(tmp_path / "x.h5", **good)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda raw: b"", "empty file"),
        (lambda raw: b"<html>404</html>" * 99, "not an HDF5 file"),
        (lambda raw: raw[: len(raw) // 2], "truncated file"),
        (lambda raw: raw[:100] + bytes(2000) + raw[2100:], "no analysis|cannot be read"),
    ],
)
def test_files_that_are_not_whole(song, content, reason):
    song.write_bytes(content(song.read_bytes()))
    assert re.search(reason, only_reason(song.parent))


def replaced(name, *arguments, **how):
    def change(file):
        del file[name]
        file.create_dataset(name, *arguments, **how)

    return change


def table(name, num_rows=1, **columns):
    kinds = [(column, "S99" if isinstance(value, bytes) else "f8") for column, value in columns.items()]
    return replaced(name, data=np.array([tuple(columns.values())] * num_rows, kinds))


def pitches_with(value):
    values = np.full((20, 12), 0.5)
    values[7, 3] = value
    return replaced(PITCHES, data=values)


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
        (replaced(PITCHES, data=h5py.Empty("f8")), f"{PITCHES} has shape ()"),
        (replaced(PITCHES, data=np.ones((0, 12))), "the song has no segments"),
        (replaced(PITCHES, (2**40, 12), "f8", chunks=(85, 12)), f"{PITCHES} has shape (1099511627776, 12)"),
        *[(pitches_with(value), "segments_pitches has values that are not") for value in (np.nan, -0.01, 1.01)],
    ],
)
def test_reasons(song, damage, reason):
    with h5py.File(song, "r+") as file:
        damage(file)
    assert only_reason(song.parent).startswith(reason)


@pytest.mark.parametrize(
    ("field", "values", "reason"),
    [
        ("analysis/segments_start", np.zeros(3), "segments_start has 3 segments, segments_pitches 20"),
        ("analysis/bars_start", np.array([b"text"]), "cannot be read"),
        ("metadata/similar_artists", np.zeros((2, 2), "S5"), "metadata/similar_artists has shape (2, 2)"),
    ],
)
def test_extra_fields_are_checked_if_they_are_asked_for(song, field, values, reason):
    with h5py.File(song, "r+") as file:
        replaced(field, data=values)(file)
    assert only_reason(song.parent, (field.split("/")[1],)).startswith(reason)
    assert len(read_tracks(song.parent, 1)[0]) == 1


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_copies_give_a_sound_row_or_a_reason(song, data):
    raw = song.read_bytes()
    damaged = bytearray(raw)
    for bit in data.draw(st.lists(st.integers(0, 8 * len(raw) - 1), max_size=20), "bits to flip"):
        damaged[bit // 8] ^= 1 << bit % 8
    song.write_bytes(damaged[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)), "length")])
    tracks, broken = read_tracks(song.parent, 1, ("tempo", "segments_start"))
    song.write_bytes(raw)
    assert len(tracks) + len(broken) == 1
    for pitches in tracks["segments_pitches"]:
        assert pitches.shape[1] == 12 and pitches.min() >= 0 and pitches.max() <= 1
    assert broken["reason"].str.len().gt(5).all()


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


def test_pytables_reads_a_written_file_as_the_msd_tools_do(song):
    tables = pytest.importorskip("tables")
    with tables.open_file(str(song)) as file:
        songs = file.root.analysis.songs
        assert (songs.nrows, songs.cols.track_id[0], songs.cols.tempo[0]) == (1, b"TRAAAAA128F0000001", 120.5)
        assert file.root.metadata.songs.cols.title[0] == b"A Title"
        assert file.root.metadata.artist_terms[:].tolist() == ["glück".encode(), b"rock"]
        pitches = file.root.analysis.segments_pitches[songs.cols.idx_segments_pitches[0] :]
    assert pitches.shape == (20, 12) and (pitches.max(axis=1) == 1).all()


def test_real_files(real_data, tmp_path):
    tracks, broken = read_tracks(real_data / "msd_real")
    assert len(tracks) == 164
    assert len(broken) == 3 and broken["path"].str.contains("broken_h5").all()
    again, broken_too = read_tracks(real_data / "msd_real", 2)
    assert broken_too.equals(broken) and list(again["track_id"]) == list(tracks["track_id"])
    everything, _ = read_tracks(real_data / "msd_real", None, tuple(msd.FIELDS))
    assert len(everything) == 164 and everything["tempo"].between(0, 300).all()
    song = everything.iloc[7]  # written again, it says the same
    msd.write_track(tmp_path / "copy.h5", **song.drop("num_segments"))
    copy = read_tracks(tmp_path, 1, tuple(msd.FIELDS))[0].iloc[0]
    for name in msd.FIELDS:
        np.testing.assert_array_equal(copy[name], song[name])
