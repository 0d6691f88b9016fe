"""Snapshots: complete, portable, atomic, of what they claim to be, and safe to load."""

import os
import pickle
import shutil
import zlib

import numpy as np
import pandas as pd
import pytest

from helpers import joining, lastfm, msd, paths, session, snapshots


def write_set(folder, tracks="AB", tag="rock"):
    for letter in tracks:
        pitches = np.random.default_rng(ord(letter)).random((20, 12))
        names = {"title": f"Títle \x1b[31m {letter}", "artist_name": "An Artist"}
        msd.write_track(folder / f"{letter}.h5", track_id="TR" + 16 * letter, segments_pitches=pitches, **names)
        lastfm.write_tags(folder / f"{letter}.json", "TR" + 16 * letter, *names.values(), [(tag, 100), ("pop", 1)])
    return folder


@pytest.fixture
def data(tmp_path):
    return write_set(tmp_path / "data")


@pytest.fixture
def joined(data):
    return joining.join(msd.read_tracks(data)[0], lastfm.read_tags(data)[0], ["rock", "jazz", "pop"], 12)


def test_a_snapshot_gives_back_what_was_saved_or_if_damaged_an_error_that_names_it(joined, tmp_path):
    songs, report = joined
    songs = songs.assign(tempo=[1.5, np.nan], loud=[True, False], artist_terms=[np.array([b"rock"])] * 2)
    path = snapshots.save(songs, tmp_path / "msd-subset", report, tmp_path)
    assert path.name == "msd-subset_segments-12_exact.pkl"
    loaded = snapshots.load(path)
    pd.testing.assert_frame_equal(loaded, songs)
    assert [loaded[name][0].dtype for name in ("segments_pitches", "labels", "artist_terms")] == ["f4", "u1", "S4"]
    empty = snapshots.load(snapshots.save(songs[:0], tmp_path / "none", report, tmp_path))
    assert joining.label_matrix(empty).shape == (0, 3) and joining.pitches(empty).shape == (0, 12, 12, 1)
    provenance = loaded.attrs["provenance"]
    assert provenance["num_songs"] == 2 and not provenance["synthetic"] and provenance["steps"]["kept"][-1] == 2
    assert [loaded.attrs[key] for key in ("vocabulary", "segments", "match")] == [["rock", "jazz", "pop"], 12, "exact"]
    whole = path.read_bytes()
    flipped = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(0, len(whole), 50)]
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1], b"not a pickle", pickle.dumps([1, 2]), *flipped):
        path.write_bytes(damaged)
        with pytest.raises(pickle.UnpicklingError, match="msd-subset_segments-12_exact"):
            snapshots.load(path)


@pytest.mark.parametrize("value", [{"rock"}, ("a", 1), pd.Timestamp("2011-08-01"), None, np.array(["rock"], object)])
def test_what_load_could_not_give_back_is_refused_when_saving(joined, value, tmp_path):
    songs, report = joined
    with pytest.raises(ValueError, match="in column 'x'; drop or convert it"):
        snapshots.save(songs.assign(x=[value] * len(songs)), tmp_path / "x", report, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_snapshot_of_other_inputs_is_made_anew(tmp_path, monkeypatch):
    store, one, two = tmp_path / "store", write_set(tmp_path / "1" / "data"), write_set(tmp_path / "2" / "data", "CD")

    def found(folder, tag="rock"):
        songs = snapshots.load(snapshots.ensure(folder, [tag], (12,), store)[0])
        assert songs.attrs["vocabulary"] == [tag]
        return "".join(songs["track_id"].str[2])

    assert found(one) == found(one, "pop") == "AB"  # another vocabulary
    assert found(two) == "CD" and found(one) == "AB"  # another folder of the same name
    write_set(one, "EF")
    assert found(one) == "ABEF"  # more songs
    write_set(one, "A", tag="jazz")
    assert found(one) == "BEF"  # another content
    (one / "sid_mismatches.txt").write_text(f"ERROR: <SOUMNSI12AB0182807 TR{16 * 'F'}>")
    assert found(one) == "BE"  # a song that is wrongly matched
    path = snapshots.path_of(one, 12, folder=store)
    path.write_bytes(path.read_bytes()[:-9])
    assert found(one) == "BE"  # damaged
    snapshots.save(snapshots.load(path)[:1], one, None, store)
    assert found(one) == "BE"  # one that holds some of the songs
    (one / "sid_mismatches.txt").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(lastfm, "read_tags", lambda root, read=lastfm.read_tags: write_set(one, "G") and read(root))
        assert found(one) == "BEF"  # one came while the others were read
    assert found(one) == "BEFG"
    monkeypatch.setattr(msd, "read_tracks", None)
    assert found(one) == "BEFG"  # what is as it was is not read
    monkeypatch.undo()
    shutil.rmtree(one)
    assert found(one) == "BEFG"  # a snapshot travels without the files
    with pytest.raises(FileNotFoundError, match=r"No such file.*data"):
        found(one, "pop")


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
    for content in (Call(os.mkdir, str(victim)), Call(eval, f"open({str(victim)!r}, 'w')"), np.zeros(3)):
        for data, reason in ((sealed(content, protocol), "it names"), (pickle.dumps(content), "its checksum is wrong")):
            path.write_bytes(data)
            with pytest.raises(pickle.UnpicklingError, match=rf"hostile\.pkl was not loaded: {reason}"):
                snapshots.load(path)
            assert not victim.exists()
    path.write_bytes(sealed(("O", (1,), bytes(8))))  # bytes that would be taken for addresses
    with pytest.raises(pickle.UnpicklingError, match="OBJECT"):
        snapshots.load(path)


@pytest.fixture
def stored(data, tmp_path, monkeypatch):
    """Snapshots of 12 and 20 segments, made elsewhere of a data folder that is gone."""
    monkeypatch.setattr(paths, "SNAPSHOTS", tmp_path / "here")
    files = snapshots.ensure(data, ["rock", "jazz"], (12, 20), tmp_path / "drive")
    shutil.rmtree(data)
    return files


def test_a_notebook_takes_snapshots_without_their_data(stored, tmp_path, capsys):
    data = session.songs(str(stored[0]), paths.ROOT / "no-such-data", (12, 20))
    assert [joining.pitches(data[count]).shape for count in (12, 20)] == [(2, 12, 12, 1), (2, 12, 20, 1)]
    assert data[12].attrs["vocabulary"] == ["rock", "jazz"]
    assert "data (synthetic: False)" in capsys.readouterr().out


def test_a_wrong_snapshot_is_named_and_what_to_do_is_said(stored, tmp_path):
    other = shutil.copy(stored[0], tmp_path / "other.pkl")
    with pytest.raises(ValueError, match=r"has \[12\] segments .*other\.pkl; give \(12, 20\) .* notebook 01"):
        session.songs(str(other), tmp_path, (12, 20))
    (mixed,) = snapshots.ensure(write_set(tmp_path / "b"), ["rock", "jazz"], (20,), tmp_path)
    mixed.replace(stored[1])
    with pytest.raises(ValueError, match=r"of b \(.*\) and data \(.* of one data set"):
        session.songs(str(stored[0]), tmp_path, (12, 20))
