"""Snapshots: complete, portable, atomic, of what they claim to be, and safe to load."""

import os
import pickle
import random
import shutil
import zlib

import numpy as np
import pandas as pd
import pytest

from helpers import joining, lastfm, msd, paths, session, snapshots


def make_songs(num_songs=5, segments=24):
    rng = np.random.default_rng(0)
    tracks = pd.DataFrame(
        {
            "track_id": [f"TRAAAAA128F000000{i}" for i in range(num_songs)],
            "title": [f"Títle \x13\x1b[31m {i}" for i in range(num_songs)],
            "artist_name": ["a"] * num_songs,
            "num_segments": [segments + i for i in range(num_songs)],
            "segments_pitches": [rng.random((segments + i, 12), dtype=np.float32) for i in range(num_songs)],
        }
    )
    tags = tracks[["track_id", "title", "artist_name"]].assign(tags=[[("rock", 100), ("jazz", 1)]] * num_songs)
    return joining.join(tracks, tags, ["rock", "pop", "jazz"], segments)


def write_set(folder, tracks="AB", tag="rock"):
    for letter in tracks:
        pitches = np.random.default_rng(ord(letter)).random((20, 12))
        names = {"title": f"Song {letter}", "artist_name": "An Artist"}
        msd.write_track(folder / f"{letter}.h5", track_id=f"TR{letter}", segments_pitches=pitches, **names)
        lastfm.write_tags(folder / f"{letter}.json", f"TR{letter}", *names.values(), [(tag, 100), ("pop", 1)])
    return folder


