"""Shards hold what the join gives, made in one process, in several, or on a cluster that loses workers."""

import os
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import h5py
import joblib
import numpy as np
import pytest
from test_lastfm import write_database

from helpers import demo_data, joining, lastfm, msd, reading, shards, splits, streaming
from helpers.tags import MASON_TOP50

READ_ONE, MAKE = msd._read_one, shards._make
SEGMENTS = 252


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "demo"
    demo_data.generate(folder, num_tracks=120)
    return folder


def joined(dataset, match="exact"):
    tracks, broken = msd.read_tracks(dataset, 1)
    tags, broken_tags = lastfm.read_tags(dataset, 1)
    table, report = joining.join(tracks, tags, MASON_TOP50, SEGMENTS, match)
    return table, report, {*broken["path"], *broken_tags["path"]}


def assert_same(made, report, expected):
    table, expected_report, _ = expected
    labels, rows = streaming.labels(made), streaming.Rows(made, "segments_pitches")
    assert list(labels.index) == list(table["track_id"]) and list(labels) == MASON_TOP50
    np.testing.assert_array_equal(labels, joining.label_matrix(table))
    np.testing.assert_array_equal(rows[:], joining.pitches(table))
    np.testing.assert_array_equal(shards.songs(made), table[["title", "artist_name"]])
    assert report["steps"].equals(expected_report["steps"])


def states(made):
    return [(path.stat().st_ino, path.stat().st_mtime_ns) for path in made]


@pytest.mark.parametrize(("num_workers", "files_per_shard"), [(1, 50), (1, 8000), (2, 50)])
def test_shards_are_the_join(demo, tmp_path, num_workers, files_per_shard):
    made, report = shards.write(
        demo, MASON_TOP50, SEGMENTS, tmp_path, files_per_shard=files_per_shard, num_workers=num_workers
    )
    expected = joined(demo)
    assert len(made) == (3 if files_per_shard == 50 else 1) and sorted(tmp_path.iterdir()) == made
    assert_same(made, report, expected)
    assert set(report["broken"]["path"]) == expected[2]
    with h5py.File(made[0]) as file:
        assert file.attrs["synthetic"] and file.attrs["dataset"] == "demo" and file.attrs["match"] == "exact"
    artists = shards.songs(made)["artist_name"]
    assert set(artists.iloc[splits.by_artist(artists, 0.3)[0]]) < set(artists)


def test_only_what_is_missing_or_changed_is_made_again(demo, tmp_path, write_song):
    write = partial(shards.write, demo, MASON_TOP50, SEGMENTS, tmp_path, files_per_shard=50, num_workers=1)
    made, report = write()
    before = states(made)
    again, report_too = write()
    assert again == made and states(made) == before
    assert report_too["steps"].equals(report["steps"]) and report_too["broken"].equals(report["broken"])
    made[0].write_bytes(made[0].read_bytes()[:3000])
    made[2].unlink()
    write()
    assert [a == b for a, b in zip(states(made), before, strict=True)] == [False, True, False]
    assert_same(made, report, joined(demo))
    before = states(made)
    write(match="normalized")
    assert not set(states(made)) & set(before)


def test_a_song_that_was_replaced_is_read_again(tmp_path, write_song):
    for i in range(4):
        write_song(tmp_path / "msd" / f"TR{i}.h5", f"TR{i}", num_segments=20)
        song = f'{{"track_id": "TR{i}", "title": "A Title", "artist": "An Artist", "tags": [["rock", "100"]]}}'
        (tmp_path / "msd" / f"TR{i}.json").write_text(song)
    write = partial(shards.write, tmp_path / "msd", ["rock"], 12, tmp_path / "out", files_per_shard=2, num_workers=1)
    made, _ = write()
    before = states(made)
    write_song(tmp_path / "msd" / "TR3.h5", "TR3", num_segments=900)
    (tmp_path / "msd" / "TR2.json").unlink()
    made, report = write()
    assert states(made)[0] == before[0] and states(made)[1] != before[1]
    assert list(streaming.labels(made).index) == ["TR0", "TR1", "TR3"]
    # A copy in another folder, which the reader must see together with the first, though its shard is another.
    write_song(tmp_path / "msd" / "z" / "TR0.h5", "TR0", num_segments=20)
    made, report = write()
    assert list(streaming.labels(made).index) == ["TR0", "TR1", "TR3"]
    assert report["broken"]["reason"].str.startswith("same track_id as").tolist() == [True]


