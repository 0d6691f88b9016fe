"""Finding files, and reading them in parallel without losing one."""

import errno
import os
from functools import partial
from unittest import mock

import joblib
import pytest

from helpers import reading
from helpers.reading import find_files, read_all


@pytest.fixture
def numbered(tmp_path):
    for i in range(150):
        (tmp_path / f"{i:03}.txt").write_text(str(i))
    return find_files(tmp_path, ".txt")


def numbers(rows):
    return [row["track_id"] for row in rows]


def read_number(path, deadly=()):
    number = int(path.read_text())
    if number in deadly:
        os._exit(11)
    if number % 50 == 7:
        raise ValueError(f"{number} is not wanted")
    return {"track_id": number % 149, "process": os.getpid()}


def test_files_at_any_depth_in_order_without_hidden_ones(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"holds no \.h5 file;"):
        find_files(tmp_path, ".h5")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_files(tmp_path / "nowhere", ".h5")
    for name in ("b.h5", "a/z/y/x.H5", "a/b.h5", "a/._b.h5", "a/b.json", ".hidden/c.h5", "a b/ü.h5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path, ".h5")]
    assert found == ["a b/ü.h5", "a/b.h5", "a/z/y/x.H5", "b.h5"]
    monkeypatch.setattr(os, "access", lambda folder, mode: not folder.endswith("z"))
    with pytest.warns(UserWarning, match="z may not be read"):
        assert len(find_files(tmp_path, ".h5")) == 3


def test_result_does_not_depend_on_the_number_of_workers(numbered, monkeypatch):
    alone, broken = read_all(read_number, numbered, 1)
    assert len(alone) + len(broken) == 150 and {row["process"] for row in alone} == {os.getpid()}
    unwanted = ["7 is not wanted", "57 is not wanted", "107 is not wanted"]
    assert list(broken["reason"]) == [*unwanted, f"same track_id as {numbered[0]}"]
    monkeypatch.setattr(reading, "FEW", 1)
    for num_workers in (None, 2):
        rows, broken_too = read_all(read_number, numbered, num_workers, "files")
        assert numbers(rows) == numbers(alone)
        assert broken_too.equals(broken) and {row["process"] for row in rows} != {os.getpid()}


def test_a_drive_that_has_gone_ends_the_run(numbered):
    with pytest.raises(OSError, match="endpoint"):
        read_all(mock.Mock(side_effect=OSError(errno.ENOTCONN, "Transport endpoint is not connected")), numbered, 1)


def test_a_file_that_kills_its_reader_is_the_only_one_lost(numbered):
    rows, broken = read_all(partial(read_number, deadly=(0, 70)), numbered, 2)
    assert list(broken[broken["reason"] == reading.DIED]["path"]) == [str(numbered[0]), str(numbered[70])]
    assert len(rows) + len(broken) == 150


def test_a_cluster_reads_the_same_and_gives_up_a_file_that_kills_its_workers(numbered):
    distributed = pytest.importorskip("distributed")
    alone, broken = read_all(read_number, numbered, 1)
    once = {"allowed_failures": 0}  # deaths before a task is given up: to be quick
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=":0", scheduler_kwargs=once) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        workers = set(client.run(os.getpid).values())
        rows, broken_too = read_all(read_number, numbered, 2)
        assert numbers(rows) == numbers(alone) and broken_too.equals(broken)
        assert {row["process"] for row in rows} <= workers
        rows, broken_too = read_all(partial(read_number, deadly=(70,)), numbered, 2)
    assert broken_too["path"][broken_too["reason"] == reading.DIED].tolist() == [str(numbered[70])]
    assert numbers(rows) == [number for number in numbers(alone) if number != 70]
