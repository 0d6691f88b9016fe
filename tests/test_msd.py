"""Reading MSD files: what a good one gives, and the reason given for each kind of bad one."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import write_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import msd
from helpers.msd import read_summary, read_tracks

PITCHES = "analysis/segments_pitches"


@pytest.fixture
def song(tmp_path, write_song):
    return write_song(tmp_path / "msd" / "A" / "song.h5")


def only_reason(folder):
    """Return why the only file below `folder` is broken."""
    tracks, broken = read_tracks(folder, num_workers=1)
    assert len(tracks) == 0 and len(broken) == 1
    return broken["reason"][0]


def test_a_good_file(tmp_path, write_song):
    path = write_song(tmp_path / "ü" / "song.h5", title="Étude № 3", artist_name="Björk & 何韻詩", num_segments=100)
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


def test_no_files_give_an_empty_table_with_the_same_columns(tmp_path, song):
    full, _ = read_tracks(song.parent, 1, ("tempo",))
    (tmp_path / "empty").mkdir()
    empty, broken = read_tracks(tmp_path / "empty", None, ("tempo",))
    assert list(empty.columns) == list(full.columns) and len(empty) == len(broken) == 0
    assert empty["num_segments"].dtype == full["num_segments"].dtype


def test_unknown_field_is_refused_with_a_list(tmp_path):
    with pytest.raises(ValueError, match=r"no field \['tempi'\].*'tempo'"):
        read_tracks(tmp_path, fields=("tempi", "title"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda raw: b"", "empty file"),
        (lambda raw: b"<html>404</html>" * 99, "not an HDF5 file"),
        (lambda raw: raw[: len(raw) // 2], "truncated file"),
        (lambda raw: raw[:2000] + bytes(2000) + raw[4000:], "missing|not a data set|cannot be read"),
    ],
)
def test_files_that_are_not_whole(song, content, reason):
    song.write_bytes(content(song.read_bytes()))
    assert re.search(reason, only_reason(song.parent))


def replace_pitches(values, **how):
    def change(file):
        del file[PITCHES]
        file.create_dataset(PITCHES, data=values, **how)

    return change


def with_value(value):
    values = np.full((20, 12), 0.5)
    values[7, 3] = value
    return replace_pitches(values)


def huge(file):
    del file[PITCHES]
    file.create_dataset(PITCHES, (2**40, 12), "f8", chunks=(85, 12))


def huge_chunk(file):
    del file[PITCHES]
    file.create_dataset(PITCHES, (20, 12), "f8", maxshape=(None, 12), chunks=(2**24, 12))


def outside_link(file):
    del file[PITCHES]
    file[PITCHES] = h5py.ExternalLink("other.dat", PITCHES)


def outside_group(file):
    del file["analysis"]
    file["analysis"] = h5py.ExternalLink("other.dat", "analysis")


def soft_link(file):
    file.move(PITCHES, "elsewhere")
    file[PITCHES] = h5py.SoftLink("/elsewhere")


def outside_storage(file):
    del file[PITCHES]
    raw = str(Path(file.filename).with_name("other.raw"))
    file.create_dataset(PITCHES, (20, 12), "f8", external=[(raw, 0, h5py.h5f.UNLIMITED)])


def virtual(file):
    del file[PITCHES]
    layout = h5py.VirtualLayout((20, 12), "f8")
    layout[:] = h5py.VirtualSource("other.dat", PITCHES, (20, 12))
    file.create_virtual_dataset(PITCHES, layout)


def group_instead(file):
    del file[PITCHES]
    file.create_group(PITCHES)


def array_instead_of_table(file):
    del file["metadata/songs"]
    file["metadata/songs"] = np.zeros(1)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: f.pop("analysis"), "analysis is missing"),
        (lambda f: f.pop("metadata/songs"), "metadata/songs is missing"),
        (lambda f: f.pop(PITCHES), f"{PITCHES} is missing"),
        (group_instead, f"{PITCHES} is not a data set"),
        (array_instead_of_table, "metadata/songs is not a table"),
        (lambda f: write_table(f, "metadata/songs", title=b"x"), "metadata/songs has no artist_name"),
        (lambda f: write_table(f, "metadata/songs", title=1.5, artist_name=b"x"), "cannot be read: "),
        (lambda f: write_table(f, "analysis/songs", 3, track_id=b"TR"), "analysis/songs holds 3 songs, not one"),
        (lambda f: write_table(f, "analysis/songs", 0, track_id=b"TR"), "analysis/songs holds 0 songs, not one"),
        (lambda f: write_table(f, "analysis/songs", track_id=b""), "the track_id is empty"),
        (lambda f: write_table(f, "metadata/songs", title=b"\xe9t\xe9", artist_name=b"x"), "title is not UTF-8"),
        (replace_pitches(np.ones((20, 12), int)), "segments_pitches does not hold floating-point numbers"),
        (replace_pitches(np.ones((20, 11))), "segments_pitches has shape (20, 11), not (segments, 12)"),
        (replace_pitches(np.ones(240)), "segments_pitches has shape (240,), not (segments, 12)"),
        (replace_pitches(h5py.Empty("f8")), "segments_pitches has shape (), not (segments, 12)"),
        (replace_pitches(np.ones((0, 12))), "the song has no segments"),
        (with_value(np.nan), "segments_pitches has values that are not finite"),
        (with_value(np.inf), "segments_pitches has values that are not finite"),
        (with_value(-0.01), "segments_pitches has values outside [0, 1]"),
        (with_value(1.01), "segments_pitches has values outside [0, 1]"),
        (huge, "segments_pitches has an implausible size: 1,099,511,627,776 segments"),
        (huge_chunk, "segments_pitches has an implausible size: 1,610,612,736 bytes"),
    ],
)
def test_reasons(song, damage, reason):
    with h5py.File(song, "r+") as file:
        damage(file)
    assert only_reason(song.parent).startswith(reason)


@pytest.mark.parametrize(
    ("lead_away", "reason"),
    [
        (outside_link, f"{PITCHES} is a link"),
        (outside_group, "analysis is a link"),
        (soft_link, f"{PITCHES} is a link"),
        (outside_storage, "segments_pitches keeps its data in other files"),
        (virtual, "segments_pitches keeps its data in other files"),
    ],
)
def test_data_kept_elsewhere_is_not_followed(song, write_song, lead_away, reason):
    write_song(song.parent / "other.dat")
    (song.parent / "other.raw").write_bytes(np.ones((20, 12)).tobytes())
    with h5py.File(song, "r+") as file:
        lead_away(file)
    with h5py.File(song) as file:  # it does lead to data
        assert file[PITCHES][:].max() == 1
    assert only_reason(song.parent).startswith(reason)


def test_extra_fields_are_checked_too(song):
    with h5py.File(song, "r+") as file:
        file.move("analysis/segments_start", "analysis/beats_start")
        file["analysis/segments_start"] = np.zeros(3)
        file["analysis/bars_start"] = "text"
        file["metadata/similar_artists"] = np.zeros((2, 2), "S5")
        file["analysis/segments_timbre"] = np.zeros((20, 11))
    for field, reason in {
        "segments_start": "segments_start has 3 segments, segments_pitches 20",
        "bars_start": "bars_start holds object of shape",
        "similar_artists": "similar_artists holds |S5 of shape (2, 2)",
        "segments_timbre": "segments_timbre holds float64 of shape (20, 11)",
        "tatums_start": "analysis/tatums_start is missing",
        "duration": "analysis/songs has no duration",
    }.items():
        tracks, broken = read_tracks(song.parent, 1, (field,))
        assert tracks.empty and broken["reason"][0].startswith(reason)
    assert len(read_tracks(song.parent, 1)[0]) == 1


def test_a_song_in_two_files_is_kept_once(tmp_path, write_song):
    for name in ("b.h5", "a/1.h5", "c.h5"):
        write_song(tmp_path / name, track_id="TRX", title=name)
    tracks, broken = read_tracks(tmp_path, 1)
    assert list(tracks["title"]) == ["a/1.h5"]
    assert list(broken["path"]) == [str(tmp_path / "b.h5"), str(tmp_path / "c.h5")]
    assert set(broken["reason"]) == {f"same track_id as {tmp_path / 'a/1.h5'}"}


# --- The summary file ----------------------------------------------------------------------------------------


@pytest.fixture
def summary(tmp_path):
    """Return a file with the tables of 25 songs and no arrays."""
    path = tmp_path / "msd_summary_file.h5"
    numbers = np.arange(25)
    with h5py.File(path, "w") as file:
        for name, kind in {
            "analysis/songs": [("duration", "f8"), ("idx_segments_pitches", "i4"), ("track_id", "S32")],
            "metadata/songs": [("artist_name", "S1024"), ("title", "S1024")],
            "musicbrainz/songs": [("idx_artist_mbtags", "i4"), ("year", "i4")],
        }.items():
            table = np.zeros(25, kind)
            for field, dtype in kind:
                text = [f"{field} {i} é".encode() for i in numbers]
                table[field] = text if dtype[0] == "S" else numbers
            file.create_dataset(name, data=table, maxshape=(None,), chunks=(4,), compression=1)
    return path


def test_the_summary_file_in_blocks(summary, monkeypatch):
    monkeypatch.setattr(msd, "BLOCK", 10)
    names = read_summary(summary)
    assert list(names.columns) == ["track_id", "title", "artist_name"] and len(names) == 25
    assert names["title"].tolist() == [f"title {i} é" for i in range(25)]
    table = read_summary(summary, ("year", "track_id", "duration"))
    assert list(table.columns) == ["year", "track_id", "duration"] and table["duration"].tolist() == list(range(25))
    assert table["year"].dtype.kind == "i"


def test_a_song_s_file_is_a_summary_of_one(song):
    tracks, _ = read_tracks(song.parent, 1)
    assert read_summary(song).equals(tracks[["track_id", "title", "artist_name"]])


def test_bad_summary_files(summary, tmp_path):
    with pytest.raises(ValueError, match=r"no field \['segments_start'\]; it has \['analysis_sample_rate'"):
        read_summary(summary, ("segments_start",))
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        read_summary(tmp_path / "none.h5")
    with pytest.raises(ValueError, match=r"file\.h5 cannot be read: analysis/songs has no tempo; download"):
        read_summary(summary, ("tempo",))
    with h5py.File(summary, "r+") as file:
        file["analysis/songs"].resize((24,))
    with pytest.raises(ValueError, match="its tables differ in length"):
        read_summary(summary)
    summary.write_bytes(summary.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"msd_summary_file\.h5 cannot be read: truncated file"):
        read_summary(summary)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_copies_give_a_sound_row_or_a_reason(song, data):
    raw = song.read_bytes()
    flips = data.draw(st.lists(st.integers(0, 8 * len(raw) - 1), max_size=20), "bits to flip")
    damaged = bytearray(raw)
    for bit in flips:
        damaged[bit // 8] ^= 1 << bit % 8
    song.write_bytes(damaged[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)), "length")])
    tracks, broken = read_tracks(song.parent, 1, ("tempo", "segments_start"))
    song.write_bytes(raw)
    assert len(tracks) + len(broken) == 1
    for pitches in tracks["segments_pitches"]:
        assert pitches.shape[1] == 12 and pitches.min() >= 0 and pitches.max() <= 1
    assert broken["reason"].str.len().gt(5).all()


def test_real_files(real_data):
    tracks, broken = read_tracks(real_data / "msd_real")
    assert len(tracks) == 164
    assert len(broken) == 3 and broken["path"].str.contains("broken_h5").all()
    again, broken_too = read_tracks(real_data / "msd_real", 2)
    assert broken_too.equals(broken) and list(again["track_id"]) == list(tracks["track_id"])
    path = real_data / "msd_real/MillionSongSubset" / "/".join(tracks["track_id"][7][2:5])
    with h5py.File(path / f"{tracks['track_id'][7]}.h5") as file:
        np.testing.assert_array_equal(tracks["segments_pitches"][7], file[PITCHES][:].astype(np.float32))
        assert tracks["title"][7].encode() == file["metadata/songs"]["title"][0]
        stored = {name for table in ("analysis", "metadata", "musicbrainz") for name in file[table]} | {
            name for table in ("analysis", "metadata", "musicbrainz") for name in file[f"{table}/songs"].dtype.names
        }
    offered = set(msd.SCALARS) | set(msd.ARRAYS)
    assert offered == {name for name in stored if not name.startswith("idx_")} - {"songs"}
    everything, _ = read_tracks(real_data / "msd_real", None, tuple(sorted(offered)))
    assert len(everything) == 164 and everything["tempo"].between(0, 300).all()