def test_tags_from_the_database(demo, tmp_path):
    tags, _ = lastfm.read_tags(demo, 1)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "MillionSongSubset").symlink_to(demo / "MillionSongSubset")
    write_database(tmp_path / "data" / "lastfm_tags.db", dict(zip(tags["track_id"], tags["tags"], strict=True)))
    expected = joined(tmp_path / "data", "track_id")
    write = partial(shards.write, tmp_path / "data", MASON_TOP50, SEGMENTS, files_per_shard=50, num_workers=1)
    assert_same(*write(tmp_path / "out", match="track_id"), expected)
    with pytest.raises(ValueError, match="hold no names to compare"):
        write(tmp_path / "exact")


def test_shards_without_songs(demo, tmp_path):
    made, report = shards.write(demo, MASON_TOP50, 1024, tmp_path, files_per_shard=3, num_workers=1)
    rows, labels = streaming.Rows(made, "segments_pitches"), streaming.labels(made)
    counts = [len(streaming.labels([path])) for path in made]
    assert 0 in counts and 0 < sum(counts) == len(rows) == report["steps"]["kept"].iloc[-1]
    assert labels.shape == (len(rows), 50) and rows[:].shape == (len(rows), 12, 1024, 1)
    made, _ = shards.write(demo, ["no such tag"], 1024, tmp_path / "none", num_workers=1)
    assert streaming.Rows(made, "segments_pitches")[:].shape == (0, 12, 1024, 1)
    assert shards.songs(made).empty and streaming.labels(made).shape == (0, 1)


def test_bad_input_is_named(demo, tmp_path):
    write = partial(shards.write, num_workers=1)
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        write(tmp_path / "nowhere", MASON_TOP50, SEGMENTS, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no \.h5 file"):
        write(tmp_path / "empty", MASON_TOP50, SEGMENTS, tmp_path)
    with pytest.raises(ValueError, match="match is 'fuzzy'"):
        write(demo, MASON_TOP50, SEGMENTS, tmp_path, "fuzzy")
    made, _ = write(demo, MASON_TOP50, SEGMENTS, tmp_path, files_per_shard=60)
    with pytest.raises(FileExistsError, match=f"has other files, {made[0].name} first"):
        write(demo, MASON_TOP50, SEGMENTS, tmp_path, files_per_shard=50)


def test_real_files(real_data, tmp_path):
    made, report = shards.write(
        real_data / "msd_real", MASON_TOP50, SEGMENTS, tmp_path, files_per_shard=60, num_workers=1
    )
    assert_same(made, report, joined(real_data / "msd_real"))
    assert len(made) == 3 and len(streaming.labels(made)) == 39 and len(report["broken"]) == 3
    with h5py.File(made[0]) as file:
        assert not file.attrs["synthetic"]


# --- Processes that die --------------------------------------------------------------------------------------


def number(path):
    return int(path.stem)


def read_number(path, fatal, once):
    """Return the number of the file; SIGKILL this process at `fatal`: every time, or only the first time."""
    if number(path) == fatal and not (once and once.exists()):
        if once:
            once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number(path) % 50 == 7:
        raise ValueError("unwanted")
    return {"track_id": path.stem}


def read_but_die(path, wanted, fatal):
    if path.name == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return READ_ONE(path, wanted)


def die_while_writing(how, provenance, item, deadly=(), *, once):
    """Kill this process while it writes the third shard, the first time."""
    if item[0].name.startswith("0002") and not once.exists():
        once.touch()
        shards._fill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    return MAKE(how, provenance, item, deadly)


@pytest.fixture
def numbered(tmp_path):
    for i in range(300):
        (tmp_path / f"{i:03}.txt").touch()
    return reading.find_files(tmp_path, ".txt")


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster of two worker processes, which gives up a task when a second worker dies of it."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            2, threads_per_worker=1, dashboard_address=":0", scheduler_kwargs={"allowed_failures": 1}
        ) as made,
        distributed.Client(made) as client,
    ):
        yield client


