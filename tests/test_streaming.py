"""Inputs that stay on the disk: the same numbers, the same training; written as the join gives them, on any workers."""

import functools
import os

import h5py
import joblib
import numpy as np
import pytest

from helpers import demo, joining, lastfm, models, msd, streaming, training
from helpers.tags import MASON_TOP50

SEGMENTS = 252


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((12, 12, 24)).astype("float16")
    y = (rng.random((12, 3)) < 0.5).astype("uint8")
    found = []
    for i, part in enumerate([slice(0, 5), slice(5, 5), slice(5, 12)]):
        found.append(tmp_path / f"{i}.h5")
        with h5py.File(found[-1], "w") as file:
            file["ids"] = np.array([f"id{n}" for n in range(12)][part], dtype=object).astype(h5py.string_dtype())
            file["pitches"], file["labels"], file["tags"] = x[part], y[part], ["rock", "pop", "folk"]
    return found, x.astype("float32")[..., None], y


def test_rows_are_the_array_in_any_order_and_known_when_repaired(files):
    paths, x, y = files
    rows = streaming.Rows(paths, "pitches")
    assert rows.shape == x.shape and len(rows) == 12
    for index in (slice(3, 9, 2), [11, 0, 5, 5], np.arange(12) % 3 == 0, 4):
        np.testing.assert_array_equal(rows[index], x[index], strict=True)
    some = rows.take(np.array([11, 2, 7])).take(np.array([True, False, True]))
    assert np.array_equal(some[:], x[[11, 7]])
    table = streaming.labels(paths)
    assert np.array_equal(table, y) and list(table) == ["rock", "pop", "folk"] and table.index[11] == "id11"
    found = joblib.hash(rows.fingerprint())
    assert joblib.hash(streaming.Rows(paths, "pitches").fingerprint()) == found != joblib.hash(some.fingerprint())
    os.utime(paths[0], ns=(0, 0))
    assert joblib.hash(rows.fingerprint()) != found


def test_training_from_disk_is_training_from_memory(files, tmp_path):
    paths, x, y = files
    rows = streaming.Rows(paths, "pitches")
    build = functools.partial(models.mason_crnn, "small", 24, 3)
    settings = {"num_epochs": 2, "batch_size": 4, "folder": tmp_path / "results"}
    train, held_out = np.arange(10), np.arange(10, 12)
    _, expected = training.fit(build, (x[train], y[train]), (x[held_out], y[held_out]), "memory", **settings)
    streamed = (rows.take(train), y[train]), (rows.take(held_out), y[held_out])
    model, history = training.fit(build, *streamed, "disk", **settings)
    columns = ["loss", "streaming_auc", "macro_auc"]
    np.testing.assert_allclose(history[columns], expected[columns], atol=1e-5)
    np.testing.assert_allclose(models.predict(model, rows), models.predict(model, x), atol=1e-6)


def test_bad_files_are_named(files, tmp_path):
    paths, *_ = files
    with h5py.File(tmp_path / "wide.h5", "w") as file:
        file["pitches"], file["labels"] = np.zeros((2, 12, 9)), np.zeros((2, 1))
        file["tags"], file["ids"] = ["a"], ["x", "y"]
    with pytest.raises(FileNotFoundError, match=r"none\.h5 cannot be read"):
        streaming.Rows([tmp_path / "none.h5"], "pitches")
    with pytest.raises(ValueError, match=r"0\.h5 has no mel; it holds \['ids'"):
        streaming.Rows(paths, "mel")
    with pytest.raises(ValueError, match="rows of shapes"):
        streaming.Rows([*paths, tmp_path / "wide.h5"], "pitches")
    with pytest.raises(ValueError, match="other tags than"):
        streaming.labels([*paths, tmp_path / "wide.h5"])


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return demo.ensure(tmp_path_factory.mktemp("data") / "demo", num_tracks=120)


def assert_same(shards, report, dataset):
    (tracks, broken), (tags, broken_tags) = msd.read_tracks(dataset, 1), lastfm.read_tags(dataset, 1)
    mismatches = joining.read_mismatches(dataset)
    table, expected = joining.join(tracks, tags, MASON_TOP50, SEGMENTS, mismatches=mismatches)
    labels, rows = streaming.labels(shards), streaming.Rows(shards, "segments_pitches")
    assert list(labels.index) == list(table["track_id"]) and list(labels) == MASON_TOP50
    np.testing.assert_array_equal(labels, joining.label_matrix(table))
    np.testing.assert_array_equal(rows[:], joining.pitches(table))
    assert report["steps"].equals(expected["steps"])
    assert set(report["broken"]["path"]) == {*broken["path"], *broken_tags["path"]}


@pytest.mark.parametrize(("num_workers", "files_per_shard", "num_shards"), [(1, 8000, 1), (2, 50, 3)])
def test_shards_are_the_join(songs, tmp_path, num_workers, files_per_shard, num_shards):
    made, report = streaming.write(songs, MASON_TOP50, SEGMENTS, tmp_path, "exact", files_per_shard, num_workers)
    assert len(made) == num_shards and sorted(tmp_path.iterdir()) == made
    assert_same(made, report, songs)
    with h5py.File(made[0]) as file:
        assert file.attrs["synthetic"] and file.attrs["match"] == "exact" and len(file["artist_name"])


def test_only_what_is_missing_or_changed_is_made_again_and_a_copy_found_out(tmp_path, write_song):
    def write(vocabulary=("rock",), segments=12, match="exact"):
        """Return which of the shards are as they were, their songs, and what is broken."""
        made, report = streaming.write(tmp_path / "msd", vocabulary, segments, tmp_path / "out", match, 2, 1)
        before, states[:] = states[:], [(path.stat().st_ino, path.stat().st_mtime_ns) for path in made]
        return [a in before for a in states], list(streaming.labels(made).index), report["broken"]["reason"].tolist()

    states = []
    for name in ("TR0", "TR1", "TR2", "TR3"):
        write_song(tmp_path / "msd" / f"{name}.h5", name, num_segments=20)
        lastfm.write_tags(tmp_path / "msd" / f"{name}.json", name, "A Title", "An Artist", [("rock", 100)])
    assert write() == ([False, False], ["TR0", "TR1", "TR2", "TR3"], [])
    first = min((tmp_path / "out").iterdir())
    first.write_bytes(first.read_bytes()[:3000])
    assert write() == ([False, True], ["TR0", "TR1", "TR2", "TR3"], [])
    os.utime(tmp_path / "msd" / "TR3.h5", ns=(0, 0))  # another file of the same size
    assert write()[0] == [True, False]
    (tmp_path / "msd" / "TR2.json").unlink()
    assert write() == ([True, False], ["TR0", "TR1", "TR3"], [])
    for change in ({"match": "normalized"}, {"segments": 13}, {"vocabulary": ["rock", "pop"]}):
        assert write(**change)[0] == [False, False]
    write_song(tmp_path / "msd" / "z" / "TR0.h5", "TR0", num_segments=20)
    (tmp_path / "msd" / "z" / "TR1.h5").symlink_to("nowhere.h5")
    _, found, (repeated, nowhere) = write()
    assert found == ["TR0", "TR1", "TR3"] and repeated == f"same track_id as {tmp_path / 'msd' / 'TR0.h5'}"
    assert "No such file" in nowhere


def test_real_files(real_data, tmp_path):
    made, report = streaming.write(real_data / "msd_real", MASON_TOP50, SEGMENTS, tmp_path, "exact", 60, 1)
    assert_same(made, report, real_data / "msd_real")
    assert len(made) == 3 and len(report["broken"]) == 3