def test_a_snapshot_gives_back_what_was_saved(tmp_path):
    songs, report = make_songs()
    extra = {"tempo": [1.5, np.nan, 3.0, 4.0, 5.0], "artist_terms": [np.array([b"rock"])] * 5, "loud": [True] * 5}
    songs = songs.assign(**extra, beats=[np.arange(i) / 2 for i in range(5)])
    path = snapshots.save(songs, tmp_path / "msd-subset", report, tmp_path)
    assert path.name == "msd-subset_segments-24_exact.pkl"
    loaded = snapshots.load(path)
    arrays = ["segments_pitches", "labels", "artist_terms", "beats"]
    pd.testing.assert_frame_equal(loaded.drop(columns=arrays), songs.drop(columns=arrays))
    for name in arrays:
        for one, other in zip(loaded[name], songs[name], strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    empty = snapshots.load(snapshots.save(songs[:0], tmp_path / "none", report, tmp_path))
    assert joining.label_matrix(empty).shape == (0, 3) and joining.pitches(empty).shape == (0, 12, 24, 1)
    provenance = loaded.attrs["provenance"]
    assert provenance["num_songs"] == 5 and not provenance["synthetic"] and provenance["steps"]["kept"][-1] == 5
    assert [loaded.attrs[key] for key in ("vocabulary", "segments", "match")] == [["rock", "pop", "jazz"], 24, "exact"]


@pytest.mark.parametrize("value", [{"rock"}, ("a", 1), pd.Timestamp("2011-08-01"), None, np.array(["rock"], object)])
def test_what_load_could_not_give_back_is_refused_when_saving(value, tmp_path):
    songs, report = make_songs()
    with pytest.raises(ValueError, match="in column 'x'; drop or convert it"):
        snapshots.save(songs.assign(x=[value] * 5), tmp_path / "x", report, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_snapshot_of_other_inputs_is_made_anew(tmp_path, monkeypatch):
    store, one, two = tmp_path / "store", write_set(tmp_path / "1" / "data"), write_set(tmp_path / "2" / "data", "CD")

    def ids(folder, vocabulary=("rock",)):
        songs = snapshots.load(snapshots.ensure(folder, list(vocabulary), (12,), store)[0])
        assert songs.attrs["vocabulary"] == list(vocabulary)
        return songs["track_id"].tolist()

    assert ids(one) == ids(one, ["pop"]) == ["TRA", "TRB"]  # another vocabulary
    assert ids(two) == ["TRC", "TRD"] and ids(one) == ["TRA", "TRB"]  # another folder of the same name
    write_set(one, "E")
    assert ids(one) == ["TRA", "TRB", "TRE"]  # more songs
    write_set(one, "A", tag="jazz")
    assert ids(one) == ["TRB", "TRE"]  # another content
    (one / "sid_mismatches.txt").write_text("ERROR: <SOUMNSI12AB0182807 TRAAAAA128F9325E10>")
    with monkeypatch.context() as patch:
        read = []
        patch.setattr(msd, "read_tracks", lambda folder: read.append(folder) or tracks(folder))
        assert ids(one) == ids(one) == ["TRB", "TRE"] and read == [one]  # a list of mismatches; then nothing is read
    path = snapshots.path_of(one, 12, folder=store)
    path.write_bytes(path.read_bytes()[:-9])
    assert ids(one) == ["TRB", "TRE"]  # damaged
    shutil.rmtree(one)
    assert ids(one) == ["TRB", "TRE"]  # a snapshot travels without the files
    with pytest.raises(FileNotFoundError, match=r"data holds no \.h5"):
        ids(one, ["pop"])


tracks = msd.read_tracks


def test_what_a_notebook_saves_is_what_ensure_asks_for_unless_songs_are_left_out(tmp_path, monkeypatch):
    data = write_set(tmp_path / "data")
    songs, report = joining.join(tracks(data)[0], lastfm.read_tags(data)[0], ["rock"], 12)
    snapshots.save(songs, data, report, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(msd, "read_tracks", None)
        assert len(snapshots.load(snapshots.ensure(data, ["rock"], (12,), tmp_path)[0])) == 2
    snapshots.save(songs[:1], data, report, tmp_path)
    assert len(snapshots.load(snapshots.ensure(data, ["rock"], (12,), tmp_path)[0])) == 2


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def sealed(content, protocol=5):
    data = pickle.dumps({"columns": {"title": [content]}, "attrs": {}}, protocol)
    return data + zlib.crc32(snapshots.FORMAT + data).to_bytes(4)  # as an attacker can write it, too


@pytest.mark.parametrize("protocol", [0, 5])
def test_a_pickle_that_names_anything_is_refused_and_runs_nothing(protocol, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "hostile.pkl"
    calls = [Call(os.system, f"touch {victim}"), Call(eval, f"open({str(victim)!r}, 'w')"), Call(os.mkdir, str(victim))]
    for content in [*calls, pd.DataFrame({"a": [1]}), np.load, np.zeros(3)]:
        for data, reason in ((sealed(content, protocol), "it names"), (pickle.dumps(content), "its checksum is wrong")):
            path.write_bytes(data)
            with pytest.raises(pickle.UnpicklingError, match=rf"hostile\.pkl was not loaded: {reason}"):
                snapshots.load(path)
            assert not victim.exists()
    path.write_bytes(sealed(("O", (1,), bytes(8))))  # bytes that would be taken for addresses
    with pytest.raises(pickle.UnpicklingError, match="OBJECT"):
        snapshots.load(path)


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path):
    path = snapshots.save(make_songs()[0], tmp_path / "x", None, tmp_path)
    whole, rng = path.read_bytes(), random.Random(0)
    damaged = [b"", whole[:10], whole[: len(whole) // 2], whole[:-1], b"not a pickle", pickle.dumps([1, 2])]
    for _ in range(100):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(pickle.UnpicklingError, match="x_segments-24_exact"):
            snapshots.load(path)
    with pytest.raises(FileNotFoundError, match="notebook 01"):
        snapshots.load(tmp_path / "absent.pkl")


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Snapshots of 12 and 20 segments, made elsewhere of a data folder that is gone."""
    data = write_set(tmp_path / "laptop" / "my-songs")
    (data / "vocabulary.txt").write_text("rock\njazz\n")
    monkeypatch.setattr(paths, "SNAPSHOTS", tmp_path / "here")
    files = snapshots.ensure(data, ["rock", "jazz"], (12, 20), tmp_path / "drive")
    shutil.rmtree(data)
    return files


def upload(*files, monkeypatch):
    """Let Colab's dialog give these files."""
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "colab")
    google = pytest.importorskip("google.colab.files")
    monkeypatch.setattr(google, "upload", lambda: {path.name: path.read_bytes() for path in files})


def test_a_notebook_takes_snapshots_by_path_by_name_or_by_upload_without_their_data(stored, monkeypatch, capsys):
    def check(snapshot):
        data = session.songs(snapshot, paths.ROOT / "no-such-data", (12, 20))
        assert {count: joining.pitches(songs).shape for count, songs in data.items()} == {
            12: (2, 12, 12, 1),
            20: (2, 12, 20, 1),
        }
        provenance = data[12].attrs["provenance"]
        assert (provenance["dataset"], provenance["synthetic"]) == ("my-songs", False)
        assert data[12].attrs["vocabulary"] == ["rock", "jazz"]
        assert "my-songs (synthetic: False)" in capsys.readouterr().out

    check(str(stored[0]))
    check(str(stored[1]))  # any of them
    upload(*stored, monkeypatch=monkeypatch)
    check("upload")
    check(stored[0].name)  # the upload was kept
    renamed = stored[0].rename(stored[0].with_name("renamed.pkl"))
    assert len(session.songs(str(renamed), paths.ROOT, (12,))[12]) == 2


def test_a_wrong_snapshot_is_named_and_what_to_do_is_said(stored, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"absent\.pkl; notebook 01 makes it"):
        session.songs("absent.pkl", tmp_path, (12,))
    with pytest.raises(FileNotFoundError, match=r"my-songs_segments-512_exact\.pkl; notebook 01"):
        session.songs(str(stored[0]), tmp_path, (12, 512))
    other = stored[0].with_name("other.pkl")
    other.write_bytes(stored[0].read_bytes())
    with pytest.raises(ValueError, match=r"has \[12\] segments .*other\.pkl; give \(12, 20\) .* notebook 01"):
        session.songs(str(other), tmp_path, (12, 20))
    other.write_bytes(sealed(Call(os.mkdir, str(tmp_path / "victim"))))
    with pytest.raises(pickle.UnpicklingError, match=r"other\.pkl was not loaded: it names \w+\.mkdir"):
        session.songs(str(other), tmp_path, (12,))
    assert not (tmp_path / "victim").exists()
    mixed = snapshots.ensure(write_set(tmp_path / "b"), ["rock", "jazz"], (20,), tmp_path)
    upload(stored[0], *mixed, monkeypatch=monkeypatch)
    with pytest.raises(ValueError, match=r"of b \(.*\) and my-songs \(.* of one data set"):
        session.songs("upload", tmp_path, (12, 20))
    upload(monkeypatch=monkeypatch)
    with pytest.raises(ValueError, match="in no file"):
        session.songs("upload", tmp_path, (12,))