def test_a_file_that_kills_its_reader_costs_no_other_song(demo, tmp_path, monkeypatch):
    table, _, broken = joined(demo)
    fatal = f"{table['track_id'][0]}.h5"
    monkeypatch.setattr(msd, "_read_one", partial(read_but_die, fatal=fatal))
    # Every shard is made as if the process that should have made it had died.
    given_up = SimpleNamespace(
        **vars(reading) | {"spread": lambda work, items, num_workers, rescue: map(rescue, items)}
    )
    monkeypatch.setattr(shards, "reading", given_up)
    made, report = shards.write(demo, MASON_TOP50, SEGMENTS, tmp_path, files_per_shard=100)
    assert list(streaming.labels(made).index) == [i for i in table["track_id"] if f"{i}.h5" != fatal]
    died = report["broken"][report["broken"]["reason"] == reading.DIED]
    assert [Path(path).name for path in died["path"]] == [fatal] and len(report["broken"]) == len(broken) + 1


def read_process(path):
    return {"track_id": path.stem, "process": os.getpid()}


def test_where_the_files_are_read(numbered, cluster):
    """By the cluster's workers within its context, unless one process is asked for, and never outside."""
    workers = set(cluster.run(os.getpid).values())
    with joblib.parallel_config("dask"):
        for num_workers, expected in ((None, workers), (2, workers), (1, {os.getpid()})):
            rows, _ = reading.read_all(read_process, numbered, num_workers, None)
            assert {row["process"] for row in rows} <= expected and len(rows) == 300
    rows, _ = reading.read_all(read_process, numbered, None, None)
    assert {row["process"] for row in rows} == {os.getpid()}


def test_the_cluster_reads_the_same(demo, cluster):
    tracks, broken = msd.read_tracks(demo, 1)
    with joblib.parallel_config("dask"):
        again, broken_too = msd.read_tracks(demo)
    assert broken_too.equals(broken) and list(again["track_id"]) == list(tracks["track_id"])
    assert all(map(np.array_equal, again["segments_pitches"], tracks["segments_pitches"]))


def test_a_worker_killed_half_way_loses_and_doubles_nothing(numbered, tmp_path, cluster):
    alone, broken = reading.read_all(partial(read_number, fatal=None, once=None), numbered, 1, None)
    once = tmp_path / "killed"
    before = set(cluster.run(os.getpid).values())
    with joblib.parallel_config("dask"):
        rows, broken_too = reading.read_all(partial(read_number, fatal=150, once=once), numbered, None, None)
    assert once.exists() and rows == alone and broken_too.equals(broken) and len(rows) == 294
    assert set(cluster.run(os.getpid).values()) != before


def test_a_worker_killed_while_it_writes_leaves_nothing(demo, tmp_path, cluster, monkeypatch):
    once = tmp_path / "killed"
    monkeypatch.setattr(shards, "_make", partial(die_while_writing, once=once))
    with joblib.parallel_config("dask"):
        made, report = shards.write(demo, MASON_TOP50, SEGMENTS, tmp_path / "out", files_per_shard=15)
    assert once.exists() and sorted((tmp_path / "out").iterdir()) == made
    assert_same(made, report, joined(demo))


def test_a_file_that_kills_every_worker_is_listed(numbered, cluster):
    cluster.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))  # to be quick
    with joblib.parallel_config("dask"):
        rows, broken = reading.read_all(partial(read_number, fatal=150, once=None), numbered, None, None)
    assert [row["track_id"] for row in rows] == [f"{i:03}" for i in range(300) if i != 150 and i % 50 != 7]
    assert broken[broken["reason"] == reading.DIED]["path"].tolist() == [str(numbered[150])]
